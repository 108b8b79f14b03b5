//! The chain of baselines: from stored statements to the one baseline that may be compared with.
//!
//! Everything is checked at every load and nothing is remembered: who can write to the store can write whatever
//! "was verified before". Statements may come in any order. One thing that is wrong makes the whole chain
//! [`Untrusted`]; the caller compares nothing, raises a critical alert and leaves the data as it is.
//!
//! # Security
//! [`Verified`] has no constructor outside this file, so code that takes a `Verified<Baseline>` cannot be given a
//! baseline that skipped a check.

use std::collections::BTreeMap;
use std::ops::Deref;

use chrono::{DateTime, Duration, Utc};

use super::allowed_signers::{AllowedSigners, WhyNot};
use super::revoked::RevokedKeys;
use super::sshsig;
use super::statement::{Approval, NAMESPACE, Statement, Subject};
use crate::canonical::Document;
use crate::model::{Digest, InstanceId, Resource, State};

mod untrusted;

pub use untrusted::Untrusted;

/// How far an approver's clock may be ahead of ours at import.
const CLOCK_TOLERANCE: Duration = Duration::minutes(10);

/// A statement as it is stored: the signed bytes and the armoured signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedStatement {
    /// The bytes that were signed.
    pub statement: Vec<u8>,
    /// The text between and with `BEGIN SSH SIGNATURE` and `END SSH SIGNATURE`.
    pub signature: String,
}

/// Who must have approved.
#[derive(Debug, Clone, Copy)]
pub struct Policy<'a> {
    /// Who may approve.
    pub signers: &'a AllowedSigners,
    /// Keys that are not believed at any time.
    pub revoked: &'a RevokedKeys,
    /// How many different principals it takes; 0 counts as 1.
    pub threshold: usize,
}

/// One link of the chain: a subject that enough principals approved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approved {
    /// What was approved.
    pub subject: Subject,
    /// [`Subject::identity`].
    pub identity: Digest,
    /// By whom, one per person, the earliest first.
    pub approvals: Vec<Approval>,
}

/// The newest baseline and its documents.
#[derive(Debug, Clone, PartialEq)]
pub struct Baseline {
    /// The last link of the chain.
    pub approved: Approved,
    /// The document of every section with a value, by section.
    pub documents: BTreeMap<String, Document>,
}

/// Proof that a value passed every check of this file. Only this file can make one.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// The value, without the proof.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// What is known about one instance, untrusted except for the resource, which the vendor just told.
#[derive(Clone, Copy)]
pub struct Evidence<'a> {
    /// All stored statements of the instance, in any order.
    pub statements: &'a [SignedStatement],
    /// The stored bytes of a document.
    pub documents: &'a dyn Fn(&Digest) -> Option<Vec<u8>>,
    /// The digest of the event that made the history that many events long.
    pub history: &'a dyn Fn(u64) -> Option<Digest>,
    /// The highest sequence of which the history says that it was approved; 0 for none.
    pub approved_sequence: u64,
    /// The identity that the vendor gives now.
    pub resource: &'a Resource,
}

/// Verifies the baseline that `instance` is compared with.
///
/// `Ok(None)` means that nothing was ever approved: no statements are stored, and the history knows of none.
///
/// # Errors
/// One [`Untrusted`] per kind of attack; all of [`chain`], and those on the history, the resource and documents.
pub fn baseline(
    instance: &InstanceId,
    evidence: &Evidence<'_>,
    policy: &Policy<'_>,
) -> Result<Option<Verified<Baseline>>, Untrusted> {
    let mut links = chain(instance, evidence.statements, policy)?;
    let held = links.last().map_or(0, |link| link.subject.sequence);
    let approved = evidence.approved_sequence;
    if held < approved {
        return Err(Untrusted::MissingBaseline { approved, held });
    }
    if held > approved {
        return Err(Untrusted::Unrecorded { approved, held });
    }
    for Approved { subject, .. } in &links {
        if (evidence.history)(subject.log.size).as_ref() != Some(&subject.log.head) {
            return Err(Untrusted::HistoryCut { sequence: subject.sequence, size: subject.log.size });
        }
    }
    let Some(approved) = links.pop() else { return Ok(None) };
    if !evidence.resource.may_be(&approved.subject.resource) {
        return Err(Untrusted::OtherResource {
            approved: approved.subject.resource,
            found: evidence.resource.known.join(", "),
        });
    }
    let documents = load_documents(&approved.subject, evidence.documents)?;
    Ok(Some(Verified(Baseline { approved, documents })))
}

/// Verifies all baselines of `instance`, from the first to the last.
///
/// # Errors
/// The first thing that is wrong: signature, signer, time, instance, sequence, link or number of approvers.
pub fn chain(
    instance: &InstanceId,
    statements: &[SignedStatement],
    policy: &Policy<'_>,
) -> Result<Vec<Approved>, Untrusted> {
    let mut by_sequence: BTreeMap<u64, Vec<Statement>> = BTreeMap::new();
    for signed in statements {
        let statement = open(instance, signed, policy)?;
        by_sequence.entry(statement.subject.sequence).or_default().push(statement);
    }
    let mut links: Vec<Approved> = Vec::new();
    for statements in by_sequence.into_values() {
        links.push(link(links.last(), statements, policy)?);
    }
    Ok(links)
}

