//! The newest checkpoint of the history: what the replay over it found up to one event, so that a program need not begin at
//! the first.
//!
//! It is authenticated with a key that is made of the fingerprint key, so that only a program that works on this database
//! can make one. Whatever is wrong with it, the replay begins at the first event.

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{ErrorCode, OptionalExtension, Transaction};

use super::events;
use super::{StoreError, Stored, documents};
use crate::canonical::FingerprintKey;
use crate::history::Replay;
use crate::model::HistoryMark;

/// The shape of a replay, and how events make it. The number changes whenever either does: a checkpoint of another format is
/// not used.
const FORMAT: &str = concat!(env!("CARGO_PKG_VERSION"), " 5");

/// What the code is for.
const PURPOSE: &str = "history checkpoint";

/// Events after the newest checkpoint that are replayed each time: less than a hundredth of a second.
pub(super) const EVENTS: u64 = 500;

/// Bytes of a checkpoint for each event since the last one, at most: less than an event takes itself. So a large one is
/// written rarely.
const BYTES_FOR_EVENT: u64 = 1_024;

/// How long checkpoints are made of each other before the history is replayed from the first event again.
const WHOLE_AGAIN: TimeDelta = TimeDelta::days(1);

/// A checkpoint that only a program with the fingerprint key can have made.
pub(super) struct Checkpoint {
    pub(super) replay: Replay,
    pub(super) about: CheckpointMark,
}

/// What is known of a checkpoint beside what it holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct CheckpointMark {
    /// Events that it covers.
    pub(super) size: u64,
    /// Bytes of its row.
    bytes: u64,
    /// When the replay began at the first event that it comes from, or the one before it.
    pub(super) whole_at: DateTime<Utc>,
}

impl CheckpointMark {
    /// Whether the history has to be replayed from the first event again. A time that is still to come was set by a clock that
    /// was wrong.
    pub(super) fn is_stale(&self, now: DateTime<Utc>) -> bool {
        self.whole_at > now || self.whole_at + WHOLE_AGAIN <= now
    }

    /// Whether a replay of `size` events is worth the room of another checkpoint.
    pub(super) fn is_outgrown(&self, size: u64) -> bool {
        size.saturating_sub(self.size) >= EVENTS.max(self.bytes / BYTES_FOR_EVENT)
    }
}

/// What is in the table.
pub(super) enum Found {
    Nothing,
    /// The code is not one of this key: it was edited, or comes from another database.
    Forged,
    /// Another version of the program made it.
    OfAnotherFormat,
    /// The event at its end is another one, or is not there.
    OfAnotherHistory(u64),
    Sound(Box<Checkpoint>),
}

/// Reads the checkpoint, and holds it against the key and against the event at its end.
///
/// # Security
/// Nothing of it is read before its code was found right.
pub(super) fn find(tx: &Transaction<'_>, key: &FingerprintKey) -> Stored<Found> {
    type Row = (String, i64, String, Vec<u8>, Vec<u8>);
    let mut query = match tx.prepare_cached("SELECT format, size, head, state, mac FROM history_checkpoint") {
        // The table is gone: that is told by those who look at the schema.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::Unknown) => return Ok(Found::Nothing),
        query => query?,
    };
    let row: Result<Option<Row>, _> =
        query.query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))).optional();
    let (format, size, head, state, mac) = match row {
        Ok(Some(row)) => row,
        Ok(None) => return Ok(Found::Nothing),
        Err(error) => {
            return match StoreError::from(error) {
                StoreError::Damaged(_) => Ok(Found::Forged),
                error => Err(error),
            };
        }
    };
    if !key.is_authentic(PURPOSE, &parts(&format, &size.to_be_bytes(), &head, &state), &mac) {
        return Ok(Found::Forged);
    }
    if format != FORMAT {
        return Ok(Found::OfAnotherFormat);
    }
    let size = u64::try_from(size).unwrap_or_default();
    if events::head_of(tx, size)?.is_none_or(|found| found.as_str() != head) {
        return Ok(Found::OfAnotherHistory(size));
    }
    let bytes = u64::try_from(state.len()).unwrap_or(u64::MAX);
    let state =
        documents::unpack(&state).and_then(|state| serde_json::from_slice::<(DateTime<Utc>, Replay)>(&state).ok());
    let stands =
        |replay: &Replay| replay.mark.as_ref().is_some_and(|mark| mark.size == size && mark.head.as_str() == head);
    Ok(match state.filter(|(_, replay)| stands(replay)) {
        Some((whole_at, replay)) => {
            Found::Sound(Box::new(Checkpoint { replay, about: CheckpointMark { size, bytes, whole_at } }))
        }
        // Whatever could be written and cannot be read: the replay from the first event finds the same.
        None => Found::OfAnotherFormat,
    })
}

/// Puts `replay` in the place of the checkpoint.
pub(super) fn save(
    tx: &Transaction<'_>,
    key: &FingerprintKey,
    replay: &Replay,
    whole_at: DateTime<Utc>,
) -> Stored<CheckpointMark> {
    let Some(HistoryMark { size, head }) = &replay.mark else { return Ok(CheckpointMark::default()) };
    let json = serde_json::to_vec(&(whole_at, replay)).map_err(|error| StoreError::Damaged(error.to_string()))?;
    let state = documents::pack(&json)?;
    let about = CheckpointMark { size: *size, bytes: u64::try_from(state.len()).unwrap_or(u64::MAX), whole_at };
    let size = i64::try_from(*size).unwrap_or(i64::MAX);
    let mac = key.authenticate(PURPOSE, &parts(FORMAT, &size.to_be_bytes(), head.as_str(), &state));
    tx.prepare_cached(
        "INSERT OR REPLACE INTO history_checkpoint (id, format, size, head, state, mac) VALUES (1, ?1, ?2, ?3, ?4, ?5)",
    )?
    .execute((FORMAT, size, head.as_str(), state, mac))?;
    Ok(about)
}

/// Takes a checkpoint away that cannot be used, because somebody signed for what is there now.
pub(super) fn remove_unusable(tx: &Transaction<'_>, key: &FingerprintKey) -> Stored<()> {
    match find(tx, key)? {
        Found::Forged | Found::OfAnotherHistory(_) => remove(tx),
        Found::Nothing | Found::OfAnotherFormat | Found::Sound(_) => Ok(()),
    }
}

/// Takes the checkpoint away: the next replay begins at the first event.
pub(super) fn remove(tx: &Transaction<'_>) -> Stored<()> {
    tx.execute("DELETE FROM history_checkpoint", [])?;
    Ok(())
}

fn parts<'a>(format: &'a str, size: &'a [u8], head: &'a str, state: &'a [u8]) -> [&'a [u8]; 4] {
    [format.as_bytes(), size, head.as_bytes(), state]
}

#[cfg(test)]
mod tests;
