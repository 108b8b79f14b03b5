//! The state that the events of the history leave: one fold over all of them.
//!
//! Every decision about a notification is made from this state. It comes from the replay that verifies the history, so neither
//! a row nor an index of the database can change it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::serde::ts_nanoseconds;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::data::{DriftChange, is_there};
use super::outgoing::Outgoing;
use super::silences::Silences;
use super::{Event, Record};
use crate::clock::Timestamp;
use crate::incident::{IncidentSubject, Incidents, NotificationLog, Status};
use crate::model::{Digest, InstanceId};

/// Hours of which the times of events are kept one by one. Of older ones the times of each day are.
const HOURS: usize = 1_000;

/// Everything as the events left it. A field that is added here needs a rule that removes what no decision needs any more: the
/// state is written into every checkpoint of the history.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HistoryState {
    /// The highest sequence of an approved baseline, by instance.
    pub approved: BTreeMap<InstanceId, u64>,
    /// The statements that were verified when a baseline was approved, by instance and digest, with the number of the event that
    /// named each first.
    pub vouched: BTreeMap<InstanceId, BTreeMap<Digest, u64>>,
    /// Drifts by instance and id.
    pub drifts: BTreeMap<InstanceId, BTreeMap<String, RecordedDrift>>,
    /// The notifications about each drift, by instance and id.
    pub notification_logs: BTreeMap<InstanceId, BTreeMap<String, NotificationLog>>,
    /// Incidents that were notified and are not over.
    pub incidents: Incidents,
    /// Messages and receivers.
    pub outgoing: Outgoing,
    /// Silences and change windows that are not over, or whose end is not reported yet.
    pub silences: Silences,
    /// The digests of the snapshots whose documents were removed.
    pub pruned: BTreeSet<String>,
    /// The first version of the program worked on this database.
    pub is_of_first_version: bool,
    /// The newest record of some kinds, by instance and subject.
    #[serde(serialize_with = "serialize_records", deserialize_with = "deserialize_by_topic")]
    newest: BTreeMap<RecordTopic, Record>,
    /// When the first and the last event were recorded in each hour, and in each day before these hours.
    hours: Spans,
    days: Spans,
}

/// Instance, kind and subject of an event.
type RecordTopic = (Option<InstanceId>, String, String);

/// The first and the last time in each hour or day since 1970.
type Spans = BTreeMap<i64, Span>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Span {
    #[serde(with = "ts_nanoseconds")]
    first: DateTime<Utc>,
    #[serde(with = "ts_nanoseconds")]
    last: DateTime<Utc>,
}

fn widen(spans: &mut Spans, place: i64, by: Span) {
    let span = spans.entry(place).or_insert(by);
    *span = Span { first: span.first.min(by.first), last: span.last.max(by.last) };
}

/// Keys of JSON are texts, and these follow from the records.
fn serialize_records<S: Serializer>(newest: &BTreeMap<RecordTopic, Record>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(newest.values())
}

fn deserialize_by_topic<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<RecordTopic, Record>, D::Error> {
    let records = Vec::<Record>::deserialize(deserializer)?;
    Ok(records.into_iter().filter_map(|record| Some((topic_of(&record)?, record))).collect())
}

/// The key of a record that is kept as the newest of its kind; nothing for a kind that is not kept.
fn topic_of(record: &Record) -> Option<RecordTopic> {
    let subject = match &record.event {
        Event::DigestSent(digest) => digest.receiver.clone(),
        Event::ReceiverMissed(missed) => missed.receiver.clone().unwrap_or_default(),
        Event::BaselineApproved(_)
        | Event::BaselineTrusted(_)
        | Event::BaselineUntrusted(_)
        | Event::StorageFull(_)
        | Event::StorageLow(_)
        | Event::StorageRecovered(_)
        | Event::TrustChanged(_)
        | Event::TrustKnown(_) => String::new(),
        _ => return None,
    };
    Some((record.instance.clone(), record.event.kind().to_owned(), subject))
}

