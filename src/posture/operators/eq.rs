//! `eq`, `ne`, `in`: a value is, is not, or is one of others.

use std::sync::Arc;

use serde_json::Value;

use super::super::judgement::{Gap, Judgement};
use super::super::number::Profile;
use super::super::reader::{Node, value};
use super::super::source::{Scope, ValueSource};
use super::{Condition, ConditionReader, Operator, Uses, judged, list, shown};

#[derive(Debug)]
struct Equals {
    source: Arc<ValueSource>,
    wanted: EqualTo,
    is_negated: bool,
}

/// What a value is held against.
#[derive(Debug)]
enum EqualTo {
    Values(Vec<Value>),
    Read(Arc<ValueSource>),
}

/// `eq = [value, other]`; the other may be `{ read = value }`.
pub(super) fn eq<'a>(reader: &ConditionReader<'_, 'a>, node: Node<'a>) -> Option<Condition> {
    equals(reader, node, false)
}

/// `ne = [value, other]`.
pub(super) fn ne<'a>(reader: &ConditionReader<'_, 'a>, node: Node<'a>) -> Option<Condition> {
    equals(reader, node, true)
}

/// `in = [value, others]`.
pub(super) fn one_of<'a>(reader: &ConditionReader<'_, 'a>, node: Node<'a>) -> Option<Condition> {
    let (source, others) = reader.pair(node)?;
    let wanted = EqualTo::Values(reader.values(others)?);
    Some(Box::new(Equals { source, wanted, is_negated: false }))
}

fn equals<'a>(reader: &ConditionReader<'_, 'a>, node: Node<'a>, is_negated: bool) -> Option<Condition> {
    let (source, other) = reader.pair(node)?;
    let read = other.get_ref().as_table().and_then(|table| table.get("read"));
    let wanted = match read {
        Some(read) => EqualTo::Read(reader.operand(read)?),
        None => EqualTo::Values(vec![value(other)]),
    };
    Some(Box::new(Equals { source, wanted, is_negated }))
}

impl Equals {
    fn holds<'a>(&'a self, scope: &Scope<'a>) -> Result<Judgement<'a>, Gap> {
        let known = self.source.read(scope)?;
        let found = known.plain()?;
        let mut observed = vec![known.seen()];
        let is_equal = match &self.wanted {
            EqualTo::Values(values) => values.iter().any(|wanted| is_same(wanted, found)),
            EqualTo::Read(source) => {
                let other = source.read(scope)?;
                let is_equal = is_same(other.plain()?, found);
                observed.push(other.seen());
                is_equal
            }
        };
        Ok(Judgement::of(is_equal != self.is_negated, observed))
    }
}

/// Whether both are one value; 1 and 1.0 are.
fn is_same(one: &Value, other: &Value) -> bool {
    one == other || one.as_f64().is_some_and(|number| other.as_f64() == Some(number))
}

impl Operator for Equals {
    fn judge<'a>(&'a self, scope: &Scope<'a>) -> Judgement<'a> {
        judged(self.holds(scope))
    }

    fn expected(&self, _: Profile) -> String {
        match &self.wanted {
            EqualTo::Values(values) => match (values.as_slice(), self.is_negated) {
                ([Value::Bool(flag)], true) => shown(&Value::Bool(!flag)),
                (values, true) => format!("not {}", list(values, "or")),
                (values, false) => list(values, "or"),
            },
            EqualTo::Read(source) if self.is_negated => format!("not the same as {}", source.name()),
            EqualTo::Read(source) => format!("the same as {}", source.name()),
        }
    }

    fn uses(&self, base: &[String], uses: &mut Uses) {
        uses.source(&self.source, base);
        if let EqualTo::Read(source) = &self.wanted {
            uses.source(source, base);
        }
    }
}
