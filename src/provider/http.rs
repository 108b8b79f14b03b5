//! The only HTTP client for reading: https, no redirects, bounded in time, size and pace, patient with busy vendors.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;
use url::Url;

use super::client::{HttpClient, reason};
use super::concurrency::{InstanceSlots, ReadingPermit, SHARED_SLOTS, SharedSlots};
use super::limits::{Limits, Stopwatch};
use super::rate_headers::{asked_pause, quota};
use super::rate_limit::{RateLimiter, Turn};
use super::{ReadError, RequestRecord};
use crate::backoff::jittered;
use crate::canonical::{MemoryBudget, OverBudget};
use crate::config::{self, Instance, Rate};
use crate::connect::ActiveProxy;
use crate::model::Provider;
use crate::telemetry::{Observable, RequestAnswered};

/// The largest body of an answer that refuses something, and of the one with a token.
const LARGEST_REFUSAL: usize = 1 << 20;

/// What Auth0 says when its allowance for everything is spent.
const GLOBAL: &[u8] = b"Global limit has been reached";

/// The response of a vendor.
#[derive(Debug)]
pub(super) struct VendorResponse {
    pub(super) status: u16,
    /// `application/json` without what follows it, in lower case; empty when there is none.
    pub(super) content_type: String,
    /// The vendor's `Date`, as sent.
    pub(super) date: Option<String>,
    pub(super) body: Vec<u8>,
    /// The credential it was asked with.
    pub(super) sent: Bearer,
}

/// A token or key, where one is needed.
pub(super) type Bearer = Option<SecretString>;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    #[error("plain http is only for loopback addresses, not for '{0}'")]
    NotHttps(String),
    #[error("no connection: {0}")]
    Connect(String),
    #[error("no answer within {0} s")]
    Slow(u64),
    #[error("not read within {0} s{1}")]
    Late(u64, String),
    #[error("the answer broke off: {0}")]
    Broken(String),
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    #[error("of all its answers together {0}")]
    OverBudget(OverBudget),
    #[error("the vendor asks for {0} s without requests")]
    Asked(u64),
    #[error("not asked for any more")]
    Unwanted,
}

/// Why something was tried again, as it follows the reason why it is not any more.
fn last_trouble(outcome: &Result<VendorResponse, RequestError>) -> String {
    match outcome {
        Ok(answer) => format!("; the last answer was {}", answer.status),
        Err(error) => format!("; before that {error}"),
    }
}

/// A pause up to this is always waited out, even if `longest_pause` is shorter.
const WORTH_A_WAIT: Duration = Duration::from_secs(1);

/// A wait for the own rate limit from which on the slot is released to another reading.
const WORTH_A_REST: Duration = Duration::from_millis(500);

/// How often one request was tried again.
#[derive(Default)]
struct Tries {
    failures: u32,
    busy: u32,
}

/// Sends GET requests, and the one POST that fetches a token.
pub struct Http {
    vendor: Provider,
    configured: config::Proxy,
    client: Mutex<HttpClient>,
    limits: Limits,
    /// How many requests may be under way at once.
    permits: Semaphore,
    concurrency: usize,
    /// Its share of what all instances together may have under way.
    slots: InstanceSlots,
    pace: RateLimiter,
    requests: AtomicU64,
    records: Mutex<Vec<RequestRecord>>,
    /// Why something was tried again last.
    trouble: Mutex<String>,
}

impl Http {
    /// Makes the client for `instance`. At most `concurrency` requests are under way at once, and no more than `rate` are sent.
    pub fn new(instance: &Instance, limits: Limits, concurrency: usize, rate: Option<Rate>) -> Result<Self, ReadError> {
        let (vendor, proxy) = (instance.id.provider, instance.proxy.clone());
        Self::among(&SHARED_SLOTS, vendor, proxy, limits, concurrency, rate)
    }

