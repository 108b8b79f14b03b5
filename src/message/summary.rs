//! The sentences about a whole message and about one setting in it: how bad, since when, who, and what to do now.

use chrono::{DateTime, Utc};

use super::row::{ItemRow, Phase, TRUSTED_AGAIN, UNTRUSTED};
use super::words::{Fact, NextStep, happened, label_of, moment, people, span, was_open};
use super::{Alert, Entry, EntryStatus, Item, NoticeKind, SectionStatus, Window};
use crate::model::{Direction, Provider, Severity, counted, display_safe, display_safe_sentence};

/// What a message says besides its items.
pub(super) struct Summary {
    pub(super) label: &'static str,
    pub(super) headline: String,
    pub(super) facts: Vec<Fact>,
    /// Where to look for the person who made the change.
    pub(super) who: Option<String>,
    pub(super) steps: Vec<NextStep>,
    pub(super) footer: String,
}

impl Summary {
    pub(super) fn of(alert: &Alert) -> Self {
        Self {
            label: label(alert),
            headline: headline(alert),
            facts: facts(alert),
            who: who(alert),
            steps: steps(alert),
            footer: footer(alert),
        }
    }
}

/// What a message says of one setting besides its values.
pub(super) struct EntrySummary {
    /// How bad it is, or how it ended.
    pub(super) label: &'static str,
    pub(super) title: String,
    /// Which way it went, or how bad it was.
    pub(super) outcome: &'static str,
    pub(super) why: String,
    pub(super) facts: Vec<Fact>,
}

impl EntrySummary {
    /// `window` is that of the whole message.
    pub(super) fn of(entry: &Entry, window: Option<Window>) -> Self {
        let mut facts = Vec::new();
        let mut fact = |label, line: String| facts.push(Fact { label, lines: vec![line] });
        if let Some(history) = history(entry) {
            fact(if entry.news.is_over() { "Differed" } else { "Since" }, history);
        }
        let own = Window { last_good: entry.last_good, first_different: entry.first_seen };
        if matches!(entry.news, EntryStatus::Opened | EntryStatus::Reopened)
            && window.is_some_and(|window| window != own)
        {
            facts.push(Fact { label: "Changed", lines: vec![happened(own)] });
        }
        let mut fact = |label, line: String| facts.push(Fact { label, lines: vec![line] });
        if let Some(announced) = &entry.unannounced {
            fact("Window", format!("outside the announced changes \"{}\"", display_safe(announced)));
        }
        if !entry.news.is_over() {
            if let Some(place) = &entry.meaning.dashboard {
                fact("Where", display_safe_sentence(place));
            }
            if let Some(event) = &entry.meaning.event {
                fact("Event", display_safe(event));
            }
        }
        if let Some(change) = entry.changes.first() {
            fact("Drift", display_safe(change.id.as_str()));
        }
        let (label, outcome) = match entry.news {
            EntryStatus::Reverted => ("REVERTED", was(entry.meaning.severity)),
            EntryStatus::Approved => ("APPROVED", was(entry.meaning.severity)),
            EntryStatus::Passed => ("CAME AND WENT", was(entry.meaning.severity)),
            EntryStatus::Opened
            | EntryStatus::Reopened
            | EntryStatus::Changed
            | EntryStatus::StillOpen
            | EntryStatus::Flapping => (label_of(entry.meaning.severity), way(entry.meaning.direction)),
        };
        Self {
            label,
            title: display_safe_sentence(&entry.meaning.title),
            outcome,
            why: if entry.news.is_over() { String::new() } else { display_safe_sentence(&entry.meaning.why) },
            facts,
        }
    }
}

/// The label of the worst severity that is current. What ended does not count.
pub(super) fn label(alert: &Alert) -> &'static str {
    let ongoing = alert.items.iter().filter(|item| item.is_ongoing());
    match ongoing.map(Item::severity).max() {
        Some(worst) => label_of(worst),
        None if alert.items.iter().any(|item| item.phase().is_end()) => "RESOLVED",
        None => "INFO",
    }
}

/// The settings of an alert in one clause: which, what of one, and what of `{n}` of them.
const CLAUSES: [(&[EntryStatus], &str, &str); 6] = [
    (
        &[EntryStatus::Opened, EntryStatus::Reopened, EntryStatus::Changed],
        "1 setting drifted from the approved state",
        "{n} settings drifted from the approved state",
    ),
    (
        &[EntryStatus::StillOpen],
        "a reminder, 1 setting still differs from the approved state",
        "a reminder, {n} settings still differ from the approved state",
    ),
    (&[EntryStatus::Flapping], "1 setting changes back and forth", "{n} settings change back and forth"),
    (
        &[EntryStatus::Passed],
        "1 setting drifted and went back meanwhile",
        "{n} settings drifted and went back meanwhile",
    ),
    (
        &[EntryStatus::Reverted],
        "1 setting is back at the approved state",
        "{n} settings are back at the approved state",
    ),
    (&[EntryStatus::Approved], "1 change was approved", "{n} changes were approved"),
];

