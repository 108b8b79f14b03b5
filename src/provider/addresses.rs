//! Where a section is read: one address, or one for each object of another section.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;
use url::Url;

use super::Refusal;
use crate::model::{State, display_safe};
use crate::sections::{Each, Section};

/// Addresses of one section at most.
const MOST_ADDRESSES: usize = 10_000;

/// The longest id that stands in an address.
const LONGEST_ID: usize = 1 << 10;

/// What came of a section that others depend on.
pub(super) type Outcome = Arc<Result<Value, Refusal>>;

/// What stands in for the names in braces.
type Names<'a> = Vec<(&'a str, String)>;

/// One address of a section.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Address {
    pub(super) url: Url,
    /// Where the answer belongs in the section; empty when it is all of the section.
    pub(super) keys: Vec<String>,
}

/// Every address of `section` under `base`. `names` stands in for the names in braces that the configuration knows,
/// `parents` holds the sections it depends on.
///
/// # Errors
/// The section is off, because there is nothing it could be read for; or a section it depends on could not be read.
pub(super) fn addresses(
    section: &Section,
    base: &Url,
    names: &[(&str, &str)],
    parents: &BTreeMap<&str, Outcome>,
) -> Result<Vec<Address>, Refusal> {
    if let Some(when) = &section.when {
        let objects = objects(parents, &when.of)?;
        if !objects.iter().any(|object| has(object, &when.fields)) {
            told_apart(&objects, &when.of, &when.fields)?;
            let fields: Vec<_> = when.fields.iter().map(|(name, value)| format!("{name} = {value}")).collect();
            let reason = match fields.is_empty() {
                true => format!("there is nothing in {}", when.of),
                false => format!("nothing in {} has {}", when.of, fields.join(" and ")),
            };
            return Err(Refusal::of(State::Off, reason));
        }
    }
    let known = names.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    let mut found: Vec<(Vec<String>, Names<'_>)> = vec![(Vec::new(), known)];
    for each in &section.each {
        let values = values(each, parents)?;
        if found.len().saturating_mul(values.len()) > MOST_ADDRESSES {
            return Err(Refusal::unreachable(format!("it would be read at more than {MOST_ADDRESSES} addresses")));
        }
        let mut longer = Vec::with_capacity(found.len() * values.len());
        for (keys, names) in &found {
            for (key, value) in &values {
                let (mut keys, mut names) = (keys.clone(), names.clone());
                keys.push(key.clone());
                names.push((&each.name, value.clone()));
                longer.push((keys, names));
            }
        }
        found = longer;
    }
    Ok(found.into_iter().map(|(keys, names)| Address { url: url(base, &section.path, &names), keys }).collect())
}

/// Whether `id` is one segment of an address, and the same one to every server on the way: `.` and `..` are none, however
/// they are spelled, and some characters are left out of addresses.
fn is_segment(id: &str) -> bool {
    let plain = id.to_ascii_lowercase().replace("%2e", ".");
    !matches!(plain.as_str(), "" | "." | "..") && id.len() <= LONGEST_ID && !id.chars().any(char::is_control)
}

/// The keys and values of one name in braces.
fn values(each: &Each, parents: &BTreeMap<&str, Outcome>) -> Result<Vec<(String, String)>, Refusal> {
    let (Some(of), Some(id)) = (&each.of, &each.id) else {
        return Ok(each.names.iter().map(|name| (name.clone(), name.clone())).collect());
    };
    let mut found = BTreeSet::new();
    let objects = objects(parents, of)?;
    told_apart(&objects, of, &each.fields)?;
    for object in objects.into_iter().filter(|object| has(object, &each.fields)) {
        // A field of the object itself is always there; of those deeper within there may be none.
        let place = id.to_string();
        let is_field = place.matches('/').count() == 1 && !place.contains('*');
        let has_id = object.pointer(&place).and_then(Value::as_str).is_some_and(|id| !id.is_empty());
        if is_field && !has_id {
            let reason =
                format!("an object of {of} has no '{}', so nothing can be read for it", place.trim_start_matches('/'));
            return Err(Refusal::unreachable(reason));
        }
        for id in id.find(object).into_iter().filter_map(Value::as_str).filter(|id| !id.is_empty()) {
            let key = match &each.key {
                Some(field) => object.get(field).and_then(Value::as_str).unwrap_or_default(),
                None => id,
            };
            if !is_segment(id) || key.len() > LONGEST_ID {
                let reason =
                    format!("an object of {of} has an id that cannot stand in an address: '{}'", display_safe(id));
                return Err(Refusal::unreachable(reason));
            }
            found.insert((key.to_owned(), id.to_owned()));
        }
    }
    let mut keys = BTreeSet::new();
    match found.iter().find(|(key, _)| key.is_empty() || !keys.insert(key)) {
        Some((key, _)) => {
            let reason = format!("objects of {of} cannot be told apart: '{}' is there twice", display_safe(key));
            Err(Refusal::unreachable(reason))
        }
        None => Ok(found.into_iter().collect()),
    }
}

/// The objects of a section that this one depends on.
fn objects<'a>(parents: &'a BTreeMap<&str, Outcome>, of: &str) -> Result<Vec<&'a Value>, Refusal> {
    match parents.get(of).map(|outcome| outcome.as_ref()) {
        Some(Ok(Value::Array(items))) => Ok(items.iter().collect()),
        Some(Ok(object)) => Ok(vec![object]),
        // What does not exist has no parts.
        Some(Err(refusal)) if refusal.state.is_comparable() => {
            Err(Refusal { reason: format!("{of} is {}: {}", refusal.state, refusal.reason), ..refusal.clone() })
        }
        Some(Err(refusal)) => {
            let reason = format!("{of} has to be read first: {}", refusal.reason);
            Err(Refusal { state: State::Unreachable, reason, ..refusal.clone() })
        }
        None => Err(Refusal::unreachable(format!("{of} has to be read first"))),
    }
}