/// A drift, as its events left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedDrift {
    /// The number of its last event.
    pub seq: u64,
    /// When that was.
    pub at: Timestamp,
    /// How that event left it.
    pub status: Status,
    /// The digest of what that event says of it, without when it was last as approved.
    pub content: Option<Digest>,
    /// How often it was opened again.
    pub reopened: u32,
    /// When it was opened last.
    pub opened: Timestamp,
    /// When it was last as approved, as the event says that opened it. Earlier versions did not write it.
    #[serde(default, deserialize_with = "is_there", skip_serializing_if = "Option::is_none")]
    pub last_good: Option<Option<Timestamp>>,
}

impl HistoryState {
    /// Applies the next event.
    pub(super) fn apply(&mut self, record: &Record) {
        let at = record.at.0;
        widen(&mut self.hours, at.timestamp().div_euclid(3600), Span { first: at, last: at });
        if self.hours.len() > HOURS
            && let Some((hour, span)) = self.hours.pop_first()
        {
            widen(&mut self.days, hour.div_euclid(24), span);
        }
        self.apply_to_incidents(record);
        self.outgoing.apply(record);
        self.silences.apply(record);
        self.silences.forget_ended(record);
        if let Some(topic) = topic_of(record) {
            self.newest.insert(topic, record.clone());
        }
        match &record.event {
            Event::StorePruned(pruned) => self.pruned.extend(pruned.snapshots.iter().cloned()),
            Event::StoreKeptAgain(restored) => drop(self.pruned.remove(restored.snapshot.as_str())),
            Event::StoreMigrated(migration) => self.is_of_first_version |= migration.from == 1,
            _ => {}
        }
        if let Some(instance) = &record.instance {
            self.apply_to(instance, record);
        }
    }

    fn apply_to_incidents(&mut self, record: &Record) {
        let kind = record.event.kind();
        // Most events are about drifts and messages: those are no such incidents.
        if !["alert.", "delivery.", "drift."].iter().any(|group| kind.starts_with(group)) {
            let data = record.event.data().unwrap_or_default();
            self.incidents.take(record.seq, record.at.0, kind, record.instance.as_ref(), &data);
        }
    }

    fn apply_to(&mut self, instance: &InstanceId, record: &Record) {
        match &record.event {
            Event::BaselineApproved(approval) => {
                let highest = self.approved.entry(instance.clone()).or_default();
                *highest = approval.sequence.max(*highest);
                let vouched = self.vouched.entry(instance.clone()).or_default();
                for digest in &approval.statements {
                    vouched.entry(digest.clone()).or_insert(record.seq);
                }
            }
            Event::DriftOpened(change) => self.step(instance, record, change, Status::Open, true),
            Event::DriftReopened(change) => {
                self.step(instance, record, change, Status::Open, true);
            }
            Event::DriftChanged(change) => self.step(instance, record, change, Status::Open, false),
            Event::DriftReverted(change) => self.step(instance, record, change, Status::Reverted, false),
            Event::DriftApproved(change) => self.step(instance, record, change, Status::Approved, false),
            _ => {}
        }
        if let Some((drift, event, after)) = record.event.of_drift() {
            let logs = self.notification_logs.entry(instance.clone()).or_default();
            let mut log = logs.remove(drift.as_str()).unwrap_or_default();
            log.apply(event, after, record.at.0);
            // Of one that was approved there is nothing to remember.
            if log != NotificationLog::default() {
                logs.insert(drift.as_str().to_owned(), log);
            }
        }
    }

    /// A step of a drift.
    fn step(&mut self, instance: &InstanceId, record: &Record, change: &DriftChange, status: Status, is_opened: bool) {
        let drifts = self.drifts.entry(instance.clone()).or_default();
        let before = drifts.remove(change.drift.as_str());
        let again = u32::from(matches!(record.event, Event::DriftReopened(_)));
        let reopened = before.as_ref().map_or(0, |drift| drift.reopened) + again;
        let (opened, last_good) = match before.filter(|_| !is_opened) {
            Some(before) => (before.opened, before.last_good),
            None => (record.at, change.last_good),
        };
        let content = change.digest();
        let drift = RecordedDrift { seq: record.seq, at: record.at, status, content, reopened, opened, last_good };
        drifts.insert(change.drift.as_str().to_owned(), drift);
    }

