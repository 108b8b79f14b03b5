//! From the outbox to the receivers: at least once, in order per instance, no receiver waiting for another.

pub mod coalesce;
pub mod direct;
mod upkeep;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::direct::{DirectMessage, DirectNotifier, mark_or_none};
pub use self::upkeep::upkeep;
use crate::backoff::{capped, give_up_after, next_delivery};
use crate::clock::Clock;
use crate::config::Receiver;
use crate::message::Message;
use crate::model::{Digest, InstanceId};
use crate::receiver::{Attempt, BadReceiver, Sender};
use crate::store::outbox::{self, Claimed, Outcome, Trials, Tried};
use crate::store::{Store, StoreError, Transaction, events, receivers};
use crate::telemetry::{Delivered, DeliveryFailed, DeliveryGivenUp, Observable};

/// How long a claimed message belongs to one process: longer than any try takes. A process that dies in between leaves
/// the message to the next one after this time, with the same id.
const HOLD: Duration = Duration::from_secs(60);

/// All receivers. Each has a worker of its own, so that none waits for another.
pub struct Delivery {
    workers: Vec<Arc<Worker>>,
    notifier: Arc<DirectNotifier>,
    store: Store,
    clock: Arc<dyn Clock>,
}

/// Delivers to one receiver.
pub struct Worker {
    name: String,
    target: Digest,
    sender: Arc<Sender>,
    /// Sends what must not wait in the outbox, to all receivers.
    notifier: Arc<DirectNotifier>,
    store: Store,
    clock: Arc<dyn Clock>,
}

impl Delivery {
    /// Prepares to deliver to `receivers`.
    ///
    /// # Errors
    /// A receiver cannot be prepared.
    pub fn new(store: &Store, clock: &Arc<dyn Clock>, receivers: &[Receiver]) -> Result<Self, BadReceiver> {
        let notifier = Arc::new(DirectNotifier::new(receivers)?);
        let mut workers = Vec::new();
        for (receiver, sender) in receivers.iter().zip(notifier.senders()) {
            workers.push(Arc::new(Worker {
                name: receiver.name.clone(),
                target: target(receiver),
                sender,
                notifier: Arc::clone(&notifier),
                store: store.clone(),
                clock: Arc::clone(clock),
            }));
        }
        Ok(Self { workers, notifier, store: store.clone(), clock: Arc::clone(clock) })
    }

    /// One worker for each receiver, in the order of the configuration.
    pub fn workers(&self) -> &[Arc<Worker>] {
        &self.workers
    }

    /// Delivers everything that is due, all receivers side by side, and waits for all of them. If the history does not verify,
    /// nothing can be held against it: nothing is sent but that.
    ///
    /// # Errors
    /// The store cannot be used; what the other receivers got is recorded all the same.
    pub async fn deliver(&self) -> Result<(), StoreError> {
        if let Err(StoreError::History(reason)) = self.store.read(|tx| tx.history().map(drop)) {
            let mark = self.store.read(events::mark).ok().flatten();
            Arc::clone(&self.notifier)
                .notify(DirectMessage::of_history(&reason), mark_or_none(mark), self.clock.now())
                .await;
            return Ok(());
        }
        let mut tasks = JoinSet::new();
        for worker in &self.workers {
            let worker = Arc::clone(worker);
            tasks.spawn(async move { worker.deliver(&CancellationToken::new()).await });
        }
        let mut outcome = Ok(());
        while let Some(finished) = tasks.join_next().await {
            let one = finished.unwrap_or_else(|error| Err(StoreError::Damaged(format!("a delivery died: {error}"))));
            outcome = outcome.and(one);
        }
        outcome
    }
}

