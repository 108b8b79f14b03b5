//! Whether a daemon works on a database, as others see it.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::Path;

/// Whether a daemon holds the lock beside the database at `store`.
///
/// # Errors
/// The lock is there and cannot be opened.
pub fn is_running(store: &Path) -> io::Result<bool> {
    let lock = match File::open(store.with_extension("lock")) {
        Ok(lock) => lock,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    // Several may look at once. A daemon that starts in this very moment is told that another one is running, and is
    // started again.
    match lock.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_holds_the_lock_is_seen_and_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("authdrift.db");
        assert!(!is_running(&store).unwrap());
        let lock = super::super::lock(&store).unwrap();
        assert!(is_running(&store).unwrap());
        drop(lock);
        assert!(!is_running(&store).unwrap());
        super::super::lock(&store).unwrap();
    }
}
