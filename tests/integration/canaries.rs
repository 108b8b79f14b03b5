//! No secret is ever written anywhere. Every secret of the simulated world holds the word `CANARY`.

use std::fs;
use std::path::Path;
use std::process::Command;

use authdrift::simulator::fault::Fault;
use authdrift::simulator::{auth0, clerk};
use authdrift::store::{Store, StoreError, documents};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::json;

use crate::common::sandbox::WEBHOOK_SECRET;
use crate::common::{Ran, Sandbox};

/// Files that hold secrets because somebody put them there.
const CREDENTIALS: [&str; 6] =
    ["clerk-secret-key", "clerk-platform-token", "auth0-client-secret", "auth0-token", "webhook-secret", "alice"];

/// A sandbox that remembers everything the program said.
struct World {
    sandbox: Sandbox,
    said: Vec<(String, Ran)>,
    /// Open while the program runs, so that SQLite leaves its log beside the database.
    store: Option<Store>,
}

impl World {
    async fn new() -> Self {
        Self { sandbox: Sandbox::new().await, said: Vec::new(), store: None }
    }

    #[track_caller]
    fn run(&mut self, arguments: &str, code: i32) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move {
            let words: Vec<&str> = arguments.split(' ').collect();
            let ran = self.sandbox.run(&words).await;
            assert_eq!(ran.code, code, "{place} {arguments}: {}\n{}", ran.out, ran.err);
            self.said.push((arguments.to_owned(), ran));
            if self.store.is_none() && self.sandbox.database().exists() {
                self.store = Some(self.sandbox.store());
            }
        }
    }

    async fn approve(&mut self, name: &str) {
        let key = self.sandbox.path("alice").display().to_string();
        self.run(&format!("-vv approve {name} --reason test --all --key {key}"), 0).await;
    }

    /// The drift of a replaced client secret: it shows, as a fingerprint.
    fn rotated_secret(&self) -> String {
        let path = "/platform.config/connection_oauth_google/client_secret";
        let report = self.said.iter().rfind(|(arguments, _)| arguments == "-vv check --json").unwrap().1.json();
        let drifts = Sandbox::report(&report, "clerk:prod")["drifts"].as_array().unwrap();
        let drift = drifts.iter().find(|drift| drift["path"] == path).unwrap();
        for side in ["before", "after"] {
            assert!(drift[side]["fingerprint"].as_str().unwrap().starts_with("hmac-sha256:"), "{drift}");
        }
        drift["id"].as_str().unwrap().to_owned()
    }

    /// Every place where a secret must not be, with what is there.
    fn places(&self) -> Vec<(String, Vec<u8>)> {
        let mut places = Vec::new();
        for (arguments, ran) in &self.said {
            places.push((format!("standard output of {arguments}"), ran.out.clone().into_bytes()));
            places.push((format!("standard error of {arguments}"), ran.err.clone().into_bytes()));
        }
        for (number, mail) in self.sandbox.smtp.mails().iter().enumerate() {
            places.push((format!("mail {number}"), mail.raw.clone()));
            places.push((format!("text of mail {number}"), mail.text().unwrap().into_bytes()));
            places.push((format!("HTML of mail {number}"), mail.html().unwrap().into_bytes()));
        }
        for (number, delivery) in self.sandbox.webhook.deliveries().into_iter().enumerate() {
            places
                .push((format!("headers of webhook {number}"), format!("{:?}", delivery.request.headers).into_bytes()));
            places.push((format!("webhook {number}"), delivery.request.body));
        }
        files(self.sandbox.folder.path(), &mut places);
        places.extend(stored_documents(&self.sandbox));
        places
    }

    /// Fails with the place and the text around it if a secret is anywhere.
    fn assert_no_leak(&self) {
        let places = self.places();
        let names: Vec<_> = places.iter().map(|(name, _)| name.as_str()).collect();
        for expected in ["authdrift.db", "authdrift.db-wal", "document sha256", "mail 0", "webhook 0"] {
            assert!(
                names.iter().any(|name| name.contains(expected)),
                "nothing was searched: no {expected} in {names:?}"
            );
        }
        for (name, content) in places {
            let text = String::from_utf8_lossy(&content);
            let found = find(&text);
            assert!(found.is_none(), "{name} holds a secret: {}", found.unwrap_or_default());
        }
    }
}

