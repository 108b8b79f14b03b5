//! Posture: rules about what a good configuration looks like, whoever approved it.
//!
//! A baseline says whether something changed; a rule says whether what is there is any good. Rules are data, in
//! `baselines/rules/*.toml`: [`RuleSet::built_in`] has those of the program. [`evaluate()`] judges a snapshot by them, in one
//! profile and at one time, and reads nothing else. [`apply()`] then takes in what people signed: exceptions and attestations.
//!
//! Judging has three values: what was not read is [`RuleState::Unknown`], with a reason, and never passes. A section that
//! could not be read makes each rule that needs it unknown once, and changes no other result.

mod apply;
mod evaluate;
mod facts;
mod judgement;
mod number;
mod objects;
mod operators;
mod reader;
mod result;
mod rule;
mod rule_file;
mod source;

pub use apply::{Applied, Attestation, Exception, ExceptionUse, apply};
pub use evaluate::{AuditInput, evaluate};
pub use facts::{OpenDrift, OwnFacts};
pub use judgement::{Observation, UnknownReason};
pub use number::{Amount, Number, Profile};
pub use reader::Mistake;
pub use result::{RuleResult, RuleState};
pub use rule::{Example, Examples, Remedy, Rule, RuleKind, RuleSet, VendorCheck};

#[cfg(test)]
mod tests;
