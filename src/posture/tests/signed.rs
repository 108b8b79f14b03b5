//! Exceptions, attestations and what the own records say.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::super::{
    Attestation, Example, Exception, ExceptionUse, OpenDrift, OwnFacts, Profile, RuleState, UnknownReason, apply,
};
use super::{now, results_of, snapshot};
use crate::model::{Provider, Severity};

fn example(path: &str, value: Value) -> Example {
    Example::from([(path.to_owned(), value)])
}

fn exception(rule: &str, object: Option<&str>, path: &str, value: &Value, days: i64) -> Exception {
    Exception {
        rule: rule.to_owned(),
        object: object.map(str::to_owned),
        path: path.parse().unwrap(),
        value: Exception::pin(value),
        reason: "a test".to_owned(),
        owner: "alice@example.test".to_owned(),
        until: now() + TimeDelta::days(days),
    }
}

#[test]
fn an_exception_covers_the_value_it_pins_until_it_ends() {
    let rule = "client-callbacks-safe";
    let clients =
        example("/clients/a", json!({ "app_type": "spa", "callbacks": ["http://localhost:1", "http://localhost:2"] }));
    let results = results_of(rule, &snapshot(Provider::Auth0, &clients), Profile::Saas, None);
    let pin = |port: u8, days| {
        exception(rule, Some("a"), "/clients/a/callbacks", &json!(format!("http://localhost:{port}")), days)
    };
    let table = [
        (vec![pin(1, 1), pin(2, 1)], RuleState::Accepted, vec![ExceptionUse::InForce, ExceptionUse::InForce], false),
        (vec![pin(1, 1)], RuleState::Fail, vec![ExceptionUse::InForce], false),
        (vec![pin(1, 1), pin(2, 0)], RuleState::Fail, vec![ExceptionUse::InForce, ExceptionUse::Ended], true),
        (vec![pin(1, 1), pin(3, 1)], RuleState::Fail, vec![ExceptionUse::InForce, ExceptionUse::Unused], false),
    ];
    for (exceptions, state, uses, has_ended) in table {
        let applied = apply(results.clone(), &exceptions, &[], now());
        assert_eq!((applied.results[0].state, applied.uses, applied.results[0].has_ended), (state, uses, has_ended));
    }
    let of_other = Exception { object: Some("b".to_owned()), ..pin(1, 1) };
    assert_eq!(apply(results, &[of_other], &[], now()).uses, [ExceptionUse::Unused]);
}

#[test]
fn an_exception_that_nothing_needs_is_said_to_be_so_and_an_unknown_is_not_accepted() {
    let rule = "session-idle-timeout";
    let path = "/tenants.settings/idle_session_lifetime";
    let accepted = exception(rule, None, path, &json!(100), 10);
    for (value, state, used) in [
        (json!(100), RuleState::Accepted, ExceptionUse::InForce),
        (json!(101), RuleState::Fail, ExceptionUse::Unused),
        (json!(1), RuleState::Pass, ExceptionUse::NotNeeded),
    ] {
        let results = results_of(rule, &snapshot(Provider::Auth0, &example(path, value)), Profile::Saas, None);
        let applied = apply(results, std::slice::from_ref(&accepted), &[], now());
        assert_eq!((applied.results[0].state, applied.uses[0]), (state, used));
    }
    let blind = snapshot(Provider::Auth0, &example("/tenants.settings", json!("not_permitted")));
    let applied = apply(results_of(rule, &blind, Profile::Saas, None), &[accepted], &[], now());
    assert_eq!((applied.results[0].state, applied.uses[0]), (RuleState::Unknown, ExceptionUse::Unused));
}

#[test]
fn a_person_answers_what_nothing_shows_and_the_answer_ends() {
    let empty = snapshot(Provider::Clerk, &Example::new());
    let attestation = |rule: &str, days| Attestation {
        rule: rule.to_owned(),
        object: None,
        answer: "done".to_owned(),
        owner: "alice@example.test".to_owned(),
        until: now() + TimeDelta::days(days),
    };
    let results = results_of("tenant-isolation", &empty, Profile::Saas, None);
    assert_eq!(results[0].reason, Some(UnknownReason::NotAttested));
    let applied = apply(results.clone(), &[], &[attestation("tenant-isolation", 1)], now());
    assert_eq!((applied.results[0].state, applied.results[0].reason), (RuleState::Attested, None));
    let applied = apply(results, &[], &[attestation("tenant-isolation", 0)], now());
    assert_eq!(applied.results[0].reason, Some(UnknownReason::AttestationEnded));
    // What a reading would show is not answered by a person.
    let results = results_of("session-idle-timeout", &empty, Profile::Saas, None);
    let applied = apply(results, &[], &[attestation("session-idle-timeout", 9)], now());
    assert_eq!(applied.results[0].reason, Some(UnknownReason::NoCredential));
}

#[test]
fn the_own_records_say_how_old_the_baseline_is_and_what_waits() {
    let empty = snapshot(Provider::Clerk, &Example::new());
    let own = |is_baseline_trusted, days, severity, waits| OwnFacts {
        is_baseline_trusted,
        approved_at: Some(now() - TimeDelta::days(days)),
        open_drifts: vec![OpenDrift {
            path: "/instance/allowed_origins".parse().unwrap(),
            severity,
            first_seen: now() - TimeDelta::days(waits),
        }],
    };
    let (pass, fail) = (RuleState::Pass, RuleState::Fail);
    let table = [
        (Some(own(true, 92, Severity::High, 14)), pass, pass),
        (Some(own(true, 93, Severity::Critical, 15)), fail, fail),
        (Some(own(false, 1, Severity::Medium, 60)), fail, pass),
        (Some(own(true, 1, Severity::Medium, 61)), pass, fail),
        (Some(own(true, 1, Severity::Low, 900)), pass, pass),
        (None, RuleState::Unknown, RuleState::Unknown),
    ];
    for (own, baseline, drift) in table {
        let state = |rule| results_of(rule, &empty, Profile::Saas, own.clone())[0].state;
        assert_eq!((state("baseline-fresh"), state("no-open-drift")), (baseline, drift), "{own:?}");
    }
}
