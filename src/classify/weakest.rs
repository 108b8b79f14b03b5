//! Which settings are at their weakest value, with nothing to compare them with.

use serde_json::Value;

use super::{Catalogue, ChangeContext, Finding, Setting, Weaker, WeakerRule, Zero, finding::classify_in};
use crate::diff::{Change, ChangeKind};
use crate::model::{Direction, Pointer, Severity};

/// Every setting among `values` that is at its weakest, the most severe first, as if it had just become so.
///
/// A rule without an end (a number that can always grow, a set that can always get one more member) has no weakest value.
pub fn weakest<'a, I: Iterator<Item = (&'a str, &'a Value)>>(
    catalogue: &Catalogue,
    values: impl Fn() -> I,
) -> Vec<Finding> {
    let mut changes = Vec::new();
    for (section, value) in values() {
        collect(catalogue, &Pointer::of_section(section), value, &mut changes);
    }
    let plain: Vec<Change> = changes.iter().map(|(_, change)| change.clone()).collect();
    let context = ChangeContext::new(catalogue.table(), [], values(), &plain, []);
    let mut drifts: Vec<Finding> = changes
        .into_iter()
        .map(|(severity, change)| {
            // From nothing to nothing would be of no weight as a change.
            let mut finding = classify_in(catalogue, &context, change);
            (finding.meaning.direction, finding.meaning.severity) = (Direction::Weaker, severity);
            finding
        })
        .collect();
    drifts.sort_by(|one, other| {
        other.meaning.severity.cmp(&one.meaning.severity).then_with(|| one.meaning.title.cmp(&other.meaning.title))
    });
    // One setting has several paths.
    drifts.dedup_by(|one, other| {
        (&one.meaning.setting, &one.meaning.title, &one.change.after)
            == (&other.meaning.setting, &other.meaning.title, &other.change.after)
    });
    drifts
}

fn collect(catalogue: &Catalogue, path: &Pointer, value: &Value, changes: &mut Vec<(Severity, Change)>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, field) in fields {
                collect(catalogue, &path.child(key), field, changes);
            }
        }
        _ => {
            let Some(setting) = catalogue.setting_at(path).filter(|setting| is_weakest(setting, value)) else { return };
            let (path, before, after) = (path.clone(), Value::Null, value.clone());
            let change = Change { path, kind: ChangeKind::Changed, before, after, is_member: false };
            changes.push((setting.severity, change));
        }
    }
}

/// Whether no value of the setting is weaker than this one.
fn is_weakest(setting: &Setting, value: &Value) -> bool {
    let is_zero = value.as_f64() == Some(0.0);
    match &setting.weaker {
        None => false,
        Some(Weaker::Order(strongest_first)) => strongest_first.last() == Some(value),
        Some(Weaker::Rule(rule)) => match rule {
            WeakerRule::True => *value == Value::Bool(true),
            WeakerRule::False => *value == Value::Bool(false),
            WeakerRule::Higher => is_zero && setting.zero == Some(Zero::Weakest),
            WeakerRule::Lower => is_zero && setting.zero != Some(Zero::Strongest),
            WeakerRule::Longer => is_zero || *value == Value::Bool(false),
            WeakerRule::Removed => value.as_array().is_some_and(Vec::is_empty),
            WeakerRule::Added | WeakerRule::Changed => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Provider;

    #[test]
    fn rules_with_an_end_have_a_weakest_value() {
        let table = [
            ("weaker = 'true'", json!(true), true),
            ("weaker = 'true'", json!(false), false),
            ("weaker = 'false'", json!(false), true),
            ("weaker = 'false'", json!(null), false),
            ("weaker = ['a', 'b', 'c']", json!("c"), true),
            ("weaker = ['a', 'b', 'c']", json!("b"), false),
            ("weaker = 'higher'", json!(0), false),
            ("weaker = 'higher'\nzero = 'weakest'", json!(0), true),
            ("weaker = 'higher'\nzero = 'weakest'", json!(9), false),
            ("weaker = 'lower'", json!(0), true),
            ("weaker = 'lower'\nzero = 'strongest'", json!(0), false),
            ("weaker = 'longer'", json!(0), true),
            ("weaker = 'longer'", json!(false), true),
            ("weaker = 'removed'", json!([]), true),
            ("weaker = 'removed'", json!(["a"]), false),
            ("weaker = 'added'", json!(["a"]), false),
            ("weaker = 'changed'", json!("a"), false),
            ("", json!(false), false),
        ];
        for (rule, value, expected) in table {
            let text = "id = 'x'\ntitle = 'X'\nwhy = 'Why.'\npaths = ['/x']\ncategory = 'mfa'\nseverity = 'high'\n";
            let setting: Setting = toml::from_str(&format!("{text}{rule}")).unwrap();
            assert_eq!(is_weakest(&setting, &value), expected, "{rule}: {value}");
        }
    }

    #[test]
    fn a_tenant_without_a_second_factor_is_named_with_its_worst_setting_first() {
        let catalogue = Catalogue::of(Provider::Auth0, None).unwrap();
        let (policies, factors) = (json!([]), json!({ "otp": { "enabled": false }, "sms": { "enabled": false } }));
        let values = [("guardian.policies", &policies), ("guardian.factors", &factors)];
        let found = weakest(&catalogue, || values.into_iter());
        assert_eq!(found[0].change.path.to_string(), "/guardian.policies");
        assert!(
            found.iter().any(|drift| drift.change.path.to_string() == "/guardian.factors/otp/enabled"),
            "{found:?}"
        );
        let strong = json!(["all-applications"]);
        let values = [("guardian.policies", &strong)];
        assert!(weakest(&catalogue, || values.into_iter()).is_empty());
    }
}
