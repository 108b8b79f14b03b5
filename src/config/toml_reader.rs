//! Reads a TOML table key by key, and records what is wrong instead of stopping at it.
//!
//! Every getter answers `None` both for an absent key and for a wrong value; a wrong value has then been recorded, so
//! a reader that got what it needed and recorded nothing has a good table. [`TomlReader::finish`] refuses the keys that
//! no getter asked for. This is not serde, because serde stops at the first problem and loses places.

mod problem;
mod secret;
mod suggest;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use url::Url;

pub use problem::{Problem, Problems};
pub(super) use problem::{ProblemList, line_number};
pub use suggest::closest;

use problem::looks_like_secret;

use super::address::{self, UrlUse};
use crate::model::{counted, display_safe};

/// A value with its place.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub(super) value: T,
    /// Where the value is.
    pub(super) span: Range<usize>,
}

/// One table that is being read.
pub(super) struct TomlReader<'a> {
    table: &'a DeTable<'a>,
    /// The header, or the beginning of an inline table.
    pub(super) place: Range<usize>,
    /// How messages call the table: `[store]`.
    name: String,
    /// What relative paths are relative to.
    directory: &'a Path,
    pub(super) findings: &'a ProblemList,
    known: Vec<&'static str>,
}

impl<'a> TomlReader<'a> {
    /// Reads the top level of a file.
    pub(super) fn of_file(table: &'a DeTable<'a>, directory: &'a Path, findings: &'a ProblemList) -> Self {
        Self { table, place: 0..0, name: String::new(), directory, findings, known: Vec::new() }
    }

    fn inner(&self, table: &'a DeTable<'a>, mut place: Range<usize>, name: String) -> Self {
        // The place of an inline table would be all of its text; its first character will do.
        if table.keys().any(|key| place.contains(&key.span().start)) {
            place.end = place.start + 1;
        }
        Self { table, place, name, directory: self.directory, findings: self.findings, known: Vec::new() }
    }

    /// The value of a key, whatever its type. Every getter goes through here, so the key is known from then on.
    pub(super) fn value(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        let value = self.table.get(key);
        #[cfg(test)]
        {
            let mut asked = self.findings.asked.borrow_mut();
            *asked.entry((self.name.clone(), key.to_owned())).or_default() |= value.is_some();
        }
        value
    }

    /// Whether the value of the key is a text.
    pub(super) fn is_text(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(|value| value.get_ref().is_str())
    }

    /// Whether the value of the key is a table.
    pub(super) fn is_table(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(|value| value.get_ref().is_table())
    }

    /// Records a problem.
    pub(super) fn report(&self, problem: Problem) {
        self.findings.add(problem);
    }

    /// The value, or none with its problem recorded.
    pub(super) fn accept<T>(&self, checked: Result<T, Problem>) -> Option<T> {
        checked.map_err(|problem| self.report(problem)).ok()
    }

    /// Whether the key is there, right or wrong.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Where the key is; the table's header when it is not there.
    pub(super) fn key_place(&self, key: &str) -> Range<usize> {
        self.table.get_key_value(key).map_or_else(|| self.place.clone(), |(key, _)| key.span())
    }

    /// Records a problem unless the key is there.
    pub(super) fn require(&self, key: &str) {
        if !self.has(key) {
            self.report(Problem::at(self.place.clone(), format!("{} has no '{key}'", self.name)).absence());
        }
    }

    /// Records that a value is of another type.
    pub(super) fn wrong_type(&self, expected: &str, value: &Spanned<DeValue<'_>>) {
        let found = with_article(value.get_ref());
        self.report(Problem::at(value.span(), format!("expected {expected}, found {found}")));
    }

    /// A text of one line that is not empty.
    pub(super) fn string(&mut self, key: &'static str) -> Option<At<String>> {
        let value = self.value(key)?;
        self.text_of(key, value)
    }

