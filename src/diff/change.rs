//! One difference at one path.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::canonical::is_same;
use crate::model::Pointer;

/// What kind of difference it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// Another value.
    Changed,
    /// Something new: a key, an object, a member of a set.
    Added,
    /// Something gone.
    Removed,
    /// The same members of a sequence in another order.
    Reordered,
}

impl ChangeKind {
    /// The word used in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Reordered => "reordered",
        }
    }
}

impl fmt::Display for ChangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One difference at one path.
///
/// A member added to or removed from a set has the path of the set. An object or subtree that appears or vanishes
/// whole is one change at its root.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// Where; the first token is the section.
    pub path: Pointer,
    /// The kind.
    pub kind: ChangeKind,
    /// The approved value; null when there was none.
    pub before: Value,
    /// The value read; null when there is none.
    pub after: Value,
    /// Whether the values are members of the set at `path`.
    #[serde(skip)]
    pub is_member: bool,
}

impl Change {
    /// Whether both are one change, however much of its values either holds.
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.path, self.kind, self.is_member) == (&other.path, other.kind, other.is_member)
            && is_same(&self.before, &other.before)
            && is_same(&self.after, &other.after)
    }

    /// The section.
    pub fn section(&self) -> &str {
        self.path.section()
    }
}
