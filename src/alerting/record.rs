//! The steps of drifts in the table and in the history.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::classify::FindingSet;
use crate::clock::written;
use crate::diff::Change;
use crate::incident::{self, DriftStep, Muting, Notification, NotificationLog, Transition};
use crate::model::{InstanceId, Severity};
use crate::store::instances::InstanceRow;
use crate::store::{StoreError, Transaction, drifts, events, silences};

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
    tx: &Transaction<'_>,
    row: InstanceRow,
    id: &InstanceId,
    at: DateTime<Utc>,
    steps: Vec<Transition>,
) -> Result<Vec<Transition>, StoreError> {
    let mut news = Vec::new();
    for transition in steps {
        let only_told = match transition.notification {
            Notification::Reminder => Some("drift.reminded"),
            Notification::Flapping => Some("drift.flapping"),
            Notification::Stabilised => Some("drift.settled"),
            Notification::Deferred(_) => Some("drift.told"),
            Notification::Step | Notification::Nothing => None,
        };
        if let Some(kind) = step_kind(&transition) {
            drifts::keep(tx, row, &transition)?;
            let mut data = incident::as_json(&transition.drift.change);
            if let Some(data) = data.as_object_mut() {
                data.insert("drift".to_owned(), json!(transition.drift.id));
                if !transition.drift.closed_by.is_empty() {
                    data.insert("by".to_owned(), json!(transition.drift.closed_by));
                }
                if matches!(transition.step, DriftStep::Opened | DriftStep::Reopened) {
                    data.insert("last_good".to_owned(), json!(transition.drift.last_good.map(written)));
                }
            }
            events::append(tx, at, kind, Some(id), data)
                .map_err(|error| error.of_section(transition.drift.change.section()))?;
            let is_new = transition.step != DriftStep::Ended;
            let silence = match &transition.muting {
                Muting::Silenced(silence) if is_new => Some((silences::SILENCED, silence)),
                Muting::Escalated { window, .. } if is_new => Some((silences::UNEXPECTED, window)),
                _ => None,
            };
            if let Some((kind, silence)) = silence {
                let data = json!({ "drift": transition.drift.id, "silence": silence });
                events::append(tx, at, kind, Some(id), data)?;
            }
        }
        if let Some(kind) = only_told {
            events::append(tx, at, kind, Some(id), json!({ "drift": transition.drift.id }))?;
        }
        if transition.notification != Notification::Nothing {
            news.push(transition);
        }
    }
    Ok(news)
}

/// The event that says which step a drift took.
fn step_kind(transition: &Transition) -> Option<&'static str> {
    Some(match transition.step {
        DriftStep::Unchanged => return None,
        DriftStep::Opened => "drift.opened",
        DriftStep::Reopened => "drift.reopened",
        DriftStep::Changed => "drift.changed",
        DriftStep::Ended => match transition.drift.status {
            incident::Status::Approved => "drift.approved",
            _ => "drift.reverted",
        },
    })
}
