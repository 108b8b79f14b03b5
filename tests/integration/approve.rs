//! From a snapshot to a baseline by several people, whole or in part, and what can be seen of it afterwards.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::{Map, Value, json};

use crate::common::Sandbox;
use crate::common::sandbox::{APPROVER, Ran};

pub(crate) const SECOND: &str = "bob@example.test";
const NAMESPACE: &str = "baseline.v1@authdrift";

/// Two people, of whom Alice has two keys; a baseline needs both people.
pub(crate) async fn two_approvers() -> Sandbox {
    let sandbox = Sandbox::new().await;
    sandbox.make_key("alice-laptop");
    sandbox.make_key("bob");
    let line = |principal: &str, key: &str| {
        let public = fs::read_to_string(sandbox.path(&format!("{key}.pub"))).unwrap();
        format!("{principal} namespaces=\"{NAMESPACE}\" {public}")
    };
    let signers = [line(APPROVER, "alice"), line(APPROVER, "alice-laptop"), line(SECOND, "bob")].concat();
    sandbox.write("allowed_signers", &signers);
    sandbox.edit_configuration("[approval]\n", "[approval]\nthreshold = 2\n");
    sandbox
}

pub(crate) async fn propose(sandbox: &Sandbox, instance: &str, file: &str) -> Value {
    let path = sandbox.path(file).display().to_string();
    // One that is signed already would not be overwritten.
    let _ = std::fs::remove_file(&path);
    sandbox.run(&["propose", instance, "-o", &path, "--reason", "CHG-1042"]).await.expect(0);
    json_file(sandbox, file)
}

pub(crate) async fn sign(sandbox: &Sandbox, file: &str, key: &str) -> Ran {
    let (file, key) = (sandbox.path(file).display().to_string(), sandbox.path(key).display().to_string());
    sandbox.run(&["sign", &file, "--accept-weaker", "--key", &key]).await
}

pub(crate) async fn import(sandbox: &Sandbox, files: &[&str]) -> Ran {
    let paths: Vec<String> = files.iter().map(|file| sandbox.path(file).display().to_string()).collect();
    let arguments: Vec<&str> = ["import"].into_iter().chain(paths.iter().map(String::as_str)).collect();
    sandbox.run(&arguments).await
}

fn json_file(sandbox: &Sandbox, file: &str) -> Value {
    serde_json::from_slice(&fs::read(sandbox.path(file)).unwrap()).unwrap()
}

/// Every document a proposal holds, by section: what the snapshot, or the partly approved baseline, is.
fn documents(proposal: &Value) -> Value {
    let sections = proposal["subject"]["sections"].as_object().unwrap();
    let document = |mark: &Value| match mark["digest"].as_str() {
        Some(digest) => proposal["documents"][digest].clone(),
        None => json!({ "state": mark["state"] }),
    };
    Value::Object(sections.iter().map(|(section, mark)| (section.clone(), document(mark))).collect::<Map<_, _>>())
}

/// Changes of every kind: values, members, an object more, an object less, a field more, a secret, code.
fn drift_everywhere(sandbox: &Sandbox) {
    sandbox.clerk.edit("/v1/instance", |instance| instance["allowed_origins"][0] = json!("https://evil.example/~a"));
    sandbox.clerk.edit("/v1/jwt_templates", |templates| {
        templates[0]["lifetime"] = json!(86_400);
        templates[0]["claims"]["https://x~y/z"] = json!("{{user.primary_email_address}}");
        let mut copy = templates[1].clone();
        copy["name"] = json!("copy");
        templates.as_array_mut().unwrap().push(copy);
        templates.as_array_mut().unwrap().remove(2);
    });
    sandbox.auth0.edit("/api/v2/guardian/policies", |policies| *policies = json!([]));
    sandbox.auth0.edit("/api/v2/clients", |clients| {
        clients[0]["callbacks"].as_array_mut().unwrap().push(json!("https://evil.example"));
    });
    sandbox.auth0.edit("/api/v2/connections", |connections| {
        connections[0]["options"]["customScripts"]["login"] = json!("async function login() {}");
        connections[1]["options"]["client_secret"] = json!("another");
        connections[2]["options"]["new_field"] = json!({ "a": [1, 2] });
    });
    sandbox.auth0.edit("/api/v2/tenants/settings", |settings| {
        settings["enabled_locales"].as_array_mut().unwrap().push(json!("fr"));
    });
}

