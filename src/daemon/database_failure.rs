//! What the daemon does when its database cannot be written, or not be trusted to hold what is written.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use super::{Daemon, DaemonError};
use crate::alerting;
use crate::clock::Clock;
use crate::config::Config;
use crate::delivery::direct::{DirectMessage, DirectNotifier, mark_or_none};
use crate::message::{Notice, NoticeKind};
use crate::model::HistoryMark;
use crate::receiver::BadReceiver;
use crate::store::space::Space;
use crate::store::{Store, StoreError, events};
use crate::telemetry::{Chore, ChoreFailed, DatabaseUnusable, DiskFull, NobodyTold, Observable};

/// How often people are told that the disk is full, or that the history does not verify.
const EVERY: TimeDelta = TimeDelta::hours(1);

/// Notifies the receivers of database failures, without writing to the database.
pub(super) struct DatabaseAlert {
    notifier: Arc<DirectNotifier>,
    clock: Arc<dyn Clock>,
    /// The last notification of each fault.
    notified: Mutex<BTreeMap<StoreFault, DateTime<Utc>>>,
}

/// What an error of the store means for the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum StoreFault {
    /// It may go away by itself.
    Passing,
    /// It goes away when there is room again.
    Full,
    /// Nothing in it can be held against the history any more.
    Untrusted,
    /// A row cannot be used, and everything else can.
    Damaged,
    /// Nothing may be written any more.
    Broken,
}

impl DatabaseAlert {
    pub(super) fn new(config: &Config, clock: &Arc<dyn Clock>) -> Result<Self, BadReceiver> {
        Ok(Self {
            notifier: Arc::new(DirectNotifier::new(&config.receivers)?),
            clock: Arc::clone(clock),
            notified: Mutex::default(),
        })
    }

    /// Takes over when the last notifications were sent.
    pub(super) fn inherit(&mut self, before: &Self) {
        *self.notified() = before.notified().clone();
    }

    fn notified(&self) -> MutexGuard<'_, BTreeMap<StoreFault, DateTime<Utc>>> {
        self.notified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `error` means. A disk without room also answers with errors that are not about room.
    pub(super) fn fault(store: &Store, error: &StoreError) -> StoreFault {
        let is_full = || store.free_space().is_ok_and(|free| free.is_some_and(|free| Space::of(free) == Space::Full));
        match (error.is_full(), error.is_broken()) {
            _ if matches!(error, StoreError::History(_)) => StoreFault::Untrusted,
            (true, _) => StoreFault::Full,
            (false, true) if is_full() => StoreFault::Full,
            (false, true) => StoreFault::Broken,
            (false, false) if matches!(error, StoreError::Damaged(_)) => StoreFault::Damaged,
            (false, false) => StoreFault::Passing,
        }
    }

    /// The message about a `fault` that the daemon survives, if an hour has passed since the last.
    fn repeated(&self, store: &Store, fault: StoreFault, reason: &str) -> Option<DirectMessage> {
        let now = self.clock.now();
        let is_recent = |last: &DateTime<Utc>| now - *last < EVERY && *last <= now;
        let path = store.path().display().to_string();
        let message = match fault {
            StoreFault::Passing | StoreFault::Broken => return None,
            _ if self.notified().get(&fault).is_some_and(is_recent) => return None,
            StoreFault::Untrusted => DirectMessage::of_history(reason),
            StoreFault::Full => {
                let free = store.free_space().ok().flatten();
                DiskFull { path: &path, free, reason }.observe();
                DirectMessage::Notice(Notice::of_storage(NoticeKind::StorageFull, &path, free, reason))
            }
            StoreFault::Damaged => {
                let reason = format!("{reason}; nothing was compared that needs it");
                DirectMessage::Notice(Notice::of_storage(NoticeKind::StorageFailed, &path, None, &reason))
            }
        };
        self.notified().insert(fault, now);
        Some(message)
    }

    /// Records in the history, now that there is room in it, that receivers were notified of a full disk.
    pub(super) fn has_room(&self, store: &Store) -> Result<(), StoreError> {
        let mut notified = self.notified();
        if let Some(at) = notified.get(&StoreFault::Full) {
            store.decide(|unit| alerting::record_full_disk(unit, *at, self.clock.now()))?;
            notified.remove(&StoreFault::Full);
        }
        Ok(())
    }

    /// Tells that the database at `path` cannot be used, and waits until that was tried.
    pub(super) async fn failed(&self, path: String, reason: String, store: Option<&Store>) {
        let free = store.and_then(|store| store.free_space().ok().flatten());
        let news = Notice::of_storage(NoticeKind::StorageFailed, &path, free, &reason);
        Arc::clone(&self.notifier).notify(DirectMessage::Notice(news), mark(store), self.clock.now()).await;
    }
}

impl Daemon {
    /// Handles an error of the store: goes on, notifies the receivers and goes on, or stops the daemon.
    pub(super) async fn on_store_error(&self, error: StoreError) -> Result<(), DaemonError> {
        let error = self.resources.store.explained(error);
        let fault = DatabaseAlert::fault(&self.resources.store, &error);
        if fault == StoreFault::Broken {
            return Err(self.shut_down(error).await);
        }
        self.notify_fault(fault, &error.to_string());
        Ok(())
    }

    /// Notifies the receivers of a `fault` that the daemon survives, at most once an hour.
    pub(super) fn notify_fault(&self, fault: StoreFault, reason: &str) {
        let (alert, store) = (&self.pipeline.database_alert, &self.resources.store);
        if let Some(message) = alert.repeated(store, fault, reason) {
            self.tracker.spawn(Arc::clone(&alert.notifier).notify(message, mark(Some(store)), alert.clock.now()));
        }
    }

    /// Notifies the receivers that nothing is monitored any more, and stops. Nothing more is written to the file.
    pub(super) async fn shut_down(&self, error: StoreError) -> DaemonError {
        DatabaseUnusable { error: &error }.observe();
        self.stop.cancel();
        self.pipeline
            .database_alert
            .failed(self.resources.store.path().display().to_string(), error.to_string(), Some(&self.resources.store))
            .await;
        error.into()
    }

    /// Handles the outcome of the last writes: a failed one changes the end of the daemon only if the database is broken.
    pub(super) async fn ended_with(&self, outcome: Result<(), StoreError>) -> Result<(), DaemonError> {
        let Err(error) = outcome else { return Ok(()) };
        ChoreFailed { chore: Chore::End, error: &error }.observe();
        match DatabaseAlert::fault(&self.resources.store, &error) {
            StoreFault::Broken => Err(self.shut_down(error).await),
            _ => Ok(()),
        }
    }
}

/// Notifies the receivers that a daemon could not start because of its database.
pub async fn tell_failed_start(config: &Config, clock: &Arc<dyn Clock>, error: &DaemonError) {
    let DaemonError::Store(error) = error else { return };
    // After a downgrade the operator sees the error, so no message is needed.
    if matches!(error, StoreError::Newer { .. }) {
        return;
    }
    match DatabaseAlert::new(config, clock) {
        Ok(alarm) => alarm.failed(config.store.display().to_string(), error.to_string(), None).await,
        Err(error) => NobodyTold { error: &error }.observe(),
    }
}

/// Where the history stands, as far as it can still be read.
fn mark(store: Option<&Store>) -> HistoryMark {
    mark_or_none(store.and_then(|store| store.read(events::mark).ok().flatten()))
}
