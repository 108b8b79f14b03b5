//! The rules on the recorded tenants and on the built-in ones: what is refused or left out never makes a result better,
//! a second evaluation of another shape says the same, and each weakening of a good instance is found.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, reason = "a test may panic")]

#[path = "posture/changed.rs"]
mod changed;
#[path = "support/large.rs"]
#[allow(dead_code, unreachable_pub, reason = "other tests use the rest of it")]
mod large;
#[path = "posture/removed.rs"]
mod removed;
#[path = "posture/second.rs"]
mod second;
mod support;
#[path = "posture/weakened.rs"]
mod weakened;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use authdrift::canonical::{self, FingerprintKey, Redaction};
use authdrift::model::{InstanceId, Pointer, Provider, Resource, State};
use authdrift::posture::{AuditInput, Profile, RuleResult, RuleSet, RuleState, UnknownReason, evaluate};
use authdrift::sections::{Section, Table};
use authdrift::snapshot::{Reading, Snapshot};
use serde_json::Value;

use support::fixtures::{self, Tenant};

fn input(profile: Profile) -> AuditInput {
    AuditInput { profile, now: "2026-12-01T00:00:00Z".parse().unwrap(), own: None }
}

fn reading(section: &Section, value: Value) -> Reading {
    let redaction = Redaction { key: FingerprintKey::new([7; 32]), keep_code: false };
    Reading::Value(canonical::document(section, value, &redaction).unwrap())
}

/// The snapshot of a tenant. What nobody recorded was not asked for.
fn snapshot(tenant: &Tenant) -> Snapshot {
    let table = Table::of(tenant.provider);
    let read = |(name, value): (&String, &Value)| (name.clone(), reading(table.section(name).unwrap(), value.clone()));
    Snapshot {
        instance: InstanceId::new(tenant.provider, "test"),
        resource: String::new(),
        identifiers: Resource::default(),
        sections: tenant.sections.iter().map(read).collect(),
    }
}

/// The same with the canonical value of a section changed.
fn with_value(snapshot: &Snapshot, section: &str, value: &Value) -> Snapshot {
    let bytes = canonical::to_bytes(value);
    let digest = authdrift::model::Digest::of(&bytes);
    let document = canonical::Document::from_canonical(bytes, &digest).unwrap();
    let mut changed = snapshot.clone();
    changed.sections.insert(section.to_owned(), Reading::Value(document));
    changed
}

/// What is said of each object.
type Said = BTreeMap<(String, Option<String>), (RuleState, Option<UnknownReason>)>;

fn said(results: &[RuleResult]) -> Said {
    let entry = |result: &RuleResult| {
        ((result.rule.id.clone(), result.object.as_deref().map(str::to_owned)), (result.state, result.reason))
    };
    results.iter().map(entry).collect()
}

/// The sections that a rule reads, itself or through another rule.
fn sections_of(rule: &str, provider: Provider) -> BTreeSet<String> {
    let rules = RuleSet::built_in();
    let reads = |id: &str| rules.rule(id).unwrap().reads(provider).iter();
    let through = match rule {
        "mfa-required" => reads("mfa-factor-available"),
        "lockout-threshold" => reads("lockout-enabled"),
        _ => [].iter(),
    };
    let patterns = reads(rule).chain(through);
    patterns.map(|pattern| pattern.to_string().parse::<Pointer>().unwrap().section().to_owned()).collect()
}

#[test]
fn every_tenant_is_judged_in_every_profile() {
    for tenant in fixtures::tenants() {
        let snapshot = snapshot(&tenant);
        for profile in Profile::ALL {
            let results = evaluate(RuleSet::built_in(), &snapshot, &input(profile));
            assert_eq!(said(&results).len(), results.len(), "{}: an object is there twice", tenant.name);
            let again = evaluate(RuleSet::built_in(), &snapshot, &input(profile));
            assert_eq!(format!("{results:?}"), format!("{again:?}"));
            let count = |state| results.iter().filter(|result| result.state == state).count();
            let counts: Vec<String> = RuleState::ALL.iter().map(|state| format!("{} {state}", count(*state))).collect();
            println!("{} {profile}: {}", tenant.name, counts.join(", "));
            for result in results.iter().filter(|result| result.is_open()) {
                let object = result.label.as_deref().or(result.object.as_deref()).unwrap_or("-");
                let values: Vec<String> = result.observed.iter().map(|seen| seen.value.to_string()).collect();
                println!(
                    "  {} {} {} {object}: {} {} (expected {})",
                    result.state,
                    result.severity,
                    result.rule.id,
                    result.reason.map_or("", UnknownReason::as_str),
                    values.join(" ").chars().take(80).collect::<String>(),
                    result.expected
                );
            }
        }
    }
}

#[test]
fn a_refused_section_makes_its_rules_unknown_once_and_changes_nothing_else() {
    for tenant in fixtures::tenants() {
        let whole = snapshot(&tenant);
        for profile in [Profile::Banking] {
            let before = evaluate(RuleSet::built_in(), &whole, &input(profile));
            for section in tenant.sections.keys() {
                let mut refused = whole.clone();
                refused.sections.insert(section.clone(), Reading::without(State::NotPermitted, "refused"));
                let after = evaluate(RuleSet::built_in(), &refused, &input(profile));
                for rule in RuleSet::built_in().rules().iter().filter(|rule| rule.id != "sections-readable") {
                    let of_rule = |results: &[RuleResult]| -> Vec<RuleResult> {
                        results.iter().filter(|result| result.rule.id == rule.id).cloned().collect()
                    };
                    let (before, after) = (of_rule(&before), of_rule(&after));
                    let context = format!("{} {profile}: {} without {section}", tenant.name, rule.id);
                    if rule.check(tenant.provider).is_none()
                        || !sections_of(&rule.id, tenant.provider).contains(section)
                    {
                        assert_eq!(said(&before), said(&after), "{context}");
                        continue;
                    }
                    let is_blind = |result: &&RuleResult| result.unread.as_deref() == Some(section.as_str());
                    let blind: Vec<_> = after.iter().filter(is_blind).collect();
                    assert!(blind.len() <= 1, "{context}: {} unknowns", blind.len());
                    for result in &blind {
                        let expected = (RuleState::Unknown, Some(UnknownReason::NotPermitted), None);
                        assert_eq!((result.state, result.reason, result.object.clone()), expected, "{context}");
                    }
                    // What is left is what was said before.
                    let (before, after) = (said(&before), said(&after));
                    for (object, now) in after.iter().filter(|(_, now)| now.1 != Some(UnknownReason::NotPermitted)) {
                        let was = before.get(object);
                        assert_eq!(Some(now), was, "{context}: {object:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_large_tenant_is_judged_quickly() {
    let documents = large::tenant(large::Size::LARGE);
    let answers: Vec<_> = documents
        .into_iter()
        .filter(|(path, _)| path.split('/').count() <= 5)
        .map(|(path, body)| fixtures::Answer::of(Provider::Auth0, path, body))
        .collect();
    let tenant = fixtures::tenant(Provider::Auth0, "built-in", &answers);
    let snapshot = snapshot(&tenant);
    let start = Instant::now();
    let results = evaluate(RuleSet::built_in(), &snapshot, &input(Profile::Banking));
    let took = start.elapsed();
    println!("{} results in {took:?}", results.len());
    assert!(results.len() > 50_000, "{}", results.len());
    // Without optimisation, and beside other tests.
    assert!(took.as_secs() < 10, "{took:?}");
}
