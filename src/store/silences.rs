//! Silences and change windows. They are nowhere but in the history: what is asked of it cannot be planted in a table.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::events::{self, Record};
use super::{Stored, Transaction};
use crate::incident::{Matcher, Silence};
use crate::model::{InstanceId, SilenceId};

/// The kind of event that says that a drift was kept quiet.
const SILENCED: &str = "drift.silenced";
/// The kind of event that says that a drift is not what was announced.
const UNEXPECTED: &str = "drift.unexpected";

/// How long after its end a silence is remembered for instances that were not compared since.
const REMEMBERED: TimeDelta = TimeDelta::days(30);

/// A silence as the history tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldSilence {
    /// What was asked for.
    pub silence: Silence,
    /// The instances for which its end is noted.
    pub ended: BTreeSet<InstanceId>,
    /// By instance, the drifts that were kept quiet by it (true), or that it did not fit though it was announced as a
    /// change window (false).
    happened: BTreeMap<InstanceId, BTreeMap<String, bool>>,
}

impl ToldSilence {
    /// Whether a comparison of `instance` at `at` has to know of it: it is in force, or its end is not noted.
    fn matters(&self, instance: &InstanceId, at: DateTime<Utc>) -> bool {
        self.silence.is_about(instance) && (self.silence.is_active(at) || !self.ended.contains(instance))
    }
}

/// Silences as the events left them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Silences {
    /// By the event that began each.
    by_event: BTreeMap<u64, ToldSilence>,
    by_id: BTreeMap<String, u64>,
    /// Every instance that was ever read.
    instances: BTreeSet<InstanceId>,
}

impl Silences {
    /// Takes the next event into account.
    pub(super) fn take(&mut self, event: &Record) {
        let text = |name: &str| event.data.get(name).and_then(Value::as_str).unwrap_or_default();
        let Ok(at) = event.at.parse() else { return };
        if event.kind == "silence.added" {
            if let Some(silence) = added(event, at) {
                self.by_id.insert(silence.id.to_string(), event.seq);
                let told = ToldSilence { silence, ended: BTreeSet::new(), happened: BTreeMap::new() };
                self.by_event.insert(event.seq, told);
            }
            return;
        }
        if let ("instance.first_read", Some(instance)) = (event.kind.as_str(), &event.instance) {
            self.instances.insert(instance.clone());
        }
        let told = self.by_id.get(text("silence")).and_then(|began| self.by_event.get_mut(began));
        let Some(told) = told else { return };
        match (event.kind.as_str(), &event.instance) {
            ("silence.expired", _) => told.silence.expired = Some((at, text("by").to_owned())),
            ("silence.ended", Some(instance)) => drop(told.ended.insert(instance.clone())),
            (kind @ (SILENCED | UNEXPECTED), Some(instance)) => {
                let happened = told.happened.entry(instance.clone()).or_default();
                happened.insert(text("drift").to_owned(), kind == SILENCED);
            }
            _ => {}
        }
    }

    /// Forgets what is over and does not matter to any comparison any more, so that comparisons cost the same however many
    /// silences there were.
    pub(super) fn forget_what_is_over(&mut self, event: &Record) {
        let Ok(at) = event.at.parse::<DateTime<Utc>>() else { return };
        let instances = &self.instances;
        let is_told = |told: &ToldSilence| {
            let mut about = instances.iter().filter(|instance| told.silence.is_about(instance));
            about.all(|instance| told.ended.contains(instance))
        };
        let is_done =
            |told: &ToldSilence| told.silence.is_over(at) && (is_told(told) || told.silence.until + REMEMBERED <= at);
        match event.kind.as_str() {
            "silence.ended" => {
                let id = event.data.get("silence").and_then(Value::as_str).unwrap_or_default();
                let began = self.by_id.get(id).filter(|began| self.by_event.get(began).is_some_and(is_done)).copied();
                if let Some(began) = began {
                    self.by_event.remove(&began);
                    self.by_id.remove(id);
                }
            }
            "silence.added" => {
                self.by_event.retain(|_, told| !is_done(told));
                self.by_id.retain(|_, began| self.by_event.contains_key(began));
            }
            _ => {}
        }
    }

    /// Those that a comparison of `instance` at `at` has to know of, oldest first.
    pub(super) fn of(&self, instance: &InstanceId, at: DateTime<Utc>) -> Vec<ToldSilence> {
        self.by_event.values().filter(|told| told.matters(instance, at)).cloned().collect()
    }

