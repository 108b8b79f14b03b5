//! The server that all HTTP simulators share: documents by path, a log of requests, faults, latency.
//!
//! A function that is given at the start makes the answers; this module only knows HTTP. The
//! listener is bound before [`Vendor::start`] returns, so the address can be used at once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::io::ReaderStream;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::fault::{Fault, Faults};
use super::listener::Stoppable;
use super::locked;
use crate::clock::Clock;

/// Bodies of requests above this are refused.
const MAX_BODY: usize = 4 << 20;

/// JSON documents by the path that serves them (`/v1/instance`).
pub type Documents = BTreeMap<String, Value>;

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// The path as sent, without the query.
    pub path: String,
    /// The query as sent, without the `?`; empty when there is none.
    pub query: String,
    /// The `Authorization` header.
    pub authorization: Option<String>,
    /// All headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// When it came, for pacing.
    pub at: Instant,
    /// When it came, in Unix seconds of the simulator's clock.
    pub unix: i64,
    /// The status of the answer; `None` while there is none.
    pub status: Option<u16>,
}

impl Request {
    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The decoded value of the first query parameter of that name.
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.parameters().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// All decoded query parameters, in order.
    pub fn parameters(&self) -> impl Iterator<Item = (String, String)> {
        url::form_urlencoded::parse(self.query.as_bytes()).into_owned()
    }

    /// The token of an `Authorization: Bearer` header.
    pub fn bearer(&self) -> Option<&str> {
        self.authorization.as_deref()?.strip_prefix("Bearer ")
    }
}

/// An answer before it becomes HTTP.
#[derive(Debug, Clone)]
pub struct Answer {
    status: u16,
    content_type: &'static str,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    /// A JSON answer.
    pub fn json(status: u16, body: &Value) -> Self {
        let body = body.to_string().into_bytes();
        Self { status, content_type: "application/json; charset=utf-8", headers: Vec::new(), body }
    }

    /// A plain text answer.
    pub fn text(status: u16, body: &str) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", headers: Vec::new(), body: body.into() }
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    /// As HTTP, with this body instead of its own; the answer's own headers stay.
    fn response_with(self, body: Body) -> Response {
        let mut response = Response::builder().status(self.status).header(CONTENT_TYPE, self.content_type);
        for (name, value) in self.headers {
            response = response.header(name, value);
        }
        response
            .body(body)
            .unwrap_or_else(|error| (StatusCode::INTERNAL_SERVER_ERROR, format!("bad script: {error}")).into_response())
    }
}

impl From<Answer> for Response {
    fn from(mut answer: Answer) -> Self {
        let body = Body::from(std::mem::take(&mut answer.body));
        answer.response_with(body)
    }
}

/// Makes the answer of the simulated vendor while there is no fault.
type Handler = dyn Fn(&Request, &mut Documents) -> Answer + Send + Sync;

struct VendorState {
    api: Box<Handler>,
    clock: Arc<dyn Clock>,
    documents: Mutex<Documents>,
    faults: Mutex<Faults>,
    latency: Mutex<Duration>,
    requests: Mutex<Vec<Request>>,
    arrived: watch::Sender<usize>,
    in_flight: AtomicUsize,
    most_in_flight: AtomicUsize,
}

/// A running HTTP simulator. Clones share the server; the last one dropped ends it.
#[derive(Clone)]
pub struct Vendor {
    core: Arc<VendorState>,
    address: SocketAddr,
    stop: CancellationToken,
    _last: Arc<DropGuard>,
}

