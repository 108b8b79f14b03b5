//! How an instance stands: one answer for `status`, metrics, `/readyz`, systemd, the heartbeat, the digest and `doctor`.
//!
//! The newest cycle says what it found. What changed since, an approval or the files that say who may approve, is evaluated
//! here against the newest snapshot, so that no output waits for the next cycle.

mod cache;

use std::collections::{BTreeMap, BTreeSet};

pub use cache::Statuses;
use chrono::{DateTime, Utc};

use crate::baseline::{BaselineSummary, Evaluation, evaluate};
use crate::classify::{Catalogue, Finding, FindingSet};
use crate::config::Instance;
use crate::incident::{SectionKind, Status, section_kinds};
use crate::model::{InstanceId, State, Verdict};
use crate::snapshot::{Reading, Snapshot};
use crate::store::latest::{self, LastCycle};
use crate::store::{StoreError, Transaction, cycles, drifts, high_water_mark, instances};
use crate::trust::Untrusted;
use crate::trust_files::TrustFiles;

/// How one instance stands.
#[derive(Debug, Clone)]
pub struct InstanceStatus {
    /// The verdict.
    pub verdict: Verdict,
    /// The newest cycle that is not in the future.
    pub cycle: Option<LastCycle>,
    /// Open drifts, each as a cycle classifies it.
    pub open: Vec<Finding>,
    /// The sections of the newest snapshot.
    pub sections: Option<SectionStates>,
    /// The baseline, verified, or why it cannot be trusted.
    pub baseline: Result<Option<BaselineSummary>, Untrusted>,
}

/// What is known of the sections of an instance.
#[derive(Debug, Clone)]
pub struct SectionStates {
    /// The state of each; all of them are unreachable when the newest cycle could read nothing.
    pub states: BTreeMap<String, State>,
    /// When anything was read the last time.
    pub read_at: DateTime<Utc>,
}

impl SectionStates {
    fn of(snapshot: &Snapshot, read_at: DateTime<Utc>, last: Option<&LastCycle>) -> Self {
        // A cycle that could read nothing knows of no section, whatever was read before.
        let is_old = last.is_some_and(|cycle| cycle.at != read_at || cycle.verdict == Verdict::Error);
        let state = |reading: &Reading| if is_old { State::Unreachable } else { reading.state() };
        let states = snapshot.sections.iter().map(|(name, reading)| (name.clone(), state(reading))).collect();
        Self { states, read_at }
    }

    /// The sections of which nothing is known now.
    pub fn unread(&self) -> Vec<String> {
        self.states.iter().filter(|(_, state)| !state.is_comparable()).map(|(name, _)| name.clone()).collect()
    }
}

