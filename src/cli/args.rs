//! What can be typed.

mod approval;
mod copies;
mod drifts;
mod knowledge;
mod outbox;
mod quiet;
mod receivers;
mod service;
mod shell;
mod watching;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Parser, Subcommand, ValueEnum};

pub use approval::{ApproveOptions, ConsentOptions, ImportOptions, ProposeOptions, SignOptions, VerifyOptions, What};
pub use copies::{BackupOptions, ExportOptions};
pub use drifts::{DiffFormat, DiffOptions, HistoryOptions, ShowOptions};
pub use knowledge::{ExplainOptions, SectionsOptions, SettingsOptions};
pub use outbox::{OutboxCommand, OutboxDropOptions, OutboxListOptions, OutboxRetryOptions, OutboxShowOptions};
pub use quiet::{
    QuietEndOptions, QuietListOptions, QuietOptions, SilenceAddOptions, SilenceCommand, WindowCommand,
    WindowOpenOptions,
};
pub use receivers::{ReceiversCommand, ReceiversEnableOptions, ReceiversListOptions, ReceiversTestOptions, Sample};
pub use service::{LogFormat, RunOptions, StaleOptions};
pub use shell::{CompletionsOptions, ManOptions};
pub use watching::{CheckOptions, DemoOptions, StatusOptions};

pub use super::doctor::DoctorOptions;
pub use super::init::InitOptions;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const EXAMPLES: &str = "\
Examples:
  authdrift demo                         the whole story, without an account
  authdrift init                         write a configuration
  authdrift doctor                       look whether everything is set up well
  authdrift check                        read everything now and compare
  authdrift approve prod --reason CHG-7  make what was read the new baseline
  authdrift show drf_0198…               explain one drift
  authdrift sections                     what can be read, and what is
  authdrift run                          watch on schedule, as the service does

Exit codes: 0 in sync, 10 drift, 11 blind, 12 untrusted baseline, 13 no baseline yet, 2 usage, \
69 nothing readable, 70 internal, 74 file, database or receiver, 75 already running, 77 credentials, \
78 configuration, 130 stopped with Ctrl-C";

const CONFIG_HELP: &str = "\
Examples:
  authdrift config check
  authdrift --config FILE config check";

const RELOAD_HELP: &str = "\
Examples:
  systemctl reload authdrift      the service
  authdrift --config FILE reload  a daemon that was started with the same FILE

The daemon checks the file, the files and the secrets that it names, and takes all of it or nothing; this command waits for \
its answer. What is under way goes on with the configuration it began with. Another store.path, and credentials that systemd \
hands over, take a restart. The daemon is the process in $MAINPID, which systemd sets, or the one in the lock file beside \
the database.

Exit codes: 0 reloaded, 78 refused and the one before stays, 69 no daemon is running, 74 its answer cannot be read";

/// Watches the security settings of Clerk and Auth0 and reports every drift from a signed baseline.
#[derive(Debug, Parser)]
#[command(name = "authdrift", version, styles = STYLES, after_help = EXAMPLES, max_term_width = 100)]
pub struct Arguments {
    /// The configuration file [default: $AUTHDRIFT_CONFIG; else the first of ./config.toml,
    /// $CONFIGURATION_DIRECTORY/config.toml, /etc/authdrift/config.toml, ~/.config/authdrift/config.toml]
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

impl ColorWhen {
    /// What is asked for among `words`: errors and help want to know it before all of them are understood.
    pub fn at_first_sight(words: impl IntoIterator<Item = OsString>) -> Self {
        let words: Vec<String> = words.into_iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let words = words.split(|word| word == "--").next().unwrap_or_default();
        let given = words.iter().enumerate().rev().find_map(|(at, word)| match word.strip_prefix("--color")? {
            "" => words.get(at + 1).map(String::as_str),
            rest => rest.strip_prefix('='),
        });
        given.and_then(|given| Self::from_str(given, false).ok()).unwrap_or(Self::Auto)
    }
}

/// The demo, which types commands, or one of them.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Tell the whole story in a minute on built-in simulators: no account, no set-up
    Demo(DemoOptions),
    /// A command of its own.
    #[command(flatten)]
    Work(Work),
}

/// The commands that work on a configuration and its database.
#[derive(Debug, Subcommand)]
pub enum Work {
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

impl Work {
    /// Whether it may ask questions.
    pub fn asks(&self) -> bool {
        matches!(self, Self::Init(_) | Self::Sign(_) | Self::Approve(_))
    }
}

/// Work on the configuration.
#[derive(Debug, Subcommand)]
#[command(after_help = CONFIG_HELP)]
pub enum ConfigCommand {
    /// Check the file and show what it means; nothing is contacted
    #[command(after_help = CONFIG_HELP)]
    Check,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    /// Every command there is, by its whole name.
    fn all() -> Vec<(String, clap::Command)> {
        let mut all = Arguments::command();
        all.build();
        let mut left: Vec<(String, clap::Command)> = vec![("authdrift".to_owned(), all)];
        let mut found = Vec::new();
        while let Some((name, command)) = left.pop() {
            let below = command.get_subcommands().filter(|below| below.get_name() != "help");
            left.extend(below.map(|below| (format!("{name} {}", below.get_name()), below.clone())));
            found.push((name, command));
        }
        found
    }

    fn after_help(command: &clap::Command) -> String {
        command.get_after_help().or(command.get_after_long_help()).map(ToString::to_string).unwrap_or_default()
    }

    #[test]
    fn no_help_is_torn() {
        for (name, mut command) in all() {
            let shown = command.render_long_help().to_string();
            // clap never breaks the line that says how it is used.
            let mut lines = shown.lines().filter(|line| !line.starts_with("Usage: "));
            assert_eq!(lines.find(|line| line.chars().count() > 100), None, "`{name} --help`");
            // clap breaks lines; whoever writes it does not, or both do.
            let (mut is_text, mut is_torn) = (false, false);
            for line in after_help(&command).lines() {
                let is_example = line.starts_with(' ');
                assert!(!is_example || line.chars().count() <= 84, "an example of `{name}` is too long: {line}");
                is_torn |= is_text && !is_example && !line.is_empty();
                is_text = !is_example && !line.is_empty();
            }
            assert!(!is_torn, "`{name}`: one line for each paragraph");
        }
    }

    #[test]
    fn colour_is_known_before_the_rest_is_understood() {
        for (line, expected) in [
            ("", ColorWhen::Auto),
            ("chekc --color always", ColorWhen::Always),
            ("--color=never --help", ColorWhen::Never),
            ("--color never check --color always", ColorWhen::Always),
            ("check --color", ColorWhen::Auto),
            ("check --colour never", ColorWhen::Auto),
            ("show -- --color always", ColorWhen::Auto),
        ] {
            assert_eq!(ColorWhen::at_first_sight(line.split(' ').map(OsString::from)), expected, "{line}");
        }
    }

    #[test]
    fn every_command_shows_an_example_of_itself() {
        for (name, command) in all() {
            let help = after_help(&command);
            assert!(help.contains("Example"), "`{name} --help` shows no example");
            assert!(name.split(' ').count() <= 3, "`{name}` is too deep");
            let word = command.get_name();
            assert!(help.contains(&format!(" {word}")), "the examples of `{name}` do not use it");
            assert!(command.get_about().is_some(), "`{name}` does not say what it is for");
        }
    }
}
