//! What the units do on a real systemd, booted for the length of one test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use authdrift::simulator::clerk;
use tempfile::TempDir;

use super::package::build;
use super::peer::{SMTP_PASSWORD, WEBHOOK_SECRET};
use super::{BINARY, is_there, repository, shipped, skip, text};

/// Hosts that are played on loopback where a test uses addresses of the world.
const WORLD: [&str; 3] = ["api.clerk.com", "clerk.lantern-books.example", "smtp.example.com"];

/// One boot.
pub(super) struct Boot {
    pub(super) folder: TempDir,
    /// Options of the tool.
    options: Vec<String>,
    pub(super) setup: String,
}

/// A vendor whose port nobody listens at: reading fails at once, and must not matter to the start.
pub(super) const NOBODY: &str = r#"
[[clerk]]
name = "prod"
publishable_key = "pk_live_Y2xlcmsubGFudGVybi1ib29rcy5leGFtcGxlJA"
secret_key = { credential = "clerk-prod" }
backend_api_url = "http://127.0.0.1:9"
frontend_api_url = "http://127.0.0.1:9"
"#;

/// Everything behind TLS. After the first cycle the next one is far away.
const PEER: &str = r#"
[monitoring]
listen = "unix:/run/authdrift/monitoring.sock"
[schedule]
cron = "0 0 1 1 *"
confirm_after = "100ms"
[[clerk]]
name = "prod"
publishable_key = "PUBLISHABLE_KEY"
secret_key = { credential = "clerk-prod" }
backend_api_url = "https://localhost:8443"
frontend_api_url = "https://localhost:8443"
[[email]]
name = "security"
host = "localhost"
port = 4465
tls = "implicit"
from = "authdrift <authdrift@example.test>"
to = ["security@example.test"]
[[webhook]]
name = "siem"
url = "https://localhost:8444/hook"
secret = { credential = "siem" }
"#;

