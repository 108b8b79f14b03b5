//! A change with its classification.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::catalogue::{Catalogue, Setting};
use super::context::ChangeContext;
use super::direction::direction;
use crate::canonical::{is_large_placeholder, is_placeholder, not_watched};
use crate::diff::{Change, ChangeKind};
use crate::model::{Category, Direction, Pattern, Pointer, Severity, Unit, display_safe, is_nothing};

/// The setting of a drift at a path that no entry of the catalogue knows.
pub const UNCLASSIFIED: &str = "unclassified";

/// The setting of a drift in a field that the vendor gave to every object of a section at once.
pub const NEW_FIELD: &str = "new-field";

/// The setting of an object that cannot be read and that is to be approved as not watched.
pub const NOT_WATCHED: &str = "not-watched";

/// The setting of a drift in the state of a whole section.
pub const SECTION_STATE: &str = "section-state";

/// The explanation of a stricter value. The catalogue explains weaker values only.
const STRICTER: &str = "Stricter than approved; users may be locked out or prompted.";

/// A change with its classification.
///
/// One setting can have several paths, and some settings have several values under one title (the endpoints of a
/// connection): drifts are the same to a person when setting, title, `before` and `after` are the same.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// The change.
    #[serde(flatten)]
    pub change: Change,
    /// Which setting of which object it is: the same for every path of it, whatever the object is called meanwhile.
    #[serde(skip)]
    pub topic: String,
    /// Its meaning.
    #[serde(flatten)]
    pub meaning: ChangeMeaning,
}

/// The meaning of a changed setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChangeMeaning {
    /// The id of the catalogue's entry, or [`UNCLASSIFIED`] or [`SECTION_STATE`].
    pub setting: String,
    /// The title, with the names of the objects. Safe to show.
    pub title: String,
    /// One sentence: what a weaker value makes possible, or that this one is stricter.
    pub why: String,
    /// The part of sign-in that it belongs to.
    pub category: Category,
    /// How much it matters.
    pub severity: Severity,
    /// Which way it goes.
    pub direction: Direction,
    /// How its numbers are read.
    pub unit: Option<Unit>,
    /// Where to click.
    pub dashboard: Option<String>,
    /// The vendor's audit-log event to look for.
    pub event: Option<String>,
}

/// Classifies `change` by the catalogue, without context.
pub fn classify(catalogue: &Catalogue, change: Change) -> Finding {
    classify_in(catalogue, &ChangeContext::default(), change)
}

/// Classifies `change` by the catalogue. A change of an undescribed setting is `unclassified`, medium.
pub(super) fn classify_in(catalogue: &Catalogue, change_context: &ChangeContext, change: Change) -> Finding {
    if is_section_state(&change) {
        return section_state(change);
    }
    if not_watched(&change.after).is_some() {
        return unwatched(change);
    }
    let means_nothing = means_nothing(&change);
    let mut drift = if let Some(setting) = catalogue.setting_at(&change.path) {
        let direction = direction(setting, &stated(catalogue, &change));
        let named = (title(setting, change_context, &change.path), topic(setting, &change.path));
        described(setting, named, direction, change)
    } else if let Some((setting, leaf)) = most_severe_leaf(catalogue, &change) {
        let named = (title(setting, change_context, &leaf), topic(setting, &leaf));
        described(setting, named, Direction::Unknown, change)
    } else if [&change.before, &change.after].into_iter().any(|value| is_large_placeholder(value).is_some()) {
        unseen(catalogue, change)
    } else if let Some(field) = change_context.new_field(&change) {
        new_field(&field, change)
    } else {
        unclassified(change)
    };
    if means_nothing && drift.meaning.direction != Direction::Weaker {
        drift.meaning.severity = Severity::Info;
    }
    drift
}

/// `change` with the default in the place of a side that is absent, where the vendor is known to leave the default out.
fn stated(catalogue: &Catalogue, change: &Change) -> Change {
    let mut stated = change.clone();
    if let Some(default) = catalogue.table().default_at(&change.path).filter(|_| !change.is_member) {
        match change.kind {
            ChangeKind::Added => stated.before = default.clone(),
            ChangeKind::Removed => stated.after = default.clone(),
            ChangeKind::Changed | ChangeKind::Reordered => {}
        }
    }
    stated
}

