//! A good Clerk instance, with one setting at a time made worse: a rule that passed fails.

use authdrift::model::{Pointer, Provider};
use authdrift::posture::{Profile, RuleSet, RuleState, evaluate};
use serde_json::{Value, json};

use super::support::fixtures;
use super::{input, snapshot, with_value};

/// The rule, the place and the worse value.
fn weakenings() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        (
            "session-idle-timeout",
            "/platform.config/session_settings/inactivity_timeout",
            json!({ "enabled": false, "duration_seconds": 0 }),
        ),
        (
            "session-idle-timeout",
            "/platform.config/session_settings/inactivity_timeout/duration_seconds",
            json!(86_400),
        ),
        (
            "session-max-lifetime",
            "/platform.config/session_settings/maximum_lifetime/duration_seconds",
            json!(5_184_000),
        ),
        ("single-session", "/platform.config/session_settings/multi_session_enabled", json!(true)),
        ("reverification-on", "/frontend.environment/auth_config/reverification", json!(false)),
        ("session-token-lifetime", "/platform.config/session/lifetime", json!(3_600)),
        ("mfa-required", "/platform.config/auth_multi_factor/required_for_sign_up", json!(false)),
        ("mfa-factor-available", "/platform.config/auth_multi_factor/authenticator_app/enabled", json!(false)),
        ("mfa-factor-strong", "/platform.config/auth_passkey/used_for_sign_in", json!(false)),
        ("mfa-no-weak-factor", "/platform.config/auth_phone/used_for_second_factor", json!(true)),
        ("passkeys-available", "/platform.config/auth_passkey/used_for_sign_in", json!(false)),
        ("device-trust", "/platform.config/auth_password/device_trust/enabled", json!(false)),
        ("password-min-length", "/platform.config/auth_password/min_length", json!(8)),
        ("password-breach-check", "/platform.config/auth_password/disable_hibp", json!(true)),
        ("password-breach-check-at-sign-in", "/platform.config/auth_password/enforce_hibp_on_sign_in", json!(false)),
        ("password-change-asks-again", "/platform.config/auth_password/disable_password_reverification", json!(true)),
        ("lockout-enabled", "/platform.config/auth_attack_protection/user_lockout/enabled", json!(false)),
        ("lockout-threshold", "/platform.config/auth_attack_protection/user_lockout/max_attempts", json!(100)),
        ("bot-protection", "/platform.config/auth_attack_protection/bot_protection/captcha_enabled", json!(false)),
        ("bot-protection", "/frontend.environment/display_config/captcha_provider", json!(null)),
        ("user-enumeration", "/platform.config/auth_attack_protection/enumeration_protection", json!("bulk")),
        ("pii-protection", "/platform.config/auth_attack_protection/pii_protection_enabled", json!(false)),
        ("protect-on", "/instance.protect/rules_enabled", json!(false)),
        ("protect-on", "/instance.protect/checks_bypassed", json!(true)),
        ("sign-up-restricted", "/platform.config/auth_access_control/sign_up_mode", json!("public")),
        ("email-verified-at-sign-up", "/platform.config/auth_email/verify_at_sign_up", json!(false)),
        (
            "disposable-email-blocked",
            "/platform.config/auth_access_control/block_disposable_email_domains",
            json!(false),
        ),
        ("email-subaddress-blocked", "/platform.config/auth_access_control/block_email_subaddresses", json!(false)),
        (
            "lists-enforced-at-sign-in",
            "/platform.config/auth_access_control/allowlist_blocklist_enforced_on_sign_in",
            json!(false),
        ),
        ("allowed-origins-exact", "/instance/allowed_origins", json!(["http://localhost:3000"])),
        (
            "redirect-urls-safe",
            "/redirect_urls/lanternreader:~1~1signed-in/url",
            json!("http://shop.lantern-books.example/"),
        ),
        (
            "client-callbacks-safe",
            "/oauth_applications/lantern0shelf0planner/redirect_uris",
            json!(["https://*.lantern-books.example"]),
        ),
        (
            "tenant-logout-urls-safe",
            "/frontend.environment/display_config/after_sign_out_all_url",
            json!("https://elsewhere.example/"),
        ),
        ("client-no-implicit-grant", "/frontend.oauth-authorization-server/grant_types_supported", json!(["implicit"])),
        (
            "dynamic-registration-off",
            "/instance.oauth_application_settings/dynamic_oauth_client_registration",
            json!(true),
        ),
        (
            "client-metadata-documents-off",
            "/instance.oauth_application_settings/client_id_metadata_documents_only_allow_pre_registered_clients",
            json!(false),
        ),
        ("oauth-app-pkce", "/oauth_applications/lantern0shelf0planner/pkce_required", json!(false)),
        ("oauth-app-consent", "/oauth_applications/lantern0shelf0planner/consent_screen_enabled", json!(false)),
        ("jwt-template-lifetime", "/jwt_templates/warehouse/lifetime", json!(3_600)),
        ("jwt-template-clock-skew", "/jwt_templates/warehouse/allowed_clock_skew", json!(300)),
        ("jwt-template-audience", "/jwt_templates/warehouse/claims", json!({ "staff": "{{user.id}}" })),
        (
            "jwt-template-no-user-writable-data",
            "/jwt_templates/warehouse/claims/staff",
            json!("{{user.unsafe_metadata.staff}}"),
        ),
        ("jwt-template-no-personal-data", "/jwt_templates/warehouse/claims/staff", json!("{{user.full_name}}")),
        ("jwt-template-algorithm", "/jwt_templates/warehouse/signing_algorithm", json!("HS256")),
        (
            "session-claims-no-user-writable-data",
            "/platform.config/session/claims",
            json!({ "admin": "{{user.unsafe_metadata.admin}}" }),
        ),
        (
            "session-claims-no-personal-data",
            "/platform.config/session/claims",
            json!({ "mail": "{{user.primary_email_address}}" }),
        ),
        ("own-social-credentials", "/platform.config/connection_oauth_google/client_id", json!("")),
        (
            "enterprise-connection-locked",
            "/enterprise_connections/entconn_2vLanternBooksSso0001/disable_additional_identifications",
            json!(false),
        ),
        (
            "idp-initiated-off",
            "/enterprise_connections/entconn_2vLanternBooksSso0001/saml_connection/allow_idp_initiated",
            json!(true),
        ),
        (
            "saml-no-subdomains",
            "/enterprise_connections/entconn_2vLanternBooksSso0001/saml_connection/allow_subdomains",
            json!(true),
        ),
        (
            "saml-certificate-valid",
            "/saml_connections/samlc_2vLanternBooksSaml00001/idp_certificate_expires_at",
            json!(1_764_547_200_000_i64),
        ),
        ("organization-default-role", "/instance.organization_settings/domains_default_role", json!("org:admin")),
        (
            "role-no-system-permissions",
            "/organization_roles/org:member/permissions/org:sys_memberships:manage",
            json!({ "key": "org:sys_memberships:manage" }),
        ),
        ("admin-delete-off", "/instance.organization_settings/admin_delete_enabled", json!(true)),
        ("production-instance", "/instance/environment_type", json!("development")),
        ("production-instance", "/frontend.environment/auth_config/url_based_session_syncing", json!(true)),
        ("test-mode-off", "/frontend.environment/auth_config/test_mode", json!(true)),
        (
            "custom-domain-ready",
            "/domains/lantern-books.example/frontend_api_url",
            json!("https://x-y-1.clerk.accounts.dev"),
        ),
        ("security-mails-on", "/templates.email/password_changed/enabled", json!(false)),
    ]
}

