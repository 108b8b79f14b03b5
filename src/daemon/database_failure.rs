//! What the daemon does when its database cannot be written, or not be trusted to hold what is written.

use std::sync::{Arc, Mutex, PoisonError};

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
    told: Mutex<Option<DateTime<Utc>>>,
    told_untrusted: Mutex<Option<DateTime<Utc>>>,
    told_damaged: Mutex<Option<DateTime<Utc>>>,
}

/// What an error of the store means for the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
            told: Mutex::default(),
            told_untrusted: Mutex::default(),
            told_damaged: Mutex::default(),
        })
    }

    /// Takes over when the last notifications were sent.
    pub(super) fn inherit(&mut self, before: &Self) {
        for (own, before) in [
            (&self.told, &before.told),
            (&self.told_untrusted, &before.told_untrusted),
            (&self.told_damaged, &before.told_damaged),
        ] {
            let told = *before.lock().unwrap_or_else(PoisonError::into_inner);
            *own.lock().unwrap_or_else(PoisonError::into_inner) = told;
        }
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

    /// The message that the disk is full, if an hour has passed since the last.
    pub(super) fn full(&self, store: &Store, reason: String) -> Option<impl Future<Output = ()> + Send + 'static> {
        let now = self.clock.now();
        if !is_time(&self.told, now) {
            return None;
        }
        let free = store.free_space().ok().flatten();
        let path = store.path().display().to_string();
        DiskFull { path: &path, free, reason: &reason }.observe();
        let news = Notice::of_storage(NoticeKind::StorageFull, &path, free, &reason);
        let telling = Arc::clone(&self.notifier).notify(DirectMessage::Notice(news), mark(Some(store)), now);
        Some(async move {
            telling.await;
        })
    }

    /// The message that the history does not verify, if an hour has passed since the last.
    fn untrusted(&self, store: &Store, reason: &str) -> Option<impl Future<Output = ()> + Send + 'static> {
        let now = self.clock.now();
        let telling = || Arc::clone(&self.notifier).notify(DirectMessage::of_history(reason), mark(Some(store)), now);
        let telling = is_time(&self.told_untrusted, now).then(telling)?;
        Some(async move {
            telling.await;
        })
    }

    /// The message that a row of the database cannot be used, if an hour has passed since the last.
    fn damaged(&self, store: &Store, error: &StoreError) -> Option<impl Future<Output = ()> + Send + 'static> {
        let now = self.clock.now();
        if !is_time(&self.told_damaged, now) {
            return None;
        }
        let reason = format!("{error}; nothing was compared that needs it");
        let news = Notice::of_storage(NoticeKind::StorageFailed, &store.path().display().to_string(), None, &reason);
        let telling = Arc::clone(&self.notifier).notify(DirectMessage::Notice(news), mark(Some(store)), now);
        Some(async move {
            telling.await;
        })
    }

    /// Notes in the history, now that there is room in it, that people were told of a full disk.
    pub(super) fn has_room(&self, store: &Store) -> Result<(), StoreError> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = *told {
            store.decide(|unit| alerting::record_full_disk(unit, at, self.clock.now()))?;
            *told = None;
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
        match DatabaseAlert::fault(&self.resources.store, &error) {
            StoreFault::Passing => Ok(()),
            StoreFault::Full => {
                if let Some(message) = self.pipeline.database_alert.full(&self.resources.store, error.to_string()) {
                    self.tracker.spawn(message);
                }
                Ok(())
            }
            StoreFault::Untrusted => {
                if let Some(message) = self.pipeline.database_alert.untrusted(&self.resources.store, &error.to_string())
                {
                    self.tracker.spawn(message);
                }
                Ok(())
            }
            StoreFault::Damaged => {
                if let Some(message) = self.pipeline.database_alert.damaged(&self.resources.store, &error) {
                    self.tracker.spawn(message);
                }
                Ok(())
            }
            StoreFault::Broken => Err(self.shut_down(error).await),
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
            StoreFault::Passing | StoreFault::Full | StoreFault::Untrusted | StoreFault::Damaged => Ok(()),
            StoreFault::Broken => Err(self.shut_down(error).await),
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

/// Whether it is time to tell people again; then that is noted.
fn is_time(told: &Mutex<Option<DateTime<Utc>>>, now: DateTime<Utc>) -> bool {
    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
    if told.is_some_and(|told| now - told < EVERY && told <= now) {
        return false;
    }
    *told = Some(now);
    true
}

/// Where the history stands, as far as it can still be read.
fn mark(store: Option<&Store>) -> HistoryMark {
    mark_or_none(store.and_then(|store| store.read(events::mark).ok().flatten()))
}
