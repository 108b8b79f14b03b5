//! Numbers that a double cannot hold: they are kept exactly, as their digits.
//!
//! `738529527931269425` becomes `{"number":"738529527931269425"}`. An object of a vendor that looks the same gets a `=` before
//! its digits, and so does one that has a `=` there, so that two different answers are never one document.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

use crate::model::Digest;

/// The largest integer that a double can tell apart from its neighbours: 2^53 - 1.
const LARGEST: f64 = 9_007_199_254_740_991.0;

/// Such numbers that one answer may have. An answer with more is refused: each takes much more memory than in the text.
const MOST: usize = 1_000;

/// The longest number that is written in full: a longer one keeps its exponent.
const LONGEST: usize = 400;

/// The name of the only field of what stands for a number.
const NAME: &str = "number";

/// An answer in which each such number is an object of one field, whose name the answer cannot hold: it is the digest of it.
pub(crate) struct Numbered<'a> {
    bytes: Cow<'a, [u8]>,
    mark: String,
}

impl<'a> Numbered<'a> {
    /// Takes the text of an answer, which may be anything.
    pub(crate) fn of(answer: &'a [u8]) -> Self {
        let large = large_numbers(answer);
        if large.is_empty() || large.len() > MOST {
            return Self { bytes: Cow::Borrowed(answer), mark: String::new() };
        }
        let mark = Digest::of(answer).to_string();
        let mut bytes = Vec::with_capacity(answer.len() + large.len() * 100);
        let mut done = 0;
        for (start, end) in large {
            bytes.extend_from_slice(answer.get(done..start).unwrap_or_default());
            bytes.extend_from_slice(format!("{{\"{mark}\":\"").as_bytes());
            bytes.extend_from_slice(answer.get(start..end).unwrap_or_default());
            bytes.extend_from_slice(b"\"}");
            done = end;
        }
        bytes.extend_from_slice(answer.get(done..).unwrap_or_default());
        Self { bytes: Cow::Owned(bytes), mark }
    }

    /// The text to parse.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The parsed value, with the replacement of each number.
    pub(crate) fn kept(&self, mut value: Value) -> Value {
        self.keep(&mut value);
        value
    }

    fn keep(&self, value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| self.keep(item)),
            Value::Object(fields) => {
                if let Some(Value::String(digits)) = only_field(fields, &self.mark) {
                    *fields = Map::from_iter([(NAME.to_owned(), Value::String(spelled(digits)))]);
                } else if let Some(Value::String(text)) = only_field(fields, NAME)
                    && is_large(text.trim_start_matches('='))
                {
                    *fields = Map::from_iter([(NAME.to_owned(), Value::String(format!("={text}")))]);
                } else {
                    fields.values_mut().for_each(|field| self.keep(field));
                }
            }
            _ => {}
        }
    }
}

fn only_field<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    fields.get(name).filter(|_| fields.len() == 1)
}

/// The digits of the number that `value` stands for, if it does.
pub(crate) fn large_number(value: &Value) -> Option<&str> {
    only_field(value.as_object()?, NAME)?.as_str().filter(|digits| is_large(digits))
}

/// The one spelling of a number of JSON: without exponent if that is short, and without zeros that say nothing.
fn spelled(number: &str) -> String {
    let (sign, number) = number.strip_prefix('-').map_or(("", number), |rest| ("-", rest));
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    let shown = digits.trim_end_matches('0');
    let zeros = digits.len() - shown.len();
    // The number is `shown` with so many zeros behind it, or with so many of its digits behind the point.
    let exponent = exponent.parse::<i64>().ok().and_then(|exponent| {
        let places = i64::try_from(zeros).ok()?.checked_sub(i64::try_from(fraction.len()).ok()?)?;
        exponent.checked_add(places)
    });
    let size = |exponent: i64| usize::try_from(exponent.unsigned_abs()).unwrap_or(usize::MAX);
    match exponent {
        None => format!("{sign}{number}"),
        Some(exponent) if exponent >= 0 && shown.len().saturating_add(size(exponent)) <= LONGEST => {
            format!("{sign}{shown}{}", "0".repeat(size(exponent)))
        }
        Some(exponent) if exponent < 0 && size(exponent) < shown.len() => {
            let (whole, fraction) = shown.split_at(shown.len() - size(exponent));
            format!("{sign}{whole}.{fraction}")
        }
        Some(exponent) => format!("{sign}{shown}e{exponent}"),
    }
}

/// Whether both stand for one number, however it is spelled.
pub(crate) fn is_same_number(one: &Value, other: &Value) -> bool {
    match (large_number(one), large_number(other)) {
        (Some(one), Some(other)) => spelled(one) == spelled(other),
        _ => false,
    }
}

/// Whether `token` is a number of JSON that a double cannot hold exactly.
fn is_large(token: &str) -> bool {
    static NUMBER: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$")
            .unwrap_or_else(|error| unreachable!("internal: the pattern of a number is malformed: {error}"))
    });
    let may_be = token.len() > 15 || token.contains(['e', 'E']);
    may_be && NUMBER.is_match(token) && token.parse::<f64>().is_ok_and(|number| number.abs() > LARGEST)
}

