//! Messages that are sent without the database, because it is the database they are about.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::task::JoinSet;

use crate::config::Config;
use crate::message::{Alert, Message, Notice};
use crate::model::HistoryMark;
use crate::receiver::{Attempt, BadReceiver, Sender};
use crate::telemetry::{Observable, ToldDirectly};

/// Tells every receiver at once, and once: what it does not take is lost.
pub struct Herald {
    receivers: Vec<(String, Sender)>,
    host: String,
}

impl Herald {
    /// Prepares to tell the receivers of `config` in the name of `host`. Nothing is contacted.
    ///
    /// # Errors
    /// A receiver cannot be prepared.
    pub fn new(config: &Config, host: String) -> Result<Self, BadReceiver> {
        let mut receivers = Vec::new();
        for receiver in &config.receivers {
            receivers.push((receiver.name.clone(), Sender::new(receiver)?));
        }
        Ok(Self { receivers, host })
    }

    /// Tells everybody, all at the same time, and waits for their answers. Answers how many took it.
    pub async fn tell(self: Arc<Self>, news: Notice, event: HistoryMark, now: DateTime<Utc>) -> usize {
        let mut tries = JoinSet::new();
        for at in 0..self.receivers.len() {
            let (herald, news, event) = (Arc::clone(&self), news.clone(), event.clone());
            tries.spawn(async move {
                let Some((name, sender)) = herald.receivers.get(at) else { return false };
                let alert = Alert::of_watch(vec![news], now, event, herald.host.clone());
                let message = Message::new(name, alert, now);
                let attempt = sender.send(&message, now).await;
                let outcome = match &attempt {
                    Attempt::Delivered(answer) => Ok(answer.as_str()),
                    Attempt::Transient(error, _)
                    | Attempt::Busy(error, _)
                    | Attempt::Partly(error, _)
                    | Attempt::Permanent(error)
                    | Attempt::Gone(error) => Err(error.as_str()),
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
