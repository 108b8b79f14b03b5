//! Silences, change windows, routes and digests, with the real binary and the daemon in this process.

use authdrift::clock::{Clock, SystemClock};
use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::common::Sandbox;
use crate::common::daemon::{PATIENCE, eventually};
use crate::hour::{Clockwork, kinds};

/// Half a minute after a full one.
fn soon() -> DateTime<Utc> {
    SystemClock.now().duration_trunc(TimeDelta::minutes(1)).unwrap() + TimeDelta::seconds(90)
}

impl Sandbox {
    fn set_origins(&self, origins: Value) {
        self.clerk.edit("/v1/instance", |instance| instance["allowed_origins"] = origins);
    }

    fn origins(&self) -> Value {
        let mut origins = Value::Null;
        self.clerk.edit("/v1/instance", |instance| origins = instance["allowed_origins"].clone());
        origins
    }

    /// The newest notice of a kind that came to the webhook.
    fn notice(&self, kind: &str) -> String {
        let deliveries = self.webhook.deliveries();
        let notices = deliveries.iter().flat_map(|delivery| {
            let notices = delivery.json()["data"]["notices"].as_array().cloned().unwrap_or_default();
            notices.into_iter().filter(|notice| notice["kind"] == kind).collect::<Vec<_>>()
        });
        notices.last().unwrap_or_else(|| panic!("no {kind}"))["text"].as_str().unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_silenced_is_recorded_and_told_when_the_silence_ends() {
    let sandbox = Sandbox::clerk_approved().await;
    let add = ["silence", "add", "--match", "/jwt_templates/**", "--until", "2h", "--reason", "CHG-7", "--as", "ann"];
    let said = sandbox.run(&add).await.expect(0).out;
    assert!(said.starts_with("Quiet: /jwt_templates/** until "), "{said}");
    assert_eq!(kinds(&sandbox), ["silence.added"], "everybody is told that it begins");
    let notice = sandbox.notice("silenced");
    assert!(notice.contains("by ann: \"CHG-7\""), "{notice}");
    assert_eq!(sandbox.smtp.mails().len(), 1);
    let listed = sandbox.run(&["silence", "list", "--json"]).await.expect(0).json();
    assert_eq!(listed["silences"][0]["match"], json!(["/jwt_templates/**"]));
    assert!(sandbox.run(&["status"]).await.expect(0).out.contains("Quiet until"));

    let work = Clockwork::start_with(sandbox, soon(), |text| text).await;
    let sandbox = &work.sandbox;
    sandbox.set_lifetime(3600);
    work.minute().await;
    assert_eq!((sandbox.events("drift.opened"), sandbox.events("drift.silenced")), (1, 1), "it is recorded");
    let status = sandbox.run(&["status", "--json"]).await.expect(0).json();
    assert_eq!(
        (&status["instances"][0]["verdict"], &status["instances"][0]["open"]["high"]),
        (&json!("drift"), &json!(1))
    );
    // What it is not about is told as always.
    let origins = sandbox.origins();
    sandbox.set_origins(json!(["https://evil.example"]));
    work.minute().await;
    sandbox.webhook.wait_for(1, PATIENCE).await.expect("the other drift");
    sandbox.set_origins(origins);
    work.minute().await;
    sandbox.webhook.wait_for(2, PATIENCE).await.expect("its end");
    assert_eq!(kinds(sandbox), ["drift.opened", "drift.closed"]);

    work.minutes(121).await;
    sandbox.webhook.wait_for(3, PATIENCE).await.expect("the end of the silence");
    let end = sandbox.webhook.deliveries()[2].json();
    assert_eq!(end["type"], "drift.opened");
    assert_eq!(end["data"]["entries"][0]["news"], "opened");
    assert_eq!(end["data"]["entries"][0]["changes"][0]["path"], "/jwt_templates/supabase/lifetime");
    let notice = sandbox.notice("silence_ended");
    assert!(notice.contains("its time is over") && notice.contains("Kept quiet: 1 drift is still open:"), "{notice}");
    for _ in 0..3 {
        work.minute().await;
    }
    sandbox.set_lifetime(60);
    work.minute().await;
    sandbox.webhook.wait_for(4, PATIENCE).await.expect("the end of the drift");
    let sandbox = work.stop().await;
    assert_eq!(kinds(&sandbox), ["drift.opened", "drift.closed", "drift.opened", "drift.closed"]);
    assert_eq!((sandbox.events("silence.added"), sandbox.events("silence.ended")), (1, 1));
    assert_eq!(sandbox.events("drift.told"), 1);
    sandbox.run(&["verify"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_and_went_in_a_silence_is_said_at_its_end_and_an_end_that_people_wait_for_at_once() {
    let sandbox = Sandbox::clerk_approved().await;
    let origins = sandbox.origins();
    sandbox.set_origins(json!(["https://evil.example"]));
    sandbox.check_one("prod", 10).await;
    sandbox.run(&["silence", "add", "--match", "prod", "--until", "3d", "--reason", "move"]).await.expect(0);
    sandbox.set_lifetime(3600);
    sandbox.check_one("prod", 10).await;
    sandbox.set_lifetime(60);
    sandbox.set_origins(origins);
    sandbox.check_one("prod", 0).await;
    assert_eq!(kinds(&sandbox), ["drift.opened", "silence.added", "drift.closed"]);
    let closed = sandbox.webhook.deliveries()[2].json();
    let paths =
        closed["data"]["entries"].as_array().unwrap().iter().flat_map(|entry| entry["changes"].as_array().unwrap());
    assert!(paths.clone().count() > 0 && paths.clone().all(|change| change["path"] == "/instance/allowed_origins"));

    let id = sandbox.run(&["silence", "list", "--json"]).await.json()["silences"][0]["id"].as_str().unwrap().to_owned();
    sandbox.run(&["silence", "expire", &id[..10], "--as", "bob"]).await.expect(0);
    sandbox.run(&["silence", "expire", &id]).await.expect(0).saying(&["is over"]);
    sandbox.check_one("prod", 0).await;
    sandbox.check_one("prod", 0).await;
    assert_eq!(kinds(&sandbox), ["drift.opened", "silence.added", "drift.closed", "silence.ended"]);
    let notice = sandbox.notice("silence_ended");
    assert!(notice.contains("ended by bob. Kept quiet: 1 came and went"), "{notice}");
    sandbox.run(&["verify"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announced_change_is_quiet_and_any_other_louder() {
    let sandbox = Sandbox::clerk_approved().await;
    let add =
        ["silence", "add", "--window", "prod", "--match", "/jwt_templates/**", "--until", "1h", "--reason", "CHG-7"];
    sandbox.run(&add).await.expect(0);
    sandbox.set_lifetime(3600);
    // Nobody has described this field, so it is medium on any other day.
    sandbox.clerk.edit("/v1/instance", |instance| instance["brand_new"] = json!("value"));
    sandbox.check_one("prod", 10).await;
    assert_eq!(kinds(&sandbox), ["window.opened", "drift.opened"]);
    let told = sandbox.webhook.deliveries()[1].json();
    let entries = told["data"]["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 1, "{told}");
    assert_eq!((&entries[0]["severity"], &entries[0]["unannounced"]), (&json!("high"), &json!("CHG-7")));
    let mail = sandbox.smtp.mails().last().unwrap().text().unwrap();
    assert!(mail.contains("outside the announced changes \"CHG-7\""), "{mail}");

    let listed = sandbox.run(&["silence", "list", "--window", "--json"]).await.json();
    assert_eq!(listed, sandbox.run(&["window", "list", "--json"]).await.json());
    assert_eq!(sandbox.run(&["silence", "list", "--json"]).await.json(), json!({ "silences": [] }));
    let id = listed["windows"][0]["id"].as_str().unwrap().to_owned();
    sandbox.run(&["silence", "expire", &id]).await.expect(0).saying(&["changed in the window"]);
    sandbox.run(&["window", "close", &id]).await.expect(0).saying(&["is over"]);
    sandbox.check_one("prod", 10).await;
    let notice = sandbox.notice("window_ended");
    for phrase in [
        "1 announced change is still different: ",
        "1 change was not announced: /instance/brand_new",
        "authdrift approve clerk:prod --reason TEXT --only drf_",
    ] {
        assert!(notice.contains(phrase), "{phrase} is not in: {notice}");
    }
    assert_eq!(sandbox.events("drift.unexpected"), 1);
    // The command that it names works as it is.
    let drifts = notice.split("--only ").nth(1).unwrap();
    let key = sandbox.path("alice").display().to_string();
    let command = [&["approve", "prod", "--reason", "CHG-7", "--accept-weaker", "--key", &key, "--only"][..]].concat();
    let drifts: Vec<&str> = drifts.split(' ').collect();
    sandbox.run(&[&command[..], &drifts].concat()).await.expect(0);
    sandbox.check_one("prod", 0).await;
    sandbox.run(&["verify"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_meant_is_refused() {
    let sandbox = Sandbox::clerk_approved().await;
    for (arguments, phrase) in [
        (&["--match", "/jwt_templates", "--until", "8d", "--reason", "x"][..], "more than 7 days away"),
        (&["--match", "/jwt_templates", "--until", "1h", "--reason", " "], "needs a reason"),
        (&["--match", "/jwt_template", "--until", "1h", "--reason", "x"], "is in no section"),
        (&["--match", "prodd", "--until", "1h", "--reason", "x"], "is no path, setting or instance"),
        (&["--match", "clerk:other", "--until", "1h", "--reason", "x"], "clerk:other"),
        (&["--until", "1h", "--reason", "x"], "--match"),
    ] {
        let ran = sandbox.run(&[&["silence", "add"][..], arguments].concat()).await.expect(2);
        assert!(ran.err.contains(phrase), "{phrase} is not in: {}", ran.err);
    }
    for begin in [&["silence", "add", "--window", "prod"][..], &["window", "open", "prod"]] {
        let window = [begin, &["--match", "clerk:prod", "--until", "1h", "--reason", "x"]].concat();
        assert!(sandbox.run(&window).await.expect(2).err.contains("a window is about one already"));
    }
    assert_eq!(sandbox.events("silence.added"), 0);
    assert!(sandbox.webhook.deliveries().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_drifts_is_ever_kept_quiet() {
    let sandbox = Sandbox::clerk_approved().await;
    sandbox.run(&["silence", "add", "--match", "/**", "--until", "7d", "--reason", "x"]).await.expect(0);
    sandbox.set_lifetime(3600);
    sandbox.clerk.fail("/v1/instance", authdrift::simulator::fault::Fault::status(500, json!({})));
    let signers = std::fs::read_to_string(sandbox.path("allowed_signers")).unwrap();
    sandbox.write("allowed_signers", &format!("{signers}# a new line\n"));
    for _ in 0..2 {
        sandbox.run(&["check", "prod"]).await;
    }
    let told = kinds(&sandbox);
    assert!(told.iter().any(|kind| kind == "section.blind"), "{told:?}");
    assert!(told.iter().any(|kind| kind == "trust.changed"), "{told:?}");
    assert!(!told.iter().any(|kind| kind == "drift.opened"), "{told:?}");
    sandbox.tamper("UPDATE drifts SET status = 'reverted'", []);
    sandbox.run(&["check", "prod"]).await.expect(12);
    assert_eq!(kinds(&sandbox).last().unwrap(), "baseline.untrusted");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_takes_goes_to_the_default_receiver() {
    let sandbox = Sandbox::clerk_approved().await;
    let text = std::fs::read_to_string(sandbox.path("config.toml")).unwrap();
    let text = text.replace("min_severity = \"info\"\n[[webhook]]", "categories = [\"mfa\"]\n[[webhook]]");
    let text = text.replace("min_severity = \"info\"", "categories = [\"keys\"]");
    sandbox.write("config.toml", &text);
    let said = sandbox.run(&["config", "check"]).await.expect(0).out;
    assert!(said.contains("warning: no receiver takes these drifts of clerk:prod: timeouts"), "{said}");
    sandbox.set_lifetime(3600);
    sandbox.check_one("prod", 10).await;
    assert!(kinds(&sandbox).is_empty() && sandbox.smtp.mails().is_empty());

    sandbox.write("config.toml", &text.replace("categories = [\"keys\"]", "categories = [\"keys\"]\ndefault = true"));
    assert!(!sandbox.run(&["config", "check"]).await.expect(0).out.contains("warning"));
    sandbox.set_lifetime(60);
    sandbox.check_one("prod", 0).await;
    assert_eq!(kinds(&sandbox), ["drift.closed"]);
    assert!(sandbox.smtp.mails().is_empty());

    let two = text.replace("categories = [", "default = true\ncategories = [");
    sandbox.write("config.toml", &two);
    let ran = sandbox.run(&["config", "check"]).await.expect(78);
    assert!(ran.err.contains("'security' is the default receiver already"), "{}", ran.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_comes_at_once_and_then_every_day_with_the_next_number() {
    let sandbox = Sandbox::clerk_approved().await;
    let digest = |text: String| text.replace("to = [", "digest = \"daily\"\nto = [");
    let work = Clockwork::start_with(sandbox, soon(), digest).await;
    let sandbox = &work.sandbox;
    sandbox.smtp.wait_for(1, PATIENCE).await.expect("the first digest");
    sandbox.set_lifetime(3600);
    work.minute().await;
    sandbox.smtp.wait_for(2, PATIENCE).await.expect("the drift");
    work.minutes(1_440).await;
    let digests = || -> Vec<String> {
        let subjects = sandbox.smtp.mails().into_iter().map(|mail| mail.header("Subject").unwrap());
        subjects.filter(|subject| subject.contains("digest")).collect()
    };
    eventually("a second digest", || digests().len() == 2).await;
    work.minute().await;
    work.minute().await;
    let digests = digests();
    assert_eq!(digests.len(), 2, "{digests:?}");
    assert!(digests[0].contains("digest 1, 1 in sync"), "{digests:?}");
    assert!(digests[1].contains("digest 2, 1 drift"), "{digests:?}");
    let mails = sandbox.smtp.mails();
    let mail = mails.iter().find(|mail| mail.header("Subject").unwrap().contains("digest 2")).unwrap();
    let text = mail.text().unwrap();
    for phrase in
        ["The one before was number 1 of", "clerk:prod", "drift; open: 1 high; baseline 1, 1 day old; last read"]
    {
        assert!(text.replace("\n  ", " ").contains(phrase), "{phrase} is not in: {text}");
    }
    assert!(kinds(sandbox).iter().all(|kind| kind != "digest"), "the other receiver did not ask for any");
    let sandbox = work.stop().await;
    assert_eq!(sandbox.events("digest.sent"), 2);
    sandbox.run(&["verify"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_heard_that_it_began_hears_that_it_moved_on_and_ended() {
    let sandbox = Sandbox::clerk_approved().await;
    let open = ["window", "open", "clerk:prod", "--match", "/jwt_templates/**", "--until", "2h", "--reason", "CHG-9"];
    sandbox.run(&open).await.expect(0);
    let only_high = |text: String| text.replacen("min_severity = \"info\"", "min_severity = \"high\"", 2);
    let work = Clockwork::start_with(sandbox, soon(), only_high).await;
    let sandbox = &work.sandbox;
    let heard = |count: usize| sandbox.webhook.wait_for(count, PATIENCE);
    let began = kinds(sandbox).len();
    // Mild by itself, and outside of what was announced.
    sandbox.clerk.edit("/v1/instance", |instance| instance["brand_new"] = json!("value"));
    work.minute().await;
    heard(began + 1).await.expect("that it began");
    work.minutes(242).await;
    heard(began + 2).await.expect("the end of the window and a reminder");
    sandbox.clerk.edit("/v1/instance", |instance| _ = instance.as_object_mut().unwrap().remove("brand_new"));
    work.minute().await;
    heard(began + 3).await.expect("that it ended");
    let sandbox = work.stop().await;
    let kinds = kinds(&sandbox);
    assert_eq!(kinds[began], "drift.opened");
    assert_eq!(kinds.last().unwrap(), "drift.closed", "{kinds:?}");
    let reminded = sandbox.webhook.deliveries().iter().any(|one| {
        let entries = one.json()["data"]["entries"].as_array().cloned().unwrap_or_default();
        entries.iter().any(|entry| entry["news"] == "still_open" && entry["severity"] == "high")
    });
    assert!(reminded, "{kinds:?}");
}
