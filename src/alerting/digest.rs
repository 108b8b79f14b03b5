//! Digests: one message at times about everything that a receiver hears of.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::tell_one;
use crate::classify::{Catalogue, assess};
use crate::clock::written;
use crate::config::{Config, Instance, Receiver};
use crate::incident::Status;
use crate::message::{Notice, NoticeKind};
use crate::model::{InstanceId, Provider, Severity, display_safe};
use crate::schedule::is_time_again;
use crate::store::events::{self, Event};
use crate::store::{StoreError, Transaction, cycles, drifts, instances};

/// What is said of an instance without a baseline.
const NO_BASELINE: &str = "no baseline";

/// Puts the digests that are due into the outbox.
///
/// # Errors
/// The database cannot be read or written.
pub fn send_due_digests(
    tx: &Transaction<'_>,
    config: &Config,
    catalogues: &BTreeMap<Provider, Arc<Catalogue>>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    for receiver in &config.receivers {
        let Some(cron) = &receiver.digest else { continue };
        let is_to_it = |event: &Event| event.data.get("receiver").and_then(Value::as_str) == Some(&receiver.name);
        let last = events::newest(tx, "digest.sent", is_to_it)?;
        if is_time_again(cron, last.as_ref().and_then(|last| last.at.parse().ok()), now) {
            send_digest(tx, config, receiver, catalogues, last.as_ref(), now)?;
        }
    }
    Ok(())
}

/// One message about everything this receiver hears of. Its number is one more than that of the one before, so that whoever
/// reads them all sees when one is missing.
fn send_digest(
    tx: &Transaction<'_>,
    config: &Config,
    receiver: &Receiver,
    catalogues: &BTreeMap<Provider, Arc<Catalogue>>,
    last: Option<&Event>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let before = last.and_then(|last| last.data.get("number")?.as_u64()).unwrap_or_default();
    let number = before + 1;
    let is_of_it =
        |instance: &&Instance| receiver.filter.instances.as_ref().is_none_or(|some| some.contains(&instance.id));
    let mut verdicts: BTreeMap<String, usize> = BTreeMap::new();
    let mut notices = Vec::new();
    for instance in config.instances.iter().filter(is_of_it) {
        let Some(catalogue) = catalogues.get(&instance.id.provider) else { continue };
        let (verdict, text) = standing(tx, &instance.id, catalogue, now)?;
        *verdicts.entry(verdict).or_default() += 1;
        notices.push(Notice { kind: NoticeKind::Digest, subject: instance.id.to_string(), text });
    }
    let verdicts: Vec<String> = verdicts.iter().map(|(verdict, count)| format!("{count} {verdict}")).collect();
    let before = match last {
        Some(last) => format!("The one before was number {before} of {}.", display_safe(&last.at)),
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
    let data = json!({ "receiver": receiver.name, "number": number });
    events::append(tx, now, "digest.sent", None, data)?;
    tell_one(tx, receiver, notices, now)
}

/// The verdict on an instance, and how it stands in words.
fn standing(
    tx: &Transaction<'_>,
    instance: &InstanceId,
    catalogue: &Catalogue,
    now: DateTime<Utc>,
) -> Result<(String, String), StoreError> {
    let never = || ("never read".to_owned(), "never read".to_owned());
    let Some(row) = instances::find(tx, instance)? else { return Ok(never()) };
    let Some(cycle) = cycles::latest(tx, row)? else { return Ok(never()) };
    let known = drifts::known(tx, row)?;
    let open = known.values().filter(|drift| drift.status == Status::Open);
    let open: Vec<Severity> = open.map(|drift| assess(catalogue, drift.change.clone()).severity).collect();
    let of = |severity: &Severity| open.iter().filter(|one| *one == severity).count();
    let counts = Severity::ALL.iter().rev().map(|severity| (severity, of(severity))).filter(|(_, count)| *count > 0);
    let counts: Vec<String> = counts.map(|(severity, count)| format!("{count} {severity}")).collect();
    let is_open = !open.is_empty();
    let open = if counts.is_empty() { "nothing open".to_owned() } else { format!("open: {}", counts.join(", ")) };
    let baseline = match events::newest_of(tx, instance, events::APPROVED, |_| true)? {
        None => NO_BASELINE.to_owned(),
        Some(event) => {
            let sequence = event.data.get("sequence").and_then(Value::as_u64).unwrap_or_default();
            let age = event.at.parse::<DateTime<Utc>>().map(|at| (now - at).num_days()).unwrap_or_default();
            let days = if age == 1 { "day" } else { "days" };
            format!("baseline {sequence}, {age} {days} old")
        }
    };
    // A baseline may have been approved since the last cycle.
    let verdict = match cycle.verdict.as_str() {
        verdict @ ("untrusted" | "error") => verdict.to_owned(),
        _ if baseline == NO_BASELINE => NO_BASELINE.to_owned(),
        _ if is_open => "drift".to_owned(),
        "blind" => "blind".to_owned(),
        _ => "in sync".to_owned(),
    };
    let read = match cycles::last_reading(tx, row)? {
        Some(at) => format!("last read {}", written(at)),
        None => "never read".to_owned(),
    };
    Ok((verdict.clone(), format!("{verdict}; {open}; {baseline}; {read}")))
}
