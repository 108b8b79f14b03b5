//! What can be typed.

mod outbox;
mod quiet;

use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Styles};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};

pub use outbox::{OutboxCommand, OutboxDropOptions, OutboxListOptions, OutboxRetryOptions, OutboxShowOptions};
pub use quiet::{
    QuietEndOptions, QuietListOptions, QuietOptions, SilenceAddOptions, SilenceCommand, WindowCommand,
    WindowOpenOptions,
};

pub use super::doctor::DoctorOptions;
pub use super::init::InitOptions;
use crate::logging::Format;
use crate::message::sample::SampleKind;
use crate::model::{Category, Provider, Severity};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const EXAMPLES: &str = "\
Examples:
  authdrift demo                              the whole story in a minute, without an account
  authdrift init                              write a configuration, and who may approve
  authdrift doctor                            look whether everything is set up well
  authdrift check                             read everything now and compare
  authdrift approve clerk:prod --reason CHG-7 make what was read the new baseline
  authdrift show drf_0198…                    explain one drift
  authdrift sections                          what can be read, and what your configuration reads of it
  authdrift run                               watch on schedule (the systemd service does this)

Exit codes: 0 in sync, 10 drift, 11 blind, 12 untrusted baseline, 13 no baseline yet, 2 usage,
69 nothing readable, 70 internal, 74 file, database or receiver, 75 already running, 77 credentials,
78 configuration, 130 stopped with Ctrl-C";

const RELOAD_HELP: &str = "\
Examples:
  systemctl reload authdrift           the service
  authdrift --config FILE reload       a daemon that was started with the same FILE

The daemon checks the file, the files and the secrets that it names, and takes all of it or nothing; this command waits for
its answer. What is under way goes on with the configuration it began with. Another store.path, and credentials that systemd
hands over, take a restart. The daemon is the process in $MAINPID, which systemd sets, or the one in the lock file beside
the database.

Exit codes: 0 reloaded, 78 refused and the one before stays, 69 no daemon is running, 74 its answer cannot be read";

/// Watches the security settings of Clerk and Auth0 and reports every drift from a signed baseline.
#[derive(Debug, Parser)]
#[command(name = "authdrift", version, styles = STYLES, after_help = EXAMPLES, max_term_width = 100)]
pub struct Arguments {
    /// The configuration file [default: $CONFIGURATION_DIRECTORY/config.toml, then /etc/authdrift/config.toml,
    /// then ~/.config/authdrift/config.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorWhen,
    /// Say more on standard error; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Tell the whole story in a minute on built-in simulators: no account, no set-up
    Demo(DemoOptions),
    /// Write a configuration, and who may approve, for a start
    Init(InitOptions),
    /// Look at the whole set-up and say what to do; or make a new fingerprint key
    Doctor(DoctorOptions),
    /// Watch on schedule until told to stop
    Run(RunOptions),
    /// Let the daemon read its configuration anew
    #[command(after_help = RELOAD_HELP)]
    Reload,
    /// Read now, compare with the baseline, and tell the receivers what is new
    Check(CheckOptions),
    /// Show how every instance and receiver is doing, without reading anything
    Status(StatusOptions),
    /// Say whether the daemon still does its work, and tell people if not
    Stale(StaleOptions),
    /// Show what differs between the baseline and the newest snapshot
    Diff(DiffOptions),
    /// Show what happened to an instance
    History(HistoryOptions),
    /// Explain one drift, or show how a snapshot was read
    Show(ShowOptions),
    /// Write a proposal for a new baseline, to be signed elsewhere
    Propose(ProposeOptions),
    /// Sign a proposal with an SSH key
    Sign(SignOptions),
    /// Accept signed proposals as the new baseline
    Import(ImportOptions),
    /// Propose, sign and import in one step
    Approve(ApproveOptions),
    /// Verify signatures, history and documents of everything that was approved
    Verify(VerifyOptions),
    /// Copy the database and its key, while the daemon goes on
    Backup(BackupOptions),
    /// Write everything that was approved into a folder that can be checked without this program
    Export(ExportOptions),
    /// Keep drifts quiet for a time
    Silence {
        /// What to do
        #[command(subcommand)]
        command: SilenceCommand,
    },
    /// Announce changes: what was announced is quiet, anything else louder
    Window {
        /// What to do
        #[command(subcommand)]
        command: WindowCommand,
    },
    /// Look at messages that wait or were given up, and try or drop them
    Outbox {
        /// What to do
        #[command(subcommand)]
        command: OutboxCommand,
    },
    /// Show what can be read of each vendor, and what this configuration reads
    Sections(SectionsOptions),
    /// Search what is known about settings
    Settings(SettingsOptions),
    /// Explain a path or a setting
    Explain(ExplainOptions),
    /// Show who is told, and try receivers out
    Receivers {
        /// What to do with them
        #[command(subcommand)]
        command: ReceiversCommand,
    },
    /// Work on the configuration
    Config {
        /// What to do with it
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Write the manual pages
    Man(ManOptions),
    /// Print what a shell needs to complete command lines
    Completions(CompletionsOptions),
}

impl Command {
    /// Whether it may ask questions.
    pub fn asks(&self) -> bool {
        matches!(self, Self::Init(_) | Self::Sign(_) | Self::Approve(_))
    }
}

/// Work on the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check the file and show what it means; nothing is contacted
    Check,
}

