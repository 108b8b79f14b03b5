//! Silences and change windows. They are nowhere but in the history: what is asked of it cannot be planted in a table.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rusqlite::Transaction;
use serde_json::{Value, json};

use super::events::{self, Event};
use super::{StoreError, Stored};
use crate::clock::written;
use crate::incident::{Matcher, Silence};
use crate::model::{InstanceId, SilenceId};

/// The kind of event that says that a drift was kept quiet.
pub const SILENCED: &str = "drift.silenced";
/// The kind of event that says that a drift is not what was announced.
pub const UNEXPECTED: &str = "drift.unexpected";

/// Notes that `silence` begins.
///
/// # Errors
/// The database cannot be written.
pub fn begin(tx: &Transaction<'_>, silence: &Silence) -> Stored<()> {
    let matchers: Vec<String> = silence.matchers.iter().map(ToString::to_string).collect();
    let data = json!({
        "silence": silence.id, "match": matchers, "until": written(silence.until), "by": silence.by,
        "reason": silence.reason, "window": silence.is_window,
    });
    events::append(tx, silence.from, "silence.added", only_instance(silence), data)?;
    Ok(())
}

/// Notes that somebody ended `silence` before its time.
///
/// # Errors
/// The database cannot be written.
pub fn expire(tx: &Transaction<'_>, silence: &Silence, by: &str, at: DateTime<Utc>) -> Stored<()> {
    let data = json!({ "silence": silence.id, "by": by });
    events::append(tx, at, "silence.expired", only_instance(silence), data)?;
    Ok(())
}

/// Notes that `silence` is over for `instance`, and that people are told what it kept quiet there.
///
/// # Errors
/// The database cannot be written.
pub fn end(tx: &Transaction<'_>, silence: &Silence, instance: &InstanceId, at: DateTime<Utc>) -> Stored<()> {
    let by = silence.expired.as_ref().map_or(&silence.by, |(_, by)| by);
    let data = json!({ "silence": silence.id, "by": by, "reason": silence.reason, "window": silence.is_window });
    events::append(tx, at, "silence.ended", Some(instance), data)?;
    Ok(())
}

fn only_instance(silence: &Silence) -> Option<&InstanceId> {
    let mut instances = silence.instances();
    instances.next().filter(|_| instances.next().is_none())
}

/// Every silence there ever was, oldest first, and for which instances its end is noted.
///
/// # Errors
/// The database cannot be read.
pub fn all(tx: &Transaction<'_>) -> Stored<Vec<(Silence, Vec<InstanceId>)>> {
    let mut silences: Vec<(Silence, Vec<InstanceId>)> = Vec::new();
    for event in events::of_group(tx, "silence.", 0)? {
        let text = |name: &str| event.data.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let at = event.at.parse().map_err(|_| StoreError::Damaged(format!("event {} has no time", event.seq)))?;
        if event.kind == "silence.added" {
            silences.extend(added(&event, at).map(|silence| (silence, Vec::new())));
            continue;
        }
        let Some((silence, ended)) = silences.iter_mut().find(|(silence, _)| silence.id.as_str() == text("silence"))
        else {
            continue;
        };
        match event.kind.as_str() {
            "silence.expired" => silence.expired = Some((at, text("by"))),
            "silence.ended" => ended.extend(event.instance.clone()),
            _ => {}
        }
    }
    Ok(silences)
}

fn added(event: &Event, from: DateTime<Utc>) -> Option<Silence> {
    let text = |name: &str| event.data.get(name)?.as_str().map(str::to_owned);
    let matchers = event.data.get("match")?.as_array()?.iter();
    // One that a later version wrote and that cannot be read here keeps nothing quiet.
    let matchers: Option<Vec<Matcher>> = matchers.map(|text| text.as_str()?.parse().ok()).collect();
    Some(Silence {
        id: SilenceId::from_text(text("silence")?),
        matchers: matchers.filter(|matchers| !matchers.is_empty())?,
        from,
        until: text("until")?.parse().ok()?,
        by: text("by")?,
        reason: text("reason")?,
        is_window: event.data.get("window")?.as_bool()?,
        expired: None,
    })
}

/// The drifts of `instance` that were kept quiet by that silence (true), or that it did not fit though it was announced as
/// a change window (false).
///
/// # Errors
/// The database cannot be read.
pub fn happened(tx: &Transaction<'_>, silence: &SilenceId, instance: &InstanceId) -> Stored<BTreeMap<String, bool>> {
    let mut drifts = BTreeMap::new();
    for event in [events::of_group(tx, SILENCED, 0)?, events::of_group(tx, UNEXPECTED, 0)?].concat() {
        let text = |name: &str| event.data.get(name).and_then(Value::as_str);
        if event.instance.as_ref() == Some(instance)
            && text("silence") == Some(silence.as_str())
            && let Some(drift) = text("drift")
        {
            drifts.insert(drift.to_owned(), event.kind == SILENCED);
        }
    }
    Ok(drifts)
}
