//! The history of the database: the kinds of its events, the chain that they form, and the state that they leave. The store
//! writes their bytes and reads them.

pub mod data;
mod event;
pub mod outgoing;
mod record;
mod replay;
pub mod silences;
mod state;

pub use event::{EVENT_KINDS, Event, EventKind, LogLevel};
pub use record::Record;
pub use replay::{BrokenChain, Replay};
pub use state::{HistoryState, RecordedDrift};

use crate::clock::Timestamp;

/// The place of an event in the history, for people.
pub fn event_place(seq: u64, at: Timestamp) -> String {
    format!("event {seq} of {at}")
}
