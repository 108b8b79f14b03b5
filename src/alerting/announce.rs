//! From transitions to messages: one per receiver, with the entries that pass its filter, one entry per setting.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::Notifications;
use super::cause::causes;
use crate::baseline::BaselineSummary;
use crate::classify::{ChangeMeaning, FindingSet};
use crate::config::{Config, Filter, Receiver};
use crate::host::hostname;
use crate::incident::{Drift, DriftStep, Muting, Notification, NotificationLog, SectionKind, Status, Transition};
use crate::message::{
    Alert, ApprovedBaseline, Entry, EntryChange, EntryStatus, Item, Message, Notice, SectionStatus, Window,
    fold::grouped,
};
use crate::model::{Digest, HistoryMark, InstanceId, Severity};
use crate::receiver;
use crate::store::{StoreError, UnitOfWork};

/// The common part of every message of one commit.
pub struct Origin<'a> {
    /// The configuration, with the receivers.
    pub config: &'a Config,
    /// The classified changes.
    pub findings: &'a FindingSet<'a>,
    /// The instance.
    pub instance: &'a InstanceId,
    /// The vendor's identity of it.
    pub resource: &'a str,
    /// When.
    pub at: DateTime<Utc>,
    /// The baseline.
    pub baseline: Option<BaselineSummary>,
}

/// Puts the messages about `told` into the outbox.
///
/// # Errors
/// The database cannot be written.
pub fn announce(unit: &mut UnitOfWork, origin: &Origin<'_>, told: Notifications) -> Result<(), StoreError> {
    let open = unit.count_open();
    let mut entries = entries(origin, &told.transitions);
    count_still_open(unit, origin, &mut entries)?;
    let untrusted = told.untrusted.into_iter().map(Item::Untrusted);
    let trust = untrusted.chain(told.trusted_again.then_some(Item::TrustedAgain));
    let items = trust.chain(entries.into_iter().map(Item::Setting));
    let items = items.chain(told.sections.into_iter().map(Item::Section));
    let items = items.chain(told.notices.into_iter().map(Item::Notice));
    let mut alert = Alert {
        instance: Some(origin.instance.clone()),
        resource: origin.resource.to_owned(),
        baseline: origin.baseline.as_ref().map(approved_baseline),
        window: window(&told.transitions),
        items: items.collect(),
        open,
        ..about_nothing(unit, origin.at)?
    };
    if !alert.items.is_empty() {
        alert.approvers_needed = approvers_needed(unit, origin, &alert.items)?;
        for receiver in &origin.config.receivers {
            if let Some(alert) = share(&alert, receiver, &origin.config.receivers) {
                post(unit, receiver, alert, origin.at)?;
            }
        }
    }
    // Threads go on while anything is open, blind or untrusted.
    let is_blind = match unit.sections() {
        Ok(known) => known.values().any(|section| section.kind != SectionKind::Unbaselined && section.is_told),
        Err(StoreError::Damaged(_)) => true,
        Err(error) => return Err(error),
    };
    if open == 0 && !is_blind && unit.history()?.state.untrusted(origin.instance).is_none() {
        unit.end_threads();
    }
    Ok(())
}

/// Puts messages about the watch itself into the outbox, of `instance` or of everything, for every receiver but `except`.
///
/// # Errors
/// The database cannot be written.
pub fn tell(
    unit: &mut UnitOfWork,
    config: &Config,
    instance: Option<&InstanceId>,
    notices: &[Notice],
    except: Option<&str>,
    at: DateTime<Utc>,
) -> Result<(), StoreError> {
    let alert = Alert {
        instance: instance.cloned(),
        items: notices.iter().cloned().map(Item::Notice).collect(),
        ..about_nothing(unit, at)?
    };
    for receiver in config.receivers.iter().filter(|receiver| except != Some(receiver.name.as_str())) {
        if let Some(alert) = share(&alert, receiver, &config.receivers) {
            keep(unit, receiver, alert, at)?;
        }
    }
    Ok(())
}

/// Puts one message about the program itself into the outbox, for one receiver, whatever its filter.
///
/// # Errors
/// The database cannot be written.
pub fn tell_one(
    unit: &mut UnitOfWork,
    receiver: &Receiver,
    notices: Vec<Notice>,
    at: DateTime<Utc>,
) -> Result<(), StoreError> {
    let items = notices.into_iter().map(Item::Notice).collect();
    keep(unit, receiver, Alert { items, ..about_nothing(unit, at)? }, at)
}

