//! Where the value of a rule comes from, and what it means when it is absent.

mod path;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::facts::{Facts, Search, descend};
use super::judgement::{Gap, Judgement, Location, Seen, UnknownReason};
use super::number::{Amount, Profile};
use crate::canonical;
use crate::model::{Pointer, Unit};

pub(super) use path::ReadPath;

/// Where a condition is asked.
#[derive(Debug, Clone)]
pub(super) struct Scope<'a> {
    pub(super) facts: &'a Facts,
    /// What the rules say that others refer to.
    pub(super) others: &'a BTreeMap<String, Judgement<'a>>,
    pub(super) profile: Profile,
    object: Option<&'a Value>,
    base: Arc<Pointer>,
    /// The form that `agree` looks at.
    pub(super) it: Option<Known<'a>>,
}

impl<'a> Scope<'a> {
    /// The whole instance.
    pub(super) fn of_instance(facts: &'a Facts, others: &'a BTreeMap<String, Judgement<'a>>, profile: Profile) -> Self {
        Self { facts, others, profile, object: None, base: Arc::default(), it: None }
    }

    /// The same about one object.
    pub(super) fn about(&self, base: impl Into<Arc<Pointer>>, object: &'a Value) -> Self {
        Self { object: Some(object), base: base.into(), it: None, ..self.clone() }
    }

    /// The same with one of several forms.
    pub(super) fn with_it(&self, it: Known<'a>) -> Self {
        Self { it: Some(it), ..self.clone() }
    }

    /// The key of the object.
    pub(super) fn key(&self) -> &str {
        self.base.last()
    }

    /// Where the object is.
    pub(super) fn place(&self) -> Location {
        Location::from(Arc::clone(&self.base))
    }

    pub(super) fn search(&self, path: &'a ReadPath) -> Result<Search<'a>, Gap> {
        let tokens = path.resolve(self)?;
        match self.object {
            Some(object) if !path.is_absolute() => {
                let place = Location::below(Some(Arc::clone(&self.base)), Arc::clone(&tokens));
                descend(object, &tokens, place, None)
            }
            _ => self.facts.search(&tokens),
        }
    }

    pub(super) fn no_it(&self) -> Gap {
        Gap { reason: UnknownReason::Ambiguous, place: self.place(), is_of_section: false }
    }
}

/// One value that a rule reads.
#[derive(Debug)]
pub(super) struct ValueSource {
    pub(super) from: SourceKind,
    /// What an absent field means, where the vendor documents it.
    pub(super) default: Option<Value>,
    /// What null means, if it is not the same as absent.
    pub(super) null: Option<Value>,
    /// What it means that the section is off.
    pub(super) off: Option<Value>,
    /// Words as other values.
    pub(super) map: Option<BTreeMap<String, Value>>,
    /// A switch that says the opposite.
    pub(super) negate: bool,
    /// The first number in a text: `node22`.
    pub(super) digits: bool,
    /// What the number 0 means, if it is not simply the smallest.
    pub(super) zero: Option<Value>,
    /// How a number is meant.
    pub(super) unit: Option<Unit>,
}

#[derive(Debug)]
pub(super) enum SourceKind {
    /// One place.
    Path(ReadPath),
    /// The first of several that can be read and is there.
    First(Vec<Arc<ValueSource>>),
    /// Which one is in force, another value says.
    Switch { on: Arc<ValueSource>, cases: BTreeMap<String, Arc<ValueSource>> },
    /// Always the same.
    Constant(Value),
    /// The key of the object that is judged.
    Key,
    /// The key of what the object is in.
    Parent,
    /// The form that `agree` looks at.
    It,
}

/// A value that was read.
#[derive(Debug, Clone)]
pub(super) struct Known<'a> {
    pub(super) value: Cow<'a, Value>,
    pub(super) place: Location,
    pub(super) is_default: bool,
    pub(super) unit: Option<Unit>,
}

impl<'a> Known<'a> {
    /// The value, if it is not one that stands for a secret, a text of code or something too large.
    pub(super) fn plain(&self) -> Result<&Value, Gap> {
        if !canonical::is_placeholder(&self.value) {
            return Ok(&self.value);
        }
        let is_code = self.value.get("sha256").is_some();
        Err(self.gap(if is_code { UnknownReason::DecidedInCode } else { UnknownReason::Ambiguous }))
    }

