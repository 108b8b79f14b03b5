//! Judges a snapshot by the rules.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::facts::{Facts, OwnFacts, Search};
use super::judgement::{Gap, Holds, Judgement, UnknownReason};
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
        let about = Audit { rule, check, scope: &scope, expected: check.expected(input.profile).into() };
        results.extend(about.results().into_iter().map(|result| (place, result)));
    }
    let unread: BTreeSet<&str> = results.iter().filter_map(|(_, result)| result.unread.as_deref()).collect();
    let unread: Vec<Pointer> = unread.into_iter().map(Pointer::of_section).collect();
    for (place, (rule, check)) in checks().enumerate().filter(|(_, (_, check))| check.is_about_readings) {
        let about = Audit { rule, check, scope: &scope, expected: "every section that a rule needs is read".into() };
        let state = if unread.is_empty() { RuleState::Pass } else { RuleState::Fail };
        results.push((place, RuleResult { paths: unread.clone(), ..about.result(state) }));
    }
    results.sort_by_key(|(place, _)| *place);
    results.into_iter().map(|(_, result)| result).collect()
}

/// What the rules say that others refer to. They are about the whole instance, and refer to none that comes later.
fn judge_others(
    rules: &RuleSet,
    facts: &Facts,
    wanted: impl Iterator<Item = String>,
    profile: Profile,
) -> BTreeMap<String, Judgement> {
    let wanted: BTreeSet<String> = wanted.collect();
    let mut others = BTreeMap::new();
    for rule in rules.rules().iter().filter(|rule| wanted.contains(&rule.id)) {
        let pass = rule.check(facts.provider).and_then(|check| check.pass_in(profile));
        let judgement = pass.map(|pass| pass.judge(&Scope::of_instance(facts, &others, profile)));
        others.extend(judgement.map(|judgement| (rule.id.clone(), judgement)));
    }
    others
}

/// One rule and one vendor.
struct Audit<'r, 'a> {
    rule: &'r Arc<Rule>,
    check: &'r VendorCheck,
    scope: &'r Scope<'a>,
    expected: Arc<str>,
}

impl<'a> Audit<'_, 'a> {
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
        let (list, depth) = self.list();
        let found = match self.scope.facts.search(&list) {
            Ok(Search::Value(value, path)) => {
                let mut found = Vec::new();
                objects(value, &path, depth, &mut found);
                found.retain(|(path, _)| per.matches(path.tokens()) || path.last().is_empty());
                found
            }
            Ok(Search::Off(_)) => Vec::new(),
            Ok(Search::Absent(path)) => {
                let gap = Gap { reason: UnknownReason::FieldAbsent, path, is_of_section: false };
                return vec![self.unknown(gap, None)];
            }
            Err(gap) => return vec![self.unknown(gap, None)],
        };
        let results = found.iter().filter_map(|(path, object)| self.about(path, object));
        let results = one_for_each_section(results.collect());
        if results.is_empty() { vec![self.result(RuleState::NotApplicable)] } else { results }
    }

    /// The tokens of the list of objects, and how many levels of lists are in one another.
    fn list(&self) -> (Vec<String>, usize) {
        let tokens = &self.check.per_tokens;
        let depth = tokens.iter().filter(|token| token.contains('*')).count();
        (tokens.iter().take(tokens.len() - depth).cloned().collect(), depth)
    }

    fn about(&self, path: &Pointer, object: &'a Value) -> Option<RuleResult> {
        if canonical::unknown(object).is_some() {
            let gap = Gap { reason: UnknownReason::Ambiguous, path: path.clone(), is_of_section: false };
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
        if self.scope.facts.missing_scoped_field(path.section(), object) {
            let gap = Gap { reason: UnknownReason::NotPermitted, path: path.clone(), is_of_section: false };
            return Some(self.unknown(gap, Some((path, object))));
        }
        Some(self.judge(&scope, Some((path, object))))
    }

    fn judge(&self, scope: &Scope<'_>, object: Option<(&Pointer, &Value)>) -> RuleResult {
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
        let mut paths: Vec<Pointer> = judgement.observed.iter().map(|seen| seen.path.clone()).collect();
        paths.dedup();
        self.named(object, RuleResult { paths, observed: judgement.observed, ..self.result(state) })
    }

    fn unknown(&self, gap: Gap, object: Option<(&Pointer, &Value)>) -> RuleResult {
        let unread = gap.is_of_section.then(|| gap.path.section().to_owned());
        let unread = unread.filter(|_| gap.reason != UnknownReason::FieldAbsent);
        let result =
            RuleResult { reason: Some(gap.reason), unread, paths: vec![gap.path], ..self.result(RuleState::Unknown) };
        self.named(object, result)
    }

    fn named(&self, object: Option<(&Pointer, &Value)>, result: RuleResult) -> RuleResult {
        let Some((path, value)) = object else { return result };
        let (list, _) = self.list();
        let key = path.tokens().get(list.len()..).unwrap_or_default().join("/");
        let row = Table::of(self.scope.facts.provider).section(path.section());
        let label = row.and_then(|row| row.label.as_ref()).and_then(|label| value.get(label)).and_then(Value::as_str);
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
            paths: Vec::new(),
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
