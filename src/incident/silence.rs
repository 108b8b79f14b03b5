//! Silences and change windows.
//!
//! A silence mutes the notifications of drifts that it matches; they are recorded all the same. A change window is a silence
//! for the announced changes of one instance: drifts that it matches are muted, and every other drift of the instance is
//! escalated while the window is open. Only drifts are ever muted: blindness, an untrusted baseline and notices are always
//! reported.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{DriftStep, Notification, NotificationLog};
use crate::model::{InstanceId, Pattern, Pointer, Severity, SilenceId, display_safe};

/// The longest that anything is kept quiet. Longer would need a signature, like an approval.
pub const LONGEST: TimeDelta = TimeDelta::days(7);

/// The least severity of an unannounced drift while a change window is open.
pub const UNANNOUNCED_SEVERITY: Severity = Severity::High;

/// A matcher of a silence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Matcher {
    /// Every path that the pattern matches, and every path under it.
    Path(Pattern),
    /// A setting of the catalogue, by its id.
    Setting(String),
    /// An instance.
    Instance(InstanceId),
}

/// A text that names neither a path nor a setting nor an instance.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is no path, setting or instance")]
pub struct NotAMatcher(String);

impl FromStr for Matcher {
    type Err = NotAMatcher;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let not = || NotAMatcher(display_safe(text));
        match text {
            "" | "/" => Err(not()),
            path if path.starts_with('/') => path.parse().map(Self::Path).map_err(|_| not()),
            instance if instance.contains(':') => instance.parse().map(Self::Instance).map_err(|_| not()),
            setting => Ok(Self::Setting(setting.to_owned())),
        }
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(pattern) => pattern.fmt(f),
            Self::Setting(setting) => f.write_str(setting),
            Self::Instance(instance) => instance.fmt(f),
        }
    }
}

/// A silence or a change window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Its name.
    pub id: SilenceId,
    /// It matches one of the paths, one of the settings and one of the instances, where any are given.
    pub matchers: Vec<Matcher>,
    /// When it began.
    pub from: DateTime<Utc>,
    /// When it ends by itself.
    pub until: DateTime<Utc>,
    /// Its creator.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Whether it is a change window, which escalates every other drift of its instance.
    pub is_window: bool,
    /// When it was ended before its time, and by whom.
    pub expired: Option<(DateTime<Utc>, String)>,
}

impl Silence {
    /// Whether it is in force.
    pub fn is_active(&self, at: DateTime<Utc>) -> bool {
        self.from <= at && !self.is_over(at)
    }

    /// Whether its time is over, or it was ended.
    pub fn is_over(&self, at: DateTime<Utc>) -> bool {
        self.until <= at || self.expired.is_some()
    }

    /// Whether it can be about anything of `instance`.
    pub fn is_about(&self, instance: &InstanceId) -> bool {
        let mut instances = self.instances().peekable();
        instances.peek().is_none() || instances.any(|one| one == instance)
    }

    /// The instances it names.
    pub fn instances(&self) -> impl Iterator<Item = &InstanceId> {
        self.matchers.iter().filter_map(|matcher| match matcher {
            Matcher::Instance(instance) => Some(instance),
            Matcher::Path(_) | Matcher::Setting(_) => None,
        })
    }

    /// Whether it matches a drift. A setting can have several `paths`: one that matches is enough.
    pub fn fits(&self, instance: &InstanceId, paths: &[&Pointer], setting: &str) -> bool {
        let (mut places, mut settings) = (None, None);
        for matcher in &self.matchers {
            match matcher {
                Matcher::Path(pattern) => {
                    let is_at_or_under = |path: &&Pointer| {
                        let tokens = path.tokens();
                        (1..=tokens.len()).any(|end| tokens.get(..end).is_some_and(|place| pattern.matches(place)))
                    };
                    places = Some(places.unwrap_or(false) || paths.iter().any(is_at_or_under));
                }
                Matcher::Setting(wanted) => settings = Some(settings.unwrap_or(false) || wanted == setting),
                Matcher::Instance(_) => {}
            }
        }
        self.is_about(instance) && places.unwrap_or(true) && settings.unwrap_or(true)
    }

    /// Its matchers, in words.
    pub fn words(&self) -> String {
        self.matchers.iter().map(|matcher| display_safe(&matcher.to_string())).collect::<Vec<_>>().join(", ")
    }
}

