//! Reading from the vendors. Only GET leaves the process, and `POST /oauth/token`.
//!
//! [`Reader::read`] asks for every section the configuration has a credential for and answers with what came of each:
//! a section's refusal or failure never touches another section, and none is ever an empty value.

mod addresses;
mod auth0;
mod clerk;
mod client;
mod concurrency;
mod echo;
mod http;
mod limits;
mod pages;
mod paging;
mod rate_headers;
mod rate_limit;
mod shape;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use url::Url;

pub use http::Http;
pub use limits::Limits;

use crate::canonical::without_secrets;
use crate::config::{Instance, Source};
use crate::connect::BadProxy;
use crate::model::{Digest, Resource, State, display_safe};
use crate::secrets::SecretError;
use crate::sections::{Api, Section, Table};

use addresses::ParentOutcome;
use http::RequestError;
use pages::{ReadBudget, SectionReader};

/// The responses of the vendor: untrusted, capped, one entry per section that was asked for.
#[derive(Debug)]
pub struct Fetched {
    /// Per section, the value of the answer or why there is none.
    pub sections: BTreeMap<String, Result<Value, SectionRefusal>>,
    /// The vendor's identities of the instance, as far as they are known.
    pub resource: Resource,
    /// The keys seem to be of two instances: the hosts they lead to differ. It may also be
    /// that the instance got another domain.
    pub mismatch: Option<ReadError>,
    /// Objects that another section lists and that were refused as if they were not there, by section: their keys.
    pub left_out: LeftOut,
    /// The credentials that the vendor does not accept any more, and what it says about each.
    pub refused: BTreeMap<Api, String>,
    /// The scopes of the token, if it names them.
    pub granted: Option<BTreeSet<String>>,
    /// Requests that left the process.
    pub requests: u64,
    /// The requests and their responses, in order of path and page.
    pub collection: Vec<RequestRecord>,
}

/// Keys of objects, by section.
pub type LeftOut = BTreeMap<String, BTreeSet<Vec<String>>>;

/// One request and its answer, as they are kept for evidence. Nothing of it is secret.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RequestRecord {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// The path that was asked for, without its query.
    pub path: String,
    /// Which page, from 0.
    #[serde(skip_serializing_if = "is_first")]
    pub page: usize,
    /// The HTTP status of the last try.
    pub status: Option<u16>,
    /// The vendor's own time, as it sent it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// How many items the page has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<usize>,
    /// SHA-256 of the body as it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Why there is no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

fn is_first(page: &usize) -> bool {
    *page == 0
}

impl RequestRecord {
    fn failed(path: &str, page: usize, error: &RequestError) -> Self {
        let (path, error) = (path.to_owned(), Some(error.to_string()));
        Self { method: "GET", path, page, status: None, date: None, items: None, digest: None, error }
    }
}

/// The sections to read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// These sections only.
    pub only: Option<&'a [String]>,
    /// But not these, of which a reading is at hand.
    pub cached: Option<&'a BTreeSet<String>>,
}

/// How far a reading has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Sections of which the outcome is known.
    pub done: usize,
    /// Sections that are asked for.
    pub sections: usize,
    /// Requests sent.
    pub requests: u64,
}

/// Why a section has no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectionRefusal {
    /// What that says about the section; never [`State::Value`].
    pub state: State,
    /// In words, safe to show.
    pub reason: String,
    /// The vendor does not accept the credential at all.
    pub is_credential: bool,
    /// It says something about one object of the section, and nothing about the section.
    pub is_of_object: bool,
}

impl SectionRefusal {
    /// The section is in that state.
    pub(crate) fn of(state: State, reason: impl Into<String>) -> Self {
        Self { state, reason: reason.into(), is_credential: false, is_of_object: false }
    }

    /// Nothing is known this time.
    pub(crate) fn unreachable(reason: impl Into<String>) -> Self {
        Self::of(State::Unreachable, reason)
    }

