//! Checks that a host can be reached: its name, a connection, its certificate. Nothing is sent but the TLS handshake, so every
//! host can be checked.

mod proxy;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, crypto};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

pub use proxy::{ActiveProxy, BadProxy};

use crate::config::allowed;
use crate::model::display_safe;

/// The timeout of each step.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long an address is tried alone before the next one is tried beside it.
const HEAD_START: Duration = Duration::from_millis(250);

/// The host and port of a connection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// A name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// TLS from the first byte.
    pub is_tls: bool,
    /// Which addresses are allowed.
    pub who: AllowedPeers,
}

/// Which addresses a connection may go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AllowedPeers {
    /// Every address: vendors and mail relays.
    Anybody,
    /// No private address, as for receivers.
    Public,
    /// Private addresses too, but no forbidden one.
    Private,
}

/// The step that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the texts say what the fields are")]
pub enum ConnectError {
    /// The name has no address.
    #[error("the name cannot be resolved: {0}")]
    Name(String),
    /// Nothing would be sent to any of its addresses.
    #[error("{0}")]
    Forbidden(String),
    /// No connection can be made.
    #[error("{addresses} cannot be connected to: {reason}")]
    Connection { addresses: String, reason: String },
    /// The certificate is not valid for the host.
    #[error("{addresses} answers, and {reason}")]
    Certificate { addresses: String, reason: String },
    /// The TLS handshake fails.
    #[error("{addresses} answers, and no TLS connection can be made: {reason}")]
    Tls { addresses: String, reason: String },
}

impl Endpoint {
    /// The one that `url` leads to.
    pub fn of(url: &Url, who: AllowedPeers) -> Option<Self> {
        let host = match url.host()? {
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        };
        Some(Self { host, port: url.port_or_known_default()?, is_tls: url.scheme() == "https", who })
    }

    /// Resolves the name, connects, and shakes hands; answers the addresses, in words.
    pub async fn reach(&self) -> Result<String, ConnectError> {
        let late = || io::Error::from(io::ErrorKind::TimedOut);
        let found = timeout(PATIENCE, lookup_host((self.host.as_str(), self.port))).await;
        let found: Vec<SocketAddr> = match found.unwrap_or_else(|_| Err(late())) {
            Ok(found) => found.collect(),
            Err(error) => return Err(ConnectError::Name(words(&error))),
        };
        if found.is_empty() {
            return Err(ConnectError::Name("it has no address".to_owned()));
        }
        let found = self.allowed(found).map_err(ConnectError::Forbidden)?;
        let addresses = in_words(&found);
        let connected = timeout(PATIENCE, connect(&found)).await;
        let stream = match connected.unwrap_or_else(|_| Err(late())) {
            Ok(stream) => stream,
            Err(error) => return Err(ConnectError::Connection { addresses, reason: words(&error) }),
        };
        if !self.is_tls {
            return Ok(addresses);
        }
        let prepared = connector().and_then(|connector| {
            let name = ServerName::try_from(self.host.clone()).map_err(|error| error.to_string())?;
            Ok((connector, name))
        });
        let (connector, name) = match prepared {
            Ok(prepared) => prepared,
            Err(reason) => return Err(ConnectError::Tls { addresses, reason }),
        };
        let shaken = timeout(PATIENCE, connector.connect(name, stream)).await;
        match shaken.unwrap_or_else(|_| Err(late())) {
            Ok(_) => Ok(addresses),
            Err(error) => Err(match certificate(&error) {
                Some(reason) => ConnectError::Certificate { addresses, reason },
                None => ConnectError::Tls { addresses, reason: words(&error) },
            }),
        }
    }

    /// The addresses to which something would be sent; one that is written as this machine is meant.
    fn allowed(&self, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, String> {
        let is_written = self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        match self.who {
            AllowedPeers::Anybody => Ok(found),
            AllowedPeers::Public | AllowedPeers::Private if is_written => Ok(found),
            who => allowed(&self.host, found, who == AllowedPeers::Private),
        }
    }
}

/// Connects to one of `addresses`: each begins a moment after the one before it, or when that has failed, and the first that
/// answers counts (RFC 8305). One that swallows packets takes no time from the others.
///
/// # Errors
/// None of them can be connected to: why not the first.
pub async fn connect(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut tries = JoinSet::new();
    let mut rest = addresses.iter();
    let mut first = None;
    loop {
        if let Some(address) = rest.next() {
            tries.spawn(TcpStream::connect(*address));
        }
        let is_last = rest.len() == 0;
        let ended = match timeout(HEAD_START, tries.join_next()).await {
            Ok(ended) => ended,
            Err(_) if is_last => tries.join_next().await,
            Err(_) => continue,
        };
        match ended {
            Some(Ok(Ok(stream))) => return Ok(stream),
            Some(Ok(Err(error))) => _ = first.get_or_insert(error),
            Some(Err(error)) => _ = first.get_or_insert(io::Error::other(error)),
            None => return Err(first.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into())),
        }
    }
}

/// Trusts the authorities that this machine trusts, as every other connection of the program does.
pub fn connector() -> Result<TlsConnector, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(crypto::aws_lc_rs::default_provider()));
    let config = builder.with_safe_default_protocol_versions().and_then(BuilderVerifierExt::with_platform_verifier);
    let config = config.map_err(|error| error.to_string())?.with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The fault of the certificate, if that is the cause.