    /// The notifications about each drift of `instance`, by its id.
    pub fn notification_logs_of(&self, instance: &InstanceId) -> BTreeMap<String, NotificationLog> {
        self.notification_logs.get(instance).cloned().unwrap_or_default()
    }

    /// The newest record of a `wanted` event about `instance`, or about none, of the kinds that are kept.
    pub fn newest(&self, instance: Option<&InstanceId>, wanted: impl Fn(&Event) -> bool) -> Option<&Record> {
        let from = (instance.cloned(), String::new(), String::new());
        let of_instance = self.newest.range(from..).take_while(|((about, ..), _)| about.as_ref() == instance);
        of_instance.map(|(_, record)| record).filter(|record| wanted(&record.event)).max_by_key(|record| record.seq)
    }

    /// The newest record that says whether the baseline of `instance` can be trusted.
    pub fn trust(&self, instance: &InstanceId) -> Option<&Record> {
        self.newest(Some(instance), |event| matches!(event, Event::BaselineUntrusted(_) | Event::BaselineTrusted(_)))
    }

    /// The code of the reason why the baseline of `instance` cannot be trusted, if that was notified last.
    pub fn untrusted(&self, instance: &InstanceId) -> Option<&str> {
        Some(&self.incidents.get(&IncidentSubject::Baseline(instance.clone()))?.state)
    }

    /// Whether the baseline of any instance cannot be trusted, as far as that was notified.
    pub fn is_any_untrusted(&self) -> bool {
        self.incidents.iter().any(|(subject, _)| matches!(subject, IncidentSubject::Baseline(_)))
    }

    /// The instances that ever had a baseline.
    pub fn with_baseline(&self) -> impl Iterator<Item = &InstanceId> {
        let baselines = self.newest.keys().filter(|(_, kind, _)| kind.starts_with("baseline."));
        baselines.filter_map(|(instance, ..)| instance.as_ref())
    }

    /// When the last event was recorded that is not younger than `until`, to the hour; of long ago, to the day.
    pub fn recorded_until(&self, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let last_in = |spans: &Spans, seconds: i64| {
            let mut spans = spans.range(..=until.timestamp().div_euclid(seconds)).rev().map(|(_, span)| *span);
            spans.find_map(|Span { first, last }| [last, first].into_iter().find(|at| *at <= until))
        };
        last_in(&self.hours, 3600).max(last_in(&self.days, 24 * 3600))
    }

    /// The latest time at which an event was recorded.
    pub fn latest_at(&self) -> Option<DateTime<Utc>> {
        self.recorded_until(DateTime::<Utc>::MAX_UTC)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn times_are_kept_to_the_hour_and_of_long_ago_to_the_day() {
        let begin: DateTime<Utc> = "2026-01-01T00:30:00Z".parse().unwrap();
        let mut state = HistoryState::default();
        let days = 100;
        for hour in 0..days * 24 {
            let at = (begin + TimeDelta::hours(hour)).into();
            state.apply(&Record { seq: 1, prev: None, at, instance: None, event: Event::other("a.b") });
        }
        assert_eq!((state.hours.len(), state.days.len()), (HOURS, 59));
        let until = |hours| state.recorded_until(begin + TimeDelta::minutes(hours * 60 + 10));
        let hour = |hours| Some(begin + TimeDelta::hours(hours));
        assert_eq!((until(days * 24), until(days * 24 - 1)), (hour(days * 24 - 1), hour(days * 24 - 1)));
        assert_eq!(until(days * 24 - 900), hour(days * 24 - 900));
        // Of a day the first and the last time are known.
        assert_eq!((until(47), until(30), until(24)), (hour(47), hour(24), hour(24)));
        assert_eq!(until(-1), None);
    }
}
