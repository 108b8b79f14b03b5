//! Judges a snapshot by the rules.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::facts::{Facts, OwnFacts};
use super::judgement::{Gap, Holds, Judgement, Seen, UnknownReason};
use super::number::Profile;
use super::objects::{RuleObject, RuleObjects, objects};
use super::result::{RuleResult, RuleState};
use super::rule::{Rule, RuleSet, VendorCheck};
use super::source::Scope;
use crate::model::{Pointer, Severity};
use crate::snapshot::Snapshot;

/// What rules are judged with, beside the snapshot.
#[derive(Debug, Clone)]
pub struct AuditInput {
    /// How much is asked for.
    pub profile: Profile,
    /// When the snapshot was taken.
    pub now: DateTime<Utc>,
    /// What the own records say; without them the rules about them are unknown.
    pub own: Option<OwnFacts>,
}

/// What every rule of the profile says of the snapshot: rule by rule in the order of the set, and the objects of each by
/// their key.
pub fn evaluate(rules: &RuleSet, snapshot: &Snapshot, input: &AuditInput) -> Vec<RuleResult> {
    let provider = snapshot.instance.provider;
    let sections = rules.sections(provider, input.profile);
    let facts = Facts::new(snapshot, &sections, input.now, input.own.clone());
    let checks = || rules.rules().iter().filter_map(|rule| Some((rule, rule.check_in(provider, input.profile)?)));
    let others = judge_others(rules, &facts, checks().flat_map(|(_, check)| check.uses().rules), input.profile);
    let scope = Scope::of_instance(&facts, &others, input.profile);
    let objects = objects(&facts, checks().map(|(_, check)| check));
    let mut results: Vec<(usize, RuleResult)> = Vec::new();
    for (place, (rule, check)) in checks().enumerate().filter(|(_, (_, check))| !check.is_about_readings) {
        let audit = Audit { rule, check, scope: &scope, expected: check.expected(input.profile).into() };
        results.extend(audit.results(&objects).into_iter().map(|result| (place, result)));
    }
    let unread: BTreeSet<&str> = results.iter().filter_map(|(_, result)| result.unread.as_deref()).collect();
    let unread: Vec<Pointer> = unread.into_iter().map(Pointer::of_section).collect();
    for (place, (rule, check)) in checks().enumerate().filter(|(_, (_, check))| check.is_about_readings) {
        let audit = Audit { rule, check, scope: &scope, expected: "every section that a rule needs is read".into() };
        let state = if unread.is_empty() { RuleState::Pass } else { RuleState::Fail };
        let observed = unread.iter().map(|path| Seen::at(path.clone(), Cow::Owned(Value::Null)).into()).collect();
        results.push((place, RuleResult { observed, ..audit.result(state) }));
    }
    results.sort_by_key(|(place, _)| *place);
    results.into_iter().map(|(_, result)| result).collect()
}

/// What the rules say that others refer to. They are about the whole instance, and refer to none themselves.
fn judge_others<'a>(
    rules: &'a RuleSet,
    facts: &'a Facts,
    wanted: impl Iterator<Item = String>,
    profile: Profile,
) -> BTreeMap<String, Judgement<'a>> {
    static NONE: BTreeMap<String, Judgement<'static>> = BTreeMap::new();
    let scope = Scope::of_instance(facts, &NONE, profile);
    let judge = |id: String| {
        let pass = rules.rule(&id)?.check(facts.provider)?.pass_in(profile)?;
        Some((id, pass.judge(&scope)))
    };
    wanted.collect::<BTreeSet<String>>().into_iter().filter_map(judge).collect()
}

/// One rule and one vendor.
struct Audit<'a> {
    rule: &'a Arc<Rule>,
    check: &'a VendorCheck,
    scope: &'a Scope<'a>,
    expected: Arc<str>,
}

impl<'a> Audit<'a> {
    fn results(&self, objects: &'a RuleObjects<'a>) -> Vec<RuleResult> {
        if let Some(reason) = self.check.unanswered {
            return vec![RuleResult { reason: Some(reason), ..self.result(RuleState::Unknown) }];
        }
        match objects.get(self.check.per_tokens.as_slice()) {
            None => vec![self.judge(self.scope, None)],
            Some(Err(gap)) => vec![self.unknown(gap.clone(), None)],
            Some(Ok(objects)) => {
                let results = objects.iter().filter_map(|object| self.about(object));
                let results = one_for_each_section(results.collect());
                if results.is_empty() { vec![self.result(RuleState::NotApplicable)] } else { results }
            }
        }
    }

