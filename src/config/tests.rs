//! Tables of bad input and what is said about it; the example file; what is never repeated.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use proptest::prelude::*;

use super::load::parse_into;
use super::problem::Findings;
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
    assert_eq!(config.approval.threshold, 1);
    assert!(config.approval.severity.is_empty() && !config.approval.require_touch);
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
    assert!(config.instances[0].schedule.cron.describe().contains("04:00"));
    let Source::Auth0(auth0) = &config.instances[1].source else { panic!("not Auth0") };
    assert_eq!(auth0.domain, "acme.eu.auth0.com");
    assert_eq!(auth0.api_url.as_str(), "https://acme.eu.auth0.com/");
    assert_eq!(config.instances[1].schedule.confirm_after, Duration::from_secs(120));
    let Auth0Credential::Token(token) = &auth0.credential else { panic!("not a token") };
    assert_eq!(*token, SecretRef::File(PathBuf::from("/etc/authdrift/token")));
}

#[test]
fn the_example_loads_and_holds_every_key() {
    let findings = Findings::new();
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
fn bad_input_is_refused_at_its_place() {
    let table: Vec<(&str, String, &[&str])> = vec![
        (
            "empty",
            String::new(),
            &["1:1 there is nothing to watch: the file has no [[clerk]] and no [[auth0]] [add one"],
        ),
        ("unknown table", format!("[sotre]\n{}", clerk("")), &["1:2 unknown key 'sotre' [did you mean 'store'?]"]),
        (
            "unknown key",
            clerk("publishable_kee = 1"),
            &["4:1 unknown key 'publishable_kee' in [[clerk]] [did you mean 'publishable_key'?]"],
        ),
        (
            "unknown key, nothing alike",
            format!("{}[store]\ncolour = 1", clerk("")),
            &["6:1 unknown key 'colour' in [store] [known keys: path, keep]"],
        ),
        (
            "one bracket",
            clerk("").replace("[[clerk]]", "[clerk]"),
            &["1:1 expected [[clerk]], found [clerk] [write [[clerk]] in double brackets: there can be several]"],
        ),
        (
            "two brackets",
            format!("{}[[schedule]]\n", clerk("")),
            &["5:1 expected one [schedule], found [[schedule]] [write [schedule] in single brackets, once]"],
        ),
        ("no name", format!("[[clerk]]\n{PK}"), &["1:1 [[clerk]] has no 'name'"]),
        (
            "bad name",
            clerk("").replace("prod", "Prod 1"),
            &["2:8 'Prod 1' cannot be a name [use 1 to 64 of a-z, 0-9, '.', '_' and '-', beginning"],
        ),
        (
            "name twice",
            format!("{}{}", clerk(""), clerk("")),
            &["6:8 'prod' is already the name of the Clerk instance in line 2 [give each one a different name]"],
        ),
        ("wrong type", clerk("environment = 5"), &["4:15 expected a string, found an integer"]),
        ("boolean", clerk("keep_code = \"yes\""), &["4:13 expected a boolean, found a string"]),
        ("empty text", clerk("environment = \" \""), &["4:15 'environment' is empty"]),
        (
            "environment",
            clerk("environment = \"prodution\""),
            &["4:15 'prodution' is not 'production', 'development' or 'ins_…' [did you mean 'production'?]"],
        ),
        ("cron", clerk("cron = \"* * * *\""), &["4:8 '* * * *' is not a five-field cron pattern: "]),
        ("cron of six", clerk("cron = \"0 * * * * *\""), &["4:8 '0 * * * * *' is not a five-field cron pattern: "]),
        ("cron never", clerk("cron = \"0 0 31 2 *\""), &["4:8 '0 0 31 2 *' never comes [the five fields"]),
        (
            "default cron once",
            format!("{}[schedule]\ncron = \"x\"", clerk("")),
            &["6:8 'x' is not a five-field cron pattern: "],
        ),
        (
            "zone",
            clerk("timezone = \"Europe/Zurick\""),
            &["4:12 'Europe/Zurick' is not the name of a time zone [did you mean 'Europe/Zurich'?]"],
        ),
        (
            "duration",
            clerk("confirm_after = \"30 parsecs\""),
            &["4:17 '30 parsecs' is not a duration [write a number and a unit: 30s, 5m, 1h]"],
        ),
        (
            "duration without unit",
            clerk("confirm_after = 30"),
            &["4:17 expected a duration like \"30s\", found an integer"],
        ),
        ("long duration", clerk("confirm_after = \"30d\""), &["4:17 'confirm_after' is longer than 1h"]),
        ("damaged key", clerk("").replace("JA\"", "\""), &["3:19 'publishable_key' "]),
        (
            "no clerk credential",
            "[[clerk]]\nname = \"x\"".to_owned(),
            &["1:1 [[clerk]] has no 'publishable_key', 'secret_key' or 'platform_token'"],
        ),
        ("token alone", clerk("platform_token = { env = \"X\" }"), &["4:1 'platform_token' needs 'application_id'"]),
        ("application alone", clerk("application_id = \"app_x\""), &["4:1 'application_id' needs 'platform_token'"]),
        (
            "bad application",
            clerk("application_id = \"x\"\nplatform_token = { env = \"X\" }"),
            &["4:18 'application_id' has to be 'app_' and letters and digits"],
        ),
        (
            "http",
            clerk("backend_api_url = \"http://api.clerk.com\""),
            &["4:19 'backend_api_url' has to begin with 'https://' ('http://' is for loopback only)"],
        ),
        (
            "no secret place",
            clerk("secret_key = {}"),
            &["4:14 'secret_key' has none of 'credential', 'file' and 'env'"],
        ),
        (
            "two secret places",
            clerk("secret_key = { env = \"X\", file = \"x\" }"),
            &["4:14 'secret_key' has more than one of 'credential', 'file' and 'env'"],
        ),
        (
            "unknown secret place",
            clerk("secret_key = { env = \"X\", vault = \"x\" }"),
            &["4:27 unknown key 'vault' in a secret [known keys: credential, file, env]"],
        ),
        (
            "credential path",
            clerk("secret_key = { credential = \"../x\" }"),
            &["4:29 'credential' is not the name of a systemd credential"],
        ),
        (
            "env name",
            clerk("secret_key = { env = \"A B\" }"),
            &["4:22 'env' is not the name of an environment variable"],
        ),
        (
            "home",
            clerk("secret_key = { file = \"~/x\" }"),
            &["4:23 'file' begins with '~', which only shells understand [write the whole path]"],
        ),
        (
            "domain with scheme",
            auth0("token = { env = \"X\" }").replace("acme.eu", "https://acme.eu"),
            &["3:10 'domain' is not a host name such as 'acme.eu.auth0.com' [leave out"],
        ),
        (
            "domain with port",
            auth0("token = { env = \"X\" }").replace("auth0.com", "auth0.com:443"),
            &["3:10 'domain' is not a host name such as 'acme.eu.auth0.com'"],
        ),
        (
            "no domain",
            "[[auth0]]\nname = \"x\"\ntoken = { env = \"X\" }".to_owned(),
            &["1:1 [[auth0]] has no 'domain'"],
        ),
        ("no auth0 credential", auth0(""), &["1:1 [[auth0]] has no 'client_secret', 'private_key' or 'token'"]),
        (
            "two credentials",
            auth0("client_id = \"x\"\nclient_secret = { env = \"X\" }\nprivate_key = { env = \"X\" }"),
            &["6:1 'client_secret' and 'private_key' exclude each other"],
        ),
        (
            "token and client",
            auth0("client_id = \"x\"\ntoken = { env = \"X\" }"),
            &["4:1 'client_id' is not used with 'token' [remove one of them]"],
        ),
        ("no client", auth0("client_secret = { env = \"X\" }"), &["1:1 [[auth0]] has no 'client_id'"]),
        (
            "key id",
            auth0("client_id = \"x\"\nkey_id = \"x\"\nclient_secret = { env = \"X\" }"),
            &["5:1 'key_id' is used only with 'private_key' [remove it]"],
        ),
        ("threshold", format!("{}[approval]\nthreshold = 0", clerk("")), &["6:13 'threshold' has to be from 1 to 100"]),
        (
            "threshold of a severity",
            format!("{}[approval.severity]\ncritical = 0", clerk("")),
            &["6:12 'critical' has to be from 1 to 100"],
        ),
        (
            "unknown severity",
            format!("{}[approval.severity]\nhihg = 2", clerk("")),
            &["6:1 unknown key 'hihg' in [approval.severity]"],
        ),
        ("catalogue", format!("{}[catalogue]", clerk("")), &["5:1 [catalogue] has no 'file'"]),
        ("port", email("host = \"relay.example.com\"\nport = 70000"), &["10:8 'port' has to be from 1 to 65535"]),
        (
            "host",
            email("host = \"smtp://relay.example.com\""),
            &["9:8 'host' is not a host name such as 'smtp.example.com'"],
        ),
        (
            "tls word",
            email("host = \"r\"\ntls = \"startls\""),
            &["10:7 'startls' is not one of implicit, starttls, none [did you mean 'starttls'?]"],
        ),
        (
            "tls none",
            email("host = \"r.example\"\ntls = \"none\""),
            &["10:7 'tls' can be 'none' only when the host is this machine"],
        ),
        (
            "login without tls",
            email("host = \"localhost\"\ntls = \"none\"\nusername = \"x\"\npassword = { env = \"X\" }"),
            &["11:1 'username' would be sent without protection", "12:1 'password' would be sent without protection"],
        ),
        ("half a login", email("host = \"r\"\nusername = \"x\""), &["10:1 'username' needs 'password'"]),
        (
            "mailbox",
            email("host = \"r\"").replace("[\"b@example.com\"]", "[\"b@example.com\", \"nobody\"]"),
            &["8:24 'nobody' in 'to' is not a mail address"],
        ),
        ("nobody", email("host = \"r\"").replace("[\"b@example.com\"]", "[]"), &["8:6 'to' is an empty list"]),
        (
            "severity",
            email("host = \"r\"\nmin_severity = \"hihg\""),
            &["10:16 'hihg' is not one of info, low, medium, high, critical [did you mean 'high'?]"],
        ),
        (
            "category",
            email("host = \"r\"\ncategories = [\"mfa\", \"origin\"]"),
            &["10:22 'origin' is not one of timeouts, mfa"],
        ),
        (
            "instance",
            email("host = \"r\"\ninstances = [\"clerk:prd\"]"),
            &["10:14 no instance is called 'clerk:prd' [did you mean 'clerk:prod'?]"],
        ),
        (
            "receiver twice",
            format!(
                "{}[[webhook]]\nname = \"m\"\nurl = \"https://a.example/\"\nsecret = {{ env = \"X\" }}",
                email("host = \"r\"")
            ),
            &["11:8 'm' is already the name of the receiver in line 6"],
        ),
        (
            "webhook",
            format!("{}[[webhook]]\nname = \"w\"", clerk("")),
            &["5:1 [[webhook]] has no 'url'", "5:1 [[webhook]] has no 'secret'"],
        ),
        ("webhook secrets", webhook("secret = []"), &["7:10 'secret' has 0 secrets: it takes 1 to 4"]),
        (
            "webhook secrets one by one",
            webhook("secret = [{ env = \"X\" }, { env = \"X\", file = \"x\" }, \"x\"]"),
            &[
                "7:26 'secret' has more than one of 'credential', 'file' and 'env' [write one of { credential = \"NAME\" }, { file = \"PATH\" } or { env = \"NAME\" }]",
                "7:53 'secret' has to say where the secret is, not what it is [put it in a file and write { file = \"…\" }]",
            ],
        ),
        (
            "webhook format",
            webhook("secret = { env = \"X\" }\nformat = \"cloudevent\""),
            &["8:10 'cloudevent' is not one of standard, cloudevents [did you mean 'cloudevents'?]"],
        ),
        (
            "chats",
            format!(
                "{}[[slack]]\nname = \"s\"\n[[teams]]\nname = \"t\"\nurl = \"https://x.example\"\n[[discord]]\nname = \"d\"\nurl = {{ file = \"https://x.example/y\" }}",
                clerk("")
            ),
            &[
                "5:1 [[slack]] has no 'url'",
                "9:7 'url' has to say where the secret is, not what it is [put it in a file and write { file = \"…\" }]",
                "12:16 'file' has to say where the secret is, and this looks like the secret itself [put it in a file and write { file = \"…\" }]",
            ],
        ),
        (
            "pagerduty",
            format!(
                "{}[[pagerduty]]\nname = \"p\"\nurl = \"http://x.example\"\nrouting_keys = {{ env = \"X\" }}",
                clerk("")
            ),
            &[
                "5:1 [[pagerduty]] has no 'routing_key'",
                "7:7 'url' has to begin with 'https://' ('http://' is for loopback only)",
                "8:1 unknown key 'routing_keys' in [[pagerduty]] [did you mean 'routing_key'?]",
            ],
        ),
        ("key twice", clerk("keep_code = true\nkeep_code = true"), &["5:1 duplicate key"]),
    ];
    for (name, text, expected) in table {
        let found = problems(&text);
        assert_eq!(found.len(), expected.len(), "{name}: {found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{name}: {found}\nexpected {expected}");
        }
    }
}

