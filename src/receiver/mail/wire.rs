//! The connection to a relay, of which only so much is read.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::Tls;
use crate::model::display_safe;
use crate::reach::{connect, connector};

/// What a relay may say in one conversation, many times what any has to say: the mail library would keep a line without
/// end until memory is gone.
const MOST: usize = 1 << 20;

/// Shakes hands for TLS from the first byte.
pub(super) struct Handshake(TlsConnector);

/// What the mail library speaks over.
#[derive(Debug)]
pub(super) enum Wire {
    /// As it comes; STARTTLS is done over it, or nothing.
    Open(Bounded),
    /// TLS from the first byte.
    Protected(Box<TlsStream<Bounded>>),
}

/// A connection that breaks when the other side has said too much.
#[derive(Debug)]
pub(super) struct Bounded {
    stream: BufReader<TcpStream>,
    said: usize,
    /// How much is handed on at once.
    portion: usize,
}

impl Handshake {
    pub(super) fn prepare() -> Result<Self, String> {
        connector().map(Self)
    }

    /// Shakes hands over `stream` with the one who is called `host`.
    pub(super) async fn shake(&self, host: &str, stream: Bounded) -> io::Result<Wire> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let stream = self.0.connect(name, stream).await?;
        Ok(Wire::Protected(Box::new(stream)))
    }
}

impl Bounded {
    /// Connects to the relay; nothing is said yet.
    pub(super) async fn connect(host: &str, port: u16, tls: Tls) -> io::Result<Self> {
        let found = lookup_host((host, port)).await?.collect();
        let found = meant(host, found, tls).map_err(io::Error::other)?;
        let stream = connect(&found).await?;
        let portion = match tls {
            // The mail library reads ahead. What somebody in between says along with the answer to STARTTLS must not be
            // taken for what the relay says after the handshake, so there is nothing to read ahead.
            Tls::Starttls => 1,
            Tls::Implicit | Tls::None => usize::MAX,
        };
        Ok(Self { stream: BufReader::new(stream), said: 0, portion })
    }
}

/// The addresses to connect to. Without TLS that is this machine, whatever its name stands for.
fn meant(host: &str, found: Vec<SocketAddr>, tls: Tls) -> Result<Vec<SocketAddr>, String> {
    let elsewhere = found.iter().map(|address| address.ip().to_canonical()).find(|address| !address.is_loopback());
    match elsewhere {
        Some(address) if tls == Tls::None => Err(format!(
            "'{}' stands for {address}, and without TLS no mail leaves this machine: use 127.0.0.1 as `host`",
            display_safe(host)
        )),
        _ => Ok(found),
    }
}

impl AsyncRead for Bounded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.said >= MOST {
            return Poll::Ready(Err(io::Error::other("the relay said more than 1 MiB in one conversation")));
        }
        let longest = buf.remaining().min(self.portion).min(MOST - self.said);
        let mut portion = ReadBuf::new(buf.initialize_unfilled_to(longest));
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut portion))?;
        let length = portion.filled().len();
        buf.advance(length);
        self.said += length;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Wire {
    /// Who is at the other end.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        let bounded = match self {
            Self::Open(stream) => stream,
            Self::Protected(stream) => stream.get_ref().0,
        };
        bounded.stream.get_ref().peer_addr()
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Open(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Protected(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Open(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Protected(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Open(stream) => Pin::new(stream).poll_flush(cx),
            Self::Protected(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Open(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Protected(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_tls_the_name_of_this_machine_has_to_stand_for_this_machine_alone() {
        let table = [
            (Tls::None, "127.0.0.1:25 [::1]:25 [::ffff:127.0.0.1]:25", true),
            (Tls::None, "127.0.0.1:25 192.0.2.1:25", false),
            (Tls::None, "[2001:db8::1]:25", false),
            (Tls::Starttls, "192.0.2.1:587", true),
            (Tls::Implicit, "127.0.0.1:465 192.0.2.1:465", true),
        ];
        for (tls, addresses, expected) in table {
            let found: Vec<SocketAddr> = addresses.split(' ').map(|one| one.parse().unwrap()).collect();
            let answer = meant("localhost", found.clone(), tls);
            assert_eq!(answer.is_ok(), expected, "{tls:?} {addresses}");
            assert!(answer.is_err() || answer == Ok(found), "every address or none");
        }
    }
}