    fn about(&self, object: &'a RuleObject<'a>) -> Option<RuleResult> {
        let trouble = |reason| {
            let place = Arc::clone(&object.path).into();
            Some(self.unknown(Gap { reason, place, is_of_section: false }, Some(object)))
        };
        if object.trouble == Some(UnknownReason::Ambiguous) {
            return trouble(UnknownReason::Ambiguous);
        }
        let scope = self.scope.about(Arc::clone(&object.path), object.value);
        if let Some(choose) = &self.check.choose {
            match choose.judge(&scope).holds {
                Holds::Yes => {}
                Holds::No | Holds::Empty => return None,
                Holds::Unknown(gap) => return Some(self.unknown(gap, Some(object))),
            }
        }
        // Which objects are meant can be seen without the scope that shows the rest.
        if let Some(reason) = object.trouble {
            return trouble(reason);
        }
        Some(self.judge(&scope, Some(object)))
    }

    fn judge(&self, scope: &Scope<'a>, object: Option<&RuleObject<'_>>) -> RuleResult {
        let profile = scope.profile;
        match self.check.when_in(profile).map(|when| when.judge(scope).holds) {
            None | Some(Holds::Yes) => {}
            Some(Holds::No | Holds::Empty) => return named(object, self.result(RuleState::NotApplicable)),
            Some(Holds::Unknown(gap)) => return self.unknown(gap, object),
        }
        let judgement = self.check.pass_in(profile).map_or_else(Judgement::empty, |pass| pass.judge(scope));
        let state = match judgement.holds {
            Holds::Yes => RuleState::Pass,
            Holds::No => RuleState::Fail,
            Holds::Empty => RuleState::NotApplicable,
            Holds::Unknown(gap) => return self.unknown(gap, object),
        };
        let observed = judgement.observed.into_iter().map(Into::into).collect();
        let mut result = RuleResult { observed, ..self.result(state) };
        let raise = self.check.raise.as_ref().filter(|_| state == RuleState::Fail);
        if raise.is_some_and(|raise| raise.judge(scope).holds == Holds::Yes) {
            result.severity = one_step_worse(result.severity);
        }
        named(object, result)
    }

    fn unknown(&self, gap: Gap, object: Option<&RuleObject<'_>>) -> RuleResult {
        let unread = gap.is_of_section.then(|| gap.place.pointer().section().to_owned());
        let unread = unread.filter(|_| gap.reason != UnknownReason::FieldAbsent);
        let (reason, gap) = (Some(gap.reason), Some(gap.place));
        named(object, RuleResult { reason, unread, gap, ..self.result(RuleState::Unknown) })
    }

    fn result(&self, state: RuleState) -> RuleResult {
        RuleResult {
            rule: Arc::clone(self.rule),
            object: None,
            label: None,
            state,
            severity: self.check.severity.unwrap_or(self.rule.severity),
            reason: None,
            unread: None,
            gap: None,
            observed: Vec::new(),
            expected: Arc::clone(&self.expected),
            has_ended: false,
        }
    }
}

fn one_step_worse(severity: Severity) -> Severity {
    Severity::ALL.into_iter().find(|worse| *worse > severity).unwrap_or(severity)
}

fn named(object: Option<&RuleObject<'_>>, result: RuleResult) -> RuleResult {
    match object {
        Some(object) => RuleResult { object: object.key.clone(), label: object.label.clone(), ..result },
        None => result,
    }
}

/// A section that could not be read makes a rule unknown once, not once for each object.
fn one_for_each_section(results: Vec<RuleResult>) -> Vec<RuleResult> {
    let (mut kept, mut unread): (Vec<RuleResult>, BTreeSet<String>) = (Vec::new(), BTreeSet::new());
    for result in results {
        match &result.unread {
            Some(section) if !unread.insert(section.clone()) => {}
            Some(_) => kept.push(RuleResult { object: None, label: None, ..result }),
            None => kept.push(result),
        }
    }
    kept
}
