//! `doctor`: what is wrong is named with what to do, the exit code is that of the worst, and nothing is left behind.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use authdrift::model::Provider;
use authdrift::sections::Table;
use authdrift::simulator::fault::Fault;
use authdrift::simulator::{auth0, clerk};
use serde_json::{Value, json};

use crate::common::{Ran, Sandbox};

/// What `doctor --json` found of a kind, if it ended with `code`.
#[track_caller]
fn found(ran: &Ran, check: &str, status: &str) -> Vec<Value> {
    let report = ran.json();
    let findings = report["findings"].as_array().unwrap().iter();
    findings.filter(|finding| finding["check"] == check && finding["status"] == status).cloned().collect()
}

/// The one finding of a kind.
#[track_caller]
fn one(ran: &Ran, check: &str, status: &str) -> Value {
    let found = found(ran, check, status);
    let [finding] = found.as_slice() else { panic!("{check} {status}: {found:?}\n{}", ran.out) };
    finding.clone()
}

fn says(finding: &Value, field: &str, text: &str) {
    assert!(finding[field].as_str().unwrap().contains(text), "'{text}' is not in {finding}");
}

async fn doctor(sandbox: &Sandbox, code: i32) -> Ran {
    let ran = sandbox.run(&["doctor", "--json"]).await.expect(code);
    assert_eq!(ran.json()["exit"], code);
    ran
}

