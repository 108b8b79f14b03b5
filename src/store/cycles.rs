//! Snapshots and the cycles that took them.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension, Row, Transaction};

use super::instances::InstanceRow;
use super::{StoreError, Stored, documents, from_millis, read_json, to_millis, write_json};
use crate::model::{InstanceId, Resource};
use crate::snapshot::{Manifest, Reading, Snapshot};

/// One cycle, as it is remembered.
#[derive(Debug, Clone)]
pub struct Cycle {
    /// When it ended.
    pub at: DateTime<Utc>,
    /// How long it took.
    pub duration: Duration,
    /// Requests it sent.
    pub requests: u64,
    /// What came of it.
    pub verdict: String,
}

/// Keeps the snapshot of a cycle and the cycle. Equal snapshots are kept once, equal documents too.
///
/// # Errors
/// The database cannot be written.
pub fn keep(tx: &Transaction<'_>, instance: InstanceRow, snapshot: Option<&Snapshot>, cycle: &Cycle) -> Stored<()> {
    let snapshot_id = snapshot.map(|snapshot| keep_snapshot(tx, instance, snapshot)).transpose()?;
    tx.prepare_cached(
        "INSERT INTO cycles (instance_id, at, duration, requests, verdict, snapshot_id) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute((
        instance.0,
        to_millis(cycle.at),
        i64::try_from(cycle.duration.as_millis()).unwrap_or(i64::MAX),
        i64::try_from(cycle.requests).unwrap_or(i64::MAX),
        &cycle.verdict,
        snapshot_id,
    ))?;
    Ok(())
}

fn keep_snapshot(tx: &Transaction<'_>, instance: InstanceRow, snapshot: &Snapshot) -> Stored<i64> {
    let digest = snapshot.digest();
    let known: Option<i64> = tx
        .prepare_cached("SELECT id FROM snapshots WHERE instance_id = ?1 AND digest = ?2")?
        .query_row((instance.0, digest.as_str()), |row| row.get(0))
        .optional()?;
    if let Some(known) = known {
        return Ok(known);
    }
    for document in snapshot.sections.values().filter_map(Reading::document) {
        documents::keep(tx, document)?;
    }
    tx.execute(
        "INSERT INTO snapshots (instance_id, digest, resource, sections) VALUES (?1, ?2, ?3, ?4)",
        (instance.0, digest.as_str(), &snapshot.resource, write_json(&snapshot.manifest())?),
    )?;
    Ok(tx.last_insert_rowid())
}

/// The newest snapshot of the instance and when it was last seen.
///
/// # Errors
/// The database cannot be read, or a document is damaged.
pub fn latest_snapshot(
    tx: &Transaction<'_>,
    instance: InstanceRow,
    id: &InstanceId,
) -> Stored<Option<(Snapshot, DateTime<Utc>)>> {
    let found: Option<(String, String, String, i64)> = tx
        .prepare_cached(
            "SELECT s.digest, s.resource, s.sections, c.at FROM cycles c JOIN snapshots s ON s.id = c.snapshot_id
             WHERE c.instance_id = ?1 ORDER BY c.id DESC LIMIT 1",
        )?
        .query_row([instance.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .optional()?;
    let Some((digest, resource, sections, at)) = found else { return Ok(None) };
    let manifest: Manifest = read_json(&sections)?;
    let mut readings = BTreeMap::new();
    for (section, mark) in manifest {
        let reading = match &mark.digest {
            Some(digest) => Reading::Value(documents::load(tx, digest)?),
            None => Reading::without(mark.state, ""),
        };
        readings.insert(section, reading);
    }
    let identifiers = Resource::new([resource.clone()]);
    let snapshot = Snapshot { instance: id.clone(), resource, identifiers, sections: readings };
    // A baseline is made from it, so it has to be what was read.
    if snapshot.digest().as_str() != digest {
        return Err(StoreError::Damaged(format!("the newest snapshot of {id} is not what its digest says")));
    }
    Ok(Some((snapshot, from_millis(at))))
}

/// The last cycle of the instance.
///
/// # Errors
/// The database cannot be read.
pub fn latest(tx: &Transaction<'_>, instance: InstanceRow) -> Stored<Option<Cycle>> {
    let cycle = tx
        .prepare_cached(
            "SELECT at, duration, requests, verdict FROM cycles WHERE instance_id = ?1 ORDER BY id DESC LIMIT 1",
        )?
        .query_row([instance.0], cycle)
        .optional()?;
    Ok(cycle)
}

/// When the instance was last read with any success.
///
/// # Errors
/// The database cannot be read.
pub fn last_reading(tx: &Transaction<'_>, instance: InstanceRow) -> Stored<Option<DateTime<Utc>>> {
    let at: Option<i64> = tx
        .prepare_cached("SELECT max(at) FROM cycles WHERE instance_id = ?1 AND snapshot_id IS NOT NULL")?
        .query_row([instance.0], |row| row.get(0))?;
    Ok(at.map(from_millis))
}

/// When `section` was last read, so that something is known about it.
///
/// # Errors
/// The database cannot be read.
pub fn last_reading_of(tx: &Transaction<'_>, instance: InstanceRow, section: &str) -> Stored<Option<DateTime<Utc>>> {
    let mut query = tx.prepare_cached(
        "SELECT s.sections, c.at FROM cycles c JOIN snapshots s ON s.id = c.snapshot_id
         WHERE c.instance_id = ?1 ORDER BY c.at DESC, c.id DESC",
    )?;
    let mut rows = query.query([instance.0])?;
    while let Some(row) = rows.next()? {
        let manifest: Manifest = read_json(&row.get::<_, String>(0)?)?;
        if manifest.get(section).is_some_and(|mark| mark.state.is_comparable()) {
            return Ok(Some(from_millis(row.get(1)?)));
        }
    }
    Ok(None)
}

fn cycle(row: &Row<'_>) -> rusqlite::Result<Cycle> {
    Ok(Cycle {
        at: from_millis(row.get(0)?),
        duration: Duration::from_millis(u64::try_from(row.get::<_, i64>(1)?).unwrap_or_default()),
        requests: u64::try_from(row.get::<_, i64>(2)?).unwrap_or_default(),
        verdict: row.get(3)?,
    })
}
