//! The built-in rules against their own examples, the section tables and the catalogue.

mod examples;
mod knowledge;
mod signed;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::{AuditInput, Example, OwnFacts, Profile, RuleResult, RuleSet, evaluate};
use crate::canonical::{self, Document};
use crate::model::{InstanceId, Pointer, Provider, Resource, State};
use crate::sections::{Shape, Table};
use crate::snapshot::{Reading, Snapshot};

fn now() -> DateTime<Utc> {
    "2026-12-01T00:00:00Z".parse().unwrap()
}

/// The snapshot that has what the example says, and nothing else.
fn snapshot(provider: Provider, example: &Example) -> Snapshot {
    let mut values: BTreeMap<String, Value> = BTreeMap::new();
    let mut sections = BTreeMap::new();
    for (path, value) in example {
        let path: Pointer = path.parse().unwrap();
        let state = value.as_str().and_then(State::from_word);
        match (path.tokens(), state) {
            ([section], Some(state)) => {
                sections.insert(section.clone(), Reading::without(state, "said by the example"));
            }
            _ => put(values.entry(path.section().to_owned()).or_insert(Value::Null), &path.tokens()[1..], value),
        }
    }
    for (section, mut value) in values {
        complete(provider, &section, &mut value);
        sections.insert(section, Reading::Value(Document::new(&value)));
    }
    let instance = InstanceId::new(provider, "example");
    Snapshot { instance, resource: String::new(), identifiers: Resource::default(), sections }
}

fn put(place: &mut Value, tokens: &[String], value: &Value) {
    let Some((token, rest)) = tokens.split_first() else {
        *place = value.clone();
        return;
    };
    if !place.is_object() {
        *place = Value::Object(Map::new());
    }
    put(place.as_object_mut().unwrap().entry(token.clone()).or_insert(Value::Null), rest, value);
}

/// Gives every object the field that only a missing scope takes away, so that examples need not have it.
fn complete(provider: Provider, section: &str, value: &mut Value) {
    let row = Table::of(provider).section(section).unwrap_or_else(|| panic!("no section {section}"));
    let Some(scoped) = row.scoped_field.as_ref().filter(|_| row.shape == Shape::List && row.each.is_empty()) else {
        return;
    };
    for object in value.as_object_mut().into_iter().flat_map(Map::values_mut) {
        if canonical::unknown(object).is_none()
            && let Some(fields) = object.as_object_mut()
        {
            let filler = if scoped.field == "options" { json!({}) } else { json!(true) };
            fields.entry(scoped.field.clone()).or_insert(filler);
        }
    }
}

fn results_of(rule: &str, snapshot: &Snapshot, profile: Profile, own: Option<OwnFacts>) -> Vec<RuleResult> {
    let mut results = evaluate(RuleSet::built_in(), snapshot, &AuditInput { profile, now: now(), own });
    results.retain(|result| result.rule.id == rule);
    results
}
