//! `authdrift outbox`: what waits, what was given up, and what to do about it.

use std::io::Write;

use chrono::{DateTime, Utc};
use clap::{ArgGroup, Args};
use serde_json::{Value, json};

use crate::cli::alerts::receivers;
use crate::cli::command::command_group;
use crate::cli::options::{Actor, reason};
use crate::cli::output::{BOLD, Columns, PLAIN, merged, time, write_json};
use crate::cli::{AfterCommit, CliError, ConfiguredCommand, Context};
use crate::clock::written;
use crate::delivery::Delivery;
use crate::exit::Exit;
use crate::message::text;
use crate::model::{counted, display_safe};
use crate::store::backlog::{self, QueuedMessage};
use crate::store::{StoreError, Transaction};

command_group! {
    /// Show, retry or drop messages that wait or were given up
    #[command(after_help = "\
A message waits until its receiver accepts it. It is given up when the receiver refuses it for good, \
or after about three days. Delivered messages are kept for 30 days, those given up for 90. The history \
records who retried or dropped a message.

Examples:
  authdrift outbox list
  authdrift outbox show msg_0198…
  authdrift outbox retry --receiver siem
  authdrift outbox drop msg_0198… --reason \"the ticket is closed\"")]
    OutboxCommand {
        /// List messages that wait or were given up
        List(OutboxListOptions),
        /// Show a message: its text, its tries and their outcome
        Show(OutboxShowOptions),
        /// Try messages again now, with all tries left
        Retry(OutboxRetryOptions),
        /// Give a message up; `show` still shows it
        Drop(OutboxDropOptions),
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift outbox list              messages that wait or were given up
  authdrift outbox list --all --json every message, for a program")]
pub(crate) struct OutboxListOptions {
    /// Include messages that were delivered, or folded into another one
    #[arg(long)]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  authdrift outbox show msg_0198…")]
pub(crate) struct OutboxShowOptions {
    /// The message: msg_…, or a unique beginning
    #[arg(value_name = "ID")]
    id: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[group(skip)]
#[command(
    group = ArgGroup::new("which").args(["id", "receiver", "dead"]).required(true).multiple(true),
    after_help = "\
Examples:
  authdrift outbox retry msg_0198…
  authdrift outbox retry --receiver siem
  authdrift outbox retry --dead --receiver siem"
)]
pub(crate) struct OutboxRetryOptions {
    /// One message
    #[arg(value_name = "ID", conflicts_with_all = ["receiver", "dead"])]
    id: Option<String>,
    /// All messages to this receiver that wait or were given up
    #[arg(long, value_name = "NAME")]
    receiver: Option<String>,
    /// Only messages that were given up, of all receivers or of --receiver
    #[arg(long)]
    dead: bool,
    #[command(flatten)]
    by: Actor,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  authdrift outbox drop msg_0198… --reason \"the ticket is closed\"")]
pub(crate) struct OutboxDropOptions {
    /// The message: msg_…, or a unique beginning
    #[arg(value_name = "ID")]
    id: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    by: Actor,
}

impl ConfiguredCommand for OutboxListOptions {
    async fn run_with(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, CliError> {
        let now = context.clock.now();
        let messages = context.store_to_read()?.read(|tx| backlog::list(tx, self.all))?;
        if self.json {
            let messages: Vec<Value> = messages.iter().map(as_json).collect();
            write_json(out, &json!({ "messages": messages }))?;
            return Ok(Exit::Ok);
        }
        if messages.is_empty() {
            writeln!(out, "No message waits or was given up.")?;
            return Ok(Exit::Ok);
        }
        let mut columns = Columns::new(0);
        columns.row(BOLD, ["MESSAGE", "RECEIVER", "STATE", "TRIES", "NEXT", "MADE", "SUBJECT"]);
        for kept in &messages {
            let next = if kept.state == "waiting" { time(kept.next_at, now) } else { "-".to_owned() };
            columns.row(
                PLAIN,
                [
                    display_safe(kept.id.as_str()),
                    display_safe(&kept.receiver),
                    state_words(&kept.state).to_owned(),
                    kept.attempts.to_string(),
                    next,
                    time(kept.created_at, now),
                    display_safe(&kept.subject),
                ],
            );
        }
        columns.write(out)?;
        let unreadable = messages.iter().filter(|kept| kept.alert.is_err()).count();
        if unreadable > 0 {
            writeln!(out, "\nThis version of the program cannot read {}: {NEWER}.", counted(unreadable, "message"))?;
        }
        Ok(Exit::Ok)
    }
}

/// The way out for a message that cannot be read.
const NEWER: &str = "it is sent by the version that wrote it, or given up with `authdrift outbox drop`";

fn state_words(state: &str) -> &'static str {
    match state {
        "waiting" => "waits",
        "delivered" => "delivered",
        "dead" => "given up",
        "folded" => "folded",
        _ => "unknown",
    }
}

