//! The shape that the answers of a section have.

use serde_json::Value;

use super::SectionRefusal;
use crate::model::State;
use crate::sections::{Section, Shape};

/// An answer of another kind than the section has is no reading of it.
pub(super) fn check_shape(section: &Section, value: &Value) -> Result<(), SectionRefusal> {
    match (section.shape, value) {
        (Shape::Object, Value::Object(_)) => check_fields(section, value, "the answer"),
        (Shape::List, Value::Array(items)) => {
            let mut troubles = items.iter().map(|item| match item.is_object() {
                true => check_fields(section, item, "an item"),
                false => Err(unexpected(section, &format!("an item is {}", kind_of(item)))),
            });
            let trouble = troubles.by_ref().find(Result::is_err);
            // Of a list whose items have names a few may be odd: they are unknown then, and the others are read.
            let has_names = section.key_at(&root(section)).is_some();
            match trouble {
                Some(trouble) if !has_names || items.iter().all(|item| section.missing_in(item).is_some()) => trouble,
                _ => Ok(()),
            }
        }
        (Shape::Set, Value::Array(items)) => match items.iter().find(|item| item.is_object() || item.is_array()) {
            Some(item) => Err(unexpected(section, &format!("a member is {}", kind_of(item)))),
            None => Ok(()),
        },
        (_, other) => Err(unexpected(section, &format!("it is {}", kind_of(other)))),
    }
}

fn check_fields(section: &Section, object: &Value, what: &str) -> Result<(), SectionRefusal> {
    if let Some(field) = section.requires.iter().find(|field| object.get(field.as_str()).is_none()) {
        return Err(unexpected(section, &format!("{what} has no '{field}'")));
    }
    match &section.scoped_field {
        Some(scoped) if object.get(&scoped.field).is_none() => {
            let reason = format!("{what} has no '{}': the credential needs {}", scoped.field, scoped.scope);
            Err(SectionRefusal::of(State::NotPermitted, reason))
        }
        _ => Ok(()),
    }
}

pub(super) fn unexpected(section: &Section, what: &str) -> SectionRefusal {
    SectionRefusal::unreachable(format!("not an answer of section {}: {what}", section.name))
}

/// Where the items of the section are in it.
pub(super) fn root(section: &Section) -> Vec<String> {
    vec!["*".to_owned(); section.each.len()]
}

pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
