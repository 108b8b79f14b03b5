//! How the results of all checks are printed.

use std::io::Write;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::cli::CliError;
use crate::cli::output::{BOLD, Columns, DIM, terminal_width, write_json};
use crate::clock::written;
use crate::diagnosis::{CheckResult, CheckStatus};
use crate::exit::Exit;
use crate::model::{counted, display_safe, display_safe_sentence};

fn style(status: CheckStatus) -> anstyle::Style {
    let of = |color: anstyle::AnsiColor| anstyle::Style::new().fg_color(Some(color.into()));
    match status {
        CheckStatus::Ok => of(anstyle::AnsiColor::Green),
        CheckStatus::Warning => of(anstyle::AnsiColor::Yellow).bold(),
        CheckStatus::Failure => of(anstyle::AnsiColor::Red).bold(),
        CheckStatus::Skipped => DIM,
    }
}

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

    fn count(&self, status: CheckStatus, details: bool) -> usize {
        self.findings().filter(|(_, finding)| finding.status == status && (details || !finding.is_detail)).count()
    }

    /// Prints it and returns the exit code.
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
                columns.row(style(finding.status), [status, text.join("\n")]);
            }
            columns.write(out)?;
            if groups.peek().is_some() {
                writeln!(out)?;
            }
        }
        let (failures, warnings) = (self.count(CheckStatus::Failure, false), self.count(CheckStatus::Warning, false));
        let (ok, skipped) = (self.count(CheckStatus::Ok, false), self.count(CheckStatus::Skipped, false));
        let worst = match (failures, warnings) {
            (1.., _) => CheckStatus::Failure,
            (0, 1..) => CheckStatus::Warning,
            (0, 0) => CheckStatus::Ok,
        };
        let style = style(worst);
        let verdict = format!("{}, {}", counted(failures, "failure"), counted(warnings, "warning"));
        writeln!(out, "\n{style}{verdict}{style:#}; {ok} ok, {skipped} skipped.")?;
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
            "ok": self.count(CheckStatus::Ok, true),
            "warnings": self.count(CheckStatus::Warning, true),
            "failures": self.count(CheckStatus::Failure, true),
            "skipped": self.count(CheckStatus::Skipped, true),
            "findings": findings,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::Check;

    #[test]
    fn the_worst_failure_decides_and_a_warning_never_does() {
        let exit = |exits: &[Exit]| {
            let mut report = DoctorReport::new(DateTime::default());
            report.add("a", [Check::Disk.warning("x", "y", "z"), Check::Disk.ok("x", "y")]);
            report.add("b", exits.iter().map(|exit| Check::Disk.failure("x", "y", "z", *exit)));
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
        report.add("a", [Check::Mail.warning("x", "220 \u{1b}[2J", "wait")]);
        let mut out = anstream::StripStream::new(Vec::new());
        report.write(false, &mut out).unwrap();
        let text = String::from_utf8(out.into_inner()).unwrap();
        assert!(text.contains("warning  x: 220 \\u{1b}[2J\n           -> wait\n"), "{text}");
        assert!(text.ends_with("\n0 failures, 1 warning; 0 ok, 0 skipped.\n"), "{text}");
    }
}
