//! What the history says of messages and receivers: which messages wait, when each may be tried, and how each receiver
//! is doing.
//!
//! The columns of the outbox that say the same are a copy for people. Deliveries are decided by this, so that a row that
//! was edited, planted or hidden from an index neither sends a message nor holds one back.

use std::collections::{BTreeMap, BTreeSet};

use chrono::serde::{ts_nanoseconds, ts_nanoseconds_option};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::data::{DeliveryTry, FailedDelivery, QueuedAlert};
use super::{Event, Record, event_place};
use crate::backoff::MAX_RETRY_AFTER;
use crate::backoff::breaker::{Breaker, MOST_FAILURES};
use crate::clock::Timestamp;
use crate::model::{Digest, InstanceId, MessageId, word};

/// Longer than any pause between two tries: the longest is a day, and a fifth of it for scatter.
pub const LONGEST_WAIT: TimeDelta = TimeDelta::hours(30);

/// Tries after which a message that is refused lets later ones about the same instance go first, if the receiver evidently
/// answers: some five minutes. While a receiver is away nothing steps aside, so that what waits can be folded.
pub const STEPS_ASIDE: u32 = 3;

/// How long after the last sign of life on the way to a receiver another process may claim to be sending. A try takes less
/// than a minute.
pub const CLAIM_BELIEVED: TimeDelta = TimeDelta::minutes(5);

/// Messages and receivers as the events left them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outgoing {
    /// Messages by id, until they are pruned.
    pub messages: BTreeMap<String, ToldMessage>,
    /// The ids of those that wait, by receiver and event.
    waiting: BTreeMap<String, BTreeMap<u64, String>>,
    receivers: BTreeMap<String, ToldReceiver>,
}

/// A message that was queued. There are many: a checkpoint holds times as numbers, and nothing that is not so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldMessage {
    /// The event that queued it.
    pub seq: u64,
    /// To whom.
    pub receiver: String,
    /// About which instance.
    pub instance: Option<InstanceId>,
    /// The digest of what it says.
    pub content: String,
    /// It says that something cannot be trusted: its first try waits for nothing.
    #[serde(default, skip_serializing_if = "is_default")]
    is_urgent: bool,
    /// The state of its row in the outbox.
    pub state: MessageState,
    /// When it was queued.
    #[serde(with = "ts_nanoseconds")]
    pub queued_at: DateTime<Utc>,
    /// When it is tried next.
    #[serde(with = "ts_nanoseconds")]
    pub due: DateTime<Utc>,
    /// Tries that failed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub attempts: u32,
    /// The first try.
    #[serde(default, skip_serializing_if = "is_default", with = "ts_nanoseconds_option")]
    pub first_at: Option<DateTime<Utc>>,
    /// The receiver took something else after it had refused this one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub is_passed: bool,
    /// Why the last try failed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub reason: String,
    /// Its row is not the one that was queued, and people were told.
    #[serde(default, skip_serializing_if = "is_default")]
    pub is_refused: bool,
    /// The event that gave it up last.
    #[serde(default, skip_serializing_if = "is_default")]
    given_up: Option<u64>,
    /// When it was delivered, given up or folded.
    #[serde(default, skip_serializing_if = "is_default", with = "ts_nanoseconds_option")]
    pub done_at: Option<DateTime<Utc>>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

word!(
    /// How far a message is, as its row in the outbox has it.
    MessageState {
        /// It waits for a try.
        Waiting = "waiting",
        /// The receiver took it.
        Delivered = "delivered",
        /// It was given up.
        Dead = "dead",
        /// It is a part of another message.
        Folded = "folded",
    }
);

impl ToldMessage {
    /// Where in the history it was queued.
    pub fn since(&self) -> String {
        event_place(self.seq, self.queued_at.into())
    }

    /// Whether it waits for a try.
    pub fn is_waiting(&self) -> bool {
        self.state == MessageState::Waiting
    }

    /// Whether nothing of it can have arrived: it was never tried.
    pub fn is_untried(&self) -> bool {
        self.is_waiting() && !self.is_refused && self.first_at.is_none() && self.attempts == 0
    }