/// Whether both sides state nothing, in whatever form.
fn means_nothing(change: &Change) -> bool {
    !change.is_member && is_nothing(&change.before) && is_nothing(&change.after)
}

/// One field that the vendor gave to every object at once is one line, whatever it is called.
fn new_field(field: &Pointer, change: Change) -> Finding {
    let Finding { change, meaning, .. } = unclassified(change);
    let meaning = ChangeMeaning {
        setting: NEW_FIELD.to_owned(),
        title: format!("New field of the vendor: {}", display_safe(&field.to_string())),
        why: "Every object of the section has it at once, so the vendor added it and nobody changed a setting."
            .to_owned(),
        severity: Severity::Info,
        ..meaning
    };
    Finding { change, topic: format!("{NEW_FIELD} {field}"), meaning }
}

fn described(setting: &Setting, named: (String, String), direction: Direction, change: Change) -> Finding {
    let (title, topic) = named;
    let (severity, direction) = match change.kind {
        ChangeKind::Reordered => (setting.severity.min(Severity::Low), Direction::Neutral),
        _ => (setting.severity, direction),
    };
    let meaning = ChangeMeaning {
        setting: setting.id.clone(),
        title,
        why: if direction == Direction::Stronger { STRICTER.to_owned() } else { setting.why.clone() },
        category: setting.category,
        severity,
        direction,
        unit: setting.unit,
        dashboard: setting.dashboard.clone(),
        event: setting.event.clone(),
    };
    Finding { change, topic, meaning }
}

fn unclassified(change: Change) -> Finding {
    let is_reordered = change.kind == ChangeKind::Reordered;
    let meaning = ChangeMeaning {
        setting: UNCLASSIFIED.to_owned(),
        title: display_safe(&change.path.to_string()),
        why: "Nobody has described this setting yet, so look at both values.".to_owned(),
        category: Category::Unclassified,
        severity: if is_reordered { Severity::Low } else { Severity::Medium },
        direction: if is_reordered { Direction::Neutral } else { Direction::Unknown },
        unit: None,
        dashboard: None,
        event: None,
    };
    Finding { topic: change.path.to_string(), meaning, change }
}

/// An object that is not watched may become anything.
fn unwatched(change: Change) -> Finding {
    let place = display_safe(&change.path.to_string());
    let any_more = if change.before.is_null() { "" } else { " any more" };
    let finding = unclassified(change);
    let meaning = ChangeMeaning {
        setting: NOT_WATCHED.to_owned(),
        title: format!("Not watched{any_more}: {place}"),
        why: "The object cannot be read. Whatever becomes of it goes unnoticed until it can be read again.".to_owned(),
        severity: Severity::Critical,
        direction: Direction::Weaker,
        ..finding.meaning
    };
    Finding { meaning, ..finding }
}

/// A value that is too large to be kept may hold any of the settings that can be below its place.
fn unseen(catalogue: &Catalogue, change: Change) -> Finding {
    let below = catalogue
        .settings()
        .iter()
        .filter(|setting| setting.paths.iter().any(|pattern| pattern.may_be_below(change.path.tokens())));
    let severity = below.map(|setting| setting.severity).max().unwrap_or(Severity::Medium);
    let mut finding = unclassified(change);
    finding.meaning.severity = severity.max(finding.meaning.severity);
    finding.meaning.why = "It is too large to be shown, so any of the settings in it may have changed.".to_owned();
    finding
}

fn section_state(change: Change) -> Finding {
    let meaning = ChangeMeaning {
        setting: SECTION_STATE.to_owned(),
        title: format!("Section {}", display_safe(change.section())),
        why: "A whole group of settings was switched on or off, or moved in or out of the plan.".to_owned(),
        category: Category::Unclassified,
        severity: Severity::High,
        direction: Direction::Unknown,
        unit: None,
        dashboard: None,
        event: None,
    };
    Finding { topic: change.path.to_string(), meaning, change }
}

fn is_section_state(change: &Change) -> bool {
    let is_state = |value: &Value| value.as_object().is_some_and(|map| map.len() == 1 && map.contains_key("state"));
    change.path.tokens().len() == 1
        && change.kind == ChangeKind::Changed
        && is_state(&change.before)
        && is_state(&change.after)
}

