//! One pass for one instance, from the first request to the last commit. Reads top to bottom like the data flows.

mod announce;
mod commit;
mod judge;
pub mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

pub use announce::{Origin, announce};
pub use commit::{Told, keep_transitions};
pub use judge::{Judged, approved_side, judge, verified_baseline};
pub use report::{BaselineReport, Failure, Report, Verdict};

use crate::canonical::{self, Redaction};
use crate::classify::Catalogue;
use crate::clock::Clock;
use crate::config::{Config, Instance};
use crate::incident;
use crate::model::{InstanceId, Resource, State};
use crate::provider::{Fetched, Limits, ReadError, Reader};
use crate::sections::Table;
use crate::snapshot::{Reading, Snapshot};
use crate::store::{self, Store, StoreError};
use crate::trust_files::TrustFiles;

/// Everything a cycle of one instance needs. Kept from cycle to cycle.
pub struct Watch {
    config: Arc<Config>,
    instance: Instance,
    catalogue: Arc<Catalogue>,
    store: Store,
    clock: Arc<dyn Clock>,
    reader: Reader,
    on_wait: OnWait,
}

/// Told before a cycle waits to read again: of which instance, how many sections, how long.
type OnWait = Box<dyn Fn(&InstanceId, usize, Duration) + Send + Sync>;

/// Whether a cycle leaves anything behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Snapshot, drifts, history and messages are recorded.
    Everything,
    /// Nothing is written.
    Nothing,
}

/// What one reading gave.
struct Taken {
    snapshot: Snapshot,
    failure: Option<Failure>,
    /// The keys seem to be of two instances.
    mismatch: Option<Failure>,
    requests: u64,
}

