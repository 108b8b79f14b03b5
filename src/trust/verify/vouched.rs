//! The newest baseline on top of older ones that were verified before, without verifying those again.
//!
//! When a baseline is accepted, everything below it is verified natively, and the event that says so names the digest of
//! every statement: its bytes and its signature. The next baseline signs where the history stands after that event. So
//! whoever signed the newest baseline, which is verified natively at every load, signed that exactly these older statements
//! were verified. What they say is still asked of the policy of today: the signer, the time, revoked keys, the count.
//!
//! # Security
//! Nothing is believed because it is in the database. An older statement with one other byte has another digest, an event
//! that was planted or edited is not in the history that was signed, and an event after that does not count. Whatever is
//! not exactly as it has to be is no error here: the whole chain is verified natively then, and that says what is wrong.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde::Deserialize;

use super::count::{Opened, count};
use super::{Approved, Evidence, SignedStatement, open};
use crate::model::{Digest, HistoryMark, InstanceId};
use crate::trust::policy::Policy;
use crate::trust::sshsig::{self, PublicKey};
use crate::trust::statement::{Approval, NAMESPACE, Statement, Subject};

/// The parts of an older statement that are needed; a function of its bytes.
#[derive(Debug)]
struct Older {
    approval: Approval,
    subject: Outline,
    /// The digest of the subject's bytes, which is its identity if they are canonical.
    identity: Digest,
    key: PublicKey,
    is_touched: bool,
    /// Verified natively by this process, so nothing has to vouch for it.
    is_verified: bool,
}

/// The parts of a [`Subject`] that the chain is made of.
#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Outline {
    instance: InstanceId,
    log: HistoryMark,
    previous: Option<Digest>,
    sequence: u64,
}

/// The statements of every baseline, by its number: each with its digest and as it was read.
type Links<'a> = BTreeMap<u64, Vec<(&'a SignedStatement, Digest, Arc<Older>)>>;

/// The text around a subject, in the one spelling of a statement. It can be inside of no text, whose quotes are escaped.
const BEFORE_SUBJECT: &str = ",\"subject\":";
const AFTER_SUBJECT: &str = ",\"type\":\"authdrift/baseline/v1\"}";

/// The text around the sections of a subject, likewise: a section of either name comes after the first and before the last.
const BEFORE_SECTIONS: &str = ",\"sections\":";
const AFTER_SECTIONS: &str = "},\"sequence\":";

/// Statements that this process has read, by their digests.
static READ: OnceLock<Mutex<HashMap<Digest, Arc<Older>>>> = OnceLock::new();

/// Some megabytes; beyond that it begins anew.
const MOST_READ: usize = 20_000;

impl SignedStatement {
    /// The digest of the statement with its signature, as the history names it.
    pub fn digest(&self) -> Digest {
        let length = (self.statement.len() as u64).to_be_bytes();
        Digest::of(&[length.as_slice(), &self.statement, self.signature.as_bytes()].concat())
    }
}

/// The newest link of the chain, if everything below it is vouched for and nothing is wrong. Otherwise nothing is known.
pub(super) fn newest(instance: &InstanceId, evidence: &Evidence<'_>, policy: &Policy<'_>) -> Option<Approved> {
    let mut older = Links::new();
    for signed in evidence.statements {
        let digest = signed.digest();
        let read = read(signed, &digest)?;
        older.entry(read.subject.sequence).or_default().push((signed, digest, read));
    }
    let (sequence, newest) = older.pop_last()?;
    let opened: Vec<Opened> =
        newest.iter().map(|(signed, ..)| open(instance, signed, policy).ok()).collect::<Option<_>>()?;
    let subject = opened.first()?.statement.subject.clone();
    let is_recorded = (evidence.history)(subject.log.size).as_ref() == Some(&subject.log.head);
    let is_over = subject.until.values().any(|end| end.0 <= evidence.now);
    let is_one = opened.iter().all(|one| one.statement.subject == subject);
    if !is_one || !is_recorded || is_over || evidence.approved_sequence != sequence {
        return None;
    }

    // What is signed as the one before, down to the first.
    let mut expected = subject.previous.clone();
    for place in (1..sequence).rev() {
        let link = older.get(&place)?;
        let previous = &link.first()?.2.subject.previous;
        for (signed, digest, read) in link {
            let Outline { instance: about, log, .. } = &read.subject;
            let is_signer = policy.signers.check(&read.approval.approver, &read.key, read.approval.at).is_ok();
            let is_in_place = Some(&read.identity) == expected.as_ref() && about == instance;
            if !is_signer || !is_in_place || log.size > subject.log.size {
                return None;
            }
            let is_vouched = (evidence.vouched)(digest).is_some_and(|size| size <= subject.log.size);
            if !is_vouched && !is_sound(signed, digest, read, evidence) {
                return None;
            }
        }
        expected = previous.clone();
    }
    if expected.is_some() || older.len() as u64 != sequence - 1 {
        return None;
    }
    let base = base(&older, policy, evidence)?;
    let approved = count(base.as_ref(), subject, opened, policy, evidence.impact);
    approved.insufficient.is_none().then_some(approved)
}

