//! The kinds of events, one row each.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::data;
use crate::incident::DriftEvent;
use crate::model::{DriftId, word};

word!(
    /// How urgent the line of the log is that an event makes.
    LogLevel {
        /// A person has to act on it, and no other line says so.
        Error = "error",
        /// Something is not as it should be.
        Warn = "warn",
        /// Something changed.
        Info = "info",
        /// Of interest only when something is looked for.
        Debug = "debug",
    }
);

/// A kind of event.
#[derive(Debug, Clone, Copy)]
pub struct EventKind {
    /// As the history has it. Never changes.
    pub name: &'static str,
    /// The level of its line in the log; none for what has a line of its own.
    pub level: Option<LogLevel>,
    /// What happened.
    pub meaning: &'static str,
}

macro_rules! events {
    ($($variant:ident($data:ty) = $name:literal, $level:expr, $meaning:literal;)+) => {
        /// What happened.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Event {
            $(#[doc = $meaning] $variant($data),)+
            /// A kind or a form of event that this version of the program does not know.
            Unknown {
                /// Its kind.
                kind: String,
                /// What it says.
                data: Value,
            },
        }

        /// Every kind, by name.
        pub const EVENT_KINDS: &[EventKind] = &[$(EventKind { name: $name, level: $level, meaning: $meaning },)+];

        impl Event {
            /// Its kind, dotted: `drift.opened`.
            pub fn kind(&self) -> &str {
                match self {
                    $(Self::$variant(_) => $name,)+
                    Self::Unknown { kind, .. } => kind,
                }
            }

            /// The event of `kind` that says `data`. One that this version does not know is [`Event::Unknown`].
            ///
            /// # Errors
            /// `data` is not JSON.
            pub fn read<'de, D: Deserializer<'de> + Copy>(kind: &str, data: D) -> Result<Self, D::Error> {
                let known = match kind {
                    $($name => <$data>::deserialize(data).map(Self::$variant).ok(),)+
                    _ => None,
                };
                match known {
                    Some(event) => Ok(event),
                    None => Ok(Self::Unknown { kind: kind.to_owned(), data: Value::deserialize(data)? }),
                }
            }

            /// What it says, as the history has it.
            ///
            /// # Errors
            /// A value cannot be JSON.
            pub fn data(&self) -> serde_json::Result<Value> {
                match self {
                    $(Self::$variant(data) => serde_json::to_value(data),)+
                    Self::Unknown { data, .. } => Ok(data.clone()),
                }
            }
        }
    };
}

impl Event {
    /// Of an event of a drift: its name, and the value it had.
    pub fn of_drift(&self) -> Option<(&DriftId, DriftEvent, &Value)> {
        Some(match self {
            Self::DriftOpened(change) => (&change.drift, DriftEvent::Opened, &change.after),
            Self::DriftReopened(change) => (&change.drift, DriftEvent::Reopened, &change.after),
            Self::DriftChanged(change) => (&change.drift, DriftEvent::Changed, &change.after),
            Self::DriftReverted(change) => (&change.drift, DriftEvent::Reverted, &change.after),
            Self::DriftApproved(change) => (&change.drift, DriftEvent::Approved, &change.after),
            Self::DriftSilenced(drift) => (&drift.drift, DriftEvent::Silenced, &Value::Null),
            Self::DriftUnexpected(drift) => (&drift.drift, DriftEvent::Unexpected, &Value::Null),
            Self::DriftTold(drift) => (&drift.drift, DriftEvent::Told, &Value::Null),
            Self::DriftReminded(drift) => (&drift.drift, DriftEvent::Reminded, &Value::Null),
            Self::DriftFlapping(drift) => (&drift.drift, DriftEvent::Flapping, &Value::Null),
            Self::DriftSettled(drift) => (&drift.drift, DriftEvent::Settled, &Value::Null),
            _ => return None,
        })
    }
}

const OWN_LINE: Option<LogLevel> = None;
const ERROR: Option<LogLevel> = Some(LogLevel::Error);
const WARN: Option<LogLevel> = Some(LogLevel::Warn);
const INFO: Option<LogLevel> = Some(LogLevel::Info);
const DEBUG: Option<LogLevel> = Some(LogLevel::Debug);

