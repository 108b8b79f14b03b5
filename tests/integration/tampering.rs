//! Whoever changes what was approved, or what happened, is found out; the data is left as it is.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::process::{Command, Stdio};

use authdrift::clock::{Clock, SystemClock};
use authdrift::history::Event;
use authdrift::simulator::fault::Fault;
use authdrift::store::{Transaction, events};
use serde_json::{Value, json};

use crate::common::Sandbox;

/// Every row of the tables that hold evidence, as text.
fn evidence(sandbox: &Sandbox) -> Vec<String> {
    let connection = sandbox.sql();
    let mut rows = Vec::new();
    for query in [
        "SELECT hex(statement) || signature FROM statements ORDER BY rowid",
        "SELECT digest || hex(body) FROM documents ORDER BY digest",
        "SELECT seq || hex(body) || digest FROM events WHERE seq <= 3 ORDER BY seq",
    ] {
        let mut query = connection.prepare(query).unwrap();
        rows.extend(query.query_map([], |row| row.get::<_, String>(0)).unwrap().flatten());
    }
    rows
}

/// Changes the history in spite of the database, and covers the tracks.
fn rewrite_history(sandbox: &Sandbox, statement: &str) {
    let connection = sandbox.sql();
    let triggers = "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'events'";
    let mut query = connection.prepare(triggers).unwrap();
    let triggers: Vec<(String, String)> =
        query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().flatten().collect();
    for (name, _) in &triggers {
        connection.execute_batch(&format!("DROP TRIGGER {name}")).unwrap();
    }
    assert!(connection.execute(statement, []).unwrap() > 0, "nothing to change by {statement}");
    for (_, sql) in &triggers {
        connection.execute_batch(sql).unwrap();
    }
}

/// Replaces a text within signed bytes, keeping their length.
const EDIT_STATEMENT: &str =
    "UPDATE statements SET statement = CAST(replace(CAST(statement AS TEXT), 'alice', 'malta') AS BLOB)";

