//! The daemon inside this process, with a clock that moves when it is told to.

use std::sync::Arc;
use std::time::Duration;

use authdrift::cli::context::Context;
use authdrift::clock::{Clock, FakeClock, SystemClock};
use authdrift::daemon::{Daemon, DaemonError};
use authdrift::simulator::fault::Fault;
use authdrift::simulator::smtp::Stage;
use authdrift::simulator::webhook::{Signature, Webhook};
use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::common::Sandbox;
use crate::common::daemon::{PATIENCE, eventually};
use crate::common::sandbox::WEBHOOK_SECRET;

/// A daemon whose time stands still.
pub struct Clockwork {
    pub sandbox: Sandbox,
    pub clock: Arc<FakeClock>,
    stop: CancellationToken,
    running: JoinHandle<Result<(), DaemonError>>,
}

impl Clockwork {
    /// Starts on an approved state, half a minute after a full minute, and waits for its first cycle.
    pub async fn start() -> Self {
        let minute = SystemClock.now().duration_trunc(TimeDelta::minutes(1)).unwrap();
        Self::start_at(Sandbox::clerk_approved().await, minute + TimeDelta::seconds(90)).await
    }

    /// Starts on a state that is due, at a time, and waits for its first cycle.
    pub async fn start_at(sandbox: Sandbox, time: DateTime<Utc>) -> Self {
        Self::start_with(sandbox, time, |text| text).await
    }

    /// The same, with an edited configuration.
    pub async fn start_with(mut sandbox: Sandbox, time: DateTime<Utc>, edit: impl FnOnce(String) -> String) -> Self {
        if sandbox.database().exists() {
            sandbox.make_due();
        }
        let clock = Arc::new(FakeClock::at(time));
        let now: Arc<dyn Clock> = clock.clone();
        sandbox.webhook = Webhook::start_at(WEBHOOK_SECRET, Arc::clone(&now)).await.unwrap();
        sandbox.write("config.toml", &edit(sandbox.configuration_of_clerk()));
        let context = Context::load(Some(&sandbox.path("config.toml"))).unwrap();
        let catalogue = |provider| Arc::clone(context.catalogues.of(provider));
        let daemon = Daemon::start(Arc::clone(&context.config), catalogue, now, context.limits.clone()).unwrap();
        let stop = daemon.stopper();
        let cycles = sandbox.cycles();
        let running = tokio::spawn(daemon.run());
        eventually("a first cycle", || sandbox.cycles() == cycles + 1).await;
        Self { sandbox, clock, stop, running }
    }

    /// Lets a minute pass and its cycle happen.
    pub async fn minute(&self) {
        self.minutes(1).await;
    }

    /// Lets minutes pass at once and the one cycle for them happen.
    pub async fn minutes(&self, count: i64) {
        let cycles = self.sandbox.cycles();
        self.clock.advance(TimeDelta::minutes(count));
        eventually("the cycle of this minute", || self.sandbox.cycles() > cycles).await;
        assert_eq!(self.sandbox.cycles(), cycles + 1);
    }

    pub async fn stop(self) -> Sandbox {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
        self.sandbox
    }

    pub fn delivered(&self, receiver: &str) -> i64 {
        let query = "SELECT count(*) FROM outbox WHERE receiver = ?1 AND state = 'delivered'";
        self.sandbox.sql().query_row(query, [receiver], |row| row.get(0)).unwrap()
    }

