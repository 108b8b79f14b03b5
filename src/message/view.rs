//! The parts of an alert in order, as text that is safe to show: the one source of the text part and of the HTML part.
//!
//! Nothing foreign gets past this file without [`display_safe`]; the renderings only lay it out. It also keeps the
//! size in bounds: at most 50 entries, ten places of each, and what fits in a mail that Gmail does not clip.

use super::values::{self, ValueLine};
use super::words::{self, Fact, NextStep, label_of, moment};
use super::{Alert, Entry, EntryChange, EntryStatus, Notice, SectionStatus, Window};
use crate::diff::ChangeKind;
use crate::model::{Direction, Severity, Unit, display_safe, display_safe_sentence};

/// Entries of one message.
const MOST_ENTRIES: usize = 50;
/// Changes shown of one entry.
const MOST_CHANGES: usize = 10;
/// Bytes of the parts that grow with the alert; the rest of 100 KB is the frame of the page.
const BUDGET: usize = 91_000;
/// Bytes of markup around one entry, one group of changes, one line of text and one section.
const ENTRY_COST: usize = 720;
const GROUP_COST: usize = 140;
const LINE_COST: usize = 75;
const SECTION_COST: usize = 220;

/// A message, ready to be laid out.
pub(super) struct View {
    pub(super) label: &'static str,
    pub(super) headline: String,
    pub(super) facts: Vec<Fact>,
    pub(super) untrusted: Option<String>,
    pub(super) drifted: Vec<Block>,
    pub(super) more_drifted: usize,
    pub(super) over: Vec<Block>,
    pub(super) more_over: usize,
    /// The command that shows what is left out.
    pub(super) more_command: String,
    pub(super) sections: Vec<SectionGroup>,
    pub(super) notices: Vec<NoticeBlock>,
    pub(super) who: Option<String>,
    pub(super) steps: Vec<NextStep>,
    pub(super) footer: String,
}

/// One setting.
pub(super) struct Block {
    /// How bad it is, or how it ended.
    pub(super) label: &'static str,
    pub(super) title: String,
    /// Which way it went, or how bad it was.
    pub(super) outcome: &'static str,
    pub(super) groups: Vec<Group>,
    pub(super) more_changes: usize,
    pub(super) why: String,
    pub(super) facts: Vec<Fact>,
}

/// Changes that were made at the same places.
pub(super) struct Group {
    pub(super) lines: Vec<ValueLine>,
    pub(super) paths: Vec<String>,
}

/// Sections to which the same thing happened.
pub(super) struct SectionGroup {
    pub(super) label: &'static str,
    pub(super) title: &'static str,
    pub(super) note: &'static str,
    pub(super) rows: Vec<SectionRow>,
    pub(super) more: usize,
}

/// A notice.
pub(super) struct NoticeBlock {
    pub(super) label: &'static str,
    pub(super) title: String,
    pub(super) text: String,
    /// Its meaning, or the next step.
    pub(super) note: &'static str,
}

/// One section.
pub(super) struct SectionRow {
    pub(super) name: String,
    pub(super) story: String,
}

