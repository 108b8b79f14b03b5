//! The forms in which vendors write that nothing is set.

use serde_json::Value;

/// Whether `value` states nothing: null, off, or empty. Vendors use these for one another and for an absent field, and
/// change from one to another between two versions of an API.
pub fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}
