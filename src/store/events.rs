//! The history: append-only, each event bound to the one before.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension, Rows, Transaction};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::told::Told;
use super::{StoreError, Stored};
use crate::canonical;
use crate::clock::written;
use crate::incident::Story;
use crate::model::{Digest, HistoryMark, InstanceId, display_safe};

/// The kind of an event, as the indexes have it; nothing for a body that is no JSON.
const KIND: &str = "CASE WHEN json_valid(CAST(body AS TEXT)) THEN json_extract(CAST(body AS TEXT), '$.kind') END";
/// What an event is about, as the index has it.
const INSTANCE: &str =
    "CASE WHEN json_valid(CAST(body AS TEXT)) THEN json_extract(CAST(body AS TEXT), '$.instance') END";

/// The kind of event that says that a baseline was accepted.
pub const APPROVED: &str = "baseline.approved";

/// The kind of event that says that a message was put into the outbox.
pub const QUEUED: &str = "alert.queued";

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
    // One event that cannot be read makes every baseline untrusted.
    if serde_json::from_slice::<Event>(&body).is_err() {
        return Err(StoreError::Unreadable { what: format!("event {kind}"), section: None });
    }
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

/// When the event was recorded that made the history `size` events long.
///
/// # Errors
/// The database cannot be read.
pub fn recorded_at(tx: &Transaction<'_>, size: u64) -> Stored<Option<DateTime<Utc>>> {
    let body: Option<Vec<u8>> = tx
        .prepare_cached("SELECT body FROM events WHERE seq = ?1")?
        .query_row([i64::try_from(size).unwrap_or(i64::MAX)], |row| row.get(0))
        .optional()?;
    let event = body.and_then(|body| serde_json::from_slice::<Event>(&body).ok());
    Ok(event.and_then(|event| event.at.parse().ok()))
}

/// The newest event that is `wanted`, of those whose kind begins with `group` (`baseline.`). What is asked of the history and
/// kept nowhere else cannot be planted in a table.
///
/// # Errors
/// The database cannot be read.
pub fn newest(tx: &Transaction<'_>, group: &str, wanted: impl Fn(&Event) -> bool) -> Stored<Option<Event>> {
    let (from, to) = range_of(group);
    let mut query =
        tx.prepare_cached(&format!("SELECT body FROM events WHERE {KIND} >= ?1 AND {KIND} < ?2 ORDER BY seq DESC"))?;
    let mut rows = query.query([from, to])?;
    first(&mut rows, wanted)
}

/// The same, of those that are about `instance`.
///
/// # Errors
/// The database cannot be read.
pub fn newest_of(
    tx: &Transaction<'_>,
    instance: &InstanceId,
    group: &str,
    wanted: impl Fn(&Event) -> bool,
) -> Stored<Option<Event>> {
    let (from, to) = range_of(group);
    let mut query = tx.prepare_cached(&format!(
        "SELECT body FROM events WHERE {INSTANCE} = ?3 AND {KIND} >= ?1 AND {KIND} < ?2 ORDER BY seq DESC"
    ))?;
    let mut rows = query.query([from, to, instance.to_string()])?;
    first(&mut rows, wanted)
}

/// The first of `rows` that is an event and wanted. One that cannot be read is found by walking the history.
fn first(rows: &mut Rows<'_>, wanted: impl Fn(&Event) -> bool) -> Stored<Option<Event>> {
    while let Some(row) = rows.next()? {
        let body: Vec<u8> = row.get(0)?;
        if let Some(event) = serde_json::from_slice::<Event>(&body).ok().filter(|event| wanted(event)) {
            return Ok(Some(event));
        }
    }
    Ok(None)
}

/// Between which texts the kinds of a group are: they are ASCII.
fn range_of(group: &str) -> (String, String) {
    (group.to_owned(), format!("{group}\u{7f}"))
}

