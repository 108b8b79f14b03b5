//! Everything that was read from one instance in one cycle, and what could not be read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::canonical;
use crate::model::{Digest, InstanceId, Resource, State};

/// One canonical JSON value of one section. Only [`canonical::document`] and [`Document::from_canonical`] make one.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    value: Value,
    bytes: Vec<u8>,
    digest: Digest,
}

impl Document {
    /// Wraps a value that is in canonical form, and computes its bytes and digest.
    pub(crate) fn new(value: Value) -> Self {
        let bytes = canonical::to_bytes(&value);
        let digest = Digest::of(&bytes);
        // What is compared is what was digested: 1.0 and 1 are one number.
        let value = serde_json::from_slice(&bytes).unwrap_or(value);
        Self { value, bytes, digest }
    }

    /// Takes back bytes that were stored, if they are what `expected` names.
    ///
    /// # Errors
    /// The bytes are not the document of that digest, or not JSON.
    pub fn from_canonical(bytes: Vec<u8>, expected: &Digest) -> Result<Self, NotTheDocument> {
        let digest = Digest::of(&bytes);
        if digest != *expected {
            return Err(NotTheDocument { expected: expected.clone(), found: digest });
        }
        let value = serde_json::from_slice(&bytes)
            .map_err(|_| NotTheDocument { expected: expected.clone(), found: digest.clone() })?;
        Ok(Self { value, bytes, digest })
    }

    /// The value.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The RFC 8785 bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of the bytes.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }
}

/// Stored bytes that are not the document they should be.
#[derive(Debug, thiserror::Error)]
#[error("document {expected} is damaged: its bytes have digest {found}")]
pub struct NotTheDocument {
    expected: Digest,
    found: Digest,
}

/// What came of reading one section.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// It was read.
    Value(Document),
    /// It has no value, or none that we know. Never [`State::Value`].
    Without {
        /// Why there is no value.
        state: State,
        /// In the vendor's or the program's words.
        reason: String,
    },
}

impl Reading {
    /// A reading without a value.
    pub fn without(state: State, reason: impl Into<String>) -> Self {
        Self::Without { state, reason: reason.into() }
    }

    /// The state of the section.
    pub fn state(&self) -> State {
        match self {
            Self::Value(_) => State::Value,
            Self::Without { state, .. } => *state,
        }
    }

    /// The document, if there is one.
    pub fn document(&self) -> Option<&Document> {
        match self {
            Self::Value(document) => Some(document),
            Self::Without { .. } => None,
        }
    }

    /// Why there is no value; empty when there is one.
    pub fn reason(&self) -> &str {
        match self {
            Self::Value(_) => "",
            Self::Without { reason, .. } => reason,
        }
    }

    /// State and digest, as they are signed.
    pub fn mark(&self) -> SectionMark {
        SectionMark { digest: self.document().map(|document| document.digest().clone()), state: self.state() }
    }
}

/// What is signed about a section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SectionMark {
    /// Digest of the document; only with [`State::Value`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The state.
    pub state: State,
}

/// State and digest of every section, by section.
pub type Manifest = BTreeMap<String, SectionMark>;

/// All readings of one instance at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The instance.
    pub instance: InstanceId,
    /// The vendor's own identity of it; empty when unknown.
    pub resource: String,
    /// Every identity that is known of it, that one included.
    pub identifiers: Resource,
    /// Every section that was asked for.
    pub sections: BTreeMap<String, Reading>,
}

impl Snapshot {
    /// State and digest of every section.
    pub fn manifest(&self) -> Manifest {
        self.sections.iter().map(|(section, reading)| (section.clone(), reading.mark())).collect()
    }

    /// The digest of the whole snapshot; see [`digest_of`].
    pub fn digest(&self) -> Digest {
        digest_of(&self.instance, &self.resource, &self.manifest())
    }

    /// How many sections have a state that says something about the vendor.
    pub fn seen(&self) -> usize {
        self.sections.values().filter(|reading| reading.state().is_comparable()).count()
    }
}

/// The digest of a snapshot: SHA-256 of the RFC 8785 bytes of `{"instance","resource","sections"}`. It has no time
/// in it: equal settings have equal digests.
pub fn digest_of(instance: &InstanceId, resource: &str, sections: &Manifest) -> Digest {
    let content = json!({ "instance": instance, "resource": resource, "sections": sections });
    Digest::of(&canonical::to_bytes(&content))
}
