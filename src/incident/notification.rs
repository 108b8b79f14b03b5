//! The notification log of a drift, and the decision about its next notification.
//!
//! An open drift is told once and then in reminders, further and further apart. One that begins and ends again and again is
//! told as such, and then only with values that are new and in reminders until it stays as it is. Nothing of this keeps
//! anything out of the history: the log is the fold of its events.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Drift, DriftStep, Status};
use crate::model::Severity;

/// Turns within [`FLAPPING_WITHIN`] intervals that make a drift one that goes back and forth.
const FLAPPING_TURNS: usize = 5;
/// Values of one drift that are remembered.
const MOST_VALUES: usize = 20;
/// Intervals in which they happen.
const FLAPPING_WITHIN: i32 = 6;
/// Intervals without a turn after which it is told again.
const STABLE_AFTER: i32 = 3;
/// How far ahead of us something may have happened: cycles side by side end in any order. What is further ahead was dated
/// by a wrong clock and delays no notification.
const AHEAD: TimeDelta = TimeDelta::hours(1);

/// The notifications about one drift, as far as the next one depends on them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationLog {
    /// The time of the last notification.
    told_at: Option<DateTime<Utc>>,
    /// The reminders since its last step, or since it was reported as flapping.
    reminders: usize,
    /// The last times it began, moved or went back, and the value that was about.
    turns: VecDeque<(DateTime<Utc>, Value)>,
    /// Whether it was reported as flapping.
    is_flapping: bool,
    /// Its last step, while it is open.
    last: Option<DriftStep>,
    /// The first step that a silence kept from being reported.
    untold: Option<DriftStep>,
    /// The values it had since it began last.
    values: Vec<Value>,
    /// Whether it changed outside an announced change.
    is_unexpected: bool,
}

/// What the history says of a drift: a step that it took, or a notification about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriftEvent {
    /// The first difference.
    Opened,
    /// A difference again after it had ended.
    Reopened,
    /// Another value.
    Changed,
    /// The approved value again.
    Reverted,
    /// The value was approved.
    Approved,
    /// A silence muted the step before.
    Silenced,
    /// The step before was not announced for the change window.
    Unexpected,
    /// The muted step was reported.
    Told,
    /// A reminder.
    Reminded,
    /// The report that it goes back and forth.
    Flapping,
    /// The report that it is stable again.
    Settled,
}

/// What people are told of a drift now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notification {
    /// The step it took.
    Step,
    /// That it is still open.
    Reminder,
    /// That it goes back and forth, and that no turn is told until it is stable.
    Flapping,
    /// How it stands, now that it is stable again.
    Stabilised,
    /// What it did while it was kept quiet.
    Deferred(DriftStep),
    /// Nothing.
    Nothing,
}

impl NotificationLog {
    /// Applies the next event of the drift, `at` which it had the value `after`.
    pub fn apply(&mut self, event: DriftEvent, after: &Value, at: DateTime<Utc>) {
        use DriftEvent::{
            Approved, Changed, Flapping, Opened, Reminded, Reopened, Reverted, Settled, Silenced, Told, Unexpected,
        };
        match event {
            Opened | Reopened | Changed | Reverted => {
                self.turns.push_back((at, after.clone()));
                if self.turns.len() > FLAPPING_TURNS {
                    self.turns.pop_front();
                }
                if !self.is_flapping {
                    (self.told_at, self.reminders) = (Some(at), 0);
                }
                if matches!(event, Opened | Reopened) {
                    self.values.clear();
                    self.is_unexpected = false;
                }
                if event != Reverted && self.values.len() < MOST_VALUES && !self.values.contains(after) {
                    self.values.push(after.clone());
                }
                self.last = match event {
                    Opened => Some(DriftStep::Opened),
                    Reopened => Some(DriftStep::Reopened),
                    Changed => Some(DriftStep::Changed),
                    _ => None,
                };
                if self.last.is_none() {
                    self.untold = None;
                }
            }
            Unexpected => self.is_unexpected = true,
            // That it began is the news, wherever it moved to since.
            Silenced => self.untold = self.untold.or(self.last),
            Told => (self.told_at, self.reminders, self.untold) = (Some(at), 0, None),
            Approved => *self = Self::default(),
            Reminded => (self.told_at, self.reminders) = (Some(at), self.reminders + 1),
            Flapping => {
                self.reminders = if self.is_flapping { self.reminders + 1 } else { 0 };
                (self.told_at, self.is_flapping) = (Some(at), true);
            }
            Settled => {
                let values = std::mem::take(&mut self.values);
                *self = Self { told_at: Some(at), values, is_unexpected: self.is_unexpected, ..Self::default() };
            }
        }
    }

