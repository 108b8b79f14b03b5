//! Listens on a loopback address or a Unix socket, and gives each connection one answer.

use std::collections::VecDeque;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::{MonitoringState, pages, pages_of_this_host};
use crate::config::Listen;
use crate::telemetry::{Listening, Observable};

/// Connections at once. One more takes the place of the oldest that has not asked anything yet, or waits if there is none.
const CONNECTIONS: usize = 64;

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

/// The mode of the socket: the daemon's user and group may use it.
const SOCKET_MODE: u32 = 0o660;

/// The address or socket cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen at '{place}', where [monitoring] says to answer: {reason}")]
pub struct CannotListen {
    place: String,
    reason: String,
}

/// A server that listens.
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
    /// Begins to listen. Connections wait until [`Server::serve`].
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
    pub async fn serve(self, site: Arc<MonitoringState>, stop: CancellationToken) {
        Listening { address: &self.listen.to_string() }.observe();
        let pages = match &self.listener {
            Listener::Tcp(_) => pages_of_this_host(site),
            Listener::Unix(_) => pages(site),
        };
        let mut open = Connections::default();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = self.accept(&pages, &mut open) => accepted,
            };
            if accepted.is_err() {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    async fn accept(&self, pages: &Router, open: &mut Connections) -> io::Result<()> {
        open.make_room().await;
        let has_asked = Arc::new(AtomicBool::new(false));
        let task = match &self.listener {
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                open.tasks.spawn(answer(stream, pages.clone(), Arc::clone(&has_asked)))
            }
            Listener::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                open.tasks.spawn(answer(stream, pages.clone(), Arc::clone(&has_asked)))
            }
        };
        open.in_turn.push_back((task, has_asked));
        Ok(())
    }
}

/// The connections that are open; they end with this.
#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    /// The oldest first, and whether it has asked.
    in_turn: VecDeque<(AbortHandle, Arc<AtomicBool>)>,
}

impl Connections {
    /// Makes room for one more. Those that say nothing cannot keep out one that asks.
    async fn make_room(&mut self) {
        while self.tasks.try_join_next().is_some() {}
        self.in_turn.retain(|(task, _)| !task.is_finished());
        if self.in_turn.len() < CONNECTIONS {
            return;
        }
        let silent = self.in_turn.iter().position(|(_, has_asked)| !has_asked.load(Ordering::Relaxed));
        match silent.and_then(|place| self.in_turn.remove(place)) {
            Some((task, _)) => task.abort(),
            None => _ = self.tasks.join_next().await,
        }
    }
}

/// One request, one answer.
async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    pages: Router,
    has_asked: Arc<AtomicBool>,
) {
    let pages = TowerToHyperService::new(pages);
    let service = service_fn(move |request| {
        has_asked.store(true, Ordering::Relaxed);
        pages.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_SIZE)
        .max_headers(HEAD_FIELDS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // A connection that breaks off or takes too long gets nothing.
    let _ = tokio::time::timeout(WHOLE, connection).await;
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
