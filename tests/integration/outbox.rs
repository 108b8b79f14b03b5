//! What waits: looked at, tried again, given up, folded after an outage, bounded and pruned.

use authdrift::clock::{Clock, SystemClock};
use authdrift::delivery::coalesce;
use authdrift::history::Event;
use authdrift::history::data::QueuedAlert;
use authdrift::model::MessageId;
use authdrift::simulator::webhook::Webhook;
use authdrift::store::{StoreError, Transaction, backlog, events, outbox};
use chrono::{DurationRound, TimeDelta};
use serde_json::{Value, json};

use crate::common::Sandbox;
use crate::common::daemon::{PATIENCE, eventually};
use crate::hour::Clockwork;

impl Sandbox {
    fn states(&self, receiver: &str) -> Vec<String> {
        let connection = self.sql();
        let mut query =
            connection.prepare("SELECT state FROM outbox WHERE receiver = ?1 ORDER BY created_at, id").unwrap();
        query.query_map([receiver], |row| row.get(0)).unwrap().flatten().collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_looked_at_tried_again_and_given_up_and_the_history_agrees() {
    let sandbox = Sandbox::clerk_approved().await;
    assert!(sandbox.run(&["outbox", "list"]).await.expect(0).out.contains("No message waits"));
    sandbox.webhook.script(&[503, 503, 400]);
    sandbox.set_lifetime(3600);
    sandbox.check_one("prod", 10).await;
    let listed = sandbox.run(&["outbox", "list", "--json"]).await.expect(0).json();
    assert_eq!(listed["messages"].as_array().unwrap().len(), 1, "what was delivered is not listed: {listed}");
    let message = &listed["messages"][0];
    assert_eq!((&message["state"], &message["attempts"]), (&json!("waiting"), &json!(1)));
    let id = message["id"].as_str().unwrap();
    let shown = sandbox.run(&["outbox", "show", id]).await.expect(0).out;
    for phrase in ["siem", "tried once", "503", "JWT template", "/jwt_templates/supabase/lifetime"] {
        assert!(shown.contains(phrase), "{phrase} is not in: {shown}");
    }

    sandbox.run(&["outbox", "retry", "--receiver", "siem", "--as", "ann"]).await.expect(0);
    assert_eq!(sandbox.states("siem"), ["waiting"], "it was tried and failed again");
    sandbox.run(&["outbox", "retry", id]).await.expect(0);
    assert_eq!(sandbox.states("siem"), ["dead"], "400 is for good");
    sandbox.run(&["verify"]).await.expect(0);
    let status = sandbox.run(&["status", "--json"]).await.expect(0).json();
    let siem = status["receivers"].as_array().unwrap().iter().find(|one| one["receiver"] == "siem").unwrap();
    assert_eq!((&siem["waiting"], &siem["failed"]), (&json!(0), &json!(1)));

    sandbox.run(&["outbox", "drop", id, "--reason", "the ticket is closed", "--as", "bob"]).await.expect(0);
    let shown = sandbox.run(&["outbox", "show", id]).await.expect(0).out;
    assert!(shown.contains("dropped by bob: the ticket is closed"), "{shown}");
    sandbox.run(&["outbox", "retry", "--dead"]).await.expect(0);
    assert_eq!(sandbox.states("siem"), ["delivered"]);
    for (arguments, phrase) in [
        (&["outbox", "drop", id, "--reason", "x"][..], "is delivered: there is nothing to do"),
        (&["outbox", "retry", "--receiver", "nobody"], "no receiver is called 'nobody'"),
        (&["outbox", "retry", "--as", "ann"], "required"),
        (&["outbox", "show", "msg_none"], "there is no message"),
        (&["outbox", "show", "msg_"], "the beginning of several"),
    ] {
        let ran = sandbox.run(arguments).await.expect(2);
        assert!(ran.err.contains(phrase), "{phrase} is not in: {}", ran.err);
    }
    assert_eq!((sandbox.events("delivery.retried"), sandbox.events("delivery.dropped")), (3, 1));
    sandbox.run(&["verify"]).await.expect(0);
    sandbox.check_one("prod", 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_to_a_receiver_that_is_gone_does_not_keep_others_from_being_tried_again() {
    let sandbox = Sandbox::clerk_approved().await;
    sandbox.webhook.script(&[400]);
    sandbox.set_lifetime(120);
    sandbox.check_one("prod", 10).await;
    sandbox.edit_configuration("name = \"siem\"", "name = \"renamed\"");
    sandbox.webhook.script(&[400]);
    sandbox.set_lifetime(3600);
    sandbox.check_one("prod", 10).await;
    assert_eq!((sandbox.states("siem"), sandbox.states("renamed")), (vec!["dead".into()], vec!["dead".into()]));
    let said = sandbox.run(&["outbox", "retry", "--dead"]).await.expect(0).out;
    assert!(said.contains("is for 'siem', which is not configured any more"), "{said}");
    assert!(said.contains("1 message will be tried again now"), "{said}");
    assert_eq!((sandbox.states("siem"), sandbox.states("renamed")), (vec!["dead".into()], vec!["delivered".into()]));
    sandbox.run(&["verify"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_a_newer_version_waits_is_given_up_and_dropped_and_nothing_else_stops() {
    let sandbox = Sandbox::clerk_approved().await;
    sandbox.webhook.script(&[503]);
    sandbox.set_lifetime(3600);
    sandbox.check_one("prod", 10).await;
    let alert: String =
        sandbox.sql().query_row("SELECT alert FROM outbox WHERE state = 'waiting'", [], |row| row.get(0)).unwrap();
    let mut alert: Value = serde_json::from_str(&alert).unwrap();
    alert["notices"] = json!([{ "kind": "of_a_newer_version", "subject": "x", "text": "y" }]);
    let id = "msg_0198f000-0000-7000-8000-000000000001";
    // As the newer version keeps it: the row, and the event with its digest.
    let now = SystemClock.now();
    sandbox
        .store()
        .write(|tx| -> Result<(), StoreError> {
            tx.unguarded().execute(
                "INSERT INTO outbox (id, receiver, instance, alert, thread, subject, created_at, state, next_at, format, body)
                 SELECT ?1, receiver, instance, ?2, thread, 'News', created_at, 'waiting', ?3, format, body
                 FROM outbox WHERE state = 'waiting'",
                (id, alert.to_string(), now.timestamp_millis()),
            )?;
            let queued = QueuedAlert {
                message: MessageId::from_text(id),
                receiver: "siem".to_owned(),
                content: outbox::content(tx, tx.unguarded().last_insert_rowid())?,
                urgent: false,
            };
            let instance = "clerk:prod".parse().unwrap();
            events::append(tx, now, Some(&instance), &Event::AlertQueued(queued)).map(drop)
        })
        .unwrap();

    sandbox.run(&["verify"]).await.expect(0);
    let listed = sandbox.run(&["outbox", "list"]).await.expect(0).out;
    assert!(listed.contains(id) && listed.contains("cannot read 1 message"), "{listed}");
    assert!(sandbox.run(&["outbox", "show", id]).await.expect(0).out.contains("cannot read the message"));
    assert_eq!(sandbox.run(&["outbox", "show", id, "--json"]).await.expect(0).json()["alert"], Value::Null);
    assert!(sandbox.run(&["outbox", "retry", id]).await.expect(2).err.contains("cannot read msg_0198"));
    // The others go out, and its turn comes.
    sandbox.run(&["outbox", "retry", "--receiver", "siem"]).await.expect(0);
    assert_eq!(sandbox.states("siem"), ["dead", "delivered"]);
    for _ in 0..2 {
        sandbox.check_one("prod", 10).await;
        sandbox.run(&["verify"]).await.expect(0);
    }
    assert_eq!(sandbox.events("delivery.given_up"), 1);
    sandbox.run(&["outbox", "drop", id, "--reason", "x"]).await.expect(0);

    // One that was marked by a version that did not tell the history.
    sandbox.sql().execute("UPDATE outbox SET state = 'waiting', done_at = NULL WHERE id = ?1", [id]).unwrap();
    sandbox.check_one("prod", 12).await;
    sandbox.run(&["outbox", "drop", id, "--reason", "x"]).await.expect(0);
    sandbox.check_one("prod", 10).await;
    let later = SystemClock.now() + TimeDelta::days(100);
    let (month, quarter) = (later - TimeDelta::days(30), later - TimeDelta::days(90));
    let prune = |tx: &Transaction<'_>| {
        backlog::abandon(tx, &[], quarter, later)?;
        backlog::prune(tx, month, quarter, 100, later)
    };
    sandbox.store().write(prune).unwrap();
    assert!(!sandbox.states("siem").contains(&"dead".to_owned()));
    sandbox.run(&["verify"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_outage_one_message_says_what_happened_meanwhile() {
    let minute = SystemClock.now().duration_trunc(TimeDelta::minutes(1)).unwrap();
    let time = minute + TimeDelta::seconds(90);
    let work = Clockwork::start_with(Sandbox::clerk_approved().await, time, |text| text).await;
    let sandbox = &work.sandbox;
    let origins = |value: Value| sandbox.clerk.edit("/v1/instance", |instance| instance["allowed_origins"] = value);
    let mut before = Value::Null;
    sandbox.clerk.edit("/v1/instance", |instance| before = instance["allowed_origins"].clone());
    sandbox.webhook.fail_all(Webhook::reply(503));
    sandbox.set_lifetime(3600);
    work.minute().await;
    eventually("a first failure", || work.tries("siem") == 1).await;
    let steps: [&dyn Fn(); 4] = [
        &|| sandbox.set_lifetime(60),
        &|| origins(json!(["https://evil.example"])),
        &|| origins(before.clone()),
        &|| sandbox.set_lifetime(7200),
    ];
    for step in steps {
        step();
        work.minute().await;
    }
    sandbox.smtp.wait_for(5, PATIENCE).await.expect("the healthy receiver gets all of it");
    assert_eq!(sandbox.states("siem"), ["waiting"; 5]);
    sandbox.webhook.heal_all();
    work.clock.advance(TimeDelta::hours(1));
    eventually("everything delivered", || sandbox.waiting() == 0).await;
    let sandbox = work.stop().await;
    assert_eq!(sandbox.states("siem"), ["delivered", "folded", "folded", "folded", "folded", "delivered"]);
    assert_eq!(sandbox.events("delivery.folded"), 4);
    let last = sandbox.webhook.deliveries().last().unwrap().json();
    let mut told: Vec<(String, String)> = Vec::new();
    for entry in last["data"]["entries"].as_array().unwrap() {
        let path = entry["changes"][0]["path"].as_str().unwrap().to_owned();
        told.push((path, entry["news"].as_str().unwrap().to_owned()));
    }
    let lifetime = ("/jwt_templates/supabase/lifetime".to_owned(), "reopened".to_owned());
    assert!(told.contains(&lifetime), "{told:?}");
    let passed = told.iter().filter(|(path, _)| path == "/instance/allowed_origins");
    assert!(passed.clone().count() > 0 && passed.clone().all(|(_, news)| news == "passed"), "{told:?}");
    sandbox.run(&["verify"]).await.expect(0);
    assert!(sandbox.run(&["outbox", "list", "--all"]).await.expect(0).out.contains("folded"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_bounded_and_what_is_done_is_pruned() {
    let minute = SystemClock.now().duration_trunc(TimeDelta::minutes(1)).unwrap();
    let sandbox = Sandbox::clerk_approved().await;
    for lifetime in [3600, 60] {
        sandbox.set_lifetime(lifetime);
        sandbox.run(&["check", "prod"]).await;
    }
    sandbox.webhook.fail_all(Webhook::reply(503));
    for lifetime in [3601, 3602, 3603] {
        sandbox.set_lifetime(lifetime);
        sandbox.check_one("prod", 10).await;
    }
    let now = SystemClock.now();
    let bound = |most| sandbox.store().write(|tx| coalesce::bound(tx, "siem", most, now)).unwrap();
    bound(3);
    assert_eq!(sandbox.waiting(), 3);
    bound(2);
    assert_eq!(sandbox.waiting(), 2, "one that was tried, and one that says the rest");
    sandbox.run(&["verify"]).await.expect(0);

    let done = sandbox.count("SELECT count(*) FROM outbox WHERE state IN ('delivered', 'folded')");
    let work = Clockwork::start_with(sandbox, minute + TimeDelta::seconds(90), |text| text).await;
    // Nobody knows yet whether the clock is right or went forward.
    work.minutes(40 * 1_440).await;
    assert_eq!((work.sandbox.events("clock.set_forward"), work.sandbox.events("outbox.pruned")), (1, 0));
    work.minutes(2 * 1_440).await;
    eventually("what is done is pruned", || work.sandbox.events("outbox.pruned") > 0).await;
    let sandbox = work.stop().await;
    let left =
        sandbox.count("SELECT count(*) FROM outbox WHERE done_at < (SELECT max(done_at) FROM outbox) - 2678400000");
    assert!(done >= 8 && left <= 2, "{done} {left}: only the beginnings of stories that go on are kept");
    sandbox.run(&["verify"]).await.expect(0);
}
