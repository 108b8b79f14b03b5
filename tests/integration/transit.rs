//! A proposal that somebody edits on its way to an approver: nothing is signed that was not shown.

use std::fs;
use std::process::Command;

use authdrift::canonical::to_bytes;
use authdrift::model::Digest;
use authdrift::snapshot::digest_of;
use authdrift::trust::Subject;
use serde_json::{Value, json};

use crate::approve::{SECOND, import, propose, sign, two_approvers};
use crate::common::Sandbox;
use crate::common::sandbox::{APPROVER, Ran};
use crate::common::terminal::on_a_terminal;

/// What the change of the test is called wherever it is shown.
const WEAKENED: &str = "MFA policy";

/// One instance with a baseline of two people, and a proposal that weakens it a great deal.
async fn weakened() -> (Sandbox, Value) {
    let sandbox = two_approvers().await;
    sandbox.check().await.expect(13);
    propose(&sandbox, "acme", "first.json").await;
    sign(&sandbox, "first.json", "alice").await.expect(0);
    sign(&sandbox, "first.json", "bob").await.expect(0);
    import(&sandbox, &["first.json"]).await.expect(0);
    sandbox.auth0.edit("/api/v2/guardian/policies", |policies| *policies = json!([]));
    sandbox.check_one("acme", 10).await;
    let proposal = propose(&sandbox, "acme", "p.json").await;
    (sandbox, proposal)
}

async fn sign_with(sandbox: &Sandbox, file: &str, more: &[&str]) -> Ran {
    let (file, key) = (sandbox.path(file).display().to_string(), sandbox.path("alice").display().to_string());
    let arguments = [&["sign", &file, "--key", &key][..], more].concat();
    sandbox.run(&arguments).await
}

