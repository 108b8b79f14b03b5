//! The native protocol of systemd's journal: a datagram with one field on each line.
//!
//! <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>. No text of a [`LogLine`] has a line break, so the short form of a field is
//! always enough, and no line is so long that it would need a file of its own.

use std::fmt::Write as _;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::line::{LogLine, plain};
use crate::telemetry::message_id;

/// Where the journal listens.
pub const SOCKET: &str = "/run/systemd/journal/socket";

/// How long a line may wait for a journal that is busy: what is written is also work that waits.
const PATIENCE: Duration = Duration::from_secs(1);

/// The way to the journal.
#[derive(Debug)]
pub struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journal {
    /// Prepares to write to the journal that listens at `path`.
    pub fn open(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let journal = Self { socket, path: path.to_owned() };
        // An empty datagram is no entry; it fails if the socket has no listener.
        journal.socket.send_to(&[], &journal.path)?;
        Ok(journal)
    }

    /// Sends `line`. By the path each time: the journal may have been started anew.
    pub(super) fn send(&self, line: &LogLine) -> io::Result<()> {
        self.socket.send_to(datagram(line).as_bytes(), &self.path).map(drop)
    }
}

fn datagram(line: &LogLine) -> String {
    let mut text = format!("MESSAGE={}\nPRIORITY={}\nSYSLOG_IDENTIFIER=authdrift\n", line.words(), line.priority());
    if let Some(event) = &line.event {
        let _ = write!(text, "MESSAGE_ID={}\nAUTHDRIFT_EVENT={event}\n", message_id(event));
    }
    for (name, value) in &line.fields {
        // The names are ours: letters and underscores.
        let _ = writeln!(text, "AUTHDRIFT_{}={}", name.to_ascii_uppercase(), plain(value));
    }
    text
}

/// Whether standard error is the stream to the journal that `stream` names: device and inode, as systemd says in
/// `JOURNAL_STREAM`. It may be set and mean another process, or a stream that was led elsewhere since.
pub(super) fn is_stderr(stream: Option<&str>) -> bool {
    let Some((device, inode)) = stream.and_then(|stream| stream.split_once(':')) else { return false };
    let found = io::stderr().as_fd().try_clone_to_owned().map(std::fs::File::from).and_then(|file| file.metadata());
    found.is_ok_and(|found| device.parse() == Ok(found.dev()) && inode.parse() == Ok(found.ino()))
}
