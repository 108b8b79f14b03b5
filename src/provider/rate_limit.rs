//! The rate limit of requests: the configured rate, and the rest of the quota that the vendor reports.
//!
//! The customer's own production code shares the quota, so the last quarter of it is left unused.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Rate;

/// Longest rate-limit reset that is honoured.
const LONGEST_RESET: Duration = Duration::from_secs(24 * 3_600);

/// Requested waits from this length on count as pauses.
const PAUSE: Duration = Duration::from_secs(10);

/// Whether a request may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// The request may go.
    Go,
    /// Not yet.
    Wait(Duration),
    /// Not in this reading: the vendor asks for so long a pause.
    TooLong(Duration),
}

/// The quota that the vendor reported for one family of endpoints, less the requests sent since.
#[derive(Debug, Clone, Copy)]
struct Quota {
    limit: u64,
    remaining: u64,
    /// When tokens are added next.
    resets_at: Instant,
}

impl Quota {
    /// The part that is never used: a quarter, and at least two where that leaves anything.
    fn reserve(&self) -> u64 {
        (self.limit / 4).max(2).min(self.limit.saturating_sub(1))
    }
}

#[derive(Default)]
struct LimiterState {
    /// When the next request may go at the chosen pace, without a burst.
    due: Option<Instant>,
    budgets: BTreeMap<String, Quota>,
    /// The pauses that the vendor asked for in this reading, by family.
    pauses: BTreeMap<String, Duration>,
    /// The pace that the vendor taught, where none was chosen.
    learned: Option<Rate>,
}

/// The rate after the vendor reported that its global limit was reached.
const SLOWEST: Rate = Rate { burst: 1, per_second: 1.0 };

/// Delays requests.
pub(super) struct RateLimiter {
    rate: Option<Rate>,
    /// No single wait is longer, whatever the vendor says.
    longest: Duration,
    state: Mutex<LimiterState>,
}

impl RateLimiter {
    pub(super) fn new(rate: Option<Rate>, longest: Duration) -> Self {
        Self { rate, longest, state: Mutex::default() }
    }

    /// The time that many requests may take at the chosen pace; one a second when none was chosen, since the vendor may
    /// have chosen.
    pub(super) fn time_for(&self, requests: u64) -> Duration {
        Duration::from_secs_f64(requests as f64 / self.rate.map_or(1.0, |rate| rate.per_second))
    }

