//! Whether the clock may say that something is old: what goes because of it does not come back when the clock is set right.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Stored, Transaction};
use crate::history::Event;
use crate::history::data::ClockJump;

/// How long nothing happens only where nothing runs, or where the clock went forward.
const CLOCK_JUMP: TimeDelta = TimeDelta::days(7);

/// How long a clock that went forward has to go on before it is believed.
const PROBATION: TimeDelta = TimeDelta::days(1);

/// How far a clock may go back without a word: time servers correct less than that.
const SET_BACK: TimeDelta = TimeDelta::seconds(60);

/// How the clock moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jump {
    /// Back, by more than a time server corrects.
    Back,
    /// Forward, by more than a week; or nothing ran for so long.
    Forward,
}

/// How the clock moved between `before` and `now`, if it jumped.
pub fn jump(before: DateTime<Utc>, now: DateTime<Utc>) -> Option<Jump> {
    match now {
        now if now + SET_BACK < before => Some(Jump::Back),
        now if before + CLOCK_JUMP < now => Some(Jump::Forward),
        _ => None,
    }
}

/// The event that says that the clock jumped.
pub fn jump_event(jump: Jump, before: DateTime<Utc>, now: DateTime<Utc>) -> Event {
    let times = ClockJump { was: before.into(), is: now.into() };
    match jump {
        Jump::Back => Event::ClockSetBack(times),
        Jump::Forward => Event::ClockSetForward(times),
    }
}

/// Whether something was recorded a day ago, give or take a few: then this clock has been going on since, and the one before
/// it led there. The daemon records something every day. After a month without it, the next day is waited for.
///
/// # Errors
/// As [`super::Transaction::history`].
pub fn is_clock_plausible(tx: &Transaction<'_>, now: DateTime<Utc>) -> Stored<bool> {
    // A time that is still to come was recorded by a clock that was ahead.
    let last = tx.history()?.state.recorded_until(now - PROBATION);
    Ok(last.is_some_and(|last| last >= now - CLOCK_JUMP))
}

#[cfg(test)]
mod tests {
    use super::super::events;
    use super::*;
    use crate::store::Store;

    #[test]
    fn a_clock_is_believed_that_goes_on_from_what_was_recorded() {
        let store = Store::temporary().unwrap();
        let start: DateTime<Utc> = "2026-01-01T00:00:00Z".parse().unwrap();
        let record = |hours| {
            let at = start + TimeDelta::hours(hours);
            store.write(|tx| events::append(tx, at, None, &Event::other("test.done"))).unwrap();
        };
        let is_believed = |hours| store.read(|tx| is_clock_plausible(tx, start + TimeDelta::hours(hours))).unwrap();
        assert!(!is_believed(0), "nothing was recorded yet");
        record(0);
        assert!(!is_believed(23) && is_believed(24) && is_believed(24 * 7));
        // Nothing ran for a month, or the clock is a month ahead: a day is waited for, whatever is recorded meanwhile.
        let ahead = 24 * 30;
        assert!(!is_believed(ahead));
        record(ahead);
        record(ahead + 5);
        assert!(!is_believed(ahead + 6) && is_believed(ahead + 24));
        // And when it is set right again, what is recorded still is to come.
        assert!(is_believed(25));
    }
}
