//! What the history says that the tables should hold, and what people were told: one fold over all events.
//!
//! Whatever decides who is told is asked of this. It is made by the walk that verifies the history, so that neither a row
//! nor an index of the database can say otherwise.

use std::collections::{BTreeMap, BTreeSet};

use chrono::serde::ts_nanoseconds;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::events::{self, Record};
use super::outgoing::Outgoing;
use super::silences::Silences;
use crate::canonical::to_bytes;
use crate::incident::{Incidents, NotificationLog, Status};
use crate::model::{Digest, InstanceId};

/// Groups of events of which the newest of each kind is remembered, for each instance and receiver.
const REMEMBERED: [&str; 5] = ["baseline.", "digest.", "receiver.", "storage.", "trust."];

/// Hours of which the times of events are remembered one by one. Of older ones the times of each day are.
const HOURS: usize = 1_000;

/// Everything as the events left it. Whatever is added here has to be forgotten when no decision needs it any more: it is
/// written into every checkpoint of the history.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct HistoryState {
    /// Drifts by instance and id.
    pub(super) drifts: BTreeMap<InstanceId, BTreeMap<String, ToldDrift>>,
    /// What people were told of each drift, by instance and id.
    pub(super) notification_logs: BTreeMap<InstanceId, BTreeMap<String, NotificationLog>>,
    /// Incidents that were notified and are not over.
    pub(super) incidents: Incidents,
    /// Messages and receivers.
    pub(super) outgoing: Outgoing,
    /// Silences and change windows that are not over, or whose end is not told yet.
    pub(super) silences: Silences,
    /// The digests of snapshots whose documents are not kept any more.
    pub(super) pruned: BTreeSet<String>,
    /// The first version of the program worked on this database.
    pub(super) is_of_first_version: bool,
    /// The newest event of each kind, by instance and by what else it is about.
    #[serde(serialize_with = "events_of", deserialize_with = "by_what_they_are_about")]
    newest: BTreeMap<EventTopic, Record>,
    /// When the first and the last event were recorded in each hour, and in each day before these hours.
    hours: Spans,
    days: Spans,
}

/// Instance, kind, and what else an event is about.
type EventTopic = (Option<InstanceId>, String, String);

/// The first and the last time in each hour or day since 1970.
type Spans = BTreeMap<i64, Span>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Span {
    #[serde(with = "ts_nanoseconds")]
    first: DateTime<Utc>,
    #[serde(with = "ts_nanoseconds")]
    last: DateTime<Utc>,
}

/// Keys of JSON are texts, and these follow from the events.
fn events_of<S: Serializer>(newest: &BTreeMap<EventTopic, Record>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(newest.values())
}

fn by_what_they_are_about<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<EventTopic, Record>, D::Error> {
    let events = Vec::<Record>::deserialize(deserializer)?;
    Ok(events.into_iter().map(|event| (about(&event), event)).collect())
}

/// What the newest event is kept by.
fn about(event: &Record) -> EventTopic {
    let receiver = event.data.get("receiver").and_then(Value::as_str).unwrap_or_default();
    (event.instance.clone(), event.kind.clone(), receiver.to_owned())
}

fn widen(spans: &mut Spans, place: i64, by: Span) {
    let span = spans.entry(place).or_insert(by);
    *span = Span { first: span.first.min(by.first), last: span.last.max(by.last) };
}

/// A drift, as the history tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ToldDrift {
    /// The last event of it, and when that was.
    pub(super) seq: u64,
    pub(super) at: String,
    /// How that event left it.
    pub(super) status: Status,
    /// The digest of what that event says of it, without when it was last as approved.
    pub(super) content: Digest,
    /// How often it was opened again.
    pub(super) reopened: u32,
    /// When it was opened last.
    pub(super) opened: String,
    /// When it was last as approved, as the event says that opened it.
    pub(super) last_good: LastGood,
}

/// When a drift was last as approved: nothing, for one that was there from the beginning, is told too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum LastGood {
    /// Earlier versions did not tell it.
    Untold,
    /// As the event has it.
    Told(Value),
}

impl ToldDrift {
    /// The drift after `event`, when the history told of it `before`.
    fn after(before: Option<Self>, event: &Record) -> Self {
        let status = match event.kind.as_str() {
            "drift.approved" => Status::Approved,
            "drift.reverted" => Status::Reverted,
            _ => Status::Open,
        };
        let is_opened = matches!(event.kind.as_str(), "drift.opened" | "drift.reopened");
        let reopened = before.as_ref().map_or(0, |drift| drift.reopened) + u32::from(event.kind == "drift.reopened");
        let mut data = event.data.clone();
        let last_good = data.as_object_mut().and_then(|fields| fields.remove("last_good"));
        let (opened, last_good) = match before.filter(|_| !is_opened) {
            Some(before) => (before.opened, before.last_good),
            None => (event.at.clone(), last_good.map_or(LastGood::Untold, LastGood::Told)),
        };
        let content = Digest::of(&to_bytes(&data));
        Self { seq: event.seq, at: event.at.clone(), status, content, reopened, opened, last_good }
    }
}

