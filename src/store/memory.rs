//! The history that was walked already, so that a comparison walks only what is new.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use super::events::{self, Walk};
use super::{Stored, Transaction};

/// What one connection has seen of the history.
#[derive(Default)]
pub(super) struct Memory {
    /// SQLite's number for what other connections did.
    version: i64,
    walk: Arc<Walk>,
}

impl Memory {
    /// The walk over the whole history: what was walked before, and what came since.
    ///
    /// # Security
    /// It is walked anew from the first event on whenever another connection or program wrote to the database since, and
    /// when the last event that was seen is not there any more: a transaction was rolled back. So whoever edits the history
    /// is found as if it were walked every time (T4).
    pub(super) fn walk(memory: &Mutex<Self>, tx: &rusqlite::Transaction<'_>) -> Stored<Arc<Walk>> {
        let version: i64 = tx.query_row("PRAGMA data_version", [], |row| row.get(0))?;
        let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        let is_there = match &memory.walk.mark {
            Some(mark) => events::head_at(tx, mark.size)?.as_ref() == Some(&mark.head),
            None => true,
        };
        if memory.version != version || !is_there {
            *memory = Self { version, walk: Arc::default() };
        }
        match events::walk_on(tx, Arc::make_mut(&mut memory.walk)) {
            Ok(()) => Ok(Arc::clone(&memory.walk)),
            Err(error) => {
                *memory = Self::default();
                Err(error)
            }
        }
    }
}

impl<'c> Deref for Transaction<'c> {
    type Target = rusqlite::Transaction<'c>;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}

impl Transaction<'_> {
    pub(super) fn commit(self) -> Stored<()> {
        Ok(self.inner.commit()?)
    }

    /// What the whole history says; only what is new since the last time is walked.
    ///
    /// # Errors
    /// As [`events::verify`].
    pub fn history(&self) -> Stored<Arc<Walk>> {
        Memory::walk(self.memory, self)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Store, StoreError};
    use super::*;
    use crate::clock::{Clock, SystemClock};

    fn append(store: &Store) {
        let now = SystemClock.now();
        store.write(|tx| events::append(tx, now, "a.b", None, json!({})).map(drop)).unwrap();
    }

    fn size(store: &Store) -> Result<u64, StoreError> {
        store.read(|tx| Ok(tx.history()?.mark.as_ref().map_or(0, |mark| mark.size)))
    }

    #[test]
    fn what_is_new_is_seen_whoever_wrote_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let (one, other) = (Store::open(&path).unwrap(), Store::open(&path).unwrap());
        for expected in 1..4 {
            append(if expected == 2 { &other } else { &one });
            assert_eq!((size(&one).unwrap(), size(&other).unwrap()), (expected, expected));
        }
    }

    #[test]
    fn what_is_written_is_no_failure_when_the_high_water_file_cannot_follow() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let store = Store::open(&path).unwrap();
        let file = path.with_extension("high-water");
        append(&store);
        store.finished().unwrap();
        let written: Result<(), StoreError> = store.write(|tx| {
            std::fs::remove_file(&file).unwrap();
            std::fs::create_dir(&file).unwrap();
            events::append(tx, SystemClock.now(), "c.d", None, json!({})).map(drop)
        });
        written.unwrap();
        assert_eq!(size(&store).unwrap(), 2);
        assert!(!store.is_stuck());
        assert!(matches!(store.finished(), Err(StoreError::File { .. })));
        store.finished().unwrap();
    }

    #[test]
    fn what_was_rolled_back_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("a.db")).unwrap();
        append(&store);
        let undone: Result<(), StoreError> = store.write(|tx| {
            events::append(tx, SystemClock.now(), "c.d", None, json!({}))?;
            assert_eq!(tx.history()?.mark.as_ref().unwrap().size, 2);
            Err(StoreError::Damaged("no".to_owned()))
        });
        assert!(undone.is_err());
        assert_eq!(size(&store).unwrap(), 1);
        append(&store);
        assert_eq!(size(&store).unwrap(), 2);
    }

    #[test]
    fn t4_an_event_that_was_edited_long_ago_is_found_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let store = Store::open(&path).unwrap();
        (0..5).for_each(|_| append(&store));
        assert_eq!(size(&store).unwrap(), 5);
        let attacker = rusqlite::Connection::open(&path).unwrap();
        attacker
            .execute_batch(
                "DROP TRIGGER events_are_never_changed;
                 UPDATE events SET body = CAST(replace(CAST(body AS TEXT), 'a.b', 'x.y') AS BLOB) WHERE seq = 2;",
            )
            .unwrap();
        let error = size(&store).unwrap_err().to_string();
        assert!(error.contains("event 2: it was edited"), "{error}");
        assert!(size(&store).is_err(), "and the next time");
    }
}
