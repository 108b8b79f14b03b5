//! What a check found, and how all of it is printed.

use std::io::Write;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::cli::CliError;
use crate::cli::output::{BOLD, Columns, DIM, count, terminal_width, write_json};
use crate::clock::written;
use crate::exit::Exit;
use crate::model::{display_safe, display_safe_sentence, word};

word!(
    /// What is checked. The words are for programs and never change.
    Check {
        /// The configuration file and the catalogue.
        Configuration = "configuration",
        /// Every alert has a receiver.
        Routes = "routes",
        /// Permissions of a file.
        File = "file",
        /// A secret is where the configuration says.
        Secret = "secret",
        /// Approvers and their keys.
        Signers = "signers",
        /// A key that may approve ends.
        SignerExpiry = "signer-expiry",
        /// How many people it takes.
        Threshold = "threshold",
        /// The room that is left.
        Disk = "disk",
        /// The database file.
        Database = "database",
        /// The fingerprint key.
        FingerprintKey = "fingerprint-key",
        /// The history.
        History = "history",
        /// The baseline of an instance.
        Baseline = "baseline",
        /// Whether something watches.
        Daemon = "daemon",
        /// When an instance was last read.
        LastCycle = "last-cycle",
        /// A host: its name, a connection, its certificate.
        Host = "host",
        /// The clock of this machine against the vendor's.
        Clock = "clock",
        /// Whether the vendor accepts a credential.
        Credential = "credential",
        /// Whether a section can be read.
        Section = "section",
        /// A permission that is missing.
        Permission = "permission",
        /// Permissions that are not needed.
        Rights = "rights",
        /// A mail relay, up to where a mail would be sent.
        Mail = "mail",
        /// Whether a receiver can be prepared.
        Receiver = "receiver",
        /// A sample that was sent.
        Sample = "sample",
        /// A sign of life.
        Heartbeat = "heartbeat",
    }
);

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    Warning,
    Failure,
    Skipped,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failure => "failure",
            Self::Skipped => "skipped",
        }
    }

    fn style(self) -> anstyle::Style {
        let of = |color: anstyle::AnsiColor| anstyle::Style::new().fg_color(Some(color.into()));
        match self {
            Self::Ok => of(anstyle::AnsiColor::Green),
            Self::Warning => of(anstyle::AnsiColor::Yellow).bold(),
            Self::Failure => of(anstyle::AnsiColor::Red).bold(),
            Self::Skipped => DIM,
        }
    }
}

/// One thing that was looked at.
#[derive(Debug)]
pub(super) struct CheckResult {
    check: Check,
    on: String,
    status: Status,
    why: String,
    help: Option<String>,
    exit: Option<Exit>,
    is_detail: bool,
}

impl CheckResult {
    fn new(check: Check, on: impl ToString, status: Status, why: impl ToString) -> Self {
        let (on, why) = (on.to_string(), why.to_string());
        Self { check, on, status, why, help: None, exit: None, is_detail: false }
    }

    /// As it should be.
    pub(super) fn ok(check: Check, on: impl ToString, why: impl ToString) -> Self {
        Self::new(check, on, Status::Ok, why)
    }

    /// It works, and could be better.
    pub(super) fn warning(check: Check, on: impl ToString, why: impl ToString, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..Self::new(check, on, Status::Warning, why) }
    }

    /// It does not work.
    pub(super) fn failure(
        check: Check,
        on: impl ToString,
        why: impl ToString,
        help: impl Into<String>,
        exit: Exit,
    ) -> Self {
        Self { help: Some(help.into()), exit: Some(exit), ..Self::new(check, on, Status::Failure, why) }
    }

    /// Not tried.
    pub(super) fn skipped(check: Check, on: impl ToString, why: impl ToString) -> Self {
        Self::new(check, on, Status::Skipped, why)
    }

    /// With what to do, for a check that was not tried.
    pub(super) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// For programs: people see another finding that says the same in short.
    pub(super) fn in_detail(mut self) -> Self {
        self.is_detail = true;
        self
    }

    /// What was looked at.
    pub(super) fn check(&self) -> Check {
        self.check
    }

    /// Whether it is a warning or a failure.
    pub(super) fn is_trouble(&self) -> bool {
        matches!(self.status, Status::Warning | Status::Failure)
    }

    /// As if it had not been tried.
    pub(super) fn into_skipped(self, why: impl ToString) -> Self {
        Self::skipped(self.check, self.on, why)
    }

    /// Whether it does not work.
    pub(super) fn is_failure(&self) -> bool {
        self.status == Status::Failure
    }
}

/// Everything that was found, in groups.
pub(super) struct DoctorReport {
    at: DateTime<Utc>,
    groups: Vec<(String, Vec<CheckResult>)>,
}

/// The worst first, as `--help` says.
const WORST_FIRST: [Exit; 6] =
    [Exit::Untrusted, Exit::Configuration, Exit::Credentials, Exit::Io, Exit::Unavailable, Exit::Internal];

impl DoctorReport {
    pub(super) fn new(at: DateTime<Utc>) -> Self {
        Self { at, groups: Vec::new() }
    }

