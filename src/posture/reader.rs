//! Reads tables of rules key by key, and records every mistake with its place instead of stopping at the first.

use std::cell::RefCell;
use std::ops::Range;

use serde_json::{Map, Number as JsonNumber, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One thing that is wrong with a file of rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where, in bytes of the text.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
}

/// A value with its place.
pub(super) type Node<'a> = &'a Spanned<DeValue<'a>>;

/// The mistakes that were found so far.
#[derive(Debug, Default)]
pub(super) struct Mistakes(RefCell<Vec<Mistake>>);

impl Mistakes {
    pub(super) fn add(&self, span: Range<usize>, message: impl Into<String>) {
        self.0.borrow_mut().push(Mistake { span, message: message.into() });
    }

    /// Those found, in the order of the file.
    pub(super) fn into_list(self) -> Vec<Mistake> {
        let mut list = self.0.into_inner();
        list.sort_by_key(|mistake| mistake.span.start);
        list
    }
}

/// One table that is being read. A key that nobody asked for is a mistake.
pub(super) struct Fields<'a> {
    table: &'a DeTable<'a>,
    pub(super) place: Range<usize>,
    pub(super) mistakes: &'a Mistakes,
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Fields<'a> {
    pub(super) fn of(table: &'a DeTable<'a>, place: Range<usize>, mistakes: &'a Mistakes) -> Self {
        Self { table, place, mistakes, known: RefCell::default() }
    }

    /// The fields of a value that has to be a table.
    pub(super) fn of_node(node: Node<'a>, mistakes: &'a Mistakes) -> Option<Self> {
        match node.get_ref() {
            DeValue::Table(table) => Some(Self::of(table, node.span(), mistakes)),
            other => {
                mistakes.add(node.span(), format!("expected a table, found {}", other.type_str()));
                None
            }
        }
    }

    pub(super) fn get(&self, key: &'static str) -> Option<Node<'a>> {
        self.known.borrow_mut().push(key);
        self.table.get(key)
    }

    pub(super) fn table(&self, key: &'static str) -> Option<Self> {
        Self::of_node(self.get(key)?, self.mistakes)
    }

    /// The tables written `[[key]]`.
    pub(super) fn tables(&self, key: &'static str) -> Vec<Self> {
        let Some(node) = self.get(key) else { return Vec::new() };
        let items = items(node, self.mistakes).unwrap_or_default();
        items.iter().filter_map(|item| Self::of_node(item, self.mistakes)).collect()
    }

    pub(super) fn text(&self, key: &'static str) -> Option<String> {
        text(self.get(key)?, self.mistakes)
    }

    /// A text that has to be there.
    pub(super) fn required(&self, key: &'static str) -> Option<String> {
        let node = self.get(key);
        if node.is_none() {
            self.mistakes.add(self.place.clone(), format!("there is no '{key}'"));
        }
        text(node?, self.mistakes).filter(|text| !text.trim().is_empty())
    }

    pub(super) fn texts(&self, key: &'static str) -> Vec<String> {
        let Some(node) = self.get(key) else { return Vec::new() };
        let items = items(node, self.mistakes).unwrap_or_default();
        items.iter().filter_map(|item| text(item, self.mistakes)).collect()
    }

    pub(super) fn flag(&self, key: &'static str) -> bool {
        let Some(node) = self.get(key) else { return false };
        node.get_ref().as_bool().unwrap_or_else(|| {
            self.mistakes.add(node.span(), format!("'{key}' is true or false"));
            false
        })
    }

    pub(super) fn value(&self, key: &'static str) -> Option<Value> {
        Some(value(self.get(key)?))
    }

    /// One of the words of an enumeration.
    pub(super) fn word<T>(&self, key: &'static str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        let node = self.get(key)?;
        self.word_of(node, key, &read)
    }

    /// Some of the words of an enumeration.
    pub(super) fn words<T>(&self, key: &'static str, read: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
        let items = items(self.get(key)?, self.mistakes)?;
        Some(items.iter().filter_map(|item| self.word_of(item, key, &read)).collect())
    }

    fn word_of<T>(&self, node: Node<'a>, key: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        let word = text(node, self.mistakes)?;
        let found = read(&word);
        if found.is_none() {
            self.mistakes.add(node.span(), format!("'{word}' is no {key}"));
        }
        found
    }

    /// Every key with its value, all of them known.
    pub(super) fn entries(&self) -> impl Iterator<Item = (String, Range<usize>, Node<'a>)> + use<'a> {
        self.table.iter().map(|(key, value)| (key.get_ref().to_string(), key.span(), value))
    }

    /// Refuses the keys that nobody asked for.
    pub(super) fn finish(self) {
        let known = self.known.into_inner();
        for key in self.table.keys().filter(|key| !known.contains(&&**key.get_ref())) {
            let message = format!("unknown key '{}'; there are {}", key.get_ref(), known.join(", "));
            self.mistakes.add(key.span(), message);
        }
    }
}

pub(super) fn text(node: Node<'_>, mistakes: &Mistakes) -> Option<String> {
    let text = node.get_ref().as_str();
    if text.is_none() {
        mistakes.add(node.span(), format!("expected a text, found {}", node.get_ref().type_str()));
    }
    text.map(str::to_owned)
}

pub(super) fn items<'a>(node: Node<'a>, mistakes: &Mistakes) -> Option<Vec<Node<'a>>> {
    let items = node.get_ref().as_array();
    if items.is_none() {
        mistakes.add(node.span(), format!("expected a list, found {}", node.get_ref().type_str()));
    }
    items.map(|items| items.iter().collect())
}

pub(super) fn number(node: Node<'_>) -> Option<f64> {
    value(node).as_f64()
}

/// The value as JSON. TOML has no null: the text `@null` stands for it.
pub(super) fn value(node: Node<'_>) -> Value {
    match node.get_ref() {
        DeValue::String(text) if text == "@null" => Value::Null,
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(digits) => {
            i64::from_str_radix(digits.as_str(), digits.radix()).map_or(Value::Null, Value::from)
        }
        DeValue::Float(digits) => {
            let number = digits.as_str().parse().ok().and_then(JsonNumber::from_f64);
            number.map_or(Value::Null, Value::Number)
        }
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Datetime(time) => Value::String(time.to_string()),
        DeValue::Array(items) => items.iter().map(value).collect(),
        DeValue::Table(table) => {
            let fields = table.iter().map(|(key, field)| (key.get_ref().to_string(), value(field)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
    }
}
