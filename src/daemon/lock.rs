//! The file beside the database that says that a daemon works on it.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::DaemonError;

/// Makes sure that only one daemon works on the database at `store`.
pub(super) fn lock(store: &Path) -> Result<File, DaemonError> {
    let path = store.with_extension("lock");
    let failed = |source| DaemonError::Io {
        action: format!("write beside the database '{}' (the lock '{}')", store.display(), path.display()),
        source,
    };
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DaemonError::AlreadyRunning(path)),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}
