//! Where a section is read: one address, or one for each object of another section.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use url::Url;

use super::SectionRefusal;
use crate::canonical::unusable_reason;
use crate::model::{Pattern, State, display_safe};
use crate::sections::{Each, Section};

/// Addresses of one section at most.
const MOST_ADDRESSES: usize = 10_000;

/// The longest id that stands in an address.
const LONGEST_ID: usize = 1 << 10;

/// What came of a section that others depend on.
pub(super) type ParentOutcome = Arc<Result<Value, SectionRefusal>>;

/// The values for the names in braces.
type Substitutions<'a> = Vec<(&'a str, String)>;

/// One address of a section.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Address {
    pub(super) url: Url,
    /// Where the answer belongs in the section; empty when it is all of the section.
    pub(super) keys: Vec<String>,
}

/// Where a section is read.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Addresses {
    pub(super) asked: Vec<Address>,
    /// Objects for which nothing can be read: where the answer would belong, and why there is none. The last key is empty
    /// for objects that have none.
    pub(super) unusable: Vec<(Vec<String>, String)>,
}

/// Every address of `section` under `base`. `names` stands in for the names in braces that the configuration knows,
/// `parents` holds the sections it depends on.
///
/// # Errors
/// The section is off, because there is nothing it could be read for; or a section it depends on could not be read, or none
/// of its objects can be used.
pub(super) fn addresses(
    section: &Section,
    base: &Url,
    names: &[(&str, &str)],
    parents: &BTreeMap<&str, ParentOutcome>,
) -> Result<Addresses, SectionRefusal> {
    if let Some(when) = &section.when {
        let objects = objects(parents, &when.of)?;
        if !objects.iter().any(|object| has(object, &when.fields)) {
            // An object without the field may or may not need a reading, so the section is unknown.
            if let Some(name) = objects.iter().find_map(|object| does_not_say(object, &when.fields)) {
                let of = &when.of;
                let reason =
                    format!("an object of {of} does not say its '{name}', so it is not known what to read for it");
                return Err(SectionRefusal::unreachable(reason));
            }
            let fields: Vec<_> = when.fields.iter().map(|(name, value)| format!("{name} = {value}")).collect();
            let reason = match fields.is_empty() {
                true => format!("there is nothing in {}", when.of),
                false => format!("nothing in {} has {}", when.of, fields.join(" and ")),
            };
            return Err(SectionRefusal::of(State::Off, reason));
        }
    }
    let known = names.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    let mut found: Vec<(Vec<String>, Substitutions<'_>)> = vec![(Vec::new(), known)];
    let mut unusable = Vec::new();
    for each in &section.each {
        let Values { values, unusable: odd } = values(each, parents)?;
        if found.len().saturating_mul(values.len()) > MOST_ADDRESSES {
            return Err(SectionRefusal::unreachable(format!(
                "it would be read at more than {MOST_ADDRESSES} addresses"
            )));
        }
        let mut longer = Vec::with_capacity(found.len() * values.len());
        for (keys, names) in &found {
            let place = |key: &String| [keys.as_slice(), std::slice::from_ref(key)].concat();
            unusable.extend(odd.iter().map(|(key, reason)| (place(key), reason.clone())));
            for (key, value) in &values {
                let (mut keys, mut names) = (keys.clone(), names.clone());
                keys.push(key.clone());
                names.push((&each.name, value.clone()));
                longer.push((keys, names));
            }
        }
        found = longer;
    }
    let asked = found.into_iter().map(|(keys, names)| Address { url: url(base, &section.path, &names), keys });
    Ok(Addresses { asked: asked.collect(), unusable })
}

/// Whether `id` is one segment of an address, and the same one to every server on the way: `.` and `..` are none, however
/// they are spelled, and some characters are left out of addresses.
fn is_segment(id: &str) -> bool {
    let plain = id.to_ascii_lowercase().replace("%2e", ".");
    !matches!(plain.as_str(), "" | "." | "..") && id.len() <= LONGEST_ID && !id.chars().any(char::is_control)
}

/// The values for one name in braces.
struct Values {
    /// Keys and values.
    values: Vec<(String, String)>,
    /// Keys of objects for which there is no value, and why. The key is empty for objects that have none.
    unusable: BTreeMap<String, String>,
}

/// The keys and values of one name in braces.
fn values(each: &Each, parents: &BTreeMap<&str, ParentOutcome>) -> Result<Values, SectionRefusal> {
    let (Some(of), Some(pattern)) = (&each.of, &each.id) else {
        let values = each.names.iter().map(|name| (name.clone(), name.clone())).collect();
        return Ok(Values { values, unusable: BTreeMap::new() });
    };
    let (mut found, mut unusable, mut nameless) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for object in objects(parents, of)? {
        let ids = match ids(each, pattern, of, object) {
            Ok(ids) => ids,
            Err(reason) => {
                match key_of(each, pattern, object) {
                    Some(key) => _ = unusable.insert(key.to_owned(), reason),
                    None => nameless.push(reason),
                }
                continue;
            }
        };
        for id in ids {
            let key = match &each.key {
                Some(_) => key_of(each, pattern, object).unwrap_or_default(),
                None => id,
            };
            if key.is_empty() {
                nameless.push(format!("an object of {of} has no '{}'", each.key.as_deref().unwrap_or_default()));
            } else if found.insert(key.to_owned(), id.to_owned()).is_some_and(|other| other != id) {
                let safe = display_safe(key);
                let reason = format!("objects of {of} cannot be told apart: '{safe}' is there twice");
                unusable.insert(key.to_owned(), reason);
            }
        }
    }
    found.retain(|key, _| !unusable.contains_key(key));
    if let Some((first, others)) = nameless.split_first() {
        let more = if others.is_empty() { String::new() } else { format!(", and {} more", others.len()) };
        unusable.insert(String::new(), format!("{first}{more}"));
    }
    match unusable.values().next() {
        Some(reason) if found.is_empty() => Err(SectionRefusal::unreachable(reason)),
        _ => Ok(Values { values: found.into_iter().collect(), unusable }),
    }
}

/// The ids of `object` that something is read for.
fn ids<'a>(each: &Each, id: &Pattern, of: &str, object: &'a Value) -> Result<Vec<&'a str>, String> {
    if let Some(reason) = unusable_reason(object) {
        return Err(format!("an object of {of} cannot be used: {reason}"));
    }
    if let Some(name) = does_not_say(object, &each.fields) {
        return Err(format!("an object of {of} does not say its '{name}', so it is not known what to read for it"));
    }
    if !has(object, &each.fields) {
        return Ok(Vec::new());
    }
    // A field of the object itself is always there; of those deeper within there may be none.
    let has_id = |place: &str| object.pointer(place).and_then(Value::as_str).is_some_and(|id| !id.is_empty());
    if let Some(place) = field_of(id).filter(|place| !has_id(place)) {
        return Err(format!(
            "an object of {of} has no '{}', so nothing can be read for it",
            place.trim_start_matches('/')
        ));
    }
    let ids: Vec<&str> = id.find(object).into_iter().filter_map(Value::as_str).filter(|id| !id.is_empty()).collect();
    match ids.iter().find(|id| !is_segment(id)) {
        Some(id) => Err(format!("an object of {of} has an id that cannot stand in an address: '{}'", display_safe(id))),
        None => Ok(ids),
    }
}

