//! The history that was replayed already, so that a comparison replays only what is new.

use std::sync::{Arc, PoisonError};

use chrono::{DateTime, Utc};
use rusqlite::{Connection, TransactionBehavior};

use super::checkpoint::{self, CheckpointMark, Found};
use super::events;
use super::{StoreError, Stored, Transaction};
use crate::canonical::FingerprintKey;
use crate::clock::{Clock, SystemClock};
use crate::history::Replay;
use crate::telemetry::{CheckpointRefused, Observable};

/// Where the next replay begins.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Beginning {
    /// At the checkpoint, if there is one that can be used.
    #[default]
    Checkpoint,
    /// At the first event, because somebody asked for it.
    FirstEvent,
    /// At the first event, because the last replay found that the history is not sound.
    Unsound,
}

/// What one connection has seen of the history.
#[derive(Default)]
pub(super) struct StateCache {
    /// SQLite's number for what other connections did.
    version: i64,
    replay: Arc<Replay>,
    /// The newest checkpoint that can be used.
    kept: Option<CheckpointMark>,
    /// When the replay began at the first event, or the one did that the checkpoint comes from.
    whole_at: DateTime<Utc>,
    /// It was this replay, and what it found is what the checkpoint says.
    is_whole: bool,
    next: Beginning,
    /// There is a checkpoint that cannot be used: it stays for `verify`, until somebody signs on top of it.
    is_refused: bool,
    /// The outbox was held against the replay, and nobody else wrote since.
    is_outbox_sound: bool,
}

impl StateCache {
    /// The replay over the history: what a checkpoint has or was replayed before, and what came since.
    ///
    /// # Security
    /// It begins anew whenever another connection or program wrote to the database since, and when the last event that was
    /// seen is not there any more: a transaction was rolled back. An event before the checkpoint that was edited decides
    /// nothing; it is found by the next replay from the first event (T4).
    fn replayed(&mut self, tx: &rusqlite::Transaction<'_>, key: &FingerprintKey) -> Stored<Arc<Replay>> {
        let version: i64 = tx.query_row("PRAGMA data_version", [], |row| row.get(0))?;
        let is_there = match &self.replay.mark {
            Some(mark) => events::head_of(tx, mark.size)?.as_ref() == Some(&mark.head),
            None => true,
        };
        if self.version != version || !is_there {
            *self = Self { version, next: self.next, ..Self::default() };
        }
        let replayed = if self.replay.mark.is_some() {
            events::replay(tx, Arc::make_mut(&mut self.replay), u64::MAX)
        } else {
            self.begin(tx, key)
        };
        match replayed {
            Ok(()) => {
                self.next = Beginning::Checkpoint;
                Ok(Arc::clone(&self.replay))
            }
            Err(error) => {
                // The checkpoint may be sound, and must not make what was found be forgotten.
                let next = if matches!(error, StoreError::History(_)) { Beginning::Unsound } else { self.next };
                *self = Self { next, is_refused: self.is_refused, ..Self::default() };
                Err(error)
            }
        }
    }

    fn begin(&mut self, tx: &rusqlite::Transaction<'_>, key: &FingerprintKey) -> Stored<()> {
        let kept = match checkpoint::find(tx, key)? {
            Found::Sound(kept) => Some(kept),
            Found::Forged | Found::OfAnotherHistory(_) => {
                CheckpointRefused.observe();
                self.is_refused = true;
                None
            }
            Found::Nothing | Found::OfAnotherFormat => None,
        };
        let now = SystemClock.now();
        self.kept = kept.as_ref().map(|kept| kept.about);
        (self.is_whole, self.whole_at) = (true, now);
        let mut replay = Replay::default();
        match kept {
            Some(kept) if self.next == Beginning::Checkpoint && !kept.about.is_stale(now) => {
                (self.is_whole, self.whole_at) = (false, kept.about.whole_at);
                replay = kept.replay;
            }
            Some(kept) => {
                let size = kept.about.size;
                events::replay(tx, &mut replay, size)?;
                if replay != kept.replay {
                    return Err(StoreError::History(format!(
                        "the checkpoint of the history is not what its first {size} events say: somebody made it who has \
                         the fingerprint key"
                    )));
                }
            }
            None => {}
        }
        events::replay(tx, &mut replay, u64::MAX)?;
        self.replay = Arc::new(replay);
        Ok(())
    }

