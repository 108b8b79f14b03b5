//! Builds a [`Config`] from the top-level table.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};

use super::load::Sources;
use super::problem::Problem;
use super::reader::{At, Reader, span};
use super::suggest::closest;
use super::{Approval, Config, Schedule, SecretUrl, instance, monitoring, network, receiver};
use crate::model::{Severity, display_safe, display_safe_sentence};
use crate::schedule::{BadCron, Cron};
use crate::trust::Rules;

/// Where the signers are listed unless the configuration says otherwise.
pub const ALLOWED_SIGNERS: &str = "/etc/authdrift/allowed_signers";

/// How often an instance is read unless the configuration says otherwise.
const CRON: &str = "*/5 * * * *";

/// How long a difference has to stay unless the configuration says otherwise.
const CONFIRM_AFTER: Duration = Duration::from_secs(30);

/// The longest time a difference may wait before it is believed: waiting longer would hide drift.
const LONGEST_CONFIRM_AFTER: Duration = Duration::from_secs(60 * 60);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long what nobody needs is kept unless the configuration says otherwise.
const KEEP: Duration = DAY.saturating_mul(400);

/// The shortest and the longest time for that.
const SHORTEST_KEEP: Duration = DAY.saturating_mul(7);
const LONGEST_KEEP: Duration = DAY.saturating_mul(36_500);

/// Reads the whole file. Without a recorded problem the answer is there.
pub(super) fn config(mut file: Reader<'_>, sources: &Sources<'_>) -> Option<Config> {
    let (store, keep) = store(&mut file, sources);
    let approval = approval(&mut file);
    let catalogue = catalogue(&mut file);
    let defaults = schedule_section(&mut file, sources.now);
    let proxy = network::proxy(&mut file);
    let (ids, instances) = instance::read(&mut file, &defaults, &proxy, sources);
    let receivers = receiver::read(&mut file, &ids, &defaults, &proxy, sources);
    let heartbeat = heartbeat(&mut file);
    let monitoring = monitoring::listen(&mut file);
    file.finish();
    Some(Config { store: store?, keep, approval, catalogue, instances, receivers, heartbeat, monitoring, proxy })
}

fn heartbeat(file: &mut Reader<'_>) -> Option<SecretUrl> {
    let mut section = file.table("heartbeat")?;
    let place = receiver::secret_url(&mut section);
    section.finish();
    place
}

/// Where the database is, and how long it keeps what nobody needs.
fn store(file: &mut Reader<'_>, sources: &Sources<'_>) -> (Option<PathBuf>, Duration) {
    let mut keep = KEEP;
    if let Some(mut section) = file.table("store") {
        let is_given = section.has("path");
        let given = section.path("path").map(|path| path.value);
        if let Some(chosen) = section.duration("keep", LONGEST_KEEP) {
            keep = chosen.value;
            if keep < SHORTEST_KEEP {
                let message = format!("'keep' is shorter than {}", span(SHORTEST_KEEP));
                let problem = Problem::at(chosen.span, message);
                section.report(problem.help("what people look for when something went wrong is often weeks old"));
            }
        }
        section.finish();
        if is_given {
            return (given, keep);
        }
    }
    (default_store(file, sources), keep)
}

fn default_store(file: &Reader<'_>, sources: &Sources<'_>) -> Option<PathBuf> {
    let default = match (&sources.state_directory, &sources.xdg_state) {
        (Some(state), _) => state.join("authdrift.db"),
        (None, Some(state)) => state.join("authdrift").join("authdrift.db"),
        (None, None) => {
            let problem =
                Problem::at(0..0, "there is no folder for the database: neither STATE_DIRECTORY nor HOME is set");
            file.report(problem.help("set 'path' in [store]").absence().without_source());
            return None;
        }
    };
    Some(default)
}

