//! What is to be recorded, as values over one state of the database.
//!
//! A decision reads from a unit and adds to it; what it added is read back as if it were recorded. Nothing here waits, reads
//! or writes until [`Store::decide`] records the unit, and that happens only if the database is still in the state the unit
//! was made over.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::cycles::Cycle;
use super::events::NewRecord;
use super::outbox::{NewMessage, Thread};
use super::{
    Store, StoreError, Stored, Transaction, baselines, cycles, drifts, events, instances, outbox, schema,
    section_incidents,
};
use crate::history::data::RestoredSnapshot;
use crate::history::{Event, Replay};
use crate::incident::{Drift, SectionIncident, Status, Transition};
use crate::message::Message;
use crate::model::{Digest, HistoryMark, InstanceId};
use crate::snapshot::Snapshot;

/// How often a decision is made again without the lock when others wrote meanwhile. After that it is made under the lock, or
/// many small writers could keep a large instance from being recorded.
const OPTIMISTIC: usize = 3;

/// One state of the database, and what is to be recorded over it.
#[derive(Clone)]
pub struct UnitOfWork {
    version: Version,
    /// Or why it does not verify: then nothing is added to it.
    history: Result<Arc<Replay>, String>,
    rows: InstanceRows,
    writes: Vec<Write>,
}

/// What changes with everything that a decision depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    mark: Option<HistoryMark>,
    /// How many statements the instance has.
    statements: u64,
    /// Its newest cycle: what it counts of a section is in no event.
    cycle: Option<i64>,
}

/// Rows, or why they cannot be read: that matters only to a decision that needs them.
type Rows<T> = Result<BTreeMap<String, T>, String>;

/// The rows of one instance; none for what is about no instance.
#[derive(Clone)]
struct InstanceRows {
    id: Option<InstanceId>,
    /// By fingerprint.
    drifts: Result<BTreeMap<Digest, Drift>, String>,
    open: usize,
    sections: Rows<SectionIncident>,
    /// By receiver; none where it does not go on.
    threads: Rows<Option<Thread>>,
    last_reading: Option<DateTime<Utc>>,
    last_readings: BTreeMap<String, DateTime<Utc>>,
    /// The digest of the snapshot that was asked for, if it is stored.
    stored: Option<Digest>,
}

#[derive(Clone)]
enum Write {
    Event(NewRecord),
    Message(Box<NewMessage>),
    Drift(Digest, Drift),
    Section(String, SectionIncident),
    SectionOver(String),
    Thread(Box<Message>),
    ThreadsOver,
    Cycle { snapshot: Option<Box<Snapshot>>, cycle: Cycle, is_restored: bool },
    NextDue(DateTime<Utc>),
}

