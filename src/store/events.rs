//! The history: append-only, each event bound to the one before.

use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension, Transaction};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{StoreError, Stored};
use crate::canonical;
use crate::clock::written;
use crate::model::{Digest, HistoryMark, InstanceId};

/// One event, as it was written.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Event {
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
    kind: &str,
    instance: Option<&InstanceId>,
    data: Value,
) -> Stored<HistoryMark> {
    let last = mark(tx)?;
    let seq = last.as_ref().map_or(0, |mark| mark.size) + 1;
    let body = json!({
        "seq": seq, "prev": last.map(|mark| mark.head), "at": written(at), "kind": kind, "instance": instance, "data": data,
    });
    let body = canonical::to_bytes(&body);
    let digest = Digest::of(&body);
    tx.prepare_cached("INSERT INTO events (seq, body, digest) VALUES (?1, ?2, ?3)")?.execute((
        i64::try_from(seq).unwrap_or(i64::MAX),
        body,
        digest.as_str(),
    ))?;
    Ok(HistoryMark { size: seq, head: digest })
}

/// Where the history stands; nothing before the first event.
///
/// # Errors
/// The database cannot be read.
pub fn mark(tx: &Transaction<'_>) -> Stored<Option<HistoryMark>> {
    let last: Option<(i64, String)> = tx
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
    let body: Option<Vec<u8>> = tx
        .prepare_cached("SELECT body FROM events WHERE seq = ?1")?
        .query_row([i64::try_from(size).unwrap_or(i64::MAX)], |row| row.get(0))
        .optional()?;
    Ok(body.map(|body| Digest::of(&body)))
}

/// Every event, or those of one instance, oldest first.
///
/// # Errors
/// The database cannot be read, or a body is not an event.
pub fn all(tx: &Transaction<'_>, instance: Option<&InstanceId>) -> Stored<Vec<Event>> {
    let mut query = tx.prepare_cached("SELECT seq, body FROM events ORDER BY seq")?;
    let mut rows = query.query([])?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        let seq: i64 = row.get(0)?;
        let body: Vec<u8> = row.get(1)?;
        let event: Event = serde_json::from_slice(&body)
            .map_err(|error| StoreError::Damaged(format!("event {seq} cannot be read: {error}")))?;
        if instance.is_none() || event.instance.as_ref() == instance {
            events.push(event);
        }
    }
    Ok(events)
}

/// The highest sequence of a baseline that was accepted for `instance`, as the history tells it; 0 for none.
///
/// # Errors
/// The database cannot be read, or an event is damaged.
pub fn approved_sequence(tx: &Transaction<'_>, instance: &InstanceId) -> Stored<u64> {
    let name = instance.to_string();
    // CASE is lazy: what is no JSON is never looked into, and counts as an event that may have been an approval.
    let (highest, unreadable): (Option<i64>, Option<i64>) = tx
        .prepare_cached(
            "SELECT max(CASE WHEN json_valid(text) THEN
                             CASE WHEN json_extract(text, '$.kind') = 'baseline.approved'
                                       AND json_extract(text, '$.instance') = ?1
                                  THEN json_extract(text, '$.data.sequence') END END),
                    min(CASE WHEN NOT json_valid(text) THEN seq END)
             FROM (SELECT seq, CAST(body AS TEXT) AS text FROM events)",
        )?
        .query_row([name], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if let Some(seq) = unreadable {
        return Err(StoreError::Damaged(format!("event {seq} of the history cannot be read")));
    }
    Ok(highest.and_then(|highest| u64::try_from(highest).ok()).unwrap_or_default())
}

/// Walks the whole history and answers where it stands.
///
/// # Errors
/// An event was edited, removed, reordered or is not where it belongs; the text says which.
pub fn verify(tx: &Transaction<'_>) -> Stored<Option<HistoryMark>> {
    let mut query = tx.prepare_cached("SELECT seq, body, digest FROM events ORDER BY seq")?;
    let mut rows = query.query([])?;
    let mut last: Option<HistoryMark> = None;
    while let Some(row) = rows.next()? {
        let (seq, body, digest): (i64, Vec<u8>, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let broken = |what: &str| StoreError::Damaged(format!("the history is broken at event {seq}: {what}"));
        let expected = last.as_ref().map_or(1, |mark| mark.size + 1);
        let event: Event = serde_json::from_slice(&body).map_err(|_| broken("it cannot be read"))?;
        let computed = Digest::of(&body);
        if u64::try_from(seq) != Ok(expected) || event.seq != expected {
            return Err(broken(&format!("event {expected} is missing")));
        }
        if computed.as_str() != digest {
            return Err(broken("it was edited"));
        }
        if event.prev != last.map(|mark| mark.head) {
            return Err(broken("it does not follow the one before"));
        }
        last = Some(HistoryMark { size: expected, head: computed });
    }
    Ok(last)
}