impl HistoryState {
    /// Takes the next event into account.
    pub(super) fn take(&mut self, event: &Record) {
        let text = |name: &str| event.data.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let kind = event.kind.as_str();
        let at = event.at.parse::<DateTime<Utc>>().ok();
        if let Some(at) = at {
            widen(&mut self.hours, at.timestamp().div_euclid(3600), Span { first: at, last: at });
            if self.hours.len() > HOURS
                && let Some((hour, span)) = self.hours.pop_first()
            {
                widen(&mut self.days, hour.div_euclid(24), span);
            }
            self.incidents.take(event.seq, at, kind, event.instance.as_ref(), &event.data);
        }
        self.outgoing.take(event);
        self.silences.take(event);
        self.silences.forget_what_is_over(event);
        if REMEMBERED.iter().any(|group| kind.starts_with(group)) {
            self.newest.insert(about(event), event.clone());
        }
        match kind {
            events::PRUNED => {
                let pruned = event.data.get("snapshots").and_then(Value::as_array).into_iter().flatten();
                self.pruned.extend(pruned.filter_map(Value::as_str).map(str::to_owned));
            }
            "store.migrated" => self.is_of_first_version |= event.data.get("from") == Some(&Value::from(1)),
            events::KEPT_AGAIN => drop(self.pruned.remove(&text("snapshot"))),
            _ => {}
        }
        let Some(instance) = &event.instance else { return };
        if let (true, Some(at)) = (kind.starts_with("drift."), at) {
            let after = event.data.get("after").unwrap_or(&Value::Null);
            let notification_logs = self.notification_logs.entry(instance.clone()).or_default();
            let drift = text("drift");
            let mut log = notification_logs.remove(&drift).unwrap_or_default();
            log.take(kind, after, at);
            // Of one that was approved there is nothing to remember.
            if log != NotificationLog::default() {
                notification_logs.insert(drift, log);
            }
        }
        if matches!(kind, "drift.opened" | "drift.reopened" | "drift.changed" | "drift.reverted" | "drift.approved") {
            let drifts = self.drifts.entry(instance.clone()).or_default();
            let drift = text("drift");
            let before = drifts.remove(&drift);
            drifts.insert(drift, ToldDrift::after(before, event));
        }
    }

    /// The newest event that is `wanted` of those about `instance`, or about none, whose kind begins with `group`.
    pub(super) fn newest(
        &self,
        instance: Option<&InstanceId>,
        group: &str,
        wanted: impl Fn(&Record) -> bool,
    ) -> Option<&Record> {
        let from = (instance.cloned(), group.to_owned(), String::new());
        let is_of_it = |about: &Option<InstanceId>, kind: &str| about.as_ref() == instance && kind.starts_with(group);
        let found = self.newest.range(from..).take_while(|((about, kind, _), _)| is_of_it(about, kind));
        let found = found.filter(|(_, event)| wanted(event));
        found.map(|(_, event)| event).max_by_key(|event| event.seq)
    }

    /// The instances that ever had a baseline.
    pub(super) fn with_baseline(&self) -> impl Iterator<Item = &InstanceId> {
        let baselines = self.newest.keys().filter(|(_, kind, _)| kind.starts_with("baseline."));
        baselines.filter_map(|(instance, ..)| instance.as_ref())
    }

    /// When the last event was recorded that is not younger than `until`, to the hour; of long ago, to the day.
    pub(super) fn recorded_until(&self, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let last_in = |spans: &Spans, seconds: i64| {
            let mut spans = spans.range(..=until.timestamp().div_euclid(seconds)).rev().map(|(_, span)| *span);
            spans.find_map(|Span { first, last }| [last, first].into_iter().find(|at| *at <= until))
        };
        last_in(&self.hours, 3600).max(last_in(&self.days, 24 * 3600))
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_remembered_to_the_hour_and_of_long_ago_to_the_day() {
        let begin: DateTime<Utc> = "2026-01-01T00:30:00Z".parse().unwrap();
        let mut told = HistoryState::default();
        let days = 100;
        for hour in 0..days * 24 {
            let at = (begin + TimeDelta::hours(hour)).to_rfc3339();
            told.take(&Record { seq: 1, prev: None, at, kind: "a.b".to_owned(), instance: None, data: json!({}) });
        }
        assert_eq!((told.hours.len(), told.days.len()), (HOURS, 59));
        let until = |hours| told.recorded_until(begin + TimeDelta::minutes(hours * 60 + 10));
        let hour = |hours| Some(begin + TimeDelta::hours(hours));
        assert_eq!((until(days * 24), until(days * 24 - 1)), (hour(days * 24 - 1), hour(days * 24 - 1)));
        assert_eq!(until(days * 24 - 900), hour(days * 24 - 900));
        // Of a day the first and the last time are known.
        assert_eq!((until(47), until(30), until(24)), (hour(47), hour(24), hour(24)));
        assert_eq!(until(-1), None);
    }
}
