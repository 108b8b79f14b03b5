//! How much one comparison may find. Each change is kept several times, in tables, history and messages, and people read a
//! few: values that are too large are represented by digest and size, and a section with too many changes is one change.
//!
//! A digest in the place of a value is classified by the worst setting that the value may hold, see `classify`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::change::{Change, ChangeKind};
use crate::canonical::{is_large_placeholder, large_placeholder, to_bytes, weight};
use crate::model::{Digest, Pointer};

/// The largest value, in bytes of its canonical form.
const LARGEST: usize = 64 << 10;

/// The largest member of a set: it is what tells one change of the set from another.
const LARGEST_MEMBER: usize = 4 << 10;

/// The memory of the values of all changes together, in bytes.
const MOST_TOGETHER: usize = 6 << 20;

/// Values that are so small always stay.
const SMALL: usize = 512;

/// Changes of one section, and of all.
pub(super) const MOST_OF_SECTION: usize = 2_000;
const MOST: usize = 4_000;

/// `value` as it is kept in a change: itself, or what stands for it.
pub(super) fn kept(value: &Value, is_member: bool) -> Value {
    let most = if is_member { LARGEST_MEMBER } else { LARGEST };
    // Nothing weighs less than it has characters, but for a few that are escaped.
    if weight(value) <= most {
        return value.clone();
    }
    let bytes = to_bytes(value);
    if bytes.len() <= most { value.clone() } else { large_placeholder(&Digest::of(&bytes), bytes.len()) }
}

/// Bounds the changes of one section; `stand_ins` gives what stands for both sides of it.
pub(super) fn of_section(changes: &mut Vec<Change>, section: &str, stand_ins: impl FnOnce() -> [Value; 2]) {
    if changes.len() > MOST_OF_SECTION {
        *changes = vec![whole(section, stand_ins())];
    }
    together(changes);
}

/// Bounds the changes of all sections.
pub(super) fn of_all(changes: &mut Vec<Change>, stand_ins: impl Fn(&str) -> [Value; 2]) {
    while changes.len() > MOST {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        changes.iter().for_each(|change| *counts.entry(change.section()).or_default() += 1);
        let Some((most, _)) = counts.into_iter().max_by_key(|(_, count)| *count) else { return };
        let most = most.to_owned();
        let place = changes.iter().position(|change| change.section() == most).unwrap_or_default();
        changes.retain(|change| change.section() != most);
        changes.insert(place.min(changes.len()), whole(&most, stand_ins(&most)));
    }
    together(changes);
}

/// One change for all of a section.
fn whole(section: &str, [before, after]: [Value; 2]) -> Change {
    Change { path: Pointer::of_section(section), kind: ChangeKind::Changed, before, after, is_member: false }
}

/// Replaces the largest values until all of them together are small enough.
fn together(changes: &mut [Change]) {
    let weights = |change: &Change| [weight(&change.before), weight(&change.after)];
    let all: Vec<usize> = changes.iter().filter(|change| !change.is_member).flat_map(weights).collect();
    let mut most = LARGEST * 64;
    while most > SMALL && all.iter().filter(|weight| **weight <= most).sum::<usize>() > MOST_TOGETHER {
        most /= 2;
    }
    let is_too_heavy = |value: &Value| weight(value) > most && is_large_placeholder(value).is_none();
    for change in changes.iter_mut().filter(|change| !change.is_member) {
        for value in [&mut change.before, &mut change.after] {
            if is_too_heavy(value) {
                let bytes = to_bytes(value);
                *value = large_placeholder(&Digest::of(&bytes), bytes.len());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn added(name: &str, after: Value) -> Change {
        let path = format!("/clients/{name}").parse().unwrap();
        Change { path, kind: ChangeKind::Added, before: Value::Null, after, is_member: false }
    }

    #[test]
    fn a_value_above_64_kib_is_represented_by_digest_and_size() {
        for (length, is_kept) in [(10, true), (LARGEST - 2, true), (LARGEST - 1, false), (4 << 20, false)] {
            let value = json!("x".repeat(length));
            let kept = kept(&value, false);
            assert_eq!(kept == value, is_kept, "{length}");
            assert!(crate::canonical::is_same(&kept, &value), "{length}");
            if !is_kept {
                assert_eq!(is_large_placeholder(&kept).unwrap().1, u64::try_from(length + 2).unwrap());
            }
        }
        assert!(is_large_placeholder(&kept(&json!("x".repeat(LARGEST_MEMBER)), true)).is_some());
    }

    #[test]
    fn the_largest_of_many_values_go_first() {
        let mut changes: Vec<Change> = (0..300).map(|at| added(&at.to_string(), json!("x".repeat(60_000)))).collect();
        changes.push(added("small", json!({ "name": "a" })));
        of_section(&mut changes, "clients", || unreachable!());
        assert_eq!(changes.last().unwrap().after, json!({ "name": "a" }));
        let left: usize = changes.iter().map(|change| weight(&change.after)).sum();
        assert!(changes.len() == 301 && left < MOST_TOGETHER, "{left}");
    }

    #[test]
    fn too_many_changes_are_one() {
        let many = |section: &str, count: usize| -> Vec<Change> {
            let path = |at: usize| format!("/{section}/{at}").parse().unwrap();
            (0..count).map(|at| Change { path: path(at), ..added("", json!(at)) }).collect()
        };
        let sides = [json!(1), json!(2)];
        let mut changes = many("clients", MOST_OF_SECTION + 1);
        of_section(&mut changes, "clients", || sides.clone());
        assert_eq!(changes, [whole("clients", sides.clone())]);
        let mut changes: Vec<Change> =
            ["a", "b", "c"].iter().zip([1_500, 1_600, 1_400]).flat_map(|(name, count)| many(name, count)).collect();
        of_all(&mut changes, |_| sides.clone());
        let collapsed: Vec<&Change> = changes.iter().filter(|change| change.path.tokens().len() == 1).collect();
        assert_eq!((changes.len(), collapsed), (2_901, vec![&whole("b", sides)]));
    }
}