/// Verifies that `new` statements make exactly the baseline after `existing`, for import.
///
/// # Errors
/// As [`chain`]; and statements from the future, of another sequence, or none at all.
///
/// # Security
/// A statement from the future would be valid under keys that are not valid yet. An old statement that is played
/// again has a sequence that is taken.
pub fn accept(
    instance: &InstanceId,
    existing: &[Approved],
    new: &[SignedStatement],
    policy: &Policy<'_>,
    now: DateTime<Utc>,
) -> Result<Approved, Untrusted> {
    let mut statements = Vec::new();
    for signed in new {
        let statement = open(instance, signed, policy)?;
        let Approval { approver, at, .. } = &statement.approval;
        if *at > now + CLOCK_TOLERANCE {
            return Err(Untrusted::FromTheFuture { approver: approver.clone(), at: *at, now });
        }
        statements.push(statement);
    }
    link(existing.last(), statements, policy)
}

/// Checks one statement by itself: signature first, then what it says, then whether the signer might say it.
fn open(instance: &InstanceId, signed: &SignedStatement, policy: &Policy<'_>) -> Result<Statement, Untrusted> {
    let sshsig::Signed { key, .. } = sshsig::verify(&signed.signature, NAMESPACE, &signed.statement)
        .map_err(|error| Untrusted::from_signature(error, &signed.statement))?;
    let statement = Statement::parse(&signed.statement)?;
    let approver = statement.approval.approver.clone();
    if policy.revoked.contains(&key) {
        return Err(Untrusted::RevokedKey { approver, key });
    }
    let at = statement.approval.at;
    policy.signers.check(&approver, &key, at).map_err(|why| match why {
        WhyNot::Unknown => Untrusted::UnknownSigner { approver, key },
        WhyNot::OtherNamespace => Untrusted::KeyNotForBaselines { approver, key },
        WhyNot::NotYetValid(_) | WhyNot::Expired(_) => Untrusted::KeyNotValid { approver, key, at, why },
    })?;
    if statement.subject.instance != *instance {
        return Err(Untrusted::OtherInstance { expected: instance.clone(), found: statement.subject.instance });
    }
    Ok(statement)
}

/// Makes the link after `last` from statements that were opened. The only place that counts approvers.
fn link(last: Option<&Approved>, statements: Vec<Statement>, policy: &Policy<'_>) -> Result<Approved, Untrusted> {
    let expected = last.map_or(1, |last| last.subject.sequence.saturating_add(1));
    let previous = last.map(|last| last.identity.clone());
    let need = policy.threshold.max(1);
    let Some(subject) = statements.first().map(|statement| statement.subject.clone()) else {
        return Err(Untrusted::TooFewApprovers { sequence: expected, have: 0, need });
    };
    // One person counts once, however many statements, keys or names it has.
    let mut by_person: BTreeMap<String, Approval> = BTreeMap::new();
    for statement in statements {
        let found = statement.subject.sequence;
        if found != expected {
            return Err(Untrusted::WrongSequence { expected, found });
        }
        if statement.subject != subject {
            return Err(Untrusted::DifferentSubjects { sequence: expected });
        }
        let person = policy.signers.person_of(&statement.approval.approver).to_owned();
        let approval = by_person.entry(person).or_insert_with(|| statement.approval.clone());
        if statement.approval.at < approval.at {
            *approval = statement.approval;
        }
    }
    if subject.previous != previous {
        return Err(Untrusted::BrokenLink { sequence: expected, expected: previous, found: subject.previous });
    }
    if by_person.len() < need {
        return Err(Untrusted::TooFewApprovers { sequence: expected, have: by_person.len(), need });
    }
    let mut approvals: Vec<Approval> = by_person.into_values().collect();
    approvals.sort_by(|a, b| (a.at, &a.approver).cmp(&(b.at, &b.approver)));
    Ok(Approved { identity: subject.identity(), subject, approvals })
}

/// Loads what the signed digests name.
fn load_documents(
    subject: &Subject,
    stored: &dyn Fn(&Digest) -> Option<Vec<u8>>,
) -> Result<BTreeMap<String, Document>, Untrusted> {
    let mut documents = BTreeMap::new();
    for (section, mark) in subject.sections.iter().filter(|(_, mark)| mark.state == State::Value) {
        let missing = || Untrusted::DocumentMissing { section: section.clone() };
        let digest = mark.digest.as_ref().ok_or_else(missing)?;
        let bytes = stored(digest).ok_or_else(missing)?;
        let document = Document::from_canonical(bytes, digest)
            .map_err(|_| Untrusted::DocumentDamaged { section: section.clone(), digest: digest.clone() })?;
        documents.insert(section.clone(), document);
    }
    Ok(documents)
}