    pub(super) fn text(&self) -> Result<Cow<'_, str>, Gap> {
        match self.plain()? {
            Value::String(text) => Ok(Cow::Borrowed(text)),
            Value::Bool(flag) => Ok(Cow::Borrowed(if *flag { "true" } else { "false" })),
            Value::Number(number) => Ok(Cow::Owned(number.to_string())),
            _ => Err(self.gap(UnknownReason::Ambiguous)),
        }
    }

    /// The members of a set; null is an empty one.
    pub(super) fn members(&self) -> Result<&[Value], Gap> {
        match self.plain()? {
            Value::Array(items) => Ok(items),
            Value::Null => Ok(&[]),
            _ => Err(self.gap(UnknownReason::Ambiguous)),
        }
    }

    /// The number. A limit that is never reached is infinite.
    pub(super) fn amount(&self) -> Result<Amount, Gap> {
        let number = match self.plain()? {
            Value::Number(number) => number.as_f64(),
            Value::String(text) if text == NEVER => Some(f64::INFINITY),
            _ => None,
        };
        number.map(|number| Amount { number, unit: self.unit }).ok_or_else(|| self.gap(UnknownReason::Ambiguous))
    }

    pub(super) fn gap(&self, reason: UnknownReason) -> Gap {
        Gap { reason, place: self.place.clone(), is_of_section: false }
    }

    pub(super) fn seen(&self) -> Seen<'a> {
        self.seen_as(self.value.clone())
    }

    /// One member of the set.
    pub(super) fn member(&self, value: &Value) -> Seen<'a> {
        Seen { is_member: true, ..self.seen_as(Cow::Owned(value.clone())) }
    }

    fn seen_as(&self, value: Cow<'a, Value>) -> Seen<'a> {
        Seen { place: self.place.clone(), value, is_member: false, is_default: self.is_default, unit: self.unit }
    }
}

/// The value of a limit that is not there.
pub(super) const NEVER: &str = "never";

impl ValueSource {
    pub(super) fn plain(from: SourceKind) -> Self {
        Self {
            from,
            default: None,
            null: None,
            off: None,
            map: None,
            negate: false,
            digits: false,
            zero: None,
            unit: None,
        }
    }

    /// What is read in that scope, or what is not known.
    pub(super) fn read<'a>(&'a self, scope: &Scope<'a>) -> Result<Known<'a>, Gap> {
        let mut known = match &self.from {
            SourceKind::Path(path) => match scope.search(path)? {
                Search::Value(Value::Null, place) if self.null.is_some() => {
                    return Ok(self.standing(&self.null, place, false));
                }
                Search::Value(Value::Null, place) | Search::Absent(place) if self.default.is_some() => {
                    return Ok(self.standing(&self.default, place, true));
                }
                Search::Off(place) if self.off.is_some() => return Ok(self.standing(&self.off, place, false)),
                Search::Value(value, place) => {
                    Known { value: Cow::Borrowed(value), place, is_default: false, unit: None }
                }
                Search::Absent(place) => {
                    return Err(Gap { reason: UnknownReason::FieldAbsent, place, is_of_section: false });
                }
                Search::Off(place) => {
                    return Err(Gap { reason: UnknownReason::FieldAbsent, place, is_of_section: true });
                }
            },
            SourceKind::First(sources) => match first(sources, scope) {
                Err(gap) if gap.reason == UnknownReason::FieldAbsent && self.default.is_some() => {
                    return Ok(self.standing(&self.default, gap.place, true));
                }
                found => found?,
            },
            SourceKind::Switch { on, cases } => {
                let known = on.read(scope)?;
                let case = cases.get(known.text()?.as_ref()).ok_or_else(|| known.gap(UnknownReason::Ambiguous))?;
                case.read(scope)?
            }
            SourceKind::Constant(value) => {
                Known { value: Cow::Borrowed(value), place: scope.place(), is_default: false, unit: None }
            }
            SourceKind::Key => self.name_of(scope, 1),
            SourceKind::Parent => self.name_of(scope, 2),
            SourceKind::It => return scope.it.clone().ok_or_else(|| scope.no_it()),
        };
        self.transform(&mut known)?;
        known.unit = self.unit.or(known.unit);
        Ok(known)
    }

