//! Bounds for the outbox: how many messages wait, and how long those are kept that do not.

use chrono::{DateTime, TimeDelta, Utc};

use super::coalesce;
use crate::config::Config;
use crate::store::{StoreError, Transaction, backlog, clock_check};

/// Messages that wait for one receiver. Beyond that, those that were never tried are coalesced.
const MOST_WAITING: usize = 1_000;
/// How long a message is kept after it was delivered or coalesced.
const KEEP_DELIVERED: TimeDelta = TimeDelta::days(30);
/// How long one is kept that was given up, or that waits for a receiver that is not configured.
const KEEP_DEAD: TimeDelta = TimeDelta::days(90);
/// Messages pruned at once.
const PRUNED_AT_ONCE: usize = 100;

/// Coalesces waiting messages beyond a bound, and removes rows that are not needed any more.
///
/// # Errors
/// The database cannot be read or written.
pub fn upkeep(tx: &Transaction<'_>, config: &Config, now: DateTime<Utc>) -> Result<(), StoreError> {
    for receiver in &config.receivers {
        coalesce::bound(tx, &receiver.name, MOST_WAITING, now)?;
    }
    if !clock_check::is_clock_plausible(tx, now)? {
        return Ok(());
    }
    let configured: Vec<&str> = config.receivers.iter().map(|receiver| receiver.name.as_str()).collect();
    backlog::abandon(tx, &configured, now - KEEP_DEAD, now)?;
    backlog::prune(tx, now - KEEP_DELIVERED, now - KEEP_DEAD, PRUNED_AT_ONCE, now)
}
