//! The bodies that receivers other than mail understand.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::Value;

use crate::model::json_safe;

use super::{Message, discord, json, pagerduty, slack, teams};

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Standard Webhooks.
    Standard,
    /// CloudEvents 1.0, structured mode.
    CloudEvents,
    /// An incoming webhook of Slack.
    Slack,
    /// A workflow of Microsoft Teams.
    Teams,
    /// A webhook of Discord.
    Discord,
    /// Events of PagerDuty, without the routing key.
    PagerDuty,
}

/// What goes to a receiver, byte for byte, on every try. No secret is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// How it is written.
    pub format: Format,
    /// JSON.
    pub text: String,
}

impl Format {
    /// Every one.
    pub const ALL: [Self; 6] =
        [Self::Standard, Self::CloudEvents, Self::Slack, Self::Teams, Self::Discord, Self::PagerDuty];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::CloudEvents => "cloudevents",
            Self::Slack => "slack",
            Self::Teams => "teams",
            Self::Discord => "discord",
            Self::PagerDuty => "pagerduty",
        }
    }

    /// The one of that name.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.as_str() == word)
    }

    /// The value of `content-type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::CloudEvents => "application/cloudevents+json; charset=utf-8",
            _ => "application/json",
        }
    }
}

impl Body {
    /// Writes `message` as `format` has it.
    ///
    /// # Errors
    /// The alert has no JSON form, which its types do not allow, or the renderer panicked: one message that cannot be
    /// written must not stop the others.
    pub fn of(message: &Message, format: Format) -> Result<Self, String> {
        match catch_unwind(AssertUnwindSafe(|| Self::written(message, format))) {
            Ok(Ok(body)) => Ok(body),
            Ok(Err(error)) => Err(format!("the body cannot be made: {error}")),
            Err(_) => Err("the body cannot be made: the renderer failed".to_owned()),
        }
    }

    fn written(message: &Message, format: Format) -> Result<Self, serde_json::Error> {
        let value: Value = match format {
            Format::Standard => json::event(&message.alert)?,
            Format::CloudEvents => json::cloud_event(message)?,
            Format::Slack => slack::message(&message.alert),
            Format::Teams => teams::message(&message.alert),
            Format::Discord => discord::message(&message.alert),
            Format::PagerDuty => pagerduty::events(&message.alert),
        };
        Ok(Self { format, text: json_safe(&serde_json::to_string(&value)?) })
    }
}