    /// Whether it was kept quiet, so that nobody heard of it.
    pub fn is_untold(&self) -> bool {
        self.untold.is_some()
    }

    /// Whether they were told that it goes back and forth.
    pub fn is_flapping(&self) -> bool {
        self.is_flapping
    }

    /// The values it had since it began last, and whether it moved outside of what was announced: as severe as the worst of
    /// them people heard of it, and as severe they have to hear of its end.
    pub fn since_it_began(&self) -> (&[Value], bool) {
        (&self.values, self.is_unexpected)
    }

    /// What it did while it was kept quiet, if it is open and nobody heard of that yet.
    pub fn untold(&self) -> Option<DriftStep> {
        self.untold
    }
}

/// What people are told when a drift takes `step` after `log`, which makes it `drift`. `interval` lies between two readings.
///
/// # Security
/// Only what they heard before is held back while it goes back and forth, and not for ever: somebody who makes noise on
/// purpose can hide neither another value in it nor that it still goes on.
pub fn decide(
    log: &NotificationLog,
    step: &DriftStep,
    drift: &Drift,
    severity: Severity,
    interval: TimeDelta,
    now: DateTime<Utc>,
) -> Notification {
    let is_due = log.told_at.is_some_and(|told_at| is_reminder_due(severity, log.reminders, told_at, now));
    let is_known = || log.turns.iter().any(|(_, after)| *after == drift.change.after);
    match step {
        // An approval is always reported.
        DriftStep::Ended if drift.status == Status::Approved => Notification::Step,
        DriftStep::Unchanged if !log.is_flapping => {
            if is_due {
                Notification::Reminder
            } else {
                Notification::Nothing
            }
        }
        DriftStep::Unchanged
            if log.turns.back().is_none_or(|(last, _)| is_over(*last, interval * STABLE_AFTER, now)) =>
        {
            Notification::Stabilised
        }
        DriftStep::Opened | DriftStep::Reopened | DriftStep::Changed if log.is_flapping && !is_known() => {
            Notification::Step
        }
        _ if log.is_flapping => {
            if is_due {
                Notification::Flapping
            } else {
                Notification::Nothing
            }
        }
        _ => {
            let since = now - interval * FLAPPING_WITHIN;
            let turns = 1 + log.turns.iter().filter(|(turn, _)| *turn > since && *turn <= now + AHEAD).count();
            if turns >= FLAPPING_TURNS { Notification::Flapping } else { Notification::Step }
        }
    }
}