    pub(super) fn add(&mut self, group: &str, findings: impl IntoIterator<Item = CheckResult>) {
        self.groups.push((group.to_owned(), findings.into_iter().collect()));
    }

    fn findings(&self) -> impl Iterator<Item = (&str, &CheckResult)> {
        self.groups.iter().flat_map(|(group, findings)| findings.iter().map(move |finding| (group.as_str(), finding)))
    }

    fn exit(&self) -> Exit {
        let failures: Vec<Exit> = self.findings().filter_map(|(_, finding)| finding.exit).collect();
        let worst = WORST_FIRST.into_iter().find(|exit| failures.contains(exit));
        worst.or(failures.first().copied()).unwrap_or(Exit::Ok)
    }

    fn count(&self, status: Status, details: bool) -> usize {
        self.findings().filter(|(_, finding)| finding.status == status && (details || !finding.is_detail)).count()
    }

    /// Prints it and answers what the shell gets.
    pub(super) fn write(&self, as_json: bool, out: &mut dyn Write) -> Result<Exit, CliError> {
        let exit = self.exit();
        if as_json {
            write_json(out, &self.as_json(exit))?;
            return Ok(exit);
        }
        let mut groups = self.groups.iter().filter(|(_, findings)| !findings.is_empty()).peekable();
        while let Some((group, findings)) = groups.next() {
            writeln!(out, "{BOLD}{}{BOLD:#}", display_safe(group))?;
            let mut columns = Columns::new(2).within(terminal_width());
            for finding in findings.iter().filter(|finding| !finding.is_detail) {
                // What others said may hold anything; our own line breaks stay.
                let safe: Vec<String> = finding.why.lines().map(display_safe_sentence).collect();
                let mut text = vec![format!("{}: {}", display_safe_sentence(&finding.on), safe.join("\n"))];
                text.extend(finding.help.as_ref().map(|help| format!("-> {help}")));
                // All groups begin their texts at one place.
                let status = format!("{:<7}", finding.status.as_str());
                columns.row(finding.status.style(), [status, text.join("\n")]);
            }
            columns.write(out)?;
            if groups.peek().is_some() {
                writeln!(out)?;
            }
        }
        let (failures, warnings) = (self.count(Status::Failure, false), self.count(Status::Warning, false));
        let (ok, skipped) = (self.count(Status::Ok, false), self.count(Status::Skipped, false));
        let style = if failures > 0 {
            Status::Failure.style()
        } else if warnings > 0 {
            Status::Warning.style()
        } else {
            Status::Ok.style()
        };
        let verdict = format!("{}, {}", count(failures, "failure"), count(warnings, "warning"));
        writeln!(out, "\n{style}{verdict}{style:#}; {ok} as it should be, {skipped} not tried.")?;
        Ok(exit)
    }

    fn as_json(&self, exit: Exit) -> Value {
        let findings: Vec<Value> = self
            .findings()
            .map(|(group, finding)| {
                json!({
                    "group": group,
                    "check": finding.check.as_str(),
                    "on": finding.on,
                    "status": finding.status.as_str(),
                    "why": finding.why,
                    "help": finding.help,
                    "exit": finding.exit.map(|exit| exit as u8),
                })
            })
            .collect();
        json!({
            "checked_at": written(self.at),
            "exit": exit as u8,
            "ok": self.count(Status::Ok, true),
            "warnings": self.count(Status::Warning, true),
            "failures": self.count(Status::Failure, true),
            "skipped": self.count(Status::Skipped, true),
            "findings": findings,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_failure_decides_and_a_warning_never_does() {
        let exit = |exits: &[Exit]| {
            let mut report = DoctorReport::new(DateTime::default());
            report.add("a", [CheckResult::warning(Check::Disk, "x", "y", "z"), CheckResult::ok(Check::Disk, "x", "y")]);
            report.add("b", exits.iter().map(|exit| CheckResult::failure(Check::Disk, "x", "y", "z", *exit)));
            report.exit()
        };
        assert_eq!(exit(&[]), Exit::Ok);
        assert_eq!(exit(&[Exit::Unavailable, Exit::Io]), Exit::Io);
        assert_eq!(exit(&[Exit::Io, Exit::Credentials, Exit::Unavailable]), Exit::Credentials);
        assert_eq!(exit(&[Exit::Credentials, Exit::Configuration]), Exit::Configuration);
        assert_eq!(exit(&[Exit::Configuration, Exit::Untrusted]), Exit::Untrusted);
    }

    #[test]
    fn words_of_others_cannot_move_the_cursor() {
        let mut report = DoctorReport::new(DateTime::default());
        report.add("a", [CheckResult::warning(Check::Mail, "x", "220 \u{1b}[2J", "wait")]);
        let mut out = anstream::StripStream::new(Vec::new());
        report.write(false, &mut out).unwrap();
        let text = String::from_utf8(out.into_inner()).unwrap();
        assert!(text.contains("warning  x: 220 \\u{1b}[2J\n           -> wait\n"), "{text}");
        assert!(text.ends_with("\n0 failures, 1 warning; 0 as it should be, 0 not tried.\n"), "{text}");
    }
}