events! {
    AlertQueued(data::QueuedAlert) = "alert.queued", DEBUG, "a message was put into the outbox";
    ApprovalEnding(data::ApprovalEnd) = "approval.ending", WARN, "what was approved for a time is a drift again soon";
    BaselineApproved(data::BaselineApproval) = "baseline.approved", INFO, "a baseline was approved";
    BaselineTrusted(data::TrustedBaseline) = "baseline.trusted", INFO, "the baseline can be trusted again";
    BaselineUntrusted(data::UntrustedBaseline) = "baseline.untrusted", WARN,
        "the baseline cannot be trusted, so nothing is compared";
    ClockSetBack(data::ClockJump) = "clock.set_back", WARN, "the clock was set back";
    ClockSetForward(data::ClockJump) = "clock.set_forward", WARN,
        "the clock was set forward by more than a week, or nothing ran for so long: nothing old is removed for a day";
    ConfigRefused(data::RefusedConfig) = "config.refused", ERROR,
        "a new configuration was refused, the one before stays";
    ConfigReloaded(data::ReloadedConfig) = "config.reloaded", INFO, "a new configuration is in force";
    CredentialAccepted(data::CredentialEnd) = "credential.accepted", INFO, "the vendor accepts a credential again";
    CredentialRefused(data::RefusedCredential) = "credential.refused", WARN, "the vendor refuses a credential";
    CredentialRemoved(data::CredentialEnd) = "credential.removed", INFO,
        "a refused credential was taken out of the configuration";
    DaemonStarted(data::DaemonStart) = "daemon.started", INFO, "the daemon watches";
    DaemonStopped(data::DaemonStop) = "daemon.stopped", INFO, "the daemon stopped";
    DeliveryDone(data::DoneDelivery) = "delivery.done", OWN_LINE, "a receiver took a message";
    DeliveryDropped(data::DroppedDelivery) = "delivery.dropped", INFO, "somebody dropped a message";
    DeliveryFailed(data::FailedDelivery) = "delivery.failed", OWN_LINE,
        "a receiver did not take a message; it is tried again";
    DeliveryFolded(data::FoldedDelivery) = "delivery.folded", INFO, "messages that waited were folded into one";
    DeliveryGivenUp(data::GivenUpDelivery) = "delivery.given_up", OWN_LINE, "a message was given up";
    DeliveryRefused(data::RefusedDelivery) = "delivery.refused", ERROR,
        "a message is not the one that was queued, and is not sent";
    DeliveryRetried(data::RetriedDelivery) = "delivery.retried", INFO, "somebody let a message be tried again";
    DigestSent(data::SentDigest) = "digest.sent", INFO, "a digest was put into the outbox";
    DriftApproved(data::DriftChange) = "drift.approved", INFO, "a drift ended: a new baseline contains it";
    DriftChanged(data::DriftChange) = "drift.changed", WARN, "a setting that drifted moved on to another value";
    DriftFlapping(data::DriftNotice) = "drift.flapping", WARN, "a setting goes back and forth";
    DriftOpened(data::DriftChange) = "drift.opened", WARN, "a setting drifted";
    DriftReminded(data::DriftNotice) = "drift.reminded", INFO, "people were reminded of a drift";
    DriftReopened(data::DriftChange) = "drift.reopened", WARN, "a setting drifted again";
    DriftReverted(data::DriftChange) = "drift.reverted", INFO, "a drift ended: the setting is as approved again";
    DriftSettled(data::DriftNotice) = "drift.settled", INFO, "a setting that went back and forth stays as it is";
    DriftSilenced(data::SilencedDrift) = "drift.silenced", INFO, "a drift is kept quiet by a silence";
    DriftTold(data::DriftNotice) = "drift.told", INFO, "a drift that was quiet was told";
    DriftUnexpected(data::SilencedDrift) = "drift.unexpected", WARN, "a drift in a window that did not announce it";
    InstanceFirstRead(data::FirstReading) = "instance.first_read", INFO, "an instance was read for the first time";
    InstanceReadAgain(data::HealthChange) = "instance.read_again", INFO, "an instance is read again";
    InstanceStillUnseen(data::BlindReminder) = "instance.still_unseen", WARN,
        "people were reminded that an instance is not seen, or not as a whole";
    InstanceUnread(data::HealthChange) = "instance.unread", WARN, "an instance was not read for three intervals";
    OutboxPruned(data::PrunedMessages) = "outbox.pruned", DEBUG, "messages that were delivered long ago were removed";
    ReceiverDisabled(data::DisabledReceiver) = "receiver.disabled", WARN,
        "a receiver wants nothing any more; `authdrift receivers enable` undoes it";
    ReceiverEnabled(data::EnabledReceiver) = "receiver.enabled", INFO, "a receiver is tried again";
    ReceiverFailed(data::HealthChange) = "receiver.failed", WARN, "a receiver does not take messages";
    ReceiverMissed(data::MissedMessages) = "receiver.missed", WARN,
        "messages were given up for a receiver that takes others";
    ReceiverRecovered(data::HealthChange) = "receiver.recovered", INFO, "a receiver takes messages again";
    SectionBlind(data::SectionBegin) = "section.blind", WARN, "a section of the baseline cannot be read";
    SectionLeftOut(data::SectionEnd) = "section.left_out", INFO,
        "a section that could not be read is not watched any more: the configuration or a baseline leaves it out";
    SectionSeeingAgain(data::SectionEnd) = "section.seeing_again", INFO, "a section can be read again";
    SectionSuspect(data::SectionBegin) = "section.suspect", WARN,
        "what was read looks like a fault in reading and is not believed yet";
    SectionUnbaselined(data::SectionBegin) = "section.unbaselined", INFO, "a section is not in the baseline yet";
    SilenceAdded(data::AddedSilence) = "silence.added", INFO, "somebody asked for quiet, or announced changes";
    SilenceEnded(data::EndedSilence) = "silence.ended", INFO, "a silence is over";
    SilenceExpired(data::ExpiredSilence) = "silence.expired", INFO, "somebody ended a silence before its time";
    StorageFull(data::FreeSpace) = "storage.full", WARN, "the disk is full: snapshots are not kept";
    StorageLow(data::FreeSpace) = "storage.low", WARN, "the disk is nearly full";
    StorageRecovered(data::FreeSpace) = "storage.recovered", INFO, "there is room on the disk again";
    StorageUnusable(data::UnusableStorage) = "storage.unusable", ERROR,
        "something in the database cannot be read: it is compared with nothing";
    StoreChecked(data::CheckedStore) = "store.checked", DEBUG, "the whole database file was looked at and is sound";
    StoreKeptAgain(data::RestoredSnapshot) = "store.kept_again", DEBUG,
        "an instance is as it was in a snapshot that was pruned, and its documents are kept again";
    StoreKeyReplaced(data::ReplacedKey) = "store.key_replaced", WARN,
        "somebody made a new fingerprint key in the place of one that was lost";
    StoreMigrated(data::Migration) = "store.migrated", INFO, "the database was brought to a newer version";
    StorePruned(data::PrunedSnapshots) = "store.pruned", INFO,
        "documents of old snapshots that nobody needs were removed";
    StoreThinned(data::ThinnedCycles) = "store.thinned", DEBUG,
        "old cycles that found the same as those before and after them were removed";
    TrustChanged(data::TrustDigests) = "trust.changed", WARN, "the files that say who may approve changed";
    TrustKnown(data::TrustDigests) = "trust.known", INFO,
        "the files that say who may approve were seen for the first time";
}

