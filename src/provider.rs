//! Reading from the vendors. Only GET leaves the process, and `POST /oauth/token`.
//!
//! [`Reader::read`] asks for every section the configuration has a credential for and answers with what came of each:
//! a section's refusal or failure never touches another section, and none is ever an empty value.

mod auth0;
mod clerk;
mod http;
mod pages;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use url::Url;

pub use http::{Http, Limits};

use crate::canonical::{HIDDEN, without_secrets};
use crate::config::{Instance, Source};
use crate::model::{Resource, State, display_safe};
use crate::secrets::SecretError;
use crate::sections::{Section, Table};

/// What the vendor answered: untrusted, capped, one entry per section that was asked for.
#[derive(Debug)]
pub struct Fetched {
    /// Per section, the value of the answer or why there is none.
    pub sections: BTreeMap<String, Result<Value, Refusal>>,
    /// The vendor's identities of the instance, as far as they are known.
    pub resource: Resource,
    /// The keys seem to be of two instances: the hosts they lead to differ. Whether that is so, or the instance got another
    /// domain, only somebody who knows the instance can tell.
    pub mismatch: Option<ReadError>,
    /// Requests that left the process.
    pub requests: u64,
}

/// Why a section has no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What that says about the section; never [`State::Value`].
    pub state: State,
    /// In words, safe to show.
    pub reason: String,
    /// The vendor does not accept the credential at all.
    pub is_credential: bool,
}

impl Refusal {
    /// Nothing is known this time.
    pub(crate) fn unreachable(reason: impl Into<String>) -> Self {
        Self { state: State::Unreachable, reason: reason.into(), is_credential: false }
    }

    /// The credential is dead.
    pub(crate) fn credential(reason: impl Into<String>) -> Self {
        Self { state: State::Unreachable, reason: reason.into(), is_credential: true }
    }
}

/// Why an instance cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A secret could not be read on this machine.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The secret is there and cannot be used.
    #[error("{0}")]
    BadSecret(String),
    /// Two keys of one configuration belong to different instances.
    #[error(
        "the publishable key is of the instance at '{publishable}', but the secret key opens the instance at '{secret}': \
         take both from the same instance"
    )]
    KeysOfTwoInstances {
        /// Host in the publishable key.
        publishable: String,
        /// Hosts the secret key's instance has.
        secret: String,
    },
    /// The HTTP client cannot be made, usually because there is no trust store.
    #[error("cannot prepare the HTTP client: {0}")]
    Client(String),
}

/// A vendor's words, safe to show and without `sent`, the credential it was sent: a refusal that repeats it is not
/// quoted there.
fn quoted(words: &str, sent: Option<&SecretString>) -> String {
    let sent = sent.map(ExposeSecret::expose_secret).filter(|sent| !sent.is_empty());
    // First of all, because cutting could leave half a secret that is no longer recognised.
    let words = sent.map_or_else(|| words.to_owned(), |sent| words.replace(sent, HIDDEN));
    display_safe(&without_secrets(&words))
}

/// Reads one instance. Kept from cycle to cycle, because it holds the token.
pub struct Reader {
    vendor: Vendor,
    table: &'static Table,
    http: Arc<Http>,
}

#[allow(clippy::large_enum_variant, reason = "one for each instance, never in a list")]
enum Vendor {
    Clerk(clerk::Clerk),
    Auth0(auth0::Auth0),
}

impl Reader {
    /// Prepares to read `instance`. Nothing is sent and no secret is read yet.
    ///
    /// # Errors
    /// The HTTP client cannot be made.
    pub fn new(instance: &Instance, limits: Limits) -> Result<Self, ReadError> {
        let http = Arc::new(Http::new(limits)?);
        let vendor = match &instance.source {
            Source::Clerk(source) => Vendor::Clerk(clerk::Clerk::new(source.clone())),
            Source::Auth0(source) => Vendor::Auth0(auth0::Auth0::new(source.clone())),
        };
        Ok(Self { vendor, table: Table::of(instance.id.provider), http })
    }

