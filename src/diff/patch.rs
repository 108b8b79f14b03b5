//! The difference as a JSON Patch (RFC 6902), and the way back.
//!
//! Both sides are objects with one entry per section that can be compared. Sets are replaced whole: positions in a
//! sorted list mean nothing to a person, and the patch stays exact.

use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation};
use serde_json::{Map, Value};

use super::compare::{Side, comparable};
use crate::canonical::is_stand_in;
use crate::model::Pointer;
use crate::snapshot::{Manifest, Snapshot};

/// Both sides of a comparison as JSON: what was approved, what was read.
pub fn sides<'a>(manifest: &Manifest, baseline: impl Fn(&str) -> Side<'a>, snapshot: &'a Snapshot) -> (Value, Value) {
    let (mut before, mut after) = (Map::new(), Map::new());
    for section in comparable(manifest, snapshot) {
        let approved = baseline(&section).as_json();
        let read = Side::of_reading(snapshot.sections.get(&section)).as_json();
        if let (Some(approved), Some(read)) = (approved, read) {
            before.insert(section.clone(), approved);
            after.insert(section, read);
        }
    }
    (Value::Object(before), Value::Object(after))
}

/// The patch that turns `before` into `after` exactly.
pub fn patch(before: &Value, after: &Value) -> Patch {
    let mut operations = Vec::new();
    collect(&Pointer::default(), before, after, &mut operations);
    Patch(operations)
}

fn collect(path: &Pointer, before: &Value, after: &Value, operations: &mut Vec<PatchOperation>) {
    if before == after {
        return;
    }
    // Half a fingerprint is no setting: what stands for a secret is replaced whole, or not at all.
    let is_whole = is_stand_in(before) || is_stand_in(after);
    let (false, Value::Object(old), Value::Object(new)) = (is_whole, before, after) else {
        operations.push(PatchOperation::Replace(ReplaceOperation { path: in_patch(path), value: after.clone() }));
        return;
    };
    for (name, was) in old {
        match new.get(name) {
            Some(is) => collect(&path.child(name), was, is, operations),
            None => operations.push(PatchOperation::Remove(RemoveOperation { path: in_patch(&path.child(name)) })),
        }
    }
    for (name, is) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
        let path = in_patch(&path.child(name));
        operations.push(PatchOperation::Add(AddOperation { path, value: is.clone() }));
    }
}

fn in_patch(path: &Pointer) -> json_patch::jsonptr::PointerBuf {
    json_patch::jsonptr::PointerBuf::from_tokens(path.tokens())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf =
            prop_oneof![Just(Value::Null), any::<i8>().prop_map(Value::from), "[a-b~/]{0,2}".prop_map(Value::from)];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                proptest::collection::btree_map("[a-b~/]{0,2}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    #[test]
    fn what_stands_for_a_secret_is_replaced_whole() {
        let secret =
            |digits: &str| json!({ "s": { "client_secret": { "fingerprint": format!("hmac-sha256:{digits}") } } });
        for (from, to) in [(secret("00"), secret("11")), (secret("00"), json!({ "s": { "client_secret": {} } }))] {
            for (from, to) in [(&from, &to), (&to, &from)] {
                let patch = patch(from, to);
                let paths: Vec<String> = patch.0.iter().map(|operation| operation.path().to_string()).collect();
                assert_eq!(paths, ["/s/client_secret"]);
                let mut value = from.clone();
                json_patch::patch(&mut value, &patch).unwrap();
                assert_eq!(&value, to);
            }
        }
    }

    proptest! {
        #[test]
        fn applying_the_patch_gives_the_other_side_exactly(one in any_json(), other in any_json()) {
            let (before, after) = (json!({ "s": one }), json!({ "s": other }));
            for (from, to) in [(&before, &after), (&after, &before)] {
                let mut value = from.clone();
                json_patch::patch(&mut value, &patch(from, to)).unwrap();
                prop_assert_eq!(&value, to);
            }
        }
    }
}
