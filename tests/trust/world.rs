//! A store, its history and its policy, whole until a test breaks them.

use std::collections::{BTreeMap, BTreeSet};

use authdrift::model::{Digest, HistoryMark, InstanceId, Resource, Severity, State};
use authdrift::snapshot::{Manifest, SectionMark, digest_of};
use authdrift::trust::{
    AllowedSigners, Approval, Approved, Baseline, EventTimes, Evidence, Impact, NAMESPACE, Policy, RevokedKeys, Rules,
    SignedStatement, Statement, Subject, Untrusted, Verified, accept, base, baseline, chain,
};
use chrono::{DateTime, Utc};

use crate::keys::Keys;

pub(crate) const DOCUMENT: &[u8] = b"{\"mfa\":\"always\"}";
pub(crate) const WHEN: &str = "2026-05-04T10:00:00Z";

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

pub(crate) fn instance() -> InstanceId {
    "clerk:prod".parse().unwrap()
}

fn event(size: u64) -> Digest {
    Digest::of(&size.to_be_bytes())
}

/// The subject after `last`; one section changes from each to the next.
pub(crate) fn subject_after(last: Option<&Subject>) -> Subject {
    let sequence = last.map_or(1, |last| last.sequence + 1);
    let state = if sequence.is_multiple_of(2) { State::Off } else { State::NotOnPlan };
    let sections = Manifest::from([
        ("instance.auth".to_owned(), SectionMark { digest: Some(Digest::of(DOCUMENT)), state: State::Value }),
        ("organizations".to_owned(), SectionMark { digest: None, state }),
    ]);
    Subject {
        until: Default::default(),
        log: HistoryMark { size: sequence, head: event(sequence) },
        previous: last.map(Subject::identity),
        proposer: "carol".to_owned(),
        sequence,
        snapshot: digest_of(&instance(), "ins_1", &sections),
        instance: instance(),
        resource: "ins_1".to_owned(),
        sections,
    }
}

pub(crate) fn statement(subject: &Subject, approver: &str, when: &str) -> Vec<u8> {
    let approval = Approval { approver: approver.to_owned(), at: at(when), reason: "CHG-1".to_owned() };
    Statement::new(subject.clone(), approval).to_bytes().unwrap()
}

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) keys: Keys,
    pub(crate) signers: String,
    pub(crate) revoked: Vec<u8>,
    pub(crate) rules: Rules,
    /// The severity of what each baseline changes against the one before it; medium where nothing is said.
    pub(crate) severities: BTreeMap<u64, Severity>,
    /// Who made the changes that each baseline approves.
    pub(crate) authors: BTreeMap<u64, &'static str>,
    /// When the last event before each proposal was recorded.
    pub(crate) recorded: &'static str,
    pub(crate) subjects: Vec<Subject>,
    pub(crate) statements: Vec<SignedStatement>,
    pub(crate) documents: BTreeMap<Digest, Vec<u8>>,
    pub(crate) events: u64,
    /// The statements of which the history says that they were verified, and after how many events.
    pub(crate) vouched: BTreeMap<Digest, u64>,
    pub(crate) approved_sequence: u64,
    pub(crate) resource: Resource,
}

impl World {
    /// Three baselines, each approved by alice and bob. `None` where there is no `ssh-keygen`.
    pub(crate) fn new() -> Option<Self> {
        let keys = Keys::new()?;
        for (name, kind) in [("alice", "ed25519"), ("alice2", "ed25519"), ("bob", "ecdsa"), ("mallory", "ed25519")] {
            keys.generate(name, kind);
        }
        let line = |(principal, key)| format!("{principal} namespaces=\"{NAMESPACE}\" {}\n", keys.public(key));
        let mut world = Self {
            signers: [("alice", "alice"), ("alice", "alice2"), ("bob", "bob")].map(line).concat(),
            keys,
            revoked: Vec::new(),
            rules: Rules { threshold: 2, ..Rules::default() },
            severities: BTreeMap::new(),
            authors: BTreeMap::new(),
            recorded: "2026-05-04T09:30:00Z",
            subjects: Vec::new(),
            statements: Vec::new(),
            documents: BTreeMap::from([(Digest::of(DOCUMENT), DOCUMENT.to_vec())]),
            events: 10,
            vouched: BTreeMap::new(),
            approved_sequence: 3,
            resource: Resource::new(["ins_1"]),
        };
        for _ in 0..3 {
            let subject = subject_after(world.subjects.last());
            // The newest first: the order of the rows must not matter.
            world.statements.insert(0, world.signed(&subject, "alice", "alice"));
            world.statements.insert(0, world.signed(&subject, "bob", "bob"));
            // What is attacked below was verified before: nobody is safer for that.
            let digests = world.statements.iter().take(2).map(|signed| (signed.digest(), subject.sequence));
            world.vouched.extend(digests);
            world.subjects.push(subject);
        }
        Some(world)
    }

