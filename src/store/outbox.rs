//! Messages that are committed and not yet delivered.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{OptionalExtension, Row, Transaction};
use serde_json::json;

use super::instances::InstanceRow;
use super::{StoreError, Stored, backlog, events, from_millis, read_json, to_millis, write_json};
use crate::message::{Alert, Body, Entry, Format, Message};
use crate::model::{Digest, MessageId, Severity};
use crate::telemetry::{DeliveryGivenUp, Observable};

/// Longer than any pause between two tries: the longest is a day, and a fifth of it for scatter.
const LONGEST_WAIT: TimeDelta = TimeDelta::hours(30);

/// Tries after which a message that is refused lets later ones about the same instance go first, if the receiver evidently
/// answers: some five minutes. While a receiver is away nothing steps aside, so that what waits can be folded.
const STEPS_ASIDE: u32 = 3;

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

/// Keeps a new message, and says so in the history.
///
/// # Errors
/// The database cannot be written.
pub fn keep(tx: &Transaction<'_>, message: &Message) -> Stored<()> {
    // Something planted could mark it as sent: then it is told past the database, see the daemon.
    super::open::check_nothing_planted(tx)?;
    let alert = written(&message.alert)?;
    tx.prepare_cached(
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
    // Who removes or rewrites the message cannot do so in the history.
    let content = content(tx, message.id.as_str())?;
    let data = json!({ "message": message.id, "receiver": message.receiver, "content": content });
    events::append(tx, message.created_at, events::QUEUED, message.alert.instance.as_ref(), data)?;
    Ok(())
}

/// The alert as it is kept, if it can be read again: one that cannot is never sent, with all that it says.
fn written(alert: &Alert) -> Stored<String> {
    let reads_back = |alert: &Alert| serde_json::to_string(alert).ok().filter(|text| read_json::<Alert>(text).is_ok());
    reads_back(alert).ok_or_else(|| {
        let alone = |entry: &Entry| Alert { entries: vec![entry.clone()], ..alert.clone() };
        let section = alert.entries.iter().find(|entry| reads_back(&alone(entry)).is_none());
        StoreError::Unreadable {
            what: "a message".to_owned(),
            section: section.and_then(|entry| Some(entry.changes.first()?.path.section().to_owned())),
        }
    })
}

/// The digest of what a message says and to whom, from its row. Nothing that changes while it is delivered is in it.
///
/// # Errors
/// The database cannot be read, or there is no such message.
pub fn content(tx: &Transaction<'_>, id: &str) -> Stored<Digest> {
    let content = tx
        .prepare_cached(
            "SELECT id, receiver, instance, alert, coalesce(thread, ''), subject, created_at, format, body
             FROM outbox WHERE id = ?1",
        )?
        .query_row([id], |row| {
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
        })?;
    Ok(Digest::of(write_json(&content)?.as_bytes()))
}

/// Takes the next message for `receiver` that is due, so that no other process tries it for `hold`.
///
/// Messages about one instance go in the order they were made: nothing is taken while an older one still waits, unless that
/// was refused `STEPS_ASIDE` times by a receiver that takes others, and is not due itself: what one message says must not keep
/// every later one from being heard. Those about other instances do not wait for them; what was due first goes first, so
/// that one which is held again and again comes after all others. A message that cannot be read is given up, not tried for
/// ever. One that is to wait longer than anything waits was written so by somebody else, or by a clock that was wrong: it is due.
///
/// # Errors
/// The database cannot be written.
pub fn claim(tx: &Transaction<'_>, receiver: &str, now: DateTime<Utc>, hold: Duration) -> Stored<Option<Message>> {
    let until = to_millis(now) + i64::try_from(hold.as_millis()).unwrap_or(i64::MAX);
    loop {
        let next = tx
            .prepare_cached(&format!(
                "SELECT {MESSAGE} FROM outbox AS mine
                 WHERE receiver = ?1 AND state = 'waiting'
                   AND (next_at <= ?2 OR next_at > ?3) AND (claimed_to <= ?2 OR claimed_to > ?4)
                   AND NOT EXISTS (SELECT 1 FROM outbox AS older
                                   WHERE older.receiver = mine.receiver AND older.instance = mine.instance
                                     AND older.state = 'waiting'
                                     AND NOT (older.attempts >= ?5 AND older.next_at > ?2
                                              AND (older.passed
                                                   OR substr(older.last_outcome, 1, 4) IN ('401 ', '403 ', '404 ')))
                                     AND older.rowid < mine.rowid)
                 ORDER BY next_at, rowid LIMIT 1"
            ))?
            .query_row((receiver, to_millis(now), to_millis(now + LONGEST_WAIT), until, STEPS_ASIDE), |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, u32>(6)?, row.get::<_, String>(9)?, message_of(row)))
            })
            .optional()?;
        let Some((id, attempts, instance, message)) = next else { return Ok(None) };
        match message {
            Ok(message) => {
                tx.execute("UPDATE outbox SET claimed_to = ?2 WHERE id = ?1", (&id, until))?;
                return Ok(Some(message));
            }
            Err(error) => {
                let reason = format!("this version of the program cannot read the message: {error}");
                DeliveryGivenUp { receiver, delivery: &MessageId::from_text(id.clone()), error: &reason }.observe();
                record(tx, &MessageId::from_text(id.clone()), &Outcome::Dead(reason), now)?;
                // Without the event the row would not be as the history tells it, for good.
                let data = json!({ "message": id, "receiver": receiver, "attempts": attempts });
                events::append(tx, now, "delivery.given_up", instance.parse().ok().as_ref(), data)?;
            }
        }
    }
}

