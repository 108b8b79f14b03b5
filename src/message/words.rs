//! The sentences about a whole message: how bad, in one line, since when, who, and what to do now.

use chrono::{DateTime, Utc};

use super::{Alert, Entry, EntryStatus, NoticeKind, SectionEntry, SectionStatus, Window};
use crate::model::{Provider, Severity, State, display_safe, display_safe_sentence};

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

/// The label of the worst severity that is current. Ended drifts and notices do not count.
pub(super) fn label(alert: &Alert) -> &'static str {
    let drifted = alert.entries.iter().filter(|entry| !entry.news.is_over()).map(|entry| entry.meaning.severity);
    let blind = alert.sections.iter().map(|section| section.news).filter(|news| news.is_blindness());
    let blind = blind.map(SectionStatus::severity).max();
    let untrusted = alert.untrusted.as_ref().map(|_| Severity::Critical);
    let trouble = alert.notices.iter().filter(|notice| !notice.kind.is_end()).map(|notice| notice.kind.severity());
    if let Some(worst) = drifted.chain(blind).chain(untrusted).chain(trouble).max() {
        return label_of(worst);
    }
    let is_end = alert.trusted_again
        || !alert.entries.is_empty()
        || alert.sections.iter().any(|section| section.news.is_end())
        || alert.notices.iter().any(|notice| notice.kind.is_end());
    if is_end { "RESOLVED" } else { "INFO" }
}

/// Everything that is news, in one sentence.
pub(super) fn headline(alert: &Alert) -> String {
    let mut clauses = Vec::new();
    if alert.untrusted.is_some() {
        clauses.push("the approved state cannot be trusted".to_owned());
    }
    if alert.trusted_again {
        clauses.push("the approved state can be trusted again".to_owned());
    }
    let of_news = |wanted: &[EntryStatus]| alert.entries.iter().filter(|entry| wanted.contains(&entry.news)).count();
    let drifted = of_news(&[EntryStatus::Opened, EntryStatus::Reopened, EntryStatus::Changed]);
    if drifted > 0 {
        clauses.push(format!("{} drifted from the approved state", counted(drifted, "setting")));
    }
    let still = of_news(&[EntryStatus::StillOpen]);
    if still > 0 {
        let differ = if still == 1 { "differs" } else { "differ" };
        clauses.push(format!("a reminder, {} still {differ} from the approved state", counted(still, "setting")));
    }
    let flapping = of_news(&[EntryStatus::Flapping]);
    if flapping > 0 {
        let change = if flapping == 1 { "changes" } else { "change" };
        clauses.push(format!("{} {change} back and forth", counted(flapping, "setting")));
    }
    let passed = of_news(&[EntryStatus::Passed]);
    if passed > 0 {
        clauses.push(format!("{} drifted and went back meanwhile", counted(passed, "setting")));
    }
    let reverted = of_news(&[EntryStatus::Reverted]);
    if reverted > 0 {
        clauses.push(format!("{} {} back at the approved state", counted(reverted, "setting"), is_are(reverted)));
    }
    let approved = of_news(&[EntryStatus::Approved]);
    if approved > 0 {
        clauses.push(format!(
            "{} {} approved{}",
            counted(approved, "change"),
            if approved == 1 { "was" } else { "were" },
            for_a_time(alert)
        ));
    }
    for kind in SectionStatus::ALL {
        let count = count_of(alert, kind);
        let sections = || counted(count, "section");
        let clause = match kind {
            _ if count == 0 => continue,
            SectionStatus::Refused => format!("{} {} refused", credentials(alert, kind), is_are(count)),
            SectionStatus::Suspect => format!("{} cannot be believed", sections()),
            SectionStatus::Blind => format!("{} cannot be read", sections()),
            SectionStatus::SeeingAgain => format!("{} can be read again", sections()),
            SectionStatus::Accepted => format!("{} {} accepted again", credentials(alert, kind), is_are(count)),
            SectionStatus::LeftOut => format!("{} {} not watched any more", sections(), is_are(count)),
            SectionStatus::Removed => format!("{} {} not configured any more", credentials(alert, kind), is_are(count)),
            SectionStatus::Unbaselined => format!("{} {} not in the approved state yet", sections(), is_are(count)),
        };
        clauses.push(clause);
    }
    for kind in NoticeKind::ALL {
        let mut notices = alert.notices.iter().filter(|notice| notice.kind == kind);
        let Some(first) = notices.next() else { continue };
        clauses.push(match notices.count() {
            // The first notice of a digest names it, the others are its lines.
            _ if kind == NoticeKind::Digest => first.clause(),
            0 => first.clause(),
            more => format!("{}, and {more} more", first.clause()),
        });
    }
    if clauses.is_empty() {
        clauses.push("nothing new".to_owned());
    }
    let sample = if alert.sample { "this is only a sample. " } else { "" };
    format!("{}: {sample}{}", alert.about(), clauses.join(", "))
}

