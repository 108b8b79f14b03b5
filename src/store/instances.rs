//! What is remembered about an instance beside its readings.

use chrono::{DateTime, Utc};
use rusqlite::OptionalExtension;

use super::{Stored, Transaction, from_millis, to_millis};
use crate::model::InstanceId;

/// The row number of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstanceRow(pub(super) i64);

/// The row of `instance`, made if there is none.
///
/// # Errors
/// The database cannot be written.
pub fn row(tx: &Transaction<'_>, instance: &InstanceId) -> Stored<InstanceRow> {
    if let Some(row) = find(tx, instance)? {
        return Ok(row);
    }
    tx.sql.execute("INSERT INTO instances (name) VALUES (?1)", [instance.to_string()])?;
    Ok(InstanceRow(tx.sql.last_insert_rowid()))
}

/// The row of `instance`, if it was ever read.
///
/// # Errors
/// The database cannot be read.
pub fn find(tx: &Transaction<'_>, instance: &InstanceId) -> Stored<Option<InstanceRow>> {
    let id = tx
        .sql
        .prepare_cached("SELECT id FROM instances WHERE name = ?1")?
        .query_row([instance.to_string()], |row| row.get(0))
        .optional()?;
    Ok(id.map(InstanceRow))
}

/// When the next cycle of `instance` is due.
///
/// # Errors
/// The database cannot be read.
pub fn next_due(tx: &Transaction<'_>, instance: InstanceRow) -> Stored<Option<DateTime<Utc>>> {
    let due: Option<i64> = tx
        .sql
        .prepare_cached("SELECT next_due_at FROM instances WHERE id = ?1")?
        .query_row([instance.0], |row| row.get(0))?;
    Ok(due.map(from_millis))
}

/// Remembers when the next cycle is due.
///
/// # Errors
/// The database cannot be written.
pub(super) fn set_next_due(tx: &Transaction<'_>, instance: InstanceRow, at: DateTime<Utc>) -> Stored<()> {
    tx.sql.execute("UPDATE instances SET next_due_at = ?2 WHERE id = ?1", (instance.0, to_millis(at)))?;
    Ok(())
}
