//! What a condition can ask. One file each; adding one is a file and a line of [`OPERATORS`].

mod age;
mod agree;
mod combine;
mod eq;
mod items;
mod limit;
mod matches;
mod members;
mod named;
mod present;
mod rule_ref;
mod unknown_when;
mod url;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use regex::Regex;
use serde_json::Value;

use super::judgement::{Gap, Judgement};
use super::number::{Amount, Number, Profile};
use super::reader::{Fields, Mistakes, Node, items, number, text, value};
use super::source::{Scope, ValueSource};

/// One condition: it can be judged, described and asked what it uses.
pub(super) trait Operator: Debug + Send + Sync {
    /// Whether it holds.
    fn judge<'a>(&'a self, scope: &Scope<'a>) -> Judgement<'a>;
    /// What has to be there for it to hold, in that profile: `at most 60 minutes`.
    fn expected(&self, profile: Profile) -> String;
    /// What it uses, for any object below `base`.
    fn uses(&self, base: &[String], uses: &mut Uses);
}

/// A condition.
pub(super) type Condition = Box<dyn Operator>;

/// Reads the arguments of one operator.
type Parse = for<'a> fn(&ConditionReader<'_, 'a>, Node<'a>) -> Option<Condition>;

/// Every operator, by its name in the files of rules.
const OPERATORS: &[(&str, Parse)] = &[
    ("eq", eq::eq),
    ("ne", eq::ne),
    ("in", eq::one_of),
    ("present", present::present),
    ("empty", present::empty),
    ("contains", members::contains),
    ("excludes", members::excludes),
    ("subset", members::subset),
    ("max", limit::max),
    ("min", limit::min),
    ("age", age::age),
    ("left", age::left),
    ("matches", matches::matches),
    ("none-match", matches::none_match),
    ("url", url::url),
    ("any", items::any),
    ("none", items::none),
    ("every", items::every),
    ("all-of", combine::all_of),
    ("any-of", combine::any_of),
    ("not", combine::not),
    ("agree", agree::agree),
    ("unknown-when", unknown_when::unknown_when),
    ("rule", rule_ref::rule),
    ("named", named::named),
];

/// What conditions use.
#[derive(Debug, Default)]
pub(super) struct Uses {
    /// The paths that are read, `*` for any token.
    pub(super) paths: Vec<Vec<String>>,
    pub(super) numbers: BTreeSet<String>,
    pub(super) rules: BTreeSet<String>,
}

impl Uses {
    fn source(&mut self, source: &ValueSource, base: &[String]) {
        source.patterns(base, &mut self.paths);
    }
}

/// A bound: a number of the profile, or always the same.
#[derive(Debug)]
enum Limit {
    Named(Arc<Number>),
    Fixed(f64),
}

impl Limit {
    fn amount(&self, profile: Profile) -> Option<Amount> {
        match self {
            Self::Named(number) => number.in_profile(profile),
            Self::Fixed(number) => Some(Amount { number: *number, unit: None }),
        }
    }

    fn words(&self, profile: Profile) -> String {
        match self {
            Self::Named(number) => number.words(profile),
            Self::Fixed(number) => number.to_string(),
        }
    }

    fn uses(&self, uses: &mut Uses) {
        if let Self::Named(number) = self {
            uses.numbers.insert(number.name.clone());
        }
    }
}

/// What the reader of a condition knows: the reads of the rule, and the numbers and lists of all rules.
pub(super) struct ConditionReader<'r, 'a> {
    pub(super) mistakes: &'a Mistakes,
    pub(super) numbers: &'r BTreeMap<String, Arc<Number>>,
    pub(super) lists: &'r BTreeMap<String, Vec<String>>,
    /// Reads a value: the name of a read, or what a read would have.
    pub(super) source: &'r (dyn Fn(Node<'a>) -> Option<Arc<ValueSource>> + 'r),
}

