//! What a snapshot tells the rules: the value of each section that they read, or why there is none.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::judgement::{Gap, UnknownReason};
use crate::canonical;
use crate::model::{Pointer, Provider, Severity, State};
use crate::sections::{Shape, Table};
use crate::snapshot::Snapshot;

/// What the own records say of an instance: no vendor shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnFacts {
    /// Whether the newest baseline is signed by enough people and undamaged.
    pub is_baseline_trusted: bool,
    /// When it was approved; nothing without a baseline.
    pub approved_at: Option<DateTime<Utc>>,
    /// The drifts that wait for somebody.
    pub open_drifts: Vec<OpenDrift>,
}

/// A drift that waits for somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenDrift {
    /// Where.
    pub path: Pointer,
    /// How much it matters.
    pub severity: Severity,
    /// Since when.
    pub first_seen: DateTime<Utc>,
}

/// The sections that rules read.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) provider: Provider,
    sections: BTreeMap<String, SectionFact>,
    pub(super) now: DateTime<Utc>,
    pub(super) own: Option<OwnFacts>,
}

#[derive(Debug)]
enum SectionFact {
    Value(Value),
    Off,
    Unread(UnknownReason),
}

/// What there is at a path.
#[derive(Debug)]
pub(super) enum Search<'a> {
    Value(&'a Value, Pointer),
    /// It was read, and has no such field.
    Absent(Pointer),
    /// The feature of the section is off.
    Off(Pointer),
}

impl Facts {
    /// Takes the sections named in `read` out of the snapshot.
    pub(super) fn new(snapshot: &Snapshot, read: &BTreeSet<String>, now: DateTime<Utc>, own: Option<OwnFacts>) -> Self {
        let fact = |section: &String| {
            let reading = snapshot.sections.get(section)?;
            let fact = match (UnknownReason::of_state(reading.state()), reading.document()) {
                (Some(reason), _) => SectionFact::Unread(reason),
                (None, Some(document)) => SectionFact::Value(document.read()),
                (None, None) if reading.state() == State::Off => SectionFact::Off,
                (None, None) => SectionFact::Unread(UnknownReason::Unreachable),
            };
            Some((section.clone(), fact))
        };
        let sections = read.iter().filter_map(fact).collect();
        Self { provider: snapshot.instance.provider, sections, now, own }
    }

    /// What there is at these tokens, of which the first is the section.
    pub(super) fn search<'a>(&'a self, tokens: &[String]) -> Result<Search<'a>, Gap> {
        let (section, rest) = tokens.split_first().map_or(("", tokens), |(section, rest)| (section.as_str(), rest));
        let start = Pointer::of_section(section);
        let unread = |reason| Err(Gap { reason, path: start.clone(), is_of_section: true });
        match self.sections.get(section) {
            None => unread(UnknownReason::NoCredential),
            Some(SectionFact::Unread(reason)) => unread(*reason),
            Some(SectionFact::Off) => Ok(Search::Off(rest.iter().fold(start, |path, token| path.child(token)))),
            Some(SectionFact::Value(value)) => {
                let row = Table::of(self.provider).section(section);
                let scoped = row.filter(|row| row.shape == Shape::List).and_then(|row| {
                    row.scoped_field.as_ref().map(|scoped| (row.each.len(), scoped.field.as_str()))
                });
                descend(value, rest, start, scoped)
            }
        }
    }

    /// What the answer would have, had the credential the scope for it: without this field, defaults mean nothing.
    pub(super) fn missing_scoped_field(&self, section: &str, object: &Value) -> bool {
        let row = Table::of(self.provider).section(section);
        row.and_then(|row| row.scoped_field.as_ref()).is_some_and(|scoped| object.get(&scoped.field).is_none())
    }
}

/// What there is below `value`. `scoped`: at that depth every object has that field, unless a scope is missing.
pub(super) fn descend<'a>(
    value: &'a Value,
    tokens: &[String],
    start: Pointer,
    scoped: Option<(usize, &str)>,
) -> Result<Search<'a>, Gap> {
    let (mut place, mut path) = (value, start);
    for (depth, token) in tokens.iter().enumerate() {
        // Below null there is null: the vendor says that nothing is set.
        if place.is_null() {
            path = tokens.iter().skip(depth).fold(path, |path, token| path.child(token));
            return Ok(Search::Value(place, path));
        }
        path = path.child(token);
        let Some(next) = place.get(token.as_str()) else {
            path = tokens.iter().skip(depth + 1).fold(path, |path, token| path.child(token));
            return Ok(Search::Absent(path));
        };
        if canonical::unknown(next).is_some() {
            return Err(Gap { reason: UnknownReason::Ambiguous, path, is_of_section: false });
        }
        if let Some((level, field)) = scoped
            && level == depth
            && next.get(field).is_none()
        {
            return Err(Gap { reason: UnknownReason::NotPermitted, path, is_of_section: false });
        }
        place = next;
    }
    Ok(Search::Value(place, path))
}
