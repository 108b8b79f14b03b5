//! Strict JSON: what `serde_json` would silently change is refused instead.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The largest integer that RFC 8785 numbers can tell apart from its neighbours: 2^53 - 1.
const LARGEST: u64 = (1 << 53) - 1;

/// An answer that is not JSON we can compare.
#[derive(Debug, thiserror::Error)]
#[error("the answer is not usable JSON: {0}")]
pub struct Unusable(String);

impl Unusable {
    /// What is wrong with it, for whoever reads something else than an answer.
    pub fn reason(&self) -> &str {
        &self.0
    }
}

/// Reads JSON from outside.
///
/// # Errors
/// Malformed text, nesting over 127 levels, a key twice in one object, an integer beyond ±(2^53 - 1).
///
/// # Security
/// `{"mfa":true,"mfa":false}` reads as the last value in most parsers; a difference between two parsers is a way to
/// show an approver one value and the machine another.
pub fn parse(bytes: &[u8]) -> Result<Value, Unusable> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Strict
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| Unusable(crate::model::display_safe(&error.to_string())))?;
    Ok(value)
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

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
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
        let table = [
            (r#"{"a":1,"a":2}"#, "twice"),
            ("9007199254740993", "beyond"),
            ("-9007199254740993", "beyond"),
            ("123456789012345678901234567890", "beyond"),
            ("1e999", "out of range"),
            (deep.as_str(), "recursion"),
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
