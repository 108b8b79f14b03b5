//! One canonical value, its bytes and its digest: they belong together and never part.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{to_bytes, unknown};
use crate::model::{Digest, Pointer};

/// One canonical JSON value of one section. Only [`super::document`] and [`Document::from_canonical`] make one. Cheap to
/// clone.
#[derive(Debug, Clone)]
pub struct Document(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    bytes: Vec<u8>,
    digest: Digest,
    /// Many times larger than the bytes, and seldom needed: most documents are what they were.
    value: OnceLock<Value>,
}

impl Document {
    fn of(bytes: Vec<u8>, digest: Digest) -> Self {
        Self(Arc::new(Parts { bytes, digest, value: OnceLock::new() }))
    }

    /// The document of a value that is in canonical form.
    pub(crate) fn new(value: &Value) -> Self {
        let bytes = to_bytes(value);
        let digest = Digest::of(&bytes);
        Self::of(bytes, digest)
    }

    /// Takes back bytes that were stored, if they are what `expected` names.
    pub fn from_canonical(bytes: Vec<u8>, expected: &Digest) -> Result<Self, NotTheDocument> {
        let digest = Digest::of(&bytes);
        if digest != *expected || serde_json::from_slice::<IgnoredAny>(&bytes).is_err() {
            return Err(NotTheDocument { expected: expected.clone(), found: digest });
        }
        Ok(Self::of(bytes, digest))
    }

    /// The value, read from the bytes: what is compared is what was digested, and 1.0 and 1 are one number.
    ///
    /// Bytes that look like JSON and cannot be read, with a number that is too large, were never made here. They are null.
    pub fn value(&self) -> &Value {
        self.0.value.get_or_init(|| serde_json::from_slice(&self.0.bytes).unwrap_or_default())
    }

    /// The value, parsed anew and not cached, for a single use.
    pub fn read(&self) -> Value {
        serde_json::from_slice(&self.0.bytes).unwrap_or_default()
    }

    /// The members of an object by name, each as it is written: what is written the same is the same, and need not be read.
    /// Nothing if it is no object.
    pub fn members(&self) -> Option<BTreeMap<String, &RawValue>> {
        serde_json::from_slice(&self.0.bytes).ok()
    }

    /// The same document without its parsed value, which is parsed again when needed: for documents that are kept long.
    #[must_use]
    pub fn without_value(&self) -> Self {
        Self::of(self.0.bytes.clone(), self.0.digest.clone())
    }

    /// Where objects of the document cannot be used, below `section`, and why, but for those that `approved` accepts as not
    /// watched.
    pub(crate) fn unknown(&self, section: &str, approved: Option<&Self>) -> Vec<(Pointer, String)> {
        let mut found = Vec::new();
        if self.may_have_unknown() && approved != Some(self) {
            let approved = approved.filter(|approved| approved.may_have_unknown()).map(Self::value);
            unknown::places(self.value(), approved, &Pointer::of_section(section), &mut found);
        }
        found
    }

    /// Whether objects of the document may be unknown: where not, it need not be read to know.
    pub(crate) fn may_have_unknown(&self) -> bool {
        std::str::from_utf8(&self.0.bytes).is_ok_and(|text| text.contains(r#"{"unknown":""#))
    }

    /// The RFC 8785 bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// How deep it is nested.
    pub fn levels(&self) -> usize {
        let (mut depth, mut deepest, mut in_text, mut is_escaped) = (0_usize, 0, false, false);
        for byte in &self.0.bytes {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' => is_escaped = true,
                b'"' => in_text = !in_text,
                b'[' | b'{' if !in_text => {
                    depth += 1;
                    deepest = deepest.max(depth);
                }
                b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        deepest
    }

    /// SHA-256 of the bytes.
    pub fn digest(&self) -> &Digest {
        &self.0.digest
    }
}

impl PartialEq for Document {
    fn eq(&self, other: &Self) -> bool {
        self.digest() == other.digest()
    }
}

/// Stored bytes that are not the document they should be.
#[derive(Debug, thiserror::Error)]
#[error("document {expected} is damaged: its bytes have digest {found}")]
pub struct NotTheDocument {
    expected: Digest,
    found: Digest,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_of_the_right_digest_is_taken_back() {
        let table: [(&[u8], bool); 5] =
            [(b"{\"a\":1}", true), (b"null", true), (b"{\"a\":1", false), (b"", false), (b"1 2", false)];
        for (bytes, expected) in table {
            let taken = Document::from_canonical(bytes.to_vec(), &Digest::of(bytes));
            assert_eq!(taken.is_ok(), expected, "{}", String::from_utf8_lossy(bytes));
            assert!(Document::from_canonical(bytes.to_vec(), &Digest::of(b"other")).is_err());
        }
    }

    #[test]
    fn levels_are_counted_outside_of_texts() {
        for (value, expected) in [
            (serde_json::json!("[[["), 0),
            (serde_json::json!([]), 1),
            (serde_json::json!({ "a\"[": [{ "b\\": [1] }], "c": {} }), 4),
        ] {
            assert_eq!(Document::new(&value).levels(), expected, "{value}");
        }
    }

    #[test]
    fn the_value_is_what_was_digested() {
        let document = Document::new(&serde_json::json!({ "b": 1.0, "a": [] }));
        assert_eq!(document.bytes(), br#"{"a":[],"b":1}"#);
        assert_eq!(document.value(), &serde_json::json!({ "a": [], "b": 1 }));
    }
}
