//! `authdrift backup`: a copy of the database and its key.

use std::io::Write;

use super::CliError;
use super::args::BackupOptions;
use super::context::Context;
use crate::exit::Exit;

/// Writes the copy while the daemon goes on.
///
/// # Errors
/// The store cannot be read, or the copy cannot be written.
pub fn backup(context: &Context, options: &BackupOptions, out: &mut dyn Write) -> Result<Exit, CliError> {
    let backup = context.existing_store()?.backup(&options.file)?;
    writeln!(out, "Copied to {}, with the fingerprint key in {}.", backup.database.display(), backup.key.display())?;
    writeln!(out, "Keep both: without the key every secret would look replaced.")?;
    Ok(Exit::Ok)
}
