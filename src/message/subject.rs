//! The subject line of a mail.

use super::row::{ItemRow, Phase, TRUSTED_AGAIN, UNTRUSTED};
use super::summary::label;
use super::words::people;
use super::{Alert, Entry, EntryStatus, Item, SectionStatus};
use crate::model::{Direction, counted, display_safe};

/// Characters of a subject; phones show the first forty, so the worst comes first.
const LONGEST: usize = 120;

/// One line that says how bad it is, where, and what: `[authdrift] CRITICAL clerk:prod: MFA required weaker, and 2 more`.
///
/// Letters of any script stay; they are encoded when a mail is made.
///
/// # Security
/// Names from outside cannot break the line or hide in it (T9).
pub fn subject(alert: &Alert) -> String {
    let sample = if alert.sample { "SAMPLE " } else { "" };
    let start = format!("[authdrift] {sample}{} {}: ", label(alert), plain(&alert.about()));
    let (what, rest) = news(alert);
    // The count of the rest must stay readable, so a long name is cut first.
    let rest = plain(&rest);
    let room = LONGEST.saturating_sub(start.chars().count()).saturating_sub(rest.chars().count());
    cut(&format!("{start}{}{rest}", cut(&plain(&what), room)), LONGEST)
}

/// The worst thing, which may be shortened, and what has to follow it.
fn news(alert: &Alert) -> (String, String) {
    use SectionStatus::{Accepted, Blind, LeftOut, Refused, Removed, SeeingAgain, Suspect, Unbaselined};
    let said = |row: &ItemRow| {
        let names = alert.items.iter().filter(|item| item.event_type() == row.event_type).map(Item::subject);
        let names: Vec<&str> = names.collect();
        (!names.is_empty()).then(|| row.subject(&names))
    };
    if let Some(untrusted) = said(&UNTRUSTED) {
        return (untrusted, String::new());
    }
    let refused = alert.sections_of(Refused).next();
    let unread = alert.sections_of(Blind).chain(alert.sections_of(Suspect)).count();
    let mut drifted = alert.entries().filter(|entry| !entry.news.is_over());
    if let Some(worst) = drifted.next() {
        let mut rest = format!(" {}", way(worst));
        match drifted.count() {
            0 => {}
            n => rest.push_str(&format!(", and {n} more")),
        }
        if let Some(refused) = refused {
            rest.push_str(&format!(", {} refused", refused.section));
        } else if unread > 0 {
            rest.push_str(&format!(", {} unreadable", counted(unread, "section")));
        }
        return (worst.meaning.title.clone(), rest);
    }
    if let Some(refused) = said(Refused.row()) {
        return (refused, ", nothing it reads is watched".to_owned());
    }
    if alert.sections_of(Blind).next().is_some() {
        return (Blind.row().subject(&vec![""; unread]), String::new());
    }
    if let Some(suspect) = said(Suspect.row()) {
        return (suspect, String::new());
    }
    let ongoing = alert.notices().filter(|notice| notice.kind.row().phase == Phase::Ongoing);
    if let Some(notice) = ongoing.min_by_key(|notice| notice.kind) {
        return (notice.kind.row().subject(&[&notice.subject]), String::new());
    }
    let still_open = if alert.open > 0 { format!(", {} still open", alert.open) } else { String::new() };
    if let Some(trusted) = said(&TRUSTED_AGAIN) {
        return (trusted, still_open);
    }
    if let Some(first) = alert.entries().next() {
        let more = match alert.entries().count() - 1 {
            0 => String::new(),
            n => format!(", and {n} more over"),
        };
        return (first.meaning.title.clone(), format!(" {}{more}{still_open}", end(first)));
    }
    if let Some(end) = [Accepted, SeeingAgain, LeftOut, Removed].into_iter().find_map(|status| said(status.row())) {
        return (end, still_open);
    }
    if let Some(notice) = alert.notices().next() {
        return (notice.kind.row().subject(&[&notice.subject]), still_open);
    }
    (Unbaselined.row().subject(&vec![""; alert.sections_of(Unbaselined).count()]), String::new())
}