fn put(place: &mut Value, tokens: &[String], to: &Value) {
    match tokens.split_first() {
        None => place.clone_from(to),
        Some((token, rest)) => {
            put(place.as_object_mut().unwrap().entry(token.clone()).or_insert(Value::Null), rest, to);
        }
    }
}

#[test]
fn every_weakening_of_a_good_instance_is_found() {
    let tenants = fixtures::tenants();
    let tenant = tenants.iter().find(|tenant| tenant.provider == Provider::Clerk).unwrap();
    let mut good = snapshot(tenant);
    // Passkeys satisfy the second factor too, so that alone is no weakening.
    let mut config = good.sections["platform.config"].document().unwrap().read();
    config["auth_passkey"]["satisfies_second_factor"] = json!(false);
    good = with_value(&good, "platform.config", &config);
    let mut problems = Vec::new();
    for (id, path, worse) in weakenings() {
        let rule = RuleSet::built_in().rule(id).unwrap_or_else(|| panic!("no rule {id}"));
        let profile =
            [Profile::Saas, Profile::Banking].into_iter().find(|one| rule.check_in(Provider::Clerk, *one).is_some());
        // Banking only offers passkeys as strong.
        let profile = if id == "mfa-factor-strong" { Profile::Banking } else { profile.unwrap() };
        let only = RuleSet::built_in().only(|rule| rule.id == id);
        let fails = |snapshot| {
            let results = evaluate(&only, snapshot, &input(profile));
            results.iter().filter(|result| result.state == RuleState::Fail).count()
        };
        let path: Pointer = path.parse().unwrap();
        let Some(document) = good.sections.get(path.section()).and_then(|reading| reading.document()) else {
            problems.push(format!("{id}: {} is not there", path.section()));
            continue;
        };
        let mut value = document.read();
        put(&mut value, &path.tokens()[1..], &worse);
        let (before, after) = (fails(&good), fails(&with_value(&good, path.section(), &value)));
        if after != before + 1 {
            problems.push(format!("{id}: {path} = {worse}: {before} failures, then {after}"));
        }
    }
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
    assert!(weakenings().len() >= 42);
}
