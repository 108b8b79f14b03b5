//! What the rules say of sections, settings and numbers is what the tables and the catalogue know.

use std::collections::BTreeSet;

use super::super::{Profile, RuleKind, RuleSet};
use crate::classify::Catalogue;
use crate::model::{Pointer, Provider};
use crate::sections::Table;

/// Paths that the rules read and that no reading has today, and why.
const NOT_KEPT: &[(&str, &str)] = &[
    ("/keys.signing/*/current_since", "a time that every rotation moves"),
    ("/connections.scim-configuration.tokens/*/*/created_at", "a time of a write"),
];

/// Paths that the rules read and the catalogue does not describe, and why.
const NOT_IN_THE_CATALOGUE: &[(&str, &str)] = &[
    ("/connections/*/options/attributes/email/signup/verification/active", "the newer place of the switch"),
    ("/connections/*/options/attributes/phone_number/signup/verification/active", "the newer place of the switch"),
    ("/keys.signing/*/current_since", "not kept"),
    ("/connections.scim-configuration.tokens/*/*/created_at", "not kept"),
];

fn patterns() -> BTreeSet<(Provider, Vec<String>)> {
    let rules = RuleSet::built_in().rules().iter();
    let checks = rules.flat_map(|rule| Provider::ALL.into_iter().filter_map(|one| Some((one, rule.check(one)?))));
    checks.flat_map(|(provider, check)| check.uses().paths.into_iter().map(move |path| (provider, path))).collect()
}

fn written(tokens: &[String]) -> String {
    tokens.iter().map(|token| format!("/{token}")).collect()
}

/// Whether some path is described by both, or by one and a place below it by the other.
fn meet(one: &[String], other: &[String]) -> bool {
    match (one.split_first(), other.split_first()) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(_), Some((deep, rest))) if deep == "**" => {
            rest.is_empty() || (0..one.len()).any(|skip| meet(&one[skip..], rest))
        }
        (Some((token, tail)), Some((pattern, rest))) => {
            let fits = |wild: &str, exact: &str| match wild.split_once('*') {
                Some((start, end)) => exact.starts_with(start) && exact.ends_with(end),
                None => wild == exact,
            };
            (fits(token, pattern) || fits(pattern, token)) && meet(tail, rest)
        }
    }
}

#[test]
fn every_path_of_a_rule_is_in_a_section_and_kept() {
    let mut problems = Vec::new();
    for (provider, tokens) in patterns() {
        let (section, rest) = tokens.split_first().unwrap();
        let Some(row) = Table::of(provider).section(section) else {
            problems.push(format!("{provider} {}: no such section", written(&tokens)));
            continue;
        };
        let is_excused = NOT_KEPT.iter().any(|(path, _)| *path == written(&tokens));
        if row.is_volatile(rest) != is_excused {
            problems.push(format!("{provider} {}: volatile, or excused and kept", written(&tokens)));
        }
    }
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn every_path_of_a_rule_is_in_the_catalogue() {
    let mut problems = Vec::new();
    for provider in Provider::ALL {
        let catalogue = Catalogue::of(provider, None).unwrap();
        for (_, tokens) in patterns().into_iter().filter(|(of, _)| *of == provider) {
            let mut described = catalogue.settings().iter().flat_map(|setting| &setting.paths);
            let is_known = described.any(|pattern| {
                let pattern: Pointer = pattern.to_string().parse().unwrap();
                meet(&tokens, pattern.tokens())
            });
            let is_excused = NOT_IN_THE_CATALOGUE.iter().any(|(path, _)| *path == written(&tokens));
            if is_known == is_excused {
                problems.push(format!(
                    "{provider} {}: {}",
                    written(&tokens),
                    if is_known { "excused" } else { "unknown" }
                ));
            }
        }
    }
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn every_number_is_used_and_has_a_value_where_it_is_used() {
    let rules = RuleSet::built_in();
    let mut used: BTreeSet<(String, Profile)> = BTreeSet::new();
    for rule in rules.rules() {
        for profile in Profile::ALL {
            for provider in Provider::ALL {
                let Some(check) = rule.check_in(provider, profile) else { continue };
                let mut uses = super::super::operators::Uses::default();
                let conditions = check.pass_in(profile).into_iter().chain(check.when_in(profile));
                conditions.for_each(|condition| condition.uses(&[], &mut uses));
                used.extend(uses.numbers.into_iter().map(|number| (number, profile)));
                used.extend(rule.within.iter().map(|number| (number.name.clone(), profile)));
            }
        }
    }
    let has: BTreeSet<(String, Profile)> = rules
        .numbers()
        .flat_map(|number| number.values.keys().map(|profile| (number.name.clone(), *profile)))
        .collect();
    assert_eq!(used, has);
}

#[test]
fn a_rule_that_others_refer_to_is_about_the_instance_and_refers_to_none() {
    let rules = RuleSet::built_in();
    for rule in rules.rules() {
        for provider in Provider::ALL {
            for id in rule.check(provider).map(|check| check.uses().rules).unwrap_or_default() {
                let other = rules.rule(&id).unwrap_or_else(|| panic!("{}: no rule {id}", rule.id));
                let check = other.check(provider).unwrap_or_else(|| panic!("{}: {id} has no {provider}", rule.id));
                assert!(check.per.is_none() && check.when.is_none() && check.uses().rules.is_empty(), "{id}");
            }
        }
    }
}

#[test]
fn the_texts_of_every_rule_are_usable() {
    for rule in RuleSet::built_in().rules() {
        let id = &rule.id;
        assert!(rule.title.starts_with(char::is_uppercase) && !rule.title.ends_with('.'), "{id}: {}", rule.title);
        assert!(rule.title.chars().count() <= 75, "{id}: the title is too long");
        assert!(rule.why.ends_with('.') && rule.why.chars().count() < 160, "{id}: {}", rule.why);
        assert_eq!(rule.kind == RuleKind::Attest, rule.within.is_some(), "{id}: only answers of people have an end");
        for provider in Provider::ALL {
            let Some(check) = rule.check(provider) else { continue };
            assert!(!check.remedy.dashboard.is_empty(), "{id}: nowhere to click");
            let is_asked = matches!(rule.kind, RuleKind::Attest | RuleKind::Probe | RuleKind::Logs);
            assert!(check.unanswered.is_some() || !is_asked, "{id}: who answers?");
            for profile in Profile::ALL {
                let Some(check) = rule.check_in(provider, profile) else { continue };
                let reads = check.unanswered.is_none() && rule.kind == RuleKind::Auto;
                assert!(!reads || !check.expected(profile).is_empty(), "{id}: nothing is expected");
            }
        }
    }
}
