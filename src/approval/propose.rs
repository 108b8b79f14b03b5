//! What would be approved: the whole snapshot, or part of it.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::proposal::SignedText;
use super::{ApprovalError, Proposal};
use crate::baseline::{approved_side, base, change_context};
use crate::canonical::{Document, forget_mended, is_same, to_bytes};
use crate::classify::{Catalogue, Finding, FindingSet, with_their_other_paths};
use crate::diff::compare::{Side, compare_all_to_approve};
use crate::diff::{Change, ChangeKind, compare};
use crate::incident::fingerprint;
use crate::model::{Digest, DriftId, InstanceId, Pointer, State, display_safe};
use crate::sections::Table;
use crate::snapshot::{Manifest, Reading, SectionMark, Snapshot, digest_of};
use crate::store::high_water::{self, RolledBack};
use crate::store::{StoreError, Transaction, baselines, cycles, drifts, events, instances};
use crate::trust::statement::{Expiry, Statement, Subject};
use crate::trust::{Baseline, SignedStatement, Untrusted};
use crate::trust_files::TrustFiles;

/// Which differences are to be approved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApprovalScope {
    /// All of them.
    All,
    /// Those that are named, and nothing else.
    Only(Vec<ChangeSelector>),
    /// These, by their place in the list of differences, and these sections that the baseline does not have.
    Chosen(BTreeSet<usize>, BTreeSet<String>),
}

/// What somebody names to approve it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeSelector {
    /// Every difference at or under the path; a whole section that the baseline does not hold.
    Path(Pointer),
    /// One drift.
    Drift(DriftId),
}

impl FromStr for ChangeSelector {
    type Err = ApprovalError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with("drf_") {
            return Ok(Self::Drift(DriftId::from_text(text)));
        }
        match text.parse::<Pointer>() {
            Ok(path) if !path.tokens().is_empty() => Ok(Self::Path(path)),
            _ => Err(ApprovalError::NoSuchPath(display_safe(text))),
        }
    }
}

impl ChangeSelector {
    fn fits(&self, change: &Change, id: Option<&DriftId>) -> bool {
        match self {
            Self::Path(path) => path.contains(&change.path),
            Self::Drift(drift) => Some(drift) == id,
        }
    }

    fn is_section(&self, section: &str) -> bool {
        matches!(self, Self::Path(path) if *path == Pointer::of_section(section))
    }
}

/// The newest snapshot against the newest baseline, as it stands in the store.
pub struct Pending {
    /// The newest snapshot.
    pub snapshot: Snapshot,
    /// The newest baseline. From [`Pending::load_to_approve`] it may not be compared with, see [`Pending::shortage`].
    pub baseline: Option<Baseline>,
    /// Every difference. From [`Pending::load_to_approve`] also every object that cannot be used and that nobody approved as
    /// not watched, and everything that may be missing because of it.
    pub changes: Vec<Change>,
    /// The drift of each difference, where one is open.
    ids: Vec<Option<DriftId>>,
    /// Every statement of the instance.
    statements: Vec<SignedStatement>,
    /// What the database falls short of, if it is an older copy: a new approval acknowledges that.
    pub rolled_back: Option<RolledBack>,
}

impl Pending {
    /// Reads both from the store and compares them.
    ///
    /// # Errors
    /// There is no snapshot, or the baseline cannot be trusted.
    pub fn load(
        tx: &Transaction<'_>,
        instance: &InstanceId,
        trust: &TrustFiles,
        catalogue: &Catalogue,
        now: DateTime<Utc>,
    ) -> Result<Self, ApprovalError> {
        // Where an older copy was put in its place, or none at all, it does not matter what is in it.
        if let Err(reason) = high_water::compare(tx, instance)? {
            return Err(Untrusted::RolledBack { reason: reason.to_string() }.into());
        }
        let mut pending = Self::load_to_approve(tx, instance, trust, catalogue, now)?;
        if let Some(shortage) = pending.shortage() {
            return Err(shortage.clone().into());
        }
        if let Some(baseline) = &pending.baseline {
            let table = Table::of(instance.provider);
            pending.changes = compare(table, |section| approved_side(baseline, section), &pending.snapshot);
            pending.ids = Self::ids(tx, instance, &pending.changes)?;
        }
        Ok(pending)
    }

