//! The file beside the database that says that a daemon works on it, which process that is, and what came of the last
//! reload: `authdrift reload` reads the answer there.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::DaemonError;
use crate::model::Digest;
use crate::telemetry::{ConfigurationDoubt, Observable};
use crate::whole_file;

/// Pauses between tries: a command that checks for a daemon holds the lock for an instant.
const PATIENCE: [Duration; 3] = [Duration::from_millis(20), Duration::from_millis(50), Duration::from_millis(100)];

/// The lock, for as long as the process lives.
pub struct Lock {
    file: File,
    state: DaemonState,
}

/// What a daemon says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonState {
    /// Its process.
    pub pid: u32,
    /// How often it was asked to reload.
    pub reloads: u64,
    /// What came of the last time.
    pub answer: Option<ReloadAnswer>,
}

/// What came of a reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadAnswer {
    /// The configuration is the new one.
    pub is_accepted: bool,
    /// What it holds, or why it was refused.
    pub text: String,
    /// The digest of the file that was read, if one was.
    pub digest: Option<Digest>,
}

/// The daemon that works on a database, if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockHolder {
    /// No daemon.
    None,
    /// One whose state cannot be read, or is not written yet.
    Unknown,
    /// This one.
    Daemon(DaemonState),
}

impl Lock {
    /// Makes sure that only one daemon works on the database at `store`.
    ///
    /// # Errors
    /// Another daemon does, or the lock cannot be written.
    pub fn take(store: &Path) -> Result<Self, DaemonError> {
        let path = path_of(store);
        let failed = |source| DaemonError::Io {
            action: format!("write beside the database '{}' (the lock '{}')", store.display(), path.display()),
            source,
        };
        let file = whole_file::open_in_place(&path, store).map_err(failed)?;
        let mut pauses = PATIENCE.iter();
        loop {
            match (file.try_lock(), pauses.next()) {
                (Ok(()), _) => break,
                (Err(TryLockError::WouldBlock), Some(pause)) => std::thread::sleep(*pause),
                (Err(TryLockError::WouldBlock), None) => return Err(DaemonError::AlreadyRunning(path)),
                (Err(TryLockError::Error(source)), _) => return Err(failed(source)),
            }
        }
        let mut lock = Self { file, state: DaemonState { pid: std::process::id(), reloads: 0, answer: None } };
        lock.say();
        Ok(lock)
    }

    /// Writes the answer to a reload into the lock file.
    pub(super) fn answer(&mut self, answer: ReloadAnswer) {
        self.state.reloads += 1;
        self.state.answer = Some(answer);
        self.say();
    }

    /// Writes over what the file said: a reader finds the one or the other, and never an empty file. A full disk may leave half of
    /// it: then the daemon works, and cannot be asked by its name.
    fn say(&mut self) {
        let text = serde_json::to_vec(&self.state).unwrap_or_default();
        let length = u64::try_from(text.len()).unwrap_or_default();
        let written = self.file.rewind().and_then(|()| self.file.write_all(&text));
        let said = written.and_then(|()| self.file.set_len(length));
        if let Err(error) = said {
            let doubt = format!("cannot write into the lock file, so `authdrift reload` gets no answer: {error}");
            ConfigurationDoubt { doubt: &doubt }.observe();
        }
    }
}