    /// Whether it is time for a try. A time later than anything waits was set by a clock that was wrong.
    fn is_due(&self, now: DateTime<Utc>) -> bool {
        self.due <= now || self.due > now + LONGEST_WAIT
    }

    /// Whether later messages about the same instance go first.
    fn steps_aside(&self, now: DateTime<Utc>) -> bool {
        let is_refusal = || ["401 ", "403 ", "404 "].iter().any(|code| self.reason.starts_with(code));
        self.attempts >= STEPS_ASIDE && self.due > now && (self.is_passed || is_refusal())
    }
}

/// How a receiver is doing, under the configuration it had last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct ToldReceiver {
    target: String,
    health: ReceiverHealth,
    /// The last event about it.
    last_at: DateTime<Utc>,
    /// What was given up since it took something, and when each was tried first.
    given_up: BTreeMap<String, DateTime<Utc>>,
    /// Why the last try failed.
    reason: String,
}

/// How one receiver is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiverHealth {
    /// Its failures in a row.
    pub breaker: Breaker,
    /// Until when it asked to be left alone.
    pub paused_until: Option<DateTime<Utc>>,
    /// Since when it wants nothing, and what it said.
    pub disabled: Option<(DateTime<Utc>, String)>,
}

impl ReceiverHealth {
    /// Until when nothing is sent to it, unless it is time for a try.
    pub fn resting_until(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        // A clock that was set back, or a row that this program never wrote, must not hold messages back for longer than
        // anybody may ask for.
        let paused = self.paused_until.filter(|until| now < *until && *until <= now + MAX_RETRY_AFTER);
        self.breaker.closed_until(now).max(paused)
    }
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

/// What a receiver still has to get.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Messages that wait.
    pub count: u64,
    /// When the oldest of them was made.
    pub oldest: Option<DateTime<Utc>>,
    /// Messages that were given up.
    pub given_up: u64,
}

impl Waiting {
    /// What all receivers together still have to get.
    pub fn sum<'a>(of: impl IntoIterator<Item = &'a Self>) -> Self {
        of.into_iter().fold(Self::default(), |all, one| Self {
            count: all.count + one.count,
            oldest: all.oldest.into_iter().chain(one.oldest).min(),
            given_up: all.given_up + one.given_up,
        })
    }
}

impl Outgoing {
    /// Applies the next event.
    pub(super) fn apply(&mut self, record: &Record) {
        let at = record.at.0;
        match &record.event {
            Event::AlertQueued(queued) => self.queue(record, queued),
            Event::DeliveryFailed(failed) => self.fail(failed, at),
            Event::DeliveryDone(done) => {
                let DeliveryTry { message, receiver, .. } = &done.this;
                self.took(receiver, self.is_back(message.as_str(), receiver), at);
                self.answered(&done.this, at);
                self.count_try(message);
                self.end(message, MessageState::Delivered, at);
                if let Some(receiver) = self.receivers.get_mut(receiver) {
                    receiver.given_up.clear();
                }
            }
            Event::DeliveryGivenUp(given_up) => {
                match given_up.failed {
                    Some(true) => self.fell_short(&given_up.this, at),
                    _ => self.answered(&given_up.this, at),
                }
                let id = &given_up.this.message;
                self.count_try(id);
                if let Some(message) = self.messages.get_mut(id.as_str()) {
                    message.given_up = Some(record.seq);
                    message.reason.clone_from(&given_up.reason);
                    message.first_at = message.first_at.or(Some(at));
                }
                self.give_up(id, &given_up.reason, at);
            }
            Event::DeliveryDropped(dropped) => self.give_up(&dropped.message, &dropped.reason, at),
            Event::DeliveryFolded(folded) => self.end(&folded.message, MessageState::Folded, at),
            Event::DeliveryRefused(refused) => {
                if let Some(message) = self.messages.get_mut(refused.message.as_str()) {
                    message.is_refused = true;
                }
            }
            Event::DeliveryRetried(retried) => self.retry(&retried.message, at),
            Event::ReceiverDisabled(disabled) => {
                let receiver = self.receiver(&disabled.receiver, disabled.target.as_ref(), at);
                let disabled = Some((at, disabled.reason.clone()));
                receiver.health = ReceiverHealth { disabled, ..ReceiverHealth::default() };
            }
            Event::ReceiverEnabled(enabled) => {
                if let Some(receiver) = self.receivers.get_mut(&enabled.receiver) {
                    receiver.health = ReceiverHealth::default();
                }
                self.each_waiting_for(&enabled.receiver, |message| message.due = message.due.min(at));
            }
            Event::OutboxPruned(pruned) => pruned.messages.iter().for_each(|id| self.forget(id.as_str())),
            _ => {}
        }
    }

