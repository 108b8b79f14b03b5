//! Opening: file modes, settings, migrations, the fingerprint key.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior};
use rustix::fs::{Access, access};
use url::Url;

use super::{Store, StoreError, Stored, events};
use crate::canonical::FingerprintKey;
use crate::clock::{Clock, SystemClock};
use crate::history::Event;
use crate::history::data::{Migration, ReplacedKey};
use crate::telemetry::{FileTooOpen, HighWaterBehind, Observable};
use crate::whole_file::{self, sync_folder_of};

/// `adft`: says whose file it is.
const APPLICATION_ID: i64 = 0x6164_6674;

/// One entry per version; a released one never changes.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_start.sql"),
    include_str!("migrations/0002_reading.sql"),
    include_str!("migrations/0003_receivers.sql"),
    include_str!("migrations/0004_folded.sql"),
    include_str!("migrations/0005_events_by_kind.sql"),
    include_str!("migrations/0006_years.sql"),
    include_str!("migrations/0007_order.sql"),
    include_str!("migrations/0008_line.sql"),
    include_str!("migrations/0009_cause.sql"),
    include_str!("migrations/0010_told.sql"),
    include_str!("migrations/0011_pruned.sql"),
    include_str!("migrations/0012_checkpoint.sql"),
];

/// The first SQLite without the WAL-reset fault that can corrupt a file with two connections.
const OLDEST_SQLITE: i32 = 3_051_003;

pub(super) fn create_or_open(path: &Path) -> Stored<Store> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        return Err(StoreError::Damaged(format!("SQLite {} can corrupt the file", rusqlite::version())));
    }
    let is_new = prepare_file(path)?;
    make_private(path)?;
    let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    configure(&connection, path)?;
    migrate(&mut connection, path)?;
    let key = fingerprint_key(&mut connection, path, is_new)?;
    if let Err(error) = super::high_water_mark::begin(&connection) {
        HighWaterBehind { error: &error }.observe();
    }
    Ok(store(connection, path, key))
}

fn store(connection: Connection, path: &Path, key: FingerprintKey) -> Store {
    Store {
        connection: Arc::new(Mutex::new(connection)),
        cache: Arc::default(),
        path: Arc::from(path),
        place: super::space::place_of(path).ok(),
        key,
        is_stuck: Arc::default(),
        unfinished: Arc::default(),
    }
}

/// Opens the file of that name and no other: what begins with `file:` is an address to SQLite, and an absolute path is none.
pub(super) fn connect(path: &Path, flags: OpenFlags) -> Stored<Connection> {
    let connection = Connection::open_with_flags(name_for_sqlite(path)?, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection)
}

/// A path as SQLite takes it for what it is.
///
/// # Errors
/// It is not UTF-8: SQLite would work on the file, and the files beside it would be looked for elsewhere.
pub(super) fn name_for_sqlite(path: &Path) -> Stored<String> {
    let failed = |source| file_error("name a database", path, source);
    let absolute = std::path::absolute(path).map_err(failed)?;
    let name = absolute.into_os_string().into_string();
    name.map_err(|_| failed(io::Error::new(ErrorKind::InvalidInput, "its name is not UTF-8; choose another one")))
}

/// Opens a database for reading alone: nothing is made, brought to another version or written, not even by mistake.
/// Answers whether its key is there, too: without it, what is opened has one that fits nothing.
pub(super) fn open_to_look(path: &Path) -> Stored<(Store, Stored<()>)> {
    if !path.exists() {
        return Err(StoreError::Missing(path.to_owned()));
    }
    looking(connect_to_look(path)?, path)
}

