//! No drift waits longer than its severity allows.

use std::borrow::Cow;

use serde_json::Value;

use super::super::super::judgement::{Gap, Judgement, Location, Seen, UnknownReason};
use super::super::super::source::Scope;
use super::super::Limit;
use super::Function;
use crate::clock;
use crate::model::Severity;

pub(super) const FUNCTION: Function = Function {
    name: "no-open-drift",
    judge,
    expected: "no high drift open for more than {}, no medium one for more than {}",
    paths: &[],
};

fn judge<'a>(scope: &Scope<'a>, numbers: &[Limit]) -> Judgement<'a> {
    let limits: Vec<f64> = numbers.iter().filter_map(|number| Some(number.amount(scope.profile)?.in_base())).collect();
    let (Some(own), [high, medium]) = (&scope.facts.own, limits.as_slice()) else {
        let (reason, place) = (UnknownReason::NotConfigured, Location::default());
        return Judgement::unknown(Gap { reason, place, is_of_section: false });
    };
    let late = own.open_drifts.iter().filter(|drift| {
        let limit = match drift.severity {
            Severity::Critical | Severity::High => *high,
            Severity::Medium => *medium,
            Severity::Low | Severity::Info => return false,
        };
        #[allow(clippy::cast_precision_loss, reason = "seconds of centuries are exact")]
        let seconds = (scope.facts.now - drift.first_seen).num_seconds() as f64;
        seconds > limit
    });
    let since = |at| Cow::Owned(Value::String(clock::written(at)));
    let late: Vec<Seen<'_>> = late.map(|drift| Seen::at(drift.path.clone(), since(drift.first_seen))).collect();
    Judgement::of(late.is_empty(), late)
}
