//! What a program owes to the shell: JSON as its schema says, readers that go, colour, and names that are mistyped.

use std::collections::BTreeSet;
use std::fs;
use std::io::pipe;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use authdrift::simulator::auth0;
use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::{Value, json};

use crate::common::{Ran, Sandbox};

const SCHEMA: &str = "docs/output.schema.json";

/// The schemas of the commands. Here every object is closed: a field that is printed has to be described.
struct Described {
    schemas: Schemas,
    of: Vec<(String, SchemaIndex)>,
    used: BTreeSet<String>,
}

impl Described {
    fn read() -> Self {
        let text = fs::read_to_string(SCHEMA).unwrap();
        let mut schema: Value = serde_json::from_str(&text).unwrap();
        close(&mut schema);
        let names: Vec<String> = schema["$defs"]["commands"]["$defs"].as_object().unwrap().keys().cloned().collect();
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource("file:///output", schema).unwrap();
        let mut of = Vec::new();
        for name in names {
            let place = format!("file:///output#/$defs/commands/$defs/{}", name.replace(' ', "%20"));
            of.push((name, compiler.compile(&place, &mut schemas).unwrap()));
        }
        Self { schemas, of, used: BTreeSet::new() }
    }

    fn check(&mut self, command: &str, value: &Value) {
        if let Ok(folder) = std::env::var("DUMP") {
            let name = format!("{folder}/{}-{}.json", command.replace(' ', "_"), self.used.len());
            fs::write(name, serde_json::to_string(value).unwrap()).unwrap();
            self.used.insert(format!("{command} {}", self.used.len()));
            return;
        }
        let (_, index) = self.of.iter().find(|(name, _)| name == command).unwrap_or_else(|| panic!("no '{command}'"));
        self.schemas.validate(value, *index).unwrap_or_else(|error| panic!("{command}: {error:#}\nin {value:#}"));
        self.used.insert(command.to_owned());
    }
}

/// Lets no object have a field that is not described.
fn close(schema: &mut Value) {
    if let Some(fields) = schema.as_object_mut() {
        if fields.contains_key("properties") && !fields.contains_key("additionalProperties") {
            fields.insert("additionalProperties".to_owned(), json!(false));
        }
        fields.values_mut().for_each(close);
    } else if let Some(items) = schema.as_array_mut() {
        items.iter_mut().for_each(close);
    }
}

/// Something of everything: drifts, a section that cannot be read, quiet, a window, messages that wait.
async fn eventful() -> Sandbox {
    let sandbox = Sandbox::approved().await;
    let quiet = ["silence", "add", "--match", "/tenants.settings/**", "--until", "2h", "--reason", "CHG-7"];
    sandbox.run(&quiet).await.expect(0);
    let window =
        ["window", "open", "clerk:prod", "--match", "/domains/**", "--until", "2h", "--reason", "CHG-8", "--as", "ann"];
    sandbox.run(&window).await.expect(0);
    sandbox.auth0.fail("/api/v2/network-acls", auth0::missing_scope("read:network_acls"));
    sandbox.set_lifetime(3600);
    sandbox.clerk.edit("/v1/instance", |instance| instance["allowed_origins"] = json!(["https://evil.example"]));
    sandbox.webhook.script(&[503, 503, 400]);
    sandbox.check().await.expect(10);
    sandbox
}

/// What prints something, as a person types it, with its exit code.
fn printing(drift: &str, snapshot: &str, message: &str) -> Vec<(String, i32)> {
    let lines = [
        ("check", 10),
        ("check acme --no-store", 11),
        ("status", 0),
        ("diff clerk:prod", 10),
        ("diff auth0:acme", 11),
        ("history clerk:prod", 0),
        ("history auth0:acme", 0),
        ("verify", 0),
        ("verify clerk:prod", 0),
        ("sections", 0),
        ("sections auth0:acme", 0),
        ("settings", 0),
        ("settings mfa sign-up", 0),
        ("explain /tenants.settings/session_lifetime", 0),
        ("explain session-lifetime", 0),
        ("explain /jwt_templates/supabase/nothing-known", 0),
        ("receivers list", 0),
        ("outbox list --all", 0),
        ("silence list --all", 0),
        ("window list --all", 0),
        ("doctor", 77),
    ];
    let mut all: Vec<(String, i32)> = lines.map(|(line, code)| (line.to_owned(), code)).into();
    all.push((format!("show {drift}"), 0));
    all.push((format!("show {snapshot}"), 0));
    all.push((format!("outbox show {message}"), 0));
    all
}

