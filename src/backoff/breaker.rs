//! A receiver that fails again and again is left alone for a while, with everything that waits for it.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// Failures in a row after which nothing more is tried for a while.
pub const MOST_FAILURES: u32 = 5;
/// The first pause; each failed try after it doubles the next.
const FIRST_PAUSE: TimeDelta = TimeDelta::seconds(60);
/// The longest pause.
const LONGEST_PAUSE: TimeDelta = TimeDelta::minutes(15);

/// How often a receiver failed in a row, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Breaker {
    /// Failures since the last time it answered.
    pub failures: u32,
    /// The last of them.
    pub failed_at: Option<DateTime<Utc>>,
}

impl Breaker {
    /// Until when nothing is tried; nothing while the receiver is well, or when it is time for one try.
    pub fn closed_until(self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let doubled = self.failures.checked_sub(MOST_FAILURES)?.min(8);
        let pause = (FIRST_PAUSE * (1 << doubled)).min(LONGEST_PAUSE);
        let failed_at = self.failed_at?;
        // A clock that was set back must not keep a receiver closed.
        (failed_at <= now).then_some(failed_at + pause).filter(|until| *until > now)
    }

    /// After a try that the receiver answered, whatever it said.
    #[must_use]
    pub fn answered(self) -> Self {
        Self::default()
    }

    /// After a try that may work later.
    #[must_use]
    pub fn failed(self, now: DateTime<Utc>) -> Self {
        Self { failures: self.failures.saturating_add(1), failed_at: Some(now) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_failures_close_it_and_each_probe_that_fails_doubles_the_pause() {
        let mut now: DateTime<Utc> = "2026-11-22T04:00:00Z".parse().unwrap();
        let mut breaker = Breaker::default();
        for _ in 0..4 {
            breaker = breaker.failed(now);
            assert_eq!(breaker.closed_until(now), None);
        }
        for seconds in [60, 120, 240, 480, 900, 900, 900] {
            breaker = breaker.failed(now);
            let until = now + TimeDelta::seconds(seconds);
            assert_eq!(breaker.closed_until(now), Some(until));
            assert_eq!(breaker.closed_until(until - TimeDelta::milliseconds(1)), Some(until));
            assert_eq!(breaker.closed_until(until), None, "one try after {seconds} s");
            now = until;
        }
        assert_eq!(breaker.answered(), Breaker::default());
        assert_eq!(Breaker { failures: u32::MAX, failed_at: Some(now) }.failed(now).failures, u32::MAX);
    }

    #[test]
    fn a_clock_that_was_set_back_closes_nothing() {
        let now: DateTime<Utc> = "2026-11-22T04:00:00Z".parse().unwrap();
        let breaker = Breaker { failures: 9, failed_at: Some(now + TimeDelta::days(300)) };
        assert_eq!(breaker.closed_until(now), None);
    }
}
