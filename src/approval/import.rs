//! From signed statements to a baseline, in one transaction.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::{ApprovalError, Pending, Proposal};
use crate::alerting::{Notifications, Origin, announce, record_transitions, worst_of};
use crate::baseline::{
    BaselineSummary, DocumentImpact, approved_side, change_context, concluded, unknown, verified_ignoring_rollback,
};
use crate::canonical::Document;
use crate::classify::FindingSet;
use crate::config::Config;
use crate::diff::{compare, compare::comparable};
use crate::history::Event;
use crate::history::data::BaselineApproval;
use crate::incident::{DriftStep, Ending, advance};
use crate::message::{Notice, NoticeKind, listed};
use crate::model::{Digest, InstanceId, Pointer, State, display_safe, display_safe_sentence};
use crate::store::instances::InstanceRow;
use crate::store::{StoreError, Transaction, UnitOfWork, baselines, documents, events, instances};
use crate::trust::sshsig::rewrap;
use crate::trust::statement::{Expiry, Subject};
use crate::trust::{Approved, EventTimes, SignedStatement, accept, chain};

/// A baseline that was accepted.
#[derive(Debug)]
pub struct Imported {
    /// The instance.
    pub instance: InstanceId,
    /// The baseline.
    pub baseline: BaselineSummary,
    /// The number of drifts that it ended.
    pub closed: usize,
    /// The number of drifts that stay open.
    pub open: usize,
}

/// Reads the files of one import: signed proposals of the same thing.
pub fn read_files(paths: &[PathBuf]) -> Result<Proposal, ApprovalError> {
    let mut merged: Option<(Proposal, &Path)> = None;
    for path in paths {
        let proposal = Proposal::read(path)?;
        merged = Some(match merged {
            None => (proposal, path),
            Some((mut first, first_path)) => {
                if first.subject != proposal.subject {
                    return Err(ApprovalError::Mixed(path.clone()));
                }
                for statement in proposal.statements {
                    if !first.statements.contains(&statement) {
                        first.statements.push(statement);
                    }
                }
                (first, first_path)
            }
        });
    }
    match merged {
        Some((proposal, _)) if !proposal.statements.is_empty() => Ok(proposal),
        Some((_, path)) => Err(ApprovalError::Unsigned(path.to_owned())),
        None => Err(ApprovalError::Unsigned(PathBuf::new())),
    }
}

/// Accepts a signed proposal as the new baseline, ends the drifts it holds, and tells the receivers. Signatures that the
/// newest baseline does not have yet are added to it. `pending` is loaded to approve: what is there has to be sound before
/// anything is put on top of it.
///
/// # Errors
/// Anything about signatures, sequence, history or documents is not as it has to be, or it was imported before. Nothing
/// is written then.
pub fn import(
    tx: &Transaction<'_>,
    config: &Config,
    pending: &Pending<'_>,
    proposal: &Proposal,
) -> Result<Imported, ApprovalError> {
    let row = instances::row(tx, &proposal.subject.instance)?;
    let accepted = check(tx, row, pending, proposal)?;
    record(tx, row, pending.now, &accepted)?;
    end_drifts(tx, config, pending, &accepted)
}

/// A proposal that passed every check.
struct AcceptedProposal {
    approved: Approved,
    statements: Vec<SignedStatement>,
    documents: BTreeMap<Digest, Document>,
}

fn check(
    tx: &Transaction<'_>,
    row: InstanceRow,
    pending: &Pending<'_>,
    proposal: &Proposal,
) -> Result<AcceptedProposal, ApprovalError> {
    let instance = &proposal.subject.instance;
    let policy = pending.trust.policy()?;
    let stored = baselines::statements(tx, row)?;
    let documents = proposal.checked_documents().map_err(ApprovalError::Statement)?;
    let document = |digest: &Digest| documents.get(digest).cloned().or_else(|| documents::load(tx, digest).ok());
    let impact = DocumentImpact { catalogue: pending.catalogue, document: &document };
    let links = chain(instance, &stored, &policy, &impact)?;
    let mut statements = Vec::new();
    for signed in proposal.statements.iter().cloned() {
        let mut signed = SignedStatement::from(signed);
        // One way to write a signature, the one that OpenSSH reads, so that an exported chain can be checked with it.
        if let Ok(plain) = rewrap(&signed.signature) {
            signed.signature = plain;
        }
        statements.push(signed);
    }
    let identity = proposal.subject.identity();
    let already = ApprovalError::Already { instance: instance.clone(), sequence: proposal.subject.sequence };
    let is_newest = links.last().is_some_and(|link| link.identity == identity);
    let is_stored = statements.iter().all(|signed| stored.contains(signed));
    if links.iter().any(|link| link.identity == identity) && (is_stored || !is_newest) {
        return Err(pending.insufficient().cloned().map_or(already, ApprovalError::Untrusted));
    }
    let recorded = |size| events::recorded_at(tx, size).ok().flatten();
    let times = EventTimes { now: pending.now, recorded: &recorded };
    let approved = accept(instance, &stored, &statements, &policy, &impact, times)?;
    if links.last().is_some_and(|newest| *newest == approved) {
        return Err(already);
    }
    // Everything below may rely on the proposal being what was signed.
    if approved.subject != proposal.subject {
        return Err(ApprovalError::Altered);
    }
    // `propose` never drops a section, so this proposal was made to hide one.
    let before = pending.predecessor().map(|baseline| &baseline.approved.subject);
    let changed = before.map_or_else(Vec::new, |before| proposal.section_changes_since(before));
    let is_lost = |after: Option<State>| !after.is_some_and(State::is_comparable);
    let lost: Vec<&str> =
        changed.into_iter().filter(|(_, _, after)| is_lost(*after)).map(|(section, ..)| section).collect();
    if !lost.is_empty() {
        return Err(ApprovalError::Loses(display_safe_sentence(&lost.join(", "))));
    }
    Ok(AcceptedProposal { approved, statements, documents })
}