/// What [`message_of`] reads, and the instance.
pub(super) const MESSAGE: &str = "id, receiver, alert, thread, subject, created_at, attempts, format, body, instance";

/// The message in a row of [`MESSAGE`].
pub(super) fn message_of(row: &Row<'_>) -> Stored<Message> {
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
        attempts: row.get(6)?,
    })
}

/// Records how a try ended; answers whether it was still open how the message ends.
///
/// # Errors
/// The database cannot be written.
pub fn record(tx: &Transaction<'_>, id: &MessageId, outcome: &Outcome, now: DateTime<Utc>) -> Stored<bool> {
    let (state, next, words, done) = match outcome {
        Outcome::Delivered(words) => ("delivered", now, words, Some(to_millis(now))),
        Outcome::Again(next, words) | Outcome::Partly(next, words) | Outcome::Held(next, words) => {
            ("waiting", *next, words, None)
        }
        Outcome::Dead(words) => ("dead", now, words, Some(to_millis(now))),
    };
    let tries = u32::from(!matches!(outcome, Outcome::Held(..)));
    let is_partly = matches!(outcome, Outcome::Partly(..));
    let recorded = tx
        .prepare_cached(
            "UPDATE outbox SET state = ?2, next_at = ?3, last_outcome = ?4, done_at = ?5, claimed_to = 0,
                           attempts = attempts + ?6, first_at = coalesce(first_at, ?7),
                           passed = ?8 OR (passed AND attempts >= ?9)
         WHERE id = ?1 AND state = 'waiting'",
        )?
        .execute((id.as_str(), state, to_millis(next), words, done, tries, to_millis(now), is_partly, STEPS_ASIDE))?;
    Ok(recorded > 0)
}