impl Watch {
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
            on_wait: Box::new(|_, _, _| {}),
        })
    }

    /// Calls `tell` before a cycle waits to read again, so that a person at a terminal knows why nothing happens.
    #[must_use]
    pub fn on_wait(mut self, tell: impl Fn(&InstanceId, usize, Duration) + Send + Sync + 'static) -> Self {
        self.on_wait = Box::new(tell);
        self
    }

    /// The instance.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// Reads, compares, confirms what is new, and commits.
    ///
    /// # Errors
    /// The store cannot be used. Whatever goes wrong at the vendor or with the baseline is part of the report.
    pub async fn cycle(&self, keep: Keep) -> Result<Report, StoreError> {
        let timer = Instant::now();
        let mut taken = self.take(None).await;
        let trust = TrustFiles::read(&self.config.approval);
        if let Some(mismatch) = taken.mismatch.take()
            && !self.is_approved_instance(&taken.snapshot, &trust)?
        {
            taken = Taken { snapshot: self.nothing(), failure: Some(mismatch), ..taken };
        }

        // What is new or over is read again before anybody hears of it: vendors' reads are eventually consistent, and a
        // change that is half applied should be reported once and whole.
        let new = self.store.read(|tx| -> Result<Vec<String>, StoreError> {
            let judged = judge(tx, &taken.snapshot, &taken.failure, &trust)?;
            moving_sections(tx, &self.instance, &judged)
        })?;
        let confirm_after = self.instance.schedule.confirm_after;
        if !new.is_empty() && confirm_after > Duration::ZERO {
            tracing::info!(instance = %self.instance.id, sections = new.len(), wait = ?confirm_after, "reading again");
            (self.on_wait)(&self.instance.id, new.len(), confirm_after);
            tokio::time::sleep(confirm_after).await;
            let mut again = self.take(Some(&new)).await;
            taken.requests += again.requests;
            let unread =
                again.failure.map_or("it could not be read a second time".to_owned(), |failure| failure.reason);
            for section in new {
                // What could not be read a second time is not confirmed: nothing is known about it.
                let reading = again.snapshot.sections.remove(&section);
                let reading = reading.unwrap_or_else(|| Reading::without(State::Unreachable, &unread));
                taken.snapshot.sections.insert(section, reading);
            }
        }

        let now = self.clock.now();
        let cycle = store::cycles::Cycle {
            at: now,
            duration: timer.elapsed(),
            requests: taken.requests,
            verdict: String::new(),
        };
        match keep {
            Keep::Everything => self.store.write(|tx| commit::commit(tx, self, &taken, &trust, cycle)),
            Keep::Nothing => self.store.read(|tx| {
                let judged = judge(tx, &taken.snapshot, &taken.failure, &trust)?;
                report::without_record(tx, self, &taken, judged, cycle)
            }),
        }
    }

    /// Whether the vendor's id of the instance is the one that was approved: then its keys are right, and hosts that do not
    /// fit are a change like any other.
    fn is_approved_instance(&self, snapshot: &Snapshot, trust: &TrustFiles) -> Result<bool, StoreError> {
        let baseline = self.store.read(|tx| verified_baseline(tx, snapshot, trust))?;
        let approved = baseline.ok().flatten().map(|baseline| baseline.approved.subject.resource.clone());
        Ok(snapshot.resource.starts_with("ins_") && approved.as_ref() == Some(&snapshot.resource))
    }

    async fn take(&self, only: Option<&[String]>) -> Taken {
        let now = self.clock.now();
        match self.reader.read(only, now).await {
            Ok(fetched) => self.assemble(fetched),
            Err(error) => Taken {
                snapshot: self.nothing(),
                failure: Some(Failure::of_read_error(&error)),
                mismatch: None,
                requests: 0,
            },
        }
    }

    fn nothing(&self) -> Snapshot {
        Snapshot {
            instance: self.instance.id.clone(),
            resource: String::new(),
            identifiers: Resource::default(),
            sections: BTreeMap::new(),
        }
    }

    /// From foreign values to canonical documents, and one snapshot.
    fn assemble(&self, fetched: Fetched) -> Taken {
        let redaction = Redaction { key: self.store.fingerprint_key().clone(), keep_code: self.instance.keep_code };
        let table = Table::of(self.instance.id.provider);
        let mut snapshot = self.nothing();
        snapshot.resource = fetched.resource.primary().unwrap_or_default().to_owned();
        snapshot.identifiers = fetched.resource;
        let mismatch = fetched.mismatch.as_ref().map(Failure::of_read_error);
        let mut is_credential = false;
        for (name, outcome) in fetched.sections {
            let Some(section) = table.section(&name) else { continue };
            let reading = match outcome {
                Ok(value) => match canonical::document(section, value, &redaction) {
                    Ok(document) => Reading::Value(document),
                    Err(error) => Reading::without(State::Unreachable, error.to_string()),
                },
                Err(refusal) => {
                    is_credential |= refusal.is_credential;
                    Reading::without(refusal.state, refusal.reason)
                }
            };
            snapshot.sections.insert(name, reading);
        }
        let failure = (snapshot.seen() == 0).then(|| Failure::of_snapshot(&snapshot, is_credential));
        Taken { snapshot, failure, mismatch, requests: fetched.requests }
    }
}

/// The sections in which something would begin, change or end.
fn moving_sections(
    tx: &store::Transaction<'_>,
    instance: &Instance,
    judged: &Judged,
) -> Result<Vec<String>, StoreError> {
    let Judged::Compared(compared) = judged else { return Ok(Vec::new()) };
    let known = match store::instances::find(tx, &instance.id)? {
        Some(row) => store::drifts::known(tx, row)?,
        None => BTreeMap::new(),
    };
    let ending = incident::Ending::Reverted;
    let steps =
        incident::advance(&instance.id, &known, &compared.changes, &compared.sections, &ending, DateTime::default());
    let moving = steps.iter().filter(|transition| transition.step != incident::Step::Unchanged);
    let sections: BTreeSet<String> = moving.map(|transition| transition.drift.change.section().to_owned()).collect();
    Ok(sections.into_iter().collect())
}

/// When the next cycle of `instance` is due after one at `now`.
pub fn next_due(instance: &Instance, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    instance.schedule.cron.next_after(now)
}
