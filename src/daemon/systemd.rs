//! What systemd is told. Without it nobody listens, and nothing happens.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use crate::telemetry::{Observable, SystemdSilent};

/// How often systemd is asked for more time for a start, for how long each time, and how often at most: an hour.
const ASK_EVERY: Duration = Duration::from_secs(20);
const MORE_TIME: Duration = Duration::from_secs(60);
const MOST_ASKED: usize = 180;

/// As long as it is there, systemd is asked for more time: a large database takes its time before the daemon is ready.
pub(super) struct Preparing {
    _end: Sender<()>,
}

impl Preparing {
    pub(super) fn begin() -> Self {
        let (end, ended) = channel();
        let ask = move || {
            for _ in 0..MOST_ASKED {
                if ended.recv_timeout(ASK_EVERY) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                let time = u32::try_from(MORE_TIME.as_micros()).unwrap_or(u32::MAX);
                notify(&[NotifyState::ExtendTimeoutUsec(time), NotifyState::Status("preparing the database")]);
            }
        };
        // Without the thread the time is what the unit says.
        let _ = thread::Builder::new().name("preparing".to_owned()).spawn(ask);
        Self { _end: end }
    }
}

/// What was told last, and when the next sign of life is due.
pub(super) struct Manager {
    watchdog: Option<Duration>,
    pinged: Instant,
    is_ready: bool,
    status: String,
}

impl Manager {
    pub(super) fn new() -> Self {
        let watchdog = sd_notify::watchdog_enabled().map(|interval| interval / 2);
        Self { watchdog, pinged: Instant::now(), is_ready: false, status: String::new() }
    }

    /// The daemon has just looked at what is due and could read its database. The first time that is what makes it ready,
    /// and every time the proof that it is alive.
    pub(super) fn is_working(&mut self, status: String) {
        if !self.is_ready {
            self.is_ready = true;
            notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
        } else if self.status != status {
            notify(&[NotifyState::Status(&status)]);
        }
        self.status = status;
        if self.watchdog.is_some_and(|interval| self.pinged.elapsed() >= interval) {
            notify(&[NotifyState::Watchdog]);
            self.pinged = Instant::now();
        }
    }

    /// It begins to reload. The time lets systemd tell this reload from the one before.
    pub(super) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(time) => notify(&[NotifyState::Reloading, time]),
            Err(error) => SystemdSilent { error: &error }.observe(),
        }
    }

    /// The reload is over, whatever came of it.
    pub(super) fn reloaded(&mut self, status: &str) {
        self.is_ready = true;
        self.status = status.to_owned();
        notify(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// It begins to stop.
    pub(super) fn stopping(&self) {
        notify(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        SystemdSilent { error: &error }.observe();
    }
}
