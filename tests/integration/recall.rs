//! No holes: whatever changes in a vendor's answer is reported, at its place and as what it is, and nothing else is.
//!
//! Every value of every section is changed, every key and member taken away, every object and set given one more, each
//! alone. What has to come of it is worked out from the answer and the section's table.

use std::collections::BTreeMap;
use std::rc::Rc;

use authdrift::canonical::{self, Document, FingerprintKey, Redaction};
use authdrift::diff::ChangeKind::{Added, Changed, Removed, Reordered};
use authdrift::diff::compare::{Side, compare_section};
use authdrift::diff::{Change, ChangeKind};
use authdrift::model::Pointer;
use authdrift::sections::{Section, Table};
use serde_json::{Map, Value, json};

use crate::support::fixtures::{self, Tenant};

/// The name of a key that no vendor has.
const NEW: &str = "authdrift_new";

fn document(section: &Section, value: Value) -> Option<Document> {
    let redaction = Redaction { key: FingerprintKey::new([7; 32]), keep_code: false };
    canonical::document(section, value, &redaction).ok()
}

/// What is reported: what it is, and where.
type Found = (ChangeKind, String);

/// What has to be reported.
#[derive(Debug, Clone)]
enum Expected {
    /// These, and nothing else. A `*` stands for a secret identity.
    Changes(Vec<Found>),
    /// No document: no item of the answer can be used. Within an answer, and of a list in it: no change, because what
    /// cannot be used is unknown.
    BadList,
}

/// How a change below a place is reported.
#[derive(Clone)]
enum Within {
    /// At its own path.
    Plain,
    /// Not at all.
    Ignored,
    /// As another value of the whole at this path.
    Secret(Pointer),
    /// As another value of the sequence at this path.
    Sequence(Pointer),
    /// As one member that has gone from the set at this path, and one that has come.
    Set(Pointer),
}

/// Makes every change to one section and looks at what is reported.
struct Trial<'a> {
    table: &'a Table,
    section: &'a Section,
    /// The last answer before a change, and its document: mostly it is the next one's too.
    last: Option<(Value, Document)>,
    count: usize,
    wrong: Vec<String>,
}

/// Puts a value into the answer around it. Of the other items of a list that is keyed nothing is needed.
type Around<'a> = Rc<dyn Fn(Value) -> Value + 'a>;

/// A place in the answer and in the document.
#[derive(Clone)]
struct Place<'a> {
    around: Around<'a>,
    path: Vec<String>,
    within: Within,
}

impl<'a> Place<'a> {
    fn child(&self, token: &str, around: impl Fn(Value) -> Value + 'a) -> Self {
        let mut path = self.path.clone();
        path.push(token.to_owned());
        let outer = Rc::clone(&self.around);
        Self { around: Rc::new(move |value| outer(around(value))), path, within: self.within.clone() }
    }

    fn path_of(&self, token: &str) -> Vec<String> {
        self.path.iter().cloned().chain([token.to_owned()]).collect()
    }
}

