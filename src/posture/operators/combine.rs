//! `all-of`, `any-of`, `not`: conditions over conditions.

use super::super::judgement::Judgement;
use super::super::number::Profile;
use super::super::reader::Node;
use super::super::source::Scope;
use super::{Condition, ConditionReader, Operator, Uses};

#[derive(Debug)]
struct AllOf(Vec<Condition>);

#[derive(Debug)]
struct AnyOf(Vec<Condition>);

#[derive(Debug)]
struct Not(Condition);

/// `all-of = [conditions]`.
pub(super) fn all_of<'a>(reader: &ConditionReader<'_, 'a>, node: Node<'a>) -> Option<Condition> {
    Some(Box::new(AllOf(reader.conditions(node)?)))
}

/// `any-of = [conditions]`.
pub(super) fn any_of<'a>(reader: &ConditionReader<'_, 'a>, node: Node<'a>) -> Option<Condition> {
    Some(Box::new(AnyOf(reader.conditions(node)?)))
}

/// `not = condition`.
pub(super) fn not<'a>(reader: &ConditionReader<'_, 'a>, node: Node<'a>) -> Option<Condition> {
    Some(Box::new(Not(reader.condition(node)?)))
}

fn joined(conditions: &[Condition], profile: Profile, word: &str) -> String {
    let mut words: Vec<String> = conditions.iter().map(|condition| condition.expected(profile)).collect();
    words.retain(|words| !words.is_empty());
    words.dedup();
    words.join(word)
}

impl Operator for AllOf {
    fn judge<'a>(&'a self, scope: &Scope<'a>) -> Judgement<'a> {
        Judgement::all(self.0.iter().map(|condition| condition.judge(scope)))
    }

    fn expected(&self, profile: Profile) -> String {
        joined(&self.0, profile, ", ")
    }

    fn uses(&self, base: &[String], uses: &mut Uses) {
        self.0.iter().for_each(|condition| condition.uses(base, uses));
    }
}

impl Operator for AnyOf {
    fn judge<'a>(&'a self, scope: &Scope<'a>) -> Judgement<'a> {
        Judgement::any(self.0.iter().map(|condition| condition.judge(scope)))
    }

    fn expected(&self, profile: Profile) -> String {
        joined(&self.0, profile, " or ")
    }

    fn uses(&self, base: &[String], uses: &mut Uses) {
        self.0.iter().for_each(|condition| condition.uses(base, uses));
    }
}

impl Operator for Not {
    fn judge<'a>(&'a self, scope: &Scope<'a>) -> Judgement<'a> {
        self.0.judge(scope).negated()
    }

    fn expected(&self, profile: Profile) -> String {
        format!("not {}", self.0.expected(profile))
    }

    fn uses(&self, base: &[String], uses: &mut Uses) {
        self.0.uses(base, uses);
    }
}
