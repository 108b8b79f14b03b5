//! The words that all parts of a message share: labels, times, names and counts.

use chrono::{DateTime, Utc};

use super::{Entry, Window};
use crate::model::{Severity, display_safe, plural};

/// Names listed before the rest is counted.
const MOST_NAMES: usize = 5;

/// A labelled line or two about the whole message.
pub(super) struct Fact {
    pub(super) label: &'static str,
    pub(super) lines: Vec<String>,
}

/// Something the reader can do.
pub(super) struct NextStep {
    pub(super) question: &'static str,
    pub(super) command: String,
    pub(super) effect: &'static str,
}

/// A severity as a label.
pub(super) fn label_of(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "INFO",
        Severity::Low => "LOW",
        Severity::Medium => "MEDIUM",
        Severity::High => "HIGH",
        Severity::Critical => "CRITICAL",
    }
}

/// When it was changed, as exactly as the readings before and after it know.
pub(super) fn happened(window: Window) -> String {
    match window.last_good {
        None => format!("by {}; no earlier reading to narrow it down", moment(window.first_different)),
        Some(good) => span("between", good, "and", window.first_different),
    }
}

/// Two points in time, as `between … and …` or `from … to …`: no more of the second than it takes, and none if it shows as
/// the same.
pub(super) fn span(before: &str, from: DateTime<Utc>, between: &str, to: DateTime<Utc>) -> String {
    const MINUTE: &str = "%-d %b %Y %H:%M";
    const SECOND: &str = "%-d %b %Y %H:%M:%S";
    let is_same = |pattern: &str| from.format(pattern).to_string() == to.format(pattern).to_string();
    let time = if is_same(MINUTE) { "%H:%M:%S" } else { "%H:%M" };
    if is_same(SECOND) {
        format!("at {} UTC", from.format(SECOND))
    } else if from.date_naive() == to.date_naive() {
        format!("{before} {} {between} {} UTC", from.format(&format!("%-d %b %Y {time}")), to.format(time))
    } else {
        format!("{before} {} {between} {}", moment(from), moment(to))
    }
}

/// When a drift that is over began and ended, as far as the readings know.
pub(super) fn was_open(entry: &Entry) -> String {
    match entry.closed_at {
        Some(closed) => span("from", entry.first_seen, "to", closed),
        None => format!("from {}", moment(entry.first_seen)),
    }
}

/// Names of people, the first few of them.
pub(super) fn people(names: &[String]) -> String {
    if names.is_empty() {
        return "nobody named".to_owned();
    }
    listed(&names.iter().map(|name| display_safe(name)).collect::<Vec<_>>(), "person")
}

/// Names, the first few of them; the others are counted as `noun`.
pub fn listed(names: &[String], noun: &str) -> String {
    let mut shown: Vec<String> = names.iter().take(MOST_NAMES).cloned().collect();
    let more = names.len() - shown.len();
    if more > 0 {
        shown.push(format!("and {} more {}", more, plural(more, noun)));
    }
    shown.join(", ")
}

/// A point in time to the minute; windows are as wide as the schedule, seconds would only pretend.
pub(super) fn moment(at: DateTime<Utc>) -> String {
    at.format("%-d %b %Y %H:%M UTC").to_string()
}

pub(super) fn is_are(count: usize) -> &'static str {
    if count == 1 { "is" } else { "are" }
}
