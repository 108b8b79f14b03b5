//! The systemd unit: what systemd thinks of it, and what it does on a real systemd.
//!
//! The boot test needs root and a tool that lies beside the repository. Where something is missing, the test says so
//! loudly and passes.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may panic, and has to say what it skips")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_authdrift");

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn unit() -> String {
    fs::read_to_string(repository().join("systemd/authdrift.service")).unwrap()
}

/// The values of `key` in the unit, in order.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

/// The unit with the built program in place of the installed one.
fn unit_of_built_program(folder: &TempDir) -> PathBuf {
    let path = folder.path().join("authdrift.service");
    let unit = unit().replace("/usr/bin/authdrift", BINARY).replace("man:authdrift(1)", "https://authdrift.example");
    fs::write(&path, unit).unwrap();
    path
}

fn is_there(program: &str) -> bool {
    let is_there = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if !is_there {
        eprintln!("SKIPPED: {program} is not on this machine");
    }
    is_there
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn systemd_accepts_the_unit_without_a_word() {
    if !is_there("systemd-analyze") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = unit_of_built_program(&folder);
    let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output().unwrap();
    // The machine's own units may be faulty; ours has to be named in no complaint.
    let complaints: Vec<String> =
        text(&output).lines().filter(|line| line.contains("authdrift")).map(str::to_owned).collect();
    assert!(output.status.success() && complaints.is_empty(), "{}", text(&output));
}

#[test]
fn exposure_stays_within_what_was_measured() {
    if !is_there("systemd-analyze") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = unit_of_built_program(&folder);
    let output = Command::new("systemd-analyze")
        .args(["security", "--no-pager", "--offline=true", "--threshold=11"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn the_user_of_the_unit_is_the_one_that_is_made() {
    let made = fs::read_to_string(repository().join("systemd/authdrift.sysusers")).unwrap();
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
    assert!(values(&unit, "ExecReload").is_empty(), "there is no reload command");
    assert_eq!(values(&unit, "RestartPreventExitStatus"), ["2 78"]);
    assert!(values(&unit, "LoadCredential").is_empty(), "a credential that is not there would stop the start");
}

/// The setup, the check and the configuration of one boot.
struct Boot {
    setup: &'static str,
    check: &'static str,
}

/// A vendor whose port nobody listens at: reading fails at once, and must not matter to the start.
const CONFIG: &str = r#"
[approval]
allowed_signers = "allowed_signers"
[[clerk]]
name = "prod"
publishable_key = "pk_live_Y2xlcmsubGFudGVybi1ib29rcy5leGFtcGxlJA"
secret_key = { credential = "clerk-prod" }
backend_api_url = "http://127.0.0.1:9"
frontend_api_url = "http://127.0.0.1:9"
"#;

impl Boot {
    /// Boots a throwaway systemd with the unit as it is shipped. `None` where that cannot be done.
    fn run(&self) -> Option<Output> {
        let tool = repository().join("../shared/tools/systemd-boot-test.sh");
        if !tool.exists() {
            eprintln!("SKIPPED: there is no systemd-boot-test.sh beside the repository");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str, content: &str| {
            fs::write(folder.path().join(name), content).unwrap();
            folder.path().join(name).display().to_string()
        };
        let credential = "[Service]\nLoadCredential=clerk-prod:/etc/authdrift/credentials/clerk-prod\n";
        let output = Command::new("bash")
            .arg(tool)
            .arg("--unit")
            .arg(repository().join("systemd/authdrift.service"))
            .args(["--file", &format!("{BINARY}:/usr/bin/authdrift:0755")])
            .args(["--file", &format!("{}:/etc/authdrift/config.toml:0644", at("config.toml", CONFIG))])
            .args(["--file", &format!("{}:/etc/authdrift/allowed_signers:0644", at("allowed_signers", ""))])
            .args([
                "--file",
                &format!("{}:/etc/authdrift/credentials/clerk-prod:0600", at("clerk-prod", "sk_live_CANARY")),
            ])
            .args([
                "--file",
                &format!("{}:/etc/systemd/system/authdrift.service.d/10.conf:0644", at("10.conf", credential)),
            ])
            .args([
                "--file",
                &format!(
                    "{}:/usr/lib/sysusers.d/authdrift.conf:0644",
                    repository().join("systemd/authdrift.sysusers").display()
                ),
            ])
            .args(["--setup", &at("setup", self.setup), "--check", &at("check", self.check)])
            .args(["--timeout", "40"])
            .output()
            .unwrap();
        if output.status.code() == Some(77) {
            eprintln!("SKIPPED: a systemd cannot be booted here: {}", text(&output));
            return None;
        }
        Some(output)
    }
}

#[test]
fn the_unit_becomes_active_while_the_vendor_is_away_and_stops_cleanly() {
    let boot = Boot {
        setup: "set -e\nsystemd-sysusers\n",
        check: r#"
set -eu
fail() { echo "CHECK: $*"; exit 1; }
show() { systemctl show "$UNIT" -p "$1" --value; }
for _ in $(seq 50); do case "$(show StatusText)" in *watched*) break;; esac; sleep 0.2; done
case "$(show StatusText)" in *"1 watched"*) ;; *) fail "STATUS is '$(show StatusText)'";; esac
[ "$(stat -c %a:%U /var/lib/authdrift/authdrift.db)" = 600:authdrift ] || fail "database is not private"
[ "$(stat -c %a /var/lib/authdrift)" = 700 ] || fail "state folder is not private"
# A second one on the same state.
code=0; setpriv --reuid authdrift --regid authdrift --clear-groups env STATE_DIRECTORY=/var/lib/authdrift \
  /usr/bin/authdrift --config /etc/authdrift/config.toml run || code=$?
[ "$code" = 75 ] || fail "second daemon exited $code"
systemctl stop "$UNIT"
[ "$(show Result):$(show ExecMainStatus)" = success:0 ] || fail "stop: $(show Result) $(show ExecMainStatus)"
[ ! -s /var/lib/authdrift/authdrift.db-wal ] || fail "the log was not written back"
# A wrong configuration is not tried again.
echo 'nonsense = 1' >> /etc/authdrift/config.toml
systemctl start "$UNIT" && fail "started with a wrong configuration"
[ "$(show ExecMainStatus):$(show NRestarts)" = 78:0 ] || fail "bad config: $(show ExecMainStatus) $(show NRestarts)"
sleep 0.5; case "$(show SubState)" in *auto-restart*) fail "is restarted";; esac
journalctl --no-pager -u "$UNIT" -o cat | grep -q "nonsense" || fail "the journal does not name the mistake"
journalctl --no-pager -u "$UNIT" -o cat | grep -q CANARY && fail "a secret is in the journal"
echo "CHECK: all good"
"#,
    };
    let Some(output) = boot.run() else { return };
    assert!(text(&output).contains("CHECK: all good"), "{}", text(&output));
}

#[test]
fn a_daemon_that_does_nothing_any_more_is_restarted_by_the_watchdog() {
    let boot = Boot {
        setup: "set -e\nsystemd-sysusers\nmkdir -p /etc/systemd/system/authdrift.service.d\n\
                printf '[Service]\\nWatchdogSec=4s\\nRestartSec=100ms\\n' \
                > /etc/systemd/system/authdrift.service.d/20.conf\n",
        check: r#"
set -eu
fail() { echo "CHECK: $*"; exit 1; }
show() { systemctl show "$UNIT" -p "$1" --value; }
sleep 6
[ "$(show ActiveState):$(show NRestarts)" = active:0 ] || fail "a healthy one: $(show ActiveState) $(show NRestarts)"
kill -STOP "$(show MainPID)"
for _ in $(seq 60); do [ "$(show NRestarts)" = 0 ] || break; sleep 0.2; done
[ "$(show NRestarts)" = 1 ] || fail "a stopped one was not restarted"
for _ in $(seq 60); do [ "$(show ActiveState)" = active ] && break; sleep 0.2; done
[ "$(show ActiveState)" = active ] || fail "not active again"
echo "CHECK: all good"
"#,
    };
    let Some(output) = boot.run() else { return };
    assert!(text(&output).contains("CHECK: all good"), "{}", text(&output));
}
