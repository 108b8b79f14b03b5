//! Copies of the database, and whether it is sound.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::open::{connect, connect_to_look, expected_key, name_for_sqlite};
use super::{Store, StoreError, Stored, events};
use crate::whole_file::WholeFile;

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
        let backup = Backup { database: to.to_owned(), key: key_beside(to) };
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::File { action: "write the backup", path, source }
        };
        let failed_key = |source: io::Error| {
            let said = format!("its key belongs beside it as '{}': {source}", backup.key.display());
            failed(to)(io::Error::new(source.kind(), said))
        };
        if to.extension().is_some_and(|ending| ending == "key") {
            let advice = "a name that ends in .key is one of a key; choose one that ends in .db";
            return Err(failed(to)(io::Error::new(io::ErrorKind::InvalidInput, advice)));
        }
        if to.symlink_metadata().is_ok() {
            return Err(failed(to)(there_already()));
        }
        name_for_sqlite(to)?;
        let own = self.path.with_extension("key");
        let key = fs::read(&own);
        let key = key.map_err(|source| StoreError::File { action: "read the fingerprint key", path: own, source })?;
        if backup.key.symlink_metadata().is_ok() {
            return Err(failed_key(there_already()));
        }
        let copy = WholeFile::prepare(to, b"", None).map_err(failed(to))?;
        let key_copy = WholeFile::prepare(&backup.key, &key, None).map_err(failed_key)?;
        self.copy_into(copy.place())?;
        key_copy.take_free_place().map_err(failed_key)?;
        copy.take_free_place().map_err(|source| {
            // Half a backup would be taken for a whole one. What came meanwhile is somebody's.
            let _ = fs::remove_file(&backup.key);
            if source.kind() != io::ErrorKind::AlreadyExists {
                let _ = fs::remove_file(to);
            }
            failed(to)(source)
        })?;
        Ok(backup)
    }

    /// Fills the empty file at `part` with a copy, and makes sure that it is one: whole, with the key of this database, and
    /// with a history that holds all of this one's.
    fn copy_into(&self, part: &Path) -> Stored<()> {
        let stood = self.read(events::mark)?;
        let name = name_for_sqlite(part)?;
        self.with_connection(|connection| Ok(connection.execute("VACUUM INTO ?1", [name])?))?;
        let mut copy = connect(part, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        check(&copy, "integrity_check")?;
        let copied = copy.transaction()?;
        let has_key = expected_key(&copied)?.as_ref() == Some(&self.key.id());
        let has_history = match &stood {
            Some(stood) => events::head_of(&copied, stood.size)?.as_ref() == Some(&stood.head),
            None => true,
        };
        if !has_key || !has_history {
            let message = "the copy does not hold what is in the database, so it was not kept";
            return Err(StoreError::Damaged(message.to_owned()));
        }
        drop(copied);
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

    /// Prepares a whole look at the file. It takes its time, on a connection of its own: nobody waits for it.
    ///
    /// # Errors
    /// The file cannot be opened once more.
    pub fn full_check(&self) -> Stored<FullCheck> {
        // What was written past SQLite has no mark: the next comparison replays the history from the first event.
        self.cache().start_over();
        connect_to_look(&self.path).map(FullCheck)
    }
}

/// A whole look at the file: pages, indexes, references.
pub struct FullCheck(Connection);

impl FullCheck {
    /// Breaks it off from elsewhere.
    pub fn stopper(&self) -> impl Fn() + Send + Sync + 'static {
        let handle = self.0.get_interrupt_handle();
        move || handle.interrupt()
    }

    /// Looks.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] with what SQLite says first; or the file could not be looked at.
    pub fn run(self) -> Stored<()> {
        check(&self.0, "integrity_check")?;
        let orphans: i64 = self.0.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0))?;
        if orphans > 0 {
            return Err(StoreError::Damaged(format!("{orphans} rows refer to rows that are not there")));
        }
        Ok(())
    }
}

