//! Drifts over time.

use std::collections::BTreeMap;

use rusqlite::Row;

use super::instances::InstanceRow;
use super::{StoreError, Stored, Transaction, from_millis, read_json, to_millis, write_json};
use crate::diff::{Change, ChangeKind};
use crate::incident::{Drift, Status};
use crate::model::{Digest, DriftId, InstanceId};

const COLUMNS: &str = "fingerprint, id, path, kind, before, after, is_member, status, first_seen, last_good, closed_at, \
                       closed_by, reopened";

/// Every remembered drift of the instance by fingerprint.
///
/// # Errors
/// The database cannot be read, or a row is damaged.
pub fn load(tx: &Transaction<'_>, instance: InstanceRow) -> Stored<BTreeMap<Digest, Drift>> {
    let mut query = tx.sql.prepare_cached(&format!("SELECT {COLUMNS} FROM drifts WHERE instance_id = ?1"))?;
    let mut rows = query.query([instance.0])?;
    let mut known = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let (fingerprint, drift) = drift(row)?;
        known.insert(fingerprint, drift);
    }
    Ok(known)
}

/// How many drifts of the instance are open.
///
/// # Errors
/// The database cannot be read.
pub fn count_open(tx: &Transaction<'_>, instance: InstanceRow) -> Stored<usize> {
    let count: i64 = tx
        .sql
        .prepare_cached("SELECT count(*) FROM drifts WHERE instance_id = ?1 AND status = 'open'")?
        .query_row([instance.0], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or_default())
}

/// The drifts of the instance that are open.
///
/// # Errors
/// The database cannot be read, or a row is damaged.
pub fn open(tx: &Transaction<'_>, instance: InstanceRow) -> Stored<Vec<Drift>> {
    let mut query =
        tx.sql.prepare_cached(&format!("SELECT {COLUMNS} FROM drifts WHERE instance_id = ?1 AND status = 'open'"))?;
    let mut rows = query.query([instance.0])?;
    let mut open = Vec::new();
    while let Some(row) = rows.next()? {
        open.push(drift(row)?.1);
    }
    Ok(open)
}

/// The drifts whose id begins with `id`, with their instances; all remembered ones, open or not.
///
/// # Errors
/// The database cannot be read, or a row is damaged.
pub fn find(tx: &Transaction<'_>, id: &str) -> Stored<Vec<(InstanceId, Drift)>> {
    let mut query = tx.sql.prepare_cached(&format!(
        "SELECT {COLUMNS}, (SELECT name FROM instances WHERE instances.id = instance_id) FROM drifts
         WHERE substr(id, 1, length(?1)) = ?1 ORDER BY id LIMIT 10"
    ))?;
    let mut rows = query.query([id])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get(13)?;
        let instance = name.parse().map_err(|_| StoreError::Damaged(format!("'{name}' is no instance")))?;
        found.push((instance, drift(row)?.1));
    }
    Ok(found)
}

/// The id of every drift there ever was.
///
/// # Errors
/// The database cannot be read.
pub fn ids(tx: &Transaction<'_>) -> Stored<Vec<DriftId>> {
    let mut query = tx.sql.prepare_cached("SELECT id FROM drifts ORDER BY id")?;
    let ids = query.query_map([], |row| Ok(DriftId::from_text(row.get::<_, String>(0)?)))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// Inserts or updates a drift.
pub(super) fn save(tx: &Transaction<'_>, instance: InstanceRow, fingerprint: &Digest, drift: &Drift) -> Stored<()> {
    tx.sql.prepare_cached(
        "INSERT INTO drifts (id, instance_id, fingerprint, path, kind, before, after, is_member, status, first_seen,
                             last_good, closed_at, closed_by, reopened)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
         ON CONFLICT (instance_id, fingerprint) DO UPDATE SET
             kind = excluded.kind, before = excluded.before, after = excluded.after, status = excluded.status,
             first_seen = excluded.first_seen, last_good = excluded.last_good, closed_at = excluded.closed_at,
             closed_by = excluded.closed_by, reopened = excluded.reopened",
    )?
    .execute(rusqlite::params![
        drift.id.as_str(),
        instance.0,
        fingerprint.as_str(),
        drift.change.path.to_string(),
        drift.change.kind.as_str(),
        write_json(&drift.change.before)?,
        write_json(&drift.change.after)?,
        drift.change.is_member,
        drift.status.as_str(),
        to_millis(drift.first_seen),
        drift.last_good.map(to_millis),
        drift.closed_at.map(to_millis),
        write_json(&drift.closed_by)?,
        drift.reopened,
    ])?;
    Ok(())
}

fn drift(row: &Row<'_>) -> Stored<(Digest, Drift)> {
    let id: String = row.get(1)?;
    let damaged = |what: &str| StoreError::Damaged(format!("drift {id} has a damaged {what}"));
    let text = |column: usize| row.get::<_, String>(column);
    let fingerprint = text(0)?.parse().map_err(|_| damaged("fingerprint"))?;
    let kinds = [ChangeKind::Changed, ChangeKind::Added, ChangeKind::Removed, ChangeKind::Reordered];
    let statuses = [Status::Open, Status::Reverted, Status::Approved];
    let (kind, status) = (text(3)?, text(7)?);
    let change = Change {
        path: text(2)?.parse().map_err(|_| damaged("path"))?,
        kind: kinds.into_iter().find(|known| known.as_str() == kind).ok_or_else(|| damaged("kind"))?,
        before: read_json(&text(4)?)?,
        after: read_json(&text(5)?)?,
        is_member: row.get(6)?,
    };
    let known = Drift {
        id: DriftId::from_text(id.clone()),
        change,
        status: statuses.into_iter().find(|known| known.as_str() == status).ok_or_else(|| damaged("status"))?,
        first_seen: from_millis(row.get(8)?),
        last_good: row.get::<_, Option<i64>>(9)?.map(from_millis),
        closed_at: row.get::<_, Option<i64>>(10)?.map(from_millis),
        closed_by: read_json(&text(11)?)?,
        reopened: row.get(12)?,
    };
    Ok((fingerprint, known))
}