impl Trial<'_> {
    fn pointer(&self, path: &[String]) -> Pointer {
        path.iter().fold(Pointer::of_section(&self.section.name), |pointer, token| pointer.child(token))
    }

    /// Changes the value at `place`.
    fn change(&mut self, place: &Place<'_>, from: Value, to: Value, expected: Expected) {
        let (before, after) = ((place.around)(from), (place.around)(to));
        if self.last.as_ref().is_none_or(|(known, _)| *known != before) {
            self.last = document(self.section, before.clone()).map(|document| (before, document));
        }
        let (_, before) = self.last.as_ref().unwrap_or_else(|| panic!("{}: no document", self.section.name));
        self.count += 1;
        let after = document(self.section, after);
        let problem = match (expected, after) {
            (Expected::BadList, None) => None,
            (Expected::BadList, Some(after)) if place.path.len() > self.section.each.len() => {
                let mut found: Vec<Change> = Vec::new();
                let (before, after) = (Side::Value(before.value()), Side::Value(after.value()));
                compare_section(self.table, &self.section.name, before, after, &mut found);
                differing(Vec::new(), found.into_iter().map(|change| (change.kind, change.path.to_string())).collect())
            }
            (Expected::Changes(expected), Some(after)) => {
                let mut found: Vec<Change> = Vec::new();
                let (before, after) = (Side::Value(before.value()), Side::Value(after.value()));
                compare_section(self.table, &self.section.name, before, after, &mut found);
                differing(expected, found.into_iter().map(|change| (change.kind, change.path.to_string())).collect())
            }
            (expected, after) => Some(format!("document: {}, expected {expected:?}", after.is_some())),
        };
        self.wrong.extend(problem.map(|problem| format!("{}: {problem}", self.pointer(&place.path))));
    }

    /// What another value inside of `place` has to give, when it is `kind` at `path` in the open.
    fn expect(&self, place: &Place<'_>, kind: ChangeKind, path: &[String]) -> Expected {
        let found = match &place.within {
            Within::Ignored => Vec::new(),
            _ if self.section.is_volatile(path) => Vec::new(),
            Within::Plain => vec![(kind, self.pointer(path).to_string())],
            Within::Secret(whole) | Within::Sequence(whole) => vec![(Changed, whole.to_string())],
            Within::Set(set) => vec![(Removed, set.to_string()), (Added, set.to_string())],
        };
        Expected::Changes(found)
    }

    fn value(&mut self, value: &Value, mut place: Place<'_>) {
        if self.section.is_volatile(&place.path) {
            place.within = Within::Ignored;
        }
        if matches!(place.within, Within::Plain) && self.section.is_secret(&place.path) {
            place.within = Within::Secret(self.pointer(&place.path));
        }
        if matches!(place.within, Within::Ignored) {
            return self.change(&place, value.clone(), json!("authdrift"), Expected::Changes(Vec::new()));
        }
        match value {
            Value::Object(fields) => self.object(fields, &place, &[]),
            Value::Array(items) => match self.section.key_at(&place.path) {
                Some(fields) if !matches!(place.within, Within::Secret(_)) => {
                    self.keyed(items, fields.to_vec(), &place)
                }
                _ => self.list(items, &place),
            },
            leaf => self.change(&place, leaf.clone(), another(leaf), self.expect(&place, Changed, &place.path)),
        }
    }

    /// An object, `keys` of which say who it or the one around it is.
    fn object(&mut self, fields: &Map<String, Value>, place: &Place<'_>, keys: &[String]) {
        let whole = Value::Object(fields.clone());
        let with = |name: &str, value: Option<Value>| {
            let rest = fields.iter().filter(|(known, _)| *known != name);
            let rest = rest.map(|(name, value)| (name.clone(), value.clone()));
            Value::Object(rest.chain(value.map(|value| (name.to_owned(), value))).collect())
        };
        for (name, field) in fields.iter().filter(|(name, _)| !keys.contains(name)) {
            let path = place.path_of(name);
            let deeper = keys.iter().filter_map(|key| Some(key.strip_prefix(name)?.strip_prefix('/')?.to_owned()));
            let deeper: Vec<String> = deeper.collect();
            if let (false, Value::Object(inner)) = (deeper.is_empty(), field) {
                self.object(inner, &place.child(name, |value| with(name, Some(value))), &deeper);
                continue;
            }
            let is_last =
                self.leaves_nothing(&with(name, None), &place.path) && !self.leaves_nothing(&whole, &place.path);
            let is_item =
                place.path.len() == self.section.each.len() + 1 && self.section.key_at(&place.path[1..]).is_some();
            let expected = match &place.within {
                _ if is_item && self.section.missing_in(&with(name, None)).is_some() => Expected::BadList,
                Within::Plain if is_last => Expected::Changes(vec![(Removed, self.pointer(&place.path).to_string())]),
                _ => self.come_or_gone(place, Removed, field, &path),
            };
            self.change(place, whole.clone(), with(name, None), expected);
            self.value(field, place.child(name, |value| with(name, Some(value))));
        }
        let expected = match (self.leaves_nothing(&whole, &place.path), &place.within) {
            (true, Within::Plain) => Expected::Changes(vec![(Added, self.pointer(&place.path).to_string())]),
            (true, Within::Set(set)) => Expected::Changes(vec![(Added, set.to_string())]),
            _ => self.expect(place, Added, &place.path_of(NEW)),
        };
        self.change(place, whole, with(NEW, Some(json!(true))), expected);
    }

    /// Whether every field of the object is volatile, so that the object is too.
    fn leaves_nothing(&self, value: &Value, path: &[String]) -> bool {
        let is_volatile = |(name, field): (&String, &Value)| {
            let path: Vec<String> = path.iter().cloned().chain([name.clone()]).collect();
            self.section.is_volatile(&path) || self.leaves_nothing(field, &path)
        };
        value.as_object().is_some_and(|fields| !fields.is_empty() && fields.iter().all(is_volatile))
    }

    /// As [`Trial::expect`] for something that comes or goes whole: it may mean nothing.
    fn come_or_gone(&self, place: &Place<'_>, kind: ChangeKind, value: &Value, path: &[String]) -> Expected {
        let is_nothing =
            self.table.is_inert(&self.pointer(path), value) || self.section.default_at(path) == Some(value);
        let means_nothing = matches!(place.within, Within::Plain) && is_nothing;
        let means_nothing = means_nothing || self.leaves_nothing(value, path);
        if means_nothing { Expected::Changes(Vec::new()) } else { self.expect(place, kind, path) }
    }

    /// A list of objects that know who they are.
    fn keyed(&mut self, items: &[Value], keys: Vec<String>, place: &Place<'_>) {
        let is_secret = keys.iter().any(|key| {
            let path: Vec<_> = place.path.iter().cloned().chain(["*"].map(str::to_owned)).collect();
            let path: Vec<_> = path.into_iter().chain(key.split('/').map(str::to_owned)).collect();
            self.section.is_secret(&path)
        });
        let list = |items: &[&Value]| Value::Array(items.iter().copied().cloned().collect());
        let path_of = |name: &str| place.path_of(if is_secret { "*" } else { name });
        for (at, item) in items.iter().enumerate() {
            let Value::Object(own) = item else { panic!("{}: {item} is no object", self.section.name) };
            let (name, path) = (identity(item, &keys), path_of(&identity(item, &keys)));
            let others: Vec<&Value> = items.iter().skip(at + 1).chain(&items[..at]).take(1).collect();
            let all: Vec<&Value> = [item].into_iter().chain(others.iter().copied()).collect();
            let gone = self.come_or_gone(place, Removed, item, &path);
            self.change(place, list(&all), list(&others), gone.clone());
            let twice = list(&[item, item]);
            self.change(place, list(&[item]), twice, Expected::BadList);
            for key in keys.iter().map(|key| format!("/{key}")) {
                let Some(text) = item.pointer(&key).and_then(Value::as_str) else { continue };
                for other in [json!(format!("{text}-other")), Value::Null] {
                    let other = with(item, &key, other);
                    let new = identity(&other, &keys);
                    let expected = match (&gone, self.come_or_gone(place, Added, &other, &path_of(&new))) {
                        _ if new.is_empty() => Expected::BadList,
                        (Expected::Changes(gone), Expected::Changes(come)) if matches!(place.within, Within::Plain) => {
                            Expected::Changes(gone.iter().cloned().chain(come).collect())
                        }
                        (_, come) => come,
                    };
                    self.change(place, list(&[item]), list(&[&other]), expected);
                }
            }
            let inner = place.child(path_of(&name).last().unwrap(), |value| json!([value]));
            self.object(own, &inner, &keys);
        }
        let mut new = items.first().cloned().unwrap_or_else(|| json!({}));
        for key in &keys {
            match new.pointer_mut(&format!("/{key}")) {
                Some(place) if place.is_string() => *place = json!("authdrift-new"),
                None if items.is_empty() => new = around(key, json!("authdrift-new"), new),
                _ => {}
            }
        }
        let is_answer = place.path.len() == self.section.each.len();
        let come = match is_answer && items.is_empty() && self.section.missing_in(&new).is_some() {
            true => Expected::BadList,
            false => self.come_or_gone(place, Added, &new, &path_of(&identity(&new, &keys))),
        };
        let some: Vec<&Value> = items.iter().take(1).collect();
        let more: Vec<&Value> = items.iter().take(1).chain([&new]).collect();
        self.change(place, list(&some), list(&more), come);
    }

    /// A set or a sequence.
    fn list(&mut self, items: &[Value], place: &Place<'_>) {
        let path = self.pointer(&place.path);
        let is_sequence = self.section.is_sequence(&place.path);
        let within = match matches!(place.within, Within::Plain) {
            true if is_sequence => Within::Sequence(path),
            true => Within::Set(path),
            false => place.within.clone(),
        };
        let whole = || Value::Array(items.to_vec());
        let kind = |kind| if is_sequence { Changed } else { kind };
        for (at, item) in items.iter().enumerate() {
            let mut rest = items.to_vec();
            rest.remove(at);
            let leaves_nothing = self.leaves_nothing(item, &place.path_of("*"));
            if leaves_nothing || !is_sequence && rest.contains(item) {
                self.change(place, whole(), Value::Array(rest.clone()), Expected::Changes(Vec::new()));
                if !leaves_nothing {
                    continue;
                }
            } else {
                self.change(place, whole(), Value::Array(rest.clone()), self.expect(place, kind(Removed), &place.path));
            }
            let around = move |value| {
                let mut items = rest.clone();
                items.insert(at, value);
                Value::Array(items)
            };
            self.value(item, Place { within: within.clone(), ..place.child("*", around) });
        }
        let new =
            if items.first().is_some_and(Value::is_object) { json!({ NEW: true }) } else { json!("authdrift.example") };
        let more = Value::Array(items.iter().cloned().chain([new]).collect());
        self.change(place, whole(), more, self.expect(place, kind(Added), &place.path));
        let turned: Vec<_> = items.iter().rev().cloned().collect();
        let order = match is_sequence && turned != items {
            true => self.expect(place, Reordered, &place.path),
            false => Expected::Changes(Vec::new()),
        };
        self.change(place, whole(), Value::Array(turned), order);
    }
}