fn approval(file: &mut Reader<'_>) -> Approval {
    let mut approval = Approval {
        allowed_signers: PathBuf::from(ALLOWED_SIGNERS),
        revoked_keys: None,
        rules: Rules { threshold: 1, ..Rules::default() },
    };
    let Some(mut section) = file.table("approval") else {
        return approval;
    };
    if let Some(path) = section.path("allowed_signers") {
        approval.allowed_signers = path.value;
    }
    approval.revoked_keys = section.path("revoked_keys").map(|path| path.value);
    if let Some(threshold) = people(&mut section, "threshold") {
        approval.rules.threshold = threshold;
    }
    approval.rules.require_touch = section.boolean("require_touch").is_some_and(|touch| touch.value);
    if let Some(mut table) = section.table("severity") {
        for severity in Severity::ALL {
            if let Some(need) = people(&mut table, severity.as_str()) {
                approval.rules.by_severity.insert(*severity, need);
            }
        }
        table.finish();
    }
    section.finish();
    approval
}

/// A number of approvers.
fn people(section: &mut Reader<'_>, key: &'static str) -> Option<usize> {
    section.integer(key, 1, 100).and_then(|number| usize::try_from(number.value).ok())
}

fn catalogue(file: &mut Reader<'_>) -> Option<PathBuf> {
    let mut section = file.table("catalogue")?;
    section.require("file");
    let path = section.path("file").map(|path| path.value);
    section.finish();
    path
}

/// What one table says about time; everything is optional.
pub(super) struct Times {
    cron: Option<At<String>>,
    zone: Option<At<Tz>>,
    confirm_after: Option<Duration>,
}

impl Times {
    /// Reads the three keys from `[schedule]` or an instance.
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let cron = reader.string("cron");
        let zone = zone(reader);
        let confirm_after = reader.duration("confirm_after", LONGEST_CONFIRM_AFTER).map(|duration| duration.value);
        Self { cron, zone, confirm_after }
    }

    /// The time zone, if one is named.
    pub(super) fn zone(&self) -> Tz {
        self.zone.as_ref().map_or(Tz::UTC, |zone| zone.value)
    }

    /// Fills what is missing from `defaults` and checks pattern and time zone together.
    pub(super) fn resolve(self, defaults: &Self, reader: &Reader<'_>, now: DateTime<Utc>) -> Option<Schedule> {
        let zone = self.zone.as_ref().or(defaults.zone.as_ref()).map_or(Tz::UTC, |zone| zone.value);
        let pattern = self.cron.as_ref().or(defaults.cron.as_ref()).map_or(CRON, |cron| cron.value.as_str());
        let confirm_after = self.confirm_after.or(defaults.confirm_after).unwrap_or(CONFIRM_AFTER);
        match Cron::parse(pattern, zone, now) {
            Ok(cron) => Some(Schedule { cron, confirm_after }),
            Err(error) => {
                let own_cron = self.cron.map(|cron| cron.span);
                let own_zone = self.zone.map(|zone| zone.span);
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

fn zone(reader: &mut Reader<'_>) -> Option<At<Tz>> {
    let text = reader.string("timezone")?;
    match text.value.parse() {
        Ok(zone) => Some(At { value: zone, span: text.span }),
        Err(_) => {
            let message = format!("'{}' is not the name of a time zone", display_safe(&text.value));
            let problem = Problem::at(text.span, message);
            reader.report(match closest(&text.value, TZ_VARIANTS.iter().map(|zone| zone.name())) {
                Some(meant) => problem.did_you_mean(Some(meant)),
                None => problem.help("use a name of the IANA database, like 'UTC' or 'Europe/Zurich'"),
            });
            None
        }
    }
}

/// Reads `[schedule]`; a pattern that cannot be used is recorded and left out, so that instances do not repeat it.
fn schedule_section(file: &mut Reader<'_>, now: DateTime<Utc>) -> Times {
    let nothing = || Times { cron: None, zone: None, confirm_after: None };
    let Some(mut section) = file.table("schedule") else {
        return nothing();
    };
    let times = Times::read(&mut section);
    let copy = Times { cron: times.cron.clone(), zone: times.zone.clone(), confirm_after: times.confirm_after };
    let checked = times.resolve(&nothing(), &section, now);
    section.finish();
    match checked {
        Some(_) => copy,
        None => Times { cron: None, ..copy },
    }
}

/// The directory of a file, against which relative paths in it are resolved.
pub(super) fn directory_of(file: &str) -> &Path {
    Path::new(file).parent().unwrap_or(Path::new(""))
}
