//! `export` and `backup`: what leaves the machine.

use std::path::PathBuf;

use clap::Args;

/// `export`
#[derive(Debug, Args)]
#[command(after_help = "\
Example, checked on another machine with its own copy of the allowed signers:
  authdrift export clerk:prod evidence
  sh evidence/verify.sh -t 2 -k ~/allowed_signers")]
pub struct ExportOptions {
    /// The instance
    #[arg(value_name = "INSTANCE")]
    pub instance: String,
    /// The folder to make
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}

/// `backup`
#[derive(Debug, Args)]
#[command(after_help = "\
The fingerprint key is copied beside it: backup.db comes with backup.key. To restore, stop the daemon and put both in the \
place of the originals, without the files that end in -wal and -shm.

Example:
  authdrift backup /var/backups/authdrift-$(date +%F).db")]
pub struct BackupOptions {
    /// The file to write
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}
