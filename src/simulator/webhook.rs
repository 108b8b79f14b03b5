//! A receiver of signed webhooks.
//!
//! Checks Standard Webhooks 1.0 signatures from the specification's text, not with the sender's code. Every request
//! is recorded, whatever the script answers; what the script does not cover is answered 204.

use std::io;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::fault::Fault;
use super::vendor::{Answer, Request, Vendor};
use crate::clock::{Clock, SystemClock};

/// How far the timestamp of an attempt may be from the receiver's clock, in seconds.
const TOLERANCE: i64 = 300;

/// The judgement of the receiver on a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    /// One of the `v1` signatures is right and the timestamp is recent.
    Valid,
    /// A header is missing or malformed.
    Malformed,
    /// The timestamp is more than five minutes away.
    Stale,
    /// No `v1` signature is right.
    Wrong,
}

/// One recorded attempt.
#[derive(Debug, Clone)]
pub struct ReceivedDelivery {
    /// The request: headers, body, time.
    pub request: Request,
    /// Its signature, judged at the time of arrival.
    pub signature: Signature,
}

impl ReceivedDelivery {
    /// The `webhook-id`, the same on every attempt for a message.
    pub fn id(&self) -> Option<&str> {
        self.request.header("webhook-id")
    }

    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.request.body).unwrap_or_default()
    }
}

/// A running receiver. Everything of [`Vendor`] can be called on it.
#[derive(Debug, Clone)]
pub struct Webhook {
    vendor: Vendor,
    key: Vec<u8>,
}

impl Webhook {
    /// Starts a receiver that knows `secret` (`whsec_…`).
    pub async fn start(secret: &str) -> io::Result<Self> {
        Self::start_at(secret, Arc::new(SystemClock)).await
    }

    /// As [`Webhook::start`], with its own clock.
    pub async fn start_at(secret: &str, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let key = secret.strip_prefix("whsec_").and_then(|key| STANDARD.decode(key).ok());
        let key = key.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a whsec_ secret"))?;
        let vendor = Vendor::start(clock, |request, _| match request.method.as_str() {
            "POST" => Answer::text(204, ""),
            _ => Answer::text(405, "only POST\n"),
        })
        .await?;
        Ok(Self { vendor, key })
    }

    /// The address to configure.
    pub fn hook_url(&self) -> String {
        format!("{}/hooks/authdrift", self.vendor.url())
    }

    /// Answers the next requests with these statuses, one after the other, then 204 again.
    pub fn script(&self, statuses: &[u16]) {
        self.vendor.fail_all(Fault::Sequence(statuses.iter().map(|status| Self::reply(*status)).collect()));
    }

    /// An answer for [`Vendor::fail_all`]; redirects lead to `/elsewhere` on this receiver.
    pub fn reply(status: u16) -> Fault {
        let fault = Fault::status(status, json!({ "status": status }));
        if (300..400).contains(&status) { fault.with_header("location", "/elsewhere") } else { fault }
    }

    /// Everything that came, in order.
    pub fn deliveries(&self) -> Vec<ReceivedDelivery> {
        let judge = |request: Request| ReceivedDelivery { signature: check(&self.key, &request), request };
        self.vendor.requests().into_iter().map(judge).collect()
    }

    /// Waits for `count` deliveries; `None` when `timeout` comes first.
    pub async fn wait_for(&self, count: usize, timeout: Duration) -> Option<Vec<ReceivedDelivery>> {
        self.vendor.wait_for_requests(count, timeout).await.then(|| self.deliveries())
    }
}

impl Deref for Webhook {
    type Target = Vendor;

    fn deref(&self) -> &Vendor {
        &self.vendor
    }
}

