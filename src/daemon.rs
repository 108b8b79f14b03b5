//! The service: start in order, tick, stop in order.
//!
//! The scheduler is only the metronome: it says that a second has passed. What is due is decided from what is stored,
//! so a tick that comes late, twice or not at all changes nothing but latency.

mod alarm;
mod health;
mod lock;
mod systemd;
mod work;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alarm::{Alarm, Trouble};
use chrono::{DateTime, TimeDelta, Utc};
use health::Health;
use lock::lock;
use sd_notify::NotifyState;
use serde_json::json;
use systemd::notify;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_cron_scheduler::{Job, JobScheduler};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use work::{Slot, cycle, deliver};

use crate::classify::Catalogue;
use crate::clock::{Clock, written};
use crate::config::Config;
use crate::cycle::{Watch, upkeep};
use crate::delivery::Delivery;
use crate::model::Provider;
use crate::provider::{Limits, ReadError};
use crate::receiver::BadReceiver;
use crate::schedule::{is_due, spread};
use crate::store::space::Space;
use crate::store::{Store, StoreError, drifts, events, instances, make_folder};

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

/// How often the whole database file is looked at.
const CHECK_EVERY: TimeDelta = TimeDelta::days(1);

/// How often it is looked after digests and after what waits.
const UPKEEP_EVERY: TimeDelta = TimeDelta::minutes(1);

/// How far a clock may go back without a word: time servers correct less than that.
const SET_BACK: TimeDelta = TimeDelta::seconds(60);

