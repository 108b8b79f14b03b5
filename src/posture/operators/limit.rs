//! `max` and `min`: a number is at most, or at least, another.

use std::sync::Arc;

use super::super::judgement::{Gap, Judgement, UnknownReason};
use super::super::number::Profile;
use super::super::reader::Node;
use super::super::source::{Scope, ValueSource};
use super::{Condition, ConditionReader, Limit, Operator, Uses, judged};

#[derive(Debug)]
struct Bound {
    source: Arc<ValueSource>,
    limit: Limit,
    is_least: bool,
}

/// `max = [number, limit]`. A limit that is never reached is more than any.
pub(super) fn max<'a>(reader: &ConditionReader<'_, 'a>, node: Node<'a>) -> Option<Condition> {
    bound(reader, node, false)
}

/// `min = [number, limit]`.
pub(super) fn min<'a>(reader: &ConditionReader<'_, 'a>, node: Node<'a>) -> Option<Condition> {
    bound(reader, node, true)
}

fn bound<'a>(reader: &ConditionReader<'_, 'a>, node: Node<'a>, is_least: bool) -> Option<Condition> {
    let (source, limit) = reader.pair(node)?;
    Some(Box::new(Bound { source, limit: reader.limit(limit)?, is_least }))
}

impl Bound {
    fn holds<'a>(&'a self, scope: &Scope<'a>) -> Result<Judgement<'a>, Gap> {
        let known = self.source.read(scope)?;
        let amount = known.amount()?;
        let limit = self.limit.amount(scope.profile).ok_or_else(|| known.gap(UnknownReason::NotConfigured))?;
        let (found, limit) = match limit.unit {
            Some(_) => (amount.in_base(), limit.in_base()),
            None => (amount.number, limit.number),
        };
        let holds = if self.is_least { found >= limit } else { found <= limit };
        Ok(Judgement::of(holds, vec![known.seen()]))
    }
}

impl Operator for Bound {
    fn judge<'a>(&'a self, scope: &Scope<'a>) -> Judgement<'a> {
        judged(self.holds(scope))
    }

    fn expected(&self, profile: Profile) -> String {
        let word = if self.is_least { "at least" } else { "at most" };
        format!("{word} {}", self.limit.words(profile))
    }

    fn uses(&self, base: &[String], uses: &mut Uses) {
        uses.source(&self.source, base);
        self.limit.uses(uses);
    }
}
