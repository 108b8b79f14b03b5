//! From a snapshot to a baseline: propose, sign, import.
//!
//! A proposal is one self-contained file: what is to be approved, the documents it names, what would change, and the
//! statements signed so far. The carrier need not be trusted: everything is checked again on import.

mod compose;
pub mod import;
mod pending;
pub mod proposal;
pub mod propose;
mod scope;
pub mod sign;
pub mod signed_log;

pub use import::{Imported, import};
pub use pending::Pending;
pub use proposal::Proposal;
pub use propose::{ApprovalRequest, propose};
pub use scope::{ApprovalScope, ChangeSelector};
pub use sign::{SigningKey, sign};
pub use signed_log::SignedLog;

use std::path::PathBuf;

use crate::model::{InstanceId, display_safe};
use crate::store::StoreError;
use crate::trust::Untrusted;
use crate::trust_files::BadTrustFile;

/// Why something cannot be approved.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant says what it means")]
pub enum ApprovalError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("nothing was read from {0} yet: run `authdrift check {0}` first")]
    NoSnapshot(InstanceId),
    #[error("the vendor's identity of {0} is not known: the section that holds it could not be read")]
    NoResource(InstanceId),
    #[error("there is nothing to approve: {instance} is as baseline {sequence} says")]
    Nothing { instance: InstanceId, sequence: u64 },
    #[error("this is already approved as baseline {sequence} of {instance}")]
    Already { instance: InstanceId, sequence: u64 },
    #[error(
        "nothing can be compared with baseline {sequence} ({reason}), so the next one is approved whole, as a first one is: \
         say --all and look at all of it"
    )]
    Whole { sequence: u64, reason: Untrusted },
    #[error("the proposal shows what changes since baseline {sequence}, but {reason}; propose again")]
    BadBase { sequence: u64, reason: Untrusted },
    #[error("what baseline {sequence} changes cannot be shown: {reason}")]
    NoPrevious { sequence: u64, reason: String },
    #[error("'{0}' is not a difference that could be approved: `authdrift diff` lists paths, `authdrift check` drifts")]
    NoSuchPath(String),
    #[error("{0} cannot be approved for a time: leave out --until, or choose other changes with --only")]
    NotForATime(String),
    #[error("{0}")]
    Untrusted(#[from] Untrusted),
    #[error(transparent)]
    TrustFile(#[from] BadTrustFile),
    #[error("'{path}' is not a proposal: {reason}; `authdrift propose INSTANCE -o FILE` writes one")]
    NotAProposal { path: PathBuf, reason: String },
    #[error("cannot {action} '{path}': {reason}")]
    File { action: &'static str, path: PathBuf, reason: String },
    #[error("the files hold different proposals: '{0}' differs from the first")]
    Mixed(PathBuf),
    #[error(
        "the proposal leaves out sections that the baseline holds ({0}), so their changes would not be seen; propose again"
    )]
    Loses(String),
    #[error("the proposal was changed after it was signed")]
    Altered,
    #[error(
        "{instance}: {reason} ({}); ask who proposes it, and whether the database was put back. If it is meant, because an \
         earlier proposal was given up or a backup restored, say --replace-signed",
        .memory.display()
    )]
    Behind { instance: InstanceId, reason: signed_log::Behind, memory: PathBuf },
    #[error("no place for the log of signatures: neither XDG_STATE_HOME nor HOME names a folder")]
    NoMemory,
    #[error("'{0}' holds no signature: run `authdrift sign {0} --key KEY` first")]
    Unsigned(PathBuf),
    #[error("no key to sign with is in the list of allowed signers (looked at {}); name one with --key", .0.join(" and "))]
    NoKey(Vec<String>),
    #[error("several keys could sign ({0}): name one with --key")]
    ManyKeys(String),
    #[error("cannot use the key '{path}': {reason}")]
    Key { path: PathBuf, reason: String },
    #[error("the key {0} belongs to no allowed signer")]
    NoPrincipal(String),
    #[error("the key belongs to several principals ({0}): choose one with --as")]
    ManyPrincipals(String),
    #[error("the key does not belong to '{}' but to {owners}", display_safe(.named))]
    NotThatPrincipal { named: String, owners: String },
    #[error("ssh-keygen did not sign: {0}")]
    Sign(String),
    #[error("cannot make the statement: {0}")]
    Statement(String),
}

impl ApprovalError {
    /// The stable name of the reason, with a heading in `docs/errors.md`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(error) => error.code(),
            Self::Untrusted(reason) => reason.code(),
            Self::NoSnapshot(_) => "no-snapshot",
            Self::NoResource(_) => "no-resource",
            Self::Nothing { .. } => "nothing-to-approve",
            Self::Already { .. } => "already-approved",
            Self::Whole { .. } => "approve-whole",
            Self::BadBase { .. } => "bad-base",
            Self::NoPrevious { .. } => "no-previous",
            Self::NoSuchPath(_) => "no-such-difference",
            Self::NotForATime(_) => "not-for-a-time",
            Self::TrustFile(_) => "bad-trust-file",
            Self::NotAProposal { .. } => "not-a-proposal",
            Self::File { .. } => "file",
            Self::Mixed(_) => "mixed-proposals",
            Self::Loses(_) => "loses-sections",
            Self::Altered => "altered-proposal",
            Self::Behind { .. } => "behind-signed",
            Self::NoMemory => "no-memory",
            Self::Unsigned(_) => "not-signed",
            Self::NoKey(_) => "no-key",
            Self::ManyKeys(_) => "several-keys",
            Self::Key { .. } => "bad-key",
            Self::NoPrincipal(_) => "no-principal",
            Self::ManyPrincipals(_) => "several-principals",
            Self::NotThatPrincipal { .. } => "other-principal",
            Self::Sign(_) => "cannot-sign",
            Self::Statement(_) => "bad-statement",
        }
    }
}
