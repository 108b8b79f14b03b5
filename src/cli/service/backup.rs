//! `authdrift backup`: a copy of the database and its key.

use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

use clap::Args;

use crate::cli::CliError;
use crate::cli::after_commit::AfterCommit;
use crate::cli::command::RunCommand;
use crate::cli::context::Context;
use crate::exit::Exit;

/// Copy the database and its key while the daemon runs
#[derive(Debug, Args)]
#[command(after_help = "\
The fingerprint key is copied beside it: backup.db comes with backup.key. To restore, stop the daemon and put both in the \
place of the originals, without the files that end in -wal and -shm.

Example:
  authdrift backup /var/backups/authdrift-$(date +%F).db")]
pub(crate) struct BackupOptions {
    /// The file to write
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl RunCommand for BackupOptions {
    async fn run(&self, config: Option<&Path>, out: &mut dyn Write) -> Result<Exit, CliError> {
        let context = &Context::load(config)?;
        let backup = context.existing_store()?.backup(&self.file)?;
        let (database, key) = (backup.database.display(), backup.key.display());
        let mut after = AfterCommit::of(format!("the backup is in '{database}'"));
        after.then(writeln!(out, "Copied to {database}, with the fingerprint key in {key}."));
        after.then(writeln!(out, "Keep both: without the key every secret would look replaced."));
        after.then(out.flush());
        after.end(Exit::Ok)
    }
}