    /// The health of `receiver` while it is configured as `target`; what happened under another configuration is over.
    pub fn health(&self, receiver: &str, target: &Digest) -> ReceiverHealth {
        let known = self.receivers.get(receiver).filter(|known| known.target == target.as_str());
        known.map(|known| known.health.clone()).unwrap_or_default()
    }

    /// Whether anything is known of `receiver` that [`Event::ReceiverEnabled`] would end.
    pub fn is_unwell(&self, receiver: &str) -> bool {
        self.receivers.get(receiver).is_some_and(|known| known.health != ReceiverHealth::default())
    }

    /// The messages that wait for `receiver`, oldest first.
    pub fn waiting_for(&self, receiver: &str) -> impl Iterator<Item = (&str, &ToldMessage)> {
        let ids = self.waiting.get(receiver).into_iter().flat_map(BTreeMap::values);
        ids.filter_map(|id| Some((id.as_str(), self.messages.get(id)?)))
    }

    fn each_waiting_for(&mut self, receiver: &str, change: impl Fn(&mut ToldMessage)) {
        for id in self.waiting.get(receiver).into_iter().flat_map(BTreeMap::values) {
            if let Some(message) = self.messages.get_mut(id) {
                change(message);
            }
        }
    }

    /// How many messages wait in all.
    pub fn count_waiting(&self) -> usize {
        self.waiting.values().map(BTreeMap::len).sum()
    }

    /// The receivers for which something waits.
    pub fn receivers_waited_for(&self) -> impl Iterator<Item = &str> {
        self.waiting.iter().filter(|(_, ids)| !ids.is_empty()).map(|(name, _)| name.as_str())
    }

    /// The messages for `receiver` that are due at `now`, in the order in which they are tried.
    ///
    /// Messages about one instance go in the order they were queued: none is due while an older one waits that does not step
    /// aside. Those about other instances do not wait for them; what was due first goes first, so that one which is held
    /// again and again comes after all others. The first try of what says that something cannot be trusted waits neither for
    /// others nor for a pause of the receiver.
    pub fn due(&self, receiver: &str, target: &Digest, now: DateTime<Utc>) -> Vec<&str> {
        let health = self.health(receiver, target);
        if health.disabled.is_some() {
            return Vec::new();
        }
        let is_resting = health.resting_until(now).is_some();
        let (mut urgent, mut due, mut held) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (id, message) in self.waiting_for(receiver).filter(|(_, message)| !message.is_refused) {
            if message.is_urgent && message.is_untried() {
                urgent.push(id);
            } else if !is_resting && message.is_due(now) && !held.contains(&message.instance) {
                due.push((message.due, message.seq, id));
            }
            if !message.steps_aside(now) {
                held.insert(&message.instance);
            }
        }
        due.sort();
        urgent.into_iter().chain(due.into_iter().map(|(.., id)| id)).collect()
    }

    /// Whether another process may be sending `message` now, which its row says is claimed until `claimed_to`.
    pub fn may_be_claimed(
        &self,
        message: &ToldMessage,
        claimed_to: DateTime<Utc>,
        hold: TimeDelta,
        now: DateTime<Utc>,
    ) -> bool {
        let last = self.receivers.get(&message.receiver).map(|known| known.last_at);
        let sign_of_life = last.filter(|last| *last <= now).map_or(message.due, |last| last.max(message.due));
        claimed_to > now && claimed_to <= now + hold && now < sign_of_life + CLAIM_BELIEVED
    }

