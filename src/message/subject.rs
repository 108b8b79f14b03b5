//! The subject line of a mail.

use super::words::{count_of, label, people};
use super::{Alert, EntryStatus, SectionStatus};
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
    let suspect = count_of(alert, SectionStatus::Suspect);
    let blind = count_of(alert, SectionStatus::Blind) + suspect;
    let refused = alert.sections.iter().find(|section| section.news == SectionStatus::Refused);
    if alert.untrusted.is_some() {
        return ("baseline cannot be trusted, nothing is compared".to_owned(), String::new());
    }
    let mut drifted = alert.entries.iter().filter(|entry| !entry.news.is_over());
    if let Some(worst) = drifted.next() {
        let way = match (worst.news, worst.meaning.direction) {
            (EntryStatus::Flapping, _) => "changes back and forth",
            (EntryStatus::StillOpen, Direction::Weaker) => "still weaker",
            (EntryStatus::StillOpen, _) => "still different",
            (EntryStatus::Reopened, Direction::Weaker) => "weaker again",
            (_, Direction::Weaker) => "weaker",
            (_, Direction::Stronger) => "stronger",
            _ => "changed",
        };
        let mut rest = format!(" {way}");
        match drifted.count() {
            0 => {}
            n => rest.push_str(&format!(", and {n} more")),
        }
        if let Some(refused) = refused {
            rest.push_str(&format!(", {} refused", refused.section));
        } else if blind > 0 {
            rest.push_str(&format!(", {} unreadable", counted(blind, "section")));
        }
        return (worst.meaning.title.clone(), rest);
    }
    if let Some(refused) = refused {
        return (format!("the {} is refused", refused.section), ", nothing it reads is watched".to_owned());
    }
    if suspect > 0 && suspect == blind {
        return (format!("cannot believe {}", counted(suspect, "section")), String::new());
    }
    if blind > 0 {
        return (format!("cannot read {}", counted(blind, "section")), String::new());
    }
    if let Some(notice) = alert.notices.iter().filter(|notice| !notice.kind.is_end()).min_by_key(|notice| notice.kind) {
        return (notice.clause(), String::new());
    }
    let still_open = if alert.open > 0 { format!(", {} still open", alert.open) } else { String::new() };
    if alert.trusted_again {
        return ("baseline can be trusted again".to_owned(), still_open);
    }
    if let Some(first) = alert.entries.first() {
        let end = match first.news {
            EntryStatus::Approved => {
                let by = match first.approved_by.is_empty() {
                    true => String::new(),
                    false => format!(" by {}", people(&first.approved_by)),
                };
                let until = first.approved_until.map(|end| format!(" until {}", end.format("%-d %b %H:%M UTC")));
                format!("approved{}{}", cut(&by, 60), until.unwrap_or_default())
            }
            EntryStatus::Passed => "drifted and went back meanwhile".to_owned(),
            _ => "back to the approved state".to_owned(),
        };
        let more = match alert.entries.len() - 1 {
            0 => String::new(),
            n => format!(", and {n} more over"),
        };
        return (first.meaning.title.clone(), format!(" {end}{more}{still_open}"));
    }
    if let Some(accepted) = alert.sections.iter().find(|section| section.news == SectionStatus::Accepted) {
        return (format!("the {} is accepted again", accepted.section), still_open);
    }
    let again = count_of(alert, SectionStatus::SeeingAgain);
    if again > 0 {
        return (format!("{} readable again", counted(again, "section")), still_open);
    }
    let left_out = count_of(alert, SectionStatus::LeftOut);
    if left_out > 0 {
        return (format!("{} not watched any more", counted(left_out, "section")), still_open);
    }
    if let Some(removed) = alert.sections.iter().find(|section| section.news == SectionStatus::Removed) {
        return (format!("the {} is not configured any more", removed.section), still_open);
    }
    if let Some(notice) = alert.notices.first() {
        return (notice.clause(), still_open);
    }
    let unbaselined = count_of(alert, SectionStatus::Unbaselined);
    (format!("{} not in the approved state yet", counted(unbaselined, "section")), String::new())
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
        alert.entries.retain(|entry| entry.news == EntryStatus::Approved);
        alert.open = 2;
        assert_eq!(
            subject(&alert),
            "[authdrift] RESOLVED clerk:prod: Session inactivi... approved by alice@example.test until 29 Nov 12:00 UTC, 2 still open"
        );
    }

    #[test]
    fn blindness_alone_is_said() {
        let mut alert = samples::untrusted();
        alert.untrusted = None;
        assert_eq!(subject(&alert), "[authdrift] HIGH auth0:acme: cannot read 2 sections");
        alert.sections.iter_mut().for_each(|section| section.news = SectionStatus::Suspect);
        assert_eq!(subject(&alert), "[authdrift] HIGH auth0:acme: cannot believe 2 sections");
    }

    #[test]
    fn letters_of_any_script_stay() {
        let mut alert = samples::drift();
        alert.entries.truncate(1);
        alert.sections.clear();
        alert.entries[0].meaning.title = "Allowed callback URLs (Büro 東京)".to_owned();
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
