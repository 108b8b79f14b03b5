//! `status`: one screen that says how everything stands, and writes nothing.

use std::fs;

use authdrift::simulator::auth0;
use serde_json::json;

use crate::common::Sandbox;
use crate::common::terminal::on_a_terminal;

#[tokio::test(flavor = "multi_thread")]
async fn one_screen_says_how_everything_stands() {
    let sandbox = Sandbox::approved().await;
    sandbox.auth0.fail("/api/v2/network-acls", auth0::missing_scope("read:network_acls"));
    sandbox.set_lifetime(3600);
    sandbox.smtp.stop();
    sandbox.check().await.expect(10);

    let status = sandbox.run(&["status", "--json"]).await.expect(0).json();
    assert_eq!(status["daemon"]["running"], false);
    let instances = status["instances"].as_array().unwrap();
    let of = |id: &str| instances.iter().find(|found| found["instance"] == id).unwrap();
    assert_eq!(of("clerk:prod")["verdict"], "drift");
    assert_eq!(of("clerk:prod")["baseline"]["approvers"], json!(["alice@example.test"]));
    assert_eq!(of("auth0:acme")["verdict"], "blind");
    assert_eq!(of("auth0:acme")["sections"]["blind"], json!(["network-acls"]));
    assert_eq!((&status["outbox"]["waiting"], &status["outbox"]["given_up"]), (&json!(1), &json!(0)));
    assert!(status["outbox"]["oldest_waiting"].is_string() && status["history"]["size"].as_u64().unwrap() > 0);
    assert!(status["database"]["size"].as_u64().unwrap() > 0 && status["database"]["free"].is_u64());

    let lock =
        fs::File::options().write(true).create(true).truncate(false).open(sandbox.path("authdrift.lock")).unwrap();
    lock.lock().unwrap();
    let text = sandbox.run(&["status"]).await.expect(0).out;
    for said in [
        "Daemon running. 2 instances: 1 DRIFT, 1 BLIND.",
        "1 of today, by alice@example.test",
        ", 1 blind",
        "1 waits, the oldest since",
        "failed once",
        "MiB free",
    ] {
        assert!(text.contains(said), "'{said}' is not in {text}");
    }
    drop(lock);
    // It fits into 80 columns where there are no more.
    let file = sandbox.path("config.toml").display().to_string();
    let home = sandbox.folder.path().to_owned();
    let shown = tokio::task::spawn_blocking(move || on_a_terminal(&home, &format!("--config {file} status"), &[]));
    let Some(shown) = shown.await.unwrap() else { return };
    let shown = shown.expect(0).out;
    assert!(shown.contains("Daemon NOT RUNNING"), "{shown}");
    let database = sandbox.database().display().to_string();
    let long: Vec<&str> = shown.lines().filter(|line| line.trim_end().chars().count() > 80).collect();
    assert!(long.iter().all(|line| line.contains(&database)), "{long:?}");
}
