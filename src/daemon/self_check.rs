//! The self-check of the daemon, from what is recorded: it notifies the receivers of instances that are not read and of
//! receivers that fail, and sends heartbeats to an outside service.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::alerting::{tell, tell_one};
use crate::clock::{Clock, written};
use crate::config::{Config, Instance};
use crate::history::Event;
use crate::history::data::{HealthChange, MissedMessages};
use crate::incident::{IncidentStep, IncidentSubject, SectionIncident, SectionKind};
use crate::message::{Notice, NoticeKind};
use crate::model::InstanceId;
use crate::receiver::BadReceiver;
use crate::receiver::heartbeat::{Heartbeat, HeartbeatSignal};
use crate::status::Statuses;
use crate::store::{self, Store, StoreError, Transaction, UnitOfWork, backlog, cycles, events, instances, outbox};
use crate::telemetry::{ConfigurationDoubt, HeartbeatFailed, HeartbeatTaken, Observable};

/// Time between two looks, and so between two signs of life.
const EVERY: TimeDelta = TimeDelta::seconds(60);
/// How long a receiver may fail before the others are notified.
const PATIENCE: TimeDelta = TimeDelta::hours(1);
/// Pauses before a sign of life is tried again; the next one comes with the next cycle.
const AGAIN: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(10)];

/// Checks that instances are read and receivers take messages.
pub(super) struct SelfCheck {
    config: Arc<Config>,
    statuses: Arc<Statuses>,
    store: Store,
    clock: Arc<dyn Clock>,
    heartbeat: Option<Arc<Heartbeat>>,
    /// Since when each instance can have been read.
    began: BTreeMap<InstanceId, DateTime<Utc>>,
    checked: Option<DateTime<Utc>>,
    /// The end of the newest cycle that a sign of life was sent for, or that another process made.
    beat_for: Option<DateTime<Utc>>,
}