    /// Writes a checkpoint if enough was replayed since the last one, or if somebody `asked` for it. Takes it away if the history
    /// is not sound: then every program replays from the first event until it is. It is a transaction of its own, so that
    /// what was recorded does not depend on it; a crash leaves the old checkpoint or the new one.
    pub(super) fn save_checkpoint(
        &mut self,
        connection: &mut Connection,
        key: &FingerprintKey,
        asked: bool,
    ) -> Stored<()> {
        if self.is_refused || !asked && !self.is_due() && self.next != Beginning::Unsound {
            return Ok(());
        }
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if self.next == Beginning::Unsound {
            checkpoint::remove(&tx)?;
            return Ok(tx.commit()?);
        }
        // Another program may have written a newer one since, or put another history in the place of the one that was replayed.
        let replay = self.replayed(&tx, key)?;
        if !self.is_refused && (asked || self.is_due()) {
            let about = checkpoint::save(&tx, key, &replay, self.whole_at)?;
            tx.commit()?;
            self.kept = Some(about);
        }
        Ok(())
    }

    /// Whether much is new since the last checkpoint, or a replay from the first event that the next program need not repeat.
    fn is_due(&self) -> bool {
        let kept = self.kept.unwrap_or_default();
        let size = self.replay.size();
        kept.is_outgrown(size) || self.kept.is_some_and(|kept| kept.is_stale(self.whole_at))
    }

    /// Forgets everything, and uses no checkpoint until a replay from the first event found nothing wrong.
    pub(super) fn start_over(&mut self) {
        *self = Self { next: Beginning::FirstEvent, ..Self::default() };
    }
}

impl Transaction<'_> {
    /// SQLite's own transaction, for tests that change rows as an attacker would. Nothing in `src` may call it.
    #[doc(hidden)]
    pub fn unguarded(&self) -> &Connection {
        &self.sql
    }

    pub(super) fn commit(self) -> Stored<()> {
        Ok(self.sql.commit()?)
    }

    /// What the history says; only what is new since the last time, or since the newest checkpoint, is replayed.
    ///
    /// # Errors
    /// [`StoreError::History`]: an event was edited, removed, reordered or is not where it belongs; the text says which.
    pub fn history(&self) -> Stored<Arc<Replay>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).replayed(&self.sql, self.key)
    }

    /// The same, of every event from the first on, whatever a checkpoint says: for those who look at everything.
    ///
    /// # Errors
    /// As [`Self::history`]; or the checkpoint is not what the events say.
    pub fn whole_history(&self) -> Stored<Arc<Replay>> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if !cache.is_whole {
            *cache = StateCache::default();
        }
        cache.next = Beginning::FirstEvent;
        cache.replayed(&self.sql, self.key)
    }

    /// What `look` finds wrong in the outbox. When it found nothing, it looks again after another connection wrote, as the
    /// history is replayed again: what this program writes itself agrees with the history.
    pub(super) fn wrong_in_outbox<T>(&self, look: impl FnOnce() -> Stored<Vec<T>>) -> Stored<Vec<T>> {
        let lock = || self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if lock().is_outbox_sound {
            return Ok(Vec::new());
        }
        let wrong = look()?;
        lock().is_outbox_sound = wrong.is_empty();
        Ok(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Store, StoreError};
    use super::*;
    use crate::clock::{Clock, SystemClock};
    use crate::history::Event;

    fn append(store: &Store) {
        let now = SystemClock.now();
        store.write(|tx| events::append(tx, now, None, &Event::other("a.b")).map(drop)).unwrap();
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
            events::append(tx, SystemClock.now(), None, &Event::other("c.d")).map(drop)
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
            events::append(tx, SystemClock.now(), None, &Event::other("c.d"))?;
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
