//! A database that cannot be relied on any more: the daemon writes nothing to it, tells people and ends with 74.

use std::fs;
use std::io::{Seek, SeekFrom, Write};

use crate::common::Sandbox;
use crate::common::daemon::eventually;

use super::{on_the_disk, run, shim};

fn told(sandbox: &Sandbox) -> Vec<String> {
    let kind = |body: serde_json::Value| body["type"].as_str().unwrap().to_owned();
    sandbox.webhook.deliveries().iter().map(|delivery| kind(delivery.json())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_whose_database_is_damaged_or_another_file_tells_it_and_leaves_the_file_alone() {
    for is_text in [true, false] {
        let sandbox = Sandbox::clerk_approved().await;
        sandbox.sql().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        let query = "SELECT rootpage FROM sqlite_schema WHERE name = 'events'";
        let page: u64 = sandbox.sql().query_row(query, [], |row| row.get::<_, i64>(0)).unwrap().try_into().unwrap();
        if is_text {
            fs::write(sandbox.database(), "somebody's notes, which are no database\n".repeat(200)).unwrap();
        } else {
            let mut file = fs::File::options().write(true).open(sandbox.database()).unwrap();
            file.seek(SeekFrom::Start((page - 1) * 4096)).unwrap();
            file.write_all(&b"CORRUPT!".repeat(512)).unwrap();
        }
        let before = fs::read(sandbox.database()).unwrap();
        let ran = sandbox.run(&["run"]).await.expect(74);
        assert!(ran.err.contains("database"), "{}", ran.err);
        assert_eq!(told(&sandbox), ["storage.failed"]);
        assert_eq!(sandbox.smtp.mails().len(), 1);
        let subject = sandbox.smtp.mails()[0].header("Subject").unwrap();
        assert!(subject.contains("CRITICAL") && subject.contains("nothing is watched"), "{subject}");
        let after = fs::read(sandbox.database()).unwrap();
        let differs = before.iter().zip(&after).position(|(one, other)| one != other);
        assert!(
            after == before,
            "it is left as it is: text {is_text}, {} and {} bytes, {differs:?}",
            before.len(),
            after.len()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_whose_disk_fails_while_it_runs_tells_it_and_ends_and_nothing_is_lost() {
    let sandbox = Sandbox::clerk_approved().await;
    shim(&sandbox);
    let mut said = 0;
    // At the start, in a cycle, and while messages are sent. Later ones would wait for the next minute.
    for at in [5, 30, 45, 60, 75] {
        sandbox.set_lifetime(1000 + at);
        sandbox.make_due();
        let before = told(&sandbox).iter().filter(|kind| *kind == "storage.failed").count();
        let mut command = sandbox.command();
        command.arg("run");
        on_the_disk(&sandbox, &mut command);
        command.env("DISK_FAIL_AT", at.to_string()).env("DISK_ERRNO", "5").env("DISK_STICKY", "1");
        // A disk that never fails would mean a daemon that never ends.
        let ran = tokio::time::timeout(std::time::Duration::from_secs(90), run(command)).await.unwrap();
        assert_eq!(ran.code, 74, "{at}: {ran:?}");
        assert!(!ran.err.contains("panicked"), "{at}: {ran:?}");
        let after = told(&sandbox).iter().filter(|kind| *kind == "storage.failed").count();
        said += after - before;
        sandbox.run(&["verify"]).await.expect(0);
        sandbox.let_claims_expire();
    }
    assert!(said >= 3, "people were told: {said}");
    sandbox.check().await.expect(10);
    assert_eq!(sandbox.waiting(), 0);
    sandbox.run(&["verify"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_removed_or_replaced_below_a_daemon_is_told_once_and_ends_it() {
    for (what, phrase) in [("removed", "No such file"), ("replaced", "another file was put in its place")] {
        let sandbox = Sandbox::clerk_approved().await;
        let mut daemon = sandbox.start();
        eventually("a start", || sandbox.events("daemon.started") == 1).await;
        let copy = sandbox.path("copy.db");
        sandbox.run(&["backup", &copy.display().to_string()]).await.expect(0);
        for name in ["authdrift.db-wal", "authdrift.db-shm"] {
            fs::remove_file(sandbox.path(name)).unwrap();
        }
        match what {
            "removed" => fs::remove_file(sandbox.database()).unwrap(),
            _ => fs::rename(&copy, sandbox.database()).unwrap(),
        }
        assert_eq!(daemon.ended().await, Some(74), "{what}: {}", daemon.log());
        assert_eq!(told(&sandbox), ["storage.failed"], "{what}");
        assert_eq!(sandbox.smtp.mails().len(), 1, "{what}");
        let text = sandbox.webhook.deliveries()[0].json().to_string();
        let path = sandbox.database().display().to_string();
        assert!(text.contains(&path) && text.contains(phrase), "{what}: {text}");
        assert!(!daemon.log().contains("panicked"), "{what}: {}", daemon.log());
        if what == "replaced" {
            // What was put there is an honest copy, and is watched by the next one.
            let daemon = sandbox.start();
            eventually("another start", || sandbox.events("daemon.started") == 2).await;
            assert_eq!(daemon.stop().await, Some(0));
        }
    }
}
