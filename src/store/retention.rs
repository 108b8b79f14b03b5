//! What is old and needed by nobody goes, a little at a time.
//!
//! Documents and the records of how they were read are kept as long as somebody may ask for them: a baseline that was ever
//! signed, a drift that is open, the newest value of a section, and everything younger than a time that is configured. Of a
//! setting that changes in every cycle less is kept: a value for each hour after a day, and one for each day after a month.
//! Digests stay, and so do the history and what was signed. Each step is an event that names the snapshots that lost
//! their documents, so that whatever else is missing was taken by somebody else.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::mem;

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::OptionalExtension;

use super::clock_check::is_clock_plausible;
use super::instances::InstanceRow;
use super::space::Space;
use super::{Store, Stored, Transaction, drifts, events, from_millis, read_json, to_millis};
use crate::history::Event;
use crate::history::data::{PrunedSnapshots, ThinnedCycles};
use crate::incident::Status;
use crate::model::InstanceId;
use crate::snapshot::Manifest;

/// How long each cycle is kept: a thousand instances have nearly three hundred thousand in a day.
const EVERY_CYCLE: TimeDelta = TimeDelta::days(30);

/// How long each snapshot is kept with its documents. Of older ones the last of each hour stays, and of those that are older
/// than [`EVERY_CYCLE`] the last of each day.
const EVERY_SNAPSHOT: TimeDelta = TimeDelta::days(1);
const HOUR: i64 = 60 * 60 * 1000;
const DAY: i64 = 24 * HOUR;

/// Cycles looked at in one step.
const CYCLES_AT_ONCE: usize = 20_000;
/// Instances looked at in one step, of which one loses something.
const INSTANCES_AT_ONCE: usize = 50;
/// Snapshots that lose their documents in one step.
const SNAPSHOTS_AT_ONCE: usize = 100;
/// Bytes given back to the disk in one step.
const SHRUNK_AT_ONCE: i64 = 4 << 20;
/// Free bytes within the file that are not worth the work: they are used again.
const SLACK: i64 = 8 << 20;
/// A round a day: each is an event, and there should be fewer of them than of what they are about.
const ROUND: i64 = DAY;

/// Where a round over everything that is old stands. Nothing is lost with it: the next one begins anew.
#[derive(Debug, Clone, Default)]
pub struct Retention {
    /// Before when everything is old, in this round.
    before: i64,
    /// Before when a cycle is.
    cycles_before: i64,
    /// Before when not every snapshot stays.
    snapshots_before: i64,
    /// The last cycle that was looked at, and how far each instance got.
    cycle: i64,
    runs: BTreeMap<i64, Run>,
    is_thinned: bool,
    /// The instance that was looked at last.
    instance: i64,
    is_pruned: bool,
    /// What holds documents, once something is to be removed.
    holders: Option<Holders>,
}

/// Cycles of one instance in a row that found the same.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    snapshot: Option<i64>,
    verdict: String,
    /// The last of several: it goes when there is another one after it.
    last: Option<i64>,
}

/// A snapshot that may lose its documents.
struct Old {
    id: i64,
    digest: String,
}

/// A snapshot that has its documents.
struct Kept {
    id: i64,
    digest: String,
    /// When it was last read.
    at: i64,
}

/// How many snapshots hold each document, of all instances. It is made once a round and kept up with what is new.
#[derive(Debug, Clone, Default)]
struct Holders {
    counts: HashMap<String, u32>,
    /// The last snapshot that is counted.
    snapshot: i64,
    /// The last event that was seen.
    event: u64,
}

impl Holders {
    /// Those that are there now: what was counted before, and what is new.
    fn now(before: Option<Self>, tx: &Transaction<'_>) -> Stored<Self> {
        let replay = tx.history()?;
        let mut holders = before.unwrap_or_default();
        // A snapshot that is whole again was not counted.
        let since = events::after(tx, holders.event)?;
        if since.iter().any(|record| matches!(record.event, Event::StoreKeptAgain(_))) {
            holders = Self::default();
        }
        holders.event = replay.size();
        let mut query =
            tx.sql.prepare_cached("SELECT id, digest, sections FROM snapshots WHERE id > ?1 ORDER BY id")?;
        let mut rows = query.query([holders.snapshot])?;
        while let Some(row) = rows.next()? {
            holders.snapshot = row.get(0)?;
            if !replay.state.pruned.contains(row.get_ref(1)?.as_str().unwrap_or_default()) {
                holders.count(row.get_ref(2)?.as_str().unwrap_or_default());
            }
        }
        Ok(holders)
    }

