//! What is known about Clerk fits together: sections, simulator and catalogue.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;

use authdrift::canonical::{self, FingerprintKey, Redaction};
use authdrift::classify::finding::UNCLASSIFIED;
use authdrift::classify::{Catalogue, Finding, classify};
use authdrift::diff::{Change, ChangeKind};
use authdrift::model::{Direction, Pointer, Provider, Severity};
use authdrift::sections::{Section, Table};
use authdrift::simulator::clerk;
use serde_json::{Map, Value, json};

/// What the simulated instance answers for `section`; of a section that is read object by object, all answers by name.
fn answer(section: &Section) -> Value {
    let path = section.path.replace("{application_id}", clerk::APPLICATION_ID).replace("{environment}", "production");
    let documents = clerk::lantern_books();
    let answer_at = |path: &str| {
        let answer = documents.get(path)?.clone();
        Some(section.items.as_deref().and_then(|items| answer.get(items)).cloned().unwrap_or(answer))
    };
    let Some((before, after)) = path.split_once("{id}") else {
        return answer_at(&path).unwrap_or_else(|| panic!("{path}: no document"));
    };
    let ids = documents.keys().filter_map(|path| path.strip_prefix(before)?.strip_suffix(after));
    let answers: Map<_, _> = ids.map(|id| (id.to_owned(), answer_at(&path.replace("{id}", id)).unwrap())).collect();
    assert!(!answers.is_empty(), "{path}: no document");
    Value::Object(answers)
}

fn leaves(value: &Value, path: &Pointer, found: &mut BTreeSet<Pointer>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, field) in fields {
                leaves(field, &path.child(name), found);
            }
        }
        _ => _ = found.insert(path.clone()),
    }
}

#[test]
fn every_section_can_be_simulated_and_every_leaf_of_it_is_described() {
    let catalogue = Catalogue::of(Provider::Clerk, None).unwrap();
    let redaction = Redaction { key: FingerprintKey::new([7; 32]), keep_code: false };
    let mut undescribed = Vec::new();
    for section in Table::of(Provider::Clerk).sections() {
        let document = canonical::document(section, answer(section), &redaction)
            .unwrap_or_else(|error| panic!("{}: {error}", section.name));
        assert!(!document.value().to_string().contains("CANARY"), "{}: {}", section.name, document.value());
        let mut found = BTreeSet::new();
        leaves(document.value(), &Pointer::of_section(&section.name), &mut found);
        undescribed.extend(found.into_iter().filter(|leaf| catalogue.setting_at(leaf).is_none()));
    }
    assert!(undescribed.is_empty(), "{undescribed:?}");
}

/// The places under `value` where a fingerprint stands for a value.
fn hidden(value: &Value, path: &Pointer, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) if fields.contains_key("fingerprint") => _ = found.insert(path.to_string()),
        Value::Object(fields) => fields.iter().for_each(|(name, field)| hidden(field, &path.child(name), found)),
        Value::Array(items) => items.iter().for_each(|item| hidden(item, &path.child("*"), found)),
        _ => {}
    }
}

#[test]
fn secrets_are_hidden_and_nothing_else() {
    let redaction = Redaction { key: FingerprintKey::new([7; 32]), keep_code: false };
    let mut found = BTreeSet::new();
    for section in Table::of(Provider::Clerk).sections() {
        let document = canonical::document(section, answer(section), &redaction).unwrap();
        hidden(document.value(), &Pointer::of_section(&section.name), &mut found);
    }
    let expected = [
        "/allowlist_identifiers/hidden-5c5a9227f5aca299/identifier",
        "/allowlist_identifiers/hidden-c103189e61856b5c/identifier",
        "/blocklist_identifiers/hidden-eebc7c32d2fa2dcc/identifier",
        "/directories/directory_2vLanternBooksDir0001/api_key",
        "/enterprise_connections/entconn_2vLanternBooksSso0002/oauth_config/client_secret",
        "/organization_domains/orgdmn_2vLanternBooksDom00001/affiliation_email_address",
        "/platform.config/connection_oauth_google/client_secret",
        "/platform.config/connections_oauth_custom/library-guild/client_secret",
    ];
    assert_eq!(found.into_iter().collect::<Vec<_>>(), expected);
}

fn assessed(path: &str, kind: ChangeKind, before: Value, after: Value, is_member: bool) -> Finding {
    let change = Change { path: path.parse().unwrap(), kind, before, after, is_member };
    classify(&Catalogue::of(Provider::Clerk, None).unwrap(), change)
}

