//! One pass for one instance, from the first request to the last commit. Reads top to bottom like the data flows.

mod decide;
mod failure;
pub mod report;
mod reread;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use decide::decide;
pub use failure::ReadFailure;
pub use report::Report;

use crate::baseline::{Evaluation, evaluate, verified_baseline};
use crate::canonical::{self, Redaction};
use crate::classify::Catalogue;
use crate::clock::Clock;
use crate::config::{Config, Instance};
use crate::incident;
use crate::model::{Digest, InstanceId, Resource, State};
use crate::provider::{Fetched, LeftOut, Limits, Progress, ReadError, Reader, RequestRecord, Wanted};
use crate::sections::Api;
use crate::snapshot::{Reading, Snapshot};
use crate::store::cycles::Cycle;
use crate::store::{Store, StoreError, Transaction, UnitOfWork};
use crate::telemetry::{Observable, Reread};
use crate::trust::Untrusted;
use crate::trust_files::TrustFiles;

/// Everything a cycle of one instance needs. Kept from cycle to cycle.
pub struct Monitor {
    config: Arc<Config>,
    instance: Instance,
    catalogue: Arc<Catalogue>,
    store: Store,
    clock: Arc<dyn Clock>,
    reader: Reader,
    /// Readings of sections that are not asked for in every cycle, and when they were made.
    cached: Mutex<BTreeMap<String, (DateTime<Utc>, Reading)>>,
    on_step: OnStep,
}

/// Is called with the step of a cycle.
type OnStep = Box<dyn Fn(&InstanceId, CycleStep) + Send + Sync>;

/// What a cycle is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CycleStep {
    /// It reads.
    Reading(Progress),
    /// It found something new in so many sections and waits to read them again.
    Waiting {
        /// How many sections.
        sections: usize,
        /// How long.
        wait: Duration,
    },
}

/// Whether a cycle leaves anything behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunMode {
    /// Snapshot, drifts, history and messages are recorded.
    Commit,
    /// Nothing is written.
    DryRun,
}

/// What one reading gave.
struct ReadResult {
    snapshot: Snapshot,
    failure: Option<ReadFailure>,
    /// The keys seem to be of two instances.
    mismatch: Option<ReadFailure>,
    /// Credentials that the vendor does not accept.
    refused: BTreeMap<Api, String>,
    /// What was read of suspect sections.
    suspected: BTreeMap<String, Digest>,
    /// Objects that are listed and were refused as if they were not there.
    left_out: LeftOut,
    requests: u64,
    collection: Vec<RequestRecord>,
    /// What is in the database and could not be compared with.
    unusable: Option<String>,
    /// A row that everything needs and that cannot be read: nothing is compared.
    damage: Option<String>,
}

/// What a cycle knows beside the database.
struct Input<'a> {
    config: &'a Config,
    instance: &'a Instance,
    catalogue: &'a Catalogue,
    read: &'a ReadResult,
    cycle: &'a Cycle,
    /// Bytes that are free for the database; none for one in memory.
    free: Option<u64>,
}

impl ReadResult {
    /// What `work` found, or what is found where a row cannot be read that only it needs.
    fn or_unusable<T: Default>(&mut self, work: Result<T, StoreError>) -> Result<T, StoreError> {
        match work {
            Err(StoreError::Damaged(reason)) => {
                self.unusable.get_or_insert(reason);
                Ok(T::default())
            }
            outcome => outcome,
        }
    }

    /// Takes over what `section` left out when it was read again.
    fn replace_left_out(&mut self, section: &str, again: &mut LeftOut) {
        self.left_out.remove(section);
        if let Some(keys) = again.remove(section) {
            self.left_out.insert(section.to_owned(), keys);
        }
    }
}

impl Monitor {
    /// Prepares to watch `instance`.
    ///
    /// # Errors
    /// The HTTP client cannot be made.
    pub fn new(
        config: Arc<Config>,
        instance: &Instance,
        catalogue: Arc<Catalogue>,
        store: Store,
        clock: Arc<dyn Clock>,
        limits: Limits,
    ) -> Result<Self, ReadError> {
        let reader = Reader::new(instance, limits)?;
        Ok(Self {
            config,
            instance: instance.clone(),
            catalogue,
            store,
            clock,
            reader,
            cached: Mutex::default(),
            on_step: Box::new(|_, _| {}),
        })
    }

