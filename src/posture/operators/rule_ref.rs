//! `rule`: another rule of the same instance passes.

use super::super::judgement::{Gap, Judgement, UnknownReason};
use super::super::number::Profile;
use super::super::reader::{Node, text};
use super::super::source::Scope;
use super::{Condition, ConditionReader, Operator, Uses};

#[derive(Debug)]
struct RuleRef(String);

/// `rule = id`.
pub(super) fn rule<'a>(reader: &ConditionReader<'_, 'a>, node: Node<'a>) -> Option<Condition> {
    Some(Box::new(RuleRef(text(node, reader.mistakes)?)))
}

impl Operator for RuleRef {
    fn judge<'a>(&'a self, scope: &Scope<'a>) -> Judgement<'a> {
        scope.others.get(&self.0).cloned().unwrap_or_else(|| {
            let (reason, place) = (UnknownReason::NotConfigured, scope.place());
            Judgement::unknown(Gap { reason, place, is_of_section: false })
        })
    }

    fn expected(&self, _: Profile) -> String {
        String::new()
    }

    fn uses(&self, _: &[String], uses: &mut Uses) {
        uses.rules.insert(self.0.clone());
    }
}
