//! A checkpoint says what the events say, or it is not used.

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use rusqlite::Connection;
use serde_json::{Value, json};

use super::super::high_water_mark::{self, RolledBack};
use super::super::{Store, open};
use super::*;
use crate::clock::{Clock, SystemClock};
use crate::history::{EVENT_KINDS, Event};
use crate::model::{Digest, InstanceId};

const INSTANCE: &str = "clerk:prod";

fn instance() -> InstanceId {
    INSTANCE.parse().unwrap()
}

fn event(kind: &str, data: &Value) -> Event {
    let event = Event::read(kind, data).unwrap();
    assert!(!matches!(event, Event::Unknown { .. }) || kind == "a.b", "{kind}: {data}");
    event
}

/// A history in which a baseline was accepted that is not told of again, and a drift that is open.
fn appended(store: &Store, count: u32) {
    let now = SystemClock.now();
    let digest = Digest::of(b"statement");
    let approved = json!({
        "sequence": 1, "statements": [digest], "identity": digest, "snapshot": digest, "approvers": ["ann"],
        "proposer": "bob", "reason": "x",
    });
    let opened = json!({
        "drift": "drf_1", "path": "/a/b", "kind": "changed", "before": 1, "after": 2, "last_good": null,
    });
    store
        .write(|tx| {
            events::append(tx, now, Some(&instance()), &event("baseline.approved", &approved))?;
            events::append(tx, now, Some(&instance()), &event("drift.opened", &opened))?;
            (2..count)
                .try_for_each(|number| events::append(tx, now, None, &event("a.b", &json!({ "n": number }))).map(drop))
        })
        .unwrap();
}

/// A database of that many events, all of them within the checkpoint.
fn database(path: &Path, count: u32) -> Store {
    let store = Store::open(path).unwrap();
    appended(&store, count);
    store.save_checkpoint().unwrap();
    assert_eq!(kept(&store), u64::from(count));
    store
}

fn history(store: &Store) -> Stored<Arc<Replay>> {
    store.read(|tx| tx.history())
}

/// What the events say, whatever a checkpoint says.
fn replayed(store: &Store) -> Replay {
    let mut replay = Replay::default();
    store.read(|tx| events::replay(&tx.sql, &mut replay, u64::MAX)).unwrap();
    replay
}

/// How many events the checkpoint covers that is used.
fn kept(store: &Store) -> u64 {
    match store.read(|tx| find(&tx.sql, store.fingerprint_key())).unwrap() {
        Found::Sound(checkpoint) => checkpoint.about.size,
        _ => 0,
    }
}

fn wrong(store: &Store) -> Vec<String> {
    let mut wrong = store.read(|tx| store.audit(tx)).unwrap();
    // These histories speak of an instance that was never read.
    wrong.retain(|sentence| !sentence.contains(INSTANCE));
    wrong
}

/// Changes the file as somebody would who does not use this program.
fn attack(path: &Path, sql: &str) {
    let attacker = Connection::open(path).unwrap();
    let guards = "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'";
    let guards: Vec<(String, String)> = {
        let mut query = attacker.prepare(guards).unwrap();
        query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().flatten().collect()
    };
    for (name, _) in &guards {
        attacker.execute_batch(&format!("DROP TRIGGER {name}")).unwrap();
    }
    attacker.execute_batch(sql).unwrap();
    for (_, sql) in &guards {
        attacker.execute_batch(sql).unwrap();
    }
}

const EDIT_AN_EVENT: &str =
    "UPDATE events SET body = CAST(replace(CAST(body AS TEXT), '\"n\":3', '\"n\":9') AS BLOB) WHERE seq = 4";

#[test]
fn a_program_goes_on_from_the_checkpoint_and_finds_what_the_events_say() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    drop(database(&path, 10));
    let store = Store::open(&path).unwrap();
    appended(&store, 5);
    assert_eq!(*history(&store).unwrap(), replayed(&store));
    assert_eq!(kept(&store), 10, "so little is replayed each time");
    assert_eq!(wrong(&store), Vec::<String>::new());
}

#[test]
fn a_writer_keeps_a_checkpoint_when_much_is_new() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let store = Store::open(&path).unwrap();
    let few = u32::try_from(EVENTS).unwrap() - 1;
    appended(&store, few);
    history(&store).unwrap();
    assert_eq!(kept(&store), 0);
    appended(&store, 2);
    history(&store).unwrap();
    assert_eq!(kept(&store), 0, "a reader writes nothing");
    store.write(|tx| Ok::<_, StoreError>(tx.sql.execute("INSERT INTO meta VALUES ('x', 'y')", []).map(drop)?)).unwrap();
    assert_eq!(kept(&store), EVENTS + 1);
    // At once, where so much is written at once that nobody replayed it yet.
    appended(&store, few + 1);
    assert_eq!(kept(&store), EVENTS * 2 + 1);
}