/// Every scope there is, as a tenant would grant it.
fn all_scopes() -> String {
    let sections = Table::of(Provider::Auth0).sections().iter();
    sections.map(|section| section.scope.as_str()).collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_set_up_passes_and_nothing_is_left_behind() {
    let sandbox = Sandbox::approved().await;
    sandbox.auth0.set_scopes(&all_scopes());
    let (cycles, events) = (sandbox.count("SELECT count(*) FROM cycles"), sandbox.count("SELECT count(*) FROM events"));
    let ran = doctor(&sandbox, 0).await;
    let report = ran.json();
    assert_eq!(report["failures"], 0);
    assert_eq!(found(&ran, "rights", "ok").len(), 2);
    for check in ["configuration", "database", "fingerprint-key", "history", "disk", "signers"] {
        one(&ran, check, "ok");
    }
    assert_eq!(found(&ran, "baseline", "ok").len(), 2);
    assert_eq!(found(&ran, "clock", "ok").len(), 2);
    says(&one(&ran, "mail", "ok"), "why", "nothing was sent");
    assert_eq!(found(&ran, "sample", "skipped").len(), 2);
    let sections: usize = Provider::ALL.iter().map(|provider| Table::of(*provider).sections().len()).sum();
    assert!(found(&ran, "section", "ok").len() + 20 > sections);
    // One approver, no daemon, no heartbeat: it works, and could be better.
    let warned: Vec<String> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["status"] == "warning")
        .map(|finding| finding["check"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(warned, ["threshold", "daemon", "heartbeat"]);

    let text = sandbox.run(&["doctor"]).await.expect(0).out;
    assert!(text.contains("0 failures, 3 warnings") && text.contains("-> add [heartbeat]"), "{text}");
    assert!(text.lines().all(|line| !line.ends_with(' ')), "{text}");
    assert_eq!(sandbox.count("SELECT count(*) FROM cycles"), cycles);
    assert_eq!(sandbox.count("SELECT count(*) FROM events"), events);
    assert!(sandbox.smtp.mails().is_empty() && sandbox.webhook.deliveries().is_empty());

    let ran = sandbox.run(&["doctor", "clerk:prod", "--send", "--json"]).await.expect(0);
    assert_eq!(found(&ran, "sample", "ok").len(), 2);
    assert!(found(&ran, "section", "ok").iter().all(|finding| finding["group"] == "clerk:prod"));
    assert_eq!((sandbox.smtp.mails().len(), sandbox.webhook.deliveries().len()), (1, 1));
    sandbox.run(&["doctor", "nobody"]).await.expect(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn permissions_are_named_those_that_are_missing_and_those_that_are_too_many() {
    let sandbox = Sandbox::new().await;
    let granted = all_scopes().replace("read:network_acls", "").replace("read:rate_limit_policies", "");
    sandbox.auth0.set_scopes(&format!("{granted} update:clients create:users read:client_keys read:logs"));
    sandbox.auth0.fail("/api/v2/network-acls", auth0::missing_scope("read:network_acls"));
    let ran = doctor(&sandbox, 77).await;
    let missing = one(&ran, "permission", "failure");
    assert_eq!((missing["on"].as_str(), missing["exit"].as_u64()), (Some("read:network_acls"), Some(77)));
    says(&missing, "why", "network-acls");
    says(&missing, "help", "grant read:network_acls to the application");
    says(&missing, "help", "leave_out");
    assert_eq!(one(&ran, "permission", "warning")["on"], "read:rate_limit_policies");
    let rights: Vec<(String, String)> = found(&ran, "rights", "warning")
        .iter()
        .map(|found| (found["on"].as_str().unwrap().to_owned(), found["why"].as_str().unwrap().to_owned()))
        .collect();
    let [(writing, change), (secret, secrets), (other, _)] = rights.as_slice() else { panic!("{rights:?}") };
    assert_eq!(
        (writing.as_str(), secret.as_str(), other.as_str()),
        ("create:users, update:clients", "read:client_keys", "read:logs")
    );
    assert!(change.contains("change the tenant") && secrets.contains("secrets of every application"));

    // Clerk names what its keys lack by itself.
    let lacking = json!({ "errors": [{ "code": "authorization_missing_scopes", "message": "no",
                                       "meta": { "scopes": ["applications:manage"] } }] });
    sandbox.auth0.set_scopes(&all_scopes());
    sandbox.auth0.heal_all();
    sandbox.clerk.fail("/v1/platform/*", Fault::status(403, lacking));
    let ran = sandbox.run(&["doctor", "prod", "--json"]).await.expect(77);
    let named: Vec<Value> = found(&ran, "permission", "failure").iter().map(|found| found["on"].clone()).collect();
    assert_eq!(named, ["applications:manage", "applications:read", "jwt_templates:read"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_hosts_and_the_clock_are_told_apart() {
    let sandbox = Sandbox::new().await;
    sandbox.auth0.rotate_client_secret("another");
    let ran = doctor(&sandbox, 77).await;
    let refused = one(&ran, "credential", "failure");
    says(&refused, "why", "access_denied");
    says(&refused, "help", "authorised for the Management API");
    assert!(!ran.out.contains("CANARY"), "{}", ran.out);
    assert_eq!(found(&ran, "clock", "ok").len(), 2, "the refusal says what time it is");

    // Nothing listens there, and the other instance is looked at all the same.
    sandbox.edit_configuration(&sandbox.auth0.url(), "http://127.0.0.1:1");
    let ran = doctor(&sandbox, 69).await;
    let host = one(&ran, "host", "failure");
    assert_eq!((host["group"].as_str(), host["on"].as_str()), (Some("auth0:acme"), Some("127.0.0.1:1")));
    says(&host, "why", "cannot be connected to");
    says(&one(&ran, "credential", "skipped"), "why", "no host of it can be reached");
    assert!(found(&ran, "section", "ok").iter().any(|found| found["group"] == "clerk:prod"));
    sandbox.edit_configuration("http://127.0.0.1:1", "https://no-such-tenant.invalid");
    says(&one(&doctor(&sandbox, 69).await, "host", "failure"), "why", "the name cannot be resolved");

    // The vendor lives in another time.
    sandbox.write("config.toml", &format!("{}{}", sandbox.head(), sandbox.clerk_table()));
    for (date, status, code) in [("Thu, 01 Jan 2015 00:00:00 GMT", "failure", 78)] {
        sandbox.clerk.fail_all(Fault::status(404, json!({})).with_header("date", date));
        let ran = doctor(&sandbox, code).await;
        let clock = one(&ran, "clock", status);
        says(&clock, "why", "ahead of the vendor's time");
        says(&clock, "help", "time synchronisation");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_others_write_or_read_are_named_with_the_command_that_mends_them() {
    let sandbox = Sandbox::approved().await;
    let mode = |name: &str, mode: u32| {
        fs::set_permissions(sandbox.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    // One folder is one failure, whatever lies in it.
    mode(".", 0o777);
    let ran = doctor(&sandbox, 74).await;
    says(&one(&ran, "file", "failure"), "why", "mode 0777");
    mode(".", 0o700);
    mode("allowed_signers", 0o666);
    mode("clerk-secret-key", 0o644);
    mode("authdrift.key", 0o640);
    let ran = doctor(&sandbox, 74).await;
    let failures = found(&ran, "file", "failure");
    let [signers, key] = failures.as_slice() else { panic!("{failures:?}") };
    says(signers, "why", "a user who can write it decides who approves");
    assert_eq!(signers["help"], format!("chmod go-w {}", sandbox.path("allowed_signers").display()));
    assert_eq!(key["help"], format!("chmod 600 {}", sandbox.path("authdrift.key").display()));
    says(&one(&ran, "secret", "warning"), "why", "mode 0644");
    // It only looks.
    assert_eq!(fs::metadata(sandbox.path("authdrift.key")).unwrap().permissions().mode() & 0o777, 0o640);

    for name in ["allowed_signers", "clerk-secret-key", "authdrift.key"] {
        mode(name, 0o600);
    }
    fs::remove_file(sandbox.path("clerk-secret-key")).unwrap();
    fs::remove_file(sandbox.path("webhook-secret")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(sandbox.path("webhook-secret")).status().unwrap().success());
    let ran = doctor(&sandbox, 78).await;
    let places: Vec<Value> = found(&ran, "secret", "failure").iter().map(|found| found["why"].clone()).collect();
    assert!(places[0].as_str().unwrap().contains("No such file"), "{places:?}");
    assert!(places[1].as_str().unwrap().contains("not a regular file"), "{places:?}");
    let checked = sandbox.run(&["config", "check"]).await.expect(0);
    for said in ["'secret_key' of clerk:prod", "'secret' of siem", "not a regular file"] {
        assert!(checked.out.contains(said), "{}", checked.out);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_approvers_and_keys_that_end_are_told_in_time() {
    let sandbox = Sandbox::new().await;
    let public = fs::read_to_string(sandbox.path("alice.pub")).unwrap();
    let signers = |options: &str| {
        sandbox.write(
            "allowed_signers",
            &format!("alice@example.test namespaces=\"baseline.v1@authdrift\"{options} {public}"),
        );
    };
    let soon =
        (authdrift::clock::Clock::now(&authdrift::clock::SystemClock) + chrono::TimeDelta::days(10)).format("%Y%m%dZ");
    signers(&format!(",valid-before=\"{soon}\""));
    let ran = doctor(&sandbox, 0).await;
    says(&one(&ran, "signer-expiry", "warning"), "why", "days more");
    signers(",valid-before=\"20200101Z\"");
    let ran = doctor(&sandbox, 78).await;
    says(&one(&ran, "threshold", "failure"), "why", "nobody can approve, and every approval takes 1");
    signers("");
    sandbox.edit_configuration("[schedule]", "threshold = 2\n[schedule]");
    says(
        &one(&doctor(&sandbox, 78).await, "threshold", "failure"),
        "why",
        "1 person can approve, and every approval takes 2",
    );
    sandbox.write("allowed_signers", "nonsense");
    says(&one(&doctor(&sandbox, 78).await, "signers", "failure"), "why", "line 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_configuration_is_told_with_everything_else() {
    let sandbox = Sandbox::approved().await;
    sandbox.edit_configuration("[[email]]", "[[email]]\nnonsense = 1");
    let ran = doctor(&sandbox, 78).await;
    says(&one(&ran, "configuration", "failure"), "why", "nonsense");
    assert_eq!(found(&ran, "baseline", "ok").len(), 2);
    assert!(!found(&ran, "section", "ok").is_empty());
    // What may only seem so is not said.
    sandbox.write(
        "config.toml",
        &sandbox.configuration().replace("[approval]", "[approval").replace("[[email]]", "[[mail]]"),
    );
    sandbox.edit_configuration("[[webhook]]", "[[hook]]");
    let ran = doctor(&sandbox, 78).await;
    assert!(!ran.out.contains("no receiver is configured") && !ran.out.contains("none is configured"), "{}", ran.out);
    for check in ["routes", "heartbeat", "signers"] {
        says(&one(&ran, check, "skipped"), "why", "see above");
    }

    sandbox.write("config.toml", "[[clerk\n");
    let ran = doctor(&sandbox, 78).await;
    one(&ran, "configuration", "failure");
    assert_eq!(found(&ran, "file", "ok").len(), 1);
    fs::remove_file(sandbox.path("config.toml")).unwrap();
    doctor(&sandbox, 78).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn receivers_are_greeted_and_nothing_is_sent() {
    let sandbox = Sandbox::new().await;
    sandbox.smtp.stop();
    sandbox.write("webhook-secret", "not a secret of a webhook");
    let ran = doctor(&sandbox, 78).await;
    assert_eq!(one(&ran, "host", "failure")["group"], "receiver security");
    says(&one(&ran, "receiver", "failure"), "help", "docs/receivers.md");
    assert!(sandbox.webhook.deliveries().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_tampered_with_is_the_worst_of_all() {
    let sandbox = Sandbox::approved().await;
    // What went wrong the last time is no good news, also when it is over.
    sandbox.tamper("UPDATE cycles SET verdict = 'untrusted' WHERE id = (SELECT max(id) FROM cycles)", []);
    let ran = doctor(&sandbox, 0).await;
    says(&one(&ran, "last-cycle", "warning"), "why", ", untrusted; last read ");
    sandbox.sql().execute_batch("DROP TRIGGER events_are_never_changed").unwrap();
    sandbox.tamper("UPDATE events SET body = CAST(replace(CAST(body AS TEXT), ':2', ':1') AS BLOB) WHERE seq = 2", []);
    fs::set_permissions(sandbox.path("allowed_signers"), fs::Permissions::from_mode(0o666)).unwrap();
    let ran = doctor(&sandbox, 12).await;
    assert_eq!(found(&ran, "baseline", "failure").len(), 2);
    one(&ran, "history", "failure");
    let text = sandbox.run(&["check", "prod"]).await.expect(12).out;
    assert!(text.ends_with("\nWhat now\n  clerk:prod  authdrift verify clerk:prod\n"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_init_writes_is_what_doctor_accepts() {
    let world = Sandbox::new().await;
    let home = tempfile::tempdir().unwrap();
    let run = |arguments: Vec<String>| {
        let home = home.path().to_owned();
        tokio::task::spawn_blocking(move || -> Ran {
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_authdrift"));
            command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", &home);
            command.env("CONFIGURATION_DIRECTORY", home.join("conf")).current_dir(&home);
            command.args(["--color", "never"]).args(arguments).output().unwrap().into()
        })
    };
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    let key = world.path("alice.pub").display().to_string();
    let flags = [
        &["init", "--clerk", "prod", "--publishable-key", clerk::PUBLISHABLE_KEY][..],
        &["--auth0", "acme", "--domain", auth0::DOMAIN, "--client-id", auth0::CLIENT_ID],
        &["--key", &key, "--approver", "alice@example.test"],
    ];
    run(words(&flags.concat())).await.unwrap().expect(0);
    // The simulators in the place of the vendors, and the secret where the configuration says.
    let file = home.path().join("conf/config.toml");
    let config = fs::read_to_string(&file).unwrap();
    let config = config
        .replace("\npublishable_key =", &format!("\nfrontend_api_url = \"{}\"\npublishable_key =", world.clerk.url()))
        .replace("\nclient_id =", &format!("\napi_url = \"{}\"\nclient_id =", world.auth0.url()));
    fs::write(&file, config).unwrap();
    let ran = run(words(&["doctor", "--json"])).await.unwrap().expect(78);
    says(&one(&ran, "secret", "failure"), "why", "auth0-acme");
    let secret = home.path().join("conf/auth0-acme");
    fs::write(&secret, auth0::CLIENT_SECRET).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let ran = run(words(&["doctor", "--json"])).await.unwrap().expect(0);
    let skipped = found(&ran, "section", "skipped");
    assert_eq!(
        skipped.iter().map(|found| found["on"].as_str().unwrap()).collect::<Vec<_>>(),
        ["no platform_token", "no secret_key"]
    );
    run(words(&["check"])).await.unwrap().expect(13);
    run(words(&["doctor"])).await.unwrap().expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_key_is_followed_by_a_new_one_and_an_approval() {
    let sandbox = Sandbox::approved().await;
    let key = sandbox.path("authdrift.key");
    sandbox
        .run(&["doctor", "--new-fingerprint-key"])
        .await
        .expect(2)
        .saying(&["is there and fits", "move it away first"]);
    let lost = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    sandbox.run(&["check"]).await.expect(74).saying(&["doctor --new-fingerprint-key"]);
    let ran = doctor(&sandbox, 74).await;
    says(&one(&ran, "fingerprint-key", "failure"), "help", "--new-fingerprint-key");
    assert_eq!(found(&ran, "baseline", "ok").len(), 2, "the rest is looked at all the same");

    // Nobody goes on with a key that is only in the memory of a daemon.
    let lock =
        fs::File::options().write(true).create(true).truncate(false).open(sandbox.path("authdrift.lock")).unwrap();
    lock.lock().unwrap();
    sandbox.run(&["doctor", "--new-fingerprint-key"]).await.expect(75);
    drop(lock);
    let ran = sandbox.run(&["doctor", "--new-fingerprint-key"]).await.expect(0);
    assert!(ran.out.contains("authdrift approve clerk:prod --reason"), "{}", ran.out);
    assert_eq!(sandbox.events("store.key_replaced"), 1);
    assert_ne!(fs::read(&key).unwrap(), lost);

    // What looks replaced is to be approved, and is told; nothing else differs. A list of which all entries look new is not
    // believed at first.
    sandbox.run(&["check"]).await;
    let report = sandbox.check().await.expect(10).json();
    for instance in ["clerk:prod", "auth0:acme"] {
        let drifts = Sandbox::report(&report, instance)["drifts"].as_array().unwrap().clone();
        assert!(!drifts.is_empty(), "{instance}");
        for drift in drifts {
            let text = drift.to_string();
            assert!(text.contains("fingerprint") || text.contains("hidden-"), "{drift}");
        }
    }
    sandbox.approve("prod").await;
    sandbox.approve("acme").await;
    sandbox.check().await.expect(0);
    sandbox.run(&["verify"]).await.expect(0);
    doctor(&sandbox, 0).await;
}
