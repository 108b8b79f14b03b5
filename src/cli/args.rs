//! The command line: global options, the groups of commands and the page of `--help`.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::builder::StyledStr;
use clap::builder::styling::{AnsiColor, Styles};
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};

use super::CliError;
use super::alerts::AlertsCommand;
use super::approval::ApprovalCommand;
use super::command::{RunCommand, command_group};
use super::knowledge::KnowledgeCommand;
use super::look::LookCommand;
use super::service::ServiceCommand;
use super::set_up::SetUpCommand;
use super::set_up::completions::CompletionsOptions;
use super::set_up::man::ManOptions;
use crate::exit::Exit;
use crate::logging::Format;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const EXAMPLES: &str = "\
Examples:
  authdrift demo                         play a story, without an account
  authdrift init                         write a configuration
  authdrift doctor                       check the whole set-up
  authdrift check                        read everything now and compare
  authdrift approve prod --reason CHG-7  make the newest snapshot the baseline
  authdrift show drf_0198…               explain one drift
  authdrift sections                     list what can be read
  authdrift run                          watch on schedule, as the service does

Exit codes: 0 in sync, 10 drift, 11 blind, 12 untrusted baseline, 13 no baseline yet, 2 usage, \
69 nothing readable, 70 internal, 74 file, database or receiver, 75 already running, 77 credentials, \
78 configuration, 130 stopped with Ctrl-C";

const GLOBAL: &str = "Global options";

/// Watches the security settings of Clerk and Auth0 and reports every drift from a signed baseline.
#[derive(Debug, Parser)]
#[command(
    name = "authdrift",
    version,
    styles = STYLES,
    help_template = help_template(),
    after_help = EXAMPLES,
    max_term_width = 80
)]
pub struct Arguments {
    /// The configuration file [default: $AUTHDRIFT_CONFIG; else the first of ./config.toml,
    /// $CONFIGURATION_DIRECTORY/config.toml, /etc/authdrift/config.toml, ~/.config/authdrift/config.toml]
    #[arg(long, global = true, value_name = "FILE", help_heading = GLOBAL)]
    pub(crate) config: Option<PathBuf>,
    /// When to use colour: auto, always or never
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", help_heading = GLOBAL)]
    #[arg(hide_possible_values = true)]
    pub color: ColorWhen,
    /// Log more to standard error; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = GLOBAL)]
    pub verbose: u8,
    /// What to do
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Arguments {
    /// The log format, if the command is the daemon.
    pub fn daemon_log(&self) -> Option<Format> {
        match &self.command {
            Command::Service(ServiceCommand::Run(options)) => Some(options.log_format),
            _ => None,
        }
    }
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
    /// Finds `--color` among `words`, before the command line is parsed: errors and help need it too.
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

command_group! {
    Command {
        #[command(flatten)]
        Look(LookCommand),
        #[command(flatten)]
        Approval(ApprovalCommand),
        #[command(flatten)]
        Alerts(AlertsCommand),
        #[command(flatten)]
        Knowledge(KnowledgeCommand),
        #[command(flatten)]
        Service(ServiceCommand),
        #[command(flatten)]
        SetUp(SetUpCommand),
    }
}

// These two describe the whole command line, which their own files cannot name without a circle.

impl RunCommand for CompletionsOptions {
    async fn run(&self, _config: Option<&Path>, out: &mut dyn Write) -> Result<Exit, CliError> {
        self.write(Arguments::command(), out)?;
        Ok(Exit::Ok)
    }
}

impl RunCommand for ManOptions {
    async fn run(&self, _config: Option<&Path>, out: &mut dyn Write) -> Result<Exit, CliError> {
        self.write(Arguments::command(), out)?;
        Ok(Exit::Ok)
    }
}

/// The page of `authdrift --help`, with the commands in groups: clap has no headings for commands.
fn help_template() -> StyledStr {
    let group = |augment: fn(clap::Command) -> clap::Command| augment(clap::Command::new("authdrift"));
    let groups = [
        ("Look", group(LookCommand::augment_subcommands)),
        ("Approve", group(ApprovalCommand::augment_subcommands)),
        ("Alerts", group(AlertsCommand::augment_subcommands)),
        ("Knowledge", group(KnowledgeCommand::augment_subcommands)),
        ("Service", group(ServiceCommand::augment_subcommands)),
        ("Set up", group(SetUpCommand::augment_subcommands)),
    ];
    let (header, literal) = (STYLES.get_header(), STYLES.get_literal());
    let mut list = String::new();
    for (heading, group) in &groups {
        list.push_str(&format!("{header}{heading}:{header:#}\n"));
        for command in group.get_subcommands().filter(|command| !command.is_hide_set()) {
            let (name, about) = (command.get_name(), command.get_about().map(ToString::to_string).unwrap_or_default());
            list.push_str(&format!("  {literal}{name:<11}{literal:#}  {about}\n"));
        }
        list.push('\n');
    }
    format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{list}{header}Options:{header:#}\n{{options}}{{after-help}}"
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(lines.find(|line| line.chars().count() > 80), None, "`{name} --help`");
            // clap breaks lines. A text with its own line breaks would be broken twice.
            let (mut is_text, mut is_torn) = (false, false);
            for line in after_help(&command).lines() {
                let is_example = line.starts_with(' ');
                assert!(!is_example || line.chars().count() <= 80, "an example of `{name}` is too long: {line}");
                is_torn |= is_text && !is_example && !line.is_empty();
                is_text = !is_example && !line.is_empty();
            }
            assert!(!is_torn, "`{name}`: one line for each paragraph");
        }
    }

    #[test]
    fn every_command_is_in_one_group_of_the_help() {
        let page = Arguments::command().render_help().to_string();
        let (list, _) = page.split_once("\nOptions:\n").unwrap();
        for command in Arguments::command().get_subcommands() {
            let about = command.get_about().unwrap().to_string();
            let row = format!("  {:<11}  {about}", command.get_name());
            let rows = list.lines().filter(|line| **line == row).count();
            assert_eq!(rows, usize::from(!command.is_hide_set()), "{row}");
            assert!(row.len() <= 80, "too long for a terminal: {row}");
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
