//! What can be read from each vendor, as data: one row per section in `sections/*.toml`.
//!
//! A row says where a section is read and with what, how its answer is paged, what identifies the items of its lists,
//! which fields are volatile, secret, program text or ordered, and what each refusal means. A further section is
//! one row and one fixture; nothing else names an endpoint.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use crate::model::{Pattern, Pointer, Provider, State};

/// All rows of one vendor.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// How many requests may be under way at once.
    pub concurrency: usize,
    /// What refusals mean for every section, after the section's own; the first that fits decides.
    #[serde(rename = "refusal")]
    refusals: Vec<Refusal>,
    /// The rows, in the order they are read.
    #[serde(rename = "section")]
    sections: Vec<Section>,
}

/// One row.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Section {
    /// The API path with `/` as `.`.
    pub name: String,
    /// Which API, and so which credential.
    pub api: Api,
    /// The path of the address; `{application_id}` and `{environment}` come from the configuration.
    pub path: String,
    /// Fixed query parameters.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// How the answer is paged.
    #[serde(default)]
    pub paging: Paging,
    /// The key of an envelope that holds the items; a bare list is accepted too.
    pub items: Option<String>,
    /// What the answer has to be.
    pub shape: Shape,
    /// Fields every item (or the object itself) has; an answer without them is not the expected one.
    #[serde(default)]
    pub requires: Vec<String>,
    /// Fields that are missing only when the credential lacks a scope.
    pub scoped_field: Option<ScopedField>,
    /// The scope the credential needs, as the vendor names it.
    pub scope: String,
    /// What the section holds, in a few words.
    pub holds: String,
    /// Lists of objects, by pattern, and the field that identifies their items. The root is the empty pattern.
    #[serde(default)]
    keys: BTreeMap<String, String>,
    /// Dropped: they change without anybody changing a setting.
    #[serde(default)]
    volatile: Vec<Pattern>,
    /// Replaced by a keyed fingerprint.
    #[serde(default)]
    secret: Vec<Pattern>,
    /// Customer code and pages: kept as digest and size.
    #[serde(default)]
    code: Vec<Pattern>,
    /// Lists whose order has a meaning; all others are sets.
    #[serde(default)]
    sequence: Vec<Pattern>,
    /// Objects that mean nothing while their `enabled` is false: one that appears or vanishes like that is no difference.
    #[serde(default)]
    inert: Vec<Pattern>,
    /// What refusals mean for this section.
    #[serde(default, rename = "refusal")]
    refusals: Vec<Refusal>,
}

/// An API of a vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Api {
    /// Clerk, with a secret key.
    Backend,
    /// Clerk, with a Platform token.
    Platform,
    /// Clerk, public.
    Frontend,
    /// Auth0, with a Management API token.
    Management,
}

/// How an answer is paged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Paging {
    /// One answer.
    #[default]
    None,
    /// `limit` and `offset`, total in `total_count`.
    Offset,
    /// `page` and `per_page` with `include_totals`, total in `total`.
    Page,
    /// `take` and `from`, cursor in `next`, no total.
    Checkpoint,
}

/// What an answer has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// One object.
    Object,
    /// A list of objects.
    List,
    /// A list of scalars.
    Set,
}

/// A field that is missing when the credential lacks a scope, although the answer says 200.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScopedField {
    /// The field.
    pub field: String,
    /// The scope.
    pub scope: String,
}

/// What a refusal means.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Refusal {
    status: u16,
    code: Option<String>,
    #[serde(default, deserialize_with = "regex")]
    message: Option<Regex>,
    state: State,
}

fn regex<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Regex>, D::Error> {
    let pattern = String::deserialize(deserializer)?;
    Regex::new(&pattern).map(Some).map_err(serde::de::Error::custom)
}

impl Section {
    /// The field that identifies the items of the list at `tokens` (relative to the section), if it has one.
    pub fn key_at(&self, tokens: &[String]) -> Option<&str> {
        self.keys
            .iter()
            .find(|(pattern, _)| pattern.parse::<Pattern>().is_ok_and(|pattern| pattern.matches(tokens)))
            .map(|(_, field)| field.as_str())
    }

    /// Whether the value at `tokens` changes by itself.
    pub fn is_volatile(&self, tokens: &[String]) -> bool {
        self.volatile.iter().any(|pattern| pattern.matches(tokens))
    }

    /// Whether the table says that the value at `tokens` is a secret.
    pub fn is_secret(&self, tokens: &[String]) -> bool {
        self.secret.iter().any(|pattern| pattern.matches(tokens))
    }