/// A connection that cannot write.
///
/// SQLite keeps a file beside the database while somebody reads it. Where this user cannot write that, and nobody works on
/// the database, it is read as a file that does not change.
pub(super) fn connect_to_look(path: &Path) -> Stored<Connection> {
    use rusqlite::ErrorCode::{CannotOpen, ReadOnly};
    let is_for_want_of_writing = |error: &StoreError| match error {
        StoreError::Sqlite(error) => matches!(error.sqlite_error_code(), Some(ReadOnly | CannotOpen)),
        _ => false,
    };
    let opened = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY).and_then(|connection| only_looking(connection, path));
    match opened {
        Err(error) if is_for_want_of_writing(&error) => {}
        opened => return opened,
    }
    let Err(denied) = check_writable(path) else {
        // What was begun before a power cut has to be undone in the file first; even then nothing else is written.
        return connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE).and_then(|connection| only_looking(connection, path));
    };
    let log = fs::metadata(format!("{}-wal", name_for_sqlite(path)?));
    if log.is_ok_and(|log| log.len() > 0) || fs::File::open(path).is_err() {
        return Err(denied);
    }
    let mut address = Url::from_file_path(name_for_sqlite(path)?)
        .map_err(|()| file_error("name a database", path, ErrorKind::InvalidInput.into()))?;
    address.set_query(Some("immutable=1"));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    only_looking(Connection::open_with_flags(address.as_str(), flags)?, path)
}

fn only_looking(connection: Connection, path: &Path) -> Stored<Connection> {
    refuse_foreign(&connection, path)?;
    protect(&connection)?;
    connection.execute_batch("PRAGMA query_only = ON; PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0;")?;
    Ok(connection)
}

/// Whether this user may write the database and beside it; SQLite would only say that something is read-only.
fn check_writable(path: &Path) -> Stored<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    access(folder, Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|error| file_error("write in the folder of the database", folder, error.into()))?;
    access(path, Access::READ_OK | Access::WRITE_OK)
        .map_err(|error| file_error("write the database", path, error.into()))
}

fn looking(mut connection: Connection, path: &Path) -> Stored<(Store, Stored<()>)> {
    let (found, known): (i64, _) = (connection.query_row("PRAGMA user_version", [], |row| row.get(0))?, newest());
    match found {
        // Whoever began to make it was stopped before there was anything in it.
        0 => return Err(StoreError::Missing(path.to_owned())),
        found if found > known => return Err(StoreError::Newer { path: path.to_owned(), found, known }),
        found if found < known => return Err(StoreError::Older { path: path.to_owned(), found, known }),
        _ => {}
    }
    let key_path = path.with_extension("key");
    let transaction = connection.transaction()?;
    let expected = expected_key(&transaction)?;
    if expected.is_none() && events::mark_of(&transaction)?.is_none() {
        return Err(StoreError::Missing(path.to_owned()));
    }
    drop(transaction);
    let (key, is_there) = match read_key(&key_path) {
        // Where the name of the key is gone, `verify` says so.
        Ok(Some(key)) if expected.as_ref().is_none_or(|expected| *expected == key.id()) => (key, Ok(())),
        Ok(_) => (FingerprintKey::new(random_bytes()?), Err(StoreError::Key(key_path))),
        Err(error) => (FingerprintKey::new(random_bytes()?), Err(error)),
    };
    let store = store(connection, path, key);
    Ok((store, is_there))
}

/// Makes another key where the one that the database was made with is lost, and keeps in the history that it did. A file that
/// does not fit is kept under another name, which is the answer.
///
/// Once the key and the event are written the answer is `Ok`, with what could not be done after that.
pub(super) fn replace_key(path: &Path, by: &str) -> Stored<(Option<PathBuf>, Stored<()>)> {
    if !path.exists() {
        return Err(StoreError::Missing(path.to_owned()));
    }
    check_writable(path)?;
    let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    configure(&connection, path)?;
    migrate(&mut connection, path)?;
    let key_path = path.with_extension("key");
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let expected = expected_key(&transaction)?;
    let found = match read_key(&key_path) {
        Ok(found) => found,
        // Not a key at all, which is as good as another one.
        Err(StoreError::Key(_)) => None,
        Err(error) => return Err(error),
    };
    if found.as_ref().is_some_and(|key| expected.as_ref().is_none_or(|expected| *expected == key.id())) {
        return Err(StoreError::KeyFits(key_path));
    }
    let kept = set_aside(&key_path)?;
    // Before the commit: a crash in between leaves a key that does not fit, and this can be done again.
    let key = make_key(&key_path, path)?;
    transaction.execute("INSERT OR REPLACE INTO meta (name, value) VALUES ('fingerprint-key', ?1)", [key.id()])?;
    let replaced = ReplacedKey { was: expected, is: key.id(), by: by.to_owned() };
    events::append_to(&transaction, SystemClock.now(), None, &Event::StoreKeyReplaced(replaced))?;
    // Its code was made with the old key.
    super::checkpoint::remove(&transaction)?;
    super::high_water_mark::expect_from_now_on(&transaction)?;
    transaction.commit()?;
    Ok((kept, super::high_water_mark::advance(&connection)))
}

