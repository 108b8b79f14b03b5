//! How long to wait before the next try. Pure but for the dice.

pub mod breaker;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// `first` doubled for every failure after the first, times 0.8 to 1.2, so that many waiting programs do not come back
/// in one moment.
pub fn jittered(first: Duration, failures: u32) -> Duration {
    let doubled = first.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.mul_f64(0.8 + 0.4 * fastrand::f64())
}

/// Pauses in seconds between the tries to deliver one message, as Standard Webhooks proposes: more than three days in all.
pub const DELIVERY_PAUSES: [u64; 9] = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];

/// The longest that a receiver may ask us to wait (`Retry-After`).
pub const MAX_RETRY_AFTER: TimeDelta = TimeDelta::days(1);

/// How long a message is tried, from the first try on: the pauses in all.
pub fn give_up_after() -> TimeDelta {
    TimeDelta::seconds(DELIVERY_PAUSES.iter().sum::<u64>().cast_signed())
}

/// The wait that a receiver asks for, up to [`MAX_RETRY_AFTER`].
pub fn capped(asked: Duration) -> TimeDelta {
    TimeDelta::from_std(asked).unwrap_or(MAX_RETRY_AFTER).min(MAX_RETRY_AFTER)
}

/// The wait of a `Retry-After` header, in seconds or until an HTTP date, which is compared with `now`.
pub fn retry_after(value: &str, now: Option<DateTime<Utc>>) -> Option<Duration> {
    match value.trim().parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => (http_date(value)? - now?).to_std().ok(),
    }
}

/// Reads an HTTP date.
pub fn http_date(text: &str) -> Option<DateTime<Utc>> {
    httpdate::parse_http_date(text.trim()).ok().map(DateTime::from)
}

/// How long to wait after the `attempts`-th failed delivery, or nothing when it is time to give up. A longer `Retry-After`
/// counts instead.
pub fn next_delivery(attempts: u32, asked: Option<Duration>) -> Option<Duration> {
    let index = usize::try_from(attempts.saturating_sub(1)).ok()?;
    let pause = jittered(Duration::from_secs(*DELIVERY_PAUSES.get(index)?), 1);
    Some(asked.map_or(pause, |asked| pause.max(capped(asked).to_std().unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_within_their_jitter() {
        for (failures, middle) in [(1, 500), (2, 1_000), (3, 2_000)] {
            let pause = jittered(Duration::from_millis(500), failures).as_millis();
            assert!(pause >= middle * 8 / 10 && pause <= middle * 12 / 10, "{failures}: {pause}");
        }
        assert!(jittered(Duration::from_secs(1), u32::MAX) > Duration::from_secs(1_000));
    }

    #[test]
    fn deliveries_are_tried_for_three_days_and_then_given_up() {
        let total: u64 = (1..10).filter_map(|attempt| next_delivery(attempt, None)).map(|pause| pause.as_secs()).sum();
        assert!(total > 2 * 86_400 && total < 5 * 86_400, "{total}");
        assert_eq!(next_delivery(10, None), None);
        assert_eq!(give_up_after().num_hours(), 75);
        assert!(next_delivery(1, Some(Duration::from_secs(60))).unwrap() >= Duration::from_secs(60));
        assert!(next_delivery(1, Some(Duration::from_secs(1 << 40))).unwrap() <= Duration::from_secs(86_400));
    }
}
