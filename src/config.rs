//! The configuration: instances, approvers, receivers.
//!
//! [`load::parse`] turns TOML text into a checked [`Config`] or into every problem at once, each with file,
//! line and caret. Nothing here opens a file or reads a secret: secrets stay references until they are used.

#![allow(missing_docs, reason = "config.example.toml describes every key")]

mod address;
mod address_policy;
mod instance;
pub mod load;
pub mod lookup;
mod monitoring;
mod network;
pub mod publishable_key;
mod readable;
mod receiver;
mod routes;
mod secret_refs;
mod selection;
mod sources;
#[cfg(test)]
mod tests;
mod times;
mod toml_reader;
mod validate;

pub use address::is_domain;
pub use address_policy::{allowed, refused, refused_address};
pub use load::{parse, salvage};
pub use lookup::NoInstance;
pub use network::{BadProxyUrl, Proxy, ProxyAddress, proxy_url};
pub use readable::NotRead;
pub use secret_refs::SecretUse;
pub use sources::Sources;
pub use toml_reader::{Problem, Problems, closest};
pub use validate::ALLOWED_SIGNERS;

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use url::Url;

use crate::model::{Category, InstanceId, Severity};
use crate::schedule::Cron;
use crate::sections::{Depth, Table};
use crate::trust::Rules;

/// A configuration that passed every check.
#[derive(Debug, Clone)]
pub struct Config {
    pub store: PathBuf,
    /// How long documents are kept that no baseline and no open drift needs.
    pub keep: Duration,
    pub approval: ApprovalConfig,
    /// The user's own catalogue, read before the built-in ones.
    pub catalogue: Option<PathBuf>,
    /// The watched instances, in the order of the file; ids are unique.
    pub instances: Vec<Instance>,
    /// The receivers, in the order of the file; names are unique.
    pub receivers: Vec<Receiver>,
    /// The URL of the service that alerts when heartbeats stop.
    pub heartbeat: Option<SecretUrl>,
    /// The address of `/metrics`, `/healthz` and `/readyz`, if they are configured.
    pub monitoring: Option<Listen>,
    pub proxy: Proxy,
}

/// Where the daemon listens: always on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    Tcp(SocketAddr),
    /// A Unix socket, by its absolute path.
    Unix(PathBuf),
}

impl fmt::Display for Listen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(formatter, "{address}"),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

/// Who may approve a baseline.
#[derive(Debug, Clone)]
pub struct ApprovalConfig {
    pub allowed_signers: PathBuf,
    /// KRL or list of public keys that are refused whatever they signed.
    pub revoked_keys: Option<PathBuf>,
    /// How many of them a baseline needs, and with which keys.
    pub rules: Rules,
}

impl ApprovalConfig {
    /// The command that approves changes of `instance` of which `worst` is the most severe, for people.
    pub fn command(&self, instance: &InstanceId, worst: Severity) -> String {
        instance.approval_command(self.rules.need(worst))
    }

    /// The command that approves all of `instance`, for people: a first baseline may contain anything.
    pub fn command_for_all(&self, instance: &InstanceId) -> String {
        self.command(instance, Severity::Critical)
    }
}

/// One watched installation.
#[derive(Debug, Clone)]
pub struct Instance {
    /// `clerk:NAME` or `auth0:NAME`.
    pub id: InstanceId,
    pub schedule: Schedule,
    /// Keep the text of customer code in snapshots instead of its digest and size.
    pub keep_code: bool,
    /// The sections that are read.
    pub selection: Selection,
    pub source: Source,
    pub proxy: Proxy,
}

impl Instance {
    /// The sections of its vendor.
    pub fn table(&self) -> &'static Table {
        Table::of(self.id.provider)
    }
}

/// The sections of an instance that are read.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// How much.
    pub depth: Depth,
    /// Sections that are not read.
    pub leave_out: BTreeSet<String>,
}

