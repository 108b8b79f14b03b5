//! Every table held against the history, and every digest against its content. For `verify`, which may take its time.
//!
//! Baselines are verified by `trust`, and the history by [`super::events`]; what is here is bound to the two: drifts and
//! messages are told in the history, snapshots and documents are named by their digests.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use super::events::{self, Walk};
use super::instances::InstanceRow;
use super::told::{Told, ToldMessage, since};
use super::{Store, Stored, Transaction, cycles, documents, drifts, instances, news, outbox};
use crate::canonical::{Document, to_bytes};
use crate::incident::{Known, SectionKind, Status, fingerprint};
use crate::model::{Digest, HistoryMark, InstanceId, Severity, display_safe};
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
        meta(tx, &self.fingerprint_key().id(), &mut wrong)?;
        references(tx, &mut wrong)?;
        statements(tx, &mut wrong)?;
        let documents = documents_of(tx, &mut wrong)?;
        // A history that cannot be read is told by whoever verifies it, and nothing can be held against it.
        let walk = tx.history().ok();
        let none = BTreeSet::new();
        snapshots(tx, &documents, walk.as_ref().map_or(&none, |walk| &walk.told.pruned), &mut wrong)?;
        if let Some(walk) = walk {
            each_instance(tx, &walk.told, &mut wrong)?;
            messages(tx, &walk.told, None, &mut wrong)?;
            threads(tx, &mut wrong)?;
        }
        Ok(wrong)
    }
}

/// The first thing about `instance` that is not in the tables as the history tells it: a drift that was planted as known
/// would never be told, and neither would a message that was taken away.
///
/// # Errors
/// The database cannot be read.
pub fn contradiction(tx: &Transaction<'_>, instance: &InstanceId, walk: &Walk) -> Stored<Option<String>> {
    let mut wrong = Findings::new();
    match instances::find(tx, instance)? {
        Some(row) => told_of(tx, instance, row, &walk.told, &mut wrong)?,
        None => missing(&walk.told, &BTreeSet::new(), |id| id == instance, &mut wrong),
    }
    messages(tx, &walk.told, Some(instance), &mut wrong)?;
    Ok(wrong.into_iter().next())
}

fn meta(tx: &Transaction<'_>, key: &str, wrong: &mut Findings) -> Stored<()> {
    let mut query = tx.prepare("SELECT name, value FROM meta")?;
    let mut rows = query.query([])?;
    let mut is_named = false;
    while let Some(row) = rows.next()? {
        let (name, value): (String, String) = (row.get(0)?, row.get(1)?);
        match name.as_str() {
            "fingerprint-key" if value == key => is_named = true,
            super::high_water::META if value == "written" => {}
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
    let mut query = tx.prepare("SELECT \"table\", count(*) FROM pragma_foreign_key_check GROUP BY 1")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let (table, count): (String, i64) = (row.get(0)?, row.get(1)?);
        wrong.push(format!("{count} rows of {} refer to rows that are not there", display_safe(&table)));
    }
    Ok(())
}

/// Statements are verified as they were signed; what is beside them orders them, and the high-water file trusts it.
fn statements(tx: &Transaction<'_>, wrong: &mut Findings) -> Stored<()> {
    let mut query = tx.prepare("SELECT sequence, statement FROM statements ORDER BY rowid")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let (sequence, statement): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
        let signed = serde_json::from_slice::<Value>(&statement).ok();
        let signed = signed.and_then(|statement| statement.pointer("/subject/sequence")?.as_i64());
        if signed != Some(sequence) {
            wrong.push(format!("a statement is kept as baseline {sequence}, which is not what was signed"));
        }
    }
    Ok(())
}

