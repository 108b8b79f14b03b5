//! The connection to a relay, of which only so much is read.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::Tls;
use crate::connect::{connect, connector};
use crate::model::display_safe;

/// What a relay may say in one conversation, many times what any has to say: the mail library would keep a line without
/// end until memory is gone.
const MOST: usize = 1 << 20;

/// Shakes hands for TLS from the first byte.
pub(super) struct Handshake(TlsConnector);

/// A connection to a relay, with its protection.
#[derive(Debug)]
pub(super) enum Wire {
    /// Without protection.
    Open(Bounded),
    /// TLS from the first byte, or after STARTTLS.
    Protected(Box<TlsStream<Bounded>>),
}

/// A refusal with the code of the reply and its words.
#[derive(Debug)]
pub(super) struct SmtpRefusal(pub(super) u16, pub(super) String);

/// Why there is no protected connection.
#[derive(Debug)]
pub(super) enum NoTls {
    /// The connection broke, or the handshake failed.
    Broken(io::Error),
    /// The relay refused to begin.
    SmtpRefusal(SmtpRefusal),
}

/// A connection that breaks when the other side has said too much.
#[derive(Debug)]
pub(super) struct Bounded {
    stream: BufReader<TcpStream>,
    said: usize,
}

impl Handshake {
    pub(super) fn prepare() -> Result<Self, String> {
        connector().map(Self)
    }

    /// Does the TLS handshake over `stream` with `host`.
    pub(super) async fn shake(&self, host: &str, stream: Bounded) -> io::Result<Wire> {
        // The dot at the end is for the resolver; no certificate has it.
        let name = host.strip_suffix('.').unwrap_or(host).to_owned();
        let name = ServerName::try_from(name).map_err(io::Error::other)?;
        let stream = self.0.connect(name, stream).await?;
        Ok(Wire::Protected(Box::new(stream)))
    }
}

impl Bounded {
    /// Connects to the relay; nothing is said yet.
    pub(super) async fn connect(host: &str, port: u16, tls: Tls) -> io::Result<Self> {
        let found = lookup_host((host, port)).await?.collect();
        let found = allowed(host, found, tls).map_err(io::Error::other)?;
        let stream = connect(&found).await?;
        Ok(Self { stream: BufReader::new(stream), said: 0 })
    }

    /// The address of this end, by which the relay may be greeted.
    pub(super) fn own_address(&self) -> io::Result<SocketAddr> {
        self.stream.get_ref().local_addr()
    }

    /// Asks for TLS, greeting the relay as `hello`.
    ///
    /// # Security
    /// Data that arrives together with the reply to STARTTLS was injected before the handshake, so it ends the conversation.
    pub(super) async fn starttls(&mut self, hello: &str) -> Result<(), NoTls> {
        self.reply().await?;
        let offered = self.ask(&format!("EHLO {hello}")).await?;
        if !offered.iter().skip(1).any(|line| line.trim().eq_ignore_ascii_case("STARTTLS")) {
            return Err(io::Error::other("STARTTLS is not supported by the relay").into());
        }
        self.ask("STARTTLS").await?;
        match self.stream.buffer().is_empty() {
            true => Ok(()),
            false => Err(io::Error::other("something was said between STARTTLS and the handshake").into()),
        }
    }

    async fn ask(&mut self, command: &str) -> Result<Vec<String>, NoTls> {
        self.write_all(format!("{command}\r\n").as_bytes()).await?;
        self.flush().await?;
        self.reply().await
    }

    /// The texts of one reply.
    async fn reply(&mut self) -> Result<Vec<String>, NoTls> {
        let mut texts = Vec::new();
        loop {
            let mut line = Vec::new();
            while !line.ends_with(b"\n") {
                line.push(self.read_u8().await?);
            }
            let line = String::from_utf8_lossy(&whole(line, &mut 0)?).trim_end().to_owned();
            let code = line.get(..3).and_then(|code| code.parse::<u16>().ok());
            let code = code.ok_or_else(|| io::Error::other(format!("'{}' is no reply", display_safe(&line))))?;
            texts.push(line.get(4..).unwrap_or_default().to_owned());
            match (line.as_bytes().get(3), code) {
                (Some(b'-'), _) => {}
                (_, 200..400) => return Ok(texts),
                _ => return Err(NoTls::SmtpRefusal(SmtpRefusal(code, texts.join(" ")))),
            }
        }
    }
}

