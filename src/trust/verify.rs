//! The chain of baselines: from stored statements to the one baseline that may be compared with.
//!
//! Everything is checked at every load. Nothing in the store is trusted because it is there: an attacker with write access
//! to the store can also write that a baseline was verified. The signatures of the newest baseline are verified natively
//! each time; those below it again only if the history that it signs does not name them as verified, see `vouched.rs`.
//! [`chain`] verifies all of them natively: `verify`, `approve` and `import` do. Statements may come in any order. One fault
//! makes the whole chain [`Untrusted`]; the caller compares nothing, raises a critical alert and leaves the data as it is.
//!
//! # Security
//! [`Verified`] has no constructor outside this file, so code that takes a `Verified<Baseline>` cannot be given a
//! baseline that skipped a check.
//!
//! How many people it takes is asked of the newest baseline, by the rules of today. Those below it may have fewer, or
//! rules could never be made stricter, and one key that is revoked would end the chain for ever. They only have to be
//! signed by their signers and to fit: the newest one names the one before by its digest, which names the one before
//! that, so the signers of the newest one signed them all. An attacker who can write to the store gains nothing by this,
//! even with one approver's key:
//!
//! * statements that are taken away make the newest baseline untrusted or change nothing;
//! * a baseline with too few approvers that is put in is untrusted as the newest one. Below another one it is not what
//!   that one is measured by: [`Impact`] are those of everything since the last baseline that enough people approved
//!   (nothing, if there is none), so what was put in counts again, with its severity and its authors;
//! * and an approver who signs on top of it is not shown it as approved: `authdrift sign` checks the approvals
//!   of the baseline that it compares with, and shows everything if they are not enough.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use chrono::{DateTime, Duration, Utc};

use super::allowed_signers::WhyNot;
use super::policy::{Impact, Policy};
use super::sshsig;
use super::statement::{Approval, NAMESPACE, Statement, Subject};
use crate::canonical::Document;
use crate::model::{Digest, InstanceId, Resource, Severity, State};

mod count;
mod expiry;
mod untrusted;
mod vouched;

use count::{Opened, count, link};
pub use untrusted::Untrusted;

/// How far the clocks of approvers and ours may be apart at import.
const CLOCK_TOLERANCE: Duration = Duration::minutes(10);

/// A statement as it is stored: the signed bytes and the armoured signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedStatement {
    /// The bytes that were signed.
    pub statement: Vec<u8>,
    /// The text between and with `BEGIN SSH SIGNATURE` and `END SSH SIGNATURE`.
    pub signature: String,
}

/// One link of the chain: a subject and who approved it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approved {
    /// The approved subject.
    pub subject: Subject,
    /// [`Subject::identity`].
    pub identity: Digest,
    /// By whom, one per person, the earliest first. If they are enough, those who count; else everybody who signed.
    pub approvals: Vec<Approval>,
    /// Why that is not enough today: by the rules, or because the vendor has another instance under this name.
    pub insufficient: Option<Untrusted>,
}

/// The newest baseline and its documents.
#[derive(Debug, Clone, PartialEq)]
pub struct Baseline {
    /// The last link of the chain.
    pub approved: Approved,
    /// The document of every section with a value, by section: what was signed.
    pub documents: BTreeMap<String, Document>,
    /// The same for sections with something that was approved for a time which is over: with what counts now.
    pub expired: BTreeMap<String, Document>,
}

impl Baseline {
    /// What counts now as the approved value of a section.
    pub fn document(&self, section: &str) -> Option<&Document> {
        self.expired.get(section).or_else(|| self.documents.get(section))
    }
}

/// Proof that a value passed every check of this file. Only this file can make one.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// The value as if it had passed, for tests of what comes after the verification.
    #[cfg(test)]
    pub fn assumed(value: T) -> Self {
        Self(value)
    }

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

/// The stored data of one instance, untrusted except for the resource, which the vendor just told.
#[derive(Clone, Copy)]
pub struct Evidence<'a> {
    /// All stored statements of the instance, in any order.
    pub statements: &'a [SignedStatement],
    /// The stored bytes of a document.
    pub documents: &'a dyn Fn(&Digest) -> Option<Vec<u8>>,
    /// The digest of the event that made the history that many events long.
    pub history: &'a dyn Fn(u64) -> Option<Digest>,
    /// The number of events after which the history says that the statement of that digest was verified.
    pub vouched: &'a dyn Fn(&Digest) -> Option<u64>,
    /// The highest sequence of which the history says that it was approved; 0 for none.
    pub approved_sequence: u64,
    /// The identity that the vendor gives now.
    pub resource: &'a Resource,
    /// The impact of the baselines.
    pub impact: &'a dyn Impact,
    /// Our time: what was approved for a time may be over.
    pub now: DateTime<Utc>,
}

