//! What is to be approved of the differences.

use std::collections::BTreeSet;
use std::str::FromStr;

use super::ApprovalError;
use crate::diff::Change;
use crate::model::{DriftId, Pointer, display_safe};

/// Which differences are to be approved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApprovalScope {
    /// All of them.
    All,
    /// Those that are named, and nothing else.
    Only(Vec<ChangeSelector>),
    /// These, by their place in the list of differences, and these sections that the baseline does not have.
    Chosen(BTreeSet<usize>, BTreeSet<String>),
}

/// A difference that the command line names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeSelector {
    /// Every difference at or under the path; a whole section that the baseline does not hold.
    Path(Pointer),
    /// One drift.
    Drift(DriftId),
}

impl FromStr for ChangeSelector {
    type Err = ApprovalError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with("drf_") {
            return Ok(Self::Drift(DriftId::from_text(text)));
        }
        match text.parse::<Pointer>() {
            Ok(path) if !path.tokens().is_empty() => Ok(Self::Path(path)),
            _ => Err(ApprovalError::NoSuchPath(display_safe(text))),
        }
    }
}

impl ChangeSelector {
    pub(super) fn fits(&self, change: &Change, id: Option<&DriftId>) -> bool {
        match self {
            Self::Path(path) => path.contains(&change.path),
            Self::Drift(drift) => Some(drift) == id,
        }
    }

    pub(super) fn is_section(&self, section: &str) -> bool {
        matches!(self, Self::Path(path) if *path == Pointer::of_section(section))
    }
}