#[cfg(test)]
impl Event {
    /// An event of a kind that no version knows.
    pub(crate) fn other(kind: &str) -> Self {
        Self::Unknown { kind: kind.to_owned(), data: serde_json::json!({}) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::canonical::to_bytes;

    #[test]
    fn every_kind_of_event_is_read_and_written_as_it_was_recorded() {
        let mut kinds = std::collections::BTreeSet::new();
        for body in include_str!("../../tests/golden/history.jsonl").lines() {
            let mut record: Value = serde_json::from_str(body).unwrap();
            let event = Event::read(record["kind"].as_str().unwrap(), &record["data"]).unwrap();
            assert!(!matches!(event, Event::Unknown { .. }), "{body}");
            (record["kind"], record["data"]) = (json!(event.kind()), event.data().unwrap());
            assert_eq!(String::from_utf8(to_bytes(&record)).unwrap(), body);
            kinds.insert(event.kind().to_owned());
        }
        assert_eq!(kinds.into_iter().collect::<Vec<_>>(), EVENT_KINDS.iter().map(|kind| kind.name).collect::<Vec<_>>());
    }

    #[test]
    fn what_this_version_does_not_know_is_kept_as_it_is() {
        for (kind, data) in
            [("a.b", json!({ "c": [1] })), ("silence.added", json!({ "silence": 1 })), ("drift.told", json!(7))]
        {
            let event = Event::read(kind, &data).unwrap();
            assert_eq!(event, Event::Unknown { kind: kind.to_owned(), data: data.clone() });
            assert_eq!(event.data().unwrap(), data);
        }
    }
}