/// A daemon that is ready to run.
pub struct Daemon {
    config: Arc<Config>,
    watches: Vec<Arc<Watch>>,
    delivery: Delivery,
    alarm: Alarm,
    health: Health,
    store: Store,
    clock: Arc<dyn Clock>,
    tracker: TaskTracker,
    stop: CancellationToken,
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
        // Before the database is opened, which may change its form under a daemon that is running.
        make_folder(&config.store)?;
        let lock = lock(&config.store)?;
        let store = Store::open(&config.store)?;
        store.quick_check()?;
        let mut watches = Vec::new();
        for instance in &config.instances {
            let catalogue = catalogue(instance.id.provider);
            let (config, clock) = (Arc::clone(&config), Arc::clone(&clock));
            watches.push(Arc::new(Watch::new(config, instance, catalogue, store.clone(), clock, limits.clone())?));
        }
        let delivery = Delivery::new(&store, &clock, &config.receivers)?;
        let alarm = Alarm::new(&config, &clock)?;
        let health = Health::new(&config, &store, &clock)?;
        for warning in config.taken_by_nobody() {
            tracing::warn!("{warning}; mark a receiver with `default = true` to let it have them");
        }
        Ok(Self {
            config,
            watches,
            delivery,
            alarm,
            health,
            store,
            clock,
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
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
    pub async fn run(mut self) -> Result<(), DaemonError> {
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
        if let Err(error) =
            self.record("daemon.started", json!({ "version": version, "instances": self.watches.len() }))
        {
            self.met(error).await?;
        }
        tracing::info!(version, instances = self.watches.len(), "watching");
        notify(&[NotifyState::Ready]);
        let mut cycles: Vec<Slot> = self.watches.iter().map(|_| Slot::default()).collect();
        let mut lines: Vec<Slot> = self.delivery.lines().iter().map(|_| Slot::default()).collect();
        let watchdog = sd_notify::watchdog_enabled().map(|interval| interval / 2);
        let mut last_ping = Instant::now();
        let mut last_check = self.clock.now();
        let mut last_upkeep = None;
        let mut last_seen = self.store.read(|tx| -> Result<_, StoreError> {
            events::mark(tx)?.map_or(Ok(None), |mark| events::recorded_at(tx, mark.size))
        })?;
        let (failures, mut failed) = mpsc::unbounded_channel::<StoreError>();
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                () = self.stop.cancelled() => break,
                tick = ticking.recv() => if tick.is_none() { break },
                Some(error) = failed.recv() => {
                    self.met(error).await?;
                    continue;
                }
            }
            last_seen = Some(self.notice_clock(last_seen)?);
            // A file that is damaged is never written to again: whoever starts the daemon anew is told at once.
            if self.clock.now() - last_check >= CHECK_EVERY {
                last_check = self.clock.now();
                if let Err(error) = self.store.full_check() {
                    return Err(self.gave_up(error).await);
                }
                if let Err(error) = self.record("store.checked", json!({ "sound": true })) {
                    self.met(error).await?;
                }
            }
            if let Ok(Some(free)) = self.store.free_space()
                && Space::of(free) == Space::Full
                && let Some(message) = self.alarm.full(&self.store, String::new())
            {
                self.tracker.spawn(message);
            }
            if let Err(error) = self.health.look(&self.tracker) {
                tracing::error!(%error, "cannot look after the watch");
                self.met(error).await?;
            }
            if let Err(error) = self.upkeep(&mut last_upkeep) {
                tracing::error!(%error, "cannot look after what waits");
                self.met(error).await?;
            }
            match self.tick(&mut cycles, &mut lines, &failures) {
                Ok(status) => {
                    notify(&[NotifyState::Status(&status)]);
                    // Only a tick that could read the database proves that the service is alive.
                    if watchdog.is_some_and(|interval| last_ping.elapsed() >= interval) {
                        notify(&[NotifyState::Watchdog]);
                        last_ping = Instant::now();
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "cannot look at what is due");
                    self.met(error).await?;
                }
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

    /// Decides what an error of the store means: to go on, to tell people and go on, or to end.
    async fn met(&self, error: StoreError) -> Result<(), DaemonError> {
        let error = self.store.explained(error);
        match Alarm::trouble(&self.store, &error) {
            Trouble::Passing => Ok(()),
            Trouble::Full => {
                if let Some(message) = self.alarm.full(&self.store, error.to_string()) {
                    self.tracker.spawn(message);
                }
                Ok(())
            }
            Trouble::Broken => Err(self.gave_up(error).await),
        }
    }

    /// Tells people that nothing is watched any more. The file is left as it is, and nothing more is written.
    async fn gave_up(&self, error: StoreError) -> DaemonError {
        tracing::error!(%error, "the database cannot be used");
        self.stop.cancel();
        self.alarm.failed(self.store.path().display().to_string(), error.to_string(), Some(&self.store)).await;
        error.into()
    }

    /// Starts whatever is due and not under way; answers the state in one line.
    fn tick(
        &self,
        cycles: &mut [Slot],
        lines: &mut [Slot],
        failures: &mpsc::UnboundedSender<StoreError>,
    ) -> Result<String, StoreError> {
        let now = self.clock.now();
        let mut next: Option<DateTime<Utc>> = None;
        let mut open = 0;
        for (watch, slot) in self.watches.iter().zip(cycles) {
            let instance = watch.instance();
            let (next_due, open_here) = self.store.read(|tx| -> Result<_, StoreError> {
                let Some(row) = instances::find(tx, &instance.id)? else { return Ok((None, 0)) };
                Ok((instances::next_due(tx, row)?, drifts::count_open(tx, row)?))
            })?;
            open += open_here;
            next = match (next, next_due) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
            let delay = spread(&instance.id.to_string(), &instance.schedule.cron, now);
            if is_due(&instance.schedule.cron, now, next_due, delay) && slot.is_free(now) {
                slot.begin(now, &self.tracker, cycle(Arc::clone(watch), self.stop.clone(), failures.clone()));
            }
        }
        for (line, slot) in self.delivery.lines().iter().zip(lines) {
            if slot.is_free(now) {
                slot.begin(now, &self.tracker, deliver(Arc::clone(line), failures.clone()));
            }
        }
        let next = next.map_or("now".to_owned(), written);
        Ok(format!("{} watched, {open} open, next cycle {next}", self.watches.len()))
    }

    /// Sends digests and bounds the outbox, if that is due.
    fn upkeep(&self, last: &mut Option<DateTime<Utc>>) -> Result<(), StoreError> {
        let now = self.clock.now();
        if last.is_some_and(|last| last <= now && now < last + UPKEEP_EVERY) {
            return Ok(());
        }
        *last = Some(now);
        let watches = self.watches.iter().map(|watch| (watch.instance().id.provider, watch.catalogue()));
        let catalogues: BTreeMap<Provider, Arc<Catalogue>> = watches.collect();
        self.store.write(|tx| upkeep(tx, &self.config, &catalogues, now))
    }

    /// Says so in the history when the time is long before one that was there already: approvals are held against the clock.
    fn notice_clock(&self, last_seen: Option<DateTime<Utc>>) -> Result<DateTime<Utc>, StoreError> {
        let now = self.clock.now();
        if let Some(before) = last_seen.filter(|before| now + SET_BACK < *before) {
            tracing::warn!(was = written(before), is = written(now), "the clock was set back");
            self.record("clock.set_back", json!({ "was": written(before), "is": written(now) }))?;
        }
        Ok(now)
    }

    fn record(&self, kind: &str, data: serde_json::Value) -> Result<(), StoreError> {
        let now = self.clock.now();
        self.store.write(|tx| events::append(tx, now, kind, None, data).map(drop))
    }
}

/// Tells people that a daemon could not start because of its database: nobody would notice the silence.
pub async fn tell_failed_start(config: &Config, clock: &Arc<dyn Clock>, error: &DaemonError) {
    let DaemonError::Store(error) = error else { return };
    // A database of a newer program is left alone by whoever went back to this one, and sees it.
    if matches!(error, StoreError::Newer { .. }) {
        return;
    }
    match Alarm::new(config, clock) {
        Ok(alarm) => alarm.failed(config.store.display().to_string(), error.to_string(), None).await,
        Err(error) => tracing::error!(%error, "nobody can be told"),
    }
}
