//! A setting in an alert.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::classify::ChangeMeaning;
use crate::diff::Change;
use crate::model::{Category, DriftId};

/// The status of a drift in an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryStatus {
    /// It drifted.
    Opened,
    /// It had been closed before and drifted again.
    Reopened,
    /// It was open and moved to yet another value.
    Changed,
    /// A reminder of a drift that is open since an earlier alert.
    StillOpen,
    /// It opens and ends again and again. Only new values are reported until it is stable.
    Flapping,
    /// It opened and ended while messages to this receiver waited.
    Passed,
    /// It is back at the approved value.
    Reverted,
    /// A new baseline contains it.
    Approved,
}

impl EntryStatus {
    /// Whether it says that the drift ended.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Reverted | Self::Approved | Self::Passed)
    }

    /// The event that a receiver can filter by, and its meaning.
    pub(super) const fn event(self) -> (&'static str, &'static str) {
        match self {
            Self::Opened | Self::Reopened | Self::Changed => {
                ("drift.opened", "a setting drifted, drifted again, or moved on to yet another value")
            }
            Self::Flapping => (
                "drift.flapping",
                "a setting goes back and forth; only new values and reminders are told until it stays as it is",
            ),
            Self::StillOpen => ("drift.still_open", "a reminder: a setting still differs"),
            Self::Passed | Self::Reverted | Self::Approved => {
                ("drift.closed", "drifts ended: reverted, approved, or over before they could be told")
            }
        }
    }
}

/// One setting in an alert: one click in a dashboard, however many paths it moved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The status.
    pub news: EntryStatus,
    /// What it means.
    #[serde(flatten)]
    pub meaning: ChangeMeaning,
    /// Which setting of which object: the same in every alert about it.
    #[serde(default)]
    pub topic: String,
    /// Other categories, of differences that follow from it.
    #[serde(default)]
    pub also: Vec<Category>,
    /// The last reading without it; absent when there was none.
    #[serde(default)]
    pub last_good: Option<DateTime<Utc>>,
    /// First seen different.
    pub first_seen: DateTime<Utc>,
    /// When it ended: the first reading without it, or the approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<DateTime<Utc>>,
    /// Differences of the same setting that are open after this, for one that ended.
    #[serde(default)]
    pub still_open: usize,
    /// How often it had been closed and came back.
    pub reopened: u32,
    /// Who approved it, for [`EntryStatus::Approved`].
    pub approved_by: Vec<String>,
    /// When the approval ends and it is a drift again, if it was approved for a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_until: Option<DateTime<Utc>>,
    /// The announcement of the change window that was open and does not fit this drift, which raises the severity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unannounced: Option<String>,
    /// Every path that moved.
    pub changes: Vec<EntryChange>,
}

impl Entry {
    /// Whether a receiver of these categories gets it.
    pub fn is_of(&self, categories: &[Category]) -> bool {
        categories.contains(&self.meaning.category) || self.also.iter().any(|also| categories.contains(also))
    }

    /// The same under the title of `whole`, from which it follows.
    pub fn as_part_of(self, whole: &Self) -> Self {
        let also =
            if self.meaning.category == whole.meaning.category { Vec::new() } else { vec![self.meaning.category] };
        let ChangeMeaning { why: own, severity, direction, .. } = self.meaning;
        let why = if direction.is_worse_than(whole.meaning.direction) { own } else { whole.meaning.why.clone() };
        let meaning = ChangeMeaning { why, severity, direction, ..whole.meaning.clone() };
        Self { meaning, topic: whole.topic.clone(), also, ..self }
    }
}

/// One path of an entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EntryChange {
    /// The drift.
    pub id: DriftId,
    /// What differs.
    #[serde(flatten)]
    pub change: Change,
}
