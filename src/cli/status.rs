//! `authdrift status`: what is known, without reading anything.

mod json;
mod screen;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use chrono::{DateTime, Utc};

use super::CliError;
use super::args::StatusOptions;
use super::context::Context;
use super::receivers::health_of;
use crate::approval::ApprovalError;
use crate::approval::propose::Standing;
use crate::baseline::BaselineSummary;
use crate::classify::assess;
use crate::config::{Approval, Instance, Receiver};
use crate::daemon::lock::is_running;
use crate::exit::Exit;
use crate::incident::{Silence, Status};
use crate::model::{HistoryMark, Severity, Verdict};
use crate::store::cycles::Cycle;
use crate::store::instances::InstanceRow;
use crate::store::outbox::{self, ReceiverState};
use crate::store::overview::{self, Waiting};
use crate::store::receivers::Health;
use crate::store::{Store, StoreError, Transaction, cycles, drifts, events, instances, space};
use crate::trust_files::TrustFiles;

/// How everything stands.
struct Overview<'a> {
    now: DateTime<Utc>,
    approval: &'a Approval,
    /// Nothing when nobody may say.
    is_running: Option<bool>,
    database: Database<'a>,
    lines: Vec<(&'a Instance, Line)>,
    receivers: Vec<(&'a Receiver, ReceiverState, Health)>,
    /// Those in force.
    silences: Vec<Silence>,
    /// By receiver, also such as are not configured any more.
    outbox: BTreeMap<String, Waiting>,
    history: Option<HistoryMark>,
}

/// The file, and the room it has.
struct Database<'a> {
    path: &'a Path,
    /// Bytes, its log included.
    size: u64,
    free: Option<u64>,
}

/// How one instance stands.
struct Line {
    verdict: Verdict,
    open: Vec<Severity>,
    sections: Option<Sections>,
    baseline: Result<Option<BaselineSummary>, String>,
    cycle: Option<Cycle>,
    next: Option<DateTime<Utc>>,
}

/// What was asked for, and of what of it nothing is known now.
struct Sections {
    all: usize,
    blind: Vec<String>,
    /// When anything was read the last time.
    read_at: DateTime<Utc>,
}

/// Prints how everything stands.
///
/// # Errors
/// The store cannot be read.
pub fn status(context: &Context, options: &StatusOptions, out: &mut dyn Write) -> Result<Exit, CliError> {
    let store = context.store_to_read()?;
    let overview = look(context, &store)?;
    if options.json {
        crate::cli::output::json(&mut *out, &json::of(&overview))?;
        writeln!(out)?;
    } else {
        screen::draw(&overview, out)?;
    }
    Ok(Exit::Ok)
}

fn look<'a>(context: &'a Context, store: &Store) -> Result<Overview<'a>, CliError> {
    let (config, now) = (&context.config, context.clock.now());
    let trust = TrustFiles::read(&config.approval);
    let mut lines = Vec::new();
    for instance in &config.instances {
        lines.push((instance, store.read(|tx| line(tx, context, instance, &trust))?));
    }
    let mut receivers = Vec::new();
    for receiver in &config.receivers {
        let state = store.read(|tx| outbox::receiver_state(tx, &receiver.name))?;
        receivers.push((receiver, state, health_of(store, receiver)?));
    }
    // That the history does not verify stands beside every instance.
    let silences = match store.read(|tx| tx.history()) {
        Ok(walk) => walk.active_silences(now),
        Err(StoreError::History(_)) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let path = config.store.as_path();
    Ok(Overview {
        now,
        approval: &config.approval,
        is_running: is_running(path).ok(),
        database: Database { path, size: store.size(), free: space::free_at(path).ok() },
        lines,
        receivers,
        silences,
        outbox: store.read(overview::outbox)?,
        history: store.read(|tx| events::mark(tx))?,
    })
}

fn line(tx: &Transaction<'_>, context: &Context, instance: &Instance, trust: &TrustFiles) -> Result<Line, CliError> {
    let catalogue = context.catalogues.of(instance.id.provider);
    let baseline = match Standing::load(tx, &instance.id, trust, catalogue, context.clock.now()) {
        Ok(standing) => Ok(standing.baseline.map(|baseline| BaselineSummary::of(&baseline))),
        Err(ApprovalError::NoSnapshot(_)) => Ok(None),
        Err(ApprovalError::Untrusted(untrusted)) => Err(untrusted.to_string()),
        // One damaged row is told where it is; how everything else is doing is needed all the more.
        Err(ApprovalError::Store(StoreError::Damaged(reason))) => Err(format!("the database is damaged: {reason}")),
        Err(other) => return Err(other.into()),
    };
    let Some(row) = instances::find(tx, &instance.id)? else {
        let verdict = if baseline.is_ok() { Verdict::NoBaseline } else { Verdict::Untrusted };
        return Ok(Line { verdict, open: Vec::new(), sections: None, baseline, cycle: None, next: None });
    };
    let known = drifts::known(tx, row)?;
    let open = known.values().filter(|drift| drift.status == Status::Open);
    let cycle = cycles::latest(tx, row)?;
    let open: Vec<Severity> = open.map(|drift| assess(catalogue, drift.change.clone()).severity).collect();
    // A baseline may have been approved since the last cycle, so its verdict counts only where nothing else decides.
    let last = cycle.as_ref().map_or("no_baseline", |cycle| cycle.verdict.as_str());
    let verdict = match (&baseline, last) {
        // What can be trusted again was still not compared with anything.
        (Err(_), _) | (Ok(Some(_)), "untrusted") => Verdict::Untrusted,
        (Ok(_), "error") => Verdict::Error,
        (Ok(None), _) => Verdict::NoBaseline,
        (Ok(Some(_)), _) if !open.is_empty() => Verdict::Drift,
        (Ok(Some(_)), "blind") => Verdict::Blind,
        (Ok(Some(_)), _) => Verdict::InSync,
    };
    let sections = sections(tx, row, instance, cycle.as_ref())?;
    Ok(Line { verdict, sections, open, baseline, cycle, next: instances::next_due(tx, row)? })
}

/// What the last cycle knows: nothing, where it could not read anything and the newest snapshot is of one before.
fn sections(
    tx: &Transaction<'_>,
    row: InstanceRow,
    instance: &Instance,
    last: Option<&Cycle>,
) -> Result<Option<Sections>, CliError> {
    let (snapshot, read_at) = match cycles::latest_snapshot(tx, row, &instance.id) {
        Ok(Some(newest)) => newest,
        Ok(None) | Err(StoreError::Damaged(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let is_old = last.is_some_and(|cycle| cycle.at != read_at);
    let blind = snapshot.sections.iter().filter(|(_, reading)| is_old || !reading.state().is_comparable());
    let blind = blind.map(|(name, _)| name.clone()).collect();
    Ok(Some(Sections { all: snapshot.sections.len(), blind, read_at }))
}
