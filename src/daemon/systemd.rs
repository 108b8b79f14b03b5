//! Notifications to systemd. Without `NOTIFY_SOCKET` nothing is sent.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use crate::model::display_safe;
use crate::telemetry::{Observable, SystemdSilent};

/// How often systemd is asked for more time for a start, for how long each time, and how often at most: an hour.
const ASK_EVERY: Duration = Duration::from_secs(20);
const MORE_TIME: Duration = Duration::from_secs(60);
const MOST_ASKED: usize = 180;

/// As long as it is there, systemd is asked for more time: a large database takes its time before the daemon is ready.
pub(super) struct ExtendStartTimeout {
    _end: Sender<()>,
}

impl ExtendStartTimeout {
    pub(super) fn begin() -> Self {
        let (end, ended) = channel();
        let ask = move || {
            for _ in 0..MOST_ASKED {
                if ended.recv_timeout(ASK_EVERY) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                let time = u32::try_from(MORE_TIME.as_micros()).unwrap_or(u32::MAX);
                notify(&[NotifyState::ExtendTimeoutUsec(time), NotifyState::Status("preparing the database")]);
            }
        };
        // Without the thread the time is what the unit says.
        let _ = thread::Builder::new().name("preparing".to_owned()).spawn(ask);
        Self { _end: end }
    }
}

/// What was told last, and when the next sign of life is due.
pub(super) struct Systemd {
    watchdog: Option<Duration>,
    pinged: Instant,
    is_ready: bool,
    status: String,
}

impl Systemd {
    pub(super) fn new() -> Self {
        let watchdog = sd_notify::watchdog_enabled().map(|interval| interval / 2);
        Self { watchdog, pinged: Instant::now(), is_ready: false, status: String::new() }
    }

    /// The daemon has just looked at what is due and could read its database. The first time that is what makes it ready,
    /// and every time the proof that it is alive.
    pub(super) fn ready_or_watchdog(&mut self, status: String) {
        if !self.is_ready {
            self.is_ready = true;
            notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
        } else if self.status != status {
            notify(&[NotifyState::Status(&status)]);
        }
        self.status = status;
        if self.watchdog.is_some_and(|interval| self.pinged.elapsed() >= interval) {
            notify(&[NotifyState::Watchdog]);
            self.pinged = Instant::now();
        }
    }

    /// It begins to reload. The time lets systemd tell this reload from the one before.
    pub(super) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(time) => notify(&[NotifyState::Reloading, time]),
            Err(error) => SystemdSilent { error: &error }.observe(),
        }
    }

    /// The reload is over, whatever came of it.
    pub(super) fn reloaded(&mut self, status: &str) {
        self.is_ready = true;
        self.status = status.to_owned();
        notify(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// It begins to stop.
    pub(super) fn stopping(&self) {
        notify(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    }
}

fn notify(states: &[NotifyState<'_>]) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&socket, states) {
        SystemdSilent { error: &error }.observe();
    }
}

/// Sends to a socket as sd_notify(3) names it: a path, or an abstract name after `@`. The library knows paths only.
fn send(socket: &OsStr, states: &[NotifyState<'_>]) -> io::Result<()> {
    let message: String = states.iter().map(|state| format!("{state}\n")).collect();
    let datagram = UnixDatagram::unbound()?;
    match socket.as_bytes() {
        [b'@', name @ ..] => datagram.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        [b'/', ..] => datagram.connect(socket)?,
        _ => {
            let socket = display_safe(&socket.to_string_lossy());
            let reason = format!("NOTIFY_SOCKET is '{socket}', and only '/PATH' and '@NAME' are supported");
            return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
        }
    }
    match datagram.send(message.as_bytes())? == message.len() {
        true => Ok(()),
        false => Err(io::ErrorKind::WriteZero.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_a_path_or_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("authdrift-test-{}", uuid::Uuid::now_v7().simple());
        let by_path = UnixDatagram::bind(&path).unwrap();
        let by_name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        for (socket, listener) in [(path.into_os_string(), by_path), (format!("@{name}").into(), by_name)] {
            send(&socket, &[NotifyState::Ready, NotifyState::Status("well")]).unwrap();
            let mut heard = [0; 64];
            let length = listener.recv(&mut heard).unwrap();
            assert_eq!(&heard[..length], b"READY=1\nSTATUS=well\n", "{}", socket.display());
        }
        for socket in ["vsock:2:1234", "relative", "", "@nobody-listens-here"] {
            assert!(send(OsStr::new(socket), &[NotifyState::Ready]).is_err(), "{socket}");
        }
        let error = send(OsStr::new("vsock:2:1234"), &[NotifyState::Ready]).unwrap_err();
        assert!(error.to_string().contains("'vsock:2:1234', and only '/PATH' and '@NAME'"), "{error}");
    }
}
