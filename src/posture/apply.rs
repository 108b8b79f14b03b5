//! Exceptions and attestations: what people signed about results.
//!
//! An exception pins what it accepts: another value at the same place fails again. It says nothing about what is unknown,
//! because nobody saw the value. Both end.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::judgement::UnknownReason;
use super::result::{RuleResult, RuleState};
use crate::canonical;
use crate::model::{Digest, Pointer, word};

/// A failing result that is accepted at its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    /// The rule.
    pub rule: String,
    /// The key of the object; nothing for the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// Where the value is.
    pub path: Pointer,
    /// The digest of the value that is accepted; of a set, of its member.
    pub value: Digest,
    /// Why.
    pub reason: String,
    /// Who answers for it.
    pub owner: String,
    /// When it ends.
    pub until: DateTime<Utc>,
}

/// A person answers for what no reading shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attestation {
    /// The rule.
    pub rule: String,
    /// The key of the object; nothing for the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// What the person says.
    pub answer: String,
    /// Who says it.
    pub owner: String,
    /// When it ends.
    pub until: DateTime<Utc>,
}

word!(
    /// What became of an exception.
    ExceptionUse {
        /// It accepts something that fails.
        InForce = "in_force",
        /// It accepts something that would fail, and is over.
        Ended = "ended",
        /// The rule passes, so nothing needs it.
        NotNeeded = "not_needed",
        /// Nothing that was found is what it accepts.
        Unused = "unused",
    }
);

/// The results with what people signed.
#[derive(Debug, Clone)]
pub struct Applied {
    /// The same results, some of them accepted or attested.
    pub results: Vec<RuleResult>,
    /// What became of each exception, in their order.
    pub uses: Vec<ExceptionUse>,
}

impl Exception {
    /// The digest by which a value is pinned.
    pub fn pin(value: &serde_json::Value) -> Digest {
        Digest::of(&canonical::to_bytes(value))
    }
}

/// Takes what people signed into the results. A failing result is accepted if exceptions in force cover everything in it
/// that fails; what only a person can answer is attested if one answered, and the answer is in date.
pub fn apply(
    results: Vec<RuleResult>,
    exceptions: &[Exception],
    attestations: &[Attestation],
    now: DateTime<Utc>,
) -> Applied {
    let mut uses = vec![ExceptionUse::Unused; exceptions.len()];
    let results = results.into_iter().map(|result| match result.state {
        RuleState::Fail => accepted(result, exceptions, &mut uses, now),
        RuleState::Unknown => attested(result, attestations, now),
        RuleState::Pass => {
            let is_same = |exception: &Exception| {
                exception.rule == result.rule.id && exception.object.as_deref() == result.object.as_deref()
            };
            for (_, used) in exceptions.iter().zip(&mut uses).filter(|(exception, _)| is_same(exception)) {
                *used = ExceptionUse::NotNeeded;
            }
            result
        }
        _ => result,
    });
    Applied { results: results.collect(), uses }
}

fn accepted(
    mut result: RuleResult,
    exceptions: &[Exception],
    uses: &mut [ExceptionUse],
    now: DateTime<Utc>,
) -> RuleResult {
    let (mut is_covered, mut has_ended) = (!result.observed.is_empty(), false);
    for seen in &result.observed {
        let (pin, path) = (Exception::pin(&seen.value), seen.path());
        let mut is_seen_covered = false;
        for (exception, used) in exceptions.iter().zip(uses.iter_mut()) {
            let is_of_rule =
                exception.rule == result.rule.id && exception.object.as_deref() == result.object.as_deref();
            if !is_of_rule || exception.path != path || exception.value != pin {
                continue;
            }
            if now < exception.until {
                *used = ExceptionUse::InForce;
                is_seen_covered = true;
            } else {
                *used = ExceptionUse::Ended;
                has_ended = true;
            }
        }
        is_covered &= is_seen_covered;
    }
    result.state = if is_covered { RuleState::Accepted } else { RuleState::Fail };
    result.has_ended = has_ended && !is_covered;
    result
}

fn attested(mut result: RuleResult, attestations: &[Attestation], now: DateTime<Utc>) -> RuleResult {
    let can_be_answered = matches!(
        result.reason,
        Some(UnknownReason::NotAttested | UnknownReason::DecidedInCode | UnknownReason::NotConfigured)
    );
    let is_about = |given: &&Attestation| {
        given.rule == result.rule.id && given.object.as_deref() == result.object.as_deref() && can_be_answered
    };
    let Some(last) = attestations.iter().filter(is_about).map(|given| given.until).max() else { return result };
    if now < last {
        result.state = RuleState::Attested;
        result.reason = None;
    } else {
        result.reason = Some(UnknownReason::AttestationEnded);
        result.has_ended = true;
    }
    result
}
