//! `receivers`.

use clap::{Args, Subcommand, ValueEnum};

use crate::message::sample::SampleKind;

/// Show who is told, and try receivers out.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  authdrift receivers list
  authdrift receivers test siem
  authdrift receivers enable siem")]
pub enum ReceiversCommand {
    /// Show every receiver: what it wants to hear, how it is doing, what waits for it
    List(ReceiversListOptions),
    /// Send a sample to one receiver and show what it answers
    Test(ReceiversTestOptions),
    /// Try a receiver again that said it wants nothing any more, or that failed often
    Enable(ReceiversEnableOptions),
}

/// `receivers list`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift receivers list         with the public keys of those that have one
  authdrift receivers list --json  for a program")]
pub struct ReceiversListOptions {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `receivers test`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift receivers test security                 two settings that drifted
  authdrift receivers test on-call --kind reverted  ends what the first began
  authdrift receivers test siem --kind blind

The sample is marked as one, is sent once, and is kept nowhere. Filters do not apply to it. Exit codes: 0 it was taken, \
74 it was not.")]
pub struct ReceiversTestOptions {
    /// The receiver's name in the configuration
    #[arg(value_name = "NAME")]
    pub name: String,
    /// What the sample tells
    #[arg(long, value_name = "KIND", default_value = "drift")]
    pub kind: Sample,
}

/// What a sample tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sample {
    /// Two settings drifted.
    Drift,
    /// They are back at the approved values.
    Reverted,
    /// A section cannot be read.
    Blind,
}

impl From<Sample> for SampleKind {
    fn from(sample: Sample) -> Self {
        match sample {
            Sample::Drift => Self::Drift,
            Sample::Reverted => Self::Reverted,
            Sample::Blind => Self::Blind,
        }
    }
}

/// `receivers enable`
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  authdrift receivers enable siem  what waits for it is sent at once")]
pub struct ReceiversEnableOptions {
    /// The receiver's name in the configuration
    #[arg(value_name = "NAME")]
    pub name: String,
}
