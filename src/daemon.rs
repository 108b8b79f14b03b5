//! The service: start in order, tick, stop in order.
//!
//! The scheduler only sends a tick every second. What is due is decided from the database, so a tick that comes late, twice
//! or not at all changes only the latency.

mod checks;
mod clock_jump;
mod database_failure;
pub mod lock;
mod pipeline;
pub mod reload;
mod self_check;
mod signals;
mod status_line;
mod systemd;
mod tasks;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use checks::DatabaseChecks;
use chrono::{DateTime, TimeDelta, Utc};
use database_failure::StoreFault;
pub use database_failure::tell_failed_start;
use lock::Lock;
use pipeline::{Pipeline, Resources, unusable};
use reload::ConfigSource;
use signals::{Signal, Signals};
use systemd::{ExtendStartTimeout, Systemd};
use tasks::{Tasks, cycle, deliver};
use tokio::sync::{mpsc, watch};
use tokio_cron_scheduler::{Job, JobScheduler};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::alerting::{due_digests, send_digest};
use crate::classify::Catalogue;
use crate::clock::Clock;
use crate::config::Config;
use crate::delivery;
use crate::history::Event;
use crate::history::data::{DaemonStart, DaemonStop};
use crate::model::Provider;
use crate::provider::{Limits, ReadError};
use crate::receiver::BadReceiver;
use crate::schedule::{is_due, spread};
use crate::status::Statuses;
use crate::store::retention::Retention;
use crate::store::space::Space;
use crate::store::{Store, StoreError, Transaction, UnitOfWork, events, instances, make_folder};
use crate::telemetry::{Chore, ChoreFailed, ConfigurationDoubt, Observable, Stopping, record_tick};

/// How long a stop waits for what is under way: longer than any delivery or sign of life takes.
const DRAIN: Duration = Duration::from_secs(50);

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

/// Cycles begun in one second: after a start all instances are due, and each takes memory while it reads.
const BEGUN_AT_ONCE: usize = 50;

/// How often it is looked after digests and after what waits.
const UPKEEP_EVERY: TimeDelta = TimeDelta::minutes(1);

/// The instances and receivers of the running configuration, for the monitoring endpoints. A reload publishes it anew.
#[derive(Clone)]
pub struct LiveConfig {
    /// How each instance stands.
    pub statuses: Arc<Statuses>,
    /// The names of the receivers.
    pub receivers: Vec<String>,
}

impl LiveConfig {
    fn new(pipeline: &Pipeline) -> Self {
        let receivers = pipeline.config.receivers.iter().map(|receiver| receiver.name.clone()).collect();
        Self { statuses: Arc::clone(&pipeline.statuses), receivers }
    }
}

