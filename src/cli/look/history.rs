//! `authdrift history`: what happened to an instance.

use std::io::Write;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::output::{Columns, DIM, write_json};
use crate::cli::{CliError, ConfiguredCommand, Context};
use crate::exit::Exit;
use crate::history::data::DriftChange;
use crate::history::{Event, Record};
use crate::message::{listed, values};
use crate::model::display_safe;
use crate::store::events;

/// Show the recorded events of an instance
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift history clerk:prod         every event, oldest first
  authdrift history clerk:prod --json  with the digest of each event")]
pub(crate) struct HistoryOptions {
    /// The instance
    #[arg(value_name = "INSTANCE")]
    instance: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl ConfiguredCommand for HistoryOptions {
    async fn run_with(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, CliError> {
        let instance = context.config.instance(&self.instance)?;
        let store = context.store_to_read()?;
        if self.json {
            let (events, mark) = store.read(|tx| -> Result<_, CliError> {
                Ok((events::all::<Value>(tx, Some(&instance.id))?, events::mark(tx)?))
            })?;
            write_json(out, &json!({ "instance": instance.id, "events": events, "history": mark }))?;
            return Ok(Exit::Ok);
        }
        let events = store.read(|tx| events::all::<Record>(tx, Some(&instance.id)))?;
        if events.is_empty() {
            writeln!(out, "No event of {} is recorded yet.", instance.id)?;
            return Ok(Exit::Ok);
        }
        let mut columns = Columns::new(0);
        for record in &events {
            let Record { seq, at, event, .. } = record;
            columns.row(DIM, [at.to_string(), seq.to_string(), event.kind().to_owned(), words(event)]);
        }
        columns.write(out)?;
        Ok(Exit::Ok)
    }
}

/// An event in one line.
fn words(event: &Event) -> String {
    match event {
        Event::DriftOpened(change)
        | Event::DriftReopened(change)
        | Event::DriftChanged(change)
        | Event::DriftApproved(change) => change_in_words(change, false),
        Event::DriftReverted(change) => change_in_words(change, true),
        Event::DriftSilenced(drift) | Event::DriftUnexpected(drift) => {
            joined(&[drift.drift.as_str(), drift.silence.as_str()])
        }
        Event::DriftTold(drift)
        | Event::DriftReminded(drift)
        | Event::DriftFlapping(drift)
        | Event::DriftSettled(drift) => joined(&[drift.drift.as_str()]),
        Event::SilenceAdded(added) => {
            let matched = added.matchers.join(", ");
            let (until, by) = (format!("until {}", added.until), format!("by {}", added.by));
            joined(&[added.silence.as_str(), &matched, &until, &by, &added.reason])
        }
        Event::SilenceExpired(expired) => joined(&[expired.silence.as_str(), &format!("by {}", expired.by)]),
        Event::SilenceEnded(ended) => joined(&[ended.silence.as_str(), &format!("by {}", ended.by), &ended.reason]),
        Event::BaselineApproved(approval) => {
            let who: Vec<String> = approval.approvers.iter().map(|approver| display_safe(approver)).collect();
            let ends =
                approval.until.iter().map(|(path, end)| format!("{} until {end}", display_safe(&path.to_string())));
            let ends: Vec<String> = ends.collect();
            let ends = if ends.is_empty() { String::new() } else { format!("; {}", listed(&ends, "setting")) };
            let reason = approval.reason.as_deref().map(display_safe).unwrap_or_default();
            format!("{} by {}: {reason}{ends}", approval.sequence, who.join(", "))
        }
        Event::BaselineUntrusted(untrusted) => display_safe(&untrusted.reason),
        Event::BaselineTrusted(_) => String::new(),
        Event::SectionBlind(begin) | Event::SectionSuspect(begin) | Event::SectionUnbaselined(begin) => {
            joined(&[&begin.section, &begin.reason])
        }
        Event::SectionSeeingAgain(end) | Event::SectionLeftOut(end) => joined(&[&end.section]),
        Event::DeliveryDone(done) => joined(&[&done.this.receiver, done.this.message.as_str()]),
        Event::DeliveryFailed(failed) => joined(&[&failed.this.receiver, failed.this.message.as_str(), &failed.reason]),
        Event::DeliveryGivenUp(end) => joined(&[&end.this.receiver, end.this.message.as_str(), &end.reason]),
        Event::DeliveryDropped(end) => joined(&[&end.receiver, end.message.as_str(), &end.by, &end.reason]),
        Event::DeliveryRetried(retried) => joined(&[&retried.receiver, retried.message.as_str(), &retried.by]),
        Event::DeliveryFolded(folded) => joined(&[&folded.receiver, folded.message.as_str(), folded.into.as_str()]),
        Event::DeliveryRefused(refused) => joined(&[&refused.receiver, refused.message.as_str(), &refused.reason]),
        _ => display_safe(&event.data().unwrap_or_default().to_string()),
    }
}

fn joined(parts: &[&str]) -> String {
    let parts = parts.iter().filter(|part| !part.is_empty());
    parts.map(|part| display_safe(part)).collect::<Vec<_>>().join("  ")
}

/// A change from what was approved, or back to it.
fn change_in_words(change: &DriftChange, is_back: bool) -> String {
    let show = |value: &Value| values::show(value, None);
    let (before, after) = (show(&change.before), show(&change.after));
    let (from, to) = if is_back { (after, before) } else { (before, after) };
    let path = display_safe(&change.path.to_string());
    // A member of a set comes or goes; the set itself was there before.
    match change.member {
        true if change.before.is_null() != is_back => format!("{path}  + {to}"),
        true => format!("{path}  - {from}"),
        false => format!("{path}  {from} -> {to}"),
    }
}
