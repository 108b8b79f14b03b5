//! The files that the program writes: whose they are, which names they may have, and who may only look.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rusqlite::Connection;
use serde_json::json;

use crate::common::{Ran, Sandbox};

/// A user that is not root.
const OTHER: u32 = 65534;

async fn run(mut command: Command) -> Ran {
    tokio::task::spawn_blocking(move || command.output().unwrap().into()).await.unwrap()
}

/// Whether this is root, who alone can act for another user.
fn is_root() -> bool {
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if !is_root {
        eprintln!("SKIPPED: only root can run the program as another user");
    }
    is_root
}

impl Sandbox {
    fn number(&self, query: &str) -> i64 {
        Connection::open(self.database()).unwrap().query_row(query, [], |row| row.get(0)).unwrap()
    }

    /// A change that the next check finds.
    fn drift(&self, origin: &str) {
        self.clerk.edit("/v1/instance", |instance| instance["allowed_origins"] = json!([origin]));
    }

    /// Everything in the folder, with it, belongs to the other user.
    fn give_away(&self) {
        chown(self.folder.path(), Some(OTHER), Some(OTHER)).unwrap();
        for entry in fs::read_dir(self.folder.path()).unwrap() {
            chown(entry.unwrap().path(), Some(OTHER), Some(OTHER)).unwrap();
        }
    }

