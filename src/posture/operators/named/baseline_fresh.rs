//! The baseline is signed by enough people, and not old.

use std::borrow::Cow;

use serde_json::Value;

use super::super::super::judgement::{Gap, Judgement, Location, Seen, UnknownReason};
use super::super::super::source::Scope;
use super::super::Limit;
use super::Function;
use crate::clock;
use crate::model::Pointer;

pub(super) const FUNCTION: Function =
    Function { name: "baseline-fresh", judge, expected: "signed by enough people, at most {} ago", paths: &[] };

fn judge<'a>(scope: &Scope<'a>, numbers: &[Limit]) -> Judgement<'a> {
    let (Some(own), Some(limit)) = (&scope.facts.own, numbers.first().and_then(|number| number.amount(scope.profile)))
    else {
        let (reason, place) = (UnknownReason::NotConfigured, Location::default());
        return Judgement::unknown(Gap { reason, place, is_of_section: false });
    };
    let value = own.approved_at.map_or(Value::Null, |at| Value::String(clock::written(at)));
    let observed = vec![Seen::at(Pointer::default(), Cow::Owned(value))];
    #[allow(clippy::cast_precision_loss, reason = "seconds of centuries are exact")]
    let is_fresh = |at: chrono::DateTime<chrono::Utc>| (scope.facts.now - at).num_seconds() as f64 <= limit.in_base();
    Judgement::of(own.is_baseline_trusted && own.approved_at.is_some_and(is_fresh), observed)
}
