//! What came of reading one section.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The outcome of reading a section.
///
/// The first three are facts about the vendor and can be compared with a baseline. The others say that nothing is
/// known, and are never compared with anything: a refused read is not a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It was read, and has a document.
    Value,
    /// The feature is switched off or was never set up.
    Off,
    /// The vendor's plan does not include the feature.
    NotOnPlan,
    /// The credential may not read it.
    NotPermitted,
    /// It could not be read this time, or the answer could not be used.
    Unreachable,
    /// It was read twice, and what was read looks more like a reader's fault than like somebody's doing.
    Suspect,
}

impl State {
    /// Every one.
    pub const ALL: [Self; 6] =
        [Self::Value, Self::Off, Self::NotOnPlan, Self::NotPermitted, Self::Unreachable, Self::Suspect];

    /// The one of that word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether the state says something about the vendor's settings.
    pub fn is_comparable(self) -> bool {
        matches!(self, Self::Value | Self::Off | Self::NotOnPlan)
    }

    /// The word used in files and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Off => "off",
            Self::NotOnPlan => "not_on_plan",
            Self::NotPermitted => "not_permitted",
            Self::Unreachable => "unreachable",
            Self::Suspect => "suspect",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
