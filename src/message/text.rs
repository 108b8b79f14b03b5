//! The text part of a mail. It stands alone: everything a reader needs is in it.
//!
//! Prose is wrapped at 76 columns. Paths, commands and values are never wrapped, so that they can be copied.

use askama::Template;
use unicode_width::UnicodeWidthStr;

use super::Alert;
use super::summary::EntrySummary;
use super::values::ValueLine;
use super::view::{NoticeBlock, SectionGroup, SectionRow, View};
use super::words::NextStep;

/// Columns of the text.
const WIDTH: usize = 76;
/// Where what a label says begins, unless the label is longer.
const COLUMN: usize = 12;
/// The same for the label of a whole entry.
const TITLE_COLUMN: usize = 10;
/// The same for a question.
const STEP_COLUMN: usize = 18;

#[derive(Template)]
#[template(path = "alert.txt")]
struct TextPage {
    view: View,
}

/// Renders an alert as plain text.
///
/// # Errors
/// The template could not be written, which text in memory does not refuse.
///
/// # Security
/// Everything foreign is shown by `display_safe`: no control character reaches a terminal or forges a line (T9).
pub fn render(alert: &Alert) -> Result<String, askama::Error> {
    TextPage { view: View::of(alert) }.render()
}

impl TextPage {
    /// The severity and the sentence about everything, like the title of an entry.
    fn headline(&self) -> String {
        hanging(&labelled(self.view.summary.label, TITLE_COLUMN), &self.view.summary.headline, TITLE_COLUMN)
    }

    /// Severity, title and, flush right, which way it went.
    fn title(&self, block: &EntrySummary) -> String {
        let start = labelled(block.label, TITLE_COLUMN);
        let room = WIDTH - block.outcome.len() - 2;
        let mut lines = wrapped(&block.title, room - start.len()).into_iter();
        let mut text = format!("{start}{}", lines.next().unwrap_or_default());
        let gap = (WIDTH - block.outcome.len()).saturating_sub(text.width()).max(2);
        text.push_str(&" ".repeat(gap));
        text.push_str(block.outcome);
        for line in lines {
            text.push_str(&format!("\n{:TITLE_COLUMN$}{line}", ""));
        }
        text
    }

    /// A change, on two lines when one is too short.
    fn change(&self, line: &ValueLine) -> String {
        let text = format!("  {line}");
        match line {
            ValueLine::Step { before, after } if text.width() > WIDTH => format!("  {before}\n  -> {after}"),
            _ => text,
        }
    }

    fn prose(&self, text: &str) -> String {
        hanging("  ", text, 2)
    }

    fn fact(&self, label: &str, text: &str) -> String {
        hanging(&labelled(label, COLUMN), text, COLUMN)
    }

    fn inner_fact(&self, label: &str, text: &str) -> String {
        hanging(&labelled(&format!("  {label}"), COLUMN), text, COLUMN)
    }

    fn section_title(&self, group: &SectionGroup) -> String {
        labelled(group.row.label(), TITLE_COLUMN) + group.row.title
    }

    fn notice_title(&self, notice: &NoticeBlock) -> String {
        hanging(&labelled(notice.row.label(), TITLE_COLUMN), &notice.title, TITLE_COLUMN)
    }

    fn section(&self, row: &SectionRow) -> String {
        format!("{}\n{}", hanging("  ", &row.name, 2), hanging("    ", &row.story, 4))
    }

    /// What to do, the command on a line of its own, and what it does.
    fn step(&self, step: &NextStep) -> String {
        let start = labelled(&format!("  {}", step.question), STEP_COLUMN);
        format!("{start}{}\n{}", step.command, hanging(&" ".repeat(STEP_COLUMN), step.effect, STEP_COLUMN))
    }
}

/// `label` up to `column`, and never without a space after it.
fn labelled(label: &str, column: usize) -> String {
    format!("{label:<width$} ", width = column - 1)
}

/// `text` after `start`, wrapped, with the following lines indented.
fn hanging(start: &str, text: &str, indent: usize) -> String {
    let separator = format!("\n{:indent$}", "");
    format!("{start}{}", wrapped(text, WIDTH - indent).join(&separator))
}

