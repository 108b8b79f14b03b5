//! Whether the schema of a database is the one that this program makes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use rusqlite::Connection;

use super::open::migrate;
use super::{StoreError, Stored, Transaction};
use crate::model::display_safe;

/// Makes sure that the schema is the one this program makes, to the letter.
///
/// # Errors
/// [`StoreError::Schema`] when it is not.
///
/// # Security
/// A planted trigger could delete every message before it is sent, and nothing else in the file would look different.
pub fn check_schema(tx: &Transaction<'_>) -> Stored<()> {
    let expected = expected_schema()?;
    let found = schema_of(&tx.sql)?;
    let foreign = found.iter().find(|(sql, _)| !expected.contains_key(*sql));
    let missing = expected.iter().find(|(sql, _)| !found.contains_key(*sql));
    match (foreign, missing) {
        (Some((sql, object)), _) => Err(foreign_to(expected, sql, object)),
        (None, Some((sql, object))) => {
            Err(strange(sql, &format!("; the {} '{}' is missing: restore a backup", object.kind, object.name)))
        }
        (None, None) => Ok(()),
    }
}

/// Makes sure that nothing is in the schema that this program does not make; a guard may be missing.
///
/// # Errors
/// [`StoreError::Schema`] when there is.
pub(super) fn check_nothing_planted(tx: &Transaction<'_>) -> Stored<()> {
    let expected = expected_schema()?;
    let found = schema_of(&tx.sql)?;
    let foreign = found.iter().find(|(sql, _)| !expected.contains_key(*sql));
    foreign.map_or(Ok(()), |(sql, object)| Err(foreign_to(expected, sql, object)))
}

/// What this program did not make, and what removes it.
fn foreign_to(expected: &Schema, sql: &str, object: &Object) -> StoreError {
    // Made by those who mean well.
    let name = match object.name.as_str() {
        "_litestream_seq" | "_litestream_lock" => {
            return strange(
                sql,
                "; Litestream made it, which cannot be used for this database: stop it, and remove its tables with \
                 `sqlite3 FILE 'DROP TABLE IF EXISTS _litestream_seq; DROP TABLE IF EXISTS _litestream_lock'`",
            );
        }
        "sqlite_stat1" | "sqlite_stat4" => {
            return strange(
                sql,
                "; ANALYZE made it: remove what it makes with `sqlite3 FILE \
                 'DROP TABLE IF EXISTS sqlite_stat1; DROP TABLE IF EXISTS sqlite_stat4'`",
            );
        }
        name => name,
    };
    let is_ours = expected.values().any(|ours| ours.name == name);
    // A name that would have to be quoted for the shell is not put into a command.
    let is_plain = name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    if is_ours || name.starts_with("sqlite_") {
        return strange(sql, &format!("; the {} '{}' was changed: restore a backup", object.kind, display_safe(name)));
    }
    if !is_plain {
        return strange(sql, &format!("; find out who made the {} and why, then drop it", object.kind));
    }
    let kind = object.kind.to_ascii_uppercase();
    strange(sql, &format!("; find out who made it and why, then remove it with `sqlite3 FILE 'DROP {kind} {name}'`"))
}

fn strange(sql: &str, remedy: &str) -> StoreError {
    let line = sql.lines().next().unwrap_or_default();
    StoreError::Schema(format!("its schema is not this program's, see '{}'{remedy}", display_safe(line)))
}

/// What the schema is made of: the text of each statement, and what it makes.
type Schema = BTreeMap<String, Object>;

/// A table, index, trigger or view.
struct Object {
    kind: String,
    name: String,
}

fn expected_schema() -> Stored<&'static Schema> {
    static EXPECTED: OnceLock<Schema> = OnceLock::new();
    if let Some(expected) = EXPECTED.get() {
        return Ok(expected);
    }
    let mut fresh = Connection::open_in_memory()?;
    migrate(&mut fresh, Path::new(":memory:"))?;
    let schema = schema_of(&fresh)?;
    Ok(EXPECTED.get_or_init(|| schema))
}

fn schema_of(connection: &Connection) -> Stored<Schema> {
    let mut query =
        connection.prepare_cached("SELECT coalesce(sql, type || ' ' || name), type, name FROM sqlite_schema")?;
    let rows = query.query_map([], |row| Ok((row.get(0)?, Object { kind: row.get(1)?, name: row.get(2)? })))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::super::{Store, events};
    use super::*;
    use crate::clock::{Clock, SystemClock};
    use crate::history::Event;

    #[test]
    fn what_others_made_is_named_with_what_removes_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("authdrift.db");
        let store = Store::open(&path).unwrap();
        let now = SystemClock.now();
        store.write(|tx| events::append(tx, now, None, &Event::other("test.done")).map(drop)).unwrap();
        let others = Connection::open(&path).unwrap();
        let check = || store.read(check_schema).map_err(|error| error.to_string());
        for (made, who) in [
            ("CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER)", "Litestream"),
            ("CREATE TABLE _litestream_lock (id INTEGER)", "Litestream"),
            ("ANALYZE", "ANALYZE"),
        ] {
            others.execute_batch(made).unwrap();
            let said = check().unwrap_err();
            assert!(said.contains(&format!("; {who} made it")), "{said}");
            let (_, remedy) = said.split_once("`sqlite3 FILE '").unwrap();
            others.execute_batch(remedy.trim_end_matches("'`")).unwrap();
            check().unwrap();
        }
        for (made, removes) in [
            ("CREATE TABLE planted (x)", Some("DROP TABLE planted")),
            ("CREATE VIEW planted AS SELECT 1", Some("DROP VIEW planted")),
            ("CREATE INDEX planted ON outbox (subject)", Some("DROP INDEX planted")),
            ("CREATE TRIGGER planted AFTER INSERT ON outbox BEGIN SELECT 1; END", Some("DROP TRIGGER planted")),
            // Nothing that somebody else wrote is typed into a shell.
            ("CREATE TABLE \"x'; rm -rf /; '\" (x)", None),
        ] {
            others.execute_batch(made).unwrap();
            let said = check().unwrap_err();
            match removes {
                Some(removes) => {
                    assert!(
                        said.contains("find out who made it") && said.ends_with(&format!("`sqlite3 FILE '{removes}'`")),
                        "{said}"
                    );
                    others.execute_batch(removes).unwrap();
                }
                None => {
                    assert!(said.ends_with("find out who made the table and why, then drop it"), "{said}");
                    others.execute_batch("DROP TABLE \"x'; rm -rf /; '\"").unwrap();
                }
            }
            check().unwrap();
        }
        others.execute_batch("DROP TRIGGER events_are_never_changed").unwrap();
        let said = check().unwrap_err();
        assert!(said.ends_with("the trigger 'events_are_never_changed' is missing: restore a backup"), "{said}");
    }
}
