//! Reads `[[clerk]]` and `[[auth0]]`.

use std::ops::Range;

use url::Url;

use super::address::{self, UrlUse};
use super::sources::Sources;
use super::times::ScheduleKeys;
use super::toml_reader::{At, Problem, TomlReader, closest, line_number};
use super::{
    Auth0Credential, Auth0Source, ClerkPlatform, ClerkSource, Instance, Proxy, PublishableKey, Source, selection,
};
use crate::model::instance::is_valid_name;
use crate::model::{InstanceId, Provider, display_safe};

/// Where Clerk's Backend API and Platform API are.
const CLERK_API: &str = "https://api.clerk.com";

/// Reads all instances. The ids are those that were named, also when the rest of the table is wrong, so that other
/// tables can be checked against them.
pub(super) fn read(
    file: &mut TomlReader<'_>,
    defaults: &ScheduleKeys,
    proxy: &Proxy,
    sources: &Sources<'_>,
) -> (Vec<InstanceId>, Vec<Instance>) {
    let mut names = TakenNames::default();
    let mut ids = Vec::new();
    let mut found: Vec<(usize, Instance)> = Vec::new();
    let mut is_any = false;
    for provider in Provider::ALL {
        is_any |= file.has(provider.as_str());
        let kind = match provider {
            Provider::Clerk => "Clerk instance",
            Provider::Auth0 => "Auth0 instance",
        };
        for mut table in file.tables(provider.as_str()) {
            let start = table.place.start;
            let name = names.read(&mut table, kind, sources.text);
            let id = name.map(|name| InstanceId::new(provider, name));
            ids.extend(id.clone());
            let schedule = ScheduleKeys::read(&mut table).resolve(defaults, &table, sources.now);
            let keep_code = table.boolean("keep_code").is_some_and(|flag| flag.value);
            let selection = selection::selection(&mut table, provider);
            let source = match provider {
                Provider::Clerk => clerk(&mut table).map(Source::Clerk),
                Provider::Auth0 => auth0(&mut table).map(Source::Auth0),
            };
            table.finish();
            if let (Some(id), Some(schedule), Some(source)) = (id, schedule, source) {
                found.push((start, Instance { id, schedule, keep_code, selection, source, proxy: proxy.clone() }));
            }
        }
    }
    if !is_any {
        let problem = Problem::at(0..0, "there is nothing to watch: the file has no [[clerk]] and no [[auth0]]");
        file.report(problem.help("add one, or run 'authdrift init'").absence().without_source());
    }
    found.sort_by_key(|(start, _)| *start);
    (ids, found.into_iter().map(|(_, instance)| instance).collect())
}

