//! One difference at one path.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::canonical::is_same;
use crate::model::{Pointer, word};

word!(
    /// What kind of difference it is.
    ChangeKind {
        /// Another value.
        Changed = "changed",
        /// Something new: a key, an object, a member of a set.
        Added = "added",
        /// Something gone.
        Removed = "removed",
        /// The same members of a sequence in another order.
        Reordered = "reordered",
    }
);

/// One difference at one path.
///
/// A member added to or removed from a set has the path of the set. An object or subtree that appears or vanishes
/// whole is one change at its root.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
