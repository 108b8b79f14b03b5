//! Every cell and every row of a database in use, changed one at a time: it is named by `verify`, or it does no harm.
//!
//! Each mutation is made and looked at in one transaction that is rolled back, as if somebody had made it between two
//! commands. Tables and columns are read from the schema, so a new one has to be bound to the history or to a digest, or
//! to be listed here with the reason why not.

use std::collections::BTreeMap;
use std::time::Instant;

use authdrift::cli::context::Context;
use authdrift::clock::{Clock, SystemClock};
use authdrift::delivery::coalesce;
use authdrift::evidence::{Examination, examine};
use authdrift::simulator::fault::Fault;
use authdrift::simulator::webhook::Webhook;
use authdrift::store::{Store, StoreError, Transaction};
use authdrift::trust_files::TrustFiles;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use serde_json::json;

use crate::common::Sandbox;

/// Columns that nothing is decided by, or nothing that the next cycle does not decide anew.
const HARMLESS: &[(&str, &str, &str)] = &[
    ("collections", "body", "how something was read, for people; what was read has its own digests"),
    ("cycles", "duration", "shown, never compared"),
    ("cycles", "requests", "shown, never compared"),
    ("cycles", "verdict", "of older ones: shown; that of the last one is noticed where the history says otherwise"),
    ("cycles", "at", "dates the last good reading of a new drift; the history has its own times"),
    ("cycles", "id", "the order of cycles; another one makes an older genuine snapshot the newest, see snapshot_id"),
    ("cycles", "instance_id", "a cycle without a snapshot; one with a snapshot is noticed"),
    ("cycles", "snapshot_id", "another genuine snapshot of the instance: an approver sees what they sign"),
    ("drifts", "first_seen", "another moment of the same second; any other time is noticed"),
    ("drifts", "last_good", "another moment of the same second; any other time is noticed"),
    ("drifts", "closed_at", "another moment of the same second; any other time is noticed"),
    ("outbox", "done_at", "another moment of the same second; any other time is noticed"),
    ("section_news", "cause", "whether two sections that are seen again are told as one"),
    ("instances", "next_due_at", "a time later than the schedule allows counts as come"),
    ("outbox", "attempts", "of what is done: shown; of what waits it is noticed"),
    ("outbox", "first_at", "of what is done: shown; of what waits it is noticed"),
    ("outbox", "passed", "of what is done: shown; of what waits it is noticed"),
    ("outbox", "next_at", "of what is done: shown; of what waits it is noticed"),
    ("outbox", "claimed_to", "five minutes at most; a later time is noticed"),
    ("outbox", "last_outcome", "shown; the history says what was delivered"),
    ("section_news", "since", "another moment of the same second; any other time is noticed"),
    ("section_news", "cycles", "how long something that was told goes on"),
    ("section_news", "suspected", "a reading that is believed one cycle sooner, and then compared like any other"),
    ("statements", "imported_at", "another moment of the same second; any other time is noticed"),
];

/// Rows that may be removed.
const HARMLESS_ROWS: &[(&str, &str)] = &[
    ("cycles", "one reading fewer of settings that others have read as well"),
    ("section_news", "the next cycle tells of a section that is new to the baseline once more"),
    ("threads", "the next mail begins a new thread"),
    ("history_checkpoint", "the next program walks the history from its first event"),
    ("meta", "that there is a high-water file is noted again by the next write"),
];

/// What came of one mutation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// The database does not take it.
    Impossible,
    /// Named, in a word.
    Named(String),
    /// Nobody notices, and every baseline is what it was.
    Sound,
    /// Nobody notices, and a baseline is another one.
    Accepted,
    /// The look at everything broke off, so that nothing else is named.
    Stopped(String),
}

