//! A relay that means harm.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, crypto};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::common::Sandbox;
use crate::common::daemon::eventually;

/// What it does, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Harm {
    /// A line without end instead of the greeting.
    EndlessGreeting,
    /// The same after a handshake at once.
    EndlessOverTls,
    /// The same after STARTTLS.
    EndlessAfterStarttls,
    /// None: it takes mail after a login of this kind, and all it ever says are codes.
    BareCodes(&'static str),
    /// Says along with the answer to STARTTLS, unprotected, what a relay says when it takes a mail.
    TakesItBeforehand,
}

pub(super) struct Relay {
    pub(super) port: u16,
    said: Arc<Mutex<Vec<usize>>>,
    begun: Arc<AtomicUsize>,
}

impl Relay {
    /// Starts one with the certificate that is in the sandbox.
    pub(super) fn start(sandbox: &Sandbox, harm: Harm) -> Self {
        let certificate = CertificateDer::from_pem_file(sandbox.path("server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(sandbox.path("server.key")).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let socket = TcpSocket::new_v4().unwrap();
        // So that what is counted as said is not mostly what waits in this machine.
        socket.set_send_buffer_size(64 << 10).unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let listener = socket.listen(16).unwrap();
        let port = listener.local_addr().unwrap().port();
        let said: Arc<Mutex<Vec<usize>>> = Arc::default();
        let begun: Arc<AtomicUsize> = Arc::default();
        let (counts, starts) = (Arc::clone(&said), Arc::clone(&begun));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                starts.fetch_add(1, Ordering::SeqCst);
                let (acceptor, counts) = (acceptor.clone(), Arc::clone(&counts));
                tokio::spawn(async move {
                    let mut count = 0;
                    // It ends when the other side has gone.
                    let _ = talk(stream, &acceptor, harm, &mut count).await;
                    counts.lock().unwrap().push(count);
                });
            }
        });
        Self { port, said, begun }
    }

    /// How many bytes it got rid of in each conversation, once all of them are over.
    pub(super) async fn said(&self) -> Vec<usize> {
        let count = || self.said.lock().unwrap().len();
        eventually("every conversation is over", || count() > 0 && count() == self.begun.load(Ordering::SeqCst)).await;
        self.said.lock().unwrap().clone()
    }
}

async fn talk(mut stream: TcpStream, acceptor: &TlsAcceptor, harm: Harm, said: &mut usize) -> io::Result<()> {
    match harm {
        Harm::EndlessGreeting => endless(&mut stream, said).await,
        Harm::EndlessOverTls => endless(&mut acceptor.accept(stream).await?, said).await,
        Harm::BareCodes(login) => {
            stream.write_all(b"220\r\n").await?;
            line(&mut stream).await?;
            stream.write_all(b"250-\r\n250-STARTTLS\r\n250\r\n").await?;
            line(&mut stream).await?;
            stream.write_all(b"220\r\n").await?;
            let mut stream = BufReader::new(acceptor.accept(stream).await?);
            let mut command = String::new();
            while stream.read_line(&mut command).await? > 0 {
                let is_data = command.starts_with("DATA");
                let extensions = format!("250-\r\n250-AUTH {login}\r\n250\r\n");
                if command.starts_with("AUTH LOGIN") {
                    let mut answers = Vec::new();
                    for _ in 0..2 {
                        stream.write_all(b"334\r\n").await?;
                        stream.flush().await?;
                        let mut answer = String::new();
                        stream.read_line(&mut answer).await?;
                        answers.push(answer);
                    }
                    // "authdrift" and "relay-password".
                    if answers != ["YXV0aGRyaWZ0\r\n", "cmVsYXktcGFzc3dvcmQ=\r\n"] {
                        stream.write_all(b"535\r\n").await?;
                        stream.flush().await?;
                        command.clear();
                        continue;
                    }
                }
                let reply: &[u8] = match command.get(..4) {
                    Some("EHLO") => extensions.as_bytes(),
                    Some("AUTH") => b"235\r\n",
                    Some("DATA") => b"354\r\n",
                    Some("QUIT") => b"221\r\n",
                    _ => b"250\r\n",
                };
                stream.write_all(reply).await?;
                command.clear();
                while is_data && command != ".\r\n" {
                    command.clear();
                    stream.read_line(&mut command).await?;
                    *said += 1;
                }
                if is_data {
                    stream.write_all(b"250\r\n").await?;
                }
                stream.flush().await?;
                command.clear();
            }
            Ok(())
        }
        Harm::EndlessAfterStarttls | Harm::TakesItBeforehand => {
            stream.write_all(b"220 relay\r\n").await?;
            line(&mut stream).await?;
            stream.write_all(b"250-relay\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n").await?;
            line(&mut stream).await?;
            let ahead = if harm == Harm::TakesItBeforehand {
                "250-relay\r\n250-8BITMIME\r\n250 AUTH PLAIN\r\n235 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n250 kept\r\n221 bye\r\n"
            } else {
                ""
            };
            stream.write_all(format!("220 go\r\n{ahead}").as_bytes()).await?;
            let mut stream = acceptor.accept(stream).await?;
            if harm == Harm::TakesItBeforehand {
                return tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.map(|_| ());
            }
            line(&mut stream).await?;
            endless(&mut stream, said).await
        }
    }
}

async fn line(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    while stream.read_u8().await? != b'\n' {}
    Ok(())
}

async fn endless(stream: &mut (impl AsyncWrite + Unpin), said: &mut usize) -> io::Result<()> {
    let piece = vec![b'2'; 16 << 10];
    loop {
        *said += stream.write(&piece).await?;
    }
}
