//! A temporary folder with a configuration, keys, and the world around the program.

use std::fs;
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use authdrift::classify::Catalogue;
use authdrift::clock::{Clock, SystemClock};
use authdrift::config::{self, Sources};
use authdrift::cycle::Monitor;
use authdrift::provider::Limits;
use authdrift::simulator::auth0::{self, Auth0};
use authdrift::simulator::clerk::{self, Clerk};
use authdrift::simulator::smtp::Smtp;
use authdrift::simulator::webhook::Webhook;
use authdrift::store::Store;
use serde_json::Value;
use tempfile::TempDir;

pub const APPROVER: &str = "alice@example.test";
pub const WEBHOOK_SECRET: &str = "whsec_Q0FOQVJZIHdlYmhvb2sgc2VjcmV0IGZvciB0ZXN0cw==";

/// The world of one test. Drop it and everything is gone.
pub struct Sandbox {
    pub folder: TempDir,
    pub clerk: Clerk,
    pub auth0: Auth0,
    pub smtp: Smtp,
    pub webhook: Webhook,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// The output as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }

    /// Fails with everything the command said unless it ended with `code`.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        self
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Sandbox {
    /// Both vendors as the simulators bring them, confirmation after 100 ms, one approver.
    pub async fn new() -> Self {
        Self::with(Clerk::lantern_books().await.unwrap(), Auth0::lantern_books().await.unwrap()).await
    }

    /// The given vendors.
    pub async fn with(clerk: Clerk, auth0: Auth0) -> Self {
        let sandbox = Self {
            folder: tempfile::tempdir().unwrap(),
            clerk,
            auth0,
            smtp: Smtp::start().await.unwrap(),
            webhook: Webhook::start(WEBHOOK_SECRET).await.unwrap(),
        };
        sandbox.make_key("alice");
        let public = fs::read_to_string(sandbox.path("alice.pub")).unwrap();
        sandbox.write("allowed_signers", &format!("{APPROVER} namespaces=\"baseline.v1@authdrift\" {public}"));
        for (name, secret) in [
            ("clerk-secret-key", clerk::SECRET_KEY),
            ("clerk-platform-token", clerk::PLATFORM_TOKEN),
            ("auth0-client-secret", auth0::CLIENT_SECRET),
            ("webhook-secret", WEBHOOK_SECRET),
        ] {
            sandbox.write(name, secret);
        }
        sandbox.write("config.toml", &sandbox.configuration());
        sandbox
    }

    /// The configuration of both vendors and both receivers.
    pub fn configuration(&self) -> String {
        format!("{}{}{}{}", self.head(), self.clerk_table(), self.auth0_table(), self.receiver_tables())
    }

    pub fn head(&self) -> String {
        "[store]\npath = \"authdrift.db\"\n[approval]\nallowed_signers = \"allowed_signers\"\n\
         [schedule]\ncron = \"* * * * *\"\nconfirm_after = \"100ms\"\n"
            .to_owned()
    }

    pub fn clerk_table(&self) -> String {
        format!(
            "[[clerk]]\nname = \"prod\"\npublishable_key = \"{}\"\nsecret_key = {{ file = \"clerk-secret-key\" }}\n\
             platform_token = {{ file = \"clerk-platform-token\" }}\napplication_id = \"{}\"\n\
             backend_api_url = \"{url}\"\nplatform_api_url = \"{url}\"\nfrontend_api_url = \"{url}\"\n",
            clerk::PUBLISHABLE_KEY,
            clerk::APPLICATION_ID,
            url = self.clerk.url()
        )
    }

    pub fn auth0_table(&self) -> String {
        format!(
            "[[auth0]]\nname = \"acme\"\ndomain = \"{}\"\nclient_id = \"{}\"\n\
             client_secret = {{ file = \"auth0-client-secret\" }}\napi_url = \"{}\"\n",
            auth0::DOMAIN,
            auth0::CLIENT_ID,
            self.auth0.url()
        )
    }

    pub fn receiver_tables(&self) -> String {
        format!(
            "[[email]]\nname = \"security\"\nhost = \"{}\"\nport = {}\ntls = \"none\"\n\
             from = \"authdrift <authdrift@example.test>\"\nto = [\"security@example.test\"]\nmin_severity = \"info\"\n\
             [[webhook]]\nname = \"siem\"\nurl = \"{}\"\nsecret = {{ file = \"webhook-secret\" }}\nmin_severity = \"info\"\n",
            self.smtp.host(),
            self.smtp.port(),
            self.webhook.hook_url()
        )
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn database(&self) -> PathBuf {
        self.path("authdrift.db")
    }

    pub fn write(&self, name: &str, content: &str) {
        use std::os::unix::fs::PermissionsExt;
        fs::write(self.path(name), content).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Makes an SSH key without a passphrase, NAME and NAME.pub.
    pub fn make_key(&self, name: &str) {
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
            .arg(self.path(name))
            .status()
            .expect("these tests need ssh-keygen");
        assert!(made.success());
    }

    /// The program with its configuration, ready to be given arguments.
    pub fn command(&self) -> Command {
        command(&self.path("config.toml"), self.folder.path())
    }

    /// Runs the program to its end, without holding up the simulators.
    pub async fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = self.command();
        command.args(arguments);
        tokio::task::spawn_blocking(move || command.output().unwrap().into()).await.unwrap()
    }

    /// Approves everything that was read from `instance`.
    pub async fn approve(&self, instance: &str) {
        let key = self.path("alice").display().to_string();
        self.run(&["approve", instance, "--reason", "test", "--all", "--accept-weaker", "--key", &key]).await.expect(0);
    }

    /// One `check --json`.
    pub async fn check(&self) -> Ran {
        self.run(&["check", "--json"]).await
    }

    /// One `check --json` of one instance: its report, if the program ended with `code`.
    #[track_caller]
    pub fn check_one(&self, name: &str, code: i32) -> impl Future<Output = Value> {
        let place = Location::caller();
        async move {
            let ran = self.run(&["check", name, "--json"]).await;
            assert_eq!(ran.code, code, "{place}: {}\n{}", ran.out, ran.err);
            ran.json()["instances"][0].clone()
        }
    }

    /// A fresh sandbox whose both instances are approved.
    pub async fn approved() -> Self {
        let sandbox = Self::new().await;
        sandbox.check().await.expect(13);
        sandbox.approve("prod").await;
        sandbox.approve("acme").await;
        sandbox
    }

    /// Replaces a text that is in the configuration.
    #[track_caller]
    pub fn edit_configuration(&self, old: &str, new: &str) {
        let text = fs::read_to_string(self.path("config.toml")).unwrap();
        assert!(text.contains(old), "'{old}' is not in {text}");
        self.write("config.toml", &text.replace(old, new));
    }

    /// The database, for a look inside.
    pub fn store(&self) -> Store {
        Store::open_existing(&self.database()).unwrap()
    }

    /// Watches an instance from within the test, with limits that make failures quick.
    pub fn watch(&self, name: &str) -> Monitor {
        self.watch_with(name, |_| {})
    }

    /// As [`Sandbox::watch`], with other limits.
    pub fn watch_with(&self, name: &str, adjust: impl FnOnce(&mut Limits)) -> Monitor {
        let file = self.path("config.toml").display().to_string();
        let text = fs::read_to_string(&file).unwrap();
        let now = SystemClock.now();
        let sources = Sources { file: &file, text: &text, state_directory: None, xdg_state: None, now };
        let config = config::parse(&sources).unwrap_or_else(|problems| panic!("{problems}"));
        let instance = config.instance(name).unwrap().clone();
        let catalogue = Catalogue::of(instance.id.provider, None).unwrap();
        let mut limits = Limits {
            tries: 2,
            busy_tries: 2,
            body: 256 << 10,
            pause: Duration::from_millis(1),
            longest_pause: Duration::from_millis(1),
            ..Limits::default()
        };
        adjust(&mut limits);
        let clock = Arc::new(SystemClock);
        Monitor::new(Arc::new(config), &instance, Arc::new(catalogue), self.store(), clock, limits).unwrap()
    }

    /// What `check --json` says about an instance.
    pub fn report<'a>(report: &'a Value, instance: &str) -> &'a Value {
        let instances = report["instances"].as_array().unwrap();
        instances.iter().find(|found| found["instance"] == instance).unwrap()
    }

    /// What `check --json` says about an instance: `(kind, path)` of every drift, sorted.
    pub fn drifts(report: &Value, instance: &str) -> Vec<(String, String)> {
        let mut drifts: Vec<_> = Self::report(report, instance)["drifts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|drift| (drift["kind"].as_str().unwrap().to_owned(), drift["path"].as_str().unwrap().to_owned()))
            .collect();
        drifts.sort();
        drifts
    }
}

/// The program with a configuration and nothing else from this machine.
pub fn command(config: &Path, home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_authdrift"));
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .args(["--color", "never", "--config"])
        .arg(config)
        .stdin(Stdio::null());
    command
}
