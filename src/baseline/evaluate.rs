//! The evaluation of a snapshot against the baseline. Nothing is recorded here.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::DocumentImpact;
use crate::classify::{Catalogue, ChangeContext, FindingSet};
use crate::config::Selection;
use crate::diff::{Change, compare, compare::Side};
use crate::incident::{Drift, fingerprint};
use crate::model::{Digest, InstanceId, Pointer, State};
use crate::sections::Table;
use crate::snapshot::{Manifest, Snapshot};
use crate::store::{
    StoreError, Transaction, baselines, check_schema, contradiction, documents, drifts, events, high_water_mark,
    instances,
};
use crate::trust::{self, Baseline, Evidence, Policy, Untrusted, Verified};
use crate::trust_files::TrustFiles;

/// What a snapshot means against the baseline.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one for each cycle, never in a list")]
pub enum Evaluation<'a> {
    /// There is no baseline yet.
    NoBaseline,
    /// There is one, and it cannot be trusted: nothing was compared.
    Untrusted(Untrusted),
    /// Compared.
    Compared(Comparison<'a>),
}

/// The outcome of a comparison.
#[derive(Debug)]
pub struct Comparison<'a> {
    /// The approved state.
    pub baseline: Verified<Baseline>,
    /// Every difference, classified.
    pub findings: FindingSet<'a>,
    /// The recorded drifts of which this comparison says something. The others go on as they are.
    pub known: BTreeMap<Digest, Drift>,
    /// The sections that could be compared.
    pub sections: BTreeSet<String>,
    /// Where single objects of them could not, but for those that the baseline accepts as not watched.
    pub unknown: Vec<Pointer>,
    /// What the baseline holds of the sections that the configuration selects.
    pub expected: Manifest,
}

impl<'a> Comparison<'a> {
    /// Compares `snapshot` with `baseline` and classifies the differences; `known` are the recorded drifts of the instance.
    pub fn new(
        baseline: Verified<Baseline>,
        selection: &Selection,
        snapshot: &Snapshot,
        known: BTreeMap<Digest, Drift>,
        catalogue: &'a Catalogue,
    ) -> Self {
        let table = catalogue.table();
        let changes = compare(table, |section| approved_side(&baseline, section), snapshot);
        let expected = expected(table, selection, &baseline.approved.subject.sections);
        let sections = compare::comparable(&expected, snapshot);
        let unknown = unknown(&baseline, snapshot);
        let context = change_context(table, &baseline, snapshot, &changes, known.values().map(|drift| &drift.change));
        let known = concluded(&unknown, &snapshot.instance, &changes, known);
        let findings = FindingSet::new(catalogue, context, changes);
        Self { baseline, findings, known, sections, unknown, expected }
    }

    /// Whether `path` was compared.
    pub fn sees(&self, path: &Pointer) -> bool {
        self.sections.contains(path.section()) && !is_unknown(&self.unknown, path)
    }
}

/// Where objects of `snapshot` cannot be used, but for those that `baseline` accepts as not watched.
pub fn unknown(baseline: &Baseline, snapshot: &Snapshot) -> Vec<Pointer> {
    let documents = snapshot.sections.iter().filter_map(|(section, reading)| Some((section, reading.document()?)));
    let places = documents.flat_map(|(section, document)| document.unknown(section, baseline.document(section)));
    places.map(|(place, _)| place).collect()
}

fn is_unknown(unknown: &[Pointer], path: &Pointer) -> bool {
    unknown.iter().any(|place| place.contains(path))
}

/// The drifts of `known` that `changes` say something of, with objects in those places unknown.
pub fn concluded(
    unknown: &[Pointer],
    id: &InstanceId,
    changes: &[Change],
    mut known: BTreeMap<Digest, Drift>,
) -> BTreeMap<Digest, Drift> {
    if !unknown.is_empty() {
        let found: BTreeSet<Digest> = changes.iter().map(|change| fingerprint(id, change)).collect();
        known.retain(|named, drift| found.contains(named) || !is_unknown(unknown, &drift.change.path));
    }
    known
}