    /// The credential is dead.
    pub(crate) fn credential(reason: impl Into<String>) -> Self {
        Self { is_credential: true, ..Self::unreachable(reason) }
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
    /// The proxy that requests have to go through cannot be used.
    #[error(transparent)]
    Proxy(#[from] BadProxy),
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
    let words = sent.map_or_else(|| words.to_owned(), |sent| echo::without(words, sent));
    display_safe(&without_secrets(&words))
}

/// Reads one instance. Kept from cycle to cycle, because it holds the token.
pub struct Reader {
    vendor: VendorReader,
    table: &'static Table,
    /// The sections that the configuration selects and has a credential for.
    readable: BTreeSet<&'static str>,
    http: Arc<Http>,
}

#[allow(clippy::large_enum_variant, reason = "one for each instance, never in a list")]
enum VendorReader {
    Clerk(clerk::ClerkReader),
    Auth0(auth0::Auth0Reader),
}

impl Reader {
    /// Prepares to read `instance`. Nothing is sent and no secret is read yet.
    pub fn new(instance: &Instance, limits: Limits) -> Result<Self, ReadError> {
        let table = instance.table();
        let (vendor, rate) = match &instance.source {
            Source::Clerk(source) => (VendorReader::Clerk(clerk::ClerkReader::new(source.clone())), None),
            Source::Auth0(source) => (VendorReader::Auth0(auth0::Auth0Reader::new(source.clone())), source.rate),
        };
        let http = Arc::new(Http::new(instance, limits, table.concurrency, rate)?);
        let readable = table.sections().iter().filter(|section| instance.reads(section).is_ok());
        Ok(Self { vendor, table, readable: readable.map(|section| section.name.as_str()).collect(), http })
    }

    /// Reads what is `wanted` of the sections that the configuration selects and has a credential for.
    ///
    /// # Errors
    /// A secret cannot be read or used. What the vendor refuses is no error: it is the outcome of the section.
    pub async fn read(
        &self,
        wanted: Wanted<'_>,
        now: DateTime<Utc>,
        tell: impl Fn(Progress),
    ) -> Result<Fetched, ReadError> {
        let _reading = self.http.begin()?;
        let before = self.http.requests();
        let session = self.open(now).await?;
        let is_wanted = |section: &Section| {
            self.readable.contains(section.name.as_str())
                && wanted.only.is_none_or(|names| names.contains(&section.name))
                && !wanted.cached.is_some_and(|names| names.contains(&section.name))
        };
        let (asked, parents) = self.asked(is_wanted);
        let tasks = self.start(&asked, &parents, &session, now);
        let tell = |done| tell(Progress { done, sections: asked.len(), requests: self.http.requests() - before });
        let (mut outcomes, late) = self.collect(tasks, before, tell).await;
        let sections = asked.iter().filter(|section| is_wanted(section)).map(|section| {
            let outcome = outcomes.remove(section.name.as_str());
            (section.name.clone(), outcome.map_or_else(|| Err(late.clone()), Arc::unwrap_or_clone))
        });
        let sections = sections.collect();
        Ok(self.fetched(sections, &session, self.http.requests() - before).await)
    }

    /// Reads the credentials, and fetches a token where one is needed.
    async fn open(&self, now: DateTime<Utc>) -> Result<Arc<ReadSession>, ReadError> {
        Ok(match &self.vendor {
            VendorReader::Clerk(clerk) => Arc::new(ReadSession::new(VendorSession::Clerk(clerk.open()?))),
            VendorReader::Auth0(auth0) => Arc::new(auth0.open(&self.http, now).await?),
        })
    }

    /// The sections to ask for, those included that a wanted one depends on, and which of them others depend on.
    fn asked(&self, is_wanted: impl Fn(&Section) -> bool) -> (Vec<&'static Section>, BTreeSet<&'static str>) {
        let sections = self.table.sections();
        let parents: BTreeSet<&str> =
            sections.iter().filter(|section| is_wanted(section)).flat_map(Section::parents).collect();
        let asked = |section: &&Section| is_wanted(section) || parents.contains(section.name.as_str());
        (sections.iter().filter(asked).collect(), parents)
    }

    /// Starts one task for each section. Those of `parents` send their outcomes to the sections that depend on them.
    fn start(
        &self,
        asked: &[&'static Section],
        parents: &BTreeSet<&'static str>,
        session: &Arc<ReadSession>,
        now: DateTime<Utc>,
    ) -> JoinSet<(&'static str, ParentOutcome)> {
        let mut senders: BTreeMap<&str, watch::Sender<Option<ParentOutcome>>> =
            parents.iter().map(|parent| (*parent, watch::Sender::new(None))).collect();
        // They are dropped with this function: a receiver that is kept would hold a second copy of every parent section.
        let receivers: BTreeMap<&str, _> = senders.iter().map(|(name, sender)| (*name, sender.subscribe())).collect();
        let rooms = Arc::new(ReadBudget::of(self.http.limits()));
        let mut tasks = JoinSet::new();
        for section in asked.iter().copied() {
            let reader = SectionReader {
                rooms: Arc::clone(&rooms),
                http: Arc::clone(&self.http),
                table: self.table,
                section,
                session: Arc::clone(session),
                now,
            };
            let needed = section.parents().filter_map(|parent| Some((parent, receivers.get(parent)?.clone())));
            let needed: Vec<(&str, watch::Receiver<Option<ParentOutcome>>)> = needed.collect();
            let sender = senders.remove(section.name.as_str());
            tasks.spawn(async move {
                let outcome = Arc::new(read_section(reader, needed).await);
                if let Some(sender) = sender {
                    sender.send_replace(Some(Arc::clone(&outcome)));
                }
                (section.name.as_str(), outcome)
            });
        }
        tasks
    }

    /// Collects the outcomes until all are there or the time of the reading is over, and why the others are missing.
    async fn collect(
        &self,
        mut tasks: JoinSet<(&'static str, ParentOutcome)>,
        before: u64,
        tell: impl Fn(usize),
    ) -> (BTreeMap<&'static str, ParentOutcome>, SectionRefusal) {
        let (mut outcomes, mut broken) = (BTreeMap::new(), None);
        let start = Instant::now();
        loop {
            // The reading ends in time, whatever one endpoint does.
            let limit = self.http.time_for(self.http.requests() - before);
            let Some(left) = limit.checked_sub(start.elapsed()) else {
                tasks.shutdown().await;
                break;
            };
            tell(outcomes.len());
            match tokio::time::timeout(left, tasks.join_next()).await {
                Ok(Some(Ok((name, outcome)))) => _ = outcomes.insert(name, outcome),
                // A defect of ours in one section is no reason to be blind in all of them.
                Ok(Some(Err(error))) => broken = Some(display_safe(&format!("internal: {error}"))),
                Ok(None) => break,
                Err(_) => {}
            }
        }
        let late = || format!("not read within {} s{}", start.elapsed().as_secs(), self.http.trouble());
        (outcomes, SectionRefusal::unreachable(broken.unwrap_or_else(late)))
    }

    async fn fetched(
        &self,
        sections: BTreeMap<String, Result<Value, SectionRefusal>>,
        session: &ReadSession,
        requests: u64,
    ) -> Fetched {
        let (resource, mismatch) = match &self.vendor {
            VendorReader::Clerk(clerk) => (clerk.resource(&sections), clerk.mismatch(&sections)),
            VendorReader::Auth0(auth0) => (auth0.resource(), None),
        };
        let granted = match &session.vendor {
            VendorSession::Clerk(_) => None,
            VendorSession::Auth0(session) => session.granted().await,
        };
        let mut collection = self.http.take_records();
        collection.sort_by(|one, other| (&one.path, one.page).cmp(&(&other.path, other.page)));
        let (refused, left_out) = (session.dead_credentials(), session.left_out().clone());
        Fetched { sections, resource, mismatch, left_out, refused, granted, requests, collection }
    }
}

/// Reads one section, as soon as those it depends on are read.
async fn read_section(
    reader: SectionReader,
    needed: Vec<(&str, watch::Receiver<Option<ParentOutcome>>)>,
) -> Result<Value, SectionRefusal> {
    let mut parents = BTreeMap::new();
    for (name, mut receiver) in needed {
        // A parent that ended without an outcome is missing here, and nothing is concluded from it.
        if let Ok(outcome) = receiver.wait_for(Option::is_some).await
            && let Some(outcome) = outcome.as_ref()
        {
            parents.insert(name, Arc::clone(outcome));
        }
    }
    let addresses = {
        let (base, names) = reader.session.place(reader.section);
        addresses::addresses(reader.section, base, &names, &parents)?
    };
    drop(parents);
    reader.read(addresses).await
}

/// The credentials of one cycle.
struct ReadSession {
    vendor: VendorSession,
    /// The state of each API's credential.
    credentials: Mutex<BTreeMap<Api, CredentialState>>,
    /// Objects that were refused as if they were not there.
    left_out: Mutex<LeftOut>,
}

/// Whether the vendor accepts a credential, as far as this cycle knows.
#[derive(Default)]
struct CredentialState {
    /// It was accepted somewhere: an address that refuses it speaks for itself only.
    is_accepted: bool,
    /// There is none to try.
    is_final: bool,
    /// The addresses that refused it.
    refused_at: BTreeSet<String>,
    /// The first refusal.
    refusal: Option<SectionRefusal>,
}

/// Refusals by different addresses after which a credential is not tried any more. One address alone may be out of order.
const ENOUGH_REFUSALS: usize = 2;

impl CredentialState {
    /// Why the credential is dead, if no address accepted it and one at least refused it.
    fn dead(&self) -> Option<&SectionRefusal> {
        self.refusal.as_ref().filter(|_| self.is_final || !self.is_accepted)
    }
}

#[allow(clippy::large_enum_variant, reason = "one for each cycle, behind an Arc")]
enum VendorSession {
    Clerk(clerk::ClerkSession),
    Auth0(auth0::Auth0Session),
}

impl ReadSession {
    fn new(vendor: VendorSession) -> Self {
        Self { vendor, credentials: Mutex::default(), left_out: Mutex::default() }
    }

    fn left_out(&self) -> std::sync::MutexGuard<'_, LeftOut> {
        self.left_out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers that an object of `section` was refused as if it were not there.
    fn leave_out(&self, section: &Section, keys: Vec<String>) {
        self.left_out().entry(section.name.clone()).or_default().insert(keys);
    }

    fn credentials(&self) -> std::sync::MutexGuard<'_, BTreeMap<Api, CredentialState>> {
        self.credentials.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers that there is no credential for `api`.
    fn refuse(&self, api: Api, refusal: SectionRefusal) {
        let mut credentials = self.credentials();
        let credential = credentials.entry(api).or_default();
        credential.is_final = true;
        credential.refusal.get_or_insert(refusal);
    }

    /// Remembers that `path` refused the credential of `api`.
    fn refuse_at(&self, api: Api, path: &str, refusal: SectionRefusal) {
        let mut credentials = self.credentials();
        let credential = credentials.entry(api).or_default();
        credential.refused_at.insert(path.to_owned());
        credential.refusal.get_or_insert(refusal);
    }

    /// Remembers that the vendor knows the credential of `api`.
    fn accept(&self, api: Api) {
        self.credentials().entry(api).or_default().is_accepted = true;
    }

    /// Why no more requests to `api` are needed, if its credential is known to be dead.
    fn refused(&self, api: Api) -> Option<SectionRefusal> {
        let credentials = self.credentials();
        let credential =
            credentials.get(&api).filter(|known| known.is_final || known.refused_at.len() >= ENOUGH_REFUSALS)?;
        credential.dead().cloned()
    }

    /// The credentials that the vendor does not accept, and what it says about each.
    fn dead_credentials(&self) -> BTreeMap<Api, String> {
        let credentials = self.credentials();
        let dead = credentials.iter().filter_map(|(api, credential)| Some((*api, credential.dead()?)));
        dead.filter(|(_, refusal)| refusal.is_credential).map(|(api, refusal)| (api, refusal.reason.clone())).collect()
    }

    /// Where the section's API is, and what stands in for the names in braces that the configuration knows.
    fn place<'a>(&'a self, section: &Section) -> (&'a Url, Vec<(&'a str, &'a str)>) {
        match &self.vendor {
            VendorSession::Clerk(session) => session.place(section),
            VendorSession::Auth0(session) => (session.api_url(), Vec::new()),
        }
    }

    /// Headers of every request for the section.
    fn headers(&self, section: &Section) -> &'static [(&'static str, &'static str)] {
        match &self.vendor {
            VendorSession::Clerk(_) => clerk::headers(section),
            VendorSession::Auth0(_) => &[],
        }
    }

    async fn bearer(&self, section: &Section) -> Option<SecretString> {
        match &self.vendor {
            VendorSession::Clerk(session) => session.bearer(section),
            VendorSession::Auth0(session) => session.bearer().await,
        }
    }

    /// Tries to get another credential after `refused`. Answers whether there is one to try.
    async fn renew(
        &self,
        http: &Http,
        refused: Option<&SecretString>,
        now: DateTime<Utc>,
    ) -> Result<bool, SectionRefusal> {
        match &self.vendor {
            VendorSession::Clerk(_) => Ok(false),
            VendorSession::Auth0(session) => {
                let renewed = session.renew(http, refused, now).await;
                if let Err(refusal) = renewed.as_ref()
                    && refusal.is_credential
                {
                    self.refuse(Api::Management, refusal.clone());
                }
                renewed
            }
        }
    }
}
