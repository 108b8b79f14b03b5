//! The whole database file is checked once a day, in the background: that takes minutes when it is large.

use std::future::pending;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::task::{JoinHandle, spawn_blocking};

use super::{Daemon, DaemonError};
use crate::history::Event;
use crate::history::data::CheckedStore;
use crate::store::{Store, StoreError};

/// How often.
const EVERY: TimeDelta = TimeDelta::days(1);

/// Bytes up to which the pages are looked at before the daemon is ready. A larger file is looked at whole when it runs.
const AT_THE_START: u64 = 256 << 20;

/// When the file was looked at last, and the look that is under way.
pub(super) struct DatabaseChecks {
    last: Option<DateTime<Utc>>,
    under_way: Option<RunningCheck>,
}

struct RunningCheck {
    task: JoinHandle<Result<(), StoreError>>,
    stop: Box<dyn Fn() + Send + Sync>,
}

impl DatabaseChecks {
    /// Looks at a file that is small, as part of the start.
    pub(super) fn start(store: &Store, now: DateTime<Utc>) -> Result<Self, StoreError> {
        let is_small = store.size() <= AT_THE_START;
        if is_small {
            store.quick_check()?;
        }
        Ok(Self { last: is_small.then_some(now), under_way: None })
    }

    /// Begins to look, if it is time to.
    pub(super) fn begin(&mut self, store: &Store, now: DateTime<Utc>) -> Result<(), StoreError> {
        // A clock that was ahead leaves a time that is still to come.
        let is_due = self.last.is_none_or(|last| last > now || now - last >= EVERY);
        if is_due && self.under_way.is_none() {
            self.last = Some(now);
            let check = store.full_check()?;
            let stop = Box::new(check.stopper());
            self.under_way = Some(RunningCheck { task: spawn_blocking(|| check.run()), stop });
        }
        Ok(())
    }

    /// What came of it, when it is over.
    pub(super) async fn outcome(&mut self) -> Result<(), StoreError> {
        let Some(running) = &mut self.under_way else { return pending().await };
        let outcome = (&mut running.task).await;
        self.under_way = None;
        outcome.unwrap_or_else(|error| Err(StoreError::Damaged(format!("internal: {error}"))))
    }

    /// Stops the check that is under way.
    pub(super) fn cancel(&self) {
        if let Some(running) = &self.under_way {
            (running.stop)();
        }
    }
}

impl Daemon {
    /// Records the outcome of the check. A damaged file is never written to again, and the next start reports it at once.
    pub(super) async fn on_check_outcome(&self, outcome: Result<(), StoreError>) -> Result<(), DaemonError> {
        let recorded = match outcome {
            Err(error @ StoreError::Damaged(_)) => return Err(self.shut_down(error).await),
            outcome => outcome.and_then(|()| self.record(&Event::StoreChecked(CheckedStore { sound: true }))),
        };
        match recorded {
            Err(error) => self.on_store_error(error).await,
            Ok(()) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_look_is_due_once_a_day_and_after_a_clock_that_was_ahead_is_set_right() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("authdrift.db")).unwrap();
        let now: DateTime<Utc> = "2026-11-22T12:00:00Z".parse().unwrap();
        let mut checks = DatabaseChecks::start(&store, now).unwrap();
        for (hours, is_begun) in [(0, false), (23, false), (24, true), (25, false), (-9_000, true), (-8_999, false)] {
            checks.begin(&store, now + TimeDelta::hours(hours)).unwrap();
            assert_eq!(checks.under_way.is_some(), is_begun, "{hours}");
            if is_begun {
                // Others write meanwhile.
                store.write(|_| Ok::<_, StoreError>(())).unwrap();
                checks.outcome().await.unwrap();
            }
        }
        // A large file was not looked at when the daemon started.
        let mut checks = DatabaseChecks { last: None, under_way: None };
        checks.begin(&store, now).unwrap();
        checks.cancel();
        let _ = checks.outcome().await;
        assert!(checks.under_way.is_none());
    }
}
