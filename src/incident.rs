//! Drift over time, as a pure transition table.
//!
//! A drift is opened once, whatever it is called by and however often it is read again; it changes when the value moves
//! on, and ends when the value equals the baseline again or a new baseline holds it. What could not be read changes
//! nothing.

mod lifecycle;
mod notification;
mod sections;
pub mod silence;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
pub use lifecycle::{Incident, IncidentStep, IncidentSubject, Incidents, Repeat};
pub use notification::{DriftEvent, Notification, NotificationLog, decide};
pub use sections::{SectionIncident, SectionKind, SectionStep, advance_sections, section_kind, section_kinds};
use serde::{Deserialize, Serialize};
use serde_json::json;
pub use silence::{Matcher, Muting, Silence};

use crate::canonical;
use crate::classify::{Finding, FindingSet};
use crate::diff::{Change, ChangeKind};
use crate::model::{Digest, DriftId, InstanceId, Severity, word};

/// The identity of a drift: the instance, the path, and for a set the member.
pub fn fingerprint(instance: &InstanceId, change: &Change) -> Digest {
    let member = change.is_member.then_some(match change.kind {
        ChangeKind::Removed => &change.before,
        _ => &change.after,
    });
    Digest::of(&canonical::to_bytes(&json!([instance, change.path, member])))
}

word!(
    /// Whether a drift is going on, and if not, how it ended.
    Status {
        /// It is going on.
        Open = "open",
        /// The value equalled the baseline again.
        Reverted = "reverted",
        /// A new baseline held the value.
        Approved = "approved",
    }
);

/// A drift that is remembered, open or not.
#[derive(Debug, Clone, PartialEq)]
pub struct Drift {
    /// Its name.
    pub id: DriftId,
    /// The change as it was last seen.
    pub change: Change,
    /// Whether it is open.
    pub status: Status,
    /// First seen, this time.
    pub first_seen: DateTime<Utc>,
    /// The last reading of the section before that, if there was one. It is looked up when the drift is recorded.
    pub last_good: Option<DateTime<Utc>>,
    /// When it ended.
    pub closed_at: Option<DateTime<Utc>>,
    /// Who approved it.
    pub closed_by: Vec<String>,
    /// How often it had ended and came back.
    pub reopened: u32,
}

/// How drifts end that are no longer differences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The value went back.
    Reverted,
    /// A new baseline holds it, signed by these.
    Approved(Vec<String>),
}

/// The step that a drift takes in one cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DriftStep {
    /// First seen.
    Opened,
    /// It had ended and is back.
    Reopened,
    /// Still open, with another value.
    Changed,
    /// Still open as it was.
    Unchanged,
    /// Over.
    Ended,
}

/// A drift and its step; the drift is as it has to be remembered from now on.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// The step.
    pub step: DriftStep,
    /// The fingerprint.
    pub fingerprint: Digest,
    /// The drift after the step.
    pub drift: Drift,
    /// The classified change.
    pub finding: Finding,
    /// The notification about it.
    pub notification: Notification,
    /// Whether a silence mutes it, or a change window escalates it.
    pub muting: Muting,
    /// Its worst severity since it opened. A receiver that got that one gets the rest too.
    pub worst: Severity,
}

impl Transition {
    /// A transition with a notification for every step but [`DriftStep::Unchanged`].
    pub fn new(step: DriftStep, fingerprint: Digest, drift: Drift, findings: &FindingSet<'_>) -> Self {
        let finding = findings.of(&drift.change).into_owned();
        let notification = if step == DriftStep::Unchanged { Notification::Nothing } else { Notification::Step };
        Self { step, fingerprint, drift, finding, notification, muting: Muting::None, worst: Severity::Info }
    }
}

