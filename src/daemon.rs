//! The service: start in order, tick, stop in order.
//!
//! The scheduler is only the metronome: it says that a second has passed. What is due is decided from what is stored,
//! so a tick that comes late, twice or not at all changes nothing but latency.

mod alarm;
mod health;
pub mod running;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use alarm::{Alarm, Trouble};
use chrono::{DateTime, TimeDelta, Utc};
use health::Health;
use sd_notify::NotifyState;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_cron_scheduler::{Job, JobScheduler};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::classify::Catalogue;
use crate::clock::{Clock, written};
use crate::config::Config;
use crate::cycle::{Keep, Report, Verdict, Watch, upkeep};
use crate::delivery::{Delivery, Line};
use crate::model::Provider;
use crate::provider::{Limits, ReadError};
use crate::receiver::BadReceiver;
use crate::schedule::{is_due, spread};
use crate::store::retention::Retention;
use crate::store::space::Space;
use crate::store::{Store, StoreError, drifts, events, instances, make_folder};
use crate::telemetry::{
    Chore, ChoreFailed, ConfigurationDoubt, CycleEnded, CycleFailed, DatabaseUnusable, NobodyTold, Observable, Outcome,
    Stopping, SystemdSilent, Ticked,
};

/// How long a stop waits for what is under way: a delivery takes at most its time-outs.
const DRAIN: Duration = Duration::from_secs(30);

/// How long an instance rests after a cycle that could not be recorded: a full disk should not mean one every second.
const REST: TimeDelta = TimeDelta::seconds(30);

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

/// What the daemon watches and whom it tells, for those who ask how that is going. A reload publishes it anew.
#[derive(Clone)]
pub struct Watched {
    /// Every instance, with what its settings mean.
    pub watches: Vec<Arc<Watch>>,
    /// The names of the receivers.
    pub receivers: Vec<String>,
}

impl Watched {
    fn new(watches: &[Arc<Watch>], config: &Config) -> Self {
        let receivers = config.receivers.iter().map(|receiver| receiver.name.clone()).collect();
        Self { watches: watches.to_vec(), receivers }
    }
}

/// A daemon that is ready to run.
pub struct Daemon {
    watched: watch::Sender<Watched>,
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

/// What is under way for one instance, or for one receiver.
#[derive(Default)]
struct Slot {
    task: Option<JoinHandle<()>>,
    began: Option<DateTime<Utc>>,
    is_done: Arc<AtomicBool>,
}

impl Slot {
    /// Whether something new may begin: nothing is under way, and what began last was done or is long enough ago. A task
    /// that panicked is over, and was not done.
    fn is_free(&self, now: DateTime<Utc>) -> bool {
        let is_running = self.task.as_ref().is_some_and(|task| !task.is_finished());
        let is_rested = self.began.is_none_or(|began| began + REST <= now || began > now);
        !is_running && (is_rested || self.is_done.load(Ordering::Relaxed))
    }

