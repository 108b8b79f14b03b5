//! What is said about a baseline: which one, who approved it, when, why, and until when.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::clock::serialize_written;
use crate::model::{Digest, Pointer};
use crate::trust::{Baseline, Expiry};

/// A baseline, as reports, mails and commands name it.
#[derive(Debug, Clone, Serialize)]
pub struct BaselineSummary {
    /// 1, 2, 3, …
    pub sequence: u64,
    /// Digest of the signed subject.
    pub identity: Digest,
    /// Digest of the approved snapshot.
    pub snapshot: Digest,
    /// Who signed.
    pub approvers: Vec<String>,
    /// When the last of them did.
    #[serde(serialize_with = "serialize_written")]
    pub approved_at: DateTime<Utc>,
    /// What the last of them gave as the reason.
    pub approval_reason: String,
    /// What was approved for a time, with its end.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub until: BTreeMap<Pointer, Expiry>,
}

impl BaselineSummary {
    /// What is said about `baseline`.
    pub fn of(baseline: &Baseline) -> Self {
        let approved = &baseline.approved;
        let mut approvers: Vec<String> = approved.approvals.iter().map(|approval| approval.approver.clone()).collect();
        approvers.sort_unstable();
        approvers.dedup();
        let last = approved.approvals.iter().max_by_key(|approval| approval.at);
        Self {
            sequence: approved.subject.sequence,
            identity: approved.identity.clone(),
            snapshot: approved.subject.snapshot.clone(),
            approvers,
            approved_at: last.map(|approval| approval.at).unwrap_or_default(),
            approval_reason: last.map(|approval| approval.reason.clone()).unwrap_or_default(),
            until: approved.subject.until.clone(),
        }
    }

    /// When the approval of what is at `path` ends, if it was given for a time.
    pub fn end_of(&self, path: &Pointer) -> Option<DateTime<Utc>> {
        self.until.get(path).map(|end| end.0)
    }

    /// How much was approved for a time, and when the next of it ends, in words; nothing if there is none.
    pub fn until_words(&self, now: DateTime<Utc>) -> Option<String> {
        let (over, still): (Vec<Expiry>, Vec<Expiry>) = self.until.values().partition(|end| end.0 <= now);
        let next = still.iter().min().map(|end| format!("{} for a time, until {end}", still.len()));
        let ended = (!over.is_empty()).then(|| format!("{} no longer approved", over.len()));
        let words: Vec<String> = next.into_iter().chain(ended).collect();
        (!words.is_empty()).then(|| words.join(", "))
    }
}
