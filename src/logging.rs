//! Lines of the log: text for people, JSON for programs, fields for the systemd journal.
//!
//! What happened comes from `telemetry`; here it becomes a line. One event is one line, whatever is in it: every text goes
//! through `display_safe`, so that nothing from outside can end a line, begin another, or rewrite a terminal.

mod journal;
mod line;

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

pub use journal::{Journal, SOCKET};
use line::LogLine;

use crate::clock::{Clock, SystemClock};
use crate::model::word;

word!(
    /// What lines look like.
    Format {
        /// Fields for the journal if standard error is the journal, else text.
        Auto = "auto",
        /// Text.
        Text = "text",
        /// One JSON object on each line.
        Json = "json",
    }
);

/// Starts logging to standard error, or to the journal if that is where standard error leads. Commands are quiet unless asked
/// (`verbose` 1 for what happens, 2 for everything); the daemon says what it does.
pub fn start(verbose: u8, is_daemon: bool, format: Format) {
    let level = match (verbose, is_daemon) {
        (0, false) => LevelFilter::ERROR,
        (0, true) | (1, false) => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    // Only our own lines: those of libraries may hold addresses with tokens in them.
    let ours = Targets::new().with_target("authdrift", level);
    let is_journal = is_daemon && journal::is_stderr(std::env::var("JOURNAL_STREAM").ok().as_deref());
    let style = match format {
        Format::Json => Style::Json,
        Format::Auto if is_journal => match Journal::open(Path::new(SOCKET)) {
            Ok(journal) => Style::Journal(journal),
            // The journal also reads standard error, and has its own clock.
            Err(_) => Style::Prefixed,
        },
        Format::Text | Format::Auto if is_journal => Style::Prefixed,
        Format::Text | Format::Auto => Style::Text { has_colour: io::stderr().is_terminal() },
    };
    tracing_subscriber::registry().with(Lines::new(style, io::stderr()).with_filter(ours)).init();
}

/// The form of a line.
#[derive(Debug)]
pub enum Style {
    /// Time, level, what happened, fields.
    Text {
        /// The level in colour.
        has_colour: bool,
    },
    /// The same without the time, and the level as `<4>`: the journal reads it and has a clock.
    Prefixed,
    /// One object.
    Json,
    /// A datagram with fields; as `Prefixed` when the journal does not take it.
    Journal(Journal),
}

/// Writes a line for each event.
pub struct Lines<W> {
    style: Style,
    out: Mutex<W>,
}

impl<W: Write> Lines<W> {
    /// Lines of `style`, written to `out`.
    pub fn new(style: Style, out: W) -> Self {
        Self { style, out: Mutex::new(out) }
    }
}

impl<S: Subscriber, W: Write + 'static> Layer<S> for Lines<W>
where
    W: Send,
{
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let line = LogLine::of(event, SystemClock.now());
        let text = match &self.style {
            Style::Text { has_colour } => line.text(*has_colour),
            Style::Prefixed => line.prefixed(),
            Style::Json => line.json(),
            Style::Journal(journal) => match journal.send(&line) {
                Ok(()) => return,
                Err(_) => line.prefixed(),
            },
        };
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // A failure has nowhere to be reported.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

#[cfg(test)]
mod tests;