    /// Whether `receiver` takes nothing: it refused, or failed to take, everything that was tried since the last delivery.
    pub fn failing(&self, receiver: &str) -> Option<Failing> {
        let known = self.receivers.get(receiver)?;
        let waiting = self.waiting_for(receiver).filter(|(_, message)| !message.is_passed);
        let waiting = waiting.filter_map(|(_, message)| message.first_at);
        let since = waiting.chain(known.given_up.values().copied()).min()?;
        let given_up = u64::try_from(known.given_up.len()).unwrap_or(u64::MAX);
        Some(Failing { since, given_up, reason: known.reason.clone() })
    }

    /// What every receiver still has to get.
    pub fn overview(&self) -> BTreeMap<String, Waiting> {
        let mut found: BTreeMap<String, Waiting> = BTreeMap::new();
        for message in self.messages.values() {
            let waiting = found.entry(message.receiver.clone()).or_default();
            match message.state {
                MessageState::Waiting => {
                    waiting.count += 1;
                    waiting.oldest = waiting.oldest.into_iter().chain([message.queued_at]).min();
                }
                MessageState::Dead => waiting.given_up += 1,
                MessageState::Delivered | MessageState::Folded => {}
            }
        }
        found
    }

    /// The messages for `receiver` that were given up after event `seq` and still are, oldest first.
    pub fn given_up_since(&self, receiver: &str, seq: u64) -> Vec<&str> {
        let mut found: Vec<(u64, &str)> = Vec::new();
        for (id, message) in self.messages.iter().filter(|(_, message)| message.receiver == receiver) {
            let given_up = message.given_up.filter(|given_up| *given_up > seq && message.state == MessageState::Dead);
            found.extend(given_up.map(|given_up| (given_up, id.as_str())));
        }
        found.sort();
        found.into_iter().map(|(_, id)| id).collect()
    }

    fn queue(&mut self, record: &Record, queued: &QueuedAlert) {
        let QueuedAlert { message: id, receiver, content, urgent } = queued;
        let message = ToldMessage {
            seq: record.seq,
            receiver: receiver.clone(),
            instance: record.instance.clone(),
            content: content.as_ref().map(ToString::to_string).unwrap_or_default(),
            is_urgent: *urgent,
            state: MessageState::Waiting,
            queued_at: record.at.0,
            due: record.at.0,
            attempts: 0,
            first_at: None,
            is_passed: false,
            reason: String::new(),
            is_refused: false,
            given_up: None,
            done_at: None,
        };
        self.forget(id.as_str());
        self.waiting.entry(receiver.clone()).or_default().insert(record.seq, id.as_str().to_owned());
        self.messages.insert(id.as_str().to_owned(), message);
    }

    /// A try failed, and there will be another.
    fn fail(&mut self, delivery: &FailedDelivery, at: DateTime<Utc>) {
        let FailedDelivery { this, next, reason, failed, took, held, partly } = delivery;
        let (id, receiver) = (this.message.as_str(), &this.receiver);
        let is_back = self.is_back(id, receiver);
        match (failed, took) {
            (true, _) => self.fell_short(this, at),
            (false, true) => self.answered(this, at),
            (false, false) => drop(self.receiver(receiver, this.target.as_ref(), at)),
        }
        if let Some(known) = self.receivers.get_mut(receiver) {
            known.reason.clone_from(reason);
        }
        let attempts_before = self.messages.get(id).map_or(0, |message| message.attempts);
        if let Some(message) = self.messages.get_mut(id).filter(|message| message.is_waiting()) {
            message.due = next.0.min(at + LONGEST_WAIT);
            message.attempts += u32::from(!held);
            message.first_at = message.first_at.or(Some(at));
            // What some of those it is for took is refused for what it says, until it was tried often enough.
            message.is_passed = *partly || message.is_passed && attempts_before >= STEPS_ASIDE;
            message.reason.clone_from(reason);
        }
        if *took {
            self.took(receiver, is_back, at);
        }
    }

