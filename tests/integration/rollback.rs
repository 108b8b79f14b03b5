//! An older genuine copy of the database is sound in itself; it is noticed all the same, and nothing is compared until
//! somebody signs that it is to be so.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::common::Sandbox;
use crate::common::daemon::eventually;

/// Copies the database as somebody would who puts back a backup, without what lies beside it.
fn put_back(copy: &Path, database: &Path) {
    for extension in ["db-wal", "db-shm"] {
        let _ = fs::remove_file(database.with_extension(extension));
    }
    fs::copy(copy, database).unwrap();
}

/// A sandbox with a second baseline, and a copy of the database from before it.
async fn advanced() -> (Sandbox, std::path::PathBuf) {
    let sandbox = Sandbox::approved().await;
    let copy = sandbox.path("older.db");
    let to = copy.display().to_string();
    sandbox.run(&["backup", &to]).await.expect(0);
    sandbox.clerk.edit("/v1/instance", |instance| instance["allowed_origins"] = json!(["app://one"]));
    sandbox.check_one("prod", 10).await;
    sandbox.approve("prod").await;
    sandbox.check().await.expect(0);
    (sandbox, copy)
}

#[tokio::test(flavor = "multi_thread")]
async fn t5_an_older_copy_of_the_database_is_not_compared_with_until_somebody_signs_for_it() {
    let (sandbox, copy) = advanced().await;
    put_back(&copy, &sandbox.database());
    let mails = sandbox.smtp.mails().len();
    for _ in 0..2 {
        let report = sandbox.check_one("prod", 12).await;
        assert_eq!((&report["verdict"], &report["reason"]["code"]), (&json!("untrusted"), &json!("rolled-back")));
        assert_eq!(report["drifts"], json!([]));
    }
    // The other instance lost no baseline, but its history is shorter than it was.
    assert_eq!(sandbox.check_one("acme", 12).await["reason"]["code"], "rolled-back");
    assert!(sandbox.smtp.mails().len() > mails, "somebody was told");
    sandbox.run(&["verify"]).await.expect(12);

    let key = sandbox.path("alice").display().to_string();
    let mut restore = vec!["approve", "prod", "--reason", "restored", "--all", "--key", &key];
    // Who has signed what was lost does not sign its place again unasked.
    let refused = sandbox.run(&restore).await.expect(12);
    assert!(refused.err.contains("has signed another baseline 2"), "{}", refused.err);
    restore.extend(["--replace-signed", "--accept-weaker"]);
    let approved = sandbox.run(&restore).await.expect(0);
    assert!(approved.out.contains("rolled back"), "{}", approved.out);
    assert_eq!(sandbox.check_one("prod", 0).await["verdict"], "in_sync");
    assert_eq!(sandbox.check_one("acme", 0).await["verdict"], "in_sync");
    sandbox.run(&["verify"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledging_one_instance_does_not_take_another_back() {
    let sandbox = Sandbox::approved().await;
    let copy = sandbox.path("older.db");
    let to = copy.display().to_string();
    sandbox.run(&["backup", &to]).await.expect(0);
    for (name, path) in [("prod", "/v1/instance"), ("acme", "/api/v2/tenants/settings")] {
        match name {
            "prod" => sandbox.clerk.edit(path, |instance| instance["allowed_origins"] = json!(["app://one"])),
            _ => sandbox.auth0.edit(path, |settings| settings["session_lifetime"] = json!(9)),
        }
        sandbox.check_one(name, 10).await;
        sandbox.approve(name).await;
    }
    put_back(&copy, &sandbox.database());
    sandbox.check_one("acme", 12).await;
    let key = sandbox.path("alice").display().to_string();
    let restore =
        ["approve", "acme", "--reason", "restored", "--all", "--key", &key, "--accept-weaker", "--replace-signed"];
    sandbox.run(&restore).await.expect(0);
    assert_eq!(sandbox.check_one("acme", 0).await["verdict"], "in_sync");
    assert_eq!(sandbox.check_one("prod", 12).await["reason"]["code"], "rolled-back");
}

#[tokio::test(flavor = "multi_thread")]
async fn t5_a_lost_or_damaged_memory_is_noticed_and_a_new_database_needs_none() {
    let sandbox = Sandbox::approved().await;
    let memory = sandbox.path("authdrift.high-water");
    let good = fs::read(&memory).unwrap();
    fs::remove_file(&memory).unwrap();
    assert_eq!(sandbox.check_one("prod", 12).await["reason"]["code"], "rolled-back");
    fs::write(&memory, "{}").unwrap();
    assert_eq!(sandbox.check_one("prod", 12).await["reason"]["code"], "rolled-back");
    fs::write(&memory, good).unwrap();
    sandbox.check_one("prod", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_is_noticed_and_goes_on_once_somebody_signed_for_it() {
    let (sandbox, copy) = advanced().await;
    // As docs/operations.md says: stop, remove what lies beside it, copy, start.
    let daemon = sandbox.start();
    eventually("a start", || sandbox.events("daemon.started") == 1).await;
    assert_eq!(daemon.stop().await, Some(0));
    put_back(&copy, &sandbox.database());
    assert_eq!(fs::read(copy.with_extension("key")).unwrap(), fs::read(sandbox.path("authdrift.key")).unwrap());
    // Both notice it on their own.
    sandbox.make_due();
    let told = sandbox.webhook.deliveries().len();
    let daemon = sandbox.start();
    eventually("both told", || sandbox.webhook.deliveries().len() == told + 2).await;
    let news = sandbox.webhook.deliveries().pop().unwrap().json();
    assert_eq!(news["type"], "baseline.untrusted");
    assert_eq!(sandbox.events("drift.opened"), 0, "nothing is compared");
    assert_eq!(daemon.stop().await, Some(0));
    let key = sandbox.path("alice").display().to_string();
    for name in ["prod", "acme"] {
        let restore =
            ["approve", name, "--reason", "restored", "--all", "--key", &key, "--accept-weaker", "--replace-signed"];
        sandbox.run(&restore).await;
    }
    sandbox.check().await.expect(0);
    sandbox.run(&["verify"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_on_an_empty_machine_is_not_believed_until_somebody_signed_for_it() {
    let sandbox = Sandbox::clerk_approved().await;
    let copy = sandbox.path("older.db");
    sandbox.run(&["backup", &copy.display().to_string()]).await.expect(0);
    for name in ["authdrift.db", "authdrift.key", "authdrift.high-water", "authdrift.lock"] {
        let _ = fs::remove_file(sandbox.path(name));
    }
    put_back(&copy, &sandbox.database());
    // Without its key it is of no use, and says so.
    sandbox.check().await.expect(74).saying(&["fingerprint key"]);
    fs::copy(copy.with_extension("key"), sandbox.path("authdrift.key")).unwrap();
    assert_eq!(sandbox.check_one("prod", 12).await["reason"]["code"], "rolled-back");
    let key = sandbox.path("alice").display().to_string();
    sandbox.run(&["approve", "prod", "--reason", "moved", "--all", "--key", &key]).await.expect(0);
    sandbox.check().await.expect(0);
    sandbox.run(&["verify"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_left_beside_a_restored_file_is_harmless_or_noticed() {
    // The log of a program that was killed: SQLite could replay it into the older file.
    for round in 0..2 {
        let sandbox = Sandbox::clerk_approved().await;
        let copy = sandbox.path("older.db");
        sandbox.run(&["backup", &copy.display().to_string()]).await.expect(0);
        let older = fs::read(sandbox.database()).unwrap();
        let daemon = sandbox.start();
        sandbox.set_lifetime(3600);
        sandbox.make_due();
        eventually("an alert", || sandbox.events("drift.opened") == 1).await;
        daemon.kill();
        let log = sandbox.path("authdrift.db-wal");
        assert!(fs::metadata(&log).unwrap().len() > 0, "there is a log");
        // A copy by `backup`, or one that was made by hand of the very file the log belongs to.
        let file = if round == 0 { fs::read(&copy).unwrap() } else { older };
        fs::write(sandbox.database(), file).unwrap();
        let verified = sandbox.run(&["verify"]).await;
        let checked = sandbox.check().await;
        eprintln!("a log beside an older file, {round}: verify {}, check {}", verified.code, checked.code);
        assert!([12, 74].contains(&verified.code) || round == 1 && verified.code == 0, "{verified:?}");
        assert!([12, 74].contains(&checked.code) || round == 1 && checked.code == 10, "{checked:?}");
    }
}
