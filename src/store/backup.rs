//! Copies of the database, and whether it is sound.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use rusqlite::Connection;

use super::memory::Memory;
use super::{Store, StoreError, Stored};

/// What a backup is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// The copy of the database.
    pub database: PathBuf,
    /// The copy of the fingerprint key, without which the database is of no use.
    pub key: PathBuf,
}

impl Store {
    /// Writes a copy of the database as it is at this moment, and of its key beside it, while others go on working.
    ///
    /// The copy is looked at whole before it gets its name, so a backup that is there is a good one.
    ///
    /// # Errors
    /// One of the two files exists already or cannot be written, or the copy is damaged.
    pub fn backup(&self, to: &Path) -> Stored<Backup> {
        let backup = Backup { database: to.to_owned(), key: to.with_extension("key") };
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::File { action: "write the backup", path, source }
        };
        if to.exists() {
            return Err(failed(to)(io::ErrorKind::AlreadyExists.into()));
        }
        let key = fs::read(self.path.with_extension("key")).map_err(failed(&backup.key))?;
        let part = to.with_added_extension("part");
        // What is there already is somebody's, and is not removed below.
        let mut key_file = create(&backup.key).map_err(failed(&backup.key))?;
        let copied = key_file.write_all(&key).and_then(|()| key_file.sync_all()).map_err(failed(&backup.key));
        let copied = copied.and_then(|()| {
            create(&part).map_err(failed(&part))?;
            self.copy_into(&part)?;
            fs::rename(&part, to).map_err(failed(to))?;
            super::sync_folder_of(to).map_err(failed(to))
        });
        if copied.is_err() {
            // Half a backup would be taken for a whole one.
            for path in [&part, to, &backup.key] {
                let _ = fs::remove_file(path);
            }
        }
        copied.map(|()| backup)
    }

    /// Fills the empty file at `part` with a copy, and makes sure that it is one.
    fn copy_into(&self, part: &Path) -> Stored<()> {
        self.with_connection(|connection| {
            connection.execute("VACUUM INTO ?1", [part.display().to_string()])?;
            Ok(())
        })?;
        let copy = Connection::open(part)?;
        check(&copy, "integrity_check")?;
        drop(copy);
        let synced = File::open(part).and_then(|file| file.sync_all());
        synced.map_err(|source| StoreError::File { action: "write the backup", path: part.to_owned(), source })
    }

    /// A quick look at every page of the file, as at a start.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] with what SQLite says first.
    pub fn quick_check(&self) -> Stored<()> {
        self.with_connection(|connection| check(connection, "quick_check"))
    }

    /// A whole look at the file: pages, indexes, references. Takes its time.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] with what SQLite says first.
    pub fn full_check(&self) -> Stored<()> {
        // What was written past SQLite has no mark: the next comparison walks the whole history.
        *self.memory.lock().unwrap_or_else(PoisonError::into_inner) = Memory::default();
        self.with_connection(|connection| {
            check(connection, "integrity_check")?;
            let orphans: i64 =
                connection.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0))?;
            if orphans > 0 {
                return Err(StoreError::Damaged(format!("{orphans} rows refer to rows that are not there")));
            }
            Ok(())
        })
    }
}

fn check(connection: &Connection, pragma: &str) -> Stored<()> {
    let said: String = connection.query_row(&format!("PRAGMA {pragma}(1)"), [], |row| row.get(0))?;
    if said == "ok" { Ok(()) } else { Err(StoreError::Damaged(crate::model::display_safe(&said))) }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn store(folder: &Path) -> Store {
        let store = Store::open(&folder.join("authdrift.db")).unwrap();
        store.write(|tx| tx.execute("INSERT INTO meta VALUES ('x', 'y')", []).map_err(StoreError::from)).unwrap();
        store
    }

    #[test]
    fn a_backup_is_private_whole_and_opens_in_the_place_of_the_original() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        let backup = store.backup(&folder.path().join("copy.db")).unwrap();
        for path in [&backup.database, &backup.key] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
        }
        let copy = Store::open_existing(&backup.database).unwrap();
        assert_eq!(copy.fingerprint_key().id(), store.fingerprint_key().id());
        let value: String = copy
            .read(|tx| {
                tx.query_row("SELECT value FROM meta WHERE name = 'x'", [], |row| row.get(0)).map_err(StoreError::from)
            })
            .unwrap();
        assert_eq!(value, "y");
        copy.quick_check().unwrap();
        copy.full_check().unwrap();
    }

    #[test]
    fn nothing_is_overwritten_and_nothing_half_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        let to = folder.path().join("copy.db");
        fs::write(&to, "mine").unwrap();
        assert!(matches!(store.backup(&to), Err(StoreError::File { .. })));
        assert_eq!(fs::read(&to).unwrap(), b"mine");
        let nowhere = folder.path().join("no/such/folder/copy.db");
        assert!(matches!(store.backup(&nowhere), Err(StoreError::File { .. })));
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".part")), "{left:?}");
        assert!(!folder.path().join("copy.key").exists());
    }
}
