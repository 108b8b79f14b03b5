//! The steps of drifts in the table and in the history.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::classify::FindingSet;
use crate::diff::Change;
use crate::history::Event;
use crate::history::data::{DriftChange, DriftNotice, SilencedDrift};
use crate::incident::{self, Drift, DriftStep, Muting, Notification, NotificationLog, Status, Transition};
use crate::model::{InstanceId, Severity, SilenceId};
use crate::store::{StoreError, UnitOfWork};

/// The worst reported severity of the drift of `change` since it opened.
pub fn worst_of(findings: &FindingSet<'_>, log: &NotificationLog, change: &Change) -> Severity {
    let (values, is_unexpected) = log.since_it_began();
    let of = |value: &Value| findings.of(&Change { after: value.clone(), ..change.clone() }).meaning.severity;
    let announced = if is_unexpected { incident::silence::UNANNOUNCED_SEVERITY } else { Severity::Info };
    values.iter().map(of).max().unwrap_or(Severity::Info).max(announced)
}

/// Records the steps of drifts in table and history; answers those that are news.
///
/// # Errors
/// The database cannot be written.
pub fn record_transitions(
    unit: &mut UnitOfWork,
    id: &InstanceId,
    at: DateTime<Utc>,
    steps: Vec<Transition>,
) -> Result<Vec<Transition>, StoreError> {
    let mut news = Vec::new();
    for transition in steps {
        let drift = &transition.drift;
        if let Some(event) = step_event(transition.step, drift) {
            unit.put_drift(&transition);
            unit.append(at, Some(id), &event).map_err(|error| error.of_section(drift.change.section()))?;
            let is_new = transition.step != DriftStep::Ended;
            let silenced = |silence: &SilenceId| SilencedDrift { drift: drift.id.clone(), silence: silence.clone() };
            let muted = match &transition.muting {
                Muting::Silenced(silence) if is_new => Some(Event::DriftSilenced(silenced(silence))),
                Muting::Escalated { window, .. } if is_new => Some(Event::DriftUnexpected(silenced(window))),
                _ => None,
            };
            muted.map_or(Ok(()), |event| unit.append(at, Some(id), &event).map(drop))?;
        }
        let notice = DriftNotice { drift: drift.id.clone() };
        let notified = match transition.notification {
            Notification::Reminder => Some(Event::DriftReminded(notice)),
            Notification::Flapping => Some(Event::DriftFlapping(notice)),
            Notification::Stabilised => Some(Event::DriftSettled(notice)),
            Notification::Deferred(_) => Some(Event::DriftTold(notice)),
            Notification::Step | Notification::Nothing => None,
        };
        notified.map_or(Ok(()), |event| unit.append(at, Some(id), &event).map(drop))?;
        if transition.notification != Notification::Nothing {
            news.push(transition);
        }
    }
    Ok(news)
}

/// The event that says that `drift` took `step`.
fn step_event(step: DriftStep, drift: &Drift) -> Option<Event> {
    let mut change = DriftChange::new(&drift.id, &drift.change);
    change.by.clone_from(&drift.closed_by);
    change.last_good = matches!(step, DriftStep::Opened | DriftStep::Reopened).then(|| drift.last_good.map(Into::into));
    Some(match (step, drift.status) {
        (DriftStep::Unchanged, _) => return None,
        (DriftStep::Opened, _) => Event::DriftOpened(change),
        (DriftStep::Reopened, _) => Event::DriftReopened(change),
        (DriftStep::Changed, _) => Event::DriftChanged(change),
        (DriftStep::Ended, Status::Approved) => Event::DriftApproved(change),
        (DriftStep::Ended, _) => Event::DriftReverted(change),
    })
}