    /// Begins `work`, which answers whether it was done.
    fn begin(&mut self, now: DateTime<Utc>, tracker: &TaskTracker, work: impl Future<Output = bool> + Send + 'static) {
        let is_done = Arc::new(AtomicBool::new(false));
        self.is_done = Arc::clone(&is_done);
        self.began = Some(now);
        self.task = Some(tracker.spawn(async move { is_done.store(work.await, Ordering::Relaxed) }));
    }
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
            let doubt = format!("{warning}; mark a receiver with `default = true` to let it have them");
            ConfigurationDoubt { doubt: &doubt }.observe();
        }
        Ok(Self {
            watched: watch::Sender::new(Watched::new(&watches, &config)),
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

    /// What it watches, now and after every reload.
    pub fn watched(&self) -> watch::Receiver<Watched> {
        self.watched.subscribe()
    }

    /// The database it works on.
    pub fn store(&self) -> &Store {
        &self.store
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
        notify(&[NotifyState::Ready]);
        let mut cycles: Vec<Slot> = self.watches.iter().map(|_| Slot::default()).collect();
        let mut lines: Vec<Slot> = self.delivery.lines().iter().map(|_| Slot::default()).collect();
        let watchdog = sd_notify::watchdog_enabled().map(|interval| interval / 2);
        let mut last_ping = Instant::now();
        let mut last_check = self.clock.now();
        let mut last_upkeep = None;
        let mut retention = Retention::default();
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
                ChoreFailed { chore: Chore::Health, error: &error }.observe();
                self.met(error).await?;
            }
            if let Err(error) = self.upkeep(&mut last_upkeep, &mut retention) {
                ChoreFailed { chore: Chore::Upkeep, error: &error }.observe();
                self.met(error).await?;
            }
            match self.tick(&mut cycles, &mut lines, &failures) {
                Ok(status) => {
                    Ticked { at: self.clock.now() }.observe();
                    notify(&[NotifyState::Status(&status)]);
                    // Only a tick that could read the database proves that the service is alive.
                    if watchdog.is_some_and(|interval| last_ping.elapsed() >= interval) {
                        notify(&[NotifyState::Watchdog]);
                        last_ping = Instant::now();
                    }
                }
                Err(error) => {
                    ChoreFailed { chore: Chore::Schedule, error: &error }.observe();
                    self.met(error).await?;
                }
            }
        }

        notify(&[NotifyState::Stopping]);
        Stopping.observe();
        // The scheduler does not wait for anything, so it may go first.
        let _ = metronome.shutdown().await;
        self.stop.cancel();
        self.tracker.close();
        let is_drained = tokio::time::timeout(DRAIN, self.tracker.wait()).await.is_ok();
        self.record("daemon.stopped", json!({ "drained": is_drained }))?;
        self.store.checkpoint()?;
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
        DatabaseUnusable { error: &error }.observe();
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
    fn upkeep(&self, last: &mut Option<DateTime<Utc>>, retention: &mut Retention) -> Result<(), StoreError> {
        let now = self.clock.now();
        if last.is_some_and(|last| last <= now && now < last + UPKEEP_EVERY) {
            return Ok(());
        }
        *last = Some(now);
        let watches = self.watches.iter().map(|watch| (watch.instance().id.provider, watch.catalogue()));
        let catalogues: BTreeMap<Provider, Arc<Catalogue>> = watches.collect();
        self.store.write(|tx| upkeep(tx, &self.config, &catalogues, now))?;
        let keep = TimeDelta::from_std(self.config.keep).unwrap_or(TimeDelta::MAX);
        retention.step(&self.store, keep, now)
    }

    /// Says so in the history when the time is long before one that was there already: approvals are held against the clock.
    fn notice_clock(&self, last_seen: Option<DateTime<Utc>>) -> Result<DateTime<Utc>, StoreError> {
        let now = self.clock.now();
        if let Some(before) = last_seen.filter(|before| now + SET_BACK < *before) {
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
        Err(error) => NobodyTold { error: &error }.observe(),
    }
}

/// One cycle, unless the daemon stops first. A cycle that is dropped then was reading or waiting: commits do not wait, so
/// they are never cut.
async fn cycle(watch: Arc<Watch>, stop: CancellationToken, failures: mpsc::UnboundedSender<StoreError>) -> bool {
    let outcome = tokio::select! {
        () = stop.cancelled() => return true,
        outcome = watch.cycle(Keep::Everything) => outcome,
    };
    match outcome {
        Ok(report) => {
            observed(&report).observe();
            true
        }
        Err(error) => {
            CycleFailed { instance: &watch.instance().id, error: &error }.observe();
            // At the end nobody listens any more.
            let _ = failures.send(error);
            false
        }
    }
}

async fn deliver(line: Arc<Line>, failures: mpsc::UnboundedSender<StoreError>) -> bool {
    match line.deliver().await {
        Ok(()) => true,
        Err(error) => {
            ChoreFailed { chore: Chore::Delivery, error: &error }.observe();
            let _ = failures.send(error);
            false
        }
    }
}

fn observed(report: &Report) -> CycleEnded<'_> {
    CycleEnded {
        instance: &report.instance,
        verdict: report.verdict.as_str(),
        outcome: match report.verdict {
            Verdict::InSync | Verdict::NoBaseline => Outcome::Good,
            Verdict::Drift | Verdict::Blind => Outcome::Worrying,
            Verdict::Untrusted | Verdict::Error => Outcome::Bad,
        },
        drifts: report.drifts.len(),
        requests: report.requests,
        duration: report.duration,
        reason: report.reason.as_ref().map(|reason| reason.message.as_str()),
    }
}

/// Makes sure that only one daemon works on the database at `store`.
///
/// # Errors
/// Another one does, or the lock cannot be written.
pub fn lock(store: &Path) -> Result<File, DaemonError> {
    let path = store.with_extension("lock");
    let failed = |source| DaemonError::Io {
        action: format!("write beside the database '{}' (the lock '{}')", store.display(), path.display()),
        source,
    };
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
        SystemdSilent { error: &error }.observe();
    }
}
