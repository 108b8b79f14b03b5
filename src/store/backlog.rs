//! What waits for long: looked at by people, folded after an outage, and pruned when nobody needs it any more.
//!
//! Every step is an event, so that the history agrees with the rows.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Row, Transaction};
use serde_json::{Value, json};

use super::events::{self, Event};
use super::outbox::{MESSAGE, keep, message_of};
use super::{Stored, from_millis, to_millis};
use crate::message::fold::fold;
use crate::message::subject::subject;
use crate::message::{Alert, Body, Format, Message, NoticeKind};
use crate::model::{InstanceId, MessageId};

/// How long a message is kept after it was delivered, or folded into another.
const KEEP_DELIVERED: TimeDelta = TimeDelta::days(30);
/// How long one is kept that was given up.
const KEEP_DEAD: TimeDelta = TimeDelta::days(90);
/// Messages pruned at once.
const PRUNED_AT_ONCE: u32 = 100;
/// Messages about one instance that a receiver gets one by one when it is back; more are folded into one.
const MOST_AFTER_OUTAGE: usize = 3;
/// What waited longer than this and was never tried was held up: its receiver was disabled, not configured or asked for time.
const HELD_UP: TimeDelta = TimeDelta::minutes(10);

/// A message, and what became of it.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Its name, the same for every try.
    pub id: MessageId,
    /// The receiver's name.
    pub receiver: String,
    /// What it is about, if about one instance.
    pub instance: Option<InstanceId>,
    /// In one line.
    pub subject: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// How often it was tried.
    pub attempts: u32,
    /// What it says, or why this version of the program cannot read it: a newer one may have written it.
    pub alert: Result<Alert, String>,
    /// `waiting`, `delivered`, `dead` or `folded`.
    pub state: String,
    /// When it is tried next, if it waits.
    pub next_at: DateTime<Utc>,
    /// Until when it is being sent, if it is.
    pub claimed_to: DateTime<Utc>,
    /// The last outcome in words, empty before the first try.
    pub last_outcome: String,
    /// When it was delivered, given up or folded.
    pub done_at: Option<DateTime<Utc>>,
}

const COLUMNS: &str = "id, receiver, alert, instance, subject, created_at, attempts, state, next_at, claimed_to, \
                       last_outcome, done_at";

fn kept(row: &Row<'_>) -> Stored<Kept> {
    Ok(Kept {
        id: MessageId::from_text(row.get::<_, String>(0)?),
        receiver: row.get(1)?,
        alert: serde_json::from_str(&row.get::<_, String>(2)?).map_err(|error| error.to_string()),
        instance: row.get::<_, String>(3)?.parse().ok(),
        subject: row.get(4)?,
        created_at: from_millis(row.get(5)?),
        attempts: row.get(6)?,
        state: row.get(7)?,
        next_at: from_millis(row.get(8)?),
        claimed_to: from_millis(row.get(9)?),
        last_outcome: row.get(10)?,
        done_at: row.get::<_, Option<i64>>(11)?.map(from_millis),
    })
}

/// The messages that wait or were given up, or `all` that are kept, oldest first.
///
/// # Errors
/// The database cannot be read.
pub fn list(tx: &Transaction<'_>, all: bool) -> Stored<Vec<Kept>> {
    let mut query = tx.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM outbox WHERE ?1 OR state IN ('waiting', 'dead') ORDER BY rowid"
    ))?;
    let mut rows = query.query([all])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(kept(row)?);
    }
    Ok(found)
}

/// The messages whose id begins with `id`, at most ten.
///
/// # Errors
/// The database cannot be read.
pub fn find(tx: &Transaction<'_>, id: &str) -> Stored<Vec<Kept>> {
    let mut query = tx.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM outbox WHERE substr(id, 1, length(?1)) = ?1 ORDER BY id LIMIT 10"
    ))?;
    let mut rows = query.query([id])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(kept(row)?);
    }
    Ok(found)
}

/// The messages that were given up for `receiver` since people were told of such, oldest first. One that says just that is not
/// among them, or there would be no end to it.
///
/// # Errors
/// The database cannot be read.
pub fn missed(tx: &Transaction<'_>, receiver: &str) -> Stored<Vec<Kept>> {
    let is_to_it = |event: &Event| event.data.get("receiver").is_some_and(|name| name == receiver);
    let told = events::newest(tx, NoticeKind::Missed.event_type(), is_to_it)?.map_or(0, |event| event.seq);
    let given_up = events::of_group(tx, "delivery.given_up", told)?;
    let mut missed: Vec<Kept> = Vec::new();
    let mut seen = BTreeSet::new();
    for event in given_up.iter().filter(|event| is_to_it(event)) {
        let id = event.data.get("message").and_then(Value::as_str).unwrap_or_default();
        // One that was tried again for somebody may have been given up twice.
        if !seen.insert(id) {
            continue;
        }
        let kept = find(tx, id)?.into_iter().filter(|kept| kept.id.as_str() == id && kept.state == "dead");
        missed.extend(kept.filter(|kept| !kept.alert.as_ref().is_ok_and(|alert| alert.is_only(NoticeKind::Missed))));
    }
    Ok(missed)
}

