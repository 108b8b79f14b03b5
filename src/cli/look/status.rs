//! `authdrift status`: what is known, without reading anything.

mod json;
mod screen;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use chrono::{DateTime, Utc};
use clap::Args;

use crate::cli::alerts::receivers::health_of;
use crate::cli::output::write_json;
use crate::cli::{CliError, ConfiguredCommand, Context};
use crate::config::{ApprovalConfig, Instance, Receiver};
use crate::daemon::lock::is_running;
use crate::exit::Exit;
use crate::history::outgoing::{ReceiverHealth, Waiting};
use crate::incident::Silence;
use crate::model::HistoryMark;
use crate::status::InstanceStatus;
use crate::store::latest;
use crate::store::outbox::{self, ReceiverState};
use crate::store::{Store, StoreError, Transaction, events, instances, space};
use crate::trust_files::TrustFiles;

/// Show the state of every instance and receiver, from the database
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift status         one screen
  authdrift status --json  for a program

It reads no vendor: `check` does.")]
pub(crate) struct StatusOptions {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

struct StatusReport<'a> {
    now: DateTime<Utc>,
    approval: &'a ApprovalConfig,
    /// `None` when the lock cannot be read.
    is_running: Option<bool>,
    database: Database<'a>,
    lines: Vec<(&'a Instance, InstanceLine)>,
    receivers: Vec<(&'a Receiver, ReceiverState, ReceiverHealth)>,
    silences: Vec<Silence>,
    /// By receiver, with those that are not configured any more.
    outbox: BTreeMap<String, Waiting>,
    history: Option<HistoryMark>,
}

struct Database<'a> {
    path: &'a Path,
    /// In bytes, with the log.
    size: u64,
    free: Option<u64>,
}

struct InstanceLine {
    status: InstanceStatus,
    next: Option<DateTime<Utc>>,
}

impl ConfiguredCommand for StatusOptions {
    async fn run_with(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, CliError> {
        let store = context.store_to_read()?;
        let report = load(context, &store)?;
        if self.json {
            write_json(out, &json::of(&report))?;
        } else {
            screen::draw(&report, out)?;
        }
        Ok(Exit::Ok)
    }
}

fn load<'a>(context: &'a Context, store: &Store) -> Result<StatusReport<'a>, CliError> {
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
        Ok(replay) => replay.state.silences.active(now),
        Err(StoreError::History(_)) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let path = config.store.as_path();
    Ok(StatusReport {
        now,
        approval: &config.approval,
        is_running: is_running(path).ok(),
        database: Database { path, size: store.size(), free: space::free_at(path).ok() },
        lines,
        receivers,
        silences,
        outbox: store.read(latest::outbox)?,
        history: store.read(events::mark)?,
    })
}

fn line(
    tx: &Transaction<'_>,
    context: &Context,
    instance: &Instance,
    trust: &TrustFiles,
) -> Result<InstanceLine, StoreError> {
    let catalogue = context.catalogues.of(instance.id.provider);
    let status = InstanceStatus::load(tx, instance, catalogue, trust, context.clock.now())?;
    let next = instances::find(tx, &instance.id)?.map_or(Ok(None), |row| instances::next_due(tx, row))?;
    Ok(InstanceLine { status, next })
}
