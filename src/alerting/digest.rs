//! Digests: one scheduled message about every instance of a receiver.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::tell_one;
use crate::clock::written;
use crate::config::{Config, Instance, Receiver};
use crate::history::data::SentDigest;
use crate::history::{Event, Record};
use crate::message::{Notice, NoticeKind};
use crate::model::Severity;
use crate::schedule::is_time_again;
use crate::status::{InstanceStatus, Statuses};
use crate::store::{StoreError, Transaction, events};

/// Puts the digests that are due into the outbox.
///
/// # Errors
/// The database cannot be read or written.
pub fn send_due_digests(
    tx: &Transaction<'_>,
    config: &Config,
    statuses: &Statuses,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    for receiver in &config.receivers {
        let Some(cron) = &receiver.digest else { continue };
        let is_to_it = |event: &Event| matches!(event, Event::DigestSent(sent) if sent.receiver == receiver.name);
        let last = tx.history()?.state.newest(None, is_to_it).cloned();
        if is_time_again(cron, last.as_ref().map(|last| last.at.0), now) {
            send_digest(tx, receiver, statuses, last.as_ref(), now)?;
        }
    }
    Ok(())
}

/// Puts one digest into the outbox. Digests are numbered without gaps, so that a missing one shows.
fn send_digest(
    tx: &Transaction<'_>,
    receiver: &Receiver,
    statuses: &Statuses,
    last: Option<&Record>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let before = match last.map(|last| &last.event) {
        Some(Event::DigestSent(sent)) => sent.number,
        _ => 0,
    };
    let number = before + 1;
    let is_of_it =
        |instance: &&Instance| receiver.filter.instances.as_ref().is_none_or(|some| some.contains(&instance.id));
    let trust = statuses.trust()?;
    let mut verdicts: BTreeMap<String, usize> = BTreeMap::new();
    let mut notices = Vec::new();
    for instance in statuses.instances().iter().filter(is_of_it) {
        let status = statuses.of(tx, instance, &trust, now)?;
        *verdicts.entry(status.words()).or_default() += 1;
        let text = in_words(&status, now);
        notices.push(Notice { kind: NoticeKind::Digest, subject: instance.id.to_string(), text });
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
    events::append(tx, now, None, &Event::DigestSent(sent))?;
    tell_one(tx, receiver, notices, now)
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
