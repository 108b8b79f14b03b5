//! Strict JSON: what `serde_json` would silently change is refused instead.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::budget::{self, MemoryBudget};

/// The largest integer that RFC 8785 numbers can tell apart from its neighbours: 2^53 - 1.
const LARGEST: u64 = (1 << 53) - 1;

/// Levels of nesting that an answer may have. What is kept wraps it in a few more, and is read back by a parser that stops
/// at 128.
const MOST_LEVELS: usize = 64;

/// Levels that a file of this program may have: its documents are answers within a section, and it wraps them.
const MOST_LEVELS_OF_FILE: usize = 80;

/// Bytes of all the names that lead to one value. Each change has its path, and so has each fingerprint.
const LONGEST_PATH: usize = 2 << 10;

/// The same of a file of this program, where identities are names too.
const LONGEST_PATH_OF_FILE: usize = 16 << 10;

/// An answer that is not JSON we can compare.
#[derive(Debug, thiserror::Error)]
#[error("the answer is not usable JSON: {0}")]
pub struct Unusable(String);

impl Unusable {
    pub(super) fn new(reason: &(impl fmt::Display + ?Sized)) -> Self {
        Self(crate::model::display_safe(&reason.to_string()))
    }

    /// The reason, for input that is no response.
    pub fn reason(&self) -> &str {
        &self.0
    }
}

/// Reads a small file or answer.
///
/// # Errors
/// As [`parse_within`], or it would take more than 4 MiB of memory.
pub fn parse(bytes: &[u8]) -> Result<Value, Unusable> {
    parse_within(bytes, &MemoryBudget::of(4 << 20))
}

/// Reads an answer from outside, with as much memory as `room` has left.
///
/// # Errors
/// Malformed text, nesting over 64 levels, names of more than 2 KiB that lead to one value, a key twice in one object, an integer beyond ±(2^53 - 1), more than there is
/// room for.
///
/// # Security
/// `{"mfa":true,"mfa":false}` reads as the last value in most parsers; a difference between two parsers is a way to
/// show an approver one value and the machine another. A few kilobytes of compressed text can hold values that take
/// gigabytes, so memory is counted while they are read.
pub fn parse_within(bytes: &[u8], room: &MemoryBudget) -> Result<Value, Unusable> {
    read(bytes, Weigh { room, levels: MOST_LEVELS, most: MOST_LEVELS, path: LONGEST_PATH })
}

/// Reads a file of this program, or one in its form.
///
/// # Errors
/// As [`parse_within`], but a few more levels are read.
pub fn parse_file(bytes: &[u8], room: &MemoryBudget) -> Result<Value, Unusable> {
    read(bytes, Weigh { room, levels: MOST_LEVELS_OF_FILE, most: MOST_LEVELS_OF_FILE, path: LONGEST_PATH_OF_FILE })
}

/// Weighs the values first and makes none unless there is room for all: memory that was given back is not always free for
/// the next.
fn read(bytes: &[u8], weigh: Weigh<'_>) -> Result<Value, Unusable> {
    let unusable = |error: serde_json::Error| Unusable::new(&error);
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    weigh.deserialize(&mut deserializer).map_err(unusable)?;
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    Strict.deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value)).map_err(unusable)
}

/// Takes room for values without making them.
#[derive(Clone, Copy)]
struct Weigh<'r> {
    room: &'r MemoryBudget,
    /// Levels that are left, of how many.
    levels: usize,
    most: usize,
    /// Bytes that further names on the way to a value may have.
    path: usize,
}

/// A name, of which the answer is how long the names below it may be.
struct Name<'r>(Weigh<'r>);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<usize, E> {
        self.0.take(budget::of_text(name))?;
        let left = self.0.path.checked_sub(name.len());
        left.ok_or_else(|| E::custom("the names that lead to a value of it are too long"))
    }
}

impl Weigh<'_> {
    fn take<E: serde::de::Error>(self, bytes: usize) -> Result<(), E> {
        self.room.take(bytes).map_err(E::custom)
    }

    /// The same for what is one level deeper.
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        let levels = self.levels.checked_sub(1);
        let levels = levels.ok_or_else(|| E::custom(format_args!("it is nested deeper than {} levels", self.most)))?;
        Ok(Self { levels, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Weigh<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Weigh<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        self.take(budget::of_text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while sequence.next_element_seed(inner)?.is_some() {
            self.take(budget::OF_ITEM)?;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        let mut count = 0;
        while let Some(path) = entries.next_key_seed(Name(self))? {
            self.take(budget::of_entry(count))?;
            entries.next_value_seed(Self { path, ..inner })?;
            count += 1;
        }
        Ok(())
    }
}

struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        if value > LARGEST {
            return Err(E::custom(format_args!("integer {value} is beyond 2^53 - 1")));
        }
        Ok(Value::from(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Value, E> {
        if value.unsigned_abs() > LARGEST {
            return Err(E::custom(format_args!("integer {value} is beyond 2^53 - 1")));
        }
        Ok(Value::from(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        // An integer with too many digits arrives here as a rounded double.
        if value.fract() == 0.0 && value.abs() > LARGEST as f64 {
            return Err(E::custom(format_args!("number {value} is beyond 2^53 - 1")));
        }
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number is not finite"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element_seed(Strict)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(Strict)?;
            if object.contains_key(&key) {
                return Err(A::Error::custom(format_args!("key '{key}' is there twice in one object")));
            }
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_would_be_changed_silently_is_refused() {
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        let long = format!(r#"{{"{}":1}}"#, "a".repeat(LONGEST_PATH + 1));
        let half = "a".repeat(LONGEST_PATH / 2);
        let long_together = format!(r#"[{{"{half}":[{{"{half}":{{"a":1}}}}]}}]"#);
        let table = [
            (r#"{"a":1,"a":2}"#, "twice"),
            ("9007199254740993", "beyond"),
            ("-9007199254740993", "beyond"),
            ("123456789012345678901234567890", "beyond"),
            ("1e999", "out of range"),
            (deep.as_str(), "deeper than 64 levels"),
            (long.as_str(), "too long"),
            (long_together.as_str(), "too long"),
            ("{} x", "trailing"),
            ("<html>", "expected value"),
            (r#""\ud800""#, "hex escape"),
            ("", "EOF"),
        ];
        for (text, reason) in table {
            let error = parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn ordinary_json_is_read_as_it_is() {
        let text = r#"{"a":[1,-2,3.0166666666666666,true,null,"ü"],"b":{}}"#;
        assert_eq!(parse(text.as_bytes()).unwrap(), serde_json::from_str::<Value>(text).unwrap());
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
