//! Every table held against the history, and every digest against its content. For `verify`, which may take its time.
//!
//! Baselines are verified by `trust`, and the history by [`super::events`]; what is here is bound to the two: drifts and
//! messages are told in the history, snapshots and documents are named by their digests.

mod numbers;

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use super::checkpoint::{self, Found};
use super::cycles::Cycle;
use super::events;
use super::instances::InstanceRow;
use super::{
    Store, Stored, Transaction, cycles, documents, drifts, from_millis, instances, outbox, section_incidents, to_millis,
};
use crate::canonical::{Document, FingerprintKey};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::history::data::DriftChange;
use crate::history::outgoing::{CLAIM_BELIEVED, ToldMessage};
use crate::history::{Event, HistoryState, event_place};
use crate::incident::{Drift, Incident, SectionKind, Status, fingerprint};
use crate::model::{Digest, HistoryMark, InstanceId, display_safe};
use crate::snapshot::{Manifest, digest_of};

/// What is wrong with a table, one sentence each; with the time since when, where the history tells.
type Findings = Vec<String>;

impl Store {
    /// Looks at everything that no signature covers.
    ///
    /// # Errors
    /// The database cannot be read. What is wrong in it is the result.
    pub fn audit(&self, tx: &Transaction<'_>) -> Stored<Findings> {
        let mut wrong = Findings::new();
        let looked = indexes(tx, &mut wrong);
        noted("the database", looked, &mut wrong)?;
        if !wrong.is_empty() {
            // What the other questions answer would depend on which index they are asked of.
            return Ok(wrong);
        }
        let looked = numbers::look(tx, &mut wrong);
        noted("the numbers", looked, &mut wrong)?;
        let looked = meta(tx, &self.fingerprint_key().id(), &mut wrong);
        noted("meta", looked, &mut wrong)?;
        let looked = references(tx, &mut wrong);
        noted("the references between tables", looked, &mut wrong)?;
        // A history that cannot be read is told by whoever verifies it, and nothing can be held against it.
        let replay = tx.whole_history().ok();
        let looked = statements(tx, replay.as_ref().map(|replay| &replay.state), &mut wrong);
        noted("statements", looked, &mut wrong)?;
        let looked = checkpoint(tx, self.fingerprint_key(), &mut wrong);
        noted("the checkpoint of the history", looked, &mut wrong)?;
        let looked = documents_of(tx, &mut wrong);
        let Some(documents) = noted("documents", looked, &mut wrong)? else { return Ok(wrong) };
        let none = BTreeSet::new();
        let (pruned, is_first) =
            replay.as_ref().map_or((&none, false), |replay| (&replay.state.pruned, replay.state.is_of_first_version));
        let looked = snapshots(tx, &documents, pruned, is_first, &mut wrong);
        noted("snapshots", looked, &mut wrong)?;
        if let Some(replay) = replay {
            let looked = each_instance(tx, &replay.state, &mut wrong);
            noted("instances", looked, &mut wrong)?;
            let looked = messages(tx, &replay.state, true);
            let found = noted("the outbox", looked, &mut wrong)?.unwrap_or_default();
            wrong.extend(found.into_iter().map(|(_, sentence)| sentence));
            let looked = threads(tx, &mut wrong);
            noted("threads", looked, &mut wrong)?;
        }
        Ok(wrong)
    }
}

/// The first thing about `instance` that is not in the tables as the history tells it: a drift that was planted as known
/// would never be told, and neither would a message that was taken away.
///
/// # Errors
/// The database cannot be read.
pub fn contradiction(tx: &Transaction<'_>, instance: &InstanceId, state: &HistoryState) -> Stored<Option<String>> {
    let mut wrong = Findings::new();
    match instances::find(tx, instance)? {
        Some(row) => told_of(tx, instance, row, state, &mut wrong)?,
        None => missing(state, &BTreeSet::new(), |id| id == instance, &mut wrong),
    }
    // What is about the program itself, and what nobody queued, is a reason not to trust anything.
    let messages = tx.wrong_in_outbox(|| messages(tx, state, false))?;
    let concerns = |about: &Option<InstanceId>| about.as_ref().is_none_or(|about| about == instance);
    wrong.extend(messages.into_iter().filter(|(about, _)| concerns(about)).map(|(_, sentence)| sentence));
    Ok(wrong.into_iter().next())
}

