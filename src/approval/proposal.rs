//! The file that travels between the people who approve.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ApprovalError;
use crate::canonical;
use crate::classify::Drift;
use crate::model::Digest;
use crate::snapshot::Document;
use crate::trust::SignedStatement;
use crate::trust::statement::Subject;

const TYPE: &str = "authdrift/proposal/v1";
/// A proposal holds every document once; nothing near this size is one.
const LARGEST: u64 = 256 << 20;

/// What is to be approved, and who approved it so far.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    #[serde(rename = "type")]
    kind: String,
    /// What is signed.
    pub subject: Subject,
    /// What would change, for people. Not signed: what counts is recomputed from the documents.
    pub changes: Vec<Value>,
    /// The reason the proposer suggests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Every document the subject names, by digest.
    pub documents: BTreeMap<Digest, Value>,
    /// Who signed so far.
    #[serde(default)]
    pub statements: Vec<SignedText>,
}

/// A signed statement as text: its bytes are RFC 8785 JSON, so they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedText {
    /// The exact bytes.
    pub statement: String,
    /// The armoured signature.
    pub signature: String,
}

impl From<SignedText> for SignedStatement {
    fn from(text: SignedText) -> Self {
        Self { statement: text.statement.into_bytes(), signature: text.signature }
    }
}

impl Proposal {
    /// A proposal nobody has signed yet.
    pub fn new(
        subject: Subject,
        documents: &BTreeMap<Digest, Document>,
        drifts: &[Drift],
        reason: Option<String>,
    ) -> Self {
        let value = |drift: &Drift| serde_json::to_value(drift).unwrap_or_default();
        Self {
            kind: TYPE.to_owned(),
            subject,
            changes: drifts.iter().map(value).collect(),
            reason,
            documents: documents.iter().map(|(digest, document)| (digest.clone(), document.value().clone())).collect(),
            statements: Vec::new(),
        }
    }

    /// Reads and checks a proposal: every document is what its digest says, and the subject's snapshot is the digest
    /// of its sections.
    ///
    /// # Errors
    /// The file cannot be read, is no proposal, or does not hold what it says.
    pub fn read(path: &Path) -> Result<Self, ApprovalError> {
        let failed =
            |reason: String| ApprovalError::File { action: "read the proposal", path: path.to_owned(), reason };
        let size = fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
        if size > LARGEST {
            return Err(failed(format!("it is larger than {LARGEST} bytes")));
        }
        let bytes = fs::read(path).map_err(|error| failed(error.to_string()))?;
        // Strictly first: a repeated key would show the approver one value and the machine another.
        let value = canonical::parse(&bytes).map_err(|error| failed(error.to_string()))?;
        let proposal: Self = serde_json::from_value(value).map_err(|error| failed(error.to_string()))?;
        if proposal.kind != TYPE {
            return Err(failed(format!("it is not a proposal of type {TYPE}")));
        }
        proposal.checked_documents().map_err(failed)?;
        Ok(proposal)
    }

    /// The documents, each checked against its digest.
    pub(super) fn checked_documents(&self) -> Result<BTreeMap<Digest, Document>, String> {
        let mut documents = BTreeMap::new();
        for (digest, value) in &self.documents {
            let document =
                Document::from_canonical(canonical::to_bytes(value), digest).map_err(|error| error.to_string())?;
            documents.insert(digest.clone(), document);
        }
        for (section, mark) in &self.subject.sections {
            if let Some(digest) = mark.digest.as_ref().filter(|digest| !documents.contains_key(digest)) {
                return Err(format!("document {digest} of section {section} is not in it"));
            }
        }
        Ok(documents)
    }

    /// Writes the proposal, whole or not at all.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), ApprovalError> {
        let failed = |error: std::io::Error| ApprovalError::File {
            action: "write the proposal",
            path: path.to_owned(),
            reason: error.to_string(),
        };
        let mut text = serde_json::to_vec_pretty(self).map_err(|error| failed(error.into()))?;
        text.push(b'\n');
        let temporary = path.with_added_extension("part");
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(failed)?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed)?;
        fs::rename(&temporary, path).map_err(failed)
    }
}