/// The digests of all documents that are whole.
fn documents_of(tx: &Transaction<'_>, wrong: &mut Findings) -> Stored<BTreeSet<String>> {
    let mut query = tx.prepare("SELECT digest, body FROM documents")?;
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
    wrong: &mut Findings,
) -> Stored<()> {
    let mut query = tx.prepare(
        "SELECT s.id, s.digest, s.resource, s.sections, i.name,
                (SELECT body FROM collections c WHERE c.snapshot_id = s.id),
                s.id >= (SELECT min(snapshot_id) FROM collections),
                EXISTS (SELECT 1 FROM collections c JOIN cycles y ON y.snapshot_id = s.id AND y.at = c.at
                        WHERE c.snapshot_id = s.id AND y.instance_id = s.instance_id),
                EXISTS (SELECT 1 FROM cycles y WHERE y.snapshot_id = s.id AND y.instance_id <> s.instance_id)
         FROM snapshots s JOIN instances i ON i.id = s.instance_id ORDER BY s.id",
    )?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let (digest, resource, sections): (String, String, String) = (row.get(1)?, row.get(2)?, row.get(3)?);
        let name: String = row.get(4)?;
        let what = format!("snapshot {} of {}", row.get::<_, i64>(0)?, display_safe(&name));
        let is_pruned = pruned.contains(&digest);
        let manifest = serde_json::from_str::<Manifest>(&sections).ok();
        match name.parse::<InstanceId>().ok().zip(manifest) {
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

fn each_instance(tx: &Transaction<'_>, told: &Told, wrong: &mut Findings) -> Stored<()> {
    let mut query = tx.prepare("SELECT name FROM instances ORDER BY name")?;
    let names: Vec<String> = query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut known = BTreeSet::new();
    for name in names {
        let Ok(id) = name.parse::<InstanceId>() else {
            wrong.push(format!("'{}' is no instance", display_safe(&name)));
            continue;
        };
        let Some(row) = instances::find(tx, &id)? else { continue };
        told_of(tx, &id, row, told, wrong)?;
        // What was read leaves cycles.
        if cycles::latest(tx, row)?.is_none() {
            wrong.push(format!("every cycle of {id} is gone"));
        }
        known.insert(id);
    }
    missing(told, &known, |_| true, wrong);
    Ok(())
}

fn told_of(tx: &Transaction<'_>, id: &InstanceId, row: InstanceRow, told: &Told, wrong: &mut Findings) -> Stored<()> {
    compare_drifts(id, &drifts::known(tx, row)?, told, wrong);
    compare_sections(id, &news::known(tx, row)?, told, wrong);
    Ok(())
}

/// Instances that the history speaks of and that are not `known`.
fn missing(told: &Told, known: &BTreeSet<InstanceId>, asked: impl Fn(&InstanceId) -> bool, wrong: &mut Findings) {
    let spoken_of: BTreeSet<&InstanceId> = told.drifts.keys().chain(told.sections.keys()).collect();
    for id in spoken_of.into_iter().filter(|id| asked(id) && !known.contains(*id)) {
        wrong.push(format!("the history speaks of {id}, and it is not there"));
    }
}

fn compare_drifts(id: &InstanceId, known: &BTreeMap<Digest, Known>, told: &Told, wrong: &mut Findings) {
    let none = BTreeMap::new();
    let told = told.drifts.get(id).unwrap_or(&none);
    let mut seen = BTreeSet::new();
    for (named, drift) in known {
        let name = display_safe(drift.id.as_str());
        let Some((event, reopened)) = told.get(drift.id.as_str()) else {
            wrong.push(format!("drift {name} of {id} is not in the history"));
            continue;
        };
        seen.insert(drift.id.as_str());
        let mut expected = crate::incident::as_json(&drift.change);
        if let Some(fields) = expected.as_object_mut() {
            fields.insert("drift".to_owned(), drift.id.as_str().into());
            if !drift.closed_by.is_empty() {
                fields.insert("by".to_owned(), drift.closed_by.clone().into());
            }
        }
        let status = match event.kind.as_str() {
            "drift.approved" => Status::Approved,
            "drift.reverted" => Status::Reverted,
            _ => Status::Open,
        };
        let is_as_told = drift.status == status
            && to_bytes(&expected) == to_bytes(&event.data)
            && fingerprint(id, &drift.change) == *named
            && drift.reopened == *reopened
            && drift.closed_at.is_some() == (status != Status::Open);
        if !is_as_told {
            wrong.push(format!("drift {name} of {id} is not as the history tells it, see {}", since(event)));
        }
    }
    for (name, (event, _)) in told.iter().filter(|(name, _)| !seen.contains(name.as_str())) {
        wrong.push(format!("drift {} of {id} was removed; the last of it is {}", display_safe(name), since(event)));
    }
}

fn compare_sections(
    id: &InstanceId,
    known: &BTreeMap<String, crate::incident::SectionIncident>,
    told: &Told,
    wrong: &mut Findings,
) {
    let none = BTreeMap::new();
    let told = told.sections.get(id).unwrap_or(&none);
    for (section, incident) in known.iter().filter(|(_, incident)| incident.is_told) {
        let kind = told.get(section).and_then(|event| event.kind.split_once('.')).map(|(_, kind)| kind);
        if kind != Some(incident.kind.as_str()) {
            wrong.push(format!("{} of {id} is remembered as told, and it was not", display_safe(section)));
        }
    }
    // Nobody is told when a section is no longer new to the baseline.
    for (section, event) in told.iter().filter(|(_, event)| event.kind != "section.unbaselined") {
        if !known.get(section).is_some_and(|incident| incident.is_told && incident.kind != SectionKind::Unbaselined) {
            wrong.push(format!("{} of {id} was forgotten; it was told by {}", display_safe(section), since(event)));
        }
    }
}

/// Messages about one instance, or all. Of one instance what is sent already is only counted: it is looked at before every
/// comparison, there is more of it every day, and nobody can be kept from hearing by it.
fn messages(tx: &Transaction<'_>, told: &Told, only: Option<&InstanceId>, wrong: &mut Findings) -> Stored<()> {
    let mut query = tx.prepare_cached(match only {
        Some(_) => "SELECT id, state, instance, NULL FROM outbox WHERE instance = ?1 ORDER BY id",
        None => "SELECT id, state, instance, alert FROM outbox WHERE ?1 IS NULL ORDER BY id",
    })?;
    let mut rows = query.query([only.map(ToString::to_string)])?;
    let mut seen = BTreeSet::new();
    while let Some(row) = rows.next()? {
        let (id, state, instance, alert): (String, String, String, Option<String>) =
            (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        let name = display_safe(&id);
        // The rest of an alert may be of a newer version; that it is the one that was queued is looked at below.
        let is_whole = |alert: &str| {
            serde_json::from_str::<Place>(alert).is_ok_and(|alert| {
                let HistoryMark { size, head } = &alert.event;
                let about = alert.instance.as_ref().map(ToString::to_string).unwrap_or_default();
                about == instance && events::head_at(tx, *size).ok().flatten().as_ref() == Some(head)
            })
        };
        if alert.as_deref().is_some_and(|alert| !is_whole(alert)) {
            wrong.push(format!("message {name} is not what was written"));
        }
        if let Some(message) = told.messages.get(&id) {
            let is_looked_at = only.is_none() || state == "waiting";
            if is_looked_at && outbox::content(tx, &id)?.as_str() != message.content {
                wrong.push(format!("message {name} is not the one that was queued by {}", message.since));
            }
            if state != message.state {
                wrong.push(format!("message {name} is marked '{}', and it is {}", display_safe(&state), message.state));
            }
        } else {
            wrong.push(format!("message {name} is not in the history"));
        }
        seen.insert(id);
    }
    let asked = |message: &ToldMessage| only.is_none() || message.instance.as_ref() == only;
    for (id, message) in told.messages.iter().filter(|(id, message)| asked(message) && !seen.contains(*id)) {
        wrong.push(format!("message {} was removed; it was queued by {}", display_safe(id), message.since));
    }
    Ok(())
}

/// Where an alert stands: about what, and in the history.
#[derive(Deserialize)]
struct Place {
    instance: Option<InstanceId>,
    event: HistoryMark,
}

fn threads(tx: &Transaction<'_>, wrong: &mut Findings) -> Stored<()> {
    let mut query = tx.prepare(
        "SELECT t.receiver, t.severity, o.id IS NOT NULL FROM threads t JOIN instances i ON i.id = t.instance_id
         LEFT JOIN outbox o ON o.id = t.root AND o.receiver = t.receiver AND o.subject = t.subject AND o.instance = i.name",
    )?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let (receiver, severity): (String, String) = (row.get(0)?, row.get(1)?);
        if Severity::from_word(&severity).is_none() || !row.get::<_, bool>(2)? {
            wrong.push(format!("the thread at '{}' does not begin with a message to it", display_safe(&receiver)));
        }
    }
    Ok(())
}
