//! What good configurations give: values, defaults, the example file.

mod anything;
mod refused;

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::load::parse_into;
use super::toml_reader::ProblemList;
use super::*;

const EXAMPLE: &str = include_str!("../../config.example.toml");
const PK: &str = "publishable_key = \"pk_live_Y2xlcmsubm9ydGh3aW5kLWxlZGdlci5leGFtcGxlJA\"";

fn sources(text: &str) -> Sources<'_> {
    Sources {
        file: "/etc/authdrift/config.toml",
        text,
        state_directory: Some(PathBuf::from("/var/lib/authdrift")),
        xdg_state: None,
        now: DateTime::<Utc>::UNIX_EPOCH,
    }
}

fn load(text: &str) -> Result<Config, Problems> {
    parse(&sources(text))
}

/// `line:column message`, and the help in brackets.
fn problems(text: &str) -> Vec<String> {
    match load(text) {
        Ok(_) => Vec::new(),
        Err(problems) => problems
            .iter()
            .map(|problem| {
                let help = problem.help.as_ref().map(|help| format!(" [{help}]")).unwrap_or_default();
                format!("{}:{} {}{help}", problem.line, problem.column, problem.message)
            })
            .collect(),
    }
}

fn clerk(lines: &str) -> String {
    format!("[[clerk]]\nname = \"prod\"\n{PK}\n{lines}\n")
}

fn auth0(lines: &str) -> String {
    format!("[[auth0]]\nname = \"acme\"\ndomain = \"acme.eu.auth0.com\"\n{lines}\n")
}

fn email(lines: &str) -> String {
    format!("{}[[email]]\nname = \"m\"\nfrom = \"a@example.com\"\nto = [\"b@example.com\"]\n{lines}\n", clerk(""))
}

fn webhook(lines: &str) -> String {
    format!("{}[[webhook]]\nname = \"w\"\nurl = \"https://a.example/\"\n{lines}\n", clerk("").trim_end()).replacen(
        "[[webhook]]",
        "\n[[webhook]]",
        1,
    )
}

#[test]
fn one_publishable_key_is_a_whole_configuration() {
    let config = load(&clerk("")).unwrap();
    assert_eq!(config.store, Path::new("/var/lib/authdrift/authdrift.db"));
    assert_eq!(config.approval.allowed_signers, Path::new("/etc/authdrift/allowed_signers"));
    assert_eq!(config.approval.rules.threshold, 1);
    assert!(config.approval.rules.by_severity.is_empty() && !config.approval.rules.require_touch);
    assert!(config.receivers.is_empty() && config.catalogue.is_none());
    let instance = config.instance("prod").unwrap();
    assert_eq!(instance.id.to_string(), "clerk:prod");
    assert_eq!(instance.schedule.confirm_after, Duration::from_secs(30));
    assert!(!instance.keep_code);
    let Source::Clerk(clerk) = &instance.source else { panic!("not Clerk") };
    assert_eq!(clerk.environment, "production");
    assert_eq!(clerk.backend_api_url.as_str(), "https://api.clerk.com/");
    assert_eq!(clerk.frontend_api_url.as_ref().unwrap().as_str(), "https://clerk.northwind-ledger.example/");
}

#[test]
fn the_store_has_a_default_for_services_and_for_people() {
    let text = clerk("");
    let mut sources = sources(&text);
    sources.state_directory = None;
    sources.xdg_state = Some(PathBuf::from("/home/ann/.local/state"));
    assert_eq!(parse(&sources).unwrap().store, Path::new("/home/ann/.local/state/authdrift/authdrift.db"));
    sources.xdg_state = None;
    assert!(parse(&sources).unwrap_err().to_string().contains("there is no folder for the database"));
}