    fn among(
        shared: &'static SharedSlots,
        vendor: Provider,
        configured: config::Proxy,
        limits: Limits,
        concurrency: usize,
        rate: Option<Rate>,
    ) -> Result<Self, ReadError> {
        let client = HttpClient::new(&limits, None)?;
        let pace = RateLimiter::new(rate, limits.longest_pause);
        Ok(Self {
            vendor,
            configured,
            client: Mutex::new(client),
            limits,
            permits: Semaphore::new(concurrency),
            concurrency,
            slots: InstanceSlots::of(shared),
            pace,
            requests: AtomicU64::new(0),
            records: Mutex::default(),
            trouble: Mutex::default(),
        })
    }

    /// Begins a reading, through the proxy that is configured now.
    pub(super) fn begin(&self) -> Result<ReadingPermit<'_>, ReadError> {
        let proxy = ActiveProxy::find(&self.configured)?;
        if self.current_client().proxy != proxy {
            let client = HttpClient::new(&self.limits, proxy)?;
            *self.client.lock().unwrap_or_else(PoisonError::into_inner) = client;
        }
        self.pace.begin();
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(self.slots.begin())
    }

    fn current_client(&self) -> HttpClient {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps a note of a request and its answer.
    pub(super) fn record(&self, collected: RequestRecord) {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).push(collected);
    }

    /// The notes since the last time.
    pub(super) fn take_records(&self) -> Vec<RequestRecord> {
        std::mem::take(&mut self.records.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Requests sent so far.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// The bounds it keeps.
    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How long a reading may take that has sent `requests` so far; what it waited for others does not count.
    pub(super) fn time_for(&self, requests: u64) -> Duration {
        self.limits.reading + self.pace.time_for(requests) + self.slots.waited()
    }

    /// Reads `url`, patiently, for as long as `stopwatch` and `bodies` allow, with the `bearer` that is there when its turn
    /// comes. Nothing is sent when there is no use in asking any more.
    pub(super) async fn get<Now: Future<Output = Option<Bearer>>>(
        &self,
        url: &Url,
        bearer: impl Fn() -> Now,
        headers: &[(&'static str, &str)],
        stopwatch: &Stopwatch,
        bodies: &MemoryBudget,
    ) -> Result<VendorResponse, RequestError> {
        let family: String = url.path().split_inclusive('/').take(4).collect();
        let (mut tries, mut trouble) = (Tries::default(), String::new());
        loop {
            let turn = self.turn(&family).await?;
            // The credential may have been refused or renewed during the wait.
            let Some(bearer) = bearer().await else { return Err(RequestError::Unwanted) };
            let mut request = self.current_client().client.get(url.clone()).header("accept", "application/json");
            if let Some(bearer) = &bearer {
                request = request.bearer_auth(bearer.expose_secret());
            }
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let place = self.slots.acquire().await;
            let sending = self.send(url, &family, request, bodies);
            let Some((mut outcome, asked_pause)) = stopwatch.time(sending).await else {
                self.slots.record_outcome(false);
                return Err(RequestError::Late(self.limits.address.as_secs(), trouble));
            };
            drop(place);
            if let Ok(answer) = &mut outcome {
                answer.sent = bearer;
            }
            // A request that waits for its retry gives its turn to the others.
            drop(turn);
            self.rest();
            let Some(pause) = self.pause(&outcome, asked_pause, &mut tries) else { return outcome };
            trouble = self.tried(url, &outcome);
            if stopwatch.time(tokio::time::sleep(pause)).await.is_none() {
                return Err(RequestError::Late(self.limits.address.as_secs(), trouble));
            }
        }
    }

    /// Notes why `url` is tried again, and answers it in words.
    fn tried(&self, url: &Url, outcome: &Result<VendorResponse, RequestError>) -> String {
        let trouble = last_trouble(outcome);
        let path = crate::model::display_safe(url.path());
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = format!("{trouble} at {path}");
        trouble
    }

    /// Why something was tried again last in this reading, to follow another sentence; empty if nothing was.
    pub(super) fn trouble(&self) -> String {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How long to wait until what ended so is tried again; nothing if it is not.
    fn pause(
        &self,
        outcome: &Result<VendorResponse, RequestError>,
        asked: Option<Duration>,
        tries: &mut Tries,
    ) -> Option<Duration> {
        let limits = &self.limits;
        let own = match outcome {
            Ok(answer) if answer.status == 429 && tries.busy + 1 < limits.busy_tries => {
                tries.busy += 1;
                jittered(limits.pause, tries.busy)
            }
            Ok(answer) if answer.status >= 500 && tries.failures + 1 < limits.tries => {
                tries.failures += 1;
                jittered(limits.pause, tries.failures)
            }
            Err(RequestError::Connect(_) | RequestError::Broken(_)) if tries.failures + 1 < limits.tries => {
                tries.failures += 1;
                jittered(limits.pause, tries.failures)
            }
            _ => return None,
        };
        match asked {
            // It would be told the same before that.
            Some(asked) if asked > limits.longest_pause.max(WORTH_A_WAIT) => None,
            asked => Some(asked.unwrap_or(own).min(limits.longest_pause)),
        }
    }

    /// Releases the slot of this reading while none of its requests is under way and its own rate limit makes it wait.
    fn rest(&self) {
        let is_idle = self.permits.available_permits() == self.concurrency;
        if is_idle && self.pace.ahead(Instant::now()) >= WORTH_A_REST {
            self.slots.release_reading();
        }
    }

    /// Waits until a request of `family` may be sent. A family that waits for its rate limit does not block the others.
    async fn turn(&self, family: &str) -> Result<Option<SemaphorePermit<'_>>, RequestError> {
        loop {
            let permit = self.permits.acquire().await.ok();
            let wait = match self.pace.take(family, Instant::now()) {
                Turn::Go => return Ok(permit),
                Turn::Wait(wait) => wait,
                Turn::TooLong(wait) => return Err(RequestError::Asked(wait.as_secs())),
            };
            drop(permit);
            self.rest();
            tokio::time::sleep(wait).await;
        }
    }

    /// Sends the one POST there is, the request for a token, as patiently as any other.
    pub(super) async fn post_token(&self, url: &Url, form: &[(&str, &str)]) -> Result<VendorResponse, RequestError> {
        let stopwatch = Stopwatch::new(self.limits.address);
        let (mut tries, mut trouble) = (Tries::default(), String::new());
        loop {
            let request =
                self.current_client().client.post(url.clone()).header("accept", "application/json").form(form);
            let place = self.slots.acquire().await;
            let room = MemoryBudget::of(LARGEST_REFUSAL);
            let Some((outcome, asked_pause)) = stopwatch.time(self.send(url, url.path(), request, &room)).await else {
                self.slots.record_outcome(false);
                return Err(RequestError::Late(self.limits.address.as_secs(), trouble));
            };
            drop(place);
            let Some(pause) = self.pause(&outcome, asked_pause, &mut tries) else { return outcome };
            trouble = self.tried(url, &outcome);
            if stopwatch.time(tokio::time::sleep(pause)).await.is_none() {
                return Err(RequestError::Late(self.limits.address.as_secs(), trouble));
            }
        }
    }

    async fn send(
        &self,
        url: &Url,
        family: &str,
        request: reqwest::RequestBuilder,
        bodies: &MemoryBudget,
    ) -> (Result<VendorResponse, RequestError>, Option<Duration>) {
        if !is_allowed(url) {
            return (Err(RequestError::NotHttps(url.origin().ascii_serialization())), None);
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        let begin = Instant::now();
        let outcome = self.exchange(family, request, bodies).await;
        let status = outcome.0.as_ref().ok().map(|answer| answer.status);
        self.slots.record_outcome(!matches!(outcome.0, Err(RequestError::Connect(_) | RequestError::Slow(_))));
        RequestAnswered { vendor: self.vendor, status, duration: begin.elapsed() }.observe();
        outcome
    }

    /// One request and its whole answer.
    async fn exchange(
        &self,
        family: &str,
        request: reqwest::RequestBuilder,
        bodies: &MemoryBudget,
    ) -> (Result<VendorResponse, RequestError>, Option<Duration>) {
        let response = match tokio::time::timeout(self.limits.headers, request.send()).await {
            Err(_) => return (Err(RequestError::Slow(self.limits.headers.as_secs())), None),
            Ok(Err(error)) if error.is_timeout() && !error.is_connect() => {
                return (Err(RequestError::Slow(self.limits.total.as_secs())), None);
            }
            Ok(Err(error)) => return (Err(RequestError::Connect(reason(&error))), None),
            Ok(Ok(response)) => response,
        };
        let status = response.status();
        let asked_pause = asked_pause(status, response.headers());
        self.pace.observe(family, quota(status, response.headers(), asked_pause), Instant::now());
        let text = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let content_type = text("content-type").unwrap_or_default();
        let content_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        // An HTTP date has 29 characters.
        let date = text("date").filter(|date| date.len() <= 64);
        let body = self.body(response, bodies).await;
        // Auth0 names the group where it is one group of endpoints that was asked too often.
        let is_global = |body: &Vec<u8>| body.windows(GLOBAL.len()).any(|part| part == GLOBAL);
        if status == StatusCode::TOO_MANY_REQUESTS && body.as_ref().is_ok_and(is_global) {
            self.pace.observe_global(asked_pause.unwrap_or(Duration::from_secs(1)), Instant::now());
        }
        (body.map(|body| VendorResponse { status: status.as_u16(), content_type, date, body, sent: None }), asked_pause)
    }

    async fn body(&self, mut response: Response, bodies: &MemoryBudget) -> Result<Vec<u8>, RequestError> {
        let most =
            if response.status().is_success() { self.limits.body } else { LARGEST_REFUSAL.min(self.limits.body) };
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(None) => return Ok(body),
                Ok(Some(chunk)) if body.len() + chunk.len() > most => return Err(RequestError::TooLarge(most)),
                Ok(Some(chunk)) => {
                    bodies.take(chunk.len()).map_err(RequestError::OverBudget)?;
                    body.extend_from_slice(&chunk);
                }
                Err(error) if error.is_timeout() => return Err(RequestError::Slow(self.limits.total.as_secs())),
                Err(error) => return Err(RequestError::Broken(reason(&error))),
            }
        }
    }
}

/// https anywhere, http on loopback.
fn is_allowed(url: &Url) -> bool {
    url.scheme() == "https" || (url.scheme() == "http" && crate::config::is_loopback(url))
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

    /// Answers every request with an empty object.
    async fn vendor() -> Url {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/api/v2/x", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut request = [0; 4096];
                    while stream.read(&mut request).await.is_ok_and(|length| length > 0) {
                        let answer =
                            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
                        stream.write_all(answer).await.unwrap();
                    }
                });
            }
        });
        url
    }

    #[tokio::test]
    async fn those_who_wait_for_their_own_pace_keep_nobody_else_waiting() {
        static ONE: SharedSlots = SharedSlots::new(1, 1, 1);
        let url = vendor().await;
        let http = |rate| Http::among(&ONE, Provider::Auth0, config::Proxy::None, Limits::default(), 4, rate).unwrap();
        let get = async |http: &Http| {
            let (stopwatch, room) = (Stopwatch::new(Duration::from_secs(60)), MemoryBudget::of(100));
            http.get(&url, async || Some(None), &[], &stopwatch, &room).await.unwrap().status
        };
        let (slow, fast) = (http(Some(Rate { burst: 1, per_second: 1.0 / 60.0 })), http(None));
        let (_slow, _fast) = (slow.begin().unwrap(), fast.begin().unwrap());
        assert_eq!(get(&slow).await, 200);
        // Its reading goes on: the next requests wait for the pace.
        let waiting = async { tokio::join!(get(&slow), get(&slow)) };
        let quick = async {
            for _ in 0..20 {
                assert_eq!(get(&fast).await, 200);
            }
        };
        tokio::select! {
            _ = waiting => panic!("it does not keep its pace"),
            fast = tokio::time::timeout(Duration::from_secs(30), quick) => assert!(fast.is_ok(), "it waits for the slow one"),
        }
    }
}
