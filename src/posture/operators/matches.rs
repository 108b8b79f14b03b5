//! `matches` and `none-match`: texts against regular expressions.

use std::borrow::Cow;
use std::sync::Arc;

use regex::Regex;
use serde_json::Value;

use super::super::judgement::{Gap, Judgement, Seen, UnknownReason};
use super::super::number::Profile;
use super::super::reader::Node;
use super::super::source::{Scope, ValueSource};
use super::{Condition, ConditionReader, Operator, Uses, judged};
use crate::canonical;

#[derive(Debug)]
struct Matches {
    source: Arc<ValueSource>,
    patterns: Vec<Regex>,
}

#[derive(Debug)]
struct NoneMatch(Matches);

/// `matches = [text, pattern]`.
pub(super) fn matches<'a>(reader: &ConditionReader<'_, 'a>, node: Node<'a>) -> Option<Condition> {
    Some(Box::new(of(reader, node)?))
}

/// `none-match = [value, patterns]`: no text at any depth of the value matches.
pub(super) fn none_match<'a>(reader: &ConditionReader<'_, 'a>, node: Node<'a>) -> Option<Condition> {
    Some(Box::new(NoneMatch(of(reader, node)?)))
}

fn of<'a>(reader: &ConditionReader<'_, 'a>, node: Node<'a>) -> Option<Matches> {
    let (source, patterns) = reader.pair(node)?;
    Some(Matches { source, patterns: reader.regexes(patterns)? })
}

impl Matches {
    fn is_match(&self, text: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.is_match(text))
    }
}

impl Operator for Matches {
    fn judge<'a>(&'a self, scope: &Scope<'a>) -> Judgement<'a> {
        judged(self.source.read(scope).and_then(|known| {
            let is_match = match known.plain()? {
                Value::Null => false,
                _ => self.is_match(&known.text()?),
            };
            Ok(Judgement::of(is_match, vec![known.seen()]))
        }))
    }

    fn expected(&self, _: Profile) -> String {
        let patterns: Vec<&str> = self.patterns.iter().map(Regex::as_str).collect();
        format!("like {}", patterns.join(" or "))
    }

    fn uses(&self, base: &[String], uses: &mut Uses) {
        uses.source(&self.source, base);
    }
}

impl Operator for NoneMatch {
    fn judge<'a>(&'a self, scope: &Scope<'a>) -> Judgement<'a> {
        judged(self.holds(scope))
    }

    fn expected(&self, _: Profile) -> String {
        "nothing of the kind".to_owned()
    }

    fn uses(&self, base: &[String], uses: &mut Uses) {
        self.0.uses(base, uses);
    }
}

impl NoneMatch {
    fn holds<'a>(&'a self, scope: &Scope<'a>) -> Result<Judgement<'a>, Gap> {
        let known = self.0.source.read(scope)?;
        let mut texts = Vec::new();
        let is_whole = gather(&known.value, &mut Vec::new(), false, &mut texts);
        texts.retain(|(_, _, text)| self.0.is_match(text));
        let base = || known.place.pointer();
        let seen = |(tokens, is_member, text): (Vec<String>, bool, &str)| Seen {
            place: base().descendant(&tokens).into(),
            value: Cow::Owned(Value::String(text.to_owned())),
            is_member,
            ..known.seen()
        };
        let found: Vec<Seen<'_>> = texts.into_iter().map(seen).collect();
        match (found.is_empty(), is_whole) {
            (false, _) => Ok(Judgement::of(false, found)),
            (true, true) => Ok(Judgement::of(true, vec![known.seen()])),
            // Some text is kept as its digest only, so nobody knows what it says.
            (true, false) => Err(known.gap(UnknownReason::DecidedInCode)),
        }
    }
}

/// Every text in `value` with its place below, and whether it is a member of a list; whether all of them could be seen.
fn gather<'v>(
    value: &'v Value,
    tokens: &mut Vec<String>,
    is_member: bool,
    texts: &mut Vec<(Vec<String>, bool, &'v str)>,
) -> bool {
    if canonical::is_placeholder(value) {
        return false;
    }
    match value {
        Value::String(text) => {
            texts.push((tokens.clone(), is_member, text));
            true
        }
        // All of them are looked at, also after one that cannot be seen.
        Value::Array(items) => {
            let mut is_whole = true;
            for item in items {
                is_whole &= gather(item, tokens, true, texts);
            }
            is_whole
        }
        Value::Object(fields) => {
            let mut is_whole = true;
            for (name, field) in fields {
                tokens.push(name.clone());
                is_whole &= gather(field, tokens, false, texts);
                tokens.pop();
            }
            is_whole
        }
        _ => true,
    }
}