    /// Calls `tell` at every step, so that a person at a terminal knows why nothing happens.
    #[must_use]
    pub fn on_step(mut self, tell: impl Fn(&InstanceId, CycleStep) + Send + Sync + 'static) -> Self {
        self.on_step = Box::new(tell);
        self
    }

    /// The instance.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// What its settings mean.
    pub fn catalogue(&self) -> Arc<Catalogue> {
        Arc::clone(&self.catalogue)
    }

    /// Reads, compares, confirms what is new, and commits.
    ///
    /// # Errors
    /// The store cannot be used. Whatever goes wrong at the vendor or with the baseline is part of the report.
    pub async fn cycle(&self, mode: RunMode) -> Result<Report, StoreError> {
        let timer = Instant::now();
        let free = self.store.free_space()?;
        let (mut read, trust) = self.read_all().await?;
        self.confirm_moving_sections(&mut read, &trust).await?;
        self.cache(&read.snapshot);
        let cycle = Cycle {
            at: self.clock.now(),
            duration: timer.elapsed(),
            requests: read.requests,
            verdict: String::new(),
            collection: serde_json::to_string(&read.collection)
                .unwrap_or_else(|error| unreachable!("internal: a record of requests has no JSON form: {error}")),
        };
        loop {
            match self.record(mode, &read, &cycle, free) {
                // Of all that was read, only that section is not kept.
                Err(StoreError::Unreadable { what, section: Some(section) })
                    if read.snapshot.sections.get(&section).is_some_and(|reading| reading.document().is_some()) =>
                {
                    let reason = format!("{what} could not be read again");
                    read.snapshot.sections.insert(section, Reading::without(State::Unreachable, reason));
                }
                // One row costs this comparison, and no cycle.
                Err(StoreError::Damaged(reason)) if read.damage.is_none() => {
                    read.unusable.get_or_insert_with(|| reason.clone());
                    read.damage = Some(reason);
                }
                outcome => return outcome.map_err(|error| self.store.explained(error)),
            }
        }
    }

    /// Reads every section, and what is implausible a second time. Answers who may approve, too, as it was then.
    async fn read_all(&self) -> Result<(ReadResult, TrustFiles), StoreError> {
        let mut read = self.read_vendor(Wanted { cached: Some(&self.cached()), ..Wanted::default() }).await;
        let trust = TrustFiles::read_now(&self.config.approval)?;
        if let Some(mismatch) = read.mismatch.take()
            && !self.is_approved_instance(&read.snapshot, &trust)?
        {
            read = ReadResult { snapshot: self.empty_snapshot(), failure: Some(mismatch), ..read };
        }
        let reread = self.reread_implausible(&mut read, &trust).await;
        read.or_unusable(reread)?;
        Ok((read, trust))
    }

    /// Reads the sections again in which a drift would begin, change or end: vendors' reads are eventually consistent, and a
    /// change that is half applied should be reported once and whole.
    async fn confirm_moving_sections(&self, read: &mut ReadResult, trust: &TrustFiles) -> Result<(), StoreError> {
        let confirm_after = self.instance.schedule.confirm_after;
        let now = self.clock.now();
        let moving = self.store.read(|tx| Ok(moving_sections(&self.instance, &self.evaluate(tx, read, trust, now)?)));
        let moving = read.or_unusable(moving)?;
        if moving.is_empty() || confirm_after.is_zero() {
            return Ok(());
        }
        Reread { instance: &self.instance.id, sections: &moving, is_doubtful: false }.observe();
        (self.on_step)(&self.instance.id, CycleStep::Waiting { sections: moving.len(), wait: confirm_after });
        tokio::time::sleep(confirm_after).await;
        let mut again = self.read_vendor(Wanted { only: Some(&moving), ..Wanted::default() }).await;
        read.requests += again.requests;
        read.collection.append(&mut again.collection);
        let unread = again.failure.map_or("it could not be read a second time".to_owned(), |failure| failure.reason);
        for section in moving {
            // What could not be read a second time is not confirmed: nothing is known about it.
            let reading = again.snapshot.sections.remove(&section);
            let reading = reading.unwrap_or_else(|| Reading::without(State::Unreachable, &unread));
            read.replace_left_out(&section, &mut again.left_out);
            read.snapshot.sections.insert(section, reading);
        }
        // What is read the second time has to be believed like the first.
        let reread = self.reread_implausible(read, trust).await;
        read.or_unusable(reread)
    }

