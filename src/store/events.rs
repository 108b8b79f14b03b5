//! The history: append-only, each event bound to the one before.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{StoreError, Stored, Transaction};
use crate::clock::written;
use crate::model::{Digest, HistoryMark, InstanceId, display_safe};
use crate::{canonical, history};

/// What an event is about, as the index has it.
const INSTANCE: &str =
    "CASE WHEN json_valid(CAST(body AS TEXT)) THEN json_extract(CAST(body AS TEXT), '$.instance') END";

/// The kind of event that says that a baseline was accepted.
pub const APPROVED: &str = "baseline.approved";

/// The kind of event that says that a message was put into the outbox.
pub const QUEUED: &str = "alert.queued";

/// The kinds of events that say that a receiver wants nothing any more, and that it is tried again.
pub(super) const DISABLED: &str = "receiver.disabled";
pub(super) const ENABLED: &str = "receiver.enabled";

/// The kind of event that names snapshots whose documents went.
pub(super) const PRUNED: &str = "store.pruned";

/// The kind of event that says that the documents of such a snapshot are there again.
pub(super) const KEPT_AGAIN: &str = "store.kept_again";

/// One event, as it was written.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub struct Record {
    /// 1, 2, 3, … without gaps.
    pub seq: u64,
    /// Digest of the event before; null for the first.
    pub prev: Option<Digest>,
    /// When.
    pub at: String,
    /// What, dotted: `drift.opened`.
    pub kind: String,
    /// About which instance, if about one.
    pub instance: Option<InstanceId>,
    /// The rest.
    pub data: Value,
}

/// Appends an event and answers where the history stands now.
///
/// # Errors
/// The database cannot be written.
pub fn append(
    tx: &Transaction<'_>,
    at: DateTime<Utc>,
    instance: Option<&InstanceId>,
    event: &history::Event,
) -> Stored<HistoryMark> {
    append_to(&tx.sql, at, instance, event)
}

/// The same, while the store is being opened.
pub(super) fn append_to(
    sql: &Connection,
    at: DateTime<Utc>,
    instance: Option<&InstanceId>,
    event: &history::Event,
) -> Stored<HistoryMark> {
    let new = NewRecord::after(mark_of(sql)?.as_ref(), at, instance, event)?;
    insert(sql, &new)?;
    Ok(HistoryMark { size: new.record.seq, head: new.digest })
}

/// An event that is not recorded yet.
#[derive(Debug, Clone)]
pub(super) struct NewRecord {
    pub(super) record: Record,
    body: Vec<u8>,
    pub(super) digest: Digest,
}

impl NewRecord {
    /// The event that follows the one at `last`.
    pub(super) fn after(
        last: Option<&HistoryMark>,
        at: DateTime<Utc>,
        instance: Option<&InstanceId>,
        event: &history::Event,
    ) -> Stored<Self> {
        let seq = last.map_or(0, |mark| mark.size) + 1;
        let kind = event.kind();
        let unreadable = || StoreError::Unreadable { what: format!("event {kind}"), section: None };
        let data = event.data().map_err(|_| unreadable())?;
        let body = json!({
            "seq": seq, "prev": last.map(|mark| &mark.head), "at": written(at), "kind": kind, "instance": instance, "data": data,
        });
        let body = canonical::to_bytes(&body);
        // One event that cannot be read makes every baseline untrusted.
        let record = serde_json::from_slice(&body).map_err(|_| unreadable())?;
        let digest = Digest::of(&body);
        Ok(Self { record, body, digest })
    }
}

/// Adds `new` to the end of the history.
pub(super) fn insert(sql: &Connection, new: &NewRecord) -> Stored<()> {
    sql.prepare_cached("INSERT INTO events (seq, body, digest) VALUES (?1, ?2, ?3)")?.execute((
        i64::try_from(new.record.seq).unwrap_or(i64::MAX),
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
    Ok(at(tx, size)?.and_then(|event| event.at.parse().ok()))
}

/// Every event, or those of one instance, oldest first. Of one instance the others are not read.
///
/// # Errors
/// The database cannot be read, or a body is not an event.
pub fn all(tx: &Transaction<'_>, instance: Option<&InstanceId>) -> Stored<Vec<Record>> {
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
        let event: Record = serde_json::from_slice(&body)
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

/// Where in the history to look.
pub(super) fn since(seq: u64, at: &str) -> String {
    format!("event {seq} of {}", display_safe(at))
}