    /// Whether the value at `tokens` is customer code or a page.
    pub fn is_code(&self, tokens: &[String]) -> bool {
        self.code.iter().any(|pattern| pattern.matches(tokens))
    }

    /// Whether the order of the list at `tokens` has a meaning.
    pub fn is_sequence(&self, tokens: &[String]) -> bool {
        self.sequence.iter().any(|pattern| pattern.matches(tokens))
    }
}

impl Table {
    /// The table of `provider`.
    pub fn of(provider: Provider) -> &'static Self {
        static CLERK: LazyLock<Table> = LazyLock::new(|| built_in(include_str!("sections/clerk.toml")));
        static AUTH0: LazyLock<Table> = LazyLock::new(|| built_in(include_str!("sections/auth0.toml")));
        match provider {
            Provider::Clerk => &CLERK,
            Provider::Auth0 => &AUTH0,
        }
    }

    /// Every row.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// The row of that name.
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// Whether the list at `path` (with its section) is ordered.
    pub fn is_sequence(&self, path: &Pointer) -> bool {
        let Some((name, rest)) = path.tokens().split_first() else { return false };
        self.section(name).is_some_and(|section| section.is_sequence(rest))
    }

    /// Whether `value` at `path` (with its section) means as little as nothing at all.
    pub fn is_inert(&self, path: &Pointer, value: &Value) -> bool {
        let Some((name, rest)) = path.tokens().split_first() else { return false };
        let is_listed = |section: &Section| section.inert.iter().any(|pattern| pattern.matches(rest));
        value.get("enabled") == Some(&Value::Bool(false)) && self.section(name).is_some_and(is_listed)
    }

    /// What a refusal of `section` with this status, error code and message means, if the table knows.
    pub fn meaning_of(&self, section: &Section, status: u16, code: &str, message: &str) -> Option<State> {
        let fits = |refusal: &&Refusal| {
            refusal.status == status
                && refusal.code.as_ref().is_none_or(|wanted| wanted == code)
                && refusal.message.as_ref().is_none_or(|pattern| pattern.is_match(message))
        };
        section.refusals.iter().chain(&self.refusals).find(fits).map(|refusal| refusal.state)
    }
}

fn built_in(text: &str) -> Table {
    toml::from_str(text)
        .unwrap_or_else(|error| unreachable!("internal: a built-in section table is malformed: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_well_formed() {
        for provider in Provider::ALL {
            let table = Table::of(provider);
            let mut names: Vec<_> = table.sections().iter().map(|section| &section.name).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), table.sections().len(), "{provider}: a section is there twice");
            for section in table.sections() {
                assert!(section.path.starts_with("/v1/") || section.path.starts_with("/api/v2/"), "{}", section.name);
                assert_eq!(section.shape == Shape::List, section.key_at(&[]).is_some(), "{}", section.name);
                for pattern in section.keys.keys() {
                    pattern.parse::<Pattern>().unwrap();
                }
                assert!(!section.query.contains_key("include_secret_keys"), "{}: never ask for secrets", section.name);
            }
        }
    }

    #[test]
    fn refusals_mean_what_the_vendors_mean() {
        let clerk = Table::of(Provider::Clerk);
        let auth0 = Table::of(Provider::Auth0);
        let templates = clerk.section("jwt_templates").unwrap();
        let bots = auth0.section("attack-protection.bot-detection").unwrap();
        let table = [
            (clerk, templates, 402, "unsupported_subscription_plan_features", "", Some(State::NotOnPlan)),
            (clerk, templates, 403, "unsupported_subscription_plan_features", "", Some(State::NotOnPlan)),
            (clerk, templates, 403, "feature_not_enabled", "", Some(State::Off)),
            (clerk, templates, 403, "organization_not_enabled_in_instance", "", Some(State::Off)),
            (clerk, templates, 403, "authorization_missing_scopes", "", Some(State::NotPermitted)),
            (clerk, templates, 404, "resource_not_found", "", None),
            (auth0, bots, 403, "insufficient_entitlement", "Please upgrade your subscription", Some(State::NotOnPlan)),
            (auth0, bots, 403, "insufficient_scope", "Please upgrade your subscription to …", Some(State::NotOnPlan)),
            (
                auth0,
                bots,
                403,
                "insufficient_scope",
                "Insufficient scope, expected any of: x",
                Some(State::NotPermitted),
            ),
            (auth0, bots, 404, "", "", None),
            (auth0, bots, 500, "", "", None),
        ];
        for (vendor, section, status, code, message, expected) in table {
            assert_eq!(vendor.meaning_of(section, status, code, message), expected, "{status} {code} {message}");
        }
    }
}
