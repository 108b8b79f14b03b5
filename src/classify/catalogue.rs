//! The catalogue: what a path means. Data in `baselines/*.toml`, compiled in; a user's own file comes first.
//!
//! The first entry whose pattern matches decides, so special cases stand above general ones.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::{Category, Pattern, Pointer, Provider, Severity, Unit};
use crate::sections::Table;

/// One setting as people know it, under every path it has.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// Kebab case; never changes once released.
    pub id: String,
    /// Its name for people.
    pub title: String,
    /// One sentence for the alert: what a weaker value makes possible.
    pub why: String,
    /// Pointer patterns; the first token is the section, `*` is one token, `**` any number, `name*` a prefix.
    pub paths: Vec<Pattern>,
    /// What part of sign-in it belongs to.
    pub category: Category,
    /// How much a change of it matters.
    pub severity: Severity,
    /// How to tell a weakening. Absent: no value is weaker than another.
    pub weaker: Option<Weaker>,
    /// What the number 0 means, when it is not simply the smallest.
    pub zero: Option<Zero>,
    /// How its numbers are read by people.
    pub unit: Option<Unit>,
    /// SOC 2 criteria, suggested.
    #[serde(default)]
    pub criteria: Vec<String>,
    /// Where to click.
    pub dashboard: Option<String>,
    /// The vendor's audit-log event to look for.
    pub event: Option<String>,
}

/// How to tell a weakening.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Weaker {
    /// A rule by name.
    Rule(WeakerRule),
    /// Every known value, strongest first: a step towards the end is weaker.
    Order(Vec<Value>),
}

/// A rule by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeakerRule {
    /// A larger number is weaker.
    Higher,
    /// A smaller number is weaker.
    Lower,
    /// A time limit: longer is weaker, and none at all (0, or its switch off) is weakest.
    Longer,
    /// `true` is weaker.
    True,
    /// `false` is weaker.
    False,
    /// Something new is weaker: a member, a key, an object.
    Added,
    /// Something gone is weaker.
    Removed,
    /// Any change is weaker, like that of an identity provider's certificate or endpoint.
    Changed,
}

/// What 0 means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Zero {
    /// No limit at all: weaker than any number.
    Weakest,
    /// Stronger than any number.
    Strongest,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, rename = "setting")]
    settings: Vec<Setting>,
}

/// The settings of one source of sections, in the order they are tried.
#[derive(Debug, Clone)]
pub struct Catalogue {
    table: &'static Table,
    settings: Vec<Setting>,
}

/// A catalogue file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read catalogue {name}\n{source}")]
pub struct BadCatalogue {
    name: String,
    source: Box<toml::de::Error>,
}

impl Catalogue {
    /// The built-in catalogue of `provider`, with the user's own entries (file name and text) before it.
    pub fn of(provider: Provider, own: Option<(&str, &str)>) -> Result<Self, BadCatalogue> {
        let (name, builtin) = match provider {
            Provider::Clerk => ("baselines/clerk.toml", include_str!("../../baselines/clerk.toml")),
            Provider::Auth0 => ("baselines/auth0.toml", include_str!("../../baselines/auth0.toml")),
        };
        let mut settings = match own {
            Some((own_name, text)) => parse(own_name, text)?,
            None => Vec::new(),
        };
        settings.extend(parse(name, builtin)?);
        Ok(Self { table: Table::of(provider), settings })
    }

    /// The first setting that has `path`.
    pub fn setting_at(&self, path: &Pointer) -> Option<&Setting> {
        let has_path = |setting: &&Setting| setting.paths.iter().any(|pattern| pattern.matches(path.tokens()));
        self.settings.iter().find(has_path)
    }

    /// The sections that it speaks of.
    pub fn table(&self) -> &'static Table {
        self.table
    }

    /// Every setting, in the order they are tried.
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }
}

