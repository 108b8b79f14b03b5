//! `agree`: one setting in several forms, of which nobody knows which is in force.

use std::sync::Arc;

use serde_json::Value;

use super::super::judgement::{Gap, Judgement, UnknownReason};
use super::super::number::Profile;
use super::super::reader::{Fields, Node, items};
use super::super::source::{Scope, SourceKind, ValueSource};
use super::{Condition, ConditionReader, Operator, Uses};

#[derive(Debug)]
struct Agree {
    forms: Vec<Arc<ValueSource>>,
    is: Condition,
    /// What it means that no form is there.
    absent: ValueSource,
}

/// `agree = { forms, is, absent }`: the condition is asked of `it`, each form that is there. Unknown if they disagree.
pub(super) fn agree<'a>(reader: &ConditionReader<'_, 'a>, node: Node<'a>) -> Option<Condition> {
    let fields = Fields::of_node(node, reader.mistakes)?;
    let forms = fields.get("forms").and_then(|forms| items(forms, reader.mistakes)).unwrap_or_default();
    let forms: Vec<_> = forms.into_iter().filter_map(|form| reader.operand(form)).collect();
    let is = fields.get("is").and_then(|is| reader.condition(is));
    let absent = ValueSource::plain(SourceKind::Constant(fields.value("absent").unwrap_or(Value::Null)));
    if forms.is_empty() || is.is_none() {
        reader.mistakes.add(node.span(), "expected 'forms', 'is' and 'absent'");
    }
    fields.finish();
    Some(Box::new(Agree { forms, is: is?, absent }))
}

impl Operator for Agree {
    fn judge<'a>(&'a self, scope: &Scope<'a>) -> Judgement<'a> {
        let (mut judgements, mut first) = (Vec::new(), None);
        for form in &self.forms {
            match form.read(scope) {
                Ok(known) => judgements.push(self.is.judge(&scope.with_it(known))),
                Err(Gap { reason: UnknownReason::FieldAbsent, place, is_of_section: false }) => {
                    first.get_or_insert(place);
                }
                Err(gap) => return Judgement::unknown(gap),
            }
        }
        if judgements.is_empty() {
            return match self.absent.read(scope) {
                Ok(mut known) => {
                    known.is_default = true;
                    known.place = first.unwrap_or_default();
                    self.is.judge(&scope.with_it(known))
                }
                Err(gap) => Judgement::unknown(gap),
            };
        }
        let place = judgements.iter().flat_map(|one| &one.observed).map(|seen| seen.place.clone()).next();
        let all = Judgement::all(judgements.clone());
        let any = Judgement::any(judgements);
        if all.holds == any.holds {
            return all;
        }
        let place = place.unwrap_or_default();
        Judgement::unknown(Gap { reason: UnknownReason::Ambiguous, place, is_of_section: false })
    }

    fn expected(&self, profile: Profile) -> String {
        self.is.expected(profile)
    }

    fn uses(&self, base: &[String], uses: &mut Uses) {
        self.forms.iter().for_each(|form| uses.source(form, base));
        self.is.uses(base, uses);
    }
}
