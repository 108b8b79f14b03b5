//! Approvals for a time that is over: the value of the baseline before counts again.
//!
//! A baseline takes the ends of the one before over for what it does not approve anew. So the value before may itself be
//! one that is over, and it is looked for further back, until there is one that is not.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Approved, Untrusted, load_document};
use crate::canonical::Document;
use crate::model::{Digest, Pointer};
use crate::trust::Subject;

type LoadDocument<'a> = &'a dyn Fn(&Digest) -> Option<Vec<u8>>;

/// What counts at `now` as the value of those sections of the last of `links` in which something is over.
///
/// # Errors
/// A document of a baseline before is missing or damaged. Nothing is compared then: taking the newer value for it would
/// hide what is over.
pub(super) fn documents(
    links: &[Approved],
    now: DateTime<Utc>,
    stored: LoadDocument<'_>,
) -> Result<BTreeMap<String, Document>, Untrusted> {
    let Some(newest) = links.last() else { return Ok(BTreeMap::new()) };
    let sections: BTreeSet<&str> = over(&newest.subject, now).map(Pointer::section).collect();
    let value = |section: &str| Ok((section.to_owned(), Document::new(&value_of(links, section, now, stored)?)));
    sections.into_iter().map(value).collect()
}

fn over(subject: &Subject, now: DateTime<Utc>) -> impl Iterator<Item = &Pointer> {
    subject.until.iter().filter(move |(_, end)| end.0 <= now).map(|(path, _)| path)
}

fn value_of(
    links: &[Approved],
    section: &str,
    now: DateTime<Utc>,
    stored: LoadDocument<'_>,
) -> Result<Value, Untrusted> {
    let missing = || Untrusted::DocumentMissing { section: section.to_owned() };
    let (newest, before) = links.split_last().ok_or_else(missing)?;
    let digest = newest.subject.sections.get(section).and_then(|mark| mark.digest.as_ref());
    let mut value = load_document(section, digest, stored)?.value().clone();
    let mut paths = over(&newest.subject, now).filter(|path| path.section() == section).peekable();
    if paths.peek().is_some() {
        let old = value_of(before, section, now, stored)?;
        for path in paths {
            put_back(&mut value, &old, path.tokens().get(1..).unwrap_or_default());
        }
    }
    Ok(value)
}

/// Gives `value` at `tokens` what `old` has there. Where it has no such place any more, the whole of the missing part.
fn put_back(value: &mut Value, old: &Value, tokens: &[String]) {
    let Some((token, rest)) = tokens.split_first() else {
        *value = old.clone();
        return;
    };
    match (value.as_object_mut(), old.get(token)) {
        (Some(object), None) if rest.is_empty() => {
            object.remove(token);
        }
        // Neither has the place.
        (Some(object), None) if !object.contains_key(token) => {}
        (Some(object), None) => {
            if let Some(child) = object.get_mut(token) {
                put_back(child, &Value::Null, rest);
            }
        }
        (Some(object), Some(before)) => match object.get_mut(token) {
            Some(child) => put_back(child, before, rest),
            None => {
                object.insert(token.clone(), before.clone());
            }
        },
        // No object any more: all of it, rather than nothing.
        (None, _) => *value = old.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_place_is_put_back_and_nothing_else() {
        let table = [
            ("a value", json!({"a": 2, "b": 9}), json!({"a": 1, "b": 8}), "/a", json!({"a": 1, "b": 9})),
            ("a set", json!({"s": ["x", "y"]}), json!({"s": ["x"]}), "/s", json!({"s": ["x"]})),
            ("a field that was added", json!({"a": 2, "b": 9}), json!({"b": 8}), "/a", json!({"b": 9})),
            ("a field that was removed", json!({"b": 9}), json!({"a": 1, "b": 8}), "/a", json!({"a": 1, "b": 9})),
            ("an object that was added", json!({"o": {"a": 1}}), json!({}), "/o", json!({})),
            ("an object that was removed", json!({}), json!({"o": {"a": 1}}), "/o", json!({"o": {"a": 1}})),
            ("deeper", json!({"o": {"a": 2, "b": 3}}), json!({"o": {"a": 1}}), "/o/a", json!({"o": {"a": 1, "b": 3}})),
            ("with its object gone", json!({}), json!({"o": {"a": 1}}), "/o/a", json!({"o": {"a": 1}})),
            ("with its object new", json!({"o": {"a": 2, "b": 3}}), json!({}), "/o/a", json!({"o": {"b": 3}})),
            ("in what is none any more", json!({"o": 5}), json!({"o": {"a": 1}}), "/o/a", json!({"o": {"a": 1}})),
            ("nowhere", json!({"b": 3}), json!({"b": 4}), "/o/a", json!({"b": 3})),
            ("the whole section", json!([1, 2]), json!([1]), "", json!([1])),
        ];
        for (name, mut value, old, path, expected) in table {
            let tokens: Vec<String> = path.split('/').skip(1).map(str::to_owned).collect();
            put_back(&mut value, &old, &tokens);
            assert_eq!(value, expected, "{name}");
        }
    }
}