/// The transitions of the drifts of an instance after a reading.
///
/// `known` holds every remembered drift by fingerprint, `findings` every difference now, `compared` the sections that
/// could be compared. An open drift of another section keeps its status: nothing is known about it.
pub fn advance(
    instance: &InstanceId,
    known: &BTreeMap<Digest, Drift>,
    findings: &FindingSet<'_>,
    compared: &BTreeSet<String>,
    ending: &Ending,
    now: DateTime<Utc>,
) -> Vec<Transition> {
    let mut transitions = Vec::new();
    let mut seen = BTreeSet::new();
    for change in findings.all().iter().map(|finding| &finding.change) {
        let fingerprint = fingerprint(instance, change);
        let (step, drift) = match known.get(&fingerprint) {
            Some(drift) if drift.status == Status::Open && drift.change.is_same(change) => {
                (DriftStep::Unchanged, drift.clone())
            }
            Some(drift) if drift.status == Status::Open => {
                (DriftStep::Changed, Drift { change: change.clone(), ..drift.clone() })
            }
            ended => {
                let (step, id, reopened) = match ended {
                    Some(drift) => (DriftStep::Reopened, drift.id.clone(), drift.reopened + 1),
                    None => (DriftStep::Opened, DriftId::new(), 0),
                };
                let drift = Drift {
                    id,
                    change: change.clone(),
                    status: Status::Open,
                    first_seen: now,
                    last_good: None,
                    closed_at: None,
                    closed_by: Vec::new(),
                    reopened,
                };
                (step, drift)
            }
        };
        seen.insert(fingerprint.clone());
        transitions.push(Transition::new(step, fingerprint, drift, findings));
    }
    let open = known.iter().filter(|(_, drift)| drift.status == Status::Open);
    for (fingerprint, drift) in open.filter(|(fingerprint, _)| !seen.contains(*fingerprint)) {
        let is_comparable = compared.contains(drift.change.section());
        // Its object vanished or was replaced whole: it did not go back, the larger difference stands for it.
        let is_covered = findings.all().iter().any(|finding| covers(&finding.change, &drift.change));
        if !is_comparable || is_covered {
            continue;
        }
        let (status, closed_by) = match ending {
            Ending::Reverted => (Status::Reverted, Vec::new()),
            Ending::Approved(by) => (Status::Approved, by.clone()),
        };
        let drift = Drift { status, closed_at: Some(now), closed_by, ..drift.clone() };
        transitions.push(Transition::new(DriftStep::Ended, fingerprint.clone(), drift, findings));
    }
    transitions
}

