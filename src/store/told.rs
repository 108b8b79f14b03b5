//! What the history says that the tables should hold, and what people were told: one fold over all events.
//!
//! Whatever decides who is told is asked of this. It is made by the walk that verifies the history, so that neither a row
//! nor an index of the database can say otherwise.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::events::{Event, REMINDED};
use super::outgoing::Outgoing;
use super::retention;
use super::silences::Silences;
use crate::incident::NotificationLog;
use crate::model::{InstanceId, display_safe};

/// Groups of events of which the newest of each kind is remembered, for each instance, receiver and path.
const REMEMBERED: [&str; 7] = ["approval.", "baseline.", "digest.", "instance.", "receiver.", "storage.", "trust."];

/// Everything as the events left it.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    /// Drifts by instance and id: the last event of each, how often it was opened again, and when it was opened last.
    pub(super) drifts: BTreeMap<InstanceId, BTreeMap<String, ToldDrift>>,
    /// What people were told of each drift, by instance and id.
    pub(super) notification_logs: BTreeMap<InstanceId, BTreeMap<String, NotificationLog>>,
    /// Sections and credentials that were told of and are not over.
    pub(super) sections: BTreeMap<InstanceId, BTreeMap<String, Event>>,
    /// Messages and receivers.
    pub(super) outgoing: Outgoing,
    /// Silences and change windows that are not over, or whose end is not told yet.
    pub(super) silences: Silences,
    /// The digests of snapshots whose documents are not kept any more.
    pub(super) pruned: BTreeSet<String>,
    /// The first version of the program worked on this database.
    pub(super) is_of_first_version: bool,
    /// The reminders of what is not seen, by instance: number and time of each event.
    pub(super) reminders: BTreeMap<InstanceId, Vec<(u64, String)>>,
    /// The newest event of each kind, by instance and by what else it is about.
    newest: BTreeMap<(Option<InstanceId>, String, String), Event>,
    /// The first and the last event recorded in each hour.
    hours: BTreeMap<i64, (DateTime<Utc>, DateTime<Utc>)>,
}

/// A drift, as the history tells it.
#[derive(Debug, Clone)]
pub(super) struct ToldDrift {
    /// The last event of it.
    pub(super) event: Event,
    /// How often it was opened again.
    pub(super) reopened: u32,
    /// The event that opened it last.
    pub(super) opened: Event,
}

impl Told {
    /// Takes the next event into account.
    pub(super) fn take(&mut self, event: &Event) {
        let text = |name: &str| event.data.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let kind = event.kind.as_str();
        let at = event.at.parse::<DateTime<Utc>>().ok();
        if let Some(at) = at {
            let hour = self.hours.entry(at.timestamp().div_euclid(3600)).or_insert((at, at));
            *hour = (hour.0.min(at), hour.1.max(at));
        }
        self.outgoing.take(event);
        self.silences.take(event);
        self.silences.forget_what_is_over(event);
        if REMEMBERED.iter().any(|group| kind.starts_with(group)) {
            let names: &[&str] = if kind == "storage.unusable" { &["reason"] } else { &["receiver", "path"] };
            let about = names.iter().find_map(|name| event.data.get(*name)?.as_str());
            let key = (event.instance.clone(), kind.to_owned(), about.unwrap_or_default().to_owned());
            self.newest.insert(key, event.clone());
        }
        match kind {
            retention::PRUNED => {
                let pruned = event.data.get("snapshots").and_then(Value::as_array).into_iter().flatten();
                self.pruned.extend(pruned.filter_map(Value::as_str).map(str::to_owned));
            }
            "store.migrated" => self.is_of_first_version |= event.data.get("from") == Some(&Value::from(1)),
            retention::KEPT_AGAIN => drop(self.pruned.remove(&text("snapshot"))),
            _ => {}
        }
        let Some(instance) = &event.instance else { return };
        if let (true, Some(at)) = (kind.starts_with("drift."), at) {
            let after = event.data.get("after").unwrap_or(&Value::Null);
            let notification_logs = self.notification_logs.entry(instance.clone()).or_default();
            notification_logs.entry(text("drift")).or_default().take(kind, after, at);
        }
        match kind {
            REMINDED => self.reminders.entry(instance.clone()).or_default().push((event.seq, event.at.clone())),
            "section.blind" | "section.suspect" | "section.unbaselined" => {
                self.sections.entry(instance.clone()).or_default().insert(text("section"), event.clone());
            }
            "credential.refused" => {
                self.sections.entry(instance.clone()).or_default().insert(text("credential"), event.clone());
            }
            "section.seeing_again" | "section.left_out" | "credential.accepted" | "credential.removed" => {
                let name = if kind.starts_with("credential.") { "credential" } else { "section" };
                self.sections.entry(instance.clone()).or_default().remove(&text(name));
            }
            "drift.opened" | "drift.reopened" | "drift.changed" | "drift.reverted" | "drift.approved" => {
                let drifts = self.drifts.entry(instance.clone()).or_default();
                let before = drifts.remove(&text("drift"));
                let is_opened = matches!(kind, "drift.opened" | "drift.reopened");
                let reopened = before.as_ref().map_or(0, |drift| drift.reopened) + u32::from(kind == "drift.reopened");
                let opened = before.filter(|_| !is_opened).map_or_else(|| event.clone(), |drift| drift.opened);
                drifts.insert(text("drift"), ToldDrift { event: event.clone(), reopened, opened });
            }
            _ => {}
        }
    }

    /// The newest event that is `wanted` of those about `instance`, or about none, whose kind begins with `group`.
    pub(super) fn newest(
        &self,
        instance: Option<&InstanceId>,
        group: &str,
        wanted: impl Fn(&Event) -> bool,
    ) -> Option<&Event> {
        let from = (instance.cloned(), group.to_owned(), String::new());
        let is_of_it = |about: &Option<InstanceId>, kind: &str| about.as_ref() == instance && kind.starts_with(group);
        let found = self.newest.range(from..).take_while(|((about, kind, _), _)| is_of_it(about, kind));
        let found = found.filter(|(_, event)| wanted(event));
        found.map(|(_, event)| event).max_by_key(|event| event.seq)
    }

    /// The instances of which it was ever said that the baseline cannot be trusted.
    pub(super) fn told_untrusted(&self) -> impl Iterator<Item = &InstanceId> {
        let untrusted = self.newest.keys().filter(|(_, kind, _)| kind == "baseline.untrusted");
        untrusted.filter_map(|(instance, ..)| instance.as_ref())
    }

    /// When the last event was recorded that is not younger than `until`, to the hour.
    pub(super) fn recorded_until(&self, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut hours = self.hours.range(..=until.timestamp().div_euclid(3600)).rev().map(|(_, hour)| *hour);
        hours.find_map(|(first, last)| [last, first].into_iter().find(|at| *at <= until))
    }
}

/// Where in the history to look.
pub(super) fn since(event: &Event) -> String {
    format!("event {} of {}", event.seq, display_safe(&event.at))
}
