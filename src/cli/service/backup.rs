//! `authdrift backup`: a copy of the database and its key.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use crate::cli::{AfterCommit, CliError, ConfiguredCommand, Context};
use crate::exit::Exit;

/// Copy the database and its key while the daemon runs
#[derive(Debug, Args)]
#[command(after_help = "\
The fingerprint key is copied too: backup.db comes with backup.key. To restore, stop the daemon, replace the database and \
its key with the copies, and remove the files that end in -wal and -shm.

Example:
  authdrift backup /var/backups/authdrift-$(date +%F).db")]
pub(crate) struct BackupOptions {
    /// The file to write
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl ConfiguredCommand for BackupOptions {
    async fn run_with(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, CliError> {
        let backup = context.existing_store()?.backup(&self.file)?;
        let (database, key) = (backup.database.display(), backup.key.display());
        let mut after = AfterCommit::of(format!("the backup is in '{database}'"));
        after.print(out, format_args!("Copied to {database}, with the fingerprint key in {key}."));
        after.print(out, "Keep both: without the key every secret would look replaced.");
        after.end(Exit::Ok)
    }
}
