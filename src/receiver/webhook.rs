//! Webhooks, signed as Standard Webhooks 1.0.

use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use url::Url;

use super::Attempt;
use super::post::Post;
use super::signing::signature;
use crate::config::{HookUrl, Proxy, SecretRef, Webhook, secret_url};
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
        let mut headers = vec![
            ("webhook-id".to_owned(), message.id.to_string()),
            ("webhook-timestamp".to_owned(), timestamp.to_string()),
            ("webhook-signature".to_owned(), signatures),
        ];
        let url = match self.url().and_then(|url| self.headers().map(|more| (url, more))) {
            Ok((url, more)) => {
                headers.extend(more);
                url
            }
            Err(reason) => return Attempt::Transient(reason, None),
        };
        let content_type = body.format.content_type();
        match self.post.send(&url, content_type, headers, body.text.clone().into_bytes(), now).await {
            Ok(answer) => answer.attempt(),
            Err(reason) => Attempt::Transient(reason, None),
        }
    }

    /// The address as it is now; an error never repeats a secret one.
    fn url(&self) -> Result<Url, String> {
        match &self.webhook.url {
            HookUrl::Written(url) => Ok(url.clone()),
            HookUrl::Secret(place) => {
                let text = secrets::read(place).map_err(|error| error.to_string())?;
                secret_url(text.expose_secret().trim())
            }
        }
    }

    /// The headers of the configuration with their values as they are now.
    fn headers(&self) -> Result<Vec<(String, String)>, String> {
        let read = |(name, place): &(String, SecretRef)| {
            let value = secrets::read(place).map_err(|error| error.to_string())?;
            Ok((name.clone(), value.expose_secret().to_owned()))
        };
        self.webhook.headers.iter().map(read).collect()
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
