//! Differences that only follow from another one, such as those of one click.
//!
//! Deleting a connection also takes away what is read for each connection, and switching a factor on brings the sections
//! that are read only while it is on. Such a change is one entry.

use crate::diff::Change;
use crate::sections::{Section, Table};

/// For each of `changes` of one vendor: which of them it follows from, if any. That one follows from none.
pub(super) fn causes(table: &Table, changes: &[&Change]) -> Vec<Option<usize>> {
    let direct: Vec<Option<usize>> = changes.iter().map(|change| cause(table, changes, change)).collect();
    let root = |first: usize| {
        // No section depends on itself, so this ends before every one was seen; a table that breaks the rule ends it too.
        let mut at = first;
        for _ in changes {
            match direct.get(at).copied().flatten() {
                Some(next) => at = next,
                None => break,
            }
        }
        at
    };
    (0..changes.len()).map(|number| Some(root(number)).filter(|root| *root != number)).collect()
}

fn cause(table: &Table, changes: &[&Change], change: &Change) -> Option<usize> {
    let section = table.section(change.section())?;
    match change.path.tokens() {
        [_] => switched_by(section, changes),
        [_, key] => went_with(section, key, change, changes),
        _ => None,
    }
}

/// The object of another section for which `key` was read, when both came or both went.
fn went_with(section: &Section, key: &str, change: &Change, changes: &[&Change]) -> Option<usize> {
    let parents: Vec<&str> = section.each.iter().filter_map(|each| each.of.as_deref()).collect();
    changes.iter().position(|other| {
        let is_whole = |(of, name): (&str, &str)| parents.contains(&of) && name == key;
        let names = match other.path.tokens() {
            [of, name] => Some((of.as_str(), name.as_str())),
            _ => None,
        };
        other.kind == change.kind && names.is_some_and(is_whole)
    })
}

/// The object of another section without which there is nothing to read.
fn switched_by(section: &Section, changes: &[&Change]) -> Option<usize> {
    let when = section.when.as_ref()?;
    let name = when.fields.get("name").and_then(serde_json::Value::as_str);
    changes.iter().position(|other| match other.path.tokens() {
        [of, object] => *of == when.of && name.is_none_or(|name| name == object),
        [of, object, field] => {
            *of == when.of && name.is_some_and(|name| name == object) && when.fields.contains_key(field)
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::diff::ChangeKind;
    use crate::model::Provider;

    fn change(path: &str, kind: ChangeKind, before: Value, after: Value) -> Change {
        Change { path: path.parse().unwrap(), kind, before, after, is_member: false }
    }

    fn gone(path: &str) -> Change {
        change(path, ChangeKind::Removed, json!({}), Value::Null)
    }

    fn found(changes: &[Change]) -> Vec<Option<usize>> {
        causes(Table::of(Provider::Auth0), &changes.iter().collect::<Vec<_>>())
    }

    fn state(section: &str) -> Change {
        let (off, on) = (json!({ "state": "off" }), json!({ "state": "value" }));
        change(&format!("/{section}"), ChangeKind::Changed, off, on)
    }

    #[test]
    fn what_is_read_for_each_object_goes_with_the_object() {
        let changes =
            [gone("/organizations.connections/acme"), gone("/organizations/acme"), gone("/organizations/other")];
        assert_eq!(found(&changes), [Some(1), None, None]);
        let other = [gone("/organizations.connections/acme"), gone("/organizations/other")];
        assert_eq!(found(&other), [None, None], "another object");
        let added = change("/organizations/acme", ChangeKind::Added, Value::Null, json!({}));
        assert_eq!(found(&[gone("/organizations.connections/acme"), added]), [None, None], "the other way");
        assert_eq!(found(&[gone("/organizations.connections/acme/con_1"), gone("/organizations/acme")]), [None, None]);
    }

    #[test]
    fn what_is_read_only_while_a_factor_is_on_comes_with_the_factor() {
        let on = |factor: &str| {
            change(&format!("/guardian.factors/{factor}/enabled"), ChangeKind::Changed, json!(false), json!(true))
        };
        let section = "guardian.factors.phone.message-types";
        assert_eq!(found(&[on("duo"), state(section), on("sms")]), [None, Some(2), None]);
        assert_eq!(found(&[state(section), on("duo")]), [None, None], "another factor");
    }

    #[test]
    fn every_section_of_the_table_leads_to_one_that_follows_from_none() {
        for provider in Provider::ALL {
            let table = Table::of(provider);
            let changes: Vec<Change> =
                table.sections().iter().map(|section| gone(&format!("/{}/x", section.name))).collect();
            let found = causes(table, &changes.iter().collect::<Vec<_>>());
            assert!(found.iter().flatten().all(|root| found[*root].is_none()), "{provider}");
            assert!(provider == Provider::Clerk || found.iter().flatten().count() > 5, "{provider}");
        }
    }
}
