//! The SQLite file: snapshots, signed statements, drifts, history and outbox. The only user of `rusqlite`.
//!
//! One file, mode 0600, WAL with full synchronisation: what was reported as recorded survives a power cut. Writers use
//! short `BEGIN IMMEDIATE` transactions, so the command line and the daemon can work on one file. Nothing is cached:
//! every read sees what the last transaction of any process left.

mod audit;
pub mod backlog;
mod backup;
pub mod baselines;
mod checkpoint;
pub mod clock_check;
pub mod cycles;
pub mod documents;
pub mod drifts;
pub mod events;
pub mod high_water_mark;
pub mod instances;
pub mod latest;
mod open;
pub mod outbox;
pub mod receivers;
pub mod retention;
mod schema;
pub mod section_incidents;
pub mod silences;
pub mod space;
mod state_cache;
mod unit_of_work;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use audit::contradiction;
pub use backup::FullCheck;
use chrono::{DateTime, Utc};
pub use open::make_folder;
use rusqlite::{Connection, ErrorCode, TransactionBehavior};
pub use schema::check_schema;
use state_cache::StateCache;
use tokio::runtime::{Handle, RuntimeFlavor};
pub use unit_of_work::UnitOfWork;

use crate::canonical::FingerprintKey;
use crate::history::{BrokenChain, Record};
use crate::model::InstanceId;
use crate::telemetry::{HighWaterBehind, Observable, Recorded};

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite's own words.
    #[error("cannot work on the database: {0}")]
    Sqlite(#[source] rusqlite::Error),
    /// A file beside the database, or the folder.
    #[error("cannot {action} '{path}': {source}")]
    File {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A file was not opened, for want of file handles.
    #[error("{0}; too many files are open, see LimitNOFILE= and `ulimit -n`")]
    OutOfFiles(String),
    /// The file is a database of something else.
    #[error("'{0}' is not a database of authdrift: choose another path, it is left as it is")]
    Foreign(PathBuf),
    /// A newer program made it.
    #[error(
        "'{path}' has version {found}, this program knows up to {known}: use the newer program, nothing was changed"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest this program knows.
        known: i64,
    },
    /// An older program made it, and it is only to be read.
    #[error(
        "'{path}' has version {found}, and this program reads version {known}: start the daemon or run `authdrift check`, \
         which bring it there; nothing was changed"
    )]
    Older {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The one this program reads.
        known: i64,
    },
    /// There is no database, and the command does not make one.
    #[error("there is no database at '{0}': run `authdrift check` first")]
    Missing(PathBuf),
    /// The fingerprint key is gone or another one.
    #[error(
        "the fingerprint key '{0}' is missing or is not the one this database was made with: every secret would look \
         replaced, so nothing is compared; restore the file from your backup, or, if there is none, run \
         `authdrift doctor --new-fingerprint-key`"
    )]
    Key(PathBuf),
    /// The fingerprint key is the right one.
    #[error(
        "the fingerprint key '{0}' is there and fits, so it was not replaced; if somebody may have read it, move it away first"
    )]
    KeyFits(PathBuf),
    /// Somebody planted or removed a table, trigger or view.
    #[error("{0}")]
    Schema(String),
    /// The history was edited, cut or reordered.
    #[error("{0}")]
    History(String),
    /// A row holds what this program never wrote.
    #[error("the database is damaged: {0}")]
    Damaged(String),
    /// What was to be written could not have been read again, so nothing was.
    #[error("{what} could not be read again, so it is not kept")]
    Unreadable {
        /// What.
        what: String,
        /// The section that it comes from, where that is known.
        section: Option<String>,
    },
}

impl From<BrokenChain> for StoreError {
    fn from(broken: BrokenChain) -> Self {
        Self::History(broken.to_string())
    }
}