fn identity(item: &Value, fields: &[String]) -> String {
    let parts: Vec<_> = fields
        .iter()
        .filter_map(|field| item.pointer(&format!("/{field}"))?.as_str())
        .filter(|text| !text.is_empty())
        .collect();
    parts.join(" ")
}

fn with(value: &Value, pointer: &str, other: Value) -> Value {
    let mut value = value.clone();
    *value.pointer_mut(pointer).unwrap() = other;
    value
}

/// `object` with `value` at `a/b`.
fn around(path: &str, value: Value, mut object: Value) -> Value {
    match path.split_once('/') {
        Some((name, rest)) => {
            object[name] = around(rest, value, object.get(name).cloned().unwrap_or_else(|| json!({})))
        }
        None => object[path] = value,
    }
    object
}

/// A value of the same kind, if there is another one.
fn another(value: &Value) -> Value {
    match value {
        Value::Bool(value) => json!(!value),
        Value::Number(number) => json!(number.as_f64().unwrap() + 1.0),
        Value::String(text) => json!(format!("{text}-other")),
        _ => json!("authdrift"),
    }
}

/// What is wrong with a report, if anything is.
fn differing(mut expected: Vec<Found>, mut found: Vec<Found>) -> Option<String> {
    found.sort();
    expected.sort();
    let is_token = |(one, other): (&str, &str)| one == other || one == "*" && other.starts_with("hidden-");
    let is_path = |one: &str, other: &str| {
        one.split('/').count() == other.split('/').count() && one.split('/').zip(other.split('/')).all(is_token)
    };
    let fits = |(one, other): (&Found, &Found)| one.0 == other.0 && is_path(&one.1, &other.1);
    let is_right = found.len() == expected.len() && expected.iter().zip(&found).all(fits);
    (!is_right).then(|| format!("found {found:?}, expected {expected:?}"))
}

