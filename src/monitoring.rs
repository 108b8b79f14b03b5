//! The daemon answers questions about itself: `GET /healthz`, `/readyz` and `/metrics`, on this machine only.
//!
//! It reads and never writes, asks for no password, and no answer holds a secret or the value of a setting. A client that
//! asks often or slowly cannot hold up the daemon: the database is asked at most once every few seconds, and connections are
//! few and short.

mod listener;
mod overview;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST};
use axum::http::uri::Authority;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use chrono::{DateTime, Utc};
use serde_json::json;
use tokio::sync::{Mutex, watch};

pub use listener::{CannotListen, Server};
use overview::MonitoringOverview;

use crate::clock::Clock;
use crate::daemon::LiveConfig;
use crate::model::json_safe;
use crate::store::Store;
use crate::store::space::Space;
use crate::telemetry::{metrics, since_last_tick};

/// For so long an answer of the database is good enough.
const FRESH: Duration = Duration::from_secs(2);

/// How long the database may take to answer: a writer may hold it for a moment.
const PATIENCE: Duration = Duration::from_secs(5);

/// After so long without a tick the daemon hangs. It ticks every second; a look at the whole database takes longer.
const HANGS_AFTER: Duration = Duration::from_secs(60);

/// The state that the answers are made from.
pub struct MonitoringState {
    watched: watch::Receiver<LiveConfig>,
    store: Store,
    clock: Arc<dyn Clock>,
    began: DateTime<Utc>,
    newest: Mutex<Option<(Instant, Arc<OverviewResult>)>>,
}

/// The figures of the database, or the reason why there are none.
type OverviewResult = Result<MonitoringOverview, String>;

impl MonitoringState {
    /// Answers for the daemon that works on `store`.
    pub fn new(watched: watch::Receiver<LiveConfig>, store: Store, clock: Arc<dyn Clock>) -> Self {
        let began = clock.now();
        Self { watched, store, clock, began, newest: Mutex::default() }
    }

    /// The figures of the database, a few seconds old at most. Concurrent requests wait for the same answer.
    async fn overview(self: &Arc<Self>) -> Arc<OverviewResult> {
        let mut newest = self.newest.lock().await;
        if let Some((at, answer)) = &*newest
            && at.elapsed() < FRESH
        {
            return Arc::clone(answer);
        }
        let site = Arc::clone(self);
        let asked = tokio::task::spawn_blocking(move || site.ask());
        let answer = match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(answer)) => answer.map_err(|error| error.to_string()),
            Ok(Err(error)) => Err(format!("the database could not be asked: {error}")),
            Err(_) => Err(format!("the database did not answer within {} s", PATIENCE.as_secs())),
        };
        let answer = Arc::new(answer);
        *newest = Some((Instant::now(), Arc::clone(&answer)));
        answer
    }

    fn ask(&self) -> Result<MonitoringOverview, crate::store::StoreError> {
        let watched = self.watched.borrow().clone();
        MonitoringOverview::ask(&self.store, &watched, self.began, self.clock.now())
    }
}

/// The pages. Everything else is not there, and everything but GET and HEAD is refused.
fn pages(site: Arc<MonitoringState>) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(site)
}

/// The pages for TCP clients. No browser connects to a Unix socket, and its clients name any host or none.
fn pages_of_this_host(site: Arc<MonitoringState>) -> Router {
    pages(site).layer(middleware::from_fn(only_our_host))
}

/// Refuses a request that was meant for another host.
///
/// # Security
/// A page of another site that lets its name lead to this machine (DNS rebinding) would else read the answers (T8).
async fn only_our_host(request: Request, next: Next) -> Response {
    let headers: Vec<&str> =
        request.headers().get_all(HOST).iter().map(|host| host.to_str().unwrap_or_default()).collect();
    let target = request.uri().authority().map(Authority::as_str);
    match headers.as_slice() {
        [host] if is_this_machine(host) && target.is_none_or(is_this_machine) => next.run(request).await,
        _ => answer(
            StatusCode::MISDIRECTED_REQUEST,
            "text/plain",
            format!("the Host has to be one of {}\n", HOSTS.join(", ")),
        ),
    }
}

/// What this machine is called, with any port: one that is forwarded is another.
const HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    HOSTS.iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Response {
    (status, [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-store")], body).into_response()
}

fn answer_json(is_good: bool, value: &serde_json::Value) -> Response {
    let status = if is_good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer(status, "application/json", format!("{}\n", json_safe(&value.to_string())))
}

/// Why the daemon does not do anything, if it does not.
fn hangs() -> Option<String> {
    match since_last_tick() {
        None => Some("the daemon has not begun to watch yet".to_owned()),
        Some(silent) if silent > HANGS_AFTER => {
            Some(format!("the daemon has not looked at what is due for {} s", silent.as_secs()))
        }
        Some(_) => None,
    }
}

/// Why nothing is kept of what is found, if that is so.
fn unwritten(store: &Store) -> Option<String> {
    let free = store.free_space().ok().flatten();
    match free.filter(|free| Space::of(*free) == Space::Full) {
        Some(free) => Some(format!("the disk is full: {free} bytes are left where the database lies")),
        None if store.is_stuck() => Some("the last write to the database failed; the log says why".to_owned()),
        None => None,
    }
}

/// The process lives and ticks. Nothing is asked of the database.
async fn healthz() -> Response {
    match hangs() {
        None => answer_json(true, &json!({ "status": "alive" })),
        Some(reason) => answer_json(false, &json!({ "status": "hanging", "reasons": [reason] })),
    }
}

/// It can do its work: it ticks, the database answers and takes what is written, and every baseline was sound when it was last
/// verified. Vendors and receivers that are away are no reason: they are what it is there to notice.
async fn readyz(State(site): State<Arc<MonitoringState>>) -> Response {
    let mut reasons: Vec<String> = hangs().into_iter().collect();
    reasons.extend(unwritten(&site.store));
    match &*site.overview().await {
        Ok(overview) => reasons.extend(overview.untrusted()),
        Err(error) => reasons.push(error.clone()),
    }
    match reasons.is_empty() {
        true => answer_json(true, &json!({ "status": "ready" })),
        false => answer_json(false, &json!({ "status": "not ready", "reasons": reasons })),
    }
}

/// Everything in numbers. If the database cannot be asked, what was counted is still told.
async fn metrics(State(site): State<Arc<MonitoringState>>) -> Response {
    let overview = site.overview().await;
    let mut gauges = metrics::Gauges::default();
    gauges.set_time(&metrics::START, &[], site.began);
    gauges.set_count(&metrics::STORE_SIZE, &[], site.store.size());
    if let Ok(Some(free)) = site.store.free_space() {
        gauges.set_count(&metrics::STORE_FREE, &[], free);
    }
    gauges.set_count(&metrics::STORE_READABLE, &[], u64::from(overview.is_ok()));
    if let Ok(overview) = &*overview {
        overview.fill(&mut gauges);
    }
    answer(StatusCode::OK, metrics::CONTENT_TYPE, metrics::text(gauges))
}
