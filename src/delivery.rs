//! From the outbox to the receivers: at least once, in order per receiver, none waiting for another.

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

/// Delivers what is due.
pub struct Delivery {
    store: Store,
    clock: Arc<dyn Clock>,
    senders: Vec<(String, Arc<Sender>)>,
}

/// What one round did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Round {
    /// Messages a receiver took.
    pub delivered: usize,
    /// Tries that failed.
    pub failed: usize,
}

impl Delivery {
    /// Prepares to deliver to `receivers`.
    ///
    /// # Errors
    /// A receiver cannot be prepared.
    pub fn new(store: Store, clock: Arc<dyn Clock>, receivers: &[Receiver]) -> Result<Self, BadReceiver> {
        let mut senders = Vec::new();
        for receiver in receivers {
            senders.push((receiver.name.clone(), Arc::new(Sender::new(receiver)?)));
        }
        Ok(Self { store, clock, senders })
    }

    /// How many receivers there are.
    pub fn receivers(&self) -> usize {
        self.senders.len()
    }

    /// Delivers what is due to one receiver, until nothing is or a try fails. A receiver there is none of gets nothing.
    ///
    /// # Errors
    /// The store cannot be used. The receiver's failure is recorded, not an error.
    pub async fn round_of(&self, receiver: usize) -> Result<Round, StoreError> {
        match self.senders.get(receiver) {
            Some((name, sender)) => drain(&self.store, self.clock.as_ref(), name, sender).await,
            None => Ok(Round::default()),
        }
    }

    /// Tries everything that is due once, all receivers side by side.
    ///
    /// # Errors
    /// The store cannot be used. A receiver's failure is recorded, not an error.
    pub async fn round(&self) -> Result<Round, StoreError> {
        let mut tasks = JoinSet::new();
        for (name, sender) in &self.senders {
            let (store, clock) = (self.store.clone(), Arc::clone(&self.clock));
            let (name, sender) = (name.clone(), Arc::clone(sender));
            tasks.spawn(async move { drain(&store, clock.as_ref(), &name, &sender).await });
        }
        let mut round = Round::default();
        while let Some(finished) = tasks.join_next().await {
            let one = finished.map_err(|error| StoreError::Damaged(format!("a delivery task died: {error}")))??;
            round.delivered += one.delivered;
            round.failed += one.failed;
        }
        Ok(round)
    }
}

/// Delivers to one receiver until nothing is due or a try fails.
async fn drain(store: &Store, clock: &dyn Clock, name: &str, sender: &Sender) -> Result<Round, StoreError> {
    let mut round = Round::default();
    loop {
        let now = clock.now();
        let Some(message) = store.write(|tx| outbox::claim(tx, name, now, HOLD))? else { return Ok(round) };
        let attempt = sender.send(&message, now).await;
        let outcome = outcome(&message, &attempt, clock);
        match &outcome {
            Outcome::Delivered(answer) => {
                tracing::info!(receiver = name, delivery = %message.id, answer, "delivered");
                round.delivered += 1;
            }
            Outcome::Again(next, reason) => {
                tracing::warn!(receiver = name, delivery = %message.id, error = reason, %next, "delivery failed, will try again");
                round.failed += 1;
            }
            Outcome::Dead(reason) => {
                tracing::error!(receiver = name, delivery = %message.id, error = reason, "delivery given up");
                round.failed += 1;
            }
        }
        let now = clock.now();
        store.write(|tx| -> Result<(), StoreError> {
            outbox::record(tx, &message.id, &outcome, now)?;
            let kind = match &outcome {
                Outcome::Delivered(_) => "delivery.done",
                Outcome::Dead(_) => "delivery.given_up",
                Outcome::Again(..) => return Ok(()),
            };
            let data = json!({ "message": message.id, "receiver": name, "attempts": message.attempts + 1 });
            events::append(tx, now, kind, Some(&message.alert.instance), data)?;
            Ok(())
        })?;
        if matches!(outcome, Outcome::Again(..)) {
            return Ok(round);
        }
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
