//! What the daemon thinks of its clock.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::{Daemon, DaemonError};
use crate::clock::written;
use crate::store::belief::LONG_AGO;
use crate::store::{StoreError, events};

/// How far a clock may go back without a word: time servers correct less than that.
const SET_BACK: TimeDelta = TimeDelta::seconds(60);

impl Daemon {
    /// When the newest event was recorded.
    pub(super) fn last_recorded(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        self.ground.store.read(|tx| events::mark(tx)?.map_or(Ok(None), |mark| events::recorded_at(tx, mark.size)))
    }

    /// Says so in the history when the time is long before one that was there already, or long after: approvals are held
    /// against the clock, and so is what is old.
    pub(super) async fn notice_clock(&self, last_seen: &mut Option<DateTime<Utc>>) -> Result<(), DaemonError> {
        let now = self.ground.clock.now();
        let Some(before) = last_seen.replace(now) else { return Ok(()) };
        let data = json!({ "was": written(before), "is": written(now) });
        let recorded = if now + SET_BACK < before {
            self.record("clock.set_back", data)
        } else if before + LONG_AGO < now {
            self.record("clock.set_forward", data)
        } else {
            Ok(())
        };
        match recorded {
            Err(error) => self.met(error).await,
            Ok(()) => Ok(()),
        }
    }
}
