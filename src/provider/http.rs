//! The only HTTP client for reading: https, no redirects, bounded in time and size, patient with busy vendors.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, redirect};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::ReadError;
use crate::backoff::jittered;

/// Bounds of one request and of its repetition.
#[derive(Debug, Clone)]
pub struct Limits {
    /// To connect.
    pub connect: Duration,
    /// To connect, send and get the answer's headers.
    pub headers: Duration,
    /// For everything, body included.
    pub total: Duration,
    /// For a whole section: all its pages, pauses and repetitions.
    pub section: Duration,
    /// Bytes of a body after decompression.
    pub body: usize,
    /// Tries when the vendor fails (5xx or no connection).
    pub tries: u32,
    /// Tries when the vendor says that it is too busy for us (429).
    pub busy_tries: u32,
    /// First pause between tries; doubles.
    pub pause: Duration,
    /// The longest pause, also when the vendor asks for a longer one.
    pub longest_pause: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            headers: Duration::from_secs(10),
            total: Duration::from_secs(30),
            section: Duration::from_secs(180),
            body: 10 << 20,
            tries: 3,
            busy_tries: 5,
            pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(60),
        }
    }
}

/// What the vendor answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error("plain http is only for loopback addresses, not for '{0}'")]
    NotHttps(String),
    #[error("no connection: {0}")]
    Connect(String),
    #[error("no answer within {0} s")]
    Slow(u64),
    #[error("the answer broke off: {0}")]
    Broken(String),
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
}

/// Sends GET requests, and the one POST that fetches a token.
pub struct Http {
    client: Client,
    limits: Limits,
    requests: AtomicU64,
}

impl Http {
    /// Makes the client.
    ///
    /// # Errors
    /// There is no trust store on this machine.
    pub fn new(limits: Limits) -> Result<Self, ReadError> {
        let client = Client::builder()
            .user_agent(concat!("authdrift/", env!("CARGO_PKG_VERSION"), " (+read-only settings monitor)"))
            .redirect(redirect::Policy::none())
            .connect_timeout(limits.connect)
            .timeout(limits.total)
            .no_proxy()
            .build()
            .map_err(|error| ReadError::Client(reason(&error)))?;
        Ok(Self { client, limits, requests: AtomicU64::new(0) })
    }

    /// Requests sent so far.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// For a whole section: all its pages, pauses and repetitions.
    pub(super) fn section_limit(&self) -> Duration {
        self.limits.section
    }

