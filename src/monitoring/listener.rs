//! Listens on a loopback address or a Unix socket, and gives each connection one answer.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::{Site, pages};
use crate::config::Listen;
use crate::telemetry::{Listening, Observable};

/// Connections at once; more wait.
const CONNECTIONS: usize = 16;

/// For the head of a request.
const HEAD: Duration = Duration::from_secs(5);

/// For a whole connection, answer included.
const WHOLE: Duration = Duration::from_secs(15);

/// Bytes of a head.
const HEAD_SIZE: usize = 16 * 1024;

/// Fields of a head.
const HEAD_FIELDS: usize = 64;

/// After an error that is not one connection's, such as too many open files.
const PAUSE: Duration = Duration::from_millis(200);

/// Who may use the socket: the daemon's user and group.
const SOCKET_MODE: u32 = 0o660;

/// Why nobody can ask.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen at '{place}', where [monitoring] says to answer: {reason}")]
pub struct CannotListen {
    place: String,
    reason: String,
}

/// A place where somebody may ask.
#[derive(Debug)]
pub struct Server {
    listener: Listener,
    listen: Listen,
    _socket: Option<Socket>,
}

#[derive(Debug)]
enum Listener {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

/// The file of a Unix socket, which goes with the listener.
#[derive(Debug)]
struct Socket(PathBuf);

impl Drop for Socket {
    fn drop(&mut self) {
        // The next one takes its place if this fails.
        let _ = fs::remove_file(&self.0);
    }
}

impl Server {
    /// Begins to listen. Whoever connects waits until [`Server::serve`].
    ///
    /// # Errors
    /// Somebody else listens there, or it is not allowed.
    pub fn bind(listen: &Listen) -> Result<Self, CannotListen> {
        let mut socket = None;
        let listener = match listen {
            Listen::Tcp(address) => TcpListener::bind(address).and_then(|listener| {
                listener.set_nonblocking(true)?;
                tokio::net::TcpListener::from_std(listener).map(Listener::Tcp)
            }),
            Listen::Unix(path) => bind_unix(path).and_then(|listener| {
                socket = Some(Socket(path.clone()));
                fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE))?;
                listener.set_nonblocking(true)?;
                tokio::net::UnixListener::from_std(listener).map(Listener::Unix)
            }),
        };
        let refused = |error: io::Error| CannotListen {
            place: listen.to_string(),
            reason: match error.kind() {
                ErrorKind::AddrInUse => "another program listens there; stop it, or choose another place".to_owned(),
                ErrorKind::NotFound => "its folder does not exist; make it, or choose another place".to_owned(),
                _ => error.to_string(),
            },
        };
        Ok(Self { listener: listener.map_err(refused)?, listen: listen.clone(), _socket: socket })
    }

    /// Answers until `stop`.
    pub async fn serve(self, site: Arc<Site>, stop: CancellationToken) {
        Listening { address: &self.listen.to_string() }.observe();
        let pages = pages(site);
        let turns = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(turn) = Arc::clone(&turns).acquire_owned().await else { return };
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = self.accept(&pages, turn, &stop) => accepted,
            };
            if accepted.is_err() {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    async fn accept(&self, pages: &Router, turn: OwnedSemaphorePermit, stop: &CancellationToken) -> io::Result<()> {
        let (pages, stop) = (pages.clone(), stop.clone());
        match &self.listener {
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                tokio::spawn(answer(stream, pages, turn, stop));
            }
            Listener::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                tokio::spawn(answer(stream, pages, turn, stop));
            }
        }
        Ok(())
    }
}

/// One request, one answer.
async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    pages: Router,
    _turn: OwnedSemaphorePermit,
    stop: CancellationToken,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_SIZE)
        .max_headers(HEAD_FIELDS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(pages));
    tokio::select! {
        () = stop.cancelled() => {}
        // Whoever breaks off or takes too long gets nothing, and nobody else needs to know.
        _ = tokio::time::timeout(WHOLE, connection) => {}
    }
}

/// Takes the place of a socket that a process left behind when it was killed; of nothing else.
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    let in_use = match UnixListener::bind(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => error,
        bound => return bound,
    };
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(io::Error::other("there is a file that is not a socket; choose another place"));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        _ => Err(in_use),
    }
}
