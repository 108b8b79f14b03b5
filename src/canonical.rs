//! Canonical form.
use serde_json::Value;
/// RFC 8785 bytes.
pub fn to_bytes(value: &Value) -> Vec<u8> {
    serde_json_canonicalizer::to_vec(value)
        .expect("internal: a JSON value without custom serialisation always has canonical bytes")
}
