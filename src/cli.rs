//! The command line: arguments in, text or JSON and an exit code out.

mod after_commit;
pub mod approve;
pub mod args;
pub mod backup;
pub mod check;
pub mod completions;
pub mod config;
pub mod consent;
pub mod context;
pub mod diff;
pub mod doctor;
pub mod error;
pub mod explain;
pub mod export;
pub mod history;
pub mod init;
pub mod man;
mod meant;
pub mod outbox;
pub mod output;
pub mod prompt;
pub mod quiet;
pub mod receivers;
pub mod reload;
pub mod run;
pub mod sections;
pub mod settings;
pub mod show;
pub mod stale;
pub mod status;
pub mod verify;

use std::io::Write;
use std::path::Path;

use args::{ConfigCommand, ReceiversCommand, Work};
use context::Context;
pub use error::CliError;

use crate::exit::Exit;

/// Runs one command on the configuration in `file`, or on the first that is found, and writes the result to `out`.
///
/// # Errors
/// The command could not do its work.
pub async fn run(file: Option<&Path>, work: &Work, out: &mut dyn Write) -> Result<Exit, CliError> {
    let ended = run_work(file, work, out).await;
    // SQLite's words do not say which file they are about.
    ended.map_err(|error| match error.code {
        "database" | "damaged-database" => match Context::load(file) {
            Ok(context) => error.about_database(&context.config.store),
            Err(_) => error,
        },
        _ => error,
    })
}

async fn run_work(file: Option<&Path>, work: &Work, out: &mut dyn Write) -> Result<Exit, CliError> {
    match work {
        Work::Init(options) => init::init(file, options, out),
        Work::Config { command: ConfigCommand::Check } => config::check(file, out),
        Work::Doctor(options) => doctor::doctor(file, options, out).await,
        Work::Run(_) => run::daemon(file).await,
        Work::Reload => reload::reload(file, out).await,
        Work::Check(options) => check::check(&Context::load(file)?, options, out).await,
        Work::Status(options) => status::status(&Context::load(file)?, options, out),
        Work::Stale(options) => stale::stale(&Context::load(file)?, options, out).await,
        Work::Diff(options) => diff::diff(&Context::load(file)?, options, out),
        Work::History(options) => history::history(&Context::load(file)?, options, out),
        Work::Show(options) => show::show(&Context::load(file)?, options, out),
        Work::Propose(options) => approve::propose(&Context::load(file)?, options, out),
        Work::Sign(options) => approve::sign(file, options, out),
        Work::Import(options) => approve::import(&Context::load(file)?, options, out).await,
        Work::Approve(options) => approve::approve(&Context::load(file)?, options, out).await,
        Work::Verify(options) => verify::verify(&Context::load(file)?, options, out),
        Work::Backup(options) => backup::backup(&Context::load(file)?, options, out),
        Work::Export(options) => export::export(&Context::load(file)?, options, out),
        Work::Silence { command } => quiet::silence(&Context::load(file)?, command, out).await,
        Work::Window { command } => quiet::window(&Context::load(file)?, command, out).await,
        Work::Outbox { command } => outbox::outbox(&Context::load(file)?, command, out).await,
        Work::Sections(options) => sections::sections(file, options, out),
        Work::Settings(options) => settings::settings(file, options, out),
        Work::Receivers { command: ReceiversCommand::List(options) } => {
            receivers::list(&Context::load(file)?, options, out)
        }
        Work::Receivers { command: ReceiversCommand::Test(options) } => {
            receivers::test(&Context::load(file)?, options, out).await
        }
        Work::Receivers { command: ReceiversCommand::Enable(options) } => {
            receivers::enable(&Context::load(file)?, options, out)
        }
        Work::Explain(options) => explain::explain(file, options, out),
        Work::Man(options) => man::man(options, out),
        Work::Completions(options) => completions::completions(options, out),
    }
}