    /// Records what a cycle found, or says what would be recorded.
    fn record(&self, mode: RunMode, read: &ReadResult, cycle: &Cycle, free: Option<u64>) -> Result<Report, StoreError> {
        let (config, instance, catalogue) = (&*self.config, &self.instance, &*self.catalogue);
        let input = Input { config, instance, catalogue, read, cycle, free };
        let view = |tx: &Transaction<'_>| self.view(tx, &input);
        match mode {
            RunMode::Commit => {
                self.store.view_and_decide(view, |unit, (trust, evaluation)| decide(unit, &input, &evaluation, &trust))
            }
            RunMode::DryRun => {
                let (unit, (_, evaluation)) = self.store.read(view)?;
                report::build(&unit, &input, &evaluation)
            }
        }
    }

    /// What the database and the files that say who may approve hold now: a signer may have been added, and may have approved,
    /// while the cycle read and waited.
    fn view(
        &self,
        tx: &Transaction<'_>,
        input: &Input<'_>,
    ) -> Result<(UnitOfWork, (TrustFiles, Evaluation<'_>)), StoreError> {
        let trust = TrustFiles::read_now(&self.config.approval)?;
        let evaluation = match &input.read.damage {
            Some(reason) => Evaluation::Untrusted(Untrusted::StoreTampered { reason: reason.clone() }),
            None => self.evaluate(tx, input.read, &trust, input.cycle.at)?,
        };
        let moving = moving_sections(&self.instance, &evaluation);
        let digest = input.read.snapshot.digest();
        Ok((UnitOfWork::of_instance(tx, &self.instance.id, Some(&digest), &moving)?, (trust, evaluation)))
    }

    /// What was read means this, as things stand now.
    fn evaluate(
        &self,
        tx: &Transaction<'_>,
        read: &ReadResult,
        trust: &TrustFiles,
        now: DateTime<Utc>,
    ) -> Result<Evaluation<'_>, StoreError> {
        evaluate(tx, &self.instance.selection, &read.snapshot, trust, &self.catalogue, now)
    }

    /// Whether the vendor's id of the instance is the one that was approved: then its keys are right, and hosts that do not
    /// fit are a change like any other.
    fn is_approved_instance(&self, snapshot: &Snapshot, trust: &TrustFiles) -> Result<bool, StoreError> {
        let baseline =
            self.store.read(|tx| verified_baseline(tx, snapshot, trust, &self.catalogue, self.clock.now()))?;
        let approved = baseline.ok().flatten().map(|baseline| baseline.approved.subject.resource.clone());
        Ok(snapshot.resource.starts_with("ins_") && approved.as_ref() == Some(&snapshot.resource))
    }

    async fn read_vendor(&self, wanted: Wanted<'_>) -> ReadResult {
        let now = self.clock.now();
        let tell = |progress| (self.on_step)(&self.instance.id, CycleStep::Reading(progress));
        match self.reader.read(wanted, now, tell).await {
            Ok(fetched) => {
                let mut read = self.assemble(fetched);
                if let Some(names) = wanted.cached {
                    let cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
                    let readings = cached.iter().filter(|(name, _)| names.contains(*name));
                    read.snapshot
                        .sections
                        .extend(readings.map(|(name, (_, reading))| (name.clone(), reading.without_value())));
                }
                read
            }
            Err(error) => ReadResult {
                snapshot: self.empty_snapshot(),
                failure: Some(ReadFailure::of_read_error(&error)),
                mismatch: None,
                refused: BTreeMap::new(),
                suspected: BTreeMap::new(),
                left_out: LeftOut::new(),
                requests: 0,
                collection: Vec::new(),
                unusable: None,
                damage: None,
            },
        }
    }

