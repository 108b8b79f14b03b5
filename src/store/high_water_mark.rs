//! What the history was at its highest, remembered outside of the database.
//!
//! An older genuine copy of a database is sound in itself: nothing in it can say that something is missing. This file
//! beside it can. It is written after every commit that added to the history, and before anybody is told of it.
//!
//! It is never ahead of the database, or a crash would look like an older copy: it holds what was committed, and the
//! database expects it only after it was there. Several processes write it one after the other, each what it then sees.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction};
use serde::{Deserialize, Serialize};

use super::{StoreError, Stored, events};
use crate::model::{HistoryMark, InstanceId};
use crate::whole_file;

/// In `meta`: that there was such a file, so that its loss is noticed.
pub(super) const META: &str = "high-water";

/// The highest point that was reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HighWater {
    /// The history.
    pub log: HistoryMark,
    /// The newest baseline of every instance.
    pub sequences: BTreeMap<InstanceId, u64>,
}

/// How a database falls short of what was reached before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RolledBack {
    /// The history is shorter, or another one.
    #[error(
        "the history had {reached} events on this machine, and the database's is another one or ends earlier: an older copy \
         was put in its place"
    )]
    History {
        /// Events there were.
        reached: u64,
    },
    /// The instance had a newer baseline.
    #[error("baseline {reached} was approved on this machine, and the newest in the database is {found}")]
    Baseline {
        /// The newest there was.
        reached: u64,
        /// The newest there is.
        found: u64,
    },
    /// The file is gone or was damaged.
    #[error(
        "the high-water file beside the database is missing or damaged, so nobody can tell whether the database is older than it was"
    )]
    Lost,
}

/// Where the file is; nowhere for a database in memory.
fn path_of(connection: &Connection) -> Option<PathBuf> {
    let path = connection.path().filter(|path| !path.is_empty())?;
    Some(Path::new(path).with_extension("high-water"))
}

/// Compares the database with what was reached before, as far as `instance` is concerned. Nothing was reached in a database
/// that never had a history.
///
/// # Errors
/// The database cannot be read.
pub fn compare(tx: &super::Transaction<'_>, instance: &InstanceId) -> Stored<Result<(), RolledBack>> {
    let sql = &tx.sql;
    let Some(path) = path_of(sql) else { return Ok(Ok(())) };
    let reached = match read(&path)? {
        Remembered::Reached(reached) => reached,
        Remembered::Nothing if !is_expected(sql)? => return Ok(Ok(())),
        Remembered::Nothing | Remembered::Damaged => return Ok(Err(RolledBack::Lost)),
    };
    let found = held_against(sql, instance, &reached)?;
    if found.is_err() && is_behind(sql, instance, &reached).unwrap_or(false) {
        return Ok(Ok(()));
    }
    Ok(found)
}

fn held_against(tx: &Transaction<'_>, instance: &InstanceId, reached: &HighWater) -> Stored<Result<(), RolledBack>> {
    if events::head_of(tx, reached.log.size)?.as_ref() != Some(&reached.log.head) {
        return Ok(Err(RolledBack::History { reached: reached.log.size }));
    }
    let found = sequences(tx)?.get(instance).copied().unwrap_or_default();
    let highest = reached.sequences.get(instance).copied().unwrap_or_default();
    Ok(if found < highest { Err(RolledBack::Baseline { reached: highest, found }) } else { Ok(()) })
}

/// Whether `tx` sees a state from before others added to it and raised the file: then it is only what it sees that is
/// old, and the database has all that was reached.
fn is_behind(tx: &Transaction<'_>, instance: &InstanceId, reached: &HighWater) -> Stored<bool> {
    let Some(path) = tx.path() else { return Ok(false) };
    let mut connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    let now = connection.transaction()?;
    let follows = match events::mark_of(tx)? {
        None => true,
        Some(seen) => events::head_of(&now, seen.size)?.as_ref() == Some(&seen.head),
    };
    Ok(follows && held_against(&now, instance, reached)?.is_ok())
}

/// Notes in the database that the file is there, so that its loss is noticed from then on.
pub(super) fn expect_from_now_on(tx: &Transaction<'_>) -> Stored<()> {
    if path_of(tx).is_some_and(|path| path.exists()) && !was_written(tx)? {
        tx.execute("INSERT INTO meta (name, value) VALUES (?1, 'written')", [META])?;
    }
    Ok(())
}