/// Of an object that does not say what it is nobody knows whether something has to be read for it.
fn told_apart(objects: &[&Value], of: &str, fields: &BTreeMap<String, Value>) -> Result<(), Refusal> {
    let says = |object: &Value, name: &str, wanted: &Value| match (object.get(name), wanted) {
        (Some(Value::String(text)), _) => !text.is_empty(),
        (_, Value::String(_)) => false,
        (found, _) => found.is_some(),
    };
    for object in objects {
        if let Some((name, _)) = fields.iter().find(|(name, wanted)| !says(object, name, wanted)) {
            let reason = format!("an object of {of} does not say its '{name}', so it is not known what to read for it");
            return Err(Refusal::unreachable(reason));
        }
    }
    Ok(())
}

fn has(object: &Value, fields: &BTreeMap<String, Value>) -> bool {
    fields.iter().all(|(name, wanted)| match (object.get(name), wanted) {
        (Some(value), Value::Array(choice)) => choice.contains(value),
        (value, wanted) => value == Some(wanted),
    })
}

/// `path` under `base`, which may have a path of its own (a proxy). What stands in for a name in braces is one segment,
/// whatever is in it.
fn url(base: &Url, path: &str, names: &Names<'_>) -> Url {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty();
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            let value = name.and_then(|name| names.iter().find(|(known, _)| *known == name));
            segments.push(value.map_or(segment, |(_, value)| value));
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Provider;
    use crate::sections::Table;
    use serde_json::json;

    fn section(text: &str) -> Section {
        let head = "name = 'x'\napi = 'management'\nshape = 'list'\nscope = 'read:x'\nholds = 'x'\n";
        toml::from_str(&format!("{head}{text}")).unwrap()
    }

    fn of(section: &Section, parents: &[(&'static str, Result<Value, Refusal>)]) -> Result<Vec<String>, Refusal> {
        let parents = parents.iter().map(|(name, outcome)| (*name, Arc::new(outcome.clone()))).collect();
        let base = "https://a.example/proxy".parse().unwrap();
        let found = addresses(section, &base, &[("env", "production")], &parents)?;
        Ok(found.into_iter().map(|one| format!("{} {}", one.keys.join("+"), one.url.path())).collect())
    }

    #[test]
    fn an_address_for_each_object_in_the_vendors_own_spelling() {
        let parents = [(
            "apis",
            Ok(json!([
                { "id": "1", "name": "b", "off": false },
                { "id": "https://x/../y?z#f", "name": "a", "off": false },
                { "id": "3", "name": "c", "off": true },
            ])),
        )];
        let each = "path = '/api/{id}/{env}'\neach = [{ as = 'id', of = 'apis', id = '/id', key = 'name' }]";
        assert_eq!(
            of(&section(each), &parents).unwrap(),
            [
                "a /proxy/api/https:%2F%2Fx%2F..%2Fy%3Fz%23f/production",
                "b /proxy/api/1/production",
                "c /proxy/api/3/production"
            ]
        );
        let filtered = each.replace("key = 'name'", "key = 'name', where = { off = true }");
        assert_eq!(of(&section(&filtered), &parents).unwrap(), ["c /proxy/api/3/production"]);
        for odd in [json!({ "id": "4", "name": "d" }), json!({ "name": "d", "off": true }), json!(null)] {
            let parents = [("apis", Ok(json!([{ "id": "3", "name": "c", "off": true }, odd])))];
            let refusal = of(&section(&filtered), &parents).unwrap_err();
            assert_eq!(refusal.state, State::Unreachable, "{odd}: {}", refusal.reason);
        }
    }

    #[test]
    fn several_names_are_combined_and_values_asked_once() {
        let text = "path = '/p/{prompt}/{language}'\neach = [{ as = 'prompt', names = ['login', 'signup'] }, \
                    { as = 'language', of = 't', id = '/locales/*' }]";
        let parents = [("t", Ok(json!({ "locales": ["en", "fr", "en"] })))];
        assert_eq!(
            of(&section(text), &parents).unwrap(),
            [
                "login+en /proxy/p/login/en",
                "login+fr /proxy/p/login/fr",
                "signup+en /proxy/p/signup/en",
                "signup+fr /proxy/p/signup/fr"
            ]
        );
    }

    #[test]
    fn what_its_parent_cannot_say_is_not_known_and_what_the_parent_does_not_have_is_off() {
        let when = section("path = '/duo'\nwhen = { of = 'factors', where = { name = 'duo', enabled = true } }");
        let on = json!([{ "name": "duo", "enabled": true }]);
        let off = json!([{ "name": "duo", "enabled": false }, { "name": "otp", "enabled": true }]);
        let refused = |state| Err(Refusal::of(state, "r"));
        assert_eq!(of(&when, &[("factors", Ok(on))]).unwrap(), [" /proxy/duo"]);
        for (parents, expected) in [
            (vec![("factors", Ok(off))], State::Off),
            (vec![("factors", refused(State::NotOnPlan))], State::NotOnPlan),
            (vec![("factors", refused(State::NotPermitted))], State::Unreachable),
            (vec![], State::Unreachable),
        ] {
            assert_eq!(of(&when, &parents).unwrap_err().state, expected, "{parents:?}");
        }
    }

    #[test]
    fn an_id_that_would_lead_to_another_address_is_not_asked_for() {
        let each =
            section("path = '/roles/{id}/permissions'\neach = [{ as = 'id', of = 'a', id = '/id', key = 'name' }]");
        let of_id = |id: &str| of(&each, &[("a", Ok(json!([{ "id": id, "name": "n" }])))]);
        let long = "x".repeat(2_000);
        for id in [".", "..", "%2e", "%2E%2e", ".%2e", ".\t.", "\n..", "..\r", "\t", "a\u{0}", "a\u{7f}", long.as_str()]
        {
            let refused = of_id(id).unwrap_err();
            assert!(
                refused.state == State::Unreachable && refused.reason.contains("cannot stand"),
                "{id:?} {refused:?}"
            );
        }
        for (id, segment) in
            [("...", "..."), ("..a", "..a"), ("%2e%2f", "%252e%252f"), ("a/..", "a%2F.."), ("\\..", "%5C..")]
        {
            assert_eq!(of_id(id).unwrap(), [format!("n /proxy/roles/{segment}/permissions")], "{id:?}");
        }
    }

    #[test]
    fn there_are_only_so_many_addresses() {
        let text =
            "path = '/{a}/{b}'\neach = [{ as = 'a', of = 't', id = '/x/*' }, { as = 'b', of = 't', id = '/x/*' }]";
        let ids: Vec<String> = (0..101).map(|number| number.to_string()).collect();
        let refused = of(&section(text), &[("t", Ok(json!({ "x": ids })))]).unwrap_err();
        assert!(refused.state == State::Unreachable && refused.reason.contains("more than 10000"), "{refused:?}");
    }

    #[test]
    fn objects_that_cannot_be_told_apart_are_not_read() {
        let each = section("path = '/{id}'\neach = [{ as = 'id', of = 'a', id = '/id', key = 'name' }]");
        let twins = json!([{ "id": "1", "name": "n" }, { "id": "2", "name": "n" }]);
        assert_eq!(of(&each, &[("a", Ok(twins))]).unwrap_err().state, State::Unreachable);
    }

    #[test]
    fn every_row_of_the_tables_can_be_addressed() {
        let base = "https://a.example".parse().unwrap();
        for provider in Provider::ALL {
            for section in Table::of(provider).sections().iter().filter(|section| section.parents().count() == 0) {
                let names = [("application_id", "app_1"), ("environment", "production")];
                let found = addresses(section, &base, &names, &BTreeMap::new()).unwrap();
                assert!(found.iter().all(|one| !one.url.path().contains("%7B")), "{}: {found:?}", section.name);
            }
        }
    }
}
