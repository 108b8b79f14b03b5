//! The file that travels between the people who approve.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ApprovalError;
use crate::canonical::{self, Document, MemoryBudget};
use crate::classify::{Catalogue, ChangeContext, Finding, FindingSet, weakest};
use crate::diff::compare::{Side, compare_to_approve};
use crate::model::{Digest, Pointer, State, display_safe};
use crate::trust::statement::{Expiry, Subject};
use crate::trust::{self, Policy, SignedStatement};
use crate::whole_file;

const TYPE: &str = "authdrift/proposal/v1";
/// A proposal holds every document once, and all of an instance that is read have 20 MiB at most.
const LARGEST: u64 = 32 << 20;

/// The memory that its values may take.
const MEMORY: usize = 64 << 20;

/// The largest proposal whose lines are broken for people.
const LARGEST_PRETTY: usize = 4 << 20;

/// What is to be approved, and who approved it so far.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    #[serde(rename = "type")]
    kind: String,
    /// The signed part.
    pub subject: Subject,
    /// What was signed before: the subject that `subject.previous` names. With its documents it shows what would change.
    /// Left out if there is none, or if not enough people approved it: then all of it is to be approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Subject>,
    /// Its approvals: the signer is shown changes against a baseline that is verified, not against a claimed one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub previous_statements: Vec<SignedText>,
    /// What would change, for people who open the file. Not signed and not believed: see [`Proposal::drifts`].
    pub changes: Vec<Value>,
    /// Sections that could not be read when this was proposed, and why, in the words of the machine that proposes. Not
    /// signed: what is signed of them is their state.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unread: BTreeMap<String, String>,
    /// The reason the proposer suggests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Every document that either subject names, by digest.
    pub documents: BTreeMap<Digest, Value>,
    /// The signatures so far.
    #[serde(default)]
    pub statements: Vec<SignedText>,
}

/// A signed statement as text: its bytes are RFC 8785 JSON, so they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedText {
    /// The exact bytes.
    pub statement: String,
    /// The armoured signature.
    pub signature: String,
}

impl From<SignedText> for SignedStatement {
    fn from(text: SignedText) -> Self {
        Self { statement: text.statement.into_bytes(), signature: text.signature }
    }
}

impl SignedText {
    /// The statement as text, which it is if it was verified.
    pub fn of(signed: &SignedStatement) -> Option<Self> {
        let statement = String::from_utf8(signed.statement.clone()).ok()?;
        Some(Self { statement, signature: signed.signature.clone() })
    }
}

impl Proposal {
    /// A proposal without a signature. `previous` comes with its signatures.
    pub fn new(
        subject: Subject,
        previous: Option<(Subject, Vec<SignedText>)>,
        documents: &BTreeMap<Digest, Document>,
        catalogue: &Catalogue,
    ) -> Self {
        let values = documents.iter().map(|(digest, document)| (digest.clone(), document.value().clone()));
        let (previous, previous_statements) = previous.unzip();
        let mut proposal = Self {
            kind: TYPE.to_owned(),
            subject,
            previous,
            previous_statements: previous_statements.unwrap_or_default(),
            changes: Vec::new(),
            unread: BTreeMap::new(),
            reason: None,
            documents: values.collect(),
            statements: Vec::new(),
        };
        let changes =
            proposal.drifts(catalogue).into_iter().map(|drift| serde_json::to_value(drift).unwrap_or_default());
        proposal.changes = changes.collect();
        proposal
    }

