//! Settings with several paths: one click in a dashboard changes the answers of several APIs.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Catalogue, Finding};
use crate::diff::Change;
use crate::model::{Pattern, Pointer};

/// The other paths at which the setting of `change` is, for the same objects.
pub fn elsewhere(catalogue: &Catalogue, change: &Change) -> BTreeSet<Pointer> {
    let mut places = BTreeSet::new();
    if catalogue.setting_at(&change.path).is_some() {
        add_other_paths(catalogue, &change.path, 0, &mut places);
    } else {
        // An object that came or went whole is elsewhere if what lies under it is.
        for value in [&change.before, &change.after] {
            collect(catalogue, value, &change.path, 0, &mut places);
        }
    }
    places.remove(&change.path);
    places
}

fn collect(catalogue: &Catalogue, value: &Value, path: &Pointer, depth: usize, places: &mut BTreeSet<Pointer>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, field) in fields {
                collect(catalogue, field, &path.child(key), depth + 1, places);
            }
        }
        _ => add_other_paths(catalogue, path, depth, places),
    }
}

/// The other paths of what lies at `path`, without their last `depth` tokens, where these are the same.
fn add_other_paths(catalogue: &Catalogue, path: &Pointer, depth: usize, places: &mut BTreeSet<Pointer>) {
    let Some(setting) = catalogue.setting_at(path) else { return };
    let Some(own) = setting.paths.iter().find(|pattern| pattern.matches(path.tokens())) else { return };
    let moved = setting.paths.iter().filter(|other| *other != own).filter_map(|other| own.moved(path, other));
    places.extend(moved.filter_map(|place| place.without_common_end(path, depth)));
}

/// `chosen` places in the list of `drifts`, with those that are the same setting at another path, so that an approval never
/// takes in half a setting.
pub fn with_their_other_paths(catalogue: &Catalogue, drifts: &[Finding], chosen: &BTreeSet<usize>) -> BTreeSet<usize> {
    let mut whole = chosen.clone();
    let mut waiting: Vec<usize> = chosen.iter().copied().collect();
    while let Some(drift) = waiting.pop().and_then(|place| drifts.get(place)) {
        let places = elsewhere(catalogue, &drift.change);
        for (place, other) in drifts.iter().enumerate() {
            if is_same(drift, other, &places) && whole.insert(place) {
                waiting.push(place);
            }
        }
    }
    whole
}

/// Whether two drifts are one setting at two paths. Members of a set are one if they are the same member.
fn is_same(drift: &Finding, other: &Finding, elsewhere: &BTreeSet<Pointer>) -> bool {
    let (one, two) = (&drift.change, &other.change);
    if (&drift.meaning.setting, one.is_member) != (&other.meaning.setting, two.is_member)
        || !elsewhere.contains(&two.path)
    {
        return false;
    }
    let is_value_same = (&one.before, &one.after) == (&two.before, &two.after);
    // Within one API, several values can have one title, like the endpoints of a connection.
    is_value_same || (!one.is_member && one.section() != two.section())
}

impl Pattern {
    /// Where `path`, which this pattern describes, is in the words of `other`: each star stands for the same. None if `other`
    /// has other stars.
    fn moved(&self, path: &Pointer, other: &Self) -> Option<Pointer> {
        let (own, wanted): (Pointer, Pointer) = (self.to_string().parse().ok()?, other.to_string().parse().ok()?);
        let mut stars = stars(own.tokens(), path.tokens())?.into_iter();
        let mut place = Pointer::default();
        for token in wanted.tokens() {
            if token == "**" {
                place = stars.next()?.iter().fold(place, |place, token| place.child(token));
            } else if let Some(rest) = token.strip_suffix('*').or_else(|| token.strip_prefix('*')) {
                let star = stars.next()?;
                let [name] = star.as_slice() else { return None };
                place =
                    place.child(&if token.ends_with('*') { format!("{rest}{name}") } else { format!("{name}{rest}") });
            } else {
                place = place.child(token);
            }
        }
        stars.next().is_none().then_some(place)
    }
}

