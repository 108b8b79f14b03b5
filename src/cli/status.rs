//! `authdrift status`: what is known, without reading anything.

use std::io::Write;

use serde_json::{Value, json};

use super::CliError;
use super::args::StatusOptions;
use super::context::Context;
use super::output::{BOLD, Columns, PLAIN, day, severity_style, time};
use super::receivers::{health_json, health_of, state_words};
use crate::approval::propose::Standing;
use crate::classify::assess;
use crate::clock::written;
use crate::config::Instance;
use crate::cycle::BaselineReport;
use crate::exit::Exit;
use crate::incident::{Silence, Status};
use crate::model::{Severity, display_safe};
use crate::store::cycles::Cycle;
use crate::store::outbox::{self, ReceiverState};
use crate::store::{Store, StoreError, Transaction, cycles, drifts, events, instances, silences};
use crate::trust_files::TrustFiles;

/// How one instance stands.
struct Line {
    verdict: String,
    open: Vec<Severity>,
    /// Read, and asked for.
    sections: Option<(usize, usize)>,
    baseline: Result<Option<BaselineReport>, String>,
    cycle: Option<Cycle>,
    next: Option<chrono::DateTime<chrono::Utc>>,
}

/// Prints how everything stands.
///
/// # Errors
/// The store cannot be read.
pub fn status(context: &Context, options: &StatusOptions, out: &mut dyn Write) -> Result<Exit, CliError> {
    let store = context.existing_store()?;
    let trust = TrustFiles::read(&context.config.approval);
    let mut lines = Vec::new();
    for instance in &context.config.instances {
        lines.push((instance, store.read(|tx| line(tx, context, instance, &trust))?));
    }
    if options.json {
        let value = as_json(&store, context, &lines)?;
        serde_json::to_writer_pretty(&mut *out, &value)?;
        writeln!(out)?;
        return Ok(Exit::Ok);
    }

    let now = context.clock.now();
    let mut columns = Columns::new(0);
    columns.row(BOLD, ["INSTANCE", "VERDICT", "OPEN", "SECTIONS", "BASELINE", "LAST CYCLE", "NEXT"]);
    for (instance, line) in &lines {
        let baseline = match &line.baseline {
            Ok(Some(baseline)) => {
                let until = baseline.until_words(now).map(|words| format!(", {words}")).unwrap_or_default();
                let who = baseline.approvers.join(" ");
                format!("{}, {}, {who}{until}", baseline.sequence, day(baseline.approved_at, now))
            }
            Ok(None) => "none".to_owned(),
            Err(_) => "UNTRUSTED".to_owned(),
        };
        columns.row(
            severity_style(line.open.iter().copied().max().unwrap_or(Severity::Medium)),
            [
                instance.id.to_string(),
                line.verdict.replace('_', " "),
                open_words(&line.open),
                line.sections.map_or("-".to_owned(), |(read, all)| format!("{read}/{all}")),
                baseline,
                line.cycle.as_ref().map_or("never".to_owned(), |cycle| time(cycle.at, now)),
                line.next.map_or("-".to_owned(), |next| time(next, now)),
            ],
        );
    }
    columns.write(out)?;
    for (instance, line) in &lines {
        if let Err(reason) = &line.baseline {
            writeln!(out, "{}: {reason}", instance.id)?;
        }
    }

    if !context.config.receivers.is_empty() {
        writeln!(out)?;
        let mut columns = Columns::new(0);
        columns.row(BOLD, ["RECEIVER", "LAST DELIVERY", "WAITING", "FAILED", "TROUBLE"]);
        for receiver in &context.config.receivers {
            let mut state = store.read(|tx| outbox::receiver_state(tx, &receiver.name))?;
            let health = health_of(&store, receiver)?;
            if health.disabled.is_some() || health.breaker.closed_until(now).is_some() {
                let words = state_words(&health, now);
                state.trouble = Some(state.trouble.map_or(words.clone(), |trouble| format!("{words}: {trouble}")));
            }
            columns.row(PLAIN, receiver_cells(&receiver.name, &state, now));
        }
        columns.write(out)?;
    }
    let silences = store.read(|tx| silences::all(tx))?;
    let in_force: Vec<&Silence> =
        silences.iter().map(|(silence, _)| silence).filter(|one| one.is_active(now)).collect();
    if !in_force.is_empty() {
        writeln!(out)?;
    }
    for silence in in_force {
        let what = if silence.is_window { "Announced" } else { "Quiet" };
        let (until, by) = (time(silence.until, now), display_safe(&silence.by));
        writeln!(out, "{what} until {until}, by {by}: {} ({})", silence.words(), silence.id)?;
    }
    writeln!(out)?;
    match store.read(|tx| events::mark(tx))? {
        Some(mark) => writeln!(out, "History: {} events, head {}.", mark.size, mark.head.short())?,
        None => writeln!(out, "History: empty.")?,
    }
    Ok(Exit::Ok)
}

