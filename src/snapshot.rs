//! Everything that was read from one instance in one cycle, and what could not be read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::canonical::{self, Document};
use crate::model::{Digest, InstanceId, Pointer, Resource, State, display_safe};

/// What came of reading one section.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// It was read.
    Value(Document),
    /// It has no value, or none that we know. Never [`State::Value`].
    Without {
        /// Why there is no value.
        state: State,
        /// In the vendor's or the program's words.
        reason: String,
    },
}

impl Reading {
    /// A reading without a value.
    pub fn without(state: State, reason: impl Into<String>) -> Self {
        Self::Without { state, reason: reason.into() }
    }

    /// The state of the section.
    pub fn state(&self) -> State {
        match self {
            Self::Value(_) => State::Value,
            Self::Without { state, .. } => *state,
        }
    }

    /// The document, if there is one.
    pub fn document(&self) -> Option<&Document> {
        match self {
            Self::Value(document) => Some(document),
            Self::Without { .. } => None,
        }
    }

    /// The same, in the form that takes the least memory.
    #[must_use]
    pub fn without_value(&self) -> Self {
        match self {
            Self::Value(document) => Self::Value(document.without_value()),
            Self::Without { .. } => self.clone(),
        }
    }

    /// Why there is no value; empty when there is one.
    pub fn reason(&self) -> &str {
        match self {
            Self::Value(_) => "",
            Self::Without { reason, .. } => reason,
        }
    }

    /// Why there is no value, or which objects of it cannot be used and why, those in `blind` first: the others were
    /// approved as not watched. Empty when there is nothing to say.
    pub fn trouble(&self, section: &str, blind: &[Pointer]) -> String {
        let mut unknown = self.document().map(|document| document.unknown(section, None)).unwrap_or_default();
        unknown.sort_by_key(|(place, _)| !blind.contains(place));
        let Some(((place, reason), more)) = unknown.split_first() else { return self.reason().to_owned() };
        let more = if more.is_empty() { String::new() } else { format!(", and {} more", more.len()) };
        format!("not compared: {} ({reason}){more}", display_safe(&place.to_string()))
    }

    /// Whether objects of it cannot be used.
    pub fn has_unknown(&self) -> bool {
        self.document().is_some_and(|document| !document.unknown("", None).is_empty())
    }

    /// State and digest, as they are signed.
    pub fn mark(&self) -> SectionMark {
        SectionMark { digest: self.document().map(|document| document.digest().clone()), state: self.state() }
    }
}

/// The signed part of a section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SectionMark {
    /// Digest of the document; only with [`State::Value`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The state.
    pub state: State,
}

/// State and digest of every section, by section.
pub type Manifest = BTreeMap<String, SectionMark>;

/// All readings of one instance at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The instance.
    pub instance: InstanceId,
    /// The vendor's own identity of it; empty when unknown.
    pub resource: String,
    /// Every identity that is known of it, that one included.
    pub identifiers: Resource,
    /// Every section that was asked for.
    pub sections: BTreeMap<String, Reading>,
}

impl Snapshot {
    /// State and digest of every section.
    pub fn manifest(&self) -> Manifest {
        self.sections.iter().map(|(section, reading)| (section.clone(), reading.mark())).collect()
    }

    /// The value of every section that has one, read one after the other.
    pub fn values(&self) -> impl Iterator<Item = (&str, Value)> {
        self.sections.iter().filter_map(|(section, reading)| Some((section.as_str(), reading.document()?.read())))
    }

    /// The digest of the whole snapshot; see [`digest_of`].
    pub fn digest(&self) -> Digest {
        digest_of(&self.instance, &self.resource, &self.manifest())
    }

    /// How many sections have a state that says something about the vendor.
    pub fn seen(&self) -> usize {
        self.sections.values().filter(|reading| reading.state().is_comparable()).count()
    }
}

/// The digest of a snapshot: SHA-256 of the RFC 8785 bytes of `{"instance","resource","sections"}`. It has no time
/// in it: equal settings have equal digests.
pub fn digest_of(instance: &InstanceId, resource: &str, sections: &Manifest) -> Digest {
    let content = json!({ "instance": instance, "resource": resource, "sections": sections });
    Digest::of(&canonical::to_bytes(&content))
}
