//! `diff`, `history` and `show`: what is different, and what happened.

use clap::{Args, ValueEnum};

/// How a difference is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DiffFormat {
    /// For people.
    Text,
    /// RFC 6902, from the baseline to the snapshot.
    JsonPatch,
    /// RFC 6902, from the snapshot back to the baseline; secrets are left out, because only their fingerprints are known.
    Revert,
    /// RFC 6902, from the snapshot back to the baseline, exactly; a secret is its fingerprint.
    RevertPatch,
}

/// `diff`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift diff clerk:prod                  what differs, in words
  authdrift diff clerk:prod --format revert  the way back, without secrets
  authdrift diff clerk:prod --json           every difference with its meaning")]
pub struct DiffOptions {
    /// The instance
    #[arg(value_name = "INSTANCE")]
    pub instance: String,
    /// How to print it
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: DiffFormat,
    /// Print JSON
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
}

/// `history`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift history clerk:prod         oldest first
  authdrift history clerk:prod --json  with the digests that chain the events")]
pub struct HistoryOptions {
    /// The instance
    #[arg(value_name = "INSTANCE")]
    pub instance: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `show`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift show drf_0198…     what drifted, since when, and what to do
  authdrift show sha256:9f86…  with which requests a snapshot was read")]
pub struct ShowOptions {
    /// The drift, drf_…, of which a unique beginning is enough; or the digest of a snapshot, sha256:…
    #[arg(value_name = "DRIFT|SNAPSHOT")]
    pub drift: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
