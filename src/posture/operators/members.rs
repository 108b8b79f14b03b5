//! `contains`, `excludes`, `subset`: which members a set has.

use std::sync::Arc;

use serde_json::Value;

use super::super::judgement::{Gap, Judgement};
use super::super::number::Profile;
use super::super::reader::{Node, value};
use super::super::source::{Scope, ValueSource};
use super::{Condition, ConditionReader, Operator, Uses, judged, list};

#[derive(Debug)]
struct Members {
    source: Arc<ValueSource>,
    values: Vec<Value>,
    want: MembersWanted,
}

#[derive(Debug, Clone, Copy)]
enum MembersWanted {
    /// All of the values are members.
    Contains,
    /// None of the values is a member.
    Excludes,
    /// No member is anything but one of the values.
    Subset,
}

/// `contains = [set, member]`, or several members.
pub(super) fn contains<'a>(reader: &ConditionReader<'_, 'a>, node: Node<'a>) -> Option<Condition> {
    let (source, member) = reader.pair(node)?;
    let values = match value(member) {
        Value::Array(values) => values,
        one => vec![one],
    };
    Some(Box::new(Members { source, values, want: MembersWanted::Contains }))
}

/// `excludes = [set, members]`.
pub(super) fn excludes<'a>(reader: &ConditionReader<'_, 'a>, node: Node<'a>) -> Option<Condition> {
    of(reader, node, MembersWanted::Excludes)
}

/// `subset = [set, members]`.
pub(super) fn subset<'a>(reader: &ConditionReader<'_, 'a>, node: Node<'a>) -> Option<Condition> {
    of(reader, node, MembersWanted::Subset)
}

fn of<'a>(reader: &ConditionReader<'_, 'a>, node: Node<'a>, want: MembersWanted) -> Option<Condition> {
    let (source, members) = reader.pair(node)?;
    Some(Box::new(Members { source, values: reader.values(members)?, want }))
}

impl Members {
    fn holds(&self, scope: &Scope<'_>) -> Result<Judgement, Gap> {
        let known = self.source.read(scope)?;
        let members = known.members()?;
        let is_wrong = |member: &&Value| match self.want {
            MembersWanted::Contains => false,
            MembersWanted::Excludes => self.values.contains(member),
            MembersWanted::Subset => !self.values.contains(member),
        };
        let wrong: Vec<_> = members.iter().filter(is_wrong).map(|member| known.member(member)).collect();
        let is_whole =
            !matches!(self.want, MembersWanted::Contains) || self.values.iter().all(|value| members.contains(value));
        Ok(match wrong.is_empty() {
            true => Judgement::of(is_whole, vec![known.observation()]),
            false => Judgement::of(false, wrong),
        })
    }
}

impl Operator for Members {
    fn judge(&self, scope: &Scope<'_>) -> Judgement {
        judged(self.holds(scope))
    }

    fn expected(&self, _: Profile) -> String {
        match self.want {
            MembersWanted::Contains => format!("with {}", list(&self.values, "and")),
            MembersWanted::Excludes => format!("without {}", list(&self.values, "and")),
            MembersWanted::Subset => format!("nothing but {}", list(&self.values, "and")),
        }
    }

    fn uses(&self, base: &[String], uses: &mut Uses) {
        uses.source(&self.source, base);
    }
}
