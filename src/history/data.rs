//! What each kind of event says beside when, and about which instance.
//!
//! The names of the fields are those of the JSON in the history, which are never changed. A field that an earlier version did
//! not write has a default.

#![expect(missing_docs, reason = "a field is what its name in the JSON says")]

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::clock::Timestamp;
use crate::diff::{Change, ChangeKind};
use crate::model::{Digest, DriftId, MessageId, Pointer, SilenceId};

/// A message was put into the outbox.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueuedAlert {
    pub message: MessageId,
    pub receiver: String,
    /// The digest of its row.
    pub content: Option<Digest>,
    /// It says that something cannot be trusted.
    #[serde(default, skip_serializing_if = "is_default")]
    pub urgent: bool,
}

/// An approval for a time ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApprovalEnd {
    pub path: Pointer,
    pub until: Timestamp,
}

/// A baseline was approved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaselineApproval {
    pub sequence: u64,
    /// The statements that were verified and that no event named before.
    #[serde(default)]
    pub statements: Vec<Digest>,
    pub identity: Digest,
    pub snapshot: Digest,
    pub approvers: BTreeSet<String>,
    pub proposer: String,
    pub reason: Option<String>,
    /// When what is approved for a time ends, by path.
    #[serde(default, skip_serializing_if = "is_default")]
    pub until: BTreeMap<Pointer, Timestamp>,
}

/// The baseline can be trusted again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrustedBaseline {
    /// The code of why it could not be.
    pub was: Option<String>,
}

/// The baseline cannot be trusted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UntrustedBaseline {
    pub code: String,
    pub reason: String,
}

/// The clock jumped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClockJump {
    pub was: Timestamp,
    pub is: Timestamp,
}

/// A new configuration was refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RefusedConfig {
    pub digest: Option<Digest>,
    pub reason: String,
}

/// A new configuration is in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReloadedConfig {
    pub digest: Option<Digest>,
    pub instances: usize,
    pub receivers: usize,
}

/// The vendor refuses a credential.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RefusedCredential {
    pub credential: String,
    pub reason: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub since: Option<Timestamp>,
}

/// A credential is not refused any more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CredentialEnd {
    pub credential: String,
}

/// The daemon started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DaemonStart {
    pub version: String,
    pub instances: usize,
    pub config: Option<Digest>,
}

/// The daemon stopped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DaemonStop {
    /// Nothing that was under way was cut off.
    pub drained: bool,
}

/// One try to deliver a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeliveryTry {
    pub message: MessageId,
    pub receiver: String,
    /// The digest of the receiver's configuration.
    #[serde(default, skip_serializing_if = "is_default")]
    pub target: Option<Digest>,
    /// Until when the receiver asked to be left alone.
    #[serde(default, skip_serializing_if = "is_default")]
    pub until: Option<Timestamp>,
}

/// A receiver took a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DoneDelivery {
    #[serde(flatten)]
    pub this: DeliveryTry,
    #[serde(default)]
    pub attempts: u32,
}

/// A message was given up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GivenUpDelivery {
    #[serde(flatten)]
    pub this: DeliveryTry,
    #[serde(default)]
    pub attempts: u32,
    pub reason: String,
    /// The receiver could not take anything. Nothing, if it was not asked.
    #[serde(default, skip_serializing_if = "is_default")]
    pub failed: Option<bool>,
}

/// A receiver did not take a message, which is tried again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailedDelivery {
    #[serde(flatten)]
    pub this: DeliveryTry,
    pub next: Timestamp,
    pub reason: String,
    /// The receiver could not take anything.
    #[serde(default)]
    pub failed: bool,
    /// It took something.
    #[serde(default)]
    pub took: bool,
    /// It asked to be left alone: that counts as no attempt.
    #[serde(default)]
    pub held: bool,
    /// Some of those it is for took it.
    #[serde(default)]
    pub partly: bool,
}

/// A person dropped a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DroppedDelivery {
    pub message: MessageId,
    pub receiver: String,
    pub by: String,
    pub reason: String,
}

/// A person let a message be tried again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RetriedDelivery {
    pub message: MessageId,
    pub receiver: String,
    pub by: String,
}

/// A message became part of another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoldedDelivery {
    pub message: MessageId,
    pub receiver: String,
    pub into: MessageId,
}

/// A message is not the one that was queued.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RefusedDelivery {
    pub message: MessageId,
    pub receiver: String,
    pub reason: String,
}

