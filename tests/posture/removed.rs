//! Whatever is left out of a snapshot, no result becomes better.

use std::collections::{BTreeMap, BTreeSet};

use authdrift::model::{Pattern, Pointer};
use authdrift::posture::{Profile, RuleSet, RuleState, evaluate};
use authdrift::sections::Table;
use serde_json::Value;

use super::support::fixtures;
use super::{Said, input, said, snapshot, with_value};

/// Fields whose absence has a meaning that the section tables do not have, and what it is.
const OWN_DEFAULTS: &[(&str, &str)] = &[
    ("/clients/*/jwt_configuration/alg", "HS256"),
    ("/connections/*/options/brute_force_protection", "on"),
    ("/connections/*/options/idpinitiated/enabled", "off"),
    ("/connections/*/is_domain_connection", "no"),
    ("/connections/*/options/passwordPolicy", "none, or the other form decides"),
    ("/connections/*/options/password_complexity_options/min_length", "the level decides"),
    ("/connections/*/options/password_history/enable", "off, or the other form decides"),
    ("/connections/*/options/password_dictionary/enable", "off, or the other form decides"),
    ("/connections/*/options/password_no_personal_info/enable", "off, or the other form decides"),
    ("/connections/*/options/password_options/**", "off, or the other form decides"),
    ("/tenants.settings/default_directory", "none"),
    ("/tenants.settings/default_redirection_uri", "none"),
    ("/tenants.settings/allowed_logout_urls", "none"),
    ("/clients/*/initiate_login_uri", "none"),
    ("/clients/*/app_type", "for one rule: not a kind that is told apart"),
    ("/resource-servers/*/is_system", "an API of the customer"),
    ("/client-grants/*/allow_all_scopes", "only those listed"),
    ("/machines/*/default_token_ttl", "an hour"),
    ("/organizations.connections/*/*/assign_membership_on_login", "no"),
    ("/network-acls/*/rule/**", "nothing of the kind"),
    ("/log-streams/*/filters/**", "nothing is left out"),
    ("/enterprise_connections/*/saml_connection/**", "not SAML, or off"),
    ("/jwt_templates/*/claims/**", "no such claim"),
    ("/platform.config/session/claims/**", "no such claim"),
    ("/tenants.settings/error_page/html", "no own page"),
    ("/email-templates/*/enabled", "the object is not there at all"),
    ("/clients.global/*/custom_login_page", "no page"),
    ("/clients.global/*/custom_login_page_on", "on"),
    ("/tenants.settings/flags/enable_client_connections", "here it is unknown: answers differ"),
    ("/frontend.oauth-authorization-server/registration_endpoint", "no registration"),
    ("/frontend.environment/display_config/*_url", "one target less"),
    ("/platform.config/paths/*", "one target less"),
    ("/actions.triggers.bindings/**", "nothing is bound"),
];

/// Every leaf, with its path: a list is one leaf, and so is what stands for a secret.
fn leaves(value: &Value, path: &Pointer, found: &mut Vec<Pointer>) {
    let is_stand_in = |fields: &serde_json::Map<String, Value>| {
        fields.keys().eq(["fingerprint"])
            || fields.keys().eq(["sha256", "size"])
            || fields.keys().eq(["certificate", "subject", "until"])
    };
    match value {
        Value::Object(fields) if !fields.is_empty() && !is_stand_in(fields) => {
            fields.iter().for_each(|(name, field)| leaves(field, &path.child(name), found));
        }
        _ => found.push(path.clone()),
    }
}

fn remove(value: &mut Value, tokens: &[String]) {
    let Some((token, rest)) = tokens.split_first() else { return };
    let Some(fields) = value.as_object_mut() else { return };
    if rest.is_empty() {
        fields.remove(token);
    } else if let Some(field) = fields.get_mut(token) {
        remove(field, rest);
    }
}

fn set(value: &mut Value, tokens: &[String], to: &Value) {
    let Some((token, rest)) = tokens.split_first() else { return value.clone_from(to) };
    if let Some(field) = value.as_object_mut().and_then(|fields| fields.get_mut(token)) {
        set(field, rest, to);
    }
}