/// Whether `smaller` is lost in `larger`: it lies under it, or is a member of a set that changed as a whole.
fn covers(larger: &Change, smaller: &Change) -> bool {
    let is_under = larger.path != smaller.path && larger.path.contains(&smaller.path);
    let is_member = larger.path == smaller.path && smaller.is_member && !larger.is_member;
    is_under || is_member
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::classify::{Catalogue, ChangeContext};
    use crate::model::Provider;
    use proptest::prelude::*;
    use serde_json::Value;

    static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::of(Provider::Clerk, None).unwrap());

    fn found(changes: &[Change]) -> FindingSet<'static> {
        FindingSet::new(&CATALOGUE, ChangeContext::default(), changes.to_vec())
    }

    fn instance() -> InstanceId {
        "clerk:test".parse().unwrap()
    }

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(minute * 60, 0).unwrap()
    }

    fn change(path: &str, after: i64) -> Change {
        Change {
            path: path.parse().unwrap(),
            kind: ChangeKind::Changed,
            before: json!(0),
            after: json!(after),
            is_member: false,
        }
    }

    /// Plays cycles: per cycle, the changes and the sections compared; answers the steps of every cycle.
    fn play(cycles: &[(&[Change], &[&str])]) -> Vec<Vec<DriftStep>> {
        let mut known = BTreeMap::new();
        let mut steps = Vec::new();
        for (minute, (changes, compared)) in cycles.iter().enumerate() {
            let compared = compared.iter().map(|section| (*section).to_owned()).collect();
            let now = at(i64::try_from(minute).unwrap());
            let transitions = advance(&instance(), &known, &found(changes), &compared, &Ending::Reverted, now);
            steps.push(transitions.iter().map(|transition| transition.step).collect());
            for transition in transitions {
                known.insert(transition.fingerprint, transition.drift);
            }
        }
        steps
    }

    #[test]
    fn a_drift_is_opened_once_and_ends_once() {
        let drift = [change("/a/x", 1)];
        let steps = play(&[(&drift, &["a"]), (&drift, &["a"]), (&[], &["a"]), (&[], &["a"]), (&drift, &["a"])]);
        assert_eq!(
            steps,
            [
                vec![DriftStep::Opened],
                vec![DriftStep::Unchanged],
                vec![DriftStep::Ended],
                vec![],
                vec![DriftStep::Reopened]
            ]
        );
    }

    #[test]
    fn another_value_is_a_change_of_the_same_drift() {
        let steps = play(&[(&[change("/a/x", 1)], &["a"]), (&[change("/a/x", 2)], &["a"])]);
        assert_eq!(steps, [vec![DriftStep::Opened], vec![DriftStep::Changed]]);
    }

    #[test]
    fn an_unreadable_section_ends_nothing() {
        let drift = [change("/a/x", 1)];
        assert_eq!(play(&[(&drift, &["a"]), (&[], &["b"]), (&drift, &["a"])])[1], []);
    }

    #[test]
    fn an_object_that_vanishes_does_not_end_the_drifts_within() {
        let steps = play(&[(&[change("/a/x/y", 1)], &["a"]), (&[change("/a/x", 1)], &["a"]), (&[], &["a"])]);
        assert_eq!(steps, [vec![DriftStep::Opened], vec![DriftStep::Opened], vec![DriftStep::Ended, DriftStep::Ended]]);
    }

    #[test]
    fn a_set_that_changes_whole_does_not_end_the_drifts_of_its_members() {
        let member = Change { kind: ChangeKind::Added, is_member: true, ..change("/a", 1) };
        let steps = play(&[(&[member], &["a"]), (&[change("/a", 1)], &["a"])]);
        assert_eq!(steps, [vec![DriftStep::Opened], vec![DriftStep::Opened]]);
    }

    #[test]
    fn members_of_one_set_are_drifts_of_their_own() {
        let member = |name: &str| Change {
            kind: ChangeKind::Added,
            before: Value::Null,
            after: json!(name),
            is_member: true,
            ..change("/a/x", 0)
        };
        assert_ne!(fingerprint(&instance(), &member("p")), fingerprint(&instance(), &member("q")));
        assert_eq!(fingerprint(&instance(), &change("/a/x", 1)), fingerprint(&instance(), &change("/a/x", 2)));
    }

    proptest! {
        #[test]
        fn no_open_drift_is_ever_forgotten(cycles in proptest::collection::vec(
            (proptest::collection::btree_map(0..4u8, 1..3i64, 0..4), any::<bool>()), 1..12)) {
            let mut known: BTreeMap<Digest, Drift> = BTreeMap::new();
            for (minute, (values, is_read)) in cycles.into_iter().enumerate() {
                let compared: BTreeSet<String> = is_read.then(|| "a".to_owned()).into_iter().collect();
                let changes: Vec<_> = values.iter().filter(|_| is_read).map(|(name, value)| change(&format!("/a/{name}"), *value)).collect();
                let open_before: BTreeSet<_> = known.iter().filter(|(_, drift)| drift.status == Status::Open).map(|(f, _)| f.clone()).collect();
                let transitions = advance(&instance(), &known, &found(&changes), &compared, &Ending::Reverted, at(minute as i64));
                let touched: BTreeSet<_> = transitions.iter().map(|transition| transition.fingerprint.clone()).collect();
                prop_assert!(!is_read || open_before.is_subset(&touched));
                for transition in transitions {
                    known.insert(transition.fingerprint, transition.drift);
                }
                if is_read {
                    let open = known.values().filter(|drift| drift.status == Status::Open).count();
                    prop_assert_eq!(open, changes.len());
                }
            }
        }
    }
}
