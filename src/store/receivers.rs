//! How receivers are doing: the failures of each in a row, how long it asked to be left alone, and whether it said that it wants
//! nothing any more.

use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension, Transaction};
use serde_json::{Value, json};

use super::events::{self, Event};
use super::{Stored, backlog, from_millis, to_millis};
use crate::backoff::LONGEST_WISH;
use crate::backoff::breaker::Breaker;
use crate::model::Digest;

const DISABLED: &str = "receiver.disabled";
const ENABLED: &str = "receiver.enabled";

/// How one receiver is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Its failures in a row.
    pub breaker: Breaker,
    /// Until when it asked to be left alone.
    pub paused_until: Option<DateTime<Utc>>,
    /// Since when it wants nothing, and what it said.
    pub disabled: Option<(DateTime<Utc>, String)>,
}

impl Health {
    /// Until when nothing is sent to it, unless it is time for a try.
    pub fn resting_until(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        // A clock that was set back, or a row that this program never wrote, must not hold messages back for longer than
        // anybody may ask for.
        let paused = self.paused_until.filter(|until| now < *until && *until <= now + LONGEST_WISH);
        self.breaker.closed_until(now).max(paused)
    }
}

/// The health of `name` while it is configured as `target`; whatever happened under another configuration is over.
///
/// # Errors
/// The database cannot be read.
///
/// # Security
/// A receiver is disabled only if the history says so: who can write rows cannot silence one with a row (T4).
pub fn health(tx: &Transaction<'_>, name: &str, target: &Digest) -> Stored<Health> {
    let row: Option<(Breaker, Option<i64>, Option<i64>)> = tx
        .prepare_cached(
            "SELECT failures, failed_at, disabled_by, paused_until FROM receivers WHERE name = ?1 AND target = ?2",
        )?
        .query_row((name, target.as_str()), |row| {
            let failed_at = row.get::<_, Option<i64>>(1)?.map(from_millis);
            // A number that this program never wrote must not hold messages back.
            let failures = u32::try_from(row.get::<_, i64>(0)?).unwrap_or_default();
            Ok((Breaker { failures, failed_at }, row.get(2)?, row.get(3)?))
        })
        .optional()?;
    let Some((breaker, disabled_by, paused_until)) = row else { return Ok(Health::default()) };
    let disabled = match disabled_by {
        Some(event) => said_to_be_disabled(tx, name, target, event)?,
        None => None,
    };
    Ok(Health { breaker, paused_until: paused_until.map(from_millis), disabled })
}

/// When the history says that `name` was disabled, if nothing after it says otherwise.
fn said_to_be_disabled(
    tx: &Transaction<'_>,
    name: &str,
    target: &Digest,
    event: i64,
) -> Stored<Option<(DateTime<Utc>, String)>> {
    let mut query = tx.prepare_cached("SELECT body FROM events WHERE seq >= ?1 ORDER BY seq")?;
    let mut disabled = None;
    for body in query.query_map([event], |row| row.get::<_, Vec<u8>>(0))? {
        let Ok(event) = serde_json::from_slice::<Event>(&body?) else { continue };
        if event.data.get("receiver").and_then(Value::as_str) != Some(name) {
            continue;
        }
        let text = |key: &str| event.data.get(key).and_then(Value::as_str).unwrap_or_default();
        match event.kind.as_str() {
            DISABLED if text("target") == target.as_str() => {
                disabled = Some((event.at.parse().unwrap_or_default(), text("reason").to_owned()));
            }
            ENABLED => disabled = None,
            _ => {}
        }
    }
    Ok(disabled)
}

/// Records the failures in a row.
///
/// # Errors
/// The database cannot be written.
pub fn record(tx: &Transaction<'_>, name: &str, target: &Digest, breaker: Breaker) -> Stored<()> {
    tx.prepare_cached(
        "INSERT INTO receivers (name, target, failures, failed_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (name) DO UPDATE SET target = ?2, failures = ?3, failed_at = ?4,
                                          disabled_by = CASE WHEN target = ?2 THEN disabled_by END,
                                          paused_until = CASE WHEN target = ?2 THEN paused_until END",
    )?
    .execute((name, target.as_str(), breaker.failures, breaker.failed_at.map(to_millis)))?;
    Ok(())
}

/// Leaves `name`, whose failure is recorded, alone until it wants to hear more.
///
/// # Errors
/// The database cannot be written.
pub fn pause(tx: &Transaction<'_>, name: &str, until: DateTime<Utc>) -> Stored<()> {
    tx.prepare_cached("UPDATE receivers SET paused_until = ?2 WHERE name = ?1")?.execute((name, to_millis(until)))?;
    Ok(())
}

/// Sends nothing more to `name` until it is configured otherwise or somebody says so; in the history too.
///
/// # Errors
/// The database cannot be written.
pub fn disable(tx: &Transaction<'_>, name: &str, target: &Digest, reason: &str, now: DateTime<Utc>) -> Stored<()> {
    let data = json!({ "receiver": name, "target": target, "reason": reason });
    let event = events::append(tx, now, DISABLED, None, data)?;
    tx.execute(
        "INSERT OR REPLACE INTO receivers (name, target, failures, disabled_by) VALUES (?1, ?2, 0, ?3)",
        (name, target.as_str(), i64::try_from(event.size).unwrap_or(i64::MAX)),
    )?;
    Ok(())
}

