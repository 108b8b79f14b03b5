//! What is wrong is refused, at its place, all at once, and never repeated where it may be a secret.

use super::*;

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
        ("long duration", clerk("confirm_after = \"30d\""), &["4:17 'confirm_after' is longer than 1 hour"]),
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
        hook("url = \"https://a.example/?key=CANARY\""),
        hook("url = \"https://me:CANARY@a.example/\""),
        hook("url = \"https://a.example/\"\nheaders = { X-Api-Key = \"CANARY\" }"),
        hook("url = \"https://a.example/\"\nheaders = { X-Api-Key = { credential = \"CANARY/x\" } }"),
        hook("url = \"https://a.example/\"\nheaders = { X-Api-Key = { value = \"CANARY\" } }"),
        hook("url = \"https://a.example/\"\nheaders = \"X-Api-Key: CANARY\""),
        hook("url = \"https://a.example/\"\nheaders.X-Api-Key = \"CANARY\""),
        hook("url = { value = \"https://a.example/?key=CANARY\" }"),
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

/// A webhook with its secret.
fn hook(lines: &str) -> String {
    format!("{}[[webhook]]\nname = \"w\"\nsecret = {{ env = \"X\" }}\n{lines}\n", clerk(""))
}

#[test]
fn a_webhook_that_needs_a_key_is_told_where_to_put_it_and_sets_no_header_of_our_own() {
    for (lines, said) in [
        ("url = \"https://a.example/?key=x\"", "put the whole address in a file and write { file = "),
        ("url = \"https://me@a.example/\"", "headers = { Authorization"),
        ("url = \"https://a.example\"\nheaders = { Host = { env = \"X\" } }", "'Host' in 'headers' is a header that"),
        ("url = \"https://a.example\"\nheaders = { transfer-encoding = { env = \"X\" } }", "sets itself"),
        ("url = \"https://a.example\"\nheaders = { Webhook-Signature = { env = \"X\" } }", "sets itself"),
        ("url = \"https://a.example\"\nheaders = { \"a b\" = { env = \"X\" } }", "is not the name of a header"),
        ("url = \"https://a.example\"\nheaders = { \"a\\r\\nb\" = { env = \"X\" } }", "is not the name of a header"),
        (
            "url = \"https://a.example\"\nheaders = { X-Key = { env = \"X\" }, x-key = { env = \"Y\" } }",
            "is there twice",
        ),
        ("url = \"https://a.example\"\nheaders = [\"X-Key\"]", "a table of names and secrets"),
    ] {
        let found = load(&hook(lines)).unwrap_err().to_string();
        assert!(found.contains(said), "{lines}: {found}");
    }
    let good = load(&hook("url = { env = \"URL\" }\n[webhook.headers]\nX-Key = { env = \"X\" }")).unwrap();
    assert_eq!(
        good.receivers[0].secrets().iter().map(|kept| kept.key).collect::<Vec<_>>(),
        ["url", "secret", "headers"]
    );
    // What is remembered of a receiver goes by this text: one that was there before looks as it did.
    let plain = format!("{:?}", load(&hook("url = \"https://a.example/x\"")).unwrap().receivers[0].kind);
    assert!(
        plain.starts_with("Webhook(Webhook { url: Url { scheme: \"https\", ") && !plain.contains("headers"),
        "{plain}"
    );
    let end = "secrets: [Env(\"X\")], is_cloud_event: false, may_be_private: false })";
    assert!(plain.ends_with(end), "{plain}");
}

#[test]
fn a_mistyped_section_is_guessed_without_the_list_of_all() {
    for (name, help) in
        [("clientz", "did you mean 'clients'?"), ("nothing-like-it", "`authdrift sections` lists the names")]
    {
        let text = auth0(&format!("client_id = \"x\"\nclient_secret = {{ env = \"X\" }}\nleave_out = [\"{name}\"]"));
        let found = load(&text).unwrap_err().to_string();
        assert!(found.contains(&format!("'{name}' is none of the ")) && found.contains(help), "{found}");
        assert!(!found.contains("self-service-profiles"), "{found}");
    }
    let keep = load(&format!("{}[store]\nkeep = \"6d\"\npath = \"a.db\"\n", clerk(""))).unwrap_err().to_string();
    assert!(keep.contains("'keep' is shorter than 7 days"), "{keep}");
}