    fn count(&mut self, sections: &str) {
        for digest in digests_in(sections) {
            match self.counts.get_mut(digest) {
                Some(count) => *count += 1,
                None => drop(self.counts.insert(digest.to_owned(), 1)),
            }
        }
    }

    /// Takes a snapshot away, and answers the documents that no other one holds.
    fn remove(&mut self, sections: &str) -> Vec<String> {
        let mut free = Vec::new();
        for digest in digests_in(sections) {
            match self.counts.get_mut(digest) {
                Some(count) if *count > 1 => *count -= 1,
                _ => {
                    self.counts.remove(digest);
                    free.push(digest.to_owned());
                }
            }
        }
        free
    }
}

impl Retention {
    /// Does a little of what there is to do. Nothing is removed that was in use less than `keep` ago, but for cycles, and nothing
    /// by a clock that just went forward.
    ///
    /// # Errors
    /// The database cannot be read or written; then nothing was done.
    pub fn step(&mut self, store: &Store, keep: TimeDelta, now: DateTime<Utc>) -> Stored<()> {
        let begin_of = |at: i64| at - at.rem_euclid(ROUND);
        let before = begin_of(to_millis(now - keep));
        if self.before != before {
            if !store.read(|tx| is_clock_plausible(tx, now))? {
                return Ok(());
            }
            let cycles_before = begin_of(to_millis(now - keep.min(EVERY_CYCLE)));
            let snapshots_before = begin_of(to_millis(now - keep.min(EVERY_SNAPSHOT)));
            *self = Self { before, cycles_before, snapshots_before, ..Self::default() };
        }
        let space = store.free_space()?.map_or(Space::Ample, Space::of);
        if space == Space::Full {
            return Ok(());
        }
        // What was not written was not done.
        let mut next = self.clone();
        if !next.is_thinned {
            store.write(|tx| next.thin(tx, now))?;
            *self = next.clone();
        }
        if next.is_thinned && !next.is_pruned {
            store.write(|tx| next.prune(tx, now))?;
            *self = next;
        }
        if space == Space::Ample { store.shrink() } else { Ok(()) }
    }

    /// Of old cycles in a row that found the same, the first and the last stay.
    fn thin(&mut self, tx: &Transaction<'_>, now: DateTime<Utc>) -> Stored<()> {
        let mut query = tx.sql.prepare_cached(
            "SELECT id, instance_id, at, snapshot_id, verdict FROM cycles WHERE id > ?1 ORDER BY id LIMIT ?2",
        )?;
        let mut rows = query.query((self.cycle, i64::try_from(CYCLES_AT_ONCE).unwrap_or(i64::MAX)))?;
        let (mut looked_at, mut is_any_old, mut gone) = (0, false, Vec::new());
        while let Some(row) = rows.next()? {
            let (id, instance, at): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            (looked_at, self.cycle) = (looked_at + 1, id);
            // What comes after a young one may be old, if a clock was ahead; after many of them it is not.
            if at >= self.cycles_before {
                continue;
            }
            is_any_old = true;
            let next = Run { snapshot: row.get(3)?, verdict: row.get(4)?, last: None };
            match self.runs.get_mut(&instance) {
                Some(run) if run.snapshot == next.snapshot && run.verdict == next.verdict => {
                    gone.extend(run.last.replace(id));
                }
                _ => drop(self.runs.insert(instance, next)),
            }
        }
        drop(rows);
        let mut delete = tx.sql.prepare_cached("DELETE FROM cycles WHERE id = ?1")?;
        for id in &gone {
            delete.execute([id])?;
        }
        if !gone.is_empty() {
            let thinned = ThinnedCycles { cycles: gone.len(), before: from_millis(self.cycles_before).into() };
            events::append(tx, now, None, &Event::StoreThinned(thinned))?;
        }
        if looked_at < CYCLES_AT_ONCE || !is_any_old {
            (self.is_thinned, self.runs) = (true, BTreeMap::new());
        }
        Ok(())
    }