impl Vendor {
    /// Starts a server on a free loopback port. Needs a Tokio runtime.
    pub async fn start(
        clock: Arc<dyn Clock>,
        api: impl Fn(&Request, &mut Documents) -> Answer + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let core = Arc::new(VendorState {
            api: Box::new(api),
            clock,
            documents: Mutex::default(),
            faults: Mutex::default(),
            latency: Mutex::default(),
            requests: Mutex::default(),
            arrived: watch::Sender::new(0),
            in_flight: AtomicUsize::new(0),
            most_in_flight: AtomicUsize::new(0),
        });
        let stop = CancellationToken::new();
        let app = axum::Router::new().fallback(serve).with_state(Arc::clone(&core));
        let listener = Stoppable::new(listener, stop.clone());
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(async move {
            tokio::select! {
                _ = axum::serve(listener, app) => {}
                () = stopped => {}
            }
        });
        let last = Arc::new(stop.clone().drop_guard());
        Ok(Self { core, address, stop, _last: last })
    }

    /// Starts a server that answers every known path with its document and everything else with a bare 404.
    pub async fn empty() -> std::io::Result<Self> {
        Self::start(Arc::new(crate::clock::SystemClock), |request, documents| match documents.get(&request.path) {
            Some(document) => Answer::json(200, document),
            None => Answer::json(404, &serde_json::json!({"error": "not found"})),
        })
        .await
    }

    /// `http://127.0.0.1:PORT`, without a trailing slash.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address it listens at.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends the server: the port refuses, open connections break.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Serves `document` at `path`, in place of what was there.
    pub fn set(&self, path: &str, document: Value) {
        locked(&self.core.documents).insert(path.to_owned(), document);
    }

    /// Serves all documents of a map of paths.
    pub fn load(&self, documents: Documents) {
        locked(&self.core.documents).extend(documents);
    }

    /// The document at `path`.
    pub fn get(&self, path: &str) -> Option<Value> {
        locked(&self.core.documents).get(path).cloned()
    }

    /// Stops serving `path`.
    pub fn remove(&self, path: &str) {
        locked(&self.core.documents).remove(path);
    }

    /// Changes the document at `path` in place, as a click in a dashboard would.
    ///
    /// # Panics
    /// When there is no such document: the script has a wrong path.
    #[track_caller]
    pub fn edit(&self, path: &str, change: impl FnOnce(&mut Value)) {
        let mut documents = locked(&self.core.documents);
        let Some(document) = documents.get_mut(path) else { panic!("the simulator has no document at '{path}'") };
        change(document);
    }

    /// All requests since the start or the last [`Vendor::forget_requests`], in the order of arrival.
    pub fn requests(&self) -> Vec<Request> {
        locked(&self.core.requests).clone()
    }

    /// Empties the log of requests.
    pub fn forget_requests(&self) {
        locked(&self.core.requests).clear();
        self.core.arrived.send_replace(0);
        self.core.most_in_flight.store(0, Ordering::SeqCst);
    }

    /// The highest number of requests that were open at the same time.
    pub fn most_in_flight(&self) -> usize {
        self.core.most_in_flight.load(Ordering::SeqCst)
    }

    /// Waits until `count` requests are in the log; false when `timeout` comes first.
    pub async fn wait_for_requests(&self, count: usize, timeout: Duration) -> bool {
        let mut arrived = self.core.arrived.subscribe();
        let enough = arrived.wait_for(|seen| *seen >= count);
        matches!(tokio::time::timeout(timeout, enough).await, Ok(Ok(_)))
    }

    /// Makes a path fail. A trailing `*` stands for any rest of the path; the most exact pattern decides.
    pub fn fail(&self, path: &str, fault: Fault) {
        locked(&self.core.faults).by_path.insert(path.to_owned(), fault);
    }

    /// Makes every path fail that has no fault of its own.
    pub fn fail_all(&self, fault: Fault) {
        locked(&self.core.faults).everywhere = Some(fault);
    }

    /// Ends the fault of a path or pattern.
    pub fn heal(&self, path: &str) {
        locked(&self.core.faults).by_path.remove(path);
    }

    /// Ends all faults.
    pub fn heal_all(&self) {
        *locked(&self.core.faults) = Faults::default();
    }

