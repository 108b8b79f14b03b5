//! The sections that can be read from each vendor, as data: one row per section in `sections/*.toml`.
//!
//! A row says where a section is read and with what, how its answer is paged, what identifies the items of its lists,
//! which fields are volatile, secret, program text or ordered, and what each refusal means. A further section is
//! one row and one fixture; nothing else names an endpoint.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use crate::model::{Pattern, Pointer, Provider, State, word};

/// All rows of one vendor.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// How many requests may be under way at once.
    pub concurrency: usize,
    /// What refusals mean for every section, after the section's own; the first that fits decides.
    #[serde(rename = "refusal")]
    refusals: Vec<RefusalRule>,
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
    /// The path of the address; `{application_id}` and `{environment}` come from the configuration, every other name
    /// in braces from [`Section::each`].
    pub path: String,
    /// Whether it is read always, or only with `depth = "everything"`.
    #[serde(default)]
    pub depth: Depth,
    /// How old a reading a daemon may use instead of asking anew. Absent: it asks in every cycle.
    #[serde(default, deserialize_with = "duration")]
    pub every: Option<Duration>,
    /// Read only while another section has a certain object; without it this one is [`State::Off`].
    pub when: Option<When>,
    /// One request for each combination of these, and the section is a map of the answers: the first name is the first
    /// token of a path, and so on. A request that is refused with [`State::Off`] leaves its object out; if all are, the
    /// section is off, unless the refusal is of single objects.
    #[serde(default)]
    pub each: Vec<Each>,
    /// Fixed query parameters.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// How the answer is paged.
    #[serde(default)]
    pub paging: Paging,
    /// The key of an envelope that holds the items; a bare list is accepted too.
    pub items: Option<String>,
    /// The shape of a valid answer.
    pub shape: Shape,
    /// Fields every item (or the object itself) has; an answer without them is not the expected one.
    #[serde(default)]
    pub requires: Vec<String>,
    /// Fields that are missing only when the credential lacks a scope.
    pub scoped_field: Option<ScopedField>,
    /// The scope the credential needs, as the vendor names it.
    pub scope: String,
    /// The content of the section, in a few words.
    pub holds: String,
    /// The field of an object of this section by which people know it, when its key is an opaque id.
    pub label: Option<String>,
    /// Lists of objects, by pattern, and the field or fields that identify their items; `a/b` is the field `b` of the
    /// field `a`. The root is the empty pattern.
    #[serde(default, deserialize_with = "keys")]
    keys: Vec<(Pattern, Vec<String>)>,
    /// What an absent field means, by pattern: a vendor states it sometimes, and sometimes not.
    #[serde(default, deserialize_with = "by_pattern")]
    defaults: Vec<(Pattern, Value)>,
    /// Leaves that are not compared, and why.
    #[serde(default)]
    volatile: Vec<Volatile>,
    /// Secrets and personal data: replaced by a keyed fingerprint, also where they identify an item.
    #[serde(default)]
    secret: Vec<Pattern>,
    /// Names there are chosen by people or name a text, so they say nothing about the value: only what looks like a secret
    /// itself is hidden.
    #[serde(default)]
    free_names: Vec<Pattern>,
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
    refusals: Vec<RefusalRule>,
}

/// An API of a vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
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

word!(
    /// How much is read.
    #[derive(Default)]
    Depth {
        /// Everything that can weaken security.
        #[default]
        Security = "security",
        /// Also looks and texts.
        Everything = "everything",
    }
);

/// An object of another section without which there is nothing to read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// The other section.
    pub of: String,
    /// Fields the object has, with their values; a list is a choice.
    #[serde(rename = "where")]
    pub fields: BTreeMap<String, Value>,
}

/// Leaves that are not compared, because they change without a change of a setting, or repeat what is compared elsewhere.
/// Never a subtree: a field that is added to it could be a setting.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Volatile {
    /// Why comparing them tells nothing.
    pub why: String,
    /// Where they are.
    pub paths: Vec<Pattern>,
}

/// The values for a name in braces in the path of an address.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Each {
    /// The name in braces.
    #[serde(rename = "as")]
    pub name: String,
    /// Fixed values …
    #[serde(default)]
    pub names: Vec<String>,
    /// … or those found in another section.
    pub of: Option<String>,
    /// Only in objects that have these fields with these values; a list is a choice.
    #[serde(default, rename = "where")]
    pub fields: BTreeMap<String, Value>,
    /// Where the value is in an object of the other section (or in the section itself, if it is one object).
    pub id: Option<Pattern>,
    /// The field of the object whose text is the key of the answer; absent: the value itself.
    pub key: Option<String>,
}

impl Api {
    /// What people call the credential it takes.
    pub fn credential(self) -> &'static str {
        match self {
            Self::Backend => "secret key",
            Self::Platform => "Platform token",
            Self::Frontend => "publishable key",
            Self::Management => "Management API credential",
        }
    }
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

/// The shape of a valid answer.
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

