//! When an instance is due. Pure: the caller brings the time and what was stored.

mod zone;

use chrono::{DateTime, TimeDelta, Utc};
use croner::parser::{CronParser, Seconds, Year};
use sha2::{Digest as _, Sha256};

pub use zone::Zone;

/// A five-field cron pattern in a time zone.
#[derive(Debug, Clone)]
pub struct Cron {
    pattern: croner::Cron,
    zone: Zone,
    /// The text, if it has a step that does not come out even, such as every 7 minutes of an hour.
    uneven: Option<String>,
}

/// The five fields of a pattern, and how many values each has.
const FIELDS: [(&str, u32); 5] = [("minutes", 60), ("hours", 24), (DAYS, 31), ("months", 12), ("days of the week", 7)];
const DAYS: &str = "days of the month";

/// Why a pattern cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the texts say what the fields are")]
pub enum BadCron {
    /// Not a cron pattern.
    #[error("'{pattern}' is not a five-field cron pattern: {reason}")]
    Syntax { pattern: String, reason: String },
    /// A step that is longer than what it steps through, so that only the beginning is left.
    #[error(
        "'{pattern}' has the step {step} in its {field}, which has {values} values: only the first would ever come"
    )]
    Step { pattern: String, step: u32, field: &'static str, values: u32 },
    /// The pattern is well formed but its day never comes, like 31 February.
    #[error("'{0}' never comes")]
    Never(String),
}

