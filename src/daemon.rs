//! The service: start in order, tick, stop in order.
//!
//! The scheduler is only the metronome: it says that a second has passed. What is due is decided from what is stored,
//! so a tick that comes late, twice or not at all changes nothing but latency.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sd_notify::NotifyState;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_cron_scheduler::{Job, JobScheduler};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::classify::Catalogue;
use crate::clock::{Clock, written};
use crate::config::Config;
use crate::cycle::{Keep, Report, Verdict, Watch, next_due};
use crate::delivery::Delivery;
use crate::incident::Status;
use crate::model::Provider;
use crate::provider::{Limits, ReadError};
use crate::receiver::BadReceiver;
use crate::schedule::{is_due, spread};
use crate::store::{Store, StoreError, drifts, events, instances};

/// How long a stop waits for what is under way: a delivery takes at most its time-outs.
const DRAIN: Duration = Duration::from_secs(30);

/// Why the daemon cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Another one works on the same database.
    #[error("another daemon holds '{0}': stop it first, or give this one another store.path")]
    AlreadyRunning(PathBuf),
    /// The lock file, or a signal handler.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was attempted.
        action: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A receiver.
    #[error(transparent)]
    Receiver(#[from] BadReceiver),
    /// A reader.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The metronome.
    #[error("cannot start the scheduler: {0}")]
    Scheduler(#[from] tokio_cron_scheduler::JobSchedulerError),
}

/// What is done at most once at a time. Every receiver is on its own, so that none waits for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Work {
    Cycle(usize),
    Delivery(usize),
}

/// What is under way, and what may not begin before a time.
#[derive(Debug, Default)]
struct Busy(Mutex<HashMap<Work, Option<DateTime<Utc>>>>);

impl Busy {
    /// Takes the place of `work`, if nothing is under way there and its time has come.
    fn take(self: &Arc<Self>, work: Work, now: DateTime<Utc>) -> Option<Place> {
        let mut busy = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_free = match busy.get(&work) {
            None => true,
            Some(None) => false,
            Some(Some(until)) => *until <= now,
        };
        is_free.then(|| {
            busy.insert(work, None);
            Place { busy: Arc::clone(self), work, not_before: None }
        })
    }
}

/// A place that is taken. It is free again when this is dropped, also by a panic: an instance that nobody looks at any
/// more would be worse than one fault in the log.
struct Place {
    busy: Arc<Busy>,
    work: Work,
    not_before: Option<DateTime<Utc>>,
}

impl Place {
    /// From when on the place is free again, if not at once.
    fn keep_until(&mut self, not_before: Option<DateTime<Utc>>) {
        self.not_before = not_before;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut busy = self.busy.0.lock().unwrap_or_else(PoisonError::into_inner);
        match self.not_before {
            Some(until) => busy.insert(self.work, Some(until)),
            None => busy.remove(&self.work),
        };
    }
}

/// A daemon that is ready to run.
pub struct Daemon {
    watches: Vec<Arc<Watch>>,
    delivery: Arc<Delivery>,
    store: Store,
    clock: Arc<dyn Clock>,
    tracker: TaskTracker,
    stop: CancellationToken,
    busy: Arc<Busy>,
    _lock: File,
}

impl Daemon {
    /// Takes the lock, opens the store, and prepares readers and receivers. Nothing is contacted.
    ///
    /// # Errors
    /// Another daemon is running, or something cannot be prepared.
    pub fn start(
        config: Arc<Config>,
        catalogue: impl Fn(Provider) -> Arc<Catalogue>,
        clock: Arc<dyn Clock>,
        limits: Limits,
    ) -> Result<Self, DaemonError> {
        let store = Store::open(&config.store)?;
        let lock = lock(config.store.with_extension("lock"))?;
        let mut watches = Vec::new();
        for instance in &config.instances {
            let catalogue = catalogue(instance.id.provider);
            let (config, clock) = (Arc::clone(&config), Arc::clone(&clock));
            watches.push(Arc::new(Watch::new(config, instance, catalogue, store.clone(), clock, limits.clone())?));
        }
        let delivery = Arc::new(Delivery::new(store.clone(), Arc::clone(&clock), &config.receivers)?);
        Ok(Self {
            watches,
            delivery,
            store,
            clock,
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            busy: Arc::default(),
            _lock: lock,
        })
    }

    /// Ends [`Daemon::run`] from elsewhere, as a signal would.
    pub fn stopper(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Watches until SIGTERM or SIGINT, then finishes what is under way.
    ///
    /// # Errors
    /// The scheduler or the signals cannot be set up, or the store fails at the end.
    pub async fn run(self) -> Result<(), DaemonError> {
        let signals =
            |kind| signal(kind).map_err(|source| DaemonError::Io { action: "wait for signals".to_owned(), source });
        let (mut terminate, mut interrupt) = (signals(SignalKind::terminate())?, signals(SignalKind::interrupt())?);
        let (ticks, mut ticking) = mpsc::channel::<()>(1);
        let mut metronome = JobScheduler::new().await?;
        metronome
            .add(Job::new("* * * * * *", move |_, _| {
                // A full channel means that the last tick is still being worked on.
                let _ = ticks.try_send(());
            })?)
            .await?;
        metronome.start().await?;

        let version = env!("CARGO_PKG_VERSION");
        self.record("daemon.started", json!({ "version": version, "instances": self.watches.len() }))?;
        tracing::info!(version, instances = self.watches.len(), "watching");
        notify(&[NotifyState::Ready]);
        let watchdog = sd_notify::watchdog_enabled().map(|interval| interval / 2);
        let mut last_ping = Instant::now();
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                () = self.stop.cancelled() => break,
                tick = ticking.recv() => if tick.is_none() { break },
            }
            match self.tick() {
                Ok(status) => {
                    notify(&[NotifyState::Status(&status)]);
                    // Only a tick that could read the database proves that the service is alive.
                    if watchdog.is_some_and(|interval| last_ping.elapsed() >= interval) {
                        notify(&[NotifyState::Watchdog]);
                        last_ping = Instant::now();
                    }
                }
                Err(error) => tracing::error!(%error, "cannot look at what is due"),
            }
        }