#[test]
fn values_arrive() {
    let text = format!(
        "{}{}[store]\npath = \"data/x.db\"\n",
        clerk("cron = \"0 4 * * *\"\nfrontend_api_url = \"https://a.example/__clerk/\""),
        auth0("token = { file = \"token\" }\nconfirm_after = \"2m\"").replace("acme.eu", "ACME.eu"),
    );
    let config = load(&text).unwrap();
    assert_eq!(config.store, Path::new("/etc/authdrift/data/x.db"));
    let Source::Clerk(clerk) = &config.instances[0].source else { panic!("not Clerk") };
    assert_eq!(clerk.frontend_api_url.as_ref().unwrap().as_str(), "https://a.example/__clerk");
    assert!(config.instances[0].schedule.cron.describe("2026-01-01T00:00:00Z".parse().unwrap()).contains("04:00"));
    let Source::Auth0(auth0) = &config.instances[1].source else { panic!("not Auth0") };
    assert_eq!(auth0.domain, "acme.eu.auth0.com");
    assert_eq!(auth0.api_url.as_str(), "https://acme.eu.auth0.com/");
    assert_eq!(config.instances[1].schedule.confirm_after, Duration::from_secs(120));
    let Auth0Credential::Token(token) = &auth0.credential else { panic!("not a token") };
    assert_eq!(*token, SecretRef::File(PathBuf::from("/etc/authdrift/token")));
}

#[test]
fn the_example_loads_and_holds_every_key() {
    let findings = ProblemList::new();
    let asked = std::rc::Rc::clone(&findings.asked);
    let config = parse_into(findings, &sources(EXAMPLE)).unwrap();
    assert_eq!((config.instances.len(), config.receivers.len()), (5, 6));
    let order: Vec<String> = config.instances.iter().map(|instance| instance.id.to_string()).collect();
    assert_eq!(order, ["clerk:shop", "clerk:prod", "auth0:acme", "auth0:acme-staging", "auth0:first-try"]);
    for ((table, key), is_there) in asked.borrow().iter() {
        assert!(is_there, "config.example.toml has no '{key}' in {table}");
    }
    assert!(asked.borrow().len() > 60);
    let ReceiverKind::Email(email) = &config.receivers[0].kind else { panic!("not mail") };
    assert_eq!(email.from.name.as_deref(), Some("authdrift"));
    assert_eq!(config.receivers[0].filter.instances.as_ref().unwrap()[1].to_string(), "auth0:acme");
}

#[test]
fn a_pace_is_a_plan_or_numbers() {
    let rated = |rate: &str| auth0(&format!("token = {{ file = \"t\" }}\nrate = {rate}"));
    for (text, burst, per_second) in [
        ("\"free\"", 1, 1.0),
        ("\"paid\"", 4, 2.0),
        ("\"enterprise\"", 10, 4.0),
        ("{ burst = 3, per_minute = 90 }", 3, 1.5),
    ] {
        let config = load(&rated(text)).unwrap();
        let Source::Auth0(auth0) = &config.instances[0].source else { panic!("not Auth0") };
        assert_eq!(auth0.rate, Some(Rate { burst, per_second }), "{text}");
    }
    let table: [(&str, &[&str]); 9] = [
        ("\"fre\"", &["5:8 'fre' is not one of free, paid, enterprise [did you mean 'free'?]"]),
        ("{ burst = 3 }", &["5:8 'rate' has no 'per_minute'"]),
        ("{ per_minute = 60 }", &["5:8 'rate' has no 'burst'"]),
        ("{ burst = 0, per_minute = 60 }", &["5:18 'burst' has to be from 1 to 1000"]),
        ("{ burst = 1, per_minute = 0 }", &["5:34 'per_minute' has to be from 1 to 60000"]),
        ("{ burst = 1, per_minute = \"60\" }", &["5:34 expected an integer, found a string"]),
        (
            "{ burst = 1, per_minut = 60 }",
            &["5:8 'rate' has no 'per_minute'", "5:21 unknown key 'per_minut' in 'rate' [did you mean 'per_minute'?]"],
        ),
        ("5", &["5:8 expected a plan like \"paid\", or { burst, per_minute }, found an integer"]),
        ("[1, 60]", &["5:8 expected a plan like \"paid\", or { burst, per_minute }, found a list"]),
    ];
    for (rate, expected) in table {
        assert_eq!(problems(&rated(rate)), expected, "{rate}");
    }
    let of_clerk = problems(&clerk("rate = \"free\""));
    assert!(of_clerk[0].starts_with("4:1 unknown key 'rate' in [[clerk]]"), "{of_clerk:?}");
}