/// What each star of a pattern stands for: one name, and for `**` any number of tokens.
fn stars(pattern: &[String], tokens: &[String]) -> Option<Vec<Vec<String>>> {
    let Some((wanted, rest)) = pattern.split_first() else {
        return tokens.is_empty().then(Vec::new);
    };
    let with = |star: Vec<String>, tail: &[String]| {
        let mut found = stars(rest, tail)?;
        found.insert(0, star);
        Some(found)
    };
    if wanted == "**" {
        return (0..=tokens.len()).find_map(|length| {
            let (star, tail) = tokens.split_at_checked(length)?;
            with(star.to_vec(), tail)
        });
    }
    let (token, tail) = tokens.split_first()?;
    match (wanted.strip_suffix('*'), wanted.strip_prefix('*')) {
        (Some(prefix), _) => with(vec![token.strip_prefix(prefix)?.to_owned()], tail),
        (None, Some(suffix)) => with(vec![token.strip_suffix(suffix)?.to_owned()], tail),
        (None, None) => (wanted == token).then(|| stars(rest, tail)).flatten(),
    }
}

impl Pointer {
    /// This path without its last `depth` tokens, if `other` ends with the same ones.
    fn without_common_end(&self, other: &Self, depth: usize) -> Option<Self> {
        let (kept, end) = self.tokens().split_at_checked(self.tokens().len().checked_sub(depth)?)?;
        let is_common = other.tokens().ends_with(end) && kept.len() > 1 || depth == 0;
        is_common.then(|| kept.iter().fold(Self::default(), |place, token| place.child(token)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::classify::classify;
    use crate::diff::ChangeKind;
    use crate::model::Provider;

    fn change(path: &str, before: Value, after: Value) -> Change {
        let kind = if before.is_null() { ChangeKind::Added } else { ChangeKind::Changed };
        Change { path: path.parse().unwrap(), kind, before, after, is_member: false }
    }

    fn clerk() -> Catalogue {
        Catalogue::of(Provider::Clerk, None).unwrap()
    }

    #[test]
    fn a_setting_is_elsewhere_for_the_same_objects() {
        let (on, off) = (json!(true), json!(false));
        let template = json!({ "lifetime": 60, "name": "copy" });
        let table = [
            (change("/jwt_templates/a/lifetime", json!(60), json!(90)), "/platform.jwt_templates/a/lifetime"),
            (change("/platform.jwt_templates/a/lifetime", json!(60), json!(90)), "/jwt_templates/a/lifetime"),
            (change("/platform.jwt_templates/copy", Value::Null, template), "/jwt_templates/copy"),
            (
                change("/platform.config/auth_multi_factor/required_for_sign_up", on.clone(), off.clone()),
                "/frontend.environment/user_settings/sign_up/mfa/required",
            ),
            (
                change("/frontend.environment/user_settings/password_settings/disable_hibp", off, on),
                "/platform.config/auth_password/disable_hibp",
            ),
        ];
        for (change, expected) in table {
            let places: Vec<String> = elsewhere(&clerk(), &change).iter().map(Pointer::to_string).collect();
            assert!(places.iter().any(|place| place == expected), "{}: {places:?}", change.path);
            assert!(!places.contains(&change.path.to_string()));
        }
        assert!(elsewhere(&clerk(), &change("/instance/unheard_of", json!(1), json!(2))).is_empty());
    }

    #[test]
    fn the_other_paths_of_a_setting_come_along_and_nothing_else() {
        let member = |path: &str, value: &str| Change { is_member: true, ..change(path, Value::Null, json!(value)) };
        let changes = vec![
            change("/jwt_templates/a/lifetime", json!(60), json!(90)),
            change("/platform.jwt_templates/a/lifetime", json!(60), json!(90)),
            change("/jwt_templates/b/lifetime", json!(60), json!(90)),
            change("/platform.config/auth_multi_factor/required_for_sign_up", json!(true), json!(false)),
            change("/frontend.environment/user_settings/sign_up/mfa/required", json!(true), json!(false)),
            member("/instance/allowed_origins", "https://a.example"),
            member("/instance/allowed_origins", "https://b.example"),
        ];
        let drifts: Vec<Finding> = changes.into_iter().map(|change| classify(&clerk(), change)).collect();
        for (chosen, expected) in [
            (vec![0], vec![0, 1]),
            (vec![1], vec![0, 1]),
            (vec![2], vec![2]),
            (vec![4], vec![3, 4]),
            (vec![5], vec![5]),
            (vec![0, 3], vec![0, 1, 3, 4]),
            (vec![], vec![]),
        ] {
            let whole = with_their_other_paths(&clerk(), &drifts, &chosen.iter().copied().collect());
            assert_eq!(whole, expected.into_iter().collect(), "{chosen:?}");
        }
    }
}
