//! Coalesces the messages that wait for a receiver after an outage, and bounds how many wait.
//!
//! Only messages that were never tried are coalesced: no other can be known not to have arrived.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::message::fold::fold;
use crate::message::subject::subject;
use crate::message::{Alert, Body, Message};
use crate::model::MessageId;
use crate::store::outbox::{self, WaitingMessage};
use crate::store::{StoreError, Transaction};

/// Messages about one instance that a receiver gets one by one when it is back; more are coalesced into one.
const MOST_AFTER_OUTAGE: usize = 3;
/// What waited longer than this and was never tried was held up: its receiver was disabled, not configured or asked for time.
const HELD_UP: TimeDelta = TimeDelta::minutes(10);

/// The messages about one instance that were never tried.
#[derive(Debug, Default, PartialEq, Eq)]
struct MessageGroup {
    /// Oldest first.
    ids: Vec<MessageId>,
    /// When the oldest was queued; none if an older message about the instance waits that was tried.
    waits_since: Option<DateTime<Utc>>,
}

impl MessageGroup {
    fn is_large(&self) -> bool {
        self.ids.len() > MOST_AFTER_OUTAGE
    }
}

/// Coalesces what waits for `receiver`, instance by instance, where it is more than a few: the receiver is back after an
/// outage, and nobody reads the same story in ten messages.
///
/// # Errors
/// The database cannot be written, or as [`Transaction::history`].
pub fn after_outage(tx: &Transaction<'_>, receiver: &str, now: DateTime<Utc>) -> Result<(), StoreError> {
    let groups = groups(outbox::waiting_for(tx, receiver)?);
    groups.iter().filter(|group| group.is_large()).try_for_each(|group| coalesce(tx, receiver, group, now))
}

/// The same where nothing failed before: a receiver that was disabled, not configured or asked for time is sent to again.
/// What waits behind a message that was tried waits for how that one ends.
pub(super) fn held_up(tx: &Transaction<'_>, receiver: &str, now: DateTime<Utc>) -> Result<(), StoreError> {
    let is_old = |group: &&MessageGroup| group.waits_since.is_some_and(|since| since <= now - HELD_UP);
    let groups = groups(outbox::waiting_for(tx, receiver)?);
    let held_up = groups.iter().filter(|group| group.is_large()).filter(is_old);
    held_up.into_iter().try_for_each(|group| coalesce(tx, receiver, group, now))
}

/// Coalesces what waits for `receiver`, the largest group first, until at most `most` messages wait.
///
/// # Errors
/// The database cannot be written, or as [`Transaction::history`].
pub fn bound(tx: &Transaction<'_>, receiver: &str, most: usize, now: DateTime<Utc>) -> Result<(), StoreError> {
    let waiting = outbox::waiting_for(tx, receiver)?;
    let mut count = waiting.len();
    if count <= most {
        return Ok(());
    }
    for group in groups(waiting) {
        if count > most && group.ids.len() > 1 {
            coalesce(tx, receiver, &group, now)?;
            count -= group.ids.len() - 1;
        }
    }
    Ok(())
}

/// What was never tried of `waiting`, the oldest first, by instance, the largest group first.
fn groups(waiting: Vec<WaitingMessage>) -> Vec<MessageGroup> {
    let mut groups: BTreeMap<Option<String>, MessageGroup> = BTreeMap::new();
    let mut tried = Vec::new();
    for message in waiting {
        if !message.is_untried {
            tried.push(message.instance);
            continue;
        }
        let is_first = !tried.contains(&message.instance);
        let group = groups.entry(message.instance.map(|id| id.to_string())).or_default();
        if group.ids.is_empty() && is_first {
            group.waits_since = Some(message.queued_at);
        }
        group.ids.push(message.id);
    }
    let mut groups: Vec<MessageGroup> = groups.into_values().collect();
    groups.sort_by_key(|group| Reverse(group.ids.len()));
    groups
}

fn coalesce(tx: &Transaction<'_>, receiver: &str, group: &MessageGroup, now: DateTime<Utc>) -> Result<(), StoreError> {
    let messages = outbox::unclaimed(tx, &group.ids)?;
    match coalesced(receiver, &messages, now) {
        Some(one) => outbox::replace(tx, &messages, &one, now),
        None => Ok(()),
    }
}

/// One message that says what `messages` say, the oldest first.
fn coalesced(receiver: &str, messages: &[Message], now: DateTime<Utc>) -> Option<Message> {
    let (first, alert) =
        (messages.first()?, fold(messages.iter().map(|message| message.alert.clone()).collect::<Vec<Alert>>())?);
    // It goes on with a story that was told before only if all of them do.
    let is_of_story = |message: &Message| message.thread.is_some() && message.thread == first.thread;
    let thread = first.thread.clone().filter(|_| messages.iter().all(is_of_story));
    let text = if thread.is_some() { first.subject.clone() } else { subject(&alert) };
    let one = Message { thread, subject: text, ..Message::new(receiver, alert, now) };
    let body = first.body.as_ref().and_then(|body| Body::of(&one, body.format).ok());
    Some(Message { body, ..one })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(number: i64, instance: Option<&str>, is_untried: bool) -> WaitingMessage {
        WaitingMessage {
            id: MessageId::from_text(format!("msg_{number}")),
            instance: instance.map(|id| id.parse().unwrap()),
            queued_at: DateTime::from_timestamp(number, 0).unwrap(),
            is_untried,
        }
    }

    #[test]
    fn messages_are_grouped_by_instance_and_none_that_was_tried_is_among_them() {
        let (a, b) = (Some("clerk:a"), Some("clerk:b"));
        let found = groups(vec![
            waiting(1, a, true),
            waiting(2, b, false),
            waiting(3, b, true),
            waiting(4, b, true),
            waiting(5, None, true),
            waiting(6, a, false),
            waiting(7, a, true),
            waiting(8, b, true),
        ]);
        let shape: Vec<(Vec<&str>, Option<i64>)> = found
            .iter()
            .map(|group| {
                let ids = group.ids.iter().map(|id| id.as_str().trim_start_matches("msg_")).collect();
                (ids, group.waits_since.map(|since| since.timestamp()))
            })
            .collect();
        // What waits behind a message that was tried waits for that one.
        assert_eq!(shape, [(vec!["3", "4", "8"], None), (vec!["1", "7"], Some(1)), (vec!["5"], Some(5))]);
    }
}
