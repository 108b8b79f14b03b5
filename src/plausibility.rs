//! Plausibility of a reading: so much can be gone at once that a broken answer is likelier than a change.
//!
//! An implausible section is read again at once, and held back if it stays implausible. It is accepted when the next cycle
//! reads the identical value, and reported as any other change.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use serde_json::value::RawValue;

use crate::canonical::{Document, as_before};
use crate::model::display_safe;
use crate::sections::{Section, Shape};

/// The least number of objects from all of which a field has to vanish to be suspect.
const MANY: usize = 3;

/// How deep within an object its fields are looked at.
const DEPTH: usize = 3;

/// Why `after` is implausible after `before`; both are documents of `section`. The objects of a list are
/// read one by one.
pub fn implausible(section: &Section, before: &Document, after: &Document) -> Option<String> {
    // Nothing is gone of what is unknown.
    if before.may_have_unknown() || after.may_have_unknown() {
        let before = as_before(before.read(), &Value::Null);
        return implausible_values(section, &before, &as_before(after.read(), &before));
    }
    if section.shape == Shape::List
        && section.each.is_empty()
        && let (Some(old), Some(new)) = (before.members(), after.members())
    {
        let fields = |raw: &&RawValue| fields(&serde_json::from_str(raw.get()).unwrap_or_default());
        return gone(section, &old, &new, fields, || None);
    }
    implausible_values(section, &before.read(), &after.read())
}

fn implausible_values(section: &Section, before: &Value, after: &Value) -> Option<String> {
    let (old, new) = (parts(section, before), parts(section, after));
    gone(section, &old, &new, |object| fields(object), || emptied(section, before, after))
}

/// Why the parts of a section are hard to believe that are `new`, after those that are `old`.
fn gone<P>(
    section: &Section,
    old: &BTreeMap<String, P>,
    new: &BTreeMap<String, P>,
    fields: impl Fn(&P) -> BTreeSet<String>,
    emptied: impl FnOnce() -> Option<String>,
) -> Option<String> {
    let what = match section.shape {
        Shape::Object if section.each.is_empty() => "fields",
        Shape::Set => "members",
        Shape::Object | Shape::List => "objects",
    };
    let kept: BTreeSet<&String> = old.keys().filter(|key| new.contains_key(*key)).collect();
    if old.len() >= 2 && kept.is_empty() && new.is_empty() {
        return Some(format!("all {} {what} are gone at once", old.len()));
    }
    if old.len() >= 2 && kept.len() * 2 < old.len() {
        return Some(format!("{} of {} {what} are gone at once", old.len() - kept.len(), old.len()));
    }
    if let Some(reason) = emptied() {
        return Some(reason);
    }
    if kept.len() < MANY || what != "objects" {
        return None;
    }
    let in_all = kept.iter().filter_map(|key| old.get(*key)).map(&fields);
    let in_all = in_all.reduce(|all, one| all.intersection(&one).cloned().collect())?;
    // Fields are looked for until all are found.
    let mut missed = in_all;
    for object in kept.iter().filter_map(|key| new.get(*key)) {
        if missed.is_empty() {
            return None;
        }
        let there = fields(object);
        missed.retain(|field| !there.contains(field));
    }
    let gone = missed.iter().min_by_key(|field| field.len())?;
    Some(format!("the field '{}' is gone from all {} {what} at once", display_safe(gone), kept.len()))
}

/// Why objects of `before` are hard to miss that another section still lists: each was refused as if it were not there.
pub fn refused(before: &Value, left_out: &BTreeSet<Vec<String>>) -> Option<String> {
    let was_there = |keys: &&Vec<String>| keys.iter().try_fold(before, |value, key| value.get(key)).is_some();
    let gone: Vec<&Vec<String>> = left_out.iter().filter(was_there).collect();
    let first = display_safe(&gone.first()?.join(" "));
    Some(match gone.len() {
        1 => format!("'{first}' is refused as if it were not there, and was read before"),
        count => {
            format!("'{first}' and {} more are refused as if they were not there, and were read before", count - 1)
        }
    })
}