/// A daemon that is ready to run.
pub struct Daemon {
    watched: watch::Sender<LiveConfig>,
    pipeline: Pipeline,
    resources: Resources,
    source: Option<ConfigSource>,
    /// Why the last reload was refused, until one is not.
    refused: Option<String>,
    signals: Signals,
    systemd: Systemd,
    checks: DatabaseChecks,
    tracker: TaskTracker,
    stop: CancellationToken,
    lock: Lock,
    /// The channel of ticks, if a test sends them too.
    ticks: Option<(mpsc::Sender<()>, mpsc::Receiver<()>)>,
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
        let signals = Signals::listen()?;
        // Before the database is opened, which may change its form under a daemon that is running.
        make_folder(&config.store)?;
        let lock = Lock::take(&config.store)?;
        let preparing = ExtendStartTimeout::begin();
        let store = Store::open(&config.store)?;
        let checks = DatabaseChecks::start(&store, clock.now())?;
        drop(preparing);
        // Everything else is watched all the same, and people are told of what cannot be.
        for trouble in unusable(&config) {
            ConfigurationDoubt { doubt: &trouble }.observe();
        }
        let resources = Resources { store, clock, limits };
        let pipeline = Pipeline::new(&resources, config, catalogue)?;
        Ok(Self {
            watched: watch::Sender::new(LiveConfig::new(&pipeline)),
            pipeline,
            resources,
            source: None,
            refused: None,
            signals,
            systemd: Systemd::new(),
            checks,
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            lock,
            ticks: None,
        })
    }

    /// What it watches, now and after every reload.
    pub fn watched(&self) -> watch::Receiver<LiveConfig> {
        self.watched.subscribe()
    }

    /// The database it works on.
    pub fn store(&self) -> &Store {
        &self.resources.store
    }

    /// Reads its configuration from there when it is asked to reload. Without a source every reload is refused.
    #[must_use]
    pub fn reloading_from(mut self, source: ConfigSource) -> Self {
        self.source = Some(source);
        self
    }

    /// Ends [`Daemon::run`] from elsewhere, as a signal would.
    pub fn stopper(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Sends ticks beside the scheduler: a test that moves the clock does not have to wait for the next second.
    pub fn tick_sender(&mut self) -> mpsc::Sender<()> {
        let (ticks, ticking) = mpsc::channel(1);
        self.ticks = Some((ticks.clone(), ticking));
        ticks
    }

    /// Watches until SIGTERM or SIGINT, then finishes what is under way.
    ///
    /// # Errors
    /// The scheduler or the signals cannot be set up, or the store fails at the end.
    pub async fn run(mut self) -> Result<(), DaemonError> {
        let (ticks, mut ticking) = self.ticks.take().unwrap_or_else(|| mpsc::channel(1));
        let mut metronome = JobScheduler::new().await?;
        metronome
            .add(Job::new("* * * * * *", move |_, _| {
                // A full channel means that the last tick is still being worked on.
                let _ = ticks.try_send(());
            })?)
            .await?;
        metronome.start().await?;

        let ended = self.watch(&mut ticking).await;
        if ended.is_ok() {
            self.systemd.stopping();
            Stopping.observe();
        }
        // The scheduler does not wait for anything, so it may go first.
        let _ = metronome.shutdown().await;
        self.stop.cancel();
        self.checks.cancel();
        self.tracker.close();
        // Whatever the end is, what people are told of it goes out.
        let is_drained = tokio::time::timeout(DRAIN, self.tracker.wait()).await.is_ok();
        ended?;
        let stopped = Event::DaemonStopped(DaemonStop { drained: is_drained });
        self.ended_with(self.record(&stopped)).await?;
        self.ended_with(self.resources.store.checkpoint()).await
    }

    /// Does whatever is due with every tick, until it is to stop.
    async fn watch(&mut self, ticking: &mut mpsc::Receiver<()>) -> Result<(), DaemonError> {
        let mut last_seen = match self.last_recorded() {
            Ok(last) => last,
            Err(error) => {
                self.on_store_error(error).await?;
                None
            }
        };
        // Before anything is recorded by a clock that may be wrong.
        self.check_clock(&mut last_seen).await?;
        let started = Event::DaemonStarted(DaemonStart {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            instances: self.pipeline.monitors.len(),
            config: self.source.as_ref().map(|source| source.digest.clone()),
        });
        if let Err(error) = self.record(&started) {
            self.on_store_error(error).await?;
        }
        let mut tasks = Tasks::default();
        let mut last_upkeep = None;
        let mut retention = Retention::default();
        let (failures, mut failed) = mpsc::unbounded_channel::<StoreError>();
        loop {
            tokio::select! {
                biased;
                signal = self.signals.next() => match signal {
                    Signal::Stop => return Ok(()),
                    Signal::Reload => {
                        self.reload(&mut tasks).await?;
                        continue;
                    }
                },
                () = self.stop.cancelled() => return Ok(()),
                Some(error) = failed.recv() => {
                    self.on_store_error(error).await?;
                    continue;
                }
                outcome = self.checks.outcome() => {
                    self.on_check_outcome(outcome).await?;
                    continue;
                }
                tick = ticking.recv() => if tick.is_none() { return Ok(()) },
            }
            self.check_clock(&mut last_seen).await?;
            if let Err(error) = self.resources.store.still_in_place() {
                self.on_store_error(error).await?;
            }
            if let Err(error) = self.checks.begin(&self.resources.store, self.resources.clock.now()) {
                self.on_store_error(error).await?;
            }
            match self.resources.store.free_space().ok().flatten().map(Space::of) {
                Some(Space::Full) => self.notify_fault(StoreFault::Full, ""),
                Some(Space::Low | Space::Ample) => {
                    if let Err(error) = self.pipeline.database_alert.has_room(&self.resources.store) {
                        self.on_store_error(error).await?;
                    }
                }
                None => {}
            }
            if let Err(error) = self.pipeline.self_check.check(&self.tracker, &self.stop) {
                ChoreFailed { chore: Chore::Health, error: &error }.observe();
                self.on_store_error(error).await?;
            }
            if let Err(error) = self.upkeep(&mut last_upkeep, &mut retention) {
                ChoreFailed { chore: Chore::Upkeep, error: &error }.observe();
                self.on_store_error(error).await?;
            }
            let status = self.tick(&mut tasks, &failures).and_then(|()| self.status());
            match status {
                // Only a tick that could read the database says anything of the service.
                Ok(status) => {
                    record_tick(self.resources.clock.now());
                    self.systemd.ready_or_watchdog(status);
                }
                Err(error) => {
                    ChoreFailed { chore: Chore::Schedule, error: &error }.observe();
                    self.on_store_error(error).await?;
                }
            }
        }
    }

    /// Starts whatever is due and not under way.
    fn tick(&self, tasks: &mut Tasks, failures: &mpsc::UnboundedSender<StoreError>) -> Result<(), StoreError> {
        let now = self.resources.clock.now();
        let due = self.resources.store.read(|tx| -> Result<Vec<_>, StoreError> {
            let next_due = |instance| match instances::find(tx, instance)? {
                Some(row) => instances::next_due(tx, row),
                None => Ok(None),
            };
            self.pipeline.monitors.iter().map(|monitor| Ok((monitor, next_due(&monitor.instance().id)?))).collect()
        })?;
        let mut begun = 0;
        for (monitor, next_due) in due {
            let instance = monitor.instance();
            let cron = &instance.schedule.cron;
            // Patterns take their time, and nearly always nothing is due.
            let delay = match next_due {
                Some(next) if next <= now => spread(&instance.id.to_string(), cron, now),
                _ => TimeDelta::zero(),
            };
            let slot = tasks.cycle(&instance.id);
            if begun < BEGUN_AT_ONCE && is_due(cron, now, next_due, delay) && slot.is_free(now) {
                begun += 1;
                slot.begin(now, &self.tracker, cycle(Arc::clone(monitor), self.stop.clone(), failures.clone()));
            }
        }
        for worker in self.pipeline.delivery.workers() {
            let slot = tasks.delivery(worker.name());
            if slot.is_free(now) {
                slot.begin(now, &self.tracker, deliver(Arc::clone(worker), self.stop.clone(), failures.clone()));
            }
        }
        Ok(())
    }

    /// How everything is, in one line.
    fn status(&self) -> Result<String, StoreError> {
        let now = self.resources.clock.now();
        let status = self.resources.store.read(|tx| status_line::status_line(tx, &self.pipeline.statuses, now))?;
        Ok(match &self.refused {
            Some(reason) => format!("reload refused: {reason}; {status}"),
            None => status,
        })
    }

    /// Sends digests and bounds the outbox, if that is due.
    fn upkeep(&self, last: &mut Option<DateTime<Utc>>, retention: &mut Retention) -> Result<(), StoreError> {
        let now = self.resources.clock.now();
        if last.is_some_and(|last| last <= now && now < last + UPKEEP_EVERY) {
            return Ok(());
        }
        *last = Some(now);
        self.send_digests(now)?;
        self.resources.store.write(|tx| delivery::upkeep(tx, &self.pipeline.config, now))?;
        let keep = TimeDelta::from_std(self.pipeline.config.keep).unwrap_or(TimeDelta::MAX);
        retention.step(&self.resources.store, keep, now)
    }

    fn send_digests(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        let (config, statuses) = (&self.pipeline.config, &self.pipeline.statuses);
        let view = |tx: &Transaction<'_>| {
            let unit = UnitOfWork::of_program(tx)?;
            let due = due_digests(&unit, config, now)?;
            let mut found = Vec::new();
            if !due.is_empty() {
                let trust = statuses.trust()?;
                for instance in statuses.instances() {
                    found.push((instance.id.clone(), statuses.of(tx, instance, &trust, now)?));
                }
            }
            Ok::<_, StoreError>((unit, (due, found)))
        };
        self.resources.store.view_and_decide(view, |unit, (due, found)| {
            due.into_iter().try_for_each(|receiver| send_digest(unit, receiver, &found, now))
        })
    }

    fn record(&self, event: &Event) -> Result<(), StoreError> {
        let now = self.resources.clock.now();
        self.resources.store.write(|tx| events::append(tx, now, None, event).map(drop))
    }
}
