//! Silences and change windows, as the events of the history left them. No table holds them, so none can be planted there.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::data::AddedSilence;
use super::{Event, Record};
use crate::incident::{Matcher, Silence};
use crate::model::{InstanceId, SilenceId};

/// How long after its end a silence is remembered for instances that were not compared since.
const REMEMBERED: TimeDelta = TimeDelta::days(30);

/// A silence, as its events left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedSilence {
    /// What was asked for.
    pub silence: Silence,
    /// The instances for which its end is noted.
    pub ended: BTreeSet<InstanceId>,
    /// By instance, the drifts that were kept quiet by it (true), or that it did not fit though it was announced as a
    /// change window (false).
    happened: BTreeMap<InstanceId, BTreeMap<String, bool>>,
}

impl RecordedSilence {
    /// Whether a comparison of `instance` at `at` has to know of it: it is in force, or its end is not noted.
    fn matters(&self, instance: &InstanceId, at: DateTime<Utc>) -> bool {
        self.silence.is_about(instance) && (self.silence.is_active(at) || !self.ended.contains(instance))
    }
}

/// Silences as the events left them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silences {
    /// By the event that began each.
    by_event: BTreeMap<u64, RecordedSilence>,
    by_id: BTreeMap<String, u64>,
    /// Every instance that was ever read.
    instances: BTreeSet<InstanceId>,
}

impl Silences {
    /// Applies the next event.
    pub(crate) fn apply(&mut self, record: &Record) {
        let instance = record.instance.as_ref();
        match &record.event {
            Event::SilenceAdded(added) => {
                if let Some(silence) = silence_of(added, record.at.0) {
                    self.by_id.insert(silence.id.to_string(), record.seq);
                    let recorded = RecordedSilence { silence, ended: BTreeSet::new(), happened: BTreeMap::new() };
                    self.by_event.insert(record.seq, recorded);
                }
            }
            Event::InstanceFirstRead(_) => self.instances.extend(instance.cloned()),
            Event::SilenceExpired(expired) => {
                if let Some(recorded) = self.by_id(&expired.silence) {
                    recorded.silence.expired = Some((record.at.0, expired.by.clone()));
                }
            }
            Event::SilenceEnded(ended) => {
                if let Some(recorded) = self.by_id(&ended.silence) {
                    recorded.ended.extend(instance.cloned());
                }
            }
            Event::DriftSilenced(drift) | Event::DriftUnexpected(drift) => {
                let is_silenced = matches!(record.event, Event::DriftSilenced(_));
                if let (Some(recorded), Some(instance)) = (self.by_id(&drift.silence), instance) {
                    let happened = recorded.happened.entry(instance.clone()).or_default();
                    happened.insert(drift.drift.to_string(), is_silenced);
                }
            }
            _ => {}
        }
    }

    fn by_id(&mut self, id: &SilenceId) -> Option<&mut RecordedSilence> {
        self.by_id.get(id.as_str()).and_then(|began| self.by_event.get_mut(began))
    }

    /// Forgets what is over and does not matter to any comparison any more, so that comparisons cost the same however many
    /// silences there were.
    pub(super) fn forget_ended(&mut self, record: &Record) {
        let at = record.at.0;
        let instances = &self.instances;
        let is_reported = |recorded: &RecordedSilence| {
            let mut about = instances.iter().filter(|instance| recorded.silence.is_about(instance));
            about.all(|instance| recorded.ended.contains(instance))
        };
        let is_done = |recorded: &RecordedSilence| {
            recorded.silence.is_over(at) && (is_reported(recorded) || recorded.silence.until + REMEMBERED <= at)
        };
        match &record.event {
            Event::SilenceEnded(ended) => {
                let id = ended.silence.as_str();
                let began = self.by_id.get(id).filter(|began| self.by_event.get(began).is_some_and(is_done)).copied();
                if let Some(began) = began {
                    self.by_event.remove(&began);
                    self.by_id.remove(id);
                }
            }
            Event::SilenceAdded(_) => {
                self.by_event.retain(|_, recorded| !is_done(recorded));
                self.by_id.retain(|_, began| self.by_event.contains_key(began));
            }
            _ => {}
        }
    }

    /// Those that a comparison of `instance` at `at` has to know of, oldest first.
    pub fn of(&self, instance: &InstanceId, at: DateTime<Utc>) -> Vec<RecordedSilence> {
        self.by_event.values().filter(|recorded| recorded.matters(instance, at)).cloned().collect()
    }

