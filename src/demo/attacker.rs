//! Somebody with write access to the database, who does not go through our code.

use std::path::Path;

use rusqlite::Connection;

use crate::cli::CliError;
use crate::exit::Exit;

/// The statement before the edit.
pub(super) struct Original {
    row: i64,
    statement: Vec<u8>,
}

/// Edits the approved state of the first instance: another digest for its settings.
pub(super) fn edit_baseline(database: &Path) -> Result<Original, CliError> {
    let connection = open(database)?;
    let (row, statement): (i64, Vec<u8>) = connection
        .query_row("SELECT rowid, statement FROM statements ORDER BY instance_id, sequence LIMIT 1", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .map_err(failed)?;
    let edited = String::from_utf8_lossy(&statement).replace("First review, CHG-1", "Quarterly review, CHG-9");
    connection
        .execute("UPDATE statements SET statement = ?2 WHERE rowid = ?1", (row, edited.as_bytes()))
        .map_err(failed)?;
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
