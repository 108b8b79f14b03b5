//! The watch says how it is doing: to a service that misses it, and to people when something keeps it from its work.

use authdrift::simulator::fault::Fault;
use authdrift::simulator::webhook::Webhook;
use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use serde_json::json;

use crate::common::Sandbox;
use crate::common::daemon::{PATIENCE, eventually};
use crate::common::sandbox::WEBHOOK_SECRET;
use crate::hour::{Clockwork, kinds};
use authdrift::clock::{Clock, SystemClock};

/// A service that is told signs of life; the address is kept in a file.
async fn service(sandbox: &Sandbox) -> Webhook {
    let service = Webhook::start(WEBHOOK_SECRET).await.unwrap();
    sandbox.write("heartbeat", &format!("{}/ping/CANARY-0123?create=1\n", service.url()));
    service
}

fn beats(service: &Webhook) -> Vec<(String, String)> {
    let text = |body: &[u8]| String::from_utf8(body.to_vec()).unwrap();
    service.requests().iter().map(|request| (request.path.clone(), text(&request.body))).collect()
}

fn start() -> DateTime<Utc> {
    SystemClock.now().duration_trunc(TimeDelta::minutes(1)).unwrap() + TimeDelta::seconds(90)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_of_life_follows_every_cycle_and_says_when_something_is_wrong() {
    let sandbox = Sandbox::clerk_approved().await;
    let service = service(&sandbox).await;
    let work =
        Clockwork::start_with(sandbox, start(), |text| text + "[heartbeat]\nurl = { file = \"heartbeat\" }\n").await;
    work.minute().await;
    work.minute().await;
    eventually("a first sign", || !beats(&service).is_empty()).await;
    let (path, body) = beats(&service).remove(0);
    assert_eq!(path, "/ping/CANARY-0123");
    assert!(body.contains("clerk:prod in_sync") && body.contains("history "), "{body}");

    // Nothing can be read: the service hears it when people do.
    work.sandbox.clerk.fail_all(Fault::status(503, json!({})));
    for _ in 0..4 {
        work.minute().await;
    }
    eventually("a sign of trouble", || beats(&service).iter().any(|(path, _)| path == "/ping/CANARY-0123/fail")).await;
    let (_, body) = beats(&service).into_iter().find(|(path, _)| path.ends_with("/fail")).unwrap();
    assert!(body.starts_with("clerk:prod: ") && body.contains("cannot be read"), "{body}");
    work.sandbox.clerk.heal_all();
    work.minute().await;
    work.minute().await;
    eventually("a good sign", || beats(&service).last().unwrap().0 == "/ping/CANARY-0123").await;
    let sandbox = work.stop().await;
    assert!(!kinds(&sandbox).iter().any(|kind| kind.starts_with("instance.")), "it was told as blindness");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_no_pause_of_a_sign_of_life() {
    let sandbox = Sandbox::clerk_approved().await;
    let service = service(&sandbox).await;
    service.fail_all(Webhook::reply(503));
    let work =
        Clockwork::start_with(sandbox, start(), |text| text + "[heartbeat]\nurl = { file = \"heartbeat\" }\n").await;
    work.minute().await;
    work.minute().await;
    eventually("a first failure", || !beats(&service).is_empty()).await;
    let begun = std::time::Instant::now();
    work.stop().await;
    assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
    assert!(beats(&service).len() >= 3, "it was tried as often as ever");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_was_never_read_is_told_after_three_intervals_and_when_it_is_read() {
    let sandbox = Sandbox::new().await;
    sandbox.clerk.fail_all(Fault::status(503, json!({})));
    let work = Clockwork::start_with(sandbox, start(), |text| text).await;
    for _ in 0..6 {
        work.minute().await;
    }
    work.sandbox.webhook.wait_for(1, PATIENCE).await.expect("the notice");
    work.sandbox.clerk.heal_all();
    for _ in 0..2 {
        work.minute().await;
    }
    work.sandbox.webhook.wait_for(2, PATIENCE).await.expect("the end");
    let sandbox = work.stop().await;
    assert_eq!(kinds(&sandbox), ["instance.unread", "instance.read_again"]);
    assert_eq!((sandbox.events("instance.unread"), sandbox.events("instance.read_again")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_others_are_told_of_a_receiver_that_takes_nothing() {
    let work = Clockwork::start().await;
    work.sandbox.webhook.script(&[400]);
    work.sandbox.set_lifetime(3600);
    work.minute().await;
    eventually("that it is given up", || work.sandbox.events("delivery.given_up") == 1).await;
    work.minute().await;
    work.sandbox.smtp.wait_for(2, PATIENCE).await.expect("the drift and the notice");
    let notice = work.sandbox.smtp.mails()[1].text().unwrap();
    assert!(
        notice.contains("receiver 'siem' does not take messages") && notice.contains("400 Bad Request"),
        "{notice}"
    );
    work.sandbox.set_lifetime(60);
    work.minute().await;
    work.sandbox.smtp.wait_for(3, PATIENCE).await.expect("the end of the drift");
    eventually("that the webhook took it", || work.delivered("siem") == 1).await;
    work.minute().await;
    work.sandbox.smtp.wait_for(4, PATIENCE).await.expect("the end of the trouble");
    let sandbox = work.stop().await;
    assert_eq!((sandbox.events("receiver.failed"), sandbox.events("receiver.recovered")), (1, 1));
    // That it took nothing, whom it is about need not hear; that it missed something, it has to.
    assert_eq!(kinds(&sandbox), ["drift.opened", "drift.closed", "receiver.missed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_slept_for_a_month_wakes_without_a_storm() {
    let work = Clockwork::start().await;
    work.sandbox.set_lifetime(3600);
    work.minute().await;
    work.sandbox.webhook.wait_for(1, PATIENCE).await.expect("the alert");
    eventually("everything recorded", || work.sandbox.waiting() == 0).await;
    work.minutes(30 * 1_440).await;
    work.sandbox.webhook.wait_for(2, PATIENCE).await.expect("the reminder");
    eventually("everything recorded", || work.sandbox.waiting() == 0).await;
    work.minute().await;
    work.minute().await;
    let sandbox = work.stop().await;
    assert_eq!(kinds(&sandbox), ["drift.opened", "drift.still_open"]);
    assert_eq!(sandbox.events("instance.unread"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn signs_of_life_go_on_after_a_clock_that_was_ahead_is_set_right() {
    let sandbox = Sandbox::clerk_approved().await;
    let service = service(&sandbox).await;
    let year = TimeDelta::days(365);
    let work =
        Clockwork::start_with(sandbox, start() + year, |text| text + "[heartbeat]\nurl = { file = \"heartbeat\" }\n")
            .await;
    work.minute().await;
    work.minute().await;
    eventually("a first sign", || !beats(&service).is_empty()).await;
    let (before, cycles) = (beats(&service).len(), work.sandbox.cycles());
    work.clock.advance(-year);
    eventually("a cycle of that time", || work.sandbox.cycles() > cycles).await;
    work.minutes(2).await;
    work.minutes(2).await;
    eventually("more signs", || beats(&service).len() > before).await;
    work.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_missed_in_time_also_after_a_clock_that_was_ahead_is_set_right() {
    let sandbox = Sandbox::new().await;
    let year = TimeDelta::days(365);
    let work = Clockwork::start_with(sandbox, start() + year, |text| text).await;
    work.minute().await;
    eventually("a reading of that time", || work.sandbox.cycles() > 0).await;
    work.sandbox.clerk.fail_all(Fault::status(503, json!({})));
    work.clock.advance(-year);
    for _ in 0..7 {
        work.minute().await;
    }
    work.sandbox.webhook.wait_for(1, PATIENCE).await.expect("the notice");
    work.sandbox.webhook.wait_for(2, PATIENCE).await.expect("both notices");
    let sandbox = work.stop().await;
    assert_eq!(kinds(&sandbox), ["clock.set_back", "instance.unread"]);
}
