//! One event as one line.

use std::fmt::{self, Write as _};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use crate::model::display_safe_to;

/// Characters of one field that are kept: a chain of errors may be long.
const LONGEST: usize = 2_000;

/// What happened, with every text safe to show.
#[derive(Debug)]
pub(super) struct LogLine {
    at: DateTime<Utc>,
    level: Level,
    /// The name of the event, if it has one.
    pub(super) event: Option<String>,
    message: String,
    /// In the order in which they were given.
    pub(super) fields: Vec<(&'static str, Value)>,
}

impl LogLine {
    pub(super) fn of(event: &Event<'_>, at: DateTime<Utc>) -> Self {
        let mut line =
            Self { at, level: *event.metadata().level(), event: None, message: String::new(), fields: Vec::new() };
        event.record(&mut line);
        line
    }

    /// The level as syslog counts.
    pub(super) fn priority(&self) -> u8 {
        match self.level {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            _ => 7,
        }
    }

    /// What happened, and the fields.
    pub(super) fn words(&self) -> String {
        let mut words = self.message.clone();
        for (name, value) in &self.fields {
            let _ = write!(words, " {name}={}", quoted(value));
        }
        words
    }

    pub(super) fn text(&self, has_colour: bool) -> String {
        let at = self.at.to_rfc3339_opts(SecondsFormat::Millis, true);
        let style = anstyle::Style::new().fg_color(has_colour.then(|| self.colour().into()));
        format!("{at} {style}{:>5}{style:#} {}\n", self.level, self.words())
    }

    fn colour(&self) -> anstyle::AnsiColor {
        match self.level {
            Level::ERROR => anstyle::AnsiColor::Red,
            Level::WARN => anstyle::AnsiColor::Yellow,
            Level::INFO => anstyle::AnsiColor::Green,
            _ => anstyle::AnsiColor::Blue,
        }
    }

    pub(super) fn prefixed(&self) -> String {
        format!("<{}>{}\n", self.priority(), self.words())
    }

    pub(super) fn json(&self) -> String {
        let mut object = Map::new();
        for (name, value) in &self.fields {
            object.insert((*name).to_owned(), value.clone());
        }
        object.insert("at".to_owned(), self.at.to_rfc3339_opts(SecondsFormat::Millis, true).into());
        object.insert("level".to_owned(), self.level.as_str().to_ascii_lowercase().into());
        object.insert("message".to_owned(), self.message.clone().into());
        if let Some(event) = &self.event {
            object.insert("event".to_owned(), event.clone().into());
        }
        format!("{}\n", Value::Object(object))
    }

    fn insert(&mut self, field: &Field, value: Value) {
        match field.name() {
            "message" => self.message = plain(&value),
            "event" => self.event = Some(plain(&value)),
            name => self.fields.push((name, value)),
        }
    }

    fn insert_text(&mut self, field: &Field, text: &str) {
        self.insert(field, Value::String(display_safe_to(text, LONGEST)));
    }
}

impl Visit for LogLine {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert_text(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.insert_text(field, &format!("{value:?}"));
    }
}

/// A value without quotes.
pub(super) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A value that cannot look like several fields.
fn quoted(value: &Value) -> String {
    let text = plain(value);
    let is_plain = !text.is_empty() && !text.contains([' ', '"', '\\', '=']);
    if is_plain { text } else { format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")) }
}