#[test]
fn a_large_checkpoint_is_written_rarely() {
    let about = |bytes| CheckpointMark { size: 1_000, bytes, whole_at: DateTime::UNIX_EPOCH };
    for (size, bytes, is_outgrown) in [
        (1_000, 0, false),
        (1_499, 0, false),
        (1_500, 0, true),
        (1_500, 500 * 1_024, true),
        (1_999, 1_000 * 1_024, false),
        (2_000, 1_000 * 1_024, true),
        (900, 0, false),
    ] {
        assert_eq!(about(bytes).is_outgrown(size), is_outgrown, "{size} {bytes}");
    }
}

#[test]
fn what_was_not_walked_whole_for_a_day_is() {
    let at = |hours: i64| DateTime::UNIX_EPOCH + TimeDelta::hours(hours);
    let about = CheckpointMark { whole_at: at(100), ..CheckpointMark::default() };
    assert_eq!([99, 100, 123, 124].map(|hours| about.is_stale(at(hours))), [true, false, false, true]);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let store = database(&path, 10);
    let replay = replayed(&store);
    let a_day_ago = SystemClock.now() - WHOLE_AGAIN;
    store.write(|tx| save(&tx.sql, store.fingerprint_key(), &replay, a_day_ago)).unwrap();
    attack(&path, EDIT_AN_EVENT);
    let error = history(&Store::open(&path).unwrap()).unwrap_err().to_string();
    assert!(error.contains("event 4: it was edited"), "{error}");
}

#[test]
fn a_walk_from_the_first_event_is_kept_for_the_next_program() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let store = database(&path, 10);
    let replay = replayed(&store);
    let a_day_ago = SystemClock.now() - WHOLE_AGAIN;
    store.write(|tx| save(&tx.sql, store.fingerprint_key(), &replay, a_day_ago)).unwrap();
    let other = Store::open(&path).unwrap();
    history(&other).unwrap();
    appended(&other, 2);
    let found = other.read(|tx| find(&tx.sql, other.fingerprint_key())).unwrap();
    assert!(matches!(found, Found::Sound(checkpoint) if !checkpoint.about.is_stale(SystemClock.now())));
}

#[test]
fn t4_an_edited_checkpoint_is_not_used_and_is_named() {
    for edit in [
        "format = format || ' '",
        "size = size - 1",
        "head = (SELECT digest FROM events WHERE seq = 9)",
        "size = 9, head = (SELECT digest FROM events WHERE seq = 9)",
        "state = zeroblob(length(state))",
        "state = CAST('' AS BLOB)",
        "mac = zeroblob(length(mac))",
        "mac = CAST('' AS BLOB)",
        "mac = substr(mac, 1, 16)",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        drop(database(&path, 10));
        attack(&path, &format!("UPDATE history_checkpoint SET {edit}"));
        let store = Store::open(&path).unwrap();
        assert_eq!(*history(&store).unwrap(), replayed(&store), "{edit}");
        assert_eq!(kept(&store), 0, "{edit}");
        // It stays for those who ask later, until somebody signs for what is there.
        appended(&store, u32::try_from(EVENTS).unwrap());
        let found = wrong(&store);
        assert!(
            found.len() == 1 && found[0].contains("edited, or made with another fingerprint key"),
            "{edit}: {found:?}"
        );
        store.accept_rollback(&instance()).unwrap();
        assert_eq!((kept(&store), wrong(&store)), (0, Vec::new()), "{edit}");
        appended(&store, 2);
        assert_eq!(kept(&store), EVENTS + 12, "{edit}");
    }
}

#[test]
fn t4_the_checkpoint_of_another_database_is_not_used_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (path, other) = (folder.path().join("a.db"), folder.path().join("b.db"));
    drop((database(&path, 10), database(&other, 10)));
    attack(
        &path,
        &format!(
            "ATTACH '{}' AS other; DELETE FROM main.history_checkpoint;
             INSERT INTO main.history_checkpoint SELECT * FROM other.history_checkpoint",
            other.display()
        ),
    );
    let store = Store::open(&path).unwrap();
    assert_eq!(*history(&store).unwrap(), replayed(&store));
    assert_eq!((kept(&store), wrong(&store).len()), (0, 1));
}