impl From<io::Error> for NoTls {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

/// `Username:` and `Password:`, as AUTH LOGIN asks for them, in this order. A relay may leave the text out.
const ASKS_FOR_NAME: &[u8] = b"VXNlcm5hbWU6\r\n";
const ASKS_FOR_PASSWORD: &[u8] = b"UGFzc3dvcmQ6\r\n";

/// One line of a reply as the mail library reads it, after so many `questions` of a login. RFC 5321 section 4.2 has clients accept a code without a text; the
/// library does not, and it takes the first word after EHLO for the relay's name.
///
/// # Security
/// A line that ends with LF alone is no line of SMTP (RFC 5321 section 2.3.8). Two sides that do not agree where a line
/// ends can be made to disagree where a mail ends, so it is not guessed.
fn whole(mut line: Vec<u8>, questions: &mut usize) -> io::Result<Vec<u8>> {
    if !line.ends_with(b"\r\n") {
        return Err(io::Error::other("the relay ends a line with LF alone, and SMTP requires CR LF: fix the relay"));
    }
    let is_code = line.iter().take(3).all(u8::is_ascii_digit) && matches!(line.get(3), Some(b' ' | b'-' | b'\r'));
    let is_question = is_code && line.starts_with(b"334");
    if is_code && line.iter().skip(4).all(u8::is_ascii_whitespace) {
        let separator = if line.get(3) == Some(&b'-') { b'-' } else { b' ' };
        line.truncate(3);
        line.push(separator);
        line.extend_from_slice(match (is_question, *questions) {
            (false, _) => b"no text\r\n".as_slice(),
            (true, 0) => ASKS_FOR_NAME,
            (true, _) => ASKS_FOR_PASSWORD,
        });
    }
    *questions = if is_question { *questions + 1 } else { 0 };
    Ok(line)
}

/// What the mail library speaks over: a connection on which it understands every reply.
#[derive(Debug)]
pub(super) struct Replies {
    wire: Wire,
    /// The beginning of a line that did not come whole yet.
    line: Vec<u8>,
    /// Lines to be handed on.
    ready: VecDeque<u8>,
    /// Questions of a login without an answer in between.
    questions: usize,
}

impl Replies {
    /// Over a connection on which nothing was said yet.
    pub(super) fn new(wire: Wire) -> Self {
        Self { wire, line: Vec::new(), ready: VecDeque::new(), questions: 0 }
    }

    /// Over one on which the relay has greeted: the mail library waits for a greeting.
    pub(super) fn after_greeting(wire: Wire) -> Self {
        Self { ready: b"220 \r\n".iter().copied().collect(), ..Self::new(wire) }
    }

    /// The address of the peer.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.wire.address()
    }
}

impl AsyncRead for Replies {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.ready.is_empty() {
            let mut portion = [0; 1024];
            let mut portion = ReadBuf::new(&mut portion);
            ready!(Pin::new(&mut this.wire).poll_read(cx, &mut portion))?;
            if portion.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            for byte in portion.filled() {
                this.line.push(*byte);
                if *byte == b'\n' {
                    this.ready.extend(whole(std::mem::take(&mut this.line), &mut this.questions)?);
                }
            }
        }
        let count = buf.remaining().min(this.ready.len());
        let part: Vec<u8> = this.ready.drain(..count).collect();
        buf.put_slice(&part);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Replies {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(cx)
    }
}

/// The addresses to connect to. Without TLS that is this machine, whatever its name stands for.
fn allowed(host: &str, found: Vec<SocketAddr>, tls: Tls) -> Result<Vec<SocketAddr>, String> {
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
        let longest = buf.remaining().min(MOST - self.said);
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
    /// The address of the peer.
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
    fn a_code_without_a_text_is_a_reply_and_a_line_with_lf_alone_is_none() {
        let table = [
            ("250\r\n", Some("250 no text\r\n")),
            ("354\r\n", Some("354 no text\r\n")),
            ("250 \r\n", Some("250 no text\r\n")),
            ("250-\r\n", Some("250-no text\r\n")),
            ("250-  \r\n", Some("250-no text\r\n")),
            ("250x\r\n", Some("250x\r\n")),
            ("250 ok\r\n", Some("250 ok\r\n")),
            ("abc\r\n", Some("abc\r\n")),
            ("250 ok\n", None),
            ("250\n", None),
            ("\n", None),
        ];
        for (line, expected) in table {
            let found = whole(line.as_bytes().to_vec(), &mut 0).ok();
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{line:?}");
        }
    }

    #[test]
    fn the_questions_of_a_login_without_a_text_ask_for_the_name_and_then_for_the_password() {
        let mut questions = 0;
        for (line, expected) in [
            ("334\r\n", "334 VXNlcm5hbWU6\r\n"),
            ("334 \r\n", "334 UGFzc3dvcmQ6\r\n"),
            ("535\r\n", "535 no text\r\n"),
            ("334 VXNlcg==\r\n", "334 VXNlcg==\r\n"),
            ("334\r\n", "334 UGFzc3dvcmQ6\r\n"),
            ("235 ok\r\n", "235 ok\r\n"),
            ("334\r\n", "334 VXNlcm5hbWU6\r\n"),
        ] {
            assert_eq!(whole(line.as_bytes().to_vec(), &mut questions).unwrap(), expected.as_bytes(), "{line:?}");
        }
    }

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
            let answer = allowed("localhost", found.clone(), tls);
            assert_eq!(answer.is_ok(), expected, "{tls:?} {addresses}");
            assert!(answer.is_err() || answer == Ok(found), "every address or none");
        }
    }
}
