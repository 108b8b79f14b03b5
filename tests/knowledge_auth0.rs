//! What is known about Auth0 fits together: the simulator has an answer for every section, the table makes a canonical
//! document of it without a secret, and the catalogue describes every leaf.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};

use authdrift::canonical::{self, FingerprintKey, Redaction};
use authdrift::classify::{Catalogue, classify};
use authdrift::diff::compare::{Side, compare_section};
use authdrift::model::{Direction, Pattern, Pointer, Provider, Severity, State};
use authdrift::sections::{Each, Section, Table};
use authdrift::simulator::auth0::{Auth0, lantern_books};
use serde_json::{Map, Value, json};

/// What the document of `section` at `path` holds, out of its envelope.
fn document_at(section: &Section, path: &str) -> Option<Value> {
    let mut value = lantern_books().remove(path)?;
    if let (Some(name), Some(envelope)) = (&section.items, value.as_object_mut()) {
        value = envelope.remove(name).unwrap_or_else(|| panic!("{}: no list {name}", section.name));
    }
    if let (Some(wanted), Some(items)) = (section.query.get("is_global"), value.as_array_mut()) {
        items.retain(|item| item["global"] == json!(wanted == "true"));
    }
    Some(value)
}

/// Every value in `value` at a place the pattern describes.
fn found(pattern: &Pattern, value: &Value, place: &mut Vec<String>, values: &mut BTreeSet<String>) {
    if let (true, Some(text)) = (pattern.matches(place), value.as_str()) {
        values.insert(text.to_owned());
    }
    let parts: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(name, field)| (name.clone(), field)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(index, item)| (index.to_string(), item)).collect(),
        _ => Vec::new(),
    };
    for (name, part) in parts {
        place.push(name);
        found(pattern, part, place, values);
        place.pop();
    }
}

/// What takes the place of a name in braces, given the healthy tenant, and the key its answer has in the document.
fn values_of(each: &Each) -> BTreeMap<String, String> {
    let (Some(parent), Some(pattern)) = (&each.of, &each.id) else {
        return each.names.iter().map(|name| (name.clone(), name.clone())).collect();
    };
    let parent = Table::of(Provider::Auth0).section(parent).unwrap();
    let objects = match document_at(parent, &parent.path).unwrap() {
        Value::Array(items) => items,
        object => vec![object],
    };
    let mut values = BTreeMap::new();
    for object in objects {
        let mut here = BTreeSet::new();
        found(pattern, &object, &mut Vec::new(), &mut here);
        let key = each.key.as_ref().map(|field| object[field].as_str().unwrap().to_owned());
        values.extend(here.into_iter().map(|value| (value.clone(), key.clone().unwrap_or(value))));
    }
    values
}

/// Every address the section is read at, with the keys of its answer in the document.
fn addresses(section: &Section) -> Vec<(String, Vec<String>)> {
    let start = vec![(section.path.clone(), Vec::new())];
    section.each.iter().fold(start, |addresses, each| {
        let values = values_of(each);
        let with = |(path, keys): &(String, Vec<String>), (value, key): (&String, &String)| {
            (path.replace(&format!("{{{}}}", each.name), value), keys.iter().chain([key]).cloned().collect())
        };
        addresses
            .iter()
            .flat_map(|address| values.iter().map(|value| with(address, value)).collect::<Vec<_>>())
            .collect()
    })
}

/// The value of the section, a map of answers where there are several.
fn fetched(section: &Section) -> Value {
    let mut whole = Value::Null;
    for (path, keys) in addresses(section) {
        let Some(value) = document_at(section, &path) else { continue };
        let place = keys.into_iter().fold(&mut whole, |place, key| {
            if place.is_null() {
                *place = Value::Object(Map::new());
            }
            place.as_object_mut().unwrap().entry(key).or_insert(Value::Null)
        });
        *place = value;
    }
    assert!(!whole.is_null(), "{}: the simulator has no answer", section.name);
    whole
}

fn leaves(value: &Value, path: &Pointer, found: &mut BTreeMap<Pointer, Value>) {
    match value.as_object().filter(|fields| !fields.is_empty()) {
        Some(fields) => fields.iter().for_each(|(name, field)| leaves(field, &path.child(name), found)),
        None => drop(found.insert(path.clone(), value.clone())),
    }
}