impl Cron {
    /// Reads a five-field pattern (`*/5 * * * *`, `@daily`) and makes sure that it has a next time after `now`.
    pub fn parse(pattern: &str, zone: Zone, now: DateTime<Utc>) -> Result<Self, BadCron> {
        let parsed = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build()
            .parse(pattern)
            .map_err(|error| BadCron::Syntax { pattern: pattern.to_owned(), reason: error.to_string() })?;
        let uneven = has_uneven_step(pattern)?.then(|| pattern.to_owned());
        let cron = Self { pattern: parsed, zone, uneven };
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

    /// The time that comes as the `count`th after `instant`, if there are so many.
    pub fn nth_after(&self, instant: DateTime<Utc>, count: usize) -> Option<DateTime<Utc>> {
        (0..count).try_fold(instant, |last, _| self.next_after(last))
    }

    /// The time between the next two times after `instant`; an hour if there are no two.
    pub fn interval(&self, instant: DateTime<Utc>) -> TimeDelta {
        let next = self.next_after(instant);
        let pause = next.and_then(|next| Some(self.next_after(next)? - next));
        pause.unwrap_or(TimeDelta::hours(1))
    }

    /// The pattern in words, as the parser understands it. Steps that do not come out even have no true words: then it is the
    /// pattern with its next times after `instant`.
    pub fn describe(&self, instant: DateTime<Utc>) -> String {
        let Some(pattern) = &self.uneven else { return format!("{} ({})", self.pattern.describe(), self.zone) };
        let mut times = Vec::new();
        let mut last = instant;
        while let Some(next) = self.next_after(last).filter(|_| times.len() < UNEVEN_TIMES) {
            let form = if next - last < TimeDelta::hours(20) { "%H:%M" } else { "%-d %b %H:%M" };
            times.push(next.with_timezone(&self.zone).format(form).to_string());
            last = next;
        }
        format!("'{pattern}', next {} ({})", times.join(", "), self.zone)
    }
}

/// How many times show that a pattern is uneven.
const UNEVEN_TIMES: usize = 4;

/// Whether a step through all values of a field does not come out even, so that the last one is cut short.
///
/// # Errors
/// A step is longer than what it steps through. Other parsers refuse it, and it does not say what it seems to say.
fn has_uneven_step(pattern: &str) -> Result<bool, BadCron> {
    let mut is_uneven = false;
    for (text, (field, all)) in pattern.split_whitespace().zip(FIELDS) {
        for part in text.split(',') {
            let Some((range, step)) = part.split_once('/') else { continue };
            let Ok(step) = step.parse::<u32>() else { continue };
            // Names of months and days are in no range that is so long.
            let numbers = range.split_once('-').and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
            let values = numbers.map_or(all, |(from, to): (u32, u32)| (to + 1).saturating_sub(from));
            if step > values {
                return Err(BadCron::Step { pattern: pattern.to_owned(), step, field, values });
            }
            // Months are not equally long.
            is_uneven |= numbers.is_none() && step > 1 && (field == DAYS || !all.is_multiple_of(step));
        }
    }
    Ok(is_uneven)
}

/// Whether an instance is due: it was never read, or its time has come. A time that passed while nothing was running
/// counts once, however long ago it was. A stored time that is later than the pattern allows is of another pattern or
/// another clock, and counts as come.
pub fn is_due(cron: &Cron, now: DateTime<Utc>, next_due: Option<DateTime<Utc>>, delay: TimeDelta) -> bool {
    let latest = cron.next_after(now);
    next_due.is_none_or(|next| next + delay <= now || latest.is_some_and(|latest| next > latest))
}

/// Whether what comes regularly is due: it never came, or its time has come since it last did. However many times passed, it
/// comes once.
pub fn is_time_again(cron: &Cron, last: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    // A due time further ahead was written by a wrong clock, so it is ignored.
    let last = last.filter(|last| *last <= now + TimeDelta::hours(1));
    last.is_none_or(|last| cron.next_after(last).is_some_and(|next| next <= now))
}

/// How long after its time an instance is read: always the same for one name and different for most, so that many
/// instances and many installations do not all ask at the full minute. At most a tenth of the period and 30 seconds.
pub fn spread(name: &str, cron: &Cron, now: DateTime<Utc>) -> TimeDelta {
    let period =
        cron.next_after(now).and_then(|first| cron.next_after(first).map(|second| second - first)).unwrap_or_default();
    let most = (period / 10).min(TimeDelta::seconds(30)).num_milliseconds();
    let hash = Sha256::digest(name);
    let part = hash.iter().take(3).fold(0, |part, byte| (part << 8) | i64::from(*byte));
    TimeDelta::milliseconds(most * part / (1 << 24))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn zone(name: &str) -> Zone {
        name.parse().unwrap()
    }

    fn cron(pattern: &str, zone: Zone) -> Cron {
        Cron::parse(pattern, zone, at("2026-01-01T00:00:00Z")).unwrap()
    }

    #[test]
    fn what_comes_regularly_comes_once_and_not_before_its_time() {
        let (daily, weekly) = ("0 8 * * *", "0 8 * * MON");
        for (pattern, last, now, expected) in [
            (daily, None, "2026-11-22T07:00:00Z", true),
            (daily, Some("2026-11-22T07:00:00Z"), "2026-11-22T06:59:59Z", false),
            (daily, Some("2026-11-22T06:59:59Z"), "2026-11-22T07:00:00Z", true),
            (daily, Some("2026-11-22T07:00:00Z"), "2026-11-22T07:00:01Z", false),
            (daily, Some("2026-11-19T07:00:00Z"), "2026-11-22T12:00:00Z", true),
            // A small correction of the clock makes nothing due; a due time far ahead is ignored.
            (daily, Some("2026-11-22T07:00:00Z"), "2026-11-22T06:30:00Z", false),
            (daily, Some("2030-11-22T07:00:00Z"), "2026-11-20T12:00:00Z", true),
            (weekly, Some("2026-11-16T07:00:00Z"), "2026-11-22T12:00:00Z", false),
            (weekly, Some("2026-11-16T07:00:00Z"), "2026-11-23T07:00:00Z", true),
        ] {
            let cron = cron(pattern, zone("Europe/Zurich"));
            assert_eq!(is_time_again(&cron, last.map(at), at(now)), expected, "{pattern} {last:?} {now}");
        }
    }

    #[test]
    fn patterns_that_cannot_be_meant_are_refused() {
        for (pattern, reason) in [
            ("*/5 * * *", "five-field"),
            ("0 */5 * * * *", "five-field"),
            ("every day", "five-field"),
            ("0 0 31 2 *", "never comes"),
        ] {
            let error = Cron::parse(pattern, Zone::utc(), at("2026-01-01T00:00:00Z")).unwrap_err().to_string();
            assert!(error.contains(reason), "{pattern}: {error}");
        }
    }

    #[test]
    fn a_step_beyond_its_range_is_refused_and_one_that_does_not_come_out_even_is_told_by_its_times() {
        let now = at("2026-01-01T12:00:00Z");
        for (pattern, expected) in [
            ("*/61 * * * *", Err("the step 61 in its minutes, which has 60 values")),
            ("0 */25 * * *", Err("the step 25 in its hours, which has 24 values")),
            ("0 0 */32 * *", Err("the step 32 in its days of the month")),
            ("0 0 1 */13 *", Err("the step 13 in its months")),
            ("0 0 * * */8", Err("the step 8 in its days of the week")),
            ("10-20/12 * * * *", Err("the step 12 in its minutes, which has 11 values")),
            ("5,*/90 * * * *", Err("the step 90")),
            ("*/5 * * * *", Ok("At every 5 minutes")),
            ("*/60 * * * *", Ok("At every 60 minutes")),
            ("10-20/7 * * * *", Ok("At minute 10 and 17")),
            ("@daily", Ok("At 00:00")),
            ("*/7 * * * *", Ok("'*/7 * * * *', next 12:07, 12:14, 12:21, 12:28 (UTC)")),
            ("*/40 * * * *", Ok("'*/40 * * * *', next 12:40, 13:00, 13:40, 14:00 (UTC)")),
            ("0 */5 * * *", Ok("'0 */5 * * *', next 15:00, 20:00, 00:00, 05:00 (UTC)")),
            ("30 6 */2 * *", Ok("'30 6 */2 * *', next 3 Jan 06:30, 5 Jan 06:30, 7 Jan 06:30, 9 Jan 06:30 (UTC)")),
        ] {
            let found = Cron::parse(pattern, Zone::utc(), now)
                .map(|cron| cron.describe(now))
                .map_err(|error| error.to_string());
            match (found, expected) {
                (Ok(found), Ok(expected)) | (Err(found), Err(expected)) => {
                    assert!(found.contains(expected), "{pattern}: {found}");
                }
                (found, expected) => panic!("{pattern}: {found:?} instead of {expected:?}"),
            }
        }
    }

    #[test]
    fn local_time_is_kept_across_the_change_of_the_clocks() {
        let zone = zone("America/New_York");
        let table = [
            // The hour from two to three does not exist on that day, and the one from one to two is there twice.
            ("30 2 * * *", "2026-03-07T12:00:00Z", "2026-03-08T07:00:00Z"),
            ("30 1 * * *", "2026-03-08T06:30:00Z", "2026-03-09T05:30:00Z"),
            // A step within the hour that does not exist skips the day.
            ("*/30 2 * * *", "2026-03-07T12:00:00Z", "2026-03-09T06:00:00Z"),
            ("30 1 * * *", "2026-11-01T04:00:00Z", "2026-11-01T05:30:00Z"),
            ("30 1 * * *", "2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"),
            ("*/30 * * * *", "2026-11-01T05:30:00Z", "2026-11-01T06:00:00Z"),
            ("0 9 * * *", "2026-03-07T20:00:00Z", "2026-03-08T13:00:00Z"),
            ("0 9 * * *", "2026-10-31T20:00:00Z", "2026-11-01T14:00:00Z"),
        ];
        for (pattern, now, expected) in table {
            assert_eq!(cron(pattern, zone.clone()).next_after(at(now)), Some(at(expected)), "{pattern} after {now}");
        }
    }

    #[test]
    fn office_hours_leave_a_night_between_two_readings() {
        let office = cron("0 9-17 * * 1-5", Zone::utc());
        let friday = at("2026-01-02T17:00:20Z");
        assert_eq!(office.nth_after(friday, 3), Some(at("2026-01-05T11:00:00Z")));
        assert_eq!(office.nth_after(friday, 0), Some(friday));
    }

    #[test]
    fn downtime_is_caught_up_once() {
        let every_five = cron("*/5 * * * *", Zone::utc());
        let (stopped, started) = (at("2026-01-01T00:05:00Z"), at("2026-01-01T09:02:00Z"));
        assert!(is_due(&every_five, started, Some(stopped), TimeDelta::zero()));
        let next = every_five.next_after(started);
        assert_eq!(next, Some(at("2026-01-01T09:05:00Z")));
        assert!(!is_due(&every_five, started, next, TimeDelta::zero()));
        assert!(is_due(&every_five, started, None, TimeDelta::seconds(30)));
    }

    #[test]
    fn a_stored_time_beyond_the_pattern_does_not_put_an_instance_to_sleep() {
        let every_five = cron("*/5 * * * *", Zone::utc());
        let now = at("2026-01-01T00:02:00Z");
        assert!(is_due(&every_five, now, Some(at("2099-01-01T00:00:00Z")), TimeDelta::zero()));
        assert!(is_due(&every_five, now, Some(at("2026-01-01T00:10:00Z")), TimeDelta::zero()));
        assert!(!is_due(&every_five, now, Some(at("2026-01-01T00:05:00Z")), TimeDelta::seconds(9)));
    }

    #[test]
    fn instances_are_spread_and_always_in_the_same_way() {
        let every_five = cron("*/5 * * * *", Zone::utc());
        let now = at("2026-01-01T00:00:00Z");
        let delays: Vec<_> = (0..50).map(|number| spread(&format!("clerk:i{number}"), &every_five, now)).collect();
        assert!(delays.iter().all(|delay| *delay >= TimeDelta::zero() && *delay <= TimeDelta::seconds(30)));
        let mut different = delays.clone();
        different.sort_unstable();
        different.dedup();
        assert!(different.len() > 40, "{delays:?}");
        assert_eq!(delays.first(), Some(&spread("clerk:i0", &every_five, now)));
    }

    proptest! {
        #[test]
        fn the_next_time_is_always_later(seconds in 0..4_000_000_000i64, minute in 0..60u8, hour in 0..24u8) {
            let zone = zone("Europe/Berlin");
            let now = DateTime::from_timestamp(seconds, 0).unwrap();
            for pattern in [format!("{minute} {hour} * * *"), "*/7 * * * *".to_owned()] {
                let next = cron(&pattern, zone.clone()).next_after(now).unwrap();
                prop_assert!(next > now);
                prop_assert!(next - now <= TimeDelta::hours(50));
            }
        }
    }
}