/// A digest was put into the outbox.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SentDigest {
    pub receiver: String,
    pub number: u64,
}

/// A step of a drift.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DriftChange {
    pub drift: DriftId,
    pub path: Pointer,
    pub kind: ChangeKind,
    pub before: Value,
    pub after: Value,
    /// The values are members of the set at the path.
    #[serde(default, skip_serializing_if = "is_default")]
    pub member: bool,
    /// Who approved it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub by: Vec<String>,
    /// When a drift that opens was last as approved; null if it never was read so. Earlier versions did not write it.
    #[serde(default, deserialize_with = "is_there", skip_serializing_if = "Option::is_none")]
    pub last_good: Option<Option<Timestamp>>,
}

impl DriftChange {
    /// The change of `drift`.
    pub fn new(drift: &DriftId, change: &Change) -> Self {
        let Change { path, kind, before, after, is_member } = change.clone();
        Self { drift: drift.clone(), path, kind, before, after, member: is_member, by: Vec::new(), last_good: None }
    }
}

/// A notification about a drift.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DriftNotice {
    pub drift: DriftId,
}

/// What a silence or change window does with a drift.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SilencedDrift {
    pub drift: DriftId,
    pub silence: SilenceId,
}

/// An instance was read for the first time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FirstReading {
    pub resource: String,
    pub snapshot: Digest,
}

/// An instance is not read, a receiver takes nothing, or that is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HealthChange {
    /// The receiver that it is about; null if it is about an instance.
    pub receiver: Option<String>,
    pub reason: String,
}

/// A receiver never got some messages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MissedMessages {
    pub receiver: Option<String>,
    pub reason: String,
    #[serde(default)]
    pub messages: Vec<MessageId>,
}

/// A reminder of what is still not read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BlindReminder {
    /// How many sections and credentials.
    pub sections: usize,
    /// The baseline cannot be trusted.
    pub untrusted: bool,
}

/// Messages were removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrunedMessages {
    pub messages: Vec<MessageId>,
}

/// A receiver wants nothing any more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DisabledReceiver {
    pub receiver: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub target: Option<Digest>,
    pub reason: String,
}

/// A receiver is tried again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnabledReceiver {
    pub receiver: String,
}

/// A section cannot be read, is not believed or is not in the baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SectionBegin {
    pub section: String,
    pub reason: String,
    /// Earlier versions did not write it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub since: Option<Timestamp>,
}

/// A section can be read again, or is not watched any more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SectionEnd {
    pub section: String,
}

/// A silence or a change window begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AddedSilence {
    pub silence: SilenceId,
    /// One that a newer version wrote may have matchers that this one cannot read.
    #[serde(rename = "match")]
    pub matchers: Vec<String>,
    pub until: Timestamp,
    pub by: String,
    pub reason: String,
    pub window: bool,
}

/// A person ended a silence before its time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExpiredSilence {
    pub silence: SilenceId,
    pub by: String,
}

/// A silence is over for an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndedSilence {
    pub silence: SilenceId,
    pub by: String,
    pub reason: String,
    pub window: bool,
}

/// The room on the disk became too little or enough.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FreeSpace {
    /// Bytes that are free.
    #[serde(default, skip_serializing_if = "is_default")]
    pub free: Option<u64>,
    /// When people were told past the history, because nothing could be written.
    #[serde(default, skip_serializing_if = "is_default")]
    pub told: Option<Timestamp>,
}

/// Something in the database cannot be read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnusableStorage {
    pub reason: String,
}

/// The whole database file was checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckedStore {
    pub sound: bool,
}

/// The documents of a pruned snapshot are there again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RestoredSnapshot {
    pub snapshot: Digest,
}

/// A new fingerprint key is in the place of one that was lost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplacedKey {
    pub was: Option<String>,
    pub is: String,
    pub by: String,
}

/// The database was brought to a newer version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Migration {
    pub from: i64,
    pub to: i64,
}

/// Documents of old snapshots were removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrunedSnapshots {
    /// The digests of the snapshots.
    pub snapshots: Vec<String>,
    /// How many documents.
    pub documents: usize,
    pub before: Timestamp,
}

/// Old cycles were removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ThinnedCycles {
    pub cycles: usize,
    pub before: Timestamp,
}

/// The files that say who may approve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrustDigests {
    pub allowed_signers: Option<Digest>,
    pub revoked_keys: Option<Digest>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A field that is there, although it may be null.
fn is_there<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
