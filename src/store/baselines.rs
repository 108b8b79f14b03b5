//! Signed statements, byte for byte.

use chrono::{DateTime, Utc};

use super::instances::InstanceRow;
use super::{Stored, Transaction, to_millis};
use crate::trust::SignedStatement;

/// Every statement of the instance, oldest sequence first, as it was imported. Nothing about them is believed here.
///
/// # Errors
/// The database cannot be read.
pub fn statements(tx: &Transaction<'_>, instance: InstanceRow) -> Stored<Vec<SignedStatement>> {
    let mut query = tx.sql.prepare_cached(
        "SELECT statement, signature FROM statements WHERE instance_id = ?1 ORDER BY sequence, rowid",
    )?;
    let rows =
        query.query_map([instance.0], |row| Ok(SignedStatement { statement: row.get(0)?, signature: row.get(1)? }))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// How many statements of the instance there are.
pub(super) fn count(tx: &Transaction<'_>, instance: InstanceRow) -> Stored<u64> {
    let count: i64 = tx
        .sql
        .prepare_cached("SELECT count(*) FROM statements WHERE instance_id = ?1")?
        .query_row([instance.0], |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or_default())
}

/// Keeps a statement that was verified.
///
/// # Errors
/// The database cannot be written.
pub fn insert(
    tx: &Transaction<'_>,
    instance: InstanceRow,
    sequence: u64,
    signed: &SignedStatement,
    now: DateTime<Utc>,
) -> Stored<()> {
    tx.sql.execute(
        "INSERT OR IGNORE INTO statements (instance_id, sequence, statement, signature, imported_at)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        (instance.0, i64::try_from(sequence).unwrap_or(i64::MAX), &signed.statement, &signed.signature, to_millis(now)),
    )?;
    Ok(())
}