#[tokio::test(flavor = "multi_thread")]
async fn t4_a_baseline_that_was_tampered_with_is_untrusted_and_told_once() {
    let table: [(&str, &str, &[&str], i32); 6] = [
        ("an edited statement", EDIT_STATEMENT, &["the signature of", "is refused"], 12),
        (
            "an exchanged signature",
            "UPDATE statements SET signature = replace(signature, 'A', 'B')",
            &["signature"],
            12,
        ),
        ("deleted statements", "DELETE FROM statements", &["baseline 1 was approved on this machine"], 12),
        ("deleted documents", "DELETE FROM documents", &["approved document of section", "is missing"], 74),
        ("a damaged document", "UPDATE documents SET body = zeroblob(length(body))", &["document of section"], 74),
        (
            "a document in place of another",
            "UPDATE documents SET body = (SELECT body FROM documents ORDER BY digest LIMIT 1)",
            &["stored document of section", "is not the approved one"],
            74,
        ),
    ];
    for (what, statement, phrases, approve) in table {
        let sandbox = Sandbox::clerk_approved().await;
        sandbox.tamper(statement, []);
        let before = evidence(&sandbox);
        for _ in 0..2 {
            let report = sandbox.check().await.expect(12);
            assert_eq!(report.json()["instances"][0]["verdict"], "untrusted", "{what}");
            report.saying(phrases);
        }
        sandbox.run(&["verify"]).await.expect(12).saying(&["NOT TRUSTED"]).saying(phrases);
        sandbox.run(&["status"]).await.expect(0).saying(&["UNTRUSTED"]);
        sandbox.run(&["history", "prod"]).await.expect(0).saying(&["baseline.untrusted"]);
        let key = sandbox.path("alice").display().to_string();
        let ran = sandbox.run(&["approve", "prod", "--reason", "x", "--all", "--key", &key]).await;
        assert_eq!(ran.code, approve, "{what}: nothing is put on top of it: {ran:?}");
        assert_eq!(sandbox.webhook.deliveries().len(), 1, "{what}: told once");
        assert_eq!(sandbox.smtp.mails().len(), 1, "{what}: told once");
        let alert = sandbox.webhook.deliveries()[0].json();
        assert_eq!((&alert["type"], &alert["data"]["severity"]), (&json!("baseline.untrusted"), &json!("critical")));
        let mut after = evidence(&sandbox);
        after.retain(|row| before.contains(row));
        assert_eq!(after, before, "{what}: the data is left as it is");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_baseline_that_is_put_back_is_trusted_again_and_that_is_told_once() {
    let sandbox = Sandbox::clerk_approved().await;
    let signers = fs::read_to_string(sandbox.path("allowed_signers")).unwrap();
    for (content, phrase) in [(None, "allowed_signers"), (Some("nonsense\n"), "line 1"), (Some(""), "not a key of")] {
        match content {
            None => fs::remove_file(sandbox.path("allowed_signers")).unwrap(),
            Some(content) => sandbox.write("allowed_signers", content),
        }
        let ran = sandbox.check().await.expect(12).saying(&[phrase]);
        assert_eq!(ran.json()["instances"][0]["verdict"], "untrusted");
        sandbox.run(&["verify"]).await.expect(12).saying(&[phrase]);
    }
    sandbox.write("allowed_signers", &signers);
    sandbox.check().await.expect(0);
    sandbox.check().await.expect(0);
    let mut kinds: Vec<Value> =
        sandbox.webhook.deliveries().iter().map(|delivery| delivery.json()["type"].clone()).collect();
    // Every change of the file is told by itself.
    kinds.retain(|kind| kind != "trust.changed");
    assert_eq!(sandbox.events("trust.changed"), 4);
    // Twice, as the reason changed from "nobody can be checked" to "nobody is allowed".
    assert_eq!(kinds, ["baseline.untrusted", "baseline.untrusted", "baseline.trusted"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn t4_a_history_that_was_tampered_with_does_not_verify() {
    let table = [
        ("UPDATE events SET body = CAST(replace(CAST(body AS TEXT), 'alice', 'malta') AS BLOB)", "was edited"),
        ("UPDATE events SET body = x'00' WHERE seq = 1", "event 1"),
        ("UPDATE events SET digest = 'sha256:' || hex(zeroblob(32)) WHERE seq = 1", "event 1"),
        ("DELETE FROM events WHERE seq = 1", "event 1 is missing"),
        ("DELETE FROM events", "ends earlier"),
        ("UPDATE events SET seq = seq + 10", "event 1 is missing"),
    ];
    for ((statement, phrase), has_checkpoint) in table.into_iter().zip([false, true].into_iter().cycle()) {
        let sandbox = Sandbox::clerk_approved().await;
        if has_checkpoint {
            sandbox.store().save_checkpoint().unwrap();
        }
        assert!(sandbox.sql().execute(statement, []).is_err(), "the database itself refuses: {statement}");
        rewrite_history(&sandbox, statement);
        let ran = sandbox.run(&["verify"]).await;
        assert_eq!(ran.code, 12, "{statement}: {ran:?}");
        ran.saying(&[phrase]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t4_what_is_edited_before_a_checkpoint_or_in_it_decides_nothing_and_does_not_verify() {
    let sandbox = Sandbox::clerk_approved().await;
    let now = SystemClock.now();
    let store = sandbox.store();
    let event = Event::Unknown { kind: "a.b".to_owned(), data: json!({}) };
    let many = |tx: &Transaction<'_>| (0..500).try_for_each(|_| events::append(tx, now, None, &event).map(drop));
    store.write(many).unwrap();
    drop(store);
    assert_eq!(sandbox.count("SELECT count(*) FROM history_checkpoint"), 1, "so much is not walked each time");
    sandbox.check().await.expect(0);
    sandbox.run(&["verify"]).await.expect(0);

    // As an approval of another baseline would be planted.
    let approved = "instr(CAST(body AS TEXT), '\"baseline.approved\"') > 0";
    rewrite_history(
        &sandbox,
        &format!(
            "UPDATE events SET body = CAST(replace(CAST(body AS TEXT), '\"sequence\":1', '\"sequence\":9') AS BLOB)
             WHERE {approved}"
        ),
    );
    sandbox.check().await.expect(0);
    sandbox.run(&["verify"]).await.expect(12).saying(&["History: NOT SOUND", "it was edited"]);
    sandbox.run(&["doctor"]).await.expect(12).saying(&["it was edited"]);

    // Without the checkpoint every command finds it, and so it is with one that cannot be used.
    sandbox.sql().execute("UPDATE history_checkpoint SET state = zeroblob(length(state))", []).unwrap();
    sandbox.run(&["verify"]).await.expect(12).saying(&["the checkpoint of the history was edited"]);
    let untrusted = sandbox.check_one("prod", 12).await;
    assert_eq!(untrusted["reason"]["code"], "store-tampered");
    sandbox.run(&["verify"]).await.expect(12).saying(&["the checkpoint of the history was edited"]);

    // One that is not there is made again when the history is sound, and not before.
    sandbox.sql().execute("DELETE FROM history_checkpoint", []).unwrap();
    sandbox.check_one("prod", 12).await;
    assert_eq!(sandbox.count("SELECT count(*) FROM history_checkpoint"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn t4_a_database_without_its_guards_is_not_trusted() {
    for (what, name) in [("TRIGGER", "events_are_never_changed"), ("TABLE", "history_checkpoint")] {
        let sandbox = Sandbox::clerk_approved().await;
        sandbox.sql().execute_batch(&format!("DROP {what} {name}")).unwrap();
        sandbox.run(&["verify"]).await.expect(12).saying(&["schema", name]);
        sandbox.check().await.expect(12).saying(&["schema"]);
        assert_eq!(sandbox.webhook.deliveries().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t4_what_was_planted_as_told_and_what_was_taken_away_is_told_all_the_same() {
    let table: [(&str, &[&str], &[&str]); 3] = [
        (
            "a drift that is known is not told again",
            &["INSERT INTO drifts (id, instance_id, fingerprint, path, kind, before, after, is_member, status, first_seen,
                                   closed_by, reopened)
               SELECT 'drf_planted', id, 'sha256:' || lower(hex(zeroblob(32))), '/jwt_templates/supabase/lifetime', 'changed',
                      '60', '3600', 0, 'open', 0, '[]', 0 FROM instances"],
            &["drift drf_planted of clerk:prod is not in the history"],
        ),
        ("a message that was taken away", &["DELETE FROM threads", "DELETE FROM outbox"], &["was removed"]),
        ("a message that is marked as sent", &["UPDATE outbox SET state = 'delivered'"], &["is marked 'delivered'"]),
    ];
    for (what, statements, phrases) in table {
        let sandbox = Sandbox::clerk_approved().await;
        let is_message = what.contains("message");
        if is_message {
            sandbox.webhook.script(&[503]);
            sandbox.set_lifetime(120);
            sandbox.check().await.expect(10);
        }
        for statement in statements {
            sandbox.tamper(statement, []);
        }
        sandbox.set_lifetime(3600);
        let ran = sandbox.check().await.expect(12).saying(phrases);
        assert_eq!(ran.json()["instances"][0]["reason"]["code"], "store-tampered", "{what}");
        let alert = sandbox.webhook.deliveries().last().unwrap().json();
        assert_eq!(alert["type"], "baseline.untrusted", "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t4_a_trigger_that_takes_messages_or_events_away_is_told_past_the_database() {
    let table = [
        "CREATE TRIGGER planted AFTER INSERT ON outbox BEGIN DELETE FROM outbox; END",
        "CREATE TRIGGER planted BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'no'); END",
        "CREATE TRIGGER planted BEFORE INSERT ON outbox BEGIN SELECT RAISE(IGNORE); END",
        "CREATE TRIGGER planted AFTER INSERT ON outbox BEGIN UPDATE outbox SET state = 'delivered'; END",
        "CREATE TRIGGER planted AFTER INSERT ON threads BEGIN UPDATE outbox SET state = 'delivered'; END",
    ];
    for statement in table {
        let sandbox = Sandbox::clerk_approved().await;
        sandbox.sql().execute_batch(statement).unwrap();
        sandbox.set_lifetime(3600);
        sandbox.check().await.expect(74).saying(&["its schema is not this program's", "CREATE TRIGGER planted"]);
        sandbox.make_due();
        let ran = tokio::time::timeout(std::time::Duration::from_secs(60), sandbox.run(&["run"])).await.unwrap();
        assert!(ran.err.contains("CREATE TRIGGER planted"), "{ran:?}");
        assert_eq!(ran.code, 74, "{ran:?}");
        let alert = sandbox.webhook.deliveries()[0].json();
        assert_eq!(alert["type"], "storage.failed", "{statement}");
        assert!(alert.to_string().contains("CREATE TRIGGER planted"), "{alert}");
        assert_eq!(sandbox.smtp.mails().len(), 1, "{statement}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_nobody_can_read_does_not_keep_the_baseline_from_being_judged() {
    let sandbox = Sandbox::clerk_approved().await;
    rewrite_history(&sandbox, "UPDATE events SET body = x'00' WHERE seq = 1");
    sandbox.check().await.expect(12).saying(&["history"]);
}

/// Signs `statement` as `ssh-keygen -Y sign` does.
fn signed(sandbox: &Sandbox, key: &str, namespace: &str, statement: &str) -> String {
    let mut child = Command::new("ssh-keygen")
        .args(["-Y", "sign", "-n", namespace, "-f"])
        .arg(sandbox.path(key))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(statement.as_bytes()).unwrap();
    let mut signature = String::new();
    child.stdout.take().unwrap().read_to_string(&mut signature).unwrap();
    assert!(child.wait().unwrap().success());
    signature
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proposal_that_is_not_what_was_signed_is_refused() {
    let sandbox = Sandbox::new().await;
    sandbox.write("config.toml", &sandbox.configuration_of_clerk());
    sandbox.check().await.expect(13);
    sandbox.make_key("mallory");
    let file = sandbox.path("proposal.json").display().to_string();
    let alice = sandbox.path("alice").display().to_string();
    sandbox.run(&["propose", "prod", "-o", &file, "--reason", "CHG-1"]).await.expect(0);
    sandbox.run(&["import", &file]).await.expect(2).saying(&["holds no signature", "authdrift sign"]);
    sandbox.run(&["sign", &file, "--key", &alice]).await.expect(0).saying(&["Signed as alice@example.test"]);
    let good: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let statement = good["statements"][0]["statement"].as_str().unwrap().to_owned();

    type Edit<'a> = (&'a str, i32, &'a [&'a str], Box<dyn Fn(&mut Value) + 'a>);
    let edits: Vec<Edit> = vec![
        (
            "statement edited",
            12,
            &["the signature of", "is refused"],
            Box::new(|proposal| {
                proposal["statements"][0]["statement"] = statement.replace("CHG-1", "CHG-2").into();
            }),
        ),
        (
            "signed for another purpose",
            12,
            &["made for the namespace 'file'"],
            Box::new(|proposal| {
                proposal["statements"][0]["signature"] = signed(&sandbox, "alice", "file", &statement).into();
            }),
        ),
        (
            "signed by somebody else in Alice's name",
            12,
            &["not a key of 'alice@example.test'"],
            Box::new(|proposal| {
                let signature = signed(&sandbox, "mallory", "baseline.v1@authdrift", &statement);
                proposal["statements"][0]["signature"] = signature.into();
            }),
        ),
        (
            "document edited",
            74,
            &["cannot read the proposal", "sha256:"],
            Box::new(|proposal| {
                let documents = proposal["documents"].as_object_mut().unwrap();
                documents.values_mut().next().unwrap()["mallory"] = json!(true);
            }),
        ),
        (
            "document left out",
            74,
            &["is not in it"],
            Box::new(|proposal| {
                let documents = proposal["documents"].as_object_mut().unwrap();
                let first = documents.keys().next().unwrap().clone();
                documents.remove(&first);
            }),
        ),
        ("unknown key", 74, &["unknown field"], Box::new(|proposal| proposal["surprise"] = json!(1))),
        (
            "another type",
            74,
            &["is not a proposal", "its type is 'x/v1'", "authdrift propose INSTANCE -o FILE"],
            Box::new(|proposal| proposal["type"] = json!("x/v1")),
        ),
    ];
    for (what, code, phrases, edit) in &edits {
        let mut proposal = good.clone();
        edit(&mut proposal);
        sandbox.write("edited.json", &proposal.to_string());
        let edited = sandbox.path("edited.json").display().to_string();
        let ran = sandbox.run(&["import", &edited]).await;
        assert_eq!(ran.code, *code, "{what}: {ran:?}");
        ran.saying(phrases);
        assert_eq!(sandbox.count("SELECT count(*) FROM statements"), 0, "{what}: nothing is written");
    }
    // Nobody signed the subject that stands beside the statements, so it has to be the one that was signed.
    let mut proposal = good.clone();
    proposal["subject"]["proposer"] = json!("mallory@example.test");
    sandbox.write("edited.json", &proposal.to_string());
    let edited = sandbox.path("edited.json").display().to_string();
    sandbox.run(&["import", &edited]).await.expect(12).saying(&["changed after it was signed"]);
    assert_eq!(sandbox.count("SELECT count(*) FROM events WHERE CAST(body AS TEXT) LIKE '%mallory%'"), 0);
    sandbox.run(&["import", &file]).await.expect(0);
    assert_eq!(sandbox.events("baseline.approved"), 1);
    sandbox.run(&["import", &file]).await.expect(0).saying(&["already approved as baseline 1 of clerk:prod"]);
    assert_eq!(sandbox.events("baseline.approved"), 1);
    sandbox.run(&["verify"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_database_file_is_an_error_and_never_replaced() {
    let sandbox = Sandbox::clerk_approved().await;
    sandbox.sql().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let healthy = fs::read(sandbox.database()).unwrap();
    let page = 4096;
    let pages = healthy.len() / page;
    assert!(pages > 10);
    // Everything after the first page, then one page after the other.
    let mut places = vec![(1, pages - 1)];
    places.extend((1..pages).map(|place| (place, 1)));
    let mut codes = Vec::new();
    for (place, count) in places {
        fs::write(sandbox.database(), &healthy).unwrap();
        for side in ["db-wal", "db-shm"] {
            let _ = fs::remove_file(sandbox.database().with_extension(side));
        }
        let mut file = fs::File::options().write(true).open(sandbox.database()).unwrap();
        file.seek(SeekFrom::Start((place * page) as u64)).unwrap();
        file.write_all(&b"CORRUPT!".repeat(count * page / 8)).unwrap();
        drop(file);
        let ran = sandbox.run(&["verify"]).await;
        assert!([0, 12, 74].contains(&ran.code), "page {place}: {ran:?}");
        assert!(!ran.err.contains("panicked"), "page {place}: {ran:?}");
        assert!(fs::metadata(sandbox.database()).unwrap().len() as usize >= healthy.len(), "page {place}");
        if count > 1 {
            assert_eq!(ran.code, 74);
            ran.saying(&["database", "malformed"]);
            for arguments in [&["run"][..], &["check"], &["status"]] {
                sandbox.run(arguments).await.expect(74).saying(&["malformed"]);
            }
            let after = fs::read(sandbox.database()).unwrap();
            assert_eq!(after[page..], [&b"CORRUPT!".repeat(count * page / 8)[..]].concat());
        } else {
            codes.push(ran.code);
        }
    }
    assert!(codes.contains(&74) && codes.contains(&12), "{codes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_page_of_the_database_is_damaged_is_named_with_the_file_and_the_way_out() {
    let sandbox = Sandbox::clerk_approved().await;
    sandbox.set_lifetime(3600);
    sandbox.check().await.expect(10);
    let connection = sandbox.sql();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let mut query = connection.prepare("SELECT type, name, rootpage FROM sqlite_schema WHERE rootpage > 0").unwrap();
    let objects: Vec<(String, String, i64)> =
        query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap().flatten().collect();
    drop(query);
    drop(connection);
    let files = ["authdrift.db", "authdrift.high-water"];
    let healthy = files.map(|name| (name, fs::read(sandbox.path(name)).unwrap()));
    let path = sandbox.database().display().to_string();
    for (kind, name, root) in &objects {
        let others = objects.iter().filter(|(other, of, _)| other == kind && of != name);
        let places: Vec<Option<i64>> = [None].into_iter().chain(others.take(1).map(|other| Some(other.2))).collect();
        for exchanged in places {
            for side in ["db-wal", "db-shm"] {
                let _ = fs::remove_file(sandbox.database().with_extension(side));
            }
            for (name, content) in &healthy {
                fs::write(sandbox.path(name), content).unwrap();
            }
            match exchanged {
                None => {
                    let mut file = fs::File::options().write(true).open(sandbox.database()).unwrap();
                    file.seek(SeekFrom::Start((*root as u64 - 1) * 4096)).unwrap();
                    file.write_all(&b"CORRUPT!".repeat(512)).unwrap();
                }
                Some(other) => {
                    let connection = sandbox.sql();
                    connection.execute_batch("PRAGMA writable_schema = ON").unwrap();
                    let exchange = "UPDATE sqlite_schema SET rootpage = ?1 WHERE name = ?2";
                    connection.execute(exchange, (other, name)).unwrap();
                    connection.execute_batch("PRAGMA schema_version = 999").unwrap();
                }
            }
            // Without this table nobody knows which key the database was made with, so it is not opened at all.
            let verify = if name.contains("meta") && !(name != "meta" && exchanged.is_some()) { 74 } else { 12 };
            for (arguments, code) in [(&["verify"][..], Some(verify)), (&["check"], None)] {
                let ran = sandbox.run(arguments).await;
                let what = format!("{kind} {name}, exchanged for {exchanged:?}, {arguments:?}: {ran:?}");
                assert!(code.is_none_or(|code| ran.code == code), "{what}");
                if ran.code == 74 {
                    assert!(ran.err.contains(&path) && ran.err.contains("help: "), "{what}");
                }
                if ran.code == 12 && arguments == ["verify"] {
                    assert!(ran.out.contains("NOT SOUND"), "{what}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_used_costs_its_comparison_and_is_told_but_stops_no_cycle() {
    let newest_origins = "(SELECT json_extract(sections, '$.instance.digest') FROM snapshots ORDER BY id DESC LIMIT 1)";
    let of_newest = format!("UPDATE documents SET body = zeroblob(length(body)) WHERE digest = {newest_origins}");
    let too_large = format!("UPDATE documents SET body = X'28B52FFD80580000004000' WHERE digest = {newest_origins}");
    let table = [
        ("the last value of a section", of_newest.as_str(), 10),
        ("one that says it is too large", too_large.as_str(), 10),
        ("the newest manifest", "UPDATE snapshots SET sections = '{' WHERE id = (SELECT max(id) FROM snapshots)", 10),
        ("a drift of an unknown kind", "UPDATE drifts SET kind = 'x'", 12),
        ("a drift without a value", "UPDATE drifts SET after = '{'", 12),
    ];
    for (what, statement, code) in table {
        let sandbox = Sandbox::clerk_approved().await;
        let origins = |names: &[&str]| sandbox.clerk.edit("/v1/instance", |it| it["allowed_origins"] = json!(names));
        origins(&["https://a.example"]);
        sandbox.clerk.fail("/v1/domains", Fault::status(500, json!({})));
        for _ in 0..2 {
            sandbox.check().await.expect(10);
        }
        sandbox.clerk.heal_all();
        sandbox.tamper(statement, []);
        origins(&["https://b.example"]);
        let told = sandbox.webhook.deliveries().len();
        for _ in 0..2 {
            sandbox.check().await.expect(code);
        }
        let told: String = sandbox.webhook.deliveries()[told..].iter().map(|sent| sent.json().to_string()).collect();
        assert_eq!(told.matches("storage.failed").count() > 0, code == 10, "{what}: {told}");
        assert_eq!(told.contains("the database was tampered with"), code == 12, "{what}: {told}");
        if code == 10 {
            assert!(told.contains("https://b.example"), "{what}: what needs no such row is compared: {told}");
            sandbox.check().await.expect(10);
        }
    }
}