/// The number of approvers that everything open needs. A section that is new to the baseline may hold anything.
fn approvers_needed(unit: &UnitOfWork, origin: &Origin<'_>, items: &[Item]) -> Result<usize, StoreError> {
    let rules = &origin.config.approval.rules;
    if rules.least() == rules.most() || items.iter().any(is_unbaselined) {
        return Ok(rules.most());
    }
    let severity = |drift: &Drift| origin.findings.of(&drift.change).meaning.severity;
    let worst = unit.open_drifts()?.map(severity).max();
    Ok(rules.need(worst.unwrap_or(Severity::Info)))
}

/// Keeps a message that follows up no other.
fn keep(unit: &mut UnitOfWork, receiver: &Receiver, alert: Alert, at: DateTime<Utc>) -> Result<(), StoreError> {
    unit.queue(with_body(receiver, Message::new(&receiver.name, alert, at)))
}

/// The message with its body, so that every try sends the same bytes.
fn with_body(receiver: &Receiver, message: Message) -> Message {
    Message { body: receiver::body(&receiver.kind, &message), ..message }
}

/// An alert that says nothing yet, with where the history stands.
fn about_nothing(unit: &UnitOfWork, at: DateTime<Utc>) -> Result<Alert, StoreError> {
    let mark = unit.history()?.mark.clone();
    let event = mark.unwrap_or_else(|| HistoryMark { size: 0, head: Digest::of(b"") });
    Ok(Alert::of_watch(Vec::new(), at, event, hostname()))
}

/// Keeps one message, in the thread of its instance at this receiver.
fn post(unit: &mut UnitOfWork, receiver: &Receiver, alert: Alert, at: DateTime<Utc>) -> Result<(), StoreError> {
    // A new incident, or one that is more severe than the thread, begins a thread of its own: a change is not to be found
    // under the subject of another one.
    let thread = unit.thread(&receiver.name)?.cloned();
    let thread =
        thread.filter(|thread| !alert.is_beginning() && (alert.is_all_clear() || alert.severity() <= thread.severity));
    let mut message = Message::new(&receiver.name, alert, at);
    if let Some(thread) = thread {
        message.subject = format!("Re: {}", thread.subject);
        message.thread = Some(thread.root);
    }
    let message = with_body(receiver, message);
    unit.queue(message.clone())?;
    if message.thread.is_none() {
        unit.begin_thread(message);
    }
    Ok(())
}

/// The part of `alert` that passes the filter of `receiver`, if any. The default receiver also gets unrouted parts.
fn share(alert: &Alert, receiver: &Receiver, receivers: &[Receiver]) -> Option<Alert> {
    let wants = |takes: &dyn Fn(&Filter) -> bool| {
        let of = |one: &Receiver| takes_instance(alert, &one.filter) && takes(&one.filter);
        of(receiver) || receiver.is_default && !receivers.iter().any(of)
    };
    let mut wanted = alert.clone();
    wanted.items.retain(|item| match item {
        Item::Setting(entry) => wants(&|filter| {
            entry.meaning.severity >= filter.min_severity
                && filter.categories.as_ref().is_none_or(|categories| entry.is_of(categories))
        }),
        // Blindness and its end go to every receiver, so that a missing alert is never mistaken for safety.
        _ => wants(&|filter| !is_unbaselined(item) || filter.min_severity == Severity::Info),
    });
    (!wanted.items.is_empty()).then_some(wanted)
}

fn is_unbaselined(item: &Item) -> bool {
    matches!(item, Item::Section(section) if section.news == SectionStatus::Unbaselined)
}

/// An alert about the program itself passes every filter.
fn takes_instance(alert: &Alert, filter: &Filter) -> bool {
    let instances = filter.instances.as_ref().zip(alert.instance.as_ref());
    instances.is_none_or(|(instances, instance)| instances.contains(instance))
}

/// One entry per setting and status, most severe first. A difference that follows from another one is part of its entry.
fn entries(origin: &Origin<'_>, transitions: &[Transition]) -> Vec<Entry> {
    let (mut changes, mut entries) = (Vec::new(), Vec::new());
    for transition in transitions {
        let Some(news) = news_of(transition) else { continue };
        let change = &transition.drift.change;
        let until = origin.baseline.as_ref().and_then(|baseline| baseline.end_of(&change.path));
        entries.push(entry(news, transition, until));
        changes.push(change);
    }
    let causes = causes(origin.findings.catalogue().table(), &changes);
    let joined = entries.iter().zip(causes).map(|(entry, cause)| {
        // The whole is as severe as its worst part, and a filter by category looks at every part.
        let cause = cause.and_then(|cause| entries.get(cause)).filter(|cause| cause.news == entry.news);
        cause.map_or_else(|| entry.clone(), |cause| entry.clone().as_part_of(cause))
    });
    grouped(joined)
}