    /// Looks for an instance with old snapshots whose documents nobody needs, and prunes some of them.
    fn prune(&mut self, tx: &Transaction<'_>, now: DateTime<Utc>) -> Stored<()> {
        for _ in 0..INSTANCES_AT_ONCE {
            let next: Option<(i64, String)> = tx
                .sql
                .prepare_cached("SELECT id, name FROM instances WHERE id > ?1 ORDER BY id LIMIT 1")?
                .query_row([self.instance], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let Some((instance, name)) = next else {
                (self.is_pruned, self.holders) = (true, None);
                return Ok(());
            };
            let old = self.unneeded(tx, InstanceRow(instance))?;
            if old.len() < SNAPSHOTS_AT_ONCE {
                self.instance = instance;
            }
            if !old.is_empty() {
                let mut holders = Holders::now(self.holders.take(), tx)?;
                self.remove(tx, &mut holders, &old, name.parse().ok().as_ref(), now)?;
                self.holders = Some(holders);
                return Ok(());
            }
        }
        Ok(())
    }

    /// Old snapshots of one instance that nobody needs, with their documents, oldest first.
    fn unneeded(&self, tx: &Transaction<'_>, instance: InstanceRow) -> Stored<Vec<Old>> {
        let replay = tx.history()?;
        // In the order in which they were last read.
        let mut query = tx.sql.prepare_cached(
            "SELECT s.id, s.digest, (SELECT max(id) FROM cycles WHERE snapshot_id = s.id) AS last,
                    (SELECT max(at) FROM cycles WHERE snapshot_id = s.id)
             FROM snapshots s WHERE s.instance_id = ?1 ORDER BY last",
        )?;
        let mut rows = query.query([instance.0])?;
        let mut kept: Vec<Kept> = Vec::new();
        while let Some(row) = rows.next()? {
            let (id, digest, at): (i64, String, Option<i64>) = (row.get(0)?, row.get(1)?, row.get(3)?);
            if !replay.state.pruned.contains(&digest) {
                kept.push(Kept { id, digest, at: at.unwrap_or(i64::MAX) });
            }
        }
        let (mut old, mut named, mut begun) = (Vec::new(), None, None);
        for (index, Kept { id, digest, at }) in kept.iter().enumerate() {
            let newer = kept.get(index + 1..).unwrap_or_default();
            // The newest one is what the next is compared with.
            let Some(next) = newer.first() else { break };
            if *at >= self.before && !self.is_one_of_many(*at, next.at) {
                continue;
            }
            if old.len() == SNAPSHOTS_AT_ONCE {
                break;
            }
            let named = match &mut named {
                Some(named) => named,
                None => named.insert(signed(tx)?),
            };
            let begun = match &mut begun {
                Some(begun) => begun,
                None => begun.insert(times_of_open_drifts(tx, instance)?),
            };
            if named.contains(digest.as_str()) || is_of_open_drift(tx, begun, *id)? {
                continue;
            }
            if is_covered(tx, &manifest(tx, *id)?, newer)? {
                old.push(Old { id: *id, digest: digest.clone() });
            }
        }
        Ok(old)
    }

    /// Whether the snapshot that was last read at `at` is followed by another one within the time of which one stays.
    fn is_one_of_many(&self, at: i64, next: i64) -> bool {
        let span = if at < self.cycles_before { DAY } else { HOUR };
        at < self.snapshots_before && at.div_euclid(span) == next.div_euclid(span)
    }

    /// Removes the documents that only `old` snapshots hold, how these were read, and what each of them held.
    fn remove(
        &self,
        tx: &Transaction<'_>,
        holders: &mut Holders,
        old: &[Old],
        instance: Option<&InstanceId>,
        now: DateTime<Utc>,
    ) -> Stored<()> {
        let mut documents = BTreeSet::new();
        for Old { id, .. } in old {
            documents.extend(holders.remove(&sections(tx, *id)?));
            tx.sql.prepare_cached("DELETE FROM collections WHERE snapshot_id = ?1")?.execute([id])?;
            tx.sql.prepare_cached("UPDATE snapshots SET sections = '' WHERE id = ?1")?.execute([id])?;
        }
        for digest in &signed(tx)? {
            documents.remove(digest.as_str());
        }
        let mut count = 0;
        for digest in &documents {
            count += tx.sql.prepare_cached("DELETE FROM documents WHERE digest = ?1")?.execute([digest])?;
        }
        let snapshots = old.iter().map(|old| old.digest.clone()).collect();
        let pruned = PrunedSnapshots { snapshots, documents: count, before: from_millis(self.before).into() };
        events::append(tx, now, instance, &Event::StorePruned(pruned))?;
        Ok(())
    }
}

/// Whether every value of `manifest` has one of the same section in a snapshot that is `newer`: the newest value of a section
/// is what the next is held against, however long ago it was read.
fn is_covered(tx: &Transaction<'_>, manifest: &Manifest, newer: &[Kept]) -> Stored<bool> {
    let has_value =
        |manifest: &Manifest, section: &str| manifest.get(section).is_some_and(|mark| mark.digest.is_some());
    let mut open: BTreeSet<&String> = manifest.keys().filter(|section| has_value(manifest, section)).collect();
    // The newest one has nearly all of them, and the next one the rest.
    for Kept { id, .. } in newer.last().into_iter().chain(newer) {
        if open.is_empty() {
            break;
        }
        let other = self::manifest(tx, *id)?;
        open.retain(|section| !has_value(&other, section));
    }
    Ok(open.is_empty())
}

fn manifest(tx: &Transaction<'_>, snapshot: i64) -> Stored<Manifest> {
    read_json(&sections(tx, snapshot)?)
}

fn sections(tx: &Transaction<'_>, snapshot: i64) -> Stored<String> {
    let mut query = tx.sql.prepare_cached("SELECT sections FROM snapshots WHERE id = ?1")?;
    Ok(query.query_row([snapshot], |row| row.get(0))?)
}

/// When drifts that are open began, and when their settings were as approved for the last time.
fn times_of_open_drifts(tx: &Transaction<'_>, instance: InstanceRow) -> Stored<BTreeSet<i64>> {
    let known = drifts::load(tx, instance)?;
    let open = known.values().filter(|drift| drift.status == Status::Open);
    Ok(open.flat_map(|drift| [Some(drift.first_seen), drift.last_good]).flatten().map(to_millis).collect())
}

/// Whether a drift that is open began with this snapshot, or was not there in it for the last time.
fn is_of_open_drift(tx: &Transaction<'_>, begun: &BTreeSet<i64>, snapshot: i64) -> Stored<bool> {
    let mut query = tx.sql.prepare_cached("SELECT 1 FROM cycles WHERE snapshot_id = ?1 AND at = ?2")?;
    for at in begun {
        if query.exists((snapshot, at))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Every digest that somebody signed, whatever it is of.
fn signed(tx: &Transaction<'_>) -> Stored<BTreeSet<String>> {
    let mut query = tx.sql.prepare_cached("SELECT statement FROM statements")?;
    let mut rows = query.query([])?;
    let mut named = BTreeSet::new();
    while let Some(row) = rows.next()? {
        let statement: Vec<u8> = row.get(0)?;
        named.extend(digests_in(&String::from_utf8_lossy(&statement)).map(str::to_owned));
    }
    Ok(named)
}

/// Everything in a text that looks like a digest.
fn digests_in(text: &str) -> impl Iterator<Item = &str> {
    const LENGTH: usize = "sha256:".len() + 64;
    text.match_indices("sha256:").filter_map(|(begin, _)| text.get(begin..begin + LENGTH))
}

impl Store {
    /// Gives some of the room back that is free within the file, if that is a quarter of it. Only a file that was made for
    /// it can; another one uses the room again.
    fn shrink(&self) -> Stored<()> {
        self.with_connection(|connection| {
            let ask = |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
            let (free, pages, size) = (ask("freelist_count")?, ask("page_count")?, ask("page_size")?);
            if free * 4 < pages || free * size < SLACK || ask("auto_vacuum")? != 2 {
                return Ok(());
            }
            // Each row is a page.
            let mut query =
                connection.prepare(&format!("PRAGMA incremental_vacuum({})", SHRUNK_AT_ONCE / size.max(1)))?;
            let mut rows = query.query([])?;
            while rows.next()?.is_some() {}
            mem::drop(rows);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::UnitOfWork;
    use super::super::cycles::{self, Cycle};
    use super::super::instances;
    use super::*;
    use crate::canonical::Document;
    use crate::clock::{Clock, SystemClock};
    use crate::model::{Digest, Resource};
    use crate::snapshot::{Reading, Snapshot};

    #[test]
    fn a_file_that_is_mostly_free_shrinks_a_little_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("a.db")).unwrap();
        let pages = || {
            store.with_connection(|connection| {
                Ok(connection.query_row("PRAGMA page_count", [], |row| row.get::<_, i64>(0))?)
            })
        };
        let (now, a_day) = (SystemClock.now(), TimeDelta::days(1));
        store.write(|tx| events::append(tx, now - a_day, None, &Event::other("test.done"))).unwrap();
        let write =
            |sql: &str| store.write(|tx| Ok::<_, super::super::StoreError>(tx.sql.execute_batch(sql)?)).unwrap();
        write(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)
             INSERT INTO documents SELECT 'sha256:' || i, randomblob(100000) FROM n",
        );
        write("DELETE FROM documents");
        let (mut retention, mut before) = (Retention::default(), pages().unwrap());
        for _ in 0..10 {
            retention.step(&store, TimeDelta::days(400), now).unwrap();
            let after = pages().unwrap();
            // The pages that say where others are go with them.
            assert!(before - after <= SHRUNK_AT_ONCE / 4096 + 8, "{before} {after}");
            before = after;
        }
        assert!(before * 4096 <= SLACK + SHRUNK_AT_ONCE, "{before} pages");
        store.full_check().unwrap().run().unwrap();
    }

    #[test]
    fn of_a_value_that_changes_in_every_cycle_one_an_hour_stays_and_later_one_a_day() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("a.db")).unwrap();
        let id: InstanceId = "clerk:prod".parse().unwrap();
        let now: DateTime<Utc> = "2026-06-30T12:00:00Z".parse().unwrap();
        let document = |value: u32| {
            let bytes = format!("{{\"at\":{value}}}").into_bytes();
            let digest = Digest::of(&bytes);
            Document::from_canonical(bytes, &digest).unwrap()
        };
        let read = |tx: &Transaction<'_>, at, value| {
            let sections = ["one", "other"].map(|name| {
                // One section never changes, and one value comes back every day.
                (name.to_owned(), Reading::Value(document(if name == "one" { 7 } else { value })))
            });
            let (resource, identifiers) = ("ins_1".to_owned(), Resource::new(["ins_1".to_owned()]));
            let snapshot = Snapshot { instance: id.clone(), resource, identifiers, sections: sections.into() };
            let (duration, verdict, collection) = (Duration::ZERO, "drift".to_owned(), "[]".to_owned());
            let cycle = Cycle { at, duration, requests: 1, verdict, collection };
            let mut unit = UnitOfWork::of_instance(tx, &id, Some(&snapshot.digest()), &[])?;
            unit.put_cycle(Some(&snapshot), cycle)?;
            unit.record(tx)
        };
        let (days, every) = (34, 20);
        let cycles = days * 24 * 60 / every;
        store
            .write(|tx| {
                for number in 0..cycles {
                    let at = now - TimeDelta::minutes(i64::from(every * (cycles - number)));
                    read(tx, at, if number % 72 == 0 { 1 } else { number + 100 })?;
                    if number % 72 == 0 {
                        events::append(tx, at, None, &Event::other("test.done"))?;
                    }
                }
                Ok::<_, super::super::StoreError>(())
            })
            .unwrap();
        let mut retention = Retention::default();
        for _ in 0..40 {
            retention.step(&store, TimeDelta::days(400), now).unwrap();
        }
        let query = |sql: &str| -> Vec<i64> {
            let ask = |connection: &rusqlite::Connection| {
                let mut query = connection.prepare(sql)?;
                Ok(query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
            };
            store.with_connection(ask).unwrap()
        };
        let kept = "FROM cycles c JOIN snapshots s ON s.id = c.snapshot_id WHERE s.sections <> ''
                    AND c.id = (SELECT max(id) FROM cycles WHERE snapshot_id = s.id) ORDER BY c.id";
        let mut found: BTreeMap<i64, u32> = BTreeMap::new();
        for at in query(&format!("SELECT c.at {kept}")) {
            *found.entry(at.div_euclid(DAY)).or_default() += 1;
        }
        // Each day until the 30th of May, then each hour, and all of yesterday and today.
        let counted: Vec<u32> = found.values().copied().collect();
        assert_eq!(counted, [&[1; 4][..], &[24; 29], &[72, 36]].concat(), "{found:?}");
        assert_eq!(
            query("SELECT count(*) FROM collections"),
            query("SELECT count(*) FROM snapshots WHERE sections <> ''")
        );
        // The section that never changes and the value that comes back are still held by others.
        assert_eq!(query("SELECT count(*) FROM documents"), [i64::from(counted.iter().sum::<u32>()) + 1]);
        assert_eq!(store.read(|tx| store.audit(tx)).unwrap(), Vec::<String>::new());
        // What was there once and is there again is whole.
        store.write(|tx| read(tx, now, 101)).unwrap();
        let latest = store.read(|tx| cycles::latest_snapshot(tx, instances::row(tx, &id)?, &id)).unwrap().unwrap();
        assert_eq!(latest.0.sections["other"].document().unwrap().digest(), document(101).digest());
        assert_eq!(store.read(|tx| store.audit(tx)).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn digests_are_found_wherever_they_are() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let text = format!("{{\"x\":\"{digest}\",\"y\":\"sha256:short\"}}");
        assert_eq!(digests_in(&text).collect::<Vec<_>>(), [&digest]);
    }
}
