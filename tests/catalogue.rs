//! The catalogue against recorded answers: nearly every leaf is described, and known drifts go the known way.
//!
//! The recordings lie beside the repository; without them the tests say so loudly and pass.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and its counts are for people")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use authdrift::classify::assess::UNCLASSIFIED;
use authdrift::classify::{Catalogue, assess};
use authdrift::diff::{Change, ChangeKind};
use authdrift::model::{Direction, Pointer, Provider};
use serde_json::Value;

/// The section, its files below `fixtures/clerk`, where the list is in the answer, and the key fields of its lists.
type Source = (&'static str, &'static [&'static str], &'static str, &'static [&'static str]);

const CLERK: &[Source] = &[
    ("instance", &["bapi/instance", "bapi/instance_allowed_origins_null", "bapi/instance_development"], "", &[]),
    ("instance.organization_settings", &["bapi/instance_organization_settings"], "", &[]),
    ("domains", &["bapi/domains", "platform/domains"], "data", &["name", "host"]),
    ("redirect_urls", &["bapi/redirect_urls", "platform/redirect_urls"], "data", &["url"]),
    (
        "jwt_templates",
        &["bapi/jwt_templates", "platform/jwt_templates", "drifted/bapi/jwt_templates_changed"],
        "data",
        &["name"],
    ),
    ("platform.config", &["platform/config", "platform/config_development", "platform/config_selected_keys"], "", &[]),
    (
        "frontend.environment",
        &[
            "fapi/environment",
            "fapi/environment_development",
            "fapi/environment_strict",
            "recorded/environment-2024-02",
        ],
        "",
        &["target"],
    ),
];

const AUTH0: &[Source] = &[
    ("tenants.settings", &["tenants.settings"], "", &[]),
    ("guardian.factors", &["guardian.factors"], "", &["name"]),
    ("guardian.policies", &["guardian.policies"], "", &[]),
    ("attack-protection.brute-force-protection", &["attack-protection.brute-force-protection"], "", &[]),
    ("attack-protection.suspicious-ip-throttling", &["attack-protection.suspicious-ip-throttling"], "", &[]),
    ("attack-protection.breached-password-detection", &["attack-protection.breached-password-detection"], "", &[]),
    ("attack-protection.bot-detection", &["attack-protection.bot-detection"], "", &[]),
    ("attack-protection.captcha", &["attack-protection.captcha"], "", &[]),
    ("clients", &["clients@page=0+per_page=100+include_totals=true"], "clients", &["client_id"]),
    ("connections", &["connections@include_totals=true+take=50"], "connections", &["name"]),
    (
        "resource-servers",
        &["resource-servers@page=0+per_page=100+include_totals=true"],
        "resource_servers",
        &["identifier", "value"],
    ),
];

/// Leaves that may stay undescribed, in percent of all.
const MOST_UNCLASSIFIED: usize = 3;

fn fixtures() -> Option<PathBuf> {
    let shared = std::env::var_os("AUTHDRIFT_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let fixtures = shared.join("fixtures");
    if !fixtures.is_dir() {
        // Past the capture of the test harness: a skipped comparison must not look like a passed one.
        let _ = writeln!(std::io::stderr(), "SKIPPED: no ../shared, so the catalogue meets no recorded answer");
        return None;
    }
    Some(fixtures)
}

fn read(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The document of a section: the list in its envelope, if there is one.
fn document(answer: &Value, list: &str) -> Value {
    answer.get(list).unwrap_or(answer).clone()
}

/// Every leaf under `value`: lists of objects keyed by the first of `keys` they have, lists of scalars as one leaf.
fn leaves(value: &Value, path: &Pointer, keys: &[&str], found: &mut BTreeMap<Pointer, Value>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, field) in fields {
                leaves(field, &path.child(name), keys, found);
            }
        }
        Value::Array(items) => match keyed(items, keys) {
            Some(items) => {
                for (name, item) in items {
                    leaves(item, &path.child(&name), keys, found);
                }
            }
            None => {
                found.insert(path.clone(), value.clone());
            }
        },
        _ => {
            found.insert(path.clone(), value.clone());
        }
    }
}

fn keyed<'a>(items: &'a [Value], keys: &[&str]) -> Option<Vec<(String, &'a Value)>> {
    let key = keys.iter().find(|key| items.first().is_some_and(|item| item.get(**key).is_some()))?;
    items.iter().map(|item| Some((item.get(*key)?.as_str()?.to_owned(), item))).collect()
}

fn leaves_of(section: &str, document: &Value, keys: &[&str]) -> BTreeMap<Pointer, Value> {
    let mut found = BTreeMap::new();
    leaves(document, &Pointer::of_section(section), keys, &mut found);
    found
}

