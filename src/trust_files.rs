//! The two files that say who may approve, read anew every time: a change counts from the next cycle on. With what the
//! configuration asks of approvals they are the policy.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::config::ApprovalConfig;
use crate::model::Digest;
use crate::store::StoreError;
use crate::store::space::is_out_of_files;
use crate::trust::{AllowedSigners, Policy, RevokedKeys, Rules, Untrusted};

/// The content of the files, or why they cannot be used.
#[derive(Debug)]
pub struct TrustFiles {
    content: Result<Content, BadTrustFile>,
    /// The digest of the allowed signers, if they can be read.
    pub allowed_signers: Option<Digest>,
    /// The digest of the revoked keys, if there are any that can be read.
    pub revoked_keys: Option<Digest>,
}

#[derive(Debug)]
struct Content {
    signers: AllowedSigners,
    revoked: RevokedKeys,
    rules: Rules,
}

/// A file that says who may approve, and cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot use '{path}': {reason}")]
pub struct BadTrustFile {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub reason: String,
    /// Too many files were open.
    is_passing: bool,
}

impl TrustFiles {
    /// Reads the files. That one cannot be used is kept for when it matters.
    pub fn read(approval: &ApprovalConfig) -> Self {
        let signers = bytes_of(&approval.allowed_signers);
        let revoked = approval.revoked_keys.as_deref().map(bytes_of);
        let digest = |bytes: &Result<Vec<u8>, BadTrustFile>| bytes.as_ref().ok().map(|bytes| Digest::of(bytes));
        Self {
            allowed_signers: digest(&signers),
            revoked_keys: revoked.as_ref().and_then(digest),
            content: content(approval, signers, revoked),
        }
    }

    /// The same, unless this process could not open one of them for a reason of its own: then nothing is known of who may
    /// approve.
    ///
    /// # Errors
    /// [`StoreError::OutOfFiles`].
    pub fn read_now(approval: &ApprovalConfig) -> Result<Self, StoreError> {
        let trust = Self::read(approval);
        match trust.unopened() {
            Some(unopened) => Err(StoreError::OutOfFiles(unopened.to_string())),
            None => Ok(trust),
        }
    }

    /// Why this process could not open one of them, if the reason is its own and nothing of the file's: then nothing is known
    /// of the signers, and none lost the right.
    pub fn unopened(&self) -> Option<&BadTrustFile> {
        self.content.as_ref().err().filter(|bad| bad.is_passing)
    }

    /// The policy they state.
    pub fn policy(&self) -> Result<Policy<'_>, Untrusted> {
        match &self.content {
            Ok(content) => Ok(Policy { signers: &content.signers, revoked: &content.revoked, rules: &content.rules }),
            Err(bad) => Err(Untrusted::NoPolicy { reason: bad.to_string() }),
        }
    }

    /// Who may sign.
    pub fn signers(&self) -> Result<&AllowedSigners, BadTrustFile> {
        self.content.as_ref().map(|content| &content.signers).map_err(Clone::clone)
    }
}

fn content(
    approval: &ApprovalConfig,
    signers: Result<Vec<u8>, BadTrustFile>,
    revoked: Option<Result<Vec<u8>, BadTrustFile>>,
) -> Result<Content, BadTrustFile> {
    let path = &approval.allowed_signers;
    let signers = AllowedSigners::from_bytes(&signers?).map_err(|error| bad(path, error.to_string()))?;
    let revoked = match (&approval.revoked_keys, revoked) {
        (Some(path), Some(bytes)) => RevokedKeys::parse(&bytes?).map_err(|error| bad(path, error.to_string()))?,
        _ => RevokedKeys::default(),
    };
    Ok(Content { signers, revoked, rules: approval.rules.clone() })
}

/// The largest file that a configuration names and that is read whole.
const LARGEST: u64 = 4 << 20;

/// The content of a file that a person names, of no more than 4 MiB.
pub fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::other("it is larger than 4 MiB"));
    }
    Ok(bytes)
}

/// Only of a regular file: a pipe would be waited for.
fn bytes_of(path: &Path) -> Result<Vec<u8>, BadTrustFile> {
    let read = || {
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        read_whole(path)
    };
    read().map_err(|error| BadTrustFile { is_passing: is_out_of_files(&error), ..bad(path, error.to_string()) })
}

fn bad(path: &Path, reason: String) -> BadTrustFile {
    BadTrustFile { path: path.to_owned(), reason, is_passing: false }
}