/// Writes the file if a crash came between the first event and it.
pub(super) fn begin(connection: &Connection) -> Stored<()> {
    if path_of(connection).is_some_and(|path| !path.exists()) { advance(connection) } else { Ok(()) }
}

/// Raises the file to where the database stands, or leaves it alone if the database fell back.
pub(super) fn advance(connection: &Connection) -> Stored<()> {
    let raised = |connection: &Connection| raised(&connection.unchecked_transaction()?);
    if raised(connection)?.is_none() {
        return Ok(());
    }
    let _turn = turn(connection)?;
    // Somebody else may have raised it higher while this process waited.
    raised(connection)?.map_or(Ok(()), |raised| write(connection, &raised))
}

/// Writes that somebody has acknowledged, with a signature for `instance`, that the database is what it is.
pub(super) fn accept_rollback(connection: &Connection, instance: &InstanceId) -> Stored<()> {
    let _turn = turn(connection)?;
    let reached = acknowledged(&connection.unchecked_transaction()?, instance)?;
    reached.map_or(Ok(()), |reached| write(connection, &reached))
}

/// Waits until no other process writes the file. It is the folder that is locked: the file is replaced, and a file handle
/// on the database would end SQLite's locks when it is closed.
fn turn(connection: &Connection) -> Stored<Option<File>> {
    let Some(path) = path_of(connection) else { return Ok(None) };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let locked = File::open(folder).and_then(|folder| folder.lock().map(|()| folder));
    locked.map(Some).map_err(|source| StoreError::File { action: "lock the folder", path: folder.to_owned(), source })
}

fn raised(tx: &Transaction<'_>) -> Stored<Option<HighWater>> {
    let (Some(path), Some(log)) = (path_of(tx), events::mark_of(tx)?) else { return Ok(None) };
    let now = HighWater { log, sequences: sequences(tx)? };
    let reached = match read(&path)? {
        Remembered::Reached(reached) => reached,
        Remembered::Nothing => return Ok((!is_expected(tx)?).then_some(now)),
        Remembered::Damaged => return Ok(None),
    };
    if reached == now || events::head_of(tx, reached.log.size)?.as_ref() != Some(&reached.log.head) {
        return Ok(None);
    }
    let mut sequences = now.sequences;
    for (instance, highest) in reached.sequences {
        let sequence = sequences.entry(instance).or_default();
        *sequence = highest.max(*sequence);
    }
    Ok(Some(HighWater { log: now.log, sequences }))
}

/// The history as it stands, and for `instance` its newest baseline. Other instances still have to be acknowledged.
fn acknowledged(tx: &Transaction<'_>, instance: &InstanceId) -> Stored<Option<HighWater>> {
    let (Some(path), Some(log)) = (path_of(tx), events::mark_of(tx)?) else { return Ok(None) };
    let now = sequences(tx)?;
    let mut sequences = match read(&path)? {
        Remembered::Reached(reached) => reached.sequences,
        Remembered::Nothing | Remembered::Damaged => now.clone(),
    };
    if let Some(sequence) = now.get(instance) {
        sequences.insert(instance.clone(), *sequence);
    }
    Ok(Some(HighWater { log, sequences }))
}

fn write(connection: &Connection, reached: &HighWater) -> Stored<()> {
    let Some(path) = path_of(connection) else { return Ok(()) };
    let failed = |source| StoreError::File { action: "write the high-water file", path: path.clone(), source };
    let text = serde_json::to_vec(reached).map_err(|error| failed(io::Error::other(error)))?;
    whole_file::write(&path, &text, connection.path().map(Path::new)).map_err(failed)
}

/// What the file says.
enum Remembered {
    Nothing,
    Damaged,
    Reached(HighWater),
}

/// Reads the file. A disk that cannot be read is no proof that somebody took the file away.
fn read(path: &Path) -> Stored<Remembered> {
    match fs::read(path) {
        Ok(text) => Ok(serde_json::from_slice(&text).map_or(Remembered::Damaged, Remembered::Reached)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Remembered::Nothing),
        Err(source) => Err(StoreError::File { action: "read the high-water file", path: path.to_owned(), source }),
    }
}

fn was_written(tx: &Transaction<'_>) -> Stored<bool> {
    Ok(tx.prepare_cached("SELECT 1 FROM meta WHERE name = ?1")?.exists([META])?)
}

/// Whether there has to be a file. A baseline is approved on top of a reading that was recorded before, and with that the file
/// was written: the note in `meta` may be taken away together with the file, and the baseline says the same.
fn is_expected(tx: &Transaction<'_>) -> Stored<bool> {
    Ok(was_written(tx)? || tx.prepare_cached("SELECT 1 FROM statements")?.exists([])?)
}