fn count(provider: Provider, sources: &[Source], file_of: impl Fn(&str) -> Vec<PathBuf>, unwrap: &str) {
    let catalogue = Catalogue::of(provider, None).unwrap();
    let (mut all, mut all_unclassified) = (0, 0);
    for (section, files, list, keys) in sources {
        let mut found = BTreeMap::new();
        for path in files.iter().flat_map(|file| file_of(file)) {
            let answer = read(&path);
            found.append(&mut leaves_of(section, &document(answer.get(unwrap).unwrap_or(&answer), list), keys));
        }
        assert!(!found.is_empty(), "{section}: no leaf, so the test looks in the wrong place");
        let unclassified: Vec<_> = found.keys().filter(|path| catalogue.setting_at(path).is_none()).collect();
        println!("{section}: {} leaves, {} unclassified", found.len(), unclassified.len());
        for path in &unclassified {
            println!("  {path}");
        }
        all += found.len();
        all_unclassified += unclassified.len();
    }
    println!("{provider:?}: {} settings, {all} leaves, {all_unclassified} unclassified", catalogue.settings().len());
    assert!(all_unclassified * 100 <= all * MOST_UNCLASSIFIED, "{all_unclassified} of {all} leaves are unclassified");
}

#[test]
fn nearly_every_leaf_of_clerk_is_described() {
    let Some(fixtures) = fixtures() else { return };
    let file_of = |file: &str| vec![fixtures.join("clerk").join(format!("{file}.json"))];
    count(Provider::Clerk, CLERK, file_of, "");
}

#[test]
fn nearly_every_leaf_of_auth0_is_described() {
    let Some(fixtures) = fixtures() else { return };
    let file_of = |file: &str| {
        ["tenant", "tenant-before"]
            .map(|folder| fixtures.join("auth0").join(folder).join("bodies").join(format!("{file}.json")))
            .into_iter()
            .filter(|path| path.exists())
            .collect()
    };
    count(Provider::Auth0, AUTH0, file_of, "body");
}

/// A small comparison, enough for the recorded drifts: leaves, set members, and objects that came or went whole.
fn changes(section: &str, before: &Value, after: &Value, keys: &[&str]) -> Vec<Change> {
    let (old, new) = (leaves_of(section, before, keys), leaves_of(section, after, keys));
    let mut found = Vec::new();
    for path in old.keys().chain(new.keys().filter(|path| !old.contains_key(path))) {
        let value_in = |leaves: &BTreeMap<Pointer, Value>| leaves.get(path).cloned().unwrap_or_default();
        let (before, after) = (value_in(&old), value_in(&new));
        if let (Value::Array(before), Value::Array(after)) = (&before, &after) {
            let member = |kind, before: &Value, after: &Value| Change {
                path: path.clone(),
                kind,
                before: before.clone(),
                after: after.clone(),
                is_member: true,
            };
            let gone = before.iter().filter(|value| !after.contains(value));
            found.extend(gone.map(|value| member(ChangeKind::Removed, value, &Value::Null)));
            let come = after.iter().filter(|value| !before.contains(value));
            found.extend(come.map(|value| member(ChangeKind::Added, &Value::Null, value)));
        } else if before != after {
            let kind = match (old.contains_key(path), new.contains_key(path)) {
                (true, true) => ChangeKind::Changed,
                (false, _) => ChangeKind::Added,
                (_, false) => ChangeKind::Removed,
            };
            found.push(Change { path: path.clone(), kind, before, after, is_member: false });
        }
    }
    found
}

/// `[name=supabase].claims.email` and `auth_config.test_mode` as the path they have in a drift.
fn drift_path(section: &str, recorded: &str) -> Pointer {
    let recorded = recorded.replace("[name=", "").replace(']', "");
    recorded.split('.').fold(Pointer::of_section(section), |path, token| path.child(token))
}

#[test]
fn recorded_drifts_go_the_recorded_way() {
    let Some(fixtures) = fixtures() else { return };
    let clerk = fixtures.join("clerk");
    let catalogue = Catalogue::of(Provider::Clerk, None).unwrap();
    let mut compared = 0;
    for recording in read(&clerk.join("drifted/changes.json")).as_array().unwrap() {
        let file = |name: &str| recording[name].as_str().unwrap().to_owned();
        let source = CLERK.iter().find(|(_, files, _, _)| files.contains(&file("baseline").trim_end_matches(".json")));
        let Some((section, _, list, keys)) = source else { continue };
        let documents = ["baseline", "drifted"].map(|name| document(&read(&clerk.join(file(name))), list));
        let drifts: Vec<_> = changes(section, &documents[0], &documents[1], keys)
            .into_iter()
            .map(|change| assess(&catalogue, change))
            .collect();
        for expected in recording["changes"].as_array().unwrap() {
            let path = drift_path(section, expected["path"].as_str().unwrap());
            let direction = match expected["direction"].as_str().unwrap() {
                "weaker" => Direction::Weaker,
                "changed" => Direction::Neutral,
                "unknown field appeared" => Direction::Unknown,
                "ignore" | "added" | "removed" => continue,
                other => panic!("{path}: what is '{other}'?"),
            };
            let here: Vec<_> = drifts.iter().filter(|drift| drift.change.path == path).collect();
            assert!(!here.is_empty(), "{path}: no drift");
            for drift in here {
                assert_eq!(drift.direction, direction, "{path}");
                assert_eq!(drift.setting == UNCLASSIFIED, direction == Direction::Unknown, "{path}");
                compared += 1;
            }
        }
    }
    assert!(compared >= 20, "only {compared} drifts were compared");
}
