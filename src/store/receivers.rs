//! How receivers are doing: the failures of each in a row, how long it asked to be left alone, and whether it said that it wants
//! nothing any more. It is in no table: what the history says of the tries is all there is.

use chrono::{DateTime, Utc};

use super::outbox::mirror;
use super::{Stored, Transaction, events};
use crate::history::Event;
use crate::history::data::{DisabledReceiver, EnabledReceiver};
use crate::history::outgoing::ReceiverHealth;
use crate::model::Digest;

/// The health of `name` while it is configured as `target`; what happened under another configuration is over.
///
/// # Errors
/// As [`super::Transaction::history`].
pub fn health(tx: &Transaction<'_>, name: &str, target: &Digest) -> Stored<ReceiverHealth> {
    Ok(tx.history()?.state.outgoing.health(name, target))
}

/// Sends nothing more to `name` until it is configured otherwise or somebody says so.
///
/// # Errors
/// The database cannot be written.
pub fn disable(tx: &Transaction<'_>, name: &str, target: &Digest, reason: &str, now: DateTime<Utc>) -> Stored<()> {
    let disabled =
        DisabledReceiver { receiver: name.to_owned(), target: Some(target.clone()), reason: reason.to_owned() };
    events::append(tx, now, None, &Event::ReceiverDisabled(disabled)).map(drop)
}

/// Tries `name` again from now on: forgets that it is disabled, how often it failed and what it asked for. Answers whether
/// there was anything to forget.
///
/// # Errors
/// The database cannot be written, or as [`super::Transaction::history`].
pub fn enable(tx: &Transaction<'_>, name: &str, now: DateTime<Utc>) -> Stored<bool> {
    let (is_unwell, waiting) = {
        let replay = tx.history()?;
        let outgoing = &replay.state.outgoing;
        let waiting = outgoing.waiting_for(name).filter(|(_, message)| message.due > now);
        (outgoing.is_unwell(name), waiting.map(|(id, _)| id.to_owned()).collect::<Vec<_>>())
    };
    if is_unwell || !waiting.is_empty() {
        let enabled = EnabledReceiver { receiver: name.to_owned() };
        events::append(tx, now, None, &Event::ReceiverEnabled(enabled))?;
        waiting.iter().try_for_each(|id| mirror(tx, id, None))?;
    }
    Ok(is_unwell)
}

#[cfg(test)]
mod tests {
    use super::super::Store;
    use super::*;
    use crate::backoff::MAX_RETRY_AFTER;
    use crate::backoff::breaker::Breaker;
    use crate::message::{Alert, Message};
    use crate::model::{HistoryMark, MessageId};
    use crate::store::backlog;
    use crate::store::outbox::{self, Outcome, Tried};

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    /// A store in which a message for 'siem' waits.
    fn waiting(now: DateTime<Utc>) -> (Store, MessageId) {
        let store = Store::temporary().unwrap();
        let alert = Alert::of_watch(Vec::new(), now, HistoryMark { size: 0, head: Digest::of(b"") }, "host".to_owned());
        let message = Message::new("siem", alert, now);
        store.write(|tx| outbox::enqueue(tx, &message)).unwrap();
        (store, message.id)
    }

    /// A try that fails, because the receiver could not take anything if it `is_short`.
    fn fail(
        store: &Store,
        id: &MessageId,
        target: &Digest,
        is_short: bool,
        until: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) {
        let outcome = Outcome::Again(now, "no".to_owned());
        let tried = Tried { outcome: &outcome, is_short, has_taken: !is_short, until };
        store.write(|tx| outbox::record(tx, id, target, &tried, now)).unwrap();
    }

    #[test]
    fn a_receiver_is_disabled_until_it_is_enabled_or_configured_otherwise() {
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
    }

    #[test]
    fn failures_in_a_row_are_counted_and_another_configuration_begins_anew() {
        let now = at("2026-11-22T04:00:00Z");
        let (store, id) = waiting(now);
        let (target, other) = (Digest::of(b"one"), Digest::of(b"other"));
        let breaker = |target: &Digest| store.read(|tx| health(tx, "siem", target)).unwrap().breaker;
        fail(&store, &id, &target, true, None, now);
        fail(&store, &id, &target, true, None, now);
        assert_eq!(breaker(&target), Breaker { failures: 2, failed_at: Some(now) });
        assert_eq!(breaker(&other), Breaker::default());
        fail(&store, &id, &other, true, None, now);
        assert_eq!((breaker(&other).failures, breaker(&target).failures), (1, 0));
        fail(&store, &id, &other, false, None, now);
        assert_eq!(breaker(&other), Breaker::default());
    }

    #[test]
    fn t4_why_a_message_was_given_up_is_what_the_history_says() {
        let now = at("2026-11-22T04:00:00Z");
        let (store, id) = waiting(now);
        let outcome = Outcome::Dead("422 no".to_owned());
        let tried = Tried { outcome: &outcome, is_short: false, has_taken: false, until: None };
        store.write(|tx| outbox::record(tx, &id, &Digest::of(b"one"), &tried, now)).unwrap();
        let missed = || {
            let missed = store.read(|tx| backlog::missed(tx, "siem")).unwrap();
            missed.into_iter().map(|missed| (missed.id, missed.reason)).collect::<Vec<_>>()
        };
        let expected = [(id, "422 no".to_owned())];
        assert_eq!(missed(), expected);
        let missed_is =
            r#"replace(alert, '"notices":[]', '"notices":[{"kind":"receiver.missed","subject":"x","text":"x"}]')"#;
        for edit in [
            "UPDATE outbox SET last_outcome = 'EVIL', subject = 'EVIL'".to_owned(),
            format!("UPDATE outbox SET alert = {missed_is}"),
            "DELETE FROM outbox".to_owned(),
        ] {
            store.write(|tx| Ok::<_, super::super::StoreError>(tx.sql.execute_batch(&edit)?)).unwrap();
            assert_eq!(missed(), expected, "{edit}");
        }
    }

    #[test]
    fn a_receiver_rests_as_long_as_it_asks_and_never_longer_than_anybody_may_ask() {
        let now = at("2026-11-22T04:00:00Z");
        let (store, id) = waiting(now);
        let (target, other) = (Digest::of(b"one"), Digest::of(b"other"));
        let hour = now + chrono::TimeDelta::hours(1);
        let resting = |target: &Digest, now| store.read(|tx| health(tx, "siem", target)).unwrap().resting_until(now);
        fail(&store, &id, &target, true, Some(hour), now);
        assert_eq!(resting(&target, now), Some(hour));
        fail(&store, &id, &target, false, None, now);
        assert_eq!(resting(&target, now), Some(hour), "what it takes meanwhile changes nothing");
        assert_eq!((resting(&target, hour), resting(&other, now)), (None, None));
        assert_eq!(resting(&target, now - MAX_RETRY_AFTER), None, "a clock that was set back");
        fail(&store, &id, &other, true, Some(now + MAX_RETRY_AFTER * 9), now);
        assert_eq!(resting(&other, now), Some(now + MAX_RETRY_AFTER));
        store.write(|tx| enable(tx, "siem", now)).unwrap();
        assert_eq!(resting(&other, now), None, "somebody said so");
    }
}