impl<'a> Evaluation<'a> {
    /// Every difference, classified; none unless something was compared.
    pub fn findings(&self, catalogue: &'a Catalogue) -> Cow<'_, FindingSet<'a>> {
        match self {
            Self::Compared(compared) => Cow::Borrowed(&compared.findings),
            _ => Cow::Owned(FindingSet::none(catalogue)),
        }
    }

    /// The approved state, if there is one that can be trusted.
    pub fn baseline(&self) -> Option<&Verified<Baseline>> {
        match self {
            Self::Compared(compared) => Some(&compared.baseline),
            _ => None,
        }
    }
}

/// Verifies the baseline, compares the snapshot with it, and classifies the differences.
///
/// # Errors
/// The database cannot be read.
pub fn evaluate<'a>(
    tx: &Transaction<'_>,
    selection: &Selection,
    snapshot: &Snapshot,
    trust: &TrustFiles,
    catalogue: &'a Catalogue,
    now: DateTime<Utc>,
) -> Result<Evaluation<'a>, StoreError> {
    let baseline = match verified_baseline(tx, snapshot, trust, catalogue, now)? {
        Err(untrusted) => return Ok(Evaluation::Untrusted(untrusted)),
        Ok(baseline) => baseline,
    };
    let Some(baseline) = baseline else { return Ok(Evaluation::NoBaseline) };
    let row = instances::find(tx, &snapshot.instance)?;
    let known = row.map(|row| drifts::load(tx, row)).transpose()?.unwrap_or_default();
    Ok(Evaluation::Compared(Comparison::new(baseline, selection, snapshot, known, catalogue)))
}

/// What the baseline holds of the sections that the configuration selects. A section that the configuration leaves out is
/// not blind.
pub fn expected(table: &Table, selection: &Selection, approved: &Manifest) -> Manifest {
    let is_selected = |name: &str| table.section(name).is_none_or(|section| selection.has(section).is_ok());
    approved.iter().filter(|(name, _)| is_selected(name)).map(|(name, mark)| (name.clone(), mark.clone())).collect()
}

/// The baseline of the snapshot's instance, verified now and against everything that is known now.
///
/// # Errors
/// The database cannot be read.
pub fn verified_baseline(
    tx: &Transaction<'_>,
    snapshot: &Snapshot,
    trust: &TrustFiles,
    catalogue: &Catalogue,
    now: DateTime<Utc>,
) -> Result<Result<Option<Verified<Baseline>>, Untrusted>, StoreError> {
    // A restored old copy verifies on its own, so compare it with the high-water mark first.
    match high_water_mark::compare(tx, &snapshot.instance)? {
        Err(rolled_back) => Ok(Err(Untrusted::RolledBack { reason: rolled_back.to_string() })),
        Ok(()) => verified_ignoring_rollback(tx, snapshot, trust, catalogue, now),
    }
}

/// The same, whether or not the database is an older copy.
///
/// # Errors
/// The database cannot be read.
pub fn verified_ignoring_rollback(
    tx: &Transaction<'_>,
    snapshot: &Snapshot,
    trust: &TrustFiles,
    catalogue: &Catalogue,
    now: DateTime<Utc>,
) -> Result<Result<Option<Verified<Baseline>>, Untrusted>, StoreError> {
    verify(tx, snapshot, trust, catalogue, now, trust::baseline)
}

/// What a new baseline of the snapshot's instance may be put on: as [`verified_baseline`], also if it has too few
/// approvers by the rules of today.
///
/// # Errors
/// The database cannot be read.
pub fn base(
    tx: &Transaction<'_>,
    snapshot: &Snapshot,
    trust: &TrustFiles,
    catalogue: &Catalogue,
    now: DateTime<Utc>,
) -> Result<Result<Option<Baseline>, Untrusted>, StoreError> {
    verify(tx, snapshot, trust, catalogue, now, trust::base)
}

