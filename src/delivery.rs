//! From the outbox to the receivers: at least once, in order per instance, no receiver waiting for another.

pub mod direct;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::backoff::breaker::MOST_FAILURES;
use crate::backoff::{granted, next_delivery, patience};
use crate::clock::Clock;
use crate::config::Receiver;
use crate::message::Message;
use crate::model::Digest;
use crate::receiver::{Attempt, BadReceiver, Sender};
use crate::store::outbox::{self, Outcome, Trials};
use crate::store::{Store, StoreError, backlog, events, receivers};
use crate::telemetry::{Delivered, DeliveryFailed, DeliveryGivenUp, Observable};

/// How long a claimed message belongs to one process: longer than any try takes. A process that dies in between leaves
/// the message to the next one after this time, with the same id.
const HOLD: Duration = Duration::from_secs(60);

/// All receivers. Each has a line of its own, so that none waits for another.
pub struct Delivery {
    lines: Vec<Arc<Line>>,
}

/// The way to one receiver.
pub struct Line {
    name: String,
    target: Digest,
    sender: Sender,
    store: Store,
    clock: Arc<dyn Clock>,
}

impl Delivery {
    /// Prepares to deliver to `receivers`.
    ///
    /// # Errors
    /// A receiver cannot be prepared.
    pub fn new(store: &Store, clock: &Arc<dyn Clock>, receivers: &[Receiver]) -> Result<Self, BadReceiver> {
        let mut lines = Vec::new();
        for receiver in receivers {
            let (name, target, sender) = (receiver.name.clone(), target(receiver), Sender::new(receiver)?);
            lines.push(Arc::new(Line { name, target, sender, store: store.clone(), clock: Arc::clone(clock) }));
        }
        Ok(Self { lines })
    }

    /// The ways to the receivers, in the order of the configuration.
    pub fn lines(&self) -> &[Arc<Line>] {
        &self.lines
    }

    /// Delivers everything that is due, all receivers side by side, and waits for all of them.
    ///
    /// # Errors
    /// The store cannot be used; what the other receivers got is recorded all the same.
    pub async fn deliver(&self) -> Result<(), StoreError> {
        let mut tasks = JoinSet::new();
        for line in &self.lines {
            let line = Arc::clone(line);
            tasks.spawn(async move { line.deliver(&CancellationToken::new()).await });
        }
        let mut outcome = Ok(());
        while let Some(finished) = tasks.join_next().await {
            let one = finished.unwrap_or_else(|error| Err(StoreError::Damaged(format!("a delivery died: {error}"))));
            outcome = outcome.and(one);
        }
        outcome
    }
}

impl Line {
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
            let claimed = self.store.write(|tx| {
                let health = receivers::health(tx, &self.name, &self.target)?;
                if health.disabled.is_some() || health.resting_until(now).is_some() {
                    return Ok::<_, StoreError>(None);
                }
                backlog::fold_held_up(tx, &self.name, now)?;
                outbox::claim(tx, &self.name, now, HOLD)
            })?;
            let Some(message) = claimed else { return Ok(()) };
            let attempt = self.sender.send(&message, now).await;
            let trials = self.store.read(|tx| outbox::trials(tx, &message.id))?;
            let outcome = outcome(&message, &attempt, trials, self.clock.now());
            self.record(&message, &attempt, &outcome)?;
            if !matches!(attempt, Attempt::Delivered(_) | Attempt::Permanent(_) | Attempt::Partly(_, true)) {
                return Ok(());
            }
        }
        Ok(())
    }

    fn record(&self, message: &Message, attempt: &Attempt, outcome: &Outcome) -> Result<(), StoreError> {
        let (receiver, delivery) = (&self.name, &message.id);
        let kind = match outcome {
            Outcome::Delivered(answer) => {
                Delivered { receiver, delivery, answer }.observe();
                Some("delivery.done")
            }
            Outcome::Again(next, reason) | Outcome::Partly(next, reason) | Outcome::Held(next, reason) => {
                DeliveryFailed { receiver, delivery, error: reason, next: *next }.observe();
                None
            }
            Outcome::Dead(reason) => {
                DeliveryGivenUp { receiver, delivery, error: reason }.observe();
                Some("delivery.given_up")
            }
        };
        let now = self.clock.now();
        self.store.write(|tx| {
            let is_recorded = outbox::record(tx, &message.id, outcome, now)?;
            // Another process had it meanwhile, and what that said is what happened.
            if let Some(kind) = kind.filter(|_| is_recorded) {
                let data = json!({ "message": message.id, "receiver": receiver, "attempts": message.attempts + 1 });
                events::append(tx, now, kind, message.alert.instance.as_ref(), data)?;
            }
            let breaker = receivers::health(tx, receiver, &self.target)?.breaker;
            if matches!(attempt, Attempt::Delivered(_) | Attempt::Partly(_, true)) {
                let is_back = message.attempts > 0 || breaker.failures >= MOST_FAILURES;
                outbox::took(tx, receiver, is_back, now)?;
            }
            match attempt {
                Attempt::Transient(_, asked) => {
                    receivers::record(tx, receiver, &self.target, breaker.failed(now))?;
                    asked.map_or(Ok(()), |asked| receivers::pause(tx, receiver, now + granted(asked)))
                }
                Attempt::Busy(_, asked) => {
                    receivers::record(tx, receiver, &self.target, breaker.failed(now))?;
                    receivers::pause(tx, receiver, now + granted(*asked))
                }
                Attempt::Gone(reason) => receivers::disable(tx, receiver, &self.target, reason, now),
                Attempt::Delivered(_) | Attempt::Permanent(_) | Attempt::Partly(_, true) if breaker.failures > 0 => {
                    receivers::record(tx, receiver, &self.target, breaker.answered())
                }
                // Who took it before and who refuses it now say nothing of all others.
                Attempt::Delivered(_) | Attempt::Permanent(_) | Attempt::Partly(..) => Ok(()),
            }
        })
    }
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
        Some(since) if since + patience() < now => {
            Outcome::Dead(format!("given up after {} hours: {reason}", patience().num_hours()))
        }
        _ => Outcome::Held(now + granted(asked), reason.to_owned()),
    };
    match attempt {
        Attempt::Delivered(answer) => Outcome::Delivered(answer.clone()),
        Attempt::Permanent(reason) | Attempt::Gone(reason) => Outcome::Dead(reason.clone()),
        Attempt::Busy(reason, asked) => held(reason, *asked),
        // Who asks for time and takes others meanwhile asks because of this message.
        Attempt::Transient(reason, Some(asked)) if !trials.is_passed => held(reason, *asked),
        Attempt::Transient(reason, asked) => again(reason, *asked, Outcome::Again),
        Attempt::Partly(reason, _) => again(reason, None, Outcome::Partly),
    }
}
