//! What people were told of a drift, and what they are told next.
//!
//! An open drift is told once and then in reminders, further and further apart. One that begins and ends again and again is
//! told as such, once, and then not until it stays as it is. Nothing of this keeps anything out of the history: the story
//! is read from there.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};

use super::Step;
use crate::model::Severity;

/// Turns within [`FLAPPING_WITHIN`] intervals that make a drift one that goes back and forth.
const FLAPPING_TURNS: usize = 5;
/// Intervals in which they happen.
const FLAPPING_WITHIN: i32 = 6;
/// Intervals without a turn after which it is told again.
const STABLE_AFTER: i32 = 3;

/// What people were told of one drift, as far as the next word depends on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Story {
    /// When they last heard of it.
    told_at: Option<DateTime<Utc>>,
    /// How often they were reminded since it last moved.
    reminders: usize,
    /// The last times it began, moved or went back.
    turns: VecDeque<DateTime<Utc>>,
    /// They were told that it goes back and forth.
    is_flapping: bool,
    /// What it did last, while it is open.
    last: Option<Step>,
    /// What it did while it was kept quiet, and nobody heard of.
    untold: Option<Step>,
}

/// What people are told of a drift now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Telling {
    /// The step it took.
    Step,
    /// That it is still open.
    Reminder,
    /// That it goes back and forth, and that nothing more is said until it is stable.
    Flapping,
    /// How it stands, now that it is stable again.
    Settled,
    /// What it did while it was kept quiet.
    Late(Step),
    /// Nothing.
    Nothing,
}

impl Story {
    /// Takes an event of the drift into account, oldest first. Others change nothing.
    pub fn take(&mut self, kind: &str, at: DateTime<Utc>) {
        match kind {
            "drift.opened" | "drift.reopened" | "drift.changed" | "drift.reverted" => {
                self.turns.push_back(at);
                if self.turns.len() > FLAPPING_TURNS {
                    self.turns.pop_front();
                }
                (self.told_at, self.reminders) = (Some(at), 0);
                self.last = match kind {
                    "drift.opened" => Some(Step::Opened),
                    "drift.reopened" => Some(Step::Reopened),
                    "drift.changed" => Some(Step::Changed),
                    _ => None,
                };
                if self.last.is_none() {
                    self.untold = None;
                }
            }
            // That it began is the news, wherever it moved to since.
            "drift.silenced" => self.untold = self.untold.or(self.last),
            "drift.told" => (self.told_at, self.reminders, self.untold) = (Some(at), 0, None),
            "drift.approved" => *self = Self::default(),
            "drift.reminded" => (self.told_at, self.reminders) = (Some(at), self.reminders + 1),
            "drift.flapping" => self.is_flapping = true,
            "drift.settled" => {
                *self = Self { told_at: Some(at), ..Self::default() };
            }
            _ => {}
        }
    }

    /// Whether they were told that it goes back and forth.
    pub fn is_flapping(&self) -> bool {
        self.is_flapping
    }

    /// What it did while it was kept quiet, if it is open and nobody heard of that yet.
    pub fn untold(&self) -> Option<Step> {
        self.untold
    }
}

/// What people are told when a drift takes `step` after `story`. `interval` lies between two readings.
pub fn telling(
    story: &Story,
    step: &Step,
    is_approved: bool,
    severity: Severity,
    interval: TimeDelta,
    now: DateTime<Utc>,
) -> Telling {
    match step {
        // Somebody decided about it: that is said whatever went before.
        Step::Ended if is_approved => Telling::Step,
        Step::Unchanged if story.is_flapping => {
            let is_stable = story.turns.back().is_none_or(|last| *last + interval * STABLE_AFTER <= now);
            if is_stable { Telling::Settled } else { Telling::Nothing }
        }
        Step::Unchanged => {
            let is_due = story.told_at.is_some_and(|told_at| told_at + pause(severity, story.reminders) <= now);
            if is_due { Telling::Reminder } else { Telling::Nothing }
        }
        _ if story.is_flapping => Telling::Nothing,
        _ => {
            let since = now - interval * FLAPPING_WITHIN;
            let turns = 1 + story.turns.iter().filter(|turn| **turn > since).count();
            if turns >= FLAPPING_TURNS { Telling::Flapping } else { Telling::Step }
        }
    }
}