    pub(crate) fn signed(&self, subject: &Subject, approver: &str, key: &str) -> SignedStatement {
        self.keys.signed(key, NAMESPACE, statement(subject, approver, WHEN))
    }

    /// The place of the row that holds `sequence` by `approver`.
    pub(crate) fn row(&self, sequence: u64, approver: &str) -> usize {
        let is_it = |signed: &SignedStatement| {
            let statement = Statement::parse(&signed.statement).unwrap();
            statement.subject.sequence == sequence && statement.approval.approver == approver
        };
        self.statements.iter().position(is_it).unwrap()
    }

    /// Deletes all statements of one baseline.
    pub(crate) fn remove(&mut self, sequence: u64) {
        self.statements.retain(|signed| Statement::parse(&signed.statement).unwrap().subject.sequence != sequence);
    }

    /// Adds an option to the line of alice's first key.
    pub(crate) fn limit_alice(&mut self, option: &str) {
        self.signers = self.signers.replacen("namespaces=", &format!("{option},namespaces="), 1);
    }

    fn with_policy<T>(&self, run: impl FnOnce(&Policy<'_>) -> T) -> T {
        let signers = AllowedSigners::parse(&self.signers).unwrap();
        let revoked = RevokedKeys::parse(&self.revoked).unwrap();
        run(&Policy { signers: &signers, revoked: &revoked, rules: &self.rules })
    }

    fn with_evidence<T>(&self, run: impl FnOnce(&Evidence<'_>) -> T) -> T {
        run(&Evidence {
            statements: &self.statements,
            documents: &|digest| self.documents.get(digest).cloned(),
            history: &|size| (1..=self.events).contains(&size).then(|| event(size)),
            vouched: &|digest| self.vouched.get(digest).copied(),
            approved_sequence: self.approved_sequence,
            resource: &self.resource,
            impact: self,
            now: "2026-11-22T00:00:00Z".parse().unwrap(),
        })
    }

    pub(crate) fn baseline(&self) -> Result<Option<Verified<Baseline>>, Untrusted> {
        self.with_evidence(|evidence| self.with_policy(|policy| baseline(&instance(), evidence, policy)))
    }

    /// What a new baseline may be put on.
    pub(crate) fn base(&self) -> Result<Option<Baseline>, Untrusted> {
        self.with_evidence(|evidence| self.with_policy(|policy| base(&instance(), evidence, policy)))
    }

    pub(crate) fn chain(&self) -> Result<Vec<Approved>, Untrusted> {
        self.with_policy(|policy| chain(&instance(), &self.statements, policy, self))
    }

    pub(crate) fn accept(&self, new: &[SignedStatement], now: &str) -> Result<Approved, Untrusted> {
        let recorded = |size| (size <= self.events).then(|| at(self.recorded));
        let times = EventTimes { now: at(now), recorded: &recorded };
        self.with_policy(|policy| accept(&instance(), &self.statements, new, policy, self, times))
    }

    /// Accepts and keeps a new baseline or further approvals.
    pub(crate) fn import(&mut self, subject: &Subject, new: Vec<SignedStatement>) {
        let accepted = self.accept(&new, WHEN).unwrap();
        assert_eq!(accepted.subject, *subject);
        self.statements.extend(new);
        self.approved_sequence = subject.sequence;
    }
}

impl Impact for World {
    fn severity(&self, base: Option<&Subject>, subject: &Subject) -> Severity {
        let Some(base) = base else { return Severity::Critical };
        let of = |sequence| self.severities.get(&sequence).copied().unwrap_or(Severity::Medium);
        (base.sequence + 1..=subject.sequence).map(of).max().unwrap_or(Severity::Info)
    }

    fn knows_authors(&self) -> bool {
        !self.authors.is_empty()
    }

    fn authors(&self, base: Option<&Subject>, subject: &Subject) -> BTreeSet<String> {
        let from = base.map_or(1, |base| base.sequence + 1);
        self.authors.range(from..=subject.sequence).map(|(_, author)| (*author).to_owned()).collect()
    }
}
