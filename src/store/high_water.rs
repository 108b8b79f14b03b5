//! What the history was at its highest, remembered outside of the database.
//!
//! An older genuine copy of a database is sound in itself: nothing in it can say that something is missing. This file
//! beside it can. It is written after every commit that added to the history, and before anybody is told of it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, Transaction};
use serde::{Deserialize, Serialize};

use super::{StoreError, Stored, events};
use crate::model::{HistoryMark, InstanceId};

/// In `meta`: that there was such a file, so that its loss is noticed.
const META: &str = "high-water";

/// The highest point that was reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HighWater {
    /// The history.
    pub log: HistoryMark,
    /// The newest baseline of every instance.
    pub sequences: BTreeMap<InstanceId, u64>,
}

/// How a database falls short of what was reached before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RolledBack {
    /// The history is shorter, or another one.
    #[error(
        "the history had {reached} events on this machine, and the database's is another one or ends earlier: an older copy \
         was put in its place"
    )]
    History {
        /// Events there were.
        reached: u64,
    },
    /// The instance had a newer baseline.
    #[error("baseline {reached} was approved on this machine, and the newest in the database is {found}")]
    Baseline {
        /// The newest there was.
        reached: u64,
        /// The newest there is.
        found: u64,
    },
    /// The file is gone or was damaged.
    #[error(
        "the high-water file beside the database is missing or damaged, so nobody can tell whether the database is older than it was"
    )]
    Lost,
}

/// Where the file is; nowhere for a database in memory.
fn path_of(connection: &Connection) -> Option<PathBuf> {
    let path = connection.path().filter(|path| !path.is_empty())?;
    Some(Path::new(path).with_extension("high-water"))
}

/// Compares the database with what was reached before, as far as `instance` is concerned. Nothing was reached in a database
/// that never had a history.
///
/// # Errors
/// The database cannot be read.
pub fn compare(tx: &Transaction<'_>, instance: &InstanceId) -> Stored<Result<(), RolledBack>> {
    let Some(path) = path_of(tx) else { return Ok(Ok(())) };
    let reached = match read(&path) {
        Ok(Some(reached)) => reached,
        Ok(None) if !was_written(tx)? => return Ok(Ok(())),
        Ok(None) | Err(_) => return Ok(Err(RolledBack::Lost)),
    };
    if events::head_at(tx, reached.log.size)?.as_ref() != Some(&reached.log.head) {
        return Ok(Err(RolledBack::History { reached: reached.log.size }));
    }
    let found = sequences(tx)?.get(instance).copied().unwrap_or_default();
    let highest = reached.sequences.get(instance).copied().unwrap_or_default();
    Ok(if found < highest { Err(RolledBack::Baseline { reached: highest, found }) } else { Ok(()) })
}

/// What is to be written after the commit of `tx`: the file raised to where the database stands, or left alone if the
/// database fell back.
pub(super) fn raised(tx: &Transaction<'_>) -> Stored<Option<HighWater>> {
    let (Some(path), Some(log)) = (path_of(tx), events::mark(tx)?) else { return Ok(None) };
    let now = HighWater { log, sequences: sequences(tx)? };
    let is_first = !was_written(tx)?;
    let Ok(reached) = read(&path) else { return Ok(None) };
    let raised = match reached {
        None if !is_first => return Ok(None),
        None => now,
        Some(reached) => {
            if reached == now || events::head_at(tx, reached.log.size)?.as_ref() != Some(&reached.log.head) {
                return Ok(None);
            }
            let mut sequences = now.sequences;
            for (instance, highest) in reached.sequences {
                let sequence = sequences.entry(instance).or_default();
                *sequence = highest.max(*sequence);
            }
            HighWater { log: now.log, sequences }
        }
    };
    if is_first {
        tx.execute("INSERT INTO meta (name, value) VALUES (?1, 'written')", [META])?;
    }
    Ok(Some(raised))
}

/// What is to be written when somebody has acknowledged, with a signature, that the database is what it is: the history
/// as it stands, and for `instance` its newest baseline. Other instances still have to be acknowledged.
pub(super) fn acknowledged(tx: &Transaction<'_>, instance: &InstanceId) -> Stored<Option<HighWater>> {
    let (Some(path), Some(log)) = (path_of(tx), events::mark(tx)?) else { return Ok(None) };
    let now = sequences(tx)?;
    let mut sequences = match read(&path) {
        Ok(Some(reached)) => reached.sequences,
        Ok(None) | Err(_) => now.clone(),
    };
    if let Some(sequence) = now.get(instance) {
        sequences.insert(instance.clone(), *sequence);
    }
    Ok(Some(HighWater { log, sequences }))
}

/// Writes the file whole, on the disk before this returns.
pub(super) fn write(connection: &Connection, reached: &HighWater) -> Stored<()> {
    let Some(path) = path_of(connection) else { return Ok(()) };
    let failed = |source| StoreError::File { action: "write the high-water file", path: path.clone(), source };
    let part = path.with_added_extension("part");
    let text = serde_json::to_vec(reached).map_err(|error| failed(io::Error::other(error)))?;
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part).map_err(failed)?;
    file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&part, &path).map_err(failed)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.map_or(Ok(()), |folder| File::open(folder)?.sync_all()).map_err(failed)
}

fn read(path: &Path) -> io::Result<Option<HighWater>> {
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(io::Error::other),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn was_written(tx: &Transaction<'_>) -> Stored<bool> {
    Ok(tx.prepare_cached("SELECT 1 FROM meta WHERE name = ?1")?.exists([META])?)
}

/// The newest baseline of every instance that has one.
fn sequences(tx: &Transaction<'_>) -> Stored<BTreeMap<InstanceId, u64>> {
    let mut query = tx.prepare_cached(
        "SELECT i.name, max(s.sequence) FROM statements s JOIN instances i ON i.id = s.instance_id GROUP BY i.name",
    )?;
    let rows = query.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
    let mut sequences = BTreeMap::new();
    for row in rows {
        let (name, sequence) = row?;
        if let (Ok(instance), Ok(sequence)) = (name.parse(), u64::try_from(sequence)) {
            sequences.insert(instance, sequence);
        }
    }
    Ok(sequences)
}
