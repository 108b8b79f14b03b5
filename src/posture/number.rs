//! Profiles, and the numbers that differ between them.

use std::collections::BTreeMap;
use std::fmt;

use crate::model::Unit;
use crate::model::word;

word!(
    /// Whom an instance serves. A stricter profile asks for more.
    Profile {
        /// Money, health, consoles of administrators.
        Banking = "banking",
        /// Data of business customers.
        Saas = "saas",
        /// The public.
        Consumer = "consumer",
    }
);

/// A quantity with its unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Amount {
    /// How much.
    pub number: f64,
    /// The unit, if it is a time.
    pub unit: Option<Unit>,
}

/// A number of the rules: one value for each profile, and what the standards ask for.
#[derive(Debug, Clone, PartialEq)]
pub struct Number {
    /// Kebab case; a user's own file overrides by it.
    pub name: String,
    /// What it is, in a few words.
    pub title: String,
    /// The unit, if it is a time.
    pub unit: Option<Unit>,
    /// What is counted, if it is no time: `characters`.
    pub noun: String,
    /// The value in each profile that uses it.
    pub values: BTreeMap<Profile, f64>,
    /// What the standards say, with their own number; empty if they say nothing.
    pub standard: String,
    /// Where the standards say it.
    pub source: String,
}

impl Number {
    /// The amount in that profile, if it uses the number.
    pub fn in_profile(&self, profile: Profile) -> Option<Amount> {
        self.values.get(&profile).map(|number| Amount { number: *number, unit: self.unit })
    }

    /// The amount in that profile in words: `60 minutes`.
    pub(super) fn words(&self, profile: Profile) -> String {
        let Some(amount) = self.in_profile(profile) else { return format!("'{}'", self.name) };
        if self.unit.is_some() || self.noun.is_empty() { amount.to_string() } else { format!("{amount} {}", self.noun) }
    }
}

impl Amount {
    /// The same for comparison: a time in seconds.
    pub fn in_base(self) -> f64 {
        self.number * self.unit.map_or(1.0, seconds)
    }
}

/// How many seconds one of the unit is.
fn seconds(unit: Unit) -> f64 {
    match unit {
        Unit::Milliseconds => 0.001,
        Unit::Seconds => 1.0,
        Unit::Minutes => 60.0,
        Unit::Hours => 3_600.0,
        Unit::Days => 86_400.0,
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(unit) = self.unit else { return write!(f, "{}", self.number) };
        let largest = [Unit::Days, Unit::Hours, Unit::Minutes, Unit::Seconds].into_iter().find(|larger| {
            let count = self.in_base() / seconds(*larger);
            count >= 1.0 && count.fract() == 0.0
        });
        let (count, unit) = largest.map_or((self.number, unit), |larger| (self.in_base() / seconds(larger), larger));
        let name = unit.as_str();
        write!(f, "{count} {}", if (count - 1.0).abs() < f64::EPSILON { name.trim_end_matches('s') } else { name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_compared_in_seconds_and_shown_in_the_largest_whole_unit() {
        let table = [
            (60.0, Some(Unit::Minutes), 3_600.0, "1 hour"),
            (10.0, Some(Unit::Minutes), 600.0, "10 minutes"),
            (0.5, Some(Unit::Hours), 1_800.0, "30 minutes"),
            (168.0, Some(Unit::Hours), 604_800.0, "7 days"),
            (900_000.0, Some(Unit::Milliseconds), 900.0, "15 minutes"),
            (14.0, None, 14.0, "14"),
            (0.0, Some(Unit::Seconds), 0.0, "0 seconds"),
        ];
        for (number, unit, base, words) in table {
            let amount = Amount { number, unit };
            assert!((amount.in_base() - base).abs() < 1e-9, "{words}");
            assert_eq!(amount.to_string(), words);
        }
    }
}
