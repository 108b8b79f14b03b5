//! Write access to the database neither gets a message sent nor keeps one from being sent.

use authdrift::clock::{Clock, SystemClock};
use authdrift::history::Event;
use authdrift::history::data::CheckedStore;
use authdrift::store::events;
use serde_json::{Value, json};

use crate::common::Sandbox;

/// What was sent to the webhook, in the order it came.
fn types(sandbox: &Sandbox) -> Vec<Value> {
    sandbox.webhook.deliveries().iter().map(|delivery| delivery.json()["type"].clone()).collect()
}

/// Whether anything with `text` in it was sent to any receiver.
fn was_sent(sandbox: &Sandbox, text: &str) -> bool {
    let hooks = sandbox.webhook.deliveries();
    hooks.iter().any(|delivery| delivery.json().to_string().contains(text))
        || sandbox.smtp.mails().iter().any(|mail| format!("{mail:?}").contains(text))
}

/// Changes the outbox while its index of ids does not exist, and puts the index back: it does not fit the rows then.
fn behind_the_index(sandbox: &Sandbox, statement: &str) {
    let connection = sandbox.sql();
    connection.execute_batch("PRAGMA writable_schema = ON").unwrap();
    let table = "SELECT sql FROM sqlite_schema WHERE name = 'outbox'";
    let sql: String = connection.query_row(table, [], |row| row.get(0)).unwrap();
    let index = "SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_outbox_1'";
    let root: i64 = connection.query_row(index, [], |row| row.get(0)).unwrap();
    connection.execute("DELETE FROM sqlite_schema WHERE name = 'sqlite_autoindex_outbox_1'", []).unwrap();
    let without = sql.replace("TEXT PRIMARY KEY", "TEXT");
    connection.execute("UPDATE sqlite_schema SET sql = ?1 WHERE name = 'outbox'", [&without]).unwrap();
    connection.execute_batch("PRAGMA writable_schema = RESET").unwrap();
    assert!(connection.execute(statement, []).unwrap() > 0, "nothing to change by {statement}");
    connection.execute_batch("PRAGMA writable_schema = ON").unwrap();
    connection.execute("UPDATE sqlite_schema SET sql = ?1 WHERE name = 'outbox'", [&sql]).unwrap();
    let put_back = "INSERT INTO sqlite_schema VALUES ('index', 'sqlite_autoindex_outbox_1', 'outbox', ?1, NULL)";
    connection.execute(put_back, [root]).unwrap();
    connection.execute_batch("PRAGMA writable_schema = RESET").unwrap();
}

