//! Events of the history as lines of the log, written after the transaction that recorded them.

use serde_json::Value;
use tracing::Level;

use super::metrics;
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

/// A kind of event of the history.
#[derive(Debug, Clone, Copy)]
pub struct HistoryKind {
    /// As the history has it.
    pub name: &'static str,
    /// How urgent the line is; none for what has a line of its own.
    pub level: Option<Level>,
    /// What happened.
    pub meaning: &'static str,
}

const fn kind(name: &'static str, level: Level, meaning: &'static str) -> HistoryKind {
    HistoryKind { name, level: Some(level), meaning }
}

/// Every kind of event of the history. The level is error if a person has to act on it and no other line says so.
pub const HISTORY: &[HistoryKind] = &[
    kind("alert.queued", Level::DEBUG, "a message was put into the outbox"),
    kind("approval.ending", Level::WARN, "what was approved for a time is a drift again soon"),
    kind("baseline.approved", Level::INFO, "a baseline was approved"),
    kind("baseline.trusted", Level::INFO, "the baseline can be trusted again"),
    kind("baseline.untrusted", Level::WARN, "the baseline cannot be trusted, so nothing is compared"),
    kind("clock.set_back", Level::WARN, "the clock was set back"),
    kind(
        "clock.set_forward",
        Level::WARN,
        "the clock was set forward by more than a week, or nothing ran for so long: nothing old is removed for a day",
    ),
    kind("config.refused", Level::ERROR, "a new configuration was refused, the one before stays"),
    kind("config.reloaded", Level::INFO, "a new configuration is in force"),
    kind("credential.accepted", Level::INFO, "the vendor accepts a credential again"),
    kind("credential.refused", Level::WARN, "the vendor refuses a credential"),
    kind("credential.removed", Level::INFO, "a refused credential was taken out of the configuration"),
    kind("daemon.started", Level::INFO, "the daemon watches"),
    kind("daemon.stopped", Level::INFO, "the daemon stopped"),
    HistoryKind { name: "delivery.done", level: None, meaning: "a receiver took a message" },
    kind("delivery.dropped", Level::INFO, "somebody dropped a message"),
    HistoryKind {
        name: "delivery.failed",
        level: None,
        meaning: "a receiver did not take a message; it is tried again",
    },
    kind("delivery.folded", Level::INFO, "messages that waited were folded into one"),
    HistoryKind { name: "delivery.given_up", level: None, meaning: "a message was given up" },
    kind("delivery.refused", Level::ERROR, "a message is not the one that was queued, and is not sent"),
    kind("delivery.retried", Level::INFO, "somebody let a message be tried again"),
    kind("digest.sent", Level::INFO, "a digest was put into the outbox"),
    kind("drift.approved", Level::INFO, "a drift ended: a new baseline contains it"),
    kind("drift.changed", Level::WARN, "a setting that drifted moved on to another value"),
    kind("drift.flapping", Level::WARN, "a setting goes back and forth"),
    kind("drift.opened", Level::WARN, "a setting drifted"),
    kind("drift.reminded", Level::INFO, "people were reminded of a drift"),
    kind("drift.reopened", Level::WARN, "a setting drifted again"),
    kind("drift.reverted", Level::INFO, "a drift ended: the setting is as approved again"),
    kind("drift.settled", Level::INFO, "a setting that went back and forth stays as it is"),
    kind("drift.silenced", Level::INFO, "a drift is kept quiet by a silence"),
    kind("drift.told", Level::INFO, "a drift that was quiet was told"),
    kind("drift.unexpected", Level::WARN, "a drift in a window that did not announce it"),
    kind("instance.first_read", Level::INFO, "an instance was read for the first time"),
    kind("instance.read_again", Level::INFO, "an instance is read again"),
    kind("instance.still_unseen", Level::WARN, "people were reminded that an instance is not seen, or not as a whole"),
    kind("instance.unread", Level::WARN, "an instance was not read for three intervals"),
    kind("outbox.pruned", Level::DEBUG, "messages that were delivered long ago were removed"),
    kind("receiver.disabled", Level::WARN, "a receiver wants nothing any more; `authdrift receivers enable` undoes it"),
    kind("receiver.enabled", Level::INFO, "a receiver is tried again"),
    kind("receiver.failed", Level::WARN, "a receiver does not take messages"),
    kind("receiver.missed", Level::WARN, "messages were given up for a receiver that takes others"),
    kind("receiver.recovered", Level::INFO, "a receiver takes messages again"),
    kind("section.blind", Level::WARN, "a section of the baseline cannot be read"),
    kind(
        "section.left_out",
        Level::INFO,
        "a section that could not be read is not watched any more: the configuration or a baseline leaves it out",
    ),
    kind("section.seeing_again", Level::INFO, "a section can be read again"),
    kind("section.suspect", Level::WARN, "what was read looks like a fault in reading and is not believed yet"),
    kind("section.unbaselined", Level::INFO, "a section is not in the baseline yet"),
    kind("silence.added", Level::INFO, "somebody asked for quiet, or announced changes"),
    kind("silence.ended", Level::INFO, "a silence is over"),
    kind("silence.expired", Level::INFO, "somebody ended a silence before its time"),
    kind("storage.full", Level::WARN, "the disk is full: snapshots are not kept"),
    kind("storage.low", Level::WARN, "the disk is nearly full"),
    kind("storage.recovered", Level::INFO, "there is room on the disk again"),
    kind("storage.unusable", Level::ERROR, "something in the database cannot be read: it is compared with nothing"),
    kind("store.checked", Level::DEBUG, "the whole database file was looked at and is sound"),
    kind(
        "store.kept_again",
        Level::DEBUG,
        "an instance is as it was in a snapshot that was pruned, and its documents are kept again",
    ),
    kind("store.key_replaced", Level::WARN, "somebody made a new fingerprint key in the place of one that was lost"),
    kind("store.migrated", Level::INFO, "the database was brought to a newer version"),
    kind("store.pruned", Level::INFO, "documents of old snapshots that nobody needs were removed"),
    kind("store.thinned", Level::DEBUG, "old cycles that found the same as those before and after them were removed"),
    kind("trust.changed", Level::WARN, "the files that say who may approve changed"),
    kind("trust.known", Level::INFO, "the files that say who may approve were seen for the first time"),
];

/// How an event is counted that is in no table: an older or newer program made it.
const OTHER: &str = "other";

/// An event of the history was recorded.
#[derive(Debug, Clone, Copy)]
pub struct Recorded<'a> {
    /// Its number.
    pub seq: u64,
    /// Its kind.
    pub kind: &'a str,
    /// About which instance, if about one.
    pub instance: Option<&'a InstanceId>,
    /// The rest; what may be shown of it is picked by name.
    pub data: &'a Value,
}

impl Recorded<'_> {
    /// Writes the line and counts.
    pub fn observe(&self) {
        let kind = HISTORY.iter().find(|kind| kind.name == self.kind);
        metrics::EVENTS.add(&[kind.map_or(OTHER, |kind| kind.name)]);
        let Some(level) = kind.map_or(Some(Level::INFO), |kind| kind.level) else { return };
        let meaning = kind.map_or("an event was recorded", |kind| kind.meaning);
        // Running tasks were cut off.
        let is_cut = self.flag("drained") == Some(false);
        match if is_cut { Level::WARN } else { level } {
            Level::ERROR => line!(error, self, meaning),
            Level::WARN => line!(warn, self, meaning),
            Level::DEBUG => line!(debug, self, meaning),
            _ => line!(info, self, meaning),
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