/// Where in the text such numbers are.
fn large_numbers(text: &[u8]) -> Vec<(usize, usize)> {
    let is_of_number = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E');
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(byte) = text.get(at).filter(|_| found.len() <= MOST) {
        let rest = text.get(at + 1..).unwrap_or_default();
        at += match byte {
            b'"' => {
                let mut is_escaped = false;
                let ends = |byte: &u8| {
                    let ends = *byte == b'"' && !is_escaped;
                    is_escaped = *byte == b'\\' && !is_escaped;
                    ends
                };
                rest.iter().position(ends).map_or(text.len(), |end| end + 2)
            }
            b'-' | b'0'..=b'9' => {
                let end = at + 1 + rest.iter().take_while(|byte| is_of_number(byte)).count();
                let token = text.get(at..end).and_then(|token| std::str::from_utf8(token).ok());
                if token.is_some_and(is_large) {
                    found.push((at, end));
                }
                end - at
            }
            _ => 1,
        };
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical::parse;
    use proptest::prelude::*;
    use serde_json::json;

    fn read(text: &str) -> Result<Value, String> {
        let numbered = Numbered::of(text.as_bytes());
        parse(numbered.bytes()).map(|value| numbered.kept(value)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_number_that_a_double_cannot_hold_is_kept_as_its_digits() {
        let kept = |digits: &str| json!({ "number": digits });
        let table = [
            ("738529527931269425", kept("738529527931269425")),
            ("-9007199254740993", kept("-9007199254740993")),
            ("9007199254740992", kept("9007199254740992")),
            ("9007199254740991", json!(9_007_199_254_740_991_i64)),
            ("123456789012345678901234567890", kept("123456789012345678901234567890")),
            ("1e400", kept("1e400")),
            ("1e20", kept("100000000000000000000")),
            ("1E+20", kept("100000000000000000000")),
            ("10.0e19", kept("100000000000000000000")),
            ("100000000000000000000.00", kept("100000000000000000000")),
            ("-0.1e21", kept("-100000000000000000000")),
            ("9007199254740992.0", kept("9007199254740992")),
            ("90071992547409925e-1", kept("9007199254740992.5")),
            ("9007199254740993.50", kept("9007199254740993.5")),
            ("10e399", kept("1e400")),
            ("123.4E+500", kept("1234e499")),
            ("0.30000000000000004", json!(0.300_000_000_000_000_04)),
            (r#"{"a":[738529527931269425,1]}"#, json!({ "a": [{ "number": "738529527931269425" }, 1] })),
            (
                r#"{"a":"738529527931269425 \" 738529527931269425"}"#,
                json!({ "a": "738529527931269425 \" 738529527931269425" }),
            ),
            (
                r#"{"738529527931269425":738529527931269425}"#,
                json!({ "738529527931269425": kept("738529527931269425") }),
            ),
        ];
        for (text, expected) in table {
            let value = read(text).unwrap();
            assert_eq!(value, expected, "{text}");
            assert_eq!(large_number(&value).is_some(), value.get(NAME).is_some());
        }
    }

    #[test]
    fn one_number_is_one_value_in_every_spelling() {
        use crate::canonical::to_bytes;
        for (one, other) in [
            ("1", "1.0"),
            ("1", "10e-1"),
            ("0", "-0"),
            ("0", "-0.0e7"),
            ("100", "1E2"),
            ("0.5", "5e-1"),
            ("9007199254740991", "9007199254740991.0"),
            ("1e20", "100000000000000000000"),
            ("1e-999", "0"),
        ] {
            assert_eq!(to_bytes(&read(one).unwrap()), to_bytes(&read(other).unwrap()), "{one} {other}");
        }
        assert!(is_same_number(&json!({ "number": "1e20" }), &json!({ "number": "100000000000000000000" })));
        assert!(!is_same_number(&json!({ "number": "1e20" }), &json!({ "number": "100000000000000000001" })));
    }

    #[test]
    fn what_is_no_number_stays_refused() {
        for text in [
            "09007199254740993",
            "9007199254740993.",
            "9007199254740993x",
            "+9007199254740993",
            "{9007199254740993:1}",
            "1e",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        let of = |count: usize| read(&format!("[{}0]", "738529527931269425,".repeat(count)));
        assert!(of(MOST).is_ok());
        assert!(of(MOST + 1).unwrap_err().contains("beyond"));
    }

    #[test]
    fn an_object_that_looks_like_a_number_is_another_value() {
        let texts = [
            "738529527931269425",
            r#""738529527931269425""#,
            r#"{"number":"738529527931269425"}"#,
            r#"{"number":"=738529527931269425"}"#,
            r#"{"number":"==738529527931269425"}"#,
            r#"{"number":738529527931269425}"#,
            r#"{"number":"738529527931269425","a":1}"#,
        ];
        let values: Vec<Value> = texts.iter().map(|text| read(text).unwrap()).collect();
        for (at, value) in values.iter().enumerate() {
            assert!(!values[..at].contains(value), "{}", texts[at]);
            assert_eq!(large_number(value).is_some(), at == 0, "{}", texts[at]);
        }
        for text in [r#"{"number":"+4930123456789012"}"#, r#"{"number":"12345"}"#, r#"{"number":5}"#] {
            assert_eq!(read(text).unwrap(), serde_json::from_str::<Value>(text).unwrap());
        }
    }

    proptest! {
        #[test]
        fn ordinary_json_is_read_as_it_is(value in proptest::collection::vec(("[a-z\"\\\\0-9]{0,20}", -9_007_199_254_740_991_i64..9_007_199_254_740_991), 0..8)) {
            let text = json!(value).to_string();
            prop_assert_eq!(read(&text).unwrap(), json!(value));
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Numbered::of(&bytes);
        }
    }
}
