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
pub enum ApprovalError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The instance was never read.
    #[error("nothing was read from {0} yet: run `authdrift check {0}` first")]
    NoSnapshot(InstanceId),
    /// The snapshot does not say which instance it is of.
    #[error("the vendor's identity of {0} is not known: the section that holds it could not be read")]
    NoResource(InstanceId),
    /// Everything is as approved.
    #[error("there is nothing to approve: {instance} is as baseline {sequence} says")]
    Nothing {
        /// The instance.
        instance: InstanceId,
        /// Its baseline.
        sequence: u64,
    },
    /// What is imported was imported before.
    #[error("this is already approved as baseline {sequence} of {instance}")]
    Already {
        /// The instance.
        instance: InstanceId,
        /// The baseline.
        sequence: u64,
    },
    /// Part of the differences was to be approved on top of a baseline that nothing may be compared with.
    #[error(
        "nothing can be compared with baseline {sequence} ({reason}), so the next one is approved whole, as a first one is: \
         say --all and look at all of it"
    )]
    Whole {
        /// The baseline.
        sequence: u64,
        /// Why not.
        reason: Untrusted,
    },
    /// The proposal compares with something that was not approved as it should be.
    #[error("the proposal shows what changes since baseline {sequence}, but {reason}; propose again")]
    BadBase {
        /// The baseline that the changes are shown against.
        sequence: u64,
        /// What is wrong with its approvals.
        reason: Untrusted,
    },
    /// What would change cannot be shown.
    #[error("what baseline {sequence} changes cannot be shown: {reason}")]
    NoPrevious {
        /// The baseline that is proposed.
        sequence: u64,
        /// What is wrong with the baseline before, as the file holds it.
        reason: String,
    },
    /// A path that was asked for is no difference.
    #[error("'{0}' is not a difference that could be approved: `authdrift diff` lists paths, `authdrift check` drifts")]
    NoSuchPath(String),
    /// An end was given for what can only be approved for good.
    #[error("{0} cannot be approved for a time: leave out --until, or choose other changes with --only")]
    NotForATime(String),
    /// The existing baseline or the new statements cannot be trusted.
    #[error("{0}")]
    Untrusted(#[from] Untrusted),
    /// The file that says who may sign.
    #[error(transparent)]
    TrustFile(#[from] BadTrustFile),
    /// A file that is something else.
    #[error("'{path}' is not a proposal: {reason}; `authdrift propose INSTANCE -o FILE` writes one")]
    NotAProposal {
        /// The file.
        path: PathBuf,
        /// What it is not.
        reason: String,
    },
    /// A proposal file that cannot be read or written.
    #[error("cannot {action} '{path}': {reason}")]
    File {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        reason: String,
    },
    /// Files of one import belong to different proposals.
    #[error("the files do not propose the same thing: '{0}' differs from the first")]
    Mixed(PathBuf),
    /// A proposal would stop holding sections that the baseline holds.
    #[error(
        "the proposal leaves out what the baseline holds ({0}): nobody would see it change any more; propose again"
    )]
    Loses(String),
    /// A proposal that says something else beside its signatures.
    #[error("the proposal is not what its signatures are of: it was changed after it was signed")]
    Altered,
    /// It goes back behind what was signed on this machine.
    #[error(
        "{instance}: {reason} ({}); ask who proposes it, and whether the database was put back. If it is meant, because an \
         earlier proposal was given up or a backup restored, say --replace-signed",
        .memory.display()
    )]
    Behind {
        /// The instance.
        instance: InstanceId,
        /// How.
        reason: signed_log::Behind,
        /// The file that remembers.
        memory: PathBuf,
    },
    /// There is no folder to remember in.
    #[error("nowhere to remember what was signed: neither XDG_STATE_HOME nor HOME names a folder")]
    NoMemory,
    /// It has no signature.
    #[error("'{0}' holds no signature: run `authdrift sign {0} --key KEY` first")]
    Unsigned(PathBuf),
    /// No key was given and none could be found.
    #[error("no key to sign with is in the list of allowed signers (looked at {}); name one with --key", .0.join(" and "))]
    NoKey(Vec<String>),
    /// More than one key could sign.
    #[error("several keys could sign ({0}): name one with --key")]
    ManyKeys(String),
    /// A key that cannot be read.
    #[error("cannot use the key '{path}': {reason}")]
    Key {
        /// The key.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The key is of no allowed signer.
    #[error("the key {0} is of nobody in the list of allowed signers")]
    NoPrincipal(String),
    /// The key is of several principals.
    #[error("the key is of several principals ({0}): say which with --as")]
    ManyPrincipals(String),
    /// `--as` names another principal.
    #[error("the key is not of '{}' but of {owners}", display_safe(.named))]
    NotThatPrincipal {
        /// The principal that was named.
        named: String,
        /// Whose it is.
        owners: String,
    },
    /// `ssh-keygen` did not sign.
    #[error("ssh-keygen did not sign: {0}")]
    Sign(String),
    /// A text that cannot be part of a statement.
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