/// All items in one sentence.
fn headline(alert: &Alert) -> String {
    let of_row = |row: &ItemRow| {
        let items = alert.items.iter().filter(|item| item.event_type() == row.event_type);
        let names: Vec<&str> = items.map(Item::subject).collect();
        (!names.is_empty()).then(|| row.clause(&names))
    };
    let mut clauses: Vec<String> = [&UNTRUSTED, &TRUSTED_AGAIN].into_iter().filter_map(of_row).collect();
    for (statuses, one, many) in CLAUSES {
        match alert.entries().filter(|entry| statuses.contains(&entry.news)).count() {
            0 => continue,
            1 => clauses.push(one.to_owned()),
            n => clauses.push(many.replace("{n}", &n.to_string())),
        }
        if statuses == [EntryStatus::Approved]
            && let Some(clause) = clauses.last_mut()
        {
            clause.push_str(&for_a_time(alert));
        }
    }
    clauses.extend(SectionStatus::ALL.map(SectionStatus::row).into_iter().filter_map(of_row));
    clauses.extend(NoticeKind::ALL.map(NoticeKind::row).into_iter().filter_map(of_row));
    if clauses.is_empty() {
        clauses.push("nothing new".to_owned());
    }
    let sample = if alert.sample { "this is only a sample. " } else { "" };
    format!("{}: {sample}{}", alert.about(), clauses.join(", "))
}

/// When the approvals end that were given for a time, if some were.
fn for_a_time(alert: &Alert) -> String {
    let approved = || alert.entries().filter(|entry| entry.news == EntryStatus::Approved);
    let ends: Vec<DateTime<Utc>> = approved().filter_map(|entry| entry.approved_until).collect();
    match ends.iter().min() {
        None => String::new(),
        Some(first) if ends.len() == approved().count() => format!(" until {}", moment(*first)),
        Some(first) => format!(", {} of them only until {}", ends.len(), moment(*first)),
    }
}

/// Which instance, how much is open, what was approved, and when it happened.
fn facts(alert: &Alert) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut fact = |label, lines| facts.push(Fact { label, lines });
    if alert.sample {
        fact("Sample", vec!["Somebody tried this receiver out. Nothing of this happened.".to_owned()]);
    }
    if let Some(instance) = &alert.instance {
        fact("Instance", vec![format!("{instance}, {}", display_safe(&alert.resource))]);
        fact("Open now", vec![open_now(alert)]);
    }
    if let Some(baseline) = &alert.baseline {
        let signed = format!(
            "baseline {}, {}, {}",
            baseline.sequence,
            baseline.approved_at.format("%-d %b %Y"),
            people(&baseline.approvers)
        );
        let mut lines = vec![signed];
        if !baseline.reason.is_empty() {
            lines.push(format!("\"{}\"", display_safe(&baseline.reason)));
        }
        fact("Approved", lines);
    }
    match alert.window {
        Some(window) => fact("Changed", vec![happened(window)]),
        None => fact("Noticed", vec![moment(alert.at)]),
    }
    facts
}

/// Whether it says that something is not seen.
fn is_partly_blind(alert: &Alert) -> bool {
    let is_blind = |item: &Item| matches!(item, Item::Section(section) if section.news.is_blindness());
    alert.items.iter().any(is_blind) || has_notice(alert, NoticeKind::StillUnseen)
}

fn has_notice(alert: &Alert, kind: NoticeKind) -> bool {
    alert.notices().any(|notice| notice.kind == kind)
}

fn open_now(alert: &Alert) -> String {
    let places = |wanted: &[EntryStatus]| -> usize {
        let matching = alert.entries().filter(|entry| wanted.contains(&entry.news));
        matching.map(|entry| entry.changes.len()).sum()
    };
    let mut text = match alert.open {
        0 if alert.untrusted().is_some() => "not known, nothing was compared".to_owned(),
        0 if is_partly_blind(alert) => "nothing, as far as it could be read".to_owned(),
        0 => "nothing".to_owned(),
        n => counted(n, "drift"),
    };
    let mut parts = Vec::new();
    for (news, word) in [
        (&[EntryStatus::Opened][..], "new"),
        (&[EntryStatus::Reopened], "came back"),
        (&[EntryStatus::Changed], "moved on"),
        (&[EntryStatus::StillOpen], "told before"),
        (&[EntryStatus::Flapping], "back and forth"),
        (&[EntryStatus::Reverted, EntryStatus::Approved, EntryStatus::Passed], "over"),
    ] {
        match places(news) {
            0 => {}
            n => parts.push(format!("{n} {word}")),
        }
    }
    if !parts.is_empty() {
        text.push_str(&format!(" ({})", parts.join(", ")));
    }
    text
}

/// Where the name of the person can be found, when something drifted.
fn who(alert: &Alert) -> Option<String> {
    let has_drifted = alert.entries().any(|entry| !entry.news.is_over());
    let window = alert.window.filter(|_| has_drifted)?;
    let time = match window.last_good {
        Some(good) => span("from", good, "to", window.first_different),
        None => format!("before {}", moment(window.first_different)),
    };
    let has_events = alert.entries().any(|entry| !entry.news.is_over() && entry.meaning.event.is_some());
    let what = if has_events { "for the events named above" } else { "for changes" };
    Some(match alert.instance.as_ref()?.provider {
        Provider::Clerk => format!(
            "Clerk's API does not say. Look in Clerk Dashboard > Logs > Admin logs (Business plan and up) {what}, \
             {time}."
        ),
        Provider::Auth0 => format!(
            "Auth0's tenant logs name the actor, for 1 to 30 days by plan. Look in Auth0 Dashboard > Monitoring > \
             Logs {what}, {time}."
        ),
    })
}