fn line(tx: &Transaction<'_>, context: &Context, instance: &Instance, trust: &TrustFiles) -> Result<Line, CliError> {
    let Some(row) = instances::find(tx, &instance.id)? else {
        return Ok(Line {
            verdict: "no_baseline".to_owned(),
            open: Vec::new(),
            sections: None,
            baseline: Ok(None),
            cycle: None,
            next: None,
        });
    };
    let catalogue = context.catalogues.of(instance.id.provider);
    let newest = match cycles::latest_snapshot(tx, row, &instance.id) {
        Err(StoreError::Damaged(_)) => None,
        newest => newest?,
    };
    let baseline = match Standing::load(tx, &instance.id, trust, catalogue, context.clock.now()) {
        Ok(standing) => Ok(standing.baseline.map(|baseline| BaselineReport::of(&baseline))),
        Err(crate::approval::ApprovalError::NoSnapshot(_)) => Ok(None),
        Err(crate::approval::ApprovalError::Untrusted(untrusted)) => Err(untrusted.to_string()),
        // One damaged row is told where it is; how everything else is doing is needed all the more.
        Err(crate::approval::ApprovalError::Store(StoreError::Damaged(reason))) => {
            Err(format!("the database is damaged: {reason}"))
        }
        Err(other) => return Err(other.into()),
    };
    let known = drifts::known(tx, row)?;
    let open = known.values().filter(|drift| drift.status == Status::Open);
    let cycle = cycles::latest(tx, row)?;
    let open: Vec<Severity> = open.map(|drift| assess(catalogue, drift.change.clone()).severity).collect();
    // A baseline may have been approved since the last cycle, so its verdict counts only where nothing else decides.
    let last = cycle.as_ref().map_or("no_baseline", |cycle| cycle.verdict.as_str());
    let verdict = match (&baseline, last) {
        (Err(_), _) => "untrusted",
        (Ok(_), "error") => "error",
        (Ok(None), _) => "no_baseline",
        (Ok(Some(_)), _) if !open.is_empty() => "drift",
        (Ok(Some(_)), "blind") => "blind",
        (Ok(Some(_)), _) => "in_sync",
    };
    Ok(Line {
        verdict: verdict.to_owned(),
        sections: newest.map(|(snapshot, _)| (snapshot.seen(), snapshot.sections.len())),
        open,
        baseline,
        cycle,
        next: instances::next_due(tx, row)?,
    })
}

/// `1 critical 2 high`, or a dash.
fn open_words(open: &[Severity]) -> String {
    let mut words = Vec::new();
    for severity in Severity::ALL.iter().rev() {
        let count = open.iter().filter(|one| *one == severity).count();
        if count > 0 {
            words.push(format!("{count} {severity}"));
        }
    }
    if words.is_empty() { "-".to_owned() } else { words.join(" ") }
}

fn receiver_cells(name: &str, state: &ReceiverState, now: chrono::DateTime<chrono::Utc>) -> [String; 5] {
    let last = match &state.last_delivery {
        Some((at, answer)) => format!("{} {answer}", time(*at, now)),
        None => "never".to_owned(),
    };
    [
        name.to_owned(),
        last,
        state.waiting.to_string(),
        state.dead.to_string(),
        state.trouble.clone().unwrap_or_default(),
    ]
}

fn as_json(store: &Store, context: &Context, lines: &[(&Instance, Line)]) -> Result<Value, CliError> {
    let instances: Vec<Value> = lines
        .iter()
        .map(|(instance, line)| {
            let open: serde_json::Map<String, Value> = Severity::ALL
                .iter()
                .map(|severity| {
                    let count = line.open.iter().filter(|one| *one == severity).count();
                    (severity.to_string(), json!(count))
                })
                .collect();
            json!({
                "instance": instance.id,
                "verdict": line.verdict,
                "open": open,
                "sections": line.sections.map(|(read, all)| json!({ "read": read, "all": all })),
                "baseline": line.baseline.as_ref().ok(),
                "untrusted": line.baseline.as_ref().err(),
                "last_cycle": line.cycle.as_ref().map(|cycle| json!({
                    "at": written(cycle.at), "duration_ms": cycle.duration.as_millis(), "requests": cycle.requests,
                })),
                "next_cycle": line.next.map(written),
            })
        })
        .collect();
    let mut receivers = Vec::new();
    for receiver in &context.config.receivers {
        let state = store.read(|tx| outbox::receiver_state(tx, &receiver.name))?;
        let mut fields = json!({
            "receiver": receiver.name,
            "waiting": state.waiting,
            "failed": state.dead,
            "last_delivery": state.last_delivery.map(|(at, answer)| json!({ "at": written(at), "answer": answer })),
            "trouble": state.trouble,
        });
        if let Some(fields) = fields.as_object_mut() {
            fields.extend(health_json(&health_of(store, receiver)?, context.clock.now()));
        }
        receivers.push(fields);
    }
    let history = store.read(|tx| events::mark(tx))?;
    let now = context.clock.now();
    let silences: Vec<Value> = store
        .read(|tx| silences::all(tx))?
        .iter()
        .filter(|(silence, _)| silence.is_active(now))
        .map(|(silence, _)| {
            json!({ "id": silence.id, "window": silence.is_window, "until": written(silence.until), "by": silence.by })
        })
        .collect();
    Ok(json!({ "instances": instances, "receivers": receivers, "silences": silences, "history": history }))
}
