//! How things look on a terminal. Columns are laid out without colour first, so that colour never breaks them.

use std::io::{self, IsTerminal, Write};
use std::iter;

use anstyle::{AnsiColor, Style};
use chrono::{DateTime, Utc};
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use serde_json::Value;
use textwrap::WordSplitter;
use textwrap::core::display_width;

use crate::classify::Finding;
use crate::message::values;
use crate::model::{Severity, Verdict, json_safe};

/// Writes a value as JSON that a terminal can show, and a line break.
pub(crate) fn write_json(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    writeln!(out, "{}", json_safe(&serde_json::to_string_pretty(value)?))
}

/// The object `value` with the fields of the object `more`.
pub(crate) fn merged(mut value: Value, more: Value) -> Value {
    if let (Value::Object(fields), Value::Object(more)) = (&mut value, more) {
        fields.extend(more);
    }
    value
}

/// Rows in aligned columns, each row in one style.
pub(crate) struct Columns {
    rows: Vec<(Style, Vec<String>)>,
    indent: usize,
    width: Option<usize>,
}

impl Columns {
    /// No rows yet, each line to begin with `indent` spaces.
    pub(crate) fn new(indent: usize) -> Self {
        Self { rows: Vec::new(), indent, width: None }
    }

    /// The same, with what is last in a row wrapped so that lines have at most `width` characters.
    pub(crate) fn within(mut self, width: Option<usize>) -> Self {
        self.width = width;
        self
    }

    /// Adds a row; its first cell is shown in `style`. A cell can have several lines.
    pub(crate) fn row(&mut self, style: Style, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push((style, cells.into_iter().map(Into::into).collect()));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let rows = self.wrapped();
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        for cells in &rows {
            table.add_row(cells);
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, GAP));
        }
        // Only the first line of a row begins with something to colour.
        let starts = self.rows.iter().zip(&rows).flat_map(|((style, _), cells)| {
            let height = cells.iter().map(|cell| cell.lines().count()).max().unwrap_or_default().max(1);
            let first = cells.first().map_or("", String::as_str);
            iter::once((*style, first)).chain(iter::repeat_n((PLAIN, ""), height - 1))
        });
        for ((style, first), line) in starts.zip(table.lines()) {
            let rest = line.strip_prefix(first).unwrap_or(&line).trim_end();
            let line = format!("{:indent$}{style}{first}{style:#}{rest}", "", indent = self.indent);
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    fn wrapped(&self) -> Vec<Vec<String>> {
        let mut rows: Vec<Vec<String>> = self.rows.iter().map(|(_, cells)| cells.clone()).collect();
        let Some(width) = self.width else { return rows };
        let last = rows.iter().map(Vec::len).max().unwrap_or_default().saturating_sub(1);
        let width_of = |place: usize| {
            let cells = rows.iter().filter_map(|cells| cells.get(place));
            cells.map(|cell| display_width(cell)).max().unwrap_or_default() + usize::from(GAP)
        };
        let left = width.saturating_sub(self.indent + (0..last).map(width_of).sum::<usize>()).max(NARROWEST);
        for cell in rows.iter_mut().filter_map(|cells| cells.get_mut(last)) {
            *cell = textwrap::fill(cell, whole_words(left));
        }
        rows
    }
}

const GAP: u16 = 2;

/// The smallest width of the last column.
const NARROWEST: usize = 30;

/// How many characters fit on a line of the terminal. None when a program reads: it gets whole lines.
pub(crate) fn terminal_width() -> Option<usize> {
    io::stdout().is_terminal().then(textwrap::termwidth)
}

/// Wraps between words only: a path that is broken cannot be copied.
pub(crate) fn whole_words<'a>(width: usize) -> textwrap::Options<'a> {
    textwrap::Options::new(width).break_words(false).word_splitter(WordSplitter::NoHyphenation)
}

pub(crate) const PLAIN: Style = Style::new();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const BOLD: Style = Style::new().bold();

pub(crate) fn verdict_style(verdict: Verdict) -> Style {
    let color = match verdict {
        Verdict::InSync => AnsiColor::Green,
        Verdict::Drift | Verdict::Untrusted => AnsiColor::Red,
        Verdict::Blind | Verdict::NoBaseline | Verdict::Error => AnsiColor::Yellow,
    };
    Style::new().bold().fg_color(Some(color.into()))
}

pub(crate) fn verdict_words(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::InSync => "in sync",
        Verdict::Drift => "DRIFT",
        Verdict::Blind => "BLIND",
        Verdict::Untrusted => "UNTRUSTED",
        Verdict::NoBaseline => "no baseline",
        Verdict::Error => "UNREADABLE",
    }
}

pub(crate) fn severity_style(severity: Severity) -> Style {
    let style = Style::new();
    match severity {
        Severity::Critical => style.bold().fg_color(Some(AnsiColor::Red.into())),
        Severity::High => style.fg_color(Some(AnsiColor::Red.into())),
        Severity::Medium => style.fg_color(Some(AnsiColor::Yellow.into())),
        Severity::Low | Severity::Info => style.dimmed(),
    }
}

/// A day, for people: `4 May`, with the year when it is not this one.
pub(crate) fn day(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let pattern = if at.format("%Y").to_string() == now.format("%Y").to_string() { "%-d %b" } else { "%-d %b %Y" };
    at.format(pattern).to_string()
}

/// A time, for people: only the clock when it is today.
pub(crate) fn time(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    if at.date_naive() == now.date_naive() {
        at.format("%H:%M:%S").to_string()
    } else {
        format!("{} {}", day(at, now), at.format("%H:%M"))
    }
}

/// The values before and after, as people read them.
pub(crate) fn change_words(finding: &Finding) -> String {
    let change = &finding.change;
    values::change(change.kind, &change.before, &change.after, finding.meaning.unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_whatever_their_style() {
        let mut columns = Columns::new(2);
        columns.row(severity_style(Severity::Critical), ["critical", "weaker", "MFA"]);
        columns.row(PLAIN, ["low", "", "Logo"]);
        let mut out = anstream::StripStream::new(Vec::new());
        columns.write(&mut out).unwrap();
        let text = String::from_utf8(out.into_inner()).unwrap();
        assert_eq!(text, "  critical  weaker  MFA\n  low               Logo\n");
    }

    #[test]
    fn wide_letters_and_emoji_keep_to_the_columns() {
        let mut columns = Columns::new(2);
        for cells in [["ab", "x"], ["\u{8a2d}\u{5b9a}", "x"], ["\u{1f512}", "x"], ["e\u{301}", "x"]] {
            columns.row(PLAIN, cells);
        }
        let mut out = Vec::new();
        columns.write(&mut out).unwrap();
        let lines = String::from_utf8(out).unwrap();
        let places: Vec<usize> = lines.lines().map(|line| display_width(line.strip_suffix('x').unwrap())).collect();
        assert_eq!(places, [8; 4], "{lines}");
    }

    #[test]
    fn what_is_last_in_a_row_is_wrapped_below_itself() {
        let mut columns = Columns::new(0).within(Some(39));
        columns.row(BOLD, ["SECTION", "WHAT"]);
        columns
            .row(PLAIN, ["clients", "applications and where they may send people to\n/a/path/longer/than/the/column"]);
        columns.row(PLAIN, ["last", "short"]);
        let mut out = anstream::StripStream::new(Vec::new());
        columns.write(&mut out).unwrap();
        let expected = "\
SECTION  WHAT
clients  applications and where they
         may send people to
         /a/path/longer/than/the/column
last     short
";
        assert_eq!(String::from_utf8(out.into_inner()).unwrap(), expected);
    }
}