/// The name of a command: its words before the first that is an argument.
fn name_of(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    match words[0] {
        "receivers" | "outbox" | "silence" | "window" => words[..2].join(" "),
        "show" if words[1].starts_with("sha256:") => "show snapshot".to_owned(),
        word => word.to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn json_is_as_its_schema_says_and_a_reader_may_go() {
    let mut described = Described::read();
    let sandbox = Sandbox::new().await;
    described.check("check", &sandbox.check().await.expect(13).json());
    described.check("status", &sandbox.run(&["status", "--json"]).await.expect(0).json());
    described.check("verify", &sandbox.run(&["verify", "--json"]).await.expect(0).json());
    // A lock that cannot be looked at: whether a daemon runs is then not known.
    symlink("authdrift.lock", sandbox.path("authdrift.lock")).unwrap();
    let status = sandbox.run(&["status", "--json"]).await.expect(0).json();
    assert_eq!(status["daemon"]["running"], Value::Null);
    described.check("status", &status);
    drop(sandbox);

    let sandbox = eventful().await;
    let report = sandbox.check().await.expect(10).json();
    let clerk = Sandbox::report(&report, "clerk:prod");
    let (drift, snapshot) = (clerk["drifts"][0]["id"].as_str().unwrap(), clerk["snapshot"]["digest"].as_str().unwrap());
    let kept = sandbox.run(&["outbox", "list", "--all", "--json"]).await.expect(0).json();
    let message = kept["messages"][0]["id"].as_str().unwrap();
    for (line, code) in printing(drift, snapshot, message) {
        let mut words: Vec<&str> = line.split(' ').collect();
        // Nobody reads at all: less than `head` does.
        let mut command = sandbox.command();
        command.args(&words).stderr(Stdio::piped());
        let ran: Ran = tokio::task::spawn_blocking(move || {
            let (reader, writer) = pipe().unwrap();
            drop(reader);
            command.stdout(writer).output().unwrap().into()
        })
        .await
        .unwrap();
        let is_quiet = !["panicked", "error[", "pipe"].iter().any(|word| ran.err.contains(word));
        assert!(ran.code == code && is_quiet, "`{line}` into a pipe that nobody reads: {ran:?}");
        words.push("--json");
        described.check(&name_of(&line), &sandbox.run(&words).await.expect(code).json());
    }

    // Back as it was, and then a list of approvers that does not name the signer.
    sandbox.set_lifetime(60);
    sandbox.check().await.expect(10);
    described.check("history", &sandbox.run(&["history", "prod", "--json"]).await.expect(0).json());
    described.check("show", &sandbox.run(&["show", drift, "--json"]).await.expect(0).json());
    sandbox.write("allowed_signers", "");
    described.check("check", &sandbox.check().await.expect(12).json());
    described.check("status", &sandbox.run(&["status", "--json"]).await.expect(0).json());
    described.check("verify", &sandbox.run(&["verify", "--json"]).await.expect(12).json());
    described.check("doctor", &sandbox.run(&["doctor", "--json"]).await.expect(12).json());
    let names: BTreeSet<String> = described.of.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(described.used, names, "every schema is that of a command");
}

/// `line` on a terminal of its own; `None` where none can be made.
fn seen(sandbox: &Sandbox, line: &str) -> Option<String> {
    let mut command = Command::new("script");
    command.args(["-qec", line, "/dev/null"]).current_dir(sandbox.folder.path()).env_clear();
    command.env("PATH", std::env::var_os("PATH")?).env("TERM", "xterm").env("SHELL", "/bin/sh");
    let output = command.stdin(Stdio::null()).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn colour_is_where_it_is_wanted() {
    let sandbox = Sandbox::new().await;
    let program = env!("CARGO_BIN_EXE_authdrift");
    let run = |arguments: &[&str]| {
        let output = Command::new(program).args(arguments).env_remove("NO_COLOR").output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    // Found before everything else is understood, for help and for what cannot be understood.
    for line in ["--help", "check --help", "chekc", "check --jsno"] {
        let words: Vec<&str> = line.split(' ').collect();
        for (wanted, is_coloured) in [(&["--color", "always"][..], true), (&["--color=always"], true), (&[], false)] {
            assert_eq!(run(&[wanted, &words].concat()).contains('\u{1b}'), is_coloured, "{line} {wanted:?}");
        }
    }
    for (when, is_coloured) in [("never", false), ("auto", true)] {
        if let Some(screen) = seen(&sandbox, &format!("{program} --color {when} check --jsno")) {
            assert_eq!(screen.contains("\u{1b}["), is_coloured, "{when}: {screen:?}");
        }
    }
    for line in ["sections clerk", "explain session-lifetime", "explain session-lifetim"] {
        let words: Vec<&str> = line.split(' ').collect();
        assert!(!run(&words).contains('\u{1b}'), "a pipe: {line}");
        assert!(run(&[&words[..], &["--color", "always"]].concat()).contains('\u{1b}'), "asked for: {line}");
        for (before, after, is_coloured) in [
            ("", "", true),
            ("NO_COLOR=1 ", "", false),
            ("TERM=dumb ", "", false),
            ("", " --color never", false),
            ("NO_COLOR=1 ", " --color always", true),
            ("", " | cat", false),
        ] {
            let Some(screen) = seen(&sandbox, &format!("{before}{program} {line}{after}")) else {
                eprintln!("SKIPPED: colours on a terminal need the program 'script'");
                return;
            };
            // Standard error is still a terminal behind `| cat`.
            let is_coloured = is_coloured || (after == " | cat" && line.ends_with("lifetim"));
            assert_eq!(screen.contains("\u{1b}["), is_coloured, "{before}{line}{after}: {screen:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_mistyped_is_guessed() {
    let sandbox = eventful().await;
    let ids = |ran: Ran, list: &str| ran.json()[list][0]["id"].as_str().unwrap().to_owned();
    let drift = sandbox.check().await.json()["instances"][0]["drifts"][0]["id"].as_str().unwrap().to_owned();
    let message = ids(sandbox.run(&["outbox", "list", "--all", "--json"]).await, "messages");
    let silence = ids(sandbox.run(&["silence", "list", "--json"]).await, "silences");
    let window = ids(sandbox.run(&["window", "list", "--json"]).await, "windows");
    let wrong = |id: &str| format!("{}x{}", &id[..12], &id[13..]);
    let line = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let quiet = |what: &str| line(&format!("silence add --until 1h --reason x --match {what}"));
    for (typed, code, meant) in [
        (line("chekc"), "", "'check'"),
        (line("outbox lst"), "", "'list'"),
        (line("check --jsno"), "", "'--json'"),
        (line("receivers test siem --kind revert"), "", "'reverted'"),
        (line("settings --severity hihg"), "", "'high'"),
        (line("completions bsh"), "", "'bash'"),
        (line("check prdo"), "unknown-instance", "'clerk:prod'"),
        (line("doctor prdo"), "unknown-instance", "'clerk:prod'"),
        (line("verify acne"), "unknown-instance", "'auth0:acme'"),
        (line("sections auht0"), "unknown-instance", "'auth0'"),
        (line("sections clerk:prd"), "unknown-instance", "'clerk:prod'"),
        (line("sections prdo"), "unknown-instance", "'clerk:prod'"),
        (line("receivers test seim"), "unknown-receiver", "'siem'"),
        (line("outbox retry --receiver seim"), "unknown-receiver", "'siem'"),
        (line("explain /tenant.settings/flags"), "unknown-section", "'/tenants.settings/flags'"),
        (line("explain sesion-lifetime"), "unknown-setting", "'session-lifetime'"),
        (quiet("/jwt_template/*"), "unknown-match", "'jwt_templates'"),
        (quiet("sesion-lifetime"), "unknown-match", "'session-lifetime'"),
        (vec!["show".to_owned(), wrong(&drift)], "unknown-drift", &drift),
        (vec!["outbox".to_owned(), "show".to_owned(), wrong(&message)], "unknown-message", &message),
        (vec!["silence".to_owned(), "expire".to_owned(), wrong(&silence)], "unknown-silence", &silence),
        (vec!["window".to_owned(), "close".to_owned(), wrong(&window)], "unknown-silence", &window),
    ] {
        let words: Vec<&str> = typed.iter().map(String::as_str).collect();
        let ran = sandbox.run(&words).await.expect(2);
        assert!(ran.err.contains(meant), "{words:?}: {}", ran.err);
        assert!(code.is_empty() || ran.err.starts_with(&format!("error[{code}]: ")), "{words:?}: {}", ran.err);
    }
    sandbox.edit_configuration("confirm_after", "confirm_afer");
    let ran = sandbox.run(&["config", "check"]).await.expect(78);
    assert!(ran.err.starts_with("error[configuration]: ") && ran.err.contains("confirm_after"), "{}", ran.err);
}
