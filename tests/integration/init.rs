//! `init`: from nothing to a configuration that works, and nothing written when anything is wrong.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use authdrift::simulator::clerk;

use crate::common::terminal::on_a_terminal;
use crate::common::{Ran, Sandbox};

/// The program as a new user has it: no configuration, and a home of its own.
fn run(home: &Path, arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_authdrift"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", home);
    command.env("CONFIGURATION_DIRECTORY", home.join("usual")).current_dir(home).stdin(Stdio::null());
    command.args(["--color", "never"]).args(arguments).output().unwrap().into()
}

fn keygen(folder: &Path, arguments: &[&str]) -> bool {
    let mut command = Command::new("ssh-keygen");
    command.current_dir(folder).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().expect("these tests need ssh-keygen").success()
}

/// Alice's key, with her address as its comment.
fn home_with_key() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    assert!(keygen(home.path(), &["-q", "-t", "ed25519", "-N", "", "-C", "alice@example.test", "-f", "alice"]));
    home
}

const CLERK: [&str; 4] = ["--clerk", "prod", "--publishable-key", clerk::PUBLISHABLE_KEY];

/// Everything below a folder, with its content.
fn content(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap()) {
        let name = entry.file_name().to_string_lossy().into_owned();
        found.push((name, fs::read(entry.path()).unwrap_or_default()));
    }
    found.sort();
    found
}

#[test]
fn flags_alone_write_a_configuration_that_loads_and_signers_that_openssh_takes() {
    let home = home_with_key();
    let auth0 = ["--auth0", "acme", "--domain", "acme.eu.auth0.com", "--client-id", "aBcDeFgHiJkLmNoPqRsTuVwXyZ012345"];
    let ran = run(home.path(), &[&["init"], &CLERK[..], &auth0, &["--key", "alice.pub"]].concat()).expect(0);
    let folder = home.path().join("usual");
    for name in ["config.toml", "allowed_signers"] {
        assert!(ran.out.contains(&format!("Wrote {}", folder.join(name).display())), "{}", ran.out);
    }
    assert_eq!(ran.err, "");
    // It lies where it is looked for, so no command needs to be told.
    assert!(!ran.out.contains("--config"), "{}", ran.out);
    let checked = run(home.path(), &["config", "check"]).expect(0);
    assert!(checked.out.contains("2 instances, 0 receivers"), "{}", checked.out);

    let mode = |name: &str| fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("config.toml"), mode("allowed_signers")), (0o640, 0o644));
    assert_eq!(content(&folder).len(), 2, "and no file more");
    let config = fs::read_to_string(folder.join("config.toml")).unwrap();
    assert!(config.contains("client_secret = { file = \"auth0-acme\" }"), "{config}");
    for key in ["[[email]]", "[[webhook]]", "secret_key", "threshold", "revoked_keys"] {
        assert!(config.contains(&format!("\n#{key}")), "'{key}' is not there to be switched on: {config}");
    }

    let signers = fs::read_to_string(folder.join("allowed_signers")).unwrap();
    let line = signers.lines().last().unwrap();
    assert!(line.starts_with("alice@example.test namespaces=\"baseline.v1@authdrift\",valid-after=\""), "{line}");
    assert!(!line.contains("alice@example.test namespaces=\"*"), "{line}");
    fs::write(home.path().join("text"), "signed").unwrap();
    assert!(keygen(home.path(), &["-Y", "sign", "-n", "baseline.v1@authdrift", "-f", "alice", "text"]));
    let verifies = |namespace: &str, more: &[&str]| {
        let file = folder.join("allowed_signers").display().to_string();
        let base = ["-Y", "verify", "-f", &file, "-I", "alice@example.test", "-n", namespace, "-s", "text.sig"];
        let mut command = Command::new("ssh-keygen");
        command.current_dir(home.path()).args(base).args(more).stdout(Stdio::null()).stderr(Stdio::null());
        command.stdin(fs::File::open(home.path().join("text")).unwrap()).status().unwrap().success()
    };
    assert!(verifies("baseline.v1@authdrift", &[]));
    assert!(!verifies("baseline.v1@authdrift", &["-Overify-time=20200101Z"]), "before it began");
    assert!(!verifies("baseline.v1@authdrift", &["-Overify-time=20990101Z"]), "after it ended");
    assert!(!verifies("git", &[]));
}

