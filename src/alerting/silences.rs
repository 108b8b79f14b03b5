//! The beginning and the end of silences and change windows, with their notices.

use chrono::{DateTime, Utc};

use super::{Origin, tell};
use crate::clock::written;
use crate::config::{ApprovalConfig, Config};
use crate::history::Event;
use crate::history::data::{AddedSilence, EndedSilence, ExpiredSilence};
use crate::history::silences::RecordedSilence;
use crate::incident::{Silence, Status};
use crate::message::{Notice, NoticeKind, listed};
use crate::model::{InstanceId, Severity, display_safe};
use crate::store::{StoreError, UnitOfWork};

/// Drifts named in one sentence before the rest is counted.
const MOST_NAMED: usize = 10;

/// Begins a silence and notifies every receiver, because an attacker with a shell could begin one.
///
/// # Errors
/// The database cannot be written.
pub fn begin(unit: &mut UnitOfWork, config: &Config, silence: &Silence) -> Result<(), StoreError> {
    record_begin(unit, silence)?;
    let kind = if silence.is_window { NoticeKind::WindowOpened } else { NoticeKind::Silenced };
    let text = format!(
        "{} until {}, by {}: \"{}\" ({})",
        silence.words(),
        written(silence.until),
        display_safe(&silence.by),
        display_safe(&silence.reason),
        silence.id
    );
    tell(unit, config, None, &[Notice { kind, subject: String::new(), text }], None, silence.from)
}

fn record_begin(unit: &mut UnitOfWork, silence: &Silence) -> Result<(), StoreError> {
    let added = AddedSilence {
        silence: silence.id.clone(),
        matchers: silence.matchers.iter().map(ToString::to_string).collect(),
        until: silence.until.into(),
        by: silence.by.clone(),
        reason: silence.reason.clone(),
        window: silence.is_window,
    };
    unit.append(silence.from, only_instance(silence), &Event::SilenceAdded(added))
}

/// Records that somebody ended `silence` before its time.
///
/// # Errors
/// The database cannot be written.
pub fn expire(unit: &mut UnitOfWork, silence: &Silence, by: &str, at: DateTime<Utc>) -> Result<(), StoreError> {
    let expired = ExpiredSilence { silence: silence.id.clone(), by: by.to_owned() };
    unit.append(at, only_instance(silence), &Event::SilenceExpired(expired))
}

/// Records that `silence` is over for `instance`, and that people are told what it kept quiet there.
fn record_end(
    unit: &mut UnitOfWork,
    silence: &Silence,
    instance: &InstanceId,
    at: DateTime<Utc>,
) -> Result<(), StoreError> {
    let by = silence.expired.as_ref().map_or(&silence.by, |(_, by)| by);
    let ended = EndedSilence {
        silence: silence.id.clone(),
        by: by.clone(),
        reason: silence.reason.clone(),
        window: silence.is_window,
    };
    unit.append(at, Some(instance), &Event::SilenceEnded(ended))
}

fn only_instance(silence: &Silence) -> Option<&InstanceId> {
    let mut instances = silence.instances();
    instances.next().filter(|_| instances.next().is_none())
}

/// A notice for every silence that is over and was not reported as over yet for this instance.
///
/// # Errors
/// The database cannot be read or written.
pub fn of_ends(
    unit: &mut UnitOfWork,
    origin: &Origin<'_>,
    asked: &[RecordedSilence],
) -> Result<Vec<Notice>, StoreError> {
    let (instance, at) = (origin.instance, origin.at);
    let mut notices = Vec::new();
    let is_ending = |told: &&RecordedSilence| {
        told.silence.is_over(at) && told.silence.is_about(instance) && !told.ended.contains(instance)
    };
    for told in asked.iter().filter(is_ending) {
        let silence = &told.silence;
        // This cycle may have kept something quiet, or found it to be unannounced.
        let happened = unit.history()?.state.silences.happened(&silence.id, instance);
        let mut end = End::default();
        for drift in unit.drifts()?.values() {
            let Some(was_quiet) = happened.get(drift.id.as_str()) else { continue };
            let finding = origin.findings.of(&drift.change);
            let (name, severity) = (finding.meaning.title.clone(), finding.meaning.severity);
            let is_open = drift.status == Status::Open;
            match (was_quiet, is_open) {
                (true, true) => end.open.push(name),
                (true, false) => end.over.push(name),
                (false, _) => end.unexpected.push(name),
            }
            if is_open {
                end.different.push(drift.id.to_string());
                end.worst = end.worst.max(Some(severity));
            }
        }
        record_end(unit, silence, instance, at)?;
        // One that names no instance is said to be over once, and otherwise where it mattered.
        let is_named = silence.instances().next().is_some();
        if is_named || told.ended.is_empty() || !happened.is_empty() {
            let kind = if silence.is_window { NoticeKind::WindowEnded } else { NoticeKind::SilenceEnded };
            notices.push(Notice {
                kind,
                subject: String::new(),
                text: end.words(silence, instance, &origin.config.approval),
            });
        }
    }
    Ok(notices)
}

/// The drifts of a silence or change window.
#[derive(Debug, Default)]
struct End {
    /// Kept quiet, and still open.
    open: Vec<String>,
    /// Kept quiet, and over.
    over: Vec<String>,
    /// Not announced.
    unexpected: Vec<String>,
    /// The drifts that are still open.
    different: Vec<String>,
    /// The most severe of them.
    worst: Option<Severity>,
}

impl End {
    fn words(&self, silence: &Silence, instance: &InstanceId, approval: &ApprovalConfig) -> String {
        let mut parts = Vec::new();
        let mut part = |names: &[String], one: &str, more: &str| match names.len() {
            0 => {}
            1 => parts.push(format!("1 {one}: {}", sorted(names))),
            n => parts.push(format!("{n} {more}: {}", sorted(names))),
        };
        let (what, none) = if silence.is_window {
            part(&self.open, "announced change is still different", "announced changes are still different");
            part(&self.over, "announced change was made and is over", "announced changes were made and are over");
            part(&self.unexpected, "change was not announced", "changes were not announced");
            ("In the change window", "nothing changed")
        } else {
            part(&self.open, "drift is still open", "drifts are still open");
            part(&self.over, "came and went, or was approved", "came and went, or were approved");
            ("Kept quiet", "nothing")
        };
        let parts = if parts.is_empty() { none.to_owned() } else { parts.join("; ") };
        let end = match &silence.expired {
            Some((_, by)) => format!("ended by {}", display_safe(by)),
            None => "its time is over".to_owned(),
        };
        let (by, reason) = (display_safe(&silence.by), display_safe(&silence.reason));
        let mut text = format!("\"{reason}\" of {by} ({}), {end}. {what}: {parts}.", silence.id);
        if silence.is_window && !self.different.is_empty() {
            let some: Vec<&str> = self.different.iter().take(MOST_NAMED).map(String::as_str).collect();
            let mut command = approval.command(instance, self.worst.unwrap_or(Severity::Info));
            if self.different.len() <= MOST_NAMED {
                command.push_str(&format!(" --only {}", some.join(" ")));
            }
            text.push_str(&format!(" To approve what is still different: {command}"));
        }
        text
    }
}

fn sorted(names: &[String]) -> String {
    let mut names: Vec<String> = names.to_vec();
    names.sort();
    listed(&names, "setting")
}
