//! The comparison itself.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::bounds;
use super::change::{Change, ChangeKind};
use crate::canonical::{
    Document, certificates, is_accepted, is_placeholder, is_same_number, large_placeholder, not_watched, to_approve,
    to_bytes, unknown,
};
use crate::model::{Digest, Pointer, State};
use crate::sections::Table;
use crate::snapshot::{Manifest, Reading, Snapshot};

/// One side of a comparison: what a section is, if anything is known about it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Side<'a> {
    /// It has this value.
    Value(&'a Value),
    /// It has the value of this document.
    Document(&'a Document),
    /// It has no value, for a reason that is itself a fact: [`State::Off`] or [`State::NotOnPlan`].
    Without(State),
    /// Nothing is known.
    Unknown,
}

impl<'a> Side<'a> {
    /// The side of a snapshot.
    pub fn of_reading(reading: Option<&'a Reading>) -> Self {
        match reading {
            Some(Reading::Value(document)) => Self::Document(document),
            Some(Reading::Without { state, .. }) if state.is_comparable() => Self::Without(*state),
            Some(Reading::Without { .. }) | None => Self::Unknown,
        }
    }

    /// The compared value: that of the section, or the state in its place.
    pub fn as_json(self) -> Option<Value> {
        match self {
            Self::Without(state) => Some(json!({ "state": state })),
            _ => self.value().map(Cow::into_owned),
        }
    }

    fn value(self) -> Option<Cow<'a, Value>> {
        match self {
            Self::Value(value) => Some(Cow::Borrowed(value)),
            Self::Document(document) => Some(Cow::Owned(document.read())),
            Self::Without(_) | Self::Unknown => None,
        }
    }

    /// The replacement of a value that is too large.
    fn stand_in(self) -> Value {
        match self {
            Self::Document(document) => large_placeholder(document.digest(), document.bytes().len()),
            Self::Value(value) => {
                let bytes = to_bytes(value);
                large_placeholder(&Digest::of(&bytes), bytes.len())
            }
            Self::Without(_) | Self::Unknown => json!({ "state": self.state() }),
        }
    }

    fn state(self) -> State {
        match self {
            Self::Value(_) | Self::Document(_) => State::Value,
            Self::Without(state) => state,
            Self::Unknown => State::Unreachable,
        }
    }
}

/// The key under which a list keeps that it holds objects without a usable name.
const UNNAMED: &str = "";

/// The sections that can be compared: both sides are known. A section in any other state says nothing, so nothing is
/// concluded from it, least of all a removal.
pub fn comparable(baseline: &Manifest, snapshot: &Snapshot) -> BTreeSet<String> {
    let is_known = |section: &String| {
        snapshot.sections.get(section).is_some_and(|reading| reading.state().is_comparable())
            && baseline.get(section).is_some_and(|mark| mark.state.is_comparable())
    };
    baseline.keys().filter(|section| is_known(section)).cloned().collect()
}

/// Every difference between what was approved and what was read, in the order of the paths.
///
/// `baseline` gives the approved side of a section. Sections with an unknown side are left out.
pub fn compare<'a>(table: &Table, baseline: impl Fn(&str) -> Side<'a>, snapshot: &Snapshot) -> Vec<Change> {
    compare_all(table, baseline, snapshot, compare_section)
}

/// The same for what an approval of `snapshot` approves, see [`compare_to_approve`].
pub fn compare_all_to_approve<'a>(
    table: &Table,
    baseline: impl Fn(&str) -> Side<'a>,
    snapshot: &Snapshot,
) -> Vec<Change> {
    compare_all(table, baseline, snapshot, compare_to_approve)
}

fn compare_all<'a>(
    table: &Table,
    baseline: impl Fn(&str) -> Side<'a>,
    snapshot: &Snapshot,
    compare: fn(&Table, &str, Side<'_>, Side<'_>, &mut Vec<Change>),
) -> Vec<Change> {
    let mut changes = Vec::new();
    for (section, reading) in &snapshot.sections {
        compare(table, section, baseline(section), Side::of_reading(Some(reading)), &mut changes);
    }
    bounds::of_all(&mut changes, |section| {
        [baseline(section), Side::of_reading(snapshot.sections.get(section))].map(Side::stand_in)
    });
    changes
}