    /// Reads the sections named in `only`, or all the configuration has a credential for.
    ///
    /// # Errors
    /// A secret cannot be read or used, or the keys belong to two instances. What the vendor refuses is no error: it is
    /// the outcome of the section.
    pub async fn read(&self, only: Option<&[String]>, now: DateTime<Utc>) -> Result<Fetched, ReadError> {
        let before = self.http.requests();
        let session = match &self.vendor {
            Vendor::Clerk(clerk) => Arc::new(Session::Clerk(clerk.open()?)),
            Vendor::Auth0(auth0) => Arc::new(Session::Auth0(auth0.open(&self.http, now).await?)),
        };
        let wanted = self
            .table
            .sections()
            .iter()
            .filter(|section| session.reads(section) && only.is_none_or(|names| names.contains(&section.name)));

        let deadline = tokio::time::Instant::now() + self.http.limits().reading;
        let permits = Arc::new(Semaphore::new(self.table.concurrency));
        let mut tasks = JoinSet::new();
        for section in wanted {
            let (session, http, permits) = (Arc::clone(&session), Arc::clone(&self.http), Arc::clone(&permits));
            let table = self.table;
            tasks.spawn(async move {
                if let Some(refusal) = session.refusal() {
                    return (section.name.clone(), Err(refusal.clone()));
                }
                // However slow one section is, the others get their turn and the cycle ends in time.
                let late =
                    |limit: Duration| move |_| Refusal::unreachable(format!("not read within {} s", limit.as_secs()));
                let (section_limit, limit) = (http.limits().section, http.limits().reading);
                let outcome = tokio::time::timeout_at(deadline, async {
                    let _permit = permits.acquire().await;
                    let reading = pages::read(&http, table, section, session.as_ref(), now);
                    tokio::time::timeout(section_limit, reading).await.map_err(late(section_limit))?
                });
                let outcome = outcome.await.map_err(late(limit)).and_then(|outcome| outcome);
                (section.name.clone(), outcome)
            });
        }
        let mut sections = BTreeMap::new();
        while let Some(finished) = tasks.join_next().await {
            let (name, outcome) = finished.map_err(|error| ReadError::Client(error.to_string()))?;
            sections.insert(name, outcome);
        }

        let (resource, mismatch) = match &self.vendor {
            Vendor::Clerk(clerk) => (clerk.resource(&sections), clerk.mismatch(&sections)),
            Vendor::Auth0(auth0) => (auth0.resource(), None),
        };
        Ok(Fetched { sections, resource, mismatch, requests: self.http.requests() - before })
    }
}

/// The credentials of one cycle.
#[allow(clippy::large_enum_variant, reason = "one for each cycle, behind an Arc")]
enum Session {
    Clerk(clerk::Session),
    Auth0(auth0::Session),
}

impl Session {
    /// Whether there is a credential for the section.
    fn reads(&self, section: &Section) -> bool {
        match self {
            Self::Clerk(session) => session.reads(section),
            Self::Auth0(_) => true,
        }
    }

    /// Why nothing can be read, if that is known before asking.
    fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Clerk(_) => None,
            Self::Auth0(session) => session.refusal(),
        }
    }

    fn target(&self, section: &Section) -> Target {
        match self {
            Self::Clerk(session) => session.target(section),
            Self::Auth0(session) => session.target(section),
        }
    }

    async fn bearer(&self, section: &Section) -> Option<SecretString> {
        match self {
            Self::Clerk(session) => session.bearer(section),
            Self::Auth0(session) => session.bearer().await,
        }
    }

    /// Tries to get another credential after `refused`. Answers whether there is one to try.
    async fn renew(&self, http: &Http, refused: Option<&SecretString>, now: DateTime<Utc>) -> Result<bool, Refusal> {
        match self {
            Self::Clerk(_) => Ok(false),
            Self::Auth0(session) => session.renew(http, refused, now).await,
        }
    }
}

/// Where a section is read.
struct Target {
    url: Url,
    headers: &'static [(&'static str, &'static str)],
}

impl Target {
    /// The address of `path` under `base`, which may have a path of its own (a proxy).
    fn new(base: &Url, path: &str, headers: &'static [(&'static str, &'static str)]) -> Self {
        let mut url = base.clone();
        url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
        Self { url, headers }
    }
}