    /// The token of the object's path at that place, counted from the end.
    fn name_of<'a>(&self, scope: &Scope<'a>, from_end: usize) -> Known<'a> {
        let tokens = scope.base.tokens();
        let name = tokens.len().checked_sub(from_end).and_then(|at| tokens.get(at)).cloned().unwrap_or_default();
        Known { value: Cow::Owned(Value::String(name)), place: scope.place(), is_default: false, unit: None }
    }

    /// A value that stands for an absent field, for null or for a section that is off.
    fn standing<'a>(&self, value: &'a Option<Value>, place: Location, is_default: bool) -> Known<'a> {
        let value = value.as_ref().map_or(Cow::Owned(Value::Null), Cow::Borrowed);
        Known { value, place, is_default, unit: self.unit }
    }

    fn transform<'a>(&'a self, known: &mut Known<'a>) -> Result<(), Gap> {
        if let Some(map) = &self.map {
            let value = map.get(known.text()?.as_ref()).ok_or_else(|| known.gap(UnknownReason::Ambiguous))?;
            known.value = Cow::Borrowed(value);
        }
        if self.negate {
            let flag = known.value.as_bool().ok_or_else(|| known.gap(UnknownReason::Ambiguous))?;
            known.value = Cow::Owned(Value::Bool(!flag));
        }
        if self.digits {
            let text = known.text()?;
            let digits = text.trim_start_matches(|letter: char| !letter.is_ascii_digit());
            let digits = digits.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default();
            let number = digits.parse::<u32>().map_err(|_| known.gap(UnknownReason::Ambiguous))?;
            known.value = Cow::Owned(Value::from(number));
        }
        if let Some(zero) = self.zero.as_ref().filter(|_| known.value.as_f64() == Some(0.0)) {
            known.value = Cow::Borrowed(zero);
        }
        Ok(())
    }

    /// Every path that is read, for any object below `base`, with whether an absent field has a default.
    pub(super) fn patterns(&self, base: &[String], found: &mut Vec<Vec<String>>) {
        match &self.from {
            SourceKind::Path(path) => {
                found.push(path.pattern(base));
                path.sources().for_each(|source| source.patterns(base, found));
            }
            SourceKind::First(sources) => sources.iter().for_each(|source| source.patterns(base, found)),
            SourceKind::Switch { on, cases } => {
                on.patterns(base, found);
                cases.values().for_each(|source| source.patterns(base, found));
            }
            SourceKind::Constant(_) | SourceKind::Key | SourceKind::Parent | SourceKind::It => {}
        }
    }

    /// What people call it: the end of its path.
    pub(super) fn name(&self) -> String {
        match &self.from {
            SourceKind::Path(path) => path.pattern(&[]).last().cloned().unwrap_or_default(),
            SourceKind::First(sources) => sources.first().map(|source| source.name()).unwrap_or_default(),
            SourceKind::Switch { cases, .. } => cases.values().next().map(|source| source.name()).unwrap_or_default(),
            SourceKind::Constant(value) => value.to_string(),
            SourceKind::Key | SourceKind::Parent => "the name".to_owned(),
            SourceKind::It => String::new(),
        }
    }
}

/// The first that can be read and is there. What could not be read weighs more than what is absent.
fn first<'a>(sources: &'a [Arc<ValueSource>], scope: &Scope<'a>) -> Result<Known<'a>, Gap> {
    let mut gaps: Vec<Gap> = Vec::new();
    for source in sources {
        match source.read(scope) {
            Ok(known) => return Ok(known),
            Err(gap) => gaps.push(gap),
        }
    }
    let unread = gaps.iter().position(|gap| gap.reason != UnknownReason::FieldAbsent);
    let worst = unread.unwrap_or(0);
    Err(gaps.into_iter().nth(worst).unwrap_or_else(|| scope.no_it()))
}