/// Show who is told, and try receivers out.
#[derive(Debug, Subcommand)]
pub enum ReceiversCommand {
    /// Show every receiver: what it wants to hear, how it is doing, what waits for it
    List(ReceiversListOptions),
    /// Send a sample to one receiver and show what it answers
    Test(ReceiversTestOptions),
    /// Try a receiver again that said it wants nothing any more, or that failed often
    Enable(ReceiversEnableOptions),
}

/// `receivers list`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift receivers list             with the public keys of those that sign with a key pair
  authdrift receivers list --json      for a program")]
pub struct ReceiversListOptions {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `receivers test`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift receivers test security                      two settings that drifted
  authdrift receivers test on-call --kind reverted       ends what the first one began
  authdrift receivers test siem --kind blind

The sample is marked as one, is sent once, and is kept nowhere. Filters do not apply to it. Exit codes: 0 it was taken,
74 it was not.")]
pub struct ReceiversTestOptions {
    /// The receiver's name in the configuration
    #[arg(value_name = "NAME")]
    pub name: String,
    /// What the sample tells
    #[arg(long, value_name = "KIND", default_value = "drift")]
    pub kind: Sample,
}

/// What a sample tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sample {
    /// Two settings drifted.
    Drift,
    /// They are back at the approved values.
    Reverted,
    /// A section cannot be read.
    Blind,
}

impl From<Sample> for SampleKind {
    fn from(sample: Sample) -> Self {
        match sample {
            Sample::Drift => Self::Drift,
            Sample::Reverted => Self::Reverted,
            Sample::Blind => Self::Blind,
        }
    }
}

/// `receivers enable`
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  authdrift receivers enable siem      what waits for it is sent at once")]
pub struct ReceiversEnableOptions {
    /// The receiver's name in the configuration
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// `demo`
#[derive(Debug, Args)]
#[command(after_help = "The folder stays, with configuration, database, mails and webhooks to look at.")]
pub struct DemoOptions {
    /// Where to leave everything [default: a new folder in the temporary directory]
    #[arg(value_name = "DIR")]
    pub folder: Option<PathBuf>,
}

/// What lines of the log look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Fields for the systemd journal where standard error is the journal, else text.
    Auto,
    /// Text.
    Text,
    /// One JSON object on each line.
    Json,
}

impl From<LogFormat> for Format {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Auto => Self::Auto,
            LogFormat::Text => Self::Text,
            LogFormat::Json => Self::Json,
        }
    }
}

/// `run`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift run                        until SIGTERM or Ctrl-C
  authdrift run --log-format json      for a program that collects the lines of containers")]
pub struct RunOptions {
    /// What lines of the log look like
    #[arg(long, value_name = "FORMAT", default_value = "auto")]
    pub log_format: LogFormat,
}

/// `check`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift check                      all instances
  authdrift check prod --json          one, for a program
  authdrift check --no-store           look without recording or telling anybody")]
pub struct CheckOptions {
    /// Instances to read [default: all]; the prefix may be left out when the name is unique
    #[arg(value_name = "INSTANCE")]
    pub instances: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Record nothing and tell nobody
    #[arg(long)]
    pub no_store: bool,
}

/// `status`
#[derive(Debug, Args)]
pub struct StatusOptions {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// How a difference is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DiffFormat {
    /// For people.
    Text,
    /// RFC 6902, from the baseline to the snapshot.
    JsonPatch,
    /// RFC 6902, from the snapshot back to the baseline.
    Revert,
}

