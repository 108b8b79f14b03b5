//! The bodies that receivers other than mail understand.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::Value;

use crate::model::{json_safe, word};

use super::{Message, discord, json, pagerduty, slack, teams};

word!(
    /// How a body is written.
    Format {
        /// Standard Webhooks.
        Standard = "standard",
        /// CloudEvents 1.0, structured mode.
        CloudEvents = "cloudevents",
        /// An incoming webhook of Slack.
        Slack = "slack",
        /// A workflow of Microsoft Teams.
        Teams = "teams",
        /// A webhook of Discord.
        Discord = "discord",
        /// Events of PagerDuty, without the routing key.
        PagerDuty = "pagerduty",
    }
);

/// The body of a message, identical on every try. It holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// How it is written.
    pub format: Format,
    /// JSON.
    pub text: String,
}

impl Format {
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