impl Boot {
    fn empty() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            options: Vec::new(),
            // Where packages may start nothing, that is not about this system.
            setup: "set -e\nrm -f /usr/sbin/policy-rc.d\n".to_owned(),
        }
    }

    /// A machine that has never seen this program: its package lies there, and everybody to talk to is at the addresses of
    /// the world.
    pub(super) fn fresh() -> Option<Self> {
        if !["openssl", "ssh-keygen"].into_iter().all(can_be_run) {
            return None;
        }
        let mut boot = Self::empty();
        build(&boot);
        boot.file(&boot.path("1.deb"), "/opt/1.deb:0644");
        for (name, secret) in [("clerk-prod", clerk::SECRET_KEY), ("smtp", SMTP_PASSWORD), ("siem", WEBHOOK_SECRET)] {
            boot.write(&format!("secret-{name}"), &format!("{secret}\n"), &format!("/opt/secrets/{name}:0600"));
        }
        let unit = boot.add_peer();
        boot.option("--unit", unit.display());
        boot.setup.push_str(&format!(
            "rm -f /var/lib/man-db/auto-update\nsystemctl mask -q man-db.timer\ntouch /opt/world\n\
             echo '127.0.0.1 {}' >> /etc/hosts\n",
            WORLD.join(" ")
        ));
        Some(boot)
    }

    /// Everybody that the daemon talks to: the unit, not yet in use.
    fn add_peer(&mut self) -> PathBuf {
        self.make_certificates();
        for name in ["ca.pem", "server.pem", "server.key"] {
            self.file(&self.path(name), &format!("/opt/{name}:0644"));
        }
        self.file(&std::env::current_exe().unwrap(), "/opt/peer:0755");
        let unit = "[Service]\nExecStart=/opt/peer --exact peer::peer --ignored --nocapture\n\
                    ExecStartPost=/bin/sh -c 'until [ -e /run/peer/ready ]; do sleep 0.1; done'\n";
        self.setup.push_str("cat /opt/ca.pem >> /etc/ssl/certs/ca-certificates.crt\n");
        self.kept("peer.service", unit)
    }

    /// A system with a configuration, credentials and nothing that uses them.
    pub(super) fn bare(config: &str) -> Self {
        let mut boot = Self::empty();
        boot.option("--unit", repository().join("systemd/authdrift.service").display());
        boot.write("config.toml", config, "/etc/authdrift/config.toml:0600");
        boot.write("allowed_signers", "", "/etc/authdrift/allowed_signers:0644");
        boot.write("clerk-prod", clerk::SECRET_KEY, "/etc/authdrift/credentials/clerk-prod:0600");
        boot.write("siem", WEBHOOK_SECRET, "/etc/authdrift/credentials/siem:0600");
        boot.drop_in(
            "credentials",
            "[Service]\nLoadCredential=clerk-prod:/etc/authdrift/credentials/clerk-prod\n\
             LoadCredential=siem:/etc/authdrift/credentials/siem\n",
        );
        boot
    }

    /// The service as it is shipped, with its credentials.
    fn new(config: &str) -> Self {
        let mut boot = Self::bare(config);
        boot.setup.push_str("systemd-sysusers\nsystemd-tmpfiles --create authdrift.conf\n");
        boot.file(Path::new(BINARY), "/usr/bin/authdrift:0755");
        let shipped = |name: &str| repository().join("systemd").join(name);
        for name in ["authdrift-watch.service", "authdrift-watch.timer"] {
            boot.file(&shipped(name), &format!("/usr/lib/systemd/system/{name}:0644"));
        }
        boot.file(&shipped("authdrift.sysusers"), "/usr/lib/sysusers.d/authdrift.conf:0644");
        boot.file(&shipped("authdrift.tmpfiles"), "/usr/lib/tmpfiles.d/authdrift.conf:0644");
        boot
    }

    /// The same, with everybody to talk to and somebody who may approve.
    fn with_peer() -> Option<Self> {
        if !["openssl", "ssh-keygen"].into_iter().all(can_be_run) {
            return None;
        }
        let mut boot = Self::new(&PEER.replace("PUBLISHABLE_KEY", clerk::PUBLISHABLE_KEY));
        let unit = boot.add_peer();
        boot.option("--helper", unit.display());
        boot.setup.push_str(
            "mkdir /tmp/home\n\
             ssh-keygen -q -t ed25519 -N '' -f /tmp/home/key\n\
             echo \"alice@example.test namespaces=\\\"baseline.v1@authdrift\\\" $(cat /tmp/home/key.pub)\" \
             > /etc/authdrift/allowed_signers\nchown -R authdrift: /tmp/home\n",
        );
        Some(boot)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn kept(&self, name: &str, content: &str) -> PathBuf {
        fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    fn option(&mut self, name: &str, value: impl std::fmt::Display) {
        self.options.extend([name.to_owned(), value.to_string()]);
    }

    pub(super) fn file(&mut self, from: &Path, to: &str) {
        self.option("--file", format!("{}:{to}", from.display()));
    }

    fn write(&mut self, name: &str, content: &str, to: &str) {
        let path = self.kept(name, content);
        self.file(&path, to);
    }

    /// Adds to the service and to its watch.
    fn drop_in(&mut self, name: &str, content: &str) {
        let path = self.kept(&format!("{name}.conf"), content);
        for unit in ["authdrift", "authdrift-watch"] {
            self.file(&path, &format!("/etc/systemd/system/{unit}.service.d/{name}.conf:0644"));
        }
    }

    /// An authority of its own, and a certificate for `localhost`.
    fn make_certificates(&self) {
        let openssl = |arguments: &str| {
            let output = Command::new("openssl").args(arguments.split(' ')).current_dir(self.folder.path()).output();
            assert!(output.as_ref().unwrap().status.success(), "openssl {arguments}: {}", text(&output.unwrap()));
        };
        let new = "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        openssl(&format!(
            "{new} -x509 -days 2 -subj /CN=Test-CA -keyout ca.key -out ca.pem -addext keyUsage=critical,keyCertSign"
        ));
        openssl(&format!("{new} -subj /CN=localhost -keyout server.key -out server.csr"));
        self.kept(
            "extensions",
            &format!(
                "subjectAltName=DNS:localhost,DNS:{}\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n",
                WORLD.join(",DNS:")
            ),
        );
        openssl(
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions \
             -out server.pem",
        );
    }

    /// Boots, starts the service and runs `check` inside, which ends with the words `CHECK: all good`.
    pub(super) fn run(self, check: &str) {
        self.transcript(check);
    }

    /// The same, and answers everything that was said.
    pub(super) fn transcript(mut self, check: &str) -> String {
        let tool = repository().join("../shared/tools/systemd-boot-test.sh");
        let beside =
            std::env::var_os("AUTHDRIFT_SHARED").map(|shared| Path::new(&shared).join("tools/systemd-boot-test.sh"));
        let Some(tool) = [Some(tool), beside].into_iter().flatten().find(|tool| tool.exists()) else {
            skip("no ../shared and no $AUTHDRIFT_SHARED with systemd-boot-test.sh, so no systemd was booted");
            return String::new();
        };
        let (setup, check) = (self.kept("setup", &self.setup), self.kept("check", check));
        self.option("--setup", setup.display());
        self.option("--check", check.display());
        let output: Output =
            Command::new("bash").arg(tool).args(&self.options).args(["--timeout", "120"]).output().unwrap();
        if output.status.code() == Some(77) {
            skip(&format!("a systemd cannot be booted here: {}", text(&output)));
            return String::new();
        }
        assert!(text(&output).contains("CHECK: all good"), "{}", text(&output));
        text(&output)
    }
}