    /// The drifts of `instance` that `silence` kept quiet (true) or that it did not announce (false).
    pub(super) fn happened(&self, silence: &SilenceId, instance: &InstanceId) -> BTreeMap<String, bool> {
        let told = self.by_id.get(silence.as_str()).and_then(|began| self.by_event.get(began));
        told.and_then(|told| told.happened.get(instance)).cloned().unwrap_or_default()
    }

    /// Those that are in force at `at`, oldest first.
    pub(super) fn active(&self, at: DateTime<Utc>) -> Vec<Silence> {
        let silences = self.by_event.values().map(|told| &told.silence);
        silences.filter(|silence| silence.is_active(at)).cloned().collect()
    }
}

/// Every silence there ever was, oldest first.
///
/// # Errors
/// The database cannot be read.
pub fn all(tx: &Transaction<'_>) -> Stored<Vec<Silence>> {
    let mut silences = Silences::default();
    for event in events::after(tx, 0)? {
        silences.take(&event);
    }
    Ok(silences.by_event.into_values().map(|told| told.silence).collect())
}

fn added(event: &Record, from: DateTime<Utc>) -> Option<Silence> {
    let text = |name: &str| event.data.get(name)?.as_str().map(str::to_owned);
    let matchers = event.data.get("match")?.as_array()?.iter();
    // One that a later version wrote and that cannot be read here keeps nothing quiet.
    let matchers: Option<Vec<Matcher>> = matchers.map(|text| text.as_str()?.parse().ok()).collect();
    Some(Silence {
        id: SilenceId::from_text(text("silence")?),
        matchers: matchers.filter(|matchers| !matchers.is_empty())?,
        from,
        until: text("until")?.parse().ok()?,
        by: text("by")?,
        reason: text("reason")?,
        is_window: event.data.get("window")?.as_bool()?,
        expired: None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::written;

    fn event(seq: u64, kind: &str, instance: Option<&str>, hour: i64, data: Value) -> Record {
        let at = DateTime::from_timestamp(hour * 3600, 0).unwrap();
        let instance = instance.map(|id| id.parse().unwrap());
        Record { seq, prev: None, at: written(at), kind: kind.to_owned(), instance, data }
    }

    fn began(seq: u64, id: &str, until: i64) -> Record {
        let until = written(DateTime::from_timestamp(until * 3600, 0).unwrap());
        let data =
            json!({ "silence": id, "match": ["/**"], "until": until, "by": "ann", "reason": "x", "window": false });
        event(seq, "silence.added", None, 0, data)
    }

    #[test]
    fn a_silence_is_known_until_its_end_is_noted_for_every_instance_that_was_read() {
        let (prod, acme) = ("clerk:prod".parse().unwrap(), "auth0:acme".parse().unwrap());
        let at = |hour: i64| DateTime::from_timestamp(hour * 3600, 0).unwrap();
        let mut silences = Silences::default();
        let mut take = |event: &Record| {
            silences.take(event);
            silences.forget_what_is_over(event);
            silences.clone()
        };
        take(&event(1, "instance.first_read", Some("clerk:prod"), 0, json!({})));
        take(&event(2, "instance.first_read", Some("auth0:acme"), 0, json!({})));
        let known = take(&began(3, "sil_1", 5));
        assert_eq!((known.active(at(1)).len(), known.active(at(5)).len()), (1, 0));
        assert_eq!((known.of(&prod, at(1)).len(), known.of(&prod, at(5)).len()), (1, 1), "its end is still to be told");
        let ended = |seq, instance| event(seq, "silence.ended", Some(instance), 6, json!({ "silence": "sil_1" }));
        let known = take(&ended(4, "clerk:prod"));
        assert_eq!((known.of(&prod, at(6)).len(), known.of(&acme, at(6)).len()), (0, 1));
        let known = take(&ended(5, "auth0:acme"));
        assert!(known.by_event.is_empty() && known.by_id.is_empty(), "nothing is left to tell");
        // An instance that is not compared any more does not keep every silence for ever.
        take(&began(6, "sil_2", 5));
        let known = take(&event(7, "silence.added", None, 24 * 31, began(7, "sil_3", 24 * 32).data));
        assert_eq!(known.by_event.len(), 1);
    }
}
