//! How things look on a terminal. Columns are laid out without colour first, so that colour never breaks them.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use chrono::{DateTime, Utc};
use comfy_table::{ContentArrangement, Table, presets};

use crate::cycle::Verdict;
use crate::model::Severity;

/// Rows in aligned columns, each row in one style.
pub struct Columns {
    rows: Vec<(Style, Vec<String>)>,
    indent: usize,
}

impl Columns {
    /// No rows yet, each line to begin with `indent` spaces.
    pub fn new(indent: usize) -> Self {
        Self { rows: Vec::new(), indent }
    }

    /// Adds a row; its first cell is shown in `style`.
    pub fn row(&mut self, style: Style, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push((style, cells.into_iter().map(Into::into).collect()));
    }

    /// Writes the rows.
    ///
    /// # Errors
    /// The stream is gone.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        for (_, cells) in &self.rows {
            table.add_row(cells);
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        for ((style, cells), line) in self.rows.iter().zip(table.lines()) {
            let first = cells.first().map_or("", String::as_str);
            let rest = line.strip_prefix(first).unwrap_or(&line).trim_end();
            writeln!(out, "{:indent$}{style}{first}{style:#}{rest}", "", indent = self.indent)?;
        }
        Ok(())
    }
}

/// No colour.
pub const PLAIN: Style = Style::new();
/// For what is of less interest.
pub const DIM: Style = Style::new().dimmed();
/// For headings.
pub const BOLD: Style = Style::new().bold();

/// The style of a verdict.
pub fn verdict_style(verdict: Verdict) -> Style {
    let color = match verdict {
        Verdict::InSync => AnsiColor::Green,
        Verdict::Drift | Verdict::Untrusted => AnsiColor::Red,
        Verdict::Blind | Verdict::NoBaseline | Verdict::Error => AnsiColor::Yellow,
    };
    Style::new().bold().fg_color(Some(color.into()))
}

/// A verdict for people.
pub fn verdict_words(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::InSync => "in sync",
        Verdict::Drift => "DRIFT",
        Verdict::Blind => "BLIND",
        Verdict::Untrusted => "UNTRUSTED",
        Verdict::NoBaseline => "no baseline",
        Verdict::Error => "UNREADABLE",
    }
}

/// The style of a severity.
pub fn severity_style(severity: Severity) -> Style {
    let style = Style::new();
    match severity {
        Severity::Critical => style.bold().fg_color(Some(AnsiColor::Red.into())),
        Severity::High => style.fg_color(Some(AnsiColor::Red.into())),
        Severity::Medium => style.fg_color(Some(AnsiColor::Yellow.into())),
        Severity::Low | Severity::Info => style.dimmed(),
    }
}

/// A day, for people: `4 May`, with the year when it is not this one.
pub fn day(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let pattern = if at.format("%Y").to_string() == now.format("%Y").to_string() { "%-d %b" } else { "%-d %b %Y" };
    at.format(pattern).to_string()
}

/// A time, for people: only the clock when it is today.
pub fn time(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    if at.date_naive() == now.date_naive() {
        at.format("%H:%M:%S").to_string()
    } else {
        format!("{} {}", day(at, now), at.format("%H:%M"))
    }
}

/// `1 drift`, `2 drifts`.
pub fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
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
}