/// Reads a statement without believing it.
fn read(signed: &SignedStatement, digest: &Digest) -> Option<Arc<Older>> {
    if let Some(read) = all_read(|read| read.get(digest).cloned()) {
        return Some(read);
    }
    let (approval, subject) = split(std::str::from_utf8(&signed.statement).ok()?)?;
    let sshsig::Signed { key, is_touched } = sshsig::claimed(&signed.signature)?;
    let older = Older {
        approval: serde_json::from_str(approval).ok()?,
        subject: outline(subject)?,
        identity: Digest::of(subject.as_bytes()),
        key,
        is_touched,
        is_verified: false,
    };
    Some(remember(digest, older))
}

fn split(statement: &str) -> Option<(&str, &str)> {
    let (approval, subject) = statement.strip_suffix(AFTER_SUBJECT)?.split_once(BEFORE_SUBJECT)?;
    Some((approval.strip_prefix("{\"approval\":")?, subject))
}

/// Reads the outline of a subject without its sections, which are nearly all of its text.
fn outline(subject: &str) -> Option<Outline> {
    let (before, rest) = subject.split_once(BEFORE_SECTIONS)?;
    let (_, after) = rest.rsplit_once(AFTER_SECTIONS)?;
    serde_json::from_str(&format!("{before},\"sequence\":{after}")).ok()
}

/// Whether a statement that nothing vouches for is what it says, verified natively; once in the life of this process.
fn is_sound(signed: &SignedStatement, digest: &Digest, read: &Older, evidence: &Evidence<'_>) -> bool {
    let HistoryMark { size, head } = &read.subject.log;
    if (evidence.history)(*size).as_ref() != Some(head) {
        return false;
    }
    if read.is_verified {
        return true;
    }
    let Ok(by) = sshsig::verify(&signed.signature, NAMESPACE, &signed.statement) else { return false };
    let Ok(statement) = Statement::parse(&signed.statement) else { return false };
    let identity = statement.subject.identity();
    let Subject { instance, log, previous, sequence, .. } = statement.subject;
    let verified = Older {
        approval: statement.approval,
        subject: Outline { instance, log, previous, sequence },
        identity,
        key: by.key,
        is_touched: by.is_touched,
        is_verified: true,
    };
    let is_as_read = verified.identity == read.identity
        && verified.subject == read.subject
        && verified.approval == read.approval
        && verified.key == read.key
        && verified.is_touched == read.is_touched;
    if is_as_read {
        remember(digest, verified);
    }
    is_as_read
}

/// The newest of the older baselines that enough people approved, by the rules of today; none is an answer, too. Nothing if
/// that takes a comparison.
fn base(older: &Links<'_>, policy: &Policy<'_>, evidence: &Evidence<'_>) -> Option<Option<Subject>> {
    if evidence.impact.knows_authors() {
        return None;
    }
    for link in older.values().rev() {
        let people: BTreeSet<&str> = link
            .iter()
            .map(|(_, _, read)| read.as_ref())
            .filter(|read| counts(read, policy))
            .map(|read| policy.signers.person_of(&read.approval.approver))
            .collect();
        if people.len() >= policy.rules.most() {
            let (signed, ..) = link.first()?;
            return Some(Some(Statement::parse(&signed.statement).ok()?.subject));
        }
        if people.len() >= policy.rules.least() {
            return None;
        }
    }
    Some(None)
}

fn counts(read: &Older, policy: &Policy<'_>) -> bool {
    !policy.revoked.contains(&read.key) && (!policy.rules.require_touch || (read.key.proves_touch() && read.is_touched))
}

fn all_read<T>(work: impl FnOnce(&mut HashMap<Digest, Arc<Older>>) -> T) -> T {
    work(&mut READ.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner))
}

fn remember(digest: &Digest, older: Older) -> Arc<Older> {
    let older = Arc::new(older);
    all_read(|read| {
        if read.len() >= MOST_READ {
            read.clear();
        }
        read.insert(digest.clone(), Arc::clone(&older));
    });
    older
}