impl View {
    pub(super) fn of(alert: &Alert) -> Self {
        let untrusted = alert.untrusted.as_deref().map(display_safe_sentence);
        let (facts, footer) = (words::facts(alert), words::footer(alert));
        let frame = cost_of(&facts) + escaped(&footer) + untrusted.as_deref().map_or(0, escaped);
        let mut budget = Budget(BUDGET.saturating_sub(frame));
        let mut sections = Vec::new();
        for kind in SectionStatus::ALL {
            sections.extend(section_group(alert, kind, &mut budget));
        }
        let mut notices: Vec<NoticeBlock> = alert.notices.iter().map(notice_block).collect();
        notices.retain(|notice| budget.takes(SECTION_COST + escaped(&notice.title) + escaped(&notice.text)));
        let (mut drifted, mut over) = (Vec::new(), Vec::new());
        let (mut more_drifted, mut more_over) = (0, 0);
        for (index, entry) in alert.entries.iter().enumerate() {
            let fitting =
                (index < MOST_ENTRIES).then(|| block(entry, alert.window)).filter(|block| budget.takes(block.cost()));
            let (blocks, more) = match entry.news.is_over() {
                true => (&mut over, &mut more_over),
                false => (&mut drifted, &mut more_drifted),
            };
            match fitting {
                Some(block) => blocks.push(block),
                None => *more += 1,
            }
        }
        Self {
            label: words::label(alert),
            headline: words::headline(alert),
            facts,
            untrusted,
            drifted,
            more_drifted,
            over,
            more_over,
            more_command: match &alert.instance {
                Some(instance) => format!("authdrift diff {instance}"),
                None => "authdrift status".to_owned(),
            },
            sections,
            notices,
            who: words::who(alert),
            steps: words::steps(alert),
            footer,
        }
    }
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

fn block(entry: &Entry, window: Option<Window>) -> Block {
    let shown = entry.changes.iter().take(MOST_CHANGES);
    let mut facts = Vec::new();
    let mut fact = |label, line: String| facts.push(Fact { label, lines: vec![line] });
    if let Some(history) = history(entry) {
        fact(if entry.news.is_over() { "Differed" } else { "Since" }, history);
    }
    let own = Window { last_good: entry.last_good, first_different: entry.first_seen };
    if matches!(entry.news, EntryStatus::Opened | EntryStatus::Reopened) && window.is_some_and(|window| window != own) {
        facts.push(Fact { label: "Changed", lines: vec![words::happened(own)] });
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
    Block {
        label,
        title: display_safe_sentence(&entry.meaning.title),
        outcome,
        groups: groups(entry, shown),
        more_changes: entry.changes.len().saturating_sub(MOST_CHANGES),
        why: if entry.news.is_over() { String::new() } else { display_safe_sentence(&entry.meaning.why) },
        facts,
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
        EntryStatus::Passed => Some(format!("{}, over before this could be delivered", words::was_open(entry))),
        EntryStatus::Reverted => Some(format!("{}, now back at the approved value", words::was_open(entry))),
        EntryStatus::Approved => {
            let end = entry.approved_until.map(|end| format!(" until {}, then it is a drift again", moment(end)));
            let by = words::people(&entry.approved_by);
            Some(format!("{}, approved by {by}{}", words::was_open(entry), end.unwrap_or_default()))
        }
    }
}

/// Puts changes that read the same, at several paths, and several changes at the same path, together.
fn groups<'a>(entry: &Entry, changes: impl Iterator<Item = &'a EntryChange>) -> Vec<Group> {
    let mut at_path: Vec<(String, Vec<ValueLine>)> = Vec::new();
    for change in changes {
        let path = display_safe(&change.change.path.to_string());
        let line = match entry.news {
            EntryStatus::Reverted => way_back(change, entry.meaning.unit),
            _ => values::line(change.change.kind, &change.change.before, &change.change.after, entry.meaning.unit),
        };
        match at_path.iter_mut().find(|(known, _)| *known == path) {
            Some((_, lines)) => lines.push(line),
            None => at_path.push((path, vec![line])),
        }
    }
    let mut groups: Vec<Group> = Vec::new();
    for (path, lines) in at_path {
        match groups.iter_mut().find(|group| group.lines == lines) {
            Some(group) => group.paths.push(path),
            None => groups.push(Group { lines, paths: vec![path] }),
        }
    }
    groups
}

fn way_back(change: &EntryChange, unit: Option<Unit>) -> ValueLine {
    let approved = values::summary(&change.change.before, unit);
    match change.change.kind {
        ChangeKind::Added => ValueLine::Single(format!("gone again: {}", values::summary(&change.change.after, unit))),
        ChangeKind::Removed => ValueLine::Single(format!("there again: {approved}")),
        ChangeKind::Changed | ChangeKind::Reordered if change.change.before == change.change.after => {
            ValueLine::Single(format!("again {approved}"))
        }
        ChangeKind::Changed | ChangeKind::Reordered => {
            values::line(ChangeKind::Changed, &change.change.after, &change.change.before, unit)
        }
    }
}

fn notice_block(notice: &Notice) -> NoticeBlock {
    let row = notice.kind.row();
    let label = if row.is_end { "RESOLVED" } else { label_of(row.severity) };
    let subject = display_safe(&notice.subject);
    let title = if subject.is_empty() { row.title.to_owned() } else { format!("{}: {subject}", row.title) };
    NoticeBlock { label, title, text: display_safe_sentence(&notice.text), note: row.advice }
}

fn section_group(alert: &Alert, kind: SectionStatus, budget: &mut Budget) -> Option<SectionGroup> {
    let (label, title, note) = match kind {
        SectionStatus::Blind => (
            label_of(Severity::High),
            "Not readable",
            "Nothing is concluded from it: a change made there now would not be noticed.",
        ),
        SectionStatus::Refused => (
            label_of(Severity::High),
            "Credential refused",
            "Nothing that is read with it is watched until it is replaced.",
        ),
        SectionStatus::Suspect => (
            label_of(Severity::High),
            "Not believed yet",
            "It may be a fault in reading. If the next reading says the same, it is reported as drift.",
        ),
        SectionStatus::SeeingAgain => ("RESOLVED", "Readable again", "Compared with the approved state as before."),
        SectionStatus::Accepted => ("RESOLVED", "Credential accepted again", "What it reads is compared as before."),
        SectionStatus::LeftOut => {
            (label_of(Severity::Info), "Not watched any more", "A change made there is not noticed from now on.")
        }
        SectionStatus::Removed => {
            (label_of(Severity::Info), "Credential not configured any more", "What it alone can read is not watched.")
        }
        SectionStatus::Unbaselined => (
            label_of(Severity::Info),
            "Not in the approved state",
            "There is nothing to compare with until somebody approves it.",
        ),
    };
    let mut group = SectionGroup { label, title, note, rows: Vec::new(), more: 0 };
    // Sections with one story are one row: an outage is one thing, however many sections it takes.
    let mut stories: Vec<(String, Vec<String>)> = Vec::new();
    for news in alert.sections.iter().filter(|news| news.news == kind) {
        let story = words::section_story(news, alert.at);
        match stories.iter_mut().find(|(known, _)| *known == story) {
            Some((_, names)) => names.push(display_safe(&news.section)),
            None => stories.push((story, vec![display_safe(&news.section)])),
        }
    }
    for (story, names) in stories {
        let row = SectionRow { name: words::listed(&names, "section"), story };
        if budget.takes(SECTION_COST + escaped(&row.name) + escaped(&row.story)) {
            group.rows.push(row);
        } else {
            group.more += 1;
        }
    }
    (!group.rows.is_empty() || group.more > 0).then_some(group)
}

/// The bytes that are left of the size of a message.
struct Budget(usize);

impl Budget {
    fn takes(&mut self, cost: usize) -> bool {
        let fits = cost <= self.0;
        if fits {
            self.0 -= cost;
        }
        fits
    }
}

impl Block {
    fn cost(&self) -> usize {
        let mut cost = ENTRY_COST + escaped(&self.title) + escaped(&self.why) + cost_of(&self.facts);
        for group in &self.groups {
            cost += GROUP_COST;
            for line in &group.lines {
                cost += LINE_COST + escaped(&line.to_string());
            }
            for path in &group.paths {
                // With a place to break at every slash.
                cost += LINE_COST + escaped(path) + 5 * path.matches('/').count();
            }
        }
        cost
    }
}

fn cost_of(facts: &[Fact]) -> usize {
    facts.iter().flat_map(|fact| &fact.lines).map(|line| LINE_COST + escaped(line)).sum()
}

/// Bytes of `text` in a page, where each of `& < > " '` takes five.
fn escaped(text: &str) -> usize {
    text.len() + 4 * text.bytes().filter(|byte| matches!(byte, b'&' | b'<' | b'>' | b'"' | b'\'')).count()
}
