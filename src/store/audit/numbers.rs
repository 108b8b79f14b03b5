//! The numbers that this program can have written into each column.

use super::Findings;
use crate::store::{Stored, Transaction};

/// The last millisecond of the year 9999, as far as a time can be written.
const LAST_TIME: i64 = 253_402_300_799_999;
/// More than was ever counted, or than one cycle ever took in milliseconds.
const LARGEST_COUNT: i64 = u32::MAX as i64;
/// Every number of the kind `INTEGER PRIMARY KEY`.
const LAST_ROW: i64 = i64::MAX;

/// Table, column, the least and the largest number. A column that is not here fails the test below.
const COLUMNS: &[(&str, &str, i64, i64)] = &[
    ("collections", "snapshot_id", 1, LAST_ROW),
    ("collections", "at", 0, LAST_TIME),
    ("cycles", "id", 1, LAST_ROW),
    ("cycles", "instance_id", 1, LAST_ROW),
    ("cycles", "at", 0, LAST_TIME),
    ("cycles", "duration", 0, LARGEST_COUNT),
    ("cycles", "requests", 0, LARGEST_COUNT),
    ("cycles", "snapshot_id", 1, LAST_ROW),
    ("drifts", "instance_id", 1, LAST_ROW),
    ("drifts", "is_member", 0, 1),
    ("drifts", "first_seen", 0, LAST_TIME),
    ("drifts", "last_good", 0, LAST_TIME),
    ("drifts", "closed_at", 0, LAST_TIME),
    ("drifts", "reopened", 0, LARGEST_COUNT),
    ("events", "seq", 1, LAST_ROW),
    ("history_checkpoint", "id", 1, 1),
    ("history_checkpoint", "size", 1, LAST_ROW),
    ("instances", "id", 1, LAST_ROW),
    ("instances", "next_due_at", 0, LAST_TIME),
    ("outbox", "created_at", 0, LAST_TIME),
    ("outbox", "next_at", 0, LAST_TIME),
    ("outbox", "claimed_to", 0, LAST_TIME),
    ("outbox", "attempts", 0, LARGEST_COUNT),
    ("outbox", "done_at", 0, LAST_TIME),
    ("outbox", "first_at", 0, LAST_TIME),
    ("outbox", "passed", 0, 1),
    ("section_news", "instance_id", 1, LAST_ROW),
    ("section_news", "since", 0, LAST_TIME),
    ("section_news", "cycles", 1, LARGEST_COUNT),
    ("section_news", "is_told", 0, 1),
    ("snapshots", "id", 1, LAST_ROW),
    ("snapshots", "instance_id", 1, LAST_ROW),
    ("statements", "instance_id", 1, LAST_ROW),
    ("statements", "sequence", 1, LAST_ROW),
    ("statements", "imported_at", 0, LAST_TIME),
    ("threads", "instance_id", 1, LAST_ROW),
];

/// Names every column that holds a number this program cannot have written.
pub(super) fn look(tx: &Transaction<'_>, wrong: &mut Findings) -> Stored<()> {
    for (table, column, least, largest) in COLUMNS {
        // An index could hide a row.
        let query = format!(
            "SELECT count(*), coalesce(min({column}), 0) FROM {table} NOT INDEXED WHERE {column} NOT BETWEEN ?1 AND ?2"
        );
        let (count, one): (i64, i64) =
            tx.sql.prepare_cached(&query)?.query_row((least, largest), |row| Ok((row.get(0)?, row.get(1)?)))?;
        if count > 0 {
            wrong.push(format!("{table}.{column} holds {one} in {count} rows, which this program never writes"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[test]
    fn every_number_of_the_schema_has_its_bounds() {
        let store = Store::temporary().unwrap();
        let columns = store.read(|tx| -> Stored<Vec<String>> {
            let mut query = tx.sql.prepare(
                "SELECT t.name || '.' || c.name FROM sqlite_schema t, pragma_table_info(t.name) c
                 WHERE t.type = 'table' AND c.type = 'INTEGER' ORDER BY 1",
            )?;
            Ok(query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
        });
        let mut named: Vec<String> = COLUMNS.iter().map(|(table, column, ..)| format!("{table}.{column}")).collect();
        named.sort();
        assert_eq!(columns.unwrap(), named);
    }

    #[test]
    fn a_new_database_has_no_number_out_of_bounds() {
        let mut wrong = Findings::new();
        Store::temporary().unwrap().read(|tx| look(tx, &mut wrong)).unwrap();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
