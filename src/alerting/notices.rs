//! Notices about the watch itself.

use chrono::{DateTime, TimeDelta, Utc};

use super::announce::tell;
use crate::clock::written;
use crate::config::Config;
use crate::history::Event;
use crate::history::data::{ApprovalEnd, TrustDigests, UnusableStorage};
use crate::incident::IncidentSubject;
use crate::message::{Notice, NoticeKind};
use crate::model::{Digest, InstanceId};
use crate::store::belief::{self, Jump};
use crate::store::{StoreError, Transaction, events};
use crate::trust::Approved;
use crate::trust_files::TrustFiles;

/// An approval that ends is announced this long before: a working day, or a quarter of its time.
const ENDING: TimeDelta = TimeDelta::hours(24);

/// Notes in the history which files say who may approve; if they are not the ones of before, everybody is to hear it.
pub fn of_trust(tx: &Transaction<'_>, trust: &TrustFiles, at: DateTime<Utc>) -> Result<Option<Notice>, StoreError> {
    let now = TrustDigests { allowed_signers: trust.allowed_signers.clone(), revoked_keys: trust.revoked_keys.clone() };
    let is_of_trust = |event: &Event| matches!(event, Event::TrustKnown(_) | Event::TrustChanged(_));
    let newest = tx.history()?.state.newest(None, is_of_trust).map(|record| record.event.clone());
    let Some(Event::TrustKnown(before) | Event::TrustChanged(before)) = newest else {
        events::append(tx, at, None, &Event::TrustKnown(now))?;
        return Ok(None);
    };
    let files = [
        ("allowed_signers", before.allowed_signers, &now.allowed_signers),
        ("revoked_keys", before.revoked_keys, &now.revoked_keys),
    ];
    let changed: Vec<String> = files
        .iter()
        .filter(|(_, before, now)| before != *now)
        .map(|(file, before, now)| format!("{file} was {} and is {}", short(before.as_ref()), short(now.as_ref())))
        .collect();
    if changed.is_empty() {
        return Ok(None);
    }
    events::append(tx, at, None, &Event::TrustChanged(now))?;
    Ok(Some(Notice { kind: NoticeKind::TrustChanged, subject: String::new(), text: changed.join("; ") }))
}

/// Notes in the history that the clock jumped since the newest event, and tells everybody if it went back: approvals are held
/// against the clock, and so is what is old. A command that runs beside no daemon is the first to notice.
pub fn of_clock(tx: &Transaction<'_>, config: &Config, now: DateTime<Utc>) -> Result<(), StoreError> {
    let newest = events::mark(tx)?.map_or(Ok(None), |mark| events::recorded_at(tx, mark.size))?;
    let Some((before, jump)) = newest.and_then(|before| Some((before, belief::jump(before, now)?))) else {
        return Ok(());
    };
    belief::note_jump(tx, jump, before, now)?;
    tell_of_jump(tx, config, jump, before, now)
}

/// Tells everybody that the clock went back, if that is how it jumped.
///
/// # Errors
/// The database cannot be written.
pub fn tell_of_jump(
    tx: &Transaction<'_>,
    config: &Config,
    jump: Jump,
    before: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    if jump == Jump::Forward {
        return Ok(());
    }
    let text = format!("it was {} and is {}", written(before), written(now));
    tell(tx, config, None, &[Notice { kind: NoticeKind::ClockSetBack, subject: String::new(), text }], None, now)
}

/// A notice about unusable rows of the database: when they are met, and once a day after that.
pub fn of_damage(
    tx: &Transaction<'_>,
    instance: &InstanceId,
    reason: &str,
    at: DateTime<Utc>,
) -> Result<Option<Notice>, StoreError> {
    let subject = IncidentSubject::Storage(instance.clone(), reason.to_owned());
    let event = Event::StorageUnusable(UnusableStorage { reason: reason.to_owned() });
    if tx.history()?.state.incidents.step(&subject, Some(event.kind()), at).is_none() {
        return Ok(None);
    }
    events::append(tx, at, Some(instance), &event)?;
    let text = format!("{reason}; what was read now was not compared with it");
    Ok(Some(Notice { kind: NoticeKind::StorageFailed, subject: String::new(), text }))
}

fn short(digest: Option<&Digest>) -> String {
    digest.map_or("not readable".to_owned(), Digest::short)
}

/// A notice for each approval that ends soon, once.
pub fn of_approval_ends(
    tx: &Transaction<'_>,
    instance: &InstanceId,
    approved: &Approved,
    at: DateTime<Utc>,
) -> Result<Vec<Notice>, StoreError> {
    let mut notices = Vec::new();
    let since = approved.approvals.iter().map(|approval| approval.at).max().unwrap_or(at);
    for (path, end) in &approved.subject.until {
        let notice_from = end.0 - ENDING.min((end.0 - since) / 4);
        if at < notice_from || at >= end.0 {
            continue;
        }
        let subject = IncidentSubject::Approval(instance.clone(), path.to_string());
        let until = written(end.0);
        if tx.history()?.state.incidents.step(&subject, Some(&until), at).is_some() {
            let event = Event::ApprovalEnding(ApprovalEnd { path: path.clone(), until: end.0.into() });
            events::append(tx, at, Some(instance), &event)?;
            let text = format!("{path} is approved until {until}");
            notices.push(Notice { kind: NoticeKind::ApprovalEnding, subject: String::new(), text });
        }
    }
    Ok(notices)
}