fn every_change_is_found(tenant: &Tenant) -> BTreeMap<&str, usize> {
    let table = Table::of(tenant.provider);
    let mut counts = BTreeMap::new();
    let mut wrong = Vec::new();
    for (name, value) in &tenant.sections {
        let section = table.section(name).unwrap();
        let mut trial = Trial { table, section, last: None, count: 0, wrong: Vec::new() };
        trial.value(value, Place { around: Rc::new(|value| value), path: Vec::new(), within: Within::Plain });
        counts.insert(name.as_str(), trial.count);
        wrong.append(&mut trial.wrong);
    }
    assert!(wrong.is_empty(), "{}: {} of them\n{}", tenant.name, wrong.len(), wrong[..wrong.len().min(40)].join("\n"));
    counts
}

#[test]
fn every_change_of_every_value_is_reported_at_its_place_and_nothing_else_is() {
    let mut tenants = fixtures::tenants();
    // It has what `tenant` has, only less of it.
    tenants.retain(|tenant| !tenant.name.ends_with("before"));
    std::thread::scope(|scope| {
        for tenant in &tenants {
            scope.spawn(move || {
                let counts = every_change_is_found(tenant);
                let all: usize = counts.values().sum();
                assert!(all > 500 && counts.values().all(|count| *count > 0), "{}: {counts:?}", tenant.name);
            });
        }
    });
}