#[test]
fn t5_an_older_checkpoint_of_the_same_history_only_makes_the_walk_longer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let store = database(&path, 10);
    attack(&path, "CREATE TABLE older AS SELECT * FROM history_checkpoint");
    appended(&store, 10);
    store.save_checkpoint().unwrap();
    assert_eq!(kept(&store), 20);
    let put_back =
        "DELETE FROM history_checkpoint; INSERT INTO history_checkpoint SELECT * FROM older; DROP TABLE older";
    attack(&path, put_back);
    let store = Store::open(&path).unwrap();
    assert_eq!((kept(&store), &*history(&store).unwrap()), (10, &replayed(&store)));
}

#[test]
fn t5_events_that_were_removed_are_missed_whether_the_checkpoint_covers_them_or_not() {
    for (count, removed, is_named) in [(12, "seq > 10", false), (12, "seq > 9", true)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let store = database(&path, 10);
        appended(&store, count - 10);
        drop(store);
        attack(&path, &format!("DELETE FROM events WHERE {removed}"));
        let store = Store::open(&path).unwrap();
        assert_eq!(*history(&store).unwrap(), replayed(&store), "{removed}");
        let stands = store.read(|tx| high_water_mark::compare(tx, &instance())).unwrap();
        assert_eq!(stands, Err(RolledBack::History { reached: 12 }), "{removed}");
        let named = wrong(&store).iter().any(|sentence| sentence.contains("of another one with 10 events"));
        assert_eq!(named, is_named, "{removed}");
    }
}

#[test]
fn t4_an_event_before_the_checkpoint_decides_nothing_when_it_is_edited_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let before = (*history(&database(&path, 10)).unwrap()).clone();
    attack(&path, EDIT_AN_EVENT);
    let store = Store::open(&path).unwrap();
    assert_eq!(*history(&store).unwrap(), before);
    let is_named = |error: StoreError| error.to_string().contains("event 4: it was edited");
    assert!(is_named(store.read(|tx| tx.whole_history()).unwrap_err()), "by those who look at everything");

    // By the daily look of the daemon, and from then on by everybody: the next write takes the checkpoint away.
    let daemon = Store::open(&path).unwrap();
    history(&daemon).unwrap();
    drop(daemon.full_check().unwrap());
    for _ in 0..2 {
        assert!(is_named(history(&daemon).unwrap_err()));
    }
    assert!(history(&Store::open(&path).unwrap()).is_ok());
    appended(&daemon, 2);
    assert!(is_named(history(&Store::open(&path).unwrap()).unwrap_err()));
}

#[test]
fn t4_a_checkpoint_made_with_the_key_that_says_something_else_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let store = database(&path, 10);
    let mut replay = replayed(&store);
    replay.state.approved.insert(instance(), 7);
    store.write(|tx| save(&tx.sql, store.fingerprint_key(), &replay, SystemClock.now())).unwrap();
    let store = Store::open(&path).unwrap();
    let error = store.read(|tx| tx.whole_history()).unwrap_err().to_string();
    assert!(error.contains("is not what its first 10 events say"), "{error}");
    drop(store.full_check().unwrap());
    assert!(matches!(history(&store), Err(StoreError::History(_))));
}

#[test]
fn t3_without_its_key_a_database_is_walked_from_the_first_event() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    drop(database(&path, 10));
    let key = path.with_extension("key");
    for other in [None, Some([7; 32])] {
        std::fs::remove_file(&key).unwrap();
        other.iter().for_each(|other| std::fs::write(&key, other).unwrap());
        let (store, is_there) = open::open_to_look(&path).unwrap();
        assert!(matches!(is_there, Err(StoreError::Key(_))));
        assert_eq!((kept(&store), &*history(&store).unwrap()), (0, &replayed(&store)));
        assert!(store.read(|tx| tx.whole_history()).is_ok());
        std::fs::write(&key, []).unwrap();
    }
    Store::replace_key(&path, "ann").unwrap().1.unwrap();
    assert_eq!(wrong(&Store::open(&path).unwrap()), Vec::<String>::new(), "one of the old key is gone");
}

#[test]
fn a_backup_with_its_key_has_a_checkpoint_that_can_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.db");
    database(&folder.path().join("a.db"), 10).backup(&copy).unwrap();
    let store = Store::open(&copy).unwrap();
    assert_eq!((kept(&store), wrong(&store)), (10, Vec::new()));
}

/// What an event is made of: kind, instance, ids, and minutes since the one before.
type Part = (usize, usize, u8, bool, i16);