/// Adds every difference between two sides of one section to `changes`; none when a side is unknown. More and larger ones
/// than anybody reads become fewer and smaller, see `bounds.rs`.
pub fn compare_section(table: &Table, section: &str, before: Side<'_>, after: Side<'_>, changes: &mut Vec<Change>) {
    // What has one digest has one value: it is not even read.
    if before == after || [before, after].contains(&Side::Unknown) {
        return;
    }
    let path = Pointer::of_section(section);
    let mut found = Vec::new();
    match (before, after) {
        (Side::Document(old), Side::Document(new)) if compare_members(table, &path, old, new, &mut found) => {}
        _ => match (before.value(), after.value()) {
            (Some(before), Some(after)) => compare_values(table, &path, &before, &after, &mut found),
            _ => found.push(Change {
                path,
                kind: ChangeKind::Changed,
                before: json!({ "state": before.state() }),
                after: json!({ "state": after.state() }),
                is_member: false,
            }),
        },
    }
    bounds::of_section(&mut found, section, || [before, after].map(Side::stand_in));
    changes.append(&mut found);
}

/// The same for what one baseline approves beyond another. Nothing that it holds goes without saying: where it marks an
/// object as unknown, that is a change.
///
/// # Security
/// What a reading could not use is neither there nor gone. If the same held for what is to be signed, an object could be
/// taken out of a proposal unseen by writing that it is unknown.
pub fn compare_to_approve(table: &Table, section: &str, before: Side<'_>, after: Side<'_>, changes: &mut Vec<Change>) {
    // Nothing is approved, and nothing has to be read.
    if before == after {
        return;
    }
    match after.value() {
        Some(value) => {
            let value = to_approve(&value, before.value().as_deref());
            compare_section(table, section, before, Side::Value(&value), changes);
        }
        None => compare_section(table, section, before, after, changes),
    }
}

/// Compares two objects of which only those members are read that differ. Answers whether they are such objects.
fn compare_members(table: &Table, path: &Pointer, old: &Document, new: &Document, changes: &mut Vec<Change>) -> bool {
    let (Some(old), Some(new)) = (old.members(), new.members()) else { return false };
    // What stands for something else is one value.
    if old.len() < 4 || new.len() < 4 {
        return false;
    }
    let read = |raw: &&RawValue| serde_json::from_str::<Value>(raw.get()).unwrap_or_default();
    let may_be_there = may_be_unnamed(old.get(UNNAMED).map(read).as_ref(), new.get(UNNAMED).map(read).as_ref());
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        let (was, is) = (old.get(name), new.get(name));
        if was.map(|raw| raw.get()) != is.map(|raw| raw.get()) {
            let (was, is) = (was.map(read), is.map(read));
            compare_member(table, &path.child(name), was.as_ref(), is.as_ref(), may_be_there, changes);
        }
    }
    true
}

/// Whether a missing member of a list may be among its objects without a usable name. Those that were approved as not watched
/// are others.
fn may_be_unnamed(was: Option<&Value>, is: Option<&Value>) -> bool {
    is.is_some_and(|is| unknown(is).is_some() && !is_accepted(UNNAMED, was, is))
}

/// Compares one member of two objects. `may_be_there` says that the list holds an object without a usable name, so that a
/// missing member may be that object.
fn compare_member(
    table: &Table,
    place: &Pointer,
    was: Option<&Value>,
    is: Option<&Value>,
    may_be_there: bool,
    changes: &mut Vec<Change>,
) {
    if changes.len() > bounds::MOST_OF_SECTION {
        return;
    }
    // An object that was unknown when the baseline was approved was not approved.
    match (was.filter(|value| unknown(value).is_none()), is) {
        // An object that cannot be used now is neither there nor gone.
        (_, Some(is)) if unknown(is).is_some() => {}
        (Some(_), None) if may_be_there => {}
        (Some(was), Some(is)) => compare_values(table, place, was, is, changes),
        // Vendors add and retire providers that are not switched on.
        (Some(one), None) | (None, Some(one)) if table.is_inert(place, one) => {}
        // Stated or not, it is what the vendor does anyway.
        (Some(one), None) | (None, Some(one)) if table.default_at(place) == Some(one) => {}
        (Some(was), None) => changes.push(change(ChangeKind::Removed, place, was, &Value::Null, false)),
        (None, Some(is)) => changes.push(change(ChangeKind::Added, place, &Value::Null, is, false)),
        (None, None) => {}
    }
}

/// A change with its values, or with what stands for one that is too large.
fn change(kind: ChangeKind, path: &Pointer, before: &Value, after: &Value, is_member: bool) -> Change {
    let kept = |value: &Value| bounds::kept(value, is_member);
    Change { path: path.clone(), kind, before: kept(before), after: kept(after), is_member }
}