/// Every edit of the file: a name, and the text of the file.
fn edits(good: &Value) -> Vec<(String, String)> {
    let mut edits = Vec::new();
    let mut edit = |name: String, change: &dyn Fn(&mut Value)| {
        let mut proposal = good.clone();
        change(&mut proposal);
        if proposal != *good {
            edits.push((name, proposal.to_string()));
        }
    };
    let fields: Vec<(&str, String)> = [("", good), ("/subject", &good["subject"])]
        .into_iter()
        .flat_map(|(at, object)| object.as_object().unwrap().keys().map(move |key| (at, key.clone())))
        .collect();
    for (at, field) in &fields {
        let place = format!("{at}/{field}");
        edit(format!("{place} removed"), &|proposal| {
            proposal.pointer_mut(at).unwrap().as_object_mut().unwrap().remove(field);
        });
        for value in [Value::Null, json!([]), json!({}), json!(1), json!("x")] {
            edit(format!("{place} is {value}"), &|proposal| *proposal.pointer_mut(&place).unwrap() = value.clone());
        }
    }
    edit("the previous baseline and its statements removed".to_owned(), &|proposal| {
        proposal.as_object_mut().unwrap().remove("previous");
        proposal.as_object_mut().unwrap().remove("previous_statements");
    });
    edit("the previous baseline is the new one".to_owned(), &|proposal| proposal["previous"] = good["subject"].clone());
    edit("the previous baseline holds the new value".to_owned(), &|proposal| {
        let mark = good["subject"]["sections"]["guardian.policies"].clone();
        proposal["previous"]["sections"]["guardian.policies"] = mark;
    });
    edit("the previous baseline and what is signed of it hold the new value".to_owned(), &|proposal| {
        let mark = good["subject"]["sections"]["guardian.policies"].clone();
        proposal["previous"]["sections"]["guardian.policies"] = mark;
        let previous: authdrift::trust::Subject = serde_json::from_value(proposal["previous"].clone()).unwrap();
        proposal["subject"]["previous"] = json!(previous.identity());
    });
    edit("the section is left out of the previous baseline".to_owned(), &|proposal| {
        proposal["previous"]["sections"].as_object_mut().unwrap().remove("guardian.policies");
    });
    for (name, of) in [("new", "subject"), ("old", "previous")] {
        let digest = good[of]["sections"]["guardian.policies"]["digest"].as_str().unwrap();
        edit(format!("the {name} document removed"), &|proposal| {
            proposal["documents"].as_object_mut().unwrap().remove(digest);
        });
        edit(format!("the {name} document altered"), &|proposal| proposal["documents"][digest] = json!(["x"]));
    }
    edit("the statements of the previous baseline are one".to_owned(), &|proposal| {
        proposal["previous_statements"].as_array_mut().unwrap().pop();
    });
    edit("the list of changes is empty".to_owned(), &|proposal| proposal["changes"] = json!([]));
    let text = good.to_string();
    for part in [1, 2, 3] {
        edits.push((format!("truncated to {part} quarters"), text[..text.len() * part / 4].to_owned()));
    }
    edits.push(("the previous baseline given twice".to_owned(), text.replacen('{', "{\"previous\":null,", 1)));
    edits.push((
        "a section given twice".to_owned(),
        text.replace("\"guardian.policies\":", "\"guardian.policies\":{\"state\":\"off\"},\"guardian.policies\":"),
    ));
    edits
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_edited_in_transit_nothing_is_signed_that_was_not_shown() {
    let (sandbox, good) = weakened().await;
    sign_with(&sandbox, "p.json", &[]).await.expect(2).saying(&["this makes sign-in weaker", WEAKENED]);
    for (name, text) in edits(&good) {
        sandbox.write("edited.json", &text);
        let ran = sign_with(&sandbox, "edited.json", &["--accept-weaker"]).await;
        let edited = fs::read_to_string(sandbox.path("edited.json")).unwrap();
        match ran.code {
            0 => {
                assert!(ran.out.contains(WEAKENED), "{name}: signed unseen: {}", ran.out);
                let _ = fs::remove_dir_all(sandbox.path(".local"));
            }
            _ => assert_eq!(edited, text, "{name}: {ran:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_baseline_before_everything_is_shown_and_what_is_weakest_is_asked_for() {
    let (sandbox, mut proposal) = weakened().await;
    proposal.as_object_mut().unwrap().remove("previous");
    proposal.as_object_mut().unwrap().remove("previous_statements");
    sandbox.write("edited.json", &proposal.to_string());
    let refused = sign_with(&sandbox, "edited.json", &["--accept-weaker"]).await.expect(12);
    refused.saying(&["no-previous", "does not hold the baseline before", "--without-previous"]);
    let refused = sign_with(&sandbox, "edited.json", &["--without-previous"]).await.expect(2);
    assert!(refused.out.contains("/guardian.policies  []"), "{}", refused.out);
    assert!(refused.out.contains("/tenants.settings/session_lifetime  "), "{}", refused.out);
    refused.saying(&["compared with nothing", WEAKENED, "--accept-weaker"]);
    sign_with(&sandbox, "edited.json", &["--without-previous", "--accept-weaker"]).await.expect(0);

    // Without a configuration, too.
    let file = sandbox.path("edited.json").display().to_string();
    let key = sandbox.path("bob").display().to_string();
    let bare = |more: &'static [&'static str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_authdrift"));
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.env_clear().env("PATH", path).env("HOME", sandbox.folder.path());
        command.args(["sign", &file, "--key", &key, "--as", SECOND]).args(more);
        Ran::from(command.output().unwrap())
    };
    bare(&[]).expect(12).saying(&["no-previous"]);
    bare(&["--without-previous"]).expect(2).saying(&["compared with nothing", WEAKENED]);
}

/// The proposer suggests a reason, and whoever carries the file can change it: the approver says what is signed.
#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_the_approver_confirms_the_reason_or_types_one() {
    let (sandbox, mut proposal) = weakened().await;
    proposal["reason"] = json!("nothing to see here");
    let home = sandbox.folder.path().to_owned();
    const REASON: &str = "type your own";
    const NUMBER: &str = "Type the number";
    const WEAKER: &str = "all the same?";
    type Typed = &'static [(&'static str, &'static str)];
    let tries: [(Typed, Option<&str>); 3] = [
        (&[(REASON, "CHG-7, looked at it\r"), (NUMBER, "2\r"), (WEAKER, "y\r")], Some("CHG-7, looked at it")),
        (&[(REASON, "\r"), (NUMBER, "2\r"), (WEAKER, "y\r")], Some("nothing to see here")),
        (&[(REASON, "\r"), (NUMBER, "2\r"), (WEAKER, "n\r")], None),
    ];
    for (typed, expected) in tries {
        sandbox.write("p.json", &proposal.to_string());
        let home = home.clone();
        let run = move || on_a_terminal(&home, "--config config.toml sign p.json --key alice", typed);
        let Some(ran) = tokio::task::spawn_blocking(run).await.unwrap() else { return };
        let ran = ran.expect(0);
        let shown = ran.out.find("nothing to see here");
        assert!(shown.is_some() && shown < ran.out.find(NUMBER), "{}", ran.out);
        assert!(!ran.out.contains("Signing data on standard input"), "{}", ran.out);
        let signed: Value = serde_json::from_slice(&fs::read(sandbox.path("p.json")).unwrap()).unwrap();
        let statement = signed["statements"].as_array().unwrap().last().cloned();
        let reason = statement.map(|one| serde_json::from_str::<Value>(one["statement"].as_str().unwrap()).unwrap());
        assert_eq!(reason.map(|one| one["approval"]["reason"].clone()), expected.map(|text| json!(text)));
        if expected.is_none() {
            assert!(ran.out.contains("Nothing was signed."), "{}", ran.out);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_value_of_what_is_added_can_be_seen() {
    let sandbox = Sandbox::approved().await;
    let long = format!("https://app.example/{}", "x".repeat(400));
    sandbox.auth0.edit("/api/v2/clients", |clients| {
        let mut client = clients[0].clone();
        client["client_id"] = json!("newClient");
        client["name"] = json!("Back door");
        client["callbacks"] = json!(["https://evil.example/*", long]);
        client["description"] = json!("y".repeat(3000));
        clients.as_array_mut().unwrap().push(client);
    });
    sandbox.check_one("acme", 10).await;
    propose(&sandbox, "acme", "p.json").await;
    let (usual, whole) = (
        sign_with(&sandbox, "p.json", &["--accept-weaker"]).await,
        sign_with(&sandbox, "p.json", &["--full", "--accept-weaker"]).await,
    );
    for ran in [&usual, &whole] {
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.out.contains(",\"https://evil.example/*\"]") && ran.out.contains(&long), "{}", ran.out);
        assert!(ran.out.contains("/grant_types  ["), "{}", ran.out);
    }
    assert!(usual.out.contains("--full shows all"), "{}", usual.out);
    assert!(whole.out.contains(&"y".repeat(3000)) && !whole.out.contains("--full shows all"), "{}", whole.out);

    // The same where one person does it all.
    let key = sandbox.path("alice").display().to_string();
    let approved = ["approve", "acme", "--all", "--accept-weaker", "--reason", "x", "--replace-signed", "--key", &key];
    let approved = sandbox.run(&approved).await.expect(0);
    assert!(approved.out.contains(",\"https://evil.example/*\"]"), "{}", approved.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_one_of_two_signatures_the_second_one_is_what_comes_next() {
    let (sandbox, _) = weakened().await;
    let first = sign(&sandbox, "p.json", "alice").await.expect(0);
    assert!(first.out.contains("1 of 2 approvers signed") && !first.out.contains("authdrift import"), "{}", first.out);
    let second = sign(&sandbox, "p.json", "bob").await.expect(0);
    assert!(second.out.contains("Next: authdrift import"), "{}", second.out);
    import(&sandbox, &["p.json"]).await.expect(0).saying(&[]);
    let report = sandbox.check_one("acme", 0).await;
    assert_eq!(report["baseline"]["approvers"], json!([APPROVER, SECOND]));
}

/// The application that the edits of the next test are about.
const CLIENT: &str = "LanternClient00000000000000000001";

/// A section, what has to be shown, and the edit of the section's document.
type Edit<'a> = (&'a str, &'a str, &'a dyn Fn(&mut Value));

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_hidden_from_an_approver_by_calling_it_unknown() {
    let (sandbox, good) = weakened().await;
    let marker = || json!({ "unknown": "two items have the client_id 'x'" });
    let edits: [Edit<'_>; 3] = [
        ("clients", CLIENT, &|clients| clients[CLIENT] = marker()),
        ("clients", CLIENT, &|clients| {
            clients.as_object_mut().unwrap().remove(CLIENT).unwrap();
            clients[""] = marker();
        }),
        ("tenants.settings", "/tenants.settings/flags", &|settings| settings["flags"] = marker()),
    ];
    for (section, expected, edit) in edits {
        let mut proposal = good.clone();
        let old = good["subject"]["sections"][section]["digest"].as_str().unwrap();
        let mut document = good["documents"][old].clone();
        edit(&mut document);
        let digest = Digest::of(&to_bytes(&document)).to_string();
        proposal["documents"][&digest] = document;
        proposal["subject"]["sections"][section]["digest"] = json!(digest);
        let subject: Subject = serde_json::from_value(proposal["subject"].clone()).unwrap();
        let snapshot = digest_of(&subject.instance, &subject.resource, &subject.sections);
        proposal["subject"]["snapshot"] = json!(snapshot);
        sandbox.write("edited.json", &proposal.to_string());
        let ran = sign_with(&sandbox, "edited.json", &["--full", "--accept-weaker"]).await.expect(0);
        let _ = fs::remove_dir_all(sandbox.path(".local"));
        assert!(ran.out.contains(expected), "{section}: {ran:?}");
        assert!(ran.out.contains("not watched"), "{section}: {ran:?}");
    }
}
