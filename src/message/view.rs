//! The parts of an alert in order, as text that is safe to show: the one source of the text part and of the HTML part.
//!
//! Nothing foreign gets past this file without [`display_safe`]; the renderings only lay it out. It also keeps the
//! size in bounds: at most 50 entries, ten places of each, and what fits in a mail that Gmail does not clip.

use super::row::ItemRow;
use super::summary::{EntrySummary, Summary};
use super::values::{self, ValueLine};
use super::words::{Fact, listed};
use super::{Alert, Entry, EntryChange, EntryStatus, Notice, SectionStatus, Window};
use crate::diff::ChangeKind;
use crate::model::{Unit, display_safe, display_safe_sentence};

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
    pub(super) summary: Summary,
    pub(super) untrusted: Option<String>,
    /// The settings that drifted, and those that are over.
    pub(super) settings: [BlockList; 2],
    /// The command that shows what is left out.
    pub(super) more_command: String,
    pub(super) sections: Vec<SectionGroup>,
    pub(super) notices: Vec<NoticeBlock>,
}

/// Settings, and how many more there are.
#[derive(Default)]
pub(super) struct BlockList {
    pub(super) blocks: Vec<Block>,
    pub(super) more: usize,
}

/// One setting.
pub(super) struct Block {
    pub(super) summary: EntrySummary,
    pub(super) groups: Vec<Group>,
    pub(super) more_changes: usize,
}

/// Changes that were made at the same places.
pub(super) struct Group {
    pub(super) lines: Vec<ValueLine>,
    pub(super) paths: Vec<String>,
}

/// Sections to which the same thing happened.
pub(super) struct SectionGroup {
    pub(super) row: &'static ItemRow,
    pub(super) rows: Vec<SectionRow>,
    pub(super) more: usize,
}

/// One section, or several with the same story.
pub(super) struct SectionRow {
    pub(super) name: String,
    pub(super) story: String,
}

/// A notice.
pub(super) struct NoticeBlock {
    pub(super) row: &'static ItemRow,
    pub(super) title: String,
    pub(super) text: String,
}

impl View {
    pub(super) fn of(alert: &Alert) -> Self {
        let untrusted = alert.untrusted().map(display_safe_sentence);
        let summary = Summary::of(alert);
        let frame = cost_of(&summary.facts) + escaped(&summary.footer) + untrusted.as_deref().map_or(0, escaped);
        let mut budget = Budget(BUDGET.saturating_sub(frame));
        let sections = SectionStatus::ALL.into_iter().filter_map(|status| SectionGroup::of(alert, status, &mut budget));
        let sections = sections.collect();
        let mut notices: Vec<NoticeBlock> = alert.notices().map(NoticeBlock::of).collect();
        notices.retain(|notice| budget.takes(SECTION_COST + escaped(&notice.title) + escaped(&notice.text)));
        let mut settings = [BlockList::default(), BlockList::default()];
        for (index, entry) in alert.entries().enumerate() {
            let block = (index < MOST_ENTRIES).then(|| Block::of(entry, alert.window));
            let [drifted, over] = &mut settings;
            let list = if entry.news.is_over() { over } else { drifted };
            match block.filter(|block| budget.takes(block.cost())) {
                Some(block) => list.blocks.push(block),
                None => list.more += 1,
            }
        }
        let more_command = match &alert.instance {
            Some(instance) => format!("authdrift diff {instance}"),
            None => "authdrift status".to_owned(),
        };
        Self { summary, untrusted, settings, more_command, sections, notices }
    }
}

impl NoticeBlock {
    fn of(notice: &Notice) -> Self {
        let row = notice.kind.row();
        let subject = display_safe(&notice.subject);
        let title = if subject.is_empty() { row.title.to_owned() } else { format!("{}: {subject}", row.title) };
        Self { row, title, text: display_safe_sentence(&notice.text) }
    }
}

impl SectionGroup {
    /// The sections of `alert` with this status, as far as the budget goes.
    fn of(alert: &Alert, status: SectionStatus, budget: &mut Budget) -> Option<Self> {
        // Sections with one story are one row: an outage is one thing, however many sections it takes.
        let mut stories: Vec<(String, Vec<String>)> = Vec::new();
        for section in alert.sections_of(status) {
            let story = section.story(alert.at);
            match stories.iter_mut().find(|(known, _)| *known == story) {
                Some((_, names)) => names.push(display_safe(&section.section)),
                None => stories.push((story, vec![display_safe(&section.section)])),
            }
        }
        let all = stories.len();
        let rows = stories.into_iter().map(|(story, names)| SectionRow { name: listed(&names, "section"), story });
        let fits = |row: &SectionRow| budget.takes(SECTION_COST + escaped(&row.name) + escaped(&row.story));
        let rows: Vec<SectionRow> = rows.filter(fits).collect();
        (all > 0).then(|| Self { row: status.row(), more: all - rows.len(), rows })
    }
}

/// Puts changes that read the same, at several paths, and several changes at the same path, together.
fn groups(entry: &Entry) -> Vec<Group> {
    let mut at_path: Vec<(String, Vec<ValueLine>)> = Vec::new();
    for change in entry.changes.iter().take(MOST_CHANGES) {
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
    fn of(entry: &Entry, window: Option<Window>) -> Self {
        Self {
            summary: EntrySummary::of(entry, window),
            groups: groups(entry),
            more_changes: entry.changes.len().saturating_sub(MOST_CHANGES),
        }
    }

    /// Paths stand under their changes, unless all changes share them: then they stand with the other facts.
    pub(super) fn has_shared_paths(&self) -> bool {
        self.groups.len() == 1
    }

    fn cost(&self) -> usize {
        let EntrySummary { title, why, facts, .. } = &self.summary;
        let mut cost = ENTRY_COST + escaped(title) + escaped(why) + cost_of(facts);
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