    /// Waits this long before every answer.
    pub fn set_latency(&self, latency: Duration) {
        *locked(&self.core.latency) = latency;
    }
}

impl std::fmt::Debug for Vendor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Vendor").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Counts a request as open until it is answered or given up.
struct InFlight(Arc<VendorState>);

impl InFlight {
    fn enter(core: &Arc<VendorState>) -> Self {
        let now = core.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        core.most_in_flight.fetch_max(now, Ordering::SeqCst);
        Self(Arc::clone(core))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn serve(State(core): State<Arc<VendorState>>, incoming: axum::extract::Request) -> Response {
    let _open = InFlight::enter(&core);
    let (parts, body) = incoming.into_parts();
    let Ok(body) = axum::body::to_bytes(body, MAX_BODY).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let request = Request {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        authorization: parts.headers.get("authorization").map(|value| lossy(value.as_bytes())),
        headers: headers(&parts.headers),
        body: body.into(),
        at: Instant::now(),
        unix: core.clock.now().timestamp(),
        status: None,
    };
    let fault = locked(&core.faults).next(&request.path);
    let place = {
        let mut requests = locked(&core.requests);
        requests.push(request.clone());
        core.arrived.send_replace(requests.len());
        requests.len() - 1
    };
    let latency = *locked(&core.latency);
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    let healthy = || (core.api)(&request, &mut locked(&core.documents));
    let response = match fault {
        None => healthy().into(),
        Some(Fault::Truncated) => truncated(healthy()),
        Some(fault) => faulty(fault).await,
    };
    if let Some(logged) = locked(&core.requests).get_mut(place) {
        logged.status = Some(response.status().as_u16());
    }
    response
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn headers(map: &HeaderMap) -> Vec<(String, String)> {
    map.iter().map(|(name, value)| (name.to_string(), lossy(value.as_bytes()))).collect()
}

/// The promised length, half the bytes. The pause makes hyper send those before it notices the gap and closes the
/// connection; without it the client would not even see the status.
fn truncated(mut answer: Answer) -> Response {
    let length = answer.body.len().max(2);
    answer.body.truncate(length / 2);
    let half = std::mem::take(&mut answer.body);
    let (mut writer, reader) = tokio::io::duplex(length);
    tokio::spawn(async move {
        // The reader is gone when the client is; then there is no connection to cut off.
        _ = writer.write_all(&half).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    });
    answer.with_header(CONTENT_LENGTH.as_str(), length).response_with(Body::from_stream(ReaderStream::new(reader)))
}

/// Writes a space every now and then, until the connection ends.
fn drip() -> Body {
    let (mut writer, reader) = tokio::io::duplex(1);
    tokio::spawn(async move {
        while writer.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    Body::from_stream(ReaderStream::new(reader))
}

async fn faulty(fault: Fault) -> Response {
    let json = |body: Body| ([(CONTENT_TYPE, "application/json; charset=utf-8")], body).into_response();
    match fault {
        Fault::Status { status, body, headers } => {
            let answer = Answer::json(status, &body);
            headers.iter().fold(answer, |answer, (name, value)| answer.with_header(name, value)).into()
        }
        Fault::Html => {
            let page = "<!doctype html><title>Sign in to the network</title><p>Please accept the terms.</p>\n";
            ([(CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response()
        }
        Fault::NotJson => json(Body::from("{\"almost\": json")),
        Fault::Body(bytes) => json(Body::from(Bytes::from(bytes))),
        Fault::Endless => json(Body::from_stream(ReaderStream::new(tokio::io::repeat(b' ')))),
        Fault::Drip => json(drip()),
        // The other four are resolved before this; a script without an end would be one without an answer.
        Fault::Hang | Fault::Truncated | Fault::Times(..) | Fault::After(..) | Fault::Sequence(_) => {
            std::future::pending().await
        }
    }
}

#[cfg(test)]
mod tests;
