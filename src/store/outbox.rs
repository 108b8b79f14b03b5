//! Messages that are committed and not yet delivered.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{OptionalExtension, Row};

use super::instances::InstanceRow;
use super::{StoreError, Stored, Transaction, events, from_millis, read_json, to_millis, write_json};
use crate::history::Event;
use crate::history::data::{
    DeliveryTry, DoneDelivery, FailedDelivery, FoldedDelivery, GivenUpDelivery, QueuedAlert, RefusedDelivery,
};
use crate::history::outgoing::{Failing, LONGEST_WAIT, ToldMessage};
use crate::message::{Alert, Body, Entry, Format, Item, Message};
use crate::model::{Digest, InstanceId, MessageId, Severity, display_safe};
use crate::telemetry::{DeliveryGivenUp, Observable};

/// How one try ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver took it.
    Delivered(String),
    /// Try again at that time.
    Again(DateTime<Utc>, String),
    /// The same, and some of those it is for have it.
    Partly(DateTime<Utc>, String),
    /// The receiver asked to be left alone until then, whatever the message: that is no try.
    Held(DateTime<Utc>, String),
    /// Never.
    Dead(String),
}

/// How a receiver is doing.
#[derive(Debug, Clone, Default)]
pub struct ReceiverState {
    /// Not delivered yet.
    pub waiting: u64,
    /// Given up.
    pub dead: u64,
    /// The last delivery and the receiver's answer.
    pub last_delivery: Option<(DateTime<Utc>, String)>,
    /// The last failure of the oldest waiting message.
    pub trouble: Option<String>,
}

/// A message that is not in the outbox yet, with its alert as it is stored.
#[derive(Debug, Clone)]
pub(super) struct NewMessage {
    message: Message,
    alert: String,
}

impl NewMessage {
    pub(super) fn new(message: Message) -> Stored<Self> {
        let alert = written(&message.alert)?;
        Ok(Self { message, alert })
    }

    pub(super) fn created_at(&self) -> DateTime<Utc> {
        self.message.created_at
    }

    pub(super) fn instance(&self) -> Option<&InstanceId> {
        self.message.alert.instance.as_ref()
    }

    /// The event that queues it. The message is compared with the digest in it before it is sent.
    pub(super) fn event(&self) -> Stored<Event> {
        let Self { message, alert } = self;
        let instance = message.alert.instance.as_ref().map(ToString::to_string).unwrap_or_default();
        let thread = message.thread.as_ref().map_or("", MessageId::as_str);
        let at = to_millis(message.created_at).to_string();
        let mut parts = vec![message.id.as_str(), &message.receiver, &instance, alert, thread, &message.subject, &at];
        if let Some(body) = &message.body {
            parts.extend([body.format.as_str(), &body.text]);
        }
        Ok(Event::AlertQueued(QueuedAlert {
            message: message.id.clone(),
            receiver: message.receiver.clone(),
            content: Some(Digest::of(write_json(&parts)?.as_bytes())),
            urgent: message.alert.untrusted().is_some(),
        }))
    }
}

/// Inserts a new message, and records that in the history.
///
/// # Errors
/// The database cannot be written.
pub fn enqueue(tx: &Transaction<'_>, message: &Message) -> Stored<()> {
    // Something planted could mark it as sent: then it is told past the database, see the daemon.
    super::schema::check_nothing_planted(tx)?;
    let new = NewMessage::new(message.clone())?;
    insert(tx, &new)?;
    events::append(tx, message.created_at, message.alert.instance.as_ref(), &new.event()?).map(drop)
}

/// Adds the row of `new`.
pub(super) fn insert(tx: &Transaction<'_>, new: &NewMessage) -> Stored<()> {
    let NewMessage { message, alert } = new;
    tx.sql
        .prepare_cached(
            "INSERT INTO outbox (id, receiver, instance, alert, thread, subject, created_at, state, next_at, format, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'waiting', ?7, ?8, ?9)",
        )?
        .execute((
            message.id.as_str(),
            &message.receiver,
            message.alert.instance.as_ref().map(ToString::to_string).unwrap_or_default(),
            alert,
            message.thread.as_ref().map(MessageId::as_str),
            &message.subject,
            to_millis(message.created_at),
            message.body.as_ref().map(|body| body.format.as_str()),
            message.body.as_ref().map(|body| &body.text),
        ))?;
    Ok(())
}