/// Gives the file at `path` a name that nothing has yet.
fn set_aside(path: &Path) -> Stored<Option<PathBuf>> {
    if path.symlink_metadata().is_err() {
        return Ok(None);
    }
    let names = (1..).map(|number| match number {
        1 => path.with_added_extension("old"),
        number => path.with_added_extension(format!("old{number}")),
    });
    let free = names.into_iter().find(|name: &PathBuf| name.symlink_metadata().is_err()).unwrap_or_default();
    fs::rename(path, &free).map_err(|source| file_error("keep the old fingerprint key at", &free, source))?;
    Ok(Some(free))
}

/// A store that is gone with the program, for looking without leaving anything behind.
pub(super) fn temporary() -> Stored<Store> {
    let path = Path::new(":memory:");
    let mut connection = Connection::open_in_memory()?;
    migrate(&mut connection, path)?;
    let key = FingerprintKey::new(random_bytes()?);
    Ok(store(connection, path, key))
}

/// Makes the folder that the database at `path` lies in, for this user alone, if there is none.
///
/// # Errors
/// It cannot be made.
pub fn make_folder(path: &Path) -> Stored<()> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) else {
        return Ok(());
    };
    let failed = |source| file_error("create the folder", folder, source);
    let missing: Vec<&Path> = folder.ancestors().take_while(|folder| !folder.exists()).collect();
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    // A power cut may not take the folder away with everything that was recorded in it.
    missing
        .iter()
        .filter(|folder| !folder.as_os_str().is_empty())
        .try_for_each(|folder| sync_folder_of(folder))
        .map_err(failed)
}

/// Makes the folder and an empty file that only this user can read: SQLite's side files take the mode of the main
/// one, so it has to be right before the first write. Answers whether the file is new.
fn prepare_file(path: &Path) -> Stored<bool> {
    name_for_sqlite(path)?;
    make_folder(path)?;
    if let Ok(metadata) = fs::metadata(path) {
        check_writable(path)?;
        return Ok(metadata.len() == 0);
    }
    // Of the owner of the folder: root may be the first who works on it, and the service has to go on with it.
    let made = whole_file::open_in_place(path, path);
    made.map(|_| true).map_err(|source| file_error("create the database", path, source))
}

/// Takes away what others may do with a file that was made too open or opened up later.
fn make_private(path: &Path) -> Stored<()> {
    let Ok(metadata) = fs::metadata(path) else { return Ok(()) };
    if metadata.permissions().mode() & 0o077 != 0 {
        let advice = "others could read or write this file; its mode is now 0600";
        FileTooOpen { file: &path.display().to_string(), advice }.observe();
        let private = fs::set_permissions(path, Permissions::from_mode(0o600));
        private.map_err(|source| file_error("make private", path, source))?;
    }
    Ok(())
}

fn refuse_foreign(connection: &Connection, path: &Path) -> Stored<()> {
    let application: i64 =
        connection.query_row("PRAGMA application_id", [], |row| row.get(0)).map_err(|error| not_ours(error, path))?;
    let objects: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(|error| not_ours(error, path))?;
    if application != APPLICATION_ID && (application != 0 || objects > 0) {
        return Err(StoreError::Foreign(path.to_owned()));
    }
    Ok(())
}

fn protect(connection: &Connection) -> Stored<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    Ok(())
}

fn configure(connection: &Connection, path: &Path) -> Stored<()> {
    refuse_foreign(connection, path)?;
    protect(connection)?;
    // Only a file that is still empty takes it: then what is pruned later can be given back to the disk. Another one would
    // be written to, and nothing is written before it was looked at.
    let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
    if pages == 0 {
        connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL;")?;
    }
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(StoreError::Damaged(format!(
            "the file system allows only journal mode '{mode}'; a local one is needed"
        )));
    }
    connection.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0;
         PRAGMA journal_size_limit = 16777216; PRAGMA secure_delete = FAST; PRAGMA cache_size = -500;",
    )?;
    Ok(())
}

