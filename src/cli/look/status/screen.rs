//! One screen: a table where it fits, else a few lines for each instance.

use std::io::Write;

use chrono::{DateTime, Utc};

use super::{InstanceLine, StatusReport};
use crate::baseline::BaselineSummary;
use crate::classify::Finding;
use crate::cli::CliError;
use crate::cli::alerts::receivers::state_words;
use crate::cli::output::{
    BOLD, Columns, DIM, PLAIN, day, severity_style, terminal_width, time, verdict_style, verdict_words,
};
use crate::history::outgoing::{ReceiverHealth, Waiting};
use crate::message::listed;
use crate::model::{Severity, Verdict, counted, display_safe, display_safe_sentence};
use crate::status::SectionStates;
use crate::store::space::Space;
use crate::trust::Untrusted;

/// Characters below which a table of instances does not fit.
const WIDE: usize = 110;
/// Instances that are explained; more of them are counted.
const MOST_EXPLAINED: usize = 10;

pub(super) fn draw(report: &StatusReport<'_>, out: &mut dyn Write) -> Result<(), CliError> {
    daemon(report, out)?;
    writeln!(out)?;
    instances(report, out)?;
    receivers(report, out)?;
    if !report.silences.is_empty() {
        writeln!(out)?;
    }
    for silence in &report.silences {
        let what = if silence.is_window { "Announced" } else { "Quiet" };
        let (until, by) = (time(silence.until, report.now), display_safe(&silence.by));
        writeln!(out, "{what} until {until}, by {by}: {} ({})", silence.words(), silence.id)?;
    }
    writeln!(out)?;
    storage(report, out)
}

fn daemon(report: &StatusReport<'_>, out: &mut dyn Write) -> Result<(), CliError> {
    let (style, words) = match report.is_running {
        Some(true) => (verdict_style(Verdict::InSync), "running"),
        Some(false) => (verdict_style(Verdict::Blind), "NOT RUNNING"),
        None => (DIM, "not seen from here"),
    };
    let mut counts = Vec::new();
    for verdict in
        [Verdict::Untrusted, Verdict::Drift, Verdict::Error, Verdict::Blind, Verdict::NoBaseline, Verdict::InSync]
    {
        let number = report.lines.iter().filter(|(_, line)| line.status.verdict == verdict).count();
        if number > 0 {
            let style = verdict_style(verdict);
            counts.push(format!("{number} {style}{}{style:#}", verdict_words(verdict)));
        }
    }
    let all = counted(report.lines.len(), "instance");
    writeln!(out, "Daemon {style}{words}{style:#}. {all}: {}.", counts.join(", "))?;
    Ok(())
}

fn instances(report: &StatusReport<'_>, out: &mut dyn Write) -> Result<(), CliError> {
    let width = terminal_width();
    let is_wide = width.is_none_or(|width| width >= WIDE);
    let mut columns = Columns::new(0).within(width);
    if is_wide {
        columns.row(BOLD, ["VERDICT", "INSTANCE", "OPEN", "SECTIONS", "LAST CYCLE", "NEXT", "BASELINE"]);
    }
    for (instance, line) in &report.lines {
        let (verdict, id) = (verdict_words(line.status.verdict).to_owned(), instance.id.to_string());
        let (open, sections, baseline) =
            (open(&line.status.open), sections(line), baseline(&line.status.baseline, report.now));
        let last = line.status.cycle.as_ref().map_or("never".to_owned(), |cycle| time(cycle.at, report.now));
        let next = next(line.next, report);
        if is_wide {
            let dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
            columns.row(
                verdict_style(line.status.verdict),
                [verdict, id, dash(open), dash(sections), last, next, baseline],
            );
            continue;
        }
        let mut text = vec![format!("baseline {baseline}")];
        if !open.is_empty() {
            text.push(format!("open: {open}"));
        }
        let sections = if sections.is_empty() { String::new() } else { format!("{sections} sections read, ") };
        text.push(format!("{sections}last cycle {last}, next {next}"));
        columns.row(verdict_style(line.status.verdict), [verdict, id, text.join("\n")]);
    }
    columns.write(out)?;
    what_now(report, out)
}