/// What the key of the backup at `path` is called: that of `x.db` is `x.key`, as beside a database; any other name gets `.key`
/// behind it, because what is behind the last dot may be a day.
fn key_beside(path: &Path) -> PathBuf {
    match path.extension() {
        Some(ending) if ending == "db" => path.with_extension("key"),
        _ => path.with_added_extension("key"),
    }
}

fn there_already() -> io::Error {
    io::Error::new(
        io::ErrorKind::AlreadyExists,
        "there is such a file already, and it is not overwritten; choose another name",
    )
}

fn check(connection: &Connection, pragma: &str) -> Stored<()> {
    let said: String = connection.query_row(&format!("PRAGMA {pragma}(1)"), [], |row| row.get(0))?;
    if said == "ok" { Ok(()) } else { Err(StoreError::Damaged(crate::model::display_safe(&said))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Event;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::PermissionsExt;

    fn store(folder: &Path) -> Store {
        let store = Store::open(&folder.join("authdrift.db")).unwrap();
        store.write(|tx| tx.sql.execute("INSERT INTO meta VALUES ('x', 'y')", []).map_err(StoreError::from)).unwrap();
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
                tx.sql
                    .query_row("SELECT value FROM meta WHERE name = 'x'", [], |row| row.get(0))
                    .map_err(StoreError::from)
            })
            .unwrap();
        assert_eq!(value, "y");
        copy.quick_check().unwrap();
        copy.full_check().unwrap().run().unwrap();
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

    #[test]
    fn a_name_that_is_no_text_is_refused_everywhere() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        let odd = folder.path().join(OsStr::from_bytes(b"b\xff.db"));
        assert!(store.backup(&odd).unwrap_err().to_string().contains("not UTF-8"));
        assert!(Store::open(&odd).map(drop).unwrap_err().to_string().contains("not UTF-8"));
        let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(names.into_iter().all(|name| name.to_str().is_some()));
        for name in ["file:x.db", "file:x.db?mode=memory", ":memory:", "a b%20c?#.db", "\u{fc}.db"] {
            let copy = store.backup(&folder.path().join(name)).unwrap().database;
            Store::open_to_read(&copy).unwrap();
        }
    }

    #[test]
    fn a_copy_without_the_history_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        let at = "2026-05-04T10:00:00Z".parse().unwrap();
        let other = Store::open(&folder.path().join("other.db")).unwrap();
        store.write(|tx| events::append(tx, at, None, &Event::other("test.done"))).unwrap();
        // The key and the history of another database.
        let mixed = Store { connection: other.connection, ..store };
        let to = folder.path().join("copy.db");
        assert!(mixed.backup(&to).unwrap_err().to_string().contains("does not hold"));
        let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(names.into_iter().all(|name| !name.to_string_lossy().contains("copy")));
    }

    #[test]
    fn each_backup_has_a_key_of_its_own_and_no_database_has_the_name_of_one() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        let mut names = std::collections::BTreeSet::new();
        for name in ["b-2026.01.02", "b-2026.01.03", "copy.db"] {
            let backup = store.backup(&folder.path().join(name)).unwrap();
            assert!(names.insert(backup.key.clone()) && backup.key != backup.database, "{name}");
            assert_eq!(fs::read(&backup.key).unwrap().len(), 32, "{name}");
        }
        assert!(names.contains(&folder.path().join("copy.key")));
        let refused = store.backup(&folder.path().join("x.key")).unwrap_err().to_string();
        assert!(refused.contains("x.key") && refused.contains("ends in .db"), "{refused}");
        assert!(!folder.path().join("x.key").exists());
        // Somebody's key is in the way.
        fs::write(folder.path().join("other.key"), "mine").unwrap();
        let refused = store.backup(&folder.path().join("other.db")).unwrap_err().to_string();
        assert!(refused.contains("other.db'") && refused.contains("other.key'"), "{refused}");
        assert!(!folder.path().join("other.db").exists());
    }
}
