//! The newest snapshot against the newest baseline: the differences that wait for an approval.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::ApprovalError;
use super::proposal::SignedText;
use super::scope::{ApprovalScope, ChangeSelector};
use crate::baseline::{approved_side, base, change_context};
use crate::classify::{Catalogue, Finding, FindingSet, with_their_other_paths};
use crate::diff::compare::compare_all_to_approve;
use crate::diff::{Change, compare};
use crate::incident::fingerprint;
use crate::model::{DriftId, InstanceId, Pointer, State, display_safe};
use crate::sections::Table;
use crate::snapshot::{Reading, Snapshot};
use crate::store::high_water_mark::{self, RolledBack};
use crate::store::{Transaction, baselines, cycles, drifts, instances};
use crate::trust::statement::{Statement, Subject};
use crate::trust::{Baseline, SignedStatement, Untrusted};
use crate::trust_files::TrustFiles;

/// The newest snapshot against the newest baseline, as it stands in the store.
pub struct Pending<'a> {
    /// Who may approve.
    pub trust: &'a TrustFiles,
    /// What the settings mean.
    pub catalogue: &'a Catalogue,
    /// Our time.
    pub now: DateTime<Utc>,
    /// The newest snapshot.
    pub snapshot: Snapshot,
    /// The newest baseline. From [`Pending::load_to_approve`] it may not be compared with, see [`Pending::insufficient`].
    pub baseline: Option<Baseline>,
    /// Every difference. From [`Pending::load_to_approve`] also every object that cannot be used and that nobody approved as
    /// not watched, and everything that may be missing because of it.
    pub changes: Vec<Change>,
    /// The open drift of each difference, if there is one.
    ids: Vec<Option<DriftId>>,
    /// Every statement of the instance.
    statements: Vec<SignedStatement>,
    /// What the database falls short of, if it is an older copy: a new approval acknowledges that.
    pub rolled_back: Option<RolledBack>,
}

impl<'a> Pending<'a> {
    /// Loads the newest snapshot and the newest baseline, and compares them.
    pub fn load(
        tx: &Transaction<'_>,
        instance: &InstanceId,
        trust: &'a TrustFiles,
        catalogue: &'a Catalogue,
        now: DateTime<Utc>,
    ) -> Result<Self, ApprovalError> {
        // Where an older copy was put in its place, or none at all, it does not matter what is in it.
        if let Err(reason) = high_water_mark::compare(tx, instance)? {
            return Err(Untrusted::RolledBack { reason: reason.to_string() }.into());
        }
        let mut pending = Self::load_to_approve(tx, instance, trust, catalogue, now)?;
        if let Some(insufficient) = pending.insufficient() {
            return Err(insufficient.clone().into());
        }
        if let Some(baseline) = &pending.baseline {
            pending.changes = compare(catalogue.table(), |section| approved_side(baseline, section), &pending.snapshot);
            pending.ids = Self::ids(tx, instance, &pending.changes)?;
        }
        Ok(pending)
    }

    /// The same with what can be approved, also if nothing is wrong with the baseline but that too few people approved it,
    /// or that the vendor has another instance under this name now.
    pub fn load_to_approve(
        tx: &Transaction<'_>,
        instance: &InstanceId,
        trust: &'a TrustFiles,
        catalogue: &'a Catalogue,
        now: DateTime<Utc>,
    ) -> Result<Self, ApprovalError> {
        let none = || ApprovalError::NoSnapshot(instance.clone());
        let row = instances::find(tx, instance)?.ok_or_else(none)?;
        let (mut snapshot, _) = cycles::latest_snapshot(tx, row, instance)?.ok_or_else(none)?;
        give_reasons(tx, catalogue.table(), &mut snapshot);
        let baseline = base(tx, &snapshot, trust, catalogue, now)??;
        let changes = match &baseline {
            Some(baseline) => {
                compare_all_to_approve(catalogue.table(), |section| approved_side(baseline, section), &snapshot)
            }
            None => Vec::new(),
        };
        let ids = Self::ids(tx, instance, &changes)?;
        let statements = baselines::statements(tx, row)?;
        let rolled_back = high_water_mark::compare(tx, instance)?.err();
        Ok(Self { trust, catalogue, now, snapshot, baseline, changes, ids, statements, rolled_back })
    }

    fn ids(
        tx: &Transaction<'_>,
        instance: &InstanceId,
        changes: &[Change],
    ) -> Result<Vec<Option<DriftId>>, ApprovalError> {
        let known = instances::find(tx, instance)?.map(|row| drifts::load(tx, row)).transpose()?.unwrap_or_default();
        let id = |change: &Change| known.get(&fingerprint(instance, change)).map(|drift| drift.id.clone());
        Ok(changes.iter().map(id).collect())
    }

    /// Why nothing may be compared with the baseline today, though it is genuine: see [`Approved::insufficient`].
    ///
    /// [`Approved::insufficient`]: crate::trust::Approved::insufficient
    pub fn insufficient(&self) -> Option<&Untrusted> {
        self.baseline.as_ref()?.approved.insufficient.as_ref()
    }

    /// The newest baseline, if it was approved for the instance that the vendor has under this name now. Nothing of
    /// another one is carried over.
    pub fn predecessor(&self) -> Option<&Baseline> {
        let is_another = matches!(self.insufficient(), Some(Untrusted::OtherResource { .. }));
        self.baseline.as_ref().filter(|_| !is_another)
    }

    /// The baseline that changes can be shown against, and its signatures.
    pub(super) fn base(&self) -> Option<(Subject, Vec<SignedText>)> {
        let subject = &self.baseline.as_ref()?.approved.subject;
        let is_of_it = |signed: &&SignedStatement| {
            Statement::parse(&signed.statement).is_ok_and(|statement| statement.subject == *subject)
        };
        let signatures = self.statements.iter().filter(is_of_it).filter_map(SignedText::of);
        self.insufficient().is_none().then(|| (subject.clone(), signatures.collect()))
    }

