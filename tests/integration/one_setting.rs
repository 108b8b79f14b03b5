//! One setting at two paths, because two APIs show it: it is approved, announced and shown as one.

use authdrift::simulator::clerk::Clerk;
use authdrift::simulator::fault::Fault;
use serde_json::{Value, json};

use crate::common::Sandbox;
use crate::common::terminal::on_a_terminal;
use crate::hour::kinds;

const IN_CONFIG: &str = "/platform.config/auth_password/disable_hibp";
const IN_ENVIRONMENT: &str = "/frontend.environment/user_settings/password_settings/disable_hibp";

/// One click: whether leaked passwords are refused.
fn set_leaked_passwords_allowed(sandbox: &Sandbox, is_allowed: bool) {
    sandbox.clerk.edit(&Clerk::config_path(), |config| config["auth_password"]["disable_hibp"] = json!(is_allowed));
    sandbox.clerk.edit("/v1/environment", |environment| {
        environment["user_settings"]["password_settings"]["disable_hibp"] = json!(is_allowed);
    });
}

async fn approved() -> Sandbox {
    let sandbox = Sandbox::new().await;
    sandbox.write("config.toml", &sandbox.configuration_of_clerk());
    set_leaked_passwords_allowed(&sandbox, false);
    sandbox.check().await.expect(13);
    sandbox.approve("prod").await;
    sandbox
}

