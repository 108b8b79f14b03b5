//! What a condition says: it holds, it fails, or nobody can tell. And what was looked at.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value;

use crate::model::{Pointer, State, Unit, word};

word!(
    /// Why a rule cannot be judged.
    UnknownReason {
        /// The credential may not read the section.
        NotPermitted = "not_permitted",
        /// The section could not be read this time, or the answer could not be used.
        Unreachable = "unreachable",
        /// The plan of the vendor does not include it.
        NotOnPlan = "not_on_plan",
        /// No credential that could read it is configured, or it was not asked for.
        NoCredential = "no_credential",
        /// The field is not in the answer, and no default is documented.
        FieldAbsent = "field_absent",
        /// What was read can mean more than one thing.
        Ambiguous = "ambiguous",
        /// Code of the customer decides, and code is not read.
        DecidedInCode = "decided_in_code",
        /// The reading looks more like a reader's fault than like somebody's doing.
        Suspect = "suspect",
        /// What the rule would need is not set up: a site, logs, a list of advisories.
        NotConfigured = "not_configured",
        /// A person has to answer, and nobody has.
        NotAttested = "not_attested",
        /// A person answered, and the answer is too old.
        AttestationEnded = "attestation_ended",
    }
);

impl UnknownReason {
    /// Why a section in that state says nothing; nothing for a state that says something.
    pub(super) fn of_state(state: State) -> Option<Self> {
        match state {
            State::Value | State::Off => None,
            State::NotOnPlan => Some(Self::NotOnPlan),
            State::NotPermitted => Some(Self::NotPermitted),
            State::Unreachable => Some(Self::Unreachable),
            State::Suspect => Some(Self::Suspect),
        }
    }
}

/// A value that a rule looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    place: Location,
    /// The value in force there; of a set only the member that matters.
    pub value: Value,
    /// It is one member of the set at the path.
    pub is_member: bool,
    /// The field is absent, and this is its documented default.
    pub is_default: bool,
    /// How a number is meant.
    pub unit: Option<Unit>,
}

impl Observation {
    /// Where; the first token is the section.
    pub fn path(&self) -> Pointer {
        self.place.pointer()
    }
}

/// Where a value is. A pointer is only made of it for what is told: of most values nothing is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Location {
    base: Option<Arc<Pointer>>,
    rest: Option<Arc<[String]>>,
}

impl Location {
    /// What is below `base`, or below nothing.
    pub(super) fn below(base: Option<Arc<Pointer>>, rest: Arc<[String]>) -> Self {
        Self { base, rest: Some(rest) }
    }

    pub(super) fn pointer(&self) -> Pointer {
        let rest = self.rest.as_deref().unwrap_or_default();
        self.base.as_deref().map_or_else(|| Pointer::default().descendant(rest), |base| base.descendant(rest))
    }
}

impl From<Pointer> for Location {
    fn from(pointer: Pointer) -> Self {
        Self { base: Some(Arc::new(pointer)), rest: None }
    }
}

impl From<Arc<Pointer>> for Location {
    fn from(base: Arc<Pointer>) -> Self {
        Self { base: Some(base), rest: None }
    }
}

/// Something that was needed and is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) reason: UnknownReason,
    pub(super) place: Location,
    /// The whole section could not be read.
    pub(super) is_of_section: bool,
}

/// An [`Observation`] that nobody has asked for yet.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen<'a> {
    pub(super) place: Location,
    pub(super) value: Cow<'a, Value>,
    pub(super) is_member: bool,
    pub(super) is_default: bool,
    pub(super) unit: Option<Unit>,
}

impl<'a> Seen<'a> {
    pub(super) fn at(path: Pointer, value: Cow<'a, Value>) -> Self {
        Self { place: path.into(), value, is_member: false, is_default: false, unit: None }
    }
}

impl From<Seen<'_>> for Observation {
    fn from(seen: Seen<'_>) -> Self {
        Self {
            place: seen.place,
            value: seen.value.into_owned(),
            is_member: seen.is_member,
            is_default: seen.is_default,
            unit: seen.unit,
        }
    }
}

/// What a condition says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Holds {
    Yes,
    No,
    Unknown(Gap),
    /// Each of an empty list: there is nothing to judge.
    Empty,
}

