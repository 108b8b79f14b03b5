//! `authdrift history`: what happened to an instance.

use std::io::Write;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::output::{Columns, DIM, write_json};
use crate::cli::{CliError, ConfiguredCommand, Context};
use crate::exit::Exit;
use crate::message::{listed, values};
use crate::model::display_safe;
use crate::store::events::{self, Record};

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
        let (events, mark) = store
            .read(|tx| -> Result<_, CliError> { Ok((events::all(tx, Some(&instance.id))?, events::mark(tx)?)) })?;
        if self.json {
            write_json(out, &json!({ "instance": instance.id, "events": events, "history": mark }))?;
            return Ok(Exit::Ok);
        }
        if events.is_empty() {
            writeln!(out, "No event of {} is recorded yet.", instance.id)?;
            return Ok(Exit::Ok);
        }
        let mut columns = Columns::new(0);
        for event in &events {
            columns.row(DIM, [event.at.clone(), event.seq.to_string(), event.kind.clone(), words(event)]);
        }
        columns.write(out)?;
        Ok(Exit::Ok)
    }
}

/// An event in one line.
fn words(event: &Record) -> String {
    let data = &event.data;
    let text = |name: &str| data.get(name).and_then(Value::as_str).map(display_safe);
    match event.kind.split_once('.').map_or("", |(subject, _)| subject) {
        // What is only about telling names the drift and, if one kept it quiet, the silence.
        "drift" if data.get("path").is_none() => {
            [text("drift"), text("silence")].into_iter().flatten().collect::<Vec<_>>().join("  ")
        }
        "silence" => {
            let matched = data.get("match").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
            let matched = matched.map(display_safe).collect::<Vec<_>>().join(", ");
            let until = text("until").map(|until| format!("until {until}")).unwrap_or_default();
            let (by, reason) = (text("by").unwrap_or_default(), text("reason").unwrap_or_default());
            let parts = [text("silence").unwrap_or_default(), matched, until, format!("by {by}"), reason];
            parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  ")
        }
        "drift" => {
            let (before, after) = (data.get("before"), data.get("after"));
            let show = |value: Option<&Value>| value.map(|value| values::show(value, None)).unwrap_or_default();
            let (from, to) = match event.kind.as_str() {
                "drift.reverted" => (show(after), show(before)),
                _ => (show(before), show(after)),
            };
            let path = text("path").unwrap_or_default();
            // A member of a set comes or goes; the set itself was there before.
            match data.get("member").is_some() {
                true if before.is_none_or(Value::is_null) == (event.kind != "drift.reverted") => {
                    format!("{path}  + {to}")
                }
                true => format!("{path}  - {from}"),
                false => format!("{path}  {from} -> {to}"),
            }
        }
        "baseline" => match (data.get("sequence"), text("reason")) {
            (Some(sequence), reason) => {
                let who = data.get("approvers").and_then(Value::as_array).into_iter().flatten();
                let who: Vec<_> = who.filter_map(Value::as_str).map(display_safe).collect();
                let ends = data.get("until").and_then(Value::as_object).into_iter().flatten();
                let ends = ends.filter_map(|(path, end)| Some((display_safe(path), display_safe(end.as_str()?))));
                let ends: Vec<String> = ends.map(|(path, end)| format!("{path} until {end}")).collect();
                let ends = if ends.is_empty() { String::new() } else { format!("; {}", listed(&ends, "setting")) };
                format!("{sequence} by {}: {}{ends}", who.join(", "), reason.unwrap_or_default())
            }
            (None, reason) => reason.unwrap_or_default(),
        },
        "section" => [text("section"), text("reason")].into_iter().flatten().collect::<Vec<_>>().join("  "),
        "delivery" => [text("receiver"), text("message"), text("into"), text("by"), text("reason")]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join("  "),
        _ => display_safe(&data.to_string()),
    }
}
