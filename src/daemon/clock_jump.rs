//! What the daemon thinks of its clock.

use chrono::{DateTime, Utc};

use super::{Daemon, DaemonError};
use crate::alerting::record_jump;
use crate::store::{StoreError, clock_check, events};

impl Daemon {
    /// When the newest event was recorded.
    pub(super) fn last_recorded(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        self.resources.store.read(|tx| events::mark(tx)?.map_or(Ok(None), |mark| events::recorded_at(tx, mark.size)))
    }

    /// Says so in the history when the time is long before one that was there already, or long after: approvals are held
    /// against the clock, and so is what is old.
    pub(super) async fn check_clock(&self, last_seen: &mut Option<DateTime<Utc>>) -> Result<(), DaemonError> {
        let now = self.resources.clock.now();
        let Some(before) = last_seen.replace(now) else { return Ok(()) };
        let Some(jump) = clock_check::jump(before, now) else { return Ok(()) };
        let store = &self.resources.store;
        let recorded = store.decide(|unit| record_jump(unit, &self.pipeline.config, jump, before, now));
        match recorded {
            Err(error) => self.on_store_error(error).await,
            Ok(()) => Ok(()),
        }
    }
}
