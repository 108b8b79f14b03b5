//! Events of the history as lines of the log, written after the transaction that recorded them.

use serde_json::Value;

use super::metrics;
use crate::history::data::DaemonStop;
use crate::history::{EVENT_KINDS, Event, LogLevel};
use crate::model::InstanceId;

/// The level has to be known where the line is written, so there is one such place for each.
macro_rules! line {
    ($level:ident, $recorded:expr, $data:expr, $meaning:expr) => {
        tracing::$level!(
            event = $recorded.event.kind(),
            seq = $recorded.seq,
            instance = $recorded.instance.map(tracing::field::display),
            drift = $data.text("drift"),
            path = $data.text("path"),
            section = $data.text("section"),
            credential = $data.text("credential"),
            receiver = $data.text("receiver"),
            delivery = $data.text("message"),
            silence = $data.text("silence"),
            sequence = $data.number("sequence"),
            code = $data.text("code"),
            reason = $data.text("reason"),
            version = $data.text("version"),
            instances = $data.number("instances"),
            free = $data.number("free"),
            was = $data.text("was"),
            is = $data.text("is"),
            drained = $data.flag("drained"),
            "{}",
            $meaning
        )
    };
}

/// How an event is counted that is in no table: an older or newer program made it.
const OTHER: &str = "other";

/// An event of the history was recorded.
#[derive(Debug, Clone, Copy)]
pub struct Recorded<'a> {
    /// Its number.
    pub seq: u64,
    /// About which instance, if about one.
    pub instance: Option<&'a InstanceId>,
    /// What happened; the fields of the line are picked by name.
    pub event: &'a Event,
}

impl Recorded<'_> {
    /// Writes the line and counts.
    pub fn observe(&self) {
        let kind = EVENT_KINDS.iter().find(|kind| kind.name == self.event.kind());
        metrics::EVENTS.add(&[kind.map_or(OTHER, |kind| kind.name)]);
        let Some(level) = kind.map_or(Some(LogLevel::Info), |kind| kind.level) else { return };
        let meaning = kind.map_or("an event was recorded", |kind| kind.meaning);
        let data = EventFields(self.event.data().unwrap_or_default());
        // What was under way was cut off.
        let is_cut = matches!(self.event, Event::DaemonStopped(DaemonStop { drained: false }));
        match if is_cut { LogLevel::Warn } else { level } {
            LogLevel::Error => line!(error, self, data, meaning),
            LogLevel::Warn => line!(warn, self, data, meaning),
            LogLevel::Info => line!(info, self, data, meaning),
            LogLevel::Debug => line!(debug, self, data, meaning),
        }
    }
}

/// What an event says, as fields of a line.
struct EventFields(Value);

impl EventFields {
    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.0.get(name).and_then(Value::as_u64)
    }

    fn flag(&self, name: &str) -> Option<bool> {
        self.0.get(name).and_then(Value::as_bool)
    }
}
