//! Lists of which single objects are no JSON that can be compared: the other objects are read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::budget::{self, MemoryBudget};
use super::parse::{Unusable, parse_within};
use super::redact::without_secrets;
use super::unknown::{unusable, unusable_reason};

/// The longest text that is read of an object that cannot be used.
const LONGEST_TEXT: usize = 1 << 10;

/// Reads an answer that [`parse_within`] refuses: a list, or an object with the list `name`. An object of the list that is
/// nested too deep, or has a key twice, is one of [`unusable`] with the texts that it has.
///
/// # Errors
/// Something else than single objects is wrong with the answer, or no object can be used.
pub(crate) fn parse_items(bytes: &[u8], name: Option<&str>, room: &MemoryBudget) -> Result<Value, Unusable> {
    let text = std::str::from_utf8(bytes).map_err(|error| Unusable::new(&error))?;
    if text.trim_start().starts_with('[') {
        return items(text, room);
    }
    let mut envelope = Map::new();
    for (member, raw) in read(text, Members(room))? {
        let value = match Some(member.as_str()) == name {
            true => items(raw.get(), room)?,
            false => parse_within(raw.get().as_bytes(), room)?,
        };
        if envelope.insert(member, value).is_some() {
            return Err(Unusable::new("a key is there twice in one object"));
        }
    }
    Ok(Value::Object(envelope))
}

fn items(text: &str, room: &MemoryBudget) -> Result<Value, Unusable> {
    let mut items = Vec::new();
    for raw in read(text, Items(room))? {
        let taken = room.taken();
        items.push(match parse_within(raw.get().as_bytes(), room) {
            Err(error) if room.is_over() => return Err(error),
            Err(error) => {
                room.give_back_to(taken);
                unusable(&without_secrets(error.reason()), texts(raw, room))
            }
            Ok(value) => value,
        });
    }
    match items.iter().any(|item| unusable_reason(item).is_none()) {
        true => Ok(Value::Array(items)),
        false => Err(Unusable::new("no object of it can be used")),
    }
}

/// The fields of an object whose values are short texts, but for those that are there twice.
fn texts(raw: &RawValue, room: &MemoryBudget) -> Map<String, Value> {
    let (mut found, mut names, mut twice) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
    for (name, raw) in read(raw.get(), Members(room)).unwrap_or_default() {
        if !names.insert(name.clone()) {
            twice.push(name);
        } else if let Ok(text) = serde_json::from_str::<String>(raw.get())
            && text.len() <= LONGEST_TEXT
        {
            found.insert(name, Value::String(text));
        }
    }
    twice.iter().for_each(|name| _ = found.remove(name));
    found.into_iter().collect()
}

fn read<'de, S: DeserializeSeed<'de>>(text: &'de str, seed: S) -> Result<S::Value, Unusable> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = seed.deserialize(&mut deserializer);
    value.and_then(|value| deserializer.end().map(|()| value)).map_err(|error| Unusable::new(&error))
}

/// The items of a list, unread.
struct Items<'r>(&'r MemoryBudget);

impl<'de> DeserializeSeed<'de> for Items<'_> {
    type Value = Vec<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element()? {
            self.0.take(budget::OF_ITEM).map_err(A::Error::custom)?;
            items.push(item);
        }
        Ok(items)
    }
}

/// The members of an object, unread.
struct Members<'r>(&'r MemoryBudget);

impl<'de> DeserializeSeed<'de> for Members<'_> {
    type Value = Vec<(String, &'de RawValue)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((name, value)) = entries.next_entry::<String, &RawValue>()? {
            self.0.take(budget::OF_ITEM + budget::of_text(&name)).map_err(A::Error::custom)?;
            members.push((name, value));
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn deep() -> String {
        format!("{}{}", "[".repeat(200), "]".repeat(200))
    }

    #[test]
    fn one_object_that_cannot_be_read_leaves_the_others() {
        let good = r#"{"id":"a","x":1}"#;
        let table = [
            (format!(r#"{{"id":"b","name":"n","x":{}}}"#, deep()), Some("b"), "nested deeper"),
            (r#"{"id":"b","x":1,"x":2}"#.to_owned(), Some("b"), "'x' is there twice"),
            (r#"{"id":"b","id":"c"}"#.to_owned(), None, "'id' is there twice"),
            (r#"{"id":"b","x":1e999}"#.to_owned(), Some("b"), "out of range"),
            (deep(), None, "nested deeper"),
        ];
        for (odd, id, reason) in table {
            let list = format!("[{odd},{good}]");
            let envelope = format!(r#"{{"total":2,"items":{list}}}"#);
            let room = MemoryBudget::of(1 << 20);
            let read = parse_items(envelope.as_bytes(), Some("items"), &room).unwrap();
            assert_eq!(read["items"], parse_items(list.as_bytes(), Some("items"), &room).unwrap());
            assert_eq!((&read["total"], &read["items"][1]), (&json!(2), &json!({ "id": "a", "x": 1 })));
            assert_eq!(read["items"][0]["id"].as_str(), id, "{odd}");
            assert!(unusable_reason(&read["items"][0]).unwrap().contains(reason), "{read}");
        }
    }

    #[test]
    fn anything_else_stays_refused() {
        let room = || MemoryBudget::of(1 << 20);
        let bad = r#"{"id":"a","x":1,"x":2}"#;
        for text in [
            String::new(),
            "[".to_owned(),
            format!("[{bad}]"),
            format!("[{bad},{{}}] x"),
            format!(r#"{{"items":[{bad},{{}}],"items":[]}}"#),
            format!(r#"{{"items":[{bad},{{}}],"total":{}}}"#, deep()),
            format!(r#"{{"items":{bad}}}"#),
        ] {
            assert!(parse_items(text.as_bytes(), Some("items"), &room()).is_err(), "{text}");
        }
        let many = format!("[{bad}{}]", ",1".repeat(100_000));
        assert!(parse_items(many.as_bytes(), None, &room()).is_err());
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_items(&bytes, Some("a"), &MemoryBudget::of(1 << 20));
        }
    }
}