fn paths(report: &Value) -> Vec<String> {
    let drifts = report["drifts"].as_array().unwrap();
    drifts.iter().map(|drift| drift["path"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_path_or_drift_of_a_setting_approves_all_of_it() {
    let sandbox = approved().await;
    let key = sandbox.path("alice").display().to_string();
    let mut is_allowed = false;
    for by_id in [true, false] {
        for (path, other) in [(IN_CONFIG, IN_ENVIRONMENT), (IN_ENVIRONMENT, IN_CONFIG)] {
            is_allowed = !is_allowed;
            set_leaked_passwords_allowed(&sandbox, is_allowed);
            sandbox.clerk.edit("/v1/instance", |instance| instance["unheard_of"] = json!(format!("{by_id} {path}")));
            let report = sandbox.check_one("prod", 10).await;
            assert_eq!(report["drifts"].as_array().unwrap().len(), 3, "{:?}", paths(&report));
            let drift = report["drifts"].as_array().unwrap().iter().find(|drift| drift["path"] == path).unwrap();
            let id = drift["id"].as_str().unwrap();
            let shown = sandbox.run(&["show", id]).await.expect(0);
            assert!(shown.out.contains(&format!("Also at {other}")), "{}", shown.out);

            let named = if by_id { id } else { path };
            let only = ["approve", "prod", "--reason", "x", "--accept-weaker", "--key", &key, "--only", named];
            let approved = sandbox.run(&only).await.expect(0);
            let said = format!("Another path of the same setting is included: {other}");
            assert!(approved.out.contains(&said), "{}", approved.out);
            let rest = sandbox.check_one("prod", 10).await;
            assert_eq!(paths(&rest), ["/instance/unheard_of"]);
            sandbox.approve("prod").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_to_tick_has_settings_and_no_halves_of_them() {
    let sandbox = approved().await;
    set_leaked_passwords_allowed(&sandbox, true);
    sandbox.check_one("prod", 10).await;
    let home = sandbox.folder.path().to_owned();
    let typed = &[("Approve which?", " \r"), ("all the same?", "y\r"), ("Type the number", "2\r")];
    let run = move || on_a_terminal(&home, "--config config.toml approve prod --reason seen --key alice", typed);
    let Some(ran) = tokio::task::spawn_blocking(run).await.unwrap() else { return };
    let ran = ran.expect(0);
    assert!(ran.out.contains("(2 paths)"), "{}", ran.out);
    assert_eq!(paths(&sandbox.check_one("prod", 0).await), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_announced_or_silenced_at_one_path_is_so_at_every_path() {
    for path in ["/platform.config/**", "/frontend.environment/user_settings/password_settings"] {
        for command in [&["silence", "add", "--window", "prod"][..], &["silence", "add"]] {
            let sandbox = approved().await;
            let quiet = [command, &["--match", path, "--until", "2h", "--reason", "CHG-7"]].concat();
            sandbox.run(&quiet).await.expect(0);
            let before = kinds(&sandbox).len();
            set_leaked_passwords_allowed(&sandbox, true);
            let report = sandbox.check_one("prod", 10).await;
            assert_eq!(report["drifts"].as_array().unwrap().len(), 2, "{:?}", paths(&report));
            assert_eq!(kinds(&sandbox)[before..], [] as [String; 0], "{command:?} {path}: nobody is told");
            assert_eq!(sandbox.events("drift.silenced"), 2);
            // Another setting is told as always.
            sandbox
                .clerk
                .edit("/v1/instance", |instance| instance["allowed_origins"] = json!(["https://evil.example"]));
            sandbox.check_one("prod", 10).await;
            assert_eq!(kinds(&sandbox)[before..], ["drift.opened"], "{command:?} {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_named_before_it_is_signed_and_is_in_the_statement() {
    let sandbox = Sandbox::new().await;
    sandbox.write("config.toml", &sandbox.configuration_of_clerk());
    sandbox.clerk.fail("/v1/redirect_urls", Fault::status(403, json!({})));
    sandbox.check().await;
    let key = sandbox.path("alice").display().to_string();
    let approve = ["approve", "prod", "--all", "--accept-weaker", "--reason", "x", "--key", &key];
    let approved = sandbox.run(&approve).await.expect(0);
    assert!(approved.out.contains("not watched"), "{}", approved.out);
    assert!(approved.out.contains("redirect_urls (not_permitted: the vendor answered 403)"), "{}", approved.out);
    let folder = sandbox.path("evidence").display().to_string();
    sandbox.run(&["export", "prod", &folder]).await.expect(0);
    let statement: Value =
        serde_json::from_slice(&std::fs::read(sandbox.path("evidence/statements/1-1.json")).unwrap()).unwrap();
    assert_eq!(statement["subject"]["sections"]["redirect_urls"], json!({ "state": "not_permitted" }));
    let script = std::process::Command::new("sh").arg(sandbox.path("evidence/verify.sh")).output().unwrap();
    assert!(script.status.success(), "{}", String::from_utf8_lossy(&script.stdout));
    sandbox.run(&["verify"]).await.expect(0);
    sandbox.check_one("prod", 0).await;

    // Later it can be read: it is new, once, and part of the next approval.
    sandbox.clerk.heal("/v1/redirect_urls");
    let report = sandbox.check_one("prod", 0).await;
    let section = |report: &Value| {
        report["sections"].as_array().unwrap().iter().find(|one| one["section"] == "redirect_urls").cloned().unwrap()
    };
    assert_eq!((&section(&report)["state"], &section(&report)["unbaselined"]), (&json!("value"), &json!(true)));
    let only = ["approve", "prod", "--only", "/redirect_urls", "--reason", "x", "--key", &key];
    sandbox.run(&only).await.expect(0);

    // One that the baseline has never seen is a choice of its own.
    sandbox.clerk.fail("/v1/redirect_urls", Fault::status(403, json!({})));
    let file = sandbox.path("p.json").display().to_string();
    sandbox.run(&["propose", "prod", "-o", &file]).await.expect(2).saying(&["nothing to approve"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_takes_two_people_a_proposal_is_what_is_suggested() {
    let sandbox = Sandbox::new().await;
    sandbox.write("config.toml", &sandbox.configuration_of_clerk());
    sandbox.edit_configuration("[approval]\n", "[approval]\nthreshold = 2\n");
    for arguments in [&["check"][..], &["status"], &["doctor", "prod"], &["diff", "prod"]] {
        let ran = sandbox.run(arguments).await;
        let all = format!("{}{}", ran.out, ran.err);
        assert!(all.contains("authdrift propose clerk:prod -o FILE"), "{arguments:?}: {all}");
        assert!(!all.contains("authdrift approve"), "{arguments:?}: {all}");
    }
}