/// `diff`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift diff clerk:prod                      what differs, in words
  authdrift diff clerk:prod --format revert      the way back, as a JSON Patch
  authdrift diff clerk:prod --json               every difference with its meaning")]
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
pub struct ShowOptions {
    /// The drift, drf_…, of which a unique beginning is enough; or the digest of a snapshot, sha256:…
    #[arg(value_name = "DRIFT|SNAPSHOT")]
    pub drift: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

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
The key may be a private key file, or a public key whose private half is in the SSH agent or on a security key.
Without a configuration on this machine, say with --as in whose name you sign.

What was signed last is remembered in $XDG_STATE_HOME/authdrift/signed.json [default: ~/.local/state], and what goes back
behind it is refused. On a terminal the number of the baseline is to be typed, after looking at what changes. Without one,
nobody is asked: --sequence makes sure of the number, and what weakens sign-in needs --accept-weaker.")]
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
    /// Why you approve [default: the proposer's reason]
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// The number of the baseline, instead of typing it when asked
    #[arg(long, value_name = "NUMBER")]
    pub sequence: Option<u64>,
    /// What to say yes to
    #[command(flatten)]
    pub consent: ConsentOptions,
}

/// `import`
#[derive(Debug, Args)]
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
pub struct VerifyOptions {
    /// The instance [default: all]
    #[arg(value_name = "INSTANCE")]
    pub instance: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

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
The fingerprint key is copied beside it: backup.db comes with backup.key. To restore, stop the daemon and put both in the
place of the originals, without the files that end in -wal and -shm.

Example:
  authdrift backup /var/backups/authdrift-$(date +%F).db")]
pub struct BackupOptions {
    /// The file to write
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// `sections`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift sections                   both vendors
  authdrift sections auth0             one
  authdrift sections clerk:prod        as far as one instance is concerned

It needs no configuration; with one it says what each instance reads, and why not the rest.")]
pub struct SectionsOptions {
    /// A vendor, clerk or auth0, or an instance [default: all]
    #[arg(value_name = "PROVIDER|INSTANCE")]
    pub of: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `settings`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift settings mfa sign-up                      what has both words
  authdrift settings --severity critical              what matters most
  authdrift settings /tenants.settings/flags          what lies under a path
  authdrift settings --provider clerk --category mfa

Words are looked for in the id, the title, the reason why it matters and the paths. Entries of your own catalogue are
included when the configuration names one.")]
pub struct SettingsOptions {
    /// Words a setting has to have, every one of them [default: all settings]
    #[arg(value_name = "WORD")]
    pub words: Vec<String>,
    /// Only of this vendor
    #[arg(long, value_name = "PROVIDER", value_parser = word(&Provider::ALL, Provider::as_str))]
    pub provider: Option<Provider>,
    /// Only of this category
    #[arg(long, value_name = "CATEGORY", value_parser = word(Category::ALL, Category::as_str))]
    pub category: Option<Category>,
    /// Only of this severity
    #[arg(long, value_name = "SEVERITY", value_parser = word(Severity::ALL, Severity::as_str))]
    pub severity: Option<Severity>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `explain`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift explain /tenants.settings/session_lifetime        a path, as alerts print it
  authdrift explain /jwt_templates/supabase/lifetime
  authdrift explain session-lifetime                          the id of a setting")]
pub struct ExplainOptions {
    /// A path, beginning with '/', or the id of a setting
    #[arg(value_name = "PATH|SETTING")]
    pub what: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `stale`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift stale                      for a person
  authdrift stale --tell               what authdrift-watch.timer runs every five minutes
  authdrift stale --after 20m          whatever the schedule

It looks at when each instance was last looked at, with or without success. With --tell every receiver hears of it at once,
directly and not through the outbox: when it begins, once a day while it lasts, and when it is over. When they were told is
kept beside the database, in a file that ends in .stale.

Exit codes: 0 everything was looked at in time, 69 it was not, 74 nobody could be told")]
pub struct StaleOptions {
    /// So long after the last cycle [default: when three cycles of the schedule are missing]
    #[arg(long, value_name = "TIME")]
    pub after: Option<humantime::Duration>,
    /// Tell the receivers
    #[arg(long)]
    pub tell: bool,
    /// Before people are told, look again after this time: a machine that just woke up has its cycles before it
    #[arg(long, value_name = "TIME", default_value = "1m")]
    pub again_after: humantime::Duration,
}

/// `man`
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  authdrift man ~/.local/share/man/man1")]
pub struct ManOptions {
    /// The folder to write into; it is made if there is none
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}

/// `completions`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift completions bash > ~/.local/share/bash-completion/completions/authdrift
  authdrift completions zsh > ~/.zfunc/_authdrift
  authdrift completions fish > ~/.config/fish/completions/authdrift.fish")]
pub struct CompletionsOptions {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

/// Takes one of the words that `name_of` gives to `values`.
fn word<T>(values: &'static [T], name_of: fn(T) -> &'static str) -> impl TypedValueParser<Value = T>
where
    T: Copy + Send + Sync + 'static,
{
    PossibleValuesParser::new(values.iter().map(|value| name_of(*value))).try_map(move |word| {
        values.iter().copied().find(|value| name_of(*value) == word).ok_or("is not a word that is known here")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