    /// What would change, computed from the documents whose digests are signed.
    ///
    /// # Security
    /// The list in the file could have been edited to hide a change from the approver; this one cannot.
    pub fn drifts(&self, catalogue: &Catalogue) -> Vec<Finding> {
        let Some(previous) = &self.previous else { return Vec::new() };
        let table = catalogue.table();
        let side = |subject: &'_ Subject, section: &str| {
            let mark = subject.sections.get(section)?;
            Some(match mark.digest.as_ref().and_then(|digest| self.documents.get(digest)) {
                Some(value) => Side::Value(value),
                None if mark.state.is_comparable() => Side::Without(mark.state),
                None => Side::Unknown,
            })
        };
        let mut changes = Vec::new();
        for section in self.subject.sections.keys() {
            let before = side(previous, section).unwrap_or(Side::Unknown);
            let after = side(&self.subject, section).unwrap_or(Side::Unknown);
            compare_to_approve(table, section, before, after, &mut changes);
        }
        let context = ChangeContext::new(table, self.values(previous), self.values(&self.subject), &changes, []);
        FindingSet::new(catalogue, context, changes).into_vec()
    }

    /// The sections of `subject` that have a value, with the value.
    fn values<'a>(&'a self, subject: &'a Subject) -> impl Iterator<Item = (&'a str, &'a Value)> {
        subject.sections.iter().filter_map(|(section, mark)| {
            let value = self.documents.get(mark.digest.as_ref()?)?;
            Some((section.as_str(), value))
        })
    }

    /// Sections that would begin or cease to be compared, with what they were and what they would be.
    pub fn section_changes(&self) -> Vec<(&str, Option<State>, Option<State>)> {
        self.previous.as_ref().map_or_else(Vec::new, |previous| self.section_changes_since(previous))
    }

    /// The same, since another subject than the one in the file, which is not signed.
    pub fn section_changes_since<'a>(&'a self, previous: &'a Subject) -> Vec<(&'a str, Option<State>, Option<State>)> {
        let names: BTreeSet<&String> = previous.sections.keys().chain(self.subject.sections.keys()).collect();
        let state = |subject: &Subject, section: &String| subject.sections.get(section).map(|mark| mark.state);
        let mut moved = Vec::new();
        for section in names {
            let (before, after) = (state(previous, section), state(&self.subject, section));
            let is_held = |state: Option<State>| state.is_some_and(State::is_comparable);
            if is_held(before) != is_held(after) {
                moved.push((section.as_str(), before, after));
            }
        }
        moved
    }

    /// What was approved for a time and would be for longer, or for good. It is no change of a value.
    pub fn prolonged(&self) -> Vec<(&Pointer, Expiry)> {
        let value = |subject: &Subject, path: &Pointer| {
            let digest = subject.sections.get(path.section())?.digest.as_ref()?;
            path.find_in_section(self.documents.get(digest)?).cloned()
        };
        self.previous.as_ref().map_or_else(Vec::new, |previous| self.subject.prolonged(previous, &value))
    }

    /// The approvals of the baseline that the changes are shown against; none if there is no such baseline.
    ///
    /// # Errors
    /// Not enough people did, or their signatures are wrong: the list of changes would hide what nobody approved.
    pub fn base_approvers(&self, policy: &Policy<'_>) -> Result<Vec<String>, ApprovalError> {
        let Some(previous) = &self.previous else { return Ok(Vec::new()) };
        let bad = |reason| ApprovalError::BadBase { sequence: previous.sequence, reason };
        let statements: Vec<SignedStatement> = self.previous_statements.iter().cloned().map(Into::into).collect();
        let approved = trust::approvals(previous, &statements, policy).map_err(bad)?;
        match approved.insufficient {
            Some(insufficient) => Err(bad(insufficient)),
            None => Ok(approved.approvals.into_iter().map(|approval| approval.approver).collect()),
        }
    }

    /// Settings that stand at their weakest value, whatever they were before.
    pub fn weakest(&self, catalogue: &Catalogue) -> Vec<Finding> {
        weakest(catalogue, || self.values(&self.subject))
    }

    /// Every section with its state, and its document if it has a value.
    pub fn sections(&self) -> impl Iterator<Item = (&str, State, Option<&Value>)> {
        self.subject.sections.iter().map(|(section, mark)| {
            let document = mark.digest.as_ref().and_then(|digest| self.documents.get(digest));
            (section.as_str(), mark.state, document)
        })
    }

    /// Sections of which the statement will say that they could not be read, with their state and the proposer's reason,
    /// and of which the baseline before does not say so. They are not watched.
    pub fn unwatched(&self) -> Vec<(&str, State, &str)> {
        let was_known =
            |section: &str| self.previous.as_ref().is_some_and(|previous| previous.sections.contains_key(section));
        let unread =
            self.subject.sections.iter().filter(|(section, mark)| !mark.state.is_comparable() && !was_known(section));
        unread
            .map(|(section, mark)| (section.as_str(), mark.state, self.unread.get(section).map_or("", String::as_str)))
            .collect()
    }

    /// Objects that the vendor answered and that cannot be used, each with the reason, but for those that the baseline before
    /// accepts. They are not watched until they can be used. Those of sections that the baseline before holds are among
    /// [`Proposal::drifts`] as well.
    pub fn unusable(&self) -> Vec<(Pointer, String)> {
        let before = self.values_before();
        let mut found = Vec::new();
        for (section, value) in self.values(&self.subject) {
            let was = before.get(section).copied();
            canonical::unknown_places(value, was, &Pointer::of_section(section), &mut found);
        }
        found
    }

    /// Those of [`Proposal::unusable`] that are in sections which the baseline before holds: they were watched, or would be as
    /// soon as they can be used.
    pub fn given_up(&self) -> Vec<Pointer> {
        let before = self.values_before();
        let places = self.unusable().into_iter().map(|(place, _)| place);
        places.filter(|place| before.contains_key(place.section())).collect()
    }

    fn values_before(&self) -> BTreeMap<&str, &Value> {
        self.previous.iter().flat_map(|previous| self.values(previous)).collect()
    }

    /// Makes sure that what would change can be shown: the baseline that the subject follows is in the file, whole, and
    /// this is the next one of the same instance.
    ///
    /// # Errors
    /// It is not there, is another one, or lacks documents.
    ///
    /// # Security
    /// Nothing but the subject is signed. Without this check, taking the baseline before out of the file would leave
    /// nothing to show.
    pub fn check_previous(&self) -> Result<(), ApprovalError> {
        let sequence = self.subject.sequence;
        let bad = |reason: String| ApprovalError::NoPrevious { sequence, reason };
        let Some(named) = &self.subject.previous else {
            return match &self.previous {
                None => Ok(()),
                Some(_) => Err(bad("it holds a baseline before and is signed as the first one".to_owned())),
            };
        };
        let previous = self.previous.as_ref().ok_or_else(|| bad("it does not hold the baseline before".to_owned()))?;
        if previous.identity() != *named {
            return Err(bad("the baseline before that it holds is not the one that will be signed".to_owned()));
        }
        if (&previous.instance, &previous.resource) != (&self.subject.instance, &self.subject.resource)
            || previous.sequence.checked_add(1) != Some(sequence)
        {
            return Err(bad(format!("it does not follow baseline {} of the same instance", previous.sequence)));
        }
        for (section, mark) in &previous.sections {
            if let Some(digest) = mark.digest.as_ref().filter(|digest| !self.documents.contains_key(digest)) {
                return Err(bad(format!("document {digest} of section {} is not in it", display_safe(section))));
            }
        }
        Ok(())
    }

    /// Puts the baseline before aside, so that everything is shown and nothing as a change. Gives it back for the file.
    #[must_use]
    pub fn put_previous_aside(&mut self) -> (Option<Subject>, Vec<SignedText>) {
        (self.previous.take(), std::mem::take(&mut self.previous_statements))
    }

    /// Reads and checks a proposal: every document is what its digest says, and none of the subject is missing.
    pub fn read(path: &Path) -> Result<Self, ApprovalError> {
        let failed =
            |reason: String| ApprovalError::File { action: "read the proposal", path: path.to_owned(), reason };
        let size = fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
        if size > LARGEST {
            return Err(failed(format!("it is larger than {LARGEST} bytes")));
        }
        let mut bytes = Vec::new();
        // A device has no size, and may never end.
        let read = fs::File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes));
        read.map_err(|error| failed(error.to_string()))?;
        if bytes.len() as u64 > LARGEST {
            return Err(failed(format!("it is larger than {LARGEST} bytes")));
        }
        let other = |reason: String| ApprovalError::NotAProposal { path: path.to_owned(), reason };
        if bytes.starts_with(b"\xef\xbb\xbf") {
            let reason = "it begins with a byte order mark (U+FEFF), which JSON has not; save it as UTF-8 without one";
            return Err(other(reason.to_owned()));
        }
        // Strictly first: a repeated key would show the approver one value and the machine another.
        let value = canonical::parse_file(&bytes, &MemoryBudget::of(MEMORY))
            .map_err(|error| other(format!("its JSON is bad ({})", error.reason())))?;
        match value.get("type").and_then(Value::as_str) {
            Some(TYPE) => {}
            Some(kind) => return Err(other(format!("its type is '{}' and not '{TYPE}'", display_safe(kind)))),
            None => return Err(other(format!("it has no type, which would be '{TYPE}'"))),
        }
        // One at a time: either takes as much memory as all of it.
        drop(value);
        let proposal: Self = serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))?;
        drop(bytes);
        proposal.checked_documents().map_err(failed)?;
        Ok(proposal)
    }

    /// The documents, each checked against its digest.
    pub(super) fn checked_documents(&self) -> Result<BTreeMap<Digest, Document>, String> {
        let mut documents = BTreeMap::new();
        for (digest, value) in &self.documents {
            let document =
                Document::from_canonical(canonical::to_bytes(value), digest).map_err(|error| error.to_string())?;
            documents.insert(digest.clone(), document);
        }
        for (section, mark) in &self.subject.sections {
            if let Some(digest) = mark.digest.as_ref().filter(|digest| !documents.contains_key(digest)) {
                return Err(format!("document {digest} of section {section} is not in it"));
            }
        }
        Ok(documents)
    }

    /// Writes the proposal, whole or not at all.
    pub fn write(&self, path: &Path) -> Result<(), ApprovalError> {
        let failed = |error: std::io::Error| ApprovalError::File {
            action: "write the proposal",
            path: path.to_owned(),
            reason: error.to_string(),
        };
        let mut text = serde_json::to_vec(self).map_err(|error| failed(error.into()))?;
        // What is nested deep would become many times larger.
        if text.len() <= LARGEST_PRETTY {
            text = serde_json::to_vec_pretty(self).map_err(|error| failed(error.into()))?;
        }
        text.push(b'\n');
        whole_file::write(path, &text, None).map_err(failed)
    }
}
