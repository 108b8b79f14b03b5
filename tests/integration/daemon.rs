//! The daemon as it is run: signals, crashes, a real minute.

use std::collections::BTreeSet;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use authdrift::simulator::fault::Fault;
use authdrift::simulator::smtp::Stage;
use serde_json::json;

use crate::common::Sandbox;
use crate::common::daemon::{PATIENCE, eventually, eventually_within};

impl Sandbox {
    /// Clerk alone, read and approved.
    pub async fn clerk_approved() -> Self {
        let sandbox = Self::new().await;
        sandbox.write("config.toml", &sandbox.configuration_of_clerk());
        sandbox.check().await.expect(13);
        sandbox.approve("prod").await;
        sandbox
    }

    /// Both receivers and one vendor.
    pub fn configuration_of_clerk(&self) -> String {
        format!("{}{}{}", self.head(), self.clerk_table(), self.receiver_tables())
    }

    /// Sets the lifetime of a JWT template, as a click in a dashboard would: one setting, one entry.
    pub fn set_lifetime(&self, seconds: u64) {
        self.clerk.edit("/v1/jwt_templates", |templates| templates[0]["lifetime"] = json!(seconds));
    }

    /// Moves the next cycle to now, as if its minute had come.
    pub fn make_due(&self) {
        self.tamper("UPDATE instances SET next_due_at = 0", []);
    }

    pub fn cycles(&self) -> i64 {
        self.count("SELECT count(*) FROM cycles")
    }

    pub fn waiting(&self) -> i64 {
        self.count("SELECT count(*) FROM outbox WHERE state = 'waiting'")
    }

    /// The `webhook-id` of everything that came, in order.
    pub fn webhook_ids(&self) -> Vec<String> {
        self.webhook.deliveries().iter().map(|delivery| delivery.id().unwrap().to_owned()).collect()
    }

    /// The name in `Message-ID` of every mail, in order.
    pub fn mail_ids(&self) -> Vec<String> {
        let id = |header: String| header.trim_matches(['<', '>']).split('@').next().unwrap().to_owned();
        self.smtp.mails().iter().map(|mail| id(mail.header("Message-ID").unwrap())).collect()
    }

