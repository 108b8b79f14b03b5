//! Objects of a list that were answered and cannot be used: without an identity, or with that of another.
//!
//! Such an object is `{"unknown":"why"}` in the document, at its identity, or at the empty one, which no object has. It is
//! neither there nor gone: nothing is concluded from it. An object of a vendor that looks the same gets a `=` before its
//! text, so that no answer can make a part of itself unknown.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::model::Pointer;

/// The name of the only field of what stands for such an object.
const NAME: &str = "unknown";

/// The name of a field that no answer has, because it is another one in each process.
static UNUSABLE: LazyLock<String> = LazyLock::new(|| format!("unusable {} {}", Uuid::now_v7(), Uuid::now_v7()));

/// An object of an answer that could not be read, with what is known of it. The canonical document says that it is unknown.
pub(crate) fn unusable(reason: &str, mut known: Map<String, Value>) -> Value {
    known.insert(UNUSABLE.clone(), Value::String(reason.to_owned()));
    Value::Object(known)
}

/// Why the object could not be read, if `value` is one of [`unusable`].
pub(crate) fn unusable_reason(value: &Value) -> Option<&str> {
    value.get(UNUSABLE.as_str())?.as_str()
}

/// The value in the place of an object that cannot be used for this reason.
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

/// Every place in the document of a section at which an object cannot be used, with the reason, but for those that the
/// document `approved` accepts as not watched. The place of an object without identity is its list.
pub(crate) fn places(value: &Value, approved: Option<&Value>, path: &Pointer, found: &mut Vec<(Pointer, String)>) {
    for (name, field) in value.as_object().into_iter().flatten() {
        let was = approved.and_then(|approved| approved.get(name));
        match unknown(field) {
            Some(_) if is_accepted(name, was, field) => {}
            Some(reason) if name.is_empty() => found.push((path.clone(), reason.to_owned())),
            Some(reason) => found.push((path.child(name), reason.to_owned())),
            None => places(field, was, &path.child(name), found),
        }
    }
}

/// Whether the object that `is` stands for was approved as not watched: `was` is what the approved list has under the same
/// name. Objects without a name are told apart by nothing, so their number has to be the approved one.
pub(crate) fn is_accepted(name: &str, was: Option<&Value>, is: &Value) -> bool {
    was.is_some_and(|was| unknown(was).is_some() && (!name.is_empty() || was == is))
}

/// The name of the only field of what stands for an object that is to be approved as not watched.
const NOT_WATCHED: &str = "not watched";

/// Why the object that `value` stands for cannot be read, if it stands for one that is to be approved as not watched.
pub(crate) fn not_watched(value: &Value) -> Option<&str> {
    value.as_object().filter(|fields| fields.len() == 1)?.get(NOT_WATCHED)?.as_str()
}

/// `value` as something to approve. An approval accepts that an unknown object is not watched, so the object is a value like
/// any other, unless `before` was approved with it.
pub(crate) fn to_approve(value: &Value, before: Option<&Value>) -> Value {
    let Value::Object(fields) = value else { return value.clone() };
    let mut plain = Map::new();
    for (name, field) in fields {
        let was = before.and_then(|before| before.get(name));
        match unknown(field) {
            Some(_) if is_accepted(name, was, field) => {}
            Some(reason) => {
                plain.insert(name.clone(), json!({ NOT_WATCHED: reason }));
            }
            None => {
                plain.insert(name.clone(), to_approve(field, was));
            }
        }
    }
    Value::Object(plain)
}

/// `value` with every object that it knows nothing of as it was in `before`; one that was not there is left out.
pub(crate) fn as_before(mut value: Value, before: &Value) -> Value {
    fill(&mut value, Some(before));
    value
}

fn fill(value: &mut Value, before: Option<&Value>) {
    let Value::Object(fields) = value else { return };
    // Any of the objects that are missing may be one of those without a name.
    if fields.get("").and_then(unknown).is_some() {
        for (name, was) in before.and_then(Value::as_object).into_iter().flatten() {
            fields.entry(name.clone()).or_insert_with(|| was.clone());
        }
    }
    fields.retain(|name, field| {
        let was = before.and_then(|before| before.get(name));
        match (unknown(field), was) {
            (Some(_), Some(was)) => *field = was.clone(),
            (Some(_), None) => return false,
            (None, was) => fill(field, was),
        }
        true
    });
}

/// Takes out of `approved` what it accepts as not watched and `read` can use, or does not have any more.
pub(crate) fn forget_mended(approved: &mut Value, read: Option<&Value>) {
    let Value::Object(fields) = approved else { return };
    fields.retain(|name, field| {
        let is = read.and_then(|read| read.get(name));
        forget_mended(field, is);
        unknown(field).is_none() || is.is_some_and(|is| unknown(is).is_some())
    });
}
