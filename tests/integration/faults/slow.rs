//! One endpoint that takes for ever costs nobody else anything.

use std::time::Duration;

use authdrift::cycle::{CycleStep, Report, RunMode};
use authdrift::model::{Provider, State};
use authdrift::simulator::fault::Fault;
use serde_json::json;
use tokio::sync::watch;

use super::scene::Scene;
use crate::common::Sandbox;

/// Longer than any of this takes on the slowest machine; without a deadline it would be for ever.
const FOREVER: Duration = Duration::from_secs(120);

fn blind(report: &Report) -> Vec<(&str, State, &str)> {
    let blind = report.sections.iter().filter(|read| read.blind);
    blind.map(|read| (read.section.as_str(), read.state, read.reason.as_deref().unwrap_or_default())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_hangs_or_drips_for_ever_is_blind_in_time_and_alone() {
    let sandbox = Sandbox::approved().await;
    let table = [
        ("hangs", Fault::Hang, 60, "no answer within 1 s"),
        ("drips, and one answer may not take so long", Fault::Drip, 60, "no answer within 2 s"),
        ("drips, and the section may not take so long", Fault::Drip, 1, "not read within 1 s"),
        // The time may be over during a pause or during a try.
        (
            "fails slowly, again and again",
            Fault::status(503, json!({})).with_header("retry-after", "1"),
            2,
            "not read within 2 s; the last answer was 503",
        ),
    ];
    for (what, fault, section, reason) in table {
        for (name, vendor, path, expected) in [
            ("prod", &*sandbox.clerk, "/v1/jwt_templates", "jwt_templates"),
            ("acme", &*sandbox.auth0, "/api/v2/log-streams", "log-streams"),
        ] {
            vendor.fail(path, fault.clone());
            let watch = sandbox.watch_with(name, |limits| {
                limits.headers = Duration::from_secs(1);
                limits.total = Duration::from_secs(2);
                limits.address = Duration::from_secs(section);
                limits.tries = 100;
                limits.longest_pause = Duration::from_secs(1);
            });
            let report = tokio::time::timeout(FOREVER, watch.cycle(RunMode::DryRun)).await.expect(what).unwrap();
            vendor.heal_all();
            assert!(report.drifts.is_empty(), "{what}: {:?}", report.drifts);
            let blind = blind(&report);
            let [(section, State::Unreachable, why)] = blind.as_slice() else { panic!("{what}: {blind:?}") };
            assert!(*section == expected && why.contains(reason), "{what}: {section} {why}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_late_names_the_last_refusal_too() {
    let sandbox = Sandbox::approved().await;
    sandbox.auth0.fail("/oauth/token", Fault::status(503, json!({})).with_header("retry-after", "1"));
    let watch = sandbox.watch_with("acme", |limits| {
        limits.address = Duration::from_secs(2);
        limits.tries = 100;
        limits.longest_pause = Duration::from_secs(1);
    });
    let report = tokio::time::timeout(FOREVER, watch.cycle(RunMode::DryRun)).await.expect("an end").unwrap();
    let blind = blind(&report);
    let expected = "not read within 2 s; the last answer was 503";
    assert!(!blind.is_empty() && blind.iter().all(|(.., why)| why.contains(expected)), "{blind:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_family_that_has_to_wait_for_the_vendor_keeps_no_other_waiting() {
    let scene = Scene::new(Provider::Auth0).await;
    let busy = Fault::status(429, json!({})).with_header("retry-after", "100");
    scene.vendor.fail("/api/v2/prompts/*", busy);
    let (told, mut done) = watch::channel(0);
    let waiting = scene.sandbox.watch_with(scene.name, |limits| limits.longest_pause = FOREVER);
    let waiting = waiting.on_step(move |_, step| {
        if let CycleStep::Reading(progress) = step {
            told.send_replace(progress.done);
        }
    });
    // Texts, partials and screens wait for as long as the vendor asked; nobody else does.
    let others = scene.healthy.len() - 3;
    let others_are_done = done.wait_for(|done| *done == others);
    tokio::select! {
        report = waiting.cycle(RunMode::DryRun) => panic!("it did not wait: {:?}", blind(&report.unwrap())),
        others = tokio::time::timeout(FOREVER, others_are_done) => assert!(others.is_ok(), "somebody else waits"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_is_too_long_to_wait_for_ends_the_sections_it_is_for() {
    let scene = Scene::new(Provider::Auth0).await;
    for (status, header) in [(429, "retry-after"), (503, "retry-after")] {
        let busy = Fault::status(status, json!({})).with_header(header, "3600");
        scene.vendor.fail("/api/v2/prompts/*", busy);
        let watch = scene.sandbox.watch_with(scene.name, |limits| limits.longest_pause = Duration::from_secs(60));
        let report = tokio::time::timeout(FOREVER, watch.cycle(RunMode::DryRun)).await.expect("it waits").unwrap();
        scene.vendor.heal_all();
        let blind = blind(&report);
        assert_eq!(blind.len(), 3, "{blind:?}");
        let is_said = |why: &str| why.contains(&status.to_string()) || why.contains("s without requests");
        assert!(blind.iter().all(|(_, state, why)| *state == State::Unreachable && is_said(why)), "{blind:?}");
    }
}
