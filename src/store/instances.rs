//! What is remembered about an instance beside its readings.

use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension, Transaction};

use super::{Stored, from_millis, to_millis};
use crate::model::InstanceId;

/// The row number of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstanceRow(pub(super) i64);

/// What is remembered about an instance.
#[derive(Debug, Clone, Default)]
pub struct InstanceState {
    /// When the next cycle is due.
    pub next_due: Option<DateTime<Utc>>,
    /// Code of the reason while the baseline cannot be trusted.
    pub untrusted: Option<String>,
}

/// The row of `instance`, made if there is none.
///
/// # Errors
/// The database cannot be written.
pub fn row(tx: &Transaction<'_>, instance: &InstanceId) -> Stored<InstanceRow> {
    if let Some(row) = find(tx, instance)? {
        return Ok(row);
    }
    tx.execute("INSERT INTO instances (name) VALUES (?1)", [instance.to_string()])?;
    Ok(InstanceRow(tx.last_insert_rowid()))
}

/// The row of `instance`, if it was ever read.
///
/// # Errors
/// The database cannot be read.
pub fn find(tx: &Transaction<'_>, instance: &InstanceId) -> Stored<Option<InstanceRow>> {
    let id = tx
        .prepare_cached("SELECT id FROM instances WHERE name = ?1")?
        .query_row([instance.to_string()], |row| row.get(0))
        .optional()?;
    Ok(id.map(InstanceRow))
}

/// What is remembered about `instance`.
///
/// # Errors
/// The database cannot be read.
pub fn state(tx: &Transaction<'_>, instance: InstanceRow) -> Stored<InstanceState> {
    let state = tx
        .prepare_cached("SELECT next_due_at, untrusted FROM instances WHERE id = ?1")?
        .query_row([instance.0], |row| {
            Ok(InstanceState { next_due: row.get::<_, Option<i64>>(0)?.map(from_millis), untrusted: row.get(1)? })
        })?;
    Ok(state)
}

/// Remembers when the next cycle is due.
///
/// # Errors
/// The database cannot be written.
pub fn set_next_due(tx: &Transaction<'_>, instance: InstanceRow, at: DateTime<Utc>) -> Stored<()> {
    tx.execute("UPDATE instances SET next_due_at = ?2 WHERE id = ?1", (instance.0, to_millis(at)))?;
    Ok(())
}

/// Remembers why the baseline cannot be trusted, or that it can.
///
/// # Errors
/// The database cannot be written.
pub fn set_untrusted(tx: &Transaction<'_>, instance: InstanceRow, code: Option<&str>) -> Stored<()> {
    tx.execute("UPDATE instances SET untrusted = ?2 WHERE id = ?1", (instance.0, code))?;
    Ok(())
}
