//! The replay of the history: every event verified against the one before, and folded into one state.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::events::{APPROVED, Record};
use super::history_state::HistoryState;
use super::silences::ToldSilence;
use super::{StoreError, Stored, Transaction};
use crate::incident::{IncidentSubject, Incidents, NotificationLog, Silence};
use crate::model::{Digest, HistoryMark, InstanceId, SilenceId, display_safe};

/// The newest event that is `wanted`, of those about no instance whose kind begins with `group` (`storage.`). It is asked of
/// the verified history, because a row or an index could be forged.
///
/// # Errors
/// As [`super::Transaction::history`].
pub fn newest(tx: &Transaction<'_>, group: &str, wanted: impl Fn(&Record) -> bool) -> Stored<Option<Record>> {
    Ok(tx.history()?.state.newest(None, group, wanted).cloned())
}

/// The same, of those that are about `instance`.
///
/// # Errors
/// As [`super::Transaction::history`].
pub fn newest_of(
    tx: &Transaction<'_>,
    instance: &InstanceId,
    group: &str,
    wanted: impl Fn(&Record) -> bool,
) -> Stored<Option<Record>> {
    Ok(tx.history()?.state.newest(Some(instance), group, wanted).cloned())
}

/// As [`History::untrusted`].
///
/// # Errors
/// As [`Transaction::history`].
pub fn untrusted(tx: &Transaction<'_>, instance: &InstanceId) -> Stored<Option<String>> {
    Ok(tx.history()?.untrusted(instance))
}

/// Whether the baseline of any instance cannot be trusted, as far as that was notified.
///
/// # Errors
/// As [`super::Transaction::history`].
pub fn is_any_untrusted(tx: &Transaction<'_>) -> Stored<bool> {
    let walk = tx.history()?;
    Ok(walk.incidents().iter().any(|(subject, _)| matches!(subject, IncidentSubject::Baseline(_))))
}

/// What a walk over the history found. A checkpoint keeps it: see `checkpoint::FORMAT` before anything here is changed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// Where it stands.
    pub mark: Option<HistoryMark>,
    /// The highest sequence of a baseline that was accepted, by instance.
    pub approved: BTreeMap<InstanceId, u64>,
    /// The statements that were verified when a baseline was accepted, by instance and digest: the number of events after which
    /// the history said so first.
    pub vouched: BTreeMap<InstanceId, BTreeMap<Digest, u64>>,
    /// What it says that the tables should hold.
    pub(super) state: HistoryState,
    /// When the last event was recorded.
    last_sound: String,
}

impl History {
    /// Takes the next event into account, which has that digest.
    pub(super) fn take(&mut self, event: &Record, digest: Digest) {
        self.state.take(event);
        if let (APPROVED, Some(instance)) = (event.kind.as_str(), &event.instance) {
            let sequence = event.data.get("sequence").and_then(Value::as_u64).unwrap_or_default();
            let highest = self.approved.entry(instance.clone()).or_default();
            *highest = sequence.max(*highest);
            let statements = event.data.get("statements").and_then(Value::as_array).into_iter().flatten();
            let vouched = self.vouched.entry(instance.clone()).or_default();
            for digest in statements.filter_map(|digest| digest.as_str()?.parse().ok()) {
                vouched.entry(digest).or_insert(event.seq);
            }
        }
        self.mark = Some(HistoryMark { size: event.seq, head: digest });
        self.last_sound.clone_from(&event.at);
    }

    /// The newest event that is `wanted`, of those about `instance`, or about none, whose kind begins with `group`
    /// (`storage.`).
    pub fn newest(
        &self,
        instance: Option<&InstanceId>,
        group: &str,
        wanted: impl Fn(&Record) -> bool,
    ) -> Option<&Record> {
        self.state.newest(instance, group, wanted)
    }

    /// Code of the reason why the baseline of `instance` cannot be trusted, if that was notified last.
    pub fn untrusted(&self, instance: &InstanceId) -> Option<String> {
        let incident = self.incidents().get(&IncidentSubject::Baseline(instance.clone()));
        incident.map(|incident| incident.state.clone())
    }