    /// Reads `url`, patiently.
    pub(super) async fn get(
        &self,
        url: &Url,
        bearer: Option<&SecretString>,
        headers: &[(&'static str, &str)],
    ) -> Result<Answer, NoAnswer> {
        let mut failures = 0;
        let mut busy = 0;
        loop {
            let mut request = self.client.get(url.clone()).header("accept", "application/json");
            if let Some(bearer) = bearer {
                request = request.bearer_auth(bearer.expose_secret());
            }
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let (outcome, asked_pause) = self.send(url, request).await;
            let pause = match &outcome {
                Ok(answer) if answer.status == 429 && busy + 1 < self.limits.busy_tries => {
                    busy += 1;
                    asked_pause.unwrap_or_else(|| jittered(self.limits.pause, busy))
                }
                Ok(answer) if answer.status >= 500 && failures + 1 < self.limits.tries => {
                    failures += 1;
                    asked_pause.unwrap_or_else(|| jittered(self.limits.pause, failures))
                }
                Err(NoAnswer::Connect(_) | NoAnswer::Broken(_)) if failures + 1 < self.limits.tries => {
                    failures += 1;
                    jittered(self.limits.pause, failures)
                }
                _ => return outcome,
            };
            tokio::time::sleep(pause.min(self.limits.longest_pause)).await;
        }
    }

    /// Sends the one POST there is: the request for a token.
    pub(super) async fn post_token(&self, url: &Url, form: &[(&str, &str)]) -> Result<Answer, NoAnswer> {
        let request = self.client.post(url.clone()).header("accept", "application/json").form(form);
        self.send(url, request).await.0
    }

    async fn send(&self, url: &Url, request: reqwest::RequestBuilder) -> (Result<Answer, NoAnswer>, Option<Duration>) {
        if !is_allowed(url) {
            return (Err(NoAnswer::NotHttps(url.origin().ascii_serialization())), None);
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        let response = match tokio::time::timeout(self.limits.headers, request.send()).await {
            Err(_) => return (Err(NoAnswer::Slow(self.limits.headers.as_secs())), None),
            Ok(Err(error)) if error.is_timeout() && !error.is_connect() => {
                return (Err(NoAnswer::Slow(self.limits.total.as_secs())), None);
            }
            Ok(Err(error)) => return (Err(NoAnswer::Connect(reason(&error))), None),
            Ok(Ok(response)) => response,
        };
        let status = response.status();
        let asked_pause = asked_pause(status, response.headers());
        let body = self.body(response).await;
        (body.map(|body| Answer { status: status.as_u16(), body }), asked_pause)
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, NoAnswer> {
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(None) => return Ok(body),
                Ok(Some(chunk)) if body.len() + chunk.len() > self.limits.body => {
                    return Err(NoAnswer::TooLarge(self.limits.body));
                }
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Err(error) if error.is_timeout() => return Err(NoAnswer::Slow(self.limits.total.as_secs())),
                Err(error) => return Err(NoAnswer::Broken(reason(&error))),
            }
        }
    }
}

/// https anywhere, http on loopback.
fn is_allowed(url: &Url) -> bool {
    url.scheme() == "https" || (url.scheme() == "http" && crate::config::is_loopback(url))
}

/// How long the vendor asks us to wait: `Retry-After` first, then Auth0's `x-ratelimit-reset` (Unix seconds, read
/// against the answer's own `Date` so that this machine's clock does not matter).
fn asked_pause(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    if status != StatusCode::TOO_MANY_REQUESTS && status != StatusCode::SERVICE_UNAVAILABLE {
        return None;
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let date = text("date").and_then(|text| httpdate::parse_http_date(text).ok());
    if let Some(retry_after) = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()) {
        if let Ok(seconds) = retry_after.trim().parse() {
            return Some(Duration::from_secs(seconds));
        }
        let until = httpdate::parse_http_date(retry_after).ok()?;
        return until.duration_since(date?).ok();
    }
    let reset: u64 = text("x-ratelimit-reset")?.trim().parse().ok()?;
    let now = date?.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
    // Both are whole seconds: one more makes sure that the reset has come.
    Some(Duration::from_secs(reset.saturating_sub(now) + 1))
}

/// The innermost cause, without the address: an address may hold what should not be logged.
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let text = cause.to_string();
    crate::model::display_safe(text.split(" for url").next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_loopback_only() {
        for (url, expected) in [
            ("https://api.clerk.com/v1", true),
            ("http://127.0.0.1:8080", true),
            ("http://[::1]:8080", true),
            ("http://localhost:1", true),
            ("http://10.0.0.1", false),
            ("http://127.0.0.1.example.com", false),
            ("ftp://127.0.0.1", false),
        ] {
            assert_eq!(is_allowed(&url.parse().unwrap()), expected, "{url}");
        }
    }

    #[test]
    fn the_vendors_wish_is_read_from_either_header() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect::<HeaderMap>()
        };
        let date = ("date", "Thu, 01 Jan 1970 00:01:40 GMT");
        let table = [
            (429, headers(&[("retry-after", "7"), ("x-ratelimit-reset", "999")]), Some(7)),
            (429, headers(&[date, ("x-ratelimit-reset", "103")]), Some(4)),
            (429, headers(&[date, ("retry-after", "Thu, 01 Jan 1970 00:01:45 GMT")]), Some(5)),
            (429, headers(&[("x-ratelimit-reset", "103")]), None),
            (200, headers(&[("retry-after", "7")]), None),
        ];
        for (status, headers, expected) in table {
            let pause = asked_pause(StatusCode::from_u16(status).unwrap(), &headers);
            assert_eq!(pause.map(|pause| pause.as_secs()), expected, "{headers:?}");
        }
    }
}
