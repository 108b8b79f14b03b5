//! `contains`, `excludes`, `subset`: which members a set has.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::super::judgement::{Gap, Judgement, UnknownReason};
use super::super::number::Profile;
use super::super::reader::{Fields, Node, value};
use super::super::source::{Scope, ValueSource};
use super::{Condition, ConditionReader, Operator, Uses, judged, list};

#[derive(Debug)]
struct Membership {
    source: Arc<ValueSource>,
    values: MemberValues,
    want: MembersWanted,
}

/// The values that are looked for.
#[derive(Debug)]
enum MemberValues {
    Fixed(Vec<Value>),
    /// Another value says which.
    By {
        source: Arc<ValueSource>,
        lists: BTreeMap<String, Vec<Value>>,
    },
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
    Some(Box::new(Membership { source, values: MemberValues::Fixed(values), want: MembersWanted::Contains }))
}

/// `excludes = [set, members]`.
pub(super) fn excludes<'a>(reader: &ConditionReader<'_, 'a>, node: Node<'a>) -> Option<Condition> {
    of(reader, node, MembersWanted::Excludes)
}

/// `subset = [set, members]`; `{ by = value, lists = { word = members } }` for members that depend on another value.
pub(super) fn subset<'a>(reader: &ConditionReader<'_, 'a>, node: Node<'a>) -> Option<Condition> {
    of(reader, node, MembersWanted::Subset)
}

fn of<'a>(reader: &ConditionReader<'_, 'a>, node: Node<'a>, want: MembersWanted) -> Option<Condition> {
    let (source, members) = reader.pair(node)?;
    let values = match members.get_ref().is_table() {
        true => by(reader, members)?,
        false => MemberValues::Fixed(reader.values(members)?),
    };
    Some(Box::new(Membership { source, values, want }))
}

fn by<'a>(reader: &ConditionReader<'_, 'a>, node: Node<'a>) -> Option<MemberValues> {
    let fields = Fields::of_node(node, reader.mistakes)?;
    let source = fields.get("by").and_then(|by| reader.operand(by));
    let lists = fields.table("lists");
    let lists = lists.map(|lists| lists.entries().map(|(word, _, list)| Some((word, reader.values(list)?))).collect());
    fields.finish();
    Some(MemberValues::By { source: source?, lists: lists.flatten()? })
}

impl Membership {
    fn holds<'a>(&'a self, scope: &Scope<'a>) -> Result<Judgement<'a>, Gap> {
        let known = self.source.read(scope)?;
        let members = known.members()?;
        let values = match &self.values {
            MemberValues::Fixed(values) => values,
            MemberValues::By { source, lists } => {
                let by = source.read(scope)?;
                lists.get(by.text()?.as_ref()).ok_or_else(|| by.gap(UnknownReason::Ambiguous))?
            }
        };
        let is_wrong = |member: &&Value| match self.want {
            MembersWanted::Contains => false,
            MembersWanted::Excludes => values.contains(member),
            MembersWanted::Subset => !values.contains(member),
        };
        let wrong: Vec<_> = members.iter().filter(is_wrong).map(|member| known.member(member)).collect();
        let is_whole =
            !matches!(self.want, MembersWanted::Contains) || values.iter().all(|value| members.contains(value));
        Ok(match wrong.is_empty() {
            true => Judgement::of(is_whole, vec![known.seen()]),
            false => Judgement::of(false, wrong),
        })
    }
}

impl Operator for Membership {
    fn judge<'a>(&'a self, scope: &Scope<'a>) -> Judgement<'a> {
        judged(self.holds(scope))
    }

    fn expected(&self, _: Profile) -> String {
        let values = match &self.values {
            MemberValues::Fixed(values) => list(values, "and"),
            MemberValues::By { source, lists } => {
                let lists = lists.iter().map(|(word, values)| format!("{} ({word})", list(values, "and")));
                format!("{} by {}", lists.collect::<Vec<_>>().join("; "), source.name())
            }
        };
        match self.want {
            MembersWanted::Contains => format!("with {values}"),
            MembersWanted::Excludes => format!("without {values}"),
            MembersWanted::Subset => format!("nothing but {values}"),
        }
    }

    fn uses(&self, base: &[String], uses: &mut Uses) {
        uses.source(&self.source, base);
        if let MemberValues::By { source, .. } = &self.values {
            uses.source(source, base);
        }
    }
}