/// Why a section with sub-resources is implausible: everything is gone in one of them, or in all.
fn emptied(section: &Section, before: &Value, after: &Value) -> Option<String> {
    if section.each.is_empty() {
        return None;
    }
    let what = if section.shape == Shape::Object { "fields" } else { "objects" };
    let (old, new) = (level(before, section.each.len()), level(after, section.each.len()));
    let count = |value: &Value| children("", value).len();
    for (name, value) in &old {
        let is_empty = new.get(name).is_some_and(|value| count(value) == 0);
        if is_empty && count(value) >= 2 {
            let name = display_safe(name.trim_start_matches('/'));
            return Some(format!("all {} {what} of '{name}' are gone at once", count(value)));
        }
    }
    let all: usize = old.values().map(|value| count(value)).sum();
    let is_empty = !new.is_empty() && new.values().all(|value| count(value) == 0);
    (all >= 2 && is_empty).then(|| format!("all {all} {what} are gone at once"))
}

/// The objects, members or fields of a canonical value, by name. Those of a section with sub-resources are the objects
/// of all of them.
fn parts<'a>(section: &Section, value: &'a Value) -> BTreeMap<String, &'a Value> {
    let is_flat = section.each.is_empty() || section.shape == Shape::Object;
    level(value, section.each.len().max(1) + usize::from(!is_flat))
}

/// The values at `depth` in a value, by name.
fn level(value: &Value, depth: usize) -> BTreeMap<String, &Value> {
    let mut level = vec![(String::new(), value)];
    for _ in 0..depth {
        level = level.into_iter().flat_map(|(name, value)| children(&name, value)).collect();
    }
    level.into_iter().collect()
}

fn children<'a>(name: &str, value: &'a Value) -> Vec<(String, &'a Value)> {
    match value {
        Value::Object(fields) => fields.iter().map(|(key, field)| (format!("{name}/{key}"), field)).collect(),
        Value::Array(items) => items.iter().map(|item| (format!("{name}/{item}"), item)).collect(),
        _ => Vec::new(),
    }
}

