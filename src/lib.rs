//! authdrift watches the security settings of Clerk instances and Auth0 tenants.
//!
//! The data of one cycle flows in one direction; each stage takes only the type of the stage before it:
//!
//! ```text
//! provider::read   -> Fetched             what the vendor answered, untrusted, capped
//! canonical        -> Document            strict JSON, normalised, redacted, RFC 8785 bytes, SHA-256
//! snapshot         -> Snapshot            documents and the state of every section
//! trust::verify    -> Verified<Baseline>  only this function can make one
//! diff             -> Vec<Change>         what differs
//! classify         -> FindingSet          every change once, with what it means to a person
//! incident         -> Vec<Transition>     which finding opened, changed or ended a drift
//! alerting         -> Vec<Message>        which receiver hears of it, in which words
//! store            one transaction: snapshot, drifts, events, outbox
//! delivery         outbox row -> message -> receiver -> recorded attempt
//! ```
//!
//! [`cycle`] is the only place that knows this order. Modules are grouped in layers, and a module may use
//! only lower layers and the neighbours that `tests/architecture.rs` lists.

// Layer 0: words, and the one clock. No I/O.
pub mod clock;
pub mod exit;
pub mod host;
pub mod model;

// Layer 1: pure decisions. Everything they need is handed to them.
pub mod backoff;
pub mod canonical;
pub mod classify;
pub mod config;
pub mod diff;
pub mod history;
pub mod incident;
pub mod message;
pub mod plausibility;
pub mod schedule;
pub mod sections;
pub mod snapshot;
pub mod trust;

// Layer 2: the outside world.
pub mod connect;
pub mod provider;
pub mod receiver;
pub mod secrets;
pub mod store;
pub mod telemetry;
pub mod trust_files;
pub mod whole_file;

// Layer 3: the service.
pub mod alerting;
pub mod approval;
pub mod baseline;
pub mod cycle;
pub mod daemon;
pub mod delivery;
pub mod diagnosis;
pub mod evidence;
pub mod status;

// Layer 4: what people touch.
pub mod cli;
pub mod demo;
pub mod logging;
pub mod monitoring;
pub mod simulator;
