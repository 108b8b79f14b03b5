//! How much room the file system has on which the database lies.
//!
//! Below [`LOW`] people are told once; below [`FULL`] snapshots are not kept any more, so that what is small can still
//! be: drifts, the history, messages. Both end when there is room again.

use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension, Transaction};
use serde_json::json;

use super::{Store, StoreError, Stored, events};
use crate::message::StorageChange;

/// Bytes below which there is little room.
pub const LOW: u64 = 256 << 20;
/// Bytes below which snapshots are not kept.
pub const FULL: u64 = 64 << 20;
/// Bytes from which on there is enough room again: more than [`LOW`], or every file that comes and goes were news.
pub const ENOUGH: u64 = 288 << 20;

/// In `meta`: what was told last, while there is too little room.
pub(super) const META: &str = "storage";

/// What the room that is left allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// Everything.
    Ample,
    /// Everything, for now.
    Low,
    /// Only what is small.
    Full,
}

impl Space {
    /// What `free` bytes allow.
    pub fn of(free: u64) -> Self {
        match free {
            ..FULL => Self::Full,
            FULL..LOW => Self::Low,
            LOW.. => Self::Ample,
        }
    }
}

impl Store {
    /// Bytes that are free where the database lies; nothing for one in memory.
    ///
    /// # Errors
    /// The file system does not say.
    pub fn free_space(&self) -> Stored<Option<u64>> {
        if !self.path.exists() {
            return Ok(None);
        }
        let found = rustix::fs::statvfs(&*self.path);
        let found = found.map_err(|error| StoreError::File {
            action: "ask for the free space at",
            path: self.path.to_path_buf(),
            source: error.into(),
        })?;
        Ok(Some(found.f_bavail.saturating_mul(found.f_frsize)))
    }
}

/// Keeps in the history that the room became too little or enough; answers what is news.
///
/// # Errors
/// The database cannot be written.
pub fn note(tx: &Transaction<'_>, at: DateTime<Utc>, free: u64) -> Stored<Option<StorageChange>> {
    let known: Option<String> =
        tx.prepare_cached("SELECT value FROM meta WHERE name = ?1")?.query_row([META], |row| row.get(0)).optional()?;
    let news = match (known.as_deref(), Space::of(free)) {
        (Some("full"), Space::Full) | (Some("low"), Space::Low) | (None, Space::Ample) => return Ok(None),
        (_, Space::Full) => StorageChange::Full,
        (_, Space::Low) => StorageChange::Low,
        (_, Space::Ample) if free >= ENOUGH => StorageChange::Recovered,
        (Some("low"), Space::Ample) => return Ok(None),
        (_, Space::Ample) => StorageChange::Low,
    };
    let word = match news {
        StorageChange::Full => Some("full"),
        StorageChange::Low => Some("low"),
        StorageChange::Failed | StorageChange::Recovered => None,
    };
    match word {
        Some(word) => tx.execute("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)", [META, word])?,
        None => tx.execute("DELETE FROM meta WHERE name = ?1", [META])?,
    };
    events::append(tx, at, news.event_type(), None, json!({ "free": free }))?;
    Ok(Some(news))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_is_news_once_and_the_edge_is_wide() {
        let store = Store::temporary().unwrap();
        let mib = |mib: u64| mib << 20;
        let note = |free| store.write(|tx| note(tx, DateTime::default(), mib(free))).unwrap();
        let steps = [
            (300, None),
            (255, Some(StorageChange::Low)),
            (100, None),
            (270, None),
            (63, Some(StorageChange::Full)),
            (10, None),
            (70, Some(StorageChange::Low)),
            (287, None),
            (288, Some(StorageChange::Recovered)),
            (288, None),
            (1, Some(StorageChange::Full)),
            (260, Some(StorageChange::Low)),
            (900, Some(StorageChange::Recovered)),
        ];
        for (free, expected) in steps {
            assert_eq!(note(free), expected, "{free} MiB");
        }
    }
}
