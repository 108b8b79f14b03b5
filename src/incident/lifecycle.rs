//! Incidents about anything but a setting: the fold of the events about them, and the step that is due.
//!
//! An incident is notified when it begins and when its state becomes another one, then in reminders, and when it ends. The
//! history alone says what was notified, so every process decides the same.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::notification::{is_over, is_reminder_due};
use crate::model::{InstanceId, Severity};

/// What an incident is about. A new one is a variant, a row of `read` and a row of [`IncidentSubject::repeat`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum IncidentSubject {
    /// A baseline that cannot be trusted; its state is the code of the reason.
    Baseline(InstanceId),
    /// A section that is blind, suspect or not in the baseline.
    Section(InstanceId, String),
    /// A credential that the vendor refuses.
    Credential(InstanceId, String),
    /// An instance that is not read.
    Instance(InstanceId),
    /// A receiver that does not take messages.
    Receiver(String),
    /// The disk of the database, with little space or none.
    Disk,
    /// Rows of the database about an instance that cannot be used, for this reason.
    Storage(InstanceId, String),
    /// An approval of this path that ends soon; its state is the end.
    Approval(InstanceId, String),
}

/// When an incident that goes on in the same state is notified again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// In reminders that are further and further apart.
    Backoff(Severity),
    /// After each such time.
    Every(TimeDelta),
    /// Not at all.
    Never,
}

/// What an event says of an incident.
enum IncidentEvent<'a> {
    Begin { state: &'a str },
    End,
}

impl IncidentSubject {
    /// The subject of an event of `kind`, and what the event says of it.
    fn read<'a>(kind: &'a str, instance: Option<&InstanceId>, data: &'a Value) -> Option<(Self, IncidentEvent<'a>)> {
        let text = |name: &str| data.get(name).and_then(Value::as_str).unwrap_or_default();
        let (name, instance) = (|field| text(field).to_owned(), || instance.cloned());
        let begin = |state| IncidentEvent::Begin { state };
        Some(match kind {
            "baseline.untrusted" => (Self::Baseline(instance()?), begin(text("code"))),
            "baseline.trusted" => (Self::Baseline(instance()?), IncidentEvent::End),
            "section.blind" | "section.suspect" | "section.unbaselined" => {
                (Self::Section(instance()?, name("section")), begin(kind))
            }
            "section.seeing_again" | "section.left_out" => {
                (Self::Section(instance()?, name("section")), IncidentEvent::End)
            }
            "credential.refused" => (Self::Credential(instance()?, name("credential")), begin(kind)),
            "credential.accepted" | "credential.removed" => {
                (Self::Credential(instance()?, name("credential")), IncidentEvent::End)
            }
            "instance.unread" => (Self::Instance(instance()?), begin(kind)),
            "instance.read_again" => (Self::Instance(instance()?), IncidentEvent::End),
            "receiver.failed" => (Self::Receiver(name("receiver")), begin(kind)),
            "receiver.recovered" => (Self::Receiver(name("receiver")), IncidentEvent::End),
            "storage.low" | "storage.full" => (Self::Disk, begin(kind)),
            "storage.recovered" => (Self::Disk, IncidentEvent::End),
            "storage.unusable" => (Self::Storage(instance()?, name("reason")), begin(kind)),
            "approval.ending" => (Self::Approval(instance()?, name("path")), begin(text("until"))),
            _ => return None,
        })
    }

    /// When it is notified again while it goes on.
    pub fn repeat(&self) -> Repeat {
        match self {
            Self::Baseline(_) => Repeat::Backoff(Severity::Critical),
            Self::Section(..) | Self::Credential(..) => Repeat::Backoff(Severity::High),
            Self::Storage(..) => Repeat::Every(TimeDelta::days(1)),
            Self::Instance(_) | Self::Receiver(_) | Self::Disk | Self::Approval(..) => Repeat::Never,
        }
    }

    /// The instance, if it is something of one that cannot be seen or compared: one reminder is about all of that.
    fn unseen_of(&self) -> Option<&InstanceId> {
        match self {
            Self::Baseline(instance) | Self::Section(instance, _) | Self::Credential(instance, _) => Some(instance),
            _ => None,
        }
    }
}

/// An incident that was notified and goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// In another state it is notified anew.
    pub state: String,
    /// The event that notified the state.
    pub seq: u64,
    /// When that was.
    pub at: DateTime<Utc>,
    /// Since when it goes on, if the event says so.
    pub since: Option<String>,
    /// The last notification.
    notified_at: DateTime<Utc>,
    reminders: usize,
}

impl Incident {
    /// Whether it is time for another notification of the same state.
    pub fn is_due(&self, repeat: Repeat, now: DateTime<Utc>) -> bool {
        match repeat {
            Repeat::Backoff(severity) => is_reminder_due(severity, self.reminders, self.notified_at, now),
            Repeat::Every(pause) => is_over(self.notified_at, pause, now),
            Repeat::Never => false,
        }
    }
}

