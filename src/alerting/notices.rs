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
use crate::store::clock_check::{self, Jump};
use crate::store::{StoreError, UnitOfWork};
use crate::trust::Approved;
use crate::trust_files::TrustFiles;

/// An approval that ends is announced this long before: a working day, or a quarter of its time.
const ENDING: TimeDelta = TimeDelta::hours(24);

/// Notes in the history which files say who may approve; if they are not the ones of before, everybody is to hear it.
pub fn of_trust(unit: &mut UnitOfWork, trust: &TrustFiles, at: DateTime<Utc>) -> Result<Option<Notice>, StoreError> {
    let now = TrustDigests { allowed_signers: trust.allowed_signers.clone(), revoked_keys: trust.revoked_keys.clone() };
    let is_of_trust = |event: &Event| matches!(event, Event::TrustKnown(_) | Event::TrustChanged(_));
    let newest = unit.history()?.state.newest(None, is_of_trust).map(|record| record.event.clone());
    let Some(Event::TrustKnown(before) | Event::TrustChanged(before)) = newest else {
        unit.append(at, None, &Event::TrustKnown(now))?;
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
    unit.append(at, None, &Event::TrustChanged(now))?;
    Ok(Some(Notice { kind: NoticeKind::TrustChanged, subject: String::new(), text: changed.join("; ") }))
}

/// Notes in the history that the clock jumped since the newest event, and tells everybody if it went back: approvals are held
/// against the clock, and so is what is old. A command that runs beside no daemon is the first to notice.
pub fn of_clock(unit: &mut UnitOfWork, config: &Config, now: DateTime<Utc>) -> Result<(), StoreError> {
    let newest = unit.history()?.last_at();
    let Some((before, jump)) = newest.and_then(|before| Some((before, clock_check::jump(before, now)?))) else {
        return Ok(());
    };
    record_jump(unit, config, jump, before, now)
}

/// Records that the clock jumped, and notifies every receiver if it went back.
///
/// # Errors
/// The database cannot be written.
pub fn record_jump(
    unit: &mut UnitOfWork,
    config: &Config,
    jump: Jump,
    before: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    unit.append(now, None, &clock_check::jump_event(jump, before, now))?;
    if jump == Jump::Forward {
        return Ok(());
    }
    let text = format!("it was {} and is {}", written(before), written(now));
    tell(unit, config, None, &[Notice { kind: NoticeKind::ClockSetBack, subject: String::new(), text }], None, now)
}

/// A notice about unusable rows of the database: when they are met, and once a day after that.
pub fn of_damage(
    unit: &mut UnitOfWork,
    instance: &InstanceId,
    reason: &str,
    at: DateTime<Utc>,
) -> Result<Option<Notice>, StoreError> {
    let subject = IncidentSubject::Storage(instance.clone(), reason.to_owned());
    let event = Event::StorageUnusable(UnusableStorage { reason: reason.to_owned() });
    if unit.history()?.state.incidents.step(&subject, Some(event.kind()), at).is_none() {
        return Ok(None);
    }
    unit.append(at, Some(instance), &event)?;
    let text = format!("{reason}; what was read now was not compared with it");
    Ok(Some(Notice { kind: NoticeKind::StorageFailed, subject: String::new(), text }))
}

fn short(digest: Option<&Digest>) -> String {
    digest.map_or("not readable".to_owned(), Digest::short)
}

/// A notice for each approval that ends soon, once.
pub fn of_approval_ends(
    unit: &mut UnitOfWork,
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
        if unit.history()?.state.incidents.step(&subject, Some(&until), at).is_some() {
            let event = Event::ApprovalEnding(ApprovalEnd { path: path.clone(), until: end.0.into() });
            unit.append(at, Some(instance), &event)?;
            let text = format!("{path} is approved until {until}");
            notices.push(Notice { kind: NoticeKind::ApprovalEnding, subject: String::new(), text });
        }
    }
    Ok(notices)
}
