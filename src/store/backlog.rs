//! What waits for long: looked at by people, folded after an outage, and pruned when nobody needs it any more.
//!
//! Every step is an event, so that the history agrees with the rows.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::Row;
use serde_json::json;

use super::events::{self, Event};
use super::history;
use super::outbox::{MESSAGE, keep, message_of, mirror, row_of};
use super::outgoing::{MessageState, ToldMessage};
use super::{Stored, Transaction, from_millis};
use crate::message::fold::fold;
use crate::message::subject::subject;
use crate::message::{Alert, Body, Format, Message, NoticeKind};
use crate::model::{InstanceId, MessageId};

/// How long a message is kept after it was delivered, or folded into another.
const KEEP_DELIVERED: TimeDelta = TimeDelta::days(30);
/// How long one is kept that was given up.
const KEEP_DEAD: TimeDelta = TimeDelta::days(90);
/// Messages pruned at once.
const PRUNED_AT_ONCE: usize = 100;
/// Messages about one instance that a receiver gets one by one when it is back; more are folded into one.
const MOST_AFTER_OUTAGE: usize = 3;
/// What waited longer than this and was never tried was held up: its receiver was disabled, not configured or asked for time.
const HELD_UP: TimeDelta = TimeDelta::minutes(10);

/// A message, and what became of it.
#[derive(Debug, Clone)]
pub struct QueuedMessage {
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

fn kept(row: &Row<'_>) -> Stored<QueuedMessage> {
    Ok(QueuedMessage {
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
pub fn list(tx: &Transaction<'_>, all: bool) -> Stored<Vec<QueuedMessage>> {
    let mut query = tx.sql.prepare_cached(&format!(
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
pub fn find(tx: &Transaction<'_>, id: &str) -> Stored<Vec<QueuedMessage>> {
    let mut query = tx.sql.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM outbox WHERE substr(id, 1, length(?1)) = ?1 ORDER BY id LIMIT 10"
    ))?;
    let mut rows = query.query([id])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(kept(row)?);
    }
    Ok(found)
}

/// A message that a receiver never got.
#[derive(Debug)]
pub struct Missed {
    /// Its id.
    pub id: MessageId,
    /// Why it was given up.
    pub reason: String,
}

/// The messages that were given up for `receiver` since people were told of such, oldest first. One that says just that is not
/// among them, or there would be no end to it. What a row says counts only if it is the one that was queued.
///
/// # Errors
/// The database cannot be read, or as [`super::Transaction::history`].
pub fn missed(tx: &Transaction<'_>, receiver: &str) -> Stored<Vec<Missed>> {
    let is_to_it = |event: &Event| event.data.get("receiver").is_some_and(|name| name == receiver);
    let told = history::newest(tx, NoticeKind::Missed.event_type(), is_to_it)?.map_or(0, |event| event.seq);
    let walk = tx.history()?;
    let outgoing = &walk.state.outgoing;
    let mut missed = Vec::new();
    for id in outgoing.given_up_since(receiver, told) {
        let Some(message) = outgoing.messages.get(id) else { continue };
        let row = row_of(tx, id, &message.content)?;
        let alert = row.map(|row| -> Stored<String> {
            let mut query = tx.sql.prepare_cached("SELECT alert FROM outbox NOT INDEXED WHERE rowid = ?1")?;
            Ok(query.query_row([row], |row| row.get(0))?)
        });
        let alert = alert.transpose()?.and_then(|alert| serde_json::from_str::<Alert>(&alert).ok());
        if !alert.is_some_and(|alert| alert.is_only(NoticeKind::Missed)) {
            missed.push(Missed { id: MessageId::from_text(id), reason: message.reason.clone() });
        }
    }
    Ok(missed)
}

/// Makes a message that waits or was given up due now, with all its tries before it again.
///
/// # Errors
/// The database cannot be written.
pub fn retry(tx: &Transaction<'_>, kept: &QueuedMessage, by: &str, now: DateTime<Utc>) -> Stored<()> {
    let data = json!({ "message": kept.id, "receiver": kept.receiver, "by": by });
    events::append(tx, now, "delivery.retried", kept.instance.as_ref(), data)?;
    mirror(tx, kept.id.as_str(), None)
}

/// Gives a message up because somebody wants it. It stays to be looked at.
///
/// # Errors
/// The database cannot be written.
pub fn give_up(tx: &Transaction<'_>, kept: &QueuedMessage, by: &str, reason: &str, now: DateTime<Utc>) -> Stored<()> {
    let data = json!({ "message": kept.id, "receiver": kept.receiver, "by": by, "reason": reason });
    events::append(tx, now, "delivery.dropped", kept.instance.as_ref(), data)?;
    mirror(tx, kept.id.as_str(), Some(&format!("dropped by {by}: {reason}")))
}

/// Folds what waits for `receiver` and was never tried, instance by instance, where it is more than a few: it is back after
/// an outage, and nobody reads the same story in ten messages.
///
/// # Errors
/// The database cannot be written, or as [`super::Transaction::history`].
pub fn fold_after_outage(tx: &Transaction<'_>, receiver: &str, now: DateTime<Utc>) -> Stored<()> {
    for crowd in crowds(tx, receiver)? {
        if crowd.ids.len() > MOST_AFTER_OUTAGE {
            fold_instance(tx, receiver, &crowd, now)?;
        }
    }
    Ok(())
}

/// The same where nothing failed before: a receiver that was disabled, not configured or asked for time is sent to again.
/// What waits behind a message that was tried waits for how that one ends.
///
/// # Errors
/// The database cannot be written, or as [`super::Transaction::history`].
pub fn fold_held_up(tx: &Transaction<'_>, receiver: &str, now: DateTime<Utc>) -> Stored<()> {
    for crowd in crowds(tx, receiver)? {
        if crowd.ids.len() > MOST_AFTER_OUTAGE && crowd.waits_since.is_some_and(|since| since <= now - HELD_UP) {
            fold_instance(tx, receiver, &crowd, now)?;
        }
    }
    Ok(())
}

/// Folds what waits for `receiver` and was never tried, the largest crowd first, until at most `most` wait.
///
/// # Errors
/// The database cannot be written, or as [`super::Transaction::history`].
pub fn bound(tx: &Transaction<'_>, receiver: &str, most: usize, now: DateTime<Utc>) -> Stored<()> {
    let mut waiting = tx.history()?.state.outgoing.waiting_for(receiver).count();
    if waiting <= most {
        return Ok(());
    }
    for crowd in crowds(tx, receiver)? {
        if waiting > most && crowd.ids.len() > 1 {
            fold_instance(tx, receiver, &crowd, now)?;
            waiting -= crowd.ids.len() - 1;
        }
    }
    Ok(())
}

/// The messages about one instance that were never tried: they cannot have arrived.
#[derive(Debug, Default)]
struct Crowd {
    /// Oldest first.
    ids: Vec<String>,
    /// When the oldest was queued; none if an older message about the instance waits that was tried.
    waits_since: Option<DateTime<Utc>>,
}

/// What waits for `receiver` and was never tried, by instance, the most first.
fn crowds(tx: &Transaction<'_>, receiver: &str) -> Stored<Vec<Crowd>> {
    let walk = tx.history()?;
    let mut crowds: BTreeMap<Option<String>, Crowd> = BTreeMap::new();
    let mut tried = Vec::new();
    for (id, message) in walk.state.outgoing.waiting_for(receiver) {
        let about = message.instance.as_ref().map(ToString::to_string);
        if !message.is_untried() {
            tried.push(about);
            continue;
        }
        let is_first = !tried.contains(&about);
        let crowd = crowds.entry(about).or_default();
        if crowd.ids.is_empty() && is_first {
            crowd.waits_since = Some(message.queued_at);
        }
        crowd.ids.push(id.to_owned());
    }
    let mut crowds: Vec<Crowd> = crowds.into_values().collect();
    crowds.sort_by_key(|crowd| std::cmp::Reverse(crowd.ids.len()));
    Ok(crowds)
}

/// The message `id`, if it is the one that was queued and no process ever began to send it. One that cannot be read is given
/// up when its turn comes.
fn unbegun(tx: &Transaction<'_>, id: &str) -> Stored<Option<Message>> {
    let queued = tx.history()?.state.outgoing.messages.get(id).map(|message| message.content.clone());
    let Some(row) = row_of(tx, id, &queued.unwrap_or_default())? else { return Ok(None) };
    let mut query = tx
        .sql
        .prepare_cached(&format!("SELECT {MESSAGE} FROM outbox NOT INDEXED WHERE rowid = ?1 AND claimed_to = 0"))?;
    let mut rows = query.query([row])?;
    let row = rows.next()?;
    Ok(row.and_then(|row| message_of(row, 0).ok()))
}

fn fold_instance(tx: &Transaction<'_>, receiver: &str, crowd: &Crowd, now: DateTime<Utc>) -> Stored<()> {
    let mut messages: Vec<Message> = Vec::new();
    for id in &crowd.ids {
        messages.extend(unbegun(tx, id)?);
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
        let data = json!({ "message": message.id, "receiver": receiver, "into": one.id });
        events::append(tx, now, "delivery.folded", message.alert.instance.as_ref(), data)?;
        mirror(tx, message.id.as_str(), Some(&format!("part of {}", one.id)))?;
        // What follows up a message that is never sent follows up the one that is.
        tx.sql
            .prepare_cached("UPDATE threads SET root = ?2, subject = ?3 WHERE root = ?1 AND receiver = ?4")?
            .execute((message.id.as_str(), one.id.as_str(), &one.subject, receiver))?;
    }
    Ok(())
}

/// How the body of a message is written, if it has one.
fn format_of(tx: &Transaction<'_>, id: &MessageId) -> Stored<Option<Format>> {
    let word: Option<String> =
        tx.sql.prepare_cached("SELECT format FROM outbox WHERE id = ?1")?.query_row([id.as_str()], |row| row.get(0))?;
    Ok(word.as_deref().and_then(Format::from_word))
}

/// Gives up what waits for receivers that are not `configured` any more, once nobody can want it.
///
/// # Errors
/// The database cannot be written.
pub fn abandon(tx: &Transaction<'_>, configured: &[&str], now: DateTime<Utc>) -> Stored<()> {
    let abandoned: Vec<(String, String, Option<InstanceId>)> = {
        let walk = tx.history()?;
        let outgoing = &walk.state.outgoing;
        let gone = outgoing.receivers_waited_for().filter(|receiver| !configured.contains(receiver));
        let waiting = gone.flat_map(|receiver| outgoing.waiting_for(receiver));
        let old = waiting.filter(|(_, message)| message.queued_at + KEEP_DEAD < now);
        old.map(|(id, message)| (id.to_owned(), message.receiver.clone(), message.instance.clone())).collect()
    };
    for (id, receiver, instance) in abandoned {
        let reason = "its receiver is not configured any more";
        let data = json!({ "message": id, "receiver": receiver, "by": "authdrift", "reason": reason });
        events::append(tx, now, "delivery.dropped", instance.as_ref(), data)?;
        mirror(tx, &id, Some(&format!("dropped by authdrift: {reason}")))?;
    }
    Ok(())
}

/// Removes some of what nobody needs any more, and names it in the history. The beginning of a story stays as long as the
/// story goes on.
///
/// # Errors
/// The database cannot be written.
pub fn prune(tx: &Transaction<'_>, now: DateTime<Utc>) -> Stored<()> {
    let mut roots = tx.sql.prepare_cached("SELECT root FROM threads")?;
    let roots: BTreeSet<String> = roots.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let ids: Vec<String> = {
        let walk = tx.history()?;
        let is_old = |message: &ToldMessage| {
            let keep = if message.state == MessageState::Dead { KEEP_DEAD } else { KEEP_DELIVERED };
            !message.is_waiting() && message.done_at.is_some_and(|done| done + keep < now)
        };
        let messages = walk.state.outgoing.messages.iter();
        let old = messages.filter(|(id, message)| is_old(message) && !roots.contains(*id));
        let mut old: Vec<_> = old.map(|(id, message)| (message.done_at, id)).collect();
        old.sort();
        old.into_iter().take(PRUNED_AT_ONCE).map(|(_, id)| id.clone()).collect()
    };
    if ids.is_empty() {
        return Ok(());
    }
    for id in &ids {
        tx.sql.prepare_cached("DELETE FROM outbox WHERE id = ?1")?.execute([id])?;
    }
    events::append(tx, now, "outbox.pruned", None, json!({ "messages": ids }))?;
    Ok(())
}