/// The title with the names of what the stars of the pattern stand for: `JWT template lifetime (supabase)`.
fn title(setting: &Setting, change_context: &ChangeContext, path: &Pointer) -> String {
    let pattern = setting.paths.iter().find(|pattern| pattern.matches(path.tokens()));
    match pattern.map(|pattern| names(pattern, change_context, path)) {
        Some(names) if !names.is_empty() => format!("{} ({})", setting.title, names.join(", ")),
        _ => setting.title.clone(),
    }
}

/// The id of the setting with what the stars of the pattern stand for.
fn topic(setting: &Setting, path: &Pointer) -> String {
    let pattern = setting.paths.iter().find(|pattern| pattern.matches(path.tokens()));
    let names = pattern.map(|pattern| names(pattern, &ChangeContext::default(), path)).unwrap_or_default();
    [vec![setting.id.clone()], names].concat().join(" ")
}

/// Like [`Pattern::names`], but also for `name*` and `*name` (the rest of the token) and for the stars before a `**`.
fn names(pattern: &Pattern, change_context: &ChangeContext, path: &Pointer) -> Vec<String> {
    let wanted: Pointer = pattern.to_string().parse().unwrap_or_default();
    let pairs = wanted.tokens().iter().take_while(|wanted| *wanted != "**").zip(path.tokens());
    let rest = |(wanted, token): (&String, &String)| {
        let rest = match wanted.strip_suffix('*') {
            Some(prefix) => token.strip_prefix(prefix)?,
            None => token.strip_suffix(wanted.strip_prefix('*')?)?,
        };
        Some(display_safe(change_context.name_of(rest)))
    };
    pairs.filter_map(rest).collect()
}

/// Of an object that came or went whole: the leaf under it that matters most, with its setting.
///
/// None without leaves, or if an undescribed leaf is more severe than the described ones.
fn most_severe_leaf<'a>(catalogue: &'a Catalogue, change: &Change) -> Option<(&'a Setting, Pointer)> {
    let mut leaves = Vec::new();
    for value in [&change.before, &change.after] {
        if value.is_object() {
            collect_leaves(value, &change.path, &mut leaves);
        }
    }
    let mut most_severe: Option<(&Setting, Pointer)> = None;
    let mut has_undescribed = false;
    for leaf in leaves {
        match catalogue.setting_at(&leaf) {
            Some(setting) if most_severe.as_ref().is_none_or(|(known, _)| setting.severity > known.severity) => {
                most_severe = Some((setting, leaf));
            }
            Some(_) => {}
            None => has_undescribed = true,
        }
    }
    most_severe.filter(|(setting, _)| !has_undescribed || setting.severity >= Severity::Medium)
}

