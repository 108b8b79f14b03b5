//! How everything stands, asked in a way that costs the same however old the database is: each question is answered by the
//! newest rows of an index. It is asked every few seconds by whoever watches the daemon.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rusqlite::OptionalExtension;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};

use super::instances::InstanceRow;
use super::{StoreError, Stored, Transaction, from_millis, read_json, to_millis};
use crate::history::outgoing::Waiting;
use crate::model::{Verdict, display_safe};
use crate::snapshot::Manifest;

/// The newest cycle of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastCycle {
    /// Its row.
    pub id: i64,
    /// When it ended.
    pub at: DateTime<Utc>,
    /// How long it took.
    pub duration: Duration,
    /// Requests it sent.
    pub requests: u64,
    /// What came of it.
    pub verdict: Verdict,
}

impl FromSql for Verdict {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let word = value.as_str()?;
        Self::from_word(word)
            .ok_or_else(|| FromSqlError::Other(format!("'{}' is no verdict", display_safe(word)).into()))
    }
}

/// The newest cycle that is not in the future: a clock that went ahead leaves some that are still to come.
///
/// # Errors
/// The database cannot be read.
pub fn last_cycle(tx: &Transaction<'_>, instance: InstanceRow, now: DateTime<Utc>) -> Stored<Option<LastCycle>> {
    let cycle = tx.sql
        .prepare_cached(
            "SELECT at, duration, requests, verdict, id FROM cycles WHERE instance_id = ?1 AND at <= ?2 ORDER BY id DESC LIMIT 1",
        )?
        .query_row((instance.0, to_millis(now)), |row| {
            Ok(LastCycle {
                at: from_millis(row.get(0)?),
                duration: Duration::from_millis(u64::try_from(row.get::<_, i64>(1)?).unwrap_or_default()),
                requests: u64::try_from(row.get::<_, i64>(2)?).unwrap_or_default(),
                verdict: row.get(3)?,
                id: row.get(4)?,
            })
        })
        .optional()?;
    Ok(cycle)
}

/// When the newest cycle ended that could read the instance and trust its baseline.
///
/// # Errors
/// The database cannot be read.
pub fn last_success(tx: &Transaction<'_>, instance: InstanceRow, now: DateTime<Utc>) -> Stored<Option<DateTime<Utc>>> {
    let at: Option<i64> = tx
        .sql
        .prepare_cached(
            "SELECT at FROM cycles WHERE instance_id = ?1 AND at <= ?2 AND verdict NOT IN ('error', 'untrusted')
             ORDER BY id DESC LIMIT 1",
        )?
        .query_row((instance.0, to_millis(now)), |row| row.get(0))
        .optional()?;
    Ok(at.map(from_millis))
}

/// State and digest of every section of the newest snapshot that was kept.
///
/// # Errors
/// The database cannot be read.
pub fn sections(tx: &Transaction<'_>, instance: InstanceRow, now: DateTime<Utc>) -> Stored<Option<Manifest>> {
    // In this order, or all snapshots would be looked through.
    let sections: Option<String> = tx
        .sql
        .prepare_cached(
            "SELECT s.sections FROM cycles c CROSS JOIN snapshots s ON s.id = c.snapshot_id
             WHERE c.instance_id = ?1 AND c.at <= ?2 ORDER BY c.id DESC LIMIT 1",
        )?
        .query_row((instance.0, to_millis(now)), |row| row.get(0))
        .optional()?;
    sections.map(|sections| read_json(&sections)).transpose()
}

/// Number of the newest baseline and when it was accepted. Nothing of it is verified here: cycles do that.
///
/// # Errors
/// The database cannot be read.
pub fn baseline(tx: &Transaction<'_>, instance: InstanceRow) -> Stored<Option<(u64, DateTime<Utc>)>> {
    let newest: Option<(i64, i64)> = tx
        .sql
        .prepare_cached(
            "SELECT sequence, imported_at FROM statements WHERE instance_id = ?1 ORDER BY sequence DESC LIMIT 1",
        )?
        .query_row([instance.0], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(newest.map(|(sequence, at)| (u64::try_from(sequence).unwrap_or_default(), from_millis(at))))
}

/// What every receiver still has to get; those without anything are not in it.
///
/// # Errors
/// The database cannot be read.
pub fn outbox(tx: &Transaction<'_>) -> Stored<BTreeMap<String, Waiting>> {
    match tx.history() {
        Ok(replay) => Ok(replay.state.outgoing.overview()),
        // That the history does not verify is told by itself.
        Err(StoreError::History(_)) => Ok(BTreeMap::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Store, instances};

    fn plan(store: &Store, query: &str) -> String {
        store
            .read(|tx| -> Stored<String> {
                let mut explained = tx.sql.prepare(&format!("EXPLAIN QUERY PLAN {query}"))?;
                let steps = explained.query_map([], |row| row.get::<_, String>(3))?;
                Ok(steps.flatten().collect::<Vec<_>>().join("; "))
            })
            .unwrap()
    }

    #[test]
    fn the_newest_row_is_found_without_sorting_or_looking_through_all() {
        let store = Store::temporary().unwrap();
        for query in [
            "SELECT at, duration, requests, verdict FROM cycles WHERE instance_id = 1 AND at <= 2 ORDER BY id DESC LIMIT 1",
            "SELECT s.sections FROM cycles c CROSS JOIN snapshots s ON s.id = c.snapshot_id
             WHERE c.instance_id = 1 AND c.at <= 2 ORDER BY c.id DESC LIMIT 1",
            "SELECT sequence, imported_at FROM statements WHERE instance_id = 1 ORDER BY sequence DESC LIMIT 1",
        ] {
            let plan = plan(&store, query);
            assert!(plan.contains("INDEX") && !plan.contains("TEMP B-TREE"), "{query}: {plan}");
        }
    }

    #[test]
    fn cycles_of_a_clock_that_was_ahead_do_not_count() {
        let store = Store::temporary().unwrap();
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let row = store.write(|tx| instances::row(tx, &"clerk:prod".parse().unwrap())).unwrap();
        for (when, verdict) in [
            ("2026-11-22T04:00:00Z", "in_sync"),
            ("2026-11-22T04:05:00Z", "error"),
            ("2026-11-22T04:10:00Z", "untrusted"),
            ("2027-11-22T04:00:00Z", "in_sync"),
        ] {
            store
                .write(|tx| -> Stored<()> {
                    let values = (row.0, to_millis(at(when)), verdict);
                    tx.sql.execute(
                        "INSERT INTO cycles (instance_id, at, duration, requests, verdict) VALUES (?1, ?2, 840, 31, ?3)",
                        values,
                    )?;
                    Ok(())
                })
                .unwrap();
        }
        let now = at("2026-11-22T04:11:00Z");
        store
            .read(|tx| -> Stored<()> {
                let last = last_cycle(tx, row, now)?.unwrap();
                assert_eq!((last.at, last.verdict), (at("2026-11-22T04:10:00Z"), Verdict::Untrusted));
                assert_eq!(last.duration, Duration::from_millis(840));
                assert_eq!(last_success(tx, row, now)?, Some(at("2026-11-22T04:00:00Z")));
                assert_eq!(sections(tx, row, now)?, None);
                assert_eq!(baseline(tx, row)?, None);
                assert!(outbox(tx)?.is_empty());
                Ok(())
            })
            .unwrap();
    }
}