/// Breaks at spaces. A word that is too long stays whole: it is an address, a name or a path.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else {
            continue;
        };
        if line.is_empty() {
            line.push_str(word);
        } else if line.width() + 1 + word.width() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::{EntryStatus, samples};
    use super::*;

    #[test]
    fn alerts_read_as_agreed() {
        for (name, alert) in samples::ordinary() {
            let path = format!("{}/tests/golden/{name}.txt", env!("CARGO_MANIFEST_DIR"));
            let text = render(&alert).unwrap();
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                std::fs::write(&path, &text).unwrap();
            }
            let expected = std::fs::read_to_string(&path).unwrap();
            assert!(text == expected, "{path} differs; UPDATE_GOLDEN=1 rewrites it. Now it is:\n{text}");
        }
    }

    #[test]
    fn prose_keeps_to_76_columns() {
        for alert in samples::ordinary().map(|(_, alert)| alert).into_iter().chain([samples::many()]) {
            for line in render(&alert).unwrap().lines() {
                let fixed = line.trim_start().trim_start_matches("Path ").trim_start();
                let may_be_long = fixed.starts_with('/') || line.contains("authdrift ") || !fixed.contains(' ');
                assert!(may_be_long || line.width() <= WIDTH, "{line}");
                assert_eq!(line.trim_end(), line, "space at the end");
            }
        }
    }

    #[test]
    fn every_label_stands_apart_from_what_it_says() {
        for label in ["", "By", "Differed", "CAME AND WENT", "a label that is longer than any column"] {
            let text = labelled(label, TITLE_COLUMN);
            assert!(text.ends_with(' ') && text.len() >= TITLE_COLUMN, "{text}");
        }
        let mut alert = samples::drift();
        alert.entry(0).last_good = None;
        alert.entry(1).news = EntryStatus::Passed;
        let text = render(&alert).unwrap();
        assert!(text.contains("\n  Changed   by 22 Nov 2026 04:00 UTC; no earlier"), "{text}");
        assert!(text.contains("\nCAME AND WENT Session inactivity timeout"), "{text}");
        assert!(text.contains("\nChanged     between 22 Nov 2026 03:55 and 04:00 UTC\n"), "{text}");
    }

    #[test]
    fn two_times_that_look_the_same_are_one() {
        let mut alert = samples::drift();
        let first_different = "2026-11-22T04:00:36.9Z".parse().unwrap();
        let last_good = Some("2026-11-22T04:00:36.2Z".parse().unwrap());
        alert.window = Some(crate::message::Window { last_good, first_different });
        let text = render(&alert).unwrap();
        assert!(text.contains("\nChanged     at 22 Nov 2026 04:00:36 UTC\n"), "{text}");
        assert!(
            text.replace("\n  ", " ").contains("for the events named above, at 22 Nov 2026 04:00:36 UTC."),
            "{text}"
        );
    }

    #[test]
    fn wide_letters_keep_to_the_columns() {
        let mut alert = samples::drift();
        alert.entry(0).meaning.title = "MFA 設定 ".repeat(12);
        let text = render(&alert).unwrap();
        let title = text.lines().find(|line| line.contains("設定")).unwrap();
        assert_eq!((title.width(), title.ends_with("WEAKER")), (WIDTH, true), "{title}");
        assert!(text.lines().filter(|line| line.contains("設定")).all(|line| line.width() <= WIDTH));
    }

    #[test]
    fn t9_hostile_text_stays_text() {
        for alert in [samples::hostile(), samples::enormous()] {
            let text = render(&alert).unwrap();
            assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "control character");
            assert!(!text.contains('\u{202e}'));
            assert!(!text.lines().any(|line| line.trim_start().starts_with("Bcc:")));
        }
        assert!(render(&samples::hostile()).unwrap().contains("\\u{1b}[31m\\u{d}\\u{a}Bcc:"));
    }

    #[test]
    fn what_is_left_out_is_counted() {
        let text = render(&samples::many()).unwrap();
        assert!(text.contains("and 150 more settings: authdrift diff clerk:prod"));
        let text = render(&samples::enormous()).unwrap();
        assert!(text.contains("and 20 more places"));
    }
}
