//! Values as people read them.
//!
//! Everything returned here went through [`display_safe()`]. Two values that differ never look the same: when their
//! usual forms agree (`"on"` and `true`, two long texts with the same beginning), their exact forms are shown, from
//! the place where they part.

use std::fmt;

use serde_json::{Map, Value};

use crate::canonical::large_number;
use crate::diff::ChangeKind;
use crate::model::look_alike::{look_alike, spelled_out};
use crate::model::{Unit, display_safe, is_nothing};

/// Characters of one value in the summary of an object.
const LONGEST_IN_SUMMARY: usize = 40;
/// Fields in the summary of an object.
const FIELDS_IN_SUMMARY: usize = 6;
/// Characters shown before the place where two long values part.
const LEAD: usize = 24;
/// Decimals of an amount with a unit.
const DECIMALS: usize = 2;
/// Digits of a fingerprint or digest that tell two of them apart.
const DIGITS: usize = 8;
/// Fields that say what an object is, shown first.
const TELLING: [&str; 7] = ["name", "display_name", "friendly_name", "type", "app_type", "strategy", "enabled"];

/// One change on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueLine {
    /// From one value to another.
    Step {
        /// The approved value.
        before: String,
        /// The value now.
        after: String,
    },
    /// Something that came, went or moved.
    Single(String),
}

impl fmt::Display for ValueLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step { before, after } => write!(f, "{before} -> {after}"),
            Self::Single(text) => f.write_str(text),
        }
    }
}

/// A value for people: numbers with their unit, secrets by their fingerprint, everything safe to show.
pub fn show(value: &Value, unit: Option<Unit>) -> String {
    match value {
        Value::Null => "(not set)".to_owned(),
        Value::Bool(true) => "on".to_owned(),
        Value::Bool(false) => "off".to_owned(),
        Value::Number(number) => match (unit, number.as_f64()) {
            (Some(unit), Some(amount)) => show_amount(amount, &number.to_string(), unit),
            _ => number.to_string(),
        },
        Value::String(text) => show_text(text),
        Value::Array(items) if items.is_empty() => "(none)".to_owned(),
        Value::Object(fields) if fields.is_empty() => "(empty)".to_owned(),
        Value::Object(fields) => stand_in(fields).unwrap_or_else(|| exact(value)),
        Value::Array(_) => exact(value),
    }
}

/// A change on one line: `1,800 s (30 min) -> 86,400 s (1 day)`, `+ https://app.example`, `added: …`.
pub fn change(kind: ChangeKind, before: &Value, after: &Value, unit: Option<Unit>) -> String {
    line(kind, before, after, unit).to_string()
}

/// A change on one line, with its two sides apart.
pub fn line(kind: ChangeKind, before: &Value, after: &Value, unit: Option<Unit>) -> ValueLine {
    match kind {
        ChangeKind::Added => ValueLine::Single(match after {
            Value::String(_) => format!("+ {}", show(after, unit)),
            _ => format!("added: {}", summary(after, unit)),
        }),
        ChangeKind::Removed => ValueLine::Single(match before {
            Value::String(_) => format!("- {}", show(before, unit)),
            _ => format!("removed: {}", summary(before, unit)),
        }),
        ChangeKind::Reordered => {
            let (before, after) = sides(before, after, unit);
            ValueLine::Single(format!("other order: {before} -> {after}"))
        }
        ChangeKind::Changed => {
            let (before, after) = sides(before, after, unit);
            ValueLine::Step { before, after }
        }
    }
}

/// A short form of a value: the identifying fields of an object first, its other fields counted.
pub fn summary(value: &Value, unit: Option<Unit>) -> String {
    let Value::Object(fields) = value else {
        return show(value, unit);
    };
    if fields.is_empty() || stand_in(fields).is_some() {
        return show(value, unit);
    }
    // A switch that is off says so.
    let is_worth_it = |value: &Value| value.is_boolean() || !is_nothing(value);
    let telling = TELLING.iter().filter_map(|name| fields.get_key_value(*name));
    let others = fields.iter().filter(|(name, _)| !TELLING.contains(&name.as_str()));
    let mut parts = Vec::new();
    for (name, value) in telling.chain(others).filter(|(_, value)| is_worth_it(value)).take(FIELDS_IN_SUMMARY) {
        parts.push(format!("{}: {}", cut(name), brief(value)));
    }
    let left = fields.len() - parts.len();
    match (parts.is_empty(), left) {
        (true, 1) => "an object with 1 unset field".to_owned(),
        (true, n) => format!("an object with {n} unset fields"),
        (false, 0) => parts.join(", "),
        (false, 1) => format!("{}, and 1 more field", parts.join(", ")),
        (false, n) => format!("{}, and {n} more fields", parts.join(", ")),
    }
}

