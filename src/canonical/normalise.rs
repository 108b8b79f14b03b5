//! From strict JSON to the canonical document of a section.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::certificate::{certificates, undressed};
use super::redact::{Redaction, is_secret_text};
use super::unknown::{marker, told_apart, unknown, unusable_reason};
use super::{Document, MemoryBudget, OverBudget, to_bytes, weight};
use crate::model::{Digest, Pointer, display_safe, is_nothing};
use crate::sections::Section;

/// A list whose items cannot be told apart.
#[derive(Debug, thiserror::Error)]
pub enum BadList {
    /// An item has no identity.
    #[error("an item of the list at '{path}' has no '{field}'")]
    NoIdentity {
        /// Where the list is.
        path: String,
        /// The field that should identify the item.
        field: String,
    },
    /// Two items have the same identity.
    #[error("two items of the list at '{path}' have the {field} '{identity}'")]
    SameIdentity {
        /// Where the list is.
        path: String,
        /// The field that identifies items.
        field: String,
        /// What both have.
        identity: String,
    },
    /// Much more would be kept than was read.
    #[error("of what stands for its secrets, code and certificates {0}")]
    OverBudget(#[from] OverBudget),
}

/// What may stand for the secrets, code and certificates of one section: each takes many times the memory of a short text.
const STAND_INS: usize = 24 << 20;

/// The longest identity of an item: it stands in the path of each change below it.
const LONGEST_IDENTITY: usize = 1 << 10;

/// Makes the canonical document of `section` from what the vendor answered.
///
/// An item of a list that has no identity, or that of another item, is unknown in the document: never a silent overwrite,
/// and never gone.
///
/// # Errors
/// No item of the answer can be told apart from the others, or what stands for its secrets takes too much memory.
pub fn document(section: &Section, fetched: Value, redaction: &Redaction) -> Result<Document, BadList> {
    let walk = Normaliser { section, redaction, stand_ins: &MemoryBudget::of(STAND_INS) };
    walk.value(fetched, &mut Vec::new()).map(|value| Document::new(&value.unwrap_or(Value::Null)))
}

struct Normaliser<'a> {
    section: &'a Section,
    redaction: &'a Redaction,
    stand_ins: &'a MemoryBudget,
}

