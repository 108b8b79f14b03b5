//! The sections and the catalogue against recorded answers: every answer belongs to a section, nearly every leaf is
//! described, and known drifts go the known way.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and its counts are for people")]

mod support;
#[path = "catalogue/volatile.rs"]
mod volatile;

use std::collections::{BTreeMap, BTreeSet};

use authdrift::canonical::{self, Document, FingerprintKey, Redaction};
use authdrift::classify::finding::UNCLASSIFIED;
use authdrift::classify::{Catalogue, Finding, classify};
use authdrift::diff::compare::{Side, compare_section};
use authdrift::model::{Category, Direction, Pattern, Pointer, Provider};
use authdrift::sections::{Depth, Section, Table};
use serde_json::Value;

use support::fixtures::{self, Answer};

/// Leaves that may stay undescribed, in percent of those that are not cosmetic.
const MOST_UNCLASSIFIED: usize = 3;

/// Recorded answers that are of no section, and why not.
const NOT_READ: &[(&str, &str)] = &[
    ("/v1/audit_logs", "events, not settings"),
    ("/v1/platform/me", "who is asking"),
    ("/v1/platform/applications", "other instances"),
    ("/v1/health", "whether the service runs"),
    ("/api/v2/actions/triggers", "what there is, not what is set"),
    ("/api/v2/clients/*/credentials", "its permission also unlocks the secrets of every application"),
    ("/api/v2/users/**", "people, not settings"),
    ("/api/v2/users", "people, not settings"),
    ("/api/v2/grants", "what people agreed to"),
    ("/api/v2/logs/**", "events, not settings"),
    ("/api/v2/logs", "events, not settings"),
    ("/api/v2/organizations/*/members/**", "people, not settings"),
    ("/api/v2/roles/*/users", "people, not settings"),
    ("/api/v2/rules/*", "the list has the same"),
];

fn canonical(section: &Section, value: Value) -> Document {
    let redaction = Redaction { key: FingerprintKey::new([7; 32]), keep_code: false };
    canonical::document(section, value, &redaction).unwrap_or_else(|error| panic!("{}: {error}", section.name))
}

/// Every leaf under `value`: a list that is still one is a set, so it is one leaf, and so is what stands for a secret.
fn leaves(value: &Value, path: &Pointer, found: &mut BTreeSet<Pointer>) {
    let is_stand_in = |fields: &serde_json::Map<String, Value>| {
        fields.keys().eq(["fingerprint"])
            || fields.keys().eq(["sha256", "size"])
            || fields.keys().eq(["certificate", "subject", "until"])
    };
    match value {
        Value::Object(fields) if !fields.is_empty() && !is_stand_in(fields) => {
            fields.iter().for_each(|(name, field)| leaves(field, &path.child(name), found));
        }
        _ => _ = found.insert(path.clone()),
    }
}

fn successes(provider: Provider) -> Option<Vec<Answer>> {
    let answers = fixtures::answers(&fixtures::folder()?, provider);
    Some(answers.into_iter().filter(|answer| answer.method == "GET" && answer.status == 200).collect())
}

fn nearly_every_leaf_is_described(provider: Provider) {
    let Some(answers) = successes(provider) else { return };
    let catalogue = Catalogue::of(provider, None).unwrap();
    let mut found: BTreeMap<&str, BTreeSet<Pointer>> = BTreeMap::new();
    for answer in &answers {
        let Some(best) = answer.matches().into_iter().next() else { continue };
        let document = canonical(best.section, answer.alone(&best));
        leaves(
            document.value(),
            &Pointer::of_section(&best.section.name),
            found.entry(&best.section.name).or_default(),
        );
    }
    let (mut all, mut all_unclassified) = (0, 0);
    for section in Table::of(provider).sections() {
        let Some(found) = found.get(section.name.as_str()) else {
            println!("{}: nothing recorded", section.name);
            continue;
        };
        let unclassified: Vec<_> = found.iter().filter(|path| catalogue.setting_at(path).is_none()).collect();
        println!(
            "{} ({}): {} leaves, {} unclassified",
            section.name,
            section.depth.as_str(),
            found.len(),
            unclassified.len()
        );
        unclassified.iter().for_each(|path| println!("  {path}"));
        if section.depth == Depth::Security {
            let is_cosmetic = |path: &&Pointer| {
                catalogue.setting_at(path).is_some_and(|setting| setting.category == Category::Cosmetic)
            };
            all += found.iter().filter(|path| !is_cosmetic(path)).count();
            all_unclassified += unclassified.len();
        }
    }
    println!("{provider}: {} settings, {all} leaves, {all_unclassified} unclassified", catalogue.settings().len());
    assert!(all > 100, "the test looks in the wrong place");
    assert!(all_unclassified * 100 <= all * MOST_UNCLASSIFIED, "{all_unclassified} of {all} leaves are unclassified");
}

