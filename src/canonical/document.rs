//! One canonical value, its bytes and its digest: they belong together and never part.

use serde_json::Value;

use super::to_bytes;
use crate::model::Digest;

/// One canonical JSON value of one section. Only [`super::document`] and [`Document::from_canonical`] make one.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    value: Value,
    bytes: Vec<u8>,
    digest: Digest,
}

impl Document {
    /// Wraps a value that is in canonical form, and computes its bytes and digest.
    pub(crate) fn new(value: Value) -> Self {
        let bytes = to_bytes(&value);
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