/// Names that were taken, and where.
#[derive(Default)]
pub(super) struct TakenNames {
    taken: Vec<(&'static str, String, Range<usize>)>,
}

impl TakenNames {
    /// Reads `name`, which has to be well formed and new among those of the same `kind`.
    pub(super) fn read(&mut self, table: &mut TomlReader<'_>, kind: &'static str, text: &str) -> Option<String> {
        table.require("name");
        let name = table.string("name")?;
        if !is_valid_name(&name.value) {
            let problem = Problem::at(name.span, format!("'{}' cannot be a name", display_safe(&name.value)));
            table.report(problem.help("use 1 to 64 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit"));
            return None;
        }
        let first = self.taken.iter().find(|(of, taken, _)| *of == kind && *taken == name.value);
        if let Some((_, _, first)) = first {
            let line = line_number(text, first.start);
            let message = format!("'{}' is already the name of the {kind} in line {line}", name.value);
            table.report(Problem::at(name.span, message).help("give each one a different name"));
            return None;
        }
        self.taken.push((kind, name.value.clone(), name.span));
        Some(name.value)
    }
}

fn clerk(table: &mut TomlReader<'_>) -> Option<ClerkSource> {
    let publishable_key = publishable_key(table);
    let secret_key = table.secret("secret_key").map(|secret| secret.value);
    let token = table.secret("platform_token");
    let application_id = vendor_id(table, "application_id", "app_");
    let environment = environment(table, publishable_key.as_ref());
    let backend_api_url = base_url(table, "backend_api_url", CLERK_API);
    let platform_api_url = base_url(table, "platform_api_url", CLERK_API);
    let mut frontend_api_url = table.url("frontend_api_url", UrlUse::Base).map(|url| url.value);
    if frontend_api_url.is_none()
        && let Some(key) = &publishable_key
    {
        frontend_api_url = Url::parse(&format!("https://{}", key.host)).ok();
    }

    if !["publishable_key", "secret_key", "platform_token"].iter().any(|key| table.has(key)) {
        let problem =
            Problem::at(table.place.clone(), "[[clerk]] has no 'publishable_key', 'secret_key' or 'platform_token'");
        table.report(problem.help("the publishable key alone is enough to begin with; it is not a secret").absence());
    }
    for (one, other) in [("platform_token", "application_id"), ("application_id", "platform_token")] {
        if table.has(one) && !table.has(other) {
            let problem = Problem::at(table.key_place(one), format!("'{one}' needs '{other}'"));
            table.report(
                problem
                    .help("the Platform API reads one application with one token: give both")
                    .up_to_place()
                    .absence(),
            );
        }
    }
    let platform = match (token, application_id) {
        (Some(token), Some(id)) => Some(ClerkPlatform { token: token.value, application_id: id.value }),
        _ => None,
    };
    Some(ClerkSource {
        publishable_key,
        secret_key,
        platform,
        environment,
        backend_api_url: backend_api_url?,
        platform_api_url: platform_api_url?,
        frontend_api_url,
    })
}

fn publishable_key(table: &mut TomlReader<'_>) -> Option<PublishableKey> {
    let text = table.string("publishable_key")?;
    table.accept(PublishableKey::decode(&text.value).map_err(|error| {
        let problem = Problem::at(text.span, format!("'publishable_key' {error}"));
        if !error.may_be_secret {
            return problem.help("copy the whole key from the API keys page of the Clerk dashboard");
        }
        let help = "copy the key that begins with 'pk_'; a secret key goes into a file and 'secret_key' names it";
        problem.help(help).without_source()
    }))
}

/// An id that the vendor gave: a prefix and letters and digits.
fn vendor_id(table: &mut TomlReader<'_>, key: &'static str, prefix: &str) -> Option<At<String>> {
    let text = table.string(key)?;
    if is_vendor_id(&text.value, prefix) {
        return Some(text);
    }
    let problem = Problem::at(text.span, format!("'{key}' has to be '{prefix}' and letters and digits"));
    table.report(problem);
    None
}

fn is_vendor_id(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|rest| {
        (1..=100).contains(&rest.len()) && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

fn environment(table: &mut TomlReader<'_>, key: Option<&PublishableKey>) -> String {
    let default = if key.is_none_or(|key| key.is_production) { "production" } else { "development" };
    let Some(text) = table.string("environment") else {
        return default.to_owned();
    };
    let is_good = matches!(text.value.as_str(), "production" | "development") || is_vendor_id(&text.value, "ins_");
    if !is_good {
        let message = format!("'{}' is not 'production', 'development' or 'ins_…'", display_safe(&text.value));
        let meant = closest(&text.value, ["production", "development"].into_iter());
        table.report(Problem::at(text.span, message).did_you_mean(meant));
    }
    text.value
}

fn base_url(table: &mut TomlReader<'_>, key: &'static str, default: &str) -> Option<Url> {
    if table.has(key) {
        return table.url(key, UrlUse::Base).map(|url| url.value);
    }
    // The key is known also when it is not there.
    table.value(key);
    Url::parse(default).ok()
}

fn auth0(table: &mut TomlReader<'_>) -> Option<Auth0Source> {
    table.require("domain");
    let domain = table.string("domain").and_then(|text| domain(table, text));
    let default = domain.as_ref().map(|domain| format!("https://{domain}"));
    let api_url = base_url(table, "api_url", &default.unwrap_or_default());
    let credential = auth0_credential(table);
    let rate = selection::rate(table);
    Some(Auth0Source { domain: domain?, credential: credential?, api_url: api_url?, rate })
}

fn domain(table: &TomlReader<'_>, text: At<String>) -> Option<String> {
    let lower = text.value.to_ascii_lowercase();
    if address::is_domain(&lower) {
        return Some(lower);
    }
    let problem = Problem::at(text.span, "'domain' is not a host name such as 'acme.eu.auth0.com'");
    table.report(if lower.contains("://") || lower.contains('/') {
        problem.help("leave out 'https://' and everything from the first '/'")
    } else {
        problem
    });
    None
}

fn auth0_credential(table: &mut TomlReader<'_>) -> Option<Auth0Credential> {
    let client_id = table.string("client_id").map(|text| text.value);
    let secret = table.secret("client_secret").map(|secret| secret.value);
    let key = table.secret("private_key").map(|secret| secret.value);
    let key_id = table.string("key_id").map(|text| text.value);
    let token = table.secret("token").map(|secret| secret.value);

    let ways = ["client_secret", "private_key", "token"];
    let given: Vec<&str> = ways.into_iter().filter(|way| table.has(way)).collect();
    match given.as_slice() {
        [] => {
            let message = "[[auth0]] has no 'client_secret', 'private_key' or 'token'";
            let problem = Problem::at(table.place.clone(), message);
            table.report(
                problem.help("'client_id' and 'client_secret' of a machine-to-machine application will do").absence(),
            );
        }
        [_] => {}
        [first, second, ..] => {
            let message = format!("'{first}' and '{second}' exclude each other");
            let problem = Problem::at(table.key_place(second), message);
            table.report(problem.help("give one of 'client_secret', 'private_key' and 'token'").up_to_place());
        }
    }
    let is_token_only = given == ["token"];
    if is_token_only && table.has("client_id") {
        let problem = Problem::at(table.key_place("client_id"), "'client_id' is not used with 'token'");
        table.report(problem.help("remove one of them").up_to_place());
    }
    if !is_token_only && !given.is_empty() {
        table.require("client_id");
    }
    if table.has("key_id") && !table.has("private_key") {
        let problem = Problem::at(table.key_place("key_id"), "'key_id' is used only with 'private_key'");
        table.report(problem.help("remove it").up_to_place());
    }
    match (secret, key, token) {
        (Some(secret), _, _) => Some(Auth0Credential::ClientSecret { client_id: client_id?, secret }),
        (None, Some(key), _) => Some(Auth0Credential::PrivateKey { client_id: client_id?, key, key_id }),
        (None, None, token) => token.map(Auth0Credential::Token),
    }
}
