//! Sections that are blind, suspect or unknown to the baseline, and credentials that are refused, over time.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::model::{Digest, Pointer, State, word};
use crate::snapshot::{Manifest, Reading, Snapshot};

/// An incident of a section that is blind, suspect or not in the baseline, or of a refused credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectionIncident {
    /// Which of the two.
    pub kind: SectionKind,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Cycles in a row.
    pub cycles: u32,
    /// Whether it was reported.
    pub is_told: bool,
    /// The digest of the implausible reading.
    pub suspected: Option<Digest>,
    /// The state of the section when it was reported first: an outage and a missing permission are two causes.
    pub cause: Option<State>,
}

word!(
    /// Why a section is remembered.
    SectionKind {
        /// It cannot be read, and the baseline holds it or does not name it at all.
        Blind = "blind",
        /// The baseline holds it and its reading is implausible.
        Suspect = "suspect",
        /// It can be read and the baseline does not hold it.
        Unbaselined = "unbaselined",
        /// It is no section but a credential that the vendor refuses.
        Refused = "refused",
    }
);

impl SectionKind {
    /// Whether the content of a section is unknown.
    pub fn is_section_unseen(self) -> bool {
        matches!(self, Self::Blind | Self::Suspect)
    }

    /// Consecutive cycles before it is reported: one failed reading is noise, everything else is reported at once.
    fn tell_after(self) -> u32 {
        if self == Self::Blind { 2 } else { 1 }
    }
}

/// The step that a section takes in one cycle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SectionStep {
    /// Report it now.
    Tell(SectionIncident),
    /// To be remembered.
    Remember(SectionIncident),
    /// It ended, which is reported if its beginning was.
    Over(SectionIncident),
}

/// The kinds of trouble of the sections of an instance now, against the sections that the baseline holds.
///
/// `unknown` are the places of objects that cannot be used and that nobody approved as not watched. A section in `excused`
/// cannot be read for a reason that is reported by itself.
pub fn section_kinds(
    baseline: &Manifest,
    snapshot: &Snapshot,
    unknown: &[Pointer],
    excused: &BTreeSet<String>,
) -> BTreeMap<String, SectionKind> {
    let sections: BTreeSet<&String> = baseline.keys().chain(snapshot.sections.keys()).collect();
    let asked = sections.into_iter().filter(|section| !excused.contains(*section));
    asked.filter_map(|section| Some((section.clone(), section_kind(baseline, snapshot, unknown, section)?))).collect()
}

/// The steps from the `known` incidents of sections and credentials to these kinds. Incidents of `excused` sections stay.
pub fn advance_sections(
    known: &BTreeMap<String, SectionIncident>,
    current: &BTreeMap<String, SectionKind>,
    excused: &BTreeSet<String>,
    now: DateTime<Utc>,
) -> BTreeMap<String, SectionStep> {
    let over = known.iter().filter(|(name, _)| !current.contains_key(*name) && !excused.contains(*name));
    let mut steps: BTreeMap<_, _> =
        over.map(|(name, incident)| (name.clone(), SectionStep::Over(incident.clone()))).collect();
    for (name, kind) in current {
        let before = known.get(name).filter(|incident| incident.kind == *kind);
        let cycles = before.map_or(0, |incident| incident.cycles) + 1;
        let since = before.map_or(now, |incident| incident.since);
        let was_told = before.is_some_and(|incident| incident.is_told);
        // If the section was reported as suspect and becomes blind, report that at once instead of after two cycles.
        let is_other = known.get(name).is_some_and(|known| known.is_told && known.kind == SectionKind::Suspect);
        let is_time = cycles >= kind.tell_after() || (is_other && before.is_none());
        let cause = known.get(name).and_then(|incident| incident.cause);
        let is_told = was_told || is_time;
        let incident = SectionIncident { kind: *kind, since, cycles, is_told, suspected: None, cause };
        let step = if is_time && !was_told { SectionStep::Tell(incident) } else { SectionStep::Remember(incident) };
        steps.insert(name.clone(), step);
    }
    steps
}

