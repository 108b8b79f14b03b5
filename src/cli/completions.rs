//! `authdrift completions`: what a shell has to know to complete a command line.

use std::io::Write;

use clap::CommandFactory;

use super::CliError;
use super::args::{Arguments, CompletionsOptions};
use crate::exit::Exit;

/// Writes the script of one shell.
///
/// # Errors
/// The output cannot be written.
pub fn completions(options: &CompletionsOptions, out: &mut dyn Write) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Arguments::command(), "authdrift", &mut script);
    out.write_all(&script)?;
    Ok(Exit::Ok)
}