    /// What people were told of every drift of `instance`, by its id.
    pub fn notification_logs(&self, instance: &InstanceId) -> BTreeMap<String, NotificationLog> {
        self.state.notification_logs.get(instance).cloned().unwrap_or_default()
    }

    /// Whether the documents of the snapshot of that digest are not kept any more.
    pub(super) fn is_pruned(&self, snapshot: &Digest) -> bool {
        self.state.pruned.contains(snapshot.as_str())
    }

    /// The silences and change windows that a comparison of `instance` at `at` has to know of, oldest first.
    pub fn silences_of(&self, instance: &InstanceId, at: DateTime<Utc>) -> Vec<ToldSilence> {
        self.state.silences.of(instance, at)
    }

    /// The drifts of `instance` that were kept quiet by that silence (true), or that it did not fit though it was announced
    /// as a change window (false).
    pub fn happened(&self, silence: &SilenceId, instance: &InstanceId) -> BTreeMap<String, bool> {
        self.state.silences.happened(silence, instance)
    }

    /// The silences and change windows in force at `at`, oldest first.
    pub fn active_silences(&self, at: DateTime<Utc>) -> Vec<Silence> {
        self.state.silences.active(at)
    }

    /// When the last event was recorded that is not younger than `until`, to the hour.
    pub fn recorded_until(&self, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.state.recorded_until(until)
    }

    /// When the last event was recorded.
    pub fn last_at(&self) -> Option<DateTime<Utc>> {
        self.last_sound.parse().ok()
    }

    /// The latest time at which anything was recorded.
    pub fn latest_at(&self) -> Option<DateTime<Utc>> {
        self.state.recorded_until(DateTime::<Utc>::MAX_UTC)
    }

    /// How many messages wait.
    pub fn waiting(&self) -> usize {
        self.state.outgoing.count_waiting()
    }

    /// The incidents that were notified and are not over.
    pub fn incidents(&self) -> &Incidents {
        &self.state.incidents
    }
}

/// Goes on with a walk where it stands, to the event `until` or the last one.
pub(super) fn walk_on(sql: &Connection, walk: &mut History, until: u64) -> Stored<()> {
    let mut query =
        sql.prepare_cached("SELECT seq, body, digest FROM events WHERE seq > ?1 AND seq <= ?2 ORDER BY seq")?;
    let number = |size: u64| i64::try_from(size).unwrap_or(i64::MAX);
    let walked = walk.mark.as_ref().map_or(i64::MIN, |mark| number(mark.size));
    let mut rows = query.query([walked, number(until)])?;
    while let Some(row) = rows.next()? {
        let seq: i64 = row.get(0)?;
        let broken = |what: &str| {
            StoreError::History(format!("the history is broken at event {seq}: {what}{}", since(&walk.last_sound)))
        };
        let body: Vec<u8> = row.get(1).map_err(|_| broken("it cannot be read"))?;
        let digest: String = row.get(2).map_err(|_| broken("it cannot be read"))?;
        let expected = walk.mark.as_ref().map_or(1, |mark| mark.size + 1);
        let event: Record = serde_json::from_slice(&body).map_err(|_| broken("it cannot be read"))?;
        let computed = Digest::of(&body);
        if u64::try_from(seq) != Ok(expected) || event.seq != expected {
            return Err(broken(&format!("event {expected} is missing")));
        }
        if computed.as_str() != digest {
            return Err(broken("it was edited"));
        }
        if event.prev.as_ref() != walk.mark.as_ref().map(|mark| &mark.head) {
            return Err(broken("it does not follow the one before"));
        }
        walk.take(&event, computed);
    }
    Ok(())
}

/// Up to when a history is sound that is broken after an event of that time.
fn since(last_sound: &str) -> String {
    if last_sound.is_empty() { String::new() } else { format!("; it is sound up to {}", display_safe(last_sound)) }
}