/// The times that an import is held against.
#[derive(Clone, Copy)]
pub struct EventTimes<'a> {
    /// Our time.
    pub now: DateTime<Utc>,
    /// When the event was recorded that made the history that many events long.
    pub recorded: &'a dyn Fn(u64) -> Option<DateTime<Utc>>,
}

/// Verifies the baseline that `instance` is compared with.
///
/// `Ok(None)` means that nothing was ever approved: no statements are stored, and the history knows of none.
///
/// # Errors
/// As [`base`]; and too few people approved it, or it was approved for another resource.
pub fn baseline(
    instance: &InstanceId,
    evidence: &Evidence<'_>,
    policy: &Policy<'_>,
) -> Result<Option<Verified<Baseline>>, Untrusted> {
    let Some(baseline) = base(instance, evidence, policy)? else { return Ok(None) };
    match &baseline.approved.insufficient {
        Some(insufficient) => Err(insufficient.clone()),
        None => Ok(Some(Verified(baseline))),
    }
}

/// Verifies the baseline that a new one of `instance` may be put on. Nothing may be compared with it: perhaps too few
/// people approved it, or it was for another resource, see [`Approved::insufficient`].
///
/// # Errors
/// One [`Untrusted`] per kind of attack; all of [`chain`], and those on the history and documents.
pub fn base(
    instance: &InstanceId,
    evidence: &Evidence<'_>,
    policy: &Policy<'_>,
) -> Result<Option<Baseline>, Untrusted> {
    if let Some(approved) = vouched::newest(instance, evidence, policy) {
        return on_today(approved, BTreeMap::new(), evidence).map(Some);
    }
    let mut links = chain(instance, evidence.statements, policy, evidence.impact)?;
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
    let expired = expiry::documents(&links, evidence.now, evidence.documents)?;
    links.pop().map(|approved| on_today(approved, expired, evidence)).transpose()
}

/// The newest link with its documents, held against the instance that the vendor has today.
fn on_today(
    mut approved: Approved,
    expired: BTreeMap<String, Document>,
    evidence: &Evidence<'_>,
) -> Result<Baseline, Untrusted> {
    if !evidence.resource.may_be(&approved.subject.resource) {
        // Nothing of another instance is approved for this one. After a recreation on purpose a new baseline is approved on top.
        approved.insufficient = Some(Untrusted::OtherResource {
            approved: approved.subject.resource.clone(),
            found: evidence.resource.known.join(", "),
        });
    }
    let documents = load_documents(&approved.subject, evidence.documents)?;
    Ok(Baseline { approved, documents, expired })
}

/// Verifies all baselines of `instance`, from the first to the last. Whether the newest one has enough approvers is in
/// its [`Approved::insufficient`].
///
/// # Errors
/// The first thing that is wrong: signature, signer, time, instance, sequence or link.
pub fn chain(
    instance: &InstanceId,
    statements: &[SignedStatement],
    policy: &Policy<'_>,
    impact: &dyn Impact,
) -> Result<Vec<Approved>, Untrusted> {
    let mut links: Vec<Approved> = Vec::new();
    for opened in by_sequence(instance, statements, policy)?.into_values() {
        links.push(link(&links, opened, policy, impact)?);
    }
    Ok(links)
}

/// Verifies that `new` statements make exactly the baseline after the `stored` ones, or that they are further approvals
/// of the newest of these; for import.
///
/// # Errors
/// As [`chain`]; too few people approved it, or their statements are dated before what they approve or after now.
///
/// # Security
/// A statement from the future would be valid under keys that are not valid yet, and a stolen key that has ended could
/// be dated back: so the key has to be valid now too, and nobody can have approved before it was proposed. An old
/// statement that is played again has a sequence that is taken.
pub fn accept(
    instance: &InstanceId,
    stored: &[SignedStatement],
    new: &[SignedStatement],
    policy: &Policy<'_>,
    impact: &dyn Impact,
    times: EventTimes<'_>,
) -> Result<Approved, Untrusted> {
    let mut links = chain(instance, stored, policy, impact)?;
    let mut opened = Vec::new();
    for signed in new {
        let one = open(instance, signed, policy)?;
        check_times(&one, links.last(), policy, times)?;
        opened.push(one);
    }
    let is_newest =
        |last: &Approved| !opened.is_empty() && opened.iter().all(|one| one.statement.subject == last.subject);
    if let Some(newest) = links.pop_if(|last| is_newest(last)) {
        let mut stored = by_sequence(instance, stored, policy)?;
        opened.extend(stored.remove(&newest.subject.sequence).unwrap_or_default());
    }
    let accepted = link(&links, opened, policy, impact)?;
    match accepted.insufficient {
        Some(insufficient) => Err(insufficient),
        None => Ok(accepted),
    }
}

