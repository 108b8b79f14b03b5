//! Every table held against the history, and every digest against its content. For `verify`, which may take its time.
//!
//! Baselines are verified by `trust`, and the history by [`super::events`]; what is here is bound to the two: drifts and
//! messages are told in the history, snapshots and documents are named by their digests.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Transaction;
use serde_json::Value;

use super::events::{self, Event};
use super::{Store, Stored, cycles, documents, drifts, instances, news, outbox};
use crate::canonical::{Document, to_bytes};
use crate::incident::{Known, SectionKind, Status, fingerprint};
use crate::message::Alert;
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
        snapshots(tx, &documents, &mut wrong)?;
        // A history that cannot be read is told by whoever verifies it, and nothing can be held against it.
        if events::verify(tx).is_ok() {
            let told = Told::of(&events::all(tx, None)?);
            each_instance(tx, &told, &mut wrong)?;
            messages(tx, &told, &mut wrong)?;
            storage(tx, &told, &mut wrong)?;
        }
        Ok(wrong)
    }
}

/// What the history says that the tables should hold.
#[derive(Default)]
struct Told {
    /// Drifts by instance and id: the last event of each, and how often it was opened again.
    drifts: BTreeMap<InstanceId, BTreeMap<String, (Event, u32)>>,
    /// Sections and credentials that were told of and are not over.
    sections: BTreeMap<InstanceId, BTreeMap<String, Event>>,
    /// Instances whose baseline cannot be trusted.
    untrusted: BTreeMap<InstanceId, Event>,
    /// Messages by id: the event that made each, and the kind of the last one.
    messages: BTreeMap<String, (Event, String)>,
    /// The last thing that was said about the room on the disk.
    storage: Option<Event>,
}

impl Told {
    fn of(events: &[Event]) -> Self {
        let mut told = Self::default();
        for event in events {
            let text = |name: &str| event.data.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            let kind = event.kind.as_str();
            if kind == events::QUEUED {
                told.messages.insert(text("message"), (event.clone(), kind.to_owned()));
            }
            if let ("delivery.done" | "delivery.given_up", Some((_, last))) =
                (kind, told.messages.get_mut(&text("message")))
            {
                kind.clone_into(last);
            }
            if kind.starts_with("storage.") {
                told.storage = Some(event.clone());
            }
            let Some(instance) = &event.instance else { continue };
            match kind {
                "baseline.untrusted" => drop(told.untrusted.insert(instance.clone(), event.clone())),
                "baseline.trusted" => drop(told.untrusted.remove(instance)),
                "section.blind" | "section.suspect" | "section.unbaselined" => {
                    told.sections.entry(instance.clone()).or_default().insert(text("section"), event.clone());
                }
                "credential.refused" => {
                    told.sections.entry(instance.clone()).or_default().insert(text("credential"), event.clone());
                }
                "section.seeing_again" | "credential.accepted" => {
                    let name = if kind == "credential.accepted" { "credential" } else { "section" };
                    told.sections.entry(instance.clone()).or_default().remove(&text(name));
                }
                _ if kind.starts_with("drift.") => {
                    let drifts = told.drifts.entry(instance.clone()).or_default();
                    let before = drifts.get(&text("drift")).map_or(0, |(_, reopened)| *reopened);
                    let reopened = before + u32::from(kind == "drift.reopened");
                    drifts.insert(text("drift"), (event.clone(), reopened));
                }
                _ => {}
            }
        }
        told
    }
}

fn since(event: &Event) -> String {
    format!("event {} of {}", event.seq, display_safe(&event.at))
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
            super::space::META => {}
            _ => wrong.push(format!("meta holds '{}', which is not what this program writes", display_safe(&name))),
        }
    }
    if !is_named {
        wrong.push("meta does not name the fingerprint key any more".to_owned());
    }
    Ok(())
}

