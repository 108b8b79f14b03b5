//! The commands that say what the program knows: without a database, and with or without a configuration.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::common::Ran;

const CONFIGURATION: &str = "[store]\npath = \"authdrift.db\"\n[approval]\nallowed_signers = \"allowed_signers\"\n\
    [catalogue]\nfile = \"own.toml\"\n\
    [[clerk]]\nname = \"prod\"\nsecret_key = { file = \"key\" }\n\
    [[clerk]]\nname = \"shop\"\npublishable_key = \"pk_test_Y2xlcmsuZXhhbXBsZS5jb20k\"\n\
    [[auth0]]\nname = \"shop\"\ndomain = \"acme.eu.auth0.com\"\ntoken = { file = \"token\" }\n";

const OWN: &str = "[[setting]]\nid = \"our-rule\"\ntitle = \"Our \\u001b[31mrule\"\nwhy = \"Ours.\"\n\
    paths = [\"/tenants.settings/our_field\"]\ncategory = \"tokens\"\nseverity = \"low\"\n";

/// Runs the program where there is no configuration.
fn run(arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_authdrift"));
    command.env_clear().args(["--color", "never"]).args(arguments).stdin(Stdio::null());
    command.output().unwrap().into()
}

/// Runs the program with [`CONFIGURATION`], which lies in `folder`.
fn run_in(folder: &Path, arguments: &[&str]) -> Ran {
    let file = folder.join("config.toml").display().to_string();
    run(&[&["--config", file.as_str()], arguments].concat())
}

fn configured() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.toml"), CONFIGURATION).unwrap();
    fs::write(folder.path().join("own.toml"), OWN).unwrap();
    folder
}

/// The row of `section` of `provider`.
fn row(value: &Value, provider: &str, section: &str) -> Value {
    let rows = value["sections"].as_array().unwrap();
    rows.iter().find(|row| row["provider"] == provider && row["section"] == section).unwrap().clone()
}

#[test]
fn sections_are_listed_without_a_configuration() {
    let ran = run(&["sections"]).expect(0).saying(&["clerk: ", "auth0: ", "/api/v2/tenants/settings", "read:clients"]);
    assert!(!ran.out.contains("READ"), "{}", ran.out);
    let ran = run(&["sections", "clerk"]).expect(0).saying(&["Platform API key with applications:manage"]);
    assert!(!ran.out.contains("auth0"), "{}", ran.out);

    let value = run(&["sections", "--json"]).expect(0).json();
    let row = row(&value, "auth0", "clients");
    for (name, expected) in [("endpoint", "/api/v2/clients"), ("needs", "read:clients"), ("depth", "security")] {
        assert_eq!(row[name], expected);
    }
    assert!(row["every_seconds"].is_null() && row["instances"].as_array().unwrap().is_empty(), "{row}");
}

#[test]
fn sections_say_what_a_configuration_reads_and_why_not_the_rest() {
    let folder = configured();
    let ran = run_in(folder.path(), &["sections"]).expect(0);
    let ran = ran.saying(&["1 of 2", "not by clerk:shop: it has no 'secret_key'"]);
    let ran = ran.saying(&["not by clerk:prod, clerk:shop: it has no 'platform_token'"]);
    assert!(ran.out.lines().any(|line| line.starts_with("clients  ") && line.contains("  yes  ")), "{}", ran.out);

    let value = run_in(folder.path(), &["sections", "clerk:shop", "--json"]).expect(0).json();
    let instances = &row(&value, "clerk", "instance")["instances"];
    let expected = serde_json::json!([
        { "instance": "clerk:shop", "reads": false, "reason": "it has no 'secret_key'" }
    ]);
    assert_eq!(*instances, expected);
    assert!(!folder.path().join("authdrift.db").exists(), "nothing is stored");

    run_in(folder.path(), &["sections", "shop"]).expect(2).saying(&["'clerk:shop' or 'auth0:shop'"]);
    run_in(folder.path(), &["sections", "pord"]).expect(2).saying(&["did you mean 'clerk:prod'?"]);
    run(&["sections", "ckerk"]).expect(2).saying(&["neither a vendor nor an instance", "did you mean 'clerk'?"]);
    let none = folder.path().join("none.toml").display().to_string();
    run(&["sections", "--config", &none]).expect(78).saying(&["cannot read the configuration"]);
}

