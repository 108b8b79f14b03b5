//! Objects of a list that were answered and cannot be used: without an identity, or with that of another.
//!
//! Such an object is `{"unknown":"why"}` in the document, at its identity, or at the empty one, which no object has. It is
//! neither there nor gone: nothing is concluded from it. An object of a vendor that looks the same gets a `=` before its
//! text, so that no answer can make a part of itself unknown.

use serde_json::{Map, Value, json};

use crate::model::Pointer;

/// The name of the only field of what stands for such an object.
const NAME: &str = "unknown";

/// What stands for an object that cannot be used for this reason.
pub(super) fn marker(reason: &str) -> Value {
    json!({ NAME: reason })
}

/// Why the object that `value` stands for cannot be used, if it stands for one.
pub(crate) fn unknown(value: &Value) -> Option<&str> {
    let fields = value.as_object().filter(|fields| fields.len() == 1)?;
    fields.get(NAME)?.as_str().filter(|reason| !reason.starts_with('='))
}

/// An object of a vendor, so that it does not look like what stands for one.
pub(super) fn told_apart(mut fields: Map<String, Value>) -> Map<String, Value> {
    if fields.len() == 1
        && let Some(Value::String(text)) = fields.get_mut(NAME)
    {
        text.insert(0, '=');
    }
    fields
}

/// Every place in the document of a section at which an object cannot be used, with the reason. Of one without identity it
/// is the place of the list.
pub(crate) fn places(value: &Value, path: &Pointer, found: &mut Vec<(Pointer, String)>) {
    for (name, field) in value.as_object().into_iter().flatten() {
        match unknown(field) {
            Some(reason) if name.is_empty() => found.push((path.clone(), reason.to_owned())),
            Some(reason) => found.push((path.child(name), reason.to_owned())),
            None => places(field, &path.child(name), found),
        }
    }
}

/// `value` as something to approve: what it marks as unknown is a value like any other, because somebody who approves it
/// approves that it is not watched. What `before` marks alike is left out: it was approved so.
pub(crate) fn to_approve(value: &Value, before: Option<&Value>) -> Value {
    let Value::Object(fields) = value else { return value.clone() };
    let mut plain = Map::new();
    for (name, field) in fields {
        let was = before.and_then(|before| before.get(name));
        match unknown(field) {
            Some(_) if was == Some(field) => {}
            Some(reason) => {
                plain.insert(name.clone(), json!({ "not watched": reason }));
            }
            None => {
                plain.insert(name.clone(), to_approve(field, was));
            }
        }
    }
    Value::Object(plain)
}
