//! When an instance is due. Pure: the caller brings the time and what was stored.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use croner::parser::{CronParser, Seconds, Year};

/// A five-field cron pattern in a time zone.
#[derive(Debug, Clone)]
pub struct Cron {
    pattern: croner::Cron,
    zone: Tz,
}

/// Why a pattern cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadCron {
    /// Not a cron pattern.
    #[error("'{pattern}' is not a five-field cron pattern: {reason}")]
    Syntax {
        /// The text.
        pattern: String,
        /// The parser's words.
        reason: String,
    },
    /// The pattern is well formed but its day never comes, like 31 February.
    #[error("'{0}' never comes")]
    Never(String),
}

impl Cron {
    /// Reads a five-field pattern (`*/5 * * * *`, `@daily`) and makes sure that it has a next time after `now`.
    ///
    /// # Errors
    /// [`BadCron`] when the pattern is malformed or has no next time.
    pub fn parse(pattern: &str, zone: Tz, now: DateTime<Utc>) -> Result<Self, BadCron> {
        let parsed = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build()
            .parse(pattern)
            .map_err(|error| BadCron::Syntax { pattern: pattern.to_owned(), reason: error.to_string() })?;
        let cron = Self { pattern: parsed, zone };
        match cron.next_after(now) {
            Some(_) => Ok(cron),
            None => Err(BadCron::Never(pattern.to_owned())),
        }
    }

    /// The first time after `instant`, if the pattern has one.
    pub fn next_after(&self, instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let local = instant.with_timezone(&self.zone);
        let next = self.pattern.find_next_occurrence(&local, false).ok()?;
        let next = next.with_timezone(&Utc);
        (next > instant).then_some(next)
    }

    /// The pattern in words, as the parser understands it.
    pub fn describe(&self) -> String {
        format!("{} ({})", self.pattern.describe(), self.zone)
    }
}
