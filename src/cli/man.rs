//! `authdrift man`: the manual, made from the same words as `--help`.

use std::fs;
use std::io::Write;

use clap::CommandFactory;

use super::CliError;
use super::args::{Arguments, ManOptions};
use super::output::count;
use crate::exit::Exit;

/// Writes one page for each command.
///
/// # Errors
/// The folder cannot be written.
pub fn man(options: &ManOptions, out: &mut dyn Write) -> Result<Exit, CliError> {
    let folder = &options.folder;
    let failed = |error: std::io::Error| {
        let message = format!("cannot write the manual into '{}': {error}", folder.display());
        CliError::new(Exit::Io, message).with_help("name a folder that can be written")
    };
    fs::create_dir_all(folder).map_err(failed)?;
    clap_mangen::generate_to(Arguments::command(), folder).map_err(failed)?;
    let pages = fs::read_dir(folder).map_err(failed)?.count();
    writeln!(out, "Wrote {} into {}.", count(pages, "page"), folder.display())?;
    Ok(Exit::Ok)
}