    pub fn tries(&self, receiver: &str) -> i64 {
        let query = "SELECT sum(attempts) FROM outbox WHERE receiver = ?1";
        self.sandbox.sql().query_row(query, [receiver], |row| row.get(0)).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_with_one_drift_that_goes_back_is_one_alert_and_one_closing() {
    let work = Clockwork::start().await;
    let sandbox = &work.sandbox;
    for minute in 1..=60 {
        match minute {
            10 => sandbox.set_lifetime(3600),
            40 => sandbox.set_lifetime(60),
            _ => {}
        }
        work.minute().await;
        let expected = if minute >= 40 { 2 } else { usize::from(minute >= 10) };
        if matches!(minute, 10 | 40 | 60) {
            sandbox.webhook.wait_for(expected, PATIENCE).await.expect("a webhook");
            sandbox.smtp.wait_for(expected, PATIENCE).await.expect("a mail");
        }
        assert!(sandbox.webhook.deliveries().len() <= expected && sandbox.smtp.mails().len() <= expected, "{minute}");
    }
    let sandbox = work.stop().await;
    let kinds: Vec<String> =
        sandbox.webhook.deliveries().iter().map(|delivery| delivery.json()["type"].to_string()).collect();
    assert_eq!(kinds, ["\"drift.opened\"", "\"drift.closed\""]);
    assert!(sandbox.webhook.deliveries().iter().all(|delivery| delivery.signature == Signature::Valid));
    assert_eq!((sandbox.events("drift.opened"), sandbox.events("drift.reverted")), (1, 1));
    let mails = sandbox.smtp.mails();
    assert_eq!(mails.len(), 2);
    assert_eq!(mails[1].header("In-Reply-To"), mails[0].header("Message-ID"), "the closing follows up the alert");
    assert_eq!(sandbox.count("SELECT count(*) FROM snapshots"), 2, "equal settings are kept once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_holds_up_nobody_else() {
    for (hanging, healthy) in [("siem", "security"), ("security", "siem")] {
        let work = Clockwork::start().await;
        let sandbox = &work.sandbox;
        sandbox.webhook.fail_all(Fault::Hang);
        if hanging == "security" {
            sandbox.webhook.heal_all();
            sandbox.smtp.hang(Stage::Mail);
        }
        for (count, lifetime) in [(1, 3600), (2, 60)] {
            sandbox.set_lifetime(lifetime);
            work.minute().await;
            eventually("the other receiver's message", || work.delivered(healthy) == count).await;
            assert_eq!((work.tries(hanging), work.delivered(hanging)), (0, 0), "the try of {hanging} had not ended");
        }
        // Nobody waits for the time-out: the daemon ends with the test.
        work.running.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_tried_again_later_with_the_same_name_and_in_order() {
    let work = Clockwork::start().await;
    let sandbox = &work.sandbox;
    sandbox.webhook.script(&[500, 503]);
    sandbox.smtp.refuse(Stage::Rcpt, 451, "4.3.0 later", 1);
    sandbox.set_lifetime(3600);
    work.minute().await;
    eventually("a first failure of both", || work.tries("siem") == 1 && work.tries("security") == 1).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(work.tries("siem"), 1, "nothing is tried again before its time");
    // 5 s, then 5 min, each more or less a fifth.
    work.clock.advance(TimeDelta::seconds(7));
    eventually("a second failure", || work.tries("siem") == 2).await;
    sandbox.smtp.wait_for(1, PATIENCE).await.expect("the mail");
    sandbox.set_lifetime(60);
    work.minute().await;
    sandbox.smtp.wait_for(2, PATIENCE).await.expect("the closing mail");
    assert_eq!(work.tries("siem"), 2, "the closing webhook waits for the alert it closes");
    work.clock.advance(TimeDelta::minutes(6));
    eventually("everything delivered", || sandbox.waiting() == 0).await;
    let ids = sandbox.webhook_ids();
    assert_eq!(ids.len(), 4);
    assert_eq!((&ids[0], &ids[0]), (&ids[1], &ids[2]));
    assert_ne!(ids[2], ids[3]);
    let deliveries = sandbox.webhook.deliveries();
    assert!(deliveries.iter().all(|delivery| delivery.signature == Signature::Valid), "signed anew for every try");
    assert_eq!(deliveries[3].json()["type"], "drift.closed");
    work.stop().await.assert_nothing_lost_or_invented();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_was_away_gets_everything_when_it_is_back() {
    let work = Clockwork::start().await;
    let sandbox = &work.sandbox;
    sandbox.smtp.refuse(Stage::Connect, 421, "4.3.2 shutting down", 1);
    sandbox.set_lifetime(3600);
    work.minute().await;
    eventually("a failure", || work.tries("security") == 1).await;
    sandbox.webhook.wait_for(1, PATIENCE).await.expect("the webhook is not held up");
    let status = sandbox.run(&["status"]).await.expect(0).out;
    assert!(status.contains("421") && status.contains("shutting down"), "{status}");
    work.clock.advance(TimeDelta::seconds(7));
    sandbox.smtp.wait_for(1, PATIENCE).await.expect("the mail");
    eventually("everything delivered", || sandbox.waiting() == 0).await;
    work.stop().await.assert_nothing_lost_or_invented();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_baseline_approved_by_the_command_line_is_noticed_by_the_running_daemon() {
    // The command has a clock of its own: this one must not be ahead of it, or what the command is just sending would
    // look as if it had been held for too long.
    let sandbox = Sandbox::clerk_approved().await;
    sandbox.set_lifetime(3600);
    let work = Clockwork::start_at(sandbox, SystemClock.now()).await;
    let sandbox = &work.sandbox;
    sandbox.smtp.wait_for(1, PATIENCE).await.expect("the alert");
    sandbox.webhook.wait_for(1, PATIENCE).await.expect("the alert");
    sandbox.approve("prod").await;
    sandbox.smtp.wait_for(2, PATIENCE).await.expect("the closing mail");
    sandbox.webhook.wait_for(2, PATIENCE).await.expect("the closing webhook");
    eventually("everything recorded", || sandbox.waiting() == 0).await;
    assert_eq!((sandbox.events("drift.approved"), sandbox.events("drift.reverted")), (1, 0));
    for _ in 0..2 {
        work.minutes(2).await;
    }
    let verdict: String =
        sandbox.sql().query_row("SELECT verdict FROM cycles ORDER BY id DESC LIMIT 1", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "in_sync");
    let sandbox = work.stop().await;
    sandbox.assert_nothing_lost_or_invented();
    assert_eq!((sandbox.webhook_ids().len(), sandbox.mail_ids().len()), (2, 2));
    let closing = sandbox.smtp.mails()[1].text().unwrap();
    assert!(closing.contains("alice@example.test"), "the closing says who approved: {closing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn t12_a_clock_that_is_set_back_is_an_event_and_one_that_is_corrected_is_not() {
    let work = Clockwork::start().await;
    work.clock.advance(TimeDelta::seconds(-20));
    work.clock.advance(TimeDelta::seconds(20));
    work.minute().await;
    assert_eq!(work.sandbox.events("clock.set_back"), 0);
    work.clock.advance(TimeDelta::hours(-3));
    eventually("the event", || work.sandbox.events("clock.set_back") == 1).await;
    // Settings are watched by the time there is.
    work.minutes(2).await;
    assert_eq!(work.sandbox.events("clock.set_back"), 1);
    work.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_was_moved_while_nothing_ran_is_an_event_of_the_next_start() {
    let (sandbox, now) = (Sandbox::clerk_approved().await, SystemClock.now());
    let told = |sandbox: &Sandbox| (sandbox.events("clock.set_back"), sandbox.events("clock.set_forward"));
    let sandbox = Clockwork::start_at(sandbox, now).await.stop().await;
    assert_eq!(told(&sandbox), (0, 0));
    let sandbox = Clockwork::start_at(sandbox, now - TimeDelta::hours(3)).await.stop().await;
    assert_eq!(told(&sandbox), (1, 0));
    let sandbox = Clockwork::start_at(sandbox, now + TimeDelta::days(30)).await.stop().await;
    assert_eq!(told(&sandbox), (1, 1));
}

/// The types of all messages, in order.
pub fn kinds(sandbox: &Sandbox) -> Vec<String> {
    let deliveries = sandbox.webhook.deliveries();
    deliveries.iter().map(|delivery| delivery.json()["type"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_drift_is_told_once_and_then_in_reminders_that_say_so() {
    let work = Clockwork::start().await;
    let sandbox = &work.sandbox;
    sandbox.set_lifetime(3600);
    work.minute().await;
    sandbox.webhook.wait_for(1, PATIENCE).await.expect("the alert");
    for (minutes, expected) in [(120, 1), (121, 2), (600, 2), (841, 3), (1_441, 4)] {
        work.minutes(minutes).await;
        sandbox.webhook.wait_for(expected, PATIENCE).await.expect("a reminder");
        sandbox.smtp.wait_for(expected, PATIENCE).await.expect("a mail");
        work.minute().await;
        assert_eq!(sandbox.webhook.deliveries().len(), expected, "after {minutes} more minutes");
    }
    sandbox.set_lifetime(60);
    work.minute().await;
    sandbox.webhook.wait_for(5, PATIENCE).await.expect("the end");
    let sandbox = work.stop().await;
    let still_open = "drift.still_open";
    assert_eq!(kinds(&sandbox), ["drift.opened", still_open, still_open, still_open, "drift.closed"]);
    let mails = sandbox.smtp.mails();
    assert!(mails[1].text().unwrap().contains("a reminder, 1 setting still differs"), "{}", mails[1].text().unwrap());
    assert!(mails[1].header("Subject").unwrap().starts_with("Re: "));
    assert_eq!(mails[1].header("In-Reply-To"), mails[0].header("Message-ID"));
    assert_eq!(sandbox.events("drift.reminded"), 3);
    sandbox.run(&["verify"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_back_and_forth_is_told_as_such_and_again_when_it_is_stable() {
    let work = Clockwork::start().await;
    let sandbox = &work.sandbox;
    for lifetime in [3600, 60, 3600, 60, 3600, 60, 3600] {
        sandbox.set_lifetime(lifetime);
        work.minute().await;
    }
    for _ in 0..6 {
        work.minute().await;
    }
    sandbox.webhook.wait_for(6, PATIENCE).await.expect("all messages");
    let sandbox = work.stop().await;
    let expected =
        ["drift.opened", "drift.closed", "drift.opened", "drift.closed", "drift.flapping", "drift.still_open"];
    assert_eq!(kinds(&sandbox), expected);
    assert_eq!((sandbox.events("drift.reopened"), sandbox.events("drift.reverted")), (3, 3), "all of it is recorded");
    sandbox.run(&["verify"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_approve_is_told_to_everybody_when_it_changes() {
    let work = Clockwork::start().await;
    let sandbox = &work.sandbox;
    let signers = std::fs::read_to_string(sandbox.path("allowed_signers")).unwrap();
    sandbox.write("allowed_signers", &format!("{signers}# a new line\n"));
    work.minute().await;
    work.minute().await;
    sandbox.webhook.wait_for(1, PATIENCE).await.expect("the notice");
    sandbox.smtp.wait_for(1, PATIENCE).await.expect("the notice");
    let sandbox = work.stop().await;
    assert_eq!(kinds(&sandbox), ["trust.changed"]);
    let notice = &sandbox.webhook.deliveries()[0].json()["data"]["notices"][0];
    assert!(notice["text"].as_str().unwrap().starts_with("allowed_signers was sha256:"), "{notice}");
    assert_eq!((sandbox.events("trust.known"), sandbox.events("trust.changed")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_approved_for_a_time_is_told_a_day_before_it_ends_and_when_it_has() {
    let sandbox = Sandbox::clerk_approved().await;
    sandbox.set_lifetime(3600);
    sandbox.check().await.expect(10);
    let key = sandbox.path("alice").display().to_string();
    let until = ["--all", "--accept-weaker", "--until", "4d", "--reason", "migration", "--key", &key];
    sandbox.run(&[&["approve", "prod"][..], &until].concat()).await.expect(0);
    let minute = SystemClock.now().duration_trunc(TimeDelta::minutes(1)).unwrap();
    let work = Clockwork::start_at(sandbox, minute + TimeDelta::seconds(90)).await;
    let sandbox = &work.sandbox;
    let ending = |count: usize| {
        eventually("that it ends", move || {
            kinds(sandbox).iter().filter(|kind| *kind == "approval.ending").count() == count
        })
    };
    work.minutes(3 * 1_440 - 60).await;
    assert_eq!(sandbox.events("approval.ending"), 0);
    work.minutes(120).await;
    ending(1).await;
    work.minute().await;
    work.minutes(1_440).await;
    eventually("the drift", || kinds(sandbox).last().unwrap() == "drift.opened").await;
    let sandbox = work.stop().await;
    assert_eq!(sandbox.events("approval.ending"), 1);
    assert_eq!(sandbox.events("drift.reopened"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_seen_is_reminded_of_until_it_is_seen() {
    let work = Clockwork::start().await;
    let sandbox = &work.sandbox;
    sandbox.clerk.fail("/v1/jwt_templates", Fault::status(403, serde_json::json!({})));
    work.minute().await;
    work.minute().await;
    sandbox.webhook.wait_for(1, PATIENCE).await.expect("that it is blind");
    for (minutes, expected) in [(230, 1), (11, 2), (1_441, 3)] {
        work.minutes(minutes).await;
        sandbox.webhook.wait_for(expected, PATIENCE).await.expect("a reminder");
        work.minute().await;
        assert_eq!(sandbox.webhook.deliveries().len(), expected, "after {minutes} more minutes");
    }
    sandbox.clerk.heal_all();
    work.minute().await;
    sandbox.webhook.wait_for(4, PATIENCE).await.expect("that it is seen again");
    // Who decides cannot be known any more.
    let signers = std::fs::read_to_string(sandbox.path("allowed_signers")).unwrap();
    sandbox.write("allowed_signers", "");
    work.minute().await;
    sandbox.webhook.wait_for(6, PATIENCE).await.expect("that nothing can be trusted");
    work.minutes(241).await;
    sandbox.webhook.wait_for(7, PATIENCE).await.expect("a reminder");
    sandbox.write("allowed_signers", &signers);
    work.minutes(2_000).await;
    sandbox.webhook.wait_for(9, PATIENCE).await.expect("that it is trusted again");
    work.minutes(2_000).await;
    let sandbox = work.stop().await;
    let (blind, still, seeing) = ("section.blind", "instance.still_unseen", "section.seeing_again");
    let (trust, untrusted, trusted) = ("trust.changed", "baseline.untrusted", "baseline.trusted");
    // The alarm about trust waits for no other message.
    let expected = [blind, still, still, seeing, untrusted, trust, still, trust, trusted];
    assert_eq!(kinds(&sandbox), expected);
    let text = |number: usize| {
        let delivery = sandbox.webhook.deliveries()[number].json();
        delivery["data"]["notices"][0]["text"].as_str().unwrap().to_owned()
    };
    assert!(text(1).starts_with("not read since ") && text(1).ends_with(": jwt_templates"), "{}", text(1));
    assert!(text(6).starts_with("the baseline cannot be trusted, so nothing is compared: "), "{}", text(6));
    sandbox.run(&["verify"]).await.expect(0);
}
