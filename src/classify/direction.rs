//! Which way a change goes, told from a setting's rule and the two values.
//!
//! A value that is not stated (`null` or absent) is neither strong nor weak: vendors add and drop fields without
//! changing what they mean. What can only be as weak as before is neutral; a weak value that nobody approved is
//! weaker; a strong value that is gone is unknown.

use std::cmp::Ordering;

use serde_json::Value;

use super::catalogue::{Setting, Weaker, WeakerRule, Zero};
use crate::canonical::large_number;
use crate::diff::{Change, ChangeKind};
use crate::model::{Direction, is_nothing};

/// The direction of `change`, which lies at a path of `setting`.
pub(super) fn direction(setting: &Setting, change: &Change) -> Direction {
    if change.kind == ChangeKind::Reordered {
        return Direction::Neutral;
    }
    let (before, after) = (&change.before, &change.after);
    match &setting.weaker {
        None => Direction::Neutral,
        Some(Weaker::Order(strongest_first)) => by_position(strongest_first, before, after),
        Some(Weaker::Rule(rule)) => match rule {
            WeakerRule::Higher => by_number(before, after, setting.zero, 1.0),
            WeakerRule::Lower => by_number(before, after, setting.zero, -1.0),
            WeakerRule::Longer if before.is_boolean() || after.is_boolean() => by_switch(before, after, false),
            WeakerRule::Longer => by_number(before, after, Some(Zero::Weakest), 1.0),
            WeakerRule::True => by_switch(before, after, true),
            WeakerRule::False => by_switch(before, after, false),
            WeakerRule::Added => by_presence(change, Direction::Weaker, Direction::Stronger),
            WeakerRule::Removed => by_presence(change, Direction::Stronger, Direction::Weaker),
            WeakerRule::Changed if is_nothing(before) && is_nothing(after) => Direction::Neutral,
            WeakerRule::Changed => Direction::Weaker,
        },
    }
}

/// `weakness` compares the new value with the old one: greater is weaker.
fn from_weakness(weakness: Option<Ordering>) -> Direction {
    match weakness {
        Some(Ordering::Greater) => Direction::Weaker,
        Some(Ordering::Less) => Direction::Stronger,
        Some(Ordering::Equal) => Direction::Neutral,
        None => Direction::Unknown,
    }
}

fn by_position(strongest_first: &[Value], before: &Value, after: &Value) -> Direction {
    let position = |value: &Value| strongest_first.iter().position(|known| known == value);
    let weakness = position(before).zip(position(after)).map(|(old, new)| new.cmp(&old));
    from_weakness(weakness)
}

fn by_number(before: &Value, after: &Value, zero: Option<Zero>, sign: f64) -> Direction {
    let weakness_of = |value: &Value| {
        let number = value.as_f64().or_else(|| large_number(value)?.parse().ok())?;
        Some(match zero {
            Some(Zero::Weakest) if number == 0.0 => f64::INFINITY,
            Some(Zero::Strongest) if number == 0.0 => f64::NEG_INFINITY,
            _ => number * sign,
        })
    };
    let weakness = weakness_of(before).zip(weakness_of(after)).and_then(|(old, new)| new.partial_cmp(&old));
    from_weakness(weakness)
}

fn by_switch(before: &Value, after: &Value, weak: bool) -> Direction {
    // Only a switch that is stated says which way it is.
    let stated = |value: &Value| if is_nothing(value) && !value.is_boolean() { Value::Null } else { value.clone() };
    match (&stated(before), &stated(after)) {
        (Value::Bool(old), Value::Bool(new)) if old == new => Direction::Neutral,
        (Value::Bool(_), Value::Bool(new)) => towards(*new == weak),
        (Value::Null, Value::Bool(new)) if *new == weak => Direction::Weaker,
        (Value::Bool(old), Value::Null) if *old != weak => Direction::Unknown,
        (Value::Null, Value::Bool(_)) | (Value::Bool(_), Value::Null) => Direction::Neutral,
        _ => Direction::Unknown,
    }
}

fn towards(is_weaker: bool) -> Direction {
    if is_weaker { Direction::Weaker } else { Direction::Stronger }
}