fn brief(value: &Value) -> String {
    match value {
        Value::String(text) => cut(&Value::from(text.as_str()).to_string()),
        Value::Array(items) if items.len() == 1 => "1 item".to_owned(),
        Value::Array(items) => format!("{} items", items.len()),
        Value::Object(fields) => stand_in(fields).unwrap_or_else(|| match fields.len() {
            1 => "1 field".to_owned(),
            n => format!("{n} fields"),
        }),
        _ => show(value, None),
    }
}

fn cut(text: &str) -> String {
    let kept: String = text.chars().take(LONGEST_IN_SUMMARY).collect();
    let mark = if kept.len() < text.len() { "…" } else { "" };
    display_safe(&kept) + mark
}

/// Both sides of a change, never alike.
fn sides(before: &Value, after: &Value, unit: Option<Unit>) -> (String, String) {
    let states = (section_state(before), section_state(after));
    if states.0.is_some() || states.1.is_some() {
        let word = |state: Option<&str>, value: &Value| match state {
            Some(state) => state.to_owned(),
            None if value.is_null() => show(value, None),
            None => "readable".to_owned(),
        };
        return (word(states.0, before), word(states.1, after));
    }
    let shown = (show(before, unit), show(after, unit));
    let exact = (before.to_string(), after.to_string());
    let agree = exact.0.chars().zip(exact.1.chars()).take_while(|(one, other)| one == other).count();
    if shown.0 != shown.1 && agree < 120 {
        return if look_alike(&shown.0, &shown.1) { (spelled_out(&shown.0), spelled_out(&shown.1)) } else { shown };
    }
    let from = agree.saturating_sub(LEAD);
    let part = |text: &str| {
        let rest: String = text.chars().skip(from).collect();
        display_safe(&rest)
    };
    let (before, after) = (part(&exact.0), part(&exact.1));
    let is_alike = look_alike(&before, &after);
    let whole = |part: String| {
        let part = if is_alike { spelled_out(&part) } else { part };
        format!("{}{part}", if from > 0 { "…" } else { "" })
    };
    (whole(before), whole(after))
}

/// The words for a section without a document.
fn section_state(value: &Value) -> Option<&'static str> {
    let fields = value.as_object().filter(|fields| fields.len() == 1)?;
    match fields.get("state")?.as_str()? {
        "value" => Some("readable"),
        "off" => Some("switched off"),
        "not_on_plan" => Some("not on plan"),
        _ => None,
    }
}

/// Objects that stand for something that is not kept.
fn stand_in(fields: &Map<String, Value>) -> Option<String> {
    let text_of = |name: &str| fields.get(name).and_then(Value::as_str);
    let first_digits = |digest: &str| display_safe(&digest.chars().take(DIGITS).collect::<String>());
    match fields.len() {
        1 => match text_of("fingerprint").and_then(|text| text.strip_prefix("hmac-sha256:")) {
            Some(digest) => Some(format!("secret, fingerprint {}", first_digits(digest))),
            None if large_number(&Value::Object(fields.clone())).is_some() => text_of("number").map(display_safe),
            None => section_state(&Value::Object(fields.clone())).map(str::to_owned),
        },
        3 if fields.get("too_large") == Some(&Value::Bool(true)) => {
            let size = fields.get("size")?.as_u64()?;
            let digest = first_digits(text_of("sha256")?);
            Some(format!("a value of {} bytes, too large to be shown, sha256 {digest}", grouped(&size.to_string())))
        }
        3 => {
            let digest = text_of("certificate")?.strip_prefix("sha256:")?;
            let (subject, until) = (text_of("subject")?, text_of("until")?);
            let day = until.split_once('T').map_or(until, |(day, _)| day);
            Some(format!(
                "certificate of {}, until {}, sha256 {}",
                display_safe(subject),
                display_safe(day),
                display_safe(digest)
            ))
        }
        2 => {
            let digest = text_of("sha256")?;
            let size = fields.get("size")?.as_u64()?;
            let digest = digest.strip_prefix("sha256:").unwrap_or(digest);
            Some(format!("text of {} bytes, sha256 {}", grouped(&size.to_string()), first_digits(digest)))
        }
        _ => None,
    }
}