impl Normaliser<'_> {
    /// The canonical form of the value at `path` (relative to the section), or nothing if it is volatile.
    fn value(&self, value: Value, path: &mut Vec<String>) -> Result<Option<Value>, BadList> {
        if self.section.is_volatile(path) {
            return Ok(None);
        }
        if let Some(reason) = unusable_reason(&value) {
            return Ok(Some(marker(reason)));
        }
        if self.section.is_secret(path) && !is_nothing(&value) {
            // A certificate is public.
            if let Some(certificates) = value.as_str().and_then(certificates) {
                return Ok(Some(self.standing(certificates)?));
            }
            let value = self.unordered(value, path);
            return Ok(Some(self.standing(self.fingerprint(path, &value))?));
        }
        let canonical = match value {
            Value::String(text) => self.text(text, path)?,
            Value::Object(entries) => {
                let had_fields = !entries.is_empty();
                let object = self.object(entries, path)?;
                // An object of volatile fields alone is volatile itself, unless it is the answer.
                if had_fields && object.is_empty() && path.len() > self.section.each.len() {
                    return Ok(None);
                }
                Value::Object(object)
            }
            Value::Array(items) => match self.section.key_at(path) {
                Some(fields) => self.keyed(items, fields, path)?,
                None => self.list(items, path)?,
            },
            scalar => scalar,
        };
        Ok(Some(canonical))
    }

    /// `stand_in`, if there is room for it.
    fn standing(&self, stand_in: Value) -> Result<Value, OverBudget> {
        self.stand_ins.take(weight(&stand_in)).map(|()| stand_in)
    }

    fn text(&self, text: String, path: &[String]) -> Result<Value, OverBudget> {
        if let Some(certificates) = certificates(&text) {
            return self.standing(certificates);
        }
        if self.section.is_code(path) && !self.redaction.keep_code && !text.is_empty() {
            let digest = Digest::of(text.as_bytes());
            let digits = digest.as_str().trim_start_matches("sha256:");
            return self.standing(json!({ "sha256": digits, "size": text.len() }));
        }
        let name = match self.section.is_freely_named(path) {
            true => "",
            false => path.iter().rev().find(|token| *token != "*").map_or("", String::as_str),
        };
        if !text.is_empty() && is_secret_text(name, &text) && !self.section.is_code(path) {
            return self.standing(self.fingerprint(path, &Value::String(text)));
        }
        Ok(Value::String(text))
    }

    fn object(&self, entries: Map<String, Value>, path: &mut Vec<String>) -> Result<Map<String, Value>, BadList> {
        let mut canonical = Map::new();
        for (name, value) in entries {
            path.push(name);
            let kept = self.value(value, path)?;
            let name = path.pop().unwrap_or_default();
            if let Some(kept) = kept {
                canonical.insert(self.name(name, path), kept);
            }
        }
        Ok(told_apart(canonical))
    }

    /// The name of a field of the object at `path`. People paste secrets there too, and a name is shown wherever its path is.
    fn name(&self, name: String, path: &[String]) -> String {
        if is_secret_text("", &name) { self.redaction.key.name_of(&self.place(path), &name) } else { name }
    }

    /// A list of objects with an identity becomes a map. What cannot be used of it is unknown, and nothing else of it is.
    fn keyed(&self, items: Vec<Value>, fields: &[String], path: &mut Vec<String>) -> Result<Value, BadList> {
        let (mut canonical, mut twice, mut nameless, mut is_any_long) = (Map::new(), BTreeSet::new(), 0, false);
        let is_answer = path.len() == self.section.each.len();
        let missing = |item: &Value| self.section.missing_in(item).filter(|_| is_answer);
        let count = items.len();
        for item in items {
            let Some(identity) = self.identity(&item, fields, path) else {
                nameless += 1;
                continue;
            };
            if identity.len() > LONGEST_IDENTITY {
                (nameless, is_any_long) = (nameless + 1, true);
                continue;
            }
            if canonical.contains_key(&identity) {
                twice.insert(identity);
                continue;
            }
            let kept = match missing(&item).filter(|_| unusable_reason(&item).is_none()) {
                Some(field) => marker(&format!("it has no '{field}'")),
                None => {
                    path.push(identity.clone());
                    let kept = self.value(item, path)?;
                    path.pop();
                    kept.unwrap_or_else(|| json!({}))
                }
            };
            canonical.insert(identity, kept);
        }
        let field = fields.join(" and ");
        // Nothing of the answer is left to be compared.
        let is_usable = |(identity, kept): (&String, &Value)| !twice.contains(identity) && unknown(kept).is_none();
        if is_answer && count > 0 && !canonical.iter().any(is_usable) {
            let path = self.place(path).to_string();
            return Err(match twice.pop_first() {
                Some(identity) => BadList::SameIdentity { path, field, identity: display_safe(&identity) },
                None => BadList::NoIdentity { path, field },
            });
        }
        for identity in twice {
            let reason = format!("two items have the {field} '{}'", display_safe(&identity));
            canonical.insert(identity, marker(&reason));
        }
        if nameless > 0 {
            let items = if nameless == 1 { "an item has".to_owned() } else { format!("{nameless} items have") };
            let bound = if is_any_long { format!(" of up to {LONGEST_IDENTITY} bytes") } else { String::new() };
            canonical.insert(String::new(), marker(&format!("{items} no '{field}'{bound}")));
        }
        Ok(Value::Object(canonical))
    }

    /// What tells `item` from the others of the list at `path`. Of several fields those count that it has.
    fn identity(&self, item: &Value, fields: &[String], path: &mut Vec<String>) -> Option<String> {
        let mut parts = Vec::new();
        for field in fields {
            let value = item.pointer(&format!("/{field}"));
            let Some(text) = value.and_then(Value::as_str).filter(|text| !text.is_empty()) else { continue };
            let depth = path.len();
            path.push("*".to_owned());
            path.extend(field.split('/').map(str::to_owned));
            let is_secret = self.section.is_secret(path);
            let place = self.place(path);
            path.truncate(depth);
            let is_secret = is_secret || is_secret_text("", text);
            parts.push(if is_secret { self.redaction.key.name_of(&place, text) } else { text.to_owned() });
        }
        (!parts.is_empty()).then(|| parts.join(" "))
    }

    /// Any other list is a set, sorted and without repetition, unless the section says that its order matters.
    fn list(&self, items: Vec<Value>, path: &mut Vec<String>) -> Result<Value, BadList> {
        path.push("*".to_owned());
        let mut canonical = Vec::with_capacity(items.len());
        for item in items {
            if let Some(kept) = self.value(item, path)? {
                canonical.push(kept);
            }
        }
        path.pop();
        Ok(Value::Array(self.ordered(canonical, path)))
    }

    /// A secret with parts, in the form in which it is the same however the vendor orders them.
    fn unordered(&self, value: Value, path: &mut Vec<String>) -> Value {
        let mut part = |name: String, value| {
            path.push(name);
            let part = (!self.section.is_volatile(path)).then(|| self.unordered(value, path));
            Some((path.pop()?, part?))
        };
        match value {
            Value::Object(entries) => entries.into_iter().filter_map(|(name, entry)| part(name, entry)).collect(),
            Value::Array(items) => {
                let items = items.into_iter().filter_map(|item| Some(part("*".to_owned(), item)?.1)).collect();
                Value::Array(self.ordered(items, path))
            }
            Value::String(text) => undressed(text),
            scalar => scalar,
        }
    }

    /// A list without repetition and in one order, unless its order matters.
    fn ordered(&self, mut items: Vec<Value>, path: &[String]) -> Vec<Value> {
        if !self.section.is_sequence(path) {
            items.sort_by_cached_key(to_bytes);
            // By its bytes: 1 and 1.0 are one number.
            items.dedup_by_key(|item| to_bytes(item));
        }
        items
    }

    fn fingerprint(&self, path: &[String], value: &Value) -> Value {
        self.redaction.key.fingerprint(&self.place(path), value)
    }

    fn place(&self, path: &[String]) -> Pointer {
        path.iter().fold(Pointer::of_section(&self.section.name), |pointer, token| pointer.child(token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical::FingerprintKey;
    use crate::model::Provider;
    use crate::sections::Table;
    use proptest::prelude::*;

    fn canonical(provider: Provider, section: &str, value: Value) -> Result<Value, BadList> {
        let redaction = Redaction { key: FingerprintKey::new([7; 32]), keep_code: false };
        let section = Table::of(provider).section(section).unwrap();
        document(section, value, &redaction).map(|document| document.value().clone())
    }

    #[test]
    fn lists_of_objects_become_maps_and_volatile_fields_go() {
        let answer = json!([{ "name": "b", "claims": { "aud": "x" }, "updated_at": 1 }, { "name": "a", "claims": {} }]);
        let expected = json!({ "a": { "name": "a", "claims": {} }, "b": { "name": "b", "claims": { "aud": "x" } } });
        assert_eq!(canonical(Provider::Clerk, "jwt_templates", answer).unwrap(), expected);
    }

    #[test]
    fn a_list_that_cannot_be_keyed_is_an_error() {
        let twice = canonical(Provider::Clerk, "jwt_templates", json!([{ "name": "a" }, { "name": "a" }])).unwrap_err();
        assert!(matches!(twice, BadList::SameIdentity { .. }), "{twice}");
        for answer in [json!([{}]), json!([{ "name": "" }]), json!([{ "name": 1 }]), json!(["x"])] {
            let error = canonical(Provider::Clerk, "jwt_templates", answer).unwrap_err();
            assert!(matches!(error, BadList::NoIdentity { .. }), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_unknown_and_its_siblings_are_known() {
        let of = |answer| canonical(Provider::Clerk, "jwt_templates", answer).unwrap();
        let good = json!({ "name": "a", "id": "1", "claims": {}, "lifetime": 60 });
        let twin = |id: &str| json!({ "name": "b", "id": id, "claims": {}, "lifetime": 60 });
        let table = [
            (json!([good, twin("2"), twin("3")]), "b", "two items have the name 'b'"),
            (json!([good, twin("2"), twin("3"), twin("4")]), "b", "two items have the name 'b'"),
            (json!([good, { "claims": {} }]), "", "an item has no 'name'"),
            (json!([{ "name": 5 }, good, null, "x"]), "", "3 items have no 'name'"),
            (json!([good, { "name": "b" }]), "b", "it has no '"),
        ];
        for (answer, place, reason) in table {
            let document = of(answer);
            assert_eq!(document["a"], of(json!([good]))["a"]);
            let found = unknown(&document[place]).unwrap();
            assert!(found.starts_with(reason), "{found}");
            assert_eq!(document.as_object().unwrap().len(), 2);
        }
    }

    #[test]
    fn what_stands_for_many_secrets_takes_so_much_memory_at_most() {
        let with = |count: usize| {
            let tokens: Vec<String> = (0..count).map(|at| at.to_string()).collect();
            json!([{ "client_id": "a", "name": "a", "is_first_party": true, "my_tokens": tokens }])
        };
        let error = canonical(Provider::Auth0, "clients", with(75_000)).unwrap_err();
        assert!(error.to_string().contains("larger than 24 MiB"), "{error}");
        assert!(canonical(Provider::Auth0, "clients", with(1_000)).is_ok());
    }

    #[test]
    fn an_item_with_an_endless_name_is_unknown_and_its_siblings_are_known() {
        let item = |name: &str| json!({ "name": name, "id": name, "claims": {}, "lifetime": 60 });
        for (length, is_known) in [(LONGEST_IDENTITY, true), (LONGEST_IDENTITY + 1, false)] {
            let answer = json!([item("a"), item(&"b".repeat(length))]);
            let document = canonical(Provider::Clerk, "jwt_templates", answer).unwrap();
            assert_eq!(document["a"]["lifetime"], 60);
            assert_eq!(unknown(&document[""]).is_none(), is_known, "{length}");
        }
    }

    #[test]
    fn no_answer_makes_a_part_of_itself_unknown() {
        for text in ["x", "=x", ""] {
            let answer = json!([{ "name": "a", "claims": { "unknown": text } }]);
            let document = canonical(Provider::Clerk, "jwt_templates", answer).unwrap();
            assert_eq!(document["a"]["claims"], json!({ "unknown": format!("={text}") }));
            assert_eq!(unknown(&document["a"]["claims"]), None);
        }
    }

    #[test]
    fn secrets_and_code_are_nowhere_and_empty_ones_stay_empty() {
        let answer = json!([{
            "name": "db", "strategy": "auth0", "id": "con_1",
            "options": {
                "client_secret": "CANARY-1", "app_secret": "", "customScripts": { "login": "CANARY-2" },
                "configuration": { "DB": "CANARY-3" }, "unheard_of_api_key": "CANARY-4", "note": "sk_live_CANARY0123456789",
                "passwordPolicy": "good", "list_of_tokens": ["CANARY-5"],
                "newVendor": { "deep": [{ "password": "CANARY-6" }], "accessKey": "CANARY-7" }
            }
        }]);
        let document = canonical(Provider::Auth0, "connections", answer).unwrap();
        assert!(!document.to_string().contains("CANARY"), "{document}");
        let options = &document["db"]["options"];
        assert_eq!(options["app_secret"], "");
        assert_eq!(options["passwordPolicy"], "good");
        assert_eq!(options["customScripts"]["login"]["size"], 8);
    }

    #[test]
    fn the_name_of_a_claim_says_nothing_about_its_value() {
        let claims = json!({
            "token": "{{user.unsafe_metadata.token}}", "private_metadata": "{{user.private_metadata}}",
            "nested": { "authorization": ["{{user.public_metadata.roles}}"], "client_secret": "{{user.id}}" },
            "leaked_secret": "sk_live_CANARY0123456789", "note": "sk_live_CANARY9876543210",
        });
        let of = |section: &str, path: &str, answer| {
            let document = canonical(Provider::Clerk, section, answer).unwrap();
            assert!(!document.to_string().contains("CANARY"), "{section}: {document}");
            document.pointer(path).unwrap().clone()
        };
        let template = json!([{ "name": "a", "claims": claims }]);
        for (section, path, answer) in [
            ("jwt_templates", "/a/claims", template.clone()),
            ("platform.jwt_templates", "/a/claims", template),
            ("platform.config", "/session/claims", json!({ "session": { "claims": claims } })),
        ] {
            let found = of(section, path, answer);
            for place in ["/token", "/private_metadata", "/nested/authorization/0", "/nested/client_secret"] {
                assert_eq!(found.pointer(place), claims.pointer(place), "{section} {place}");
            }
            for place in ["/leaked_secret/fingerprint", "/note/fingerprint"] {
                assert!(found.pointer(place).is_some(), "{section} {place}: {found}");
            }
        }
    }

    #[test]
    fn a_secret_is_hidden_where_it_is_a_name() {
        let of = |section: &str, answer| canonical(Provider::Clerk, section, answer).unwrap();
        let named =
            |key: &str| of("jwt_templates", json!([{ "name": "a", "claims": { "n": { key: "x" }, "role": "y" } }]));
        let document = named("sk_live_CANARY0123456789");
        assert!(!document.to_string().contains("CANARY"), "{document}");
        assert_eq!(document["a"]["claims"]["role"], "y");
        assert!(document["a"]["claims"]["n"].as_object().unwrap().values().eq([&json!("x")]));
        assert_ne!(document, named("sk_live_CANARY9876543210"));
        let url = |login: &str| json!([{ "url": format!("https://{login}@a.example/"), "id": "1" }, { "url": "https://b.example/" }]);
        let document = of("redirect_urls", url("me:CANARY"));
        assert!(!document.to_string().contains("CANARY"), "{document}");
        assert_eq!(document["https://b.example/"]["url"], "https://b.example/");
        assert_ne!(document, of("redirect_urls", url("me:CANARY2")));
    }

    #[test]
    fn a_secret_of_several_parts_is_the_same_in_any_order() {
        let keys = |one: &str, other: &str| json!([{ "client_id": "a", "name": "A", "is_first_party": true, "signing_keys": [{ "cert": one }, { "cert": other }] }]);
        let of = |answer| canonical(Provider::Auth0, "clients", answer).unwrap();
        assert_eq!(of(keys("CANARY-1", "CANARY-2")), of(keys("CANARY-2", "CANARY-1")));
        assert_ne!(of(keys("CANARY-1", "CANARY-2")), of(keys("CANARY-1", "CANARY-3")));
    }

    #[test]
    fn a_certificate_in_a_secret_field_is_one_value_in_every_dress_and_a_private_key_is_hidden() {
        let digits: String = include_str!("certificate/idp.example.b64").split_whitespace().collect();
        let pem = format!("-----BEGIN CERTIFICATE-----\n{digits}\n-----END CERTIFICATE-----\n");
        let section = Table::of(Provider::Auth0).section("clients").unwrap();
        assert!(section.is_secret(&["a", "client_secret"].map(str::to_owned)));
        let of = |field: &str, value: Value| {
            let client = json!([{ "client_id": "a", "name": "A", "is_first_party": true, field: value }]);
            canonical(Provider::Auth0, "clients", client).unwrap()["a"][field].clone()
        };
        let keys = |cert: &str| json!([{ "cert": cert, "subject": "idp" }]);
        assert_eq!(of("signing_keys", keys(&digits)), of("signing_keys", keys(&pem)));
        assert_ne!(of("signing_keys", keys(&digits)), of("signing_keys", keys("another")));
        assert_eq!(of("client_secret", json!(digits)), of("client_secret", json!(pem)));
        assert_eq!(of("client_secret", json!(pem))["subject"], "CN=idp.example,O=Example");
        let forged = json!({ "certificate": "sha256:00", "subject": "CANARY", "until": "" });
        assert!(of("client_secret", forged).get("fingerprint").is_some());
        let pkcs7 = |end: &str| {
            let text = ["-----BEGIN PKCS7-----", "MIIC", "8wYJ", "-----END PKCS7-----"].join(end);
            json!([{ "cert": digits, "pkcs7": text }])
        };
        assert_eq!(of("signing_keys", pkcs7("\n")), of("signing_keys", pkcs7("\r\n")));
        let key = pem + "-----BEGIN PRIVATE KEY-----\nCANARY\n-----END PRIVATE KEY-----\n";
        for field in ["signing_keys", "client_secret", "note"] {
            let found = of(field, json!(key));
            assert!(found.get("fingerprint").is_some(), "{field}: {found}");
        }
    }

    #[test]
    fn sets_are_sorted_and_sequences_are_not() {
        let answer = json!({ "flags": {}, "enabled_locales": ["fr", "en"], "allowed_logout_urls": ["b", "a", "b"] });
        let document = canonical(Provider::Auth0, "tenants.settings", answer).unwrap();
        assert_eq!(document["enabled_locales"], json!(["fr", "en"]));
        assert_eq!(document["allowed_logout_urls"], json!(["a", "b"]));
        let ports = |text: &str| canonical(Provider::Auth0, "guardian.policies", serde_json::from_str(text).unwrap());
        assert_eq!(ports("[1.0, 2, 1]").unwrap(), json!([1, 2]));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-z]{0,4}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-z]{1,3}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn canonical_form_is_idempotent(value in any_json()) {
            let once = canonical(Provider::Auth0, "tenants.settings", value).unwrap();
            let twice = canonical(Provider::Auth0, "tenants.settings", once.clone()).unwrap();
            prop_assert_eq!(once, twice);
        }

        #[test]
        fn order_of_a_set_does_not_matter(mut items in proptest::collection::vec(any_json(), 0..6)) {
            let one = canonical(Provider::Auth0, "guardian.policies", Value::from(items.clone())).unwrap();
            items.reverse();
            let other = canonical(Provider::Auth0, "guardian.policies", Value::from(items)).unwrap();
            prop_assert_eq!(one, other);
        }
    }
}