fn compare_values(table: &Table, path: &Pointer, before: &Value, after: &Value, changes: &mut Vec<Change>) {
    // So many are one: more need not be found.
    if before == after || changes.len() > bounds::MOST_OF_SECTION {
        return;
    }
    match (before, after) {
        // A baseline that was approved before certificates were compared holds the text.
        (Value::String(text), certificate) | (certificate, Value::String(text))
            if is_placeholder(certificate) && certificates(text).as_ref() == Some(certificate) => {}
        // One number was spelled as the vendor spelled it before.
        _ if is_same_number(before, after) => {}
        // What stands for a secret or a text is one value: half a fingerprint is no setting.
        (Value::Object(old), Value::Object(new)) if ![before, after].into_iter().any(is_one_value) => {
            let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            let may_be_there = may_be_unnamed(old.get(UNNAMED), new.get(UNNAMED));
            for name in names {
                compare_member(table, &path.child(name), old.get(name), new.get(name), may_be_there, changes);
            }
        }
        (Value::Array(old), Value::Array(new)) if table.is_sequence(path) => {
            let kind = if sorted(old) == sorted(new) { ChangeKind::Reordered } else { ChangeKind::Changed };
            changes.push(change(kind, path, before, after, false));
        }
        // A set that was never written is null with some vendors: its members are what people care about.
        (Value::Array(_) | Value::Null, Value::Array(_) | Value::Null) if !table.is_sequence(path) => {
            let (old, new) = (members(before), members(after));
            if old.is_empty() && new.is_empty() {
                changes.push(change(ChangeKind::Changed, path, before, after, false));
            }
            let (known, found): (HashSet<&Value>, HashSet<&Value>) = (old.iter().collect(), new.iter().collect());
            let most = bounds::MOST_OF_SECTION + 1;
            for gone in old.iter().filter(|member| !found.contains(member)).take(most) {
                changes.push(change(ChangeKind::Removed, path, gone, &Value::Null, true));
            }
            for fresh in new.iter().filter(|member| !known.contains(member)).take(most) {
                changes.push(change(ChangeKind::Added, path, &Value::Null, fresh, true));
            }
        }
        _ => changes.push(change(ChangeKind::Changed, path, before, after, false)),
    }
}

/// Whether `value` is compared whole: it stands for something else, or for an object that is to be approved as not watched.
fn is_one_value(value: &Value) -> bool {
    is_placeholder(value) || not_watched(value).is_some()
}

