//! The difference as a JSON Patch (RFC 6902), and the way back.
//!
//! Both sides are objects with one entry per section that can be compared. Sets are replaced whole: positions in a
//! sorted list mean nothing to a person, and the patch stays exact.

use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation};
use serde_json::{Map, Value};

use super::compare::{Side, comparable};
use crate::canonical::{is_fingerprint, is_placeholder};
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

/// `patch` without fingerprints, which no vendor takes for the secret, and the paths of the secrets that it lacks now.
pub fn without_secrets(patch: Patch) -> (Patch, Vec<Pointer>) {
    let mut secrets = Vec::new();
    let mut is_writable = |operation: &mut PatchOperation| match operation {
        PatchOperation::Add(AddOperation { path, value })
        | PatchOperation::Replace(ReplaceOperation { path, value }) => {
            let path = path.tokens().fold(Pointer::default(), |path, token| path.child(&token.decoded()));
            keep_known(&path, value, &mut secrets)
        }
        _ => true,
    };
    let operations = patch.0.into_iter().filter_map(|mut operation| is_writable(&mut operation).then_some(operation));
    let operations = operations.collect();
    (Patch(operations), secrets)
}

/// Removes the secrets from `value`. Answers whether it is none itself.
fn keep_known(path: &Pointer, value: &mut Value, secrets: &mut Vec<Pointer>) -> bool {
    match value {
        secret if is_fingerprint(secret) => {
            secrets.push(path.clone());
            return false;
        }
        Value::Object(fields) => fields.retain(|name, field| keep_known(&path.child(name), field, secrets)),
        Value::Array(items) => items.retain_mut(|item| keep_known(path, item, secrets)),
        _ => {}
    }
    true
}

fn collect(path: &Pointer, before: &Value, after: &Value, operations: &mut Vec<PatchOperation>) {
    if before == after {
        return;
    }
    // Half a fingerprint is no setting: what stands for a secret is replaced whole, or not at all.
    let is_whole = is_placeholder(before) || is_placeholder(after);
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
    fn the_way_back_names_the_secrets_that_it_lacks() {
        let secret = json!({ "fingerprint": "hmac-sha256:00" });
        let before =
            json!({ "s": { "a": { "key": secret, "on": true }, "b": 1, "k/1": { "fingerprint": "hmac-sha256:11" } } });
        let after = json!({ "s": { "b": 2, "k/1": secret, "set": [secret, "x"] } });
        for (from, to, expected, lacks) in [
            (
                &after,
                &before,
                json!([
                    { "op": "replace", "path": "/s/b", "value": 1 },
                    { "op": "remove", "path": "/s/set" },
                    { "op": "add", "path": "/s/a", "value": { "on": true } },
                ]),
                vec!["/s/k~11", "/s/a/key"],
            ),
            (
                &before,
                &after,
                json!([
                    { "op": "remove", "path": "/s/a" },
                    { "op": "replace", "path": "/s/b", "value": 2 },
                    { "op": "add", "path": "/s/set", "value": ["x"] },
                ]),
                vec!["/s/k~11", "/s/set"],
            ),
        ] {
            let (patch, secrets) = without_secrets(patch(from, to));
            assert_eq!(serde_json::to_value(&patch).unwrap(), expected);
            assert_eq!(secrets.iter().map(ToString::to_string).collect::<Vec<_>>(), lacks);
        }
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