/// Fills in how many reported differences of the same setting are still open after each end.
fn count_still_open(unit: &UnitOfWork, origin: &Origin<'_>, entries: &mut [Entry]) -> Result<(), StoreError> {
    if !entries.iter().any(|entry| entry.news.is_over()) {
        return Ok(());
    }
    let notification_logs = unit.history()?.state.notification_logs_of(origin.instance);
    let mut topics: BTreeMap<String, usize> = BTreeMap::new();
    for drift in unit.open_drifts()? {
        // A muted drift was never reported, so it does not count as open.
        if !notification_logs.get(drift.id.as_str()).is_some_and(NotificationLog::is_untold) {
            *topics.entry(origin.findings.of(&drift.change).topic.clone()).or_default() += 1;
        }
    }
    for entry in entries.iter_mut().filter(|entry| entry.news.is_over()) {
        entry.still_open = topics.get(&entry.topic).copied().unwrap_or_default();
    }
    Ok(())
}

fn entry(news: EntryStatus, transition: &Transition, until: Option<DateTime<Utc>>) -> Entry {
    let (known, finding) = (&transition.drift, &transition.finding);
    let unannounced = match &transition.muting {
        Muting::Escalated { reason, .. } => Some(reason.clone()),
        Muting::None | Muting::Silenced(_) => None,
    };
    let severity = transition.muting.severity(finding.meaning.severity).max(transition.worst);
    Entry {
        news,
        meaning: ChangeMeaning { severity, ..finding.meaning.clone() },
        topic: finding.topic.clone(),
        also: Vec::new(),
        last_good: known.last_good,
        first_seen: known.first_seen,
        closed_at: known.closed_at,
        still_open: 0,
        reopened: known.reopened,
        approved_by: known.closed_by.clone(),
        approved_until: until.filter(|_| news == EntryStatus::Approved),
        unannounced,
        changes: vec![EntryChange { id: known.id.clone(), change: known.change.clone() }],
    }
}

fn news_of(transition: &Transition) -> Option<EntryStatus> {
    match transition.notification {
        Notification::Nothing => return None,
        Notification::Reminder => return Some(EntryStatus::StillOpen),
        Notification::Flapping => return Some(EntryStatus::Flapping),
        Notification::Stabilised if transition.drift.status == Status::Open => return Some(EntryStatus::StillOpen),
        Notification::Stabilised => return Some(EntryStatus::Reverted),
        Notification::Step | Notification::Deferred(_) => {}
    }
    let step = match transition.notification {
        Notification::Deferred(step) => step,
        _ => transition.step,
    };
    match (step, transition.drift.status) {
        (DriftStep::Opened, _) => Some(EntryStatus::Opened),
        (DriftStep::Reopened, _) => Some(EntryStatus::Reopened),
        (DriftStep::Changed, _) => Some(EntryStatus::Changed),
        (DriftStep::Ended, Status::Approved) => Some(EntryStatus::Approved),
        (DriftStep::Ended, _) => Some(EntryStatus::Reverted),
        (DriftStep::Unchanged, _) => None,
    }
}

/// The time in which everything new happened: from the oldest last reading without it to the first with it.
fn window(transitions: &[Transition]) -> Option<Window> {
    let is_new = |transition: &&Transition| {
        matches!(transition.step, DriftStep::Opened | DriftStep::Reopened)
            || matches!(transition.notification, Notification::Deferred(DriftStep::Opened | DriftStep::Reopened))
    };
    let new: Vec<&Drift> = transitions.iter().filter(is_new).map(|transition| &transition.drift).collect();
    let first_different = new.iter().map(|drift| drift.first_seen).max()?;
    let last_good: Option<Vec<DateTime<Utc>>> = new.iter().map(|drift| drift.last_good).collect();
    Some(Window { last_good: last_good.and_then(|times| times.into_iter().min()), first_different })
}

fn approved_baseline(baseline: &BaselineSummary) -> ApprovedBaseline {
    ApprovedBaseline {
        sequence: baseline.sequence,
        approved_at: baseline.approved_at,
        approvers: baseline.approvers.clone(),
        reason: baseline.approval_reason.clone(),
    }
}
