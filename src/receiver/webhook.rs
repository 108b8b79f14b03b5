//! Webhooks, signed as Standard Webhooks 1.0.

use chrono::{DateTime, Utc};

use super::Attempt;
use super::post::Post;
use super::signing::signature;
use crate::config::{Proxy, Webhook};
use crate::message::{Body, Message};
use crate::secrets;

/// Sends webhooks for one receiver.
pub(super) struct Hook {
    webhook: Webhook,
    post: Post,
}

impl Hook {
    pub(super) fn new(webhook: &Webhook, proxy: &Proxy) -> Result<Self, String> {
        Ok(Self { webhook: webhook.clone(), post: Post::new(webhook.may_be_private, proxy)? })
    }

    pub(super) async fn send(&self, message: &Message, body: &Body, now: DateTime<Utc>) -> Attempt {
        let timestamp = now.timestamp();
        let signatures = match self.signatures(message.id.as_str(), timestamp, body.text.as_bytes()) {
            Ok(signatures) => signatures,
            Err(reason) => return Attempt::Transient(reason, None),
        };
        let headers = vec![
            ("webhook-id", message.id.to_string()),
            ("webhook-timestamp", timestamp.to_string()),
            ("webhook-signature", signatures),
        ];
        let (url, content_type) = (&self.webhook.url, body.format.content_type());
        match self.post.send(url, content_type, headers, body.text.clone().into_bytes(), now).await {
            Ok(answer) => answer.attempt(),
            Err(reason) => Attempt::Transient(reason, None),
        }
    }

    /// One signature for each secret, in the order of the configuration.
    fn signatures(&self, id: &str, timestamp: i64, body: &[u8]) -> Result<String, String> {
        let one = |reference| {
            let secret = secrets::read(reference).map_err(|error| error.to_string())?;
            signature(&secret, id, timestamp, body).map_err(|error| error.to_string())
        };
        let all: Vec<String> = self.webhook.secrets.iter().map(one).collect::<Result<_, _>>()?;
        Ok(all.join(" "))
    }
}