/// What is remembered about the room on the disk decides who is told.
fn storage(tx: &Transaction<'_>, told: &Told, wrong: &mut Findings) -> Stored<()> {
    let known: Option<String> =
        tx.query_row("SELECT max(value) FROM meta WHERE name = ?1", [super::space::META], |row| row.get(0))?;
    let expected = match told.storage.as_ref().map(|event| event.kind.as_str()) {
        Some("storage.low") => Some("low"),
        Some("storage.full") => Some("full"),
        _ => None,
    };
    if known.as_deref() != expected {
        let known = known.as_deref().map_or("nothing".to_owned(), |known| format!("'{}'", display_safe(known)));
        let since = told.storage.as_ref().map(|event| format!(", told otherwise in {}", since(event)));
        wrong.push(format!("meta holds {known} about the room on the disk{}", since.unwrap_or_default()));
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

fn snapshots(tx: &Transaction<'_>, documents: &BTreeSet<String>, wrong: &mut Findings) -> Stored<()> {
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
        let manifest = serde_json::from_str::<Manifest>(&sections).ok();
        match name.parse::<InstanceId>().ok().zip(manifest) {
            Some((instance, manifest)) if digest_of(&instance, &resource, &manifest).as_str() == digest => {
                let marks = manifest.iter().filter_map(|(section, mark)| Some((section, mark.digest.as_ref()?)));
                for (section, digest) in marks.filter(|(_, digest)| !documents.contains(digest.as_str())) {
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
            None if !is_expected => {}
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
        let is_untrusted = told.untrusted.get(&id);
        let state = instances::state(tx, row)?.untrusted;
        let code = is_untrusted.and_then(|event| event.data.get("code")).and_then(Value::as_str);
        if state.as_deref() != code {
            wrong.push(format!("{id} remembers another reason for not being trusted than the history"));
        }
        compare_drifts(&id, &drifts::known(tx, row)?, told, wrong);
        compare_sections(&id, &news::known(tx, row)?, told, wrong);
        // What was read leaves cycles.
        if cycles::latest(tx, row)?.is_none() {
            wrong.push(format!("every cycle of {id} is gone"));
        }
        known.insert(id);
    }
    let spoken_of = told.drifts.keys().chain(told.untrusted.keys()).chain(told.sections.keys());
    for id in spoken_of.filter(|id| !known.contains(*id)).collect::<BTreeSet<_>>() {
        wrong.push(format!("the history speaks of {id}, and it is not there"));
    }
    Ok(())
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

fn messages(tx: &Transaction<'_>, told: &Told, wrong: &mut Findings) -> Stored<()> {
    let mut query = tx.prepare("SELECT id, state, instance, alert FROM outbox ORDER BY id")?;
    let mut rows = query.query([])?;
    let mut seen = BTreeSet::new();
    while let Some(row) = rows.next()? {
        let (id, state, instance, alert): (String, String, String, String) =
            (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        let name = display_safe(&id);
        let is_whole = serde_json::from_str::<Alert>(&alert).is_ok_and(|alert| {
            let HistoryMark { size, head } = &alert.event;
            alert.instance.to_string() == instance && events::head_at(tx, *size).ok().flatten().as_ref() == Some(head)
        });
        if !is_whole {
            wrong.push(format!("message {name} is not what was written"));
        }
        if let Some((event, last)) = told.messages.get(&id) {
            let content = outbox::content(tx, &id)?;
            if event.data.get("content").and_then(Value::as_str) != Some(content.as_str()) {
                wrong.push(format!("message {name} is not the one that was queued by {}", since(event)));
            }
            let expected = match last.as_str() {
                "delivery.done" => "delivered",
                "delivery.given_up" => "dead",
                _ => "waiting",
            };
            if state != expected {
                wrong.push(format!("message {name} is marked '{}', and it is {expected}", display_safe(&state)));
            }
        } else {
            wrong.push(format!("message {name} is not in the history"));
        }
        seen.insert(id);
    }
    for (id, (event, _)) in told.messages.iter().filter(|(id, _)| !seen.contains(*id)) {
        wrong.push(format!("message {} was removed; it was queued by {}", display_safe(id), since(event)));
    }
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