/// The approvals of `subject` by these statements, without the chain. Its changes are not known, so the smallest number of
/// approvers that the rules allow has to be enough.
///
/// # Errors
/// A statement is wrong by itself, or of another subject.
pub fn approvals(
    subject: &Subject,
    statements: &[SignedStatement],
    policy: &Policy<'_>,
) -> Result<Approved, Untrusted> {
    struct Untold;
    impl Impact for Untold {
        fn severity(&self, _: Option<&Subject>, _: &Subject) -> Severity {
            Severity::Info
        }
        fn authors(&self, _: Option<&Subject>, _: &Subject) -> BTreeSet<String> {
            BTreeSet::new()
        }
    }
    let mut opened = Vec::new();
    for signed in statements {
        let one = open(&subject.instance, signed, policy)?;
        if one.statement.subject != *subject {
            return Err(Untrusted::DifferentSubjects { sequence: subject.sequence });
        }
        opened.push(one);
    }
    Ok(count(None, subject.clone(), opened, policy, &Untold))
}

/// Opens statements and puts them in order.
fn by_sequence(
    instance: &InstanceId,
    statements: &[SignedStatement],
    policy: &Policy<'_>,
) -> Result<BTreeMap<u64, Vec<Opened>>, Untrusted> {
    let mut by_sequence: BTreeMap<u64, Vec<Opened>> = BTreeMap::new();
    for signed in statements {
        let one = open(instance, signed, policy)?;
        by_sequence.entry(one.statement.subject.sequence).or_default().push(one);
    }
    Ok(by_sequence)
}

/// Checks one statement by itself: signature first, then what it says, then whether the signer might say it.
fn open(instance: &InstanceId, signed: &SignedStatement, policy: &Policy<'_>) -> Result<Opened, Untrusted> {
    let sshsig::Signed { key, is_touched } = sshsig::verify(&signed.signature, NAMESPACE, &signed.statement)
        .map_err(|error| Untrusted::from_signature(error, &signed.statement))?;
    let statement = Statement::parse(&signed.statement)?;
    let (approver, at) = (statement.approval.approver.clone(), statement.approval.at);
    policy.signers.check(&approver, &key, at).map_err(|why| match why {
        WhyNot::Unknown => Untrusted::UnknownSigner { approver, key: key.clone() },
        WhyNot::OtherNamespace => Untrusted::KeyNotForBaselines { approver, key: key.clone() },
        WhyNot::NotYetValid(_) | WhyNot::Expired(_) => Untrusted::KeyNotValid { approver, key: key.clone(), at, why },
    })?;
    if statement.subject.instance != *instance {
        return Err(Untrusted::OtherInstance { expected: instance.clone(), found: statement.subject.instance });
    }
    Ok(Opened { statement, key, is_touched })
}

/// Checks that a new statement was made between its proposal and now, with a key that is still valid.
fn check_times(
    opened: &Opened,
    last: Option<&Approved>,
    policy: &Policy<'_>,
    times: EventTimes<'_>,
) -> Result<(), Untrusted> {
    let Statement { approval: Approval { approver, at, .. }, subject, .. } = &opened.statement;
    let (approver, at, now) = (approver.clone(), *at, times.now);
    if at > now + CLOCK_TOLERANCE {
        return Err(Untrusted::FromTheFuture { approver, at, now });
    }
    // A proposal knows at least the history that the one before it knew.
    let size = subject.log.size.max(last.map_or(0, |last| last.subject.log.size));
    let cut = Untrusted::HistoryCut { sequence: subject.sequence, size };
    let proposed = (times.recorded)(size).ok_or(cut)?;
    if at + CLOCK_TOLERANCE < proposed {
        return Err(Untrusted::BackDated { approver, at, proposed });
    }
    match policy.signers.check(&approver, &opened.key, now) {
        // A key that begins within the tolerance was valid by the approver's clock.
        Err(WhyNot::NotYetValid(start)) if start <= now + CLOCK_TOLERANCE => Ok(()),
        Err(why) => Err(Untrusted::KeyNotValidNow { approver, key: opened.key.clone(), why }),
        Ok(()) => Ok(()),
    }
}

/// Loads what the signed digests name.
fn load_documents(
    subject: &Subject,
    stored: &dyn Fn(&Digest) -> Option<Vec<u8>>,
) -> Result<BTreeMap<String, Document>, Untrusted> {
    let mut documents = BTreeMap::new();
    for (section, mark) in subject.sections.iter().filter(|(_, mark)| mark.state == State::Value) {
        documents.insert(section.clone(), load_document(section, mark.digest.as_ref(), stored)?);
    }
    Ok(documents)
}

fn load_document(
    section: &str,
    digest: Option<&Digest>,
    stored: &dyn Fn(&Digest) -> Option<Vec<u8>>,
) -> Result<Document, Untrusted> {
    let missing = || Untrusted::DocumentMissing { section: section.to_owned() };
    let digest = digest.ok_or_else(missing)?;
    let bytes = stored(digest).ok_or_else(missing)?;
    Document::from_canonical(bytes, digest)
        .map_err(|_| Untrusted::DocumentDamaged { section: section.to_owned(), digest: digest.clone() })
}