/// The step of an incident that is to be notified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IncidentStep {
    /// It began, or its state is another one.
    Begin,
    /// It goes on.
    Remind,
    /// It is over.
    End,
}

/// The incidents that go on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(IncidentSubject, Incident)>", into = "Vec<(IncidentSubject, Incident)>")]
pub struct Incidents(BTreeMap<IncidentSubject, Incident>);

impl Incidents {
    /// Takes the next event into account, number `seq` at `at`.
    pub fn take(&mut self, seq: u64, at: DateTime<Utc>, kind: &str, instance: Option<&InstanceId>, data: &Value) {
        if kind == "instance.still_unseen" {
            for (_, incident) in self.0.iter_mut().filter(|(subject, _)| subject.unseen_of() == instance) {
                (incident.notified_at, incident.reminders) = (at, incident.reminders + 1);
            }
        }
        match IncidentSubject::read(kind, instance, data) {
            Some((subject, IncidentEvent::Begin { state })) => {
                let since = data.get("since").and_then(Value::as_str).map(str::to_owned);
                let incident = Incident { state: state.to_owned(), seq, at, since, notified_at: at, reminders: 0 };
                self.0.insert(subject, incident);
            }
            Some((subject, IncidentEvent::End)) => drop(self.0.remove(&subject)),
            None => {}
        }
    }

    /// The step to notify at `now` when `subject` is in `state`, or is as it should be.
    pub fn step(&self, subject: &IncidentSubject, state: Option<&str>, now: DateTime<Utc>) -> Option<IncidentStep> {
        match (self.0.get(subject), state) {
            (None, None) => None,
            (Some(_), None) => Some(IncidentStep::End),
            (Some(incident), Some(state)) if incident.state == state => {
                incident.is_due(subject.repeat(), now).then_some(IncidentStep::Remind)
            }
            (_, Some(_)) => Some(IncidentStep::Begin),
        }
    }

    /// The incident of `subject`, if one goes on.
    pub fn get(&self, subject: &IncidentSubject) -> Option<&Incident> {
        self.0.get(subject)
    }

    /// Every incident that goes on.
    pub fn iter(&self) -> impl Iterator<Item = (&IncidentSubject, &Incident)> {
        self.0.iter()
    }

    /// The incidents of sections and credentials of `instance`, by name.
    pub fn sections_of(&self, instance: &InstanceId) -> impl Iterator<Item = (&str, &Incident)> {
        self.0.iter().filter_map(move |(subject, incident)| match subject {
            IncidentSubject::Section(of, name) | IncidentSubject::Credential(of, name) if of == instance => {
                Some((name.as_str(), incident))
            }
            _ => None,
        })
    }

    /// The first incident that keeps something of `instance` from being read, or from being compared if its baseline
    /// `is_untrusted`.
    pub fn oldest_unseen(&self, instance: &InstanceId, is_untrusted: bool) -> Option<(&IncidentSubject, &Incident)> {
        let unseen = self.0.iter().filter(|(subject, _)| subject.unseen_of() == Some(instance));
        let unseen = unseen.filter(|(subject, _)| is_untrusted || !matches!(subject, IncidentSubject::Baseline(_)));
        unseen.filter(|(_, incident)| incident.state != "section.unbaselined").min_by_key(|(_, incident)| incident.seq)
    }
}

impl From<Vec<(IncidentSubject, Incident)>> for Incidents {
    fn from(incidents: Vec<(IncidentSubject, Incident)>) -> Self {
        Self(incidents.into_iter().collect())
    }
}