#[test]
fn nothing_is_overwritten_and_nothing_is_written_beside_what_is_there() {
    for name in ["config.toml", "allowed_signers", "trial_key", "trial_key.pub"] {
        let home = home_with_key();
        let folder = home.path().join("there");
        fs::create_dir(&folder).unwrap();
        // A link that leads nowhere is in the way, too: it would be written through.
        if name == "config.toml" {
            std::os::unix::fs::symlink("/nonexistent/authdrift", folder.join(name)).unwrap();
        } else {
            fs::write(folder.join(name), "mine").unwrap();
        }
        let before = content(&folder);
        let ran = run(home.path(), &[&["init", "there"], &CLERK[..], &["--new-key"]].concat()).expect(2);
        let file = folder.join(name).display().to_string();
        assert!(ran.err.contains(&file) && ran.err.contains("nothing was written"), "{}", ran.err);
        assert_eq!(content(&folder), before);
    }
    // Twice the same is once too often, and the first stays.
    let home = home_with_key();
    let arguments = [&["init", "new"], &CLERK[..], &["--key", "alice.pub"]].concat();
    run(home.path(), &arguments).expect(0);
    let before = content(&home.path().join("new"));
    run(home.path(), &arguments).expect(2);
    assert_eq!(content(&home.path().join("new")), before);
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let home = home_with_key();
    fs::write(home.path().join("file"), "").unwrap();
    let ran = run(home.path(), &[&["init", "file/below"], &CLERK[..], &["--key", "alice.pub"]].concat()).expect(74);
    assert!(ran.err.contains("file/below") && ran.err.contains("nothing was written"), "{}", ran.err);
}

#[test]
fn keys_that_do_not_count_are_refused_and_never_shown() {
    let home = home_with_key();
    let at = home.path();
    assert!(keygen(at, &["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", "short"]));
    assert!(keygen(at, &["-q", "-t", "ed25519", "-N", "", "-f", "ca"]));
    assert!(keygen(at, &["-q", "-s", "ca", "-I", "alice", "-n", "alice", "alice.pub"]));
    fs::write(at.join("dsa.pub"), "ssh-dss AAAAB3NzaC1kc3MAAACBAP1/ alice@example.test\n").unwrap();
    fs::copy(at.join("alice"), at.join("moved")).unwrap();
    fs::write(at.join("secret.txt"), "hunter2 hunter2 hunter2").unwrap();
    let public = fs::read_to_string(at.join("alice.pub")).unwrap();
    fs::write(at.join("two.pub"), format!("{public}{public}")).unwrap();
    let private = fs::read_to_string(at.join("alice")).unwrap();
    let secret = private.lines().nth(1).unwrap();
    for (key, said) in [
        ("alice", &["that is the private key", "alice.pub'"][..]),
        ("moved", &["that is the private key", "ssh-keygen -y -f"]),
        ("short.pub", &["2048 bits", "3072"]),
        ("dsa.pub", &["'ssh-dss' is not accepted"]),
        ("alice-cert.pub", &["certificates are not accepted", "plain public key"]),
        ("two.pub", &["not one public key"]),
        ("secret.txt", &["not a public key"]),
        ("nowhere.pub", &["nowhere.pub", "No such file"]),
    ] {
        let ran = run(at, &[&["init", "new"], &CLERK[..], &["--key", key, "--approver", "a@example.test"]].concat());
        let ran = ran.expect(2);
        for said in said {
            assert!(ran.err.contains(said), "{key}: '{said}' is not in: {}", ran.err);
        }
        let all = ran.out + &ran.err;
        assert!(!all.contains(secret) && !all.contains("hunter2"), "{key}: {all}");
        assert!(!at.join("new").exists(), "{key}");
    }
}