/// A pace for requests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// How many may go at once after a pause.
    pub burst: u32,
    /// How many may go in the long run.
    pub per_second: f64,
}

/// When an instance is read.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Five-field cron pattern in a time zone.
    pub cron: Cron,
    /// How long to wait before a new difference is read again and believed.
    pub confirm_after: Duration,
}

/// Due times without a reading after which an instance is late.
const MISSED: usize = 3;

/// The time that a cycle takes beyond its due time and `confirm_after`.
const SLACK: TimeDelta = TimeDelta::minutes(2);

impl Schedule {
    /// Whether what happened last at `last` should have happened again by `now`. Due times are counted by the pattern: one for
    /// office hours leaves a night and a weekend between two cycles.
    pub fn is_late(&self, last: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        let confirm_after = TimeDelta::from_std(self.confirm_after).unwrap_or_default();
        let due = self.cron.nth_after(last, MISSED);
        due.is_some_and(|due| due + confirm_after + SLACK < now)
    }
}

/// A vendor with everything needed to read from it.
#[derive(Debug, Clone)]
pub enum Source {
    Clerk(ClerkSource),
    Auth0(Auth0Source),
}

/// A Clerk instance. At least one of the three credentials is present.
#[derive(Debug, Clone)]
pub struct ClerkSource {
    pub publishable_key: Option<PublishableKey>,
    /// Backend API credential.
    pub secret_key: Option<SecretRef>,
    /// Platform API credential and the application it is for.
    pub platform: Option<ClerkPlatform>,
    /// `production`, `development` or an instance id: which environment of the application.
    pub environment: String,
    /// The part of Backend API addresses before `/v1`.
    pub backend_api_url: Url,
    /// The part of Platform API addresses before `/v1`.
    pub platform_api_url: Url,
    /// The part of Frontend API addresses before `/v1`; from the publishable key when not given.
    pub frontend_api_url: Option<Url>,
}

/// A decoded publishable key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishableKey {
    /// The Frontend API host the key names, lower case.
    pub host: String,
    /// `pk_live_`, as opposed to `pk_test_`.
    pub is_production: bool,
}

/// Platform API access.
#[derive(Debug, Clone)]
pub struct ClerkPlatform {
    /// `ak_…` key or OAuth access token.
    pub token: SecretRef,
    pub application_id: String,
}

/// An Auth0 tenant.
#[derive(Debug, Clone)]
pub struct Auth0Source {
    /// The tenant's canonical domain, lower case: the vendor's identity of the tenant.
    pub domain: String,
    pub credential: Auth0Credential,
    /// The part of addresses before `/api/v2` and `/oauth/token`.
    pub api_url: Url,
    /// The pace of requests; as fast as the vendor's own headers allow when not given.
    pub rate: Option<Rate>,
}

/// How the program signs in to a tenant.
#[derive(Debug, Clone)]
pub enum Auth0Credential {
    /// Client credentials with a shared secret.
    ClientSecret {
        /// The machine-to-machine application.
        client_id: String,
        secret: SecretRef,
    },
    /// Client credentials with a signed assertion (private_key_jwt).
    PrivateKey {
        /// The machine-to-machine application.
        client_id: String,
        key: SecretRef,
        /// `kid` of the registered credential, if it has one.
        key_id: Option<String>,
    },
    /// A Management API token made by hand.
    Token(SecretRef),
}

/// Where a secret is found. The secret itself is never in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretRef {
    /// A file of systemd's credentials directory.
    Credential(String),
    File(PathBuf),
    Env(String),
}

/// A receiver of alerts.
#[derive(Debug, Clone)]
pub struct Receiver {
    pub name: String,
    pub filter: Filter,
    /// It also gets the alerts that match no filter.
    pub is_default: bool,
    pub digest: Option<Cron>,
    pub kind: ReceiverKind,
    /// Through which proxy, unless it is mail.
    pub proxy: Proxy,
}