/// The alert as it is kept, if it can be read again: one that cannot is never sent, with all that it says.
fn written(alert: &Alert) -> Stored<String> {
    let reads_back = |alert: &Alert| serde_json::to_string(alert).ok().filter(|text| read_json::<Alert>(text).is_ok());
    reads_back(alert).ok_or_else(|| {
        let alone = |entry: &Entry| Alert { items: vec![Item::Setting(entry.clone())], ..alert.clone() };
        let section = alert.entries().find(|entry| reads_back(&alone(entry)).is_none());
        StoreError::Unreadable {
            what: "a message".to_owned(),
            section: section.and_then(|entry| Some(entry.changes.first()?.change.path.section().to_owned())),
        }
    })
}

/// The digest of what a message says and to whom, from its row. Nothing that changes while it is delivered is in it. A value
/// of another type than this program writes is of no message.
///
/// # Errors
/// The database cannot be read.
pub fn content(tx: &Transaction<'_>, row: i64) -> Stored<Option<Digest>> {
    let content = tx
        .sql
        .prepare_cached(
            "SELECT id, receiver, instance, alert, coalesce(thread, ''), subject, created_at, format, body
             FROM outbox NOT INDEXED WHERE rowid = ?1",
        )?
        .query_row([row], |row| {
            let mut parts = Vec::new();
            for column in 0..6 {
                parts.push(row.get::<_, String>(column)?);
            }
            parts.push(row.get::<_, i64>(6)?.to_string());
            // Mail has no body here, and messages of the first versions had none.
            for column in 7..9 {
                parts.extend(row.get::<_, Option<String>>(column)?);
            }
            Ok(parts)
        });
    match content {
        Ok(content) => Ok(Some(Digest::of(write_json(&content)?.as_bytes()))),
        Err(
            rusqlite::Error::QueryReturnedNoRows
            | rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..),
        ) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What there is to send.
#[derive(Debug)]
pub enum Claimed {
    /// This message, as it was queued.
    Message(Box<Message>),
    /// A message is due, and its row is not the one that was queued: the message and what is wrong. It is never sent, and the
    /// history says so.
    Refused(Option<InstanceId>, String),
    /// Nothing is due, or another process sends it.
    Nothing,
}

/// Whether a message for `receiver`, which is configured as `target`, is due.
///
/// # Errors
/// As [`super::Transaction::history`].
pub fn is_due(tx: &Transaction<'_>, receiver: &str, target: &Digest, now: DateTime<Utc>) -> Stored<bool> {
    Ok(!tx.history()?.state.outgoing.due(receiver, target, now).is_empty())
}

/// Takes the next message for `receiver` that is due, so that no other process tries it for `hold`.
///
/// # Errors
/// The database cannot be written, or as [`super::Transaction::history`].
///
/// # Security
/// The verified history says which messages wait and when each is due, and holds the digest of each. So a row that was
/// planted or rewritten is not sent, and a row that was edited or hidden holds nothing back (T4).
pub fn claim(
    tx: &Transaction<'_>,
    receiver: &str,
    target: &Digest,
    now: DateTime<Utc>,
    hold: Duration,
) -> Stored<Claimed> {
    let hold = TimeDelta::from_std(hold).unwrap_or(LONGEST_WAIT);
    let replay = tx.history()?;
    let outgoing = &replay.state.outgoing;
    for id in outgoing.due(receiver, target, now) {
        let Some(told) = outgoing.messages.get(id) else { continue };
        let Some(row) = row_of(tx, id, &told.content)? else { return refuse(tx, id, told, now) };
        let (claimed_to, message) = tx
            .sql
            .prepare_cached(&format!("SELECT {MESSAGE} FROM outbox NOT INDEXED WHERE rowid = ?1"))?
            .query_row([row], |row| Ok((from_millis(row.get(6)?), message_of(row, told.attempts))))?;
        if outgoing.may_be_claimed(told, claimed_to, hold, now) {
            continue;
        }
        match message {
            Ok(message) => {
                tx.sql.execute("UPDATE outbox SET claimed_to = ?2 WHERE rowid = ?1", (row, to_millis(now + hold)))?;
                return Ok(Claimed::Message(Box::new(message)));
            }
            // An older version of the program may not know what a newer one has to say.
            Err(error) => {
                let reason = format!("this version of the program cannot read the message: {error}");
                DeliveryGivenUp { receiver, delivery: &MessageId::from_text(id), error: &reason }.observe();
                let this = DeliveryTry {
                    message: MessageId::from_text(id),
                    receiver: receiver.to_owned(),
                    target: None,
                    until: None,
                };
                let given_up = GivenUpDelivery { this, attempts: told.attempts, reason: reason.clone(), failed: None };
                events::append(tx, now, told.instance.as_ref(), &Event::DeliveryGivenUp(given_up))?;
                let id = id.to_owned();
                drop(replay);
                mirror(tx, &id, Some(&reason))?;
                return claim(tx, receiver, target, now, Duration::from_millis(hold.num_milliseconds().unsigned_abs()));
            }
        }
    }
    Ok(Claimed::Nothing)
}

/// Notes that a message is never sent, because its row is not what the history says.
fn refuse(tx: &Transaction<'_>, id: &str, told: &ToldMessage, now: DateTime<Utc>) -> Stored<Claimed> {
    let (id, since) = (display_safe(id), told.since());
    let reason = format!("message {id} is not the one that was queued by {since}, or was removed");
    let refused =
        RefusedDelivery { message: MessageId::from_text(id), receiver: told.receiver.clone(), reason: reason.clone() };
    events::append(tx, now, told.instance.as_ref(), &Event::DeliveryRefused(refused))?;
    Ok(Claimed::Refused(told.instance.clone(), reason))
}

/// The row of the message `id` that holds what was queued, by the digest of that. The index of ids is asked first; a row that
/// is hidden from it, or behind another one, is found all the same.
pub(super) fn row_of(tx: &Transaction<'_>, id: &str, queued: &str) -> Stored<Option<i64>> {
    for query in ["SELECT rowid FROM outbox WHERE id = ?1", "SELECT rowid FROM outbox NOT INDEXED WHERE id = ?1"] {
        let mut query = tx.sql.prepare_cached(query)?;
        let rows: Vec<i64> = query.query_map([id], |row| row.get(0))?.collect::<Result<_, _>>()?;
        for row in rows {
            if content(tx, row)?.is_some_and(|content| content.as_str() == queued) {
                return Ok(Some(row));
            }
        }
    }
    Ok(None)
}

/// What [`message_of`] reads, and until when the message is claimed.
const MESSAGE: &str = "id, receiver, alert, thread, subject, created_at, claimed_to, format, body";

/// The message in a row of [`MESSAGE`] that was tried so often.
fn message_of(row: &Row<'_>, attempts: u32) -> Stored<Message> {
    let format = row.get::<_, Option<String>>(7)?.as_deref().and_then(Format::from_word);
    let text: Option<String> = row.get(8)?;
    Ok(Message {
        id: MessageId::from_text(row.get::<_, String>(0)?),
        receiver: row.get(1)?,
        alert: read_json(&row.get::<_, String>(2)?)?,
        thread: row.get::<_, Option<String>>(3)?.map(MessageId::from_text),
        subject: row.get(4)?,
        body: format.zip(text).map(|(format, text)| Body { format, text }),
        created_at: from_millis(row.get(5)?),
        attempts,
    })
}

/// A message that waits.
#[derive(Debug)]
pub struct WaitingMessage {
    /// Its id.
    pub id: MessageId,
    /// What it is about, if about one instance.
    pub instance: Option<InstanceId>,
    /// When it was queued.
    pub queued_at: DateTime<Utc>,
    /// It was never tried.
    pub is_untried: bool,
}

/// What waits for `receiver`, oldest first.
///
/// # Errors
/// As [`Transaction::history`].
pub fn waiting_for(tx: &Transaction<'_>, receiver: &str) -> Stored<Vec<WaitingMessage>> {
    let replay = tx.history()?;
    let waiting = replay.state.outgoing.waiting_for(receiver).map(|(id, message)| WaitingMessage {
        id: MessageId::from_text(id),
        instance: message.instance.clone(),
        queued_at: message.queued_at,
        is_untried: message.is_untried(),
    });
    Ok(waiting.collect())
}

/// The messages of `ids` that are as they were queued and that no process ever began to send. One that cannot be read is
/// given up when its turn comes.
///
/// # Errors
/// The database cannot be read, or as [`Transaction::history`].
pub fn unclaimed(tx: &Transaction<'_>, ids: &[MessageId]) -> Stored<Vec<Message>> {
    let replay = tx.history()?;
    let mut unclaimed = Vec::new();
    for id in ids {
        let queued = replay.state.outgoing.messages.get(id.as_str()).map_or("", |message| &message.content);
        let Some(row) = row_of(tx, id.as_str(), queued)? else { continue };
        let mut query = tx
            .sql
            .prepare_cached(&format!("SELECT {MESSAGE} FROM outbox NOT INDEXED WHERE rowid = ?1 AND claimed_to = 0"))?;
        let mut rows = query.query([row])?;
        unclaimed.extend(rows.next()?.and_then(|row| message_of(row, 0).ok()));
    }
    Ok(unclaimed)
}

/// Queues `one` in the place of `messages`, which say the same and are not sent any more.
///
/// # Errors
/// The database cannot be written, or as [`Transaction::history`].
pub fn replace(tx: &Transaction<'_>, messages: &[Message], one: &Message, now: DateTime<Utc>) -> Stored<()> {
    enqueue(tx, one)?;
    for message in messages {
        let folded =
            FoldedDelivery { message: message.id.clone(), receiver: one.receiver.clone(), into: one.id.clone() };
        events::append(tx, now, message.alert.instance.as_ref(), &Event::DeliveryFolded(folded))?;
        mirror(tx, message.id.as_str(), Some(&format!("part of {}", one.id)))?;
        // What follows up a message that is never sent follows up the one that is.
        tx.sql
            .prepare_cached("UPDATE threads SET root = ?2, subject = ?3 WHERE root = ?1 AND receiver = ?4")?
            .execute((message.id.as_str(), one.id.as_str(), &one.subject, &one.receiver))?;
    }
    Ok(())
}

/// How a try ended, and what it says of the receiver.
#[derive(Debug)]
pub struct Tried<'a> {
    /// How it ended for the message.
    pub outcome: &'a Outcome,
    /// The receiver could not take anything.
    pub is_short: bool,
    /// It took something.
    pub has_taken: bool,
    /// Until when it asked to be left alone.
    pub until: Option<DateTime<Utc>>,
}