    fn text_of(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<At<String>> {
        let Some(text) = value.get_ref().as_str() else {
            self.wrong_type("a string", value);
            return None;
        };
        if text.trim().is_empty() {
            self.report(Problem::at(value.span(), format!("'{key}' is empty")));
            return None;
        }
        if text.chars().any(char::is_control) {
            self.report(Problem::at(value.span(), format!("'{key}' has a line break or another control character")));
            return None;
        }
        Some(At { value: text.to_owned(), span: value.span() })
    }

    /// A whole number within bounds.
    pub(super) fn integer(&mut self, key: &'static str, least: i64, most: i64) -> Option<At<i64>> {
        let value = self.value(key)?;
        let Some(integer) = value.get_ref().as_integer() else {
            self.wrong_type("an integer", value);
            return None;
        };
        match i64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) if (least..=most).contains(&number) => Some(At { value: number, span: value.span() }),
            _ => {
                self.report(Problem::at(value.span(), format!("'{key}' has to be from {least} to {most}")));
                None
            }
        }
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, key: &'static str) -> Option<At<bool>> {
        let value = self.value(key)?;
        let Some(flag) = value.get_ref().as_bool() else {
            self.wrong_type("a boolean", value);
            return None;
        };
        Some(At { value: flag, span: value.span() })
    }

    /// A duration with a unit, at most `most`.
    pub(super) fn duration(&mut self, key: &'static str, most: Duration) -> Option<At<Duration>> {
        let value = self.value(key)?;
        let Some(text) = value.get_ref().as_str() else {
            self.wrong_type("a duration like \"30s\"", value);
            return None;
        };
        let problem = match humantime::parse_duration(text) {
            Ok(duration) if duration <= most => return Some(At { value: duration, span: value.span() }),
            Ok(_) => format!("'{key}' is longer than {}", span(most)),
            Err(_) => format!("'{}' is not a duration", display_safe(text)),
        };
        self.report(Problem::at(value.span(), problem).help("write a number and a unit: 30s, 5m, 1h"));
        None
    }

    /// One of several words.
    pub(super) fn word(&mut self, key: &'static str, words: &[&'static str]) -> Option<At<&'static str>> {
        let text = self.string(key)?;
        self.word_of(&text, words)
    }

    fn word_of(&self, text: &At<String>, words: &[&'static str]) -> Option<At<&'static str>> {
        if let Some(word) = words.iter().copied().find(|word| *word == text.value) {
            return Some(At { value: word, span: text.span.clone() });
        }
        let value = display_safe(&text.value);
        let meant = closest(&text.value, words.iter().copied());
        // All the names of sections would hide the one that is meant.
        let problem = if words.len() <= LISTED {
            Problem::at(text.span.clone(), format!("'{value}' is not one of {}", words.join(", "))).did_you_mean(meant)
        } else {
            let problem = Problem::at(text.span.clone(), format!("'{value}' is none of the {} names", words.len()));
            match meant {
                Some(meant) => problem.help(format!("did you mean '{meant}'? `authdrift sections` lists the names")),
                None => problem.help("`authdrift sections` lists the names"),
            }
        };
        self.report(problem);
        None
    }

    /// A path; a relative one begins at the directory of the file.
    pub(super) fn path(&mut self, key: &'static str) -> Option<At<PathBuf>> {
        let text = self.string(key)?;
        if text.value.starts_with('~') {
            let problem = Problem::at(text.span, format!("'{key}' begins with '~', which only shells understand"));
            self.report(problem.help("write the whole path"));
            return None;
        }
        Some(At { value: self.directory.join(&text.value), span: text.span })
    }

    /// A URL that is safe to send credentials to.
    pub(super) fn url(&mut self, key: &'static str, used_as: UrlUse) -> Option<At<Url>> {
        let text = self.string(key)?;
        let url = address::url(&text.value, used_as).map_err(|bad| {
            let problem = Problem::at(text.span.clone(), format!("'{key}' {bad}"));
            let problem = bad.help(used_as).into_iter().fold(problem, |problem, help| problem.help(help));
            if bad.may_show_secret() { problem.without_source() } else { problem }
        });
        Some(At { value: self.accept(url)?, span: text.span })
    }

    /// A list of texts with at least one.
    pub(super) fn strings(&mut self, key: &'static str) -> Option<At<Vec<At<String>>>> {
        let value = self.value(key)?;
        let Some(array) = value.get_ref().as_array() else {
            self.wrong_type("a list of strings", value);
            return None;
        };
        if array.is_empty() {
            self.report(Problem::at(value.span(), format!("'{key}' is an empty list")));
            return None;
        }
        let texts = array.iter().filter_map(|item| self.text_of(key, item)).collect();
        Some(At { value: texts, span: value.span() })
    }

    /// A list of some of several words.
    pub(super) fn words(&mut self, key: &'static str, words: &[&'static str]) -> Option<Vec<&'static str>> {
        let texts = self.strings(key)?;
        Some(texts.value.iter().filter_map(|text| self.word_of(text, words)).map(|word| word.value).collect())
    }

    /// A table, as `[key]` or inline.
    pub(super) fn table(&mut self, key: &'static str) -> Option<TomlReader<'a>> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::Table(table) => {
                let outer = self.name.trim_matches(['[', ']']);
                let name = if outer.is_empty() { format!("[{key}]") } else { format!("[{outer}.{key}]") };
                Some(self.inner(table, value.span(), name))
            }
            DeValue::Array(array) if array.iter().any(|item| item.get_ref().is_table()) => {
                let problem = Problem::at(value.span(), format!("expected one [{key}], found [[{key}]]"));
                self.report(problem.help(format!("write [{key}] in single brackets, once")));
                None
            }
            _ => {
                self.wrong_type("a table", value);
                None
            }
        }
    }

    /// The tables written `[[key]]`.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<TomlReader<'a>> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let mut tables = Vec::new();
        match value.get_ref() {
            DeValue::Array(array) => {
                for item in array {
                    match item.get_ref() {
                        DeValue::Table(table) => tables.push(self.inner(table, item.span(), format!("[[{key}]]"))),
                        _ => self.wrong_type("a table", item),
                    }
                }
            }
            DeValue::Table(_) => {
                let problem = Problem::at(value.span(), format!("expected [[{key}]], found [{key}]"));
                self.report(problem.help(format!("write [[{key}]] in double brackets: there can be several")));
            }
            _ => self.wrong_type("tables", value),
        }
        tables
    }

    /// An inline table that is the value of a key; the table is called by what it holds.
    pub(super) fn value_table(&self, value: &'a Spanned<DeValue<'a>>, name: &str) -> Option<TomlReader<'a>> {
        let table = value.get_ref().as_table()?;
        Some(self.inner(table, value.span(), name.to_owned()))
    }

    /// Refuses the keys that no getter asked for.
    pub(super) fn finish(self) {
        for key in self.table.keys() {
            if self.known.contains(&&**key.get_ref()) {
                continue;
            }
            let of = if self.name.is_empty() { String::new() } else { format!(" in {}", self.name) };
            // The value of an unknown key could be a secret, and so could the key itself.
            let (message, hides) = if looks_like_secret(key.get_ref()) {
                (format!("unknown key{of}"), true)
            } else {
                (format!("unknown key '{}'{of}", display_safe(key.get_ref())), false)
            };
            let problem = Problem::at(key.span(), message);
            let problem = match closest(key.get_ref(), self.known.iter().copied()) {
                Some(meant) => problem.did_you_mean(Some(meant)),
                None => problem.help(format!("known keys: {}", self.known.join(", "))),
            };
            self.findings.add(if hides { problem.without_source() } else { problem.up_to_place() });
        }
    }
}

/// How many words are listed where another one stands.
const LISTED: usize = 16;

/// A span of time in words: `7 days`, `1 hour`.
pub(super) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let units = [("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)];
    let (unit, size) = units.into_iter().find(|(_, size)| seconds.is_multiple_of(*size)).unwrap_or(("second", 1));
    counted(usize::try_from(seconds / size).unwrap_or(usize::MAX), unit)
}

fn with_article(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
