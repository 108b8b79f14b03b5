//! Reads when an instance is read, and checks the pattern and its time zone together.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::Schedule;
use super::toml_reader::{At, Problem, TomlReader, closest};
use crate::model::{display_safe, display_safe_sentence};
use crate::schedule::{BadCron, Cron, Zone};

/// How often an instance is read unless the configuration says otherwise.
const CRON: &str = "*/5 * * * *";

/// How long a difference has to stay unless the configuration says otherwise.
const CONFIRM_AFTER: Duration = Duration::from_secs(30);

/// The longest time a difference may wait before it is believed: waiting longer would hide drift.
const LONGEST_CONFIRM_AFTER: Duration = Duration::from_secs(60 * 60);

/// The keys about time of one table; each is optional.
#[derive(Clone, Default)]
pub(super) struct ScheduleKeys {
    cron: Option<At<String>>,
    zone: Option<At<Zone>>,
    confirm_after: Option<Duration>,
}

impl ScheduleKeys {
    /// Reads the three keys from `[schedule]` or an instance.
    pub(super) fn read(reader: &mut TomlReader<'_>) -> Self {
        let cron = reader.string("cron");
        let zone = zone(reader);
        let confirm_after = reader.duration("confirm_after", LONGEST_CONFIRM_AFTER).map(|duration| duration.value);
        Self { cron, zone, confirm_after }
    }

    /// Reads `[schedule]`. A pattern that cannot be used is reported and left out, so that instances do not repeat it.
    pub(super) fn of_schedule(file: &mut TomlReader<'_>, now: DateTime<Utc>) -> Self {
        let Some(mut section) = file.table("schedule") else {
            return Self::default();
        };
        let times = Self::read(&mut section);
        let schedule = times.resolve(&Self::default(), &section, now);
        section.finish();
        match schedule {
            Some(_) => times,
            None => Self { cron: None, ..times },
        }
    }

    /// The time zone, or UTC.
    pub(super) fn zone(&self) -> Zone {
        self.zone.as_ref().map_or_else(Zone::utc, |zone| zone.value.clone())
    }

    /// Fills what is missing from `defaults` and checks pattern and time zone together.
    pub(super) fn resolve(&self, defaults: &Self, reader: &TomlReader<'_>, now: DateTime<Utc>) -> Option<Schedule> {
        let zone = self.zone.as_ref().or(defaults.zone.as_ref()).map_or_else(Zone::utc, |zone| zone.value.clone());
        let pattern = self.cron.as_ref().or(defaults.cron.as_ref()).map_or(CRON, |cron| cron.value.as_str());
        let confirm_after = self.confirm_after.or(defaults.confirm_after).unwrap_or(CONFIRM_AFTER);
        match Cron::parse(pattern, zone, now) {
            Ok(cron) => Some(Schedule { cron, confirm_after }),
            Err(error) => {
                let own_cron = self.cron.as_ref().map(|cron| cron.span.clone());
                let own_zone = self.zone.as_ref().map(|zone| zone.span.clone());
                let place = own_cron.or(own_zone).unwrap_or_else(|| reader.place.clone());
                let problem = Problem::at(place, display_safe_sentence(&error.to_string()));
                reader.report(problem.help(match error {
                    BadCron::Step { .. } => {
                        "write the first value instead of the step, or a step that fits: */5, 0-30/10"
                    }
                    _ => "the five fields are: minute, hour, day of month, month, day of week",
                }));
                None
            }
        }
    }
}

fn zone(reader: &mut TomlReader<'_>) -> Option<At<Zone>> {
    let text = reader.string("timezone")?;
    let zone = text.value.parse().map_err(|_| {
        let message = format!("'{}' is not the name of a time zone", display_safe(&text.value));
        let problem = Problem::at(text.span.clone(), message);
        match closest(&text.value, Zone::names()) {
            Some(meant) => problem.did_you_mean(Some(meant)),
            None => problem.help("use a name of the IANA database, like 'UTC' or 'Europe/Zurich'"),
        }
    });
    Some(At { value: reader.accept(zone)?, span: text.span })
}