/// Records how a try of the message `id` ended, unless another process had the message meanwhile: what that one said is what
/// happened. What follows for other messages and for the receiver follows from the history. Answers whether the receiver took
/// something again after an outage.
///
/// # Errors
/// The database cannot be written, or as [`super::Transaction::history`].
pub fn record(
    tx: &Transaction<'_>,
    id: &MessageId,
    target: &Digest,
    tried: &Tried<'_>,
    now: DateTime<Utc>,
) -> Stored<bool> {
    let replay = tx.history()?;
    let told = replay.state.outgoing.messages.get(id.as_str()).filter(|told| told.is_waiting());
    let Some(told) = told.cloned() else { return Ok(false) };
    let is_back = tried.has_taken && replay.state.outgoing.is_back(id.as_str(), &told.receiver);
    // It must not be held while the history grows, or the whole of it would be copied.
    drop(replay);
    let this = DeliveryTry {
        message: id.clone(),
        receiver: told.receiver.clone(),
        target: Some(target.clone()),
        until: tried.until.map(Into::into),
    };
    let attempts = told.attempts + 1;
    let (event, words) = match tried.outcome {
        Outcome::Delivered(words) => (Event::DeliveryDone(DoneDelivery { this, attempts }), words),
        Outcome::Dead(words) => {
            let failed = Some(tried.is_short);
            (Event::DeliveryGivenUp(GivenUpDelivery { this, attempts, reason: words.clone(), failed }), words)
        }
        Outcome::Again(next, words) | Outcome::Partly(next, words) | Outcome::Held(next, words) => {
            let failed = FailedDelivery {
                this,
                next: (*next).into(),
                reason: words.clone(),
                failed: tried.is_short,
                took: tried.has_taken,
                held: matches!(tried.outcome, Outcome::Held(..)),
                partly: matches!(tried.outcome, Outcome::Partly(..)),
            };
            (Event::DeliveryFailed(failed), words)
        }
    };
    events::append(tx, now, told.instance.as_ref(), &event)?;
    mirror(tx, id.as_str(), Some(words))?;
    if tried.has_taken {
        let tried: Vec<String> = {
            let replay = tx.history()?;
            let waiting = replay.state.outgoing.waiting_for(&told.receiver);
            waiting.filter(|(_, other)| other.first_at.is_some()).map(|(id, _)| id.to_owned()).collect()
        };
        tried.iter().try_for_each(|id| mirror(tx, id, None))?;
    }
    Ok(is_back)
}