/// The pointer to the field that `id` is, if it is a field of the object itself.
fn field_of(id: &Pattern) -> Option<String> {
    Some(id.to_string()).filter(|place| place.matches('/').count() == 1 && !place.contains('*'))
}

/// Under which key the answer for `object` belongs, as far as it is one for the whole object.
fn key_of<'a>(each: &Each, id: &Pattern, object: &'a Value) -> Option<&'a str> {
    let key = match &each.key {
        Some(field) => object.get(field),
        None => object.pointer(&field_of(id)?),
    };
    key?.as_str().filter(|key| !key.is_empty() && key.len() <= LONGEST_ID)
}

/// The objects of a section that this one depends on.
fn objects<'a>(parents: &'a BTreeMap<&str, ParentOutcome>, of: &str) -> Result<Vec<&'a Value>, SectionRefusal> {
    match parents.get(of).map(|outcome| outcome.as_ref()) {
        Some(Ok(Value::Array(items))) => Ok(items.iter().collect()),
        Some(Ok(object)) => Ok(vec![object]),
        // What does not exist has no parts.
        Some(Err(refusal)) if refusal.state.is_comparable() => {
            Err(SectionRefusal { reason: format!("{of} is {}: {}", refusal.state, refusal.reason), ..refusal.clone() })
        }
        Some(Err(refusal)) => {
            let reason = format!("{of} has to be read first: {}", refusal.reason);
            Err(SectionRefusal { state: State::Unreachable, reason, ..refusal.clone() })
        }
        None => Err(SectionRefusal::unreachable(format!("{of} has to be read first"))),
    }
}

