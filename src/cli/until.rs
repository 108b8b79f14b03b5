//! The value of `--until`: a date, a time or a duration.

use chrono::{DateTime, Duration, NaiveDate, NaiveTime, SubsecRound, Utc};

use super::CliError;
use crate::approval::Validity;
use crate::exit::Exit;
use crate::model::display_safe;

/// When an approval ends: a date, a time or a length.
///
/// # Errors
/// It is none of them, not in the future, or too far away.
pub(super) fn limit(text: Option<&str>, now: DateTime<Utc>) -> Result<Validity, CliError> {
    let Some(text) = text else { return Ok(Validity { now, until: None }) };
    let bad = |reason: &str| {
        let message = format!("--until '{}' {reason}", display_safe(text));
        CliError::new(Exit::Usage, message).with_help("for example 2027-01-31, 2027-01-31T12:00:00Z or 30d")
    };
    let date = || Some(text.parse::<NaiveDate>().ok()?.and_time(NaiveTime::MIN).and_utc());
    let time = || Some(DateTime::parse_from_rfc3339(text).ok()?.to_utc());
    let length = || now.checked_add_signed(Duration::from_std(humantime::parse_duration(text).ok()?).ok()?);
    let until = date().or_else(time).or_else(length).ok_or_else(|| bad("is no date, time or length"))?.trunc_subsecs(0);
    if until <= now {
        return Err(bad("is not in the future"));
    }
    if until > now + Duration::days(400) {
        return Err(bad("is more than 400 days away"));
    }
    Ok(Validity { now, until: Some(until) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_date_a_time_or_a_length_and_near() {
        let now: DateTime<Utc> = "2026-11-22T10:00:00.5Z".parse().unwrap();
        for (text, expected) in [
            ("2026-12-01", Some("2026-12-01T00:00:00Z")),
            ("2026-12-01T12:30:00+01:00", Some("2026-12-01T11:30:00Z")),
            ("30d", Some("2026-12-22T10:00:00Z")),
            ("90m", Some("2026-11-22T11:30:00Z")),
            ("400d", Some("2027-12-27T10:00:00Z")),
            ("401d", None),
            ("2026-11-22", None),
            ("2026-11-22T10:00:00Z", None),
            ("0s", None),
            ("9999999999999y", None),
            ("tomorrow", None),
            ("", None),
        ] {
            let found = limit(Some(text), now).ok().map(|limit| limit.until.unwrap());
            assert_eq!(found, expected.map(|time| time.parse().unwrap()), "{text}");
        }
        assert_eq!(limit(None, now).unwrap().until, None);
    }
}