impl Worker {
    /// The receiver's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Delivers what is due, until nothing is, a try fails, the receiver is left alone for a while, or `stop`: what was begun is
    /// finished then, and nothing else is begun.
    ///
    /// # Errors
    /// The store cannot be used. The receiver's failure is recorded, not an error.
    pub async fn deliver(&self, stop: &CancellationToken) -> Result<(), StoreError> {
        while !stop.is_cancelled() {
            let now = self.clock.now();
            // Nearly always nothing is due: then nothing is locked, and nothing is written.
            if !self.store.read(|tx| outbox::is_due(tx, &self.name, &self.target, now))? {
                return Ok(());
            }
            let claimed = self.store.write(|tx| {
                coalesce::held_up(tx, &self.name, now)?;
                outbox::claim(tx, &self.name, &self.target, now, HOLD)
            })?;
            let message = match claimed {
                Claimed::Nothing => return Ok(()),
                Claimed::Refused(instance, reason) => {
                    self.report_tampering(instance, reason).await?;
                    continue;
                }
                Claimed::Message(message) => message,
            };
            let attempt = self.sender.send(&message, now).await;
            let trials = self.store.read(|tx| outbox::trials(tx, &message.id))?;
            let outcome = outcome(&message, &attempt, trials, self.clock.now());
            self.record(&message, &attempt, &outcome)?;
            if !matches!(attempt, Attempt::Delivered(_) | Attempt::Permanent(_) | Attempt::PartiallyDelivered(_, true))
            {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Notifies every receiver that a message failed its check and was not sent, unless the instance is already reported as untrusted.
    async fn report_tampering(&self, instance: Option<InstanceId>, reason: String) -> Result<(), StoreError> {
        let (is_known, mark) = self.store.read(|tx| -> Result<_, StoreError> {
            let state = &tx.history()?.state;
            let is_known = match &instance {
                Some(instance) => state.untrusted(instance).is_some(),
                None => state.is_any_untrusted(),
            };
            Ok((is_known, events::mark(tx)?))
        })?;
        if let (false, Some(mark)) = (is_known, mark) {
            let reason = format!("the database was tampered with: {reason}; it is not sent");
            Arc::clone(&self.notifier).notify(DirectMessage::Untrusted(instance, reason), mark, self.clock.now()).await;
        }
        Ok(())
    }

    fn record(&self, message: &Message, attempt: &Attempt, outcome: &Outcome) -> Result<(), StoreError> {
        let (receiver, delivery) = (&self.name, &message.id);
        match outcome {
            Outcome::Delivered(answer) => Delivered { receiver, delivery, answer }.observe(),
            Outcome::Again(next, reason) | Outcome::Partly(next, reason) | Outcome::Held(next, reason) => {
                DeliveryFailed { receiver, delivery, error: reason, next: *next }.observe();
            }
            Outcome::Dead(reason) => DeliveryGivenUp { receiver, delivery, error: reason }.observe(),
        }
        let now = self.clock.now();
        let asked = match attempt {
            Attempt::RateLimited(_, asked) => Some(*asked),
            Attempt::Transient(_, asked) => *asked,
            _ => None,
        };
        let tried = Tried {
            outcome,
            is_short: matches!(attempt, Attempt::Transient(..) | Attempt::RateLimited(..)),
            has_taken: matches!(attempt, Attempt::Delivered(_) | Attempt::PartiallyDelivered(_, true)),
            until: asked.map(|asked| now + capped(asked)),
        };
        self.store.write(|tx| {
            if outbox::record(tx, &message.id, &self.target, &tried, now)? {
                coalesce::after_outage(tx, receiver, now)?;
            }
            match attempt {
                Attempt::Disabled(reason) => receivers::disable(tx, receiver, &self.target, reason, now),
                _ => Ok(()),
            }
        })
    }
}

/// Tries `receiver` again from now on, and coalesces what it did not get. Answers whether anything held it back.
///
/// # Errors
/// The database cannot be written.
pub fn enable(tx: &Transaction<'_>, receiver: &str, now: DateTime<Utc>) -> Result<bool, StoreError> {
    let was_held_back = receivers::enable(tx, receiver, now)?;
    if was_held_back {
        coalesce::after_outage(tx, receiver, now)?;
    }
    Ok(was_held_back)
}

/// How a receiver is configured, as far as reaching it goes: secrets are references there, so none is in it. What a new
/// version of the program writes otherwise counts as configured anew, which costs one more try.
pub fn target(receiver: &Receiver) -> Digest {
    Digest::of(format!("{:?}", receiver.kind).as_bytes())
}

fn outcome(message: &Message, attempt: &Attempt, trials: Trials, now: DateTime<Utc>) -> Outcome {
    let tries = message.attempts + 1;
    let again = |reason: &str, asked, make: fn(DateTime<Utc>, String) -> Outcome| match next_delivery(tries, asked) {
        Some(pause) => make(now + pause, reason.to_owned()),
        None => Outcome::Dead(format!("given up after {tries} tries: {reason}")),
    };
    let held = |reason: &str, asked| match trials.since {
        Some(since) if since + give_up_after() < now => {
            Outcome::Dead(format!("given up after {} hours: {reason}", give_up_after().num_hours()))
        }
        _ => Outcome::Held(now + capped(asked), reason.to_owned()),
    };
    match attempt {
        Attempt::Delivered(answer) => Outcome::Delivered(answer.clone()),
        Attempt::Permanent(reason) | Attempt::Disabled(reason) => Outcome::Dead(reason.clone()),
        Attempt::RateLimited(reason, asked) => held(reason, *asked),
        // A receiver that accepts other messages meanwhile asks for time because of this one.
        Attempt::Transient(reason, Some(asked)) if !trials.is_passed => held(reason, *asked),
        Attempt::Transient(reason, asked) => again(reason, *asked, Outcome::Again),
        Attempt::PartiallyDelivered(reason, _) => again(reason, None, Outcome::Partly),
    }
}
