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
use crate::incident::{SectionIncident, SectionKind};
use crate::message::{Notice, NoticeKind};
use crate::model::{InstanceId, MessageId};
use crate::receiver::BadReceiver;
use crate::receiver::heartbeat::{Heartbeat, HeartbeatSignal};
use crate::status::Statuses;
use crate::store::events;
use crate::store::{self, Store, StoreError, Transaction, backlog, cycles, instances, outbox};
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
        let is_news =
            self.store.read(|tx| -> Result<_, StoreError> { Ok(!notices(tx, &self.config, &troubles)?.is_empty()) })?;
        if is_news {
            self.store.write(|tx| notify(tx, &self.config, &troubles, now))?;
        }
        let reasons: Vec<String> =
            troubles.iter().map(|trouble| format!("{}: {}", trouble.of(), trouble.text)).collect();
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
    subject: CheckSubject,
    text: String,
    /// People know it already, by another name.
    is_known: bool,
}

#[derive(PartialEq)]
enum CheckSubject {
    Instance(InstanceId),
    Receiver(String),
}

impl HealthProblem {
    fn of(&self) -> String {
        self.subject.name()
    }
}

impl CheckSubject {
    fn name(&self) -> String {
        match self {
            Self::Instance(id) => id.to_string(),
            Self::Receiver(name) => format!("receiver {name}"),
        }
    }

    fn kinds(&self) -> [NoticeKind; 2] {
        match self {
            Self::Instance(_) => [NoticeKind::Unread, NoticeKind::ReadAgain],
            Self::Receiver(_) => [NoticeKind::ReceiverFailed, NoticeKind::ReceiverRecovered],
        }
    }

    /// Whether people were told last that it is in trouble.
    fn was_notified(&self, tx: &Transaction<'_>) -> Result<bool, StoreError> {
        let (instance, receiver) = match self {
            Self::Instance(id) => (Some(id), None),
            Self::Receiver(name) => (None, Some(name)),
        };
        let replay = tx.history()?;
        let newest = replay.state.newest(instance, |event| match event {
            Event::InstanceUnread(health)
            | Event::InstanceReadAgain(health)
            | Event::ReceiverFailed(health)
            | Event::ReceiverRecovered(health) => health.receiver.as_ref() == receiver,
            _ => false,
        });
        Ok(newest.is_some_and(|record| matches!(record.event, Event::InstanceUnread(_) | Event::ReceiverFailed(_))))
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
            troubles.push(HealthProblem { subject: CheckSubject::Instance(instance.id.clone()), text, is_known });
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
                subject: CheckSubject::Receiver(receiver.name.clone()),
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
    let sections = store::news::known(tx, row)?;
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

/// The notices about one instance or receiver, and the messages that it never got.
struct HealthNotice {
    subject: CheckSubject,
    notices: Vec<(NoticeKind, String)>,
    missed: Vec<MessageId>,
}

/// What began, with what is to be said of it, what is over, and what a receiver never got that takes messages.
fn notices(tx: &Transaction<'_>, config: &Config, troubles: &[HealthProblem]) -> Result<Vec<HealthNotice>, StoreError> {
    let instances = config.instances.iter().map(|instance| CheckSubject::Instance(instance.id.clone()));
    let receivers = config.receivers.iter().map(|receiver| CheckSubject::Receiver(receiver.name.clone()));
    let mut found = Vec::new();
    for subject in instances.chain(receivers) {
        let trouble = troubles.iter().find(|trouble| trouble.subject == subject);
        let [begin, end] = subject.kinds();
        let mut notices = Vec::new();
        match (trouble, subject.was_notified(tx)?) {
            (Some(trouble), false) if !trouble.is_known => notices.push((begin, trouble.text.clone())),
            (None, true) => notices.push((end, "everything is as it should be again".to_owned())),
            _ => {}
        }
        let missed = match (&subject, trouble) {
            (CheckSubject::Receiver(name), None) => backlog::missed(tx, name)?,
            _ => Vec::new(),
        };
        if let Some(last) = missed.last() {
            let text = format!("{} given up, the last because of: {}", were(missed.len() as u64), last.reason);
            notices.push((NoticeKind::Missed, text));
        }
        if !notices.is_empty() {
            let missed = missed.into_iter().map(|missed| missed.id).collect();
            found.push(HealthNotice { subject, notices, missed });
        }
    }
    Ok(found)
}

fn were(count: u64) -> String {
    if count == 1 { "a message was".to_owned() } else { format!("{count} messages were") }
}

fn notify(
    tx: &Transaction<'_>,
    config: &Config,
    troubles: &[HealthProblem],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    for HealthNotice { subject, notices, missed } in notices(tx, config, troubles)? {
        let (instance, receiver) = match &subject {
            CheckSubject::Instance(id) => (Some(id), None),
            CheckSubject::Receiver(name) => (None, Some(name.as_str())),
        };
        let mut told = Vec::new();
        for (kind, text) in notices {
            let change = HealthChange { receiver: receiver.map(str::to_owned), reason: text.clone() };
            let event = match kind {
                NoticeKind::Unread => Event::InstanceUnread(change),
                NoticeKind::ReadAgain => Event::InstanceReadAgain(change),
                NoticeKind::ReceiverFailed => Event::ReceiverFailed(change),
                NoticeKind::ReceiverRecovered => Event::ReceiverRecovered(change),
                _ => Event::ReceiverMissed(MissedMessages {
                    receiver: change.receiver,
                    reason: change.reason,
                    messages: missed.clone(),
                }),
            };
            events::append(tx, now, instance, &event)?;
            told.push(Notice { kind, subject: receiver.unwrap_or_default().to_owned(), text });
        }
        // A receiver is not notified of its own failure or recovery, only of the messages that it never got.
        tell(tx, config, instance, &told, receiver, now)?;
        told.retain(|notice| notice.kind == NoticeKind::Missed);
        let itself = config.receivers.iter().find(|one| receiver == Some(one.name.as_str()));
        if let Some(itself) = itself.filter(|_| !told.is_empty()) {
            tell_one(tx, itself, told, now)?;
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
