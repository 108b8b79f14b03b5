//! Digests: one scheduled message about every instance of a receiver.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::tell_one;
use crate::clock::written;
use crate::config::{Config, Receiver};
use crate::history::data::SentDigest;
use crate::history::{Event, Record, Replay};
use crate::message::{Notice, NoticeKind};
use crate::model::{InstanceId, Severity};
use crate::schedule::is_time_again;
use crate::status::InstanceStatus;
use crate::store::{StoreError, UnitOfWork};

/// The receivers whose digest is due.
///
/// # Errors
/// As [`UnitOfWork::history`].
pub fn due_digests<'c>(
    unit: &UnitOfWork,
    config: &'c Config,
    now: DateTime<Utc>,
) -> Result<Vec<&'c Receiver>, StoreError> {
    let history = unit.history()?;
    let is_due = |receiver: &&Receiver| {
        let last = last_digest(history, receiver).map(|last| last.at.0);
        receiver.digest.as_ref().is_some_and(|cron| is_time_again(cron, last, now))
    };
    Ok(config.receivers.iter().filter(is_due).collect())
}

fn last_digest<'h>(history: &'h Replay, receiver: &Receiver) -> Option<&'h Record> {
    let is_to_it = |event: &Event| matches!(event, Event::DigestSent(sent) if sent.receiver == receiver.name);
    history.state.newest(None, is_to_it)
}

/// Puts one digest about `statuses` into the outbox. Digests are numbered without gaps, so that a missing one shows.
///
/// # Errors
/// As [`UnitOfWork::queue`].
pub fn send_digest(
    unit: &mut UnitOfWork,
    receiver: &Receiver,
    statuses: &[(InstanceId, Arc<InstanceStatus>)],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let last = last_digest(unit.history()?, receiver);
    let before = match last.map(|last| &last.event) {
        Some(Event::DigestSent(sent)) => sent.number,
        _ => 0,
    };
    let number = before + 1;
    let is_of_it = |id: &InstanceId| receiver.filter.instances.as_ref().is_none_or(|some| some.contains(id));
    let mut verdicts: BTreeMap<String, usize> = BTreeMap::new();
    let mut notices = Vec::new();
    for (id, status) in statuses.iter().filter(|(id, _)| is_of_it(id)) {
        *verdicts.entry(status.words()).or_default() += 1;
        notices.push(Notice { kind: NoticeKind::Digest, subject: id.to_string(), text: in_words(status, now) });
    }
    let verdicts: Vec<String> = verdicts.iter().map(|(verdict, count)| format!("{count} {verdict}")).collect();
    let before = match last {
        Some(last) => format!("The one before was number {before} of {}.", last.at),
        None => "It is the first one.".to_owned(),
    };
    let next = receiver.digest.as_ref().and_then(|cron| cron.next_after(now));
    let next = next.map(|next| format!(" The next one comes at {}.", written(next))).unwrap_or_default();
    let summary = Notice {
        kind: NoticeKind::Digest,
        subject: format!("digest {number}, {}", verdicts.join(", ")),
        text: format!("{before}{next}"),
    };
    notices.insert(0, summary);
    let sent = SentDigest { receiver: receiver.name.clone(), number };
    unit.append(now, None, &Event::DigestSent(sent))?;
    tell_one(unit, receiver, notices, now)
}

/// How an instance stands, in one line.
fn in_words(status: &InstanceStatus, now: DateTime<Utc>) -> String {
    let of = |severity: &Severity| status.open.iter().filter(|drift| drift.meaning.severity == *severity).count();
    let counts = Severity::ALL.iter().rev().map(|severity| (severity, of(severity))).filter(|(_, count)| *count > 0);
    let counts: Vec<String> = counts.map(|(severity, count)| format!("{count} {severity}")).collect();
    let open = if counts.is_empty() { "nothing open".to_owned() } else { format!("open: {}", counts.join(", ")) };
    let baseline = match &status.baseline {
        Ok(None) => "no baseline".to_owned(),
        Ok(Some(baseline)) => {
            let age = (now - baseline.approved_at).num_days();
            let days = if age == 1 { "day" } else { "days" };
            format!("baseline {}, {age} {days} old", baseline.sequence)
        }
        Err(untrusted) => format!("the baseline cannot be trusted ({})", untrusted.code()),
    };
    let read = match &status.sections {
        Some(sections) => format!("last read {}", written(sections.read_at)),
        None => "never read".to_owned(),
    };
    format!("{}; {open}; {baseline}; {read}", status.words())
}