/// Code of the reason why the baseline of `instance` cannot be trusted, if that was the last thing said of it.
///
/// # Errors
/// The database cannot be read.
pub fn untrusted(tx: &Transaction<'_>, instance: &InstanceId) -> Stored<Option<String>> {
    let is_about_trust = |event: &Event| matches!(event.kind.as_str(), "baseline.untrusted" | "baseline.trusted");
    let last = newest_of(tx, instance, "baseline.", is_about_trust)?.filter(|event| event.kind == "baseline.untrusted");
    Ok(last.and_then(|event| Some(event.data.get("code")?.as_str()?.to_owned())))
}

/// What people were told of every drift of `instance`, by its id.
///
/// # Errors
/// The database cannot be read.
pub fn stories(tx: &Transaction<'_>, instance: &InstanceId) -> Stored<BTreeMap<String, Story>> {
    let (from, to) = range_of("drift.");
    let mut query = tx.prepare_cached(&format!(
        "SELECT body FROM events WHERE {INSTANCE} = ?3 AND {KIND} >= ?1 AND {KIND} < ?2 ORDER BY seq"
    ))?;
    let mut rows = query.query([from, to, instance.to_string()])?;
    let mut stories: BTreeMap<String, Story> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let body: Vec<u8> = row.get(0)?;
        let Ok(event) = serde_json::from_slice::<Event>(&body) else { continue };
        let drift = event.data.get("drift").and_then(Value::as_str);
        if let (Some(drift), Ok(at)) = (drift, event.at.parse()) {
            let after = event.data.get("after").unwrap_or(&Value::Null);
            stories.entry(drift.to_owned()).or_default().take(&event.kind, after, at);
        }
    }
    Ok(stories)
}

/// Every event after the first `size` whose kind begins with `group` (`silence.`), oldest first.
///
/// # Errors
/// The database cannot be read.
pub fn of_group(tx: &Transaction<'_>, group: &str, size: u64) -> Stored<Vec<Event>> {
    let (from, to) = range_of(group);
    let mut query = tx.prepare_cached(&format!(
        "SELECT body FROM events WHERE {KIND} >= ?1 AND {KIND} < ?2 AND seq > ?3 ORDER BY seq"
    ))?;
    let mut rows = query.query((from, to, i64::try_from(size).unwrap_or(i64::MAX)))?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        let body: Vec<u8> = row.get(0)?;
        let event = serde_json::from_slice::<Event>(&body).ok();
        events.extend(event);
    }
    Ok(events)
}

/// Every event, or those of one instance, oldest first. Of one instance the others are not read.
///
/// # Errors
/// The database cannot be read, or a body is not an event.
pub fn all(tx: &Transaction<'_>, instance: Option<&InstanceId>) -> Stored<Vec<Event>> {
    let mut query = match instance {
        Some(_) => tx.prepare_cached(&format!("SELECT seq, body FROM events WHERE {INSTANCE} = ?1 ORDER BY seq"))?,
        None => tx.prepare_cached("SELECT seq, body FROM events WHERE ?1 IS NULL ORDER BY seq")?,
    };
    let mut rows = query.query([instance.map(ToString::to_string)])?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        let seq: i64 = row.get(0)?;
        let body: Vec<u8> = row.get(1)?;
        let event: Event = serde_json::from_slice(&body)
            .map_err(|error| StoreError::Damaged(format!("event {seq} cannot be read: {error}")))?;
        events.push(event);
    }
    Ok(events)
}

/// The events after the first `size`, oldest first. One that cannot be read is for those who verify the history.
///
/// # Errors
/// The database cannot be read.
pub(super) fn after(tx: &Transaction<'_>, size: u64) -> Stored<Vec<Event>> {
    let mut query = tx.prepare_cached("SELECT body FROM events WHERE seq > ?1 ORDER BY seq")?;
    let bodies = query.query_map([i64::try_from(size).unwrap_or(i64::MAX)], |row| row.get::<_, Vec<u8>>(0))?;
    let mut events = Vec::new();
    for body in bodies {
        events.extend(serde_json::from_slice::<Event>(&body?).ok());
    }
    Ok(events)
}

