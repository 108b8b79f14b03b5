//! Every rule has a passing, a failing and an unknown example, and one where it does not apply if that can be.

use super::super::{Profile, Rule, RuleKind, RuleSet, RuleState, VendorCheck};
use super::{results_of, snapshot};
use crate::model::{Provider, Severity};

/// Rules that no reading makes pass, and why.
const NEVER_PASS: &[(&str, &str)] = &[("password-reset-mfa", "only the code of the Action says whether it asks")];

fn checks() -> impl Iterator<Item = (&'static Rule, Provider, &'static VendorCheck)> {
    RuleSet::built_in().rules().iter().flat_map(|rule| {
        Provider::ALL.into_iter().filter_map(|provider| Some((rule.as_ref(), provider, rule.check(provider)?)))
    })
}

fn a_profile(rule: &Rule, provider: Provider) -> Profile {
    let order = [Profile::Saas, Profile::Banking, Profile::Consumer];
    order.into_iter().find(|profile| rule.check_in(provider, *profile).is_some()).unwrap()
}

#[test]
fn every_example_has_the_state_it_stands_under() {
    let mut problems = Vec::new();
    for (rule, provider, check) in checks() {
        let profile = a_profile(rule, provider);
        let examples = [
            (RuleState::Pass, &check.examples.pass),
            (RuleState::Fail, &check.examples.fail),
            (RuleState::Unknown, &check.examples.unknown),
            (RuleState::NotApplicable, &check.examples.not_applicable),
        ];
        for (state, examples) in examples {
            for (place, example) in examples.iter().enumerate() {
                let results = results_of(&rule.id, &snapshot(provider, example), profile, None);
                let wrong = results.iter().find(|result| result.state != state);
                if let Some(wrong) = wrong {
                    problems.push(format!(
                        "{} {provider} {state} #{place}: {} {:?} {:?}",
                        rule.id,
                        wrong.state,
                        wrong.reason,
                        wrong.paths().iter().map(ToString::to_string).collect::<Vec<_>>()
                    ));
                } else if results.is_empty() {
                    problems.push(format!("{} {provider} {state} #{place}: no result", rule.id));
                }
            }
        }
    }
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn every_rule_that_reads_has_its_examples() {
    let mut problems = Vec::new();
    for (rule, provider, check) in checks() {
        if check.unanswered.is_some() || rule.kind == RuleKind::Own {
            continue;
        }
        let can_pass = !NEVER_PASS.iter().any(|(id, _)| *id == rule.id);
        let can_be_empty = check.per.is_some() || check.when.is_some();
        let wanted = [
            ("pass", can_pass && check.examples.pass.is_empty()),
            ("fail", check.examples.fail.is_empty()),
            ("unknown", check.examples.unknown.is_empty()),
            ("not-applicable", can_be_empty && check.examples.not_applicable.is_empty()),
        ];
        let missing = wanted.iter().filter(|(_, is_missing)| *is_missing).map(|(name, _)| *name);
        problems.extend(missing.map(|name| format!("{} {provider}: no {name} example", rule.id)));
    }
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn an_application_of_somebody_else_matters_more() {
    let severity = |is_first_party: bool| {
        let client =
            serde_json::json!({ "app_type": "spa", "callbacks": ["http://x"], "is_first_party": is_first_party });
        let example = super::super::Example::from([("/clients/a".to_owned(), client)]);
        results_of("client-callbacks-safe", &snapshot(Provider::Auth0, &example), Profile::Saas, None)[0].severity
    };
    assert_eq!((severity(true), severity(false)), (Severity::High, Severity::Critical));
}
