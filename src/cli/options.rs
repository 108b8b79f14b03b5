//! Options that several commands have.

use chrono::{DateTime, Duration, NaiveDate, NaiveTime, SubsecRound, Utc};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::{CliError, current_user};
use crate::exit::Exit;
use crate::model::display_safe;

#[derive(Debug, Args)]
pub(crate) struct Actor {
    /// Who does this, for the history [default: USER@HOST]
    #[arg(long = "as", value_name = "NAME")]
    name: Option<String>,
}

impl Actor {
    pub(super) fn name(&self) -> String {
        self.name.clone().unwrap_or_else(current_user)
    }
}

/// The value of `--reason`, which `what` needs.
pub(super) fn reason<'a>(text: &'a str, what: &str) -> Result<&'a str, CliError> {
    let reason = text.trim();
    if reason.is_empty() {
        return Err(CliError::new(Exit::Usage, format!("{what} needs a reason: give it with --reason")));
    }
    Ok(reason)
}

/// The value of `--until`: a date, a time or a duration.
pub(super) fn until(text: Option<&str>, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, CliError> {
    let Some(text) = text else { return Ok(None) };
    let bad = |reason: &str| {
        let message = format!("--until '{}' {reason}", display_safe(text));
        CliError::new(Exit::Usage, message).with_help("for example 2027-01-31, 2027-01-31T12:00:00Z or 30d")
    };
    let date = || Some(text.parse::<NaiveDate>().ok()?.and_time(NaiveTime::MIN).and_utc());
    let time = || Some(DateTime::parse_from_rfc3339(text).ok()?.to_utc());
    let length = || now.checked_add_signed(Duration::from_std(humantime::parse_duration(text).ok()?).ok()?);
    let end = date().or_else(time).or_else(length).ok_or_else(|| bad("is no date, time or length"))?.trunc_subsecs(0);
    if end <= now {
        return Err(bad("is not in the future"));
    }
    if end > now + Duration::days(400) {
        return Err(bad("is more than 400 days away"));
    }
    Ok(Some(end))
}

/// A parser for one of the words that `name_of` gives to `values`.
pub(super) fn word<T>(values: &'static [T], name_of: fn(T) -> &'static str) -> impl TypedValueParser<Value = T>
where
    T: Copy + Send + Sync + 'static,
{
    PossibleValuesParser::new(values.iter().map(|value| name_of(*value))).try_map(move |word| {
        values.iter().copied().find(|value| name_of(*value) == word).ok_or("is not a word that is known here")
    })
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
            let found = until(Some(text), now).ok().flatten();
            assert_eq!(found, expected.map(|time| time.parse().unwrap()), "{text}");
        }
        assert_eq!(until(None, now).unwrap(), None);
    }
}