/// What came of a look at `what`. Damage that keeps it from being read is a finding like any other.
fn noted<T>(what: &str, looked: Stored<T>, wrong: &mut Findings) -> Stored<Option<T>> {
    match looked {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_damage() => {
            wrong.push(format!("{what} cannot be read: {error}"));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Every index holds exactly the rows of its table: a row that is hidden from one is seen by some queries and not by others.
fn indexes(tx: &Transaction<'_>, wrong: &mut Findings) -> Stored<()> {
    let mut query = tx.sql.prepare("PRAGMA integrity_check(5)")?;
    let said = query.query_map([], |row| row.get::<_, String>(0))?;
    for said in said {
        let said = said?;
        if said != "ok" {
            wrong.push(format!("SQLite finds: {}", display_safe(&said.replace('\n', " "))));
        }
    }
    Ok(())
}

fn meta(tx: &Transaction<'_>, key: &str, wrong: &mut Findings) -> Stored<()> {
    let mut query = tx.sql.prepare("SELECT name, value FROM meta")?;
    let mut rows = query.query([])?;
    let mut is_named = false;
    while let Some(row) = rows.next()? {
        let (name, value): (String, String) = (row.get(0)?, row.get(1)?);
        match name.as_str() {
            "fingerprint-key" if value == key => is_named = true,
            super::high_water_mark::META if value == "written" => {}
            // What it says is held against the history.
            _ => wrong.push(format!("meta holds '{}', which is not what this program writes", display_safe(&name))),
        }
    }
    if !is_named {
        wrong.push("meta does not name the fingerprint key any more".to_owned());
    }
    Ok(())
}

fn references(tx: &Transaction<'_>, wrong: &mut Findings) -> Stored<()> {
    let mut query = tx.sql.prepare("SELECT \"table\", count(*) FROM pragma_foreign_key_check GROUP BY 1")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let (table, count): (String, i64) = (row.get(0)?, row.get(1)?);
        wrong.push(format!("{count} rows of {} refer to rows that are not there", display_safe(&table)));
    }
    Ok(())
}

/// That a checkpoint is not used does no harm, and says that somebody changed it.
fn checkpoint(tx: &Transaction<'_>, key: &FingerprintKey, wrong: &mut Findings) -> Stored<()> {
    match checkpoint::find(&tx.sql, key)? {
        Found::Forged => wrong.push(
            "the checkpoint of the history was edited, or made with another fingerprint key: it is not used".to_owned(),
        ),
        Found::OfAnotherHistory(size) => wrong.push(format!(
            "the checkpoint of the history is of another one with {size} events: events were removed or exchanged"
        )),
        Found::Nothing | Found::OfAnotherFormat | Found::Sound(_) => {}
    }
    Ok(())
}

/// Statements are verified as they were signed; what is beside them orders them and dates them, and the high-water file trusts it.
fn statements(tx: &Transaction<'_>, state: Option<&HistoryState>, wrong: &mut Findings) -> Stored<()> {
    let mut query = tx.sql.prepare(
        "SELECT s.sequence, s.statement, s.imported_at, i.name FROM statements s JOIN instances i ON i.id = s.instance_id
         ORDER BY s.rowid",
    )?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let (sequence, statement): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
        let signed = serde_json::from_slice::<Value>(&statement).ok();
        let signed = signed.and_then(|statement| statement.pointer("/subject/sequence")?.as_i64());
        if signed != Some(sequence) {
            wrong.push(format!("a statement is kept as baseline {sequence}, which is not what was signed"));
        }
        let (at, name): (i64, String) = (row.get(2)?, row.get(3)?);
        let vouched = name.parse().ok().and_then(|instance: InstanceId| state?.vouched.get(&instance));
        let Some(event) = vouched.and_then(|vouched| vouched.get(&Digest::of(&statement))) else { continue };
        let Some(record) = events::at(tx, *event)? else { continue };
        // An earlier version did not name the statements: then a later approval names them.
        let is_own = matches!(&record.event, Event::BaselineApproved(approval)
            if i64::try_from(approval.sequence) == Ok(sequence));
        if is_own && Timestamp::from(from_millis(at)) != record.at {
            let place = record.place();
            wrong.push(format!("a statement of baseline {sequence} has another time than the history, see {place}"));
        }
    }
    Ok(())
}

/// The digests of all documents that are whole.
fn documents_of(tx: &Transaction<'_>, wrong: &mut Findings) -> Stored<BTreeSet<String>> {
    let mut query = tx.sql.prepare("SELECT digest, body FROM documents")?;
    let mut rows = query.query([])?;
    let mut whole = BTreeSet::new();
    while let Some(row) = rows.next()? {
        let (name, body): (String, Vec<u8>) = (row.get(0)?, row.get(1)?);
        let document = name.parse::<Digest>().ok().zip(documents::unpack(&body));
        match document.map(|(digest, bytes)| Document::from_canonical(bytes, &digest)) {
            Some(Ok(_)) => drop(whole.insert(name)),
            _ => wrong.push(format!("document '{}' is not what its digest says", display_safe(&name))),
        }
    }
    Ok(whole)
}

/// Only those that were `pruned`, as the history says, may lack what was in them.
fn snapshots(
    tx: &Transaction<'_>,
    documents: &BTreeSet<String>,
    pruned: &BTreeSet<String>,
    is_of_first_version: bool,
    wrong: &mut Findings,
) -> Stored<()> {
    let mut query = tx.sql.prepare(
        "SELECT s.id, s.digest, s.resource, s.sections, i.name,
                (SELECT body FROM collections c WHERE c.snapshot_id = s.id),
                s.id >= (SELECT min(snapshot_id) FROM collections) OR NOT ?1,
                EXISTS (SELECT 1 FROM collections c JOIN cycles y ON y.snapshot_id = s.id AND y.at = c.at
                        WHERE c.snapshot_id = s.id AND y.instance_id = s.instance_id),
                EXISTS (SELECT 1 FROM cycles y WHERE y.snapshot_id = s.id AND y.instance_id <> s.instance_id)
         FROM snapshots s JOIN instances i ON i.id = s.instance_id ORDER BY s.id",
    )?;
    // The first version of the program did not keep how snapshots were read.
    let mut rows = query.query([is_of_first_version])?;
    while let Some(row) = rows.next()? {
        let (digest, resource, sections): (String, String, String) = (row.get(1)?, row.get(2)?, row.get(3)?);
        let name: String = row.get(4)?;
        let what = format!("snapshot {} of {}", row.get::<_, i64>(0)?, display_safe(&name));
        let is_pruned = pruned.contains(&digest);
        let manifest = serde_json::from_str::<Manifest>(&sections).ok();
        match name.parse::<InstanceId>().ok().zip(manifest) {
            // Of one that was pruned the digest is left.
            None if is_pruned && sections.is_empty() => {}
            Some((instance, manifest)) if digest_of(&instance, &resource, &manifest).as_str() == digest => {
                let marks = manifest.iter().filter_map(|(section, mark)| Some((section, mark.digest.as_ref()?)));
                let missing = marks.filter(|(_, digest)| !documents.contains(digest.as_str()));
                for (section, digest) in missing.filter(|_| !is_pruned) {
                    wrong.push(format!("{what} has no document {} of {section}", digest.short()));
                }
            }
            _ => wrong.push(format!("{what} is not what its digest says")),
        }
        if row.get(8)? {
            wrong.push(format!("{what} is given to another instance by a cycle"));
        }
        let is_expected = row.get::<_, Option<bool>>(6)?.unwrap_or_default();
        match row.get::<_, Option<Vec<u8>>>(5)? {
            None if is_pruned || !is_expected => {}
            None => wrong.push(format!("how {what} was read is missing")),
            Some(body) => {
                let read = documents::unpack(&body).and_then(|body| serde_json::from_slice::<Value>(&body).ok());
                if read.is_none() {
                    wrong.push(format!("how {what} was read cannot be unpacked"));
                } else if !row.get::<_, bool>(7)? {
                    wrong.push(format!("no cycle read {what} when it is said to have been read"));
                }
            }
        }
    }
    Ok(())
}

fn each_instance(tx: &Transaction<'_>, told: &HistoryState, wrong: &mut Findings) -> Stored<()> {
    let mut query = tx.sql.prepare("SELECT name FROM instances ORDER BY name")?;
    let names: Vec<String> = query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut known = BTreeSet::new();
    for name in names {
        let Ok(id) = name.parse::<InstanceId>() else {
            wrong.push(format!("'{}' is no instance", display_safe(&name)));
            continue;
        };
        let Some(row) = instances::find(tx, &id)? else { continue };
        let looked = told_of(tx, &id, row, told, wrong);
        noted(&format!("what is remembered of {id}"), looked, wrong)?;
        let looked = cycles_of(tx, &id, row, told, wrong);
        noted(&format!("the cycles of {id}"), looked, wrong)?;
        known.insert(id);
    }
    missing(told, &known, |_| true, wrong);
    Ok(())
}

fn told_of(
    tx: &Transaction<'_>,
    id: &InstanceId,
    row: InstanceRow,
    told: &HistoryState,
    wrong: &mut Findings,
) -> Stored<()> {
    compare_drifts(id, &drifts::load(tx, row)?, told, wrong);
    compare_sections(id, &section_incidents::load(tx, row)?, told, wrong);
    Ok(())
}

/// What was read leaves cycles.
fn cycles_of(
    tx: &Transaction<'_>,
    id: &InstanceId,
    row: InstanceRow,
    told: &HistoryState,
    wrong: &mut Findings,
) -> Stored<()> {
    match cycles::latest(tx, row)? {
        None => wrong.push(format!("every cycle of {id} is gone")),
        Some(latest) => wrong.extend(contradicts(tx, id, row, told, &latest)?),
    }
    for (section, incident) in section_incidents::load(tx, row)?.iter().filter(|(_, incident)| !incident.is_told) {
        // The history does not tell of it yet; it began with a cycle.
        let began = "SELECT 1 FROM cycles WHERE instance_id = ?1 AND at = ?2";
        if !tx.sql.prepare_cached(began)?.exists((row.0, to_millis(incident.since)))? {
            wrong.push(format!("no cycle of {id} saw {} when it is said to have begun", display_safe(section)));
        }
    }
    Ok(())
}

/// What the history says against the verdict of the `latest` cycle of `id`.
fn contradicts(
    tx: &Transaction<'_>,
    id: &InstanceId,
    row: InstanceRow,
    told: &HistoryState,
    latest: &Cycle,
) -> Stored<Option<String>> {
    let verdict = display_safe(&latest.verdict);
    let is_untrusted = told.untrusted(id).is_some();
    // What was told after that cycle says nothing of it.
    if told.trust(id).is_none_or(|record| record.at.0 <= latest.at) && is_untrusted != (latest.verdict == "untrusted") {
        let told = if is_untrusted { "untrusted" } else { "trusted" };
        return Ok(Some(format!("the last cycle of {id} is marked '{verdict}', and its baseline was {told} then")));
    }
    if latest.verdict != "in_sync" {
        return Ok(None);
    }
    // A drift of what was not read then says nothing either.
    let manifest = cycles::latest_manifest(tx, row)?.unwrap_or_default();
    let is_read = |section: &str| manifest.get(section).is_some_and(|mark| mark.state.is_comparable());
    let open = drifts::open(tx, row)?.into_iter().find(|drift| {
        let told = told.drifts.get(id).and_then(|drifts| drifts.get(drift.id.as_str()));
        told.is_some_and(|told| told.at.0 <= latest.at) && is_read(drift.change.path.section())
    });
    Ok(open.map(|drift| {
        format!(
            "the last cycle of {id} is marked 'in_sync', and drift {} was open then",
            display_safe(drift.id.as_str())
        )
    }))
}

/// Instances that the history speaks of and that are not `known`.
fn missing(
    told: &HistoryState,
    known: &BTreeSet<InstanceId>,
    asked: impl Fn(&InstanceId) -> bool,
    wrong: &mut Findings,
) {
    let spoken_of: BTreeSet<&InstanceId> = told.drifts.keys().chain(told.with_baseline()).collect();
    for id in spoken_of.into_iter().filter(|id| asked(id) && !known.contains(*id)) {
        wrong.push(format!("the history speaks of {id}, and it is not there"));
    }
}

fn compare_drifts(id: &InstanceId, known: &BTreeMap<Digest, Drift>, told: &HistoryState, wrong: &mut Findings) {
    let none = BTreeMap::new();
    let told = told.drifts.get(id).unwrap_or(&none);
    let mut seen = BTreeSet::new();
    for (named, drift) in known {
        let name = display_safe(drift.id.as_str());
        let Some(last) = told.get(drift.id.as_str()) else {
            wrong.push(format!("drift {name} of {id} is not in the history"));
            continue;
        };
        seen.insert(drift.id.as_str());
        let expected = DriftChange { by: drift.closed_by.clone(), ..DriftChange::new(&drift.id, &drift.change) };
        let is_last_good = last.last_good.is_none_or(|told| told == drift.last_good.map(Timestamp::from));
        let is_as_told = drift.status == last.status
            && expected.digest() == last.content
            && fingerprint(id, &drift.change) == *named
            && drift.reopened == last.reopened
            && drift.closed_at.map(Timestamp::from) == (last.status != Status::Open).then_some(last.at)
            && Timestamp::from(drift.first_seen) == last.opened
            && is_last_good;
        if !is_as_told {
            let last = event_place(last.seq, last.at);
            wrong.push(format!("drift {name} of {id} is not as the history tells it, see {last}"));
        }
    }
    for (name, drift) in told.iter().filter(|(name, _)| !seen.contains(name.as_str())) {
        let last = event_place(drift.seq, drift.at);
        wrong.push(format!("drift {} of {id} was removed; the last of it is {last}", display_safe(name)));
    }
}

fn compare_sections(
    id: &InstanceId,
    known: &BTreeMap<String, crate::incident::SectionIncident>,
    told: &HistoryState,
    wrong: &mut Findings,
) {
    let told: BTreeMap<&str, &Incident> = told.incidents.sections_of(id).collect();
    for (section, incident) in known.iter().filter(|(_, incident)| incident.is_told) {
        let event = told.get(section.as_str());
        let kind = event.and_then(|event| event.state.split_once('.')).map(|(_, kind)| kind);
        if kind != Some(incident.kind.as_str()) {
            wrong.push(format!("{} of {id} is remembered as told, and it was not", display_safe(section)));
        }
        // Earlier versions did not tell it.
        let began = event.and_then(|event| Some((event, event.since.as_ref()?)));
        if let Some((event, _)) = began.filter(|(_, began)| **began != Timestamp::from(incident.since).to_string()) {
            let event = event_place(event.seq, event.at.into());
            wrong
                .push(format!("{} of {id} has another beginning than the history, see {event}", display_safe(section)));
        }
    }
    // Nobody is told when a section is no longer new to the baseline.
    for (section, event) in told.iter().filter(|(_, event)| event.state != "section.unbaselined") {
        if !known.get(*section).is_some_and(|incident| incident.is_told && incident.kind != SectionKind::Unbaselined) {
            wrong.push(format!(
                "{} of {id} was forgotten; it was told by {}",
                display_safe(section),
                event_place(event.seq, event.at.into())
            ));
        }
    }
}

/// What is wrong with messages, and the instance that each history tells it is about. Unless it looks at `everything`, it looks
/// at what can keep people from hearing: it is looked at before comparisons. No index is asked.
fn messages(tx: &Transaction<'_>, told: &HistoryState, everything: bool) -> Stored<Vec<(Option<InstanceId>, String)>> {
    let mut query = tx.sql.prepare_cached(
        "SELECT id, state, instance, alert, next_at, attempts, first_at, passed, done_at, rowid, claimed_to
         FROM outbox NOT INDEXED",
    )?;
    let mut rows = query.query([])?;
    let (mut seen, mut wrong) = (BTreeSet::new(), Vec::new());
    while let Some(row) = rows.next()? {
        let (id, state): (String, String) = (row.get(0)?, row.get(1)?);
        let name = display_safe(&id);
        let Some(message) = told.outgoing.messages.get(&id) else {
            wrong.push((None, format!("message {name} is not in the history")));
            continue;
        };
        let mut say = |sentence: String| wrong.push((message.instance.clone(), sentence));
        if everything && !is_whole(tx, &row.get::<_, String>(3)?, &row.get::<_, String>(2)?) {
            say(format!("message {name} is not what was written"));
        }
        let is_looked_at = everything || message.is_waiting();
        if is_looked_at && outbox::content(tx, row.get(9)?)?.is_none_or(|content| content.as_str() != message.content) {
            say(format!("message {name} is not the one that was queued by {}", message.since()));
        }
        if state != message.state.as_str() {
            say(format!("message {name} is marked '{}', and it is {}", display_safe(&state), message.state.as_str()));
        } else if everything && !are_tries_as_told(row, message)? {
            say(format!(
                "how it went with message {name} is not as the history tells it; it was queued by {}",
                message.since()
            ));
        }
        seen.insert(id);
    }
    for (id, message) in told.outgoing.messages.iter().filter(|(id, _)| !seen.contains(*id)) {
        let sentence = format!("message {} was removed; it was queued by {}", display_safe(id), message.since());
        wrong.push((message.instance.clone(), sentence));
    }
    wrong.sort_by(|(_, one), (_, other)| one.cmp(other));
    Ok(wrong)
}

/// Whether an alert is about the instance that its row says, and names an event that is in the history. The rest of it may be
/// of a newer version.
fn is_whole(tx: &Transaction<'_>, alert: &str, instance: &str) -> bool {
    serde_json::from_str::<Place>(alert).is_ok_and(|alert| {
        let HistoryMark { size, head } = &alert.event;
        let about = alert.instance.as_ref().map(ToString::to_string).unwrap_or_default();
        about == instance && events::head_at(tx, *size).ok().flatten().as_ref() == Some(head)
    })
}

/// Whether the columns that say how it went with a message are what the history says, to the second. Earlier versions did not
/// tell the tries of what is done.
fn are_tries_as_told(row: &rusqlite::Row<'_>, message: &ToldMessage) -> Stored<bool> {
    let seconds = |millis: i64| millis.div_euclid(1000);
    if !message.is_waiting() {
        let done_at = row.get::<_, Option<i64>>(8)?.map(seconds);
        return Ok(done_at == message.done_at.map(|at| at.timestamp()));
    }
    let told = (message.due.timestamp(), i64::from(message.attempts), message.first_at.map(|at| at.timestamp()));
    let kept = (seconds(row.get(4)?), row.get(5)?, row.get::<_, Option<i64>>(6)?.map(seconds));
    // A process claims a message for a minute.
    let is_claimed_for_long = seconds(row.get(10)?) > (SystemClock.now() + CLAIM_BELIEVED).timestamp();
    Ok(kept == told
        && !is_claimed_for_long
        && row.get::<_, i64>(7)? == i64::from(message.is_passed)
        && row.get::<_, Option<i64>>(8)?.is_none())
}

/// Where an alert stands: about what, and in the history.
#[derive(Deserialize)]
struct Place {
    instance: Option<InstanceId>,
    event: HistoryMark,
}

fn threads(tx: &Transaction<'_>, wrong: &mut Findings) -> Stored<()> {
    let mut query = tx.sql.prepare("SELECT instance_id, receiver, subject, severity FROM threads")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let (instance, receiver): (i64, String) = (row.get(0)?, row.get(1)?);
        let (subject, severity): (String, String) = (row.get(2)?, row.get(3)?);
        let thread = outbox::thread(tx, InstanceRow(instance), &receiver)?;
        if thread.is_none_or(|thread| thread.subject != subject || thread.severity.as_str() != severity) {
            wrong.push(format!("the thread at '{}' does not begin with a message to it", display_safe(&receiver)));
        }
    }
    Ok(())
}