/// Which way a setting went that is not as approved.
fn way(entry: &Entry) -> &'static str {
    match (entry.news, entry.meaning.direction) {
        (EntryStatus::Flapping, _) => "changes back and forth",
        (EntryStatus::StillOpen, Direction::Weaker) => "still weaker",
        (EntryStatus::StillOpen, _) => "still different",
        (EntryStatus::Reopened, Direction::Weaker) => "weaker again",
        (_, Direction::Weaker) => "weaker",
        (_, Direction::Stronger) => "stronger",
        _ => "changed",
    }
}

/// How a drift ended.
fn end(entry: &Entry) -> String {
    match entry.news {
        EntryStatus::Approved => {
            let by = match entry.approved_by.is_empty() {
                true => String::new(),
                false => format!(" by {}", people(&entry.approved_by)),
            };
            let until = entry.approved_until.map(|end| format!(" until {}", end.format("%-d %b %H:%M UTC")));
            format!("approved{}{}", cut(&by, 60), until.unwrap_or_default())
        }
        EntryStatus::Passed => "drifted and went back meanwhile".to_owned(),
        _ => "back to the approved state".to_owned(),
    }
}

fn plain(text: &str) -> String {
    display_safe(text).replace('…', "...")
}

fn cut(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    let kept: String = text.chars().take(longest.saturating_sub(3)).collect();
    format!("{}...", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn says_the_worst_first() {
        let table = [
            (
                samples::drift(),
                "[authdrift] CRITICAL clerk:prod: MFA required at sign-up weaker, and 2 more, 1 section unreadable",
            ),
            (
                samples::all_clear(),
                "[authdrift] RESOLVED clerk:prod: MFA required at sign-up back to the approved state, and 2 more over",
            ),
            (samples::untrusted(), "[authdrift] CRITICAL auth0:acme: baseline cannot be trusted, nothing is compared"),
        ];
        for (alert, expected) in table {
            assert_eq!(subject(&alert), expected);
        }
    }

    #[test]
    fn an_end_names_who_approved_and_what_is_left() {
        let mut alert = samples::all_clear();
        alert.items.retain(|item| !matches!(item, Item::Setting(entry) if entry.news != EntryStatus::Approved));
        alert.open = 2;
        assert_eq!(
            subject(&alert),
            "[authdrift] RESOLVED clerk:prod: Session inactivi... approved by alice@example.test until 29 Nov 12:00 UTC, 2 still open"
        );
    }

    #[test]
    fn blindness_alone_is_said() {
        let mut alert = samples::untrusted();
        alert.items.remove(0);
        assert_eq!(subject(&alert), "[authdrift] HIGH auth0:acme: cannot read 2 sections");
        alert.sections_mut().for_each(|section| section.news = SectionStatus::Suspect);
        assert_eq!(subject(&alert), "[authdrift] HIGH auth0:acme: cannot believe 2 sections");
    }

    #[test]
    fn letters_of_any_script_stay() {
        let mut alert = samples::drift();
        alert.items.truncate(1);
        alert.entry(0).meaning.title = "Allowed callback URLs (Büro 東京)".to_owned();
        let expected = "[authdrift] CRITICAL clerk:prod: Allowed callback URLs (Büro 東京) weaker";
        assert_eq!(subject(&alert), expected);
    }

    #[test]
    fn hostile_and_long_names_stay_one_short_line() {
        for alert in [samples::hostile(), samples::enormous()] {
            let subject = subject(&alert);
            assert!(subject.chars().count() <= LONGEST, "{subject}");
            assert_eq!(display_safe(&subject), subject);
            assert!(subject.contains(" weaker"), "{subject}");
        }
    }
}