impl InstanceStatus {
    /// Asks the database, and verifies the baseline.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn load(
        tx: &Transaction<'_>,
        instance: &Instance,
        catalogue: &Catalogue,
        trust: &TrustFiles,
        now: DateTime<Utc>,
    ) -> Result<Self, StoreError> {
        Self::load_with_findings(tx, instance, catalogue, trust, now).map(|(status, _)| status)
    }

    /// The same, and what was found.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn load_with_findings<'a>(
        tx: &Transaction<'_>,
        instance: &Instance,
        catalogue: &'a Catalogue,
        trust: &TrustFiles,
        now: DateTime<Utc>,
    ) -> Result<(Self, FindingSet<'a>), StoreError> {
        let id = &instance.id;
        let alone = |status| (status, FindingSet::none(catalogue));
        let Some(row) = instances::find(tx, id)? else { return Self::never_read(tx, id, None).map(alone) };
        let cycle = latest::last_cycle(tx, row, now)?;
        let (snapshot, read_at) = match cycles::latest_snapshot(tx, row, id) {
            Ok(Some(newest)) => newest,
            Ok(None) => return Self::never_read(tx, id, cycle).map(alone),
            Err(StoreError::Damaged(reason)) => {
                return Ok(alone(Self::untrusted(Untrusted::StoreTampered { reason }, cycle)));
            }
            Err(error) => return Err(error),
        };
        let evaluation = evaluate(tx, &instance.selection, &snapshot, trust, catalogue, now)?;
        let known = match (&evaluation, drifts::load(tx, row)) {
            // Rows that cannot be read are a reason for that.
            (Evaluation::Untrusted(_), Err(_)) => BTreeMap::new(),
            (_, known) => known?,
        };
        let findings = evaluation.findings(catalogue).into_owned();
        let open = known.values().filter(|drift| drift.status == Status::Open);
        let open: Vec<Finding> = open.map(|drift| findings.of(&drift.change).into_owned()).collect();
        let accepted = latest::baseline(tx, row)?.map(|(_, accepted)| accepted);
        // What the newest cycle could not read may have been accepted since.
        let last = cycle.as_ref().map(|cycle| match cycle.verdict {
            Verdict::Blind if accepted > Some(cycle.at) => Verdict::InSync,
            verdict => verdict,
        });
        let verdict = verdict(&evaluation, last, !open.is_empty(), &snapshot);
        let sections = Some(SectionStates::of(&snapshot, read_at, cycle.as_ref()));
        let baseline = match evaluation {
            Evaluation::Untrusted(untrusted) => Err(untrusted),
            Evaluation::NoBaseline => Ok(None),
            Evaluation::Compared(compared) => Ok(Some(BaselineSummary::of(&compared.baseline))),
        };
        Ok((Self { verdict, cycle, open, sections, baseline }, findings))
    }

    /// The newest cycle's word alone, with nothing verified.
    fn recorded(tx: &Transaction<'_>, id: &InstanceId, now: DateTime<Utc>) -> Result<Self, StoreError> {
        let cycle = instances::find(tx, id)?.map_or(Ok(None), |row| latest::last_cycle(tx, row, now))?;
        let verdict = cycle.as_ref().map_or(Verdict::NoBaseline, |cycle| cycle.verdict);
        Ok(Self { verdict, cycle, open: Vec::new(), sections: None, baseline: Ok(None) })
    }

    /// An instance of which no snapshot is kept. An older copy of the database shows even then.
    fn never_read(tx: &Transaction<'_>, id: &InstanceId, cycle: Option<LastCycle>) -> Result<Self, StoreError> {
        if let Err(reason) = high_water_mark::compare(tx, id)? {
            return Ok(Self::untrusted(Untrusted::RolledBack { reason: reason.to_string() }, cycle));
        }
        let verdict = match cycle.as_ref().map(|cycle| cycle.verdict) {
            Some(verdict @ (Verdict::Error | Verdict::Untrusted)) => verdict,
            _ => Verdict::NoBaseline,
        };
        Ok(Self { verdict, cycle, open: Vec::new(), sections: None, baseline: Ok(None) })
    }

    fn untrusted(reason: Untrusted, cycle: Option<LastCycle>) -> Self {
        Self { verdict: Verdict::Untrusted, cycle, open: Vec::new(), sections: None, baseline: Err(reason) }
    }

    /// The verdict in words, or that the instance was never read: `no baseline`.
    pub fn words(&self) -> String {
        match (&self.cycle, self.verdict) {
            (None, Verdict::NoBaseline) => "not read yet".to_owned(),
            (_, verdict) => verdict.words(),
        }
    }
}

/// The verdict of the newest cycle, corrected by what changed since.
fn verdict(evaluation: &Evaluation<'_>, last: Option<Verdict>, is_drift_open: bool, snapshot: &Snapshot) -> Verdict {
    match (evaluation, last) {
        // A baseline that can be trusted again was still not compared with anything.
        (Evaluation::Untrusted(_), _) | (Evaluation::Compared(_), Some(Verdict::Untrusted)) => Verdict::Untrusted,
        (_, Some(Verdict::Error)) => Verdict::Error,
        (Evaluation::NoBaseline, _) => Verdict::NoBaseline,
        (Evaluation::Compared(_), _) if is_drift_open => Verdict::Drift,
        (Evaluation::Compared(compared), last) => {
            let kinds = section_kinds(&compared.expected, snapshot, &compared.unknown, &BTreeSet::new());
            let is_blind = last == Some(Verdict::Blind) || kinds.into_values().any(SectionKind::is_section_unseen);
            if is_blind { Verdict::Blind } else { Verdict::InSync }
        }
    }
}