fn paths(report: &Value) -> Vec<String> {
    let drifts = report["drifts"].as_array().unwrap();
    let mut paths: Vec<_> = drifts.iter().map(|drift| drift["path"].as_str().unwrap().to_owned()).collect();
    paths.sort();
    paths
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_sign_and_one_is_not_enough() {
    let sandbox = two_approvers().await;
    sandbox.check().await.expect(13);
    let proposal = propose(&sandbox, "acme", "p.json").await;
    assert_eq!((&proposal["subject"]["sequence"], &proposal["subject"]["previous"]), (&json!(1), &Value::Null));
    import(&sandbox, &["p.json"]).await.expect(2);

    fs::copy(sandbox.path("p.json"), sandbox.path("bob.json")).unwrap();
    sign(&sandbox, "p.json", "alice").await.expect(0);
    let refused = import(&sandbox, &["p.json"]).await.expect(12);
    assert!(refused.err.contains("1 of 2 approvers"), "{}", refused.err);

    // Two keys of one person are one person.
    sign(&sandbox, "p.json", "alice-laptop").await.expect(0);
    import(&sandbox, &["p.json"]).await.expect(12);
    let key = sandbox.path("alice").display().to_string();
    let alone = sandbox.run(&["approve", "acme", "--all", "--reason", "x", "--key", &key]).await.expect(12);
    assert!(alone.err.contains("propose"), "the way is shown: {}", alone.err);
    sandbox.check_one("acme", 13).await;

    // The signatures may come in one file each.
    sign(&sandbox, "bob.json", "bob").await.expect(0);
    let accepted = import(&sandbox, &["p.json", "bob.json"]).await.expect(0);
    assert!(accepted.out.contains(APPROVER) && accepted.out.contains(SECOND), "{}", accepted.out);
    let report = sandbox.check_one("acme", 0).await;
    assert_eq!(report["baseline"]["approvers"], json!([APPROVER, SECOND]));

    // A signed proposal is good once.
    let again = import(&sandbox, &["p.json", "bob.json"]).await.expect(0);
    assert!(again.out.contains("already approved as baseline 1 of auth0:acme"), "{}", again.out);
    assert_eq!(sandbox.events("baseline.approved"), 1);
    sandbox.run(&["verify"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_sign_is_refused_and_nothing_is_written() {
    let sandbox = two_approvers().await;
    sandbox.make_key("mallory");
    sandbox.check().await.expect(13);
    propose(&sandbox, "acme", "p.json").await;
    sign(&sandbox, "p.json", "mallory").await.expect(77);
    let (file, key) = (sandbox.path("p.json").display().to_string(), sandbox.path("bob").display().to_string());
    sandbox.run(&["sign", &file, "--key", &key, "--as", APPROVER]).await.expect(77);
    assert_eq!(json_file(&sandbox, "p.json")["statements"], json!([]));

    // What was signed cannot be another thing afterwards: neither the documents nor the sections.
    sign(&sandbox, "p.json", "alice").await.expect(0);
    sign(&sandbox, "p.json", "bob").await.expect(0);
    let signed = json_file(&sandbox, "p.json");
    let mut forged = signed.clone();
    let digest = signed["subject"]["sections"]["guardian.policies"]["digest"].as_str().unwrap();
    forged["documents"][digest] = json!([]);
    sandbox.write("forged.json", &forged.to_string());
    import(&sandbox, &["forged.json"]).await.expect(74);
    sandbox.check_one("acme", 13).await;
    import(&sandbox, &["p.json"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proposal_that_was_changed_after_it_was_signed_is_refused() {
    let sandbox = two_approvers().await;
    sandbox.check().await.expect(13);
    propose(&sandbox, "acme", "p.json").await;
    sign(&sandbox, "p.json", "alice").await.expect(0);
    sign(&sandbox, "p.json", "bob").await.expect(0);
    import(&sandbox, &["p.json"]).await.expect(0);
    sandbox.auth0.edit("/api/v2/guardian/policies", |policies| *policies = json!([]));
    sandbox.check_one("acme", 10).await;

    propose(&sandbox, "acme", "p.json").await;
    sign(&sandbox, "p.json", "alice").await.expect(0);
    sign(&sandbox, "p.json", "bob").await.expect(0);
    let signed = json_file(&sandbox, "p.json");
    let mut forged = signed.clone();
    forged["subject"]["resource"] = json!("evil.auth0.example");
    forged["subject"]["sections"].as_object_mut().unwrap().remove("clients");
    sandbox.write("forged.json", &forged.to_string());
    import(&sandbox, &["p.json", "forged.json"]).await.expect(2);
    let refused = import(&sandbox, &["forged.json"]).await.expect(12);
    assert!(refused.err.contains("changed after it was signed"), "{}", refused.err);
    sandbox.check_one("acme", 10).await;

    import(&sandbox, &["p.json"]).await.expect(0);
    sandbox.check_one("acme", 0).await;
    for delivery in sandbox.webhook.deliveries() {
        assert_eq!(delivery.json()["data"]["resource"], signed["subject"]["resource"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ssh_keygen_accepts_the_statement_of_a_proposal_file() {
    let sandbox = two_approvers().await;
    sandbox.check().await.expect(13);
    propose(&sandbox, "prod", "p.json").await;
    sign(&sandbox, "p.json", "alice").await.expect(0);
    sign(&sandbox, "p.json", "bob").await.expect(0);
    let proposal = json_file(&sandbox, "p.json");
    for (statement, approver) in proposal["statements"].as_array().unwrap().iter().zip([APPROVER, SECOND]) {
        let text = statement["statement"].as_str().unwrap();
        sandbox.write("statement.sig", statement["signature"].as_str().unwrap());
        assert!(ssh_keygen_verifies(&sandbox, text, approver));
        assert!(!ssh_keygen_verifies(&sandbox, &format!("{text} "), approver));
        assert!(!ssh_keygen_verifies(&sandbox, text, "carol@example.test"));
        let parsed: Value = serde_json::from_str(text).unwrap();
        assert_eq!(parsed["subject"], proposal["subject"]);
        assert_eq!(
            (&parsed["type"], &parsed["approval"]["reason"]),
            (&json!("authdrift/baseline/v1"), &json!("CHG-1042"))
        );
        assert_eq!(parsed["approval"]["approver"], approver);
    }
}

fn ssh_keygen_verifies(sandbox: &Sandbox, statement: &str, principal: &str) -> bool {
    sandbox.write("statement", statement);
    let status = Command::new("ssh-keygen")
        .args(["-Y", "verify", "-n", NAMESPACE, "-I", principal, "-f"])
        .arg(sandbox.path("allowed_signers"))
        .arg("-s")
        .arg(sandbox.path("statement.sig"))
        .stdin(fs::File::open(sandbox.path("statement")).unwrap())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.unwrap().success()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_approved_stays_open_and_nothing_else() {
    let sandbox = Sandbox::approved().await;
    drift_everywhere(&sandbox);
    let key = sandbox.path("alice").display().to_string();
    for (name, only) in [
        ("prod", vec!["/jwt_templates/supabase/lifetime", "/jwt_templates/copy"]),
        ("acme", vec!["/guardian.policies", "/connections/lantern-readers"]),
    ] {
        let report = sandbox.check_one(name, 10).await;
        let before = paths(&report);
        let is_chosen =
            |path: &String| only.iter().any(|chosen| path == chosen || path.starts_with(&format!("{chosen}/")));
        let (chosen, rest): (Vec<String>, Vec<String>) = before.into_iter().partition(is_chosen);
        assert!(chosen.len() >= 2 && rest.len() >= 2, "{chosen:?} {rest:?}");

        let mut arguments = vec!["approve", name, "--reason", "CHG-7", "--accept-weaker", "--key", &key, "--only"];
        arguments.extend(&only);
        let approved = sandbox.run(&arguments).await.expect(0);
        assert!(approved.out.contains(&format!("{} stay open", count(rest.len()))), "{}", approved.out);
        let again = sandbox.check_one(name, 10).await;
        assert_eq!(paths(&again), rest, "exactly the rest");
        assert_eq!(again["baseline"]["sequence"], 2);
        // The rest is the same drift as before: same name, same beginning.
        let of = |report: &Value, path: &str| {
            let drifts = report["drifts"].as_array().unwrap();
            drifts
                .iter()
                .find(|drift| drift["path"] == path)
                .map(|drift| (drift["id"].clone(), drift["first_seen"].clone()))
        };
        assert!(rest.iter().all(|path| of(&again, path) == of(&report, path)));

        for path in &chosen {
            let id = of(&report, path).unwrap().0.as_str().unwrap().to_owned();
            let shown = sandbox.run(&["show", &id, "--json"]).await.expect(0).json();
            assert_eq!((&shown["status"], &shown["closed_by"]), (&json!("approved"), &json!([APPROVER])), "{path}");
            let text = sandbox.run(&["show", &id]).await.expect(0).out;
            assert!(text.contains(&format!("by {APPROVER}")) && text.contains(path.as_str()), "{text}");
        }
        sandbox.run(&["approve", name, "--reason", "x", "--key", &key, "--only", "/nowhere"]).await.expect(2);
        sandbox.approve(name).await;
        assert_eq!(paths(&sandbox.check_one(name, 0).await), Vec::<String>::new());
    }
    sandbox.run(&["verify"]).await.expect(0);
}

fn count(number: usize) -> String {
    format!("{number} difference{}", if number == 1 { "" } else { "s" })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_leads_to_the_other_side_exactly_and_its_reverse_back() {
    let sandbox = Sandbox::new().await;
    sandbox.check().await.expect(13);
    for name in ["prod", "acme"] {
        let baseline = documents(&propose(&sandbox, name, "baseline.json").await);
        fs::rename(sandbox.path("baseline.json"), sandbox.path(&format!("{name}.json"))).unwrap();
        sandbox.approve(name).await;
        assert!(baseline.as_object().unwrap().len() >= 7);
    }
    drift_everywhere(&sandbox);
    sandbox.check().await.expect(10);
    for name in ["prod", "acme"] {
        let baseline = documents(&json_file(&sandbox, &format!("{name}.json")));
        let snapshot = documents(&propose(&sandbox, name, "snapshot.json").await);
        assert_ne!(baseline, snapshot);
        for (format, from, to) in [("json-patch", &baseline, &snapshot), ("revert-patch", &snapshot, &baseline)] {
            let patch = sandbox.run(&["diff", name, "--format", format]).await.expect(10).json();
            let patch: json_patch::Patch = serde_json::from_value(patch).unwrap();
            let mut value = from.clone();
            json_patch::patch(&mut value, &patch).unwrap();
            assert_eq!(&value, to, "{name} {format}");
        }
        // A vendor would take a fingerprint for the secret itself.
        let exact = sandbox.run(&["diff", name, "--format", "revert-patch"]).await.expect(10);
        let revert = sandbox.run(&["diff", name, "--format", "revert"]).await.expect(10);
        let lacks = revert.err.matches("only the fingerprint of the approved secret is known").count();
        assert_eq!((lacks, revert.out.contains("hmac-sha256")), (exact.out.matches("hmac-sha256").count(), false));
    }
    sandbox.approve("prod").await;
    assert_eq!(sandbox.run(&["diff", "prod", "--format", "json-patch"]).await.expect(0).json(), json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_can_be_seen_as_text_and_as_json() {
    let sandbox = Sandbox::new().await;
    sandbox.run(&["status"]).await.expect(74);
    sandbox.check().await.expect(13);
    sandbox.run(&["diff", "acme"]).await.expect(13);
    sandbox.approve("acme").await;
    sandbox.auth0.edit("/api/v2/guardian/policies", |policies| *policies = json!([]));
    let report = sandbox.check_one("acme", 10).await;
    let id = report["drifts"][0]["id"].as_str().unwrap().to_owned();

    let diff = sandbox.run(&["diff", "acme", "--json"]).await.expect(10).json();
    assert_eq!((&diff["instance"], paths(&diff)), (&json!("auth0:acme"), vec!["/guardian.policies".to_owned()]));
    assert_eq!(diff["drifts"][0]["setting"], report["drifts"][0]["setting"]);
    let status = sandbox.run(&["status", "--json"]).await.expect(0).json();
    let acme = Sandbox::report(&status, "auth0:acme");
    assert_eq!((&acme["verdict"], &acme["open"]["critical"]), (&json!("drift"), &json!(1)));
    assert_eq!((&acme["baseline"]["sequence"], &acme["untrusted"]), (&json!(1), &Value::Null));
    assert_eq!(Sandbox::report(&status, "clerk:prod")["verdict"], "no_baseline");
    assert!(status["receivers"].as_array().unwrap().iter().all(|one| one["waiting"] == 0 && one["failed"] == 0));
    let shown = sandbox.run(&["show", &id, "--json"]).await.expect(0).json();
    assert_eq!((&shown["status"], &shown["instance"]), (&json!("open"), &json!("auth0:acme")));
    assert_eq!(shown["drift"]["path"], "/guardian.policies");
    sandbox.run(&["show", "drf_nothing"]).await.expect(2);

    sandbox.approve("acme").await;
    let history = sandbox.run(&["history", "acme", "--json"]).await.expect(0).json();
    let kinds: Vec<_> =
        history["events"].as_array().unwrap().iter().map(|event| event["kind"].as_str().unwrap()).collect();
    let is_story = |kind: &&&str| !["delivery.", "alert."].iter().any(|other| kind.starts_with(other));
    let story: Vec<_> = kinds.iter().filter(is_story).copied().collect();
    let expected = ["instance.first_read", "baseline.approved", "drift.opened", "baseline.approved", "drift.approved"];
    assert_eq!(story, expected);
    assert_eq!(kinds.iter().filter(|kind| **kind == "delivery.done").count(), 4);
    let verified = sandbox.run(&["verify", "acme", "--json"]).await.expect(0).json();
    let baselines = verified["instances"][0]["baselines"].as_array().unwrap();
    assert_eq!(baselines.iter().map(|one| one["sequence"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2]);
    assert_eq!((&verified["instances"][0]["verified"], &verified["history"]["verified"]), (&json!(true), &json!(true)));

    for (arguments, words) in [
        (vec!["status"], vec!["auth0:acme", "clerk:prod", "security", "siem"]),
        (vec!["history", "acme"], vec!["drift.opened", "/guardian.policies", "baseline.approved", APPROVER]),
        (vec!["show", &id], vec!["approved", APPROVER, "/guardian.policies"]),
        (vec!["verify"], vec!["auth0:acme: 2 baselines verified", "clerk:prod: no baseline yet", "one unbroken chain"]),
        (vec!["diff", "acme"], vec!["auth0:acme is as baseline 2 says"]),
    ] {
        let said = sandbox.run(&arguments).await.expect(0);
        for word in words {
            assert!(said.out.contains(word), "{arguments:?} does not say '{word}':\n{}", said.out);
        }
        assert_eq!(said.err, "", "{arguments:?}");
    }
}