    /// The receiver took something: what it refused meanwhile was refused for what it says. If that ended an outage, what
    /// waits for long is due once.
    fn took(&mut self, receiver: &str, is_back: bool, at: DateTime<Utc>) {
        self.each_waiting_for(receiver, |message| {
            // A message that comes in a few minutes anyway is left alone, and none is moved twice: a receiver that takes
            // every other message is not away.
            if is_back && message.attempts >= STEPS_ASIDE && !message.is_passed {
                message.due = message.due.min(at);
            }
            message.is_passed |= message.first_at.is_some();
        });
    }

    /// Whether it ends an outage that `receiver` takes the message `id`.
    pub fn is_back(&self, id: &str, receiver: &str) -> bool {
        let known = self.receivers.get(receiver);
        self.messages.get(id).is_some_and(|message| message.attempts > 0)
            || known.is_some_and(|known| known.health.breaker.failures >= MOST_FAILURES)
    }

    fn give_up(&mut self, id: &MessageId, reason: &str, at: DateTime<Utc>) {
        let Some(message) = self.messages.get(id.as_str()) else { return };
        let first_at = message.first_at;
        if let (Some(receiver), Some(first_at)) = (self.receivers.get_mut(&message.receiver), first_at) {
            receiver.given_up.insert(id.as_str().to_owned(), first_at);
            reason.clone_into(&mut receiver.reason);
        }
        self.end(id, MessageState::Dead, at);
    }

    fn count_try(&mut self, id: &MessageId) {
        if let Some(message) = self.messages.get_mut(id.as_str()) {
            message.attempts += 1;
        }
    }

    fn end(&mut self, id: &MessageId, state: MessageState, at: DateTime<Utc>) {
        let Some(message) = self.messages.get_mut(id.as_str()) else { return };
        (message.state, message.done_at) = (state, Some(at));
        if let Some(waiting) = self.waiting.get_mut(&message.receiver) {
            waiting.remove(&message.seq);
        }
    }

    fn retry(&mut self, id: &MessageId, at: DateTime<Utc>) {
        let Some(message) = self.messages.get_mut(id.as_str()) else { return };
        (message.state, message.due, message.done_at) = (MessageState::Waiting, at, None);
        (message.attempts, message.first_at, message.is_passed) = (0, None, false);
        message.is_refused = false;
        message.reason.clear();
        self.waiting.entry(message.receiver.clone()).or_default().insert(message.seq, id.as_str().to_owned());
        if let Some(receiver) = self.receivers.get_mut(&message.receiver) {
            receiver.given_up.remove(id.as_str());
        }
    }

    fn forget(&mut self, id: &str) {
        let Some(message) = self.messages.remove(id) else { return };
        if let Some(waiting) = self.waiting.get_mut(&message.receiver) {
            waiting.remove(&message.seq);
        }
        if let Some(receiver) = self.receivers.get_mut(&message.receiver) {
            receiver.given_up.remove(id);
        }
    }

    /// The receiver, as it is configured now.
    fn receiver(&mut self, name: &str, target: Option<&Digest>, at: DateTime<Utc>) -> &mut ToldReceiver {
        let receiver = self.receivers.entry(name.to_owned()).or_default();
        receiver.last_at = at;
        // Earlier versions did not write the target.
        if let Some(target) = target.filter(|target| receiver.target != target.as_str()) {
            (receiver.target, receiver.health) = (target.to_string(), ReceiverHealth::default());
        }
        receiver
    }

    /// The receiver answered, with whatever.
    fn answered(&mut self, delivery: &DeliveryTry, at: DateTime<Utc>) {
        let receiver = self.receiver(&delivery.receiver, delivery.target.as_ref(), at);
        receiver.health.breaker = receiver.health.breaker.answered();
    }

    /// The receiver could not take anything.
    fn fell_short(&mut self, delivery: &DeliveryTry, at: DateTime<Utc>) {
        let receiver = self.receiver(&delivery.receiver, delivery.target.as_ref(), at);
        receiver.health.breaker = receiver.health.breaker.failed(at);
        if let Some(Timestamp(until)) = delivery.until {
            receiver.health.paused_until = Some(DateTime::min(until, at + MAX_RETRY_AFTER));
        }
    }
}