fn by_presence(change: &Change, if_added: Direction, if_removed: Direction) -> Direction {
    let (before, after) = (&change.before, &change.after);
    if change.is_member {
        return match change.kind {
            ChangeKind::Added => if_added,
            ChangeKind::Removed => if_removed,
            ChangeKind::Changed | ChangeKind::Reordered => Direction::Unknown,
        };
    }
    match (is_nothing(before), is_nothing(after)) {
        (true, true) => Direction::Neutral,
        (true, false) => if_added,
        (false, true) => if_removed,
        (false, false) => match (before, after) {
            (Value::Array(old), Value::Array(new)) => by_members(old, new, if_added, if_removed),
            _ => Direction::Unknown,
        },
    }
}

/// Two sets as whole values: anything weaker among their differences decides.
fn by_members(old: &[Value], new: &[Value], if_added: Direction, if_removed: Direction) -> Direction {
    let is_added = new.iter().any(|member| !old.contains(member));
    let is_removed = old.iter().any(|member| !new.contains(member));
    match (is_added, is_removed) {
        (true, true) => Direction::Weaker,
        (true, false) => if_added,
        (false, true) => if_removed,
        (false, false) => Direction::Neutral,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use Direction::{Neutral, Stronger, Unknown, Weaker as Weak};

    fn setting(rule: &str) -> Setting {
        toml::from_str(&format!(
            "id = 'x'\ntitle = 'X'\nwhy = 'Why.'\npaths = ['/x']\ncategory = 'mfa'\nseverity = 'high'\n{rule}"
        ))
        .unwrap()
    }

    fn change(kind: ChangeKind, before: Value, after: Value, is_member: bool) -> Change {
        Change { path: "/x".parse().unwrap(), kind, before, after, is_member }
    }

    #[test]
    fn values_tell_the_direction() {
        let table = [
            ("weaker = 'higher'", json!(60), json!(86400), Weak),
            ("weaker = 'higher'", json!(60), json!(30), Stronger),
            ("weaker = 'higher'", json!(60), json!(60.0), Neutral),
            ("weaker = 'higher'", json!(168), json!(3.0166666666666666), Stronger),
            ("weaker = 'higher'", json!(60), json!(0), Stronger),
            ("weaker = 'higher'", json!(null), json!(60), Unknown),
            ("weaker = 'higher'", json!(60), json!(null), Unknown),
            ("weaker = 'higher'", json!("60"), json!(90), Unknown),
            ("weaker = 'higher'\nzero = 'weakest'", json!(1800), json!(0), Weak),
            ("weaker = 'higher'\nzero = 'weakest'", json!(0), json!(1800), Stronger),
            ("weaker = 'higher'\nzero = 'weakest'", json!(0), json!(0.0), Neutral),
            ("weaker = 'higher'", json!(60), json!({ "number": "738529527931269425" }), Weak),
            ("weaker = 'higher'", json!({ "number": "738529527931269425" }), json!(60), Stronger),
            ("weaker = 'lower'", json!(12), json!(8), Weak),
            ("weaker = 'lower'", json!(8), json!(12), Stronger),
            ("weaker = 'lower'\nzero = 'strongest'", json!(60), json!(0), Stronger),
            ("weaker = 'lower'\nzero = 'strongest'", json!(0), json!(60), Weak),
            ("weaker = 'lower'\nzero = 'strongest'", json!(60), json!(5), Weak),
            ("weaker = 'true'", json!(false), json!(true), Weak),
            ("weaker = 'true'", json!(true), json!(false), Stronger),
            ("weaker = 'true'", json!(null), json!(true), Weak),
            ("weaker = 'true'", json!(null), json!(false), Neutral),
            ("weaker = 'true'", json!(true), json!(null), Neutral),
            ("weaker = 'true'", json!(false), json!(null), Unknown),
            ("weaker = 'true'", json!(false), json!("true"), Unknown),
            ("weaker = 'false'", json!(true), json!(false), Weak),
            ("weaker = 'false'", json!(false), json!(true), Stronger),
            ("weaker = 'false'", json!(null), json!(false), Weak),
            ("weaker = 'false'", json!(null), json!(true), Neutral),
            ("weaker = 'false'", json!(true), json!(null), Unknown),
            ("weaker = 'false'", json!(false), json!(null), Neutral),
            ("weaker = 'added'", json!(null), json!(["a"]), Weak),
            ("weaker = 'added'", json!(["a"]), json!(null), Stronger),
            ("weaker = 'added'", json!(null), json!([]), Neutral),
            ("weaker = 'added'", json!([]), json!(["a"]), Weak),
            ("weaker = 'added'", json!(null), json!(false), Neutral),
            ("weaker = 'added'", json!(false), json!(true), Weak),
            ("weaker = 'removed'", json!(true), json!(false), Weak),
            ("weaker = 'changed'", json!(false), json!(""), Neutral),
            ("weaker = 'false'", json!(""), json!(false), Weak),
            ("weaker = 'added'", json!(["a"]), json!(["b", "a"]), Weak),
            ("weaker = 'added'", json!(["a", "b"]), json!(["b"]), Stronger),
            ("weaker = 'added'", json!(["a"]), json!(["b"]), Weak),
            ("weaker = 'added'", json!("a"), json!("b"), Unknown),
            ("weaker = 'added'", json!(""), json!("b"), Weak),
            ("weaker = 'removed'", json!(["a"]), json!([]), Weak),
            ("weaker = 'removed'", json!(null), json!(["a"]), Stronger),
            ("weaker = 'removed'", json!(["a"]), json!(["b"]), Weak),
            ("weaker = 'removed'", json!("a"), json!(null), Weak),
            ("weaker = 'removed'", json!("a"), json!("b"), Unknown),
            ("weaker = 'changed'", json!("a"), json!("b"), Weak),
            ("weaker = 'changed'", json!(null), json!("b"), Weak),
            ("weaker = 'changed'", json!([]), json!(null), Neutral),
            ("weaker = ['a', 'b', 'c']", json!("a"), json!("c"), Weak),
            ("weaker = ['a', 'b', 'c']", json!("c"), json!("b"), Stronger),
            ("weaker = ['a', 'b', 'c']", json!("a"), json!("z"), Unknown),
            ("weaker = ['a', 'b', 'c']", json!(null), json!("c"), Unknown),
            ("weaker = [2, 1]", json!(2), json!(1), Weak),
            ("", json!(true), json!(false), Neutral),
        ];
        for (rule, before, after, expected) in table {
            let change = change(ChangeKind::Changed, before.clone(), after.clone(), false);
            assert_eq!(direction(&setting(rule), &change), expected, "{rule}: {before} -> {after}");
        }
    }

    #[test]
    fn keys_and_members_that_come_and_go() {
        use ChangeKind::{Added, Removed, Reordered};
        let new = |is_member| change(Added, json!(null), json!("a"), is_member);
        let gone = |is_member| change(Removed, json!("a"), json!(null), is_member);
        for is_member in [true, false] {
            assert_eq!(direction(&setting("weaker = 'added'"), &new(is_member)), Weak);
            assert_eq!(direction(&setting("weaker = 'added'"), &gone(is_member)), Stronger);
            assert_eq!(direction(&setting("weaker = 'removed'"), &new(is_member)), Stronger);
            assert_eq!(direction(&setting("weaker = 'removed'"), &gone(is_member)), Weak);
            assert_eq!(direction(&setting("weaker = 'changed'"), &gone(is_member)), Weak);
            assert_eq!(direction(&setting("weaker = 'true'"), &gone(is_member)), Unknown);
        }
        let empty_member = change(Added, json!(null), json!(""), true);
        assert_eq!(direction(&setting("weaker = 'added'"), &empty_member), Weak);
        let empty_field = change(Added, json!(null), json!([]), false);
        assert_eq!(direction(&setting("weaker = 'added'"), &empty_field), Neutral);
        let reordered = change(Reordered, json!(["a", "b"]), json!(["b", "a"]), false);
        assert_eq!(direction(&setting("weaker = 'changed'"), &reordered), Neutral);
    }

    #[test]
    fn a_time_limit_that_is_switched_off_or_has_no_end_is_weaker_than_any_other() {
        let table = [
            (json!(1800), json!(3600), Weak),
            (json!(1800), json!(0), Weak),
            (json!(0), json!(3600), Stronger),
            (json!(true), json!(false), Weak),
            (json!(false), json!(true), Stronger),
            (json!(true), json!(null), Unknown),
        ];
        for (before, after, expected) in table {
            let change = change(ChangeKind::Changed, before, after, false);
            assert_eq!(direction(&setting("weaker = 'longer'"), &change), expected, "{change:?}");
        }
    }
}