impl StoreError {
    /// The stable name of the reason, with a heading in `docs/errors.md`.
    pub fn code(&self) -> &'static str {
        if self.is_full() {
            return "disk";
        }
        match self {
            Self::Sqlite(_) => "database",
            Self::File { .. } | Self::OutOfFiles(_) => "file",
            Self::Foreign(_) => "foreign-database",
            Self::Newer { .. } => "newer-database",
            Self::Older { .. } => "older-database",
            Self::Missing(_) => "no-database",
            Self::Key(_) => "fingerprint-key",
            Self::KeyFits(_) => "fingerprint-key-fits",
            Self::Schema(_) => "changed-schema",
            Self::History(_) => "history",
            Self::Damaged(_) => "damaged-database",
            Self::Unreadable { .. } => "unreadable",
        }
    }

    /// The same, of that section, if it is about what could not be read again.
    #[must_use]
    pub fn of_section(self, name: &str) -> Self {
        match self {
            Self::Unreadable { what, section: None } => Self::Unreadable { what, section: Some(name.to_owned()) },
            other => other,
        }
    }

    /// Whether there was no room on the disk: it goes away when there is.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Sqlite(error) => error.sqlite_error_code() == Some(ErrorCode::DiskFull),
            Self::File { source, .. } => source.kind() == io::ErrorKind::StorageFull,
            _ => false,
        }
    }

    /// Whether the file or the disk cannot be relied on any more, so that nothing may be written.
    pub fn is_broken(&self) -> bool {
        use ErrorCode::{CannotOpen, DatabaseCorrupt, NotADatabase, ReadOnly, SystemIoFailure};
        match self {
            Self::Sqlite(error) => matches!(
                error.sqlite_error_code(),
                Some(DatabaseCorrupt | NotADatabase | SystemIoFailure | ReadOnly | CannotOpen)
            ),
            Self::File { source, .. } => !self.is_full() && !space::is_out_of_files(source),
            // What is planted may take every message away before it is sent.
            Self::Schema(_) => true,
            _ => false,
        }
    }

    /// Whether what is in the file is not what this program wrote: pages, rows, schema or history.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Sqlite(error) => {
                matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
            }
            Self::Schema(_) | Self::History(_) | Self::Damaged(_) => true,
            _ => false,
        }
    }

    /// Whether somebody else may open the file, and not this user.
    pub fn is_denied(&self) -> bool {
        match self {
            Self::Sqlite(error) => {
                matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
            }
            Self::File { source, .. } => source.kind() == io::ErrorKind::PermissionDenied,
            Self::Missing(path) => {
                path.try_exists().is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
            }
            _ => false,
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        // SQLite does not say why it cannot open a file, and a moment later nobody can tell.
        if error.sqlite_error_code() == Some(ErrorCode::CannotOpen) && space::can_open_nothing() {
            return Self::OutOfFiles(format!("cannot work on the database: {error}"));
        }
        use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error};
        match error {
            // A row with another type of value than is ever written.
            FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..) | Utf8Error(..) => {
                Self::Damaged(error.to_string())
            }
            error => Self::Sqlite(error),
        }
    }
}

/// An open store. Cheap to clone; all clones share one connection.
#[derive(Clone)]
pub struct Store {
    connection: Arc<Mutex<Connection>>,
    cache: Arc<Mutex<StateCache>>,
    path: Arc<Path>,
    /// Which file that was when it was opened; nothing for one in memory.
    place: Option<(u64, u64)>,
    key: FingerprintKey,
    /// The last transaction that was to change something could not be written.
    is_stuck: Arc<AtomicBool>,
    /// Why the high-water file could not be raised to what was written last.
    unfinished: Arc<Mutex<Option<StoreError>>>,
}

/// One state of the database, seen or changed as a whole.
pub struct Transaction<'c> {
    sql: rusqlite::Transaction<'c>,
    cache: &'c Mutex<StateCache>,
    key: &'c FingerprintKey,
}

/// A result of the store.
pub type Stored<T> = Result<T, StoreError>;

impl Store {
    /// Opens the database at `path`, and makes it with its folder and fingerprint key if there is none.
    ///
    /// # Errors
    /// The folder cannot be written, or the file is foreign, newer, damaged or without its key.
    pub fn open(path: &Path) -> Stored<Self> {
        open::create_or_open(path)
    }

    /// Opens the database at `path` if there is one.
    ///
    /// # Errors
    /// [`StoreError::Missing`], or as [`Store::open`].
    pub fn open_existing(path: &Path) -> Stored<Self> {
        if !path.exists() {
            return Err(StoreError::Missing(path.to_owned()));
        }
        open::create_or_open(path)
    }