#[test]
fn an_approver_is_one_plain_word() {
    let home = home_with_key();
    for hostile in
        ["a b", "*", "*@example.test", "a,b", "a\nb", "a\"b", "!a", "#a", "a\tb", "", "cert-authority=", "\u{1b}[2J"]
    {
        let approver = format!("--approver={hostile}");
        let ran =
            run(home.path(), &[&["init", "new"], &CLERK[..], &["--key", "alice.pub", &approver]].concat()).expect(2);
        assert!(ran.err.contains("--approver") && !ran.err.contains('\u{1b}'), "{hostile}: {}", ran.err);
        assert!(!home.path().join("new").exists(), "{hostile}");
    }
    // 'alice@laptop', as ssh-keygen writes it by itself, is nobody's name.
    assert!(keygen(home.path(), &["-q", "-t", "ed25519", "-N", "", "-C", "root@laptop", "-f", "plain"]));
    let ran = run(home.path(), &[&["init", "new"], &CLERK[..], &["--key", "plain.pub"]].concat()).expect(2);
    assert!(ran.err.contains("--approver is missing"), "{}", ran.err);
}

#[test]
fn what_is_missing_or_wrong_is_named_by_its_flag() {
    let home = home_with_key();
    let key = ["--key", "alice.pub"];
    let secret = "sk_live_Q0FOQVJZQ0FOQVJZQ0FOQVJZ";
    let long = "x".repeat(64);
    for (arguments, said) in [
        (vec![], "--clerk NAME"),
        (vec!["--clerk", "prod"], "--publishable-key is missing"),
        (vec!["--publishable-key", clerk::PUBLISHABLE_KEY], "--clerk"),
        (vec!["--clerk", "prod", "--publishable-key", secret], "is a secret key, not a publishable key"),
        (vec!["--clerk", "../x", "--publishable-key", clerk::PUBLISHABLE_KEY], "--clerk cannot be used"),
        (vec!["--auth0", "acme"], "--domain is missing"),
        (vec!["--auth0", "acme", "--domain", "https://acme.eu.auth0.com/"], "--domain cannot be used"),
        (vec!["--auth0", "acme", "--domain", "acme.eu.auth0.com"], "--client-id is missing"),
        (vec!["--auth0", "acme", "--domain", "acme.eu.auth0.com", "--client-id", &long], "a client secret is never"),
        (vec!["--auth0", "acme", "--domain", "acme.eu.auth0.com", "--client-id", "a\"\nb"], "--client-id cannot be"),
    ] {
        let ran = run(home.path(), &[&["init", "new"], &arguments[..], &key].concat()).expect(2);
        assert!(ran.err.contains(said), "{arguments:?}: {}", ran.err);
        assert!(!ran.err.contains(secret) && !ran.err.contains(&long), "{}", ran.err);
        assert!(!home.path().join("new").exists(), "{arguments:?}");
    }
    let ran = run(home.path(), &[&["init", "new"], &CLERK[..]].concat()).expect(2);
    assert!(ran.err.contains("--key is missing") && ran.err.contains("--new-key"), "{}", ran.err);
    run(home.path(), &[&["init", "new", "--new-key"], &CLERK[..], &key].concat()).expect(2);
    run(home.path(), &[&["--config", "x.toml", "init"], &CLERK[..], &key].concat()).expect(2);
    assert!(!home.path().join("new").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_key_is_enough_for_the_first_baseline_and_says_what_it_is() {
    let world = Sandbox::new().await;
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("try it");
    let run = |arguments: &[&str]| {
        let (home, arguments) =
            (home.path().to_owned(), arguments.iter().map(|&word| word.to_owned()).collect::<Vec<_>>());
        async move {
            let words = move || run(&home, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
            tokio::task::spawn_blocking(words).await.unwrap()
        }
    };
    let ran = run(&[&["init", "try it"], &CLERK[..], &["--new-key"]].concat()).await.expect(0);
    assert!(ran.err.contains("WARNING") && ran.err.contains("TRYING OUT, ON THIS MACHINE ONLY"), "{}", ran.err);
    for (name, mode) in [("trial_key", 0o600), ("trial_key.pub", 0o644), ("config.toml", 0o640)] {
        assert_eq!(fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777, mode, "{name}");
    }
    for name in ["config.toml", "allowed_signers", "trial_key.pub"] {
        let text = fs::read_to_string(folder.join(name)).unwrap().to_lowercase();
        assert!(text.contains("this machine only"), "{name}: {text}");
    }
    assert!(!content(&folder).iter().any(|(name, _)| name.starts_with('.')), "{:?}", content(&folder));

    // The simulator in the place of the host that the publishable key names.
    let file = folder.join("config.toml");
    let config = fs::read_to_string(&file).unwrap();
    let key = format!("publishable_key = \"{}\"\n", clerk::PUBLISHABLE_KEY);
    assert!(config.contains(&key));
    let here = format!("{key}frontend_api_url = \"{}\"\nconfirm_after = \"100ms\"\n", world.clerk.url());
    fs::write(&file, config.replace(&key, &here)).unwrap();

    // As it was told: the very commands, but for the last, which would go on for ever.
    let mut told = ran.out.lines().filter_map(|line| line.strip_prefix("  authdrift "));
    let config = format!("--config '{}'", file.display());
    assert_eq!(told.next(), Some(format!("{config} doctor").as_str()));
    assert_eq!(told.next(), Some(format!("{config} check").as_str()));
    let approve = told.next().unwrap();
    let trial = folder.join("trial_key");
    let expected = format!("{config} approve clerk:prod --reason 'First review' --key '{}'", trial.display());
    assert_eq!(approve, expected);
    assert_eq!(told.next(), Some(format!("{config} run").as_str()));
    assert_eq!(told.next(), None);

    let (file, trial) = (file.display().to_string(), trial.display().to_string());
    run(&["--config", &file, "config", "check"]).await.expect(0);
    let ran = run(&["--config", &file, "doctor"]).await.expect(0);
    assert!(ran.out.contains("a key for trying out"), "{}", ran.out);
    let first = run(&["--config", &file, "check", "--json"]).await.expect(13).json();
    assert_eq!(first["instances"][0]["verdict"], "no_baseline");
    let arguments = ["--config", &file, "approve", "clerk:prod", "--reason", "First review", "--key", &trial];
    run(&arguments).await.expect(0);
    let second = run(&["--config", &file, "check", "--json"]).await.expect(0).json();
    assert_eq!(second["instances"][0]["baseline"]["approvers"][0], "trial@localhost");
    run(&["--config", &file, "verify"]).await.expect(0);
}

#[test]
fn on_a_terminal_it_asks_for_what_is_missing() {
    let home = home_with_key();
    fs::create_dir(home.path().join(".ssh")).unwrap();
    for name in ["alice", "alice.pub"] {
        fs::rename(home.path().join(name), home.path().join(".ssh").join(name)).unwrap();
    }
    let key = format!("{}\r", clerk::PUBLISHABLE_KEY);
    let typed = [
        ("To watch", "\r"),
        ("Name for it", "\r"),
        ("Publishable key", "sk_test_x\r"),
        ("is a secret key", &key),
        ("SSH key that may approve", "\r"),
        ("Approver", "\r"),
    ];
    let Some(ran) = on_a_terminal(home.path(), "init new", &typed) else { return };
    let ran = ran.expect(0);
    assert!(ran.out.contains("alice@example.test may approve"), "{}", ran.out);
    let config = fs::read_to_string(home.path().join("new/config.toml")).unwrap();
    assert!(config.contains(clerk::PUBLISHABLE_KEY) && !config.contains("sk_test"), "{config}");
}

#[test]
fn ctrl_c_at_a_question_writes_nothing_and_gives_the_cursor_back() {
    for typed in [&[("To watch", "\u{3}")][..], &[("To watch", "\r"), ("Name for it", "\u{3}")]] {
        let home = home_with_key();
        let Some(ran) = on_a_terminal(home.path(), "init new", typed) else { return };
        let ran = ran.expect(130);
        assert!(ran.out.contains("stopped"), "{}", ran.out);
        let (hidden, shown) = (ran.out.rfind("\u{1b}[?25l"), ran.out.rfind("\u{1b}[?25h"));
        assert!(hidden <= shown, "the cursor stays hidden: {:?}", ran.out);
        assert!(!home.path().join("new").exists());
    }
}