impl UnitOfWork {
    /// The state of the program itself.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn of_program(tx: &Transaction<'_>) -> Stored<Self> {
        let rows = InstanceRows {
            id: None,
            drifts: Ok(BTreeMap::new()),
            open: 0,
            sections: Ok(BTreeMap::new()),
            threads: Ok(BTreeMap::new()),
            last_reading: None,
            last_readings: BTreeMap::new(),
            stored: None,
        };
        Ok(Self { version: Version::of(tx, None)?, history: sound_history(tx)?, rows, writes: Vec::new() })
    }

    /// The state of `instance`, with the last reading of each of `sections`.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn of_instance(
        tx: &Transaction<'_>,
        instance: &InstanceId,
        snapshot: Option<&Digest>,
        sections: &[String],
    ) -> Stored<Self> {
        let mut unit = Self::of_program(tx)?;
        unit.rows.id = Some(instance.clone());
        unit.version = Version::of(tx, Some(instance))?;
        let Some(row) = instances::find(tx, instance)? else { return Ok(unit) };
        let rows = &mut unit.rows;
        rows.drifts = readable(drifts::load(tx, row))?;
        rows.open = drifts::count_open(tx, row)?;
        rows.sections = readable(section_incidents::load(tx, row))?;
        if unit.history.is_ok() {
            rows.threads = readable(outbox::threads(tx, row))?;
        }
        rows.last_reading = cycles::last_reading(tx, row)?;
        for section in sections {
            let last = cycles::last_reading_of(tx, row, section)?;
            rows.last_readings.extend(last.map(|at| (section.clone(), at)));
        }
        if let Some(digest) = snapshot {
            rows.stored = cycles::find_snapshot(tx, row, digest)?.map(|_| digest.clone());
        }
        Ok(unit)
    }

    /// What the history says, with the events of this unit.
    ///
    /// # Errors
    /// [`StoreError::History`]: it does not verify.
    pub fn history(&self) -> Stored<&Replay> {
        self.history.as_deref().map_err(|reason| StoreError::History(reason.clone()))
    }

    /// Appends an event to the history.
    ///
    /// # Errors
    /// The event could not be read again, or the history does not verify.
    pub fn append(&mut self, at: DateTime<Utc>, instance: Option<&InstanceId>, event: &Event) -> Stored<()> {
        let record = NewRecord::after(self.history()?.mark.as_ref(), at, instance, event)?;
        if let Ok(history) = &mut self.history {
            let sequence = i64::try_from(record.seq).unwrap_or(i64::MAX);
            let pushed = Arc::make_mut(history).push(sequence, &record.body, record.digest.as_str());
            pushed.map_err(|error| StoreError::History(error.to_string()))?;
        }
        self.writes.push(Write::Event(record));
        Ok(())
    }

    /// Puts a message into the outbox.
    ///
    /// # Errors
    /// The message could not be read again, or the history does not verify.
    pub fn queue(&mut self, message: Message) -> Stored<()> {
        let new = NewMessage::new(message)?;
        let (at, instance, event) = (new.created_at(), new.instance().cloned(), new.event()?);
        self.writes.push(Write::Message(Box::new(new)));
        self.append(at, instance.as_ref(), &event)
    }

    /// The drifts of the instance by fingerprint, open or not.
    ///
    /// # Errors
    /// A row is damaged.
    pub fn drifts(&self) -> Stored<&BTreeMap<Digest, Drift>> {
        self.rows.drifts.as_ref().map_err(|reason| damaged(reason))
    }

    /// The drifts of the instance that are open.
    ///
    /// # Errors
    /// A row is damaged.
    pub fn open_drifts(&self) -> Stored<impl Iterator<Item = &Drift>> {
        Ok(self.drifts()?.values().filter(|drift| drift.status == Status::Open))
    }

    /// How many drifts of the instance are open, damaged rows included.
    pub fn count_open(&self) -> usize {
        self.rows.open
    }

    /// Records a drift as a transition left it.
    pub fn put_drift(&mut self, transition: &Transition) {
        let Transition { fingerprint, drift, .. } = transition;
        if let Ok(drifts) = &mut self.rows.drifts {
            drifts.insert(fingerprint.clone(), drift.clone());
            self.rows.open = drifts.values().filter(|drift| drift.status == Status::Open).count();
        }
        self.writes.push(Write::Drift(fingerprint.clone(), drift.clone()));
    }

    /// What is known about the sections and credentials of the instance.
    ///
    /// # Errors
    /// A row is damaged.
    pub fn sections(&self) -> Stored<&BTreeMap<String, SectionIncident>> {
        self.rows.sections.as_ref().map_err(|reason| damaged(reason))
    }

    /// Records something about a section.
    pub fn put_section(&mut self, section: &str, incident: SectionIncident) {
        if let Ok(sections) = &mut self.rows.sections {
            sections.insert(section.to_owned(), incident.clone());
        }
        self.writes.push(Write::Section(section.to_owned(), incident));
    }

    /// Forgets a section.
    pub fn remove_section(&mut self, section: &str) {
        if let Ok(sections) = &mut self.rows.sections {
            sections.remove(section);
        }
        self.writes.push(Write::SectionOver(section.to_owned()));
    }

    /// The thread of messages about the instance that goes on at `receiver`.
    ///
    /// # Errors
    /// A row is damaged.
    pub fn thread(&self, receiver: &str) -> Stored<Option<&Thread>> {
        Ok(self.rows.threads.as_ref().map_err(|reason| damaged(reason))?.get(receiver).and_then(Option::as_ref))
    }

    /// Begins a thread with `message`.
    pub fn begin_thread(&mut self, message: Message) {
        if let Ok(threads) = &mut self.rows.threads {
            threads.insert(message.receiver.clone(), Some(Thread::of(&message)));
        }
        self.writes.push(Write::Thread(Box::new(message)));
    }

    /// Ends the threads of the instance: what comes next is a new story.
    pub fn end_threads(&mut self) {
        let is_over = self.rows.threads.as_ref().is_ok_and(BTreeMap::is_empty);
        self.rows.threads = Ok(BTreeMap::new());
        if !is_over {
            self.writes.push(Write::ThreadsOver);
        }
    }

    /// When the instance was last read with any success.
    pub fn last_reading(&self) -> Option<DateTime<Utc>> {
        self.rows.last_reading
    }

    /// When `section` was last read, of the sections that the unit was made for.
    pub fn last_reading_of(&self, section: &str) -> Option<DateTime<Utc>> {
        self.rows.last_readings.get(section).copied()
    }

    /// Records a cycle, with the snapshot that it took.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub fn put_cycle(&mut self, snapshot: Option<&Snapshot>, cycle: Cycle) -> Stored<()> {
        let is_pruned =
            |digest: &Digest| self.history().is_ok_and(|history| history.state.pruned.contains(digest.as_str()));
        let restored = snapshot.zip(self.rows.stored.clone().filter(is_pruned));
        let restored = restored.filter(|(snapshot, digest)| snapshot.digest() == *digest);
        let is_restored = restored.is_some();
        if let Some((snapshot, digest)) = restored {
            let event = Event::StoreKeptAgain(RestoredSnapshot { snapshot: digest });
            self.append(cycle.at, Some(&snapshot.instance), &event)?;
        }
        self.writes.push(Write::Cycle { snapshot: snapshot.cloned().map(Box::new), cycle, is_restored });
        Ok(())
    }

    /// Records when the next cycle is due.
    pub fn set_next_due(&mut self, at: DateTime<Utc>) {
        self.writes.push(Write::NextDue(at));
    }

    /// What is to be recorded, without names that are made up each time.
    #[cfg(test)]
    pub fn outline(&self) -> Vec<String> {
        let line = |write: &Write| match write {
            Write::Event(new) => {
                let record: crate::history::Record = serde_json::from_slice(&new.body).unwrap();
                format!("event {} {}", record.seq, record.event.kind())
            }
            Write::Message(new) => format!("message {:?}", new.instance()),
            Write::Drift(fingerprint, drift) => format!("drift {fingerprint} {:?}", drift.status),
            Write::Section(name, incident) => format!("section {name} {incident:?}"),
            Write::SectionOver(name) => format!("section {name} over"),
            Write::Thread(message) => format!("thread {}", message.receiver),
            Write::ThreadsOver => "threads over".to_owned(),
            Write::Cycle { snapshot, cycle, .. } => {
                format!("cycle {} {:?}", cycle.verdict, snapshot.as_ref().map(|snapshot| snapshot.digest()))
            }
            Write::NextDue(at) => format!("due {at}"),
        };
        self.writes.iter().map(line).collect()
    }

    /// Records everything in the transaction that the unit was made in.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn record(self, tx: &Transaction<'_>) -> Stored<()> {
        let row = self.rows.id.as_ref().map(|id| instances::row(tx, id)).transpose()?;
        let row = || row.ok_or_else(|| StoreError::Damaged("internal: rows of no instance".to_owned()));
        // Something planted could mark a message as sent: then it is told past the database, see the daemon.
        if self.writes.iter().any(|write| matches!(write, Write::Message(_))) {
            schema::check_nothing_planted(tx)?;
        }
        for write in self.writes {
            match write {
                Write::Event(record) => events::insert(&tx.sql, &record)?,
                Write::Message(message) => outbox::insert(tx, &message)?,
                Write::Drift(fingerprint, drift) => drifts::save(tx, row()?, &fingerprint, &drift)?,
                Write::Section(section, incident) => section_incidents::save(tx, row()?, &section, &incident)?,
                Write::SectionOver(section) => section_incidents::delete(tx, row()?, &section)?,
                Write::Thread(message) => outbox::begin_thread(tx, row()?, &message)?,
                Write::ThreadsOver => outbox::end_threads(tx, row()?)?,
                Write::Cycle { snapshot, cycle, is_restored } => {
                    cycles::insert(tx, row()?, snapshot.as_deref(), &cycle, is_restored)?;
                }
                Write::NextDue(at) => instances::set_next_due(tx, row()?, at)?,
            }
        }
        Ok(())
    }
}