fn certificate(error: &io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::InvalidCertificate(reason) = error else { return None };
    Some(match reason {
        CertificateError::UnknownIssuer => {
            "its certificate is signed by an authority that this machine does not trust: of a proxy that intercepts TLS, or private"
                .to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "its certificate has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet: is the clock of this machine right?".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another name".to_owned()
        }
        CertificateError::Revoked => "its certificate was revoked".to_owned(),
        other => format!("its certificate cannot be used: {}", display_safe(&other.to_string())),
    })
}

fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut => format!("no answer within {} s", PATIENCE.as_secs()),
        _ => display_safe(&error.to_string()),
    }
}

/// The addresses, each once.
fn in_words(found: &[SocketAddr]) -> String {
    let mut addresses: Vec<IpAddr> = found.iter().map(SocketAddr::ip).collect();
    addresses.dedup();
    let words: Vec<String> = addresses.iter().take(4).map(IpAddr::to_string).collect();
    words.join(", ")
}

/// The innermost cause of an error.
pub fn innermost_cause<'e>(error: &'e (dyn std::error::Error + 'static)) -> &'e (dyn std::error::Error + 'static) {
    std::iter::successors(Some(error), |error| error.source()).last().unwrap_or(error)
}

/// An address that swallows packets: a listener whose queue is full and is never emptied.
#[cfg(test)]
pub(crate) struct BlackHole {
    pub(crate) address: SocketAddr,
    _held: (tokio::net::TcpListener, Vec<std::net::TcpStream>),
}

#[cfg(test)]
impl BlackHole {
    pub(crate) fn open() -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((std::net::Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queue = Vec::new();
        // The first that finds no place any more shows that it is full.
        while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(50)) {
            queue.push(stream);
        }
        Self { address, _held: (listener, queue) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn the_first_address_that_answers_counts_and_a_dead_one_keeps_nobody_waiting() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let live = listener.local_addr().unwrap();
        let closed = {
            let gone = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            gone.local_addr().unwrap()
        };
        let hole = BlackHole::open();
        for addresses in [
            vec![live],
            vec![closed, live],
            vec![hole.address, live],
            vec![hole.address, closed, hole.address, live],
            vec![live, hole.address],
        ] {
            let found = connect(&addresses).await.unwrap();
            assert_eq!(found.peer_addr().unwrap(), live, "{addresses:?}");
        }
        let refused = connect(&[closed, closed]).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(connect(&[]).await.unwrap_err().kind(), io::ErrorKind::AddrNotAvailable);
    }

    fn endpoint(host: &str, port: u16, is_tls: bool) -> Endpoint {
        Endpoint { host: host.to_owned(), port, is_tls, who: AllowedPeers::Anybody }
    }

    #[test]
    fn an_address_leads_to_one_door() {
        for (url, expected) in [
            ("https://api.clerk.com/v1", endpoint("api.clerk.com", 443, true)),
            ("http://127.0.0.1:8080", endpoint("127.0.0.1", 8080, false)),
            ("https://[::1]:9/x", endpoint("::1", 9, true)),
        ] {
            assert_eq!(Endpoint::of(&url.parse().unwrap(), AllowedPeers::Anybody), Some(expected), "{url}");
        }
    }

    #[tokio::test]
    async fn t8_a_receiver_is_not_knocked_at_where_nothing_would_be_sent() {
        let knock = |host: &str, who| Endpoint { who, ..endpoint(host, 1, false) };
        for (host, who) in [("10.0.0.1", AllowedPeers::Public), ("169.254.169.254", AllowedPeers::Private)] {
            let refused = knock(host, who).reach().await;
            assert!(matches!(refused, Err(ConnectError::Forbidden(_))), "{refused:?}");
        }
        let itself = knock("127.0.0.1", AllowedPeers::Public).reach().await;
        assert!(matches!(itself, Err(ConnectError::Connection { .. })), "{itself:?}");
    }

    #[tokio::test]
    async fn how_far_it_went_is_said() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(endpoint("127.0.0.1", port, false).reach().await, Ok("127.0.0.1".to_owned()));
        let talker = tokio::spawn(async move {
            use tokio::io::AsyncWriteExt;
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"220 no TLS here\r\n").await.unwrap();
            // Gone, and the port with it.
        });
        // The first connection, of the line above, is the one that was taken.
        talker.await.unwrap();
        let closed = endpoint("127.0.0.1", port, true).reach().await;
        assert!(matches!(closed, Err(ConnectError::Connection { .. })), "{closed:?}");
        let unknown = endpoint("no-such-host.invalid", 443, true).reach().await;
        assert!(matches!(unknown, Err(ConnectError::Name(_))), "{unknown:?}");

        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let talker = tokio::spawn(async move {
            use tokio::io::AsyncWriteExt;
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"220 no TLS here\r\n").await.unwrap();
        });
        let plain = endpoint("127.0.0.1", port, true).reach().await;
        assert!(matches!(plain, Err(ConnectError::Tls { .. })), "{plain:?}");
        talker.await.unwrap();
    }
}
