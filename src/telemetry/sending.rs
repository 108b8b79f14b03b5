//! What is observed of telling people.

use chrono::{DateTime, Utc};

use super::{Observable, metrics};
use crate::clock::written;
use crate::model::MessageId;

/// A receiver took a message.
#[derive(Debug, Clone, Copy)]
pub struct Delivered<'a> {
    /// The receiver.
    pub receiver: &'a str,
    /// The message.
    pub delivery: &'a MessageId,
    /// What the receiver said.
    pub answer: &'a str,
}

impl Observable for Delivered<'_> {
    const NAME: &'static str = "delivery.done";
    const MEANING: &'static str = "a receiver took a message";

    fn observe(&self) {
        let Self { receiver, delivery, answer } = *self;
        metrics::DELIVERIES.add(&[receiver, "delivered"]);
        tracing::info!(event = Self::NAME, receiver, %delivery, answer, "delivered");
    }
}

/// A receiver did not take a message; it is tried again.
#[derive(Debug, Clone, Copy)]
pub struct DeliveryFailed<'a> {
    /// The receiver.
    pub receiver: &'a str,
    /// The message.
    pub delivery: &'a MessageId,
    /// Why.
    pub error: &'a str,
    /// When it is tried again.
    pub next: DateTime<Utc>,
}

impl Observable for DeliveryFailed<'_> {
    const NAME: &'static str = "delivery.failed";
    const MEANING: &'static str = "a receiver did not take a message; it is tried again";

    fn observe(&self) {
        let Self { receiver, delivery, error, next } = *self;
        metrics::DELIVERIES.add(&[receiver, "failed"]);
        let next = written(next);
        tracing::warn!(event = Self::NAME, receiver, %delivery, error, next, "delivery failed, will try again");
    }
}

/// A message is not tried any more.
#[derive(Debug, Clone, Copy)]
pub struct DeliveryGivenUp<'a> {
    /// The receiver.
    pub receiver: &'a str,
    /// The message.
    pub delivery: &'a MessageId,
    /// Why.
    pub error: &'a str,
}

impl Observable for DeliveryGivenUp<'_> {
    const NAME: &'static str = "delivery.given_up";
    const MEANING: &'static str = "a message was given up; `authdrift outbox` shows it and tries it again";

    fn observe(&self) {
        let Self { receiver, delivery, error } = *self;
        metrics::DELIVERIES.add(&[receiver, "given_up"]);
        tracing::error!(event = Self::NAME, receiver, %delivery, error, "delivery given up");
    }
}

/// A receiver was told something past the database, or could not be.
#[derive(Debug, Clone, Copy)]
pub struct ToldDirectly<'a> {
    /// The receiver.
    pub receiver: &'a str,
    /// The message.
    pub delivery: &'a MessageId,
    /// What the receiver said, or why it did not take it.
    pub outcome: Result<&'a str, &'a str>,
}

impl Observable for ToldDirectly<'_> {
    const NAME: &'static str = "delivery.direct";
    const MEANING: &'static str = "a receiver was told of trouble with the database past it, or could not be";

    fn observe(&self) {
        let Self { receiver, delivery, outcome } = *self;
        let event = Self::NAME;
        match outcome {
            Ok(answer) => {
                metrics::DELIVERIES.add(&[receiver, "told_directly"]);
                tracing::info!(event, receiver, %delivery, answer, "told directly");
            }
            Err(error) => {
                metrics::DELIVERIES.add(&[receiver, "not_told_directly"]);
                tracing::error!(event, receiver, %delivery, error, "could not be told directly");
            }
        }
    }
}

/// The service elsewhere took a sign of life.
#[derive(Debug, Clone, Copy)]
pub struct HeartbeatTaken;

impl Observable for HeartbeatTaken {
    const NAME: &'static str = "heartbeat.taken";
    const MEANING: &'static str = "the service elsewhere took a sign of life";

    fn observe(&self) {
        metrics::HEARTBEATS.add(&["taken"]);
        tracing::debug!(event = Self::NAME, "the sign of life was taken");
    }
}

/// The service elsewhere did not take a sign of life.
#[derive(Debug, Clone, Copy)]
pub struct HeartbeatFailed<'a> {
    /// Why.
    pub error: &'a str,
    /// It is not tried again; the next one comes with the next cycle.
    pub is_last: bool,
}

impl Observable for HeartbeatFailed<'_> {
    const NAME: &'static str = "heartbeat.failed";
    const MEANING: &'static str = "the service elsewhere did not take a sign of life";

    fn observe(&self) {
        let Self { error, is_last } = *self;
        metrics::HEARTBEATS.add(&["failed"]);
        let event = Self::NAME;
        match is_last {
            false => tracing::warn!(event, error, "the sign of life was not taken"),
            true => {
                tracing::error!(event, error, "the sign of life was not taken, the next one comes after the next cycle")
            }
        }
    }
}