#[test]
fn all_mistakes_come_at_once_and_in_order() {
    let text = "\
[store]
pth = \"x\"
[approval]
threshold = \"two\"
[schedule]
cron = \"every day\"
timezone = \"Mars/Olympus\"
confirm_after = \"soon\"
[[clerk]]
name = \"prod\"
secret_key = \"sk_live_CANARY\"
[[auth0]]
name = \"acme\"
domain = \"https://acme.eu.auth0.com/\"
client_id = 7
[[webhook]]
name = \"siem\"
url = \"http://siem.example.com\"
";
    let lines: Vec<usize> = load(text).unwrap_err().iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [2, 4, 6, 7, 8, 11, 12, 14, 15, 16, 18]);
}

#[test]
fn text_that_cannot_be_read_hides_only_what_follows_from_it() {
    let text = format!(
        "[approval]\nthreshold = \n[schedule]\ncron = \"x\ntimezone = \"Nowhere\"\n[[clerk]]\n{PK}\nnmae = \"prod\"\n"
    );
    let lines = |text: &str| load(text).unwrap_err().iter().map(|problem| problem.line).collect::<Vec<usize>>();
    assert_eq!(lines(&text), [2, 4, 5, 8]);
    // Keys under a header that cannot be read are not unknown ones of another table.
    for (header, expected) in [("[store", &[2, 3][..]), ("[[store]", &[2, 3, 7]), ("[sto re]", &[2, 3])] {
        let text = format!("[schedule]\ncron = \"x\"\n{header}\npath = \"a.db\"\n[[clerk]]\n{PK}\nnmae = \"prod\"\n");
        assert_eq!(lines(&text), expected, "{header}");
    }
}