/// Whether `section` is blind or unbaselined right now.
///
/// A baseline that names a section as unreadable says that its approvers know that it is not watched. A section that no
/// baseline names is blind while it is unreachable. While it is not permitted it is not: the credential lacks a permission
/// that somebody has to grant, and then it is new to the baseline. A section with an object at one of the places `unknown`
/// is blind as well.
pub fn section_kind(
    baseline: &Manifest,
    snapshot: &Snapshot,
    unknown: &[Pointer],
    section: &str,
) -> Option<SectionKind> {
    let approved = baseline.get(section).map(|mark| mark.state);
    let read = snapshot.sections.get(section).map(Reading::state);
    match (approved, read) {
        (Some(approved), read) if approved.is_comparable() => match read {
            Some(State::Suspect) => Some(SectionKind::Suspect),
            None | Some(State::NotPermitted | State::Unreachable) => Some(SectionKind::Blind),
            Some(_) => unknown.iter().any(|place| place.section() == section).then_some(SectionKind::Blind),
        },
        (_, Some(read)) if read.is_comparable() => Some(SectionKind::Unbaselined),
        (None, Some(State::Unreachable)) => Some(SectionKind::Blind),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::canonical::Document;
    use crate::model::InstanceId;
    use crate::snapshot::SectionMark;

    fn instance() -> InstanceId {
        "clerk:test".parse().unwrap()
    }

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(minute * 60, 0).unwrap()
    }

    #[test]
    fn what_was_not_believed_and_cannot_be_read_then_is_told_at_once() {
        let steps = |known: &BTreeMap<String, SectionIncident>, kind| {
            advance_sections(known, &[("a".to_owned(), kind)].into(), &BTreeSet::new(), at(1))
        };
        let suspect = steps(&BTreeMap::new(), SectionKind::Suspect).remove("a");
        let Some(SectionStep::Tell(suspect)) = suspect else { panic!("{suspect:?}") };
        let known = [("a".to_owned(), suspect)].into();
        let blind = steps(&known, SectionKind::Blind).remove("a");
        let Some(SectionStep::Tell(blind)) = blind else { panic!("{blind:?}") };
        assert!(blind.is_told);
        let known = [("a".to_owned(), blind)].into();
        assert!(matches!(steps(&known, SectionKind::Blind).remove("a"), Some(SectionStep::Remember(_))));
    }

    #[test]
    fn only_what_a_baseline_names_as_unreadable_may_be_unreachable() {
        use SectionKind::{Blind, Suspect, Unbaselined};
        let table = [
            (None, State::Unreachable, Some(Blind)),
            (None, State::NotPermitted, None),
            (None, State::Value, Some(Unbaselined)),
            (None, State::Off, Some(Unbaselined)),
            (Some(State::Unreachable), State::Unreachable, None),
            (Some(State::Unreachable), State::NotPermitted, None),
            (Some(State::Unreachable), State::Value, Some(Unbaselined)),
            (Some(State::NotPermitted), State::Unreachable, None),
            (Some(State::Value), State::Unreachable, Some(Blind)),
            (Some(State::Off), State::NotPermitted, Some(Blind)),
            (Some(State::Value), State::Suspect, Some(Suspect)),
            (Some(State::Value), State::Off, None),
        ];
        for (approved, read, expected) in table {
            let baseline: Manifest =
                approved.map(|state| ("a".to_owned(), SectionMark { digest: None, state })).into_iter().collect();
            let reading = match read {
                State::Value => Reading::Value(Document::new(&json!({}))),
                state => Reading::without(state, ""),
            };
            let snapshot = Snapshot {
                instance: instance(),
                resource: String::new(),
                identifiers: crate::model::Resource::default(),
                sections: [("a".to_owned(), reading)].into(),
            };
            assert_eq!(section_kind(&baseline, &snapshot, &[], "a"), expected, "{approved:?} {read}");
        }
    }

    #[test]
    fn blindness_is_told_at_the_second_cycle_and_once() {
        let mark = |state| SectionMark { digest: None, state };
        let baseline: Manifest =
            [("a".to_owned(), mark(State::Off)), ("b".to_owned(), mark(State::NotPermitted))].into();
        let snapshot = |readings: &[(&str, State)]| Snapshot {
            instance: instance(),
            resource: String::new(),
            identifiers: crate::model::Resource::default(),
            sections: readings
                .iter()
                .map(|(section, state)| {
                    let reading = match state {
                        State::Value => Reading::Value(Document::new(&json!({}))),
                        state => Reading::without(*state, ""),
                    };
                    ((*section).to_owned(), reading)
                })
                .collect(),
        };
        let blind = snapshot(&[("a", State::Unreachable), ("b", State::NotPermitted)]);
        let seeing = snapshot(&[("a", State::Off), ("b", State::Value)]);
        let mut known = BTreeMap::new();
        let mut told = Vec::new();
        for (minute, snapshot) in [&blind, &blind, &blind, &seeing, &seeing].into_iter().enumerate() {
            let now = at(i64::try_from(minute).unwrap());
            let mut line = Vec::new();
            let kinds = section_kinds(&baseline, snapshot, &[], &BTreeSet::new());
            for (section, step) in advance_sections(&known, &kinds, &BTreeSet::new(), now) {
                match step {
                    SectionStep::Tell(incident) => {
                        line.push(format!("{section} {:?}", incident.kind));
                        known.insert(section, incident);
                    }
                    SectionStep::Remember(incident) => {
                        known.insert(section, incident);
                    }
                    SectionStep::Over(incident) => {
                        line.push(format!("{section} over {}", incident.is_told));
                        known.remove(&section);
                    }
                }
            }
            told.push(line.join(", "));
        }
        assert_eq!(told, ["", "a Blind", "", "a over true, b Unbaselined", ""]);
    }
}