/// The members of a set; null has none.
fn members(set: &Value) -> &[Value] {
    set.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn sorted(items: &[Value]) -> Vec<Vec<u8>> {
    let mut bytes: Vec<_> = items.iter().map(to_bytes).collect();
    bytes.sort_unstable();
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Provider;
    use proptest::prelude::*;

    fn changes(section: &str, before: Value, after: Value) -> Vec<(String, &'static str, Value, Value)> {
        let table = Table::of(Provider::Auth0);
        let reading = Reading::Value(Document::new(&after));
        let snapshot = Snapshot {
            instance: "auth0:test".parse().unwrap(),
            resource: "test.example".to_owned(),
            identifiers: crate::model::Resource::default(),
            sections: [(section.to_owned(), reading)].into(),
        };
        compare(table, |_| Side::Value(&before), &snapshot)
            .into_iter()
            .map(|change| (change.path.to_string(), change.kind.as_str(), change.before, change.after))
            .collect()
    }

    #[test]
    fn members_of_a_set_are_reported_one_by_one_at_the_set() {
        let found = changes("tenants.settings", json!({ "u": ["a", "b"] }), json!({ "u": ["b", "c"] }));
        let path = "/tenants.settings/u".to_owned();
        assert_eq!(
            found,
            [(path.clone(), "removed", json!("a"), Value::Null), (path, "added", Value::Null, json!("c"))]
        );
        let from_nothing = changes("tenants.settings", json!({ "u": null }), json!({ "u": ["c"] }));
        assert_eq!(from_nothing[0].1, "added");
        assert_eq!(changes("tenants.settings", json!({ "u": null }), json!({ "u": [] }))[0].1, "changed");
    }

    #[test]
    fn objects_come_and_go_whole_and_null_is_not_absent() {
        let found = changes("clients", json!({ "x": { "a": { "b": 1 } }, "n": null }), json!({ "y": { "a": 1 } }));
        let paths: Vec<_> = found.iter().map(|(path, kind, ..)| (path.as_str(), *kind)).collect();
        assert_eq!(paths, [("/clients/n", "removed"), ("/clients/x", "removed"), ("/clients/y", "added")]);
    }

    #[test]
    fn what_stands_for_a_secret_or_a_text_changes_whole() {
        let secret = |digits: &str| json!({ "s": { "fingerprint": format!("hmac-sha256:{digits}") } });
        let code = |digits: &str, size| json!({ "s": { "sha256": digits, "size": size } });
        for (before, after) in
            [(secret("00"), secret("11")), (code("00", 1), code("11", 2)), (secret("00"), json!({ "s": {} }))]
        {
            let found = changes("clients", before.clone(), after.clone());
            let expected = ("/clients/s".to_owned(), "changed", before["s"].clone(), after["s"].clone());
            assert_eq!(found, [expected]);
        }
    }

    #[test]
    fn the_text_of_a_certificate_is_that_certificate() {
        let text = include_str!("../canonical/certificate/idp.example.b64");
        let certificate = certificates(text).unwrap();
        let cert = |value: &Value| json!({ "okta": { "options": { "cert": value } } });
        assert!(changes("connections", cert(&json!(text)), cert(&certificate)).is_empty());
        let found = changes("connections", cert(&json!("another")), cert(&certificate));
        assert_eq!((found.len(), found[0].0.as_str()), (1, "/connections/okta/options/cert"));
    }

    #[test]
    fn an_object_that_cannot_be_used_is_neither_gone_nor_new() {
        let odd = json!({ "unknown": "two items have the name 'x'" });
        let (one, other) = (json!({ "v": 1 }), json!({ "v": 2 }));
        let before = json!({ "x": one, "y": one, "z": one });
        let table = [
            (before.clone(), json!({ "x": odd, "y": other, "z": one }), vec![("/clients/y/v", "changed")]),
            (before.clone(), json!({ "x": odd, "y": one }), vec![("/clients/z", "removed")]),
            // Nobody knows which one it is.
            (
                before.clone(),
                json!({ "": odd, "y": other, "w": one }),
                vec![("/clients/w", "added"), ("/clients/y/v", "changed")],
            ),
            (json!({ "x": odd, "y": one }), json!({ "x": one, "y": one }), vec![("/clients/x", "added")]),
            (json!({ "x": odd, "y": one }), json!({ "y": one }), vec![]),
            (json!({ "": odd, "y": one }), json!({ "y": one }), vec![]),
            (json!({ "x": odd }), json!({ "x": { "unknown": "another reason" } }), vec![]),
        ];
        for (before, after, expected) in table {
            let found = changes("clients", before, after);
            let found: Vec<_> = found.iter().map(|(path, kind, ..)| (path.as_str(), *kind)).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_sequence_in_another_order_is_reordered() {
        let path = |kind| vec![("/tenants.settings/enabled_locales".to_owned(), kind)];
        let locales = |items: Value| json!({ "enabled_locales": items });
        for (after, kind) in [(json!(["fr", "en"]), "reordered"), (json!(["en"]), "changed")] {
            let found = changes("tenants.settings", locales(json!(["en", "fr"])), locales(after));
            assert_eq!(found.into_iter().map(|(path, kind, ..)| (path, kind)).collect::<Vec<_>>(), path(kind));
        }
    }

    #[test]
    fn a_provider_nobody_switched_on_comes_and_goes_unnoticed() {
        let config = |provider: Value| json!({ "connection_oauth_new": provider });
        let (off, on) = (config(json!({ "enabled": false, "x": 1 })), config(json!({ "enabled": true, "x": 1 })));
        let table = Table::of(Provider::Clerk);
        let count = |before: &Value, after: &Value| {
            let mut found = Vec::new();
            compare_section(table, "platform.config", Side::Value(before), Side::Value(after), &mut found);
            found.iter().map(|change| change.path.to_string()).collect::<Vec<_>>()
        };
        assert!(count(&json!({}), &off).is_empty() && count(&off, &json!({})).is_empty());
        assert_eq!(count(&json!({}), &on), ["/platform.config/connection_oauth_new"]);
        assert_eq!(count(&on, &json!({})), ["/platform.config/connection_oauth_new"]);
        assert_eq!(count(&off, &on), ["/platform.config/connection_oauth_new/enabled"]);
    }

    #[test]
    fn nothing_is_concluded_from_a_section_that_could_not_be_read() {
        let table = Table::of(Provider::Auth0);
        let value = json!({ "a": 1 });
        for (state, expected) in
            [(State::NotPermitted, 0), (State::Unreachable, 0), (State::Off, 1), (State::NotOnPlan, 1)]
        {
            let snapshot = Snapshot {
                instance: "auth0:test".parse().unwrap(),
                resource: String::new(),
                identifiers: crate::model::Resource::default(),
                sections: [("clients".to_owned(), Reading::without(state, ""))].into(),
            };
            let found = compare(table, |_| Side::Value(&value), &snapshot);
            assert_eq!(found.len(), expected, "{state}");
            assert!(found.iter().all(|change| change.kind == ChangeKind::Changed), "{state}");
        }
    }

    proptest! {
        #[test]
        fn equal_values_have_no_change_and_different_ones_have_some(
            one in proptest::collection::btree_map("[a-c]", 0..3u8, 0..3),
            other in proptest::collection::btree_map("[a-c]", 0..3u8, 0..3),
        ) {
            let found = changes("clients", json!(one), json!(other));
            prop_assert_eq!(found.is_empty(), one == other);
        }
    }
}
