//! The short form of an alert that chats show: the headline, the items, and the next steps.
//!
//! Every text is one line that is safe to show, and still foreign: each chat keeps it from its own markup.

use super::Alert;
use super::row::{ItemRow, UNTRUSTED};
use super::summary::EntrySummary;
use super::view::{Block, Group, NoticeBlock, SectionGroup, View};
use super::words::{NextStep, label_of};
use crate::model::Severity;

/// Characters of one line.
const LONGEST: usize = 160;
/// Characters of a sentence.
const LONGEST_PROSE: usize = 600;
/// Characters of what a notice says: it is our own, and ends with what to do.
const LONGEST_NOTICE: usize = 1_000;
/// Lines of one item that say what changed and where.
const MOST_LINES: usize = 8;
/// Sections named in one item.
const MOST_ROWS: usize = 5;

/// A message in short.
pub(super) struct Card {
    /// How bad it is.
    pub(super) label: String,
    pub(super) tone: Tone,
    /// The instance, or the program on a machine.
    pub(super) about: String,
    pub(super) headline: String,
    pub(super) facts: Vec<(&'static str, String)>,
    pub(super) items: Vec<CardItem>,
    /// Settings and notices without an item.
    pub(super) more: usize,
    pub(super) who: Option<String>,
    pub(super) steps: Vec<NextStep>,
    pub(super) footer: String,
}

/// How a message or an item looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Bad,
    Warning,
    Good,
    Plain,
}

/// One item of a card: a setting, sections with one status, or a notice.
pub(super) struct CardItem {
    /// How bad it is or how it ended, and which way it went: our own words.
    pub(super) label: String,
    pub(super) tone: Tone,
    pub(super) title: String,
    /// What changed, and where.
    pub(super) lines: Vec<String>,
    /// Why it matters, where to look.
    pub(super) notes: Vec<String>,
}

impl Card {
    pub(super) fn of(alert: &Alert) -> Self {
        let View { summary, untrusted, settings: [drifted, over], sections, notices, .. } = View::of(alert);
        let left_out = alert.notices().count() - notices.len();
        let mut items = Vec::new();
        items.extend(untrusted.map(|reason| of_row(&UNTRUSTED, UNTRUSTED.title, vec![cut(&reason, LONGEST_NOTICE)])));
        items.extend(drifted.blocks.iter().map(of_block));
        items.extend(sections.iter().map(of_sections));
        let notice = |notice: &NoticeBlock| of_row(notice.row, &notice.title, vec![cut(&notice.text, LONGEST_NOTICE)]);
        items.extend(notices.iter().map(notice));
        items.extend(over.blocks.iter().map(of_block));
        let sample = if alert.sample { "SAMPLE " } else { "" };
        let facts = summary.facts.iter().filter(|fact| fact.label != "Instance");
        Self {
            label: format!("{sample}{}", summary.label),
            tone: tone(summary.label),
            about: cut(&alert.about(), LONGEST),
            headline: cut(&summary.headline, LONGEST_PROSE),
            facts: facts.map(|fact| (fact.label, cut(&fact.lines.join("; "), LONGEST_PROSE))).collect(),
            items,
            more: drifted.more + over.more + left_out,
            who: summary.who,
            steps: summary.steps,
            footer: cut(&summary.footer, LONGEST_PROSE),
        }
    }

    /// Lays out items one after the other until `fits` refuses one, and returns how many are left out.
    pub(super) fn whole_items(&self, mut fits: impl FnMut(&CardItem) -> bool) -> usize {
        let shown = self.items.iter().take_while(|item| fits(item)).count();
        self.items.len() - shown + self.more
    }
}

impl CardItem {
    /// The largest part of the item of which `layout` is not longer than `most`: lines give way before notes, and the title
    /// is always there.
    pub(super) fn within(&self, most: usize, layout: impl Fn(&Self) -> String) -> String {
        let mut part = Self {
            label: self.label.clone(),
            tone: self.tone,
            title: self.title.clone(),
            lines: self.lines.clone(),
            notes: self.notes.clone(),
        };
        let mut dropped = 0;
        loop {
            let text = layout(&part);
            if length(&text) <= most || (part.lines.is_empty() && part.notes.is_empty()) {
                return text;
            }
            if dropped > 0 {
                part.lines.pop();
            }
            if part.lines.pop().is_some() {
                dropped += 1;
                part.lines.push(more_lines(dropped));
            } else {
                part.notes.pop();
                dropped = 0;
            }
        }
    }
}

/// Length as chats count it: a character outside of the first plane counts twice.
pub(super) fn length(text: &str) -> usize {
    text.encode_utf16().count()
}

/// Foreign text that no backtick can lead out of a code span or block.
pub(super) fn without_backticks(text: &str) -> String {
    text.replace('`', "'")
}

/// The note that something is left out, with the command that shows it.
pub(super) fn more_words(more: usize) -> String {
    format!("and {more} more: authdrift status")
}

fn more_lines(count: usize) -> String {
    if count == 1 { "and 1 more line".to_owned() } else { format!("and {count} more lines") }
}

fn of_block(block: &Block) -> CardItem {
    let mut lines = Vec::new();
    for group in &block.groups {
        lines.extend(of_group(group));
    }
    let more = lines.len().saturating_sub(MOST_LINES);
    lines.truncate(MOST_LINES);
    if more > 0 {
        lines.push(more_lines(more));
    }
    if block.more_changes > 0 {
        lines.push(format!("and {} more places", block.more_changes));
    }
    let EntrySummary { label, title, outcome, why, facts } = &block.summary;
    let why = (!why.is_empty()).then(|| cut(why, LONGEST_PROSE));
    let facts = facts.iter().map(|fact| cut(&format!("{}: {}", fact.label, fact.lines.join("; ")), LONGEST_PROSE));
    CardItem {
        label: format!("{label}, {outcome}"),
        tone: tone(label),
        title: cut(title, LONGEST),
        lines,
        notes: why.into_iter().chain(facts).collect(),
    }
}

fn of_group(group: &Group) -> Vec<String> {
    let lines = group.lines.iter().map(|line| cut(&line.to_string(), LONGEST));
    lines.chain(group.paths.iter().map(|path| format!("at {}", cut(path, LONGEST)))).collect()
}

fn of_sections(group: &SectionGroup) -> CardItem {
    let mut lines: Vec<String> = group
        .rows
        .iter()
        .take(MOST_ROWS)
        .map(|row| cut(&format!("{}: {}", row.name, row.story), LONGEST_PROSE))
        .collect();
    let more = group.rows.len().saturating_sub(MOST_ROWS) + group.more;
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    of_row(group.row, group.row.title, lines)
}

fn of_row(row: &ItemRow, title: &str, lines: Vec<String>) -> CardItem {
    let notes = if row.advice.is_empty() { Vec::new() } else { vec![row.advice.to_owned()] };
    CardItem { label: row.label().to_owned(), tone: tone(row.label()), title: cut(title, LONGEST), lines, notes }
}

fn tone(label: &str) -> Tone {
    match label {
        _ if label == label_of(Severity::Critical) || label == label_of(Severity::High) => Tone::Bad,
        _ if label == label_of(Severity::Medium) => Tone::Warning,
        "RESOLVED" | "REVERTED" | "APPROVED" | "CAME AND WENT" => Tone::Good,
        _ => Tone::Plain,
    }
}

/// Cuts at a character, with a mark.
pub(super) fn cut(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    let kept: String = text.chars().take(longest.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}
