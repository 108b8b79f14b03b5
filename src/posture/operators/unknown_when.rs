//! `unknown-when`: if the condition holds, nobody can tell from the settings alone.

use super::super::judgement::{Gap, Holds, Judgement, UnknownReason};
use super::super::number::Profile;
use super::super::reader::{Fields, Node};
use super::super::source::Scope;
use super::{Condition, ConditionReader, Operator, Uses};

#[derive(Debug)]
struct UnknownWhen {
    reason: UnknownReason,
    is: Condition,
}

/// `unknown-when = { reason, is }`: unknown if `is` holds, and it does not hold otherwise.
pub(super) fn unknown_when<'a>(reader: &ConditionReader<'_, 'a>, node: Node<'a>) -> Option<Condition> {
    let fields = Fields::of_node(node, reader.mistakes)?;
    let reason = fields.word("reason", UnknownReason::from_word);
    let is = fields.get("is").and_then(|is| reader.condition(is));
    fields.finish();
    Some(Box::new(UnknownWhen { reason: reason?, is: is? }))
}

impl Operator for UnknownWhen {
    fn judge<'a>(&'a self, scope: &Scope<'a>) -> Judgement<'a> {
        let judgement = self.is.judge(scope);
        match judgement.holds {
            Holds::Yes => {
                let place = judgement.observed.first().map(|seen| seen.place.clone()).unwrap_or_default();
                Judgement::unknown(Gap { reason: self.reason, place, is_of_section: false })
            }
            _ => judgement,
        }
    }

    fn expected(&self, _: Profile) -> String {
        String::new()
    }

    fn uses(&self, base: &[String], uses: &mut Uses) {
        self.is.uses(base, uses);
    }
}