/// What a walk over the whole history found.
#[derive(Debug, Clone, Default)]
pub struct Walk {
    /// Where it stands.
    pub mark: Option<HistoryMark>,
    /// The highest sequence of a baseline that was accepted, by instance.
    pub approved: BTreeMap<InstanceId, u64>,
    /// The statements that were verified when a baseline was accepted, by instance and digest: the number of events after which
    /// the history said so first.
    pub vouched: BTreeMap<InstanceId, BTreeMap<Digest, u64>>,
    /// What it says that the tables should hold.
    pub(super) told: Told,
    /// When the last event was recorded.
    last_sound: String,
}

impl Walk {
    /// What people were told of sections and credentials of `instance` that are still not seen: the event of each.
    pub fn unseen(&self, instance: &InstanceId) -> impl Iterator<Item = &Event> {
        let sections = self.told.sections.get(instance).into_iter().flat_map(BTreeMap::values);
        sections.filter(|event| event.kind != "section.unbaselined")
    }
}

/// Walks the whole history, event by event.
///
/// # Errors
/// [`StoreError::History`]: an event was edited, removed, reordered or is not where it belongs; the text says which.
pub fn verify(tx: &Transaction<'_>) -> Stored<Walk> {
    let mut walk = Walk::default();
    walk_on(tx, &mut walk)?;
    Ok(walk)
}

/// Goes on with a walk where it stands.
pub(super) fn walk_on(tx: &Transaction<'_>, walk: &mut Walk) -> Stored<()> {
    let mut query = tx.prepare_cached("SELECT seq, body, digest FROM events WHERE seq > ?1 ORDER BY seq")?;
    let walked = walk.mark.as_ref().map_or(i64::MIN, |mark| i64::try_from(mark.size).unwrap_or(i64::MAX));
    let mut rows = query.query([walked])?;
    while let Some(row) = rows.next()? {
        let seq: i64 = row.get(0)?;
        let broken = |what: &str| {
            StoreError::History(format!("the history is broken at event {seq}: {what}{}", since(&walk.last_sound)))
        };
        let body: Vec<u8> = row.get(1).map_err(|_| broken("it cannot be read"))?;
        let digest: String = row.get(2).map_err(|_| broken("it cannot be read"))?;
        let expected = walk.mark.as_ref().map_or(1, |mark| mark.size + 1);
        let event: Event = serde_json::from_slice(&body).map_err(|_| broken("it cannot be read"))?;
        let computed = Digest::of(&body);
        if u64::try_from(seq) != Ok(expected) || event.seq != expected {
            return Err(broken(&format!("event {expected} is missing")));
        }
        if computed.as_str() != digest {
            return Err(broken("it was edited"));
        }
        if event.prev.as_ref() != walk.mark.as_ref().map(|mark| &mark.head) {
            return Err(broken("it does not follow the one before"));
        }
        walk.told.take(&event);
        if let (APPROVED, Some(instance)) = (event.kind.as_str(), event.instance) {
            let sequence = event.data.get("sequence").and_then(Value::as_u64).unwrap_or_default();
            let highest = walk.approved.entry(instance.clone()).or_default();
            *highest = sequence.max(*highest);
            let statements = event.data.get("statements").and_then(Value::as_array).into_iter().flatten();
            let vouched = walk.vouched.entry(instance).or_default();
            for digest in statements.filter_map(|digest| digest.as_str()?.parse().ok()) {
                vouched.entry(digest).or_insert(expected);
            }
        }
        walk.mark = Some(HistoryMark { size: expected, head: computed });
        walk.last_sound = event.at;
    }
    Ok(())
}

/// Up to when a history is sound that is broken after an event of that time.
fn since(last_sound: &str) -> String {
    if last_sound.is_empty() { String::new() } else { format!("; it is sound up to {}", display_safe(last_sound)) }
}
