//! The canonical form: what is left of a vendor's answer when noise and secrets are out.
//!
//! Lists of objects become maps keyed by identity, lists of scalars become sorted sets, volatile fields go, secrets
//! become keyed fingerprints, program text becomes its digest. Everything else stays, fields nobody has heard of
//! included. The bytes are RFC 8785, so equal settings have equal digests.

mod budget;
mod certificate;
mod document;
mod items;
mod normalise;
mod numbers;
mod parse;
mod redact;
mod unknown;

use serde_json::Value;

pub use budget::{MemoryBudget, OverBudget, weight};
pub(crate) use certificate::certificates;
pub use document::{Document, NotTheDocument};
pub(crate) use items::parse_items;
pub use normalise::{BadList, document};
pub(crate) use numbers::{Numbered, is_same_number, large_number};
pub use parse::{Unusable, parse, parse_file, parse_within};
pub use redact::{FingerprintKey, Redaction};
pub(crate) use redact::{
    HIDDEN, is_fingerprint, is_large_placeholder, is_placeholder, is_same, large_placeholder, without_secrets,
};
pub(crate) use unknown::{
    as_before, forget_mended, is_accepted, not_watched, places as unknown_places, to_approve, unknown, unusable,
    unusable_reason,
};

/// The RFC 8785 bytes of `value`.
pub fn to_bytes(value: &Value) -> Vec<u8> {
    serde_json_canonicalizer::to_vec(value)
        .unwrap_or_else(|error| unreachable!("internal: every JSON value has canonical bytes: {error}"))
}
