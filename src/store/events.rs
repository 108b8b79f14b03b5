//! The history: append-only, each event bound to the one before.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension};
use serde::de::DeserializeOwned;

use super::{StoreError, Stored, Transaction};
use crate::history::{Event, Record, Replay};
use crate::model::{Digest, HistoryMark, InstanceId};

/// What an event is about, as the index has it.
const INSTANCE: &str =
    "CASE WHEN json_valid(CAST(body AS TEXT)) THEN json_extract(CAST(body AS TEXT), '$.instance') END";

/// Appends an event and answers where the history stands now.
///
/// # Errors
/// The database cannot be written.
pub fn append(
    tx: &Transaction<'_>,
    at: DateTime<Utc>,
    instance: Option<&InstanceId>,
    event: &Event,
) -> Stored<HistoryMark> {
    append_to(&tx.sql, at, instance, event)
}

/// The same, while the store is being opened.
pub(super) fn append_to(
    sql: &Connection,
    at: DateTime<Utc>,
    instance: Option<&InstanceId>,
    event: &Event,
) -> Stored<HistoryMark> {
    let new = NewRecord::after(mark_of(sql)?.as_ref(), at, instance, event)?;
    insert(sql, &new)?;
    Ok(HistoryMark { size: new.seq, head: new.digest })
}

/// An event that is not recorded yet.
#[derive(Debug, Clone)]
pub(super) struct NewRecord {
    pub(super) seq: u64,
    pub(super) body: Vec<u8>,
    pub(super) digest: Digest,
}

impl NewRecord {
    /// The event that follows the one at `last`.
    pub(super) fn after(
        last: Option<&HistoryMark>,
        at: DateTime<Utc>,
        instance: Option<&InstanceId>,
        event: &Event,
    ) -> Stored<Self> {
        let seq = last.map_or(0, |mark| mark.size) + 1;
        let record = Record {
            seq,
            prev: last.map(|mark| mark.head.clone()),
            at: at.into(),
            instance: instance.cloned(),
            event: event.clone(),
        };
        // One event that cannot be read makes every baseline untrusted.
        let body = record.to_bytes().ok().filter(|body| serde_json::from_slice::<Record>(body).is_ok());
        let body =
            body.ok_or_else(|| StoreError::Unreadable { what: format!("event {}", event.kind()), section: None })?;
        let digest = Digest::of(&body);
        Ok(Self { seq, body, digest })
    }
}

/// Adds `new` to the end of the history.
pub(super) fn insert(sql: &Connection, new: &NewRecord) -> Stored<()> {
    sql.prepare_cached("INSERT INTO events (seq, body, digest) VALUES (?1, ?2, ?3)")?.execute((
        i64::try_from(new.seq).unwrap_or(i64::MAX),
        &new.body,
        new.digest.as_str(),
    ))?;
    Ok(())
}

/// Where the history stands; nothing before the first event.
///
/// # Errors
/// The database cannot be read.
pub fn mark(tx: &Transaction<'_>) -> Stored<Option<HistoryMark>> {
    mark_of(&tx.sql)
}

pub(super) fn mark_of(sql: &Connection) -> Stored<Option<HistoryMark>> {
    let last: Option<(i64, String)> = sql
        .prepare_cached("SELECT seq, digest FROM events ORDER BY seq DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    last.map(|(seq, digest)| {
        let head = digest.parse().map_err(|_| StoreError::Damaged(format!("event {seq} has no digest")))?;
        Ok(HistoryMark { size: u64::try_from(seq).unwrap_or_default(), head })
    })
    .transpose()
}

/// The digest of the event that made the history `size` events long, computed from its body.
///
/// # Errors
/// The database cannot be read.
pub fn head_at(tx: &Transaction<'_>, size: u64) -> Stored<Option<Digest>> {
    head_of(&tx.sql, size)
}

