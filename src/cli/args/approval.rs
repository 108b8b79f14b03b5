//! `propose`, `sign`, `import`, `approve` and `verify`.

use std::path::PathBuf;

use clap::Args;

/// What is to be approved.
#[derive(Debug, Args)]
pub struct What {
    /// Approve every difference
    #[arg(long, conflicts_with = "only")]
    pub all: bool,
    /// Approve only these drifts (drf_…), or what is at or under these paths; the rest stays open
    #[arg(long, value_name = "PATH|DRIFT", num_args = 1..)]
    pub only: Vec<String>,
    /// For a time only, at most 400 days: a date, a time (2027-01-31T12:00:00Z) or how long (30d). Then it is drift again
    #[arg(long, value_name = "DATE")]
    pub until: Option<String>,
}

/// What a person says yes to beforehand.
#[derive(Debug, Args)]
pub struct ConsentOptions {
    /// Also what makes sign-in weaker, with severity high or critical; on a terminal it asks
    #[arg(long)]
    pub accept_weaker: bool,
    /// Also what goes back behind what was signed on this machine: a proposal was given up, or a backup restored
    #[arg(long)]
    pub replace_signed: bool,
    /// Show every value to its end, also of what matters little
    #[arg(long)]
    pub full: bool,
    /// Remember what is signed in this file; for what is not to be remembered with the rest
    #[arg(long, value_name = "FILE", hide = true)]
    pub memory: Option<PathBuf>,
}

/// `propose`
#[derive(Debug, Args)]
#[command(after_help = "\
Example, with two approvers on their own machines:
  authdrift propose clerk:prod -o prod.json --reason \"CHG-1042 MFA for admins\"
  authdrift sign prod.json --key ~/.ssh/id_ed25519 --as alice@example.com
  authdrift sign prod.json --key ~/.ssh/id_ed25519 --as bob@example.com
  authdrift import prod.json")]
pub struct ProposeOptions {
    /// The instance
    #[arg(value_name = "INSTANCE")]
    pub instance: String,
    /// Where to write the proposal
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Why, as a suggestion for the approvers
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// What to propose [default: every difference]
    #[command(flatten)]
    pub what: What,
}

/// `sign`
#[derive(Debug, Args)]
#[command(after_help = "\
The key may be a private key file, or a public key whose private half is in the SSH agent or on a security key. \
Without a configuration on this machine, say with --as in whose name you sign.

What was signed last is remembered in $XDG_STATE_HOME/authdrift/signed.json [default: ~/.local/state], and what goes back \
behind it is refused. On a terminal the number of the baseline is to be typed, after looking at what changes. Without one, \
nobody is asked: --sequence makes sure of the number, and what weakens sign-in needs --accept-weaker.

A proposal that does not hold the baseline it follows is refused. Where that one cannot be compared with (too few approvers \
today, another instance), --without-previous shows every setting, and those at their weakest value need a yes.

Examples:
  authdrift sign prod.json --key ~/.ssh/id_ed25519.pub
  authdrift sign prod.json --key ~/.ssh/id_ed25519 --as a@example.com --sequence 4")]
pub struct SignOptions {
    /// The proposal; the signature is added to it
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The SSH key
    #[arg(long, value_name = "KEY")]
    pub key: PathBuf,
    /// In whose name, when the key alone does not say
    #[arg(long = "as", value_name = "PRINCIPAL")]
    pub principal: Option<String>,
    /// Why you approve [default: the proposer's reason; on a terminal you are asked]
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Show every setting and no changes: for a baseline whose predecessor cannot be compared with
    #[arg(long)]
    pub without_previous: bool,
    /// The number of the baseline, instead of typing it when asked
    #[arg(long, value_name = "NUMBER")]
    pub sequence: Option<u64>,
    /// What to say yes to
    #[command(flatten)]
    pub consent: ConsentOptions,
}

/// `import`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift import prod.json            signed by everybody, one after the other
  authdrift import alice.json bob.json  the same one, signed by each alone")]
pub struct ImportOptions {
    /// Signed proposals of the same thing
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}

/// `approve`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift approve clerk:prod --reason \"CHG-1042 MFA for admins\"
  authdrift approve clerk:prod --reason CHG-7 --only /instance/allowed_origins
  authdrift approve clerk:prod --reason CHG-7 --all --key ~/.ssh/id_ed25519
  authdrift approve clerk:prod --reason CHG-8 --all --accept-weaker
  authdrift approve clerk:prod --reason CHG-9 --only drf_0198… --until 14d

On a terminal it asks, change by change. It approves the newest snapshot, the one `authdrift diff` shows.")]
pub struct ApproveOptions {
    /// The instance
    #[arg(value_name = "INSTANCE")]
    pub instance: String,
    /// Why; it is signed and shown in every alert
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// The SSH key [default: the one in ~/.ssh that is allowed to sign]
    #[arg(long, value_name = "KEY")]
    pub key: Option<PathBuf>,
    /// In whose name, when the key alone does not say
    #[arg(long = "as", value_name = "PRINCIPAL")]
    pub principal: Option<String>,
    /// What to approve
    #[command(flatten)]
    pub what: What,
    /// What to say yes to
    #[command(flatten)]
    pub consent: ConsentOptions,
}

/// `verify`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift verify  every instance, and every table against the history
  authdrift verify clerk:prod --json

Exit codes: 0 everything is as it was signed, 12 something is not")]
pub struct VerifyOptions {
    /// The instance [default: all]
    #[arg(value_name = "INSTANCE")]
    pub instance: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
