//! What results are about: the objects of the lists that rules name.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::facts::{Facts, Search};
use super::judgement::{Gap, UnknownReason};
use super::rule::VendorCheck;
use crate::canonical;
use crate::model::Pointer;
use crate::sections::Table;

/// One object.
#[derive(Debug)]
pub(super) struct RuleObject<'a> {
    pub(super) path: Arc<Pointer>,
    /// Its key in the snapshot; nothing for one without identity.
    pub(super) key: Option<Arc<str>>,
    /// What people call it, if its key is an opaque id.
    pub(super) label: Option<Arc<str>>,
    pub(super) value: &'a Value,
    /// Why nothing can be said of it, if that is so.
    pub(super) trouble: Option<UnknownReason>,
}

/// The objects of each list, by the tokens of its pattern: many rules are about the same. None if its section is off.
pub(super) type RuleObjects<'a> = BTreeMap<&'a [String], Result<Vec<RuleObject<'a>>, Gap>>;

/// The objects that the checks are about.
pub(super) fn objects<'a>(facts: &'a Facts, checks: impl Iterator<Item = &'a VendorCheck>) -> RuleObjects<'a> {
    let mut found = RuleObjects::new();
    for check in checks.filter(|check| check.per.is_some()) {
        found.entry(check.per_tokens.as_slice()).or_insert_with(|| of_check(facts, check));
    }
    found
}

fn of_check<'a>(facts: &'a Facts, check: &VendorCheck) -> Result<Vec<RuleObject<'a>>, Gap> {
    let depth = check.per_tokens.iter().filter(|token| token.contains('*')).count();
    let list: Arc<[String]> = check.per_tokens.iter().take(check.per_tokens.len() - depth).cloned().collect();
    let (value, place) = match facts.search(&list)? {
        Search::Value(value, place) => (value, place),
        Search::Off(_) => return Ok(Vec::new()),
        Search::Absent(place) => {
            return Err(Gap { reason: UnknownReason::FieldAbsent, place, is_of_section: false });
        }
    };
    let mut objects = Vec::new();
    gather(value, &place.pointer(), depth, &mut objects);
    let row = list.first().and_then(|section| Table::of(facts.provider).section(section));
    let field = row.and_then(|row| row.label.as_deref());
    let is_subject =
        |path: &Pointer| path.last().is_empty() || check.per.as_ref().is_some_and(|per| per.matches(path.tokens()));
    let object = |(path, value): (Pointer, &'a Value)| {
        let key = path.tokens().get(list.len()..).unwrap_or_default().join("/");
        let label = field.and_then(|field| value.get(field)).and_then(Value::as_str);
        let set = |text: &str| Some(text).filter(|text| !text.is_empty()).map(Arc::from);
        let trouble = match canonical::unknown(value) {
            Some(_) => Some(UnknownReason::Ambiguous),
            None => facts.is_cut_short(path.section(), value).then_some(UnknownReason::NotPermitted),
        };
        RuleObject { key: set(&key), label: label.and_then(set), path: Arc::new(path), value, trouble }
    };
    Ok(objects.into_iter().filter(|(path, _)| is_subject(path)).map(object).collect())
}

/// Every object of the lists in `value`.
fn gather<'v>(value: &'v Value, path: &Pointer, depth: usize, found: &mut Vec<(Pointer, &'v Value)>) {
    for (name, item) in value.as_object().into_iter().flatten() {
        let path = path.child(name);
        if depth > 1 && canonical::unknown(item).is_none() {
            gather(item, &path, depth - 1, found);
        } else {
            found.push((path, item));
        }
    }
}
