//! What would be approved: the whole snapshot, or part of it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::compose::compose;
use super::pending::Pending;
use super::scope::ApprovalScope;
use super::{ApprovalError, Proposal};
use crate::canonical::Document;
use crate::diff::Change;
use crate::diff::compare::{Side, compare_all_to_approve};
use crate::model::{Digest, Pointer};
use crate::snapshot::{Manifest, Reading, digest_of};
use crate::store::{StoreError, Transaction, events};
use crate::trust::statement::{Expiry, Subject};

/// A request to approve differences.
#[derive(Debug)]
pub struct ApprovalRequest {
    /// Which differences.
    pub scope: ApprovalScope,
    /// The name of the proposer.
    pub proposer: String,
    /// The reason that the proposer suggests.
    pub reason: Option<String>,
    /// The end of the approval; none, if it is for good.
    pub until: Option<DateTime<Utc>>,
}

/// The ends of the new baseline: those of the one before that are still to come, but for what is approved anew, and the
/// end that is given for everything that is approved now. Of a set, members that are approved for a time and others
/// cannot be told apart, so the earlier end counts for all that is new in it: too much opens again, and nothing stays.
fn ends(
    pending: &Pending<'_>,
    approved: &[&Change],
    new_sections: &BTreeSet<String>,
    until: Option<DateTime<Utc>>,
) -> Result<BTreeMap<Pointer, Expiry>, ApprovalError> {
    let base = pending.baseline.as_ref().filter(|_| pending.insufficient().is_none());
    let mut ends = BTreeMap::new();
    for (path, end) in base.into_iter().flat_map(|base| &base.approved.subject.until) {
        let is_anew = approved.iter().any(|change| !change.is_member && change.path.contains(path));
        if end.0 > pending.now && !is_anew {
            ends.insert(path.clone(), *end);
        }
    }
    let Some(until) = until.map(Expiry) else { return Ok(ends) };
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
pub fn propose(
    tx: &Transaction<'_>,
    pending: &Pending<'_>,
    request: ApprovalRequest,
) -> Result<Proposal, ApprovalError> {
    let snapshot = &pending.snapshot;
    let instance = &snapshot.instance;
    if snapshot.resource.is_empty() {
        return Err(ApprovalError::NoResource(instance.clone()));
    }
    if let (Some(baseline), Some(reason), true) =
        (&pending.baseline, pending.insufficient(), request.scope != ApprovalScope::All)
    {
        let sequence = baseline.approved.subject.sequence;
        return Err(ApprovalError::Whole { sequence, reason: reason.clone() });
    }
    let (places, new_sections) = pending.selected(&request.scope)?;
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
    let until = ends(pending, &approved, &new_sections, request.until)?;
    let before = pending.baseline.as_ref().filter(|_| base.is_some());
    for document in before.iter().flat_map(|baseline| baseline.documents.values()) {
        documents.insert(document.digest().clone(), document.clone());
    }
    let log = events::mark(tx)?.ok_or_else(|| StoreError::Damaged("the history is empty".to_owned()))?;
    let subject = Subject {
        instance: instance.clone(),
        log,
        previous,
        proposer: request.proposer,
        resource: snapshot.resource.clone(),
        snapshot: digest_of(instance, &snapshot.resource, &sections),
        sections,
        sequence,
        until,
    };
    let reason_of = |(section, reading): (&String, &Reading)| (section.clone(), reading.reason().to_owned());
    let unread = snapshot.sections.iter().filter(|(_, reading)| !reading.state().is_comparable()).map(reason_of);
    let unread = unread.collect();
    let mut proposal = Proposal::new(subject, base, &documents, pending.catalogue);
    (proposal.unread, proposal.reason) = (unread, request.reason);
    Ok(proposal)
}

/// Makes sure that what is not approved is what stays different, and nothing else.
fn check_rest(
    pending: &Pending<'_>,
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
    let rest = compare_all_to_approve(pending.catalogue.table(), side, &pending.snapshot);
    if rest.len() + approved == pending.changes.len() {
        return Ok(());
    }
    Err(ApprovalError::Statement("these differences cannot be approved apart from the others".to_owned()))
}
