//! The history of the database: what its events mean. The store writes their bytes and reads them.

pub mod data;
mod event;

pub use event::{EVENT_KINDS, Event, EventKind, LogLevel};
