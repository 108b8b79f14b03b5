//! The command line: arguments in, text or JSON and an exit code out.
//!
//! Commands lie in one folder for each group of `--help`, one file for each command; the files beside them are shared.

mod after_commit;
pub mod alerts;
pub mod approval;
pub mod args;
mod command;
pub mod context;
mod did_you_mean;
pub mod error;
pub mod knowledge;
pub mod look;
mod options;
pub(crate) mod output;
mod progress;
pub mod prompt;
pub mod service;
pub mod set_up;
mod user;

use std::io::Write;

use after_commit::AfterCommit;
use args::Arguments;
use command::ConfiguredCommand;
pub(crate) use command::RunCommand;
use context::Context;
use did_you_mean::did_you_mean;
pub use error::CliError;
use user::current_user;

use crate::exit::Exit;

/// Runs the command that was typed and writes the result to `out`.
pub async fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<Exit, CliError> {
    let config = arguments.config.as_deref();
    let ended = arguments.command.run(config, out).await;
    // SQLite's words do not say which file they are about.
    ended.map_err(|error| match error.code {
        "database" | "damaged-database" => match Context::load(config) {
            Ok(context) => error.about_database(&context.config.store),
            Err(_) => error,
        },
        _ => error,
    })
}