fn as_json(kept: &QueuedMessage) -> Value {
    json!({
        "id": kept.id, "receiver": kept.receiver, "instance": kept.instance, "state": kept.state,
        "attempts": kept.attempts, "subject": kept.subject, "created_at": written(kept.created_at),
        "next_at": (kept.state == "waiting").then(|| written(kept.next_at)),
        "done_at": kept.done_at.map(written), "last_outcome": kept.last_outcome,
    })
}

impl ConfiguredCommand for OutboxShowOptions {
    async fn run_with(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, CliError> {
        let kept = context.store_to_read()?.read(|tx| one(tx, &self.id))?;
        if self.json {
            write_json(out, &merged(as_json(&kept), json!({ "alert": kept.alert.as_ref().ok() })))?;
            return Ok(Exit::Ok);
        }
        let now = context.clock.now();
        let mut columns = Columns::new(0);
        let mut fact = |label: &str, text: String| columns.row(PLAIN, [label.to_owned(), text]);
        fact("Message", display_safe(kept.id.as_str()));
        fact("To", display_safe(&kept.receiver));
        fact("Made", written(kept.created_at));
        fact("State", state_line(&kept, now));
        if !kept.last_outcome.is_empty() {
            fact("Last outcome", display_safe(&kept.last_outcome));
        }
        fact("Subject", display_safe(&kept.subject));
        columns.write(out)?;
        writeln!(out)?;
        let alert = match &kept.alert {
            Ok(alert) => alert,
            Err(reason) => {
                let reason = display_safe(reason);
                writeln!(out, "This version of the program cannot read the message ({reason}): {NEWER}.")?;
                return Ok(Exit::Ok);
            }
        };
        let text = text::render(alert)
            .map_err(|error| CliError::new(Exit::Internal, format!("cannot write the message as text: {error}")))?;
        writeln!(out, "{}", text.trim_end())?;
        Ok(Exit::Ok)
    }
}

fn state_line(kept: &QueuedMessage, now: DateTime<Utc>) -> String {
    let tries = match kept.attempts {
        0 => "never tried".to_owned(),
        1 => "tried once".to_owned(),
        n => format!("tried {n} times"),
    };
    match (kept.state.as_str(), kept.done_at) {
        ("waiting", _) => format!("waits, {tries}, next at {}", time(kept.next_at, now)),
        (state, Some(done)) => format!("{} at {}, {tries}", state_words(state), time(done, now)),
        (state, None) => format!("{}, {tries}", state_words(state)),
    }
}

impl ConfiguredCommand for OutboxRetryOptions {
    async fn run_with(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, CliError> {
        let now = context.clock.now();
        let store = context.existing_store()?;
        let delivery = Delivery::new(&store, &context.clock, &context.config.receivers)?;
        let by = self.by.name();
        if let Some(name) = &self.receiver {
            receivers::find(context, name)?;
        }
        let (retried, gone) = store.write(|tx| -> Result<_, CliError> {
            let messages = match &self.id {
                Some(id) => vec![one(tx, id)?],
                None => backlog::list(tx, false)?
                    .into_iter()
                    .filter(|kept| self.receiver.as_ref().is_none_or(|receiver| kept.receiver == *receiver))
                    .filter(|kept| !self.dead || kept.state == "dead")
                    // It would be given up again.
                    .filter(|kept| kept.alert.is_ok())
                    .collect(),
            };
            let (mut retried, mut gone) = (0, Vec::new());
            for kept in messages {
                // A message that is being sent gets its answer first.
                if kept.claimed_to > now && self.id.is_none() {
                    continue;
                }
                check_open(&kept, now)?;
                match check_receiver(context, &kept) {
                    // A message to a receiver that is gone does not stop the others.
                    Err(error) if self.id.is_none() => {
                        gone.push(error.message);
                        continue;
                    }
                    checked => checked?,
                }
                if let Err(reason) = &kept.alert {
                    let (id, reason) = (display_safe(kept.id.as_str()), display_safe(reason));
                    let message =
                        format!("this version of the program cannot read {id}, so it cannot send it: {reason}");
                    return Err(CliError::new(Exit::Usage, message).with_help(NEWER));
                }
                backlog::retry(tx, &kept, &by, now)?;
                retried += 1;
            }
            Ok((retried, gone))
        })?;
        for reason in &gone {
            writeln!(out, "Skipped: {reason}")?;
        }
        if retried == 0 {
            writeln!(out, "Nothing to try again.")?;
            return Ok(Exit::Ok);
        }
        let retried = counted(retried, "message");
        let mut after = AfterCommit::of(format!("{retried} will be tried again"));
        after.print(out, format_args!("{retried} will be tried again now."));
        after.deliver(&delivery, &store).await;
        after.end(Exit::Ok)
    }
}

impl ConfiguredCommand for OutboxDropOptions {
    async fn run_with(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, CliError> {
        let now = context.clock.now();
        let reason = reason(&self.reason, "it")?;
        let by = self.by.name();
        let store = context.existing_store()?;
        let id = store.write(|tx| -> Result<_, CliError> {
            let kept = one(tx, &self.id)?;
            check_open(&kept, now)?;
            backlog::give_up(tx, &kept, &by, reason, now)?;
            Ok(kept.id)
        })?;
        let mut after = AfterCommit::of(format!("{id} is given up"));
        after.print(out, format_args!("{id} is given up. To see it: authdrift outbox show {id}"));
        after.then(store.finished());
        after.end(Exit::Ok)
    }
}

/// Refuses a message that is done or being sent.
fn check_open(kept: &QueuedMessage, now: DateTime<Utc>) -> Result<(), CliError> {
    let id = display_safe(kept.id.as_str());
    if !matches!(kept.state.as_str(), "waiting" | "dead") {
        let message = format!("{id} is {}: there is nothing to do about it", state_words(&kept.state));
        return Err(CliError::new(Exit::Usage, message));
    }
    if kept.state == "waiting" && kept.claimed_to > now {
        let message = format!("{id} is being sent right now");
        return Err(CliError::new(Exit::Usage, message).with_help("try again in a minute"));
    }
    Ok(())
}

/// A message to a receiver that is gone or was given another name can only be dropped.
fn check_receiver(context: &Context, kept: &QueuedMessage) -> Result<(), CliError> {
    let name = &kept.receiver;
    if context.config.receivers.iter().any(|receiver| receiver.name == *name) {
        return Ok(());
    }
    let id = display_safe(kept.id.as_str());
    let message = format!("{id} is for '{}', which is not configured any more", display_safe(name));
    Err(CliError::new(Exit::Usage, message)
        .with_help(format!("give the receiver its name back, or `authdrift outbox drop {id}`")))
}

/// The message with this id or unique beginning.
fn one(tx: &Transaction<'_>, id: &str) -> Result<QueuedMessage, CliError> {
    let found: Result<Vec<QueuedMessage>, StoreError> = backlog::find(tx, id);
    let mut found = found?.into_iter();
    match (found.next(), found.next()) {
        (Some(kept), None) => Ok(kept),
        (None, _) => {
            let kept = backlog::list(tx, true)?;
            let ids = kept.iter().map(|kept| kept.id.as_str());
            let error = CliError::unknown("there is no message", id, ids).with_code("unknown-message");
            Err(error.with_help("`authdrift outbox list --all` lists them"))
        }
        (Some(_), Some(_)) => Err(CliError::ambiguous_id(id)),
    }
}
