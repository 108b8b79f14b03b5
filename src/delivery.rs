//! From the outbox to the receivers: at least once, in order per receiver, none waiting for another.

pub mod direct;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use crate::backoff::next_delivery;
use crate::clock::Clock;
use crate::config::Receiver;
use crate::message::Message;
use crate::receiver::{Attempt, BadReceiver, Sender};
use crate::store::outbox::{self, Outcome};
use crate::store::{Store, StoreError, events};

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
            let (name, sender) = (receiver.name.clone(), Sender::new(receiver)?);
            lines.push(Arc::new(Line { name, sender, store: store.clone(), clock: Arc::clone(clock) }));
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
    /// Delivers what is due, until nothing is or a try fails.
    ///
    /// # Errors
    /// The store cannot be used. The receiver's failure is recorded, not an error.
    pub async fn deliver(&self) -> Result<(), StoreError> {
        loop {
            let now = self.clock.now();
            let Some(message) = self.store.write(|tx| outbox::claim(tx, &self.name, now, HOLD))? else { return Ok(()) };
            let attempt = self.sender.send(&message, now).await;
            let outcome = outcome(&message, &attempt, self.clock.as_ref());
            self.record(&message, &outcome)?;
            if matches!(outcome, Outcome::Again(..)) {
                return Ok(());
            }
        }
    }

    fn record(&self, message: &Message, outcome: &Outcome) -> Result<(), StoreError> {
        let (receiver, delivery) = (&self.name, &message.id);
        let kind = match outcome {
            Outcome::Delivered(answer) => {
                tracing::info!(receiver, %delivery, answer, "delivered");
                Some("delivery.done")
            }
            Outcome::Again(next, reason) => {
                tracing::warn!(receiver, %delivery, error = reason, %next, "delivery failed, will try again");
                None
            }
            Outcome::Dead(reason) => {
                tracing::error!(receiver, %delivery, error = reason, "delivery given up");
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
            Ok(())
        })
    }
}

fn outcome(message: &Message, attempt: &Attempt, clock: &dyn Clock) -> Outcome {
    match attempt {
        Attempt::Delivered(answer) => Outcome::Delivered(answer.clone()),
        Attempt::Permanent(reason) => Outcome::Dead(reason.clone()),
        Attempt::Transient(reason, asked) => match next_delivery(message.attempts + 1, *asked) {
            Some(pause) => Outcome::Again(clock.now() + pause, reason.clone()),
            None => Outcome::Dead(format!("given up after {} tries: {reason}", message.attempts + 1)),
        },
    }
}