/// The alerts that a receiver gets.
#[derive(Debug, Clone)]
pub struct Filter {
    pub min_severity: Severity,
    /// These instances only; all when absent.
    pub instances: Option<Vec<InstanceId>>,
    /// These categories only; all when absent.
    pub categories: Option<Vec<Category>>,
}

/// How a receiver is reached.
#[derive(Debug, Clone)]
pub enum ReceiverKind {
    Email(Email),
    Webhook(Webhook),
    Slack(SecretUrl),
    Teams(SecretUrl),
    Discord(SecretUrl),
    PagerDuty(PagerDuty),
}

impl ReceiverKind {
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Email(_) => "email",
            Self::Webhook(_) => "webhook",
            Self::Slack(_) => "slack",
            Self::Teams(_) => "teams",
            Self::Discord(_) => "discord",
            Self::PagerDuty(_) => "pagerduty",
        }
    }
}

/// A mail receiver.
#[derive(Debug, Clone)]
pub struct Email {
    pub host: String,
    /// Relay port; by the TLS mode when not given: 465, 587, 25.
    pub port: u16,
    pub tls: Tls,
    /// The name in EHLO; the name or address of this machine when not given.
    pub helo: Option<String>,
    /// Name and password, if the relay asks for them.
    pub login: Option<(String, SecretRef)>,
    pub from: Mailbox,
    /// Recipients, at least one.
    pub to: Vec<Mailbox>,
}

/// How the connection to a mail relay is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// TLS from the first byte (port 465).
    Implicit,
    /// STARTTLS, required (port 587).
    Starttls,
    /// No protection; loopback only.
    None,
}

/// A webhook receiver.
#[derive(Clone)]
pub struct Webhook {
    /// https, or http on loopback.
    pub url: HookUrl,
    /// More headers, in lower case, and where their values are.
    pub headers: Vec<(String, SecretRef)>,
    /// `whsec_…` or `whsk_…`, at least one; every one of them signs, so that a receiver can change over in its own time.
    pub secrets: Vec<SecretRef>,
    /// CloudEvents instead of the body of Standard Webhooks.
    pub is_cloud_event: bool,
    /// Whether it may stand in a private network.
    pub may_be_private: bool,
}

/// The address of a webhook.
#[derive(Clone)]
pub enum HookUrl {
    /// As it is written, without a query.
    Written(Url),
    /// A secret that holds the whole address, which may have a query.
    Secret(SecretRef),
}

// A receiver that wanted nothing any more is remembered with the digest of these, so what was always there looks as it always
// did.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, headers, secrets, is_cloud_event, may_be_private } = self;
        let mut text = f.debug_struct("Webhook");
        text.field("url", url).field("secrets", secrets).field("is_cloud_event", is_cloud_event);
        text.field("may_be_private", may_be_private);
        if !headers.is_empty() {
            text.field("headers", headers);
        }
        text.finish()
    }
}

impl fmt::Debug for HookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Written(url) => url.fmt(f),
            Self::Secret(place) => fmt::Debug::fmt(place, f),
        }
    }
}

/// The URL of a chat webhook or heartbeat. Everyone with the URL can write there, so it is a secret.
#[derive(Debug, Clone)]
pub struct SecretUrl {
    /// https, or http on loopback.
    pub url: SecretRef,
    /// Whether it may stand in a private network.
    pub may_be_private: bool,
}

/// A PagerDuty receiver.
#[derive(Debug, Clone)]
pub struct PagerDuty {
    pub url: Url,
    pub routing_key: SecretRef,
}

/// A mail address with an optional display name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    /// Display name without control characters.
    pub name: Option<String>,
    /// `local@domain`
    pub address: String,
}

/// Reads an address that was kept as a secret: https, or http of this machine.
///
/// # Errors
/// Why not; nothing of the text is repeated.
pub fn secret_url(text: &str) -> Result<Url, String> {
    address::secret_url(text).map_err(|error| format!("the address in the secret {error}"))
}

/// Whether the host of `url` can only be this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
