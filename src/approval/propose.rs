//! What would be approved: the whole snapshot, or part of it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{ApprovalError, Proposal};
use crate::canonical::{Document, to_bytes};
use crate::classify::{Catalogue, Drift, assess};
use crate::cycle::{approved_side, verified_baseline};
use crate::diff::{Change, ChangeKind, compare};
use crate::model::{Digest, InstanceId, Pointer, State};
use crate::sections::Table;
use crate::snapshot::{Manifest, SectionMark, Snapshot, digest_of};
use crate::store::{StoreError, Transaction, cycles, events, instances};
use crate::trust::Baseline;
use crate::trust::statement::Subject;
use crate::trust_files::TrustFiles;

/// Which differences are to be approved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// All of them.
    All,
    /// Those at or under these paths.
    Only(Vec<Pointer>),
    /// These, by their place in the list of differences.
    Chosen(Vec<usize>),
}

/// The newest snapshot against the newest baseline, as it stands in the store.
pub struct Standing {
    /// The newest snapshot.
    pub snapshot: Snapshot,
    /// The newest baseline.
    pub baseline: Option<crate::trust::Verified<Baseline>>,
    /// Every difference.
    pub changes: Vec<Change>,
}

impl Standing {
    /// Reads both from the store and compares them.
    ///
    /// # Errors
    /// There is no snapshot, or the baseline cannot be trusted.
    pub fn load(tx: &Transaction<'_>, instance: &InstanceId, trust: &TrustFiles) -> Result<Self, ApprovalError> {
        let none = || ApprovalError::NoSnapshot(instance.clone());
        let row = instances::find(tx, instance)?.ok_or_else(none)?;
        let (snapshot, _) = cycles::latest_snapshot(tx, row, instance)?.ok_or_else(none)?;
        let baseline = verified_baseline(tx, &snapshot, trust)??;
        let changes = match &baseline {
            Some(baseline) => {
                let table = Table::of(instance.provider);
                compare(table, |section| approved_side(baseline, section), &snapshot)
            }
            None => Vec::new(),
        };
        Ok(Self { snapshot, baseline, changes })
    }

    /// What each difference means.
    pub fn drifts(&self, catalogue: &Catalogue) -> Vec<Drift> {
        self.changes.iter().map(|change| assess(catalogue, change.clone())).collect()
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

/// Proposes a new baseline from what stands in the store.
///
/// # Errors
/// There is nothing to approve, or a selected path is no difference.
pub fn propose(
    tx: &Transaction<'_>,
    standing: &Standing,
    selection: &Selection,
    catalogue: &Catalogue,
    proposer: &str,
    reason: Option<String>,
) -> Result<Proposal, ApprovalError> {
    let snapshot = &standing.snapshot;
    let instance = &snapshot.instance;
    if snapshot.resource.is_empty() {
        return Err(ApprovalError::NoResource(instance.clone()));
    }
    let approved = selected(&standing.changes, selection)?;
    let (sequence, previous) = match &standing.baseline {
        Some(baseline) => {
            let subject = &baseline.approved.subject;
            if approved.is_empty() && standing.unbaselined().is_empty() {
                return Err(ApprovalError::Nothing { instance: instance.clone(), sequence: subject.sequence });
            }
            (subject.sequence + 1, Some(baseline.approved.identity.clone()))
        }
        None => (1, None),
    };
    let (sections, mut documents) = compose(standing, &approved);
    let before = standing.baseline.as_ref();
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
    };
    let previous = before.map(|baseline| baseline.approved.subject.clone());
    Ok(Proposal::new(subject, previous, &documents, catalogue, reason))
}

fn selected<'a>(changes: &'a [Change], selection: &Selection) -> Result<Vec<&'a Change>, ApprovalError> {
    match selection {
        Selection::All => Ok(changes.iter().collect()),
        Selection::Chosen(places) => Ok(places.iter().filter_map(|place| changes.get(*place)).collect()),
        Selection::Only(paths) => {
            let fits = |path: &Pointer, change: &Change| path.contains(&change.path);
            if let Some(path) = paths.iter().find(|path| !changes.iter().any(|change| fits(path, change))) {
                return Err(ApprovalError::NoSuchPath(path.to_string()));
            }
            Ok(changes.iter().filter(|change| paths.iter().any(|path| fits(path, change))).collect())
        }
    }
}

/// The sections of the new baseline: the approved differences from the snapshot, the old values for everything else. A
/// section that cannot be read now keeps what was approved before.
fn compose(standing: &Standing, approved: &[&Change]) -> (Manifest, BTreeMap<Digest, Document>) {
    let mut manifest = Manifest::new();
    let mut documents = BTreeMap::new();
    let mut add = |section: &str, state: State, document: Option<Document>| {
        let digest = document.as_ref().map(|document| document.digest().clone());
        if let Some(document) = document {
            documents.insert(document.digest().clone(), document);
        }
        manifest.insert(section.to_owned(), SectionMark { digest, state });
    };
    let old = standing.baseline.as_ref();
    let old_marks = old.map(|baseline| baseline.approved.subject.sections.clone()).unwrap_or_default();
    let names = old_marks.keys().chain(standing.snapshot.sections.keys());
    for section in names.collect::<std::collections::BTreeSet<_>>() {
        let old_document = old.and_then(|baseline| baseline.documents.get(section));
        let old_state = old_marks.get(section).map(|mark| mark.state).filter(|state| state.is_comparable());
        let reading = standing.snapshot.sections.get(section);
        let is_read = reading.is_some_and(|reading| reading.state().is_comparable());
        let here: Vec<&Change> =
            approved.iter().copied().filter(|change| change.section() == section.as_str()).collect();
        let all_here = standing.changes.iter().filter(|change| change.section() == section.as_str()).count();
        match (old_state, reading) {
            (Some(state), _) if !is_read || here.is_empty() => add(section, state, old_document.cloned()),
            (Some(state), _) if here.len() < all_here => {
                let mut value = old_document.map(|document| document.value().clone()).unwrap_or_default();
                for change in here {
                    apply(&mut value, change);
                }
                add(section, state, Some(Document::new(value)));
            }
            (_, Some(reading)) => add(section, reading.state(), reading.document().cloned()),
            (state, None) => add(section, state.unwrap_or(State::Unreachable), old_document.cloned()),
        }
    }
    (manifest, documents)
}

/// Makes one change to the document of its section.
fn apply(value: &mut Value, change: &Change) {
    let Some((last, parents)) = change.path.tokens().get(1..).and_then(<[String]>::split_last) else {
        // The set is the whole section.
        apply_here(value, change);
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
        apply_here(object.entry(last.clone()).or_insert(Value::Null), change);
    } else if change.kind == ChangeKind::Removed {
        object.remove(last);
    } else {
        object.insert(last.clone(), change.after.clone());
    }
}

fn apply_here(place: &mut Value, change: &Change) {
    if !change.is_member {
        *place = change.after.clone();
        return;
    }
    let mut members = place.as_array().cloned().unwrap_or_default();
    match change.kind {
        ChangeKind::Removed => members.retain(|member| *member != change.before),
        _ => members.push(change.after.clone()),
    }
    members.sort_by_cached_key(to_bytes);
    members.dedup();
    *place = Value::Array(members);
}
