//! What is not compared is a list of single fields, each with a reason: no entry of the tables may cover an object, because
//! a vendor can add a setting to it, and a change of that setting would be silent.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;

use authdrift::model::Provider;
use authdrift::sections::{Api, Section, Table};
use serde_json::Value;

use crate::support::fixtures;

/// Objects below `value` that an entry of the table covers whole.
fn covered(section: &Section, value: &Value, path: &mut Vec<String>, found: &mut BTreeSet<String>) {
    let is_subtree = match value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => items.iter().any(|item| item.is_object() || item.is_array()),
        _ => false,
    };
    if let (true, Some(why)) = (is_subtree, section.why_volatile(path)) {
        found.insert(format!("{} /{}: \"{why}\"", section.name, path.join("/")));
    }
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, field)| {
            path.push(name.clone());
            covered(section, field, path, found);
            path.pop();
        }),
        Value::Array(items) => {
            path.push("*".to_owned());
            items.iter().for_each(|item| covered(section, item, path, found));
            path.pop();
        }
        _ => {}
    }
}

#[test]
fn an_entry_names_one_field_and_has_a_reason() {
    for provider in Provider::ALL {
        for section in Table::of(provider).sections() {
            for volatile in section.volatile() {
                let what = format!("{} {:?}", section.name, volatile.why);
                assert!(volatile.why.len() > 10 && !volatile.why.ends_with('.'), "{what}: no reason");
                assert!(!volatile.paths.is_empty(), "{what}: nothing");
                for pattern in &volatile.paths {
                    let name = pattern.to_string().rsplit('/').next().unwrap().to_owned();
                    assert!(
                        !name.contains('*') && !pattern.to_string().contains("**"),
                        "{what}: {pattern} is many fields"
                    );
                }
            }
        }
    }
}

#[test]
fn no_entry_covers_an_object_of_an_answer() {
    let mut found = BTreeSet::new();
    for tenant in fixtures::tenants() {
        let table = Table::of(tenant.provider);
        for (name, value) in &tenant.sections {
            covered(table.section(name).unwrap(), value, &mut Vec::new(), &mut found);
        }
    }
    assert!(found.is_empty(), "list the fields that are meant, each with its reason: {found:#?}");
}

/// A value that has every field of the schema: objects and lists as they are, anything else as null.
fn sample(schema: &Value, whole: &Value, depth: usize) -> Value {
    if depth == 0 {
        return Value::Null;
    }
    if let Some(reference) = schema["$ref"].as_str() {
        return sample(whole.pointer(reference.trim_start_matches('#')).unwrap(), whole, depth);
    }
    let mut fields = serde_json::Map::new();
    for part in ["allOf", "oneOf", "anyOf"].iter().filter_map(|kind| schema[*kind].as_array()).flatten() {
        match sample(part, whole, depth) {
            Value::Object(more) => fields.extend(more),
            Value::Array(items) => return Value::Array(items),
            _ => {}
        }
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        fields.insert(name.clone(), sample(field, whole, depth - 1));
    }
    if schema["additionalProperties"].is_object() {
        fields.insert("any".to_owned(), sample(&schema["additionalProperties"], whole, depth - 1));
    }
    match schema["items"].is_object() {
        true => Value::Array(vec![sample(&schema["items"], whole, depth - 1)]),
        false if fields.is_empty() => Value::Null,
        false => Value::Object(fields),
    }
}

#[test]
fn no_entry_covers_an_object_of_a_schema() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/specs/clerk");
    if !folder.is_dir() {
        let words = "SKIPPED: no ../shared/specs, so the schemas of the APIs were not looked at\n";
        std::io::stderr().write_all(words.as_bytes()).unwrap();
        return;
    }
    let read = |file: &str| -> Value {
        serde_yaml_ng::from_str(&std::fs::read_to_string(folder.join(file)).unwrap()).unwrap()
    };
    let files = [
        (Api::Backend, read("bapi-2026-05-12.yml")),
        (Api::Platform, read("platform-beta.yml")),
        (Api::Frontend, read("fapi-2026-05-12.yml")),
    ];
    let (mut found, mut seen) = (BTreeSet::new(), 0);
    for section in Table::of(Provider::Clerk).sections() {
        let whole = &files.iter().find(|(api, _)| *api == section.api).unwrap().1;
        let alike = |path: &str| {
            let (one, other) = (section.path.trim_start_matches("/v1"), path.trim_start_matches("/v1"));
            one.split('/').count() == other.split('/').count()
                && one.split('/').zip(other.split('/')).all(|(one, other)| one == other || other.starts_with('{'))
        };
        let paths = whole["paths"].as_object().unwrap();
        let Some((_, operations)) = paths.iter().find(|(path, _)| alike(path)) else { continue };
        let answer = &operations["get"]["responses"]["200"];
        let answer = answer["$ref"].as_str().map_or(answer, |reference| whole.pointer(&reference[1..]).unwrap());
        let schema = &answer["content"]["application/json"]["schema"];
        let mut value = sample(schema, whole, 9);
        if let Some(items) = section.items.as_ref().and_then(|items| value.get(items)) {
            value = items.clone();
        }
        let mut path = vec!["*".to_owned(); section.each.len()];
        covered(section, &value, &mut path, &mut found);
        seen += 1;
    }
    assert!(seen >= 20, "only {seen} sections have a schema: the test looks in the wrong place");
    assert!(found.is_empty(), "list the fields that are meant, each with its reason: {found:#?}");
}