/// Explains each instance that is not in sync, with the next command.
fn what_now(report: &StatusReport<'_>, out: &mut dyn Write) -> Result<(), CliError> {
    let mut columns = Columns::new(2).within(terminal_width());
    let unwell = report.lines.iter().filter(|(_, line)| line.status.verdict != Verdict::InSync);
    let all = unwell.clone().count();
    for (instance, line) in unwell.take(MOST_EXPLAINED) {
        let id = instance.id.to_string();
        let (why, command) = match (line.status.verdict, &line.status.sections) {
            (Verdict::NoBaseline, Some(_)) => {
                let why = "nothing is approved, so nothing is compared".to_owned();
                (why, report.approval.command_for_all(&instance.id))
            }
            _ => advice(&id, line, report.now),
        };
        columns.row(PLAIN, [id, format!("{why}\n{command}")]);
    }
    if all > 0 {
        writeln!(out, "\nWhat now")?;
        columns.write(out)?;
    }
    if all > MOST_EXPLAINED {
        writeln!(out, "  and {} more: `authdrift status --json`", counted(all - MOST_EXPLAINED, "instance"))?;
    }
    Ok(())
}

fn advice(id: &str, line: &InstanceLine, now: DateTime<Utc>) -> (String, String) {
    let last = line.status.cycle.as_ref().map_or("never".to_owned(), |cycle| time(cycle.at, now));
    match (line.status.verdict, &line.status.sections) {
        (Verdict::InSync, _) => (String::new(), String::new()),
        (Verdict::Drift, _) => {
            (format!("{} open", counted(line.status.open.len(), "drift")), format!("authdrift diff {id}"))
        }
        (Verdict::Untrusted, _) => {
            let again = format!("it could not be trusted at {last}; it can now, and nothing was compared since");
            let why =
                line.status.baseline.as_ref().err().map_or(again, |reason| display_safe_sentence(&reason.to_string()));
            (why, format!("authdrift verify {id}"))
        }
        (Verdict::Error, Some(sections)) => {
            let why =
                format!("nothing could be read at {last}; the last reading is of {}", time(sections.read_at, now));
            (why, format!("authdrift doctor {id}"))
        }
        (Verdict::Error, None) => (format!("nothing could be read at {last}"), format!("authdrift doctor {id}")),
        (Verdict::Blind, sections) => {
            let blind = sections.as_ref().map(SectionStates::unread).unwrap_or_default();
            (format!("cannot read {}", listed(&blind, "section")), format!("authdrift doctor {id}"))
        }
        (Verdict::NoBaseline, _) => ("it was never read".to_owned(), format!("authdrift check {id}")),
    }
}

/// `1 critical 2 high`; nothing when nothing is open.
fn open(open: &[Finding]) -> String {
    let mut words = Vec::new();
    for severity in Severity::ALL.iter().rev() {
        let count = open.iter().filter(|drift| drift.meaning.severity == *severity).count();
        if count > 0 {
            words.push(format!("{count} {severity}"));
        }
    }
    words.join(" ")
}

/// `38 of 40, 2 blind`; nothing when it was never read.
fn sections(line: &InstanceLine) -> String {
    let Some(sections) = &line.status.sections else { return String::new() };
    let (all, blind) = (sections.states.len(), sections.unread().len());
    match blind {
        0 => all.to_string(),
        _ if blind == all => format!("0 of {all}"),
        _ => format!("{} of {all}, {blind} blind", all - blind),
    }
}

/// `3 of 10 Nov, 12 days old, by alice@example.com`
fn baseline(baseline: &Result<Option<BaselineSummary>, Untrusted>, now: DateTime<Utc>) -> String {
    match baseline {
        Ok(Some(baseline)) => {
            let until = baseline.until_words(now).map(|words| format!(", {words}")).unwrap_or_default();
            let age = match (now - baseline.approved_at).num_days() {
                ..=0 => "of today".to_owned(),
                1 => "of yesterday".to_owned(),
                days => format!("of {}, {days} days old", day(baseline.approved_at, now)),
            };
            let who: Vec<String> = baseline.approvers.iter().map(|who| display_safe(who)).collect();
            format!("{} {age}, by {}{until}", baseline.sequence, who.join(", "))
        }
        Ok(None) => "none".to_owned(),
        Err(_) => "UNTRUSTED".to_owned(),
    }
}