/// A field of `fields` of which `object` does not say what it is.
fn does_not_say<'a>(object: &Value, fields: &'a BTreeMap<String, Value>) -> Option<&'a String> {
    let says = |name: &str, wanted: &Value| match (object.get(name), wanted) {
        (Some(Value::String(text)), _) => !text.is_empty(),
        (_, Value::String(_)) => false,
        (found, _) => found.is_some(),
    };
    fields.iter().find(|(name, wanted)| !says(name, wanted)).map(|(name, _)| name)
}

fn has(object: &Value, fields: &BTreeMap<String, Value>) -> bool {
    fields.iter().all(|(name, wanted)| match (object.get(name), wanted) {
        (Some(value), Value::Array(choice)) => choice.contains(value),
        (value, wanted) => value == Some(wanted),
    })
}

/// `path` under `base`, which may have a path of its own (a proxy). What stands in for a name in braces is one segment,
/// whatever is in it.
fn url(base: &Url, path: &str, names: &Substitutions<'_>) -> Url {
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
    use crate::canonical::unusable;
    use crate::model::Provider;
    use crate::sections::Table;
    use serde_json::json;

    fn section(text: &str) -> Section {
        let head = "name = 'x'\napi = 'management'\nshape = 'list'\nscope = 'read:x'\nholds = 'x'\n";
        toml::from_str(&format!("{head}{text}")).unwrap()
    }

    fn of(
        section: &Section,
        parents: &[(&'static str, Result<Value, SectionRefusal>)],
    ) -> Result<Vec<String>, SectionRefusal> {
        let parents = parents.iter().map(|(name, outcome)| (*name, Arc::new(outcome.clone()))).collect();
        let base = "https://a.example/proxy".parse().unwrap();
        let found = addresses(section, &base, &[("env", "production")], &parents)?;
        let asked = found.asked.into_iter().map(|one| format!("{} {}", one.keys.join("+"), one.url.path()));
        Ok(asked.chain(found.unusable.into_iter().map(|(keys, _)| format!("{} unusable", keys.join("+")))).collect())
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
        let known = json!({ "name": "d" }).as_object().cloned().unwrap();
        for (odd, place) in [
            (json!({ "id": "4", "name": "d" }), "d unusable"),
            (json!({ "name": "d", "off": true }), "d unusable"),
            (json!({ "name": "d", "id": "..", "off": true }), "d unusable"),
            (json!({ "id": "4", "off": true }), " unusable"),
            (json!(null), " unusable"),
            (unusable("too deep", known), "d unusable"),
        ] {
            let parents = [("apis", Ok(json!([{ "id": "3", "name": "c", "off": true }, odd])))];
            let found = of(&section(&filtered), &parents).unwrap();
            assert_eq!(found, ["c /proxy/api/3/production", place], "{odd}");
            let refusal = of(&section(&filtered), &[("apis", Ok(json!([odd])))]).unwrap_err();
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
        let refused = |state| Err(SectionRefusal::of(state, "r"));
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
        assert_eq!(of(&each, &[("a", Ok(twins.clone()))]).unwrap_err().state, State::Unreachable);
        let mut more = twins;
        more.as_array_mut().unwrap().push(json!({ "id": "3", "name": "m" }));
        assert_eq!(of(&each, &[("a", Ok(more))]).unwrap(), ["m /proxy/3", "n unusable"]);
    }

    #[test]
    fn every_row_of_the_tables_can_be_addressed() {
        let base = "https://a.example".parse().unwrap();
        for provider in Provider::ALL {
            for section in Table::of(provider).sections().iter().filter(|section| section.parents().count() == 0) {
                let names = [("application_id", "app_1"), ("environment", "production")];
                let found = addresses(section, &base, &names, &BTreeMap::new()).unwrap();
                assert!(found.asked.iter().all(|one| !one.url.path().contains("%7B")), "{}: {found:?}", section.name);
            }
        }
    }
}