    /// Everything of the outbox arrived, and nothing that is not in it: a repetition has the name of its original.
    pub fn assert_nothing_lost_or_invented(&self) {
        for (receiver, ids) in [("siem", self.webhook_ids()), ("security", self.mail_ids())] {
            let connection = self.sql();
            let mut query =
                connection.prepare("SELECT id FROM outbox WHERE receiver = ?1 AND state = 'delivered'").unwrap();
            let kept: BTreeSet<String> = query.query_map([receiver], |row| row.get(0)).unwrap().flatten().collect();
            assert_eq!(ids.iter().cloned().collect::<BTreeSet<_>>(), kept, "{receiver}");
            assert_eq!(self.count("SELECT count(*) FROM outbox WHERE state <> 'delivered'"), 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn first_cycle_of_a_new_database_comes_at_once_and_its_first_drift_is_told_once() {
    let sandbox = Sandbox::new().await;
    sandbox.write("config.toml", &sandbox.configuration_of_clerk());
    let daemon = sandbox.start();
    eventually("a first cycle", || sandbox.database().exists() && sandbox.clerk.requests().len() > 3).await;
    eventually("a first reading", || sandbox.events("instance.first_read") == 1).await;
    sandbox.approve("prod").await;
    assert_eq!(daemon.stop().await, Some(0));

    sandbox.set_lifetime(3600);
    sandbox.make_due();
    let daemon = sandbox.start();
    sandbox.webhook.wait_for(1, PATIENCE).await.expect("an alert by webhook");
    sandbox.smtp.wait_for(1, PATIENCE).await.expect("an alert by mail");
    eventually("everything recorded", || sandbox.waiting() == 0).await;
    assert_eq!(daemon.stop().await, Some(0));
    let cycles = sandbox.cycles();
    sandbox.make_due();
    let daemon = sandbox.start();
    eventually("another cycle", || sandbox.cycles() > cycles).await;
    assert_eq!((sandbox.webhook.deliveries().len(), sandbox.smtp.mails().len()), (1, 1), "{}", daemon.log());
    assert_eq!(sandbox.events("drift.opened"), 1);
    assert_eq!(daemon.stop().await, Some(0));
    sandbox.run(&["verify"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_right_after_an_alert_nothing_is_lost_and_repetitions_keep_their_name() {
    let sandbox = Sandbox::clerk_approved().await;
    for round in 1..=4 {
        let daemon = sandbox.start();
        sandbox.set_lifetime(1000 + round);
        sandbox.make_due();
        // A repetition of the alert before is not the alert of this round.
        let alerts = || sandbox.webhook_ids().into_iter().collect::<BTreeSet<_>>().len() as u64;
        eventually("the alert of this round", || alerts() == round).await;
        daemon.kill();
        sandbox.let_claims_expire();
    }
    let daemon = sandbox.start();
    eventually("everything delivered", || sandbox.waiting() == 0).await;
    assert_eq!(daemon.stop().await, Some(0));
    assert_eq!(sandbox.count("SELECT count(DISTINCT id) FROM outbox"), 8, "four alerts for two receivers");
    sandbox.assert_nothing_lost_or_invented();
    sandbox.run(&["verify"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_a_webhook_hangs_the_message_comes_once_more_and_a_real_minute_brings_no_second_alert() {
    let sandbox = Sandbox::clerk_approved().await;
    sandbox.webhook.fail_all(Fault::Hang);
    let daemon = sandbox.start();
    sandbox.set_lifetime(3600);
    sandbox.make_due();
    sandbox.webhook.wait_for(1, PATIENCE).await.expect("a first try");
    daemon.kill();
    sandbox.webhook.heal_all();

    // The dead process holds the message for a minute: really waited for, once.
    let cycles = sandbox.cycles();
    let daemon = sandbox.start();
    let a_minute = Duration::from_secs(90);
    eventually_within(a_minute, "everything delivered", || sandbox.waiting() == 0).await;
    eventually_within(a_minute, "a cycle when its minute came", || sandbox.cycles() > cycles).await;
    assert_eq!(daemon.stop().await, Some(0));
    assert_eq!(sandbox.events("drift.opened"), 1);
    let ids = sandbox.webhook_ids();
    assert_eq!(ids.len(), 2);
    assert_eq!(ids[0], ids[1]);
    sandbox.assert_nothing_lost_or_invented();
    sandbox.run(&["verify"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_whose_end_nobody_confirmed_comes_again_with_the_same_message_id() {
    for is_killed in [false, true] {
        let sandbox = Sandbox::clerk_approved().await;
        sandbox.smtp.cut(Stage::Data);
        let daemon = sandbox.start();
        sandbox.set_lifetime(3600);
        sandbox.make_due();
        sandbox.smtp.wait_for(1, PATIENCE).await.expect("a mail");
        let daemon = if is_killed {
            daemon.kill();
            sandbox.let_claims_expire();
            sandbox.start()
        } else {
            daemon
        };
        sandbox.smtp.wait_for(2, PATIENCE).await.expect("the mail again");
        eventually("everything delivered", || sandbox.waiting() == 0).await;
        assert_eq!(daemon.stop().await, Some(0));
        let ids = sandbox.mail_ids();
        assert_eq!(ids.len(), 2);
        assert_eq!(ids[0], ids[1]);
        sandbox.assert_nothing_lost_or_invented();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_what_is_under_way_finish() {
    for signal in ["TERM", "INT"] {
        let sandbox = Sandbox::clerk_approved().await;
        let mut daemon = sandbox.start();
        sandbox.webhook.set_latency(Duration::from_secs(1));
        sandbox.set_lifetime(3600);
        sandbox.make_due();
        sandbox.webhook.wait_for(1, PATIENCE).await.expect("a try");
        assert_eq!(sandbox.count("SELECT count(*) FROM outbox WHERE receiver = 'siem' AND state = 'delivered'"), 0);
        daemon.signal(signal);
        assert_eq!(daemon.ended().await, Some(0), "{signal}");
        let log = sandbox.database().with_extension("db-wal");
        assert_eq!(log.metadata().map_or(0, |log| log.len()), 0, "the log was written back");
        sandbox.assert_nothing_lost_or_invented();
        assert_eq!((sandbox.webhook_ids().len(), sandbox.mail_ids().len()), (1, 1));
        assert_eq!((sandbox.events("daemon.started"), sandbox.events("daemon.stopped")), (1, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_a_vendor_that_hangs() {
    let sandbox = Sandbox::clerk_approved().await;
    sandbox.clerk.fail_all(Fault::Hang);
    sandbox.clerk.forget_requests();
    let cycles = sandbox.cycles();
    let mut daemon = sandbox.start();
    sandbox.make_due();
    assert!(sandbox.clerk.wait_for_requests(1, PATIENCE).await);
    daemon.signal("TERM");
    assert_eq!(daemon.ended().await, Some(0));
    assert_eq!(sandbox.events("daemon.stopped"), 1);
    assert_eq!(sandbox.cycles(), cycles, "a cycle that was cut recorded nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_on_the_same_state_is_refused() {
    let sandbox = Sandbox::clerk_approved().await;
    let daemon = sandbox.start();
    eventually("a start", || sandbox.events("daemon.started") == 1).await;
    let second = sandbox.run(&["run"]).await.expect(75);
    assert!(second.err.contains("another daemon holds"), "{}", second.err);
    assert_eq!(sandbox.events("daemon.started"), 1);
    assert_eq!(daemon.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_missed_while_nothing_ran_is_caught_up_by_one_cycle() {
    let sandbox = Sandbox::clerk_approved().await;
    sandbox.tamper("UPDATE instances SET next_due_at = next_due_at - 172800000", []);
    let cycles = sandbox.cycles();
    // Longer than a tick: what is due is not begun again while it is under way.
    sandbox.clerk.set_latency(Duration::from_millis(1500));
    sandbox.clerk.forget_requests();
    let daemon = sandbox.start();
    eventually("a cycle at once", || sandbox.cycles() > cycles).await;
    let next = sandbox.count("SELECT next_due_at FROM instances");
    assert_eq!(next % 60_000, 0, "due at the full minute again");
    assert_eq!(daemon.stop().await, Some(0));
    assert_eq!(sandbox.cycles(), cycles + 1);
    let requests = sandbox.clerk.requests();
    assert_eq!(requests.iter().filter(|request| request.path == "/v1/jwt_templates").count(), 1);
    assert!(next > sandbox.count("SELECT max(at) FROM cycles"));
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_hears_ready_status_watchdog_and_stopping_even_while_the_vendor_is_away() {
    let sandbox = Sandbox::clerk_approved().await;
    sandbox.clerk.stop();
    sandbox.make_due();
    // An abstract one; a path is tried with the reload.
    let name = format!("authdrift-{}", sandbox.folder.path().display());
    let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let path = format!("@{name}");
    let daemon = sandbox.start_with(&[("NOTIFY_SOCKET", &path), ("WATCHDOG_USEC", "2000000")]);
    let listen = move |until: &'static str, mut heard: Vec<String>| {
        let socket = socket.try_clone().unwrap();
        tokio::task::spawn_blocking(move || {
            let mut buffer = [0; 4096];
            while !heard.iter().any(|line| line.starts_with(until)) {
                let size = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("no {until}: {error}: {heard:?}"));
                heard.extend(String::from_utf8_lossy(&buffer[..size]).lines().map(str::to_owned));
            }
            heard
        })
    };
    let heard = listen("STATUS=clerk:prod ", Vec::new()).await.unwrap();
    assert_eq!(heard[0], "READY=1");
    listen("WATCHDOG=1", heard).await.unwrap();
    daemon.signal("TERM");
    listen("STOPPING=1", Vec::new()).await.unwrap();
    assert_eq!(daemon.stop().await, Some(0));
}