fn collect_leaves(value: &Value, path: &Pointer, leaves: &mut Vec<Pointer>) {
    match value {
        Value::Object(fields) if !fields.is_empty() && !is_placeholder(value) => {
            for (key, field) in fields {
                collect_leaves(field, &path.child(key), leaves);
            }
        }
        _ => leaves.push(path.clone()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Provider;
    use ChangeKind::{Added, Changed, Removed, Reordered};
    use Direction::{Neutral, Stronger, Unknown, Weaker};

    fn change(path: &str, kind: ChangeKind, before: Value, after: Value) -> Change {
        Change { path: path.parse().unwrap(), kind, before, after, is_member: false }
    }

    fn member(path: &str, kind: ChangeKind, value: &str) -> Change {
        let (before, after) = if kind == Added { (Value::Null, json!(value)) } else { (json!(value), Value::Null) };
        Change { path: path.parse().unwrap(), kind, before, after, is_member: true }
    }

    fn clerk(change: Change) -> Finding {
        classify(&Catalogue::of(Provider::Clerk, None).unwrap(), change)
    }

    fn auth0(change: Change) -> Finding {
        classify(&Catalogue::of(Provider::Auth0, None).unwrap(), change)
    }

    #[test]
    fn a_stricter_value_is_never_explained_as_a_weaker_one() {
        for provider in Provider::ALL {
            let catalogue = Catalogue::of(provider, None).unwrap();
            for setting in catalogue.settings() {
                let why = |direction| {
                    let change = change("/a/b", Changed, json!(1), json!(2));
                    described(setting, (setting.title.clone(), String::new()), direction, change).meaning.why
                };
                assert_eq!(why(Stronger), STRICTER, "{}", setting.id);
                for direction in [Weaker, Unknown, Neutral] {
                    assert_eq!(why(direction), setting.why, "{}", setting.id);
                }
            }
        }
        let factor =
            |before, after| auth0(change("/guardian.factors/otp/enabled", Changed, json!(before), json!(after)));
        assert_eq!(factor(false, true).meaning.why, STRICTER);
        assert!(factor(true, false).meaning.why.contains("lose"), "{}", factor(true, false).meaning.why);
        assert_eq!(auth0(member("/guardian.policies", Added, "all-applications")).meaning.why, STRICTER);
    }

    /// A title stands beside both values and in subjects: one that says that something was switched off reads as news,
    /// whichever way the value went.
    #[test]
    fn no_title_says_what_happened() {
        let verdict = regex::Regex::new(
            r"(?i)\b(switched|turned|disabled|bypassed|ignored|skipped|lets through|only watches|left out)\b",
        )
        .unwrap();
        for provider in Provider::ALL {
            for setting in Catalogue::of(provider, None).unwrap().settings() {
                assert!(!verdict.is_match(&setting.title), "{}: {}", setting.id, setting.title);
            }
        }
    }

    #[test]
    fn clerk_changes_go_the_way_they_should() {
        let config = |path: &str, before, after| change(&format!("/platform.config/{path}"), Changed, before, after);
        let environment =
            |path: &str, before, after| change(&format!("/frontend.environment/{path}"), Changed, before, after);
        let (on, off) = (json!(true), json!(false));
        let table = [
            (config("session_settings/inactivity_timeout/enabled", on.clone(), off.clone()), Weaker),
            (config("session_settings/inactivity_timeout/duration_seconds", json!(1800), json!(0)), Weaker),
            (config("session_settings/inactivity_timeout/duration_seconds", json!(0), json!(1800)), Stronger),
            (config("session_settings/maximum_lifetime/duration_seconds", json!(604800), json!(2592000)), Weaker),
            (config("session_settings/multi_session_enabled", off.clone(), on.clone()), Weaker),
            (environment("auth_config/single_session_mode", on.clone(), off.clone()), Weaker),
            (config("auth_multi_factor/required_for_sign_up", on.clone(), off.clone()), Weaker),
            (config("auth_multi_factor/backup_code/enabled", on.clone(), off.clone()), Neutral),
            (config("auth_password/disable_hibp", off.clone(), on.clone()), Weaker),
            (config("auth_attack_protection/user_lockout/max_attempts", json!(10), json!(100)), Weaker),
            (config("auth_attack_protection/user_lockout/duration_in_minutes", json!(60), json!(5)), Weaker),
            (config("auth_attack_protection/user_lockout/duration_in_minutes", json!(60), json!(0)), Stronger),
            (config("auth_attack_protection/bot_protection/captcha_enabled", on.clone(), off.clone()), Weaker),
            (config("auth_access_control/allowlist_blocklist_enforced_on_sign_in", on.clone(), off.clone()), Weaker),
            (
                environment(
                    "user_settings/restrictions/allowlist_blocklist_disabled_on_sign_in/enabled",
                    off.clone(),
                    on.clone(),
                ),
                Weaker,
            ),
            (environment("user_settings/sign_up/mfa/required", on.clone(), off.clone()), Weaker),
            (environment("user_settings/sign_up/mode", json!("restricted"), json!("public")), Weaker),
            (environment("user_settings/sign_up/mode", json!("public"), json!("waitlist")), Stronger),
            (environment("user_settings/sign_up/captcha_enabled", on.clone(), off.clone()), Weaker),
            (environment("user_settings/attributes/authenticator_app/enabled", on.clone(), off.clone()), Weaker),
            (environment("user_settings/attributes/authenticator_app/used_for_second_factor", on, off), Weaker),
            (
                member(
                    "/frontend.environment/user_settings/attributes/authenticator_app/second_factors",
                    Removed,
                    "totp",
                ),
                Weaker,
            ),
            (
                member(
                    "/frontend.environment/user_settings/attributes/authenticator_app/verifications",
                    Removed,
                    "totp",
                ),
                Neutral,
            ),
            (member("/frontend.environment/auth_config/second_factors", Removed, "totp"), Weaker),
            (member("/instance/allowed_origins", Added, "http://localhost:3000"), Weaker),
            (member("/instance/allowed_origins", Removed, "http://localhost:3000"), Stronger),
            (change("/instance/allowed_origins", Changed, json!(null), json!(["https://evil.example"])), Weaker),
            (change("/jwt_templates/supabase/claims/email", Added, json!(null), json!("{{user.id}}")), Weaker),
            (change("/jwt_templates/convex/claims/aud", Removed, json!("convex"), json!(null)), Weaker),
            (change("/jwt_templates/supabase/lifetime", Changed, json!(60), json!(86400)), Weaker),
            (change("/jwt_templates/debug", Added, json!(null), json!({"lifetime": 60})), Weaker),
            (change("/jwt_templates/hasura", Removed, json!({"lifetime": 60}), json!(null)), Stronger),
        ];
        for (change, expected) in table {
            let drift = clerk(change);
            assert_eq!(drift.meaning.direction, expected, "{}", drift.change.path);
            assert_ne!(drift.meaning.setting, UNCLASSIFIED, "{}", drift.change.path);
        }
    }

    #[test]
    fn auth0_changes_go_the_way_they_should() {
        let table = [
            (member("/guardian.policies", Removed, "all-applications"), Weaker, Severity::Critical),
            (change("/guardian.factors/otp/enabled", Changed, json!(true), json!(false)), Weaker, Severity::High),
            (change("/guardian.factors/sms/enabled", Changed, json!(false), json!(true)), Weaker, Severity::Medium),
            (change("/tenants.settings/session_lifetime", Changed, json!(3.02), json!(168)), Weaker, Severity::High),
            (member("/clients/abc/callbacks", Added, "https://evil.example"), Weaker, Severity::High),
            (
                change("/connections/db/options/passwordPolicy", Changed, json!("good"), json!("low")),
                Weaker,
                Severity::High,
            ),
            (
                change("/connections/okta/options/token_endpoint", Changed, json!("a"), json!("b")),
                Weaker,
                Severity::Critical,
            ),
            (
                change(
                    "/attack-protection.suspicious-ip-throttling/stage/pre-login/rate",
                    Changed,
                    json!(864000),
                    json!(34560),
                ),
                Weaker,
                Severity::Medium,
            ),
            (change("/resource-servers/api", Added, json!(null), json!({"name": "API"})), Weaker, Severity::Medium),
            (
                change("/resource-servers/api/scopes/read:x", Added, json!(null), json!({"value": "read:x"})),
                Weaker,
                Severity::Medium,
            ),
        ];
        for (change, direction, severity) in table {
            let drift = auth0(change);
            assert_eq!(
                (drift.meaning.direction, drift.meaning.severity),
                (direction, severity),
                "{}",
                drift.change.path
            );
        }
    }

    #[test]
    fn one_setting_has_one_name_under_every_path() {
        let config = clerk(change(
            "/platform.config/auth_multi_factor/required_for_sign_up",
            Changed,
            json!(true),
            json!(false),
        ));
        let public = clerk(change(
            "/frontend.environment/user_settings/sign_up/mfa/required",
            Changed,
            json!(true),
            json!(false),
        ));
        assert_eq!((&config.meaning.setting, &config.meaning.title), (&public.meaning.setting, &public.meaning.title));
        assert_eq!(config.meaning.setting, "mfa-required-at-sign-up");
        assert_eq!(config.meaning.severity, Severity::Critical);
    }

    #[test]
    fn titles_name_the_objects_and_are_safe_to_show() {
        let table = [
            ("/jwt_templates/supabase/lifetime", "JWT template lifetime (supabase)"),
            ("/jwt_templates/supabase/claims/email", "JWT template claim (supabase, email)"),
            ("/jwt_templates/hasura/claims/https:~1~1x/role", "JWT template claim (hasura)"),
            ("/jwt_templates/a\u{1b}[31m/lifetime", "JWT template lifetime (a\\u{1b}[31m)"),
            ("/platform.config/connection_oauth_google/enabled", "Social connection (google)"),
            (
                "/organization_roles/org:member/permissions/org:invoices:read",
                "Reading permission of a role (org:member, org:invoices)",
            ),
            ("/instance/allowed_origins", "Allowed origins"),
        ];
        for (path, title) in table {
            assert_eq!(clerk(change(path, Changed, json!(1), json!(2))).meaning.title, title);
        }
    }

    #[test]
    fn an_object_that_comes_or_goes_is_as_severe_as_its_most_severe_part() {
        let gone = json!({"mfa": {"required": true}, "progressive": true});
        let drift = clerk(change("/frontend.environment/user_settings/sign_up", Removed, gone, json!(null)));
        assert_eq!(
            (drift.meaning.setting.as_str(), drift.meaning.severity),
            ("mfa-required-at-sign-up", Severity::Critical)
        );
        assert_eq!(drift.meaning.direction, Unknown);
        let new = json!({"email": "{{user.primary_email_address}}"});
        let drift =
            clerk(change("/platform.config/session", Changed, json!(null), json!({"claims": new, "lifetime": 60})));
        assert_eq!((drift.meaning.category, drift.meaning.direction), (Category::JwtTemplates, Unknown));
    }

    #[test]
    fn an_unknown_part_weighs_more_than_a_cosmetic_one() {
        let new = json!({"theme": {"color": "red"}, "new_switch": true});
        let drift = clerk(change("/frontend.environment/display_config", Added, json!(null), new));
        assert_eq!((drift.meaning.setting.as_str(), drift.meaning.severity), (UNCLASSIFIED, Severity::Medium));
    }

    #[test]
    fn what_nobody_described_is_kept_as_medium() {
        let path = "/frontend.environment/user_settings/password_settings/new_unlisted_rule";
        let drift = clerk(change(path, Added, json!(null), json!(true)));
        assert_eq!((drift.meaning.setting.as_str(), drift.meaning.title.as_str()), (UNCLASSIFIED, path));
        assert_eq!((drift.meaning.category, drift.meaning.severity), (Category::Unclassified, Severity::Medium));
        assert_eq!(drift.meaning.direction, Unknown);
        let empty = clerk(change("/platform.config/new_group", Added, json!(null), json!({})));
        assert_eq!(empty.meaning.setting, UNCLASSIFIED);
    }

    #[test]
    fn another_order_is_low_and_neutral() {
        let known = change("/tenants.settings/acr_values_supported", Reordered, json!(["a", "b"]), json!(["b", "a"]));
        let drift = auth0(known);
        assert_eq!((drift.meaning.severity, drift.meaning.direction), (Severity::Low, Neutral));
        let cosmetic = auth0(change("/tenants.settings/enabled_locales", Reordered, json!(["a"]), json!(["b"])));
        assert_eq!(cosmetic.meaning.severity, Severity::Info);
        let unknown = auth0(change("/tenants.settings/new_list", Reordered, json!(["a"]), json!(["b"])));
        assert_eq!((unknown.meaning.severity, unknown.meaning.direction), (Severity::Low, Neutral));
    }

    #[test]
    fn nothing_to_nothing_is_information_whatever_the_two_forms() {
        let forms = [json!(null), json!(""), json!([]), json!({}), json!(false)];
        let paths = [
            "/clients/a/callbacks",
            "/clients/a/new_field",
            "/connections/db/options/passwordPolicy",
            "/connections/okta/options/token_endpoint",
            "/connections/okta/options/cert",
            "/tenants.settings/session_lifetime",
            "/tenants.settings/enabled_locales",
        ];
        for path in paths {
            for (before, after) in forms.iter().flat_map(|one| forms.each_ref().map(|other| (one, other))) {
                let kinds = match (before.is_null(), after.is_null()) {
                    _ if before == after => &[][..],
                    (true, _) => &[Changed, Added],
                    (_, true) => &[Changed, Removed],
                    _ => &[Changed],
                };
                for kind in kinds {
                    let drift = auth0(change(path, *kind, before.clone(), after.clone()));
                    assert_eq!(drift.meaning.severity, Severity::Info, "{path}: {kind} {before} -> {after}");
                }
            }
        }
    }

    #[test]
    fn a_switch_that_protects_is_weaker_when_it_goes_from_nothing_to_off() {
        let path = "/guardian.factors/otp/enabled";
        for before in [json!(null), json!(""), json!([]), json!({})] {
            assert_eq!(auth0(change(path, Changed, before, json!(false))).meaning.direction, Weaker);
        }
    }

    #[test]
    fn the_state_of_a_section_is_not_taken_for_its_content() {
        let off = change("/guardian.policies", Changed, json!({"state": "value"}), json!({"state": "not_on_plan"}));
        let drift = auth0(off);
        assert_eq!(
            (drift.meaning.setting.as_str(), drift.meaning.title.as_str()),
            (SECTION_STATE, "Section guardian.policies")
        );
        assert_eq!((drift.meaning.severity, drift.meaning.direction), (Severity::High, Unknown));
    }
}