    /// The drifts of `instance` that `silence` kept quiet (true) or that it did not announce (false).
    pub fn happened(&self, silence: &SilenceId, instance: &InstanceId) -> BTreeMap<String, bool> {
        let recorded = self.by_id.get(silence.as_str()).and_then(|began| self.by_event.get(began));
        recorded.and_then(|recorded| recorded.happened.get(instance)).cloned().unwrap_or_default()
    }

    /// Those that are in force at `at`, oldest first.
    pub fn active(&self, at: DateTime<Utc>) -> Vec<Silence> {
        let silences = self.by_event.values().map(|told| &told.silence);
        silences.filter(|silence| silence.is_active(at)).cloned().collect()
    }

    /// Every one that is kept, oldest first.
    pub(crate) fn all(self) -> impl Iterator<Item = Silence> {
        self.by_event.into_values().map(|recorded| recorded.silence)
    }
}

/// A silence that begins at `from`. One that a newer version wrote and that cannot be read here mutes nothing.
fn silence_of(added: &AddedSilence, from: DateTime<Utc>) -> Option<Silence> {
    let matchers = added.matchers.iter().map(|text| text.parse().ok()).collect::<Option<Vec<Matcher>>>();
    Some(Silence {
        id: added.silence.clone(),
        matchers: matchers.filter(|matchers| !matchers.is_empty())?,
        from,
        until: added.until.0,
        by: added.by.clone(),
        reason: added.reason.clone(),
        is_window: added.window,
        expired: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::data::{EndedSilence, FirstReading};
    use crate::model::Digest;

    fn at(hour: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(hour * 3600, 0).unwrap()
    }

    fn record(seq: u64, instance: Option<&str>, hour: i64, event: Event) -> Record {
        Record { seq, prev: None, at: at(hour).into(), instance: instance.map(|id| id.parse().unwrap()), event }
    }

    fn first_read(seq: u64, instance: &str) -> Record {
        let first = FirstReading { resource: "x".to_owned(), snapshot: Digest::of(b"x") };
        record(seq, Some(instance), 0, Event::InstanceFirstRead(first))
    }

    fn added(seq: u64, id: &str, hour: i64, until: i64) -> Record {
        let added = AddedSilence {
            silence: SilenceId::from_text(id),
            matchers: vec!["/**".to_owned()],
            until: at(until).into(),
            by: "ann".to_owned(),
            reason: "x".to_owned(),
            window: false,
        };
        record(seq, None, hour, Event::SilenceAdded(added))
    }

    fn ended(seq: u64, instance: &str) -> Record {
        let (silence, text) = (SilenceId::from_text("sil_1"), "x".to_owned());
        let ended = EndedSilence { silence, by: text.clone(), reason: text, window: false };
        record(seq, Some(instance), 6, Event::SilenceEnded(ended))
    }

    #[test]
    fn a_silence_is_known_until_its_end_is_noted_for_every_instance_that_was_read() {
        let (prod, acme) = ("clerk:prod".parse().unwrap(), "auth0:acme".parse().unwrap());
        let mut silences = Silences::default();
        let mut apply = |record: &Record| {
            silences.apply(record);
            silences.forget_ended(record);
            silences.clone()
        };
        apply(&first_read(1, "clerk:prod"));
        apply(&first_read(2, "auth0:acme"));
        let known = apply(&added(3, "sil_1", 0, 5));
        assert_eq!((known.active(at(1)).len(), known.active(at(5)).len()), (1, 0));
        assert_eq!((known.of(&prod, at(1)).len(), known.of(&prod, at(5)).len()), (1, 1), "its end is still to be told");
        let known = apply(&ended(4, "clerk:prod"));
        assert_eq!((known.of(&prod, at(6)).len(), known.of(&acme, at(6)).len()), (0, 1));
        let known = apply(&ended(5, "auth0:acme"));
        assert!(known.by_event.is_empty() && known.by_id.is_empty(), "nothing is left to tell");
        // An instance that is not compared any more does not keep every silence for ever.
        apply(&added(6, "sil_2", 0, 5));
        let known = apply(&added(7, "sil_3", 24 * 31, 24 * 32));
        assert_eq!(known.by_event.len(), 1);
    }
}
