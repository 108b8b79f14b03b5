//! Which people may approve settings, and the verification of their signatures.
//!
//! Approvers sign statements with their own SSH keys. [`verify`] checks them at every load, natively, and is the
//! only module that can make a [`Verified`] baseline; nothing else can be compared with. Whatever is wrong is an
//! [`Untrusted`] with a code of its own. Data without a valid signature is tampering, never first use.
//!
//! This layer reads no file, no store and no clock: callers pass texts, rows and times in.

pub mod allowed_signers;
pub mod policy;
pub mod revoked;
pub mod sshsig;
pub mod statement;
pub mod verify;

pub use allowed_signers::AllowedSigners;
pub use policy::{Impact, Policy, Rules};
pub use revoked::RevokedKeys;
pub use sshsig::PublicKey;
pub use statement::{Approval, Expiry, NAMESPACE, Statement, Subject, TYPE};
pub use verify::{
    Approved, Baseline, EventTimes, Evidence, SignedStatement, Untrusted, Verified, accept, approvals, base, baseline,
    chain,
};
