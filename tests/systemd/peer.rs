//! Everybody that the daemon talks to, behind TLS, on loopback inside the booted system. It is this test binary again, run as a
//! helper unit: the simulators need not be told to anybody else how to be built.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use authdrift::simulator::clerk::Clerk;
use authdrift::simulator::smtp::Smtp;
use authdrift::simulator::webhook::Webhook;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What the webhook's signatures are made with.
pub(super) const WEBHOOK_SECRET: &str = "whsec_Q0FOQVJZIHdlYmhvb2sgc2VjcmV0IGZvciB0ZXN0cw==";

/// What the mail relay wants to hear where it asks.
pub(super) const SMTP_PASSWORD: &str = "CANARY smtp password";

/// Serves until it is killed. `/run/peer/drift` and `/run/peer/mfa` make a setting drift; `/run/peer/told` has a line for every message.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the other side of the tests that boot a systemd; run by them"]
async fn peer() {
    let folder = Path::new("/run/peer");
    let (clerk, smtp) = (Clerk::lantern_books().await.unwrap(), Smtp::start().await.unwrap());
    let webhook = Webhook::start(WEBHOOK_SECRET).await.unwrap();
    let port = |url: &str| url::Url::parse(url).unwrap().port().unwrap();
    serve(8443, port(&clerk.url())).await;
    serve(8444, port(&webhook.hook_url())).await;
    serve(4465, smtp.port()).await;
    // The ports that the world uses, for a configuration that names no other.
    if Path::new("/opt/world").exists() {
        serve(443, port(&clerk.url())).await;
        serve(465, smtp.port()).await;
        smtp.require_login("authdrift@example.com", SMTP_PASSWORD);
    }
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("ready"), "").unwrap();
    let (mut is_drifted, mut is_open) = (false, false);
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if folder.join("drift").exists() && !is_drifted {
            clerk.edit("/v1/jwt_templates", |templates| templates[0]["lifetime"] = json!(3600));
            is_drifted = true;
        }
        if folder.join("mfa").exists() && !is_open {
            clerk.edit("/v1/environment", |settings| {
                settings["user_settings"]["sign_up"]["mfa"]["required"] = json!(false)
            });
            is_open = true;
        }
        let mails = smtp.mails().into_iter().map(|mail| format!("mail {}", mail.header("Subject").unwrap_or_default()));
        let calls = webhook.deliveries().into_iter().map(|call| format!("webhook {}", call.json()["type"]));
        let told: Vec<String> = mails.chain(calls).collect();
        fs::write(folder.join("told.part"), told.join("\n")).unwrap();
        fs::rename(folder.join("told.part"), folder.join("told")).unwrap();
    }
}

/// TLS at `from`, and the same without it at `to`.
async fn serve(from: u16, to: u16) {
    let certificates: Vec<_> =
        CertificateDer::pem_file_iter("/opt/server.pem").unwrap().map(|certificate| certificate.unwrap()).collect();
    let key = PrivateKeyDer::from_pem_file("/opt/server.key").unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(certificates, key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], from))).await.unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut outside) = acceptor.accept(stream).await else { return };
                let Ok(mut inside) = TcpStream::connect(("127.0.0.1", to)).await else { return };
                let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
            });
        }
    });
}