pub(super) fn head_of(sql: &Connection, size: u64) -> Stored<Option<Digest>> {
    let body: Option<Vec<u8>> = sql
        .prepare_cached("SELECT body FROM events WHERE seq = ?1")?
        .query_row([i64::try_from(size).unwrap_or(i64::MAX)], |row| row.get(0))
        .optional()?;
    Ok(body.map(|body| Digest::of(&body)))
}

/// The event that made the history `size` events long.
///
/// # Errors
/// The database cannot be read.
pub(super) fn at(tx: &Transaction<'_>, size: u64) -> Stored<Option<Record>> {
    let body: Option<Vec<u8>> = tx
        .sql
        .prepare_cached("SELECT body FROM events WHERE seq = ?1")?
        .query_row([i64::try_from(size).unwrap_or(i64::MAX)], |row| row.get(0))
        .optional()?;
    Ok(body.and_then(|body| serde_json::from_slice(&body).ok()))
}

/// When the event was recorded that made the history `size` events long.
///
/// # Errors
/// The database cannot be read.
pub fn recorded_at(tx: &Transaction<'_>, size: u64) -> Stored<Option<DateTime<Utc>>> {
    Ok(at(tx, size)?.map(|record| record.at.0))
}

/// Every event, or those of one instance, oldest first: as a [`Record`], or as the JSON that is recorded. Of one instance the
/// others are not read.
///
/// # Errors
/// The database cannot be read, or a body is not an event.
pub fn all<T: DeserializeOwned>(tx: &Transaction<'_>, instance: Option<&InstanceId>) -> Stored<Vec<T>> {
    let mut query = match instance {
        Some(_) => {
            tx.sql.prepare_cached(&format!("SELECT seq, body FROM events WHERE {INSTANCE} = ?1 ORDER BY seq"))?
        }
        None => tx.sql.prepare_cached("SELECT seq, body FROM events WHERE ?1 IS NULL ORDER BY seq")?,
    };
    let mut rows = query.query([instance.map(ToString::to_string)])?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        let seq: i64 = row.get(0)?;
        let body: Vec<u8> = row.get(1)?;
        let event = serde_json::from_slice(&body)
            .map_err(|error| StoreError::Damaged(format!("event {seq} cannot be read: {error}")))?;
        events.push(event);
    }
    Ok(events)
}

/// The events after the first `size`, oldest first. One that cannot be read is for those who verify the history.
///
/// # Errors
/// The database cannot be read.
pub(super) fn after(tx: &Transaction<'_>, size: u64) -> Stored<Vec<Record>> {
    let mut query = tx.sql.prepare_cached("SELECT body FROM events WHERE seq > ?1 ORDER BY seq")?;
    let bodies = query.query_map([i64::try_from(size).unwrap_or(i64::MAX)], |row| row.get::<_, Vec<u8>>(0))?;
    let mut events = Vec::new();
    for body in bodies {
        events.extend(serde_json::from_slice::<Record>(&body?).ok());
    }
    Ok(events)
}

/// Replays the events that follow, to the event `until` or the last one.
pub(super) fn replay(sql: &Connection, replay: &mut Replay, until: u64) -> Stored<()> {
    let mut query =
        sql.prepare_cached("SELECT seq, body, digest FROM events WHERE seq > ?1 AND seq <= ?2 ORDER BY seq")?;
    let number = |size: u64| i64::try_from(size).unwrap_or(i64::MAX);
    let from = replay.mark.as_ref().map_or(i64::MIN, |mark| number(mark.size));
    let mut rows = query.query([from, number(until)])?;
    while let Some(row) = rows.next()? {
        let seq: i64 = row.get(0)?;
        let (Ok(body), Ok(digest)) = (row.get::<_, Vec<u8>>(1), row.get::<_, String>(2)) else {
            return Err(replay.unreadable(seq).into());
        };
        replay.push(seq, &body, &digest)?;
    }
    Ok(())
}