#[test]
fn nearly_every_leaf_of_clerk_is_described() {
    nearly_every_leaf_is_described(Provider::Clerk);
}

#[test]
fn nearly_every_leaf_of_auth0_is_described() {
    nearly_every_leaf_is_described(Provider::Auth0);
}

#[test]
fn every_recorded_answer_is_of_a_section_or_left_out_for_a_reason() {
    let answers = Provider::ALL.into_iter().filter_map(successes).flatten();
    let homeless: BTreeSet<String> =
        answers.filter(|answer| answer.matches().is_empty()).map(|answer| answer.path).collect();
    let fits = |pattern: &str, path: &str| {
        let (pattern, path): (Pattern, Pointer) = (pattern.parse().unwrap(), path.parse().unwrap());
        pattern.matches(path.tokens())
    };
    let unexplained: Vec<_> =
        homeless.iter().filter(|path| !NOT_READ.iter().any(|(pattern, _)| fits(pattern, path))).collect();
    assert!(unexplained.is_empty(), "recorded, and neither read nor left out for a reason: {unexplained:#?}");
    let is_stale = |(pattern, _): &&(&str, &str)| !homeless.iter().any(|path| fits(pattern, path));
    let stale: Vec<_> = NOT_READ.iter().filter(is_stale).map(|(pattern, _)| pattern).collect();
    assert!(homeless.is_empty() || stale.is_empty(), "take them off the list: {stale:#?}");
}

/// `[name=supabase].claims.email` and `auth_config.test_mode` as the path they have in a drift.
fn drift_path(section: &str, recorded: &str) -> Pointer {
    let plain = |token: &str| token.rsplit_once('=').map_or(token, |(_, key)| key).trim_end_matches(']').to_owned();
    recorded.split('.').fold(Pointer::of_section(section), |path, token| path.child(&plain(token)))
}

#[test]
fn recorded_drifts_go_the_recorded_way() {
    let Some(folder) = fixtures::folder() else { return };
    let answers = fixtures::answers(&folder, Provider::Clerk);
    let (catalogue, table) = (Catalogue::of(Provider::Clerk, None).unwrap(), Table::of(Provider::Clerk));
    let mut compared = 0;
    for recording in fixtures::read(&folder.join("clerk/drifted/changes.json")).as_array().unwrap() {
        let file = |name: &str| answers.iter().find(|answer| answer.file == recording[name].as_str().unwrap()).unwrap();
        let Some(found) = file("drifted").matches().into_iter().next() else { continue };
        let name = found.section.name.as_str();
        let [before, after] =
            ["baseline", "drifted"].map(|name| canonical(found.section, file(name).value(found.section)));
        let mut changes = Vec::new();
        compare_section(table, name, Side::Value(before.value()), Side::Value(after.value()), &mut changes);
        let mut drifts: Vec<Finding> = changes.into_iter().map(|change| classify(&catalogue, change)).collect();
        for expected in recording["changes"].as_array().unwrap() {
            let direction = match expected["direction"].as_str().unwrap() {
                "weaker" | "added" => Direction::Weaker,
                "changed" => Direction::Neutral,
                "removed" => Direction::Stronger,
                "unknown field appeared" => Direction::Unknown,
                "ignore" => continue,
                other => panic!("what is '{other}'?"),
            };
            let path = drift_path(name, expected["path"].as_str().unwrap());
            let (here, rest): (Vec<_>, Vec<_>) =
                drifts.into_iter().partition(|drift| path.contains(&drift.change.path));
            assert!(!here.is_empty(), "{path}: no drift");
            for drift in here {
                assert_eq!(drift.meaning.direction, direction, "{path}");
                assert_eq!(drift.meaning.setting == UNCLASSIFIED, direction == Direction::Unknown, "{path}");
                compared += 1;
            }
            drifts = rest;
        }
        let more: Vec<_> = drifts.iter().map(|drift| drift.change.path.to_string()).collect();
        assert!(more.is_empty(), "{name}: nobody recorded {more:?}");
    }
    assert!(compared >= 20, "only {compared} drifts were compared");
}