/// A rule for refusals.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RefusalRule {
    status: u16,
    code: Option<String>,
    #[serde(default, deserialize_with = "regex")]
    message: Option<Regex>,
    state: State,
    /// It is the credential that is refused, whatever section is asked for.
    #[serde(default)]
    credential: bool,
    /// It is said of one object of many and means nothing for the section, even if it is said of every one.
    #[serde(default)]
    object: bool,
}

/// The meaning of a refusal for a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusalMeaning {
    /// The state of the section.
    pub state: State,
    /// The credential is dead: nothing else can be read with it either.
    pub is_credential: bool,
    /// Only one object of the section is meant.
    pub is_of_object: bool,
}

fn regex<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Regex>, D::Error> {
    let pattern = String::deserialize(deserializer)?;
    Regex::new(&pattern).map(Some).map_err(serde::de::Error::custom)
}

fn duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map(Some).map_err(serde::de::Error::custom)
}

fn by_pattern<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<(Pattern, T)>, D::Error> {
    let entries = BTreeMap::<String, T>::deserialize(deserializer)?.into_iter();
    entries
        .map(|(pattern, value)| pattern.parse().map(|pattern| (pattern, value)).map_err(serde::de::Error::custom))
        .collect()
}

fn keys<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<(Pattern, Vec<String>)>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Several(Vec<String>),
    }
    let entries = by_pattern::<D, OneOrMany>(deserializer)?.into_iter();
    let fields = |fields| match fields {
        OneOrMany::One(field) => vec![field],
        OneOrMany::Several(fields) => fields,
    };
    Ok(entries.map(|(pattern, entry)| (pattern, fields(entry))).collect())
}

impl Section {
    /// What reading the section takes: a scope, or a kind of key.
    pub fn needs(&self) -> String {
        match self.api {
            Api::Platform => format!("Platform API key with {}", self.scope),
            Api::Backend | Api::Frontend | Api::Management => self.scope.clone(),
        }
    }

    /// The fields that identify the items of the list at `tokens` (relative to the section), if it has any.
    pub fn key_at(&self, tokens: &[String]) -> Option<&[String]> {
        self.keys.iter().find(|(pattern, _)| pattern.matches(tokens)).map(|(_, fields)| fields.as_slice())
    }

    /// A field that every item of the section has, and this one has not.
    pub fn missing_in(&self, item: &Value) -> Option<&str> {
        let scoped = self.scoped_field.iter().map(|scoped| scoped.field.as_str());
        self.requires.iter().map(String::as_str).chain(scoped).find(|field| item.get(field).is_none())
    }

    /// The value that a field at `tokens` has when it is absent, if the vendor is known to leave it out.
    pub fn default_at(&self, tokens: &[String]) -> Option<&Value> {
        self.defaults.iter().find(|(pattern, _)| pattern.matches(tokens)).map(|(_, value)| value)
    }

    /// The sections without which this one cannot be asked for.
    pub fn parents(&self) -> impl Iterator<Item = &str> {
        self.each.iter().filter_map(|each| each.of.as_deref()).chain(self.when.as_ref().map(|when| when.of.as_str()))
    }

    /// Why the value at `tokens` is not compared, if it is not.
    pub fn why_volatile(&self, tokens: &[String]) -> Option<&str> {
        let covers = |volatile: &&Volatile| volatile.paths.iter().any(|pattern| pattern.matches(tokens));
        self.volatile.iter().find(covers).map(|volatile| volatile.why.as_str())
    }

    /// Whether the value at `tokens` is not compared.
    pub fn is_volatile(&self, tokens: &[String]) -> bool {
        self.why_volatile(tokens).is_some()
    }

    /// The patterns that are not compared, and why.
    pub fn volatile(&self) -> &[Volatile] {
        &self.volatile
    }

    /// Objects that mean nothing while they are off, by pattern.
    pub fn inert(&self) -> &[Pattern] {
        &self.inert
    }

    /// The values of absent fields, by pattern.
    pub fn defaults(&self) -> &[(Pattern, Value)] {
        &self.defaults
    }

    /// Whether the table says that the value at `tokens` is a secret.
    pub fn is_secret(&self, tokens: &[String]) -> bool {
        self.secret.iter().any(|pattern| pattern.matches(tokens))
    }