    async fn run_as_other(&self, arguments: &[&str]) -> Ran {
        let mut command = self.command();
        command.args(arguments).uid(OTHER).gid(OTHER);
        run(command).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_the_database_whatever_its_name_is_to_sqlite() {
    let sandbox = Sandbox::approved().await;
    let events = sandbox.number("SELECT count(*) FROM events");
    for name in ["file:x.db", "file:y.db?mode=memory&cache=shared", ":memory:", "a b?#%20.db"] {
        let mut command = sandbox.command();
        command.current_dir(sandbox.folder.path()).args(["backup", name]);
        let ran = run(command).await.expect(0);
        assert!(ran.out.contains(&format!("Copied to {name}")), "{ran:?}");
        let copy = Connection::open(sandbox.path(name)).unwrap();
        let copied: i64 = copy.query_row("SELECT count(*) FROM events", [], |row| row.get(0)).unwrap();
        assert_eq!(copied, events, "{name}");
    }
    let mut command = sandbox.command();
    command.current_dir(sandbox.folder.path()).arg("backup").arg(std::ffi::OsStr::from_bytes(b"b\xff.db"));
    assert!(run(command).await.expect(74).err.contains("not UTF-8"));
    for entry in fs::read_dir(sandbox.folder.path()).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(!name.as_bytes().ends_with(b".part") && name.to_str().is_some(), "{}", name.display());
    }
    // The same names for the database itself, from the folder of the configuration.
    sandbox.edit_configuration("path = \"authdrift.db\"", "path = \"file:z.db\"");
    let ran = Command::new(env!("CARGO_BIN_EXE_authdrift"))
        .current_dir(sandbox.folder.path())
        .args(["--config", "config.toml", "check", "prod", "--json"])
        .output();
    assert_eq!(ran.unwrap().status.code(), Some(13));
    assert!(sandbox.path("file:z.db").metadata().unwrap().len() > 0 && !sandbox.path("z.db").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_remembered_is_not_approved() {
    let sandbox = Sandbox::approved().await;
    sandbox.drift("app://one");
    sandbox.check().await.expect(10);
    let (key, nowhere) = (sandbox.path("alice").display().to_string(), Path::new("/proc/nowhere"));
    let events = sandbox.number("SELECT count(*) FROM events");
    let mut command = sandbox.command();
    command.args(["approve", "prod", "--reason", "x", "--all", "--accept-weaker", "--key", &key]);
    command.env("XDG_STATE_HOME", nowhere);
    let ran = run(command).await.expect(74);
    assert!(ran.err.starts_with("error[file]: cannot remember what was signed here"), "{ran:?}");
    assert_eq!(sandbox.number("SELECT count(*) FROM statements"), 2);
    assert_eq!(sandbox.number("SELECT count(*) FROM events"), events);
    sandbox.approve("prod").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_cannot_be_written_keeps_nobody_from_hearing() {
    let sandbox = Sandbox::approved().await;
    sandbox.drift("app://one");
    let key = sandbox.path("alice").display().to_string();
    let approve = ["approve", "prod", "--reason", "x", "--all", "--accept-weaker", "--key", &key];
    // The changes are shown before they are signed, so this one ends before anything is recorded.
    let mut command = sandbox.command();
    command.args(approve).stdout(File::options().write(true).open("/dev/full").unwrap());
    let ran = run(command).await.expect(74);
    assert!(ran.err.starts_with("error[io]: cannot write the output"), "{ran:?}");
    assert_eq!(sandbox.number("SELECT count(*) FROM statements WHERE sequence > 1"), 0);
    let table: [(&[&str], &str); 3] = [
        (&["check"], "what was read is recorded"),
        (&["silence", "add", "--match", "prod", "--until", "1h", "--reason", "x"], "is recorded"),
        (&["backup", "copy.db"], "the backup is in 'copy.db'"),
    ];
    let mut heard = sandbox.webhook.deliveries().len();
    for (arguments, recorded) in table {
        let mut command = sandbox.command();
        command
            .current_dir(sandbox.folder.path())
            .args(arguments)
            .stdout(File::options().write(true).open("/dev/full").unwrap());
        let ran = run(command).await.expect(74);
        assert!(ran.err.starts_with("warning[io]: ") && ran.err.contains(recorded), "{arguments:?}: {ran:?}");
        assert!(ran.err.contains("cannot write the output: No space left on device"), "{arguments:?}: {ran:?}");
        let now = sandbox.webhook.deliveries().len();
        assert!(now > heard || arguments[0] == "backup", "{arguments:?}");
        heard = now;
    }
    assert!(sandbox.path("copy.db").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proposal_takes_the_place_of_no_other_file() {
    let sandbox = Sandbox::approved().await;
    sandbox.drift("app://one");
    sandbox.check().await.expect(10);
    sandbox.write("victim", "mine");
    fs::set_permissions(sandbox.path("victim"), fs::Permissions::from_mode(0o666)).unwrap();
    for planted in ["p.json.part", "authdrift.high-water.part"] {
        symlink(sandbox.path("victim"), sandbox.path(planted)).unwrap();
    }
    let (file, key) = (sandbox.path("p.json").display().to_string(), sandbox.path("alice").display().to_string());
    sandbox.run(&["propose", "prod", "-o", &file, "--reason", "x"]).await.expect(0);
    sandbox.run(&["sign", &file, "--key", &key, "--accept-weaker"]).await.expect(0);
    sandbox.run(&["import", &file]).await.expect(0);
    let written = fs::symlink_metadata(&file).unwrap();
    assert!(written.is_file() && written.mode() & 0o777 == 0o600, "{:o}", written.mode());
    assert_eq!(fs::read(sandbox.path("victim")).unwrap(), b"mine");
    sandbox.check().await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_root_does_leaves_everything_to_the_user_of_the_service() {
    if !is_root() {
        return;
    }
    let sandbox = Sandbox::new().await;
    sandbox.give_away();
    // Root is the first, too.
    sandbox.check().await.expect(13);
    sandbox.approve("prod").await;
    sandbox.approve("acme").await;
    sandbox.drift("app://one");
    sandbox.check().await.expect(10);
    fs::remove_file(sandbox.path("authdrift.key")).unwrap();
    sandbox.run(&["doctor", "--new-fingerprint-key"]).await.expect(0);
    sandbox.approve("prod").await;
    for entry in fs::read_dir(sandbox.folder.path()).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().as_bytes().starts_with(b"authdrift.") {
            assert_eq!(entry.metadata().unwrap().uid(), OTHER, "{:?}", entry.file_name());
        }
    }
    sandbox.drift("app://two");
    let ran = sandbox.run_as_other(&["check", "prod"]).await;
    assert!(ran.code == 10 && ran.err.is_empty(), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_only_read_sees_everything_and_is_told_who_may_write() {
    if !is_root() {
        return;
    }
    let sandbox = Sandbox::approved().await;
    fs::set_permissions(sandbox.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for entry in fs::read_dir(sandbox.folder.path()).unwrap() {
        fs::set_permissions(entry.unwrap().path(), fs::Permissions::from_mode(0o644)).unwrap();
    }
    let looks: [&[&str]; 9] = [
        &["status"],
        &["verify"],
        &["history", "prod"],
        &["diff", "prod"],
        &["outbox", "list"],
        &["silence", "list"],
        &["receivers", "list"],
        &["check", "--no-store"],
        &["doctor"],
    ];
    for arguments in looks {
        let ran = sandbox.run_as_other(arguments).await;
        let said = format!("{arguments:?}: {ran:?}");
        assert!(!ran.err.contains("restore a backup") && !ran.out.contains("restore a backup"), "{said}");
        assert!(ran.code == 0 || arguments[0] == "doctor", "{said}");
    }
    let key = sandbox.path("alice").display().to_string();
    let writes: [&[&str]; 3] = [
        &["check"],
        &["approve", "prod", "--reason", "x", "--all", "--key", &key],
        &["silence", "add", "--match", "prod", "--until", "1h", "--reason", "x"],
    ];
    for arguments in writes {
        let ran = sandbox.run_as_other(arguments).await.expect(74);
        let folder = sandbox.folder.path().display();
        let said = format!("error[file]: cannot write in the folder of the database '{folder}': Permission denied");
        assert!(ran.err.starts_with(&said) && ran.err.contains("help: run it as"), "{arguments:?}: {ran:?}");
    }
    // A log that somebody left has to be read too, and only who may write can.
    let writer = Connection::open(sandbox.database()).unwrap();
    writer
        .execute_batch(
            "PRAGMA wal_autocheckpoint = 0; BEGIN IMMEDIATE; UPDATE cycles SET requests = requests + 1; COMMIT",
        )
        .unwrap();
    let log = fs::read(sandbox.path("authdrift.db-wal")).unwrap();
    drop(writer);
    fs::write(sandbox.path("authdrift.db-wal"), log).unwrap();
    let ran = sandbox.run_as_other(&["status"]).await.expect(74);
    assert!(ran.err.contains("cannot write in the folder of the database"), "{ran:?}");
    assert!(ran.err.contains("help: run it as") && !ran.err.contains("restore"), "{ran:?}");
}
