//! How a setting's rule and a section's table sound in words.

use serde_json::json;

use crate::classify::{Setting, Weaker, WeakerRule, Zero};
use crate::message::values;
use crate::model::{Pointer, display_safe};
use crate::sections::{Section, Shape, Table};

/// How strong each value of `setting` is.
pub(super) fn strength(setting: &Setting) -> String {
    let is_time = setting.unit.is_some();
    let rule = match &setting.weaker {
        None => "no value counts as weaker than another".to_owned(),
        Some(Weaker::Order(strongest_first)) => {
            let values: Vec<_> = strongest_first.iter().map(|value| values::show(value, setting.unit)).collect();
            format!("strongest to weakest: {}", values.join(", "))
        }
        Some(Weaker::Rule(rule)) => match rule {
            WeakerRule::Higher if is_time => "longer is weaker",
            WeakerRule::Higher => "a larger number is weaker",
            WeakerRule::Lower if is_time => "shorter is weaker",
            WeakerRule::Lower => "a smaller number is weaker",
            WeakerRule::Longer => "longer is weaker; 0 or switched off means no limit and is weakest",
            WeakerRule::True => "on (`true`) is weaker",
            WeakerRule::False => "off (`false`) is weaker",
            WeakerRule::Added => "any addition is weaker",
            WeakerRule::Removed => "any removal is weaker",
            WeakerRule::Changed => "any change is weaker",
        }
        .to_owned(),
    };
    match setting.zero {
        None => rule,
        Some(Zero::Weakest) => format!("{rule}; 0 means no limit and is weakest"),
        Some(Zero::Strongest) => format!("{rule}; 0 is strongest"),
    }
}

/// How the table changes the value at `path` before it is compared.
pub(super) fn kept(table: &Table, section: &Section, path: &Pointer) -> Vec<String> {
    let place = path.tokens().get(1..).unwrap_or_default();
    // What is said of an object is said of everything in it.
    let is_inside = |is: &dyn Fn(&[String]) -> bool| (0..=place.len()).any(|end| place.get(..end).is_some_and(is));
    let mut words = Vec::new();
    if let Some(why) = (0..=place.len()).find_map(|end| section.why_volatile(place.get(..end)?)) {
        words.push(format!("not kept and not compared: {why}"));
    }
    if is_inside(&|place| section.is_secret(place)) {
        words.push("as a keyed fingerprint: a new value shows, the value itself is nowhere".to_owned());
    }
    if is_inside(&|place| section.is_code(place)) {
        words.push("as digest and size, unless `keep_code = true`".to_owned());
    }
    if section.is_sequence(place) {
        words.push("as a list whose order matters".to_owned());
    }
    if let Some(fields) = section.key_at(place) {
        words.push(format!("as a list without order, its items told apart by `{}`", fields.join("`, `")));
    }
    if place.is_empty() && section.shape == Shape::Set {
        words.push("as a set: order does not matter".to_owned());
    }
    if let Some(default) = section.default_at(place) {
        words.push(format!("taken for {} when the vendor leaves it out", values::summary(default, None)));
    }
    if table.is_inert(path, &json!({ "enabled": false })) {
        words.push("no difference when it comes or goes while its `enabled` is off".to_owned());
    }
    words
}

/// The catalogue entry that would describe `path`.
pub(super) fn how_to_describe(path: &Pointer) -> String {
    let name = path.last().to_lowercase().replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
    let quoted = display_safe(&toml::Value::from(path.to_string()).to_string());
    format!(
        "It is reported all the same, with severity medium, and never dropped. To describe it, write this into a file\n\
         and name it in the configuration: [catalogue] file = \"FILE\"\n\
         \n  [[setting]]\
         \n  id = \"{}\"\
         \n  title = \"What a person calls it\"\
         \n  why = \"What a weaker value makes possible.\"\
         \n  paths = [{quoted}]\
         \n  category = \"tokens\"\
         \n  severity = \"high\"\
         \n  weaker = \"true\"        # or higher, lower, longer, false, added, removed, changed, [\"strongest\", …]",
        name.trim_matches('-')
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::Catalogue;
    use crate::model::Provider;

    #[test]
    fn every_rule_has_words() {
        let table = [
            ("", "no value counts as weaker than another"),
            ("weaker = 'higher'", "a larger number is weaker"),
            ("weaker = 'higher'\nunit = 'hours'", "longer is weaker"),
            ("weaker = 'higher'\nzero = 'weakest'", "a larger number is weaker; 0 means no limit and is weakest"),
            ("weaker = 'lower'", "a smaller number is weaker"),
            ("weaker = 'lower'\nunit = 'seconds'\nzero = 'strongest'", "shorter is weaker; 0 is strongest"),
            ("weaker = 'longer'", "longer is weaker; 0 or switched off means no limit and is weakest"),
            ("weaker = 'true'", "on (`true`) is weaker"),
            ("weaker = 'false'", "off (`false`) is weaker"),
            ("weaker = 'added'", "any addition is weaker"),
            ("weaker = 'removed'", "any removal is weaker"),
            ("weaker = 'changed'", "any change is weaker"),
            ("weaker = ['a', true, 3]", "strongest to weakest: a, on, 3"),
        ];
        for (rule, expected) in table {
            let setting = format!(
                "id = 'x'\ntitle = 'X'\nwhy = 'Why.'\npaths = ['/x']\ncategory = 'mfa'\nseverity = 'high'\n{rule}"
            );
            assert_eq!(strength(&toml::from_str(&setting).unwrap()), expected, "{rule}");
        }
    }

    #[test]
    fn what_the_table_says_of_a_path_has_words() {
        let table = [
            (Provider::Auth0, "/tenants.settings/sandbox_version", ""),
            (Provider::Auth0, "/tenants.settings/session_lifetime", "taken for 168 when the vendor leaves it out"),
            (Provider::Auth0, "/tenants.settings/sandbox_versions_available/0", "not kept and not compared"),
            (Provider::Auth0, "/clients/shop/client_secret", "as a keyed fingerprint"),
            (Provider::Auth0, "/tenants.settings/error_page/html", "as digest and size"),
            (Provider::Auth0, "/tenants.settings/enabled_locales", "order matters"),
            (Provider::Auth0, "/guardian.policies", "as a set"),
            (Provider::Clerk, "/domains", "told apart by `name`"),
            (Provider::Clerk, "/frontend.environment/user_settings/social/oauth_x", "while its `enabled` is off"),
        ];
        for (provider, path, expected) in table {
            let path: Pointer = path.parse().unwrap();
            let sections = Table::of(provider);
            let words = kept(sections, sections.section(path.section()).unwrap(), &path).join("; ");
            assert!(words.contains(expected) && words.is_empty() == expected.is_empty(), "{path}: {words}");
        }
    }

    #[test]
    fn what_is_suggested_is_a_catalogue() {
        let path: Pointer = "/tenants.settings/a \"new\" \\ field".parse().unwrap();
        let words = how_to_describe(&path);
        let own = words.split_once("[[setting]]").map(|(_, own)| format!("[[setting]]{own}")).unwrap();
        let catalogue = Catalogue::of(Provider::Auth0, Some(("own.toml", &own))).unwrap();
        assert_eq!(catalogue.setting_at(&path).unwrap().id, "a--new----field");
    }
}