#[test]
fn a_default_receiver_and_digests_are_read_and_checked() {
    let config = load(EXAMPLE).unwrap();
    assert_eq!(config.receivers.iter().filter(|receiver| receiver.is_default).count(), 1);
    let table = [("daily", "2026-11-22T07:00:00Z"), ("weekly", "2026-11-23T07:00:00Z")];
    for (word, next) in table {
        let text = email(&format!("host = \"h.example\"\ndigest = \"{word}\""));
        let config = load(&format!("[schedule]\ntimezone = \"Europe/Zurich\"\n{text}")).unwrap();
        let at = "2026-11-21T12:00:00Z".parse().unwrap();
        let found = config.receivers[0].digest.as_ref().unwrap().next_after(at);
        assert_eq!(found, Some(next.parse().unwrap()), "{word}");
        assert!(!config.receivers[0].is_default);
    }
    let found = problems(&email("host = \"h.example\"\ndigest = \"hourly\"\ndefault = \"yes\""));
    assert_eq!(found, ["10:10 'hourly' is not one of daily, weekly", "11:11 expected a boolean, found a string"]);
}

#[test]
fn only_this_machine_can_ask_how_the_daemon_is_doing() {
    assert_eq!(load(&clerk("")).unwrap().monitoring, None);
    let with = |listen: &str| format!("{}[monitoring]\nlisten = {listen}\n", clerk(""));
    for text in ["127.0.0.1:9464", "127.8.0.1:1", "[::1]:9464", "unix:/run/authdrift/monitoring.sock"] {
        let listen = load(&with(&format!("\"{text}\""))).unwrap().monitoring.unwrap();
        assert_eq!(listen.to_string(), text);
    }
    let others = |address: &str| {
        format!(
            "6:10 'listen' has to be an address of this machine: '{address}' can be reached by others, and no password is \
             asked for"
        )
    };
    let no_address =
        "6:10 'listen' is neither an IP address with a port, such as '127.0.0.1:9464', nor 'unix:' and a path";
    let long = format!("unix:/{}", "x".repeat(107));
    for (listen, expected) in [
        ("0.0.0.0:9464", others("0.0.0.0")),
        ("[::]:9464", others("::")),
        ("192.0.2.7:9464", others("192.0.2.7")),
        ("[::ffff:127.0.0.1]:9464", others("::ffff:127.0.0.1")),
        ("localhost:9464", no_address.to_owned()),
        ("9464", no_address.to_owned()),
        ("http://127.0.0.1:9464", no_address.to_owned()),
        ("127.0.0.1:0", "6:10 'listen' needs a port from 1 to 65535".to_owned()),
        ("unix:monitoring.sock", "6:10 'listen' needs an absolute path after 'unix:'".to_owned()),
        (&long, "6:10 'listen' has a path of 108 bytes after 'unix:'; a socket can have 107".to_owned()),
    ] {
        let help = "[use 127.0.0.1:PORT, [::1]:PORT or unix:/run/authdrift/monitoring.sock]";
        assert_eq!(problems(&with(&format!("\"{listen}\""))), [format!("{expected} {help}")], "{listen}");
    }
    assert_eq!(problems(&with("9464")), ["6:10 expected a string, found an integer"]);
    assert_eq!(problems(&format!("{}[monitoring]\n", clerk(""))), ["5:1 [monitoring] has no 'listen'"]);
}

#[test]
fn what_nobody_takes_is_named() {
    let warnings = |lines: &str| load(&email(&format!("host = \"h.example\"\n{lines}"))).unwrap().unrouted();
    assert!(warnings("").is_empty());
    assert!(warnings("min_severity = \"info\"").is_empty());
    assert!(warnings("categories = [\"mfa\"]\ndefault = true").is_empty());
    let found = warnings("min_severity = \"high\"");
    assert!(found[0].starts_with("no receiver takes these drifts of clerk:prod: timeouts below high, "), "{found:?}");
    assert!(!warnings("categories = [\"mfa\"]")[0].contains("mfa"));
    let other =
        format!("{}{}instances = [\"acme\"]\n", auth0("token = { env = \"T\" }"), email("host = \"h.example\""));
    assert_eq!(load(&other).unwrap().unrouted(), ["no receiver takes anything of clerk:prod"]);
    assert!(load(&clerk("")).unwrap().unrouted().is_empty(), "nobody wants to be told anything");
}