/// Writes what the history says of the message `id` into its row, for those who look at the outbox; `words` say how the last
/// try ended.
///
/// # Errors
/// The database cannot be written, or as [`super::Transaction::history`].
pub(super) fn mirror(tx: &Transaction<'_>, id: &str, words: Option<&str>) -> Stored<()> {
    let replay = tx.history()?;
    let Some(told) = replay.state.outgoing.messages.get(id) else { return Ok(()) };
    let Some(row) = row_of(tx, id, &told.content)? else { return Ok(()) };
    tx.sql
        .prepare_cached(
            "UPDATE outbox SET state = ?2, next_at = ?3, attempts = ?4, first_at = ?5, passed = ?6, done_at = ?7,
                           claimed_to = CASE WHEN ?8 IS NULL THEN claimed_to ELSE 0 END,
                           last_outcome = coalesce(?8, last_outcome)
         WHERE rowid = ?1",
        )?
        .execute((
            row,
            told.state.as_str(),
            to_millis(told.due),
            told.attempts,
            told.first_at.map(to_millis),
            told.is_passed,
            told.done_at.map(to_millis),
            words,
        ))?;
    Ok(())
}

/// How it went so far with a message that waits.
#[derive(Debug, Clone, Copy, Default)]
pub struct Trials {
    /// The first try.
    pub since: Option<DateTime<Utc>>,
    /// The receiver took something else after it had refused this one.
    pub is_passed: bool,
}

