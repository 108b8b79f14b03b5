//! What can be observed while the program runs: one type for each thing, and observing it writes the line of the log and
//! moves the metric together, so that the two cannot tell different stories.
//!
//! Everything else of the program says what happened by making one of these and calling [`Observable::observe`]; it knows
//! neither how lines look nor what is counted. Counters belong to the process. Whatever the database knows is not counted
//! here but asked there when somebody wants to see it.
//!
//! # Security
//! What labels a metric is a configured name or one of a few words. A text from outside is only ever the value of a field,
//! and `logging` makes it safe to show. No secret and no value of a setting is a field.

mod history;
pub mod metrics;
mod sending;
mod service;
mod watching;

use std::sync::Mutex;
use std::time::{Duration, Instant};

pub use history::Recorded;
pub use sending::{Delivered, DeliveryFailed, DeliveryGivenUp, HeartbeatFailed, HeartbeatTaken, ToldDirectly};
pub use service::{
    CheckpointRefused, Chore, ChoreFailed, ConfigurationDoubt, DatabaseUnusable, DiskFull, FileTooOpen,
    HighWaterBehind, Listening, NobodyTold, Stopping, SystemdSilent, Ticked,
};
pub use watching::{CycleEnded, CycleFailed, CycleHealth, RequestAnswered, Reread};

use crate::model::Digest;

/// Something that happens while the program runs, with a log line and metrics.
pub trait Observable {
    /// Its name in the journal and in JSON lines. Never changes.
    const NAME: &'static str;
    /// What it means, for the manual.
    const MEANING: &'static str;

    /// Writes the line and counts.
    fn observe(&self);
}

const fn of<T: Observable>() -> (&'static str, &'static str) {
    (T::NAME, T::MEANING)
}

/// Name and meaning of everything that is observed, beside [`EVENT_KINDS`](crate::history::EVENT_KINDS).
pub const OBSERVABLES: &[(&str, &str)] = &[
    of::<CycleEnded<'_>>(),
    of::<CycleFailed<'_>>(),
    of::<Reread<'_>>(),
    of::<RequestAnswered>(),
    of::<Delivered<'_>>(),
    of::<DeliveryFailed<'_>>(),
    of::<DeliveryGivenUp<'_>>(),
    of::<ToldDirectly<'_>>(),
    of::<HeartbeatTaken>(),
    of::<HeartbeatFailed<'_>>(),
    of::<ConfigurationDoubt<'_>>(),
    of::<FileTooOpen<'_>>(),
    of::<Listening<'_>>(),
    of::<ChoreFailed<'_>>(),
    of::<HighWaterBehind<'_>>(),
    of::<CheckpointRefused>(),
    of::<DiskFull<'_>>(),
    of::<DatabaseUnusable<'_>>(),
    of::<NobodyTold<'_>>(),
    of::<SystemdSilent<'_>>(),
    of::<Stopping>(),
];

/// The journal's `MESSAGE_ID` of everything called `name`: the first 128 bits of the SHA-256 of `authdrift log ` and the
/// name, so that it never changes and needs no list.
pub fn message_id(name: &str) -> String {
    let digest = Digest::of(format!("authdrift log {name}").as_bytes());
    digest.as_str().trim_start_matches("sha256:").chars().take(32).collect()
}

static LAST_TICK: Mutex<Option<Instant>> = Mutex::new(None);

/// How long ago the daemon looked last at what is due; nothing before it did so for the first time.
pub fn since_last_tick() -> Option<Duration> {
    let last = LAST_TICK.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    last.map(|last| last.elapsed())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_so_are_their_ids() {
        let names =
            OBSERVABLES.iter().map(|(name, _)| *name).chain(crate::history::EVENT_KINDS.iter().map(|kind| kind.name));
        let names: Vec<&str> = names.collect();
        let ids: BTreeSet<String> = names.iter().map(|name| message_id(name)).collect();
        // A delivery that ended is in both: it has one line, and is one thing.
        let doubled =
            crate::history::EVENT_KINDS.iter().filter(|kind| OBSERVABLES.iter().any(|(name, _)| *name == kind.name));
        assert_eq!(ids.len(), names.len() - doubled.clone().count());
        assert!(doubled.clone().all(|kind| kind.level.is_none()), "said twice");
        assert!(ids.iter().all(|id| id.len() == 32));
        assert_eq!(message_id("drift.opened"), message_id("drift.opened"));
    }
}
