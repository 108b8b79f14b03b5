//! A file system that has little room, and none. A real one: it is made in a mount namespace of its own, which needs
//! root; without it these tests say so and do nothing.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rusqlite::Connection;
use serde_json::Value;

use super::run;
use crate::common::daemon::{PATIENCE, eventually, eventually_within};
use crate::common::{Ran, Sandbox};

/// A small file system below a sandbox, where its database lies. Dropping it unmounts it.
struct Small {
    sandbox: Sandbox,
    keeper: Child,
}

impl Small {
    /// One of `mib` MiB, with Clerk read and approved; nothing where it cannot be made.
    async fn of(mib: u32) -> Option<Self> {
        let sandbox = Sandbox::new().await;
        let text = sandbox.configuration_of_clerk().replace("\"authdrift.db\"", "\"state/authdrift.db\"");
        sandbox.write("config.toml", &text);
        fs::create_dir(sandbox.path("state")).unwrap();
        let script = format!("mount -t tmpfs -o size={mib}m none \"$0\" && echo ready && exec sleep 1000");
        let mut keeper = Command::new("unshare")
            .args(["-m", "sh", "-c", &script])
            .arg(sandbox.path("state"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut said = String::new();
        BufReader::new(keeper.stdout.take()?).read_line(&mut said).ok()?;
        if said.trim() != "ready" {
            eprintln!("SKIPPED: no file system of its own can be mounted here; root can");
            let _ = keeper.kill();
            let _ = keeper.wait();
            return None;
        }
        let small = Self { sandbox, keeper };
        small.check().await.expect(13);
        let key = small.sandbox.path("alice").display().to_string();
        small.run(&["approve", "prod", "--reason", "x", "--all", "--accept-weaker", "--key", &key]).await.expect(0);
        Some(small)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let inner = self.sandbox.command();
        let mut command = Command::new("nsenter");
        command.args(["-m", "-t", &self.keeper.id().to_string(), "--"]).arg(inner.get_program()).args(inner.get_args());
        command.env_clear().stdin(Stdio::null());
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?)))).args(arguments);
        command
    }

    async fn run(&self, arguments: &[&str]) -> Ran {
        run(self.command(arguments)).await
    }

    async fn check(&self) -> Ran {
        self.run(&["check", "--json"]).await
    }

    /// A file of it, as seen from out here.
    fn path(&self, name: &str) -> PathBuf {
        let inside = self.sandbox.path("state").join(name);
        PathBuf::from(format!("/proc/{}/root{}", self.keeper.id(), inside.display()))
    }

    /// Fills it until `left` bytes are left.
    fn leave(&self, left: u64) {
        let _ = fs::remove_file(self.path("ballast"));
        let found = rustix::fs::statvfs(self.path("")).unwrap();
        let size = (found.f_bavail * found.f_frsize).saturating_sub(left);
        let made =
            Command::new("fallocate").args(["-l", &size.to_string()]).arg(self.path("ballast")).status().unwrap();
        assert!(made.success());
    }

    fn empty(&self) {
        fs::remove_file(self.path("ballast")).unwrap();
    }

    /// One number out of the database. SQLite resolves every link in a path, so only a process that sees the file
    /// system by its own name can open it: this test program once more.
    fn count(&self, query: &str) -> i64 {
        let inside = Command::new("nsenter")
            .args(["-m", "-t", &self.keeper.id().to_string(), "--"])
            .arg(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "disk::full::inside", "--nocapture"])
            .env("INSIDE", self.sandbox.path("state/authdrift.db"))
            .env("QUERY", query)
            .output()
            .unwrap();
        let out = String::from_utf8_lossy(&inside.stdout);
        let answer = out.split("answer:").nth(1).and_then(|rest| rest.split_whitespace().next());
        answer.and_then(|answer| answer.parse().ok()).unwrap_or_else(|| panic!("{query}: {inside:?}"))
    }

    fn make_due(&self) {
        self.count("UPDATE instances SET next_due_at = 0 RETURNING 0");
    }

    /// The kinds of everything that was told, in order.
    fn told(&self) -> Vec<String> {
        let kind = |body: Value| body["type"].as_str().unwrap().to_owned();
        self.sandbox.webhook.deliveries().iter().map(|delivery| kind(delivery.json())).collect()
    }

    fn start(&self) -> Child {
        let log = fs::File::create(self.sandbox.path("daemon.log")).unwrap();
        self.command(&["run"]).stdout(Stdio::null()).stderr(log).spawn().unwrap()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

#[test]
#[ignore = "the part of the tests below that sees the small file system"]
fn inside() {
    let Some(path) = std::env::var_os("INSIDE") else { return };
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(Duration::from_secs(5)).unwrap();
    let answer: i64 = connection.query_row(&std::env::var("QUERY").unwrap(), [], |row| row.get(0)).unwrap();
    println!("answer:{answer} ");
}

fn stop(mut daemon: Child) -> Option<i32> {
    assert!(Command::new("kill").args(["-s", "TERM", &daemon.id().to_string()]).status().unwrap().success());
    daemon.wait().unwrap().code()
}

const MIB: u64 = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn little_room_is_told_once_and_without_room_drift_is_told_but_no_snapshot_is_kept() {
    let Some(small) = Small::of(300).await else { return };
    small.leave(200 * MIB);
    small.check().await.expect(0);
    small.check().await.expect(0);
    assert_eq!(small.told(), ["storage.low"]);
    let mail = &small.sandbox.smtp.mails()[0];
    assert!(mail.header("Subject").unwrap().contains("the disk is nearly full"), "{:?}", mail.header("Subject"));

    small.leave(30 * MIB);
    let snapshots = small.count("SELECT count(*) FROM snapshots");
    small.sandbox.set_lifetime(3600);
    let ran = small.check().await.expect(74);
    assert!(ran.err.contains("no snapshot was kept"), "{}", ran.err);
    assert_eq!(ran.json()["instances"][0]["verdict"], "drift");
    assert_eq!(small.told(), ["storage.low", "drift.opened"]);
    assert_eq!(small.count("SELECT count(*) FROM snapshots"), snapshots);

    let daemon = small.start();
    small.make_due();
    eventually("told directly", || small.told().contains(&"storage.full".to_owned())).await;
    let mails = || small.sandbox.smtp.mails().len();
    eventually("by mail too", || mails() == 3).await;
    // Several ticks and cycles bring it no second time.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(small.told(), ["storage.low", "drift.opened", "storage.full"]);
    small.empty();
    small.make_due();
    eventually("told that it is over", || small.told().len() == 4).await;
    assert_eq!(small.told()[3], "storage.recovered");
    eventually("the snapshot", || small.count("SELECT count(*) FROM snapshots") == snapshots + 1).await;
    eventually("everything delivered", || small.count("SELECT count(*) FROM outbox WHERE state = 'waiting'") == 0)
        .await;
    assert_eq!(stop(daemon), Some(0));
    small.run(&["verify"]).await.expect(0);
    small.check().await.expect(10);
    assert_eq!(small.told().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_without_a_byte_left_is_told_reading_works_and_the_daemon_goes_on_when_there_is_room() {
    let Some(small) = Small::of(300).await else { return };
    let daemon = small.start();
    eventually("a start", || {
        small.count("SELECT count(*) FROM events WHERE CAST(body AS TEXT) LIKE '%daemon.started%'") == 1
    })
    .await;
    small.make_due();
    let cycles = small.count("SELECT count(*) FROM cycles");
    eventually("a cycle", || small.count("SELECT count(*) FROM cycles") > cycles).await;
    let before = small.count("SELECT max(seq) FROM events");
    small.make_due();
    small.leave(0);
    small.sandbox.set_lifetime(3600);
    let ran = small.check().await.expect(74);
    assert!(ran.err.contains("full"), "{}", ran.err);
    small.sandbox.webhook.wait_for(1, PATIENCE).await.expect("the message that needs no room");
    assert_eq!(small.told(), ["storage.full"]);
    assert_eq!(small.count("SELECT max(seq) FROM events"), before);
    small.run(&["status"]).await.expect(0);
    small.run(&["verify"]).await.expect(0);
    small.empty();
    // A cycle that could not be kept is tried again half a minute later.
    eventually_within(Duration::from_secs(60), "the drift", || small.told().contains(&"drift.opened".to_owned())).await;
    small.make_due();
    eventually("the end, though the beginning was told past the history", || {
        small.told().iter().filter(|kind| *kind == "storage.recovered").count() == 1
    })
    .await;
    assert_eq!(small.told().iter().filter(|kind| *kind == "storage.full").count(), 1);
    eventually("everything delivered", || small.count("SELECT count(*) FROM outbox WHERE state = 'waiting'") == 0)
        .await;
    assert_eq!(stop(daemon), Some(0));
    small.run(&["verify"]).await.expect(0);
    small.check().await.expect(10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_on_a_full_disk_is_an_ordinary_one_and_goes_on_from_what_was_kept() {
    let Some(small) = Small::of(300).await else { return };
    let daemon = small.start();
    eventually("a start", || {
        small.count("SELECT count(*) FROM events WHERE CAST(body AS TEXT) LIKE '%daemon.started%'") == 1
    })
    .await;
    small.leave(0);
    small.sandbox.webhook.wait_for(1, PATIENCE).await.expect("the message that needs no room");
    assert_eq!(stop(daemon), Some(0));
    small.empty();
    small.run(&["verify"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_can_only_be_read_is_said_and_nothing_is_changed() {
    let Some(small) = Small::of(300).await else { return };
    let before = fs::read(small.path("authdrift.db")).unwrap();
    let pid = small.keeper.id().to_string();
    let state = small.sandbox.path("state");
    let mounted =
        Command::new("nsenter").args(["-m", "-t", &pid, "--", "mount", "-o", "remount,ro"]).arg(&state).status();
    assert!(mounted.unwrap().success());
    for arguments in [&["check"][..], &["run"]] {
        let ran = small.run(arguments).await.expect(74);
        assert!(ran.err.contains("state/authdrift") || ran.err.contains("database"), "{}", ran.err);
        assert!(ran.err.contains("help: mount it for writing"), "{}", ran.err);
    }
    assert_eq!(fs::read(small.path("authdrift.db")).unwrap(), before);
}