#[test]
fn settings_are_searched_by_words_and_judgements() {
    let ran = run(&["settings", "MFA", "sign-up"]).expect(0).saying(&["clerk: ", "mfa-required-at-sign-up"]);
    assert!(!ran.out.contains("session-lifetime"), "{}", ran.out);
    run(&["settings", "/tenants.settings/session_l"]).expect(0).saying(&["auth0: 1 setting\n", "session-lifetime"]);
    run(&["settings", "sesion"]).expect(0).saying(&["None has 'sesion'.", "Did you mean 'session'?"]);
    run(&["settings", "--category", "mfs"]).expect(2).saying(&["similar", "'mfa'"]);

    let arguments = ["settings", "--json", "--provider", "clerk", "--category", "mfa", "--severity", "critical"];
    let value = run(&arguments).expect(0).json();
    let settings = value["settings"].as_array().unwrap();
    assert!(!settings.is_empty());
    for setting in settings {
        assert_eq!((&setting["provider"], &setting["category"]), (&"clerk".into(), &"mfa".into()));
        assert_eq!(setting["severity"], "critical");
        assert!(setting["id"].is_string() && setting["title"].is_string() && setting["paths"][0].is_string());
    }
    let value = run(&["settings", "--json", "nothing has this word"]).expect(0).json();
    assert_eq!(value, serde_json::json!({ "settings": [] }));
}

#[test]
fn the_own_catalogue_is_searched_and_explained_too() {
    let folder = configured();
    let value = run_in(folder.path(), &["settings", "our-rule", "--json"]).expect(0).json();
    assert_eq!(value["settings"].as_array().unwrap().len(), 1, "of one vendor only: {value}");
    for arguments in [["settings", "our-rule"], ["explain", "our-rule"], ["explain", "/tenants.settings/our_field"]] {
        let ran = run_in(folder.path(), &arguments).expect(0).saying(&["Our \\u{1b}[31mrule", "low"]);
        assert!(!ran.out.contains('\u{1b}'), "{}", ran.out);
    }
    fs::write(folder.path().join("own.toml"), "[[setting]]\nsurprise = 1\n").unwrap();
    run_in(folder.path(), &["explain", "our-rule"]).expect(78).saying(&["own.toml", "surprise"]);
}

#[test]
fn explanations_read_as_agreed() {
    let mut text = String::new();
    for what in [
        "/tenants.settings/session_lifetime",
        "/jwt_templates/supabase/lifetime",
        "/platform.config/session_settings/inactivity_timeout/duration_seconds",
        "session-cookie-mode",
        "/clients/shop/client_secret",
        "/guardian.policies",
        "/tenants.settings/session_lifetim",
        "/tenants.settings/flags",
    ] {
        text.push_str(&format!("$ authdrift explain {what}\n{}\n", run(&["explain", what]).expect(0).out));
    }
    let path = format!("{}/tests/golden/explain.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap();
    assert!(text == expected, "{path} differs; UPDATE_GOLDEN=1 rewrites it. Now it is:\n{text}");
}

#[test]
fn an_explanation_is_the_same_for_programs() {
    let value = run(&["explain", "/tenants.settings/session_lifetime", "--json"]).expect(0).json();
    let explanation = &value["explanations"][0];
    for (name, expected) in [
        ("provider", "auth0"),
        ("path", "/tenants.settings/session_lifetime"),
        ("setting", "session-lifetime"),
        ("weaker", "higher"),
        ("strength", "longer is weaker"),
        ("unit", "hours"),
    ] {
        assert_eq!(explanation[name], expected, "{name}");
    }
    assert_eq!(explanation["sections"][0]["endpoint"], "/api/v2/tenants/settings");
    // Both vendors have a setting of that id.
    let value = run(&["explain", "password-min-length", "--json"]).expect(0).json();
    assert_eq!(value["explanations"].as_array().unwrap().len(), 2);
    let value = run(&["explain", "/jwt_templates/x/new_switch", "--json"]).expect(0).json();
    assert_eq!(value["explanations"][0]["setting"], "unclassified");
    assert_eq!(value["explanations"][0]["severity"], "medium");
}

#[test]
fn what_cannot_be_explained_is_refused_with_a_suggestion() {
    let table = [
        ("session-lifetme", "did you mean 'session-lifetime'?"),
        ("tenants.settings/session_lifetime", "did you mean the path '/tenants.settings/session_lifetime'?"),
        ("/tenant.settings/session_lifetime", "did you mean '/tenants.settings/session_lifetime'?"),
        ("/", "`authdrift sections` lists them"),
        ("", "`authdrift settings WORD`"),
        ("\u{1b}[2J", "no setting is called '\\u{1b}[2J'"),
    ];
    for (what, expected) in table {
        run(&["explain", what]).expect(2).saying(&[expected]);
    }
    run(&["explain"]).expect(2).saying(&["PATH|SETTING"]);
}
