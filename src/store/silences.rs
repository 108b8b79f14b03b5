//! The events of silences and change windows.

use chrono::{DateTime, Utc};

use super::{Stored, Transaction, events};
use crate::history::Event;
use crate::history::data::{AddedSilence, EndedSilence, ExpiredSilence};
use crate::history::silences::Silences;
use crate::incident::Silence;
use crate::model::InstanceId;

/// Notes that `silence` begins.
///
/// # Errors
/// The database cannot be written.
pub fn begin(tx: &Transaction<'_>, silence: &Silence) -> Stored<()> {
    let added = AddedSilence {
        silence: silence.id.clone(),
        matchers: silence.matchers.iter().map(ToString::to_string).collect(),
        until: silence.until.into(),
        by: silence.by.clone(),
        reason: silence.reason.clone(),
        window: silence.is_window,
    };
    events::append(tx, silence.from, only_instance(silence), &Event::SilenceAdded(added))?;
    Ok(())
}

/// Notes that somebody ended `silence` before its time.
///
/// # Errors
/// The database cannot be written.
pub fn expire(tx: &Transaction<'_>, silence: &Silence, by: &str, at: DateTime<Utc>) -> Stored<()> {
    let expired = ExpiredSilence { silence: silence.id.clone(), by: by.to_owned() };
    events::append(tx, at, only_instance(silence), &Event::SilenceExpired(expired))?;
    Ok(())
}

/// Notes that `silence` is over for `instance`, and that people are told what it kept quiet there.
///
/// # Errors
/// The database cannot be written.
pub fn end(tx: &Transaction<'_>, silence: &Silence, instance: &InstanceId, at: DateTime<Utc>) -> Stored<()> {
    let by = silence.expired.as_ref().map_or(&silence.by, |(_, by)| by);
    let ended = EndedSilence {
        silence: silence.id.clone(),
        by: by.clone(),
        reason: silence.reason.clone(),
        window: silence.is_window,
    };
    events::append(tx, at, Some(instance), &Event::SilenceEnded(ended))?;
    Ok(())
}

fn only_instance(silence: &Silence) -> Option<&InstanceId> {
    let mut instances = silence.instances();
    instances.next().filter(|_| instances.next().is_none())
}

/// Every silence there ever was, oldest first.
///
/// # Errors
/// The database cannot be read.
pub fn all(tx: &Transaction<'_>) -> Stored<Vec<Silence>> {
    let mut silences = Silences::default();
    events::after(tx, 0)?.iter().for_each(|record| silences.apply(record));
    Ok(silences.all().collect())
}