    /// The sections of which a reading is at hand that is young enough.
    fn cached(&self) -> BTreeSet<String> {
        let now = self.clock.now();
        let table = self.instance.table();
        let cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        let is_young = |name: &str, at: DateTime<Utc>| {
            let every = table.section(name).and_then(|section| section.every);
            // A clock that was set back makes nothing young.
            every.is_some_and(|every| (now - at).to_std().is_ok_and(|age| age < every))
        };
        cached.iter().filter(|(name, (at, _))| is_young(name, *at)).map(|(name, _)| name.clone()).collect()
    }

    /// Keeps the readings of sections that are not asked for in every cycle, with the time they were made.
    fn cache(&self, snapshot: &Snapshot) {
        let now = self.clock.now();
        let young = self.cached();
        let table = self.instance.table();
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, reading) in &snapshot.sections {
            let is_slow = table.section(name).is_some_and(|section| section.every.is_some());
            let is_same = cached.get(name).is_some_and(|(_, known)| known == reading);
            if is_slow && reading.state().is_comparable() {
                if !(young.contains(name) && is_same) {
                    cached.insert(name.clone(), (now, reading.without_value()));
                }
            } else {
                cached.remove(name);
            }
        }
    }

    fn empty_snapshot(&self) -> Snapshot {
        Snapshot {
            instance: self.instance.id.clone(),
            resource: String::new(),
            identifiers: Resource::default(),
            sections: BTreeMap::new(),
        }
    }

    /// From foreign values to canonical documents, and one snapshot.
    fn assemble(&self, fetched: Fetched) -> ReadResult {
        let redaction = Redaction { key: self.store.fingerprint_key().clone(), keep_code: self.instance.keep_code };
        let table = self.instance.table();
        let mut snapshot = self.empty_snapshot();
        snapshot.resource = fetched.resource.primary().unwrap_or_default().to_owned();
        snapshot.identifiers = fetched.resource;
        let mismatch = fetched.mismatch.as_ref().map(ReadFailure::of_read_error);
        let mut is_credential = false;
        let mut unread = BTreeMap::new();
        for (name, outcome) in fetched.sections {
            let Some(section) = table.section(&name) else { continue };
            let reading = match outcome {
                Ok(value) => match canonical::document(section, value, &redaction) {
                    Ok(document) => Reading::Value(document),
                    Err(error) => {
                        unread.insert(name.clone(), error.to_string());
                        Reading::without(State::Unreachable, error.to_string())
                    }
                },
                Err(refusal) => {
                    is_credential |= refusal.is_credential;
                    Reading::without(refusal.state, refusal.reason)
                }
            };
            snapshot.sections.insert(name, reading);
        }
        // What was read for the objects of a list that makes no sense makes none either.
        for section in table.sections() {
            let error = section.parents().find_map(|parent| unread.get(parent).map(|error| (parent, error)));
            if let (Some((parent, error)), Some(reading)) = (error, snapshot.sections.get_mut(&section.name)) {
                *reading = Reading::without(State::Unreachable, format!("{parent} has to be read first: {error}"));
            }
        }
        let failure = (snapshot.seen() == 0).then(|| ReadFailure::of_snapshot(&snapshot, is_credential));
        ReadResult {
            snapshot,
            failure,
            mismatch,
            refused: fetched.refused,
            suspected: BTreeMap::new(),
            left_out: fetched.left_out,
            requests: fetched.requests,
            collection: fetched.collection,
            unusable: None,
            damage: None,
        }
    }
}

/// The sections in which something would begin, change or end.
fn moving_sections(instance: &Instance, evaluation: &Evaluation<'_>) -> Vec<String> {
    let Evaluation::Compared(compared) = evaluation else { return Vec::new() };
    let (known, findings, ending) = (&compared.known, &compared.findings, incident::Ending::Reverted);
    let steps = incident::advance(&instance.id, known, findings, &compared.sections, &ending, DateTime::default());
    let moving = steps.iter().filter(|transition| transition.step != incident::DriftStep::Unchanged);
    let sections: BTreeSet<String> = moving.map(|transition| transition.drift.change.section().to_owned()).collect();
    sections.into_iter().collect()
}

/// When the next cycle of `instance` is due after one at `now`.
pub fn next_due(instance: &Instance, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    instance.schedule.cron.next_after(now)
}