fn next(next: Option<DateTime<Utc>>, report: &StatusReport<'_>) -> String {
    match next {
        None => "-".to_owned(),
        Some(next) if next > report.now => time(next, report.now),
        Some(_) if report.is_running == Some(true) => "now".to_owned(),
        Some(next) => format!("due {}", time(next, report.now)),
    }
}

fn receivers(report: &StatusReport<'_>, out: &mut dyn Write) -> Result<(), CliError> {
    writeln!(out)?;
    if report.receivers.is_empty() {
        writeln!(out, "No receiver is configured, so no alert is sent.")?;
        return Ok(());
    }
    let now = report.now;
    let mut columns = Columns::new(0).within(terminal_width());
    columns.row(BOLD, ["RECEIVER", "STATE", "WAITING", "GIVEN UP", "LAST DELIVERY"]);
    for (receiver, state, health) in &report.receivers {
        let mut last = match &state.last_delivery {
            Some((at, answer)) => format!("{} {}", time(*at, now), display_safe(answer)),
            None => "never".to_owned(),
        };
        if let Some(trouble) = &state.trouble {
            last = format!("{last}\nlast trouble: {}", display_safe_sentence(trouble));
        }
        columns.row(
            receiver_style(health, now),
            [receiver.name.clone(), state_words(health, now), state.waiting.to_string(), state.dead.to_string(), last],
        );
    }
    columns.write(out)?;
    Ok(())
}

fn receiver_style(health: &ReceiverHealth, now: DateTime<Utc>) -> anstyle::Style {
    match (&health.disabled, health.resting_until(now), health.breaker.failures) {
        (Some(_), ..) => severity_style(Severity::Critical),
        (None, Some(_), _) => severity_style(Severity::High),
        (None, None, 1..) => severity_style(Severity::Medium),
        (None, None, 0) => PLAIN,
    }
}

/// Outbox, database and history.
fn storage(report: &StatusReport<'_>, out: &mut dyn Write) -> Result<(), CliError> {
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let in_words = |waiting: &Waiting| {
        let waits = match (waiting.count, waiting.oldest) {
            (0, _) | (_, None) => "nothing waits".to_owned(),
            (count, Some(oldest)) => {
                let verb = if count == 1 { "waits" } else { "wait" };
                format!("{count} {verb}, the oldest since {}", time(oldest, report.now))
            }
        };
        match waiting.given_up {
            0 => waits,
            many => format!("{waits}, {many} given up: `authdrift outbox list`"),
        }
    };
    let free = report.database.free;
    let style = match free.map(Space::of) {
        Some(Space::Full) => severity_style(Severity::Critical),
        Some(Space::Low) => severity_style(Severity::Medium),
        Some(Space::Ample) | None => PLAIN,
    };
    let free = free.map(|free| format!(", {style}{} MiB free{style:#}", free >> 20)).unwrap_or_default();
    writeln!(out, "Outbox    {}", in_words(&Waiting::sum(report.outbox.values())))?;
    let is_configured = |name: &String| report.receivers.iter().any(|(receiver, ..)| receiver.name == *name);
    for (name, waiting) in report.outbox.iter().filter(|(name, _)| !is_configured(name)) {
        writeln!(
            out,
            "          for '{}', which is not configured any more: {}",
            display_safe(name),
            in_words(waiting)
        )?;
    }
    writeln!(out, "Database  {}, {}{free}", report.database.path.display(), mib(report.database.size))?;
    match &report.history {
        Some(mark) => writeln!(out, "History   {} events, head {}", mark.size, mark.head.short())?,
        None => writeln!(out, "History   empty")?,
    }
    Ok(())
}