fn not_ours(error: rusqlite::Error, path: &Path) -> StoreError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => StoreError::Foreign(path.to_owned()),
        _ => StoreError::Sqlite(error),
    }
}

/// The newest version of a file that this program knows.
fn newest() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// Brings the file to the newest version, in one transaction.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Stored<()> {
    let known = newest();
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    for migration in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or_default()) {
        transaction.execute_batch(migration)?;
    }
    if found < known {
        transaction.pragma_update(None, "user_version", known)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    // A new file has no history that could have been told otherwise before.
    if (1..known).contains(&found) {
        let migration = Event::StoreMigrated(Migration { from: found, to: known });
        events::append_to(&transaction, SystemClock.now(), None, &migration)?;
    }
    transaction.commit()?;
    Ok(())
}

/// The key beside the database: made with it, and required from then on.
fn fingerprint_key(connection: &mut Connection, path: &Path, is_new: bool) -> Stored<FingerprintKey> {
    let key_path = path.with_extension("key");
    make_private(&key_path)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let expected = expected_key(&transaction)?;
    let key = match (read_key(&key_path)?, &expected) {
        (Some(key), Some(expected)) if key.id() == *expected => key,
        (_, Some(_)) => return Err(StoreError::Key(key_path)),
        // A crash between writing the key and the first commit leaves a key that nothing was made with yet.
        (Some(key), None) => key,
        (None, None) if is_new || expected.is_none() => make_key(&key_path, path)?,
        (None, None) => return Err(StoreError::Key(key_path)),
    };
    if expected.is_none() {
        transaction.execute("INSERT INTO meta (name, value) VALUES ('fingerprint-key', ?1)", [key.id()])?;
    }
    transaction.commit()?;
    Ok(key)
}

/// What the key is called that the database was made with.
pub(super) fn expected_key(transaction: &Transaction<'_>) -> Stored<Option<String>> {
    let expected = transaction
        .query_row("SELECT value FROM meta WHERE name = 'fingerprint-key'", [], |row| row.get(0))
        .optional()?;
    Ok(expected)
}

fn read_key(path: &Path) -> Stored<Option<FingerprintKey>> {
    let mut file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(file_error("read the fingerprint key", path, source)),
    };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|source| file_error("read the fingerprint key", path, source))?;
    let bytes: [u8; 32] = bytes.try_into().map_err(|_| StoreError::Key(path.to_owned()))?;
    Ok(Some(FingerprintKey::new(bytes)))
}

fn random_bytes() -> Stored<[u8; 32]> {
    let mut bytes = [0; 32];
    let made = aws_lc_rs::rand::fill(&mut bytes);
    made.map_err(|_| StoreError::Damaged("there are no random bytes for a key".to_owned()))?;
    Ok(bytes)
}

/// On the disk before the database says that it is there.
fn make_key(path: &Path, database: &Path) -> Stored<FingerprintKey> {
    let bytes = random_bytes()?;
    let written = whole_file::write(path, &bytes, Some(database));
    written.map_err(|source| file_error("write the fingerprint key", path, source))?;
    Ok(FingerprintKey::new(bytes))
}

