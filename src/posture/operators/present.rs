//! `present` and `empty`: something is set, or nothing is.

use std::sync::Arc;

use super::super::judgement::Judgement;
use super::super::number::Profile;
use super::super::reader::Node;
use super::super::source::{Scope, ValueSource};
use super::{Condition, ConditionReader, Operator, Uses, judged};
use crate::model::is_nothing;

#[derive(Debug)]
struct Present {
    source: Arc<ValueSource>,
    is_negated: bool,
}

/// `present = value`: not null, not false, not empty.
pub(super) fn present<'a>(reader: &ConditionReader<'_, 'a>, node: Node<'a>) -> Option<Condition> {
    Some(Box::new(Present { source: reader.operand(node)?, is_negated: false }))
}

/// `empty = value`: null, false or empty.
pub(super) fn empty<'a>(reader: &ConditionReader<'_, 'a>, node: Node<'a>) -> Option<Condition> {
    Some(Box::new(Present { source: reader.operand(node)?, is_negated: true }))
}

impl Operator for Present {
    fn judge<'a>(&'a self, scope: &Scope<'a>) -> Judgement<'a> {
        judged(self.source.read(scope).map(|known| {
            let is_there = !is_nothing(&known.value);
            let holds = is_there != self.is_negated;
            // Of a set that should be empty, each member is one thing to accept or to remove.
            let members = known.value.as_array().filter(|_| !holds && self.is_negated);
            let observed = match members {
                Some(members) => members.iter().map(|member| known.member(member)).collect(),
                None => vec![known.seen()],
            };
            Judgement::of(holds, observed)
        }))
    }

    fn expected(&self, _: Profile) -> String {
        if self.is_negated { "nothing".to_owned() } else { "set".to_owned() }
    }

    fn uses(&self, base: &[String], uses: &mut Uses) {
        uses.source(&self.source, base);
    }
}
