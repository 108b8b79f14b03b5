//! `any`, `none`, `every`: conditions about the objects of a list.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value;

use super::super::judgement::{Gap, Holds, Judgement, UnknownReason};
use super::super::number::Profile;
use super::super::reader::{Fields, Node, number};
use super::super::source::{Scope, ValueSource};
use super::{Condition, ConditionReader, Operator, Uses};
use crate::canonical;
use crate::model::Pointer;

#[derive(Debug)]
struct OfItems {
    of: Arc<ValueSource>,
    /// How many levels of lists are in one another.
    depth: usize,
    choose: Option<Condition>,
    is: Condition,
    want: ItemsWanted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ItemsWanted {
    Any,
    None,
    Every,
}

/// `any = { of, is }`: one object is enough; an empty list has none.
pub(super) fn any<'a>(reader: &ConditionReader<'_, 'a>, node: Node<'a>) -> Option<Condition> {
    items(reader, node, ItemsWanted::Any)
}

/// `none = { of, is }`: no object is like that; an empty list has none.
pub(super) fn none<'a>(reader: &ConditionReader<'_, 'a>, node: Node<'a>) -> Option<Condition> {
    items(reader, node, ItemsWanted::None)
}

/// `every = { of, is }`: each object is like that; of an empty list there is nothing to say.
pub(super) fn every<'a>(reader: &ConditionReader<'_, 'a>, node: Node<'a>) -> Option<Condition> {
    items(reader, node, ItemsWanted::Every)
}

/// `{ of = list, is = condition }`, with `where = condition` for some of them and `depth = 2` for lists of lists.
fn items<'a>(reader: &ConditionReader<'_, 'a>, node: Node<'a>, want: ItemsWanted) -> Option<Condition> {
    let fields = Fields::of_node(node, reader.mistakes)?;
    let of = fields.get("of").and_then(|of| reader.operand(of));
    let is = fields.get("is").and_then(|is| reader.condition(is));
    let choose = fields.get("where").map(|choose| reader.condition(choose));
    let depth = fields.get("depth").and_then(number).map_or(1, |depth| if depth >= 2.0 { 2 } else { 1 });
    if of.is_none() || is.is_none() {
        reader.mistakes.add(node.span(), "expected 'of' and 'is'");
    }
    fields.finish();
    let choose = match choose {
        Some(choose) => Some(choose?),
        None => None,
    };
    Some(Box::new(OfItems { of: of?, depth, choose, is: is?, want }))
}

/// Every object of the lists in `value`.
fn each<'v>(value: &'v Value, path: &Pointer, depth: usize, found: &mut Vec<(Pointer, &'v Value)>) {
    let place = |name: &str, item: &'v Value, found: &mut Vec<(Pointer, &'v Value)>| {
        let path = if name.is_empty() { path.clone() } else { path.child(name) };
        match depth > 1 && canonical::unknown(item).is_none() {
            true => each(item, &path, depth - 1, found),
            false => found.push((path, item)),
        }
    };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, item)| place(name, item, found)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, item)| place(&at.to_string(), item, found));
        }
        _ => {}
    }
}

impl OfItems {
    fn judge_item<'a>(&'a self, scope: &Scope<'a>, path: Pointer, item: &'a Value) -> Option<Judgement<'a>> {
        if canonical::unknown(item).is_some() {
            return Some(Judgement::unknown(Gap {
                reason: UnknownReason::Ambiguous,
                place: path.into(),
                is_of_section: false,
            }));
        }
        let about = scope.about(path, item);
        let is = || self.is.judge(&about);
        match &self.choose {
            None => Some(is()),
            Some(choose) => match choose.judge(&about).holds {
                Holds::Yes => Some(is()),
                Holds::No | Holds::Empty => None,
                Holds::Unknown(gap) => Some(Judgement::unknown(gap)),
            },
        }
    }
}

impl Operator for OfItems {
    fn judge<'a>(&'a self, scope: &Scope<'a>) -> Judgement<'a> {
        let known = match self.of.read(scope) {
            Ok(known) => known,
            Err(gap) => return Judgement::unknown(gap),
        };
        if !matches!(known.value.as_ref(), Value::Object(_) | Value::Array(_) | Value::Null) {
            return Judgement::unknown(known.gap(UnknownReason::Ambiguous));
        }
        let mut found = Vec::new();
        // What stands for a list that is not there has nothing in it.
        if let Cow::Borrowed(list) = known.value {
            each(list, &known.place.pointer(), self.depth, &mut found);
        }
        let judgements = found.into_iter().filter_map(|(path, item)| self.judge_item(scope, path, item));
        let judgement = match self.want {
            ItemsWanted::Every => return Judgement::all(judgements),
            ItemsWanted::Any | ItemsWanted::None => Judgement::any(judgements),
        };
        let judgement = match judgement.holds {
            Holds::Empty => Judgement::of(false, vec![known.seen()]),
            _ => judgement,
        };
        if self.want == ItemsWanted::None { judgement.negated() } else { judgement }
    }

    fn expected(&self, profile: Profile) -> String {
        let is = self.is.expected(profile);
        match self.want {
            ItemsWanted::Any => format!("at least one: {is}"),
            ItemsWanted::None => format!("none: {is}"),
            ItemsWanted::Every => format!("each: {is}"),
        }
    }

    fn uses(&self, base: &[String], uses: &mut Uses) {
        uses.source(&self.of, base);
        let mut lists = Vec::new();
        self.of.patterns(base, &mut lists);
        for mut list in lists {
            list.extend(std::iter::repeat_n("*".to_owned(), self.depth));
            self.is.uses(&list, uses);
            if let Some(choose) = &self.choose {
                choose.uses(&list, uses);
            }
        }
    }
}
