//! The approvers that count for a baseline, and whether they are enough.

use std::collections::{BTreeMap, BTreeSet};

use super::{Approved, Untrusted};
use crate::trust::policy::{Impact, Policy};
use crate::trust::sshsig::PublicKey;
use crate::trust::statement::{Approval, Statement, Subject};

/// A statement whose signature is good and whose key was its approver's at the time. Whether it counts is another
/// question.
#[derive(Debug, Clone)]
pub(super) struct Opened {
    pub(super) statement: Statement,
    pub(super) key: PublicKey,
    pub(super) is_touched: bool,
}

/// Makes the link after `links` from statements that were opened.
pub(super) fn link(
    links: &[Approved],
    opened: Vec<Opened>,
    policy: &Policy<'_>,
    impact: &dyn Impact,
) -> Result<Approved, Untrusted> {
    let last = links.last();
    let expected = last.map_or(1, |last| last.subject.sequence.saturating_add(1));
    let previous = last.map(|last| last.identity.clone());
    let Some(subject) = opened.first().map(|opened| opened.statement.subject.clone()) else {
        return Err(Untrusted::TooFewApprovers { sequence: expected, have: 0, need: policy.rules.least() });
    };
    for Opened { statement, .. } in &opened {
        let found = statement.subject.sequence;
        if found != expected {
            return Err(Untrusted::WrongSequence { expected, found });
        }
        if statement.subject != subject {
            return Err(Untrusted::DifferentSubjects { sequence: expected });
        }
    }
    if subject.previous != previous {
        return Err(Untrusted::BrokenLink { sequence: expected, expected: previous, found: subject.previous });
    }
    let base = links.iter().rev().find(|link| link.insufficient.is_none()).map(|link| &link.subject);
    Ok(count(base, subject, opened, policy, impact))
}

/// Counts who approved `subject`. The only place that counts approvers.
pub(super) fn count(
    base: Option<&Subject>,
    subject: Subject,
    opened: Vec<Opened>,
    policy: &Policy<'_>,
    impact: &dyn Impact,
) -> Approved {
    let (rules, sequence) = (policy.rules, subject.sequence);
    let authors = impact.authors(base, &subject);
    let authors: BTreeSet<&str> = authors.iter().map(|author| policy.signers.person_of(author)).collect();
    let (mut all, mut counted, mut refused) = (People::default(), People::default(), None);
    for Opened { statement: Statement { approval, .. }, key, is_touched } in opened {
        let person = policy.signers.person_of(&approval.approver).to_owned();
        let approver = approval.approver.clone();
        all.add(&person, &approval);
        if policy.revoked.contains(&key) {
            refused = Some(Untrusted::RevokedKey { approver, key });
        } else if authors.contains(person.as_str()) {
            refused = Some(Untrusted::OwnChange { sequence, approver });
        } else if rules.require_touch && !key.proves_touch() {
            refused = Some(Untrusted::NoSecurityKey { approver, key });
        } else if rules.require_touch && !is_touched {
            refused = Some(Untrusted::NotTouched { approver, key });
        } else {
            counted.add(&person, &approval);
        }
    }
    let have = counted.0.len();
    let most = rules.most();
    // Where all severities need the same, or enough people approved anything, nothing has to be compared.
    let need = if have >= most || rules.least() == most { most } else { rules.need(impact.severity(base, &subject)) };
    let too_few = Untrusted::TooFewApprovers { sequence, have, need };
    let insufficient = (have < need).then(|| refused.unwrap_or(too_few));
    let people = if insufficient.is_some() { all } else { counted };
    Approved { identity: subject.identity(), subject, approvals: people.by_time(), insufficient }
}

/// One approval for each person, the earliest: one person counts once, however many statements, keys or names it has.
#[derive(Default)]
struct People(BTreeMap<String, Approval>);

impl People {
    fn add(&mut self, person: &str, approval: &Approval) {
        let known = self.0.entry(person.to_owned()).or_insert_with(|| approval.clone());
        if approval.at < known.at {
            *known = approval.clone();
        }
    }

    fn by_time(self) -> Vec<Approval> {
        let mut approvals: Vec<Approval> = self.0.into_values().collect();
        approvals.sort_by(|a, b| (a.at, &a.approver).cmp(&(b.at, &b.approver)));
        approvals
    }
}
