//! `demo`, `check` and `status`: what is read, and how that goes.

use std::path::PathBuf;

use clap::Args;

/// `demo`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift demo
  authdrift demo ~/authdrift-demo

The folder stays, with configuration, database, mails and webhooks to look at.")]
pub struct DemoOptions {
    /// Where to leave everything [default: a new folder in the temporary directory]
    #[arg(value_name = "DIR")]
    pub folder: Option<PathBuf>,
}

/// `check`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift check              all instances
  authdrift check prod --json  one, for a program
  authdrift check --no-store   look without recording or telling anybody")]
pub struct CheckOptions {
    /// Instances to read [default: all]; the prefix may be left out when the name is unique
    #[arg(value_name = "INSTANCE")]
    pub instances: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Record nothing and tell nobody
    #[arg(long)]
    pub no_store: bool,
}

/// `status`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift status         one screen
  authdrift status --json  for a program")]
pub struct StatusOptions {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
