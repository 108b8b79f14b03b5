//! The rate-limit headers of a response.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::StatusCode;
use reqwest::header::HeaderMap;

use crate::backoff::{http_date, retry_after};

/// How many requests are left of how many, and in what time more are added, if the answer says so. After a refusal none
/// is left until the time is over that the vendor asked for.
pub(super) fn quota(
    status: StatusCode,
    headers: &HeaderMap,
    asked_pause: Option<Duration>,
) -> Option<(u64, u64, Duration)> {
    let number = |name: &str| text(headers, name)?.trim().parse::<u64>().ok();
    let limit = number("x-ratelimit-limit");
    match asked_pause {
        Some(pause) if status == StatusCode::TOO_MANY_REQUESTS => Some((limit.unwrap_or(1), 0, pause)),
        _ => Some((limit?, number("x-ratelimit-remaining")?, until_reset(headers)?)),
    }
}

/// The time to Auth0's `x-ratelimit-reset` (Unix seconds), read against the answer's own `Date` so that this machine's
/// clock does not matter.
fn until_reset(headers: &HeaderMap) -> Option<Duration> {
    let reset: u64 = text(headers, "x-ratelimit-reset")?.trim().parse().ok()?;
    let now = u64::try_from(date(headers)?.timestamp()).ok()?;
    // Both are whole seconds: one more makes sure that the reset has come.
    Some(Duration::from_secs(reset.saturating_sub(now).saturating_add(1)))
}

/// How long the vendor asks us to wait: `Retry-After` first, then `x-ratelimit-reset`.
pub(super) fn asked_pause(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    if status != StatusCode::TOO_MANY_REQUESTS && status != StatusCode::SERVICE_UNAVAILABLE {
        return None;
    }
    match text(headers, "retry-after") {
        Some(value) => retry_after(value, date(headers)),
        None => until_reset(headers),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The time of the vendor.
fn date(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    http_date(text(headers, "date")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vendors_wish_is_read_from_either_header() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect::<HeaderMap>()
        };
        let date = ("date", "Thu, 01 Jan 1970 00:01:40 GMT");
        let table = [
            (429, headers(&[("retry-after", "7"), ("x-ratelimit-reset", "999")]), Some(7)),
            (429, headers(&[date, ("x-ratelimit-reset", "103")]), Some(4)),
            (429, headers(&[date, ("retry-after", "Thu, 01 Jan 1970 00:01:45 GMT")]), Some(5)),
            (429, headers(&[("x-ratelimit-reset", "103")]), None),
            (429, headers(&[date, ("x-ratelimit-reset", "18446744073709551615")]), Some(u64::MAX - 99)),
            (200, headers(&[("retry-after", "7")]), None),
        ];
        for (status, headers, expected) in table {
            let pause = asked_pause(StatusCode::from_u16(status).unwrap(), &headers);
            assert_eq!(pause.map(|pause| pause.as_secs()), expected, "{headers:?}");
        }
    }
}
