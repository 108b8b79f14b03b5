//! What can be observed while the program runs. Observing something writes the line of the log and moves the metric
//! together, so that the two cannot disagree.
//!
//! A caller makes an [`Observable`] and calls [`Observable::observe`]; it knows neither how lines look nor what is counted.
//! Counters belong to the process. What the database knows is asked of it for each scrape and not counted here.
//!
//! # Security
//! A label of a metric is a configured name or one of a few words. Text from outside is only ever the value of a field,
//! and `logging` makes it safe to show. No secret and no value of a setting is a field.

mod history;
pub mod metrics;
mod observables;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

pub use history::Recorded;
pub use observables::*;

use crate::model::Digest;

/// The journal's `MESSAGE_ID` of everything called `name`: the first 128 bits of the SHA-256 of `authdrift log ` and the
/// name, so that it never changes and needs no list.
pub fn message_id(name: &str) -> String {
    let digest = Digest::of(format!("authdrift log {name}").as_bytes());
    digest.as_str().trim_start_matches("sha256:").chars().take(32).collect()
}

static LAST_TICK: Mutex<Option<Instant>> = Mutex::new(None);

/// Records that the daemon checks at `at` what is due. There is no line: it happens every second.
pub fn record_tick(at: DateTime<Utc>) {
    *LAST_TICK.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    metrics::set_last_tick(at);
}

/// The time since the last tick; none before the first.
pub fn since_last_tick() -> Option<Duration> {
    LAST_TICK.lock().unwrap_or_else(PoisonError::into_inner).map(|last| last.elapsed())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::history::EVENT_KINDS;

    #[test]
    fn names_are_unique_and_so_are_their_ids() {
        let names = OBSERVABLES.iter().map(|(name, _)| *name).chain(EVENT_KINDS.iter().map(|kind| kind.name));
        let names: Vec<&str> = names.collect();
        let ids: BTreeSet<String> = names.iter().map(|name| message_id(name)).collect();
        // A delivery that ended is in both: it has one line, and is one thing.
        let doubled = EVENT_KINDS.iter().filter(|kind| OBSERVABLES.iter().any(|(name, _)| *name == kind.name));
        assert_eq!(ids.len(), names.len() - doubled.clone().count());
        assert!(doubled.clone().all(|kind| kind.level.is_none()), "said twice");
        assert!(ids.iter().all(|id| id.len() == 32));
        assert_eq!(message_id("drift.opened"), message_id("drift.opened"));
    }
}
