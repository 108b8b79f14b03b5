//! An HTTP proxy that connects (`CONNECT`), and behind it hosts with TLS that no resolver knows.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, crypto};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::Sandbox;

/// A proxy that runs as long as the test.
pub struct Proxy {
    pub port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

/// What it knows.
struct Known {
    acceptor: TlsAcceptor,
    /// Which plain server stands behind a name.
    hosts: BTreeMap<String, SocketAddr>,
    /// The `Proxy-Authorization` it asks for.
    login: Option<String>,
}

impl Proxy {
    /// Starts one with the certificate of the sandbox. It knows these `hosts`, by name and the URL of a plain server, and
    /// asks for this `login`.
    pub async fn start(sandbox: &Sandbox, hosts: &[(&str, &str)], login: Option<&str>) -> Self {
        let certificate = CertificateDer::from_pem_file(sandbox.path("server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(sandbox.path("server.key")).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let address = |url: &str| url.strip_prefix("http://").unwrap().split('/').next().unwrap().parse().unwrap();
        let known = Arc::new(Known {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            hosts: hosts.iter().map(|(name, url)| (format!("{name}:443"), address(url))).collect(),
            login: login.map(str::to_owned),
        });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&heads);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A connection that breaks off is the other side's matter.
                tokio::spawn(serve(stream, Arc::clone(&known), Arc::clone(&kept)));
            }
        });
        Self { port, heads }
    }

    /// The hosts that it was asked to connect to, each once.
    pub fn asked_for(&self) -> Vec<String> {
        let heads = self.heads.lock().unwrap();
        let mut hosts: Vec<String> =
            heads.iter().filter_map(|head| head.split(' ').nth(1).map(str::to_owned)).collect();
        hosts.sort();
        hosts.dedup();
        hosts
    }
}

async fn serve(mut stream: TcpStream, known: Arc<Known>, heads: Arc<Mutex<Vec<String>>>) -> io::Result<()> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head.push(char::from(stream.read_u8().await?));
    }
    heads.lock().unwrap().push(head.clone());
    let is_welcome = known.login.as_ref().is_none_or(|login| {
        head.to_ascii_lowercase().contains(&format!("proxy-authorization: basic {}\r\n", login.to_ascii_lowercase()))
    });
    if !is_welcome {
        return stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n").await;
    }
    let host = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    let Some(address) = known.hosts.get(host) else {
        return stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await;
    };
    stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    let mut inside = known.acceptor.accept(stream).await?;
    let mut behind = TcpStream::connect(address).await?;
    copy_bidirectional(&mut inside, &mut behind).await.map(|_| ())
}
