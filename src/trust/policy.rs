//! The rules of approval: the signers, and how many of them a change needs.

use std::collections::{BTreeMap, BTreeSet};

use super::allowed_signers::AllowedSigners;
use super::revoked::RevokedKeys;
use super::statement::Subject;
use crate::model::Severity;

/// The configured rules of approval.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// How many different people it takes at least; 0 counts as 1.
    pub threshold: usize,
    /// How many it takes for a change of that severity and of every higher one.
    pub by_severity: BTreeMap<Severity, usize>,
    /// Only signatures of security keys that were touched count.
    pub require_touch: bool,
}

impl Rules {
    /// How many people it takes if `worst` is the most severe change.
    pub fn need(&self, worst: Severity) -> usize {
        self.by_severity.range(..=worst).map(|(_, need)| *need).fold(self.threshold.max(1), usize::max)
    }

    /// How many people can approve anything.
    pub fn most(&self) -> usize {
        self.need(Severity::Critical)
    }

    /// How many people can approve something.
    pub fn least(&self) -> usize {
        self.need(Severity::Info)
    }
}

/// Who must have approved. All of it comes from files of the machine's owner, nothing from the store or a statement.
#[derive(Debug, Clone, Copy)]
pub struct Policy<'a> {
    /// Who may approve.
    pub signers: &'a AllowedSigners,
    /// Keys that are not believed at any time.
    pub revoked: &'a RevokedKeys,
    /// How many of them it takes.
    pub rules: &'a Rules,
}

/// The impact of a new baseline. Computed only where it decides, because it takes a comparison.
pub trait Impact {
    /// The most severe of the changes that `subject` approves beyond `base`. Without a base, or if any change cannot be
    /// told, it is [`Severity::Critical`].
    fn severity(&self, base: Option<&Subject>, subject: &Subject) -> Severity;

    /// The principals of whom a vendor's log says that they made one of these changes: nobody approves their own.
    fn authors(&self, base: Option<&Subject>, subject: &Subject) -> BTreeSet<String>;

    /// Whether [`Impact::authors`] can be non-empty. If not, earlier approvers do not matter.
    fn knows_authors(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_severity_needs_what_it_and_every_lower_one_need() {
        let rules = |threshold, by_severity: &[(Severity, usize)]| Rules {
            threshold,
            by_severity: by_severity.iter().copied().collect(),
            require_touch: false,
        };
        let needs = |rules: &Rules| Severity::ALL.iter().map(|severity| rules.need(*severity)).collect::<Vec<_>>();
        assert_eq!(needs(&rules(0, &[])), [1, 1, 1, 1, 1]);
        assert_eq!(needs(&rules(2, &[])), [2, 2, 2, 2, 2]);
        assert_eq!(needs(&rules(1, &[(Severity::Critical, 2)])), [1, 1, 1, 1, 2]);
        assert_eq!(needs(&rules(1, &[(Severity::Medium, 2), (Severity::Critical, 3)])), [1, 1, 2, 2, 3]);
        // A number below the threshold lowers nothing, and a more severe change never needs fewer.
        assert_eq!(needs(&rules(2, &[(Severity::Critical, 1)])), [2, 2, 2, 2, 2]);
        assert_eq!(needs(&rules(1, &[(Severity::High, 3), (Severity::Critical, 2)])), [1, 1, 1, 3, 3]);
        let rules = rules(1, &[(Severity::High, 3), (Severity::Critical, 2)]);
        assert_eq!((rules.least(), rules.most()), (1, 3));
    }
}
