//! Reminders of what is still not seen: sections that cannot be read, credentials that are refused, a baseline that cannot
//! be trusted. A machine that says it once and then keeps quiet for weeks is taken for one that sees.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::clock::written;
use crate::history::Event;
use crate::history::data::BlindReminder;
use crate::incident::{SectionKind, is_reminder_due};
use crate::message::{Notice, NoticeKind, listed};
use crate::model::{InstanceId, Severity, display_safe};
use crate::store::instances::InstanceRow;
use crate::store::{StoreError, Transaction, events, news};

/// The reminder that is due at `at`, if one is; `untrusted` says why the baseline cannot be trusted, if it cannot.
///
/// # Errors
/// The database cannot be read or written.
pub fn reminder(
    tx: &Transaction<'_>,
    row: InstanceRow,
    id: &InstanceId,
    untrusted: Option<&str>,
    at: DateTime<Utc>,
) -> Result<Option<Notice>, StoreError> {
    // Without a baseline nobody looks at sections, so what was known of them is old.
    let known = if untrusted.is_none() { news::known(tx, row)? } else { BTreeMap::new() };
    let told: Vec<(String, DateTime<Utc>)> = known
        .into_iter()
        .filter(|(_, incident)| incident.is_told && incident.kind != SectionKind::Unbaselined)
        .map(|(name, incident)| (name, incident.since))
        .collect();
    let severity = match (untrusted, told.is_empty()) {
        (Some(_), _) => Severity::Critical,
        (None, false) => Severity::High,
        (None, true) => return Ok(None),
    };
    let Some((last, reminders)) = last_told(tx, id, untrusted.is_some())? else { return Ok(None) };
    if !is_reminder_due(severity, reminders, last, at) {
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
    events::append(tx, at, Some(id), &Event::InstanceStillUnseen(reminder))?;
    Ok(Some(Notice { kind: NoticeKind::StillUnseen, subject: String::new(), text: clauses.join("; ") }))
}

/// When people last heard of what has been unseen for longest, and how many reminders of it that makes. What comes and goes
/// meanwhile cannot put them off.
fn last_told(
    tx: &Transaction<'_>,
    id: &InstanceId,
    is_untrusted: bool,
) -> Result<Option<(DateTime<Utc>, usize)>, StoreError> {
    let replay = tx.history()?;
    let state = &replay.state;
    let untrusted = match is_untrusted {
        true => state.newest(Some(id), |event| matches!(event, Event::BaselineUntrusted(_))),
        false => None,
    };
    let Some(first) = state.unread_sections(id).chain(untrusted).min_by_key(|record| record.seq) else {
        return Ok(None);
    };
    let reminders = state.reminders.get(id).into_iter().flatten();
    let reminders: Vec<_> = reminders.filter(|(seq, _)| *seq > first.seq).collect();
    let last = reminders.last().map_or(first.at, |(_, at)| *at);
    Ok(Some((last.0, reminders.len())))
}
