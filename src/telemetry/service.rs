//! What is observed of the service itself.

use std::time::Instant;

use chrono::{DateTime, Utc};

use super::{LAST_TICK, Observable, metrics};

/// The daemon looks at what is due.
#[derive(Debug, Clone, Copy)]
pub struct Ticked {
    /// When.
    pub at: DateTime<Utc>,
}

impl Ticked {
    /// Remembers it. There is no line: it happens every second.
    pub fn observe(&self) {
        *LAST_TICK.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(Instant::now());
        metrics::set_last_tick(self.at);
    }
}

/// What the daemon does beside cycles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chore {
    /// To look after the watch.
    Health,
    /// To look after what waits.
    Upkeep,
    /// To look at what is due.
    Schedule,
    /// To deliver.
    Delivery,
    /// To record that it ends.
    End,
}

/// The daemon could not do a chore; it tries again.
#[derive(Debug, Clone, Copy)]
pub struct ChoreFailed<'a> {
    /// Which.
    pub chore: Chore,
    /// Why.
    pub error: &'a dyn std::error::Error,
}

impl Observable for ChoreFailed<'_> {
    const NAME: &'static str = "daemon.chore_failed";
    const MEANING: &'static str = "the daemon could not do one of its chores, because of its database; it tries again";

    fn observe(&self) {
        let Self { chore, error } = *self;
        let (chore, text) = match chore {
            Chore::Health => ("health", "cannot look after the watch"),
            Chore::Upkeep => ("upkeep", "cannot look after what waits"),
            Chore::Schedule => ("schedule", "cannot look at what is due"),
            Chore::Delivery => ("delivery", "cannot deliver"),
            Chore::End => ("end", "cannot record that the daemon stops"),
        };
        metrics::FAILED_CHORES.add(&[chore]);
        tracing::error!(event = Self::NAME, chore, %error, "{text}");
    }
}

/// The high-water file could not be raised to what was recorded.
#[derive(Debug, Clone, Copy)]
pub struct HighWaterBehind<'a> {
    /// Why.
    pub error: &'a dyn std::error::Error,
}

impl Observable for HighWaterBehind<'_> {
    const NAME: &'static str = "store.high_water_behind";
    const MEANING: &'static str = "what was recorded is in the database, and the high-water file beside it could not be raised; \
                                   it is tried again with whatever is recorded next";

    fn observe(&self) {
        let Self { error } = *self;
        tracing::error!(event = Self::NAME, %error, "recorded, and cannot raise the high-water file");
    }
}

/// The checkpoint of the history is not one that was made with the fingerprint key of this history.
#[derive(Debug, Clone, Copy)]
pub struct CheckpointRefused;

impl Observable for CheckpointRefused {
    const NAME: &'static str = "store.checkpoint_refused";
    const MEANING: &'static str = "the checkpoint of the history was edited, made with another fingerprint key, or is of another history: it \
                                   is not used, and the history is walked from its first event, until somebody approves a \
                                   baseline; `authdrift verify` says which";

    fn observe(&self) {
        tracing::warn!(
            event = Self::NAME,
            "the checkpoint of the history cannot be trusted and is not used; `authdrift verify` says why"
        );
    }
}

/// The daemon is about to stop.
#[derive(Debug, Clone, Copy)]
pub struct Stopping;

impl Observable for Stopping {
    const NAME: &'static str = "daemon.stopping";
    const MEANING: &'static str = "the daemon was asked to stop, and finishes what is under way";

    fn observe(&self) {
        tracing::info!(event = Self::NAME, "stopping");
    }
}

/// The database cannot be used, so the daemon ends.
#[derive(Debug, Clone, Copy)]
pub struct DatabaseUnusable<'a> {
    /// Why.
    pub error: &'a dyn std::error::Error,
}

impl Observable for DatabaseUnusable<'_> {
    const NAME: &'static str = "daemon.gave_up";
    const MEANING: &'static str = "the database cannot be used: the daemon ends, and nothing is watched";

    fn observe(&self) {
        let error = self.error;
        tracing::error!(event = Self::NAME, %error, "the database cannot be used");
    }
}

/// There is hardly any room left for the database.
#[derive(Debug, Clone, Copy)]
pub struct DiskFull<'a> {
    /// The database.
    pub path: &'a str,
    /// Bytes that are free, if that is known.
    pub free: Option<u64>,
    /// What could not be written.
    pub reason: &'a str,
}

impl Observable for DiskFull<'_> {
    const NAME: &'static str = "daemon.disk_full";
    const MEANING: &'static str = "there is hardly any room for the database; everybody is told past it";

    fn observe(&self) {
        let Self { path, free, reason } = *self;
        tracing::error!(event = Self::NAME, path, free, reason, "the disk is full");
    }
}

/// The daemon could not start, and cannot tell anybody.
#[derive(Debug, Clone, Copy)]
pub struct NobodyTold<'a> {
    /// Why.
    pub error: &'a dyn std::error::Error,
}

impl Observable for NobodyTold<'_> {
    const NAME: &'static str = "daemon.nobody_told";
    const MEANING: &'static str = "the daemon could not start, and its receivers cannot be told";

    fn observe(&self) {
        let error = self.error;
        tracing::error!(event = Self::NAME, %error, "nobody can be told");
    }
}

/// systemd asked to be notified and does not listen.
#[derive(Debug, Clone, Copy)]
pub struct SystemdSilent<'a> {
    /// Why.
    pub error: &'a dyn std::error::Error,
}

impl Observable for SystemdSilent<'_> {
    const NAME: &'static str = "daemon.systemd_silent";
    const MEANING: &'static str = "systemd cannot be notified";

    fn observe(&self) {
        let error = self.error;
        tracing::warn!(event = Self::NAME, %error, "cannot notify systemd");
    }
}

/// The configuration is good, and may not be what was meant.
#[derive(Debug, Clone, Copy)]
pub struct ConfigurationDoubt<'a> {
    /// What may be wrong with it.
    pub doubt: &'a str,
}

impl Observable for ConfigurationDoubt<'_> {
    const NAME: &'static str = "config.doubt";
    const MEANING: &'static str = "the configuration is good, and may not be what was meant";

    fn observe(&self) {
        tracing::warn!(event = Self::NAME, "{}", self.doubt);
    }
}

/// Others could read or write a file that is for this program alone.
#[derive(Debug, Clone, Copy)]
pub struct FileTooOpen<'a> {
    /// The file.
    pub file: &'a str,
    /// What was done or is to be done about it.
    pub advice: &'a str,
}

impl Observable for FileTooOpen<'_> {
    const NAME: &'static str = "file.too_open";
    const MEANING: &'static str = "others could read or write a file that is for this program alone";

    fn observe(&self) {
        let Self { file, advice } = *self;
        tracing::warn!(event = Self::NAME, file, "{advice}");
    }
}

/// The daemon answers questions about itself.
#[derive(Debug, Clone, Copy)]
pub struct Listening<'a> {
    /// Where.
    pub address: &'a str,
}

impl Observable for Listening<'_> {
    const NAME: &'static str = "monitoring.listening";
    const MEANING: &'static str = "the daemon answers a monitoring system";

    fn observe(&self) {
        let address = self.address;
        tracing::info!(event = Self::NAME, address, "answering /metrics, /healthz and /readyz");
    }
}
