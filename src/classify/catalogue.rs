//! The catalogue: what a path means. Data in `baselines/*.toml`, compiled in; a user's own file comes first.
//!
//! The first entry whose pattern matches decides, so special cases stand above general ones.

use serde::Deserialize;
use serde_json::Value;

use crate::model::{Category, Pattern, Pointer, Provider, Severity, Unit};

/// One setting as people know it, under every path it has.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// Kebab case; never changes once released.
    pub id: String,
    /// What a person calls it.
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
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Weaker {
    /// A rule by name.
    Rule(WeakerRule),
    /// Every known value, strongest first: a step towards the end is weaker.
    Order(Vec<Value>),
}

/// A rule by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeakerRule {
    /// A larger number is weaker.
    Higher,
    /// A smaller number is weaker.
    Lower,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
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

/// The settings of one provider, in the order they are tried.
#[derive(Debug, Clone)]
pub struct Catalogue {
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
    ///
    /// # Errors
    /// The user's text is not a catalogue.
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
        Ok(Self { settings })
    }

    /// The first setting that has `path`.
    pub fn setting_at(&self, path: &Pointer) -> Option<&Setting> {
        let has_path = |setting: &&Setting| setting.paths.iter().any(|pattern| pattern.matches(path.tokens()));
        self.settings.iter().find(has_path)
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
