//! The rows of the outbox as people see them, and what they or the retention do to them.
//!
//! Every step is an event, so that the history agrees with the rows.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use rusqlite::Row;

use super::events;
use super::outbox::{mirror, row_of};
use super::{Stored, Transaction, from_millis};
use crate::history::Event;
use crate::history::data::{DroppedDelivery, PrunedMessages, RetriedDelivery};
use crate::history::outgoing::{MessageState, ToldMessage};
use crate::message::{Alert, NoticeKind};
use crate::model::{InstanceId, MessageId};

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
    let is_to_it =
        |event: &Event| matches!(event, Event::ReceiverMissed(told) if told.receiver.as_deref() == Some(receiver));
    let replay = tx.history()?;
    let told = replay.state.newest(None, is_to_it).map_or(0, |record| record.seq);
    let outgoing = &replay.state.outgoing;
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
    let retried = RetriedDelivery { message: kept.id.clone(), receiver: kept.receiver.clone(), by: by.to_owned() };
    events::append(tx, now, kept.instance.as_ref(), &Event::DeliveryRetried(retried))?;
    mirror(tx, kept.id.as_str(), None)
}

/// Gives a message up because somebody wants it. It stays to be looked at.
///
/// # Errors
/// The database cannot be written.
pub fn give_up(tx: &Transaction<'_>, kept: &QueuedMessage, by: &str, reason: &str, now: DateTime<Utc>) -> Stored<()> {
    drop_message(tx, kept.id.clone(), &kept.receiver, kept.instance.as_ref(), by, reason, now)
}

fn drop_message(
    tx: &Transaction<'_>,
    message: MessageId,
    receiver: &str,
    instance: Option<&InstanceId>,
    by: &str,
    reason: &str,
    now: DateTime<Utc>,
) -> Stored<()> {
    let (receiver, by, reason) = (receiver.to_owned(), by.to_owned(), reason.to_owned());
    let dropped = DroppedDelivery { message, receiver, by, reason };
    events::append(tx, now, instance, &Event::DeliveryDropped(dropped.clone()))?;
    mirror(tx, dropped.message.as_str(), Some(&format!("dropped by {}: {}", dropped.by, dropped.reason)))
}

/// Gives up what waits since before `queued_before` for receivers that are not `configured`.
///
/// # Errors
/// The database cannot be written, or as [`Transaction::history`].
pub fn abandon(
    tx: &Transaction<'_>,
    configured: &[&str],
    queued_before: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Stored<()> {
    let abandoned: Vec<(String, String, Option<InstanceId>)> = {
        let replay = tx.history()?;
        let outgoing = &replay.state.outgoing;
        let gone = outgoing.receivers_waited_for().filter(|receiver| !configured.contains(receiver));
        let waiting = gone.flat_map(|receiver| outgoing.waiting_for(receiver));
        let old = waiting.filter(|(_, message)| message.queued_at < queued_before);
        old.map(|(id, message)| (id.to_owned(), message.receiver.clone(), message.instance.clone())).collect()
    };
    for (id, receiver, instance) in abandoned {
        let reason = "its receiver is not configured any more";
        drop_message(tx, MessageId::from_text(id), &receiver, instance.as_ref(), "authdrift", reason, now)?;
    }
    Ok(())
}

/// Removes at most `most` messages that were given up before `dead_before`, or that were delivered or coalesced before
/// `delivered_before`, and names them in the history. The beginning of a story stays as long as the story goes on.
///
/// # Errors
/// The database cannot be written, or as [`Transaction::history`].
pub fn prune(
    tx: &Transaction<'_>,
    delivered_before: DateTime<Utc>,
    dead_before: DateTime<Utc>,
    most: usize,
    now: DateTime<Utc>,
) -> Stored<()> {
    let mut roots = tx.sql.prepare_cached("SELECT root FROM threads")?;
    let roots: BTreeSet<String> = roots.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let ids: Vec<String> = {
        let replay = tx.history()?;
        let is_old = |message: &ToldMessage| {
            let before = if message.state == MessageState::Dead { dead_before } else { delivered_before };
            !message.is_waiting() && message.done_at.is_some_and(|done| done < before)
        };
        let messages = replay.state.outgoing.messages.iter();
        let old = messages.filter(|(id, message)| is_old(message) && !roots.contains(*id));
        let mut old: Vec<_> = old.map(|(id, message)| (message.done_at, id)).collect();
        old.sort();
        old.into_iter().take(most).map(|(_, id)| id.clone()).collect()
    };
    if ids.is_empty() {
        return Ok(());
    }
    for id in &ids {
        tx.sql.prepare_cached("DELETE FROM outbox WHERE id = ?1")?.execute([id])?;
    }
    let messages = ids.into_iter().map(MessageId::from_text).collect();
    events::append(tx, now, None, &Event::OutboxPruned(PrunedMessages { messages }))?;
    Ok(())
}