    /// Opens the database at `path` for reading alone: nothing is made, brought to another version or written.
    ///
    /// # Errors
    /// [`StoreError::Missing`] or [`StoreError::Older`], or as [`Store::open`].
    pub fn open_to_read(path: &Path) -> Stored<Self> {
        let (store, is_there) = open::open_to_look(path)?;
        is_there.map(|()| store)
    }

    /// The same, also if the fingerprint key is lost: then fingerprints of this store fit nothing, and the error says what is
    /// the matter with the key.
    ///
    /// # Errors
    /// As [`Store::open_to_read`].
    pub fn open_to_look(path: &Path) -> Stored<(Self, Stored<()>)> {
        open::open_to_look(path)
    }

    /// Makes a new fingerprint key for the database at `path`, because the old one is lost; the history says who did. Answers
    /// where a file was kept that was there and did not fit. The caller sees to it that nobody works with an old key.
    ///
    /// Once the key is replaced the answer is `Ok`; what failed after that is beside it, as [`Store::finished`] has it.
    ///
    /// # Errors
    /// [`StoreError::KeyFits`], or the files cannot be written; the key is as it was.
    pub fn replace_key(path: &Path, by: &str) -> Stored<(Option<PathBuf>, Stored<()>)> {
        open::replace_key(path, by)
    }

    /// A store that is gone with the program. Its fingerprints fit no other.
    ///
    /// # Errors
    /// There is no source of random numbers.
    pub fn temporary() -> Stored<Self> {
        open::temporary()
    }

    /// The key of this database's fingerprints.
    pub fn fingerprint_key(&self) -> &FingerprintKey {
        &self.key
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What `error` comes from: if something was planted in the schema, whatever fails fails because of it.
    #[must_use]
    pub fn explained(&self, error: StoreError) -> StoreError {
        match self.read(check_schema) {
            Err(planted @ StoreError::Schema(_)) => planted,
            _ => error,
        }
    }

    /// Makes sure that the file that is worked on is still the one at its path. One that was removed or replaced goes on to work
    /// for the process that has it open, and all that is written to it is lost with the process.
    ///
    /// # Errors
    /// It is gone, or it is another one.
    pub fn still_in_place(&self) -> Stored<()> {
        let Some(place) = self.place else { return Ok(()) };
        let failed = |source| {
            let path = self.path.to_path_buf();
            StoreError::File { action: "go on with the database", path, source }
        };
        match space::place_of(&self.path) {
            Ok(found) if found == place => Ok(()),
            Ok(_) => Err(failed(io::Error::other("another file was put in its place while the program ran"))),
            Err(source) => Err(failed(source)),
        }
    }

    /// Whether the last transaction that was to change something could not be written.
    pub fn is_stuck(&self) -> bool {
        self.is_stuck.load(Ordering::Relaxed)
    }

    /// Runs `work` in one transaction that sees one state and changes nothing.
    ///
    /// # Errors
    /// Whatever `work` answers.
    pub fn read<T, E: From<StoreError>>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T, E>) -> Result<T, E> {
        self.transaction(TransactionBehavior::Deferred, work)
    }