fn files(folder: &Path, places: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            files(&path, places);
        } else if !CREDENTIALS.contains(&name.as_str()) {
            // In another process: closing a file here would end the locks that SQLite holds on it in this one.
            let content = Command::new("cat").arg(&path).output().unwrap();
            assert!(content.status.success(), "{}", path.display());
            places.push((path.display().to_string(), content.stdout));
        }
    }
}

/// The documents of the database as they are before they are compressed.
fn stored_documents(sandbox: &Sandbox) -> Vec<(String, Vec<u8>)> {
    let read = sandbox.store().read(|tx| -> Result<_, StoreError> {
        let mut statement = tx.unguarded().prepare("SELECT digest FROM documents")?;
        let digests: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        let mut found = Vec::new();
        for digest in digests {
            let bytes = documents::bytes(tx, &digest.parse().unwrap())?.unwrap();
            found.push((format!("document {digest}"), bytes));
        }
        Ok(found)
    });
    read.unwrap()
}

/// A secret in `text`, as it is, as base64 or percent-encoded, with what is around it.
fn find(text: &str) -> Option<String> {
    let webhook_key = WEBHOOK_SECRET.trim_start_matches("whsec_").trim_end_matches('=');
    for needle in ["CANARY", "%43ANARY", webhook_key] {
        if let Some(place) = text.find(needle) {
            return Some(text.chars().skip(text[..place].chars().count().saturating_sub(80)).take(200).collect());
        }
    }
    let is_encoded = |c: char| c.is_ascii_alphanumeric() || "+/-_".contains(c);
    let words = text.split(|c| !is_encoded(c)).filter(|word| word.len() >= 12);
    let holds = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).contains("CANARY");
    for word in words {
        let decoded = [STANDARD_NO_PAD.decode(word).ok(), URL_SAFE_NO_PAD.decode(word).ok()];
        if decoded.into_iter().flatten().any(holds) {
            return Some(format!("base64 in {word}"));
        }
    }
    None
}