impl<'a> ConditionReader<'_, 'a> {
    /// A condition: a table with one key, the operator.
    pub(super) fn condition(&self, node: Node<'a>) -> Option<Condition> {
        let fields = Fields::of_node(node, self.mistakes)?;
        let entries: Vec<_> = fields.entries().collect();
        let [(name, place, arguments)] = entries.as_slice() else {
            return self.wrong(node.span(), "a condition has one operator");
        };
        match OPERATORS.iter().find(|(operator, _)| operator == name) {
            Some((_, parse)) => parse(self, arguments),
            None => {
                let known: Vec<&str> = OPERATORS.iter().map(|(name, _)| *name).collect();
                self.wrong(place.clone(), format!("'{name}' is no operator; there are {}", known.join(", ")))
            }
        }
    }

    fn conditions(&self, node: Node<'a>) -> Option<Vec<Condition>> {
        let nodes = items(node, self.mistakes)?;
        let conditions: Vec<Condition> = nodes.iter().filter_map(|node| self.condition(node)).collect();
        (conditions.len() == nodes.len()).then_some(conditions)
    }

    fn operand(&self, node: Node<'a>) -> Option<Arc<ValueSource>> {
        (self.source)(node)
    }

    /// `[value, argument]`.
    fn pair(&self, node: Node<'a>) -> Option<(Arc<ValueSource>, Node<'a>)> {
        match items(node, self.mistakes)?.as_slice() {
            [operand, argument] => Some((self.operand(operand)?, argument)),
            _ => self.wrong(node.span(), "expected a value and what it is held against"),
        }
    }

    /// A number of the profiles by name, or a number.
    fn limit(&self, node: Node<'a>) -> Option<Limit> {
        if let Some(number) = number(node) {
            return Some(Limit::Fixed(number));
        }
        let name = text(node, self.mistakes)?;
        match self.numbers.get(&name) {
            Some(number) => Some(Limit::Named(Arc::clone(number))),
            None => self.wrong(node.span(), format!("no number is called '{name}'")),
        }
    }

    /// The name of a list, or the texts themselves.
    fn texts(&self, node: Node<'a>) -> Option<Vec<String>> {
        let Some(name) = node.get_ref().as_str() else {
            return items(node, self.mistakes)?.into_iter().map(|item| text(item, self.mistakes)).collect();
        };
        match self.lists.get(name) {
            Some(list) => Some(list.clone()),
            None => self.wrong(node.span(), format!("no list is called '{name}'")),
        }
    }

    /// The name of a list, or the values themselves.
    fn values(&self, node: Node<'a>) -> Option<Vec<Value>> {
        if node.get_ref().is_str() {
            return Some(self.texts(node)?.into_iter().map(Value::String).collect());
        }
        Some(items(node, self.mistakes)?.into_iter().map(value).collect())
    }

    /// Regular expressions: one, several, or the name of a list of them.
    fn regexes(&self, node: Node<'a>) -> Option<Vec<Regex>> {
        let one = node.get_ref().as_str().filter(|name| !self.lists.contains_key(*name));
        let texts = one.map(|text| vec![text.to_owned()]).or_else(|| self.texts(node))?;
        let compiled: Result<Vec<Regex>, _> = texts.iter().map(|text| Regex::new(text)).collect();
        compiled.map_or_else(|error| self.wrong(node.span(), format!("not a regular expression: {error}")), Some)
    }

    fn wrong<T>(&self, span: Range<usize>, message: impl Into<String>) -> Option<T> {
        self.mistakes.add(span, message);
        None
    }
}

/// What `judge` says of a value that was read; a value that was not makes it unknown.
fn judged(result: Result<Judgement<'_>, Gap>) -> Judgement<'_> {
    result.unwrap_or_else(Judgement::unknown)
}

/// A value as people read it.
fn shown(value: &Value) -> String {
    match value {
        Value::Bool(true) => "on".to_owned(),
        Value::Bool(false) => "off".to_owned(),
        Value::String(text) => text.clone(),
        Value::Null => "nothing".to_owned(),
        other => other.to_string(),
    }
}

/// Values as people read them.
fn list(values: &[Value], and: &str) -> String {
    let words: Vec<String> = values.iter().map(shown).collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} {and} {last}", rest.join(", ")),
        None => "nothing".to_owned(),
    }
}
