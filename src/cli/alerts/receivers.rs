//! `authdrift receivers`: who is told, how that goes, and whether it would work.

use std::io::Write;

use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::{Value, json};

use crate::cli::command::command_group;
use crate::cli::options::word;
use crate::cli::output::{BOLD, Columns, PLAIN, merged, time, write_json};
use crate::cli::{AfterCommit, CliError, ConfiguredCommand, Context};
use crate::clock::written;
use crate::config::{Filter, Receiver, ReceiverKind};
use crate::delivery::{self, target};
use crate::exit::Exit;
use crate::history::outgoing::ReceiverHealth;
use crate::host::hostname;
use crate::message::sample::{SampleKind, sample};
use crate::message::{Alert, Message};
use crate::model::{Digest, HistoryMark, InstanceId, MessageId, Severity, display_safe, display_safe_sentence};
use crate::receiver::{Attempt, Sender, public_key};
use crate::secrets;
use crate::store::outbox::{self, ReceiverState};
use crate::store::receivers;
use crate::store::{Store, StoreError, events};

command_group! {
    /// Show, test and enable receivers
    #[command(after_help = "\
Examples:
  authdrift receivers list
  authdrift receivers test siem
  authdrift receivers enable siem")]
    ReceiversCommand {
        /// Show every receiver: its filter, its health and the messages that wait for it
        List(ReceiversListOptions),
        /// Send a sample to one receiver and show what it answers
        Test(ReceiversTestOptions),
        /// Enable a receiver that was disabled, or that pauses after failures
        Enable(ReceiversEnableOptions),
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift receivers list         also the public keys of webhooks
  authdrift receivers list --json  for a program")]
pub(crate) struct ReceiversListOptions {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift receivers test security                 a drift of two settings
  authdrift receivers test on-call --kind reverted  the end of that drift
  authdrift receivers test siem --kind blind        a blind section

The message is marked as a sample, sent once and not recorded. Filters do not apply to it.

Exit codes: 0 accepted, 74 not")]
pub(crate) struct ReceiversTestOptions {
    /// The name of the receiver in the configuration
    #[arg(value_name = "NAME")]
    name: String,
    /// The event that the sample reports: a drift, its end, or a section that cannot be read
    #[arg(long, value_name = "KIND", default_value = "drift", value_parser = word(&SampleKind::ALL, SampleKind::as_str))]
    kind: SampleKind,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  authdrift receivers enable siem  its waiting messages are sent at once")]
pub(crate) struct ReceiversEnableOptions {
    /// The name of the receiver in the configuration
    #[arg(value_name = "NAME")]
    name: String,
}

struct ReceiverLine<'a> {
    receiver: &'a Receiver,
    state: ReceiverState,
    health: ReceiverHealth,
    /// `whpk_…`, or why a secret cannot be read here.
    keys: Vec<Result<String, String>>,
}

impl ReceiverLine<'_> {
    fn as_json(&self, now: DateTime<Utc>) -> Value {
        let filter = &self.receiver.filter;
        let keys: Vec<&String> = self.keys.iter().filter_map(|key| key.as_ref().ok()).collect();
        let configured = json!({
            "kind": self.receiver.kind.as_str(), "min_severity": filter.min_severity, "instances": filter.instances,
            "categories": filter.categories, "public_keys": keys,
        });
        merged(as_json(self.receiver, &self.state, &self.health, now), configured)
    }
}

impl ConfiguredCommand for ReceiversListOptions {
    async fn run_with(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, CliError> {
        let store = match context.config.store.exists() {
            true => Some(context.store_to_read()?),
            false => None,
        };
        let mut lines = Vec::new();
        for receiver in &context.config.receivers {
            let (state, health) = match &store {
                Some(store) => store.read(|tx| -> Result<_, StoreError> {
                    let state = outbox::receiver_state(tx, &receiver.name)?;
                    Ok((state, receivers::health(tx, &receiver.name, &target(receiver))?))
                })?,
                None => Default::default(),
            };
            lines.push(ReceiverLine { receiver, state, health, keys: public_keys(&receiver.kind) });
        }
        let now = context.clock.now();
        if self.json {
            let rows: Vec<Value> = lines.iter().map(|line| line.as_json(now)).collect();
            write_json(out, &json!({ "receivers": rows }))?;
            return Ok(Exit::Ok);
        }
        if lines.is_empty() {
            writeln!(out, "No receiver is configured, so no alert is sent. config.example.toml shows every kind.")?;
            return Ok(Exit::Ok);
        }
        let mut columns = Columns::new(0);
        columns.row(BOLD, ["RECEIVER", "KIND", "WANTS", "STATE", "LAST DELIVERY", "WAITING", "FAILED"]);
        for line in &lines {
            let last = line.state.last_delivery.as_ref();
            columns.row(
                PLAIN,
                [
                    line.receiver.name.clone(),
                    line.receiver.kind.as_str().to_owned(),
                    wants(&line.receiver.filter),
                    state_words(&line.health, now),
                    last.map_or("never".to_owned(), |(at, _)| time(*at, now)),
                    line.state.waiting.to_string(),
                    line.state.dead.to_string(),
                ],
            );
        }
        columns.write(out)?;
        for line in &lines {
            let name = &line.receiver.name;
            for key in &line.keys {
                match key {
                    Ok(key) => writeln!(out, "{name} signs with the private half of {key}")?,
                    Err(reason) => writeln!(out, "{name}: {reason}")?,
                }
            }
            if let Some((_, reason)) = &line.health.disabled {
                writeln!(
                    out,
                    "{name} answered '{}' and gets nothing until its configuration changes or `authdrift receivers enable {name}`",
                    display_safe(reason)
                )?;
            } else if let Some(trouble) = &line.state.trouble {
                writeln!(out, "{name}: {}", display_safe_sentence(trouble))?;
            }
        }
        Ok(Exit::Ok)
    }
}

impl ConfiguredCommand for ReceiversTestOptions {
    async fn run_with(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, CliError> {
        let receiver = find(context, &self.name)?;
        let refused = |reason: &str, help: &str| {
            let text = format!("receiver '{}' did not take the sample: {reason}", receiver.name);
            Err(CliError::new(Exit::Io, text).with_help(help))
        };
        let (id, attempt) = send_sample(context, receiver, self.kind).await?;
        match attempt {
            Attempt::Delivered(answer) => {
                writeln!(out, "'{}' took the sample {id}: {answer}", receiver.name)?;
                if matches!(receiver.kind, ReceiverKind::Teams(_)) {
                    writeln!(out, "That means only that Teams queued it: look whether it appears in the channel.")?;
                }
                Ok(Exit::Ok)
            }
            Attempt::Transient(reason, _)
            | Attempt::RateLimited(reason, _)
            | Attempt::PartiallyDelivered(reason, _) => {
                refused(&reason, "an alert would be tried again for three days")
            }
            Attempt::Permanent(reason) => {
                refused(&reason, "an alert would be given up: fix the receiver's configuration")
            }
            Attempt::Disabled(reason) => {
                refused(&reason, "after that nothing would be sent any more: make a new address there")
            }
        }
    }
}

/// Sends a sample to `receiver` and returns its id and the outcome. Nothing is recorded.
pub(in crate::cli) async fn send_sample(
    context: &Context,
    receiver: &Receiver,
    kind: SampleKind,
) -> Result<(MessageId, Attempt), CliError> {
    let now = context.clock.now();
    let mut message = Message::new(&receiver.name, sample(frame(context, receiver, now)?, kind), now);
    message.body = crate::receiver::body(&receiver.kind, &message);
    let attempt = Sender::new(receiver)?.send(&message, now).await;
    Ok((message.id, attempt))
}

impl ConfiguredCommand for ReceiversEnableOptions {
    async fn run_with(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, CliError> {
        let receiver = find(context, &self.name)?;
        let store = context.existing_store()?;
        let now = context.clock.now();
        let (forgotten, state) = store.write(|tx| -> Result<_, StoreError> {
            let forgotten = delivery::enable(tx, &receiver.name, now)?;
            Ok((forgotten, outbox::receiver_state(tx, &receiver.name)?))
        })?;
        let was = if forgotten { "is tried again" } else { "was not disabled" };
        let mut after = AfterCommit::of(format!("'{}' {was}", receiver.name));
        after.print(out, format_args!("'{}' {was}; {} for it.", receiver.name, waits(state.waiting)));
        after.then(store.finished());
        after.end(Exit::Ok)
    }
}

fn waits(count_waiting: u64) -> String {
    match count_waiting {
        0 => "nothing waits".to_owned(),
        1 => "1 message waits".to_owned(),
        many => format!("{many} messages wait"),
    }
}

pub(in crate::cli) fn find<'a>(context: &'a Context, name: &str) -> Result<&'a Receiver, CliError> {
    let all = &context.config.receivers;
    if let Some(receiver) = all.iter().find(|receiver| receiver.name == name) {
        return Ok(receiver);
    }
    let names = all.iter().map(|receiver| receiver.name.as_str());
    let error = CliError::unknown("no receiver is called", name, names).with_code("unknown-receiver");
    Err(error.with_help("`authdrift receivers list` lists them"))
}

/// The frame of a sample, for the first instance that the filter of the receiver has.
fn frame(context: &Context, receiver: &Receiver, now: DateTime<Utc>) -> Result<Alert, CliError> {
    let wanted: Option<InstanceId> = match &receiver.filter.instances {
        Some(instances) => instances.first().cloned(),
        None => context.config.instances.first().map(|instance| instance.id.clone()),
    };
    let mark = match context.config.store.exists() {
        true => context.store_to_read()?.read(events::mark)?,
        false => None,
    };
    let event = mark.unwrap_or_else(|| HistoryMark { size: 0, head: Digest::of(b"") });
    let approvers_needed = context.config.approval.rules.most();
    let frame = Alert::of_watch(Vec::new(), now, event, hostname());
    Ok(Alert { instance: wanted, resource: "sample".to_owned(), approvers_needed, ..frame })
}

/// `from high; clerk:prod; mfa, keys`
fn wants(filter: &Filter) -> String {
    let mut words = vec![match filter.min_severity {
        Severity::Info => "everything".to_owned(),
        severity => format!("from {severity}"),
    }];
    if let Some(instances) = &filter.instances {
        words.push(instances.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
    }
    if let Some(categories) = &filter.categories {
        words.push(categories.iter().map(|category| category.as_str()).collect::<Vec<_>>().join(", "));
    }
    words.join("; ")
}

pub(in crate::cli) fn state_words(health: &ReceiverHealth, now: DateTime<Utc>) -> String {
    if let Some((since, _)) = &health.disabled {
        return format!("disabled {}", time(*since, now));
    }
    match (health.resting_until(now), health.breaker.failures) {
        (Some(until), 0 | 1) => format!("resting till {}", time(until, now)),
        (Some(until), failures) => format!("resting till {}, failed {failures} times", time(until, now)),
        (None, 0) => "well".to_owned(),
        (None, 1) => "failed once".to_owned(),
        (None, failures) => format!("failed {failures} times"),
    }
}

/// The public half of every key pair among the secrets.
fn public_keys(kind: &ReceiverKind) -> Vec<Result<String, String>> {
    let ReceiverKind::Webhook(hook) = kind else { return Vec::new() };
    let key = |reference| {
        let secret = secrets::read(reference).map_err(|error| error.to_string())?;
        public_key(&secret).map_err(|error| error.to_string())
    };
    hook.secrets.iter().filter_map(|reference| key(reference).transpose()).collect()
}

/// The state of a receiver as JSON, as `receivers list` and `status` print it.
pub(in crate::cli) fn as_json(
    receiver: &Receiver,
    state: &ReceiverState,
    health: &ReceiverHealth,
    now: DateTime<Utc>,
) -> Value {
    let last = state.last_delivery.as_ref().map(|(at, answer)| json!({ "at": written(*at), "answer": answer }));
    let disabled = health.disabled.as_ref();
    json!({
        "receiver": receiver.name, "waiting": state.waiting, "failed": state.dead, "last_delivery": last,
        "trouble": state.trouble, "failures_in_a_row": health.breaker.failures,
        "resting_until": health.resting_until(now).map(written),
        "disabled": disabled.map(|(since, reason)| json!({ "since": written(*since), "reason": reason })),
    })
}

pub(in crate::cli) fn health_of(store: &Store, receiver: &Receiver) -> Result<ReceiverHealth, StoreError> {
    match store.read(|tx| receivers::health(tx, &receiver.name, &target(receiver))) {
        // That the history does not verify stands beside every instance.
        Err(StoreError::History(_)) => Ok(ReceiverHealth::default()),
        health => health,
    }
}