        notify(&[NotifyState::Stopping]);
        tracing::info!("stopping");
        // The scheduler does not wait for anything, so it may go first.
        let _ = metronome.shutdown().await;
        self.stop.cancel();
        self.tracker.close();
        let is_drained = tokio::time::timeout(DRAIN, self.tracker.wait()).await.is_ok();
        self.record("daemon.stopped", json!({ "drained": is_drained }))?;
        self.store.checkpoint()?;
        tracing::info!(drained = is_drained, "stopped");
        Ok(())
    }

    /// Starts whatever is due and not under way; answers the state in one line.
    fn tick(&self) -> Result<String, StoreError> {
        let now = self.clock.now();
        let mut next: Option<DateTime<Utc>> = None;
        let mut open = 0;
        for (place, watch) in self.watches.iter().enumerate() {
            let instance = watch.instance();
            let (next_due, open_here) = self.store.read(|tx| -> Result<_, StoreError> {
                let Some(row) = instances::find(tx, &instance.id)? else { return Ok((None, 0)) };
                let open = drifts::known(tx, row)?.values().filter(|drift| drift.status == Status::Open).count();
                Ok((instances::state(tx, row)?.next_due, open))
            })?;
            open += open_here;
            next = match (next, next_due) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
            let delay = spread(&instance.id.to_string(), &instance.schedule.cron, now);
            if is_due(now, next_due, delay)
                && let Some(free) = self.busy.take(Work::Cycle(place), now)
            {
                self.spawn_cycle(watch, free);
            }
        }
        for receiver in 0..self.delivery.receivers() {
            if let Some(free) = self.busy.take(Work::Delivery(receiver), now) {
                self.spawn_delivery(receiver, free);
            }
        }
        let next = next.map_or("now".to_owned(), written);
        Ok(format!("{} watched, {open} open, next cycle {next}", self.watches.len()))
    }

    fn spawn_cycle(&self, watch: &Arc<Watch>, mut place: Place) {
        let (watch, stop, clock) = (Arc::clone(watch), self.stop.clone(), Arc::clone(&self.clock));
        self.tracker.spawn(async move {
            // Unless it ends well, the next one is not at once: nothing was recorded, so it would be due again.
            place.keep_until(next_due(watch.instance(), clock.now()));
            // A cycle that is dropped here was reading or waiting: commits do not wait, so they are never cut.
            let outcome = tokio::select! {
                () = stop.cancelled() => return,
                outcome = watch.cycle(Keep::Everything) => outcome,
            };
            match outcome {
                Ok(report) => {
                    log(&report);
                    place.keep_until(None);
                }
                Err(error) => {
                    tracing::error!(instance = %watch.instance().id, %error, "cycle failed");
                    place.keep_until(next_due(watch.instance(), clock.now()));
                }
            }
        });
    }

    fn spawn_delivery(&self, receiver: usize, place: Place) {
        let delivery = Arc::clone(&self.delivery);
        self.tracker.spawn(async move {
            if let Err(error) = delivery.round_of(receiver).await {
                tracing::error!(%error, "cannot deliver");
            }
            drop(place);
        });
    }

    fn record(&self, kind: &str, data: serde_json::Value) -> Result<(), StoreError> {
        let now = self.clock.now();
        self.store.write(|tx| events::append(tx, now, kind, None, data).map(drop))
    }
}

fn log(report: &Report) {
    let (instance, verdict) = (&report.instance, report.verdict.as_str());
    let (drifts, requests) = (report.drifts.len(), report.requests);
    let duration_ms = report.duration.as_millis();
    match report.verdict {
        Verdict::InSync | Verdict::NoBaseline => {
            tracing::info!(%instance, verdict, requests, duration_ms, "cycle");
        }
        Verdict::Drift | Verdict::Blind => tracing::warn!(%instance, verdict, drifts, requests, duration_ms, "cycle"),
        Verdict::Untrusted | Verdict::Error => {
            let reason = report.reason.as_ref().map_or("", |reason| reason.message.as_str());
            tracing::error!(%instance, verdict, reason, requests, duration_ms, "cycle");
        }
    }
}

fn lock(path: PathBuf) -> Result<File, DaemonError> {
    let failed = |source| DaemonError::Io { action: format!("open the lock '{}'", path.display()), source };
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DaemonError::AlreadyRunning(path)),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Tells systemd; without it nobody listens and nothing happens.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot notify systemd");
    }
}