/// A row that nobody queued, before all others, with the columns that `changes` names.
fn planted(changes: &[(&str, &str)]) -> String {
    let columns = [
        ("rowid", "-7"),
        ("id", "'msg_planted'"),
        ("receiver", "receiver"),
        ("instance", "instance"),
        ("alert", "replace(alert, 'Supabase', 'EVIL')"),
        ("thread", "NULL"),
        ("subject", "'EVIL'"),
        ("created_at", "created_at"),
        ("state", "'waiting'"),
        ("next_at", "0"),
        ("format", "'standard'"),
        ("body", "'{\"EVIL\":1}'"),
    ];
    let value = |name: &str, value: &str| {
        changes.iter().find(|(changed, _)| *changed == name).map_or(value, |(_, value)| value).to_owned()
    };
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let values: Vec<String> = columns.iter().map(|(name, column)| value(name, column)).collect();
    format!(
        "INSERT INTO outbox ({}) SELECT {} FROM outbox WHERE receiver = 'siem' LIMIT 1",
        names.join(", "),
        values.join(", ")
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn t4_a_message_that_nobody_queued_is_never_sent_and_is_told() {
    for (what, changes) in [
        ("about the program", &[("instance", "''")][..]),
        ("about an instance", &[("instance", "'clerk:prod'")]),
        ("about an instance that is not there", &[("instance", "'clerk:nowhere'")]),
        ("to wait long, before all others", &[("next_at", "4102444800000")]),
        ("being sent by somebody", &[("claimed_to", "4102444800000")]),
    ] {
        let sandbox = Sandbox::clerk_approved().await;
        // Something has to be there to be copied.
        sandbox.set_lifetime(120);
        sandbox.check().await.expect(10);
        sandbox.tamper(&planted(changes), []);
        sandbox.set_lifetime(3600);
        sandbox.check().await.expect(12).saying(&["msg_planted is not in the history"]);
        sandbox.check().await.expect(12);
        sandbox.run(&["verify"]).await.expect(12).saying(&["msg_planted"]);
        assert!(!was_sent(&sandbox, "EVIL"), "{what}");
        assert_eq!(types(&sandbox), ["drift.opened", "baseline.untrusted"], "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t4_a_message_that_was_rewritten_or_removed_while_it_waited_is_not_sent_and_is_told() {
    let edits = [
        "UPDATE outbox SET body = replace(body, 'prod', 'EVIL') WHERE state = 'waiting'",
        "UPDATE outbox SET alert = replace(alert, 'clerk', 'EVIL') WHERE state = 'waiting'",
        "UPDATE outbox SET subject = 'EVIL' WHERE state = 'waiting'",
        "UPDATE outbox SET receiver = CASE receiver WHEN 'siem' THEN 'security' ELSE 'siem' END WHERE state = 'waiting'",
        "DELETE FROM outbox WHERE state = 'waiting'",
    ];
    for edit in edits {
        let sandbox = Sandbox::clerk_approved().await;
        sandbox.webhook.script(&[503]);
        sandbox.set_lifetime(3600);
        sandbox.check().await.expect(10);
        let before = sandbox.webhook.requests().len();
        if edit.starts_with("DELETE") {
            sandbox.tamper("DELETE FROM threads", []);
        }
        sandbox.tamper(edit, []);
        // Nothing is compared between that and the try: it is the try that notices.
        sandbox.run(&["receivers", "enable", "siem"]).await.expect(0);
        sandbox.run(&["silence", "add", "--match", "prod", "--until", "1h", "--reason", "x"]).await.expect(0);
        assert!(!was_sent(&sandbox, "EVIL"), "{edit}");
        assert_eq!(sandbox.events("delivery.refused"), 1, "{edit}");
        let told = types(&sandbox);
        assert!(told.contains(&json!("baseline.untrusted")), "{edit}: {told:?}");
        assert!(sandbox.webhook.requests().len() > before, "{edit}");
        sandbox.check().await.expect(12).saying(&["was tampered with"]);
        sandbox.run(&["verify"]).await.expect(12);
        assert!(!was_sent(&sandbox, "EVIL"), "{edit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t4_nothing_in_a_row_or_an_index_keeps_an_alarm_from_being_sent() {
    let later = "4102444800000";
    let edits = [
        format!("UPDATE outbox SET next_at = {later} WHERE state = 'waiting'"),
        format!(
            "UPDATE outbox SET next_at = {later}, attempts = 9, first_at = 1, last_outcome = '503 x' WHERE state = 'waiting'"
        ),
        format!("UPDATE outbox SET claimed_to = {later} WHERE state = 'waiting'"),
        "UPDATE outbox SET state = 'delivered', done_at = 1 WHERE state = 'waiting'".to_owned(),
        "UPDATE outbox SET state = 'dead', done_at = 1 WHERE state = 'waiting'".to_owned(),
        "UPDATE outbox SET state = 'folded', done_at = 1 WHERE state = 'waiting'".to_owned(),
        // Only the index is changed by these.
        "UPDATE outbox SET rowid = rowid + 1000".to_owned(),
        "UPDATE outbox SET rowid = 5000 - rowid".to_owned(),
    ];
    for edit in edits {
        let sandbox = Sandbox::clerk_approved().await;
        sandbox.webhook.script(&[503]);
        sandbox.set_lifetime(3600);
        sandbox.check().await.expect(10);
        let is_index = edit.contains("rowid");
        if is_index {
            behind_the_index(&sandbox, &edit);
        } else {
            sandbox.tamper(&edit, []);
        }
        sandbox.run(&["verify"]).await.expect(12).saying(&[if is_index { "SQLite finds" } else { "message msg_" }]);
        if is_index {
            let ran = sandbox.run(&["doctor"]).await;
            assert!(ran.out.contains("index") || ran.err.contains("index"), "{ran:?}");
        }
        // Its next try is due.
        sandbox.run(&["receivers", "enable", "siem"]).await.expect(0);
        let ran = sandbox.check().await;
        assert!([10, 12].contains(&ran.code), "{edit}: {ran:?}");
        let told = types(&sandbox);
        let tries = told.iter().filter(|kind| **kind == "drift.opened").count();
        assert_eq!(tries, 2, "{edit}: {told:?} {ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t4_when_the_history_does_not_verify_nothing_that_waits_is_sent_and_everybody_is_told_past_it() {
    let sandbox = Sandbox::clerk_approved().await;
    sandbox.webhook.script(&[503]);
    sandbox.set_lifetime(3600);
    sandbox.check().await.expect(10);
    let events = sandbox.count("SELECT count(*) FROM events");
    let connection = sandbox.sql();
    let trigger = "SELECT sql FROM sqlite_schema WHERE name = 'events_are_never_changed'";
    let trigger: String = connection.query_row(trigger, [], |row| row.get(0)).unwrap();
    connection.execute_batch("DROP TRIGGER events_are_never_changed").unwrap();
    connection.execute("UPDATE events SET digest = 'x' WHERE seq = 2", []).unwrap();
    connection.execute_batch(&trigger).unwrap();
    for count in 1..3 {
        sandbox.check().await.expect(12).saying(&["event 2"]);
        let told = types(&sandbox);
        assert_eq!(told[1..], vec![json!("baseline.untrusted"); count], "nobody can know whether it was told before");
    }
    assert_eq!(sandbox.count("SELECT count(*) FROM events"), events, "nothing is added to it");
    sandbox.run(&["status"]).await.expect(0).saying(&["UNTRUSTED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn t4_what_ended_stays_ended_when_the_clock_is_set_back_and_a_check_tells_of_the_clock() {
    let sandbox = Sandbox::clerk_approved().await;
    sandbox.set_lifetime(3600);
    sandbox.check().await.expect(10);
    let key = sandbox.path("alice").display().to_string();
    let approve = ["approve", "prod", "--reason", "x", "--all", "--accept-weaker", "--until", "1h", "--key", &key];
    sandbox.run(&approve).await.expect(0);
    sandbox.check().await.expect(0);
    // Two hours pass: the approval ends. Then the clock is set back to where it was.
    let later = SystemClock.now() + chrono::TimeDelta::hours(2);
    sandbox
        .store()
        .write(|tx| events::append(tx, later, None, &Event::StoreChecked(CheckedStore { sound: true })))
        .unwrap();
    sandbox.check().await.expect(10);
    sandbox.check().await.expect(10);
    let told = types(&sandbox);
    assert_eq!(sandbox.events("clock.set_back"), 1);
    assert_eq!(told.iter().filter(|kind| **kind == "clock.set_back").count(), 1, "{told:?}");
    assert_eq!(told.iter().filter(|kind| **kind == "drift.opened").count(), 2, "again when it ended: {told:?}");
    assert_eq!(sandbox.events("drift.reverted"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn t4_what_follows_stands_under_the_subject_of_a_message_that_was_queued() {
    let sandbox = Sandbox::clerk_approved().await;
    sandbox.set_lifetime(3600);
    sandbox.check().await.expect(10);
    sandbox.tamper("UPDATE threads SET subject = 'EVIL: all is well', severity = 'info'", []);
    sandbox.run(&["verify"]).await.expect(12).saying(&["the thread at 'siem'", "the thread at 'security'"]);
    sandbox.set_lifetime(60);
    sandbox.check().await.expect(0);
    assert_eq!(types(&sandbox), ["drift.opened", "drift.closed"]);
    assert_eq!(sandbox.smtp.mails().len(), 2);
    assert!(!was_sent(&sandbox, "EVIL"));
}

#[tokio::test(flavor = "multi_thread")]
async fn t4_an_edited_verdict_of_the_last_cycle_is_noticed() {
    let sandbox = Sandbox::clerk_approved().await;
    sandbox.check().await.expect(0);
    sandbox.run(&["verify"]).await.expect(0);
    sandbox.set_lifetime(3600);
    sandbox.check().await.expect(10);
    sandbox.run(&["verify"]).await.expect(0);
    sandbox.tamper("UPDATE cycles SET verdict = 'in_sync'", []);
    sandbox.run(&["verify"]).await.expect(12).saying(&["is marked 'in_sync', and drift"]);
    sandbox.tamper("UPDATE cycles SET verdict = 'untrusted'", []);
    sandbox.run(&["verify"]).await.expect(12).saying(&["is marked 'untrusted'"]);
    // What is approved after the cycle says nothing of it.
    sandbox.tamper("UPDATE cycles SET verdict = 'drift'", []);
    sandbox.approve("prod").await;
    sandbox.run(&["verify"]).await.expect(0);
}
