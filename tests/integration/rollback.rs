//! An older genuine copy of the database is sound in itself; it is noticed all the same, and nothing is compared until
//! somebody signs that it is to be so.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::common::Sandbox;

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