#[test]
fn the_search_finds_what_it_should() {
    for text in [
        "x CANARY x",
        WEBHOOK_SECRET,
        "AUTH PLAIN AGF1dGhkcmlmdABDQU5BUlktc210cA==",
        "\u{fffd}\u{fffd}eyJzZWNyZXQiOiJDQU5BUlkifQ.x",
    ] {
        assert!(find(text).is_some(), "{text}");
    }
    assert_eq!(find("canary sha256:0123456789abcdef hmac-sha256:ffffffffffffffff"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn t3_no_secret_is_left_anywhere_by_a_whole_life() {
    let mut world = World::new().await;
    world.run("-vv check", 13).await;
    let proposal = world.sandbox.path("proposal.json").display().to_string();
    world.run(&format!("-vv propose acme -o {proposal}"), 0).await;
    world.approve("prod").await;
    world.approve("acme").await;
    world.run("-vv check --json", 0).await;

    // Drift, of the secrets themselves too: they show as other fingerprints.
    world.sandbox.clerk.edit(&clerk::Clerk::config_path(), |config| {
        config["connection_oauth_google"]["client_secret"] = json!("CANARY-rotated-google-secret");
        config["new_webhook_token"] = json!("CANARY-of-a-field-nobody-knows");
        config["new_note"] = json!("call with sk_live_CANARY0123456789abcdef");
    });
    world.sandbox.auth0.edit("/api/v2/connections", |connections| {
        for connection in connections.as_array_mut().unwrap() {
            connection["options"]["client_secret"] = json!("CANARY-rotated-connection-secret");
            connection["options"]["customScripts"] = json!({ "login": "const key = 'CANARY-in-code';" });
            connection["options"]["configuration"] = json!({ "API_KEY": "2.0$CANARY-rotated" });
        }
    });
    world.sandbox.auth0.edit("/api/v2/resource-servers", |servers| {
        servers[0]["signing_secret"] = json!("CANARY-rotated-signing-secret");
    });
    world.run("-vv check --json", 10).await;
    for arguments in
        ["check", "diff prod", "diff acme --json", "diff acme --format json-patch", "diff acme --format revert-patch"]
    {
        world.run(arguments, 10).await;
    }
    for arguments in ["status", "status --json", "history acme", "history prod --json", "verify --json", "config check"]
    {
        world.run(arguments, 0).await;
    }
    let id = world.rotated_secret();
    world.run(&format!("show {id}"), 0).await;
    let copies = world.sandbox.path("copies");
    std::fs::create_dir(&copies).unwrap();
    world.run(&format!("backup {}", copies.join("authdrift.db").display()), 0).await;
    world.run(&format!("export acme {}", copies.join("acme").display()), 0).await;
    world.assert_no_leak();
    world.approve("prod").await;
    world.run("-vv check acme --json", 10).await;

    // Blind, with the vendor's own words about it.
    world.sandbox.auth0.fail("/api/v2/clients", Fault::Html);
    world.sandbox.clerk.fail("/v1/jwt_templates", Fault::Truncated);
    world.run("-vv check --json", 10).await;
    world.run("-vv check", 10).await;
    world.assert_no_leak();
}

#[tokio::test(flavor = "multi_thread")]
async fn t3_a_vendor_that_repeats_the_secret_in_its_refusal_is_not_quoted() {
    let mut world = World::new().await;
    world.run("check", 13).await;
    world.approve("prod").await;
    world.approve("acme").await;

    let refused = |secret: &str| format!("The key '{secret}' (Bearer {secret}) is not allowed to do this");
    let meta = json!({ "scopes": [clerk::SECRET_KEY] });
    world.sandbox.clerk.fail("/v1/*", clerk::failure(403, "forbidden", &refused(clerk::SECRET_KEY), &meta));
    let code = format!("bad_{}", clerk::PLATFORM_TOKEN);
    world.sandbox.clerk.fail("/v1/platform/*", clerk::failure(403, &code, &refused(clerk::PLATFORM_TOKEN), &meta));
    world.sandbox.auth0.fail(
        "/oauth/token",
        Fault::status(
            401,
            json!({ "error": auth0::CLIENT_SECRET, "error_description": refused(auth0::CLIENT_SECRET) }),
        ),
    );
    // What needs no key is read all the same.
    for _ in 0..2 {
        world.run("-vv check --json", 11).await;
        world.run("-vv check", 11).await;
    }

    // A token that was made by hand, refused in the same manner.
    let token = world.sandbox.auth0.issue_token();
    world.sandbox.write("auth0-token", &token);
    let table = world.sandbox.auth0_table();
    let by_hand = format!(
        "[[auth0]]\nname = \"acme\"\ndomain = \"{}\"\ntoken = {{ file = \"auth0-token\" }}\napi_url = \"{}\"\n",
        auth0::DOMAIN,
        world.sandbox.auth0.url()
    );
    world.sandbox.edit_configuration(&table, &by_hand);
    world.sandbox.auth0.heal_all();
    world.sandbox.auth0.fail("/api/v2/clients", auth0::failure(403, "insufficient_scope", &refused(&token)));
    world.sandbox.auth0.fail("/api/v2/connections", auth0::failure(401, "", &refused(&token)));
    for _ in 0..2 {
        world.run("-vv check acme --json", 11).await;
        world.run("-vv check acme", 11).await;
    }
    world.run("history acme --json", 0).await;
    assert!(!world.sandbox.smtp.mails().is_empty(), "blindness was told");
    world.assert_no_leak();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_the_wrong_place_is_refused_and_not_shown() {
    let mut world = World::new().await;
    let configuration = world.sandbox.configuration();
    let table = [
        ("secret_key = { file = \"clerk-secret-key\" }", format!("secret_key = \"{}\"", clerk::SECRET_KEY)),
        (clerk::PUBLISHABLE_KEY, clerk::SECRET_KEY.to_owned()),
        ("client_secret = { file = \"auth0-client-secret\" }", format!("client_secret = \"{}\"", auth0::CLIENT_SECRET)),
        ("secret = { file = \"webhook-secret\" }", format!("secret = \"{WEBHOOK_SECRET}\"")),
    ];
    for (old, new) in table {
        world.sandbox.write("config.toml", &configuration);
        world.sandbox.edit_configuration(old, &new);
        world.run("-vv check", 78).await;
        world.run("-vv config check", 78).await;
    }
    // The wrong file: what is in it is not repeated either.
    world.sandbox.write("config.toml", &configuration);
    world.sandbox.write("clerk-secret-key", "ak_CANARY-not-a-secret-key");
    world.run("-vv check prod", 78).await;
    for (arguments, ran) in &world.said {
        for text in [&ran.out, &ran.err] {
            assert_eq!(find(text), None, "{arguments}");
        }
    }
}
