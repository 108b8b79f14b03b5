//! What a snapshot tells the rules: the value of each section that they read, or why there is none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::judgement::{Gap, Location, UnknownReason};
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
    /// Its value, and the field that its objects lack when a scope is missing, with their depth.
    Value {
        value: Value,
        scoped: Option<(usize, &'static str)>,
    },
    Off,
    Unread(UnknownReason),
}

/// What there is at a path.
#[derive(Debug)]
pub(super) enum Search<'a> {
    Value(&'a Value, Location),
    /// It was read, and has no such field.
    Absent(Location),
    /// The feature of the section is off.
    Off(Location),
}

impl Facts {
    /// Takes the sections named in `read` out of the snapshot.
    pub(super) fn new(snapshot: &Snapshot, read: &BTreeSet<String>, now: DateTime<Utc>, own: Option<OwnFacts>) -> Self {
        let table = Table::of(snapshot.instance.provider);
        let scoped = |section: &str| {
            let row = table.section(section).filter(|row| row.shape == Shape::List)?;
            row.scoped_field.as_ref().map(|scoped| (row.each.len(), scoped.field.as_str()))
        };
        let fact = |section: &String| {
            let reading = snapshot.sections.get(section)?;
            let fact = match (UnknownReason::of_state(reading.state()), reading.document()) {
                (Some(reason), _) => SectionFact::Unread(reason),
                (None, Some(document)) => SectionFact::Value { value: document.read(), scoped: scoped(section) },
                (None, None) if reading.state() == State::Off => SectionFact::Off,
                (None, None) => SectionFact::Unread(UnknownReason::Unreachable),
            };
            Some((section.clone(), fact))
        };
        let sections = read.iter().filter_map(fact).collect();
        Self { provider: snapshot.instance.provider, sections, now, own }
    }

    /// What there is at these tokens, of which the first is the section.
    pub(super) fn search<'a>(&'a self, tokens: &Arc<[String]>) -> Result<Search<'a>, Gap> {
        let (section, rest) =
            tokens.split_first().map_or(("", &tokens[..]), |(section, rest)| (section.as_str(), rest));
        let unread = |reason| Err(Gap { reason, place: Pointer::of_section(section).into(), is_of_section: true });
        let place = Location::below(None, Arc::clone(tokens));
        match self.sections.get(section) {
            None => unread(UnknownReason::NoCredential),
            Some(SectionFact::Unread(reason)) => unread(*reason),
            Some(SectionFact::Off) => Ok(Search::Off(place)),
            Some(SectionFact::Value { value, scoped }) => descend(value, rest, place, *scoped),
        }
    }

    /// Whether an object of the section lacks the field that only a missing scope takes away: then defaults mean nothing.
    pub(super) fn is_cut_short(&self, section: &str, object: &Value) -> bool {
        match self.sections.get(section) {
            Some(SectionFact::Value { scoped: Some((_, field)), .. }) => object.get(field).is_none(),
            _ => false,
        }
    }
}

/// What there is below `value`. `scoped`: at that depth every object has that field, unless a scope is missing.
pub(super) fn descend<'a>(
    value: &'a Value,
    tokens: &[String],
    place: Location,
    scoped: Option<(usize, &str)>,
) -> Result<Search<'a>, Gap> {
    let mut found = value;
    for (depth, token) in tokens.iter().enumerate() {
        // Below null there is null: the vendor says that nothing is set.
        if found.is_null() {
            return Ok(Search::Value(found, place));
        }
        let Some(next) = found.get(token.as_str()) else { return Ok(Search::Absent(place)) };
        if canonical::unknown(next).is_some() {
            return Err(Gap { reason: UnknownReason::Ambiguous, place, is_of_section: false });
        }
        if let Some((level, field)) = scoped
            && level == depth
            && next.get(field).is_none()
        {
            return Err(Gap { reason: UnknownReason::NotPermitted, place, is_of_section: false });
        }
        found = next;
    }
    Ok(Search::Value(found, place))
}