#[test]
fn a_rendered_problem_has_file_line_and_caret() {
    let shown = load(&clerk("enviroment = \"production\"\nkeep_code = 1")).unwrap_err().to_string();
    let expected = "\
error: unknown key 'enviroment' in [[clerk]]
 --> /etc/authdrift/config.toml:4:1
  |
4 | enviroment
  | ^^^^^^^^^^
  |
  = help: did you mean 'environment'?

error: expected a boolean, found an integer
 --> /etc/authdrift/config.toml:5:13
  |
5 | keep_code = 1
  |             ^

2 problems in /etc/authdrift/config.toml";
    assert_eq!(shown, expected);
}

#[test]
fn secrets_are_never_repeated() {
    let table = [
        clerk("secret_key = \"sk_live_CANARY\""),
        clerk("secret_key = \"CANARY\""),
        clerk("secret_key = sk_live_CANARY"),
        clerk("secret_key = \"CANARY"),
        clerk("secret_key = [\"CANARY\"]"),
        clerk("secret_key = \"\"\"\nCANARY\n\"\"\""),
        clerk("secret_key = \"\"\"\nCANARY\nCANARY = [\n"),
        clerk("secret_key = { \"CANARY\" }"),
        clerk("secret_key = { value = \"CANARY\" }"),
        clerk("secret_key = { env = \"sk_live_CANARY\" }"),
        clerk("secret_key = { file = \"sk_live_CANARY\" }"),
        clerk("secret_key = { credential = \"CANARY/x\" }"),
        clerk("").replace("\"prod\"", "\"sk_live_CANARY\""),
        clerk("cron = \"sk_live_CANARY\""),
        clerk("environment = \"whsec_CANARY\""),
        clerk("secretkey = \"CANARY\""),
        clerk("passwrd = \"CANARY\""),
        clerk("pw = \"CANARY\""),
        clerk("sk_live_CANARY = 1"),
        clerk("secret_key = \"a\"\nsecret_key = \"CANARY\""),
        clerk("").replace("pk_live_", "sk_live_CANARY"),
        clerk("").replace("pk_live_", "CANARY"),
        clerk("backend_api_url = \"https://me:CANARY@example.com\""),
        clerk("backend_api_url = \"https://example.com/?token=CANARY\""),
        clerk("platform_token = \"ak_CANARY\"\napplication_id = \"app_x\""),
        auth0("client_id = \"x\"\nclient_secret = \"CANARY\""),
        auth0("client_id = \"x\"\nprivate_key = '''\n-----BEGIN PRIVATE KEY-----\nCANARY=\n'''"),
        auth0("token = \"CANARY\""),
        email("host = \"r\"\nusername = \"x\"\npassword = \"CANARY\""),
        format!("{}[[webhook]]\nname = \"w\"\nurl = \"https://a.example\"\nsecret = \"whsec_CANARY\"", clerk("")),
        format!("{}[[slack]]\nname = \"w\"\nurl = \"https://hooks.slack.com/services/T0/B0/CANARY\"", clerk("")),
        format!("{}[[teams]]\nname = \"w\"\nurl = {{ file = \"https://x.example/CANARY\" }}", clerk("")),
        format!("{}[[pagerduty]]\nname = \"w\"\nrouting_key = \"CANARY\"", clerk("")),
        format!("{}[[webhook]]\nname = \"w\"\nurl = \"https://a.example\"\nsecret = [\"whsec_CANARY\"]", clerk("")),
        "clerk = [{ name = 1, secret_key = \"CANARY\" }]".to_owned(),
        "clerk = [{ name = 1, pw = \"CANARY\" }]".to_owned(),
        "clerk = [{ pw = \"CANARY\" }]".to_owned(),
        "clerk = [{ pw = \"CANARY\", name = 1 }]".to_owned(),
        "clerk = [{ pw = \"CANARY\", name }]".to_owned(),
        "[[clerk]]\nname = \"CANARYwhsec".replace("CANARYwhsec", "x\"\npassword = { file = 5, \"CANARY\""),
    ];
    for text in table {
        let found = load(&text).unwrap_err();
        let shown = format!("{found}\n{found:?}");
        assert!(!shown.contains("CANARY"), "{text}\n{shown}");
    }
    let shown = load(&clerk("secret_key = \"sk_live_CANARY\"")).unwrap_err().to_string();
    let expected = "\
error: 'secret_key' has to say where the secret is, not what it is
--> /etc/authdrift/config.toml:4:14
 = help: put it in a file and write { file = \"…\" }

1 problem in /etc/authdrift/config.toml";
    assert_eq!(shown, expected);
}

/// Pieces that make text more like a configuration than chance does.
fn piece() -> impl Strategy<Value = String> {
    let pieces = vec![
        "[[clerk]]\n",
        "[[auth0]]\n",
        "[schedule]\n",
        "[store.path]\n",
        "[[email.to]]\n",
        "name = ",
        "secret_key",
        " = ",
        "\"",
        "'''",
        "{",
        "}",
        "[",
        "]",
        ",",
        "\n",
        "cron = \"* * * * *\"",
        "confirm_after = \"99999999999999999y\"",
        "instances = [\"",
        "ü",
        "\u{feff}",
        "\r\n",
        "#",
        ".",
        "a@b",
        "0x_7f",
        "-9223372036854775809",
        "timezone = \"é\"",
        "url = \"http://[::",
        "publishable_key = \"pk_live_",
        "to = [[1]]",
        "\\u0000",
    ];
    prop_oneof![4 => proptest::sample::select(pieces).prop_map(str::to_owned), 1 => ".{0,8}"]
}

proptest! {
    #[test]
    fn any_text_gives_a_configuration_or_problems(text in proptest::collection::vec(piece(), 0..40)) {
        let text = text.concat();
        if let Err(problems) = load(&text) {
            prop_assert!(problems.len() > 0);
            prop_assert!(problems.to_string().contains("/etc/authdrift/config.toml:"));
        }
    }

    #[test]
    fn a_damaged_example_gives_the_same(at in 0..EXAMPLE.len(), length in 0_usize..40, with in "\\PC{0,3}") {
        let start = EXAMPLE.floor_char_boundary(at);
        let end = EXAMPLE.floor_char_boundary((at + length).min(EXAMPLE.len()));
        let text = format!("{}{with}{}", &EXAMPLE[..start], &EXAMPLE[end..]);
        if let Err(problems) = load(&text) {
            prop_assert!(problems.len() > 0 && !problems.to_string().is_empty());
        }
    }
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
            "6:10 'listen' has to be an address of this machine: '{address}' can be reached by others, and nobody is asked \
             for a password"
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
    let warnings = |lines: &str| load(&email(&format!("host = \"h.example\"\n{lines}"))).unwrap().taken_by_nobody();
    assert!(warnings("").is_empty());
    assert!(warnings("min_severity = \"info\"").is_empty());
    assert!(warnings("categories = [\"mfa\"]\ndefault = true").is_empty());
    let found = warnings("min_severity = \"high\"");
    assert!(found[0].starts_with("no receiver takes these drifts of clerk:prod: timeouts below high, "), "{found:?}");
    assert!(!warnings("categories = [\"mfa\"]")[0].contains("mfa"));
    let other =
        format!("{}{}instances = [\"acme\"]\n", auth0("token = { env = \"T\" }"), email("host = \"h.example\""));
    assert_eq!(load(&other).unwrap().taken_by_nobody(), ["no receiver takes anything of clerk:prod"]);
    assert!(load(&clerk("")).unwrap().taken_by_nobody().is_empty(), "nobody wants to be told anything");
}
