//! A store, its history and its policy, whole until a test breaks them.

use std::collections::BTreeMap;

use authdrift::model::{Digest, HistoryMark, InstanceId, Resource, State};
use authdrift::snapshot::{Manifest, SectionMark, digest_of};
use authdrift::trust::{
    AllowedSigners, Approval, Approved, Baseline, Evidence, NAMESPACE, Policy, RevokedKeys, SignedStatement, Statement,
    Subject, Untrusted, Verified, accept, baseline, chain,
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
    pub(crate) revoked: String,
    pub(crate) threshold: usize,
    pub(crate) subjects: Vec<Subject>,
    pub(crate) statements: Vec<SignedStatement>,
    pub(crate) documents: BTreeMap<Digest, Vec<u8>>,
    pub(crate) events: u64,
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
            revoked: String::new(),
            threshold: 2,
            subjects: Vec::new(),
            statements: Vec::new(),
            documents: BTreeMap::from([(Digest::of(DOCUMENT), DOCUMENT.to_vec())]),
            events: 10,
            approved_sequence: 3,
            resource: Resource::new(["ins_1"]),
        };
        for _ in 0..3 {
            let subject = subject_after(world.subjects.last());
            // The newest first: the order of the rows must not matter.
            world.statements.insert(0, world.signed(&subject, "alice", "alice"));
            world.statements.insert(0, world.signed(&subject, "bob", "bob"));
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
        let revoked = RevokedKeys::parse(self.revoked.as_bytes()).unwrap();
        run(&Policy { signers: &signers, revoked: &revoked, threshold: self.threshold })
    }

    pub(crate) fn baseline(&self) -> Result<Option<Verified<Baseline>>, Untrusted> {
        let evidence = Evidence {
            statements: &self.statements,
            documents: &|digest| self.documents.get(digest).cloned(),
            history: &|size| (1..=self.events).contains(&size).then(|| event(size)),
            approved_sequence: self.approved_sequence,
            resource: &self.resource,
        };
        self.with_policy(|policy| baseline(&instance(), &evidence, policy))
    }

    pub(crate) fn accept(&self, new: &[SignedStatement], now: &str) -> Result<Approved, Untrusted> {
        self.with_policy(|policy| {
            let existing = chain(&instance(), &self.statements, policy)?;
            accept(&instance(), &existing, new, policy, at(now))
        })
    }
}
