//! Why a chain is not trusted: one variant, one code and one sentence per attack.

use chrono::{DateTime, Utc};

use crate::clock::written;
use crate::model::{Digest, InstanceId, display_safe};
use crate::trust::allowed_signers::WhyNot;
use crate::trust::sshsig::{BadSignature, PublicKey};
use crate::trust::statement::{BadStatement, NAMESPACE, Statement};

/// Declares [`Untrusted`]: each variant with its code, which is a stable name for machines and for the manual.
macro_rules! untrusted {
    ($(
        $(#[$attribute:meta])*
        $code:literal $name:ident $({ $($(#[$doc:meta])* $field:ident: $type:ty),+ $(,)? })? $(($inner:ty))?,
    )+) => {
        /// Why nothing may be compared with, or why an import is refused.
        ///
        /// `approver` is the principal in the statement, `key` the key that signed, `at` the time at which the statement
        /// says it was signed, and `sequence` the number of the baseline.
        #[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
        #[allow(missing_docs, reason = "the names that several variants have are described once")]
        pub enum Untrusted {
            $($(#[$attribute])* $name $({ $($(#[$doc])* $field: $type,)+ })? $(($inner))?,)+
        }

        impl Untrusted {
            /// The stable name of the reason, for machines and for the manual.
            pub fn code(&self) -> &'static str {
                match self { $(Self::$name { .. } => $code,)+ }
            }
        }
    };
}

untrusted! {
    /// The file that says who may approve is missing, unreadable or malformed: no signature counts.
    #[error("no signature can be checked: {reason}")]
    "no-policy" NoPolicy { reason: String },
    /// The history or the schema of the database is not what the program left: something was edited, cut or planted.
    #[error("the database was tampered with: {reason}")]
    "store-tampered" StoreTampered { reason: String },
    /// The database is sound, and older than it was: a copy was restored.
    #[error("the database was rolled back: {reason}; a new approval acknowledges that it is so")]
    "rolled-back" RolledBack { reason: String },
    /// The signature is none, was made with a key type that may not sign, or does not match the bytes: the
    /// statement was edited, or the signature belongs to another one.
    #[error("the signature of {claim} is refused: {reason}")]
    "bad-signature" BadSignature {
        /// The claim of the statement, not verified.
        claim: String,
        reason: BadSignature,
    },
    /// A signature that was made for another purpose was put under a statement.
    #[error(
        "the signature of {claim} was made for the namespace '{}' and not '{NAMESPACE}'; sign with 'authdrift sign'",
        display_safe(.found)
    )]
    "wrong-namespace" WrongNamespace {
        /// The claim of the statement, not verified.
        claim: String,
        found: String,
    },
    /// The key is not the approver's: the signer may not approve, or signed in another's name.
    #[error("{key} is not a key of '{}' in the allowed signers", display_safe(.approver))]
    "unknown-signer" UnknownSigner { approver: String, key: PublicKey },
    /// The key is the approver's, but for other purposes.
    #[error(
        "the key {key} of '{}' is not allowed to approve; add '{NAMESPACE}' to its namespaces in the allowed signers",
        display_safe(.approver)
    )]
    "key-not-for-baselines" KeyNotForBaselines { approver: String, key: PublicKey },
    /// The key was not valid when the statement says it was signed.
    #[error(
        "the key {key} of '{}' was not valid at {}, when it approved: {why}",
        display_safe(.approver), written(*.at)
    )]
    "key-not-valid" KeyNotValid { approver: String, key: PublicKey, at: DateTime<Utc>, why: WhyNot },
    /// The key was valid when the statement says it was signed, but is not now: a thief of the key could date back.
    #[error(
        "the key {key} of '{}' may not approve any more: {why}; sign with a key that is valid now",
        display_safe(.approver)
    )]
    "key-not-valid-now" KeyNotValidNow { approver: String, key: PublicKey, why: WhyNot },
    /// The key was revoked, and with it everything it ever signed.
    #[error("the key {key}, which signed as '{}', is revoked", display_safe(.approver))]
    "revoked-key" RevokedKey { approver: String, key: PublicKey },
    /// The signed bytes are not a statement.
    #[error("a signed statement is refused: {0}")]
    "malformed-statement" Malformed(BadStatement),
    /// The signed bytes are another spelling of a statement.
    #[error("a signed statement is refused: {}", BadStatement::NotCanonical)]
    "not-canonical" NotCanonical,
    /// The statement signs sections that are not the snapshot it signs.
    #[error("a signed statement contradicts itself: its snapshot digest is {signed}, its sections have {computed}")]
    "snapshot-mismatch" SnapshotMismatch {
        signed: Digest,
        /// The digest of the sections that were signed.
        computed: Digest,
    },
    /// A baseline of another instance was put in place of this one's.
    #[error("the baseline was approved for {found} and not for {expected}")]
    "other-instance" OtherInstance {
        /// The instance that is checked.
        expected: InstanceId,
        /// The instance in the statement.
        found: InstanceId,
    },
    /// The name is the same, but the vendor says it is another instance: it was recreated or exchanged.
    #[error(
        "the baseline was approved for '{}', but the vendor calls this instance '{}'; if it was recreated on purpose, \
         approve a new baseline with --all",
        display_safe(.approved), display_safe(.found)
    )]
    "other-resource" OtherResource {
        /// The vendor's identity that was approved.
        approved: String,
        /// The vendor's identities now.
        found: String,
    },
    /// A baseline was left out, or an old statement is played again.
    #[error("baseline {expected} must come next, but the statement is for baseline {found}")]
    "wrong-sequence" WrongSequence {
        /// The sequence that comes next.
        expected: u64,
        /// The sequence in the statement.
        found: u64,
    },
    /// The baseline before this one was exchanged.
    #[error(
        "baseline {sequence} follows {}, but the baseline before it is {}",
        .found.as_ref().map_or("nothing", Digest::as_str), .expected.as_ref().map_or("nothing", Digest::as_str)
    )]
    "broken-link" BrokenLink {
        sequence: u64,
        /// The identity of the baseline before it.
        expected: Option<Digest>,
        /// The identity that it names.
        found: Option<Digest>,
    },
    /// Approvers signed different things under one number.
    #[error("the approvers of baseline {sequence} did not approve the same thing")]
    "different-subjects" DifferentSubjects { sequence: u64 },
    /// Not enough different people approved. One person with two keys or two names is one.
    #[error("baseline {sequence} has {have} of {need} approvers")]
    "too-few-approvers" TooFewApprovers { sequence: u64, have: usize, need: usize },
    /// An approver approves their own change.
    #[error(
        "'{}' made one of the changes that baseline {sequence} approves, as the vendor's log says; another person has to \
         approve it",
        display_safe(.approver)
    )]
    "own-change" OwnChange { sequence: u64, approver: String },
    /// Touch is required, and the key cannot tell.
    #[error(
        "the key {key} of '{}' is not on a security key, and the configuration requires that one is touched",
        display_safe(.approver)
    )]
    "no-security-key" NoSecurityKey { approver: String, key: PublicKey },
    /// Touch is required, and the key was not touched: a program on the machine that it is plugged into could have signed.
    #[error(
        "the security key {key} of '{}' was not touched for this signature; sign again, with a key that was made without \
         'no-touch-required'",
        display_safe(.approver)
    )]
    "not-touched" NotTouched { approver: String, key: PublicKey },
    /// A baseline was deleted from the store: rollback to an older one, or to none.
    #[error("the history says that baseline {approved} was approved, but the store holds {}", held_text(*.held))]
    "missing-baseline" MissingBaseline {
        /// The highest sequence in the history.
        approved: u64,
        /// The highest sequence in the store; 0 for none.
        held: u64,
    },
    /// The store holds a baseline whose approval the history does not know: the history was cut, or the baseline was
    /// written around the import.
    #[error("the store holds baseline {held}, but the history knows of {}", held_text(*.approved))]
    "unrecorded-baseline" Unrecorded {
        /// The highest sequence in the history; 0 for none.
        approved: u64,
        /// The highest sequence in the store.
        held: u64,
    },
    /// The history that the approvers saw is not a part of ours any more.
    #[error(
        "baseline {sequence} was approved on a history of {size} events that is not part of this one: it was cut or replaced"
    )]
    "history-cut" HistoryCut {
        sequence: u64,
        /// How long the history was.
        size: u64,
    },
    /// An approved document was deleted.
    #[error("the approved document of section '{}' is missing from the store", display_safe(.section))]
    "document-missing" DocumentMissing { section: String },
    /// An approved document was edited.
    #[error("the stored document of section '{}' is not the approved one, {digest}", display_safe(.section))]
    "document-damaged" DocumentDamaged {
        section: String,
        /// The digest that was approved.
        digest: Digest,
    },
    /// The statement is from the future.
    #[error(
        "the approval of '{}' is dated {}, and it is {} now; check the clocks of both machines",
        display_safe(.approver), written(*.at), written(*.now)
    )]
    "from-the-future" FromTheFuture { approver: String, at: DateTime<Utc>, now: DateTime<Utc> },
    /// The statement is older than what it approves.
    #[error(
        "the approval of '{}' is dated {}, but what it approves was proposed after {}; check the clocks of both machines",
        display_safe(.approver), written(*.at), written(*.proposed)
    )]
    "back-dated" BackDated {
        approver: String,
        at: DateTime<Utc>,
        /// When the last event was recorded that the proposal knows.
        proposed: DateTime<Utc>,
    },
}

impl Untrusted {
    /// Names the statement by what it claims, because nothing better is known about it.
    pub(super) fn from_signature(reason: BadSignature, statement: &[u8]) -> Self {
        let claim = match Statement::parse(statement) {
            Ok(Statement { approval, subject, .. }) => {
                format!("baseline {} by '{}'", subject.sequence, display_safe(&approval.approver))
            }
            Err(_) => "a statement that cannot be read".to_owned(),
        };
        match reason {
            BadSignature::WrongNamespace { found } => Self::WrongNamespace { claim, found },
            reason => Self::BadSignature { claim, reason },
        }
    }
}

impl From<BadStatement> for Untrusted {
    fn from(error: BadStatement) -> Self {
        match error {
            BadStatement::NotCanonical => Self::NotCanonical,
            BadStatement::SnapshotMismatch { signed, computed } => Self::SnapshotMismatch { signed, computed },
            error => Self::Malformed(error),
        }
    }
}

fn held_text(sequence: u64) -> String {
    if sequence == 0 { "none".to_owned() } else { format!("only baselines up to {sequence}") }
}
