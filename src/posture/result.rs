//! What a rule says of one object.

use std::sync::Arc;

use super::judgement::{Location, Observation, UnknownReason};
use super::rule::Rule;
use crate::model::{Pointer, Severity, word};

word!(
    /// What a rule says of an object, worst first.
    RuleState {
        /// Everything needed was read, and it does not hold.
        Fail = "fail",
        /// Something needed was not read, or cannot be judged. Never good.
        Unknown = "unknown",
        /// It fails, and a signed exception for this value is in force.
        Accepted = "accepted",
        /// A person answers for it, and the answer is in date.
        Attested = "attested",
        /// What the rule is about does not exist, and that was read.
        NotApplicable = "not_applicable",
        /// Everything it reads was read, and it holds.
        Pass = "pass",
    }
);

/// What a rule says of one object.
#[derive(Debug, Clone)]
pub struct RuleResult {
    /// The rule.
    pub rule: Arc<Rule>,
    /// The key of the object in the snapshot; nothing for the instance, and for a list that could not be read.
    pub object: Option<Arc<str>>,
    /// What people call the object, if its key is an opaque id.
    pub label: Option<Arc<str>>,
    /// What it says.
    pub state: RuleState,
    /// How much it matters if it fails.
    pub severity: Severity,
    /// Why it is unknown.
    pub reason: Option<UnknownReason>,
    /// The section that would have to be read, if it is one that could not be.
    pub unread: Option<String>,
    /// Where something is missing, if it is unknown.
    pub(super) gap: Option<Location>,
    /// The values that decide, with their places.
    pub observed: Vec<Observation>,
    /// What should be there in this profile.
    pub expected: Arc<str>,
    /// An exception or an attestation for it is over.
    pub has_ended: bool,
}

impl RuleResult {
    /// The places that decide, and the one where something is missing.
    pub fn paths(&self) -> Vec<Pointer> {
        let mut paths: Vec<Pointer> =
            self.observed.iter().map(Observation::path).chain(self.gap.iter().map(Location::pointer)).collect();
        paths.dedup();
        paths
    }

    /// Whether somebody has to do something: it fails, or nobody knows.
    pub fn is_open(&self) -> bool {
        matches!(self.state, RuleState::Fail | RuleState::Unknown)
    }
}
