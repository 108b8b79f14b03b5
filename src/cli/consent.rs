//! What a person has to say yes to before something is signed.

use chrono::{DateTime, Duration, NaiveDate, NaiveTime, SubsecRound, Utc};

use super::approve::shown::{at_its_weakest, choice};
use super::{CliError, prompt};
use crate::approval::{Proposal, Validity};
use crate::classify::{Finding, NOT_WATCHED};
use crate::exit::Exit;
use crate::model::{Direction, Severity, display_safe, display_safe_whole};
use crate::trust::Subject;

/// Whether what weakens sign-in a great deal is meant: by `accepted`, or by asking. A baseline that follows another one and
/// is not compared with it could weaken anything, so everything at its `weakest` value has to be meant.
///
/// # Errors
/// There is nobody to ask, or the terminal is gone. Nothing may be signed then.
pub fn to_weaker(
    drifts: &[Finding],
    weakest: &[Finding],
    proposal: &Proposal,
    accepted: bool,
) -> Result<bool, CliError> {
    let is_grave = |drift: &&Finding| {
        drift.meaning.setting != NOT_WATCHED
            && drift.meaning.direction == Direction::Weaker
            && drift.meaning.severity >= Severity::High
    };
    let mut weaker: Vec<String> = drifts.iter().filter(is_grave).map(|drift| format!("  {}", choice(drift))).collect();
    // Which way that goes cannot be told: the value that counted before is not in the proposal.
    let prolonged = proposal.prolonged().into_iter();
    weaker.extend(prolonged.map(|(path, _)| format!("  for longer, or for good: {}", display_safe(&path.to_string()))));
    // Many changes of a section are shown as one, so these are not taken from the changes.
    let given_up = proposal.given_up().into_iter();
    weaker.extend(given_up.map(|place| format!("  not watched any more: {}", display_safe(&place.to_string()))));
    let is_compared = proposal.previous.is_some() || proposal.subject.previous.is_none();
    let what = if is_compared {
        "this makes sign-in weaker"
    } else {
        weaker.extend(weakest.iter().map(|drift| format!("  {}", at_its_weakest(drift))));
        "this is compared with nothing, so any setting may be weaker than before. At their weakest value are"
    };
    if accepted || (is_compared && weaker.is_empty()) {
        return Ok(true);
    }
    let list = if weaker.is_empty() { "  none that has one".to_owned() } else { weaker.join("\n") };
    if !prompt::is_terminal() {
        let message = format!("nothing is signed: {what}\n{list}");
        return Err(CliError::new(Exit::Usage, message).with_help("if it is meant, say --accept-weaker"));
    }
    let what = format!("{}{}", what.get(..1).unwrap_or_default().to_uppercase(), what.get(1..).unwrap_or_default());
    prompt::confirm(&format!("{what}:\n{list}\nSign it all the same?"))
}

/// The reason that is signed: the one that was `given`, else the `suggested` one, which on a terminal is confirmed or typed
/// anew.
///
/// # Errors
/// The person gives up, or the terminal is gone.
pub fn to_reason(given: Option<&str>, suggested: Option<&str>) -> Result<String, CliError> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    let suggested = suggested.map(str::trim).filter(|reason| !reason.is_empty());
    if !prompt::is_terminal() {
        return Ok(suggested.unwrap_or("no reason given").to_owned());
    }
    let Some(suggested) = suggested else {
        return prompt::text("Why do you approve it? It is signed in your name", None, |reason| {
            if reason.is_empty() { Err("an approval needs a reason".to_owned()) } else { Ok(()) }
        });
    };
    let question = format!(
        "The proposer suggests the reason: {}\nEnter signs that reason in your name; or type your own",
        display_safe_whole(suggested)
    );
    let typed = prompt::text(&question, None, |_| Ok(()))?;
    Ok(if typed.is_empty() { suggested.to_owned() } else { typed })
}

/// Makes sure that the person knows which baseline this is: by the `given` number or, where there is a terminal and it is
/// `asked` for, by typing it.
///
/// # Errors
/// It is another number. Nothing may be signed then.
pub fn to_sequence(subject: &Subject, given: Option<u64>, asked: bool) -> Result<(), CliError> {
    let typed = match given {
        Some(given) => given.to_string(),
        None if asked && prompt::is_terminal() => {
            let question = format!("Type the number of the baseline of {} to sign it", subject.instance);
            prompt::text(&question, None, |_| Ok(()))?
        }
        None => return Ok(()),
    };
    if typed.trim() == subject.sequence.to_string() {
        return Ok(());
    }
    Err(CliError::new(Exit::Usage, format!("nothing is signed: this is baseline {}", subject.sequence)))
}

/// When an approval ends: a date, a time or a length.
///
/// # Errors
/// It is none of them, not in the future, or too far away.
pub fn limit(text: Option<&str>, now: DateTime<Utc>) -> Result<Validity, CliError> {
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
