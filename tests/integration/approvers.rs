//! How many people it takes, through the commands; and what they are not made to sign.

use serde_json::{Value, json};

use authdrift::simulator::fault::Fault;

use crate::approve::{SECOND, import, propose, sign, two_approvers};
use crate::common::sandbox::APPROVER;
use crate::common::terminal::on_a_terminal;
use crate::common::{Ran, Sandbox};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_proposal_is_told_so() {
    let sandbox = two_approvers().await;
    sandbox.check().await.expect(13);
    propose(&sandbox, "acme", "p.json").await;
    sandbox.write("prose.txt", "I approve");
    sandbox.write("other.json", "{\"type\":\"authdrift/baseline/v1\"}");
    sandbox.write("list.json", "[1]");
    sandbox.write("twice.json", "{\"a\":1,\"a\":2}");
    let proposal = std::fs::read_to_string(sandbox.path("p.json")).unwrap();
    sandbox.write("marked.json", &format!("\u{feff}{proposal}"));
    for (file, phrase) in [
        ("prose.txt", "its JSON is bad"),
        ("other.json", "its type is 'authdrift/baseline/v1' and not 'authdrift/proposal/v1'"),
        ("list.json", "it has no type"),
        ("twice.json", "its JSON is bad"),
        ("alice.pub", "its JSON is bad"),
        ("marked.json", "byte order mark (U+FEFF)"),
    ] {
        for ran in [sign(&sandbox, file, "alice").await, import(&sandbox, &[file]).await] {
            assert_eq!(ran.code, 74, "{ran:?}");
            ran.saying(&["is not a proposal", phrase, "authdrift propose INSTANCE -o FILE"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_more_people_are_asked_for_the_missing_one_can_sign() {
    let sandbox = two_approvers().await;
    sandbox.edit_configuration("threshold = 2", "threshold = 1");
    sandbox.check().await.expect(13);
    propose(&sandbox, "acme", "p.json").await;
    sign(&sandbox, "p.json", "alice").await.expect(0);
    import(&sandbox, &["p.json"]).await.expect(0);
    sandbox.check_one("acme", 0).await;

    sandbox.edit_configuration("threshold = 1", "threshold = 2");
    sandbox.check_one("acme", 12).await;
    import(&sandbox, &["p.json"]).await.expect(12).saying(&["1 of 2 approvers"]);
    sign(&sandbox, "p.json", "bob").await.expect(0);
    let accepted = import(&sandbox, &["p.json"]).await.expect(0);
    assert!(accepted.out.contains("Baseline 1 of auth0:acme is approved by"), "{}", accepted.out);
    let report = sandbox.check_one("acme", 0).await;
    assert_eq!(report["baseline"]["approvers"], json!([APPROVER, SECOND]));
    import(&sandbox, &["p.json"]).await.expect(0).saying(&["already approved as baseline 1"]);
    sandbox.run(&["verify"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_more_people_are_asked_for_a_new_baseline_is_approved_whole() {
    let sandbox = two_approvers().await;
    sandbox.edit_configuration("threshold = 2", "threshold = 1");
    sandbox.check().await.expect(13);
    sandbox.approve("acme").await;
    sandbox.edit_configuration("threshold = 1", "threshold = 2");
    sandbox.auth0.edit("/api/v2/guardian/policies", |policies| *policies = json!([]));
    sandbox.check_one("acme", 12).await;
    sandbox.run(&["diff", "acme"]).await.expect(12);

    // Nothing is shown as a change of what too few people approved.
    let file = sandbox.path("p.json").display().to_string();
    let part = ["propose", "acme", "-o", &file, "--only", "/guardian.policies"];
    sandbox.run(&part).await.expect(2).saying(&["approved whole", "--all"]);
    let proposal = propose(&sandbox, "acme", "p.json").await;
    assert_eq!((&proposal["subject"]["sequence"], &proposal["previous"]), (&json!(2), &Value::Null));
    assert_eq!(proposal["changes"], json!([]));
    sign(&sandbox, "p.json", "alice").await.expect(12).saying(&["does not hold the baseline before"]);
    let whole = async |key: &str| {
        let key = sandbox.path(key).display().to_string();
        sandbox.run(&["sign", &file, "--without-previous", "--accept-weaker", "--key", &key]).await.expect(0)
    };
    let signed = whole("alice").await;
    assert!(signed.out.contains("All of it is to be approved"), "{}", signed.out);
    import(&sandbox, &["p.json"]).await.expect(12).saying(&["1 of 2 approvers"]);
    whole("bob").await;
    import(&sandbox, &["p.json"]).await.expect(0);
    sandbox.check_one("acme", 0).await;
    let verified = sandbox.run(&["verify", "acme", "--json"]).await.expect(0).json();
    let shortages: Vec<&Value> =
        verified["instances"][0]["baselines"].as_array().unwrap().iter().map(|one| &one["shortage"]).collect();
    assert_eq!(shortages, [&json!("too-few-approvers"), &Value::Null]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_was_recreated_is_approved_whole_and_keeps_nothing_of_the_old_one() {
    let sandbox = Sandbox::clerk_approved().await;
    sandbox.clerk.edit("/v1/instance", |instance| instance["id"] = json!("ins_2recreated"));
    sandbox.set_lifetime(3600);
    let report = sandbox.check_one("prod", 12).await;
    assert_eq!(report["reason"]["code"], "other-resource");
    let key = sandbox.path("alice").display().to_string();
    let part = ["approve", "prod", "--only", "/jwt_templates", "--reason", "x", "--key", &key];
    sandbox.run(&part).await.expect(2).saying(&["approved whole", "calls this instance 'ins_2recreated'", "--all"]);
    // What cannot be read now is unknown, and not what the old instance had.
    sandbox.clerk.fail("/v1/redirect_urls", Fault::status(403, json!({})));
    sandbox.check_one("prod", 12).await;
    let whole = ["approve", "prod", "--all", "--accept-weaker", "--reason", "recreated", "--key", &key];
    sandbox.run(&whole).await.expect(0).saying(&["Baseline 2 of clerk:prod"]);
    let report = sandbox.check_one("prod", 0).await;
    assert_eq!(report["resource"], "ins_2recreated");
    let section =
        |name: &str| report["sections"].as_array().unwrap().iter().find(|one| one["section"] == name).cloned();
    assert_eq!(section("redirect_urls").unwrap()["state"], "not_permitted");
    sandbox.run(&["verify"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_critical_change_takes_two_people_and_a_small_one_one() {
    let sandbox = two_approvers().await;
    sandbox.edit_configuration("threshold = 2\n", "threshold = 1\nseverity = { critical = 2 }\n");
    sandbox.run(&["check"]).await.expect(13).saying(&["`authdrift propose clerk:prod -o FILE"]);
    let key = sandbox.path("alice").display().to_string();
    let alone = ["approve", "acme", "--all", "--accept-weaker", "--reason", "x", "--key", &key];
    sandbox.run(&alone).await.expect(12).saying(&["baseline 1 has 1 of 2 approvers", "propose"]);
    propose(&sandbox, "acme", "first.json").await;
    sign(&sandbox, "first.json", "alice").await.expect(0);
    sign(&sandbox, "first.json", "bob").await.expect(0);
    import(&sandbox, &["first.json"]).await.expect(0);

    sandbox.auth0.edit("/api/v2/tenants/settings", |settings| settings["unheard_of"] = json!("small"));
    says_how_to_approve(&sandbox, "authdrift approve auth0:acme --reason TEXT").await;
    sandbox.run(&alone).await.expect(0);
    sandbox.check_one("acme", 0).await;

    sandbox.auth0.edit("/api/v2/guardian/policies", |policies| *policies = json!([]));
    says_how_to_approve(&sandbox, "authdrift propose auth0:acme -o FILE --reason TEXT").await;
    sandbox.run(&alone).await.expect(12).saying(&["baseline 3 has 1 of 2 approvers"]);
    propose(&sandbox, "acme", "third.json").await;
    let signed = sign(&sandbox, "third.json", "alice").await.expect(0);
    assert!(signed.out.contains(&format!("Compared with baseline 2, approved by {APPROVER}.")), "{}", signed.out);
    sign(&sandbox, "third.json", "bob").await.expect(0);
    import(&sandbox, &["third.json"]).await.expect(0);
    sandbox.check_one("acme", 0).await;
    sandbox.run(&["verify"]).await.expect(0);
}

/// Every place that names the command with which the open drifts are approved names `command`.
async fn says_how_to_approve(sandbox: &Sandbox, command: &str) {
    let check = sandbox.run(&["check", "acme"]).await.expect(10).out;
    let id = check.split("authdrift show ").nth(1).and_then(|rest| rest.split('`').next()).unwrap().to_owned();
    let show = sandbox.run(&["show", &id]).await.expect(0).out;
    let mail = sandbox.smtp.mails().last().unwrap().text().unwrap();
    for text in [check, show, mail] {
        assert!(text.contains(command), "'{command}' is not in: {text}");
    }
}

/// Whoever signs looks at what changes since a baseline. If that one was made up, what it has would go unseen.
#[tokio::test(flavor = "multi_thread")]
async fn a_proposal_against_what_nobody_approved_is_not_signed() {
    let sandbox = two_approvers().await;
    sandbox.check().await.expect(13);
    propose(&sandbox, "acme", "first.json").await;
    sign(&sandbox, "first.json", "alice").await.expect(0);
    sign(&sandbox, "first.json", "bob").await.expect(0);
    import(&sandbox, &["first.json"]).await.expect(0);
    sandbox.auth0.edit("/api/v2/guardian/policies", |policies| *policies = json!([]));
    sandbox.check_one("acme", 10).await;
    let good = propose(&sandbox, "acme", "p.json").await;
    assert_eq!(good["previous_statements"].as_array().unwrap().len(), 2);
    let (none, one) = (json!([]), json!([good["previous_statements"][0]]));
    for (statements, reason) in [(none, "baseline 1 has 0 of 2 approvers"), (one, "baseline 1 has 1 of 2 approvers")] {
        let mut forged = good.clone();
        forged["previous_statements"] = statements;
        sandbox.write("forged.json", &forged.to_string());
        sign(&sandbox, "forged.json", "bob").await.expect(12).saying(&[reason, "propose again"]);
    }
    sign(&sandbox, "p.json", "bob").await.expect(0);
}

/// The machine of whoever signs remembers: an older proposal, or another one in the same place, is not signed unasked.
#[tokio::test(flavor = "multi_thread")]
async fn what_goes_back_behind_what_was_signed_is_not_signed_unasked() {
    let sandbox = two_approvers().await;
    sandbox.check().await.expect(13);
    propose(&sandbox, "acme", "first.json").await;
    for key in ["alice", "bob", "alice"] {
        sign(&sandbox, "first.json", key).await.expect(0);
    }
    let memory = sandbox.path(".local/state/authdrift/signed.json");
    let remembered: Value = serde_json::from_slice(&std::fs::read(&memory).unwrap()).unwrap();
    let resources = remembered["signed"]["auth0:acme"].as_object().unwrap();
    assert_eq!(resources.values().map(|last| &last["sequence"]).collect::<Vec<_>>(), [&json!(1)]);

    // Something else happened before it was imported, so it is proposed anew.
    sandbox.auth0.edit("/api/v2/tenants/settings", |settings| settings["session_lifetime"] = json!(9));
    sandbox.check_one("acme", 13).await;
    propose(&sandbox, "acme", "again.json").await;
    let said = ["this machine has signed another baseline 1", "signed.json", "--replace-signed"];
    sign(&sandbox, "again.json", "alice").await.expect(12).saying(&said);
    let (file, key) = (sandbox.path("again.json").display().to_string(), sandbox.path("alice").display().to_string());
    let proposal: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(proposal["statements"], json!([]));
    sandbox.run(&["sign", &file, "--key", &key, "--replace-signed"]).await.expect(0);
    sign(&sandbox, "first.json", "alice").await.expect(12);

    // The wrong number signs nothing; the right one does.
    let numbered = |number: &'static str| ["sign", &file, "--key", &key, "--sequence", number].map(str::to_owned);
    for (number, code) in [("2", 2), ("1", 0)] {
        let arguments = numbered(number);
        sandbox.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await.expect(code);
    }

    std::fs::write(&memory, "{}").unwrap();
    sign(&sandbox, "again.json", "alice").await.expect(74).saying(&["signed.json", "damaged"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_sign_in_much_weaker_is_signed_only_if_it_is_said() {
    let sandbox = Sandbox::approved().await;
    sandbox.auth0.edit("/api/v2/guardian/policies", |policies| *policies = json!([]));
    sandbox.check_one("acme", 10).await;
    let (file, key) = (sandbox.path("p.json").display().to_string(), sandbox.path("alice").display().to_string());
    propose(&sandbox, "acme", "p.json").await;
    for arguments in [
        &["sign", &file, "--key", &key][..],
        &["approve", "acme", "--all", "--reason", "x", "--key", &key],
        &["approve", "acme", "--only", "/guardian.policies", "--reason", "x", "--key", &key],
    ] {
        sandbox.run(arguments).await.expect(2).saying(&["nothing is signed", "critical weaker", "--accept-weaker"]);
        let report = sandbox.check_one("acme", 10).await;
        assert_eq!(report["baseline"]["sequence"], 1);
        let mut accepted = arguments.to_vec();
        if arguments[0] == "approve" && arguments[2] == "--only" {
            accepted.push("--accept-weaker");
            sandbox.run(&accepted).await.expect(0);
        }
    }
    sandbox.check_one("acme", 0).await;

    // The way back is no weakening.
    sandbox.auth0.edit("/api/v2/guardian/policies", |policies| *policies = json!(["all-applications"]));
    sandbox.check_one("acme", 10).await;
    sandbox.run(&["approve", "acme", "--all", "--reason", "x", "--key", &key]).await.expect(0);
}

/// What was approved for a time is drift again when it is over, with the value of before; and a later approval of something
/// else changes nothing about that.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_approved_for_a_time_opens_again_by_itself() {
    let sandbox = Sandbox::approved().await;
    let key = sandbox.path("alice").display().to_string();
    let base = ["approve", "acme", "--all", "--reason", "x", "--accept-weaker", "--key", &key];
    let with = |until: &'static str| [&base[..], &["--until", until]].concat();
    for (until, said) in [("yesterday", "is no date"), ("2020-01-01", "not in the future"), ("500d", "400 days")] {
        sandbox.run(&with(until)).await.expect(2).saying(&[said]);
    }
    sandbox.auth0.edit("/api/v2/guardian/policies", |policies| *policies = json!([]));
    sandbox.auth0.edit("/api/v2/tenants/settings", |settings| settings["unheard_of"] = json!({ "a": 1 }));
    let before = sandbox.check_one("acme", 10).await;
    let began = std::time::Instant::now();
    sandbox.run(&with("25s")).await.expect(0);
    let report = sandbox.check_one("acme", 0).await;
    assert_eq!(report["baseline"]["until"].as_object().unwrap().len(), 2);
    let status = sandbox.run(&["status"]).await.expect(0);
    assert!(status.out.contains("for a time"), "{}", status.out);
    // Whoever reads that it was approved reads that it ends.
    let end = report["baseline"]["until"]["/guardian.policies"].as_str().unwrap();
    let mail = sandbox.smtp.mails().pop().unwrap();
    for part in [mail.text().unwrap(), mail.html().unwrap()] {
        let words = part.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("UTC, then it is a drift again"), "{part}");
        assert!(words.contains(&format!("/guardian.policies until {end}")), "{part}");
    }
    let hook = sandbox.webhook.deliveries().pop().unwrap().json();
    assert!(hook["data"]["entries"].as_array().unwrap().iter().all(|entry| entry["approved_until"] == end), "{hook}");
    let id = before["drifts"][0]["id"].as_str().unwrap();
    sandbox.run(&["show", id]).await.expect(0).saying(&["until", "then it is a drift again"]);
    sandbox.run(&["history", "acme"]).await.expect(0).saying(&[&format!("/guardian.policies until {end}")]);

    // Something else is approved for good meanwhile.
    sandbox.auth0.edit("/api/v2/tenants/settings", |settings| settings["heard_of"] = json!(1));
    sandbox.check_one("acme", 10).await;
    sandbox.run(&base).await.expect(0);
    assert_eq!(sandbox.check_one("acme", 0).await["baseline"]["until"].as_object().unwrap().len(), 2);

    let over = std::time::Duration::from_secs(27).saturating_sub(began.elapsed());
    tokio::time::sleep(over).await;
    let after = sandbox.check_one("acme", 10).await;
    let facts = |report: &Value| {
        let drifts = report["drifts"].as_array().unwrap().clone();
        drifts.iter().map(|one| (one["path"].clone(), one["before"].clone(), one["after"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(facts(&after), facts(&before));
    assert_eq!(after["baseline"]["sequence"], 3);
    sandbox.run(&["verify"]).await.expect(0);

    // To approve it for good is a weakening, though no signed value changes.
    let plain = ["approve", "acme", "--all", "--reason", "x", "--key", &key];
    sandbox.run(&plain).await.expect(2).saying(&["for longer, or for good", "/guardian.policies"]);
    sandbox.run(&base).await.expect(0);
    assert_eq!(sandbox.check_one("acme", 0).await["baseline"].get("until"), None);
}

/// On a terminal nothing is ticked, what weakens needs a yes, and the number has to be typed; whoever stops on the way has
/// changed nothing.
#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_every_step_can_be_stopped_and_the_last_one_approves() {
    let sandbox = Sandbox::approved().await;
    sandbox.auth0.edit("/api/v2/guardian/policies", |policies| *policies = json!([]));
    sandbox.auth0.edit("/api/v2/tenants/settings", |settings| settings["unheard_of"] = json!("small"));
    sandbox.check_one("acme", 10).await;
    let home = sandbox.folder.path().to_owned();
    let approve = |typed: &'static [(&'static str, &'static str)]| {
        let home = home.clone();
        let arguments = "--config config.toml approve acme --reason seen --key alice";
        tokio::task::spawn_blocking(move || -> Option<Ran> { on_a_terminal(&home, arguments, typed) })
    };
    const WHICH: &str = "Approve which?";
    const WEAKER: &str = "all the same?";
    const NUMBER: &str = "Type the number";
    type Typed = &'static [(&'static str, &'static str)];
    let tries: [(Typed, i32, &str); 6] = [
        (&[(WHICH, "\u{3}")], 130, "stopped; nothing was signed"),
        (&[(WHICH, "\r")], 0, "Nothing was approved."),
        (&[(WHICH, "\u{1b}")], 0, "Nothing was approved."),
        (&[(WHICH, " \r"), (WEAKER, "n\r")], 0, "Nothing was approved."),
        (&[(WHICH, " \r"), (WEAKER, "y\r"), (NUMBER, "\u{3}")], 130, "stopped; nothing was signed"),
        (&[(WHICH, " \r"), (WEAKER, "y\r"), (NUMBER, "1\r")], 2, "nothing is signed: this is baseline 2"),
    ];
    for (typed, code, said) in tries {
        let Some(ran) = approve(typed).await.unwrap() else { return };
        let ran = ran.expect(code);
        assert!(ran.out.contains(said), "{typed:?}: {}", ran.out);
        assert_eq!(sandbox.check_one("acme", 10).await["baseline"]["sequence"], 1, "{typed:?}");
    }
    let all: &[(&str, &str)] = &[(WHICH, " \r"), (WEAKER, "y\r"), (NUMBER, "2\r")];
    let ran = approve(all).await.unwrap().unwrap().expect(0);
    assert!(ran.out.contains("This will be baseline 2 of auth0:acme, with 1 change."), "{}", ran.out);
    assert!(ran.out.contains("1 difference stays open"), "{}", ran.out);
    sandbox.check_one("acme", 10).await;
}