fn parse(name: &str, text: &str) -> Result<Vec<Setting>, BadCatalogue> {
    toml::from_str::<File>(text)
        .map(|file| file.settings)
        .map_err(|source| BadCatalogue { name: name.to_owned(), source: Box::new(source) })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn builtin() -> [(Provider, Catalogue); 2] {
        [Provider::Clerk, Provider::Auth0].map(|provider| (provider, Catalogue::of(provider, None).unwrap()))
    }

    /// A path that the pattern describes.
    fn sample(pattern: &Pattern) -> Pointer {
        pattern.to_string().replace("**", "some").replace('*', "thing").parse().unwrap()
    }

    #[test]
    fn the_texts_of_every_setting_are_usable() {
        for (provider, catalogue) in builtin() {
            let mut ids = HashSet::new();
            for setting in catalogue.settings() {
                let id = &setting.id;
                assert!(ids.insert(id), "{provider:?}: {id} twice");
                let is_kebab = id.split('-').all(|word| {
                    !word.is_empty()
                        && word.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit())
                });
                assert!(is_kebab, "{provider:?}: {id} is not kebab case");
                assert!(
                    !setting.title.ends_with('.') && setting.title.chars().count() <= 60,
                    "{id}: {}",
                    setting.title
                );
                assert!(setting.title.starts_with(char::is_uppercase), "{id}: {}", setting.title);
                let sentence = setting.why.strip_suffix('.').unwrap_or_else(|| panic!("{id}: no full stop"));
                assert!(!sentence.contains(". ") && !sentence.contains('\n'), "{id}: more than one sentence");
                assert!(setting.why.chars().count() < 160, "{id}: why is too long");
                assert!(!setting.paths.is_empty(), "{id}: no path");
                assert!(setting.severity < Severity::Critical || setting.weaker.is_some(), "{id}: never weaker");
                assert!(setting.category != Category::Unclassified, "{id}: no category");
                let is_cosmetic = setting.category == Category::Cosmetic;
                assert!(is_cosmetic || !setting.criteria.is_empty(), "{id}: no criteria");
                assert!(!is_cosmetic || setting.severity <= Severity::Low, "{id}: cosmetic, but severe");
            }
        }
    }

    #[test]
    fn numbers_have_a_rule_for_numbers() {
        for (_, catalogue) in builtin() {
            for setting in catalogue.settings() {
                let is_number = matches!(setting.weaker, Some(Weaker::Rule(WeakerRule::Higher | WeakerRule::Lower)));
                assert!(is_number || setting.zero.is_none(), "{}: zero without higher or lower", setting.id);
            }
        }
    }

    #[test]
    fn no_pattern_is_shadowed_and_every_pattern_begins_with_a_section() {
        for (provider, catalogue) in builtin() {
            for setting in catalogue.settings() {
                for pattern in &setting.paths {
                    let path = sample(pattern);
                    let is_section = catalogue.table().section(path.section()).is_some();
                    assert!(is_section, "{}: {pattern} is of no section", setting.id);
                    let decides = catalogue.setting_at(&path).unwrap();
                    assert_eq!(decides.id, setting.id, "{provider:?}: {pattern} is shadowed");
                }
            }
        }
    }

    #[test]
    fn the_entries_of_a_user_are_tried_first() {
        let own = "[[setting]]\nid = 'ours'\ntitle = 'Ours'\nwhy = 'Ours.'\npaths = ['/instance/allowed_origins']\n\
                   category = 'origins'\nseverity = 'critical'\nweaker = 'added'";
        let catalogue = Catalogue::of(Provider::Clerk, Some(("own.toml", own))).unwrap();
        assert_eq!(catalogue.setting_at(&"/instance/allowed_origins".parse().unwrap()).unwrap().id, "ours");
        assert_eq!(catalogue.setting_at(&"/jwt_templates/x".parse().unwrap()).unwrap().id, "jwt-template");
        let wrong = Catalogue::of(Provider::Clerk, Some(("own.toml", "[[setting]]\nsurprise = 1"))).unwrap_err();
        assert!(wrong.to_string().contains("own.toml"), "{wrong}");
    }

    #[test]
    fn fields_that_nobody_has_heard_of_stay_unclassified() {
        let table = [
            (Provider::Clerk, "/frontend.environment/user_settings/password_settings/new_unlisted_rule"),
            (Provider::Clerk, "/frontend.environment/user_settings/sign_up/new_switch"),
            (Provider::Clerk, "/frontend.environment/user_settings/attributes/password/new_switch"),
            (Provider::Clerk, "/frontend.environment/auth_config/new_switch"),
            (Provider::Clerk, "/frontend.environment/display_config/new_url"),
            (Provider::Clerk, "/platform.config/auth_multi_factor/new_switch"),
            (Provider::Clerk, "/platform.config/new_group/enabled"),
            (Provider::Clerk, "/jwt_templates/supabase/new_switch"),
            (Provider::Clerk, "/instance/new_switch"),
            (Provider::Clerk, "/instance.protect/new_switch"),
            (Provider::Clerk, "/instance.oauth_application_settings/new_switch"),
            (Provider::Clerk, "/allowlist_identifiers/hidden-0/new_field"),
            (Provider::Clerk, "/organization_roles/org:member/new_switch"),
            (Provider::Clerk, "/organization_roles/org:member/permissions/org:x:read/new_switch"),
            (Provider::Clerk, "/organization_permissions/org:x:read/new_switch"),
            (Provider::Clerk, "/role_sets/role_set:default/new_switch"),
            (Provider::Clerk, "/oauth_applications/abc/new_switch"),
            (Provider::Clerk, "/enterprise_connections/abc/new_switch"),
            (Provider::Clerk, "/enterprise_connections/abc/saml_connection/new_switch"),
            (Provider::Clerk, "/enterprise_connections/abc/oauth_config/new_switch"),
            (Provider::Clerk, "/saml_connections/abc/new_switch"),
            (Provider::Clerk, "/directories/abc/new_switch"),
            (Provider::Clerk, "/directories.group_role_mappings/abc/admins/new_switch"),
            (Provider::Clerk, "/directories.group_role_mappings/abc/admins/role/new_switch"),
            (Provider::Clerk, "/machines/abc/new_switch"),
            (Provider::Clerk, "/jwks/abc/new_field"),
            (Provider::Clerk, "/templates.email/password_changed/new_switch"),
            (Provider::Clerk, "/organization_domains/abc/new_switch"),
            (Provider::Clerk, "/billing.plans/abc/new_switch"),
            (Provider::Clerk, "/platform.application/instances/abc/new_key"),
            (Provider::Clerk, "/platform.domains/books.example/new_switch"),
            (Provider::Clerk, "/platform.config.schema/new_keyword"),
            (Provider::Clerk, "/frontend.account_portal/new_url"),
            (Provider::Clerk, "/frontend.oauth-authorization-server/new_endpoint"),
            (Provider::Clerk, "/frontend.openid-configuration/new_endpoint"),
            (Provider::Clerk, "/frontend.assetlinks/app/target/new_field"),
            (Provider::Auth0, "/tenants.settings/flags/new_flag"),
            (Provider::Auth0, "/tenants.settings/new_field"),
            (Provider::Auth0, "/guardian.factors/new-factor/enabled"),
            (Provider::Auth0, "/attack-protection.captcha/new_switch"),
            (Provider::Auth0, "/clients/abc/new_switch"),
            (Provider::Auth0, "/clients/abc/refresh_token/new_switch"),
            (Provider::Auth0, "/connections/db/options/new_switch"),
            (Provider::Auth0, "/resource-servers/api/new_switch"),
            (Provider::Auth0, "/clients.global/abc/new_switch"),
            (Provider::Auth0, "/client-grants/abc https:~1~1x~1api~1v2~1 client/new_switch"),
            (Provider::Auth0, "/connections.clients/db/abc/new_switch"),
            (Provider::Auth0, "/actions.actions/act/new_switch"),
            (Provider::Auth0, "/actions.actions/act/deployed_version/new_switch"),
            (Provider::Auth0, "/actions.modules/cards/new_switch"),
            (Provider::Auth0, "/rules/rul/new_switch"),
            (Provider::Auth0, "/roles/editor/new_switch"),
            (Provider::Auth0, "/organizations/press/new_switch"),
            (Provider::Auth0, "/organizations.connections/press/con/new_switch"),
            (Provider::Auth0, "/network-acls/acl/new_switch"),
            (Provider::Auth0, "/network-acls/acl/rule/new_switch"),
            (Provider::Auth0, "/custom-domains/login/new_switch"),
            (Provider::Auth0, "/log-streams/lst/new_switch"),
            (Provider::Auth0, "/log-streams/lst/sink/newEndpoint"),
            (Provider::Auth0, "/event-streams/est/destination/configuration/new_endpoint"),
            (Provider::Auth0, "/emails.provider/credentials/new_host"),
            (Provider::Auth0, "/email-templates/reset_email/new_url"),
            (Provider::Auth0, "/keys.signing/kid/new_switch"),
            (Provider::Auth0, "/keys.custom-signing/kid/new_part"),
            (Provider::Auth0, "/token-exchange-profiles/tep/new_switch"),
            (Provider::Auth0, "/prompts/new_switch"),
            (Provider::Auth0, "/prompts.rendering/login login/new_switch"),
            (Provider::Auth0, "/guardian.factors.duo.settings/new_field"),
            (Provider::Auth0, "/guardian.factors.webauthn-roaming.settings/new_switch"),
            (Provider::Auth0, "/risk-assessments.settings/new_switch"),
        ];
        for (provider, path) in table {
            let catalogue = Catalogue::of(provider, None).unwrap();
            let known = catalogue.setting_at(&path.parse().unwrap()).map(|setting| &setting.id);
            assert_eq!(known, None, "{path}");
        }
    }
}
