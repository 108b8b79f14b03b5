//! `authdrift show`: one drift, explained; or how a snapshot was read.

use std::io::Write;

use clap::Args;
use serde_json::{Value, json};

use crate::classify::{Finding, classify, elsewhere};
use crate::cli::output::{BOLD, Columns, PLAIN, change_words, merged, severity_style, write_json};
use crate::cli::{CliError, ConfiguredCommand, Context};
use crate::clock::written;
use crate::config::ApprovalConfig;
use crate::exit::Exit;
use crate::history::Event;
use crate::incident::{Drift, Status};
use crate::model::{Digest, DriftId, InstanceId, Pointer, display_safe};
use crate::status::InstanceStatus;
use crate::store::{Store, StoreError, Transaction, cycles, drifts, instances};
use crate::trust_files::TrustFiles;

/// Explain one drift, or show how a snapshot was read
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift show drf_0198…     a drift: values, times, and what to do
  authdrift show sha256:9f86…  a snapshot: the requests that read it")]
pub(crate) struct ShowOptions {
    /// A drift (drf_…, or a unique beginning), or the digest of a snapshot (sha256:…)
    #[arg(value_name = "DRIFT|SNAPSHOT")]
    drift: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl ConfiguredCommand for ShowOptions {
    async fn run_with(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, CliError> {
        let store = context.store_to_read()?;
        if self.drift.starts_with("sha256:") {
            return collection(&store, self, out);
        }
        let mut found = store.read(|tx| drifts::find(tx, &self.drift))?;
        let typed = display_safe(&self.drift);
        if found.len() > 1 {
            let ids: Vec<_> = found.iter().map(|(_, drift)| drift.id.to_string()).collect();
            let error = CliError::new(Exit::Usage, format!("'{typed}' can be any of {}", ids.join(", ")));
            return Err(error.with_code("ambiguous-name"));
        }
        let Some((instance, known)) = found.pop() else {
            let ids = store.read(drifts::ids)?;
            let ids = ids.iter().map(DriftId::as_str);
            return Err(CliError::unknown("no drift has the id", &self.drift, ids)
                .with_code("unknown-drift")
                .with_help("`authdrift check` and `authdrift history INSTANCE` show ids"));
        };
        let until = match known.status {
            Status::Approved => store.read(|tx| approved_until(tx, &instance, &known.change.path))?,
            Status::Open | Status::Reverted => None,
        };
        let drift = classified(context, &store, &instance, &known)?;
        if self.json {
            let value = json!({
                "id": known.id, "instance": instance, "section": known.change.section(), "drift": drift,
                "status": known.status.as_str(), "first_seen": written(known.first_seen),
                "last_good": known.last_good.map(written), "closed_at": known.closed_at.map(written),
                "closed_by": known.closed_by, "reopened": known.reopened,
            });
            let until = until.map_or_else(|| json!({}), |until| json!({ "approved_until": until }));
            write_json(out, &merged(value, until))?;
        } else {
            let places = elsewhere(context.catalogues.of(instance.provider), &known.change);
            let others = store.read(|tx| -> Result<_, StoreError> {
                let Some(row) = instances::find(tx, &instance)? else { return Ok(Vec::new()) };
                let others = drifts::load(tx, row)?.into_values();
                let is_other = |other: &Drift| other.status == Status::Open && places.contains(&other.change.path);
                Ok(others.filter(is_other).map(|other| other.change.path).collect())
            })?;
            let status = status(&known, until.as_deref());
            explain(&instance, (&known, &status), &drift, &others, &context.config.approval, out)?;
        }
        Ok(Exit::Ok)
    }
}

/// Classifies the drift as every other output does: among all differences of its instance.
fn classified(context: &Context, store: &Store, id: &InstanceId, known: &Drift) -> Result<Finding, StoreError> {
    let catalogue = context.catalogues.of(id.provider);
    let Some(instance) = context.config.instances.iter().find(|instance| instance.id == *id) else {
        return Ok(classify(catalogue, known.change.clone()));
    };
    let (trust, now) = (TrustFiles::read(&context.config.approval), context.clock.now());
    let loaded = store.read(|tx| InstanceStatus::load_with_findings(tx, instance, catalogue, &trust, now));
    loaded.map(|(_, findings)| findings.of(&known.change).into_owned())
}

/// The end of the newest approval of `path`, if it has one.
fn approved_until(tx: &Transaction<'_>, instance: &InstanceId, path: &Pointer) -> Result<Option<String>, StoreError> {
    let replay = tx.history()?;
    let newest = replay.state.newest(Some(instance), |event| matches!(event, Event::BaselineApproved(_)));
    Ok(match newest.map(|record| &record.event) {
        Some(Event::BaselineApproved(approval)) => approval.until.get(path).map(ToString::to_string),
        _ => None,
    })
}

/// Prints the requests that read a snapshot for the first time.
fn collection(store: &Store, options: &ShowOptions, out: &mut dyn Write) -> Result<Exit, CliError> {
    let typed = display_safe(&options.drift);
    let digest: Digest =
        options.drift.parse().map_err(|_| CliError::new(Exit::Usage, format!("'{typed}' is no digest")))?;
    let Some((at, requests)) = store.read(|tx| cycles::collection(tx, &digest))? else {
        return Err(CliError::new(Exit::Usage, format!("no snapshot has the digest '{typed}'"))
            .with_code("unknown-snapshot")
            .with_help("`authdrift check --json` and `authdrift history INSTANCE --json` show digests"));
    };
    if options.json {
        let value = json!({ "snapshot": digest, "read_at": written(at), "requests": requests });
        write_json(out, &value)?;
        return Ok(Exit::Ok);
    }
    writeln!(out, "Snapshot {digest}, first read at {}:", written(at))?;
    let mut columns = Columns::new(2);
    for request in requests.as_array().into_iter().flatten() {
        let text = |name: &str| match request.get(name) {
            Some(Value::String(text)) => display_safe(text),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        };
        let items = match text("items") {
            items if items.is_empty() => text("error"),
            items => format!("{items} items"),
        };
        let body: String = text("digest").chars().take(19).collect();
        columns.row(PLAIN, [&text("status"), &text("method"), &text("path"), &items, &text("date"), &body]);
    }
    columns.write(out)?;
    Ok(Exit::Ok)
}

fn explain(
    instance: &InstanceId,
    (known, status): (&Drift, &str),
    drift: &Finding,
    others: &[Pointer],
    approval: &ApprovalConfig,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let style = severity_style(drift.meaning.severity);
    writeln!(out, "{BOLD}{}{BOLD:#}", drift.meaning.title)?;
    writeln!(out, "{style}{}{style:#}, {}, {instance}", drift.meaning.severity, drift.meaning.direction)?;
    writeln!(out)?;
    writeln!(out, "  {}", change_words(drift))?;
    writeln!(out, "  {}", drift.meaning.why)?;
    writeln!(out)?;
    let window = match known.last_good {
        Some(last_good) => format!("after {}, first seen {}", written(last_good), written(known.first_seen)),
        None => format!("first seen {}", written(known.first_seen)),
    };
    let mut rows =
        vec![("Status", status.to_owned()), ("When", window), ("Path", display_safe(&drift.change.path.to_string()))];
    rows.extend(others.iter().map(|path| ("Also at", display_safe(&path.to_string()))));
    rows.extend(drift.meaning.dashboard.clone().map(|place| ("Where", place)));
    rows.extend(
        drift.meaning.event.clone().map(|event| ("Who", format!("look for {event} in the vendor's log in that time"))),
    );
    if known.reopened > 0 {
        rows.push(("Before", format!("it had ended and came back, {} so far", times(known.reopened))));
    }
    for (name, text) in rows {
        writeln!(out, "  {name:8}{text}")?;
    }
    if known.status == Status::Open {
        writeln!(out)?;
        writeln!(out, "  Not you?   `authdrift diff {instance} --format revert` shows the way back.")?;
        writeln!(out, "  Intended?  `{} --only {}`", approval.command(instance, drift.meaning.severity), known.id)?;
        if !others.is_empty() {
            writeln!(out, "             takes in the other paths of the setting.")?;
        }
    }
    Ok(())
}

fn status(known: &Drift, until: Option<&str>) -> String {
    let when = known.closed_at.map(written).unwrap_or_default();
    match known.status {
        Status::Open => "open".to_owned(),
        Status::Reverted => format!("reverted {when}"),
        Status::Approved => {
            let who: Vec<_> = known.closed_by.iter().map(|who| display_safe(who)).collect();
            let end = until.map(|until| format!(" until {until}, then it is a drift again")).unwrap_or_default();
            format!("approved {when} by {}{end}", who.join(", "))
        }
    }
}

fn times(number: u32) -> String {
    if number == 1 { "once".to_owned() } else { format!("{number} times") }
}
