//! Kill, restart, and look: whatever the moment, nothing is lost, invented or broken.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use crate::common::Sandbox;
use crate::common::daemon::{eventually, eventually_within};

/// A reproducible sequence of numbers below `below`.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

impl Sandbox {
    /// One of a few states of the vendor, chosen by dice.
    pub fn turn_something(&self, dice: &mut Dice) {
        match dice.roll(4) {
            0 => self.set_lifetime(60),
            1 => self.set_lifetime(60 * (2 + dice.roll(3))),
            2 => {
                let is_on = dice.roll(2) == 0;
                self.clerk
                    .edit("/v1/jwt_templates", |templates| templates[1]["lifetime"] = json!(60 + u64::from(is_on)));
            }
            _ => {
                let origin = format!("https://{}.evil.example", dice.roll(3));
                self.clerk.edit("/v1/instance", |instance| instance["allowed_origins"] = json!([origin]));
            }
        }
    }

    /// Puts everything back as it was approved.
    fn put_back(&self) {
        self.clerk.load(authdrift::simulator::clerk::lantern_books());
    }

    pub fn assert_database_is_sound(&self) {
        let check: String = self.sql().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(check, "ok");
        assert_eq!(self.count("SELECT count(*) FROM pragma_foreign_key_check"), 0);
        assert_eq!(self.count("SELECT max(seq) - count(*) FROM events"), 0, "the history has no gaps");
    }

    /// Every delivery in the history is one row of the outbox, and every drift was opened as often as it was closed.
    pub fn assert_stories_are_whole(&self) {
        let delivered = self.count("SELECT count(*) FROM outbox WHERE state = 'delivered'");
        assert_eq!(self.events("delivery.done"), delivered, "each delivery is recorded once");
        let begun = self.events("drift.opened") + self.events("drift.reopened");
        assert_eq!(begun, self.events("drift.reverted") + self.events("drift.approved"));
        assert_eq!(self.count("SELECT count(*) FROM drifts WHERE status = 'open'"), 0);
        assert_eq!(self.count("SELECT count(*) FROM outbox WHERE receiver = 'siem'"), {
            self.count("SELECT count(*) FROM outbox WHERE receiver = 'security'")
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_killed_twenty_five_times_loses_and_invents_nothing() {
    let sandbox = Sandbox::clerk_approved().await;
    let mut dice = Dice(20_260_101);
    for round in 0..25 {
        sandbox.turn_something(&mut dice);
        sandbox.make_due();
        sandbox.clerk.forget_requests();
        let daemon = sandbox.start();
        // The moment is counted from something that has happened, so that a busy machine does not move it.
        let (starts, messages) = (round + 1, sandbox.count("SELECT count(*) FROM outbox"));
        match dice.roll(4) {
            0 => eventually("a start", || sandbox.events("daemon.started") == starts).await,
            1 | 2 => eventually("a first request", || !sandbox.clerk.requests().is_empty()).await,
            _ => {
                sandbox.set_lifetime(10_000 + starts.unsigned_abs());
                eventually("a message", || sandbox.count("SELECT count(*) FROM outbox") > messages).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(dice.roll(300))).await;
        daemon.kill();
        sandbox.let_claims_expire();
        if round % 5 == 0 {
            sandbox.assert_database_is_sound();
            sandbox.run(&["verify"]).await.expect(0);
        }
    }
    assert!(sandbox.events("drift.opened") > 2, "the rounds were long enough for something to happen");
    sandbox.put_back();
    let cycles = sandbox.cycles();
    sandbox.make_due();
    let daemon = sandbox.start();
    eventually("a whole cycle", || sandbox.cycles() > cycles).await;
    eventually_within(Duration::from_secs(30), "everything delivered", || sandbox.waiting() == 0).await;
    assert_eq!(daemon.stop().await, Some(0));
    sandbox.assert_database_is_sound();
    sandbox.assert_nothing_lost_or_invented();
    sandbox.assert_stories_are_whole();
    assert_eq!(sandbox.events("daemon.stopped"), 1);
    sandbox.run(&["verify"]).await.expect(0);
    sandbox.check().await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_killed_at_any_moment_loses_and_invents_nothing() {
    let sandbox = Sandbox::clerk_approved().await;
    let mut dice = Dice(7);
    for _ in 0..25 {
        sandbox.turn_something(&mut dice);
        let mut child =
            sandbox.command().args(["check", "--json"]).stdout(std::process::Stdio::null()).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(20 + dice.roll(400))).await;
        child.kill().unwrap();
        child.wait().unwrap();
        sandbox.let_claims_expire();
    }
    sandbox.assert_database_is_sound();
    sandbox.put_back();
    sandbox.check().await.expect(0);
    sandbox.assert_database_is_sound();
    sandbox.assert_nothing_lost_or_invented();
    sandbox.assert_stories_are_whole();
    sandbox.run(&["verify"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_run_killed_at_any_moment_can_be_run_again() {
    let sandbox = Sandbox::new().await;
    sandbox.write("config.toml", &sandbox.configuration_of_clerk());
    let mut dice = Dice(1);
    for round in 0..15 {
        for file in ["authdrift.db", "authdrift.db-wal", "authdrift.db-shm", "authdrift.key", "authdrift.high-water"] {
            let _ = std::fs::remove_file(sandbox.path(file));
        }
        let mut child = sandbox.command().arg("check").stdout(std::process::Stdio::null()).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(5 + dice.roll(60))).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let ran = sandbox.check().await;
        assert_eq!(ran.code, 13, "round {round}: {ran:?}");
    }
    // The moment that is hardest to hit: half a key is written, and the database does not know of it yet.
    for file in ["authdrift.db", "authdrift.db-wal", "authdrift.db-shm", "authdrift.key", "authdrift.high-water"] {
        let _ = std::fs::remove_file(sandbox.path(file));
    }
    sandbox.write("authdrift.key.part", "half");
    sandbox.check().await.expect(13);
    assert_eq!(std::fs::metadata(sandbox.path("authdrift.key")).unwrap().len(), 32);
    sandbox.assert_database_is_sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_beside_the_daemon_neither_fail_nor_repeat_an_alert() {
    let sandbox = Sandbox::clerk_approved().await;
    let daemon = sandbox.start();
    let mut dice = Dice(3);
    for _ in 0..8 {
        sandbox.turn_something(&mut dice);
        sandbox.make_due();
        let (check, status, verify) = tokio::join!(sandbox.check(), sandbox.run(&["status"]), sandbox.run(&["verify"]));
        assert!([0, 10].contains(&check.code), "{check:?}");
        assert_eq!((status.code, verify.code), (0, 0), "{status:?} {verify:?}");
    }
    sandbox.put_back();
    sandbox.check().await.expect(0);
    eventually("everything delivered", || sandbox.waiting() == 0).await;
    assert_eq!(daemon.stop().await, Some(0));
    sandbox.assert_nothing_lost_or_invented();
    sandbox.assert_stories_are_whole();
    let ids = sandbox.webhook_ids();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "nobody died, so nothing came twice");
}
