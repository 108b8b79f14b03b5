//! `authdrift show`: one drift, explained.

use std::io::Write;

use serde_json::json;

use super::CliError;
use super::args::ShowOptions;
use super::context::Context;
use super::output::{BOLD, severity_style};
use crate::classify::{Drift, assess};
use crate::clock::written;
use crate::exit::Exit;
use crate::incident::{Known, Status};
use crate::message::values;
use crate::model::{InstanceId, display_safe};
use crate::store::drifts;

/// Explains one drift.
///
/// # Errors
/// No drift, or more than one, has that id.
pub fn show(context: &Context, options: &ShowOptions, out: &mut dyn Write) -> Result<Exit, CliError> {
    let store = context.existing_store()?;
    let mut found = store.read(|tx| drifts::find(tx, &options.drift))?;
    let typed = display_safe(&options.drift);
    if found.len() > 1 {
        let ids: Vec<_> = found.iter().map(|(_, drift)| drift.id.to_string()).collect();
        return Err(CliError::new(Exit::Usage, format!("'{typed}' can be any of {}", ids.join(", "))));
    }
    let Some((instance, known)) = found.pop() else {
        return Err(CliError::new(Exit::Usage, format!("no drift has the id '{typed}'"))
            .with_help("`authdrift check` and `authdrift history INSTANCE` show ids"));
    };
    let drift = assess(context.catalogues.of(instance.provider), known.change.clone());
    if options.json {
        let value = json!({
            "id": known.id, "instance": instance, "section": known.change.section(), "drift": drift,
            "status": known.status.as_str(), "first_seen": written(known.first_seen),
            "last_good": known.last_good.map(written), "closed_at": known.closed_at.map(written),
            "closed_by": known.closed_by, "reopened": known.reopened,
        });
        serde_json::to_writer_pretty(&mut *out, &value)?;
        writeln!(out)?;
    } else {
        explain(&instance, &known, &drift, out)?;
    }
    Ok(Exit::Ok)
}

fn explain(instance: &InstanceId, known: &Known, drift: &Drift, out: &mut dyn Write) -> Result<(), CliError> {
    let style = severity_style(drift.severity);
    let change = &drift.change;
    writeln!(out, "{BOLD}{}{BOLD:#}", drift.title)?;
    writeln!(out, "{style}{}{style:#}, {}, {instance}", drift.severity, drift.direction)?;
    writeln!(out)?;
    writeln!(out, "  {}", values::change(change.kind, &change.before, &change.after, drift.unit))?;
    writeln!(out, "  {}", drift.why)?;
    writeln!(out)?;
    let window = match known.last_good {
        Some(last_good) => format!("after {}, first seen {}", written(last_good), written(known.first_seen)),
        None => format!("first seen {}", written(known.first_seen)),
    };
    let mut rows = vec![("Status", status(known)), ("When", window), ("Path", display_safe(&change.path.to_string()))];
    rows.extend(drift.dashboard.clone().map(|place| ("Where", place)));
    rows.extend(drift.event.clone().map(|event| ("Who", format!("look for {event} in the vendor's log in that time"))));
    if known.reopened > 0 {
        rows.push(("Before", format!("it had ended and came back, {} so far", times(known.reopened))));
    }
    for (name, text) in rows {
        writeln!(out, "  {name:8}{text}")?;
    }
    if known.status == Status::Open {
        writeln!(out)?;
        writeln!(out, "  Not you?   `authdrift diff {instance} --format revert` shows the way back.")?;
        writeln!(out, "  Intended?  `authdrift approve {instance} --reason TEXT --only {}`", known.id)?;
    }
    Ok(())
}

fn status(known: &Known) -> String {
    let when = known.closed_at.map(written).unwrap_or_default();
    match known.status {
        Status::Open => "open".to_owned(),
        Status::Reverted => format!("reverted {when}"),
        Status::Approved => {
            let who: Vec<_> = known.closed_by.iter().map(|who| display_safe(who)).collect();
            format!("approved {when} by {}", who.join(", "))
        }
    }
}

fn times(number: u32) -> String {
    if number == 1 { "once".to_owned() } else { format!("{number} times") }
}