/// Neither of them knows `--version`.
fn can_be_run(program: &str) -> bool {
    let can = Command::new(program).arg("-?").output().is_ok();
    if !can {
        skip(&format!("{program} is not on this machine"));
    }
    can
}

#[test]
fn the_service_reads_tells_reloads_and_stops_inside_its_sandbox() {
    let Some(boot) = Boot::with_peer() else { return };
    boot.run(include_str!("story.sh"));
}

#[test]
fn the_same_in_a_root_of_its_own_with_an_encrypted_credential() {
    let Some(mut boot) = Boot::with_peer() else { return };
    if !is_there("systemd-creds") {
        return;
    }
    boot.setup.push_str(
        "mkdir -p /usr/lib/authdrift/root\nsystemd-creds setup\ncd /etc/authdrift/credentials\n\
         systemd-creds encrypt --with-key=host --name=clerk-prod clerk-prod clerk-prod.cred\nrm clerk-prod\n",
    );
    boot.drop_in(
        "credentials",
        "[Service]\nLoadCredentialEncrypted=clerk-prod:/etc/authdrift/credentials/clerk-prod.cred\n\
         LoadCredential=siem:/etc/authdrift/credentials/siem\n",
    );
    boot.drop_in("root-directory", &shipped("drop-ins/root-directory.conf"));
    boot.run(include_str!("story.sh"));
}

#[test]
fn a_program_in_its_place_can_do_nothing_else() {
    let Some(mut boot) = Boot::with_peer() else { return };
    if !Path::new("/usr/bin/python3").exists() {
        skip("there is no /usr/bin/python3, so nothing tried to break out of the sandbox");
        return;
    }
    boot.file(&repository().join("tests/systemd/probe.py"), "/usr/lib/probe.py:0644");
    boot.setup.push_str("mkdir -p /home/somebody\n");
    boot.run(
        r#"
set -eu
systemctl stop "$UNIT"
# Outside it can do everything, so whatever it cannot do inside is kept from it by the unit.
mkdir -p /run/authdrift
outside=$(CREDENTIALS_DIRECTORY=/etc/authdrift/credentials /usr/bin/python3 -I /usr/lib/probe.py)
echo "$outside" | sed 's/PROBE/OUTSIDE/'
[ "$(echo "$outside" | grep -c 'it can ')" = "$(grep -c '^    "[^"]*": lambda: no(' /usr/lib/probe.py)" ] || exit 1
rm -f /dev/shm/copy /run/authdrift/copy /var/lib/authdrift/allowed /var/lib/authdrift/copy /tmp/copy /var/tmp/copy /etc/authdrift/x /usr/x
# The unit itself, with Python as the one program that may be run.
printf '[Service]\nType=oneshot\nExecStart=\nExecStart=/usr/bin/python3 -I /usr/lib/probe.py\nExecPaths=/usr/bin/python3\nRestart=no\nWatchdogSec=0\n' \
  > /etc/systemd/system/authdrift.service.d/probe.conf
systemctl daemon-reload
systemctl start "$UNIT" || { journalctl --no-pager -u "$UNIT" -o cat | tail -20; exit 1; }
journalctl --no-pager -u "$UNIT" -o cat | grep PROBE
[ "$(journalctl --no-pager -u "$UNIT" -o cat | grep -c 'PROBE: it can')" = 0 ] || exit 1
journalctl --no-pager -u "$UNIT" -o cat | grep -qE 'PROBE: ([0-9]+) of \1 ' && echo "CHECK: all good"
"#,
    );
}

#[test]
fn the_service_becomes_active_while_the_vendor_is_away_and_is_alone() {
    Boot::new(NOBODY).run(
        r#"
set -eu
fail() { echo "CHECK: $*"; exit 1; }
show() { systemctl show "$UNIT" -p "$1" --value; }
for _ in $(seq 50); do case "$(show StatusText)" in "clerk:prod error"*) break;; esac; sleep 0.2; done
case "$(show StatusText)" in "clerk:prod error"*) ;; *) fail "STATUS is '$(show StatusText)'";; esac
# A second one on the same state.
code=0; setpriv --reuid authdrift --regid authdrift --clear-groups env STATE_DIRECTORY=/var/lib/authdrift \
  /usr/bin/authdrift --config /etc/authdrift/config.toml run || code=$?
[ "$code" = 75 ] || fail "second daemon exited $code"
[ "$(show ActiveState):$(show NRestarts)" = active:0 ] || fail "the first one: $(show ActiveState)"
echo "CHECK: all good"
"#,
    );
}

#[test]
fn a_daemon_that_does_nothing_any_more_is_restarted_by_the_watchdog() {
    let mut boot = Boot::new(NOBODY);
    boot.drop_in("quick", "[Service]\nWatchdogSec=4s\nRestartSec=100ms\n");
    boot.run(
        r#"
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
    );
}