/// How it went so far with the message `id`.
///
/// # Errors
/// As [`super::Transaction::history`].
pub fn trials(tx: &Transaction<'_>, id: &MessageId) -> Stored<Trials> {
    let replay = tx.history()?;
    let told = replay.state.outgoing.messages.get(id.as_str());
    Ok(told.map(|told| Trials { since: told.first_at, is_passed: told.is_passed }).unwrap_or_default())
}

/// Whether `receiver` takes nothing: it refused, or failed to take, everything that was tried since the last delivery.
///
/// # Errors
/// As [`super::Transaction::history`].
pub fn failing(tx: &Transaction<'_>, receiver: &str) -> Stored<Option<Failing>> {
    Ok(tx.history()?.state.outgoing.failing(receiver))
}

/// How `receiver` is doing.
///
/// # Errors
/// The database cannot be read.
pub fn receiver_state(tx: &Transaction<'_>, receiver: &str) -> Stored<ReceiverState> {
    let count = |state: &str| -> Stored<u64> {
        let count: i64 = tx
            .sql
            .prepare_cached("SELECT count(*) FROM outbox NOT INDEXED WHERE receiver = ?1 AND state = ?2")?
            .query_row([receiver, state], |row| row.get(0))?;
        Ok(u64::try_from(count).unwrap_or_default())
    };
    let last_delivery = tx
        .sql
        .prepare_cached(
            "SELECT done_at, last_outcome FROM outbox WHERE receiver = ?1 AND state = 'delivered'
             ORDER BY done_at DESC LIMIT 1",
        )?
        .query_row([receiver], |row| Ok((from_millis(row.get(0)?), row.get(1)?)))
        .optional()?;
    let trouble = tx.sql
        .prepare_cached(
            "SELECT last_outcome FROM outbox WHERE receiver = ?1 AND state IN ('waiting', 'dead') AND first_at IS NOT NULL
             ORDER BY state DESC, created_at LIMIT 1",
        )?
        .query_row([receiver], |row| row.get(0))
        .optional()?;
    Ok(ReceiverState { waiting: count("waiting")?, dead: count("dead")?, last_delivery, trouble })
}