/// The newest baseline of every instance that has one.
fn sequences(tx: &Transaction<'_>) -> Stored<BTreeMap<InstanceId, u64>> {
    let mut query = tx.prepare_cached(
        "SELECT i.name, max(s.sequence) FROM statements s JOIN instances i ON i.id = s.instance_id GROUP BY i.name",
    )?;
    let rows = query.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
    let mut sequences = BTreeMap::new();
    for row in rows {
        let (name, sequence) = row?;
        if let (Ok(instance), Ok(sequence)) = (name.parse(), u64::try_from(sequence)) {
            sequences.insert(instance, sequence);
        }
    }
    Ok(sequences)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Event;
    use crate::store::Store;
    use serde_json::json;

    fn append(store: &Store, number: u64) {
        let at = "2026-05-04T10:00:00Z".parse().unwrap();
        store
            .write(|tx| {
                events::append(
                    tx,
                    at,
                    None,
                    &Event::Unknown { kind: "test.done".to_owned(), data: json!({ "number": number }) },
                )
            })
            .unwrap();
    }

    fn stands(store: &Store) -> Result<(), RolledBack> {
        store.read(|tx| compare(tx, &"clerk:prod".parse().unwrap())).unwrap()
    }

    #[test]
    fn a_crash_before_the_first_file_was_written_is_no_older_copy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("authdrift.db");
        let file = path.with_extension("high-water");
        let store = Store::open(&path).unwrap();
        append(&store, 1);
        // The commit was made, and the file was not.
        fs::remove_file(&file).unwrap();
        assert_eq!(stands(&store), Ok(()));
        append(&store, 2);
        append(&store, 3);
        assert_eq!(stands(&store), Ok(()));
        fs::remove_file(&file).unwrap();
        assert_eq!(stands(&store), Err(RolledBack::Lost));
    }

    #[test]
    fn a_file_that_is_taken_away_with_its_note_is_missed_once_a_baseline_was_approved() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("authdrift.db");
        let file = path.with_extension("high-water");
        let store = Store::open(&path).unwrap();
        append(&store, 1);
        fs::remove_file(&file).unwrap();
        drop(store);
        // A crash before the file was written is mended by the next process.
        let store = Store::open(&path).unwrap();
        assert!(file.exists());
        let approved = "INSERT INTO instances (id, name) VALUES (1, 'clerk:prod');
                        INSERT INTO statements VALUES (1, 1, x'7b7d', '', 1)";
        store.write(|tx| tx.sql.execute_batch(approved).map_err(StoreError::from)).unwrap();
        append(&store, 2);
        fs::remove_file(&file).unwrap();
        // Past the program, which would note at once that the file is there.
        let others = Connection::open(&path).unwrap();
        assert_eq!(others.execute("DELETE FROM meta WHERE name = ?1", [META]).unwrap(), 1);
        assert_eq!(stands(&store), Err(RolledBack::Lost));
        // What is written later does not make it forgotten.
        append(&store, 3);
        drop(store);
        let store = Store::open(&path).unwrap();
        assert_eq!(stands(&store), Err(RolledBack::Lost));
        store.accept_rollback(&"clerk:prod".parse().unwrap()).unwrap();
        assert_eq!(stands(&store), Ok(()));
    }

    #[test]
    fn a_reader_that_began_before_others_wrote_sees_no_older_copy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("authdrift.db");
        let (store, other) = (Store::open(&path).unwrap(), Store::open(&path).unwrap());
        append(&store, 1);
        let seen = store.read(|tx| {
            let before = events::mark(tx)?;
            append(&other, 2);
            assert_eq!(events::mark(tx)?, before);
            compare(tx, &"clerk:prod".parse().unwrap())
        });
        assert_eq!(seen.unwrap(), Ok(()));
    }

    #[test]
    fn many_writers_leave_the_highest_point_and_no_half_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("authdrift.db");
        let _ = Store::open(&path).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let store = Store::open(&path).unwrap();
                scope.spawn(move || (0..25).for_each(|number| append(&store, number)));
            }
        });
        let Remembered::Reached(reached) = read(&path.with_extension("high-water")).unwrap() else {
            panic!("it is there")
        };
        assert_eq!(reached.log.size, 100);
        assert_eq!(stands(&Store::open(&path).unwrap()), Ok(()));
    }
}
