//! Bounds for the outbox.

use chrono::{DateTime, Utc};

use crate::config::Config;
use crate::store::{StoreError, Transaction, backlog, belief};

/// Messages that wait for one receiver. Beyond that, those that were never tried are folded.
const MOST_WAITING: usize = 1_000;

/// Folds waiting messages beyond a bound, and removes rows that are not needed any more.
///
/// # Errors
/// The database cannot be read or written.
pub fn upkeep(tx: &Transaction<'_>, config: &Config, now: DateTime<Utc>) -> Result<(), StoreError> {
    for receiver in &config.receivers {
        backlog::bound(tx, &receiver.name, MOST_WAITING, now)?;
    }
    if !belief::is_believable(tx, now)? {
        return Ok(());
    }
    let configured: Vec<&str> = config.receivers.iter().map(|receiver| receiver.name.as_str()).collect();
    backlog::abandon(tx, &configured, now)?;
    backlog::prune(tx, now)
}