    /// Runs `work` in one transaction that is written whole or not at all.
    ///
    /// Once it is written the answer is `Ok`. That the high-water file could not be raised after that is logged, tried again
    /// with the next transaction, and answered by [`Store::finished`].
    ///
    /// # Errors
    /// Whatever `work` answers, or the database cannot be written; nothing was written then.
    pub fn write<T, E: From<StoreError>>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T, E>) -> Result<T, E> {
        self.transaction(TransactionBehavior::Immediate, work)
    }

    fn transaction<T, E: From<StoreError>>(
        &self,
        behavior: TransactionBehavior,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        // Waiting for another process or the disk must not hold up the requests of other instances.
        match Handle::try_current().map(|handle| handle.runtime_flavor()) {
            Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(|| self.transaction_here(behavior, work)),
            _ => self.transaction_here(behavior, work),
        }
    }

    fn transaction_here<T, E: From<StoreError>>(
        &self,
        behavior: TransactionBehavior,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        // A panic in `work` rolled its transaction back, so the connection is as good as before.
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(behavior, TransactionBehavior::Immediate) {
            let changes = connection.total_changes();
            let written = self.written(&mut connection, work);
            // One that had nothing to change says nothing.
            let is_changed = connection.total_changes() > changes;
            if written.is_err() || is_changed {
                self.is_stuck.store(written.is_err(), Ordering::Relaxed);
            }
            if is_changed && let Ok((_, recorded)) = &written {
                let is_much = *recorded >= checkpoint::EVENTS;
                // What was written is written. Without a checkpoint the next program replays further.
                let _ = self.cache().save_checkpoint(&mut connection, &self.key, is_much);
            }
            return written.map(|(outcome, _)| outcome);
        }
        let sql = connection.transaction_with_behavior(behavior).map_err(StoreError::from)?;
        let transaction = Transaction { sql, cache: &self.cache, key: &self.key };
        // Nothing was changed, and whatever is wrong with the file was answered by what read it.
        work(&transaction)
    }

    /// Answers how many events it recorded, too.
    fn written<T, E: From<StoreError>>(
        &self,
        connection: &mut Connection,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<(T, u64), E> {
        let sql = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(StoreError::from)?;
        let transaction = Transaction { sql, cache: &self.cache, key: &self.key };
        let before = events::mark(&transaction)?.map_or(0, |mark| mark.size);
        let outcome = work(&transaction)?;
        let recorded = events::after(&transaction, before)?;
        high_water_mark::expect_from_now_on(&transaction.sql)?;
        transaction.commit()?;
        // Said when it is certain, and not before.
        for Record { seq, instance, event, .. } in &recorded {
            Recorded { seq: *seq, instance: instance.as_ref(), event }.observe();
        }
        let raised = high_water_mark::advance(connection);
        if let Err(error) = &raised {
            HighWaterBehind { error }.observe();
        }
        *self.unfinished.lock().unwrap_or_else(PoisonError::into_inner) = raised.err();
        Ok((outcome, u64::try_from(recorded.len()).unwrap_or(u64::MAX)))
    }

    /// Whether the high-water file has all that was written; asked once, by those who wrote.
    ///
    /// # Errors
    /// The file could not be raised. What was written is in the database all the same.
    pub fn finished(&self) -> Stored<()> {
        self.unfinished.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
    }

    /// Takes the database for what it is from now on, as far as `instance` is concerned: somebody signed a baseline on top of
    /// it. Whether it is older than it was is no longer asked.
    ///
    /// # Errors
    /// The database cannot be read, or the file beside it cannot be written.
    pub fn accept_rollback(&self, instance: &InstanceId) -> Stored<()> {
        self.with_connection(|connection| {
            let tx = connection.unchecked_transaction()?;
            checkpoint::remove_unusable(&tx, &self.key)?;
            tx.commit()?;
            high_water_mark::accept_rollback(connection, instance)
        })?;
        *self.cache() = StateCache::default();
        Ok(())
    }

    /// Runs `work` outside of any transaction.
    fn with_connection<T>(&self, work: impl FnOnce(&Connection) -> Stored<T>) -> Stored<T> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        work(&connection)
    }

    /// Writes a checkpoint of the history, however little is new. Writers do so by themselves when much is.
    ///
    /// # Errors
    /// The database cannot be written, or as [`Transaction::history`].
    pub fn save_checkpoint(&self) -> Stored<()> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        self.cache().save_checkpoint(&mut connection, &self.key, true)
    }

    fn cache(&self) -> MutexGuard<'_, StateCache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the log back into the file, as the last thing before the program ends.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn checkpoint(&self) -> Stored<()> {
        self.with_connection(|connection| {
            Ok(connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
        })
    }
}

/// An instant as it is stored: Unix milliseconds.
fn to_millis(at: DateTime<Utc>) -> i64 {
    at.timestamp_millis()
}

fn from_millis(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).unwrap_or_default()
}

/// Reads JSON that this program wrote.
fn read_json<T: serde::de::DeserializeOwned>(text: &str) -> Stored<T> {
    serde_json::from_str(text).map_err(|error| StoreError::Damaged(error.to_string()))
}

fn write_json<T: serde::Serialize>(value: &T) -> Stored<String> {
    serde_json::to_string(value).map_err(|error| StoreError::Damaged(error.to_string()))
}
