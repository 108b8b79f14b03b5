//! `outbox`.

use clap::{ArgGroup, Args, Subcommand};

/// Look at messages that wait, and at those that were given up.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
A message waits until its receiver takes it, and is given up when the receiver refuses it for good \
or after some three days. Both stay to be looked at; who retried or dropped one is in the history. \
When a receiver is back after an outage and more than three messages about one instance wait that \
were never tried, it gets one that says what they say. What was delivered is kept for 30 days, what \
was given up for 90.

Examples:
  authdrift outbox list
  authdrift outbox show msg_0198…
  authdrift outbox retry --receiver siem
  authdrift outbox drop msg_0198… --reason \"the ticket is closed\"")]
pub enum OutboxCommand {
    /// List what waits and what was given up
    List(OutboxListOptions),
    /// Show a message: what it says, how often it was tried, and what came of it
    Show(OutboxShowOptions),
    /// Try messages again now, with all their tries before them
    Retry(OutboxRetryOptions),
    /// Give a message up; it stays to be looked at
    Drop(OutboxDropOptions),
}

/// `outbox list`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift outbox list
  authdrift outbox list --all --json")]
pub struct OutboxListOptions {
    /// Also what was delivered, or folded into another message
    #[arg(long)]
    pub all: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `outbox show`
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  authdrift outbox show msg_0198…")]
pub struct OutboxShowOptions {
    /// The message, msg_…, of which a unique beginning is enough
    #[arg(value_name = "ID")]
    pub id: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `outbox retry`
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
pub struct OutboxRetryOptions {
    /// One message
    #[arg(value_name = "ID", conflicts_with_all = ["receiver", "dead"])]
    pub id: Option<String>,
    /// Everything that waits for this receiver, or was given up there
    #[arg(long, value_name = "NAME")]
    pub receiver: Option<String>,
    /// Only what was given up; of every receiver, unless one is named
    #[arg(long)]
    pub dead: bool,
    /// In whose name [default: the user and the machine]
    #[arg(long = "as", value_name = "NAME")]
    pub name: Option<String>,
}

/// `outbox drop`
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  authdrift outbox drop msg_0198… --reason \"the ticket is closed\"")]
pub struct OutboxDropOptions {
    /// The message, msg_…, of which a unique beginning is enough
    #[arg(value_name = "ID")]
    pub id: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// In whose name [default: the user and the machine]
    #[arg(long = "as", value_name = "NAME")]
    pub name: Option<String>,
}