/// Text as it is, in quotes where it could be taken for something else.
fn show_text(text: &str) -> String {
    if text.is_empty() {
        return "(empty text)".to_owned();
    }
    let could_mislead = text.starts_with(['(', '"', '+', '-', '…', ' '])
        || text.ends_with(' ')
        || text.contains("->")
        || ["secret, ", "text of ", "certificate of ", "added: ", "removed: "]
            .iter()
            .any(|word| text.starts_with(word));
    if could_mislead { exact(&Value::from(text)) } else { display_safe(text) }
}

fn exact(value: &Value) -> String {
    display_safe(&value.to_string())
}

fn show_amount(amount: f64, written: &str, unit: Unit) -> String {
    let (name, seconds) = match unit {
        Unit::Milliseconds => ("ms", amount / 1000.0),
        Unit::Seconds => ("s", amount),
        Unit::Minutes => ("min", amount * 60.0),
        Unit::Hours => ("h", amount * 3600.0),
        Unit::Days => (if written == "1" { "day" } else { "days" }, amount * 86400.0),
    };
    // Minutes that are kept as hours have no end; `sides` shows the exact forms where these agree.
    let is_long = written.split_once('.').is_some_and(|(_, decimals)| decimals.len() > DECIMALS);
    let rounded = if is_long { format!("{amount:.DECIMALS$}") } else { written.to_owned() };
    let plain = format!("{} {name}", grouped(&rounded));
    let reading = match unit {
        Unit::Days => None,
        Unit::Milliseconds if amount >= 1000.0 && seconds < 60.0 => Some(format!("{seconds} s")),
        // Auth0 keeps minutes as fractions of an hour: 181 min are 3.02.
        Unit::Hours if amount.fract() != 0.0 && amount > 0.0 && amount < 24.0 => {
            Some(format!("{} min", (amount * 60.0).round()))
        }
        _ => in_larger_units(seconds, name),
    };
    match reading {
        Some(reading) => format!("{plain} ({reading})"),
        None => plain,
    }
}