/// When the approvals end that were given for a time, if some were.
fn for_a_time(alert: &Alert) -> String {
    let approved = || alert.entries.iter().filter(|entry| entry.news == EntryStatus::Approved);
    let ends: Vec<DateTime<Utc>> = approved().filter_map(|entry| entry.approved_until).collect();
    match ends.iter().min() {
        None => String::new(),
        Some(first) if ends.len() == approved().count() => format!(" until {}", moment(*first)),
        Some(first) => format!(", {} of them only until {}", ends.len(), moment(*first)),
    }
}

/// The credentials to which `kind` happened; there are few.
fn credentials(alert: &Alert, kind: SectionStatus) -> String {
    let named = alert.sections.iter().filter(|section| section.news == kind);
    named.map(|section| format!("the {}", display_safe(&section.section))).collect::<Vec<_>>().join(" and ")
}

/// Which instance, how much is open, what was approved, and when it happened.
pub(super) fn facts(alert: &Alert) -> Vec<Fact> {
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
    alert.sections.iter().any(|section| section.news.is_blindness()) || is_still_unseen(alert)
}

fn is_still_unseen(alert: &Alert) -> bool {
    alert.notices.iter().any(|notice| notice.kind == NoticeKind::StillUnseen)
}

fn open_now(alert: &Alert) -> String {
    let places = |wanted: &[EntryStatus]| -> usize {
        let matching = alert.entries.iter().filter(|entry| wanted.contains(&entry.news));
        matching.map(|entry| entry.changes.len()).sum()
    };
    let mut text = match alert.open {
        0 if alert.untrusted.is_some() => "not known, nothing was compared".to_owned(),
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

/// When it was changed, as exactly as the readings before and after it know.
pub(super) fn happened(window: Window) -> String {
    match window.last_good {
        None => format!("by {}; no earlier reading to narrow it down", moment(window.first_different)),
        Some(good) => span("between", good, "and", window.first_different),
    }
}

/// Two points in time, as `between … and …` or `from … to …`: no more of the second than it takes, and none if it shows as
/// the same.
fn span(before: &str, from: DateTime<Utc>, between: &str, to: DateTime<Utc>) -> String {
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

/// Where the name of the person can be found, when something drifted.
pub(super) fn who(alert: &Alert) -> Option<String> {
    let has_drifted = alert.entries.iter().any(|entry| !entry.news.is_over());
    let window = alert.window.filter(|_| has_drifted)?;
    let time = match window.last_good {
        Some(good) => span("from", good, "to", window.first_different),
        None => format!("before {}", moment(window.first_different)),
    };
    let has_events = alert.entries.iter().any(|entry| !entry.news.is_over() && entry.meaning.event.is_some());
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
    if alert.untrusted.is_some() {
        step("What is wrong?", format!("authdrift verify {instance}"), "checks every signature and names what fails");
        return steps;
    }
    let worst: Option<&Entry> = alert.entries.iter().find(|entry| !entry.news.is_over());
    if let Some(change) = worst.and_then(|entry| entry.changes.first()) {
        let id = display_safe(change.id.as_str());
        step("Look closer", format!("authdrift show {id}"), "explains the first one; each has its own number");
    }
    if worst.is_some() {
        let command = format!("authdrift diff {instance} --format revert");
        step("Not intended?", command, "prints the way back; authdrift itself changes nothing");
    }
    let is_window_over = alert.notices.iter().any(|notice| notice.kind == NoticeKind::WindowEnded);
    if worst.is_some() || count_of(alert, SectionStatus::Unbaselined) > 0 || is_window_over && alert.open > 0 {
        let effect = match alert.approvers_needed {
            0 | 1 => "asks change by change, then signs the next baseline",
            _ => "writes a proposal, which several approvers `sign`",
        };
        step("Intended?", instance.approval_command(alert.approvers_needed), effect);
    }
    if count_of(alert, SectionStatus::Refused) > 0 {
        let command = format!("authdrift check {instance}");
        step("Replaced?", command, "reads with the new one at once; the daemon does with its next cycle");
    }
    if count_of(alert, SectionStatus::Suspect) > 0 {
        step(
            "Is it true?",
            format!("authdrift check {instance}"),
            "reads it again; the very same is reported as drift",
        );
    }
    if count_of(alert, SectionStatus::Blind) > 0 || is_still_unseen(alert) {
        step("Access fixed?", format!("authdrift check {instance}"), "reads everything again at once");
    }
    let has_trouble = alert.notices.iter().any(|notice| !notice.kind.is_end() && notice.kind != NoticeKind::Approved);
    if worst.is_none() && alert.open > 0 {
        step("Still open", format!("authdrift diff {instance}"), "lists what differs from the approved state");
    } else if worst.is_none() && has_trouble && !is_still_unseen(alert) {
        step("Look closer", "authdrift status".to_owned(), "shows instances, receivers and what waits for them");
    }
    steps
}

/// Where in the history this is, and who says it.
pub(super) fn footer(alert: &Alert) -> String {
    format!(
        "Event {}, history {}..., authdrift {} on {}.",
        alert.event.size,
        alert.event.head.short(),
        display_safe(&alert.version),
        display_safe(&alert.host)
    )
}

/// Since when a section or credential is not seen and why, or from when to when it was not; `at` is when the alert was made.
pub(super) fn section_story(section: &SectionEntry, at: DateTime<Utc>) -> String {
    let lasted = || span("from", section.since, "to", section.until.unwrap_or(at));
    let now = match section.state {
        State::Off => ", now known to be switched off",
        State::NotOnPlan => ", now known not to be on the plan",
        State::Value | State::NotPermitted | State::Unreachable | State::Suspect => "",
    };
    let reason = display_safe_sentence(&section.reason);
    let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    let since = moment(section.since);
    match section.news {
        SectionStatus::Accepted | SectionStatus::Removed => format!("refused {}", lasted()),
        SectionStatus::LeftOut => format!("not readable {}{why}", lasted()),
        SectionStatus::SeeingAgain if section.cause == Some(State::Suspect) => {
            format!("not believed {}{now}", lasted())
        }
        SectionStatus::SeeingAgain => format!("not readable {}{now}", lasted()),
        SectionStatus::Unbaselined => format!("first read {since}{now}"),
        SectionStatus::Refused | SectionStatus::Suspect | SectionStatus::Blind => {
            format!("{} since {since}{why}", trouble(section))
        }
    }
}

/// The trouble of a section or credential that cannot be read.
pub(super) fn trouble(section: &SectionEntry) -> &'static str {
    match (section.news, section.state) {
        (SectionStatus::Suspect, _) => "not believed",
        (SectionStatus::Refused, _) | (_, State::NotPermitted) => "refused",
        _ => "no usable answer",
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

/// `1 setting`, `2 settings`.
pub fn counted(count: usize, noun: &str) -> String {
    format!("{count} {}", plural(count, noun))
}

fn plural(count: usize, noun: &str) -> String {
    match (count, noun) {
        (1, _) => noun.to_owned(),
        (_, "person") => "people".to_owned(),
        _ => format!("{noun}s"),
    }
}

/// Sections to which `kind` happened.
pub(super) fn count_of(alert: &Alert, kind: SectionStatus) -> usize {
    alert.sections.iter().filter(|section| section.news == kind).count()
}

fn is_are(count: usize) -> &'static str {
    if count == 1 { "is" } else { "are" }
}
