//! The options of `authdrift demo`. The demo itself types the other commands, so it lies above them, in `src/demo.rs`.

use std::path::PathBuf;

use clap::Args;

/// Play a whole story on built-in simulators, without an account
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift demo
  authdrift demo ~/authdrift-demo

The folder stays: it has the configuration, the database, the mails and the webhooks.")]
pub(crate) struct DemoOptions {
    /// The folder to write into [default: a new one in the temporary directory]
    #[arg(value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
}
