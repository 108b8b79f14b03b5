//! An attacker with write access to the database, who does not use our code.

use std::path::Path;

use rusqlite::Connection;
use serde_json::Value;

use crate::cli::CliError;
use crate::exit::Exit;

/// The statement before the edit.
pub(super) struct Original {
    row: i64,
    statement: Vec<u8>,
}

/// Makes the newest reading of `instance` look approved: its digests take the place of the signed ones.
pub(super) fn edit_baseline(database: &Path, instance: &str) -> Result<Original, CliError> {
    let connection = open(database)?;
    let (row, statement, digest, sections): (i64, Vec<u8>, String, String) = connection
        .query_row(
            "SELECT s.rowid, s.statement, n.digest, n.sections
             FROM instances i JOIN statements s ON s.instance_id = i.id JOIN snapshots n ON n.instance_id = i.id
             WHERE i.name = ?1 ORDER BY s.sequence, n.id DESC LIMIT 1",
            [instance],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )
        .map_err(failed)?;
    let mut edited: Value = serde_json::from_slice(&statement)?;
    if let Some(subject) = edited.pointer_mut("/subject").and_then(Value::as_object_mut) {
        subject.insert("sections".to_owned(), serde_json::from_str(&sections)?);
        subject.insert("snapshot".to_owned(), Value::String(digest));
    }
    let edited = serde_json::to_vec(&edited)?;
    connection.execute("UPDATE statements SET statement = ?2 WHERE rowid = ?1", (row, edited)).map_err(failed)?;
    Ok(Original { row, statement })
}

/// Puts the statement back.
pub(super) fn undo(database: &Path, original: &Original) -> Result<(), CliError> {
    let connection = open(database)?;
    let undo = "UPDATE statements SET statement = ?2 WHERE rowid = ?1";
    connection.execute(undo, (original.row, &original.statement)).map_err(failed)?;
    Ok(())
}

fn open(database: &Path) -> Result<Connection, CliError> {
    Connection::open(database).map_err(failed)
}

fn failed(error: rusqlite::Error) -> CliError {
    CliError::new(Exit::Io, format!("the demo's attacker cannot edit the database: {error}"))
}