#[test]
fn one_click_is_one_entry_in_whichever_apis_it_shows() {
    let table = [
        ("/redirect_urls/https:~1~1x", "/platform.redirect_urls/https:~1~1x"),
        ("/jwt_templates/supabase/lifetime", "/platform.jwt_templates/supabase/lifetime"),
        ("/jwt_templates/supabase/claims/aud", "/platform.jwt_templates/supabase/claims/aud"),
        ("/domains/books.example/proxy_url", "/platform.domains/books.example/proxy_url"),
        ("/jwks/ins_1/n", "/frontend.jwks/ins_1/n"),
        ("/enterprise_connections/1/active", "/saml_connections/1/active"),
        ("/enterprise_connections/1/saml_connection/allow_subdomains", "/saml_connections/1/allow_subdomains"),
        ("/frontend.openid-configuration/token_endpoint", "/frontend.oauth-authorization-server/token_endpoint"),
        (
            "/instance.oauth_application_settings/client_id_metadata_documents_advertised",
            "/frontend.oauth-authorization-server/client_id_metadata_document_supported",
        ),
        ("/frontend.account_portal/after_sign_in_url", "/frontend.environment/display_config/after_sign_in_url"),
        (
            "/platform.config/connection_oauth_google/enabled",
            "/frontend.environment/user_settings/social/oauth_google/enabled",
        ),
        (
            "/platform.config/connections_oauth_custom/guild/enabled",
            "/frontend.environment/user_settings/social/oauth_custom_guild/enabled",
        ),
        (
            "/platform.config/auth_email/sign_in_strategies",
            "/frontend.environment/user_settings/attributes/email_address/first_factors",
        ),
        (
            "/platform.config/auth_phone/immutable",
            "/frontend.environment/user_settings/attributes/phone_number/immutable",
        ),
        (
            "/platform.config/auth_username/used_for_sign_in",
            "/frontend.environment/user_settings/attributes/username/used_for_first_factor",
        ),
        (
            "/platform.config/auth_username/required_for_sign_up",
            "/frontend.environment/user_settings/attributes/username/required",
        ),
    ];
    for (one, other) in table {
        let name = |path| {
            let drift = assessed(path, ChangeKind::Changed, json!(1), json!(2), false);
            (drift.meaning.setting, drift.meaning.title)
        };
        assert_eq!(name(one), name(other), "{one} and {other}");
        assert_ne!(name(one).0, UNCLASSIFIED, "{one}");
    }
}

#[test]
fn changes_go_the_way_they_should() {
    use ChangeKind::{Added, Changed, Removed};
    let (on, off, none) = (json!(true), json!(false), json!(null));
    let object = json!({ "id": "x" });
    let roles = "/organization_roles/org:member/permissions";
    let table = [
        ("/instance.protect/rules_enabled", Changed, &on, &off, Severity::High),
        ("/instance.protect/checks_bypassed", Changed, &off, &on, Severity::Critical),
        ("/instance.communication/blocked_country_codes", Removed, &json!("KP"), &none, Severity::Medium),
        ("/instance.oauth_application_settings/dynamic_oauth_client_registration", Changed, &off, &on, Severity::High),
        (
            "/frontend.oauth-authorization-server/registration_endpoint",
            Added,
            &none,
            &json!("https://x"),
            Severity::High,
        ),
        ("/allowlist_identifiers/hidden-0", Added, &none, &object, Severity::High),
        ("/blocklist_identifiers/hidden-0", Removed, &object, &none, Severity::Medium),
        ("/organization_roles/org:spy", Added, &none, &object, Severity::High),
        (&format!("{roles}/org:sys_memberships:manage"), Added, &none, &object, Severity::Critical),
        (&format!("{roles}/org:sys_memberships:read"), Added, &none, &object, Severity::Medium),
        (&format!("{roles}/org:invoices:approve"), Added, &none, &object, Severity::High),
        ("/role_sets/role_set:default/default_role/key", Changed, &json!("a"), &json!("b"), Severity::High),
        ("/oauth_applications/x", Added, &none, &object, Severity::High),
        ("/oauth_applications/x/redirect_uris", Added, &none, &json!("https://evil.example"), Severity::High),
        ("/oauth_applications/x/pkce_required", Changed, &on, &off, Severity::High),
        ("/enterprise_connections/x", Added, &none, &object, Severity::High),
        ("/enterprise_connections/x/saml_connection/allow_idp_initiated", Changed, &off, &on, Severity::High),
        ("/enterprise_connections/x/disable_additional_identifications", Changed, &on, &off, Severity::High),
        ("/saml_connections/x/idp_certificate", Changed, &json!("a"), &json!("b"), Severity::Critical),
        ("/directories/x", Added, &none, &object, Severity::High),
        ("/directories.group_role_mappings/x/staff/role/key", Changed, &json!("a"), &json!("b"), Severity::Critical),
        ("/machines/x/default_token_ttl", Changed, &json!(900), &json!(86400), Severity::High),
        ("/machines/x/scoped_machines/y", Added, &none, &object, Severity::High),
        ("/jwks/ins_2", Added, &none, &object, Severity::High),
        ("/templates.email/password_changed/enabled", Changed, &on, &off, Severity::High),
        ("/templates.sms/verification_code/body", Changed, &json!("a"), &json!("b"), Severity::High),
        ("/frontend.assetlinks/android_app example.app", Added, &none, &object, Severity::High),
        ("/frontend.webauthn/origins", Added, &none, &json!("https://evil.example"), Severity::High),
    ];
    for (path, kind, before, after, severity) in table {
        let is_member = before.is_string() && after.is_null() || before.is_null() && after.is_string();
        let drift = assessed(path, kind, before.clone(), after.clone(), is_member);
        assert_eq!((drift.meaning.direction, drift.meaning.severity), (Direction::Weaker, severity), "{path}");
    }
}
