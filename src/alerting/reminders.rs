//! Reminders of what is still not seen: sections that cannot be read, credentials that are refused, a baseline that cannot
//! be trusted. A machine that says it once and then keeps quiet for weeks is taken for one that sees.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::clock::written;
use crate::history::Event;
use crate::history::data::BlindReminder;
use crate::incident::SectionKind;
use crate::message::{Notice, NoticeKind, listed};
use crate::model::{InstanceId, display_safe};
use crate::store::{StoreError, UnitOfWork};

/// The reminder that is due at `at`, if one is; `untrusted` says why the baseline cannot be trusted, if it cannot.
///
/// # Errors
/// The database cannot be read or written.
pub fn reminder(
    unit: &mut UnitOfWork,
    id: &InstanceId,
    untrusted: Option<&str>,
    at: DateTime<Utc>,
) -> Result<Option<Notice>, StoreError> {
    // Without a baseline nobody looks at sections, so what was known of them is old.
    let known = if untrusted.is_none() { unit.sections()?.clone() } else { BTreeMap::new() };
    let told: Vec<(String, DateTime<Utc>)> = known
        .into_iter()
        .filter(|(_, incident)| incident.is_told && incident.kind != SectionKind::Unbaselined)
        .map(|(name, incident)| (name, incident.since))
        .collect();
    if untrusted.is_none() && told.is_empty() {
        return Ok(None);
    }
    // What comes and goes meanwhile cannot put a reminder off.
    let is_due = {
        let replay = unit.history()?;
        let first = replay.state.incidents.oldest_unseen(id, untrusted.is_some());
        first.is_some_and(|(subject, first)| first.is_due(subject.repeat(), at))
    };
    if !is_due {
        return Ok(None);
    }
    let mut clauses = Vec::new();
    if let Some(reason) = untrusted {
        clauses.push(format!("the baseline cannot be trusted, so nothing is compared: {reason}"));
    }
    if let Some(since) = told.iter().map(|(_, since)| *since).min() {
        let names: Vec<String> = told.iter().map(|(name, _)| display_safe(name)).collect();
        clauses.push(format!("not read since {}: {}", written(since), listed(&names, "section")));
    }
    let reminder = BlindReminder { sections: told.len(), untrusted: untrusted.is_some() };
    unit.append(at, Some(id), &Event::InstanceStillUnseen(reminder))?;
    Ok(Some(Notice { kind: NoticeKind::StillUnseen, subject: String::new(), text: clauses.join("; ") }))
}