/// What an event of `kind` says; fields that it does not have are not read.
fn data(kind: &str, (_, _, id, flag, _): Part, at: DateTime<Utc>) -> Value {
    let deep = || json!({ "deep": [1.5e-7, -0.0, 1e300, "\u{1F600}\n", true] });
    let (message, digest) = (format!("msg_{}", id % 5), Digest::of(&[id]));
    let until = at + TimeDelta::hours(3);
    let one = json!({
        "after": if flag { json!(id % 4) } else { deep() }, "allowed_signers": digest, "approvers": ["ann"], "attempts": id,
        "before": if kind.starts_with("store.") { json!(at) } else { json!(id) },
        "by": if kind.starts_with("drift.") { json!(["ann"]) } else { json!("ann") },
        "code": "x", "config": null, "content": digest, "credential": "key", "cycles": 1, "digest": digest, "documents": 1,
        "drained": flag, "drift": format!("drf_{}", id % 3), "failed": flag, "free": id, "from": id % 3, "held": flag,
    });
    let other = json!({
        "identity": digest, "instances": 1, "into": "msg_9", "is": at, "kind": "changed",
        "last_good": if flag { json!(null) } else { json!("2026-01-01T00:00:00Z") },
        "match": ["/a/**", "clerk:prod", "a.setting"], "message": message, "messages": [message],
        "next": at + TimeDelta::minutes(7), "number": id, "partly": !flag, "path": format!("/p{}", id % 2), "proposer": "bob",
        "reason": format!("{} no", 400 + u32::from(id % 9)), "receiver": format!("r{}", id % 2), "receivers": 1,
        "resource": "x", "revoked_keys": null, "section": format!("s{}", id % 3), "sections": 1, "sequence": id,
        "silence": format!("sil_{}", id % 3), "since": at, "snapshot": Digest::of(&[id % 7]), "snapshots": [digest],
        "sound": true, "statements": [Digest::of(&[id, 1])], "target": Digest::of(b"x"), "to": 9, "took": !flag,
        "until": if kind == "baseline.approved" { json!({ "/a": until }) } else { json!(until) }, "untrusted": flag,
        "urgent": flag, "version": "1", "was": at, "window": flag,
    });
    [one, other].iter().flat_map(|fields| fields.as_object().unwrap().clone()).collect()
}

fn lived(store: &Store, parts: &[Part]) {
    let kinds: Vec<&str> = EVENT_KINDS.iter().map(|kind| kind.name).chain(["a.b"]).collect();
    let instances = [None, Some(instance()), Some("auth0:acme".parse().unwrap())];
    let mut at: DateTime<Utc> = "2026-05-04T10:00:00.25Z".parse().unwrap();
    store
        .write(|tx| {
            for part in parts {
                at += TimeDelta::minutes(i64::from(part.4));
                let kind = kinds[part.0 % kinds.len()];
                events::append(tx, at, instances[part.1 % 3].as_ref(), &event(kind, &data(kind, *part, at)))?;
            }
            Ok::<_, StoreError>(())
        })
        .unwrap();
}

fn replay_to(store: &Store, replay: &mut Replay, until: u64) {
    store.read(|tx| events::replay(&tx.sql, replay, until)).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_walk_that_goes_on_from_any_checkpoint_finds_what_one_from_the_first_event_finds(
        parts in prop::collection::vec(any::<Part>(), 1..120),
        place in any::<prop::sample::Index>(),
    ) {
        let store = Store::temporary().unwrap();
        lived(&store, &parts);
        let mut replay = Replay::default();
        replay_to(&store, &mut replay, place.index(parts.len()) as u64 + 1);
        let written = serde_json::to_vec(&replay).unwrap();
        let mut read: Replay = serde_json::from_slice(&written).unwrap();
        prop_assert_eq!(&read, &replay);
        prop_assert_eq!(serde_json::to_vec(&read).unwrap(), written);
        replay_to(&store, &mut read, u64::MAX);
        prop_assert_eq!(read, replayed(&store));
    }
}

#[test]
fn another_shape_of_a_walk_is_another_format() {
    let store = Store::temporary().unwrap();
    let parts: Vec<Part> =
        (0..164).map(|n: u8| (n.into(), (n / 41).into(), n.wrapping_mul(37), n.is_multiple_of(3), 90)).collect();
    lived(&store, &parts);
    let state = serde_json::to_vec(&replayed(&store)).unwrap();
    let shape = Digest::of(&state);
    assert_eq!(
        (FORMAT.rsplit(' ').next().unwrap(), &*shape.short()),
        ("5", "sha256:fff65772bd02"),
        "the replay over one history is written in another way: give FORMAT another number, and put both here"
    );
}