/// Makes a message that waits or was given up due now, with all its tries before it again.
///
/// # Errors
/// The database cannot be written.
pub fn retry(tx: &Transaction<'_>, kept: &Kept, by: &str, now: DateTime<Utc>) -> Stored<()> {
    tx.prepare_cached(
        "UPDATE outbox SET state = 'waiting', next_at = ?2, attempts = 0, first_at = NULL, passed = 0, done_at = NULL
         WHERE id = ?1 AND state IN ('waiting', 'dead')",
    )?
    .execute((kept.id.as_str(), to_millis(now)))?;
    let data = json!({ "message": kept.id, "receiver": kept.receiver, "by": by });
    events::append(tx, now, "delivery.retried", kept.instance.as_ref(), data)?;
    Ok(())
}

/// Gives a message up because somebody wants it. It stays to be looked at.
///
/// # Errors
/// The database cannot be written.
pub fn give_up(tx: &Transaction<'_>, kept: &Kept, by: &str, reason: &str, now: DateTime<Utc>) -> Stored<()> {
    tx.prepare_cached(
        "UPDATE outbox SET state = 'dead', done_at = ?2, last_outcome = ?3 WHERE id = ?1 AND state IN ('waiting', 'dead')",
    )?
    .execute((kept.id.as_str(), to_millis(now), format!("dropped by {by}: {reason}")))?;
    let data = json!({ "message": kept.id, "receiver": kept.receiver, "by": by, "reason": reason });
    events::append(tx, now, "delivery.dropped", kept.instance.as_ref(), data)?;
    Ok(())
}

/// Folds what waits for `receiver` and was never tried, instance by instance, where it is more than a few: it is back after
/// an outage, and nobody reads the same story in ten messages.
///
/// # Errors
/// The database cannot be written.
pub fn fold_after_outage(tx: &Transaction<'_>, receiver: &str, now: DateTime<Utc>) -> Stored<()> {
    for (instance, count) in crowds(tx, receiver)? {
        if count > MOST_AFTER_OUTAGE {
            fold_instance(tx, receiver, &instance, now)?;
        }
    }
    Ok(())
}

/// The same where nothing failed before: a receiver that was disabled, not configured or asked for time is sent to again.
/// What waits behind a message that was tried waits for how that one ends.
///
/// # Errors
/// The database cannot be written.
pub fn fold_held_up(tx: &Transaction<'_>, receiver: &str, now: DateTime<Utc>) -> Stored<()> {
    for (instance, count) in crowds(tx, receiver)? {
        if count > MOST_AFTER_OUTAGE && is_held_up(tx, receiver, &instance, now)? {
            fold_instance(tx, receiver, &instance, now)?;
        }
    }
    Ok(())
}

/// Whether the oldest message about `instance` that waits was never tried and waited for long.
fn is_held_up(tx: &Transaction<'_>, receiver: &str, instance: &str, now: DateTime<Utc>) -> Stored<bool> {
    let query = format!(
        "SELECT {UNTRIED} AND created_at <= ?3 FROM outbox
         WHERE receiver = ?1 AND state = 'waiting' AND instance = ?2 ORDER BY rowid LIMIT 1"
    );
    let mut query = tx.prepare_cached(&query)?;
    Ok(query.query_row((receiver, instance, to_millis(now - HELD_UP)), |row| row.get(0))?)
}

/// Folds what waits for `receiver` and was never tried, the largest crowd first, until at most `most` wait.
///
/// # Errors
/// The database cannot be written.
pub fn bound(tx: &Transaction<'_>, receiver: &str, most: usize, now: DateTime<Utc>) -> Stored<()> {
    let waiting: i64 = tx
        .prepare_cached("SELECT count(*) FROM outbox WHERE receiver = ?1 AND state = 'waiting'")?
        .query_row([receiver], |row| row.get(0))?;
    let mut waiting = usize::try_from(waiting).unwrap_or_default();
    if waiting <= most {
        return Ok(());
    }
    for (instance, count) in crowds(tx, receiver)? {
        if waiting > most && count > 1 {
            fold_instance(tx, receiver, &instance, now)?;
            waiting -= count - 1;
        }
    }
    Ok(())
}

/// How a message is recognised that was never tried and that nobody ever began to send: it cannot have arrived.
const UNTRIED: &str = "receiver = ?1 AND state = 'waiting' AND attempts = 0 AND last_outcome = '' AND claimed_to = 0";