/// The thread of an instance at a receiver.
#[derive(Debug, Clone)]
pub struct Thread {
    /// Its first message.
    pub root: MessageId,
    /// The subject of that.
    pub subject: String,
    /// How severe that was.
    pub severity: Severity,
}

impl Thread {
    /// The thread that `message` begins.
    pub(super) fn of(message: &Message) -> Self {
        Self { root: message.id.clone(), subject: message.subject.clone(), severity: message.alert.severity() }
    }
}

/// The thread of the instance at each receiver, if a story is going on there.
pub(super) fn threads(tx: &Transaction<'_>, instance: InstanceRow) -> Stored<BTreeMap<String, Option<Thread>>> {
    let mut query = tx.sql.prepare_cached("SELECT receiver FROM threads WHERE instance_id = ?1")?;
    let receivers: Vec<String> = query.query_map([instance.0], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let thread = |receiver: String| thread(tx, instance, &receiver).map(|thread| (receiver, thread));
    receivers.into_iter().map(thread).collect()
}

/// The thread of the instance at `receiver`, if a story is going on.
///
/// # Errors
/// The database cannot be read, or as [`super::Transaction::history`].
///
/// # Security
/// What follows stands under the subject of the first message, so that has to be one that was queued for this receiver about
/// this instance, and the rest is taken from it (T4).
pub(super) fn thread(tx: &Transaction<'_>, instance: InstanceRow, receiver: &str) -> Stored<Option<Thread>> {
    let kept: Option<(String, String)> = tx
        .sql
        .prepare_cached(
            "SELECT t.root, i.name FROM threads t JOIN instances i ON i.id = t.instance_id
             WHERE t.instance_id = ?1 AND t.receiver = ?2",
        )?
        .query_row((instance.0, receiver), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((root, name)) = kept else { return Ok(None) };
    let replay = tx.history()?;
    let told = replay.state.outgoing.messages.get(&root).filter(|told| told.receiver == receiver);
    let told = told.filter(|told| told.instance.as_ref().is_some_and(|about| about.to_string() == name));
    let row = told.map(|told| row_of(tx, &root, &told.content)).transpose()?.flatten();
    let Some(row) = row else { return Ok(None) };
    let message = tx
        .sql
        .prepare_cached(&format!("SELECT {MESSAGE} FROM outbox NOT INDEXED WHERE rowid = ?1"))?
        .query_row([row], |row| Ok(message_of(row, 0)))?;
    // One that a newer version wrote may not be readable; then another story begins.
    Ok(message.ok().map(|message| Thread::of(&message)))
}

/// Begins a thread.
///
/// # Errors
/// The database cannot be written.
pub(super) fn begin_thread(tx: &Transaction<'_>, instance: InstanceRow, message: &Message) -> Stored<()> {
    tx.sql.execute(
        "INSERT OR REPLACE INTO threads (instance_id, receiver, root, subject, severity) VALUES (?1, ?2, ?3, ?4, ?5)",
        (instance.0, &message.receiver, message.id.as_str(), &message.subject, message.alert.severity().as_str()),
    )?;
    Ok(())
}

/// Ends the threads of an instance: what comes next is a new story.
///
/// # Errors
/// The database cannot be written.
pub(super) fn end_threads(tx: &Transaction<'_>, instance: InstanceRow) -> Stored<()> {
    tx.sql.execute("DELETE FROM threads WHERE instance_id = ?1", [instance.0])?;
    Ok(())
}