/// How good a state is.
fn rank(state: RuleState) -> u8 {
    match state {
        RuleState::Fail | RuleState::Unknown => 0,
        RuleState::NotApplicable => 1,
        RuleState::Accepted | RuleState::Attested | RuleState::Pass => 2,
    }
}

fn better(before: &Said, after: &Said) -> Vec<String> {
    let is_better = |(object, now): &(&(String, Option<String>), &_)| {
        let (now, _): &(RuleState, _) = now;
        before.get(*object).is_some_and(|(was, _)| rank(*now) > rank(*was))
    };
    after.iter().filter(is_better).map(|((rule, object), (now, _))| format!("{rule} {object:?} is {now}")).collect()
}

#[test]
fn no_result_is_better_without_a_section() {
    for tenant in fixtures::tenants() {
        let whole = snapshot(&tenant);
        for profile in [Profile::Banking] {
            let before = said(&evaluate(RuleSet::built_in(), &whole, &input(profile)));
            for section in tenant.sections.keys() {
                let mut less = whole.clone();
                less.sections.remove(section);
                let after = said(&evaluate(RuleSet::built_in(), &less, &input(profile)));
                let better = better(&before, &after);
                assert!(better.is_empty(), "{} {profile} without {section}: {better:?}", tenant.name);
            }
        }
    }
}

#[test]
fn no_result_is_better_without_a_leaf_and_what_is_absent_is_its_default() {
    let (mut problems, rules) = (BTreeSet::new(), RuleSet::built_in());
    let own: Vec<Pattern> = OWN_DEFAULTS.iter().map(|(pattern, _)| pattern.parse().unwrap()).collect();
    // The recorded tenant twice, days apart: once is enough.
    for tenant in fixtures::tenants().into_iter().filter(|tenant| !tenant.name.ends_with("before")) {
        let whole = snapshot(&tenant);
        let mut judged_whole: BTreeMap<(Vec<String>, Profile), Said> = BTreeMap::new();
        let table = Table::of(tenant.provider);
        for (section, value) in whole.values() {
            let mut found = Vec::new();
            leaves(&value, &Pointer::of_section(section), &mut found);
            for (place, leaf) in found.iter().filter(|leaf| leaf.tokens().len() > 1).enumerate() {
                let about: Vec<String> =
                    rules.rules_about(tenant.provider, leaf).into_iter().map(|rule| rule.id.clone()).collect();
                let is_own = own.iter().any(|pattern| pattern.matches(leaf.tokens()));
                if about.is_empty() || is_own {
                    continue;
                }
                let only = rules.only(|rule| about.contains(&rule.id) || REFERRING.contains(&rule.id.as_str()));
                let mut less = value.clone();
                remove(&mut less, &leaf.tokens()[1..]);
                let less = with_value(&whole, section, &less);
                // One profile for each leaf, in turn.
                for profile in [Profile::ALL[place % Profile::ALL.len()]] {
                    let judge = |snapshot| said(&evaluate(&only, snapshot, &input(profile)));
                    let after = judge(&less);
                    if let Some(default) = table.default_at(leaf).filter(|_| !is_unknown_when_absent(leaf)) {
                        let mut explicit = value.clone();
                        set(&mut explicit, &leaf.tokens()[1..], default);
                        if judge(&with_value(&whole, section, &explicit)) != after {
                            problems.insert(format!("{} {profile}: absent {leaf} is not {default}", tenant.name));
                        }
                        continue;
                    }
                    let before = judged_whole.entry((about.clone(), profile)).or_insert_with(|| judge(&whole));
                    let better = better(before, &after);
                    if !better.is_empty() {
                        problems.insert(format!("{} {profile} without {leaf}: {better:?}", tenant.name));
                    }
                }
            }
        }
    }
    assert!(problems.is_empty(), "\n{}\n", problems.into_iter().collect::<Vec<_>>().join("\n"));
}

/// Rules that ask another rule.
const REFERRING: [&str; 2] = ["mfa-required", "lockout-threshold"];

/// Fields that the section tables give a default, and that a rule does not judge when they are absent: answers from before
/// the field existed lack it.
fn is_unknown_when_absent(leaf: &Pointer) -> bool {
    leaf.tokens().get(1).is_some_and(|api| api.ends_with("/api/v2/")) && leaf.last() == "policy"
}
