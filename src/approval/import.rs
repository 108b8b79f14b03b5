//! From signed statements to a baseline, in one transaction.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{ApprovalError, Pending, Proposal};
use crate::alerting::{Notifications, Origin, announce, record_transitions, worst_of};
use crate::baseline::{
    BaselineSummary, DocumentImpact, approved_side, change_context, concluded, unknown, verified_ignoring_rollback,
};
use crate::classify::{Catalogue, FindingSet};
use crate::config::Config;
use crate::diff::{compare, compare::comparable};
use crate::incident::{Ending, advance};
use crate::message::{Notice, NoticeKind, listed};
use crate::model::{Digest, InstanceId, State, display_safe, display_safe_sentence};
use crate::store::{StoreError, Transaction, baselines, documents, drifts, events, history, instances};
use crate::trust::sshsig::rewrap;
use crate::trust::{EventTimes, SignedStatement, accept, chain};
use crate::trust_files::TrustFiles;

/// A baseline that was accepted.
#[derive(Debug)]
pub struct Imported {
    /// Of which instance.
    pub instance: InstanceId,
    /// The baseline.
    pub baseline: BaselineSummary,
    /// Drifts it ended.
    pub closed: usize,
    /// Drifts that stay open.
    pub open: usize,
}

/// Reads the files of one import: signed proposals of the same thing.
///
/// # Errors
/// A file cannot be read, holds no signature, or proposes something else than the first.
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
/// newest baseline does not have yet are added to it.
///
/// # Errors
/// Anything about signatures, sequence, history or documents is not as it has to be, or it was imported before. Nothing
/// is written then.
pub fn import(
    tx: &Transaction<'_>,
    proposal: &Proposal,
    config: &Config,
    trust: &TrustFiles,
    catalogue: &Catalogue,
    now: DateTime<Utc>,
) -> Result<Imported, ApprovalError> {
    let instance = &proposal.subject.instance;
    let policy = trust.policy()?;
    // What is there has to be sound before anything is put on top of it.
    let pending = Pending::load_to_approve(tx, instance, trust, catalogue, now)?;
    let row = instances::row(tx, instance)?;
    let stored = baselines::statements(tx, row)?;
    let documents = proposal.checked_documents().map_err(ApprovalError::Statement)?;
    let document = |digest: &Digest| documents.get(digest).cloned().or_else(|| documents::load(tx, digest).ok());
    let impact = DocumentImpact { catalogue, document: &document };
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
    let times = EventTimes { now, recorded: &recorded };
    let accepted = accept(instance, &stored, &statements, &policy, &impact, times)?;
    if links.last().is_some_and(|newest| *newest == accepted) {
        return Err(already);
    }
    // Everything below may rely on the proposal being what was signed.
    if accepted.subject != proposal.subject {
        return Err(ApprovalError::Altered);
    }

    // `propose` never drops a section, so this proposal was made to hide one.
    let before = pending.predecessor().map(|baseline| baseline.approved.subject.clone());
    let lost: Vec<&str> = before
        .as_ref()
        .map_or_else(Vec::new, |before| proposal.section_changes_since(before))
        .into_iter()
        .filter(|(_, _, after)| !after.is_some_and(State::is_comparable))
        .map(|(section, ..)| section)
        .collect();
    if !lost.is_empty() {
        return Err(ApprovalError::Loses(display_safe_sentence(&lost.join(", "))));
    }

    for digest in accepted.subject.sections.values().filter_map(|mark| mark.digest.as_ref()) {
        if let Some(document) = documents.get(digest) {
            documents::keep(tx, document)?;
        }
    }
    let sequence = accepted.subject.sequence;
    for statement in &statements {
        baselines::keep(tx, row, sequence, statement, now)?;
    }
    let approvers: BTreeSet<&str> = accepted.approvals.iter().map(|approval| approval.approver.as_str()).collect();
    let reason = accepted.approvals.last().map(|approval| approval.reason.as_str());
    // The signature of the next baseline covers this event, so only the newest baseline has to be verified every time.
    let known = tx.history()?;
    let known = known.vouched.get(instance);
    let verified: Vec<Digest> = baselines::statements(tx, row)?.iter().map(SignedStatement::digest).collect();
    let verified: Vec<&Digest> =
        verified.iter().filter(|digest| !known.is_some_and(|known| known.contains_key(*digest))).collect();
    let mut data = json!({
        "sequence": sequence, "statements": verified, "identity": accepted.identity, "snapshot": accepted.subject.snapshot,
        "approvers": approvers, "proposer": accepted.subject.proposer, "reason": reason,
    });
    if let Some(data) = data.as_object_mut().filter(|_| !accepted.subject.until.is_empty()) {
        data.insert("until".to_owned(), json!(accepted.subject.until));
    }
    events::append(tx, now, events::APPROVED, Some(instance), data)?;

    // As any later cycle will see it: verified from the stored rows.
    let baseline = verified_ignoring_rollback(tx, &pending.snapshot, trust, catalogue, now)??
        .ok_or_else(|| StoreError::Damaged("the baseline that was just written is not there".to_owned()))?;
    let report = BaselineSummary::of(&baseline);
    let table = catalogue.table();
    let changes = compare(table, |section| approved_side(&baseline, section), &pending.snapshot);
    let sections = comparable(&baseline.approved.subject.sections, &pending.snapshot);
    let known = concluded(&unknown(&baseline, &pending.snapshot), instance, &changes, drifts::known(tx, row)?);
    let remembered = known.values().map(|drift| &drift.change);
    let context = change_context(table, &baseline, &pending.snapshot, &pending.changes, remembered);
    let findings = FindingSet::new(catalogue, context, changes);
    let ending = Ending::Approved(report.approvers.clone());
    let mut steps = advance(instance, &known, &findings, &sections, &ending, now);
    let notification_logs = history::notification_logs(tx, instance)?;
    for step in &mut steps {
        if let Some(log) = notification_logs.get(step.drift.id.as_str()) {
            step.worst = worst_of(&findings, log, &step.drift.change);
        }
    }
    let transitions = record_transitions(tx, row, instance, now, steps)?;
    let closed = transitions.iter().filter(|transition| transition.step == crate::incident::DriftStep::Ended).count();
    let origin = Origin {
        config,
        findings: &findings,
        instance,
        resource: &proposal.subject.resource,
        at: now,
        baseline: Some(report.clone()),
    };
    // Before the first one there was nothing to protect.
    let people: Vec<String> = report.approvers.iter().map(|approver| display_safe(approver)).collect();
    let mut text = format!("baseline {sequence}, approved by {}", people.join(", "));
    let before = before.map(|subject| subject.until).unwrap_or_default();
    let for_a_time = accepted.subject.until.iter().filter(|(path, end)| before.get(*path) != Some(*end));
    let for_a_time: Vec<String> =
        for_a_time.map(|(path, end)| format!("{} until {end}", display_safe(&path.to_string()))).collect();
    if !for_a_time.is_empty() {
        text.push_str(&format!("; for a time: {}", listed(&for_a_time, "setting")));
    }
    let notice = Notice { kind: NoticeKind::Approved, subject: String::new(), text };
    let notices = if sequence > 1 { vec![notice] } else { Vec::new() };
    announce(tx, row, &origin, Notifications { transitions, notices, ..Notifications::default() })?;
    Ok(Imported { instance: instance.clone(), baseline: report, closed, open: findings.all().len() })
}