    /// The same with what can be approved, also if nothing is wrong with the baseline but that too few people approved it,
    /// or that the vendor has another instance under this name now.
    ///
    /// # Errors
    /// There is no snapshot, or the baseline cannot be trusted for another reason.
    pub fn load_to_approve(
        tx: &Transaction<'_>,
        instance: &InstanceId,
        trust: &TrustFiles,
        catalogue: &Catalogue,
        now: DateTime<Utc>,
    ) -> Result<Self, ApprovalError> {
        let none = || ApprovalError::NoSnapshot(instance.clone());
        let row = instances::find(tx, instance)?.ok_or_else(none)?;
        let (mut snapshot, _) = cycles::latest_snapshot(tx, row, instance)?.ok_or_else(none)?;
        give_reasons(tx, &mut snapshot);
        let baseline = base(tx, &snapshot, trust, catalogue, now)??;
        let changes = match &baseline {
            Some(baseline) => {
                let table = Table::of(instance.provider);
                compare_all_to_approve(table, |section| approved_side(baseline, section), &snapshot)
            }
            None => Vec::new(),
        };
        let ids = Self::ids(tx, instance, &changes)?;
        let statements = baselines::statements(tx, row)?;
        let rolled_back = high_water::compare(tx, instance)?.err();
        Ok(Self { snapshot, baseline, changes, ids, statements, rolled_back })
    }

    fn ids(
        tx: &Transaction<'_>,
        instance: &InstanceId,
        changes: &[Change],
    ) -> Result<Vec<Option<DriftId>>, ApprovalError> {
        let known = instances::find(tx, instance)?.map(|row| drifts::known(tx, row)).transpose()?.unwrap_or_default();
        let id = |change: &Change| known.get(&fingerprint(instance, change)).map(|drift| drift.id.clone());
        Ok(changes.iter().map(id).collect())
    }

    /// Why nothing may be compared with the baseline today, though it is genuine: see [`Approved::shortage`].
    ///
    /// [`Approved::shortage`]: crate::trust::Approved::shortage
    pub fn shortage(&self) -> Option<&Untrusted> {
        self.baseline.as_ref()?.approved.shortage.as_ref()
    }

    /// The newest baseline, if it was approved for the instance that the vendor has under this name now. Nothing of
    /// another one is carried over.
    pub fn predecessor(&self) -> Option<&Baseline> {
        let is_another = matches!(self.shortage(), Some(Untrusted::OtherResource { .. }));
        self.baseline.as_ref().filter(|_| !is_another)
    }

    /// The baseline that changes can be shown against, and its signatures.
    fn base(&self) -> Option<(Subject, Vec<SignedText>)> {
        let subject = &self.baseline.as_ref()?.approved.subject;
        let is_of_it = |signed: &&SignedStatement| {
            Statement::parse(&signed.statement).is_ok_and(|statement| statement.subject == *subject)
        };
        let signatures = self.statements.iter().filter(is_of_it).filter_map(SignedText::of);
        self.shortage().is_none().then(|| (subject.clone(), signatures.collect()))
    }