/// Notes that `receiver` took something: what it refused meanwhile was refused for what it says. If that ended an outage,
/// what waits for long is due once, and what was never tried is folded.
///
/// # Errors
/// The database cannot be written.
pub fn took(tx: &Transaction<'_>, receiver: &str, is_back: bool, now: DateTime<Utc>) -> Stored<()> {
    if is_back {
        // Not what comes in a few minutes anyway, and none twice: who takes every other message is not away.
        tx.prepare_cached(
            "UPDATE outbox SET next_at = min(next_at, ?2)
             WHERE receiver = ?1 AND state = 'waiting' AND attempts >= ?3 AND NOT passed",
        )?
        .execute((receiver, to_millis(now), STEPS_ASIDE))?;
    }
    tx.prepare_cached(
        "UPDATE outbox SET passed = 1 WHERE receiver = ?1 AND state = 'waiting' AND first_at IS NOT NULL AND NOT passed",
    )?
    .execute([receiver])?;
    if is_back {
        backlog::fold_after_outage(tx, receiver, now)?;
    }
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
/// The database cannot be read.
pub fn trials(tx: &Transaction<'_>, id: &MessageId) -> Stored<Trials> {
    let trials = tx
        .prepare_cached("SELECT first_at, passed FROM outbox WHERE id = ?1")?
        .query_row([id.as_str()], |row| {
            Ok(Trials { since: row.get::<_, Option<i64>>(0)?.map(from_millis), is_passed: row.get(1)? })
        })
        .optional()?;
    Ok(trials.unwrap_or_default())
}

/// A receiver that does not take what is sent to it.
#[derive(Debug, Clone)]
pub struct Failing {
    /// Since when.
    pub since: DateTime<Utc>,
    /// Messages that were given up since it took one.
    pub given_up: u64,
    /// Why the last try failed.
    pub reason: String,
}

/// Whether `receiver` takes nothing: it refused, or failed to take, everything that was tried since the last delivery.
///
/// # Errors
/// The database cannot be read.
pub fn failing(tx: &Transaction<'_>, receiver: &str) -> Stored<Option<Failing>> {
    let failing = tx
        .prepare_cached(
            "WITH refused AS (
                 SELECT * FROM outbox WHERE receiver = ?1 AND first_at IS NOT NULL
                    AND (state = 'waiting' AND NOT passed
                         OR state = 'dead' AND done_at >= coalesce((SELECT max(done_at) FROM outbox
                                                                    WHERE receiver = ?1 AND state = 'delivered'), 0)))
             SELECT min(first_at), count(done_at),
                    (SELECT last_outcome FROM refused ORDER BY coalesce(done_at, next_at) DESC LIMIT 1) FROM refused",
        )?
        .query_row([receiver], |row| {
            let since: Option<i64> = row.get(0)?;
            let given_up: i64 = row.get(1)?;
            Ok((since, given_up, row.get::<_, Option<String>>(2)?))
        })?;
    let (since, given_up, reason) = failing;
    Ok(since.map(|since| Failing {
        since: from_millis(since),
        given_up: u64::try_from(given_up).unwrap_or_default(),
        reason: reason.unwrap_or_default(),
    }))
}

/// How many messages wait, whoever for.
///
/// # Errors
/// The database cannot be read.
pub fn count_waiting(tx: &Transaction<'_>) -> Stored<u64> {
    let count: i64 =
        tx.prepare_cached("SELECT count(*) FROM outbox WHERE state = 'waiting'")?.query_row([], |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or_default())
}

/// How `receiver` is doing.
///
/// # Errors
/// The database cannot be read.
pub fn receiver_state(tx: &Transaction<'_>, receiver: &str) -> Stored<ReceiverState> {
    let count = |state: &str| -> Stored<u64> {
        let count: i64 = tx
            .prepare_cached("SELECT count(*) FROM outbox WHERE receiver = ?1 AND state = ?2")?
            .query_row([receiver, state], |row| row.get(0))?;
        Ok(u64::try_from(count).unwrap_or_default())
    };
    let last_delivery = tx
        .prepare_cached(
            "SELECT done_at, last_outcome FROM outbox WHERE receiver = ?1 AND state = 'delivered'
             ORDER BY done_at DESC LIMIT 1",
        )?
        .query_row([receiver], |row| Ok((from_millis(row.get(0)?), row.get(1)?)))
        .optional()?;
    let trouble = tx
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

/// The thread of the instance at `receiver`, if a story is going on.
///
/// # Errors
/// The database cannot be read.
pub fn thread(tx: &Transaction<'_>, instance: InstanceRow, receiver: &str) -> Stored<Option<Thread>> {
    let thread = tx
        .prepare_cached("SELECT root, subject, severity FROM threads WHERE instance_id = ?1 AND receiver = ?2")?
        .query_row((instance.0, receiver), |row| {
            let severity = Severity::from_word(&row.get::<_, String>(2)?).unwrap_or(Severity::Critical);
            Ok(Thread { root: MessageId::from_text(row.get::<_, String>(0)?), subject: row.get(1)?, severity })
        })
        .optional()?;
    Ok(thread)
}

/// Begins a thread.
///
/// # Errors
/// The database cannot be written.
pub fn begin_thread(tx: &Transaction<'_>, instance: InstanceRow, message: &Message) -> Stored<()> {
    tx.execute(
        "INSERT OR REPLACE INTO threads (instance_id, receiver, root, subject, severity) VALUES (?1, ?2, ?3, ?4, ?5)",
        (instance.0, &message.receiver, message.id.as_str(), &message.subject, message.alert.severity().as_str()),
    )?;
    Ok(())
}

/// Ends the threads of an instance: what comes next is a new story.
///
/// # Errors
/// The database cannot be written.
pub fn end_threads(tx: &Transaction<'_>, instance: InstanceRow) -> Stored<()> {
    tx.execute("DELETE FROM threads WHERE instance_id = ?1", [instance.0])?;
    Ok(())
}
