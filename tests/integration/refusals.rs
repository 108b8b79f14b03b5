//! What is wrong is refused with the right exit code and words that help, and nothing is touched.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use rusqlite::Connection;

use crate::common::{Ran, Sandbox};

impl Ran {
    /// Fails unless standard error or output holds every phrase.
    #[track_caller]
    pub fn saying(self, phrases: &[&str]) -> Self {
        for phrase in phrases {
            assert!(
                self.err.contains(phrase) || self.out.contains(phrase),
                "'{phrase}' is missing in:\n{}\n{}",
                self.out,
                self.err
            );
        }
        assert!(!self.err.contains("panicked"), "{}", self.err);
        self
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_is_refused_with_every_mistake_at_its_place() {
    let sandbox = Sandbox::new().await;
    let wrong = sandbox
        .configuration()
        .replace("confirm_after = \"100ms\"", "confirm_after = \"soon\"")
        .replace("cron = \"* * * * *\"", "cron = \"* * *\"")
        .replace("[store]\n", "[store]\ncolour = \"red\"\n")
        .replace("tls = \"none\"", "tls = \"nun\"");
    sandbox.write("config.toml", &wrong);
    for arguments in
        [&["run"][..], &["check"], &["config", "check"], &["status"], &["approve", "prod", "--reason", "x"]]
    {
        let ran = sandbox.run(arguments).await.expect(78);
        let ran = ran.saying(&["colour", "soon", "* * *", "nun", "config.toml:2:1", "five-field", "^"]);
        assert!(ran.err.lines().filter(|line| line.contains("^")).count() >= 4, "{}", ran.err);
    }
    assert!(!sandbox.database().exists(), "a wrong configuration makes no database");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_is_not_there_or_not_readable_is_refused() {
    let sandbox = Sandbox::new().await;
    fs::remove_file(sandbox.path("config.toml")).unwrap();
    sandbox.run(&["check"]).await.expect(78).saying(&[
        "cannot read the configuration",
        "config.toml",
        "--config",
        "authdrift init",
    ]);
    fs::create_dir(sandbox.path("config.toml")).unwrap();
    sandbox.run(&["run"]).await.expect(78).saying(&["cannot read the configuration", "config.toml"]);
    fs::remove_dir(sandbox.path("config.toml")).unwrap();
    fs::write(sandbox.path("config.toml"), b"[store]\npath = \"\xff\"\n").unwrap();
    sandbox.run(&["check"]).await.expect(78).saying(&["config.toml", "UTF-8"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_cannot_be_read_is_a_mistake_of_the_configuration() {
    let sandbox = Sandbox::new().await;
    for name in ["clerk-secret-key", "clerk-platform-token", "auth0-client-secret"] {
        fs::remove_file(sandbox.path(name)).unwrap();
    }
    let path = sandbox.path("clerk-secret-key").display().to_string();
    sandbox.run(&["check"]).await.expect(78).saying(&["cannot read the secret in", &path]);
    sandbox.run(&["check", "clerk:prod"]).await.expect(78).saying(&[&path]);

    sandbox.write("auth0-client-secret", "\n");
    sandbox.run(&["check", "acme"]).await.expect(78).saying(&["auth0-client-secret", "is empty"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_line_that_makes_no_sense_is_refused_with_a_suggestion() {
    let sandbox = Sandbox::new().await;
    let table: [(&[&str], &[&str]); 8] = [
        (&["check", "clerk:prd"], &["no instance is called 'clerk:prd'", "did you mean 'clerk:prod'?"]),
        (&["diff", "pord"], &["no instance is called 'pord'", "authdrift config check"]),
        (&["chek"], &["unrecognized subcommand", "check"]),
        (&["check", "--jsn"], &["unexpected argument", "--json"]),
        (&["approve", "prod"], &["--reason"]),
        (&["approve", "prod", "--reason", "x", "--all", "--only", "/a"], &["cannot be used with"]),
        (&["import"], &["FILE"]),
        (&[], &["Usage"]),
    ];
    for (arguments, phrases) in table {
        sandbox.run(arguments).await.expect(2).saying(phrases);
    }
    sandbox.check().await.expect(13);
    sandbox.approve("prod").await;
    let key = sandbox.path("alice").display().to_string();
    sandbox.set_lifetime(3600);
    sandbox.check().await.expect(10);
    let ran = sandbox.run(&["approve", "prod", "--reason", "x", "--key", &key]).await.expect(2);
    ran.saying(&["no terminal to ask on", "--all"]);
    let ran = sandbox.run(&["approve", "prod", "--reason", "x", "--key", &key, "--only", "/no/such"]).await.expect(2);
    ran.saying(&["'/no/such' is not a difference"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_approve_cannot() {
    let sandbox = Sandbox::new().await;
    sandbox.check().await.expect(13);
    sandbox.make_key("mallory");
    let key = |name: &str| sandbox.path(name).display().to_string();
    let approve = async |more: &[&str]| {
        let mut arguments = vec!["approve", "prod", "--reason", "x", "--all"];
        arguments.extend(more);
        sandbox.run(&arguments).await
    };
    approve(&["--key", &key("mallory")]).await.expect(77).saying(&["belongs to no allowed signer", "SHA256:"]);
    approve(&["--key", &key("alice"), "--as", "bob@example.test"])
        .await
        .expect(77)
        .saying(&["does not belong to 'bob@example.test' but to alice@example.test"]);
    approve(&["--key", &key("none")]).await.expect(77).saying(&["cannot use the key", "none"]);
    approve(&[]).await.expect(77).saying(&["no key to sign with", "--key"]);
    assert_eq!(sandbox.count("SELECT count(*) FROM statements"), 0);
    sandbox.run(&["verify"]).await.expect(0).saying(&["no baseline yet"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_ours_is_left_alone() {
    let sandbox = Sandbox::new().await;
    let text = "this is somebody's diary, and long enough to be taken for the header of a database file";
    let other = sandbox.path("other.db");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE diary (day)").unwrap();
    for (bytes, phrase) in [
        (text.as_bytes().to_vec(), "is not a database of authdrift"),
        (fs::read(&other).unwrap(), "is not a database of authdrift"),
    ] {
        fs::write(sandbox.database(), &bytes).unwrap();
        for arguments in [&["run"][..], &["check"], &["status"], &["verify"]] {
            sandbox.run(arguments).await.expect(74).saying(&[phrase, "authdrift.db", "left as it is"]);
        }
        assert_eq!(fs::read(sandbox.database()).unwrap(), bytes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_a_newer_program_is_left_alone() {
    let sandbox = Sandbox::clerk_approved().await;
    sandbox.sql().pragma_update(None, "user_version", 99).unwrap();
    for arguments in [&["run"][..], &["check"], &["status"], &["verify"]] {
        sandbox.run(arguments).await.expect(78).saying(&["has version 99", "newer program", "nothing was changed"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_its_fingerprint_key_compares_nothing() {
    let sandbox = Sandbox::clerk_approved().await;
    let key = sandbox.database().with_extension("key");
    let cycles = sandbox.cycles();
    for content in [None, Some(vec![9; 32]), Some(Vec::new())] {
        fs::remove_file(&key).unwrap();
        if let Some(content) = &content {
            fs::write(&key, content).unwrap();
        }
        for arguments in [&["run"][..], &["check"], &["status"]] {
            sandbox.run(arguments).await.expect(74).saying(&["fingerprint key", "authdrift.key", "backup"]);
        }
        assert_eq!(key.exists(), content.is_some(), "no new key is made");
        fs::write(&key, b"").unwrap();
    }
    assert_eq!(sandbox.cycles(), cycles);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_where_no_database_can_be_is_refused() {
    let sandbox = Sandbox::new().await;
    sandbox.write("a-file", "");
    let table = [
        ("a-file/state.db", "a-file"),
        // Nobody can make files there, root included.
        ("/proc/authdrift/state.db", "/proc/authdrift"),
        ("/proc/state.db", "/proc/state.db"),
        (".", "cannot"),
    ];
    for (path, phrase) in table {
        sandbox.write("config.toml", &sandbox.configuration().replace("authdrift.db", path));
        for arguments in [&["run"][..], &["check"]] {
            sandbox.run(arguments).await.expect(74).saying(&["cannot", phrase]);
        }
    }
    sandbox.write("config.toml", &sandbox.configuration().replace("authdrift.db", "none.db"));
    for arguments in [&["status"][..], &["diff", "prod"], &["verify"], &["approve", "prod", "--reason", "x"]] {
        sandbox.run(arguments).await.expect(74).saying(&["there is no database at", "none.db", "authdrift check"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_the_user_of_the_service_is_read_as_that_user() {
    let sandbox = Sandbox::clerk_approved().await;
    let mode = |name: &str, mode: u32| {
        fs::set_permissions(sandbox.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("config.toml", 0o644);
    for (folder, file, code, phrase) in [
        (0o755, "authdrift.db", 74, "cannot write in the folder of the database"),
        (0o755, "config.toml", 78, "cannot read the configuration"),
        (0o700, "config.toml", 78, "cannot read the configuration"),
    ] {
        mode(file, 0);
        mode(".", folder);
        let mut command = sandbox.command();
        command.arg("status").current_dir("/");
        // For root no file is closed.
        if fs::metadata("/proc/self").unwrap().uid() == 0 {
            command.uid(65_534);
        } else if folder == 0o700 {
            continue;
        }
        let Ok(output) = command.output() else {
            eprintln!("SKIPPED: another user cannot run {}", env!("CARGO_BIN_EXE_authdrift"));
            return;
        };
        Ran::from(output).expect(code).saying(&[phrase, "sudo -u authdrift"]);
        mode(file, 0o644);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_that_is_not_there_delays_the_mail_and_nothing_else() {
    let sandbox = Sandbox::clerk_approved().await;
    sandbox.smtp.stop();
    sandbox.set_lifetime(3600);
    sandbox.check().await.expect(10);
    assert_eq!(sandbox.webhook.deliveries().len(), 1);
    assert_eq!(sandbox.waiting(), 1);
    sandbox.run(&["status"]).await.expect(0).saying(&["security", "refused"]);
    let status = sandbox.run(&["status", "--json"]).await.expect(0).json();
    assert_eq!((&status["receivers"][0]["waiting"], &status["receivers"][0]["failed"]), (&1.into(), &0.into()));
    assert!(status["receivers"][0]["trouble"].as_str().unwrap().contains("refused"), "{status}");
    assert_eq!(status["receivers"][1]["waiting"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_has_seen_enough_is_no_error_and_alerts_go_out_all_the_same() {
    let sandbox = Sandbox::clerk_approved().await;
    sandbox.set_lifetime(3600);
    for arguments in [&["check", "--json"][..], &["check"], &["history", "prod", "--json"], &["status"]] {
        let mut command = sandbox.command();
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let ran: Ran = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap().into()).await.unwrap();
        assert_eq!(ran.err, "", "{arguments:?}");
        assert_eq!(ran.code, if arguments[0] == "check" { 10 } else { 0 }, "{arguments:?}");
    }
    assert_eq!((sandbox.webhook.deliveries().len(), sandbox.smtp.mails().len()), (1, 1));
}
