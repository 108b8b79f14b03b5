//! The HTTP client of a reading.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Client, redirect};
use tokio::time::Instant;

use super::ReadError;
use super::limits::Limits;
use crate::connect::{ActiveProxy, innermost_cause};
use crate::model::display_safe;

/// What requests go over.
#[derive(Clone)]
pub(super) struct HttpClient {
    pub(super) client: Client,
    pub(super) proxy: Option<ActiveProxy>,
}

/// Idle timeout of pooled connections. Requests within a reading come faster; the next reading is minutes later.
const REST: Duration = Duration::from_secs(10);

/// How long a client is lent to others that ask for one: all instances of a configuration get theirs within seconds.
const LENT: Duration = Duration::from_secs(10);

/// A client that others may share.
struct Shared {
    since: Instant,
    limits: (Duration, Duration),
    proxy: Option<ActiveProxy>,
    client: Client,
}

static SHARED: Mutex<Option<Shared>> = Mutex::new(None);

/// A client with these limits and this proxy. Each loads the trust store of the machine, so clients that are made at about the
/// same time are shared.
fn shared(limits: &Limits, proxy: Option<ActiveProxy>) -> Result<Client, ReadError> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    let of = (limits.connect, limits.total);
    let is_alike = |shared: &&Shared| shared.limits == of && shared.proxy == proxy && shared.since.elapsed() < LENT;
    if let Some(shared) = shared.as_ref().filter(is_alike) {
        return Ok(shared.client.clone());
    }
    let builder = Client::builder()
        .user_agent(concat!("authdrift/", env!("CARGO_PKG_VERSION"), " (+read-only settings monitor)"))
        .redirect(redirect::Policy::none())
        .connect_timeout(limits.connect)
        .timeout(limits.total)
        .pool_idle_timeout(REST)
        .no_proxy();
    let builder = match &proxy {
        Some(proxy) => builder.proxy(proxy.for_requests()),
        None => builder,
    };
    let client = builder.build().map_err(|error| ReadError::Client(reason(&error)))?;
    *shared = Some(Shared { since: Instant::now(), limits: of, proxy, client: client.clone() });
    Ok(client)
}

/// The innermost cause, without the address: an address may hold what should not be logged.
pub(super) fn reason(error: &reqwest::Error) -> String {
    let text = innermost_cause(error).to_string();
    display_safe(text.split(" for url").next().unwrap_or_default())
}

impl HttpClient {
    /// A client with these limits and this proxy.
    pub(super) fn new(limits: &Limits, proxy: Option<ActiveProxy>) -> Result<Self, ReadError> {
        Ok(Self { client: shared(limits, proxy.clone())?, proxy })
    }
}
