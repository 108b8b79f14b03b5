//! What each kind of event says beside when, and about which instance.
//!
//! The names of the fields are those of the JSON in the history, which are never changed. A field that an earlier version did
//! not write has a default.

#![expect(missing_docs, reason = "a field is what its name in the JSON says")]

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::canonical::to_bytes;
use crate::clock::Timestamp;
use crate::diff::{Change, ChangeKind};
use crate::model::{Digest, DriftId, MessageId, Pointer, SilenceId};

macro_rules! event_data {
    ($($(#[$doc:meta])* $name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty),+ $(,)? })+) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
            pub struct $name { $($(#[$attribute])* pub $field: $type,)+ }
        )+
    };
}

event_data! {
    /// A message was put into the outbox.
    QueuedAlert {
        message: MessageId,
        receiver: String,
        /// The digest of its row.
        content: Option<Digest>,
        /// It says that something cannot be trusted.
        #[serde(default, skip_serializing_if = "is_default")]
        urgent: bool,
    }

    /// An approval for a time ends.
    ApprovalEnd { path: Pointer, until: Timestamp }

    /// A baseline was approved.
    BaselineApproval {
        sequence: u64,
        /// The statements that were verified and that no event named before.
        #[serde(default)]
        statements: Vec<Digest>,
        identity: Digest,
        snapshot: Digest,
        approvers: BTreeSet<String>,
        proposer: String,
        reason: Option<String>,
        /// When what is approved for a time ends, by path.
        #[serde(default, skip_serializing_if = "is_default")]
        until: BTreeMap<Pointer, Timestamp>,
    }

    /// The baseline can be trusted again.
    TrustedBaseline {
        /// The code of why it could not be.
        was: Option<String>,
    }

    /// The baseline cannot be trusted.
    UntrustedBaseline { code: String, reason: String }

    /// The clock jumped.
    ClockJump { was: Timestamp, is: Timestamp }

    /// A new configuration was refused.
    RefusedConfig { digest: Option<Digest>, reason: String }

    /// A new configuration is in force.
    ReloadedConfig { digest: Option<Digest>, instances: usize, receivers: usize }

    /// The vendor refuses a credential.
    RefusedCredential {
        credential: String,
        reason: String,
        #[serde(default, skip_serializing_if = "is_default")]
        since: Option<Timestamp>,
    }

    /// A credential is not refused any more.
    CredentialEnd { credential: String }

    /// The daemon started.
    DaemonStart { version: String, instances: usize, config: Option<Digest> }

    /// The daemon stopped.
    DaemonStop {
        /// Nothing that was under way was cut off.
        drained: bool,
    }

    /// One try to deliver a message.
    DeliveryTry {
        message: MessageId,
        receiver: String,
        /// The digest of the receiver's configuration.
        #[serde(default, skip_serializing_if = "is_default")]
        target: Option<Digest>,
        /// Until when the receiver asked to be left alone.
        #[serde(default, skip_serializing_if = "is_default")]
        until: Option<Timestamp>,
    }

    /// A receiver took a message.
    DoneDelivery {
        #[serde(flatten)]
        this: DeliveryTry,
        #[serde(default)]
        attempts: u32,
    }

    /// A message was given up.
    GivenUpDelivery {
        #[serde(flatten)]
        this: DeliveryTry,
        #[serde(default)]
        attempts: u32,
        reason: String,
        /// The receiver could not take anything. Nothing, if it was not asked.
        #[serde(default, skip_serializing_if = "is_default")]
        failed: Option<bool>,
    }

    /// A receiver did not take a message, which is tried again.
    FailedDelivery {
        #[serde(flatten)]
        this: DeliveryTry,
        next: Timestamp,
        reason: String,
        /// The receiver could not take anything.
        #[serde(default)]
        failed: bool,
        /// It took something.
        #[serde(default)]
        took: bool,
        /// It asked to be left alone: that counts as no attempt.
        #[serde(default)]
        held: bool,
        /// Some of those it is for took it.
        #[serde(default)]
        partly: bool,
    }

    /// A person dropped a message.
    DroppedDelivery { message: MessageId, receiver: String, by: String, reason: String }

    /// A person let a message be tried again.
    RetriedDelivery { message: MessageId, receiver: String, by: String }

    /// A message became part of another.
    FoldedDelivery { message: MessageId, receiver: String, into: MessageId }

    /// A message is not the one that was queued.
    RefusedDelivery { message: MessageId, receiver: String, reason: String }

    /// A digest was put into the outbox.
    SentDigest { receiver: String, number: u64 }

    /// A step of a drift.
    DriftChange {
        drift: DriftId,
        path: Pointer,
        kind: ChangeKind,
        before: Value,
        after: Value,
        /// The values are members of the set at the path.
        #[serde(default, skip_serializing_if = "is_default")]
        member: bool,
        /// Who approved it.
        #[serde(default, skip_serializing_if = "is_default")]
        by: Vec<String>,
        /// When a drift that opens was last as approved; null if it never was read so. Earlier versions did not write it.
        #[serde(default, deserialize_with = "is_there", skip_serializing_if = "Option::is_none")]
        last_good: Option<Option<Timestamp>>,
    }

    /// A notification about a drift.
    DriftNotice { drift: DriftId }

    /// What a silence or change window does with a drift.
    SilencedDrift { drift: DriftId, silence: SilenceId }

    /// An instance was read for the first time.
    FirstReading { resource: String, snapshot: Digest }

    /// An instance is not read, a receiver takes nothing, or that is over.
    HealthChange {
        /// The receiver that it is about; null if it is about an instance.
        receiver: Option<String>,
        reason: String,
    }

    /// A receiver never got some messages.
    MissedMessages {
        receiver: Option<String>,
        reason: String,
        #[serde(default)]
        messages: Vec<MessageId>,
    }

    /// A reminder of what is still not read.
    BlindReminder {
        /// How many sections and credentials.
        sections: usize,
        /// The baseline cannot be trusted.
        untrusted: bool,
    }

    /// Messages were removed.
    PrunedMessages { messages: Vec<MessageId> }

    /// A receiver wants nothing any more.
    DisabledReceiver {
        receiver: String,
        #[serde(default, skip_serializing_if = "is_default")]
        target: Option<Digest>,
        reason: String,
    }

    /// A receiver is tried again.
    EnabledReceiver { receiver: String }

    /// A section cannot be read, is not believed or is not in the baseline.
    SectionBegin {
        section: String,
        reason: String,
        /// Earlier versions did not write it.
        #[serde(default, skip_serializing_if = "is_default")]
        since: Option<Timestamp>,
    }

    /// A section can be read again, or is not watched any more.
    SectionEnd { section: String }

    /// A silence or a change window begins.
    AddedSilence {
        silence: SilenceId,
        /// One that a newer version wrote may have matchers that this one cannot read.
        #[serde(rename = "match")]
        matchers: Vec<String>,
        until: Timestamp,
        by: String,
        reason: String,
        window: bool,
    }

    /// A person ended a silence before its time.
    ExpiredSilence { silence: SilenceId, by: String }

    /// A silence is over for an instance.
    EndedSilence { silence: SilenceId, by: String, reason: String, window: bool }

    /// The room on the disk became too little or enough.
    FreeSpace {
        /// Bytes that are free.
        #[serde(default, skip_serializing_if = "is_default")]
        free: Option<u64>,
        /// When people were told past the history, because nothing could be written.
        #[serde(default, skip_serializing_if = "is_default")]
        told: Option<Timestamp>,
    }

    /// Something in the database cannot be read.
    UnusableStorage { reason: String }

    /// The whole database file was checked.
    CheckedStore { sound: bool }

    /// The documents of a pruned snapshot are there again.
    RestoredSnapshot { snapshot: Digest }

    /// A new fingerprint key is in the place of one that was lost.
    ReplacedKey { was: Option<String>, is: String, by: String }

    /// The database was brought to a newer version.
    Migration { from: i64, to: i64 }

    /// Documents of old snapshots were removed.
    PrunedSnapshots {
        /// The digests of the snapshots.
        snapshots: Vec<String>,
        /// How many documents.
        documents: usize,
        before: Timestamp,
    }

    /// Old cycles were removed.
    ThinnedCycles { cycles: usize, before: Timestamp }

    /// The files that say who may approve.
    TrustDigests { allowed_signers: Option<Digest>, revoked_keys: Option<Digest> }
}

impl DriftChange {
    /// The digest of all but when the drift was last as approved.
    pub fn digest(&self) -> Option<Digest> {
        let change = serde_json::to_value(Self { last_good: None, ..self.clone() }).ok()?;
        Some(Digest::of(&to_bytes(&change)))
    }

    /// The change of `drift`.
    pub fn new(drift: &DriftId, change: &Change) -> Self {
        let Change { path, kind, before, after, is_member } = change.clone();
        Self { drift: drift.clone(), path, kind, before, after, member: is_member, by: Vec::new(), last_good: None }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A field that is there, although it may be null.
pub(super) fn is_there<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