/// Whether the next reminder is due, `reminders` reminders and the last notification, at `told_at`, having been sent.
pub(super) fn is_reminder_due(
    severity: Severity,
    reminders: usize,
    told_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> bool {
    is_over(told_at, pause(severity, reminders), now)
}

/// Whether `pause` after `since` is over, or never began by the clock that counts now.
pub(super) fn is_over(since: DateTime<Utc>, pause: TimeDelta, now: DateTime<Utc>) -> bool {
    since + pause <= now || since > now + AHEAD
}

/// How long after the last word the next reminder is due.
fn pause(severity: Severity, reminders: usize) -> TimeDelta {
    let hours = if severity >= Severity::High { [4, 24, 24] } else { [24, 72, 168] };
    TimeDelta::hours(hours.get(reminders).copied().unwrap_or(hours[2]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::diff::{Change, ChangeKind};
    use crate::model::DriftId;

    const INTERVAL: TimeDelta = TimeDelta::minutes(5);

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(minute * 60, 0).unwrap()
    }

    /// The drift that all of it is about, with the value it has.
    fn drift(status: Status, after: i64) -> Drift {
        let change = Change {
            path: "/a/x".parse().unwrap(),
            kind: ChangeKind::Changed,
            before: json!(0),
            after: json!(after),
            is_member: false,
        };
        Drift {
            id: DriftId::from_text("drf_x"),
            change,
            status,
            first_seen: at(0),
            last_good: None,
            closed_at: None,
            closed_by: Vec::new(),
            reopened: 0,
        }
    }

    /// Plays steps at minutes, each with its value, and answers the notifications, keeping the log as the history would.
    fn lived_with_values(severity: Severity, steps: &[(i64, DriftStep, i64)]) -> Vec<Notification> {
        let mut log = NotificationLog::default();
        let mut told = Vec::new();
        for (minute, step, value) in steps {
            let status = if *step == DriftStep::Ended { Status::Reverted } else { Status::Open };
            let drift = drift(status, *value);
            let notification = decide(&log, step, &drift, severity, INTERVAL, at(*minute));
            let moved = match step {
                DriftStep::Opened => Some(DriftEvent::Opened),
                DriftStep::Reopened => Some(DriftEvent::Reopened),
                DriftStep::Changed => Some(DriftEvent::Changed),
                DriftStep::Ended => Some(DriftEvent::Reverted),
                DriftStep::Unchanged => None,
            };
            let said = match notification {
                Notification::Reminder => Some(DriftEvent::Reminded),
                Notification::Flapping => Some(DriftEvent::Flapping),
                Notification::Stabilised => Some(DriftEvent::Settled),
                Notification::Step | Notification::Deferred(_) | Notification::Nothing => None,
            };
            moved.into_iter().for_each(|event| log.apply(event, &drift.change.after, at(*minute)));
            said.into_iter().for_each(|event| log.apply(event, &Value::Null, at(*minute)));
            told.push(notification);
        }
        told
    }

    fn lived(severity: Severity, steps: &[(i64, DriftStep)]) -> Vec<Notification> {
        let steps: Vec<_> = steps.iter().map(|(minute, step)| (*minute, *step, 1)).collect();
        lived_with_values(severity, &steps)
    }

    /// Begins and ends every five minutes, `count` times.
    fn toggled(count: i64) -> Vec<(i64, DriftStep, i64)> {
        let step = |turn: i64| if turn % 2 == 0 { DriftStep::Reopened } else { DriftStep::Ended };
        (0..count).map(|turn| (turn * 5, step(turn), 1)).collect()
    }

    fn reminded_after_hours(severity: Severity, days: i64) -> Vec<i64> {
        let mut steps = vec![(0, DriftStep::Opened)];
        steps.extend((1..days * 288).map(|turn| (turn * 5, DriftStep::Unchanged)));
        let told = lived(severity, &steps);
        let reminders = told.iter().zip(&steps).filter(|(notification, _)| **notification == Notification::Reminder);
        reminders.map(|(_, (minute, _))| minute / 60).collect()
    }

    #[test]
    fn reminders_come_further_and_further_apart() {
        assert_eq!(reminded_after_hours(Severity::Critical, 5), [4, 28, 52, 76, 100]);
        assert_eq!(reminded_after_hours(Severity::High, 2), [4, 28]);
        assert_eq!(reminded_after_hours(Severity::Medium, 22), [24, 96, 264, 432]);
        assert_eq!(reminded_after_hours(Severity::Info, 4), [24]);
    }

    #[test]
    fn what_moves_is_told_and_reminded_of_anew() {
        let steps = [
            (0, DriftStep::Opened),
            (240, DriftStep::Unchanged),
            (300, DriftStep::Changed),
            (500, DriftStep::Unchanged),
            (540, DriftStep::Unchanged),
        ];
        let told = lived(Severity::High, &steps);
        assert_eq!(
            told,
            [
                Notification::Step,
                Notification::Reminder,
                Notification::Step,
                Notification::Nothing,
                Notification::Reminder
            ]
        );
    }

    #[test]
    fn what_goes_back_and_forth_is_told_as_such_once_and_then_when_it_is_stable() {
        use DriftStep::{Ended, Opened, Reopened, Unchanged};
        let steps = [
            (0, Opened),
            (5, Ended),
            (10, Reopened),
            (15, Ended),
            (20, Reopened),
            (25, Ended),
            (30, Reopened),
            (35, Unchanged),
            (40, Unchanged),
            (45, Unchanged),
            (50, Unchanged),
            (45 + 239, Unchanged),
            (45 + 240, Unchanged),
        ];
        let told = lived(Severity::High, &steps);
        assert_eq!(told[..4], [Notification::Step; 4]);
        assert_eq!(told[4], Notification::Flapping, "the fifth turn within six intervals");
        assert_eq!(told[5..9], [Notification::Nothing; 4]);
        assert_eq!(told[9], Notification::Stabilised, "three intervals after the last turn");
        assert_eq!(
            told[10..],
            [Notification::Nothing, Notification::Nothing, Notification::Reminder],
            "and reminded of like any other"
        );
    }

    #[test]
    fn turns_that_are_far_apart_are_told_one_by_one() {
        let steps: Vec<(i64, DriftStep)> = (0..12)
            .map(|turn| (turn * 10, if turn % 2 == 0 { DriftStep::Reopened } else { DriftStep::Ended }))
            .collect();
        assert_eq!(lived(Severity::High, &steps), [Notification::Step; 12]);
    }

    #[test]
    fn an_approval_is_told_although_it_went_back_and_forth() {
        let mut log = NotificationLog::default();
        log.apply(DriftEvent::Flapping, &Value::Null, at(0));
        assert!(log.is_flapping());
        let approved = drift(Status::Approved, 1);
        assert_eq!(decide(&log, &DriftStep::Ended, &approved, Severity::Low, INTERVAL, at(1)), Notification::Step);
        log.apply(DriftEvent::Approved, &json!(1), at(1));
        assert_eq!(log, NotificationLog::default());
    }

    #[test]
    fn another_value_cannot_be_hidden_among_many_turns() {
        let mut steps = toggled(8);
        steps.extend([(40, DriftStep::Reopened, 9_999), (45, DriftStep::Changed, 1), (50, DriftStep::Changed, 9_999)]);
        let told = lived_with_values(Severity::High, &steps);
        assert_eq!(
            told[4..8],
            [Notification::Flapping, Notification::Nothing, Notification::Nothing, Notification::Nothing]
        );
        assert_eq!(
            told[8..],
            [Notification::Step, Notification::Nothing, Notification::Nothing],
            "what is new is told, and once"
        );
    }

    #[test]
    fn whoever_never_lets_it_rest_is_told_of_again_and_again() {
        let told = lived_with_values(Severity::Critical, &toggled(3 * 288));
        let again: Vec<_> =
            (0..).zip(&told).filter(|(_, notification)| **notification == Notification::Flapping).collect();
        assert_eq!(again.iter().map(|(turn, _)| (turn * 5 - 20) / 60).collect::<Vec<i64>>(), [0, 4, 28, 52]);
    }

    #[test]
    fn nobody_waits_for_a_time_that_a_wrong_clock_named() {
        let year = 525_600;
        let steps = [
            (year, DriftStep::Opened),
            (10, DriftStep::Unchanged),
            (15, DriftStep::Unchanged),
            (250, DriftStep::Unchanged),
        ];
        let expected = [Notification::Step, Notification::Reminder, Notification::Nothing, Notification::Nothing];
        assert_eq!(lived(Severity::High, &steps), expected);
        let mut steps: Vec<_> = toggled(5).into_iter().map(|(minute, step, _)| (year + minute, step)).collect();
        steps.push((5, DriftStep::Unchanged));
        assert_eq!(lived(Severity::High, &steps).last(), Some(&Notification::Stabilised));
        let mut steps = steps[..4].to_vec();
        steps.push((5, DriftStep::Reopened));
        assert_eq!(
            lived(Severity::High, &steps).last(),
            Some(&Notification::Step),
            "those turns are not of these minutes"
        );
    }
}