    /// What each difference means.
    pub fn drifts(&self) -> Vec<Finding> {
        let Some(baseline) = &self.baseline else { return Vec::new() };
        let context = change_context(self.catalogue.table(), baseline, &self.snapshot, &self.changes, []);
        FindingSet::new(self.catalogue, context, self.changes.clone()).into_vec()
    }

    /// The sections that cannot be read and of which the baseline says nothing yet, with the reason: to approve them is to
    /// accept that they are not watched.
    pub fn unread(&self) -> Vec<(&str, &Reading)> {
        let approved = self.predecessor().map(|baseline| &baseline.approved.subject.sections);
        let is_new = |section: &str| approved.is_none_or(|sections| !sections.contains_key(section));
        let unread = self.snapshot.sections.iter().filter(|(section, reading)| {
            matches!(reading.state(), State::NotPermitted | State::Unreachable) && is_new(section)
        });
        unread.map(|(section, reading)| (section.as_str(), reading)).collect()
    }

    /// The places of the differences that `selection` is about, each with all paths of its setting, and the sections that
    /// the baseline does not have yet.
    pub fn selected(&self, selection: &ApprovalScope) -> Result<(BTreeSet<usize>, BTreeSet<String>), ApprovalError> {
        let new: Vec<&str> =
            self.unbaselined().into_iter().chain(self.unread().into_iter().map(|(section, _)| section)).collect();
        let of_one = |named: &ChangeSelector| -> BTreeSet<usize> {
            let fits = |(change, id): (&Change, &Option<DriftId>)| named.fits(change, id.as_ref());
            let differences = self.changes.iter().zip(&self.ids).enumerate();
            differences.filter(|(_, one)| fits(*one)).map(|(place, _)| place).collect()
        };
        let (chosen, sections) = match selection {
            ApprovalScope::All => {
                return Ok(((0..self.changes.len()).collect(), new.into_iter().map(str::to_owned).collect()));
            }
            ApprovalScope::Chosen(places, sections) => (places.clone(), sections.clone()),
            ApprovalScope::Only(named) => {
                let is_nothing = |one: &&ChangeSelector| {
                    of_one(one).is_empty() && !new.iter().any(|section| one.is_section(section))
                };
                if let Some(one) = named.iter().find(is_nothing) {
                    let text = match one {
                        ChangeSelector::Path(path) => display_safe(&path.to_string()),
                        ChangeSelector::Drift(id) => display_safe(id.as_str()),
                    };
                    return Err(ApprovalError::NoSuchPath(text));
                }
                let sections = new.iter().filter(|section| named.iter().any(|one| one.is_section(section)));
                let sections = sections.map(|section| (*section).to_owned()).collect();
                (named.iter().flat_map(of_one).collect(), sections)
            }
        };
        Ok((with_their_other_paths(self.catalogue, &self.drifts(), &chosen), sections))
    }

    /// The paths that `selection` takes in though it does not name them: other paths of a setting that it names.
    pub fn come_along(&self, selection: &ApprovalScope) -> Result<Vec<&Pointer>, ApprovalError> {
        let ApprovalScope::Only(named) = selection else { return Ok(Vec::new()) };
        let (places, _) = self.selected(selection)?;
        let differences = places.iter().filter_map(|place| Some((self.changes.get(*place)?, self.ids.get(*place)?)));
        let is_named =
            |(change, id): &(&Change, &Option<DriftId>)| named.iter().any(|one| one.fits(change, id.as_ref()));
        Ok(differences.filter(|one| !is_named(one)).map(|(change, _)| &change.path).collect())
    }

    /// The sections that can be read and that the baseline does not hold.
    pub fn unbaselined(&self) -> Vec<&str> {
        let Some(baseline) = &self.baseline else { return Vec::new() };
        let is_new = |section: &&String| {
            let approved = baseline.approved.subject.sections.get(*section);
            let is_read = self.snapshot.sections.get(*section).is_some_and(|reading| reading.state().is_comparable());
            is_read && !approved.is_some_and(|mark| mark.state.is_comparable())
        };
        self.snapshot.sections.keys().filter(is_new).map(String::as_str).collect()
    }
}

/// Says of each section that could not be read what came of its requests, as far as that was kept and can be read. It is not
/// part of what a snapshot is.
fn give_reasons(tx: &Transaction<'_>, table: &Table, snapshot: &mut Snapshot) {
    let collection = cycles::collection(tx, &snapshot.digest()).ok().flatten();
    let requests = collection.map(|(_, requests)| requests).unwrap_or_default();
    let answer = |section: &str| {
        let path = &table.section(section)?.path;
        let text = |request: &Value, field: &str| request.get(field).and_then(Value::as_str).map(str::to_owned);
        let mut of_it = requests
            .as_array()?
            .iter()
            .filter(|request| text(request, "path").is_some_and(|asked| asked.ends_with(path.as_str())));
        let request = of_it.next_back()?;
        let status = request.get("status").and_then(Value::as_u64);
        text(request, "error").or_else(|| status.map(|status| format!("the vendor answered {status}")))
    };
    for (section, reading) in &mut snapshot.sections {
        let usual = match reading.state() {
            State::NotPermitted => "the credential may not read it",
            State::Unreachable => "it could not be read",
            State::Value | State::Off | State::NotOnPlan | State::Suspect => continue,
        };
        *reading = Reading::without(reading.state(), answer(section).unwrap_or_else(|| usual.to_owned()));
    }
}