impl Version {
    fn of(tx: &Transaction<'_>, instance: Option<&InstanceId>) -> Stored<Self> {
        let row = instance.map_or(Ok(None), |instance| instances::find(tx, instance))?;
        let statements = row.map_or(Ok(0), |row| baselines::count(tx, row))?;
        let cycle = row.map_or(Ok(None), |row| cycles::newest_id(tx, row))?;
        Ok(Self { mark: events::mark(tx)?, statements, cycle })
    }
}

impl Store {
    /// Decides about the program itself, and records what was decided.
    ///
    /// # Errors
    /// Whatever `decide` answers, or the database cannot be written; nothing was recorded then.
    pub fn decide<T, E: From<StoreError>>(&self, decide: impl Fn(&mut UnitOfWork) -> Result<T, E>) -> Result<T, E> {
        self.view_and_decide(|tx| Ok((UnitOfWork::of_program(tx)?, ())), |unit, ()| decide(unit))
    }

    /// Reads with `view`, decides about what was read, and records what was decided in one transaction. If the database was
    /// changed in between, both are done again, so that what is recorded follows from what is there: an approval that came
    /// meanwhile counts.
    ///
    /// # Errors
    /// Whatever `view` and `decide` answer, or the database cannot be written; nothing was recorded then.
    pub fn view_and_decide<V, T, E: From<StoreError>>(
        &self,
        view: impl Fn(&Transaction<'_>) -> Result<(UnitOfWork, V), E>,
        decide: impl Fn(&mut UnitOfWork, V) -> Result<T, E>,
    ) -> Result<T, E> {
        for _ in 0..OPTIMISTIC {
            let (mut unit, seen) = self.read(&view)?;
            let decided = decide(&mut unit, seen)?;
            if self.apply(unit)? {
                return Ok(decided);
            }
        }
        self.write(|tx| {
            let (mut unit, seen) = view(tx)?;
            let decided = decide(&mut unit, seen)?;
            unit.record(tx)?;
            Ok(decided)
        })
    }

    /// Records `unit`, unless the database is in another state by now; answers whether it did.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn apply(&self, unit: UnitOfWork) -> Stored<bool> {
        if unit.writes.is_empty() {
            return Ok(true);
        }
        self.write(|tx| {
            if Version::of(tx, unit.rows.id.as_ref())? != unit.version {
                return Ok(false);
            }
            unit.record(tx)?;
            Ok(true)
        })
    }
}

fn sound_history(tx: &Transaction<'_>) -> Stored<Result<Arc<Replay>, String>> {
    match tx.history() {
        Err(StoreError::History(reason)) => Ok(Err(reason)),
        history => history.map(Ok),
    }
}

fn readable<T>(rows: Stored<T>) -> Stored<Result<T, String>> {
    match rows {
        Err(StoreError::Damaged(reason)) => Ok(Err(reason)),
        rows => rows.map(Ok),
    }
}

fn damaged(reason: &str) -> StoreError {
    StoreError::Damaged(reason.to_owned())
}

#[cfg(test)]
mod tests;
