//! Events of the history as lines of the log, written after the transaction that recorded them.

use serde_json::Value;

use super::metrics;
use crate::history::{EVENT_KINDS, LogLevel};
use crate::model::InstanceId;

/// The level has to be known where the line is written, so there is one such place for each.
macro_rules! line {
    ($level:ident, $event:expr, $meaning:expr) => {
        tracing::$level!(
            event = $event.kind,
            seq = $event.seq,
            instance = $event.instance.map(tracing::field::display),
            drift = $event.text("drift"),
            path = $event.text("path"),
            section = $event.text("section"),
            credential = $event.text("credential"),
            receiver = $event.text("receiver"),
            delivery = $event.text("message"),
            silence = $event.text("silence"),
            sequence = $event.number("sequence"),
            code = $event.text("code"),
            reason = $event.text("reason"),
            version = $event.text("version"),
            instances = $event.number("instances"),
            free = $event.number("free"),
            was = $event.text("was"),
            is = $event.text("is"),
            drained = $event.flag("drained"),
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
    /// What it is.
    pub kind: &'a str,
    /// About which instance, if about one.
    pub instance: Option<&'a InstanceId>,
    /// The rest; what may be shown of it is picked by name.
    pub data: &'a Value,
}

impl Recorded<'_> {
    /// Writes the line and counts.
    pub fn observe(&self) {
        let kind = EVENT_KINDS.iter().find(|kind| kind.name == self.kind);
        metrics::EVENTS.add(&[kind.map_or(OTHER, |kind| kind.name)]);
        let Some(level) = kind.map_or(Some(LogLevel::Info), |kind| kind.level) else { return };
        let meaning = kind.map_or("an event was recorded", |kind| kind.meaning);
        // What was under way was cut off.
        let is_cut = self.flag("drained") == Some(false);
        match if is_cut { LogLevel::Warn } else { level } {
            LogLevel::Error => line!(error, self, meaning),
            LogLevel::Warn => line!(warn, self, meaning),
            LogLevel::Info => line!(info, self, meaning),
            LogLevel::Debug => line!(debug, self, meaning),
        }
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.data.get(key).and_then(Value::as_str)
    }

    fn flag(&self, key: &str) -> Option<bool> {
        self.data.get(key).and_then(Value::as_bool)
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.data.get(key).and_then(Value::as_u64)
    }
}
