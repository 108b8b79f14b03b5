//! The sandbox of the demo: simulators, keys, configuration, all in one folder.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::CliError;
use crate::cli::set_up::init::public_key;
use crate::exit::Exit;
use crate::simulator::auth0::{self, Auth0};
use crate::simulator::clerk::{self, Clerk};
use crate::simulator::smtp::Smtp;
use crate::simulator::webhook::Webhook;

/// Everything is on this machine; what takes longer than this does not come.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

const WEBHOOK_SECRET: &str = "whsec_ZGVtbyBzZWNyZXQsIG5vdCBmb3IgcmVhbCB1c2U=";

/// The people and machines of the script.
pub(super) struct Sandbox {
    pub(super) folder: PathBuf,
    pub(super) config: PathBuf,
    pub(super) database: PathBuf,
    pub(super) key: PathBuf,
    pub(super) clerk: Clerk,
    pub(super) smtp: Smtp,
    pub(super) webhook: Webhook,
    // Only has to live as long as the script.
    _auth0: Auth0,
}

impl Sandbox {
    pub(super) async fn set(folder: &Path) -> Result<Self, CliError> {
        let failed = |error: io::Error| CliError::new(Exit::Io, format!("cannot set up the demo: {error}"));
        let clerk = Clerk::lantern_books().await.map_err(failed)?;
        let auth0 = Auth0::lantern_books().await.map_err(failed)?;
        let smtp = Smtp::start().await.map_err(failed)?;
        let webhook = Webhook::start(WEBHOOK_SECRET).await.map_err(failed)?;

        let key = folder.join("approver_ed25519");
        let public = public_key::make(&key, "authdrift demo")?;
        write_private(&folder.join("allowed_signers"), format!("alice@lantern-books.example {public}\n").as_bytes())
            .map_err(failed)?;
        for (name, secret) in [
            ("clerk-secret-key", clerk::SECRET_KEY),
            ("clerk-platform-token", clerk::PLATFORM_TOKEN),
            ("auth0-client-secret", auth0::CLIENT_SECRET),
            ("webhook-secret", WEBHOOK_SECRET),
        ] {
            write_private(&folder.join(name), secret.as_bytes()).map_err(failed)?;
        }
        let config = folder.join("config.toml");
        write_private(&config, configuration(&clerk, &auth0, &smtp, &webhook).as_bytes()).map_err(failed)?;
        Ok(Self {
            folder: folder.to_owned(),
            config,
            database: folder.join("authdrift.db"),
            key,
            clerk,
            smtp,
            webhook,
            _auth0: auth0,
        })
    }

    /// Leaves a file to look at.
    pub(super) fn save(&self, folder: &str, name: &str, content: &[u8]) -> Result<(), CliError> {
        let folder = self.folder.join(folder);
        let path = folder.join(name);
        make_private_folder(&folder)
            .and_then(|()| write_private(&path, content))
            .map_err(|error| CliError::new(Exit::Io, format!("cannot write '{}': {error}", path.display())))
    }
}

fn configuration(clerk: &Clerk, auth0: &Auth0, smtp: &Smtp, webhook: &Webhook) -> String {
    format!(
        r#"# The demo's configuration: real in everything but the addresses.
[store]
path = "authdrift.db"

[approval]
allowed_signers = "allowed_signers"

[schedule]
confirm_after = "1s"                # 30 s is better for the real vendors

[[clerk]]
name = "shop"
publishable_key = "{publishable_key}"
secret_key = {{ file = "clerk-secret-key" }}
platform_token = {{ file = "clerk-platform-token" }}
application_id = "{application_id}"
backend_api_url = "{clerk_url}"
platform_api_url = "{clerk_url}"
frontend_api_url = "{clerk_url}"

[[auth0]]
name = "staff"
domain = "{domain}"
client_id = "{client_id}"
client_secret = {{ file = "auth0-client-secret" }}
api_url = "{auth0_url}"

[[email]]
name = "security"
host = "{smtp_host}"
port = {smtp_port}
tls = "none"                        # loopback only
from = "authdrift <authdrift@lantern-books.example>"
to = ["security@lantern-books.example"]

[[webhook]]
name = "siem"
url = "{hook_url}"
secret = {{ file = "webhook-secret" }}
"#,
        publishable_key = clerk::PUBLISHABLE_KEY,
        application_id = clerk::APPLICATION_ID,
        clerk_url = clerk.url(),
        domain = auth0::DOMAIN,
        client_id = auth0::CLIENT_ID,
        auth0_url = auth0.url(),
        smtp_host = smtp.host(),
        smtp_port = smtp.port(),
        hook_url = webhook.hook_url(),
    )
}

/// Makes a folder only this user can enter.
pub(super) fn make_private_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?.write_all(content)
}

/// A word as it would be typed, the demo's folder shortened.
pub(super) fn quoted(word: &str, folder: &Path) -> String {
    let short = word.replace(&folder.display().to_string(), "DEMO");
    if short.contains(' ') { format!("\"{short}\"") } else { short }
}
