//! Reads `[[email]]`, `[[webhook]]`, `[[slack]]`, `[[teams]]`, `[[discord]]` and `[[pagerduty]]`.

use url::Url;

use super::address::{self, UrlUse};
use super::instance::TakenNames;
use super::lookup::{self, NoInstance};
use super::sources::Sources;
use super::times::ScheduleKeys;
use super::toml_reader::{At, Problem, TomlReader};
use super::{
    Email, Filter, HookUrl, Mailbox, PagerDuty, Proxy, Receiver, ReceiverKind, SecretRef, SecretUrl, Tls, Webhook,
};
use crate::model::{Category, InstanceId, Severity, display_safe};
use crate::schedule::Cron;

/// Where PagerDuty takes events; EU accounts have an address of their own.
const PAGERDUTY: &str = "https://events.pagerduty.com/v2/enqueue";

/// Reads all receivers; `ids` are the instances they may name.
pub(super) fn read(
    file: &mut TomlReader<'_>,
    ids: &[InstanceId],
    times: &ScheduleKeys,
    proxy: &Proxy,
    sources: &Sources<'_>,
) -> Vec<Receiver> {
    let mut tables: Vec<(&str, TomlReader<'_>)> = Vec::new();
    for kind in ["email", "webhook", "slack", "teams", "discord", "pagerduty"] {
        tables.extend(file.tables(kind).into_iter().map(|table| (kind, table)));
    }
    tables.sort_by_key(|(_, table)| table.place.start);

    let mut names = TakenNames::default();
    let mut receivers = Vec::new();
    let mut default: Option<String> = None;
    for (kind, mut table) in tables {
        let name = names.read(&mut table, "receiver", sources.text);
        let filter = filter(&mut table, ids);
        let is_default = is_default(&mut table, &mut default, name.as_deref());
        let digest = digest(&mut table, times, sources);
        let kind = match kind {
            "email" => email(&mut table).map(ReceiverKind::Email),
            "webhook" => webhook(&mut table).map(ReceiverKind::Webhook),
            "slack" => secret_url(&mut table).map(ReceiverKind::Slack),
            "teams" => secret_url(&mut table).map(ReceiverKind::Teams),
            "discord" => secret_url(&mut table).map(ReceiverKind::Discord),
            _ => pagerduty(&mut table).map(ReceiverKind::PagerDuty),
        };
        table.finish();
        if let (Some(name), Some(kind)) = (name, kind) {
            receivers.push(Receiver { name, filter, is_default, digest, kind, proxy: proxy.clone() });
        }
    }
    receivers
}

/// Whether it is the default receiver. Only one may be.
fn is_default(table: &mut TomlReader<'_>, default: &mut Option<String>, name: Option<&str>) -> bool {
    let Some(given) = table.boolean("default").filter(|given| given.value) else { return false };
    if let Some(other) = default {
        let message = format!("'{}' is the default receiver already", display_safe(other));
        table.report(Problem::at(given.span, message).help("leave 'default' out of all but one"));
    }
    *default = Some(name.unwrap_or("another").to_owned());
    true
}

/// When it wants to hear how everything stands.
fn digest(table: &mut TomlReader<'_>, times: &ScheduleKeys, sources: &Sources<'_>) -> Option<Cron> {
    let pattern = match table.word("digest", &["daily", "weekly"])?.value {
        "weekly" => "0 8 * * MON",
        _ => "0 8 * * *",
    };
    Cron::parse(pattern, times.zone(), sources.now).ok()
}

fn filter(table: &mut TomlReader<'_>, ids: &[InstanceId]) -> Filter {
    let severities: Vec<&str> = Severity::ALL.iter().map(|severity| severity.as_str()).collect();
    let categories: Vec<&str> = Category::ALL.iter().map(|category| category.as_str()).collect();
    let min_severity = table.word("min_severity", &severities).and_then(|word| Severity::from_word(word.value));
    let categories = table.words("categories", &categories);
    let instances = table.strings("instances").map(|texts| instances(table, ids, &texts.value));
    Filter {
        min_severity: min_severity.unwrap_or(Severity::Medium),
        instances,
        categories: categories.map(|words| words.into_iter().filter_map(Category::from_word).collect()),
    }
}

fn instances(table: &TomlReader<'_>, ids: &[InstanceId], texts: &[At<String>]) -> Vec<InstanceId> {
    let mut found = Vec::new();
    for text in texts {
        match lookup::find(ids.iter(), &text.value) {
            Ok(id) => found.push(id.clone()),
            Err(NoInstance::Unknown { name, meant }) => {
                let meant = meant.map(|id| id.to_string());
                let problem = Problem::at(text.span.clone(), format!("no instance is called '{name}'"));
                table.report(problem.did_you_mean(meant.as_deref()).absence());
            }
            Err(error @ NoInstance::Ambiguous { .. }) => {
                table.report(Problem::at(text.span.clone(), error.to_string()));
            }
        }
    }
    found
}

fn email(table: &mut TomlReader<'_>) -> Option<Email> {
    table.require("host");
    let host = table.string("host").and_then(|text| host(table, text));
    let tls = tls(table);
    let port = table.integer("port", 1, 65_535).and_then(|port| u16::try_from(port.value).ok());
    let helo = table.string("helo").and_then(|text| helo(table, text));
    let login = login(table);
    table.require("from");
    let from = table.string("from").and_then(|text| mailbox(table, "from", &text));
    table.require("to");
    let to = table
        .strings("to")
        .map(|texts| texts.value.iter().filter_map(|text| mailbox(table, "to", text)).collect::<Vec<Mailbox>>());

    if let (Some(tls), Some(host)) = (&tls, &host)
        && tls.value == Tls::None
    {
        let remedy = "use 'implicit' or 'starttls'";
        if !address::is_loopback(host) {
            let message = "'tls' can be 'none' only when the host is this machine (localhost, 127.0.0.1, ::1)";
            table.report(Problem::at(tls.span.clone(), message).help(remedy));
        }
        for key in ["username", "password"] {
            if table.has(key) {
                let problem = Problem::at(table.key_place(key), format!("'{key}' would be sent without protection"));
                table.report(problem.help(remedy).up_to_place());
            }
        }
    }
    let tls = tls.map_or(Tls::Implicit, |tls| tls.value);
    let default_port = match tls {
        Tls::Implicit => 465,
        Tls::Starttls => 587,
        Tls::None => 25,
    };
    Some(Email { host: host?, port: port.unwrap_or(default_port), tls, helo, login, from: from?, to: to? })
}

fn host(table: &TomlReader<'_>, text: At<String>) -> Option<String> {
    table.accept(address::host(&text.value).ok_or_else(|| {
        let problem = Problem::at(text.span, "'host' is not a host name such as 'smtp.example.com'");
        problem.help("a port goes into 'port', and there is no 'smtp://'")
    }))
}

fn helo(table: &TomlReader<'_>, text: At<String>) -> Option<String> {
    let name = address::greeting_name(&text.value);
    if name.is_none() {
        let problem = Problem::at(
            text.span,
            "'helo' is neither a host name such as 'mon.example.com' nor an address in brackets",
        );
        table.report(
            problem
                .help("without it, the relay is greeted with this machine's name, or its address if that has no dot"),
        );
    }
    name
}

fn tls(table: &mut TomlReader<'_>) -> Option<At<Tls>> {
    let word = table.word("tls", &["implicit", "starttls", "none"])?;
    let tls = match word.value {
        "none" => Tls::None,
        "starttls" => Tls::Starttls,
        _ => Tls::Implicit,
    };
    Some(At { value: tls, span: word.span })
}

fn login(table: &mut TomlReader<'_>) -> Option<(String, SecretRef)> {
    let username = table.string("username");
    let password = table.secret("password");
    for (one, other) in [("username", "password"), ("password", "username")] {
        if table.has(one) && !table.has(other) {
            let problem = Problem::at(table.key_place(one), format!("'{one}' needs '{other}'"));
            table.report(problem.help("give both, or none for a relay that asks for neither").up_to_place().absence());
        }
    }
    Some((username?.value, password?.value))
}

fn mailbox(table: &TomlReader<'_>, key: &str, text: &At<String>) -> Option<Mailbox> {
    table.accept(
        address::mailbox(&text.value).map_err(|error| {
            Problem::at(text.span.clone(), format!("'{}' in '{key}' {error}", display_safe(&text.value)))
        }),
    )
}

fn webhook(table: &mut TomlReader<'_>) -> Option<Webhook> {
    table.require("url");
    let may_be_private = may_be_private(table);
    let url = if table.is_table("url") {
        table.secret("url").map(|place| HookUrl::Secret(place.value))
    } else {
        let url = table.url("url", UrlUse::Secrecy).filter(|url| is_taken(table, url, may_be_private));
        url.map(|url| HookUrl::Written(url.value))
    };
    let headers = headers(table);
    table.require("secret");
    let secrets = table.secrets("secret");
    let format = table.word("format", &["standard", "cloudevents"]);
    Some(Webhook {
        url: url?,
        headers,
        secrets: secrets?,
        is_cloud_event: format.is_some_and(|format| format.value == "cloudevents"),
        may_be_private,
    })
}

/// What of a request is not the configuration's to say: it is the connection's, or says what is in the body.
const OWN_HEADERS: [&str; 15] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// The headers that a gateway asks for, such as one with a key.
fn headers(table: &mut TomlReader<'_>) -> Vec<(String, SecretRef)> {
    let mut headers: Vec<(String, SecretRef)> = Vec::new();
    for (name, place) in table.named_secrets("headers") {
        let lower = name.value.to_ascii_lowercase();
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let reason = if lower.is_empty() || !lower.bytes().all(is_token) {
            "is not the name of a header"
        } else if OWN_HEADERS.contains(&lower.as_str()) || lower.starts_with("webhook-") {
            "is a header that authdrift or the connection sets itself"
        } else if headers.iter().any(|(other, _)| *other == lower) {
            "is there twice; capital letters make no difference"
        } else {
            headers.extend(place.map(|place| (lower, place)));
            continue;
        };
        let message = format!("'{}' in 'headers' {reason}", display_safe(&name.value));
        table.report(Problem::at(name.span, message).help("remove it, or use another name").without_source());
    }
    headers
}

/// Whether it may stand in a private network.
fn may_be_private(table: &mut TomlReader<'_>) -> bool {
    table.boolean("allow_private").is_some_and(|given| given.value)
}

fn is_taken(table: &TomlReader<'_>, url: &At<Url>, may_be_private: bool) -> bool {
    let Some(reason) = super::refused(&url.value, may_be_private) else { return true };
    table.report(Problem::at(url.span.clone(), format!("'url' cannot be used: {reason}")));
    false
}

/// The address of a chat's webhook is as good as a password, so it stands where secrets do.
pub(super) fn secret_url(table: &mut TomlReader<'_>) -> Option<SecretUrl> {
    let may_be_private = may_be_private(table);
    table.require("url");
    let url = table.secret("url")?;
    Some(SecretUrl { url: url.value, may_be_private })
}

fn pagerduty(table: &mut TomlReader<'_>) -> Option<PagerDuty> {
    let is_given = table.has("url");
    let url = table.url("url", UrlUse::Whole).filter(|url| is_taken(table, url, false)).map(|url| url.value);
    table.require("routing_key");
    let routing_key = table.secret("routing_key").map(|key| key.value);
    let url = if is_given { url } else { Url::parse(PAGERDUTY).ok() };
    Some(PagerDuty { url: url?, routing_key: routing_key? })
}