/// The fields of an object, and those of the objects in it.
fn fields(object: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut level = vec![(String::new(), object)];
    for _ in 0..DEPTH {
        let objects = level.into_iter().filter(|(_, value)| value.is_object());
        level = objects.flat_map(|(name, value)| children(&name, value)).collect();
        found.extend(level.iter().map(|(name, _)| name.clone()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Provider;
    use crate::sections::Table;
    use serde_json::json;

    fn implausibility_of(section: &str, before: Value, after: Value) -> Option<String> {
        let section = Table::of(Provider::Auth0).section(section).unwrap();
        let by_values = implausible_values(section, &before, &after);
        assert_eq!(implausible(section, &Document::new(&before), &Document::new(&after)), by_values);
        by_values
    }

    #[test]
    fn nothing_is_gone_of_what_is_unknown() {
        let odd = json!({ "unknown": "500" });
        let one = json!({ "p": 1, "q": 2 });
        let permissions = |admin: &Value| json!({ "admin": admin, "reader": one });
        let section = Table::of(Provider::Auth0).section("roles.permissions").unwrap();
        let implausibility_of =
            |after: Value| implausible(section, &Document::new(&permissions(&one)), &Document::new(&after));
        assert_eq!(implausibility_of(permissions(&odd)), None);
        assert_eq!(implausibility_of(json!({ "admin": odd, "": odd })), None);
        assert!(implausibility_of(json!({ "admin": odd, "reader": {} })).is_some());
        let (odd, known) = (Document::new(&permissions(&odd)), Document::new(&permissions(&one)));
        assert_eq!(implausible(section, &odd, &known), None);
    }

    fn clients(names: &[&str], fields: &Value) -> Value {
        Value::Object(names.iter().map(|name| ((*name).to_owned(), fields.clone())).collect())
    }

    #[test]
    fn so_much_at_once_is_hard_to_believe() {
        let full = json!({ "client_id": "x", "callbacks": ["a"], "jwt": { "alg": "RS256" } });
        let bare = json!({ "client_id": "x", "callbacks": ["a"], "jwt": {} });
        let all = clients(&["a", "b", "c", "d", "e"], &full);
        let table = [
            (clients(&[], &full), Some("all 5 objects are gone at once")),
            (clients(&["a"], &full), Some("4 of 5 objects are gone at once")),
            (clients(&["v", "w", "x", "y", "z"], &full), Some("5 of 5 objects are gone at once")),
            (
                clients(&["a", "b", "c", "d", "e"], &bare),
                Some("the field '/jwt/alg' is gone from all 5 objects at once"),
            ),
            (clients(&["a", "b", "c"], &full), None),
            (clients(&["a", "b", "c", "d", "e", "f"], &full), None),
        ];
        for (after, expected) in table {
            assert_eq!(implausibility_of("clients", all.clone(), after).as_deref(), expected);
        }
    }

    #[test]
    fn what_one_person_does_with_one_click_is_believed() {
        let one = json!({ "client_id": "x", "callbacks": [] });
        assert_eq!(implausibility_of("clients", clients(&["a"], &one), json!({})), None, "the only one");
        assert_eq!(implausibility_of("clients", clients(&["a", "b"], &one), clients(&["a"], &one)), None);
        let mut edited = clients(&["a", "b", "c"], &one);
        edited["a"].as_object_mut().unwrap().remove("callbacks");
        assert_eq!(implausibility_of("clients", clients(&["a", "b", "c"], &one), edited), None);
        assert_eq!(implausibility_of("guardian.policies", json!(["all-applications"]), json!([])), None);
        let settings = json!({ "flags": {}, "session_lifetime": 8, "sandbox_version": "22" });
        assert_eq!(
            implausibility_of("tenants.settings", settings, json!({ "flags": {}, "sandbox_version": "22" })),
            None
        );
    }

    #[test]
    fn what_belongs_to_one_object_of_many_does_not_vanish_silently() {
        let full = json!({ "a": {}, "b": {}, "c": {} });
        let roles = json!({ "editor": { "a": {}, "b": {} }, "owner": full, "reader": { "a": {} } });
        let table = [
            (
                json!({ "editor": {}, "owner": full, "reader": { "a": {} } }),
                Some("all 2 objects of 'editor' are gone at once"),
            ),
            (json!({ "editor": { "a": {}, "b": {} }, "owner": full, "reader": {} }), None),
            // The role itself is gone, and `roles` says so.
            (json!({ "owner": full, "reader": { "a": {} } }), None),
        ];
        for (after, expected) in table {
            assert_eq!(implausibility_of("roles.permissions", roles.clone(), after).as_deref(), expected);
        }
        let texts = json!({ "login": { "en": { "login": {} } }, "signup": { "en": { "signup": {} }, "fr": {} } });
        let empty = json!({ "login": { "en": {} }, "signup": { "en": {}, "fr": {} } });
        assert_eq!(
            implausibility_of("prompts.custom-text", texts, empty).as_deref(),
            Some("all 2 fields are gone at once")
        );
    }

    #[test]
    fn an_object_that_is_listed_and_refused_is_hard_to_miss() {
        let before = json!({ "login": { "en": {} }, "signup": { "en": {} } });
        let key = |prompt: &str| vec![prompt.to_owned(), "en".to_owned()];
        let reason = refused(&before, &[key("login"), key("other")].into());
        assert_eq!(reason.as_deref(), Some("'login en' is refused as if it were not there, and was read before"));
        assert_eq!(refused(&before, &[key("other")].into()), None);
    }

    #[test]
    fn an_object_that_lost_most_of_its_fields_is_hard_to_believe() {
        let settings = json!({ "flags": {}, "a": 1, "b": 2, "c": 3 });
        assert!(implausibility_of("tenants.settings", settings, json!({ "flags": {} })).is_some());
    }
}
