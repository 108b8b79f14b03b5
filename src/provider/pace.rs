//! How fast requests may go: the pace somebody chose, and what the vendor says is left.
//!
//! The bucket belongs to the customer's own production code as well, so the last quarter of it is left alone.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Rate;

/// Nobody is believed who wants to be left alone for longer.
const LONGEST_RESET: Duration = Duration::from_secs(24 * 3_600);

/// What the vendor said about one family of endpoints, and what was sent since.
#[derive(Debug, Clone, Copy)]
struct Budget {
    limit: u64,
    remaining: u64,
    /// When tokens are added next.
    resets_at: Instant,
}

impl Budget {
    /// What is never spent: a quarter, and at least two where that leaves anything.
    fn reserve(&self) -> u64 {
        (self.limit / 4).max(2).min(self.limit.saturating_sub(1))
    }
}

#[derive(Default)]
struct State {
    /// When the next request may go at the chosen pace, without a burst.
    due: Option<Instant>,
    budgets: BTreeMap<String, Budget>,
    /// The pace that the vendor taught, where none was chosen.
    learned: Option<Rate>,
}

/// The pace of somebody who was told that all of it is too much.
const SLOWEST: Rate = Rate { burst: 1, per_second: 1.0 };

/// Holds requests back.
pub(super) struct Pace {
    rate: Option<Rate>,
    /// No single wait is longer, whatever the vendor says.
    longest: Duration,
    state: Mutex<State>,
}

impl Pace {
    pub(super) fn new(rate: Option<Rate>, longest: Duration) -> Self {
        Self { rate, longest, state: Mutex::default() }
    }

    /// The time that many requests may take at the chosen pace; one a second when none was chosen, since the vendor may
    /// have chosen.
    pub(super) fn time_for(&self, requests: u64) -> Duration {
        Duration::from_secs_f64(requests as f64 / self.rate.map_or(1.0, |rate| rate.per_second))
    }

    /// Takes the turn of one request of `family`, or says how long to wait before trying again.
    pub(super) fn take(&self, family: &str, now: Instant) -> Option<Duration> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(budget) = state.budgets.get_mut(family) {
            if now >= budget.resets_at {
                // Something was added, nobody knows how much: one request goes and its answer will tell.
                budget.remaining = budget.reserve() + 1;
                budget.resets_at = now + Duration::from_secs(1);
            }
            if budget.remaining <= budget.reserve() {
                return Some((budget.resets_at - now).min(self.longest));
            }
        }
        if let Some(rate) = self.rate.or(state.learned) {
            let step = Duration::from_secs_f64(1.0 / rate.per_second);
            let due = state.due.unwrap_or(now).max(now);
            let ahead = due - now;
            let slack = step * rate.burst.saturating_sub(1);
            if ahead > slack {
                return Some(ahead - slack);
            }
            state.due = Some(due + step);
        }
        if let Some(budget) = state.budgets.get_mut(family) {
            budget.remaining = budget.remaining.saturating_sub(1);
        }
        None
    }

    /// Hears that it was not one family but everything that was too much, and when to go on. Whoever chose no pace keeps the
    /// slowest from then on: so small an allowance is a free tenant's.
    pub(super) fn hear_of_all(&self, wait: Duration, now: Instant) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.learned = Some(SLOWEST);
        state.due = Some(now + wait.min(self.longest));
    }

    /// Hears from an answer how many requests of `family` are left of how many, and in what time more are added. An answer
    /// that says nothing ends what a refusal has begun.
    pub(super) fn hear(&self, family: &str, budget: Option<(u64, u64, Duration)>, now: Instant) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match budget {
            Some((limit, remaining, wait)) => {
                let resets_at = now + wait.min(LONGEST_RESET);
                state.budgets.insert(family.to_owned(), Budget { limit, remaining, resets_at });
            }
            None => _ = state.budgets.remove(family),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When each of `count` requests goes, in milliseconds after `start`.
    fn times(pace: &Pace, start: Instant, count: usize) -> Vec<u128> {
        let mut now = start;
        let mut times = Vec::new();
        while times.len() < count {
            match pace.take("/api/v2/clients", now) {
                Some(wait) => now += wait,
                None => times.push((now - start).as_millis()),
            }
        }
        times
    }

    #[test]
    fn requests_keep_the_chosen_pace() {
        let pace = |burst, per_second| Pace::new(Some(Rate { burst, per_second }), Duration::from_secs(60));
        let now = Instant::now();
        assert_eq!(times(&pace(1, 2.0), now, 4), [0, 500, 1000, 1500]);
        assert_eq!(times(&pace(3, 2.0), now, 5), [0, 0, 0, 500, 1000]);
        assert_eq!(times(&Pace::new(None, Duration::from_secs(60)), now, 3), [0, 0, 0]);
    }

    #[test]
    fn the_last_quarter_of_the_vendors_bucket_is_left_alone() {
        let (pace, now) = (Pace::new(None, Duration::from_secs(60)), Instant::now());
        pace.hear("/api/v2/clients", Some((20, 8, Duration::from_secs(7))), now);
        // Eight are left, five of twenty are kept: three go at once, the fourth after the reset, one by one from then on.
        assert_eq!(times(&pace, now, 5), [0, 0, 0, 7000, 8000]);
        assert!(pace.take("/api/v2/roles", now).is_none(), "another family has a bucket of its own");
    }

    #[test]
    fn a_refusal_stops_the_whole_family_for_as_long_as_was_asked() {
        let (pace, now) = (Pace::new(None, Duration::from_secs(60)), Instant::now());
        pace.hear("/api/v2/clients", Some((1, 0, Duration::from_secs(9))), now);
        assert_eq!(times(&pace, now, 1), [9000]);
        pace.hear("/api/v2/clients", Some((1, 0, Duration::from_secs(3600))), now);
        assert_eq!(pace.take("/api/v2/clients", now), Some(Duration::from_secs(60)), "bounded");
        pace.hear("/api/v2/clients", Some((1, 0, Duration::MAX)), now);
        assert_eq!(pace.take("/api/v2/clients", now), Some(Duration::from_secs(60)), "whatever was asked");
        pace.hear("/api/v2/clients", None, now);
        assert_eq!(times(&pace, now, 3), [0, 0, 0], "an answer without a word about it ends it");
    }
}
