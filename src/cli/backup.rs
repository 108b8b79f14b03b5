//! `authdrift backup`: a copy of the database and its key.

use std::io::Write;

use super::CliError;
use super::after_commit::AfterCommit;
use super::args::BackupOptions;
use super::context::Context;
use crate::exit::Exit;

/// Writes the copy while the daemon goes on.
///
/// # Errors
/// The store cannot be read, or the copy cannot be written.
pub fn backup(context: &Context, options: &BackupOptions, out: &mut dyn Write) -> Result<Exit, CliError> {
    let backup = context.existing_store()?.backup(&options.file)?;
    let (database, key) = (backup.database.display(), backup.key.display());
    let mut after = AfterCommit::of(format!("the backup is in '{database}'"));
    after.then(writeln!(out, "Copied to {database}, with the fingerprint key in {key}."));
    after.then(writeln!(out, "RunMode both: without the key every secret would look replaced."));
    after.then(out.flush());
    after.end(Exit::Ok)
}
