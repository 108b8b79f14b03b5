//! From nothing to an approved baseline.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::process::{Command, Stdio};

use authdrift::simulator::clerk::PUBLISHABLE_KEY;

use crate::common::sandbox::command;
use crate::common::terminal::on_a_terminal;
use crate::common::{Ran, Sandbox};

#[tokio::test(flavor = "multi_thread")]
async fn no_baseline_then_approved_then_in_sync() {
    let sandbox = Sandbox::new().await;
    let report = sandbox.check().await.expect(13).json();
    assert_eq!(report["instances"][0]["verdict"], "no_baseline");
    sandbox.approve("prod").await;
    sandbox.approve("acme").await;
    let report = sandbox.check().await.expect(0).json();
    assert_eq!(report["instances"][0]["verdict"], "in_sync");
    assert_eq!(report["instances"][1]["baseline"]["approvers"][0], "alice@example.test");
    assert!(sandbox.smtp.mails().is_empty() && sandbox.webhook.deliveries().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_tells_its_story_to_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(&folder.path().join("none.toml"), folder.path());
    command.arg("demo").arg(folder.path().join("demo"));
    let ran: Ran = tokio::task::spawn_blocking(move || command.output().unwrap().into()).await.unwrap();
    let ran = ran.expect(0);
    for code in [13, 0, 10, 12] {
        assert!(ran.out.contains(&format!("(exit code {code})")), "{}", ran.out);
    }
    for phrase in ["RESOLVED", "signature   valid", "UNTRUSTED", "In-Reply-To", "Look around", " init`"] {
        assert!(ran.out.contains(phrase), "'{phrase}' is missing in {}", ran.out);
    }
    // What a setting is called in the first mail it is called in the last one.
    let mail = |number: &str| fs::read_to_string(folder.path().join(format!("demo/mails/{number}.html"))).unwrap();
    let ids = |text: &str| -> std::collections::BTreeSet<String> {
        text.split("drf_").skip(1).map(|rest| rest.chars().take_while(char::is_ascii_hexdigit).collect()).collect()
    };
    let last = fs::read_dir(folder.path().join("demo/mails")).unwrap().count() / 2;
    let (opening, closing) = (ids(&mail("1")), ids(&mail(&last.to_string())));
    assert!(!closing.is_empty() && closing.is_subset(&opening), "{opening:?} {closing:?}");
    assert!(folder.path().join("demo/mails/1.html").exists() && folder.path().join("demo/webhooks/1.json").exists());
}

#[test]
fn the_demo_asks_nothing_and_takes_enter_for_nothing() {
    let home = tempfile::tempdir().unwrap();
    let typed = [("authdrift demo", "\n\n"), ("Somebody says what is right", "\n\n\n\n"), ("Friday evening", "\nn\n")];
    let Some(ran) = on_a_terminal(home.path(), "demo story", &typed) else { return };
    let ran = ran.expect(0);
    let text = ran.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("this is where you would be asked") && text.contains("Look around"), "{}", ran.out);
    for question in ["[y/N]", "Type the number", "Approve which"] {
        assert!(!ran.out.contains(question), "{}", ran.out);
    }
}

#[test]
fn the_configuration_is_looked_for_where_the_help_says_and_in_that_order() {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name);
    let text = |name: &str| {
        format!("[store]\npath = \"a.db\"\n[[clerk]]\nname = \"{name}\"\npublishable_key = \"{PUBLISHABLE_KEY}\"\n")
    };
    for folder in ["here", "unit", ".config/authdrift", "elsewhere"] {
        fs::create_dir_all(path(folder)).unwrap();
    }
    let run = |variables: &[(&str, &str)], arguments: &[&str]| -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_authdrift"));
        command.env_clear().env("HOME", home.path()).current_dir(path("here")).stdin(Stdio::null());
        for (name, value) in variables {
            command.env(name, path(value));
        }
        command.args(arguments).args(["config", "check"]).output().unwrap().into()
    };
    let unit = ("CONFIGURATION_DIRECTORY", "unit");
    let none = run(&[unit], &[]).expect(78);
    let places =
        ["here/config.toml", "unit/config.toml", "/etc/authdrift/config.toml", ".config/authdrift/config.toml"];
    let mut rest = none.err.as_str();
    for place in places {
        rest = rest.split_once(place).unwrap_or_else(|| panic!("{place} is not named in its turn: {}", none.err)).1;
    }
    assert!(rest.contains("AUTHDRIFT_CONFIG"), "{}", none.err);

    // Each one that is added comes before those that are there already.
    for (name, file) in [("own", ".config/authdrift"), ("unit", "unit"), ("here", "here")] {
        fs::write(path(file).join("config.toml"), text(name)).unwrap();
        let ran = run(&[unit], &[]).expect(0);
        assert!(ran.out.contains(&format!("clerk:{name}")), "{name}: {}", ran.out);
    }
    fs::write(path("elsewhere/variable.toml"), text("variable")).unwrap();
    fs::write(path("elsewhere/named.toml"), text("named")).unwrap();
    let variable = ("AUTHDRIFT_CONFIG", "elsewhere/variable.toml");
    assert!(run(&[unit, variable], &[]).expect(0).out.contains("clerk:variable"));
    let named = path("elsewhere/named.toml").display().to_string();
    assert!(run(&[unit, variable], &["--config", &named]).expect(0).out.contains("clerk:named"));
    let missing = run(&[("AUTHDRIFT_CONFIG", "elsewhere/missing.toml")], &[]).expect(78);
    assert!(missing.err.contains("missing.toml") && missing.err.contains("AUTHDRIFT_CONFIG"), "{}", missing.err);

    // One of another program is refused, and the error says how it came to be read.
    fs::write(path("here/config.toml"), "baseURL = 'https://example.org/'\n").unwrap();
    let foreign = run(&[unit], &[]).expect(78);
    assert!(foreign.err.contains("baseURL") && foreign.err.contains("current folder"), "{}", foreign.err);
}

#[test]
fn t6_a_configuration_that_another_user_left_in_the_current_folder_is_not_used() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("config.toml");
    let text =
        format!("[[clerk]]\nname = \"prod\"\npublishable_key = \"{PUBLISHABLE_KEY}\"\n[store]\npath = \"a.db\"\n");
    fs::write(&config, text).unwrap();
    let run = |arguments: &[&str]| -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_authdrift"));
        command.env_clear().env("HOME", home.path()).current_dir(home.path()).stdin(Stdio::null());
        command.args(arguments).args(["config", "check"]).output().unwrap().into()
    };
    run(&[]).expect(0);
    fs::set_permissions(&config, fs::Permissions::from_mode(0o666)).unwrap();
    let refused = run(&[]).expect(78);
    assert!(refused.err.contains("every user may write to it") && refused.err.contains("--config"), "{}", refused.err);
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
    // Only root can give a file to somebody else.
    if chown(&config, Some(12345), None).is_ok() {
        let refused = run(&[]).expect(78);
        assert!(refused.err.contains("it belongs to user 12345"), "{}", refused.err);
        let link = home.path().join("mine");
        fs::rename(&config, &link).unwrap();
        symlink(&link, &config).unwrap();
        run(&[]).expect(78);
    }
    run(&["--config", "config.toml"]).expect(0);
}
