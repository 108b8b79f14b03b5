//! Where alerts go. Each receiver makes one try and says how it ended; when to try again is not its business.

mod chat;
pub mod heartbeat;
mod mail;
mod pagerduty;
mod post;
mod signing;
mod webhook;

use std::time::Duration;

use chrono::{DateTime, Utc};

pub use signing::{BadWebhookSecret, public_key, signature};

use crate::config::{Receiver, ReceiverKind};
use crate::message::{Body, Format, Message};

/// How one try ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// The receiver took the message; its answer in a few words.
    Delivered(String),
    /// It may work later: why not now, and how long the receiver asks us to wait.
    Transient(String, Option<Duration>),
    /// The receiver gets too many messages: its words, and how long to wait.
    RateLimited(String, Duration),
    /// Some recipients have it, and the others may get it later: why not now, and whether one accepted it in this try.
    PartiallyDelivered(String, bool),
    /// It will never work: why.
    Permanent(String),
    /// The receiver takes no messages any more (410): its words.
    Disabled(String),
}

/// A receiver that messages can be sent to.
pub struct Sender {
    format: Option<Format>,
    transport: Transport,
}

enum Transport {
    Mail(mail::Mailer),
    Webhook(webhook::Hook),
    Chat(chat::Channel),
    PagerDuty(pagerduty::Pager),
}

/// A receiver that cannot be prepared.
#[derive(Debug, thiserror::Error)]
#[error("cannot prepare receiver '{name}': {reason}")]
pub struct BadReceiver {
    name: String,
    reason: String,
}

/// Why a relay would take no mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckError {
    /// It is about name and password.
    pub is_login: bool,
    /// In words.
    pub reason: String,
}

/// How what goes to `kind` is written; nothing for mail, which is written when it is sent.
pub fn format_of(kind: &ReceiverKind) -> Option<Format> {
    match kind {
        ReceiverKind::Email(_) => None,
        ReceiverKind::Webhook(hook) if hook.is_cloud_event => Some(Format::CloudEvents),
        ReceiverKind::Webhook(_) => Some(Format::Standard),
        ReceiverKind::Slack(_) => Some(Format::Slack),
        ReceiverKind::Teams(_) => Some(Format::Teams),
        ReceiverKind::Discord(_) => Some(Format::Discord),
        ReceiverKind::PagerDuty(_) => Some(Format::PagerDuty),
    }
}

/// What goes to `kind`, to be kept with the message: every try sends the same bytes, whatever version of the program
/// makes it. A message that cannot be written is kept all the same, and given up when it is sent.
pub fn body(kind: &ReceiverKind, message: &Message) -> Option<Body> {
    Body::of(message, format_of(kind)?).ok()
}

impl Sender {
    /// Prepares to send to `receiver`. Nothing is sent and no secret is read yet.
    pub fn new(receiver: &Receiver) -> Result<Self, BadReceiver> {
        let proxy = &receiver.proxy;
        let transport = match &receiver.kind {
            ReceiverKind::Email(email) => mail::Mailer::new(email).map(Transport::Mail),
            ReceiverKind::Webhook(hook) => webhook::Hook::new(hook, proxy).map(Transport::Webhook),
            ReceiverKind::Slack(place) | ReceiverKind::Teams(place) | ReceiverKind::Discord(place) => {
                chat::Channel::new(place, proxy).map(Transport::Chat)
            }
            ReceiverKind::PagerDuty(pager) => pagerduty::Pager::new(pager, proxy).map(Transport::PagerDuty),
        };
        let transport = transport.map_err(|reason| BadReceiver { name: receiver.name.clone(), reason })?;
        Ok(Self { format: format_of(&receiver.kind), transport })
    }

    /// Speaks with a mail relay up to where a mail would be sent; what else takes messages is only heard when there is one.
    pub async fn check(&self) -> Result<(), CheckError> {
        let Transport::Mail(mailer) = &self.transport else { return Ok(()) };
        mailer.check().await.map_err(|(is_login, reason)| CheckError { is_login, reason })
    }

    /// Tries to deliver `message` once: the body it was kept with, unless the receiver is of another kind by now.
    pub async fn send(&self, message: &Message, now: DateTime<Utc>) -> Attempt {
        let body = match (self.format, &message.body) {
            (None, _) => None,
            (Some(format), Some(kept)) if kept.format == format => Some(kept.clone()),
            (Some(format), _) => match Body::of(message, format) {
                Ok(body) => Some(body),
                Err(reason) => return Attempt::Permanent(reason),
            },
        };
        match (&self.transport, &body) {
            (Transport::Webhook(hook), Some(body)) => hook.send(message, body, now).await,
            (Transport::Chat(channel), Some(body)) => channel.send(body, now).await,
            (Transport::PagerDuty(pager), Some(body)) => pager.send(message, body, now).await,
            (Transport::Mail(mailer), _) => mailer.send(message, now).await,
            (Transport::Webhook(_) | Transport::Chat(_) | Transport::PagerDuty(_), None) => {
                Attempt::Permanent("there is no body".to_owned())
            }
        }
    }
}
