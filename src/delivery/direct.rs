//! Messages that are sent without the outbox, because it is the database they are about.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::task::JoinSet;

use crate::config::Receiver;
use crate::host::hostname;
use crate::message::{Alert, Item, Message, Notice};
use crate::model::{Digest, HistoryMark, InstanceId};
use crate::receiver::{Attempt, BadReceiver, Sender};
use crate::telemetry::{Observable, ToldDirectly};

/// What is sent without the outbox.
#[derive(Debug, Clone)]
pub enum DirectMessage {
    /// News about the database as a file.
    Notice(Notice),
    /// What the database says of the instance, or of everything, cannot be trusted, for this reason.
    Untrusted(Option<InstanceId>, String),
}

impl DirectMessage {
    /// The history does not verify, for this reason.
    pub fn of_history(reason: &str) -> Self {
        Self::Untrusted(None, format!("the database was tampered with: {reason}; nothing that waits is sent"))
    }
}

/// Sends to every receiver at once, without retries.
pub struct DirectNotifier {
    receivers: Vec<(String, Arc<Sender>)>,
}

impl DirectNotifier {
    /// Prepares to tell `receivers`. Nothing is contacted.
    ///
    /// # Errors
    /// A receiver cannot be prepared.
    pub fn new(receivers: &[Receiver]) -> Result<Self, BadReceiver> {
        let mut senders = Vec::new();
        for receiver in receivers {
            senders.push((receiver.name.clone(), Arc::new(Sender::new(receiver)?)));
        }
        Ok(Self { receivers: senders })
    }

    /// The way to each receiver.
    pub(super) fn senders(&self) -> impl Iterator<Item = Arc<Sender>> {
        self.receivers.iter().map(|(_, sender)| Arc::clone(sender))
    }

    /// Sends to all receivers at the same time, waits for their responses, and returns how many accepted it.
    pub async fn notify(self: Arc<Self>, news: DirectMessage, event: HistoryMark, now: DateTime<Utc>) -> usize {
        let mut tries = JoinSet::new();
        for at in 0..self.receivers.len() {
            let (notifier, news, event) = (Arc::clone(&self), news.clone(), event.clone());
            tries.spawn(async move {
                let Some((name, sender)) = notifier.receivers.get(at) else { return false };
                let (instance, item) = match news {
                    DirectMessage::Notice(notice) => (None, Item::Notice(notice)),
                    DirectMessage::Untrusted(instance, reason) => (instance, Item::Untrusted(reason)),
                };
                let alert = Alert { instance, ..Alert::of_watch(vec![item], now, event, hostname()) };
                let message = Message::new(name, alert, now);
                let attempt = sender.send(&message, now).await;
                let outcome = match &attempt {
                    Attempt::Delivered(answer) => Ok(answer.as_str()),
                    Attempt::Transient(error, _)
                    | Attempt::RateLimited(error, _)
                    | Attempt::PartiallyDelivered(error, _)
                    | Attempt::Permanent(error)
                    | Attempt::Disabled(error) => Err(error.as_str()),
                };
                ToldDirectly { receiver: name, delivery: &message.id, outcome }.observe();
                outcome.is_ok()
            });
        }
        let mut told = 0;
        while let Some(is_told) = tries.join_next().await {
            told += usize::from(is_told.unwrap_or(false));
        }
        told
    }
}

/// Where the history stands, as far as it can still be read.
pub fn mark_or_none(mark: Option<HistoryMark>) -> HistoryMark {
    mark.unwrap_or_else(|| HistoryMark { size: 0, head: Digest::of(b"") })
}