/// Finds the daemon that works on the database at `store`.
///
/// # Errors
/// The lock file cannot be read.
pub fn holder(store: &Path) -> io::Result<LockHolder> {
    let mut file = match File::open(path_of(store)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(LockHolder::None),
        Err(error) => return Err(error),
    };
    // The content counts only while the lock is held: a process that ended leaves its number behind.
    match file.try_lock_shared() {
        Ok(()) => return Ok(LockHolder::None),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    // What is behind it is left of what the file said before.
    let said = serde_json::Deserializer::from_str(&text).into_iter().next();
    Ok(said.and_then(Result::ok).map_or(LockHolder::Unknown, LockHolder::Daemon))
}

/// Whether process `pid` holds the lock of the database at `store`, which its file only says.
///
/// # Errors
/// The locks of this machine cannot be seen.
///
/// # Security
/// A user who may write to the lock file could put any process there, and root would send it a signal (T4).
pub fn is_held_by(pid: u32, store: &Path) -> io::Result<bool> {
    let inode = fs::metadata(path_of(store))?.ino();
    let is_there = |text: &str| text.lines().any(|line| is_lock_of(line, pid, inode));
    if let Ok(all) = fs::read_to_string("/proc/locks") {
        return Ok(is_there(&all));
    }
    // A unit sees nothing of /proc but processes.
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        if fs::read_to_string(entry?.path()).is_ok_and(|text| is_there(&text)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a line, of /proc/locks or of what a process has open, is of this lock: `1: FLOCK  ADVISORY  WRITE 42 08:01:123 0 EOF`.
/// One that waits for it has an arrow.
fn is_lock_of(line: &str, pid: u32, inode: u64) -> bool {
    let words: Vec<&str> = line.split_whitespace().skip_while(|word| *word != "FLOCK").collect();
    let [_, "ADVISORY", "WRITE", holder, file, ..] = words.as_slice() else { return false };
    !line.contains("->") && *holder == pid.to_string() && file.rsplit(':').next() == Some(&inode.to_string())
}

/// Whether a daemon works on the database at `store`.
///
/// # Errors
/// As [`holder`].
pub fn is_running(store: &Path) -> io::Result<bool> {
    Ok(holder(store)? != LockHolder::None)
}

/// Where the lock of the database at `store` is.
pub fn path_of(store: &Path) -> PathBuf {
    store.with_extension("lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_of_one_lock_and_its_holder() {
        for (line, expected) in [
            ("1: FLOCK  ADVISORY  WRITE 42 08:01:123 0 EOF", true),
            ("lock:\t1: FLOCK  ADVISORY  WRITE 42 00:1f:123 0 EOF", true),
            ("1: -> FLOCK  ADVISORY  WRITE 42 08:01:123 0 EOF", false),
            ("1: FLOCK  ADVISORY  READ  42 08:01:123 0 EOF", false),
            ("1: POSIX  ADVISORY  WRITE 42 08:01:123 0 EOF", false),
            ("1: FLOCK  ADVISORY  WRITE 421 08:01:123 0 EOF", false),
            ("1: FLOCK  ADVISORY  WRITE 42 08:01:1234 0 EOF", false),
            ("", false),
        ] {
            assert_eq!(is_lock_of(line, 42, 123), expected, "{line}");
        }
    }

    #[test]
    fn a_lock_says_who_holds_it_and_only_while_somebody_does() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("authdrift.db");
        assert_eq!(holder(&store).unwrap(), LockHolder::None);
        let mut lock = Lock::take(&store).unwrap();
        let said = |reloads, answer| LockHolder::Daemon(DaemonState { pid: std::process::id(), reloads, answer });
        assert_eq!(holder(&store).unwrap(), said(0, None));
        let long = ReloadAnswer { is_accepted: false, text: "no ".repeat(2000), digest: None };
        lock.answer(long.clone());
        assert_eq!(holder(&store).unwrap(), said(1, Some(long)));
        let short = ReloadAnswer { is_accepted: true, text: "1 instance".to_owned(), digest: Some(Digest::of(b"x")) };
        lock.answer(short.clone());
        assert_eq!(holder(&store).unwrap(), said(2, Some(short)));
        assert!(matches!(Lock::take(&store), Err(DaemonError::AlreadyRunning(_))));
        assert!(is_held_by(std::process::id(), &store).unwrap());
        // A process that only has it open does not hold it.
        let other = std::process::Command::new("sleep").arg("60").stdin(File::open(path_of(&store)).unwrap()).spawn();
        let mut other = other.unwrap();
        assert!(!is_held_by(other.id(), &store).unwrap());
        other.kill().unwrap();
        other.wait().unwrap();
        // A reader may come between the writing and the cutting.
        let mut rest = fs::read_to_string(path_of(&store)).unwrap();
        rest.push_str("\"}}");
        fs::write(path_of(&store), rest).unwrap();
        assert!(matches!(holder(&store).unwrap(), LockHolder::Daemon(DaemonState { reloads: 2, .. })));
        std::fs::write(path_of(&store), "").unwrap();
        assert_eq!(holder(&store).unwrap(), LockHolder::Unknown);
        drop(lock);
        assert!(!is_held_by(std::process::id(), &store).unwrap());
        assert_eq!(holder(&store).unwrap(), LockHolder::None);
        Lock::take(&store).unwrap();
    }
}