impl SelfCheck {
    pub(super) fn new(
        config: &Arc<Config>,
        statuses: &Arc<Statuses>,
        store: &Store,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, BadReceiver> {
        let heartbeat =
            config.heartbeat.as_ref().map(|place| Heartbeat::new(place, &config.proxy)).transpose()?.map(Arc::new);
        if heartbeat.is_none() {
            let doubt = "no [heartbeat] is configured: if this machine dies, nobody is told";
            ConfigurationDoubt { doubt }.observe();
        }
        let (config, clock) = (Arc::clone(config), Arc::clone(clock));
        let now = clock.now();
        let began = config.instances.iter().map(|instance| (instance.id.clone(), now)).collect();
        let statuses = Arc::clone(statuses);
        Ok(Self { config, statuses, store: store.clone(), clock, heartbeat, began, checked: None, beat_for: Some(now) })
    }

    /// Remembers what the one before it knew. An instance that is new could not be read before.
    pub(super) fn inherit(&mut self, before: &Self) {
        for (instance, began) in &mut self.began {
            if let Some(known) = before.began.get(instance) {
                *began = *known;
            }
        }
        (self.checked, self.beat_for) = (before.checked, before.beat_for);
    }

    /// Runs the check if it is due, and notifies the receivers.
    ///
    /// # Errors
    /// The database cannot be read or written; the service elsewhere is told of that too.
    pub(super) fn check(&mut self, tracker: &TaskTracker, stop: &CancellationToken) -> Result<(), StoreError> {
        let now = self.clock.now();
        if self.checked.is_some_and(|checked| checked + EVERY > now && checked <= now) {
            return Ok(());
        }
        // A machine that slept read nothing, and does so now: that is no trouble, and over before people could look.
        // A clock that was set back makes a beginning that is still to come.
        let has_slept = self.checked.is_some_and(|checked| checked + EVERY * 3 < now);
        self.began.values_mut().filter(|began| has_slept || **began > now).for_each(|began| *began = now);
        self.checked = Some(now);
        let checked = self.check_now(now);
        let beat = match &checked {
            // Only a cycle is a sign of life. After the clock was set back they are counted anew.
            Ok((_, newest)) if *newest <= self.beat_for.filter(|beat_for| *beat_for <= now) => None,
            Ok((beat, newest)) => {
                self.beat_for = *newest;
                Some(beat.clone())
            }
            Err(error) => Some(HeartbeatSignal::Failure(vec![error.to_string()])),
        };
        if let (Some(heartbeat), Some(beat)) = (&self.heartbeat, beat) {
            let status = self.store.read(|tx| status_text(tx, &self.statuses, now)).unwrap_or_default();
            tracker.spawn(send(Arc::clone(heartbeat), beat, status, stop.clone()));
        }
        checked.map(drop)
    }

    fn check_now(&self, now: DateTime<Utc>) -> Result<(HeartbeatSignal, Option<DateTime<Utc>>), StoreError> {
        let (troubles, newest) = self.store.read(|tx| -> Result<_, StoreError> {
            Ok((troubles(tx, &self.config, &self.began, now)?, newest_cycle(tx, &self.config, now)?))
        })?;
        self.store.view_and_decide(
            |tx| Ok::<_, StoreError>((UnitOfWork::of_program(tx)?, notices(tx, &self.config, &troubles, now)?)),
            |unit, found| notify(unit, &self.config, found, now),
        )?;
        let reasons: Vec<String> =
            troubles.iter().map(|trouble| format!("{}: {}", name_of(&trouble.subject), trouble.text)).collect();
        Ok((if reasons.is_empty() { HeartbeatSignal::Success } else { HeartbeatSignal::Failure(reasons) }, newest))
    }
}

async fn send(heartbeat: Arc<Heartbeat>, beat: HeartbeatSignal, status: String, stop: CancellationToken) {
    for pause in AGAIN {
        match heartbeat.send(&beat, &status).await {
            Ok(()) => return HeartbeatTaken.observe(),
            Err(error) => HeartbeatFailed { error: &error, is_last: false }.observe(),
        }
        // At the end there is no time for pauses.
        let _ = tokio::time::timeout(pause, stop.cancelled()).await;
    }
    match heartbeat.send(&beat, &status).await {
        Ok(()) => HeartbeatTaken.observe(),
        Err(error) => HeartbeatFailed { error: &error, is_last: true }.observe(),
    }
}

/// A reason why monitoring does not work.
struct HealthProblem {
    subject: IncidentSubject,
    text: String,
    /// People know it already, by another name.
    is_known: bool,
}

fn name_of(subject: &IncidentSubject) -> String {
    match subject {
        IncidentSubject::Receiver(name) => format!("receiver {name}"),
        IncidentSubject::Instance(id) => id.to_string(),
        _ => String::new(),
    }
}

fn troubles(
    tx: &Transaction<'_>,
    config: &Config,
    began: &BTreeMap<InstanceId, DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<Vec<HealthProblem>, StoreError> {
    let mut troubles = Vec::new();
    for instance in &config.instances {
        let known = known_trouble(tx, &instance.id)?;
        let is_known = known.is_some();
        let began = began.get(&instance.id).copied().unwrap_or(now);
        if let Some(text) = unread(tx, instance, began, now)?.or(known) {
            troubles.push(HealthProblem { subject: IncidentSubject::Instance(instance.id.clone()), text, is_known });
        }
    }
    for receiver in &config.receivers {
        let failing = outbox::failing(tx, &receiver.name)?;
        if let Some(failing) = failing.filter(|failing| failing.given_up > 0 || failing.since + PATIENCE < now) {
            let text = match failing.given_up {
                0 => format!("takes nothing since {}: {}", written(failing.since), failing.reason),
                count => format!("{} given up, the last because of: {}", were(count), failing.reason),
            };
            troubles.push(HealthProblem {
                subject: IncidentSubject::Receiver(receiver.name.clone()),
                text,
                is_known: false,
            });
        }
    }
    Ok(troubles)
}

/// Since when `instance` was not read, and how the last try ended, if that is too long ago.
fn unread(
    tx: &Transaction<'_>,
    instance: &Instance,
    began: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Option<String>, StoreError> {
    let row = instances::find(tx, &instance.id)?;
    let read = row.map_or(Ok(None), |row| cycles::last_reading(tx, row))?;
    // Count from the daemon's start, and ignore readings dated in the future.
    let since = read.filter(|read| *read <= now).map_or(began, |read| read.max(began)).min(now);
    if !instance.schedule.is_late(since, now) {
        return Ok(None);
    }
    let latest = row.map_or(Ok(None), |row| cycles::latest(tx, row))?;
    let last = latest.map_or(String::new(), |cycle| format!("; the last try ended with '{}'", cycle.verdict));
    Ok(Some(format!("no reading since {}{last}", written(since))))
}

/// What people were told already that keeps the instance from being compared whole.
fn known_trouble(tx: &Transaction<'_>, id: &InstanceId) -> Result<Option<String>, StoreError> {
    let Some(row) = instances::find(tx, id)? else { return Ok(None) };
    if let Some(code) = tx.history()?.state.untrusted(id) {
        return Ok(Some(format!("the baseline cannot be trusted ({code})")));
    }
    let sections = store::section_incidents::load(tx, row)?;
    let is_blind = |section: &&SectionIncident| section.is_told && section.kind != SectionKind::Unbaselined;
    let blind = sections.values().filter(is_blind).count();
    Ok((blind > 0).then(|| format!("{blind} sections or credentials cannot be read")))
}

/// When the newest cycle was, of those that were: a clock that went ahead leaves some that are still to come.
fn newest_cycle(
    tx: &Transaction<'_>,
    config: &Config,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let mut newest = None;
    for instance in &config.instances {
        if let Some(row) = instances::find(tx, &instance.id)? {
            newest = newest.max(cycles::latest(tx, row)?.map(|cycle| cycle.at).filter(|at| *at <= now));
        }
    }
    Ok(newest)
}

/// What there is to record and notify of one instance or receiver: each event with its notice.
struct HealthNotices<'a> {
    instance: Option<&'a InstanceId>,
    receiver: Option<&'a str>,
    notices: Vec<(Event, Notice)>,
}

/// A notice and its event.
type HealthKind = (NoticeKind, fn(HealthChange) -> Event);

/// The notices of what began, of what is over, and of what a receiver never got that takes messages.
fn notices<'a>(
    tx: &Transaction<'_>,
    config: &'a Config,
    troubles: &[HealthProblem],
    now: DateTime<Utc>,
) -> Result<Vec<HealthNotices<'a>>, StoreError> {
    let instances = config.instances.iter().map(|instance| (Some(&instance.id), None));
    let receivers = config.receivers.iter().map(|receiver| (None, Some(receiver.name.as_str())));
    let mut found = Vec::new();
    for (instance, receiver) in instances.chain(receivers) {
        let subject = match (instance, receiver) {
            (Some(id), _) => IncidentSubject::Instance(id.clone()),
            (None, name) => IncidentSubject::Receiver(name.unwrap_or_default().to_owned()),
        };
        let [(begin, began), (end, ended)]: [HealthKind; 2] = match receiver {
            None => [(NoticeKind::Unread, Event::InstanceUnread), (NoticeKind::ReadAgain, Event::InstanceReadAgain)],
            Some(_) => [
                (NoticeKind::ReceiverFailed, Event::ReceiverFailed),
                (NoticeKind::ReceiverRecovered, Event::ReceiverRecovered),
            ],
        };
        let change = |reason: &str| HealthChange { receiver: receiver.map(str::to_owned), reason: reason.to_owned() };
        let notice =
            |kind, text: &str| Notice { kind, subject: receiver.unwrap_or_default().to_owned(), text: text.to_owned() };
        let trouble = troubles.iter().find(|trouble| trouble.subject == subject);
        let mut notices = Vec::new();
        match (tx.history()?.state.incidents.step(&subject, trouble.map(|_| begin.event_type()), now), trouble) {
            (Some(IncidentStep::Begin), Some(HealthProblem { text, is_known: false, .. })) => {
                notices.push((began(change(text)), notice(begin, text)));
            }
            (Some(IncidentStep::End), _) => {
                let text = "everything is as it should be again";
                notices.push((ended(change(text)), notice(end, text)));
            }
            _ => {}
        }
        if let (Some(name), None) = (receiver, trouble) {
            let missed = backlog::missed(tx, name)?;
            if let Some(last) = missed.last() {
                let reason = format!("{} given up, the last because of: {}", were(missed.len() as u64), last.reason);
                let notice = notice(NoticeKind::Missed, &reason);
                let messages = missed.into_iter().map(|missed| missed.id).collect();
                let receiver = Some(name.to_owned());
                notices.push((Event::ReceiverMissed(MissedMessages { receiver, reason, messages }), notice));
            }
        }
        if !notices.is_empty() {
            found.push(HealthNotices { instance, receiver, notices });
        }
    }
    Ok(found)
}

