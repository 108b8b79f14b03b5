//! How much room the file system has on which the database lies.
//!
//! Below [`LOW`] a notice is due; below [`FULL`] snapshots are not kept any more, so that what is small can still be: drifts,
//! the history, messages. Both end when there is room again.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{Store, StoreError, Stored};

/// Which file it is, whatever it is called.
pub(super) fn place_of(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::metadata(path)?;
    Ok((found.dev(), found.ino()))
}

/// Bytes below which there is little room.
pub const LOW: u64 = 256 << 20;
/// Bytes below which snapshots are not kept.
pub const FULL: u64 = 64 << 20;

/// What the room that is left allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// Everything.
    Ample,
    /// Everything, for now.
    Low,
    /// Only what is small.
    Full,
}

impl Space {
    /// What `free` bytes allow.
    pub fn of(free: u64) -> Self {
        match free {
            ..FULL => Self::Full,
            FULL..LOW => Self::Low,
            LOW.. => Self::Ample,
        }
    }
}

impl Store {
    /// Bytes that are free where the database lies; nothing for one in memory.
    ///
    /// # Errors
    /// The file system does not say.
    pub fn free_space(&self) -> Stored<Option<u64>> {
        if self.path.exists() { free_at(&self.path).map(Some) } else { Ok(None) }
    }

    /// Bytes that the database takes with its log. The files are only looked at from outside.
    pub fn size(&self) -> u64 {
        let mut log = self.path.as_os_str().to_owned();
        log.push("-wal");
        let of = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
        of(&self.path) + of(Path::new(&log))
    }
}

/// Whether the process or the machine has no file handle left for it: that passes, and says nothing of the file.
pub fn is_out_of_files(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

/// Whether nothing can be opened now.
pub(super) fn can_open_nothing() -> bool {
    File::open("/dev/null").is_err_and(|error| is_out_of_files(&error))
}

/// Bytes that are free where `path` lies.
///
/// # Errors
/// There is no such file or folder, or the file system does not say.
pub fn free_at(path: &Path) -> Stored<u64> {
    let found = rustix::fs::statvfs(path).map_err(|error| StoreError::File {
        action: "ask for the free space at",
        path: path.to_owned(),
        source: error.into(),
    })?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_open_files_say_nothing_of_the_database() {
        let error = |number| StoreError::File {
            action: "read the high-water file",
            path: "x".into(),
            source: io::Error::from_raw_os_error(number),
        };
        for (number, is_broken) in [(23, false), (24, false), (28, false), (5, true), (13, true)] {
            assert_eq!(error(number).is_broken(), is_broken, "{number}");
        }
        assert!(!StoreError::OutOfFiles(String::new()).is_broken() && !can_open_nothing());
    }
}
