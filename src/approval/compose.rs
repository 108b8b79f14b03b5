//! The documents of a new baseline: the approved differences from the snapshot, the old values for everything else.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::pending::Pending;
use crate::canonical::{Document, forget_mended, is_same, to_bytes};
use crate::diff::{Change, ChangeKind};
use crate::model::{Digest, State};
use crate::snapshot::{Manifest, SectionMark};

/// What a section of the new baseline holds.
enum Fate {
    /// What the predecessor holds.
    KeepOld,
    /// What was read.
    TakeNew,
    /// The predecessor's document with the approved differences.
    Merge,
    /// Nothing: the section is new and was not selected. A state that the predecessor says stays.
    LeaveOut,
    /// Nothing: the snapshot does not have the section.
    Unread,
}

/// The sections of the new baseline: the approved differences from the snapshot, the old values for everything else. A
/// section that cannot be read now keeps what was approved before.
pub(super) fn compose(
    pending: &Pending<'_>,
    approved: &[&Change],
    new_sections: &BTreeSet<String>,
) -> (Manifest, BTreeMap<Digest, Document>) {
    let mut manifest = Manifest::new();
    let mut documents = BTreeMap::new();
    let mut add = |section: &str, state: State, document: Option<Document>| {
        let digest = document.as_ref().map(|document| document.digest().clone());
        if let Some(document) = document {
            documents.insert(document.digest().clone(), document);
        }
        manifest.insert(section.to_owned(), SectionMark { digest, state });
    };
    let old = pending.predecessor();
    let old_marks = old.map(|baseline| baseline.approved.subject.sections.clone()).unwrap_or_default();
    let names = old_marks.keys().chain(pending.snapshot.sections.keys());
    for section in names.collect::<BTreeSet<_>>() {
        let old_document = old.and_then(|baseline| baseline.document(section));
        let old_mark = old_marks.get(section).map(|mark| mark.state);
        let is_held = old_mark.is_some_and(State::is_comparable);
        let reading = pending.snapshot.sections.get(section);
        let is_read = reading.is_some_and(|reading| reading.state().is_comparable());
        let here: Vec<&Change> =
            approved.iter().copied().filter(|change| change.section() == section.as_str()).collect();
        let all_here = pending.changes.iter().filter(|change| change.section() == section.as_str()).count();
        // What cannot be used of the reading keeps what was approved, so only the differences are taken.
        let is_partial =
            here.len() < all_here || old_document.is_some() && reading.is_some_and(|reading| reading.has_unknown());
        let fate = match is_held {
            true if !is_read || here.is_empty() => Fate::KeepOld,
            true if is_partial => Fate::Merge,
            false if reading.is_none() => Fate::Unread,
            false if old.is_some() && !new_sections.contains(section) => Fate::LeaveOut,
            true | false => Fate::TakeNew,
        };
        let read = reading.and_then(|reading| reading.document());
        match fate {
            Fate::KeepOld => add(section, old_mark.unwrap_or(State::Unreachable), old_document.cloned()),
            Fate::TakeNew => add(section, reading.map_or(State::Unreachable, |reading| reading.state()), read.cloned()),
            Fate::Merge => {
                let mut value = old_document.map(|document| document.value().clone()).unwrap_or_default();
                let read = read.map(Document::value);
                for change in here {
                    apply(&mut value, change, read);
                }
                forget_mended(&mut value, read);
                add(section, old_mark.unwrap_or(State::Unreachable), Some(Document::new(&value)));
            }
            Fate::LeaveOut => {
                if let Some(state) = old_mark {
                    add(section, state, None);
                }
            }
            Fate::Unread => add(section, State::Unreachable, old_document.cloned()),
        }
    }
    (manifest, documents)
}

/// Makes one change to the document of its section; `read` is the document it comes from.
fn apply(value: &mut Value, change: &Change, read: Option<&Value>) {
    let tokens = change.path.tokens().get(1..).unwrap_or_default();
    let Some((last, parents)) = tokens.split_last() else {
        // The set is the whole section.
        apply_here(value, change, read);
        return;
    };
    let mut parent = value;
    for token in parents {
        match parent.get_mut(token.as_str()) {
            Some(child) => parent = child,
            None => return,
        }
    }
    let Some(object) = parent.as_object_mut() else { return };
    if change.is_member {
        let read = tokens.iter().try_fold(read, |place, token| Some(place?.get(token.as_str()))).flatten();
        apply_here(object.entry(last.clone()).or_insert(Value::Null), change, read);
    } else if change.kind == ChangeKind::Removed {
        object.remove(last);
    } else {
        let whole = tokens.iter().try_fold(read, |place, token| Some(place?.get(token.as_str()))).flatten();
        object.insert(last.clone(), whole.unwrap_or(&change.after).clone());
    }
}

fn apply_here(place: &mut Value, change: &Change, read: Option<&Value>) {
    if !change.is_member {
        *place = read.unwrap_or(&change.after).clone();
        return;
    }
    let mut members = place.as_array().cloned().unwrap_or_default();
    match change.kind {
        ChangeKind::Removed => members.retain(|member| !is_same(member, &change.before)),
        _ => {
            let mut read = read.and_then(Value::as_array).into_iter().flatten();
            members.push(read.find(|member| is_same(member, &change.after)).unwrap_or(&change.after).clone());
        }
    }
    members.sort_by_cached_key(to_bytes);
    members.dedup();
    // Some vendors write a set without members as null.
    let is_null = members.is_empty() && read == Some(&Value::Null);
    *place = if is_null { Value::Null } else { Value::Array(members) };
}
