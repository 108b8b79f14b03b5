//! `authdrift man`: the manual, made from the same text as `--help`.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use crate::cli::CliError;
use crate::exit::Exit;
use crate::model::counted;

/// Write the manual pages
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  authdrift man ~/.local/share/man/man1")]
pub(crate) struct ManOptions {
    /// The folder to write into; it is made if there is none
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

impl ManOptions {
    /// Writes one page for each command of `command_line`.
    pub(crate) fn write(&self, command_line: clap::Command, out: &mut dyn Write) -> Result<(), CliError> {
        let folder = &self.folder;
        let failed = |error: std::io::Error| {
            let message = format!("cannot write the manual into '{}': {error}", folder.display());
            CliError::new(Exit::Io, message).with_help("name a folder that can be written")
        };
        fs::create_dir_all(folder).map_err(failed)?;
        clap_mangen::generate_to(command_line, folder).map_err(failed)?;
        let pages = fs::read_dir(folder).map_err(failed)?.count();
        writeln!(out, "Wrote {} into {}.", counted(pages, "page"), folder.display())?;
        Ok(())
    }
}