    /// Whether the name of the value at `tokens` says nothing about what it holds.
    pub fn is_freely_named(&self, tokens: &[String]) -> bool {
        self.free_names.iter().any(|pattern| pattern.matches(tokens))
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

    /// What a field at `path` (with its section) has to be taken for when it is absent, if the vendor is known to leave it
    /// out.
    pub fn default_at(&self, path: &Pointer) -> Option<&Value> {
        let (name, rest) = path.tokens().split_first()?;
        self.section(name)?.default_at(rest)
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

    /// What a refusal of `section` with this status, error code and message means. What the table does not know says nothing
    /// about the section.
    pub fn meaning_of(&self, section: &Section, status: u16, code: &str, message: &str) -> RefusalMeaning {
        let fits = |refusal: &&RefusalRule| {
            refusal.status == status
                && refusal.code.as_ref().is_none_or(|wanted| wanted == code)
                && refusal.message.as_ref().is_none_or(|pattern| pattern.is_match(message))
        };
        let known = section.refusals.iter().chain(&self.refusals).find(fits);
        let nothing = RefusalMeaning { state: State::Unreachable, is_credential: false, is_of_object: false };
        known.map_or(nothing, |refusal| RefusalMeaning {
            state: refusal.state,
            is_credential: refusal.credential,
            is_of_object: refusal.object,
        })
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
                let is_known = |root: &&str| section.path.starts_with(*root);
                assert!(["/v1/", "/.well-known/", "/api/v2/"].iter().any(is_known), "{}", section.name);
                let root = vec!["*".to_owned(); section.each.len()];
                let has_items = section.key_at(&root).is_some() || section.is_sequence(&root);
                assert_eq!(section.shape == Shape::List, has_items, "{}", section.name);
                for parent in section.parents() {
                    let parent =
                        table.section(parent).unwrap_or_else(|| panic!("{}: no section {parent}", section.name));
                    assert_eq!(parent.parents().count(), 0, "{}: its parent has parents", section.name);
                    assert!(parent.depth <= section.depth, "{}: its parent is not read", section.name);
                }
                for each in &section.each {
                    assert!(section.path.contains(&format!("{{{}}}", each.name)), "{}: {}", section.name, each.name);
                    assert!(each.of.is_some() == each.id.is_some() && each.names.is_empty() == each.of.is_some());
                }
                let of_objects = section.refusals.iter().filter(|refusal| refusal.object);
                assert!(of_objects.count() == 0 || !section.each.is_empty(), "{}: it is one object", section.name);
                assert!(!section.query.contains_key("include_secret_keys"), "{}: never ask for secrets", section.name);
            }
        }
    }

    #[test]
    fn refusals_mean_what_the_vendors_mean() {
        let clerk = Table::of(Provider::Clerk);
        let auth0 = Table::of(Provider::Auth0);
        let templates = clerk.section("jwt_templates").unwrap();
        let passkeys = clerk.section("frontend.webauthn").unwrap();
        let bots = auth0.section("attack-protection.bot-detection").unwrap();
        let named = |name| auth0.section(name).unwrap();
        let table = [
            (clerk, templates, 402, "unsupported_subscription_plan_features", "", State::NotOnPlan),
            (clerk, templates, 403, "unsupported_subscription_plan_features", "", State::NotOnPlan),
            (clerk, templates, 403, "feature_not_enabled", "", State::Off),
            (clerk, templates, 403, "organization_not_enabled_in_instance", "", State::Off),
            (clerk, templates, 403, "authorization_missing_scopes", "", State::NotPermitted),
            (clerk, templates, 404, "resource_not_found", "", State::Unreachable),
            (clerk, templates, 405, "", "", State::NotPermitted),
            (clerk, templates, 410, "operation_deprecated", "", State::Off),
            (clerk, templates, 422, "feature_not_enabled", "", State::Off),
            (clerk, templates, 422, "form_param_value_invalid", "", State::Unreachable),
            (clerk, passkeys, 404, "", "", State::Off),
            (auth0, bots, 403, "insufficient_entitlement", "Please upgrade your subscription", State::NotOnPlan),
            (auth0, bots, 403, "insufficient_scope", "Please upgrade your subscription to …", State::NotOnPlan),
            (auth0, bots, 403, "insufficient_scope", "Insufficient scope, expected any of: x", State::NotPermitted),
            (auth0, bots, 404, "", "", State::Unreachable),
            (auth0, bots, 500, "", "", State::Unreachable),
            (auth0, bots, 501, "", "", State::Off),
            (auth0, named("organizations"), 404, "", "", State::Off),
            (auth0, named("organizations.connections"), 404, "", "", State::Unreachable),
            (auth0, named("log-streams"), 404, "", "", State::Unreachable),
            (auth0, named("email-templates"), 404, "inexistent_email_template", "", State::Off),
            (auth0, named("email-templates"), 404, "", "", State::Unreachable),
            (auth0, named("emails.provider"), 404, "inexistent_email_provider", "", State::Off),
            (auth0, named("branding.templates.universal-login"), 402, "", "", State::NotOnPlan),
            (auth0, named("branding.themes.default"), 400, "", "", State::Off),
            (auth0, named("guardian.factors.sms.templates"), 204, "", "", State::Off),
            (auth0, named("rules"), 403, "", "Insufficient privileges to use this deprecated feature", State::Off),
            (
                auth0,
                named("supplemental-signals"),
                403,
                "insufficient_scope",
                "Please upgrade your subscription to enable Akamai Signals.",
                State::NotOnPlan,
            ),
        ];
        for (vendor, section, status, code, message, expected) in table {
            assert_eq!(vendor.meaning_of(section, status, code, message).state, expected, "{status} {code} {message}");
        }
    }
}