fn file_error(action: &'static str, path: &Path, source: std::io::Error) -> StoreError {
    StoreError::File { action, path: PathBuf::from(path), source }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::schema::check_schema;
    use super::*;
    use crate::history::Record;

    #[test]
    fn a_new_database_is_private_and_opens_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/authdrift.db");
        let id = Store::open(&path).unwrap().fingerprint_key().id();
        let store = Store::open_existing(&path).unwrap();
        store.write(|tx| tx.sql.execute("INSERT INTO meta VALUES ('x', 'y')", []).map_err(StoreError::from)).unwrap();
        assert_eq!(store.fingerprint_key().id(), id);
        for name in ["authdrift.db", "authdrift.db-wal", "authdrift.db-shm", "authdrift.key"] {
            let mode = fs::metadata(path.with_file_name(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_lost_or_foreign_key_stops_everything() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("authdrift.db");
        drop(Store::open(&path).unwrap());
        let key = path.with_extension("key");
        fs::write(&key, [9; 32]).unwrap();
        assert!(matches!(Store::open(&path), Err(StoreError::Key(_))));
        fs::remove_file(&key).unwrap();
        assert!(matches!(Store::open(&path), Err(StoreError::Key(_))));
        assert!(!key.exists());
    }

    #[test]
    fn a_store_for_reading_writes_nothing_and_makes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("authdrift.db");
        assert!(matches!(Store::open_to_read(&path), Err(StoreError::Missing(_))));
        let id = Store::open(&path).unwrap().fingerprint_key().id();
        let store = Store::open_to_read(&path).unwrap();
        assert_eq!(store.fingerprint_key().id(), id);
        let written =
            store.write(|tx| tx.sql.execute("INSERT INTO meta VALUES ('x', 'y')", []).map_err(StoreError::from));
        assert!(written.is_err());
        store.quick_check().unwrap();
        drop(store);

        let half = folder.path().join("half.db");
        fs::write(&half, "").unwrap();
        assert!(matches!(Store::open_to_read(&half), Err(StoreError::Missing(_))));

        let old = Connection::open(&path).unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        assert!(matches!(Store::open_to_read(&path), Err(StoreError::Older { found: 1, .. })));
        old.pragma_update(None, "user_version", newest()).unwrap();
        drop(old);

        let key = path.with_extension("key");
        fs::remove_file(&key).unwrap();
        assert!(matches!(Store::open_to_read(&path), Err(StoreError::Key(_))));
        let (lost, is_there) = Store::open_to_look(&path).unwrap();
        assert!(matches!(is_there, Err(StoreError::Key(_))) && lost.fingerprint_key().id() != id);
        assert!(!key.exists());
    }

    #[test]
    fn a_key_that_fits_is_never_replaced_and_one_that_does_not_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("authdrift.db");
        let first = Store::open(&path).unwrap().fingerprint_key().id();
        let key = path.with_extension("key");
        assert!(matches!(Store::replace_key(&path, "alice@host"), Err(StoreError::KeyFits(_))));
        assert_eq!(Store::open(&path).unwrap().fingerprint_key().id(), first);

        fs::remove_file(&key).unwrap();
        assert_eq!(Store::replace_key(&path, "alice@host").unwrap().0, None);
        let second = Store::open(&path).unwrap().fingerprint_key().id();
        assert_ne!(first, second);
        for (content, name) in [(vec![9; 32], "authdrift.key.old"), (vec![1], "authdrift.key.old2")] {
            fs::write(&key, &content).unwrap();
            let kept = Store::replace_key(&path, "alice@host").unwrap().0.unwrap();
            assert_eq!((kept.file_name().unwrap().to_str().unwrap(), fs::read(&kept).unwrap()), (name, content));
        }
        let store = Store::open(&path).unwrap();
        let events = store.read(|tx| events::all::<Record>(tx, None)).unwrap();
        assert!(events.iter().all(|record| matches!(record.event, Event::StoreKeyReplaced(_))) && events.len() == 3);
        let replaced = ReplacedKey { was: Some(first), is: second, by: "alice@host".to_owned() };
        assert_eq!(events[0].event, Event::StoreKeyReplaced(replaced));
        assert_eq!(store.read(|tx| store.audit(tx)).unwrap(), Vec::<String>::new());
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_migration_is_kept_in_the_history_and_a_new_database_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("authdrift.db");
        let old = Connection::open(&path).unwrap();
        old.execute_batch(MIGRATIONS[0]).unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        old.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        drop(old);
        for _ in 0..2 {
            let store = Store::open(&path).unwrap();
            let events = store.read(|tx| events::all::<Record>(tx, None)).unwrap();
            let to = i64::try_from(MIGRATIONS.len()).unwrap();
            let events: Vec<Event> = events.into_iter().map(|record| record.event).collect();
            assert_eq!(events, [Event::StoreMigrated(Migration { from: 1, to })]);
            store.read(|tx| tx.whole_history().map(drop)).unwrap();
        }
        let new = Store::open(&folder.path().join("new.db")).unwrap();
        assert!(new.read(|tx| events::all::<Record>(tx, None)).unwrap().is_empty());
    }

    /// A database of that version with a row in every table that was there then, as far as it does not depend on others.
    fn of_version(path: &Path, version: usize) {
        let old = Connection::open(path).unwrap();
        for migration in &MIGRATIONS[..version] {
            old.execute_batch(migration).unwrap();
        }
        let document = crate::canonical::Document::new(&json!({ "a": 1 }));
        let body = super::super::documents::pack(document.bytes()).unwrap();
        old.execute("INSERT INTO documents VALUES (?1, ?2)", (document.digest().as_str(), body)).unwrap();
        old.execute_batch(
            "INSERT INTO instances VALUES (1, 'clerk:prod', 5);
             INSERT INTO section_news (instance_id, section, news, since, cycles, is_told)
                 VALUES (1, 'jwt_templates', 'blind', 1, 2, 0);
             INSERT INTO cycles (instance_id, at, duration, requests, verdict) VALUES (1, 1, 2, 3, 'in_sync');
             INSERT INTO outbox (id, receiver, instance, alert, subject, created_at, state, next_at)
                 VALUES ('msg_1', 'siem', 'clerk:prod', '{}', 's', 1, 'waiting', 2);
             INSERT INTO threads VALUES (1, 'siem', 'msg_1', 's', 'high');",
        )
        .unwrap();
        old.pragma_update(None, "user_version", i64::try_from(version).unwrap()).unwrap();
        old.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
    }

    #[test]
    fn every_version_is_brought_to_the_newest_with_what_is_in_it_and_never_by_a_reader() {
        let folder = tempfile::tempdir().unwrap();
        for version in 1..MIGRATIONS.len() {
            let path = folder.path().join(format!("{version}.db"));
            of_version(&path, version);
            match Store::open_to_read(&path).map(drop) {
                Err(StoreError::Older { found, known, .. }) => {
                    assert_eq!((found, known), (i64::try_from(version).unwrap(), newest()));
                }
                other => panic!("{version}: {other:?}"),
            }
            let store = Store::open(&path).unwrap();
            let kept = |query: &str| {
                let one = |tx: &super::super::Transaction<'_>| -> Stored<i64> {
                    Ok(tx.sql.query_row(query, [], |row| row.get(0))?)
                };
                store.read(one).unwrap()
            };
            for table in ["documents", "instances", "section_news", "cycles", "outbox", "threads", "events"] {
                assert_eq!(kept(&format!("SELECT count(*) FROM {table}")), 1, "{version}: {table}");
            }
            assert_eq!(kept("SELECT cycles FROM section_news WHERE section = 'jwt_templates'"), 2);
            let due = if version < 10 { 1 } else { 2 };
            assert_eq!(kept("SELECT next_at FROM outbox WHERE id = 'msg_1'"), due, "the history tells of no try");
            store.read(check_schema).unwrap();
            store.full_check().unwrap().run().unwrap();
            drop(store);
            Store::open_to_read(&path).unwrap();
        }
    }

    #[test]
    fn foreign_newer_and_missing_files_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("text.db"), "hello, I am not a database, and long enough to be read as a header of one").unwrap();
        assert!(matches!(Store::open(&at("text.db")), Err(StoreError::Foreign(_))));

        let other = Connection::open(at("other.db")).unwrap();
        other.execute_batch("CREATE TABLE somebody_elses (x)").unwrap();
        assert!(matches!(Store::open(&at("other.db")), Err(StoreError::Foreign(_))));

        let store = Store::open(&at("newer.db")).unwrap();
        store.connection.lock().unwrap().pragma_update(None, "user_version", 99).unwrap();
        drop(store);
        assert!(matches!(Store::open(&at("newer.db")), Err(StoreError::Newer { found: 99, .. })));
        assert!(matches!(Store::open_to_read(&at("newer.db")), Err(StoreError::Newer { found: 99, .. })));
        assert!(matches!(Store::open_existing(&at("none.db")), Err(StoreError::Missing(_))));
    }
}
