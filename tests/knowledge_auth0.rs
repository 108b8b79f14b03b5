//! What is known about Auth0 fits together: the simulator has an answer for every section, the table makes a canonical
//! document of it without a secret, and the catalogue describes every leaf.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};

use authdrift::canonical::{self, FingerprintKey, Redaction};
use authdrift::classify::Catalogue;
use authdrift::model::{Pattern, Pointer, Provider, State};
use authdrift::sections::{Each, Section, Table};
use authdrift::simulator::auth0::{Auth0, lantern_books};
use serde_json::{Map, Value, json};

/// What the document of `section` at `path` holds, out of its envelope.
fn document_at(section: &Section, path: &str) -> Option<Value> {
    let mut value = lantern_books().remove(path)?;
    if let (Some(name), Some(envelope)) = (&section.items, value.as_object_mut()) {
        value = envelope.remove(name).unwrap_or_else(|| panic!("{}: no list {name}", section.name));
    }
    if let (Some(wanted), Some(items)) = (section.query.get("is_global"), value.as_array_mut()) {
        items.retain(|item| item["global"] == json!(wanted == "true"));
    }
    Some(value)
}

/// Every value in `value` at a place the pattern describes.
fn found(pattern: &Pattern, value: &Value, place: &mut Vec<String>, values: &mut BTreeSet<String>) {
    if let (true, Some(text)) = (pattern.matches(place), value.as_str()) {
        values.insert(text.to_owned());
    }
    let parts: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(name, field)| (name.clone(), field)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(index, item)| (index.to_string(), item)).collect(),
        _ => Vec::new(),
    };
    for (name, part) in parts {
        place.push(name);
        found(pattern, part, place, values);
        place.pop();
    }
}

/// What takes the place of a name in braces, given the healthy tenant.
fn values_of(each: &Each) -> BTreeSet<String> {
    let (Some(parent), Some(pattern)) = (&each.of, &each.id) else { return each.names.iter().cloned().collect() };
    let parent = Table::of(Provider::Auth0).section(parent).unwrap();
    let mut values = BTreeSet::new();
    match document_at(parent, &parent.path).unwrap() {
        Value::Array(items) => items.iter().for_each(|item| found(pattern, item, &mut Vec::new(), &mut values)),
        object => found(pattern, &object, &mut Vec::new(), &mut values),
    }
    values
}

/// Every address the section is read at, with what took the place of the names in braces.
fn addresses(section: &Section) -> Vec<(String, Vec<String>)> {
    let start = vec![(section.path.clone(), Vec::new())];
    section.each.iter().fold(start, |addresses, each| {
        let values = values_of(each);
        let one = |(path, keys): &(String, Vec<String>), value: &String| {
            let keys = keys.iter().chain([value]).cloned().collect();
            (path.replace(&format!("{{{}}}", each.name), value), keys)
        };
        addresses
            .iter()
            .flat_map(|address| values.iter().map(|value| one(address, value)).collect::<Vec<_>>())
            .collect()
    })
}

/// The value of the section, a map of answers where there are several.
fn fetched(section: &Section) -> Value {
    let mut whole = Value::Null;
    for (path, keys) in addresses(section) {
        let Some(value) = document_at(section, &path) else { continue };
        let place = keys.into_iter().fold(&mut whole, |place, key| {
            if place.is_null() {
                *place = Value::Object(Map::new());
            }
            place.as_object_mut().unwrap().entry(key).or_insert(Value::Null)
        });
        *place = value;
    }
    assert!(!whole.is_null(), "{}: the simulator has no answer", section.name);
    whole
}

fn leaves(value: &Value, path: &Pointer, found: &mut BTreeMap<Pointer, Value>) {
    match value.as_object().filter(|fields| !fields.is_empty()) {
        Some(fields) => fields.iter().for_each(|(name, field)| leaves(field, &path.child(name), found)),
        None => drop(found.insert(path.clone(), value.clone())),
    }
}

#[test]
fn every_section_has_a_document_without_secrets_that_the_catalogue_describes() {
    let redaction = Redaction { key: FingerprintKey::new([7; 32]), keep_code: false };
    let catalogue = Catalogue::of(Provider::Auth0, None).unwrap();
    for section in Table::of(Provider::Auth0).sections() {
        let document = canonical::document(section, fetched(section), &redaction)
            .unwrap_or_else(|error| panic!("{}: {error}", section.name));
        assert!(!document.value().to_string().contains("CANARY"), "{}: {}", section.name, document.value());
        let mut found = BTreeMap::new();
        leaves(document.value(), &Pointer::of_section(&section.name), &mut found);
        for (path, value) in found {
            assert!(catalogue.setting_at(&path).is_some(), "no entry for {path}: {value}");
        }
    }
}

#[test]
fn every_address_is_answered_or_refused_in_a_known_way() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let auth0 = Auth0::lantern_books().await.unwrap();
        let (client, token) = (reqwest::Client::new(), auth0.issue_token());
        let table = Table::of(Provider::Auth0);
        for section in table.sections() {
            for (path, _) in addresses(section) {
                let url = reqwest::Url::parse_with_params(&format!("{}{path}", auth0.url()), &section.query).unwrap();
                let answer = client.get(url).bearer_auth(&token).send().await.unwrap();
                let status = answer.status().as_u16();
                let body: Value = answer.json().await.unwrap();
                let text = |name: &str| body[name].as_str().unwrap_or_default();
                let meaning = table.meaning_of(section, status, text("errorCode"), text("message"));
                assert!(status == 200 || meaning == Some(State::Off), "{}: {path}: {status} {body}", section.name);
            }
        }
    });
}