#[test]
fn every_section_has_a_document_without_secrets_that_the_catalogue_describes() {
    let redaction = Redaction { key: FingerprintKey::new([7; 32]), keep_code: false };
    let catalogue = Catalogue::of(Provider::Auth0, None).unwrap();
    for section in Table::of(Provider::Auth0).sections() {
        let document = canonical::document(section, fetched(section), &redaction)
            .unwrap_or_else(|error| panic!("{}: {error}", section.name));
        assert!(!document.value().to_string().contains("CANARY"), "{}: {}", section.name, document.value());
        let mut found = BTreeMap::new();
        leaves(document.value(), &Pointer::of_section(&section.name), &mut found);
        for (path, value) in found {
            assert!(catalogue.setting_at(&path).is_some(), "no entry for {path}: {value}");
        }
    }
}

/// What an attacker or an accident does, at a place in the healthy tenant (`null` takes the value away), and how it counts.
#[test]
fn what_weakens_a_tenant_counts_as_that() {
    use Direction::{Neutral, Stronger, Weaker};
    use Severity::{Critical, High, Info, Low, Medium};
    let watcher =
        "/client-grants/LanternWatcher0000000000000000w1 https:~1~1lantern-books.auth0.example~1api~1v2~1 client";
    let management = "/resource-servers/https:~1~1lantern-books.auth0.example~1api~1v2~1";
    let catalogue_grant =
        "/client-grants/LanternClient00000000000000000005 https:~1~1catalogue.lantern-books.example client";
    let api_scope = "/scopes/delete:everything";
    let digest = json!({ "sha256": "00", "size": 2 });
    let table = [
        (format!("{watcher}/scope"), json!(["update:clients"]), "management-api-grant-scope", Critical, Weaker),
        (format!("{catalogue_grant}/allow_all_scopes"), json!(true), "client-grant-everything", High, Weaker),
        (catalogue_grant.to_owned(), Value::Null, "client-grant", High, Stronger),
        (format!("{management}{api_scope}"), json!({}), "api-system-scope", Info, Neutral),
        (format!("{management}/token_lifetime"), json!(2_592_000), "management-api-token-lifetime", Critical, Weaker),
        (
            "/resource-servers/https:~1~1catalogue.lantern-books.example/scopes/write:all".to_owned(),
            json!({ "value": "write:all" }),
            "api-scope",
            Medium,
            Weaker,
        ),
        (
            "/roles.permissions/reader/update:users https:~1~1lantern-books.auth0.example~1api~1v2~1".to_owned(),
            json!({ "permission_name": "update:users" }),
            "role-management-permission",
            Critical,
            Weaker,
        ),
        (
            "/roles.permissions/reader/write:prices x".to_owned(),
            json!({ "permission_name": "write:prices" }),
            "role-permission",
            High,
            Weaker,
        ),
        (
            "/actions.actions/Require a second factor/deployed_version/code".to_owned(),
            digest.clone(),
            "action-deployed-code",
            Critical,
            Weaker,
        ),
        ("/actions.actions/Add reader card/code".to_owned(), digest.clone(), "action-draft", Medium, Weaker),
        ("/actions.triggers.bindings/post-login".to_owned(), json!([]), "action-bindings", High, Weaker),
        (
            "/connections.clients/google-oauth2/evil".to_owned(),
            json!({ "client_id": "evil" }),
            "connection-clients",
            High,
            Weaker,
        ),
        ("/log-streams/lst_LanternArchive01".to_owned(), Value::Null, "log-stream", High, Weaker),
        ("/log-streams/lst_LanternArchive01/status".to_owned(), json!("paused"), "log-stream-status", High, Weaker),
        (
            "/log-streams/lst_LanternArchive01/sink/httpEndpoint".to_owned(),
            json!("https://elsewhere.example"),
            "log-stream-target",
            High,
            Weaker,
        ),
        ("/network-acls/acl_LanternOffice001/active".to_owned(), json!(false), "network-acl-active", High, Weaker),
        (
            "/custom-domains/login.lantern-books.example/custom_client_ip_header".to_owned(),
            json!("true-client-ip"),
            "custom-domain-ip-header",
            High,
            Weaker,
        ),
        (
            "/organizations.connections/paper-mill-press/con_LanternPartner1/assign_membership_on_login".to_owned(),
            json!(true),
            "organization-membership",
            High,
            Weaker,
        ),
        (
            "/emails.provider/credentials/smtp_host".to_owned(),
            json!("smtp.elsewhere.example"),
            "email-provider",
            Critical,
            Weaker,
        ),
        ("/email-templates/reset_email/body".to_owned(), digest, "email-template", High, Weaker),
        (
            "/email-templates/reset_email/urlLifetimeInSeconds".to_owned(),
            json!(432_000),
            "email-link-lifetime",
            Medium,
            Weaker,
        ),
        (
            "/connections/publisher-partners/options/connection_settings/pkce".to_owned(),
            json!("disabled"),
            "connection-pkce",
            High,
            Weaker,
        ),
        (
            "/connections/publisher-partners/options/connection_settings/pkce".to_owned(),
            json!("S256"),
            "connection-pkce",
            High,
            Stronger,
        ),
        (
            "/connections/publisher-partners/options/oidc_metadata/issuer".to_owned(),
            json!("https://elsewhere.example"),
            "connection-endpoint",
            Critical,
            Weaker,
        ),
        (
            "/connections/publisher-partners/options/oidc_metadata/jwks_uri".to_owned(),
            json!("https://elsewhere.example/keys"),
            "connection-endpoint",
            Critical,
            Weaker,
        ),
        (
            "/connections/publisher-partners/options/oidc_metadata/token_endpoint".to_owned(),
            json!("https://elsewhere.example/token"),
            "connection-endpoint",
            Critical,
            Weaker,
        ),
        ("/prompts/identifier_first".to_owned(), json!(false), "identifier-first", Low, Neutral),
        ("/keys.signing/lantern-signing-1/revoked".to_owned(), json!(true), "signing-key-revoked", High, Stronger),
    ];
    let redaction = Redaction { key: FingerprintKey::new([7; 32]), keep_code: false };
    let catalogue = Catalogue::of(Provider::Auth0, None).unwrap();
    let sections = Table::of(Provider::Auth0);
    for (place, value, setting, severity, direction) in table {
        let place: Pointer = place.parse().unwrap();
        let section = sections.section(place.section()).unwrap();
        let before = canonical::document(section, fetched(section), &redaction).unwrap();
        let mut after = before.value().clone();
        let (last, parents) = place.tokens().split_last().unwrap();
        let object =
            parents.iter().skip(1).fold(&mut after, |object, token| &mut object[token]).as_object_mut().unwrap();
        let old = if value.is_null() { object.remove(last) } else { object.insert(last.clone(), value.clone()) };
        assert_ne!(old.unwrap_or_default(), value, "{place}: nothing changes");
        let mut changes = Vec::new();
        compare_section(sections, place.section(), Side::Value(before.value()), Side::Value(&after), &mut changes);
        let drift = changes
            .into_iter()
            .map(|change| classify(&catalogue, change))
            .max_by_key(|drift| drift.meaning.direction == direction);
        let drift = drift.unwrap();
        assert_eq!(
            (drift.meaning.setting.as_str(), drift.meaning.severity, drift.meaning.direction),
            (setting, severity, direction),
            "{place}"
        );
    }
}

#[test]
fn every_address_is_answered_or_refused_in_a_known_way() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let auth0 = Auth0::lantern_books().await.unwrap();
        let (client, token) = (reqwest::Client::new(), auth0.issue_token());
        let table = Table::of(Provider::Auth0);
        for section in table.sections() {
            for (path, _) in addresses(section) {
                let url = reqwest::Url::parse_with_params(&format!("{}{path}", auth0.url()), &section.query).unwrap();
                let answer = client.get(url).bearer_auth(&token).send().await.unwrap();
                let status = answer.status().as_u16();
                let body: Value = answer.json().await.unwrap();
                let text = |name: &str| body[name].as_str().unwrap_or_default();
                let meaning = table.meaning_of(section, status, text("errorCode"), text("message")).state;
                assert!(status == 200 || meaning == State::Off, "{}: {path}: {status} {body}", section.name);
            }
        }
    });
}