/// Tries `name` again from now on: forgets that it is disabled, how often it failed and what it asked for, and folds what it
/// never got. Answers whether there was anything to forget.
///
/// # Errors
/// The database cannot be written.
pub fn enable(tx: &Transaction<'_>, name: &str, now: DateTime<Utc>) -> Stored<bool> {
    let forgotten = tx.execute("DELETE FROM receivers WHERE name = ?1", [name])?;
    if forgotten > 0 {
        events::append(tx, now, ENABLED, None, json!({ "receiver": name }))?;
    }
    tx.execute(
        "UPDATE outbox SET next_at = ?2 WHERE receiver = ?1 AND state = 'waiting' AND next_at > ?2",
        (name, to_millis(now)),
    )?;
    if forgotten > 0 {
        backlog::fold_after_outage(tx, name, now)?;
    }
    Ok(forgotten > 0)
}

#[cfg(test)]
mod tests {
    use super::super::Store;
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn only_the_history_disables_a_receiver() {
        let store = Store::temporary().unwrap();
        let (target, other) = (Digest::of(b"one"), Digest::of(b"other"));
        let now = at("2026-11-22T04:00:00Z");
        let is_disabled = |target: &Digest| {
            store.read(|tx| health(tx, "siem", target)).unwrap().disabled.map(|(at, reason)| (at.to_string(), reason))
        };
        store.write(|tx| disable(tx, "siem", &target, "410 Gone", now)).unwrap();
        assert_eq!(is_disabled(&target).unwrap(), ("2026-11-22 04:00:00 UTC".to_owned(), "410 Gone".to_owned()));
        assert_eq!(is_disabled(&other), None, "configured otherwise");
        assert!(store.write(|tx| enable(tx, "siem", now)).unwrap());
        assert!(!store.write(|tx| enable(tx, "siem", now)).unwrap());
        assert_eq!(is_disabled(&target), None);
        // A row alone does nothing, also not one that points to an event that was true once.
        for event in [0, 1, 2, 99] {
            store
                .write(|tx| -> Stored<()> {
                    tx.execute(
                        "INSERT OR REPLACE INTO receivers (name, target, failures, disabled_by) VALUES ('siem', ?1, 0, ?2)",
                        (target.as_str(), event),
                    )?;
                    Ok(())
                })
                .unwrap();
            assert_eq!(is_disabled(&target), None, "{event}");
        }
    }

    #[test]
    fn failures_in_a_row_are_kept_and_another_configuration_begins_anew() {
        let store = Store::temporary().unwrap();
        let (target, other) = (Digest::of(b"one"), Digest::of(b"other"));
        let now = at("2026-11-22T04:00:00Z");
        let breaker = |target: &Digest| store.read(|tx| health(tx, "siem", target)).unwrap().breaker;
        let record = |target: &Digest, breaker| store.write(|tx| record(tx, "siem", target, breaker)).unwrap();
        record(&target, breaker(&target).failed(now));
        record(&target, breaker(&target).failed(now));
        assert_eq!(breaker(&target), Breaker { failures: 2, failed_at: Some(now) });
        assert_eq!(breaker(&other), Breaker::default());
        record(&other, breaker(&other).failed(now));
        assert_eq!((breaker(&other).failures, breaker(&target).failures), (1, 0));
        record(&other, breaker(&other).answered());
        assert_eq!(breaker(&other), Breaker::default());
    }

    #[test]
    fn a_receiver_rests_as_long_as_it_asks_and_never_longer_than_anybody_may_ask() {
        let store = Store::temporary().unwrap();
        let (target, other) = (Digest::of(b"one"), Digest::of(b"other"));
        let now = at("2026-11-22T04:00:00Z");
        let hour = now + chrono::TimeDelta::hours(1);
        let resting = |target: &Digest, now| store.read(|tx| health(tx, "siem", target)).unwrap().resting_until(now);
        let record = |target: &Digest| store.write(|tx| record(tx, "siem", target, Breaker::default())).unwrap();
        record(&target);
        store.write(|tx| pause(tx, "siem", hour)).unwrap();
        assert_eq!(resting(&target, now), Some(hour));
        record(&target);
        assert_eq!(resting(&target, now), Some(hour), "what it takes meanwhile changes nothing");
        assert_eq!((resting(&target, hour), resting(&other, now)), (None, None));
        assert_eq!(resting(&target, now - LONGEST_WISH), None, "a clock that was set back");
        record(&other);
        assert_eq!(resting(&other, now), None, "configured otherwise");
        store.write(|tx| pause(tx, "siem", hour)).unwrap();
        store.write(|tx| enable(tx, "siem", now)).unwrap();
        assert_eq!(resting(&other, now), None, "somebody said so");
    }
}
