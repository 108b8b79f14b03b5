//! `status`: one screen that says how everything stands, and writes nothing.

use std::fs;

use authdrift::simulator::auth0;
use authdrift::simulator::fault::Fault;
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

/// A field that the vendor gave to every object is information, and no command calls it anything else.
#[tokio::test(flavor = "multi_thread")]
async fn one_drift_has_one_severity_in_every_output() {
    let sandbox = Sandbox::approved().await;
    sandbox.auth0.edit("/api/v2/clients", |clients| {
        for client in clients.as_array_mut().unwrap() {
            client["new_field_of_the_vendor"] = json!(true);
        }
    });
    let report = sandbox.check().await.expect(10).json();
    let drifts = Sandbox::report(&report, "auth0:acme")["drifts"].as_array().unwrap();
    assert!(drifts.iter().filter(|drift| drift["setting"] == "new-field").count() >= 3, "{drifts:?}");
    let status = sandbox.run(&["status", "--json"]).await.expect(0).json();
    let instances = status["instances"].as_array().unwrap();
    let open = &instances.iter().find(|one| one["instance"] == "auth0:acme").unwrap()["open"];
    for (severity, count) in open.as_object().unwrap() {
        let of_it = drifts.iter().filter(|drift| drift["severity"] == *severity).count();
        assert_eq!(count, of_it, "{severity}");
    }
    for drift in drifts {
        let shown = sandbox.run(&["show", drift["id"].as_str().unwrap(), "--json"]).await.expect(0).json();
        for field in ["severity", "direction", "setting", "title", "why", "category"] {
            assert_eq!(shown["drift"][field], drift[field], "{field}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_known_now_is_not_shown_as_if_it_were() {
    let sandbox = Sandbox::clerk_approved().await;
    sandbox.clerk.fail_all(Fault::status(503, json!({})));
    sandbox.check().await;
    let status = sandbox.run(&["status", "--json"]).await.expect(0).json();
    let sections = &status["instances"][0]["sections"];
    assert_eq!((&status["instances"][0]["verdict"], &sections["read"]), (&json!("error"), &json!(0)));
    assert_eq!(sections["blind"].as_array().unwrap().len(), sections["all"].as_u64().unwrap() as usize);
    assert!(sections["last_read"].as_str().unwrap() < status["instances"][0]["last_cycle"]["at"].as_str().unwrap());
    let text = sandbox.run(&["status"]).await.expect(0).out;
    for said in
        ["  0 of ", "What now", "nothing could be read at", "the last reading is of", "authdrift doctor clerk:prod"]
    {
        assert!(text.contains(said), "'{said}' is not in {text}");
    }

    // Files that cannot be trusted for one cycle: nothing was compared since, also if they are back.
    sandbox.clerk.heal_all();
    let signers = fs::read(sandbox.path("allowed_signers")).unwrap();
    fs::remove_file(sandbox.path("allowed_signers")).unwrap();
    sandbox.check().await.expect(12);
    fs::write(sandbox.path("allowed_signers"), signers).unwrap();
    let status = sandbox.run(&["status", "--json"]).await.expect(0).json();
    assert_eq!(status["instances"][0]["verdict"], "untrusted");
    sandbox.check().await.expect(0);
    let status = sandbox.run(&["status", "--json"]).await.expect(0).json();
    assert_eq!(status["instances"][0]["verdict"], "in_sync");

    // A database that is gone or was begun anew is not one that was never used: what was reached before lies beside it.
    for end in ["db", "db-wal", "db-shm"] {
        let _ = fs::remove_file(sandbox.path(&format!("authdrift.{end}")));
    }
    let doctor = sandbox.run(&["doctor", "--json"]).await;
    assert!(doctor.out.contains("its high-water file is still there"), "{}", doctor.out);
    sandbox.clerk.fail_all(Fault::status(503, json!({})));
    sandbox.check().await;
    let status = sandbox.run(&["status", "--json"]).await.expect(0).json();
    assert_eq!(status["instances"][0]["verdict"], "untrusted");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_somebody_who_is_not_configured_any_more_is_shown_with_the_name() {
    let sandbox = Sandbox::clerk_approved().await;
    sandbox.smtp.stop();
    sandbox.set_lifetime(3600);
    sandbox.check().await.expect(10);
    sandbox.edit_configuration("name = \"security\"", "name = \"secops\"");
    let text = sandbox.run(&["status"]).await.expect(0).out;
    assert!(text.contains("for 'security', which is not configured any more: 1 waits"), "{text}");
    let status = sandbox.run(&["status", "--json"]).await.expect(0).json();
    assert_eq!(status["outbox"]["receivers"]["security"]["waiting"], 1);
}
