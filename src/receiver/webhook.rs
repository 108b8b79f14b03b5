//! Webhooks, signed as Standard Webhooks 1.0 (v1).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use hmac::{Hmac, Mac};
use reqwest::{Client, StatusCode, redirect};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use super::Attempt;
use crate::config::Webhook;
use crate::message::{Message, json};
use crate::secrets;

/// Connect, send and answer within this time.
const TIMEOUT: Duration = Duration::from_secs(15);
/// The standard asks for 24 to 64 bytes.
const KEY_SIZES: std::ops::RangeInclusive<usize> = 24..=64;

/// Sends webhooks for one receiver.
pub struct Hook {
    webhook: Webhook,
    client: Client,
}

impl Hook {
    pub(super) fn new(webhook: &Webhook) -> Result<Self, String> {
        let client = Client::builder()
            .user_agent(concat!("authdrift/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .timeout(TIMEOUT)
            .no_proxy()
            .build()
            .map_err(|error| error.without_url().to_string())?;
        Ok(Self { webhook: webhook.clone(), client })
    }

    pub(super) async fn send(&self, message: &Message, now: DateTime<Utc>) -> Attempt {
        let body = match json::body(&message.alert) {
            Ok(body) => body,
            Err(error) => return Attempt::Permanent(format!("the body cannot be made: {error}")),
        };
        let timestamp = now.timestamp();
        let signed = secrets::read(&self.webhook.secret).map_err(|error| error.to_string()).and_then(|secret| {
            signature(&secret, message.id.as_str(), timestamp, &body).map_err(|error| error.to_string())
        });
        let signature = match signed {
            Ok(signature) => signature,
            Err(reason) => return Attempt::Transient(reason, None),
        };
        let request = self
            .client
            .post(self.webhook.url.clone())
            .header("content-type", "application/json")
            .header("webhook-id", message.id.as_str())
            .header("webhook-timestamp", timestamp.to_string())
            .header("webhook-signature", signature)
            .body(body);
        // The answer's body is not read: nothing in it matters, and it may have no end. The address may hold a token,
        // so it stays out of the reason.
        match request.send().await {
            Ok(response) => attempt_of(response.status(), retry_after(&response)),
            Err(error) => Attempt::Transient(reason(&error.without_url()), None),
        }
    }
}

fn attempt_of(status: StatusCode, asked: Option<Duration>) -> Attempt {
    let words = status.to_string();
    match status.as_u16() {
        200..=299 => Attempt::Delivered(words),
        // A receiver that is being moved or given new credentials answers 401, 403 or 404 for a while.
        401 | 403 | 404 | 408 | 425 | 429 | 500..=599 => Attempt::Transient(words, asked),
        300..=399 => Attempt::Permanent(format!("{words}: redirects are not followed, configure the final address")),
        _ => Attempt::Permanent(words),
    }
}

fn retry_after(response: &reqwest::Response) -> Option<Duration> {
    let value = response.headers().get(reqwest::header::RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

pub(super) fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    crate::model::display_safe(&cause.to_string())
}

/// A webhook secret that cannot be used. Its text is not shown.
#[derive(Debug, thiserror::Error)]
#[error("the webhook secret is not 'whsec_' and 24 to 64 bytes in base64")]
pub struct BadWebhookSecret;

/// The `webhook-signature` header: `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`.
///
/// # Errors
/// The secret is malformed.
pub fn signature(secret: &SecretString, id: &str, timestamp: i64, body: &[u8]) -> Result<String, BadWebhookSecret> {
    let encoded = secret.expose_secret().strip_prefix("whsec_").ok_or(BadWebhookSecret)?;
    let key = STANDARD.decode(encoded).map_err(|_| BadWebhookSecret)?;
    if !KEY_SIZES.contains(&key.len()) {
        return Err(BadWebhookSecret);
    }
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&key).map_err(|_| BadWebhookSecret)?;
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    Ok(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_vector_of_the_standard_comes_out() {
        let signature = signature(
            &SecretString::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signature.unwrap(), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_second_vector_checked_with_two_other_implementations_comes_out() {
        let body = br#"{"type":"drift.opened","timestamp":"2026-01-01T00:00:00Z","data":{"instance":"auth0:acme","incident":"inc_1","severity":"high"}}"#;
        let secret = SecretString::from("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
        let signature = signature(&secret, "msg_01JDRIFT0000000000000000", 1_767_225_600, body);
        assert_eq!(signature.unwrap(), "v1,wjrvZ8rCMxY2rJNSFMr/BiDzvgDkTd6MhKq8swJdJbM=");
    }

    #[test]
    fn malformed_secrets_are_refused_and_not_shown() {
        for secret in ["", "CANARY", "whsec_CANARY!", "whsec_AAEC"] {
            let error = signature(&SecretString::from(secret), "id", 0, b"").unwrap_err().to_string();
            assert!(!error.contains("CANARY"));
        }
    }

    #[test]
    fn what_is_tried_again_and_what_is_not() {
        for (status, is_transient) in
            [(401, true), (404, true), (408, true), (429, true), (503, true), (400, false), (302, false), (410, false)]
        {
            let attempt = attempt_of(StatusCode::from_u16(status).unwrap(), None);
            assert_eq!(matches!(attempt, Attempt::Transient(..)), is_transient, "{status}");
        }
        assert!(matches!(attempt_of(StatusCode::ACCEPTED, None), Attempt::Delivered(_)));
    }
}
