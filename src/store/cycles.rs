//! Snapshots and the cycles that took them.
//!
//! A year of cycles is a hundred thousand rows for each instance. The newest is asked for by row number, which is how the
//! index on instances orders them.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension, Row};
use serde_json::Value;

use super::instances::InstanceRow;
use super::{StoreError, Stored, Transaction, documents, from_millis, read_json, to_millis, write_json};
use crate::model::{Digest, InstanceId, Resource};
use crate::snapshot::{Manifest, Reading, SectionMark, Snapshot};

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
    /// How it was read, as JSON; kept only with a snapshot that is new.
    pub collection: String,
}

/// Inserts a cycle with its snapshot. Equal snapshots are stored once, equal documents too. The documents of one that was
/// pruned are stored again if it `is_restored`, because everything is again as it was then.
///
/// # Errors
/// The database cannot be written.
pub fn insert(
    tx: &Transaction<'_>,
    instance: InstanceRow,
    snapshot: Option<&Snapshot>,
    cycle: &Cycle,
    is_restored: bool,
) -> Stored<()> {
    let snapshot_id = snapshot.map(|snapshot| keep_snapshot(tx, instance, snapshot, cycle, is_restored)).transpose()?;
    tx.sql.prepare_cached(
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

/// The snapshot of that digest, if it is stored.
pub(super) fn find_snapshot(tx: &Transaction<'_>, instance: InstanceRow, digest: &Digest) -> Stored<Option<i64>> {
    Ok(tx
        .sql
        .prepare_cached("SELECT id FROM snapshots WHERE instance_id = ?1 AND digest = ?2")?
        .query_row((instance.0, digest.as_str()), |row| row.get(0))
        .optional()?)
}

fn keep_snapshot(
    tx: &Transaction<'_>,
    instance: InstanceRow,
    snapshot: &Snapshot,
    cycle: &Cycle,
    is_restored: bool,
) -> Stored<i64> {
    let digest = snapshot.digest();
    if let Some(known) = find_snapshot(tx, instance, &digest)? {
        if is_restored {
            // What it held went with its documents.
            tx.sql.execute(
                "UPDATE snapshots SET sections = ?2 WHERE id = ?1 AND sections = ''",
                (known, write_json(&snapshot.manifest())?),
            )?;
            keep_collection(tx, known, cycle)?;
            keep_documents(tx, snapshot)?;
        }
        return Ok(known);
    }
    keep_documents(tx, snapshot)?;
    tx.sql.execute(
        "INSERT INTO snapshots (instance_id, digest, resource, sections) VALUES (?1, ?2, ?3, ?4)",
        (instance.0, digest.as_str(), &snapshot.resource, write_json(&snapshot.manifest())?),
    )?;
    let id = tx.sql.last_insert_rowid();
    keep_collection(tx, id, cycle)?;
    Ok(id)
}

fn keep_documents(tx: &Transaction<'_>, snapshot: &Snapshot) -> Stored<()> {
    let documents = snapshot.sections.iter().filter_map(|(name, reading)| Some((name, reading.document()?)));
    documents
        .into_iter()
        .try_for_each(|(name, document)| documents::insert(tx, document).map_err(|error| error.of_section(name)))
}

fn keep_collection(tx: &Transaction<'_>, snapshot: i64, cycle: &Cycle) -> Stored<()> {
    tx.sql.execute(
        "INSERT OR REPLACE INTO collections (snapshot_id, at, body) VALUES (?1, ?2, ?3)",
        (snapshot, to_millis(cycle.at), documents::pack(cycle.collection.as_bytes())?),
    )?;
    Ok(())
}

/// When and how the snapshot of that digest was first read: one entry per request, as JSON.
///
/// # Errors
/// The database cannot be read, or the record is damaged.
pub fn collection(tx: &Transaction<'_>, snapshot: &Digest) -> Stored<Option<(DateTime<Utc>, Value)>> {
    let found: Option<(i64, Vec<u8>)> = tx
        .sql
        .prepare_cached(
            "SELECT c.at, c.body FROM collections c JOIN snapshots s ON s.id = c.snapshot_id WHERE s.digest = ?1",
        )?
        .query_row([snapshot.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((at, frame)) = found else { return Ok(None) };
    let body = documents::unpack(&frame).and_then(|body| serde_json::from_slice(&body).ok());
    let damaged = || StoreError::Damaged(format!("the record of how {snapshot} was read cannot be unpacked"));
    Ok(Some((from_millis(at), body.ok_or_else(damaged)?)))
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
        .sql
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

/// State and digest of every section of the newest snapshot.
///
/// # Errors
/// The database cannot be read.
pub fn latest_manifest(tx: &Transaction<'_>, instance: InstanceRow) -> Stored<Option<Manifest>> {
    let sections: Option<String> = tx
        .sql
        .prepare_cached(
            "SELECT s.sections FROM cycles c JOIN snapshots s ON s.id = c.snapshot_id
             WHERE c.instance_id = ?1 ORDER BY c.id DESC LIMIT 1",
        )?
        .query_row([instance.0], |row| row.get(0))
        .optional()?;
    sections.map(|sections| read_json(&sections)).transpose()
}

/// The last cycle of the instance.
///
/// # Errors
/// The database cannot be read.
pub fn latest(tx: &Transaction<'_>, instance: InstanceRow) -> Stored<Option<Cycle>> {
    let cycle = tx
        .sql
        .prepare_cached(
            "SELECT at, duration, requests, verdict FROM cycles WHERE instance_id = ?1 ORDER BY id DESC LIMIT 1",
        )?
        .query_row([instance.0], cycle)
        .optional()?;
    Ok(cycle)
}

/// The number of the last cycle of the instance.
pub(super) fn newest_id(tx: &Transaction<'_>, instance: InstanceRow) -> Stored<Option<i64>> {
    Ok(tx
        .sql
        .prepare_cached("SELECT id FROM cycles WHERE instance_id = ?1 ORDER BY id DESC LIMIT 1")?
        .query_row([instance.0], |row| row.get(0))
        .optional()?)
}

/// When the instance was last read with any success: the newest row, because a clock that was ahead leaves times that are
/// still to come.
///
/// # Errors
/// The database cannot be read.
pub fn last_reading(tx: &Transaction<'_>, instance: InstanceRow) -> Stored<Option<DateTime<Utc>>> {
    let at: Option<i64> = tx
        .sql
        .prepare_cached(
            "SELECT at FROM cycles WHERE instance_id = ?1 AND snapshot_id IS NOT NULL ORDER BY id DESC LIMIT 1",
        )?
        .query_row([instance.0], |row| row.get(0))
        .optional()?;
    Ok(at.map(from_millis))
}

/// When `section` was last read, so that something is known about it.
///
/// # Errors
/// The database cannot be read.
pub fn last_reading_of(tx: &Transaction<'_>, instance: InstanceRow, section: &str) -> Stored<Option<DateTime<Utc>>> {
    Ok(newest_mark(tx, instance, section, |mark| mark.state.is_comparable())?.map(|(_, at)| at))
}

/// The digest of the newest value of `section` that was read and believed.
///
/// # Errors
/// The database cannot be read.
pub fn last_value_of(tx: &Transaction<'_>, instance: InstanceRow, section: &str) -> Stored<Option<Digest>> {
    Ok(newest_mark(tx, instance, section, |mark| mark.digest.is_some())?.and_then(|(mark, _)| mark.digest))
}

/// The newest mark of `section` that is as `wanted`, and when it was last seen.
fn newest_mark(
    tx: &Transaction<'_>,
    instance: InstanceRow,
    section: &str,
    wanted: impl Fn(&SectionMark) -> bool,
) -> Stored<Option<(SectionMark, DateTime<Utc>)>> {
    let mut query = tx.sql.prepare_cached(
        "SELECT snapshot_id, at FROM cycles WHERE instance_id = ?1 AND snapshot_id IS NOT NULL ORDER BY id DESC",
    )?;
    let mut sections = tx.sql.prepare_cached("SELECT sections FROM snapshots WHERE id = ?1")?;
    let mut rows = query.query([instance.0])?;
    let mut seen = HashSet::new();
    while let Some(row) = rows.next()? {
        let snapshot: i64 = row.get(0)?;
        // Nearly every cycle finds what the one before found: a year of them has few snapshots.
        if !seen.insert(snapshot) {
            continue;
        }
        // One that cannot be read says nothing, and the one before it does.
        let manifest = sections.query_row([snapshot], |row| row.get::<_, String>(0));
        let Ok(mut manifest) = read_json::<Manifest>(&manifest.unwrap_or_default()) else { continue };
        if let Some(mark) = manifest.remove(section).filter(&wanted) {
            return Ok(Some((mark, from_millis(row.get(1)?))));
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
        collection: String::new(),
    })
}