/// The next steps, as commands that can be copied.
pub(super) fn steps(alert: &Alert) -> Vec<NextStep> {
    let mut steps = Vec::new();
    let mut step = |question, command, effect| steps.push(NextStep { question, command, effect });
    let Some(instance) = &alert.instance else {
        step("Look closer", "authdrift status".to_owned(), "shows instances, receivers and what waits for them");
        return steps;
    };
    if alert.untrusted().is_some() {
        step("What is wrong?", format!("authdrift verify {instance}"), "checks every signature and names what fails");
        return steps;
    }
    let worst: Option<&Entry> = alert.entries().find(|entry| !entry.news.is_over());
    if let Some(change) = worst.and_then(|entry| entry.changes.first()) {
        let id = display_safe(change.id.as_str());
        step("Look closer", format!("authdrift show {id}"), "explains the first one; each has its own number");
    }
    if worst.is_some() {
        let command = format!("authdrift diff {instance} --format revert");
        step("Not intended?", command, "prints the way back; authdrift itself changes nothing");
    }
    let has = |status| alert.sections_of(status).next().is_some();
    let is_window_over = has_notice(alert, NoticeKind::WindowEnded);
    let is_still_unseen = has_notice(alert, NoticeKind::StillUnseen);
    if worst.is_some() || has(SectionStatus::Unbaselined) || is_window_over && alert.open > 0 {
        let effect = match alert.approvers_needed {
            0 | 1 => "asks change by change, then signs the next baseline",
            _ => "writes a proposal, which several approvers `sign`",
        };
        step("Intended?", instance.approval_command(alert.approvers_needed), effect);
    }
    if has(SectionStatus::Refused) {
        let command = format!("authdrift check {instance}");
        step("Replaced?", command, "reads with the new one at once; the daemon does with its next cycle");
    }
    if has(SectionStatus::Suspect) {
        step(
            "Is it true?",
            format!("authdrift check {instance}"),
            "reads it again; the very same is reported as drift",
        );
    }
    if has(SectionStatus::Blind) || is_still_unseen {
        step("Access fixed?", format!("authdrift check {instance}"), "reads everything again at once");
    }
    let has_trouble =
        alert.notices().any(|notice| notice.kind.row().phase == Phase::Ongoing && notice.kind != NoticeKind::Approved);
    if worst.is_none() && alert.open > 0 {
        step("Still open", format!("authdrift diff {instance}"), "lists what differs from the approved state");
    } else if worst.is_none() && has_trouble && !is_still_unseen {
        step("Look closer", "authdrift status".to_owned(), "shows instances, receivers and what waits for them");
    }
    steps
}

/// Where in the history this is, and who says it.
fn footer(alert: &Alert) -> String {
    format!(
        "Event {}, history {}..., authdrift {} on {}.",
        alert.event.size,
        alert.event.head.short(),
        display_safe(&alert.version),
        display_safe(&alert.host)
    )
}

fn way(direction: Direction) -> &'static str {
    match direction {
        Direction::Weaker => "WEAKER",
        Direction::Stronger => "STRONGER",
        Direction::Neutral => "NEUTRAL",
        Direction::Unknown => "EFFECT UNKNOWN",
    }
}

fn was(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "WAS INFO",
        Severity::Low => "WAS LOW",
        Severity::Medium => "WAS MEDIUM",
        Severity::High => "WAS HIGH",
        Severity::Critical => "WAS CRITICAL",
    }
}

/// When it began, where the window of the whole message does not say it, and who ended it.
fn history(entry: &Entry) -> Option<String> {
    let first = moment(entry.first_seen);
    let times = match entry.reopened {
        0 | 1 => "once".to_owned(),
        n => format!("{n} times"),
    };
    match entry.news {
        EntryStatus::Opened => None,
        EntryStatus::Reopened => Some(format!("{first}, back after being closed {times}")),
        EntryStatus::Changed => Some(format!("{first}, and now at yet another value")),
        EntryStatus::StillOpen => Some(format!("{first}, as told before")),
        EntryStatus::Flapping => Some(format!(
            "{first}, and it began and ended {times} more; the same again is not told until it stays as it is"
        )),
        EntryStatus::Passed => Some(format!("{}, over before this could be delivered", was_open(entry))),
        EntryStatus::Reverted => Some(format!("{}, now back at the approved value", was_open(entry))),
        EntryStatus::Approved => {
            let end = entry.approved_until.map(|end| format!(" until {}, then it is a drift again", moment(end)));
            let by = people(&entry.approved_by);
            Some(format!("{}, approved by {by}{}", was_open(entry), end.unwrap_or_default()))
        }
    }
}
