//! Another configuration for a daemon that runs: whole or not at all, and whoever asked hears which.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use authdrift::model::Digest;
use serde_json::Value;

use crate::common::Sandbox;
use crate::common::daemon::{PATIENCE, Running, eventually};
use crate::common::sandbox::Ran;

impl Sandbox {
    async fn started(&self) -> Running {
        let daemon = self.start();
        eventually("a start", || self.events("daemon.started") == 1).await;
        daemon
    }

    /// The data of the newest event of a kind.
    fn newest(&self, kind: &str) -> Value {
        let query = "SELECT CAST(body AS TEXT) FROM events
                     WHERE json_extract(CAST(body AS TEXT), '$.kind') = ?1 ORDER BY seq DESC LIMIT 1";
        let body: String = self.sql().query_row(query, [kind], |row| row.get(0)).unwrap();
        serde_json::from_str::<Value>(&body).unwrap()["data"].clone()
    }

    fn digest_of_configuration(&self) -> Value {
        Digest::of(&fs::read(self.path("config.toml")).unwrap()).as_str().into()
    }

    async fn reload(&self) -> Ran {
        self.run(&["reload"]).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_and_a_receiver_come_and_go_with_a_reload() {
    let sandbox = Sandbox::clerk_approved().await;
    let daemon = sandbox.started().await;
    assert_eq!(sandbox.newest("daemon.started")["config"], sandbox.digest_of_configuration());

    sandbox.write("config.toml", &sandbox.configuration());
    let ran = sandbox.reload().await.expect(0);
    assert_eq!(ran.out, "Reloaded: 2 instances, 2 receivers.\n");
    let event = sandbox.newest("config.reloaded");
    assert_eq!(event["digest"], sandbox.digest_of_configuration());
    assert_eq!((&event["instances"], &event["receivers"]), (&2.into(), &2.into()));
    eventually("a reading of the new instance", || sandbox.events("instance.first_read") == 2).await;

    // Without mail and without the first instance.
    let webhook = sandbox.receiver_tables();
    let webhook = &webhook[webhook.find("[[webhook]]").unwrap()..];
    sandbox.write("config.toml", &format!("{}{}{webhook}", sandbox.head(), sandbox.auth0_table()));
    let ran = sandbox.reload().await.expect(0);
    assert_eq!(ran.out, "Reloaded: 1 instance, 1 receiver.\n");
    sandbox.approve("acme").await;
    sandbox.clerk.forget_requests();
    let cycles = sandbox.cycles();
    sandbox.make_due();
    eventually("a cycle", || sandbox.cycles() > cycles).await;
    assert_eq!((sandbox.clerk.requests().len(), sandbox.smtp.mails().len()), (0, 0));
    assert_eq!(sandbox.events("daemon.started"), 1, "it is still the same daemon");
    assert_eq!(daemon.stop().await, Some(0));
    sandbox.run(&["verify"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_with_the_new_one_the_old_one_stays_and_the_reason_is_told() {
    let sandbox = Sandbox::clerk_approved().await;
    let daemon = sandbox.started().await;
    let good = sandbox.configuration_of_clerk();
    let table = [
        ("[schedule]", "nonsense = 1\n[schedule]", "nonsense", "nonsense"),
        (
            "path = \"authdrift.db\"",
            "path = \"other.db\"",
            "to change store.path takes a restart",
            "store.path changed from",
        ),
        ("file = \"clerk-secret-key\"", "file = \"gone\"", "check that the file exists", "cannot be used"),
        ("file = \"webhook-secret\"", "credential = \"siem\"", "CREDENTIALS_DIRECTORY is not set", "siem: cannot read"),
        ("allowed_signers = \"allowed_signers\"", "allowed_signers = \"nobody\"", "nobody", "cannot be used"),
        ("[approval]", "[approval", "", ""),
    ];
    for (at, (old, new, told, kept)) in table.iter().enumerate() {
        assert!(good.contains(old), "{old}");
        sandbox.write("config.toml", &good.replace(old, new));
        let mut command = sandbox.command();
        // What cannot be read at all does not say where the database is; systemd does.
        command.env("MAINPID", daemon.id().to_string()).arg("reload");
        let ran: Ran = tokio::task::spawn_blocking(move || command.output().unwrap().into()).await.unwrap();
        let ran = ran.expect(78);
        assert!(ran.err.contains(told) && ran.err.contains("goes on with the configuration it has"), "{}", ran.err);
        let what = format!("event {} of {}, for {new}", at + 1, sandbox.events("config.refused"));
        eventually(&what, || sandbox.events("config.refused") == i64::try_from(at).unwrap() + 1).await;
        let event = sandbox.newest("config.refused");
        assert!(event["reason"].as_str().unwrap().contains(kept), "{event}");
        assert_eq!(event["digest"], sandbox.digest_of_configuration());
    }
    fs::remove_file(sandbox.path("config.toml")).unwrap();
    daemon.signal("HUP");
    eventually("an event", || sandbox.events("config.refused") == 7).await;
    assert_eq!(sandbox.newest("config.refused")["digest"], Value::Null);

    let cycles = sandbox.cycles();
    sandbox.make_due();
    eventually("a cycle as before", || sandbox.cycles() > cycles).await;
    assert!(!daemon.log().contains("CANARY"), "{}", daemon.log());
    assert_eq!(daemon.log().matches("the one before stays").count(), 7, "each once: {}", daemon.log());
    // The answer is that to the file as it is now, also when somebody asked before about another one.
    for _ in 0..5 {
        sandbox.write("config.toml", &good.replace("[schedule]", "nonsense = 1\n[schedule]"));
        daemon.signal("HUP");
        sandbox.write("config.toml", &good);
        sandbox.reload().await.expect(0);
    }
    assert_eq!(daemon.stop().await, Some(0));
    sandbox.run(&["verify"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_while_another_reload_is_under_way_asks_once() {
    let sandbox = Sandbox::clerk_approved().await;
    let daemon = sandbox.started().await;
    // A busy database keeps a reload under way.
    let busy = sandbox.sql();
    busy.execute_batch("BEGIN IMMEDIATE").unwrap();
    sandbox.edit_configuration("[schedule]", "nonsense = 1\n[schedule]");
    daemon.signal("HUP");
    tokio::time::sleep(Duration::from_millis(500)).await;
    sandbox.write("config.toml", &sandbox.configuration_of_clerk());
    let asking = sandbox.reload();
    let free = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        busy.execute_batch("COMMIT").unwrap();
        eventually("the first answer", || sandbox.events("config.refused") == 1).await;
        // And the next one, so that the first answer is seen.
        busy.execute_batch("BEGIN IMMEDIATE").unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        busy.execute_batch("COMMIT").unwrap();
    };
    let (ran, ()) = tokio::join!(asking, free);
    assert_eq!(ran.expect(0).out, "Reloaded: 1 instance, 2 receivers.\n");
    assert_eq!(daemon.stop().await, Some(0));
    assert_eq!((sandbox.events("config.refused"), sandbox.events("config.reloaded")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_asked_where_no_daemon_is_and_no_signal_goes_astray() {
    let sandbox = Sandbox::clerk_approved().await;
    let ran = sandbox.reload().await.expect(69);
    assert!(ran.err.contains("no daemon works on"), "{}", ran.err);
    let daemon = sandbox.started().await;
    // The lock file can be made to name another process, which does not hold the lock.
    let lock = sandbox.path("authdrift.lock");
    let said = fs::read_to_string(&lock).unwrap();
    let mut bystander = Command::new("sleep").arg("60").spawn().unwrap();
    for pid in [bystander.id(), std::process::id()] {
        fs::write(&lock, said.replace(&format!("\"pid\":{}", daemon.id()), &format!("\"pid\":{pid}"))).unwrap();
        let ran = sandbox.reload().await.expect(74);
        assert!(ran.err.contains("does not hold that lock: no signal was sent"), "{}", ran.err);
    }
    assert!(bystander.try_wait().unwrap().is_none(), "it got no signal");
    bystander.kill().unwrap();
    bystander.wait().unwrap();
    fs::write(&lock, said).unwrap();
    sandbox.reload().await.expect(0);
    daemon.kill();
    // What a dead one left behind names no process any more.
    assert!(fs::read_to_string(sandbox.path("authdrift.lock")).unwrap().contains("pid"));
    sandbox.reload().await.expect(69);
    for (main, code) in [("1", 2), ("0", 2), ("-1", 2), ("", 2), ("2147483647", 69)] {
        let mut command = sandbox.command();
        command.env("MAINPID", main).arg("reload");
        let ran: Ran = tokio::task::spawn_blocking(move || command.output().unwrap().into()).await.unwrap();
        ran.expect(code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_ends_with_the_configuration_it_began_with_and_nothing_comes_twice() {
    let sandbox = Sandbox::clerk_approved().await;
    let daemon = sandbox.started().await;
    sandbox.webhook.set_latency(Duration::from_millis(1500));
    sandbox.set_lifetime(3600);
    sandbox.make_due();
    sandbox.webhook.wait_for(1, PATIENCE).await.expect("a try");
    sandbox.edit_configuration("confirm_after = \"100ms\"", "confirm_after = \"200ms\"");
    for _ in 0..3 {
        sandbox.reload().await.expect(0);
    }
    eventually("everything delivered", || sandbox.waiting() == 0).await;
    assert_eq!((sandbox.webhook_ids().len(), sandbox.mail_ids().len()), (1, 1));
    assert_eq!(daemon.stop().await, Some(0));
    sandbox.assert_nothing_lost_or_invented();
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_hears_when_a_reload_begins_when_it_is_over_and_why_it_was_refused() {
    let sandbox = Sandbox::clerk_approved().await;
    let path = sandbox.path("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let daemon = sandbox.start_with(&[("NOTIFY_SOCKET", &path.display().to_string())]);
    let hear = |until: &'static str| {
        let socket = socket.try_clone().unwrap();
        tokio::task::spawn_blocking(move || {
            let mut buffer = [0; 4096];
            loop {
                let size = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("no {until}: {error}"));
                let heard = String::from_utf8_lossy(&buffer[..size]).into_owned();
                if heard.contains(until) {
                    return heard;
                }
            }
        })
    };
    hear("READY=1").await.unwrap();
    sandbox.edit_configuration("[schedule]", "nonsense = 1\n[schedule]");
    daemon.signal("HUP");
    let begun = hear("RELOADING=1").await.unwrap();
    assert!(begun.contains("MONOTONIC_USEC="), "{begun}");
    let over = hear("READY=1").await.unwrap();
    assert!(over.contains("STATUS=reload refused: ") && over.contains("nonsense"), "{over}");
    // It is to be seen for as long as it is so.
    sandbox.make_due();
    let later = hear("clerk:prod in sync").await.unwrap();
    assert!(later.starts_with("STATUS=reload refused: "), "{later}");
    sandbox.write("config.toml", &sandbox.configuration_of_clerk());
    daemon.signal("HUP");
    hear("RELOADING=1").await.unwrap();
    let over = hear("READY=1").await.unwrap();
    assert!(over.contains("STATUS=clerk:prod "), "{over}");
    assert_eq!(daemon.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_heard_at_every_moment_of_the_start() {
    let sandbox = Sandbox::clerk_approved().await;
    for wait in [0, 5, 10, 15, 20, 30, 50, 100, 300] {
        let mut child = sandbox.command().arg("run").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(wait)).await;
        assert!(Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().unwrap().success());
        let status = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
        // Before it listens the signal itself ends it, and nothing has begun; both are a clean end for systemd.
        assert!(status.code() == Some(0) || status.signal() == Some(15), "after {wait} ms: {status}");
    }
    assert_eq!(sandbox.events("daemon.started"), sandbox.events("daemon.stopped"));
    sandbox.run(&["verify"]).await.expect(0);
}