type Verifier<T> = fn(&InstanceId, &Evidence<'_>, &Policy<'_>) -> Result<Option<T>, Untrusted>;

fn verify<T>(
    tx: &Transaction<'_>,
    snapshot: &Snapshot,
    trust: &TrustFiles,
    catalogue: &Catalogue,
    now: DateTime<Utc>,
    verifier: Verifier<T>,
) -> Result<Result<Option<T>, Untrusted>, StoreError> {
    let verified = || -> Result<Result<Option<T>, Untrusted>, StoreError> {
        let instance = &snapshot.instance;
        let statements = match instances::find(tx, instance)? {
            Some(row) => baselines::statements(tx, row)?,
            None => Vec::new(),
        };
        // An edited history could hide an approval, so all of it is verified every time.
        let replay = match tx.history() {
            Ok(replay) => replay,
            Err(StoreError::History(reason)) => return Ok(Err(Untrusted::StoreTampered { reason })),
            Err(error) => return Err(error),
        };
        let approved_sequence = replay.state.approved.get(instance).copied().unwrap_or_default();
        if statements.is_empty() && approved_sequence == 0 {
            return Ok(Ok(None));
        }
        let policy = match trust.policy() {
            Ok(policy) => policy,
            Err(untrusted) => return Ok(Err(untrusted)),
        };
        // A document or event that cannot be read counts as missing; verification names it.
        let evidence = Evidence {
            statements: &statements,
            documents: &|digest: &Digest| documents::bytes(tx, digest).ok().flatten(),
            history: &|size| events::head_at(tx, size).ok().flatten(),
            vouched: &|digest| replay.state.vouched.get(instance)?.get(digest).copied(),
            approved_sequence,
            resource: &snapshot.identifiers,
            impact: &DocumentImpact { catalogue, document: &|digest| documents::load(tx, digest).ok() },
            // An approval that ended stays ended when the clock is set back.
            now: replay.state.latest_at().map_or(now, |latest| latest.max(now)),
        };
        let verified = verifier(instance, &evidence, &policy);
        // A planted trigger or table is a reason by itself, but a failed verification says more.
        match (verified, check_schema(tx)) {
            (Ok(_), Err(StoreError::Schema(reason))) => Ok(Err(Untrusted::StoreTampered { reason })),
            (Ok(_), Err(error)) => Err(error),
            (Ok(verified), Ok(())) => Ok(match contradiction(tx, instance, &replay.state)? {
                Some(reason) => Err(Untrusted::StoreTampered { reason }),
                None => Ok(verified),
            }),
            (Err(untrusted), _) => Ok(Err(untrusted)),
        }
    };
    match verified() {
        // One row that cannot be read costs the comparison, and no cycle.
        Err(StoreError::Damaged(reason)) => Ok(Err(Untrusted::StoreTampered { reason })),
        outcome => outcome,
    }
}

/// The context of `changes` from a baseline to a snapshot, and of those that are `remembered`.
pub fn change_context<'r>(
    table: &Table,
    baseline: &Baseline,
    snapshot: &Snapshot,
    changes: &[Change],
    remembered: impl IntoIterator<Item = &'r Change>,
) -> ChangeContext {
    let sections = baseline.documents.keys();
    let approved = sections.filter_map(|section| Some((section.as_str(), baseline.document(section)?.read())));
    ChangeContext::new(table, approved, snapshot.values(), changes, remembered)
}

/// The approved side of a section.
pub fn approved_side<'a>(baseline: &'a Baseline, section: &str) -> Side<'a> {
    if let Some(document) = baseline.document(section) {
        return Side::Document(document);
    }
    match baseline.approved.subject.sections.get(section).map(|mark| mark.state) {
        Some(state @ (State::Off | State::NotOnPlan)) => Side::Without(state),
        _ => Side::Unknown,
    }
}