    /// What each difference means.
    pub fn drifts(&self, catalogue: &Catalogue) -> Vec<Finding> {
        let Some(baseline) = &self.baseline else { return Vec::new() };
        let context = change_context(baseline, &self.snapshot, &self.changes, []);
        FindingSet::new(catalogue, context, self.changes.clone()).into_vec()
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
    ///
    /// # Errors
    /// Something that is named is no difference.
    pub fn selected(
        &self,
        selection: &ApprovalScope,
        catalogue: &Catalogue,
    ) -> Result<(BTreeSet<usize>, BTreeSet<String>), ApprovalError> {
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
        Ok((with_their_other_paths(catalogue, &self.drifts(catalogue), &chosen), sections))
    }

    /// The paths that `selection` takes in though it does not name them: other paths of a setting that it names.
    ///
    /// # Errors
    /// As [`Pending::selected`].
    pub fn come_along(&self, selection: &ApprovalScope, catalogue: &Catalogue) -> Result<Vec<&Pointer>, ApprovalError> {
        let ApprovalScope::Only(named) = selection else { return Ok(Vec::new()) };
        let (places, _) = self.selected(selection, catalogue)?;
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
fn give_reasons(tx: &Transaction<'_>, snapshot: &mut Snapshot) {
    let table = Table::of(snapshot.instance.provider);
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

/// For how long something is approved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Our time.
    pub now: DateTime<Utc>,
    /// When it ends; never, if nothing is given.
    pub until: Option<DateTime<Utc>>,
}

/// The ends of the new baseline: those of the one before that are still to come, but for what is approved anew, and the
/// end that is given for everything that is approved now. Of a set, members that are approved for a time and others
/// cannot be told apart, so the earlier end counts for all that is new in it: too much opens again, and nothing stays.
fn ends(
    pending: &Pending,
    approved: &[&Change],
    new_sections: &BTreeSet<String>,
    limit: Validity,
) -> Result<BTreeMap<Pointer, Expiry>, ApprovalError> {
    let base = pending.baseline.as_ref().filter(|_| pending.shortage().is_none());
    let mut ends = BTreeMap::new();
    for (path, end) in base.into_iter().flat_map(|base| &base.approved.subject.until) {
        let is_anew = approved.iter().any(|change| !change.is_member && change.path.contains(path));
        if end.0 > limit.now && !is_anew {
            ends.insert(path.clone(), *end);
        }
    }
    let Some(until) = limit.until.map(Expiry) else { return Ok(ends) };
    let Some(base) = base else {
        return Err(ApprovalError::NotForATime("a baseline that is approved whole".to_owned()));
    };
    let is_held = |section: &&String| {
        pending.snapshot.sections.get(*section).is_some_and(|reading| reading.state().is_comparable())
    };
    if let Some(section) = new_sections.iter().find(is_held) {
        return Err(ApprovalError::NotForATime(format!("section {section}, which the baseline does not have,")));
    }
    for change in approved {
        let section = change.section();
        let is_read = pending.snapshot.sections.get(section).is_some_and(|reading| reading.document().is_some());
        if base.document(section).is_none() || !is_read {
            return Err(ApprovalError::NotForATime(format!("section {section} as a whole")));
        }
        let end = ends.entry(change.path.clone()).or_insert(until);
        *end = until.min(*end);
    }
    Ok(ends)
}

/// Proposes a new baseline from what stands in the store.
///
/// # Errors
/// There is nothing to approve, or a selected path is no difference.
pub fn propose(
    tx: &Transaction<'_>,
    pending: &Pending,
    selection: &ApprovalScope,
    catalogue: &Catalogue,
    proposer: &str,
    reason: Option<String>,
    limit: Validity,
) -> Result<Proposal, ApprovalError> {
    let snapshot = &pending.snapshot;
    let instance = &snapshot.instance;
    if snapshot.resource.is_empty() {
        return Err(ApprovalError::NoResource(instance.clone()));
    }
    if let (Some(baseline), Some(reason), true) =
        (&pending.baseline, pending.shortage(), *selection != ApprovalScope::All)
    {
        let sequence = baseline.approved.subject.sequence;
        return Err(ApprovalError::Whole { sequence, reason: reason.clone() });
    }
    let (places, new_sections) = pending.selected(selection, catalogue)?;
    let approved: Vec<&Change> = places.iter().filter_map(|place| pending.changes.get(*place)).collect();
    let base = pending.base();
    let (sequence, previous) = match &pending.baseline {
        Some(baseline) => {
            let subject = &baseline.approved.subject;
            let is_something = !approved.is_empty() || !new_sections.is_empty() || pending.rolled_back.is_some();
            if base.is_some() && !is_something {
                return Err(ApprovalError::Nothing { instance: instance.clone(), sequence: subject.sequence });
            }
            (subject.sequence + 1, Some(baseline.approved.identity.clone()))
        }
        None => (1, None),
    };
    let (sections, mut documents) = compose(pending, &approved, &new_sections);
    check_rest(pending, approved.len(), &sections, &documents)?;
    let until = ends(pending, &approved, &new_sections, limit)?;
    let before = pending.baseline.as_ref().filter(|_| base.is_some());
    for document in before.iter().flat_map(|baseline| baseline.documents.values()) {
        documents.insert(document.digest().clone(), document.clone());
    }
    let log = events::mark(tx)?.ok_or_else(|| StoreError::Damaged("the history is empty".to_owned()))?;
    let subject = Subject {
        instance: instance.clone(),
        log,
        previous,
        proposer: proposer.to_owned(),
        resource: snapshot.resource.clone(),
        snapshot: digest_of(instance, &snapshot.resource, &sections),
        sections,
        sequence,
        until,
    };
    let reason_of = |(section, reading): (&String, &Reading)| (section.clone(), reading.reason().to_owned());
    let unread = snapshot.sections.iter().filter(|(_, reading)| !reading.state().is_comparable()).map(reason_of);
    Ok(Proposal::new(subject, base, &documents, unread.collect(), catalogue, reason))
}

/// Makes sure that what is not approved is what stays different, and nothing else.
fn check_rest(
    pending: &Pending,
    approved: usize,
    sections: &Manifest,
    documents: &BTreeMap<Digest, Document>,
) -> Result<(), ApprovalError> {
    let Some(_) = pending.predecessor() else { return Ok(()) };
    let side = |section: &str| match sections.get(section) {
        Some(mark) => match mark.digest.as_ref().and_then(|digest| documents.get(digest)) {
            Some(document) => Side::Document(document),
            None if mark.state.is_comparable() => Side::Without(mark.state),
            None => Side::Unknown,
        },
        None => Side::Unknown,
    };
    let rest = compare_all_to_approve(Table::of(pending.snapshot.instance.provider), side, &pending.snapshot);
    if rest.len() + approved == pending.changes.len() {
        return Ok(());
    }
    Err(ApprovalError::Statement("these differences cannot be approved apart from the others".to_owned()))
}

/// The sections of the new baseline: the approved differences from the snapshot, the old values for everything else. A
/// section that cannot be read now keeps what was approved before.
fn compose(
    pending: &Pending,
    approved: &[&Change],
    new_sections: &BTreeSet<String>,
) -> (Manifest, BTreeMap<Digest, Document>) {
    let mut manifest = Manifest::new();
    let mut documents = BTreeMap::new();
    let mut add = |section: &str, state: State, document: Option<Document>| {
        let digest = document.as_ref().map(|document| document.digest().clone());
        if let Some(document) = document {
            documents.insert(document.digest().clone(), document);
        }
        manifest.insert(section.to_owned(), SectionMark { digest, state });
    };
    let old = pending.predecessor();
    let old_marks = old.map(|baseline| baseline.approved.subject.sections.clone()).unwrap_or_default();
    let names = old_marks.keys().chain(pending.snapshot.sections.keys());
    for section in names.collect::<BTreeSet<_>>() {
        let old_document = old.and_then(|baseline| baseline.document(section));
        let old_state = old_marks.get(section).map(|mark| mark.state).filter(|state| state.is_comparable());
        let reading = pending.snapshot.sections.get(section);
        let is_read = reading.is_some_and(|reading| reading.state().is_comparable());
        let here: Vec<&Change> =
            approved.iter().copied().filter(|change| change.section() == section.as_str()).collect();
        let all_here = pending.changes.iter().filter(|change| change.section() == section.as_str()).count();
        match (old_state, reading) {
            (Some(state), _) if !is_read || here.is_empty() => add(section, state, old_document.cloned()),
            // What cannot be used of the reading keeps what was approved, so only the differences are taken.
            (Some(state), Some(reading))
                if here.len() < all_here || old_document.is_some() && reading.has_unknown() =>
            {
                let mut value = old_document.map(|document| document.value().clone()).unwrap_or_default();
                let read = reading.document().map(Document::value);
                for change in here {
                    apply(&mut value, change, read);
                }
                forget_mended(&mut value, read);
                add(section, state, Some(Document::new(&value)));
            }
            // A section that nobody asked to hold, or to leave unwatched, is not slipped in.
            (None, Some(_)) if old.is_some() && !new_sections.contains(section) => {
                if let Some(mark) = old_marks.get(section) {
                    add(section, mark.state, None);
                }
            }
            (_, Some(reading)) => add(section, reading.state(), reading.document().cloned()),
            (state, None) => add(section, state.unwrap_or(State::Unreachable), old_document.cloned()),
        }
    }
    (manifest, documents)
}

/// Makes one change to the document of its section; `read` is the document it comes from.
fn apply(value: &mut Value, change: &Change, read: Option<&Value>) {
    let tokens = change.path.tokens().get(1..).unwrap_or_default();
    let Some((last, parents)) = tokens.split_last() else {
        // The set is the whole section.
        apply_here(value, change, read);
        return;
    };
    let mut parent = value;
    for token in parents {
        match parent.get_mut(token.as_str()) {
            Some(child) => parent = child,
            None => return,
        }
    }
    let Some(object) = parent.as_object_mut() else { return };
    if change.is_member {
        let read = tokens.iter().try_fold(read, |place, token| Some(place?.get(token.as_str()))).flatten();
        apply_here(object.entry(last.clone()).or_insert(Value::Null), change, read);
    } else if change.kind == ChangeKind::Removed {
        object.remove(last);
    } else {
        let whole = tokens.iter().try_fold(read, |place, token| Some(place?.get(token.as_str()))).flatten();
        object.insert(last.clone(), whole.unwrap_or(&change.after).clone());
    }
}

fn apply_here(place: &mut Value, change: &Change, read: Option<&Value>) {
    if !change.is_member {
        *place = read.unwrap_or(&change.after).clone();
        return;
    }
    let mut members = place.as_array().cloned().unwrap_or_default();
    match change.kind {
        ChangeKind::Removed => members.retain(|member| !is_same(member, &change.before)),
        _ => {
            let mut read = read.and_then(Value::as_array).into_iter().flatten();
            members.push(read.find(|member| is_same(member, &change.after)).unwrap_or(&change.after).clone());
        }
    }
    members.sort_by_cached_key(to_bytes);
    members.dedup();
    // Some vendors write a set without members as null.
    let is_null = members.is_empty() && read == Some(&Value::Null);
    *place = if is_null { Value::Null } else { Value::Array(members) };
}