/// The two largest units of a span of time, when the larger one is not `name` itself.
fn in_larger_units(seconds: f64, name: &str) -> Option<String> {
    const STEPS: [(&str, u64); 4] = [("day", 86400), ("h", 3600), ("min", 60), ("s", 1)];
    if !(60.0..1e15).contains(&seconds) {
        return None;
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be between 60 and 10^15")]
    let whole = seconds.round() as u64;
    let larger = STEPS.iter().position(|(_, size)| *size <= whole)?;
    let (large_name, large) = STEPS.get(larger)?;
    let (small_name, small) = STEPS.get(larger + 1)?;
    if *large_name == name {
        return None;
    }
    let rounded = (whole + small / 2) / small * small;
    let (count, rest) = (rounded / large, rounded % large / small);
    let plural = if *large_name == "day" && count != 1 { "s" } else { "" };
    let about = if rounded == whole { "" } else { "about " };
    let tail = if rest == 0 { String::new() } else { format!(" {rest} {small_name}") };
    Some(format!("{about}{count} {large_name}{plural}{tail}"))
}

/// `1800` as `1,800`; anything that is not plain digits, with an optional fraction, stays as it is.
fn grouped(number: &str) -> String {
    let (whole, fraction) = number.split_once('.').map_or((number, None), |(whole, rest)| (whole, Some(rest)));
    if !whole.bytes().all(|byte| byte.is_ascii_digit()) {
        return number.to_owned();
    }
    let mut text = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    match fraction {
        None | Some("0") => text,
        Some(fraction) => format!("{text}.{fraction}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_read_as_people_say_them() {
        let digest = "a1b2c3d4e5f6";
        let table = [
            (json!(1800), Some(Unit::Seconds), "1,800 s (30 min)"),
            (json!(86400), Some(Unit::Seconds), "86,400 s (1 day)"),
            (json!(0), Some(Unit::Seconds), "0 s"),
            (json!(45), Some(Unit::Seconds), "45 s"),
            (json!(5400), Some(Unit::Seconds), "5,400 s (1 h 30 min)"),
            (json!(100_000), Some(Unit::Seconds), "100,000 s (about 1 day 4 h)"),
            (json!(2_592_000), Some(Unit::Seconds), "2,592,000 s (30 days)"),
            (json!(-1), Some(Unit::Seconds), "-1 s"),
            (json!(1500), Some(Unit::Milliseconds), "1,500 ms (1.5 s)"),
            (json!(900_000), Some(Unit::Milliseconds), "900,000 ms (15 min)"),
            (json!(30), Some(Unit::Minutes), "30 min"),
            (json!(1440), Some(Unit::Minutes), "1,440 min (1 day)"),
            (json!(3.02), Some(Unit::Hours), "3.02 h (181 min)"),
            (json!(181.0 / 60.0), Some(Unit::Hours), "3.02 h (181 min)"),
            (json!(3), Some(Unit::Hours), "3 h"),
            (json!(72.0), Some(Unit::Hours), "72 h (3 days)"),
            (json!(720), Some(Unit::Hours), "720 h (30 days)"),
            (json!(1), Some(Unit::Days), "1 day"),
            (json!(365), Some(Unit::Days), "365 days"),
            (json!(8443), None, "8443"),
            (json!(true), None, "on"),
            (json!(false), Some(Unit::Seconds), "off"),
            (json!(null), None, "(not set)"),
            (json!(""), None, "(empty text)"),
            (json!([]), None, "(none)"),
            (json!({}), None, "(empty)"),
            (json!(["a", "b"]), None, r#"["a","b"]"#),
            (json!("required"), None, "required"),
            (json!("on -> off"), None, r#""on -> off""#),
            (json!("(none)"), None, r#""(none)""#),
            (json!("a\u{1b}[2Jb"), None, "a\\u{1b}[2Jb"),
            (json!({"fingerprint": format!("hmac-sha256:{digest}")}), None, "secret, fingerprint a1b2c3d4"),
            (json!({"sha256": digest, "size": 1204}), None, "text of 1,204 bytes, sha256 a1b2c3d4"),
            (
                json!({"certificate": "sha256:a1b2", "subject": "CN=idp.example", "until": "2036-11-27T22:30:00Z"}),
                None,
                "certificate of CN=idp.example, until 2036-11-27, sha256 a1b2",
            ),
            (json!({"number": "738529527931269425"}), None, "738529527931269425"),
            (json!({"state": "off"}), None, "switched off"),
        ];
        for (value, unit, expected) in table {
            assert_eq!(show(&value, unit), expected, "{value}");
        }
    }

    #[test]
    fn changes_read_as_people_say_them() {
        let origin = json!("https://evil.example");
        let client = json!({"app_type": "spa", "callbacks": ["a", "b"], "description": "", "name": "Back\"door"});
        let table = [
            (ChangeKind::Changed, json!(true), json!(false), "on -> off"),
            (ChangeKind::Added, json!(null), origin.clone(), "+ https://evil.example"),
            (ChangeKind::Removed, origin, json!(null), "- https://evil.example"),
            (ChangeKind::Added, json!(null), json!(true), "added: on"),
            (
                ChangeKind::Added,
                json!(null),
                client,
                r#"added: name: "Back\"door", app_type: "spa", callbacks: 2 items, and 1 more field"#,
            ),
            (ChangeKind::Removed, json!({"a": null}), json!(null), "removed: an object with 1 unset field"),
            (ChangeKind::Changed, json!({"x": 1}), json!({"state": "off"}), "readable -> switched off"),
            (ChangeKind::Changed, json!({"state": "not_on_plan"}), json!({"x": 1}), "not on plan -> readable"),
            (ChangeKind::Reordered, json!(["a", "b"]), json!(["b", "a"]), r#"other order: ["a","b"] -> ["b","a"]"#),
        ];
        for (kind, before, after, expected) in table {
            assert_eq!(change(kind, &before, &after, None), expected);
        }
    }

    #[test]
    fn values_that_differ_never_look_alike() {
        let long = "x".repeat(300);
        let table = [
            (json!(true), json!("on")),
            (json!(null), json!("(not set)")),
            (json!(5), json!("5")),
            (json!("738529527931269425"), json!({"number": "738529527931269425"})),
            (json!("\n"), json!("\\u{a}")),
            (json!(format!("{long}a")), json!(format!("{long}b"))),
            (json!("https://app.example"), json!("https://app.example\u{a0}")),
            (json!("\u{e9}"), json!("e\u{301}")),
            (json!("caf\u{e9} l\u{2019}x"), json!("caf\u{e9} l'x")),
            (json!("\u{3bf}\u{3c0}"), json!("\u{43e}\u{3c0}")),
            (json!({"fingerprint": "hmac-sha256:0011223344"}), json!({"fingerprint": "hmac-sha256:0011223355"})),
        ];
        for (before, after) in table {
            let ValueLine::Step { before, after } = line(ChangeKind::Changed, &before, &after, None) else {
                panic!("a step");
            };
            assert_ne!(before, after);
        }
    }
}