/// What a condition says, and what it looked at to say so.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Judgement<'a> {
    pub(super) holds: Holds,
    pub(super) observed: Vec<Seen<'a>>,
}

impl<'a> Judgement<'a> {
    pub(super) fn of(holds: bool, observed: Vec<Seen<'a>>) -> Self {
        Self { holds: if holds { Holds::Yes } else { Holds::No }, observed }
    }

    pub(super) fn unknown(gap: Gap) -> Self {
        Self { holds: Holds::Unknown(gap), observed: Vec::new() }
    }

    pub(super) fn empty() -> Self {
        Self { holds: Holds::Empty, observed: Vec::new() }
    }

    /// The opposite; what is unknown or empty stays so.
    pub(super) fn negated(mut self) -> Self {
        self.holds = match self.holds {
            Holds::Yes => Holds::No,
            Holds::No => Holds::Yes,
            other => other,
        };
        self
    }

    /// All of them: no if one says no, else unknown if one is unknown. Nothing to judge if there is nothing in any.
    pub(super) fn all(judgements: impl IntoIterator<Item = Self>) -> Self {
        Self::combined(judgements, &Holds::No, &Holds::Yes)
    }

    /// Any of them: yes if one says yes, else unknown if one is unknown. Nothing to judge if there is nothing in any.
    pub(super) fn any(judgements: impl IntoIterator<Item = Self>) -> Self {
        Self::combined(judgements, &Holds::Yes, &Holds::No)
    }

    /// What one says decides, what all say is the rest. Only what bears the answer out counts as observed.
    fn combined(judgements: impl IntoIterator<Item = Self>, one: &Holds, rest: &Holds) -> Self {
        let (mut deciding, mut agreeing) = (Vec::new(), Vec::new());
        let (mut is_decided, mut is_agreed, mut gap) = (false, false, None);
        for judgement in judgements {
            match judgement.holds {
                // A section that was not read says more than a field that is not there.
                Holds::Unknown(next) => {
                    gap = gap.filter(|first: &Gap| first.is_of_section || !next.is_of_section).or(Some(next));
                }
                Holds::Empty => {}
                holds if holds == *one => {
                    is_decided = true;
                    deciding.extend(judgement.observed);
                }
                _ => {
                    is_agreed = true;
                    agreeing.extend(judgement.observed);
                }
            }
        }
        match gap {
            _ if is_decided => Self { holds: one.clone(), observed: deciding },
            Some(gap) => Self::unknown(gap),
            None if is_agreed => Self { holds: rest.clone(), observed: agreeing },
            None => Self::empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judgement(letter: char) -> Judgement<'static> {
        match letter {
            'y' => Judgement::of(true, Vec::new()),
            'n' => Judgement::of(false, Vec::new()),
            'e' => Judgement::empty(),
            _ => Judgement::unknown(Gap {
                reason: UnknownReason::FieldAbsent,
                place: Location::default(),
                is_of_section: false,
            }),
        }
    }

    fn letter(judgement: &Judgement<'_>) -> char {
        match judgement.holds {
            Holds::Yes => 'y',
            Holds::No => 'n',
            Holds::Unknown(_) => '?',
            Holds::Empty => 'e',
        }
    }

    #[test]
    fn three_values_combine_as_the_rules_say() {
        let table = [
            ("yy", 'y', 'y'),
            ("yn", 'n', 'y'),
            ("y?", '?', 'y'),
            ("n?", 'n', '?'),
            ("nn", 'n', 'n'),
            ("?e", '?', '?'),
            ("ye", 'y', 'y'),
            ("ne", 'n', 'n'),
            ("ee", 'e', 'e'),
            ("", 'e', 'e'),
        ];
        for (letters, all, any) in table {
            assert_eq!(letter(&Judgement::all(letters.chars().map(judgement))), all, "all of {letters}");
            assert_eq!(letter(&Judgement::any(letters.chars().map(judgement))), any, "any of {letters}");
        }
        assert_eq!(letter(&judgement('?').negated()), '?');
        assert_eq!(letter(&judgement('n').negated()), 'y');
    }
}
