//! Notices about the room that is left for the database.

use chrono::{DateTime, Utc};

use super::tell;
use crate::config::Config;
use crate::message::{Notice, NoticeKind};
use crate::store::space::{self, Space};
use crate::store::{StoreError, Transaction};

/// Notes how much room is left, tells everybody once when it is little and when it is enough again, and answers whether
/// a snapshot may be kept.
///
/// A full disk is not reported here, because the outbox may find no room either.
///
/// # Errors
/// The database cannot be written.
pub fn has_room(
    tx: &Transaction<'_>,
    config: &Config,
    at: DateTime<Utc>,
    free: Option<u64>,
) -> Result<bool, StoreError> {
    let Some(free) = free else { return Ok(true) };
    if let Some(kind @ (NoticeKind::StorageLow | NoticeKind::StorageRecovered)) = space::note(tx, at, free)? {
        let path = config.store.display().to_string();
        tell(tx, config, None, &[Notice::of_storage(kind, &path, Some(free), "")], None, at)?;
    }
    Ok(Space::of(free) != Space::Full)
}