fn were(count: u64) -> String {
    if count == 1 { "a message was".to_owned() } else { format!("{count} messages were") }
}

fn notify(
    unit: &mut UnitOfWork,
    config: &Config,
    found: Vec<HealthNotices<'_>>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    for HealthNotices { instance, receiver, notices } in found {
        let mut told = Vec::new();
        for (event, notice) in notices {
            unit.append(now, instance, &event)?;
            told.push(notice);
        }
        // A receiver is not notified of its own failure or recovery, only of the messages that it never got.
        tell(unit, config, instance, &told, receiver, now)?;
        told.retain(|notice| notice.kind == NoticeKind::Missed);
        let itself = config.receivers.iter().find(|one| receiver == Some(one.name.as_str()));
        if let Some(itself) = itself.filter(|_| !told.is_empty()) {
            tell_one(unit, itself, told, now)?;
        }
    }
    Ok(())
}

/// The body of a heartbeat, for people. It holds the head of the history, which cannot be changed there any more.
fn status_text(tx: &Transaction<'_>, statuses: &Statuses, now: DateTime<Utc>) -> Result<String, StoreError> {
    let mut lines = vec![format!("authdrift {} at {}", env!("CARGO_PKG_VERSION"), written(now))];
    if let Some(mark) = events::mark(tx)? {
        lines.push(format!("history {} {}", mark.size, mark.head));
    }
    let trust = statuses.trust()?;
    for instance in statuses.instances() {
        let status = statuses.of(tx, instance, &trust, now)?;
        let words = match &status.cycle {
            Some(cycle) => format!("{} {}", status.verdict, written(cycle.at)),
            None => status.words(),
        };
        lines.push(format!("{} {words}", instance.id));
    }
    Ok(lines.join("\n"))
}
