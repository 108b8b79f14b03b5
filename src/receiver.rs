//! Where alerts go. Each receiver makes one try and says how it ended; when to try again is not its business.

pub mod heartbeat;
mod mail;
mod webhook;

use std::time::Duration;

use chrono::{DateTime, Utc};

pub use webhook::{BadWebhookSecret, signature};

use crate::config::{Receiver, ReceiverKind};
use crate::message::Message;

/// How one try ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// The receiver took the message; its answer in a few words.
    Delivered(String),
    /// It may work later: why not now, and how long the receiver asks us to wait.
    Transient(String, Option<Duration>),
    /// It will never work: why.
    Permanent(String),
}

/// A receiver that messages can be sent to.
pub enum Sender {
    /// Mail.
    Mail(mail::Mailer),
    /// Standard Webhooks.
    Webhook(webhook::Hook),
}

/// A receiver that cannot be prepared.
#[derive(Debug, thiserror::Error)]
#[error("cannot prepare receiver '{name}': {reason}")]
pub struct BadReceiver {
    name: String,
    reason: String,
}

impl Sender {
    /// Prepares to send to `receiver`. Nothing is sent and no secret is read yet.
    ///
    /// # Errors
    /// The TLS trust store is missing, or the sender's address is unusable.
    pub fn new(receiver: &Receiver) -> Result<Self, BadReceiver> {
        let bad = |reason: String| BadReceiver { name: receiver.name.clone(), reason };
        match &receiver.kind {
            ReceiverKind::Email(email) => mail::Mailer::new(email).map(Self::Mail).map_err(bad),
            ReceiverKind::Webhook(hook) => webhook::Hook::new(hook).map(Self::Webhook).map_err(bad),
        }
    }

    /// Tries to deliver `message` once.
    pub async fn send(&self, message: &Message, now: DateTime<Utc>) -> Attempt {
        match self {
            Self::Mail(mailer) => mailer.send(message, now).await,
            Self::Webhook(hook) => hook.send(message, now).await,
        }
    }
}
