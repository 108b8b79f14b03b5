//! Judges a snapshot by the rules.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::facts::{Facts, OwnFacts, Search};
use super::judgement::{Gap, Holds, Judgement, Seen, UnknownReason};
use super::number::Profile;
use super::result::{RuleResult, RuleState};
use super::rule::{Rule, RuleSet, VendorCheck};
use super::source::Scope;
use crate::canonical;
use crate::model::{Pattern, Pointer};
use crate::sections::Table;
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
    let mut results: Vec<(usize, RuleResult)> = Vec::new();
    for (place, (rule, check)) in checks().enumerate().filter(|(_, (_, check))| !check.is_about_readings) {
        let about = Audit::new(rule, check, &scope, check.expected(input.profile).into());
        results.extend(about.results().into_iter().map(|result| (place, result)));
    }
    let unread: BTreeSet<&str> = results.iter().filter_map(|(_, result)| result.unread.as_deref()).collect();
    let unread: Vec<Pointer> = unread.into_iter().map(Pointer::of_section).collect();
    for (place, (rule, check)) in checks().enumerate().filter(|(_, (_, check))| check.is_about_readings) {
        let about = Audit::new(rule, check, &scope, "every section that a rule needs is read".into());
        let state = if unread.is_empty() { RuleState::Pass } else { RuleState::Fail };
        let observed = unread.iter().map(|path| Seen::at(path.clone(), Cow::Owned(Value::Null)).into()).collect();
        results.push((place, RuleResult { observed, ..about.result(state) }));
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
    /// The tokens of the list of objects, and how many levels of lists are in one another.
    list: Arc<[String]>,
    depth: usize,
    /// The field by which people know an object.
    label: Option<&'static str>,
}

impl<'a> Audit<'a> {
    fn new(rule: &'a Arc<Rule>, check: &'a VendorCheck, scope: &'a Scope<'a>, expected: Arc<str>) -> Self {
        let tokens = &check.per_tokens;
        let depth = tokens.iter().filter(|token| token.contains('*')).count();
        let list = tokens.iter().take(tokens.len() - depth).cloned().collect();
        let row = tokens.first().and_then(|section| Table::of(scope.facts.provider).section(section));
        let label = row.and_then(|row| row.label.as_deref());
        Self { rule, check, scope, expected, list, depth, label }
    }

    fn results(&self) -> Vec<RuleResult> {
        if let Some(reason) = self.check.unanswered {
            return vec![RuleResult { reason: Some(reason), ..self.result(RuleState::Unknown) }];
        }
        match &self.check.per {
            None => vec![self.judge(self.scope, None)],
            Some(per) => self.per_object(per),
        }
    }

    /// One result for each object; one for all if the list is not known or has none.
    fn per_object(&self, per: &Pattern) -> Vec<RuleResult> {
        let found = match self.scope.facts.search(&self.list) {
            Ok(Search::Value(value, place)) => {
                let mut found = Vec::new();
                objects(value, &place.pointer(), self.depth, &mut found);
                found.retain(|(path, _)| per.matches(path.tokens()) || path.last().is_empty());
                found
            }
            Ok(Search::Off(_)) => Vec::new(),
            Ok(Search::Absent(place)) => {
                let gap = Gap { reason: UnknownReason::FieldAbsent, place, is_of_section: false };
                return vec![self.unknown(gap, None)];
            }
            Err(gap) => return vec![self.unknown(gap, None)],
        };
        let results = found.iter().filter_map(|(path, object)| self.about(path, object));
        let results = one_for_each_section(results.collect());
        if results.is_empty() { vec![self.result(RuleState::NotApplicable)] } else { results }
    }

    fn about(&self, path: &Pointer, object: &'a Value) -> Option<RuleResult> {
        if canonical::unknown(object).is_some() {
            let gap = Gap { reason: UnknownReason::Ambiguous, place: path.clone().into(), is_of_section: false };
            return Some(self.unknown(gap, Some((path, object))));
        }
        let scope = self.scope.about(path.clone(), object);
        if let Some(choose) = &self.check.choose {
            match choose.judge(&scope).holds {
                Holds::Yes => {}
                Holds::No | Holds::Empty => return None,
                Holds::Unknown(gap) => return Some(self.unknown(gap, Some((path, object)))),
            }
        }
        if self.scope.facts.is_cut_short(path.section(), object) {
            let gap = Gap { reason: UnknownReason::NotPermitted, place: path.clone().into(), is_of_section: false };
            return Some(self.unknown(gap, Some((path, object))));
        }
        Some(self.judge(&scope, Some((path, object))))
    }

    fn judge(&self, scope: &Scope<'a>, object: Option<(&Pointer, &Value)>) -> RuleResult {
        let profile = scope.profile;
        match self.check.when_in(profile).map(|when| when.judge(scope).holds) {
            None | Some(Holds::Yes) => {}
            Some(Holds::No | Holds::Empty) => return self.named(object, self.result(RuleState::NotApplicable)),
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
        self.named(object, RuleResult { observed, ..self.result(state) })
    }

    fn unknown(&self, gap: Gap, object: Option<(&Pointer, &Value)>) -> RuleResult {
        let path = gap.place.pointer();
        let unread = gap.is_of_section.then(|| path.section().to_owned());
        let unread = unread.filter(|_| gap.reason != UnknownReason::FieldAbsent);
        let (reason, gap) = (Some(gap.reason), Some(path));
        let result = RuleResult { reason, unread, gap, ..self.result(RuleState::Unknown) };
        self.named(object, result)
    }

    fn named(&self, object: Option<(&Pointer, &Value)>, result: RuleResult) -> RuleResult {
        let Some((path, value)) = object else { return result };
        let key = path.tokens().get(self.list.len()..).unwrap_or_default().join("/");
        let label = self.label.and_then(|label| value.get(label)).and_then(Value::as_str);
        let object = Some(key).filter(|key| !key.is_empty());
        RuleResult { object, label: label.filter(|label| !label.is_empty()).map(str::to_owned), ..result }
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

/// Every object of the lists in `value`.
fn objects<'v>(value: &'v Value, path: &Pointer, depth: usize, found: &mut Vec<(Pointer, &'v Value)>) {
    for (name, item) in value.as_object().into_iter().flatten() {
        let path = path.child(name);
        if depth > 1 && canonical::unknown(item).is_none() {
            objects(item, &path, depth - 1, found);
        } else {
            found.push((path, item));
        }
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
