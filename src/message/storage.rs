//! News about the place where the database lies, in a message of its own.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Alert;
use crate::model::{HistoryMark, InstanceId, Severity, display_safe};

/// What happened to the database or the file system it lies on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StorageNews {
    /// What happened.
    pub news: StorageChange,
    /// The database.
    pub path: String,
    /// Bytes that are free there, where that is known.
    pub free: Option<u64>,
    /// The error, if there was one; may be empty.
    pub reason: String,
}

/// What happened to the storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StorageChange {
    /// The database is damaged or cannot be read or written: the daemon ended.
    Failed,
    /// There is no room left: snapshots are not kept any more, and soon nothing is.
    Full,
    /// There is little room left.
    Low,
    /// There is enough room again.
    Recovered,
}

impl StorageChange {
    /// The name of the event; it never changes.
    pub fn event_type(self) -> &'static str {
        match self {
            Self::Failed => "storage.failed",
            Self::Full => "storage.full",
            Self::Low => "storage.low",
            Self::Recovered => "storage.recovered",
        }
    }

    /// How much it matters: without its database the program sees nothing.
    pub fn severity(self) -> Severity {
        match self {
            Self::Failed | Self::Full => Severity::Critical,
            Self::Low => Severity::High,
            Self::Recovered => Severity::Info,
        }
    }
}

impl StorageNews {
    /// One sentence without its point.
    pub(super) fn headline(&self) -> &'static str {
        match self.news {
            StorageChange::Failed => "the database cannot be used, nothing is watched",
            StorageChange::Full => "the disk is full, snapshots are not kept",
            StorageChange::Low => "the disk is nearly full",
            StorageChange::Recovered => "there is enough room on the disk again",
        }
    }

    /// Where, how much is left, and why.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![display_safe(&self.path)];
        lines.extend(self.free.map(|free| format!("{} MiB are free there", free >> 20)));
        if !self.reason.is_empty() {
            lines.push(display_safe(&self.reason));
        }
        lines
    }

    /// What to do, and what it brings.
    pub(super) fn step(&self) -> Option<(&'static str, String, &'static str)> {
        let folder = self.path.rsplit_once('/').map_or(".", |(folder, _)| folder);
        match self.news {
            StorageChange::Failed => Some((
                "What is wrong?",
                "authdrift verify".to_owned(),
                "looks at everything and changes nothing; keep the file, and restore a backup if it is damaged",
            )),
            StorageChange::Full | StorageChange::Low => Some((
                "What takes it?",
                format!("df -h {}", display_safe(folder)),
                "free some space there; the daemon goes on by itself",
            )),
            StorageChange::Recovered => None,
        }
    }
}

impl Alert {
    /// A message about the storage and nothing else, under the name of an instance that its receiver listens to.
    pub fn of_storage(
        storage: StorageNews,
        instance: InstanceId,
        at: DateTime<Utc>,
        event: HistoryMark,
        host: String,
    ) -> Self {
        Self {
            instance,
            resource: String::new(),
            at,
            baseline: None,
            untrusted: None,
            trusted_again: false,
            storage: Some(storage),
            window: None,
            entries: Vec::new(),
            sections: Vec::new(),
            open: 0,
            event,
            host,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}