/// How silences and change windows alter the notification of a drift.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Muting {
    /// Not at all.
    #[default]
    None,
    /// No notification: this silence fits.
    Silenced(SilenceId),
    /// More severe: it is not what was announced for this change window.
    Escalated {
        /// The change window.
        window: SilenceId,
        /// What was announced.
        reason: String,
    },
}

impl Muting {
    /// How severe a drift of `severity` is taken to be.
    pub fn severity(&self, severity: Severity) -> Severity {
        match self {
            Self::Escalated { .. } => severity.max(UNANNOUNCED_SEVERITY),
            Self::None | Self::Silenced(_) => severity,
        }
    }
}

/// How silences alter the notification of a drift that took `step`. `paths` are all paths of its setting.
pub fn muting(
    silences: &[Silence],
    instance: &InstanceId,
    paths: &[&Pointer],
    setting: &str,
    step: DriftStep,
    at: DateTime<Utc>,
) -> Muting {
    let active = || silences.iter().filter(|silence| silence.is_active(at));
    if let Some(silence) = active().find(|silence| silence.fits(instance, paths, setting)) {
        return Muting::Silenced(silence.id.clone());
    }
    // A drift that was open before, or that ends, is no unannounced change.
    let is_new = matches!(step, DriftStep::Opened | DriftStep::Reopened | DriftStep::Changed);
    match active().find(|silence| is_new && silence.is_window && silence.is_about(instance)) {
        Some(window) => Muting::Escalated { window: window.id.clone(), reason: window.reason.clone() },
        None => Muting::None,
    }
}