/// Writes documents, statements and the event of the approval.
fn record(
    tx: &Transaction<'_>,
    row: InstanceRow,
    now: DateTime<Utc>,
    accepted: &AcceptedProposal,
) -> Result<(), ApprovalError> {
    let AcceptedProposal { approved, statements, documents } = accepted;
    let subject = &approved.subject;
    for document in subject.sections.values().filter_map(|mark| documents.get(mark.digest.as_ref()?)) {
        documents::insert(tx, document)?;
    }
    for statement in statements {
        baselines::insert(tx, row, subject.sequence, statement, now)?;
    }
    // The signature of the next baseline covers this event, so only the newest baseline has to be verified every time.
    let known = tx.history()?;
    let known = known.state.vouched.get(&subject.instance);
    let verified: Vec<Digest> = baselines::statements(tx, row)?.iter().map(SignedStatement::digest).collect();
    let is_new = |digest: &Digest| !known.is_some_and(|known| known.contains_key(digest));
    let approval = BaselineApproval {
        sequence: subject.sequence,
        statements: verified.into_iter().filter(is_new).collect(),
        identity: approved.identity.clone(),
        snapshot: subject.snapshot.clone(),
        approvers: approved.approvals.iter().map(|approval| approval.approver.clone()).collect(),
        proposer: subject.proposer.clone(),
        reason: approved.approvals.last().map(|approval| approval.reason.clone()),
        until: subject.until.iter().map(|(path, end)| (path.clone(), end.0.into())).collect(),
    };
    events::append(tx, now, Some(&subject.instance), &Event::BaselineApproved(approval))?;
    Ok(())
}

/// Ends the drifts that the new baseline holds, and notifies the receivers.
fn end_drifts(
    tx: &Transaction<'_>,
    config: &Config,
    pending: &Pending<'_>,
    accepted: &AcceptedProposal,
) -> Result<Imported, ApprovalError> {
    let Pending { trust, catalogue, now, snapshot, .. } = pending;
    let subject = &accepted.approved.subject;
    let instance = &subject.instance;
    // As any later cycle will see it: verified from the stored rows.
    let baseline = verified_ignoring_rollback(tx, snapshot, trust, catalogue, *now)??
        .ok_or_else(|| StoreError::Damaged("the baseline that was just written is not there".to_owned()))?;
    let summary = BaselineSummary::of(&baseline);
    let mut unit = UnitOfWork::of_instance(tx, instance, None, &[])?;
    let table = catalogue.table();
    let changes = compare(table, |section| approved_side(&baseline, section), snapshot);
    let sections = comparable(&baseline.approved.subject.sections, snapshot);
    let known = concluded(&unknown(&baseline, snapshot), instance, &changes, unit.drifts()?.clone());
    let remembered = known.values().map(|drift| &drift.change);
    let context = change_context(table, &baseline, snapshot, &pending.changes, remembered);
    let findings = FindingSet::new(catalogue, context, changes);
    let ending = Ending::Approved(summary.approvers.clone());
    let mut steps = advance(instance, &known, &findings, &sections, &ending, *now);
    let notification_logs = unit.history()?.state.notification_logs_of(instance);
    for step in &mut steps {
        if let Some(log) = notification_logs.get(step.drift.id.as_str()) {
            step.worst = worst_of(&findings, log, &step.drift.change);
        }
    }
    let transitions = record_transitions(&mut unit, instance, *now, steps)?;
    let closed = transitions.iter().filter(|transition| transition.step == DriftStep::Ended).count();
    let origin = Origin {
        config,
        findings: &findings,
        instance,
        resource: &subject.resource,
        at: *now,
        baseline: Some(summary.clone()),
    };
    // Before the first one there was nothing to protect.
    let notices = if subject.sequence > 1 { vec![notice(pending, subject, &summary)] } else { Vec::new() };
    announce(&mut unit, &origin, Notifications { transitions, notices, ..Notifications::default() })?;
    unit.record(tx)?;
    Ok(Imported { instance: instance.clone(), baseline: summary, closed, open: findings.all().len() })
}

/// The notice of an approval: who approved, and what for a time only.
fn notice(pending: &Pending<'_>, subject: &Subject, summary: &BaselineSummary) -> Notice {
    let people: Vec<String> = summary.approvers.iter().map(|approver| display_safe(approver)).collect();
    let mut text = format!("baseline {}, approved by {}", subject.sequence, people.join(", "));
    let before = pending.predecessor().map(|baseline| &baseline.approved.subject.until);
    let is_new = |(path, end): &(&Pointer, &Expiry)| before.and_then(|before| before.get(path)) != Some(end);
    let ends = subject.until.iter().filter(is_new);
    let ends: Vec<String> =
        ends.map(|(path, end)| format!("{} until {end}", display_safe(&path.to_string()))).collect();
    if !ends.is_empty() {
        text.push_str(&format!("; for a time: {}", listed(&ends, "setting")));
    }
    Notice { kind: NoticeKind::Approved, subject: String::new(), text }
}