/// How many messages about each instance were never tried, the most first.
fn crowds(tx: &Transaction<'_>, receiver: &str) -> Stored<Vec<(String, usize)>> {
    let mut query = tx.prepare_cached(&format!(
        "SELECT instance, count(*) FROM outbox WHERE {UNTRIED} GROUP BY instance ORDER BY count(*) DESC, instance"
    ))?;
    let rows = query.query_map([receiver], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)))?;
    let mut crowds = Vec::new();
    for row in rows {
        let (instance, count) = row?;
        crowds.push((instance, usize::try_from(count).unwrap_or_default()));
    }
    Ok(crowds)
}

fn fold_instance(tx: &Transaction<'_>, receiver: &str, instance: &str, now: DateTime<Utc>) -> Stored<()> {
    let mut query =
        tx.prepare_cached(&format!("SELECT {MESSAGE} FROM outbox WHERE {UNTRIED} AND instance = ?2 ORDER BY rowid"))?;
    let mut rows = query.query((receiver, instance))?;
    let mut messages: Vec<Message> = Vec::new();
    while let Some(row) = rows.next()? {
        // One that cannot be read is given up when its turn comes.
        messages.extend(message_of(row).ok());
    }
    let alerts: Vec<Alert> = messages.iter().map(|message| message.alert.clone()).collect();
    let (Some(alert), Some(first)) = (fold(alerts), messages.first()) else { return Ok(()) };
    // It goes on with a story that was told before only if all of them do.
    let is_of_story = |message: &Message| message.thread.is_some() && message.thread == first.thread;
    let thread = first.thread.clone().filter(|_| messages.iter().all(is_of_story));
    let text = if thread.is_some() { first.subject.clone() } else { subject(&alert) };
    let one = Message { thread, subject: text, ..Message::new(receiver, alert, now) };
    let format = format_of(tx, &first.id)?;
    let body = format.and_then(|format| Body::of(&one, format).ok());
    keep(tx, &Message { body, ..one.clone() })?;
    for message in &messages {
        tx.prepare_cached("UPDATE outbox SET state = 'folded', done_at = ?2, last_outcome = ?3 WHERE id = ?1")?
            .execute((message.id.as_str(), to_millis(now), format!("part of {}", one.id)))?;
        let data = json!({ "message": message.id, "receiver": receiver, "into": one.id });
        events::append(tx, now, "delivery.folded", message.alert.instance.as_ref(), data)?;
        // What follows up a message that is never sent follows up the one that is.
        tx.prepare_cached("UPDATE threads SET root = ?2, subject = ?3 WHERE root = ?1 AND receiver = ?4")?
            .execute((message.id.as_str(), one.id.as_str(), &one.subject, receiver))?;
    }
    Ok(())
}

/// How the body of a message is written, if it has one.
fn format_of(tx: &Transaction<'_>, id: &MessageId) -> Stored<Option<Format>> {
    let word: Option<String> =
        tx.prepare_cached("SELECT format FROM outbox WHERE id = ?1")?.query_row([id.as_str()], |row| row.get(0))?;
    Ok(word.as_deref().and_then(Format::from_word))
}

/// Gives up what waits for receivers that are not `configured` any more, once nobody can want it.
///
/// # Errors
/// The database cannot be written.
pub fn abandon(tx: &Transaction<'_>, configured: &[&str], now: DateTime<Utc>) -> Stored<()> {
    let waiting = list(tx, false)?.into_iter().filter(|kept| kept.state == "waiting");
    let is_abandoned = |kept: &Kept| !configured.contains(&kept.receiver.as_str()) && kept.created_at + KEEP_DEAD < now;
    for kept in waiting.filter(is_abandoned) {
        give_up(tx, &kept, "authdrift", "its receiver is not configured any more", now)?;
    }
    Ok(())
}

/// Removes some of what nobody needs any more, and names it in the history. The beginning of a story stays as long as the
/// story goes on.
///
/// # Errors
/// The database cannot be written.
pub fn prune(tx: &Transaction<'_>, now: DateTime<Utc>) -> Stored<()> {
    let mut query = tx.prepare_cached(
        "SELECT id FROM outbox WHERE state <> 'waiting' AND done_at < ?1 AND (state <> 'dead' OR done_at < ?2)
            AND id NOT IN (SELECT root FROM threads) ORDER BY done_at, id LIMIT ?3",
    )?;
    let ends = (to_millis(now - KEEP_DELIVERED), to_millis(now - KEEP_DEAD), PRUNED_AT_ONCE);
    let ids: Vec<String> = query.query_map(ends, |row| row.get(0))?.collect::<Result<_, _>>()?;
    if ids.is_empty() {
        return Ok(());
    }
    for id in &ids {
        tx.prepare_cached("DELETE FROM outbox WHERE id = ?1")?.execute([id])?;
    }
    events::append(tx, now, "outbox.pruned", None, json!({ "messages": ids }))?;
    Ok(())
}