    /// A reading begins: what the vendor asked for in the one before does not count.
    pub(super) fn begin(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).pauses.clear();
    }

    /// How long the chosen pace lets the next request wait.
    pub(super) fn ahead(&self, now: Instant) -> Duration {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.slack(&state, now).map_or(Duration::ZERO, |(ahead, slack)| ahead.saturating_sub(slack))
    }

    /// How far ahead of the pace the requests are, and how far they may be.
    fn slack(&self, state: &LimiterState, now: Instant) -> Option<(Duration, Duration)> {
        let rate = self.rate.or(state.learned)?;
        let step = Duration::from_secs_f64(1.0 / rate.per_second);
        Some((
            state.due.map_or(Duration::ZERO, |due| due.saturating_duration_since(now)),
            step * rate.burst.saturating_sub(1),
        ))
    }

    /// Takes the turn of one request of `family`, or says how long to wait before trying again. One family whose vendor asks
    /// for long pauses, or for more and more of them, does not hold up a reading.
    pub(super) fn take(&self, family: &str, now: Instant) -> Turn {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let pauses = state.pauses.get(family).copied().unwrap_or_default();
        if let Some(budget) = state.budgets.get_mut(family) {
            if now >= budget.resets_at {
                // The quota was refilled by an unknown amount: one request is sent, and its response reports the rest.
                budget.remaining = budget.reserve() + 1;
                budget.resets_at = now + Duration::from_secs(1);
            }
            if budget.remaining <= budget.reserve() {
                let wait = budget.resets_at - now;
                let is_too_long = wait > self.longest.max(PAUSE) || pauses > self.longest.max(PAUSE) * 3 / 2;
                return if is_too_long { Turn::TooLong(wait) } else { Turn::Wait(wait.min(self.longest)) };
            }
        }
        if let Some(rate) = self.rate.or(state.learned) {
            let (ahead, slack) = self.slack(&state, now).unwrap_or_default();
            if ahead > slack {
                return Turn::Wait(ahead - slack);
            }
            state.due = Some(now + ahead + Duration::from_secs_f64(1.0 / rate.per_second));
        }
        if let Some(budget) = state.budgets.get_mut(family) {
            budget.remaining = budget.remaining.saturating_sub(1);
        }
        Turn::Go
    }

    /// Records that the global limit was reached, and how long to wait. Without a configured rate the slowest one is kept from
    /// then on: only a free tenant has so small a quota.
    pub(super) fn observe_global(&self, wait: Duration, now: Instant) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.learned = Some(SLOWEST);
        state.due = Some(now + wait.min(self.longest));
    }

    /// Records the quota of `family` from a response: the limit, the rest, and the time until it is refilled. A response without
    /// these headers ends the pause that a refusal began.
    pub(super) fn observe(&self, family: &str, budget: Option<(u64, u64, Duration)>, now: Instant) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match budget {
            Some((limit, remaining, wait)) => {
                let resets_at = now + wait.min(LONGEST_RESET);
                // Several requests that are answered at once ask for one pause.
                let is_asked = |known: &Quota| known.resets_at + PAUSE >= resets_at && known.resets_at > now;
                if wait >= PAUSE && remaining == 0 && !state.budgets.get(family).is_some_and(is_asked) {
                    *state.pauses.entry(family.to_owned()).or_default() += wait.min(LONGEST_RESET);
                }
                state.budgets.insert(family.to_owned(), Quota { limit, remaining, resets_at });
            }
            None => _ = state.budgets.remove(family),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When each of `count` requests goes, in milliseconds after `start`.
    fn times(pace: &RateLimiter, start: Instant, count: usize) -> Vec<u128> {
        let mut now = start;
        let mut times = Vec::new();
        while times.len() < count {
            match pace.take("/api/v2/clients", now) {
                Turn::Wait(wait) => now += wait,
                Turn::Go => times.push((now - start).as_millis()),
                Turn::TooLong(wait) => panic!("{wait:?}"),
            }
        }
        times
    }

    #[test]
    fn requests_keep_the_chosen_pace() {
        let pace = |burst, per_second| RateLimiter::new(Some(Rate { burst, per_second }), Duration::from_secs(60));
        let now = Instant::now();
        assert_eq!(times(&pace(1, 2.0), now, 4), [0, 500, 1000, 1500]);
        assert_eq!(times(&pace(3, 2.0), now, 5), [0, 0, 0, 500, 1000]);
        assert_eq!(times(&RateLimiter::new(None, Duration::from_secs(60)), now, 3), [0, 0, 0]);
    }

    #[test]
    fn the_last_quarter_of_the_vendors_bucket_is_left_alone() {
        let (pace, now) = (RateLimiter::new(None, Duration::from_secs(60)), Instant::now());
        pace.observe("/api/v2/clients", Some((20, 8, Duration::from_secs(7))), now);
        // Eight are left, five of twenty are kept: three go at once, the fourth after the reset, one by one from then on.
        assert_eq!(times(&pace, now, 5), [0, 0, 0, 7000, 8000]);
        assert!(pace.take("/api/v2/roles", now) == Turn::Go, "another family has a bucket of its own");
    }

    #[test]
    fn a_refusal_stops_the_whole_family_for_as_long_as_was_asked() {
        let (pace, now) = (RateLimiter::new(None, Duration::from_secs(60)), Instant::now());
        pace.observe("/api/v2/clients", Some((1, 0, Duration::from_secs(9))), now);
        assert_eq!(times(&pace, now, 1), [9000]);
        pace.observe("/api/v2/clients", None, now);
        assert_eq!(times(&pace, now, 3), [0, 0, 0], "an answer without a word about it ends it");
    }

    #[test]
    fn a_family_that_asks_for_long_pauses_is_left_alone_for_this_reading() {
        let (clients, minute) = ("/api/v2/clients", Duration::from_secs(60));
        for wait in [Duration::from_secs(61), Duration::from_secs(3600), Duration::MAX] {
            let (pace, now) = (RateLimiter::new(None, minute), Instant::now());
            pace.observe(clients, Some((1, 0, wait)), now);
            assert!(matches!(pace.take(clients, now), Turn::TooLong(_)), "{wait:?}");
            assert_eq!(pace.take("/api/v2/roles", now), Turn::Go, "nobody else waits");
        }
        let (pace, mut now) = (RateLimiter::new(None, minute), Instant::now());
        for expected in [true, true, false] {
            // Four that were answered at the same time ask for the same pause.
            (0..4).for_each(|_| pace.observe(clients, Some((1, 0, Duration::from_secs(40))), now));
            assert_eq!(matches!(pace.take(clients, now), Turn::Wait(_)), expected);
            now += Duration::from_secs(41);
        }
        pace.begin();
        pace.observe(clients, Some((1, 0, Duration::from_secs(40))), now);
        assert!(matches!(pace.take(clients, now), Turn::Wait(_)), "the next reading begins anew");
    }
}