fn check(key: &[u8], request: &Request) -> Signature {
    let header = |name| request.header(name).filter(|value| !value.is_empty());
    let (Some(id), Some(timestamp), Some(signatures)) =
        (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"))
    else {
        return Signature::Malformed;
    };
    let Ok(sent) = timestamp.parse::<i64>() else { return Signature::Malformed };
    if id.contains('.') {
        return Signature::Malformed;
    }
    if sent.abs_diff(request.unix) > TOLERANCE.unsigned_abs() {
        return Signature::Stale;
    }
    let right = |signature: &str| {
        let bytes = signature.strip_prefix("v1,").and_then(|text| STANDARD.decode(text).ok());
        let mac = Hmac::<Sha256>::new_from_slice(key).ok();
        let (Some(bytes), Some(mut mac)) = (bytes, mac) else { return false };
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", &request.body] {
            mac.update(part);
        }
        mac.verify_slice(&bytes).is_ok()
    };
    if signatures.split(' ').any(right) { Signature::Valid } else { Signature::Wrong }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::FakeClock;
    use chrono::{DateTime, TimeDelta};

    // The vector of reference/trust-and-operations.md, checked there with two independent libraries.
    const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const BODY: &str = r#"{"type":"drift.opened","timestamp":"2026-01-01T00:00:00Z","data":{"instance":"auth0:acme","incident":"inc_1","severity":"high"}}"#;
    const GOOD: &str = "v1,wjrvZ8rCMxY2rJNSFMr/BiDzvgDkTd6MhKq8swJdJbM=";
    const SENT: i64 = 1_767_225_600;

    async fn post(hook: &Webhook, signature: &str, body: &'static str) -> u16 {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let request = client.post(hook.hook_url()).header("webhook-id", "msg_01JDRIFT0000000000000000");
        let request = request.header("webhook-timestamp", SENT).header("webhook-signature", signature).body(body);
        request.send().await.unwrap().status().as_u16()
    }

    async fn receiver() -> (Webhook, Arc<FakeClock>) {
        let clock = Arc::new(FakeClock::at(DateTime::from_timestamp(SENT, 0).unwrap()));
        (Webhook::start_at(SECRET, Arc::clone(&clock) as Arc<dyn Clock>).await.unwrap(), clock)
    }

    #[tokio::test]
    async fn signatures_are_judged() {
        let (hook, clock) = receiver().await;
        assert_eq!(post(&hook, GOOD, BODY).await, 204);
        post(&hook, &format!("v1a,AAAA v1,AAAA {GOOD}"), BODY).await;
        post(&hook, GOOD, "{}").await;
        post(&hook, "", BODY).await;
        clock.advance(TimeDelta::seconds(300));
        post(&hook, GOOD, BODY).await;
        clock.advance(TimeDelta::seconds(1));
        post(&hook, GOOD, BODY).await;
        let judged: Vec<Signature> = hook.deliveries().iter().map(|delivery| delivery.signature).collect();
        use Signature::{Malformed, Stale, Valid, Wrong};
        assert_eq!(judged, [Valid, Valid, Wrong, Malformed, Valid, Stale]);
        let first = &hook.deliveries()[0];
        assert_eq!(first.json()["type"], "drift.opened");
        assert_eq!(first.id(), Some("msg_01JDRIFT0000000000000000"));
        assert_eq!(first.request.path, "/hooks/authdrift");
    }

    #[tokio::test]
    async fn script_is_followed_and_everything_recorded() {
        let (hook, _clock) = receiver().await;
        hook.script(&[500, 500, 410, 302]);
        let mut statuses = Vec::new();
        for _ in 0..5 {
            statuses.push(post(&hook, GOOD, BODY).await);
        }
        assert_eq!(statuses, [500, 500, 410, 302, 204]);
        assert_eq!(hook.wait_for(5, Duration::from_secs(5)).await.unwrap().len(), 5);
        assert!(hook.wait_for(6, Duration::from_millis(10)).await.is_none());
    }

    #[tokio::test]
    async fn secret_must_be_one() {
        assert!(Webhook::start("whsec_!").await.is_err());
        assert!(Webhook::start("secret").await.is_err());
    }
}
