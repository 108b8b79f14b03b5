//! What is known beside a change: the names behind opaque ids, and which fields are new everywhere.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::diff::{Change, ChangeKind};
use crate::model::Pointer;
use crate::sections::{Shape, Table};

/// Objects with the same new field from which on it is the vendor's doing and nobody's change.
const MANY: usize = 3;

/// What is known about an instance beside one change of it. The default knows nothing.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    names: BTreeMap<String, String>,
    new_fields: BTreeSet<Pointer>,
}

impl Surroundings {
    /// What the values of all sections, before and `after`, tell about `changes`.
    pub fn new<'a>(
        table: &Table,
        before: impl IntoIterator<Item = (&'a str, &'a Value)>,
        after: impl IntoIterator<Item = (&'a str, &'a Value)>,
        changes: &[Change],
    ) -> Self {
        let mut surroundings = Self::default();
        if changes.is_empty() {
            return surroundings;
        }
        let after: Vec<_> = after.into_iter().collect();
        for (section, value) in before.into_iter().chain(after.iter().copied()) {
            let label = table.section(section).and_then(|section| section.label.as_ref());
            let (Some(label), Some(objects)) = (label, value.as_object()) else { continue };
            for (id, object) in objects {
                if let Some(name) = object.get(label).and_then(Value::as_str).filter(|name| !name.is_empty()) {
                    surroundings.names.insert(id.clone(), name.to_owned());
                }
            }
        }
        let mut seen: BTreeMap<Pointer, usize> = BTreeMap::new();
        for change in changes.iter().filter(|change| change.kind == ChangeKind::Added && !change.is_member) {
            *seen.entry(without_object(&change.path)).or_default() += 1;
        }
        for (section, value) in after {
            let is_list = table.section(section).is_some_and(|row| row.shape == Shape::List && row.each.is_empty());
            let objects = value.as_object().filter(|_| is_list).map_or(0, |objects| objects.len());
            let is_everywhere = |(field, count): &(&Pointer, &usize)| {
                field.section() == section && **count == objects && objects >= MANY && field.tokens().len() > 2
            };
            let fields: Vec<_> = seen.iter().filter(is_everywhere).map(|(field, _)| field.clone()).collect();
            surroundings.new_fields.extend(fields);
        }
        surroundings
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

/// `/clients/abc/jwt/alg` as `/clients/*/jwt/alg`.
fn without_object(path: &Pointer) -> Pointer {
    let tokens = path.tokens().iter().enumerate();
    tokens.fold(Pointer::default(), |pointer, (place, token)| pointer.child(if place == 1 { "*" } else { token }))
}
