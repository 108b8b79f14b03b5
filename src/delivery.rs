//! From the outbox to the receivers: at least once, in order per instance, no receiver waiting for another.

pub mod direct;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use crate::backoff::next_delivery;
use crate::clock::Clock;
use crate::config::Receiver;
use crate::message::Message;
use crate::model::Digest;
use crate::receiver::{Attempt, BadReceiver, Sender};
use crate::store::outbox::{self, Outcome};
use crate::store::{Store, StoreError, events, receivers};
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
            tasks.spawn(async move { line.deliver().await });
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

    /// Delivers what is due, until nothing is, a try fails, or the receiver is left alone for a while.
    ///
    /// # Errors
    /// The store cannot be used. The receiver's failure is recorded, not an error.
    pub async fn deliver(&self) -> Result<(), StoreError> {
        loop {
            let now = self.clock.now();
            let claimed = self.store.write(|tx| {
                let health = receivers::health(tx, &self.name, &self.target)?;
                if health.disabled.is_some() || health.breaker.closed_until(now).is_some() {
                    return Ok::<_, StoreError>(None);
                }
                outbox::claim(tx, &self.name, now, HOLD)
            })?;
            let Some(message) = claimed else { return Ok(()) };
            let attempt = self.sender.send(&message, now).await;
            let outcome = outcome(&message, &attempt, self.clock.as_ref());
            self.record(&message, &attempt, &outcome)?;
            if matches!(attempt, Attempt::Transient(..) | Attempt::Gone(_)) {
                return Ok(());
            }
        }
    }

    fn record(&self, message: &Message, attempt: &Attempt, outcome: &Outcome) -> Result<(), StoreError> {
        let (receiver, delivery) = (&self.name, &message.id);
        let kind = match outcome {
            Outcome::Delivered(answer) => {
                Delivered { receiver, delivery, answer }.observe();
                Some("delivery.done")
            }
            Outcome::Again(next, reason) => {
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
            match attempt {
                Attempt::Transient(..) => receivers::record(tx, receiver, &self.target, breaker.failed(now)),
                Attempt::Gone(reason) => receivers::disable(tx, receiver, &self.target, reason, now),
                Attempt::Delivered(_) | Attempt::Permanent(_) if breaker.failures > 0 => {
                    receivers::record(tx, receiver, &self.target, breaker.answered())
                }
                Attempt::Delivered(_) | Attempt::Permanent(_) => Ok(()),
            }
        })
    }
}

/// How a receiver is configured, as far as reaching it goes: secrets are references there, so none is in it. What a new
/// version of the program writes otherwise counts as configured anew, which costs one more try.
pub fn target(receiver: &Receiver) -> Digest {
    Digest::of(format!("{:?}", receiver.kind).as_bytes())
}

fn outcome(message: &Message, attempt: &Attempt, clock: &dyn Clock) -> Outcome {
    match attempt {
        Attempt::Delivered(answer) => Outcome::Delivered(answer.clone()),
        Attempt::Permanent(reason) | Attempt::Gone(reason) => Outcome::Dead(reason.clone()),
        Attempt::Transient(reason, asked) => match next_delivery(message.attempts + 1, *asked) {
            Some(pause) => Outcome::Again(clock.now() + pause, reason.clone()),
            None => Outcome::Dead(format!("given up after {} tries: {reason}", message.attempts + 1)),
        },
    }
}