/// The notification of a drift after muting; without any silence it would be `notification`.
///
/// The end of a reported drift is reported all the same, and the end of a muted drift is not. A muted step of an open drift is
/// reported as soon as no silence matches it any more.
pub fn mute(notification: Notification, step: DriftStep, log: &NotificationLog, muting: &Muting) -> Notification {
    let is_quiet = matches!(muting, Muting::Silenced(_));
    match (step, log.untold()) {
        (DriftStep::Ended, Some(DriftStep::Opened | DriftStep::Reopened)) => Notification::Nothing,
        (DriftStep::Ended, _) => notification,
        _ if is_quiet => Notification::Nothing,
        (DriftStep::Unchanged | DriftStep::Changed, Some(untold)) => Notification::Deferred(untold),
        _ => notification,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::DriftEvent;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(minute * 60, 0).unwrap()
    }

    fn silence(matchers: &[&str], is_window: bool) -> Silence {
        Silence {
            id: SilenceId::from_text("sil_1"),
            matchers: matchers.iter().map(|text| text.parse().unwrap()).collect(),
            from: at(10),
            until: at(20),
            by: "ann@desk".to_owned(),
            reason: "CHG-7".to_owned(),
            is_window,
            expired: None,
        }
    }

    #[test]
    fn kinds_have_to_fit_all_and_of_one_kind_any() {
        let table: [(&[&str], bool); 12] = [
            (&["/jwt_templates/*/lifetime"], true),
            (&["/jwt_templates"], true),
            (&["/jwt_templates/supabase/lifetime/deeper"], false),
            (&["/**"], true),
            (&["jwt-template-lifetime"], true),
            (&["clerk:prod"], true),
            (&["clerk:test"], false),
            (&["clerk:test", "clerk:prod"], true),
            (&["clerk:prod", "/instance"], false),
            (&["clerk:prod", "/instance", "/jwt_templates/**"], true),
            (&["clerk:prod", "/jwt_templates", "other-setting"], false),
            (&["clerk:prod", "/jwt_templates", "other-setting", "jwt-template-lifetime"], true),
        ];
        let (instance, path) = ("clerk:prod".parse().unwrap(), "/jwt_templates/supabase/lifetime".parse().unwrap());
        let elsewhere = "/platform.jwt_templates/supabase/lifetime".parse().unwrap();
        for (matchers, expected) in table {
            let fits = silence(matchers, false).fits(&instance, &[&path], "jwt-template-lifetime");
            assert_eq!(fits, expected, "{matchers:?}");
            let at_both = silence(matchers, false).fits(&instance, &[&elsewhere, &path], "jwt-template-lifetime");
            assert_eq!(at_both, expected, "{matchers:?}, at two paths");
        }
    }

    #[test]
    fn what_names_nothing_is_refused() {
        for text in ["", "/", "nobody:prod"] {
            assert!(text.parse::<Matcher>().is_err(), "{text}");
        }
        for text in ["/a/*/b", "mfa-required", "auth0:acme"] {
            assert_eq!(text.parse::<Matcher>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_window_makes_what_it_does_not_fit_louder_and_only_what_is_new() {
        let silences = [silence(&["clerk:prod", "/a"], true), silence(&["clerk:test", "/c"], false)];
        let hear = |instance: &str, path: &str, step, minute| {
            muting(&silences, &instance.parse().unwrap(), &[&path.parse().unwrap()], "s", step, at(minute))
        };
        let quiet = Muting::Silenced(SilenceId::from_text("sil_1"));
        let louder = Muting::Escalated { window: SilenceId::from_text("sil_1"), reason: "CHG-7".to_owned() };
        let table = [
            ("clerk:prod", "/a/x", DriftStep::Opened, 10, &quiet),
            ("clerk:prod", "/b/x", DriftStep::Opened, 10, &louder),
            ("clerk:prod", "/b/x", DriftStep::Changed, 19, &louder),
            ("clerk:prod", "/b/x", DriftStep::Unchanged, 19, &Muting::None),
            ("clerk:prod", "/b/x", DriftStep::Ended, 19, &Muting::None),
            ("clerk:prod", "/a/x", DriftStep::Opened, 9, &Muting::None),
            ("clerk:prod", "/a/x", DriftStep::Opened, 20, &Muting::None),
            ("clerk:test", "/a/x", DriftStep::Opened, 10, &Muting::None),
            ("clerk:test", "/c/x", DriftStep::Opened, 10, &quiet),
        ];
        for (instance, path, step, minute, expected) in table {
            assert_eq!(&hear(instance, path, step, minute), expected, "{instance} {path} {step:?} {minute}");
        }
        assert_eq!(louder.severity(Severity::Low), Severity::High);
        assert_eq!(louder.severity(Severity::Critical), Severity::Critical);
        assert_eq!(quiet.severity(Severity::Low), Severity::Low);
    }

    #[test]
    fn what_was_kept_quiet_is_told_later_unless_it_is_over() {
        use DriftEvent::{Changed, Opened, Reverted, Silenced, Told};
        let log = |events: &[DriftEvent]| {
            let mut log = NotificationLog::default();
            events.iter().for_each(|event| log.apply(*event, &serde_json::Value::Null, at(0)));
            log
        };
        let quiet = Muting::Silenced(SilenceId::from_text("sil_1"));
        let aloud = Muting::None;
        let (step, nothing) = (Notification::Step, Notification::Nothing);
        let (opened, moved) = (Notification::Deferred(DriftStep::Opened), Notification::Deferred(DriftStep::Changed));
        let table: [(&[DriftEvent], DriftStep, Notification, &Muting, Notification); 14] = [
            (&[], DriftStep::Opened, step, &aloud, step),
            (&[], DriftStep::Opened, step, &quiet, nothing),
            (&[Opened], DriftStep::Unchanged, Notification::Reminder, &quiet, nothing),
            (&[Opened], DriftStep::Unchanged, Notification::Reminder, &aloud, Notification::Reminder),
            (&[Opened], DriftStep::Ended, step, &quiet, step),
            (&[Opened, Silenced], DriftStep::Unchanged, nothing, &quiet, nothing),
            (&[Opened, Silenced], DriftStep::Unchanged, nothing, &aloud, opened),
            (&[Opened, Silenced], DriftStep::Changed, step, &aloud, opened),
            (&[Opened, Silenced], DriftStep::Ended, step, &quiet, nothing),
            (&[Opened, Silenced, Told], DriftStep::Unchanged, nothing, &aloud, nothing),
            (&[Opened, Silenced, Changed], DriftStep::Unchanged, nothing, &aloud, opened),
            (&[Opened, Changed, Silenced], DriftStep::Unchanged, nothing, &aloud, moved),
            (&[Opened, Changed, Silenced], DriftStep::Ended, step, &quiet, step),
            (&[Opened, Silenced, Reverted], DriftStep::Reopened, step, &aloud, step),
        ];
        for (kinds, taken, notification, muting, expected) in table {
            assert_eq!(mute(notification, taken, &log(kinds), muting), expected, "{kinds:?} {taken:?} {muting:?}");
        }
    }
}