impl From<Incidents> for Vec<(IncidentSubject, Incident)> {
    fn from(incidents: Incidents) -> Self {
        incidents.0.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(hour: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(hour * 3600, 0).unwrap()
    }

    fn instance() -> InstanceId {
        "clerk:test".parse().unwrap()
    }

    fn folded(events: &[(i64, &str, Value)]) -> Incidents {
        let mut incidents = Incidents::default();
        for (seq, (hour, kind, data)) in (1..).zip(events) {
            incidents.take(seq, at(*hour), kind, Some(&instance()), data);
        }
        incidents
    }

    #[test]
    fn a_step_follows_from_the_last_notification_and_the_state() {
        use IncidentStep::{Begin, End, Remind};
        use IncidentSubject::{Approval, Baseline, Disk, Instance, Receiver, Storage};
        let id = instance;
        let untrusted = |code: &str| ("baseline.untrusted", json!({ "code": code }));
        let unusable = ("storage.unusable", json!({ "reason": "r" }));
        let ending = ("approval.ending", json!({ "path": "/a", "until": "2026" }));
        let failed = ("receiver.failed", json!({ "receiver": "a" }));
        let (storage, approval) = (Storage(id(), "r".to_owned()), Approval(id(), "/a".to_owned()));
        let receiver = |name: &str| Receiver(name.to_owned());
        let none = ("a.b", json!({}));
        let unread = ("instance.unread", json!({}));
        let low = ("storage.low", json!({}));
        // What was notified at hour 0, the subject, its state now, the hour, and the step.
        let table = [
            (&none, Baseline(id()), None, 1, None),
            (&none, Baseline(id()), Some("a"), 1, Some(Begin)),
            (&untrusted("a"), Baseline(id()), Some("a"), 3, None),
            (&untrusted("a"), Baseline(id()), Some("a"), 4, Some(Remind)),
            (&untrusted("a"), Baseline(id()), Some("b"), 1, Some(Begin)),
            (&untrusted("a"), Baseline(id()), None, 1, Some(End)),
            (&unread, Instance(id()), Some("instance.unread"), 999, None),
            (&unread, Instance(id()), None, 1, Some(End)),
            (&failed, receiver("a"), Some("receiver.failed"), 999, None),
            (&failed, receiver("b"), Some("receiver.failed"), 1, Some(Begin)),
            (&low, Disk, Some("storage.low"), 999, None),
            (&low, Disk, Some("storage.full"), 1, Some(Begin)),
            (&low, Disk, None, 1, Some(End)),
            (&unusable, storage.clone(), Some("storage.unusable"), 23, None),
            (&unusable, storage.clone(), Some("storage.unusable"), 24, Some(Remind)),
            (&unusable, Storage(id(), "q".to_owned()), Some("storage.unusable"), 1, Some(Begin)),
            (&ending, approval.clone(), Some("2026"), 999, None),
            (&ending, approval.clone(), Some("2027"), 1, Some(Begin)),
        ];
        for ((kind, data), subject, state, hour, expected) in table {
            let incidents = folded(&[(0, kind, data.clone())]);
            assert_eq!(incidents.step(&subject, state, at(hour)), expected, "{kind} {subject:?} {state:?} {hour}");
        }
    }

    #[test]
    fn an_end_is_no_incident_any_more() {
        for (begin, end, data) in [
            ("baseline.untrusted", "baseline.trusted", json!({ "code": "a" })),
            ("section.blind", "section.seeing_again", json!({ "section": "a" })),
            ("section.suspect", "section.left_out", json!({ "section": "a" })),
            ("credential.refused", "credential.accepted", json!({ "credential": "a" })),
            ("credential.refused", "credential.removed", json!({ "credential": "a" })),
            ("instance.unread", "instance.read_again", json!({})),
            ("receiver.failed", "receiver.recovered", json!({ "receiver": "a" })),
            ("storage.full", "storage.recovered", json!({})),
        ] {
            assert_eq!(folded(&[(0, begin, data.clone())]).iter().count(), 1, "{begin}");
            assert_eq!(folded(&[(0, begin, data.clone()), (1, end, data)]), Incidents::default(), "{end}");
        }
    }

    #[test]
    fn reminders_go_on_from_what_was_unseen_first() {
        let section = |name: &str| json!({ "section": name });
        let mut events = vec![
            (0, "section.unbaselined", section("new")),
            (1, "section.blind", section("a")),
            (5, "instance.still_unseen", json!({})),
            (6, "section.blind", section("b")),
        ];
        let is_due = |events: &[(i64, &str, Value)], hour| {
            let incidents = folded(events);
            let (subject, incident) = incidents.oldest_unseen(&instance(), false).unwrap();
            incident.is_due(subject.repeat(), at(hour))
        };
        assert_eq!((is_due(&events, 28), is_due(&events, 29)), (false, true), "the second comes a day after the first");
        events.push((7, "section.seeing_again", section("a")));
        assert_eq!(
            (is_due(&events, 9), is_due(&events, 10)),
            (false, true),
            "and of the other the first after 4 hours"
        );
        events.push((8, "section.left_out", section("b")));
        assert!(folded(&events).oldest_unseen(&instance(), false).is_none());
        events.push((9, "baseline.untrusted", json!({ "code": "a" })));
        let is_found = |is_untrusted| folded(&events).oldest_unseen(&instance(), is_untrusted).is_some();
        assert_eq!((is_found(false), is_found(true)), (false, true));
    }

    #[test]
    fn what_a_checkpoint_keeps_is_read_again() {
        let incidents =
            folded(&[(0, "section.blind", json!({ "section": "a", "since": "x" })), (1, "storage.low", json!({}))]);
        let text = serde_json::to_string(&incidents).unwrap();
        assert_eq!(serde_json::from_str::<Incidents>(&text).unwrap(), incidents);
    }
}
