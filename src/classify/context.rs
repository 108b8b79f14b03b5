//! The context of a change: the names behind opaque ids, and the fields that are new in every object.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::diff::{Change, ChangeKind};
use crate::model::Pointer;
use crate::sections::{Section, Shape, Table};

/// A field that is new in all objects counts as added by the vendor if there are at least this many.
const MANY: usize = 3;

/// Characters of a name.
const LONGEST_NAME: usize = 1_000;

/// The context in which changes of an instance are classified. The default is empty.
#[derive(Debug, Clone, Default)]
pub struct ChangeContext {
    names: BTreeMap<String, String>,
    new_fields: BTreeSet<Pointer>,
}

impl ChangeContext {
    /// What the values of all sections, before and `after`, tell about `changes`, and about those that are `remembered`: an
    /// object that went again has its name there only. One section is looked at after the other, so that they may be read
    /// one by one.
    pub fn new<'a, 'r, V: Borrow<Value>>(
        table: &Table,
        before: impl IntoIterator<Item = (&'a str, V)>,
        after: impl IntoIterator<Item = (&'a str, V)>,
        changes: &[Change],
        remembered: impl IntoIterator<Item = &'r Change>,
    ) -> Self {
        let mut change_context = Self::default();
        let mut remembered = remembered.into_iter().peekable();
        if changes.is_empty() && remembered.peek().is_none() {
            return change_context;
        }
        let mut named: BTreeMap<(&str, String), String> = BTreeMap::new();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let list = |section| table.section(section).filter(|row| row.shape == Shape::List && row.each.is_empty());
        fn name_in(row: &Section, id: &str, object: &Value) -> String {
            let name = row.label.as_ref().and_then(|label| object.get(label)).and_then(Value::as_str);
            cut(name.filter(|name| !name.is_empty()).unwrap_or(id)).to_owned()
        }
        for change in remembered {
            if let ([section, id], Some(row)) = (change.path.tokens(), list(change.section())) {
                let object = if change.after.is_object() { &change.after } else { &change.before };
                named.insert((section, id.clone()), name_in(row, id, object));
            }
        }
        let before = before.into_iter().map(|side| (false, side));
        for (is_after, (section, value)) in before.chain(after.into_iter().map(|side| (true, side))) {
            let Some(row) = list(section) else { continue };
            let Some(objects) = value.borrow().as_object() else { continue };
            if is_after {
                counts.insert(section, objects.len());
            }
            for (id, object) in objects {
                named.insert((section, id.clone()), name_in(row, id, object));
            }
        }
        // Some ids are chosen by people: one that means something else in another section has no name of its own.
        for ((_, id), name) in named {
            let known = change_context.names.entry(id.clone()).or_insert_with(|| name.clone());
            if *known != name {
                id.clone_into(known);
            }
        }
        let mut seen: BTreeMap<Pointer, usize> = BTreeMap::new();
        for change in changes.iter().filter(|change| change.kind == ChangeKind::Added && !change.is_member) {
            *seen.entry(without_object(&change.path)).or_default() += 1;
        }
        for (section, objects) in counts {
            let is_everywhere = |(field, count): &(&Pointer, &usize)| {
                field.section() == section && **count == objects && objects >= MANY && field.tokens().len() > 2
            };
            let fields: Vec<_> = seen.iter().filter(is_everywhere).map(|(field, _)| field.clone()).collect();
            change_context.new_fields.extend(fields);
        }
        change_context
    }

    /// The name of the object with that id, or the id itself.
    pub(super) fn name_of<'a>(&'a self, id: &'a str) -> &'a str {
        self.names.get(id).map_or(id, String::as_str)
    }

    /// The place of `change` in any object, if every object of the section got it at once.
    pub(super) fn new_field(&self, change: &Change) -> Option<Pointer> {
        let field = without_object(&change.path);
        (change.kind == ChangeKind::Added && self.new_fields.contains(&field)).then_some(field)
    }
}

/// A length that people read.
fn cut(name: &str) -> &str {
    name.char_indices().nth(LONGEST_NAME).map_or(name, |(end, _)| name.get(..end).unwrap_or(name))
}

/// `/clients/abc/jwt/alg` as `/clients/*/jwt/alg`.
fn without_object(path: &Pointer) -> Pointer {
    let tokens = path.tokens().iter().enumerate();
    tokens.fold(Pointer::default(), |pointer, (place, token)| pointer.child(if place == 1 { "*" } else { token }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::finding::classify_in;
    use super::super::{Catalogue, NEW_FIELD};
    use super::*;
    use crate::model::{Direction, Provider, Severity};

    fn added(path: &str, after: Value) -> Change {
        let path = path.parse().unwrap();
        Change { path, kind: ChangeKind::Added, before: Value::Null, after, is_member: false }
    }

    fn drifts(clients: &Value, changes: Vec<Change>) -> Vec<(String, String, Severity)> {
        let table = Table::of(Provider::Auth0);
        let change_context = ChangeContext::new(table, [], [("clients", clients)], &changes, &[]);
        let catalogue = Catalogue::of(Provider::Auth0, None).unwrap();
        let drifts = changes.into_iter().map(|change| classify_in(&catalogue, &change_context, change));
        drifts.map(|drift| (drift.meaning.setting, drift.meaning.title, drift.meaning.severity)).collect()
    }

    #[test]
    fn an_object_has_its_name_in_every_title_also_where_another_section_refers_to_it() {
        let clients = json!({ "abc": { "name": "Storefront" }, "def": { "name": "" } });
        let titles: Vec<String> = drifts(
            &clients,
            vec![
                added("/clients/abc/cross_origin_authentication", json!(true)),
                added("/clients/def/cross_origin_authentication", json!(true)),
                added("/connections.clients/users/abc", json!({ "client_id": "abc" })),
            ],
        )
        .into_iter()
        .map(|(_, title, _)| title)
        .collect();
        assert!(titles[0].ends_with("(Storefront)"), "{titles:?}");
        assert!(titles[1].ends_with("(def)"), "{titles:?}");
        assert!(titles[2].contains("Storefront"), "{titles:?}");
    }

    #[test]
    fn an_object_keeps_its_name_when_nothing_differs_any_more_and_when_it_is_gone() {
        let table = Table::of(Provider::Auth0);
        let clients = json!({ "abc": { "name": "Storefront" } });
        let remembered = [
            added("/clients/abc/cross_origin_authentication", json!(true)),
            added("/clients/def", json!({ "name": "Back door" })),
        ];
        let change_context =
            ChangeContext::new(table, [("clients", &clients)], [("clients", &clients)], &[], &remembered);
        assert_eq!((change_context.name_of("abc"), change_context.name_of("def")), ("Storefront", "Back door"));
    }

    #[test]
    fn an_id_that_somebody_chose_gives_no_other_object_a_name() {
        let clients = json!({ "abc": { "name": "Storefront" } });
        let apis = json!({ "abc": { "name": "Toy" }, "users": { "name": "Toy" } });
        let connections = json!({ "users": {} });
        let after = [("clients", &clients), ("connections", &connections), ("resource-servers", &apis)];
        let changes = [added("/clients/abc/callbacks", json!(["x"])), added("/connections/users/options/x", json!(1))];
        let change_context = ChangeContext::new(Table::of(Provider::Auth0), [], after, &changes, &[]);
        assert_eq!((change_context.name_of("abc"), change_context.name_of("users")), ("abc", "users"));
    }

    #[test]
    fn a_field_that_every_object_got_at_once_is_the_vendors_and_one_line() {
        let clients = json!({ "a": {}, "b": {}, "c": {} });
        let new = |object: &str| added(&format!("/clients/{object}/unheard_of"), json!(1));
        let everywhere = drifts(&clients, vec![new("a"), new("b"), new("c")]);
        assert!(everywhere.iter().all(|drift| *drift == everywhere[0]), "{everywhere:?}");
        assert_eq!((everywhere[0].0.as_str(), everywhere[0].2), (NEW_FIELD, Severity::Info));
        let some = drifts(&clients, vec![new("a"), new("b")]);
        assert!(some.iter().all(|(setting, _, severity)| setting == "unclassified" && *severity == Severity::Medium));
        let known = added("/clients/a/cross_origin_authentication", json!(true));
        assert_ne!(drifts(&json!({ "a": {} }), vec![known])[0].0, NEW_FIELD, "one object is not every object");
    }

    #[test]
    fn an_absent_field_is_its_default_and_nothing_is_nothing() {
        let catalogue = Catalogue::of(Provider::Auth0, None).unwrap();
        let judge = |change| classify_in(&catalogue, &ChangeContext::default(), change);
        let longer = Change {
            kind: ChangeKind::Removed,
            before: json!(8),
            after: Value::Null,
            ..added("/tenants.settings/session_lifetime", Value::Null)
        };
        assert_eq!(judge(longer).meaning.direction, Direction::Weaker, "8 hours became the default of 168");
        assert_eq!(judge(added("/tenants.settings/unheard_of", json!([]))).meaning.severity, Severity::Info);
        assert_eq!(judge(added("/tenants.settings/unheard_of", json!([1]))).meaning.severity, Severity::Medium);
        let off = added("/connections/db/options/brute_force_protection", json!(false));
        assert_eq!(
            (judge(off.clone()).meaning.direction, judge(off).meaning.severity >= Severity::High),
            (Direction::Weaker, true)
        );
    }
}