enum Stop {
    Store(StoreError),
    Done(Outcome),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

struct Subject {
    context: Context,
    store: Store,
    trust: TrustFiles,
    before: String,
}

fn approved(found: &Examination<'_>) -> String {
    format!("{:?} {:?}", found.results.iter().map(|(_, result)| result).collect::<Vec<_>>(), found.history.is_ok())
}

impl Subject {
    fn new(sandbox: &Sandbox) -> Self {
        let context = Context::load(Some(&sandbox.path("config.toml"))).unwrap();
        let trust = TrustFiles::read(&context.config.approval);
        let store = sandbox.store();
        let mut subject = Self { context, store, trust, before: String::new() };
        let before = subject.store.read(|tx| {
            let found = subject.examine(tx)?;
            assert!(found.results.iter().all(|(_, result)| result.as_ref().is_ok_and(|chain| !chain.is_empty())));
            assert!(found.wrong.is_empty() && found.history.is_ok(), "{:?} {:?}", found.wrong, found.history);
            Ok::<_, StoreError>(approved(&found))
        });
        subject.before = before.unwrap();
        subject
    }

    fn examine(&self, tx: &Transaction<'_>) -> Result<Examination<'_>, StoreError> {
        let Context { config, catalogues, .. } = &self.context;
        let instances = config.instances.iter().map(|instance| (instance, &**catalogues.of(instance.id.provider)));
        examine(tx, &self.store, &instances.collect::<Vec<_>>(), &self.trust, SystemClock.now())
    }

    /// Makes a mutation, looks at everything, and takes it back.
    fn try_out(&self, mutate: impl FnOnce(&Connection) -> rusqlite::Result<usize>) -> Outcome {
        // What is changed by the connection that looks is not seen by it as another's: the history is to be walked anew.
        drop(self.store.full_check().unwrap());
        let stopped = self.store.write(|tx| -> Result<(), Stop> {
            // Whoever writes the file is not kept by what this program's connections are kept by.
            tx.unguarded().execute_batch("PRAGMA defer_foreign_keys = ON").map_err(StoreError::from)?;
            let guards = unguard(tx.unguarded()).map_err(StoreError::from)?;
            match mutate(tx.unguarded()) {
                Ok(1..) => {}
                Ok(0) => panic!("nothing was changed"),
                Err(_) => return Err(Stop::Done(Outcome::Impossible)),
            }
            tx.unguarded().execute_batch(&guards).map_err(StoreError::from)?;
            let found = match self.examine(tx) {
                Err(error) => return Err(Stop::Done(Outcome::Stopped(error.to_string()))),
                Ok(found) => found,
            };
            let code = found.results.iter().find_map(|(_, result)| Some(result.as_ref().err()?.code().to_owned()));
            let history = found.history.as_ref().err().map(|_| "history".to_owned());
            let wrong = found.wrong.first().map(|_| "not-sound".to_owned());
            Err(Stop::Done(match code.or(history).or(wrong) {
                Some(name) => Outcome::Named(name),
                None if approved(&found) == self.before => Outcome::Sound,
                None => Outcome::Accepted,
            }))
        });
        match stopped {
            Err(Stop::Done(outcome)) => outcome,
            Err(Stop::Store(error)) => panic!("{error}"),
            Ok(()) => unreachable!("it is always taken back"),
        }
    }
}

/// Takes the triggers away, and answers how they are put back.
fn unguard(tx: &Connection) -> rusqlite::Result<String> {
    let mut query = tx.prepare_cached("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")?;
    let guards: Vec<(String, String)> =
        query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
    for (name, _) in &guards {
        tx.execute_batch(&format!("DROP TRIGGER {name}"))?;
    }
    Ok(guards.into_iter().map(|(_, sql)| sql + ";").collect())
}

struct Table {
    name: String,
    /// Name, and whether it may be null.
    columns: Vec<(String, bool)>,
    rows: Vec<Vec<Value>>,
}

fn tables(connection: &Connection) -> Vec<Table> {
    let mut names = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").unwrap();
    let names: Vec<String> = names.query_map([], |row| row.get(0)).unwrap().flatten().collect();
    let table = |name: String| {
        let mut info = connection.prepare("SELECT name, \"notnull\" = 0 FROM pragma_table_info(?1)").unwrap();
        let columns: Vec<(String, bool)> =
            info.query_map([&name], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().flatten().collect();
        let mut all = connection.prepare(&format!("SELECT * FROM {name}")).unwrap();
        let rows = all.query_map([], |row| (0..columns.len()).map(|column| row.get(column)).collect()).unwrap();
        let rows = rows.collect::<rusqlite::Result<_>>().unwrap();
        Table { name, columns, rows }
    };
    names.into_iter().map(table).collect()
}

impl Table {
    /// Finds one row, by everything in it.
    fn this_row(&self) -> String {
        let terms: Vec<String> =
            self.columns.iter().enumerate().map(|(place, (name, _))| format!("\"{name}\" IS ?{}", place + 1)).collect();
        terms.join(" AND ")
    }

    /// What is put into a cell: something near, something of another row, nothing, another type.
    fn others(&self, row: usize, column: usize) -> Vec<Value> {
        let value = &self.rows[row][column];
        let mut others = match value {
            Value::Null => vec![Value::Integer(1), Value::Text("x".to_owned())],
            Value::Integer(number) => vec![Value::Integer(number + 1), Value::Integer(-1), Value::Integer(i64::MAX)],
            Value::Real(number) => vec![Value::Real(number + 1.0)],
            Value::Text(text) => {
                let mut edited = text.clone();
                let last = if edited.pop() == Some('0') { '1' } else { '0' };
                edited.push(last);
                vec![Value::Text(edited), Value::Text(String::new())]
            }
            Value::Blob(bytes) => {
                let mut edited = bytes.clone();
                if let Some(byte) = edited.get_mut(bytes.len() / 2) {
                    *byte ^= 1;
                }
                vec![Value::Blob(edited), Value::Blob(Vec::new())]
            }
        };
        others.extend(self.rows.iter().map(|other| &other[column]).find(|other| *other != value).cloned());
        others.push(if self.columns[column].1 { Value::Null } else { Value::Blob(vec![0xff]) });
        others.retain(|other| other != value);
        // Each look at everything takes a tenth of a second: every row has its turn in every way, not every cell.
        if self.rows.len() > 4 {
            let more = others.len().saturating_sub(1).max(1);
            let turn = others.get(1 + (row + column) % more).cloned();
            others.truncate(1);
            others.extend(turn);
        }
        others
    }

    /// Whether the cell has its turn: in a large table, where all rows are alike, every row is changed in one place.
    fn has_turn(&self, row: usize, column: usize) -> bool {
        !self.is_large() || row % self.columns.len() == column
    }

    /// Whether not every cell has its turn. `EVERY_CELL=1` takes the time.
    fn is_large(&self) -> bool {
        self.rows.len() > if std::env::var_os("EVERY_CELL").is_some() { 200 } else { 12 }
    }
}

/// Both vendors, several baselines, drifts open and closed, something blind, messages that wait and that were delivered.
async fn in_use() -> Sandbox {
    let sandbox = Sandbox::approved().await;
    sandbox.set_lifetime(3600);
    sandbox.check_one("prod", 10).await;
    sandbox.approve("prod").await;
    sandbox.set_lifetime(60);
    sandbox.check_one("prod", 10).await;
    sandbox.set_lifetime(3600);
    sandbox.check_one("prod", 0).await;
    sandbox.webhook.fail_all(Webhook::reply(503));
    sandbox.clerk.edit("/v1/instance", |instance| instance["allowed_origins"] = json!(["https://evil.example"]));
    sandbox.auth0.fail("/api/v2/clients", Fault::status(403, json!({})));
    for _ in 0..3 {
        sandbox.check().await.expect(10);
    }
    sandbox.run(&["silence", "add", "--match", "acme", "--until", "1d", "--reason", "x"]).await.expect(0);
    // One message of the silence is given up by somebody, and what the receiver was never asked to take is folded.
    let dead = "SELECT id FROM outbox WHERE instance = '' AND state = 'waiting'";
    let id: String = sandbox.sql().query_row(dead, [], |row| row.get(0)).unwrap();
    sandbox.run(&["outbox", "drop", &id, "--reason", "x"]).await.expect(0);
    for origin in ["https://a.example", "https://b.example"] {
        sandbox.clerk.edit("/v1/instance", |instance| instance["allowed_origins"] = json!([origin]));
        sandbox.check().await.expect(10);
    }
    sandbox.store().write(|tx| coalesce::bound(tx, "siem", 1, SystemClock.now())).unwrap();
    sandbox.store().save_checkpoint().unwrap();
    for (what, query) in [
        ("a message that was given up", "SELECT count(*) FROM outbox WHERE state = 'dead'"),
        ("a folded message", "SELECT count(*) FROM outbox WHERE state = 'folded'"),
        ("baselines", "SELECT count(*) >= 3 FROM statements"),
        ("an open drift", "SELECT count(*) FROM drifts WHERE status = 'open'"),
        ("a closed drift", "SELECT count(*) FROM drifts WHERE status <> 'open'"),
        ("something blind", "SELECT count(*) FROM section_news WHERE is_told"),
        ("a waiting message", "SELECT count(*) FROM outbox WHERE state = 'waiting'"),
        ("a delivered message", "SELECT count(*) FROM outbox WHERE state = 'delivered'"),
        ("a thread", "SELECT count(*) FROM threads"),
        ("a collection", "SELECT count(*) FROM collections"),
        ("a checkpoint", "SELECT count(*) FROM history_checkpoint"),
    ] {
        assert!(sandbox.count(query) > 0, "{what}");
    }
    sandbox
}

#[tokio::test(flavor = "multi_thread")]
async fn t4_whatever_is_changed_in_a_database_in_use_is_named_or_does_no_harm() {
    let sandbox = in_use().await;
    let tables = tables(&sandbox.sql());
    let subject = Subject::new(&sandbox);
    let began = Instant::now();
    let mut tally: BTreeMap<Outcome, usize> = BTreeMap::new();
    let mut findings: BTreeMap<String, usize> = BTreeMap::new();
    for table in &tables {
        let this_row = table.this_row();
        for (place, row) in table.rows.iter().enumerate() {
            for (column, (name, _)) in table.columns.iter().enumerate() {
                if !table.has_turn(place, column) {
                    continue;
                }
                for other in table.others(place, column) {
                    let update = format!("UPDATE {} SET \"{name}\" = ?{} WHERE {this_row}", table.name, row.len() + 1);
                    let outcome =
                        subject.try_out(|tx| tx.execute(&update, params_from_iter(row.iter().chain([&other]))));
                    *tally.entry(outcome.clone()).or_default() += 1;
                    let is_listed = HARMLESS.iter().any(|(t, c, _)| (*t, *c) == (&table.name, name));
                    if !matches!(outcome, Outcome::Impossible | Outcome::Named(_) | Outcome::Sound)
                        || outcome == Outcome::Sound && !is_listed
                    {
                        *findings.entry(format!("{outcome:?}: {}.{name}", table.name)).or_default() += 1;
                    }
                }
            }
            if table.is_large() && place % 5 != 0 {
                continue;
            }
            let delete = format!("DELETE FROM {} WHERE {this_row}", table.name);
            let outcome = subject.try_out(|tx| tx.execute(&delete, params_from_iter(row)));
            *tally.entry(outcome.clone()).or_default() += 1;
            let is_listed = HARMLESS_ROWS.iter().any(|(name, _)| *name == table.name);
            if !matches!(outcome, Outcome::Impossible | Outcome::Named(_) | Outcome::Sound)
                || outcome == Outcome::Sound && !is_listed
            {
                *findings.entry(format!("{outcome:?}: a row of {} removed", table.name)).or_default() += 1;
            }
        }
    }
    // A number that this program never writes is named in every column, harmless or not.
    for table in tables.iter().filter(|table| !table.rows.is_empty()) {
        let (this_row, row) = (table.this_row(), &table.rows[0]);
        for (column, (name, _)) in table.columns.iter().enumerate() {
            let is_number = table.rows.iter().any(|row| matches!(row[column], Value::Integer(_)));
            for number in [-1, 1 << 52].into_iter().filter(|_| is_number) {
                // A number of a row may be as large as that.
                if number > 0 && matches!(&**name, "id" | "seq") {
                    continue;
                }
                let update = format!("UPDATE {} SET \"{name}\" = ?{} WHERE {this_row}", table.name, row.len() + 1);
                let number = Value::Integer(number);
                let outcome = subject.try_out(|tx| tx.execute(&update, params_from_iter(row.iter().chain([&number]))));
                *tally.entry(outcome.clone()).or_default() += 1;
                if !matches!(outcome, Outcome::Impossible | Outcome::Named(_)) {
                    *findings.entry(format!("{outcome:?}: {}.{name} = {number:?}", table.name)).or_default() += 1;
                }
            }
        }
    }
    eprintln!("{} mutations in {:?}: {tally:?}", tally.values().sum::<usize>(), began.elapsed());
    assert!(findings.is_empty(), "nobody notices {findings:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn t4_whatever_is_planted_exchanged_or_invented_is_named() {
    let sandbox = in_use().await;
    let subject = Subject::new(&sandbox);
    for (what, sql) in [
        ("a trigger", "CREATE TRIGGER t AFTER INSERT ON outbox BEGIN DELETE FROM outbox; END"),
        ("a view", "CREATE VIEW v AS SELECT * FROM outbox"),
        ("an index", "CREATE INDEX i ON outbox (subject)"),
        ("a table", "CREATE TABLE planted (x)"),
        ("a column", "ALTER TABLE outbox ADD COLUMN x TEXT"),
        (
            "exchanged statements",
            "UPDATE statements SET (statement, signature) = (SELECT o.statement, o.signature FROM statements o
             WHERE o.rowid = (SELECT max(rowid) FROM statements) + (SELECT min(rowid) FROM statements) - statements.rowid)
             WHERE rowid IN ((SELECT max(rowid) FROM statements), (SELECT min(rowid) FROM statements))",
        ),
        (
            "exchanged events",
            "UPDATE events SET (body, digest) = (SELECT o.body, o.digest FROM events o WHERE o.seq = 5 - events.seq)
             WHERE seq IN (2, 3)",
        ),
        ("a history that ends earlier", "DELETE FROM events WHERE seq = (SELECT max(seq) FROM events)"),
        ("no messages that wait", "DELETE FROM outbox WHERE state = 'waiting'"),
        ("no drifts", "DELETE FROM drifts"),
        ("no history", "DELETE FROM events"),
        (
            "a drift that was told already",
            "INSERT INTO drifts SELECT 'planted', instance_id, 'sha256:' || hex(zeroblob(32)), path, kind, before, after,
             is_member, 'open', first_seen, last_good, NULL, '[]', 0 FROM drifts LIMIT 1",
        ),
        (
            "a message that nobody wrote",
            "INSERT INTO outbox SELECT 'planted', receiver, instance, alert, thread, subject, created_at, 'waiting', 0, 0, 0,
             '', NULL, format, body, NULL, 0 FROM outbox LIMIT 1",
        ),
    ] {
        let outcome = subject.try_out(|tx| tx.execute_batch(sql).map(|()| 1));
        assert!(matches!(outcome, Outcome::Named(_)), "{what}: {outcome:?}");
        eprintln!("{what}: {outcome:?}");
    }
}