/// How long after the last word the next reminder is due.
fn pause(severity: Severity, reminders: usize) -> TimeDelta {
    let hours = if severity >= Severity::High { [4, 24, 24] } else { [24, 72, 168] };
    TimeDelta::hours(hours.get(reminders).copied().unwrap_or(hours[2]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: TimeDelta = TimeDelta::minutes(5);

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(minute * 60, 0).unwrap()
    }

    /// Lives through steps at minutes and answers what was told, keeping the story as the history would.
    fn lived(severity: Severity, steps: &[(i64, Step)]) -> Vec<Telling> {
        let mut story = Story::default();
        let mut told = Vec::new();
        for (minute, step) in steps {
            let telling = telling(&story, step, false, severity, INTERVAL, at(*minute));
            let kinds: &[&str] = match (step, telling) {
                (Step::Opened, _) => &["drift.opened"],
                (Step::Reopened, Telling::Flapping) => &["drift.reopened", "drift.flapping"],
                (Step::Reopened, _) => &["drift.reopened"],
                (Step::Changed, _) => &["drift.changed"],
                (Step::Ended, Telling::Flapping) => &["drift.reverted", "drift.flapping"],
                (Step::Ended, _) => &["drift.reverted"],
                (Step::Unchanged, Telling::Reminder) => &["drift.reminded"],
                (Step::Unchanged, Telling::Settled) => &["drift.settled"],
                (Step::Unchanged, _) => &[],
            };
            kinds.iter().for_each(|kind| story.take(kind, at(*minute)));
            told.push(telling);
        }
        told
    }

    fn reminded_after_hours(severity: Severity, days: i64) -> Vec<i64> {
        let mut steps = vec![(0, Step::Opened)];
        steps.extend((1..days * 288).map(|turn| (turn * 5, Step::Unchanged)));
        let told = lived(severity, &steps);
        let reminders = told.iter().zip(&steps).filter(|(telling, _)| **telling == Telling::Reminder);
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
            (0, Step::Opened),
            (240, Step::Unchanged),
            (300, Step::Changed),
            (500, Step::Unchanged),
            (540, Step::Unchanged),
        ];
        let told = lived(Severity::High, &steps);
        assert_eq!(told, [Telling::Step, Telling::Reminder, Telling::Step, Telling::Nothing, Telling::Reminder]);
    }

    #[test]
    fn what_goes_back_and_forth_is_told_as_such_once_and_then_when_it_is_stable() {
        use Step::{Ended, Opened, Reopened, Unchanged};
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
        assert_eq!(told[..4], [Telling::Step; 4]);
        assert_eq!(told[4], Telling::Flapping, "the fifth turn within six intervals");
        assert_eq!(told[5..9], [Telling::Nothing; 4]);
        assert_eq!(told[9], Telling::Settled, "three intervals after the last turn");
        assert_eq!(
            told[10..],
            [Telling::Nothing, Telling::Nothing, Telling::Reminder],
            "and reminded of like any other"
        );
    }

    #[test]
    fn turns_that_are_far_apart_are_told_one_by_one() {
        let steps: Vec<(i64, Step)> =
            (0..12).map(|turn| (turn * 10, if turn % 2 == 0 { Step::Reopened } else { Step::Ended })).collect();
        assert_eq!(lived(Severity::High, &steps), [Telling::Step; 12]);
    }

    #[test]
    fn an_approval_is_told_although_it_went_back_and_forth() {
        let mut story = Story::default();
        story.take("drift.flapping", at(0));
        assert!(story.is_flapping());
        assert_eq!(telling(&story, &Step::Ended, true, Severity::Low, INTERVAL, at(1)), Telling::Step);
        story.take("drift.approved", at(1));
        assert_eq!(story, Story::default());
    }
}
