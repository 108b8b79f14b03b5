//! The systemd unit: what systemd thinks of it, and what it does on a real systemd.
//!
//! The boot test needs root and a tool that lies beside the repository. Where something is missing, the test says so
//! loudly and passes.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "systemd/boot.rs"]
mod boot;
#[path = "systemd/operator.rs"]
mod operator;
#[path = "systemd/package.rs"]
mod package;
#[path = "systemd/peer.rs"]
mod peer;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_authdrift");

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn unit() -> String {
    shipped("authdrift.service")
}

/// A file of `systemd/`.
fn shipped(name: &str) -> String {
    fs::read_to_string(repository().join("systemd").join(name)).unwrap()
}

/// The values of `key` in the unit, in order.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

/// A unit with the built program in place of the installed one, and with what a drop-in adds.
fn unit_of_built_program(folder: &TempDir, name: &str, drop_in: &str) -> PathBuf {
    let path = folder.path().join(name);
    let unit = format!("{}\n{drop_in}", shipped(name)).replace("/usr/bin/authdrift", BINARY);
    // There are no pages of the manual here.
    let unit: Vec<&str> = unit.lines().filter(|line| !line.starts_with("Documentation=")).collect();
    fs::write(&path, unit.join("\n")).unwrap();
    path
}

fn is_there(program: &str) -> bool {
    let is_there = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if !is_there {
        skip(&format!("{program} is not on this machine"));
    }
    is_there
}

/// Says past the harness, which keeps the words of a test that passes, that it tested nothing.
fn skip(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn systemd_accepts_the_units_without_a_word() {
    if !is_there("systemd-analyze") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> =
        [("authdrift.service", ""), ("authdrift-watch.service", ""), ("authdrift-watch.timer", "")]
            .map(|(name, drop_in)| unit_of_built_program(&folder, name, drop_in))
            .into();
    let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&paths).output().unwrap();
    // The machine's own units may be faulty; ours have to be named in no complaint.
    let complaints: Vec<String> =
        text(&output).lines().filter(|line| line.contains("authdrift")).map(str::to_owned).collect();
    assert!(output.status.success() && complaints.is_empty(), "{}", text(&output));
}

#[test]
fn exposure_stays_within_what_was_measured() {
    if !is_there("systemd-analyze") {
        return;
    }
    let root = shipped("drop-ins/root-directory.conf");
    let proxy = shipped("drop-ins/egress-proxy.conf");
    for (name, drop_in, threshold) in [
        ("authdrift.service", String::new(), 11),
        ("authdrift.service", root.clone(), 10),
        ("authdrift.service", format!("{root}{proxy}"), 9),
        ("authdrift-watch.service", String::new(), 11),
        ("authdrift-watch.service", root.clone(), 10),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new("systemd-analyze")
            .args(["security", "--no-pager", "--offline=true", &format!("--threshold={threshold}")])
            .arg(unit_of_built_program(&folder, name, &drop_in))
            .output()
            .unwrap();
        assert!(output.status.success(), "{name}, {threshold}: {}", text(&output));
    }
}

#[test]
fn the_watch_is_as_locked_up_as_the_service() {
    let hardening = |name| {
        let unit = shipped(name);
        let lines = unit.split_once("ProtectSystem=").unwrap().1.to_owned();
        lines.split_once("[Install]").map_or(lines.clone(), |(lines, _)| lines.to_owned()).trim().to_owned()
    };
    assert_eq!(hardening("authdrift-watch.service"), hardening("authdrift.service"));
}

#[test]
fn the_user_of_the_unit_is_the_one_that_is_made() {
    let made = shipped("authdrift.sysusers");
    let unit = unit();
    for key in ["User", "Group"] {
        let [name] = values(&unit, key).try_into().unwrap();
        assert!(made.lines().any(|line| line.starts_with(&format!("u {name} "))), "{key}={name}");
    }
    if is_there("systemd-sysusers") {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("etc")).unwrap();
        let output = Command::new("systemd-sysusers")
            .arg(format!("--root={}", folder.path().display()))
            .arg(repository().join("systemd/authdrift.sysusers"))
            .output()
            .unwrap();
        let users = fs::read_to_string(folder.path().join("etc/passwd")).unwrap_or_default();
        assert!(output.status.success() && users.contains("authdrift:"), "{}{users}", text(&output));
    }
}

#[test]
fn the_unit_runs_only_commands_that_exist_and_knows_its_exit_codes() {
    let unit = unit();
    let [start] = values(&unit, "ExecStart").try_into().unwrap();
    assert_eq!(start, "/usr/bin/authdrift run");
    assert_eq!(values(&unit, "ExecReload"), ["/usr/bin/authdrift reload"]);
    assert_eq!(values(&shipped("authdrift-watch.service"), "ExecStart"), ["/usr/bin/authdrift stale --tell"]);
    for command in ["run", "reload", "stale"] {
        assert!(Command::new(BINARY).args([command, "--help"]).output().unwrap().status.success(), "{command}");
    }
    // Every user can read the environment of a unit, so no secret may be in it.
    let environment = ["AUTHDRIFT_CONFIG=/etc/authdrift/config.toml", "MALLOC_ARENA_MAX=1"];
    assert_eq!(values(&unit, "Environment"), environment);
    assert_eq!(values(&unit, "RestartPreventExitStatus"), ["2 78"]);
    assert!(values(&unit, "LoadCredential").is_empty(), "a credential that is not there would stop the start");
}
