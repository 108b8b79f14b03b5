//! Coalesces alerts about one instance that waited for a receiver, so that an outage does not end in ten similar mails.

use std::collections::BTreeMap;

use super::{Alert, Entry, EntryStatus, Notice, NoticeKind, Window};
use crate::classify::ChangeMeaning;
use crate::model::DriftId;

/// One entry per setting and kind of news, most severe first. Each of `entries` may be about a part of a setting.
pub fn grouped(entries: impl IntoIterator<Item = Entry>) -> Vec<Entry> {
    let mut groups: Vec<Entry> = Vec::new();
    for entry in entries {
        let is_same = |other: &&mut Entry| {
            let is_of_it = other.meaning.setting == entry.meaning.setting
                && other.topic == entry.topic
                && other.meaning.title == entry.meaning.title;
            other.news == entry.news && is_of_it
        };
        match groups.iter_mut().find(is_same) {
            Some(group) => {
                group.meaning.severity = group.meaning.severity.max(entry.meaning.severity);
                if entry.meaning.direction.is_worse_than(group.meaning.direction) {
                    (group.meaning.direction, group.meaning.why) = (entry.meaning.direction, entry.meaning.why);
                }
                group.first_seen = group.first_seen.min(entry.first_seen);
                group.closed_at = group.closed_at.max(entry.closed_at);
                group.still_open = group.still_open.min(entry.still_open);
                group.approved_until = [group.approved_until, entry.approved_until].into_iter().flatten().min();
                group.last_good = group.last_good.zip(entry.last_good).map(|(one, other)| one.min(other));
                group
                    .also
                    .extend(entry.also.iter().filter(|also| !group.also.contains(also)).copied().collect::<Vec<_>>());
                group.reopened = group.reopened.max(entry.reopened);
                group.unannounced = group.unannounced.take().or(entry.unannounced);
                group.changes.extend(entry.changes);
            }
            None => groups.push(entry),
        }
    }
    // The first one gives its name to all, at the end the same as at the beginning.
    for group in &mut groups {
        group.changes.sort_by(|one, other| one.change.path.cmp(&other.change.path));
    }
    groups.sort_by(|one, other| {
        let by_weight = other.meaning.severity.cmp(&one.meaning.severity);
        by_weight.then_with(|| one.news.cmp(&other.news)).then_with(|| one.meaning.title.cmp(&other.meaning.title))
    });
    groups
}

/// One alert that says what `alerts` say, the oldest first: of every drift and section how it stands at the end, of a drift
/// that began and ended within them that it passed, and every notice once. Nothing for no alerts.
pub fn fold(alerts: Vec<Alert>) -> Option<Alert> {
    let mut folded = alerts.last()?.clone();
    let mut drifts: BTreeMap<DriftId, Vec<Entry>> = BTreeMap::new();
    (folded.untrusted, folded.trusted_again, folded.window) = (None, false, None);
    folded.sections.clear();
    folded.notices.clear();
    for alert in alerts {
        if alert.untrusted.is_some() || alert.trusted_again {
            (folded.untrusted, folded.trusted_again) = (alert.untrusted, alert.trusted_again);
        }
        folded.window = match (folded.window, alert.window) {
            (Some(one), Some(other)) => Some(Window {
                last_good: one.last_good.zip(other.last_good).map(|(one, other)| one.min(other)),
                first_different: one.first_different.max(other.first_different),
            }),
            (one, other) => one.or(other),
        };
        for entry in alert.entries {
            for change in &entry.changes {
                let one = Entry { changes: vec![change.clone()], ..entry.clone() };
                drifts.entry(change.id.clone()).or_default().push(one);
            }
        }
        for section in alert.sections {
            folded.sections.retain(|known| known.section != section.section);
            folded.sections.push(section);
        }
        // Of several digests the last one counts; the number of each is said.
        let digest: Vec<&str> =
            alert.notices.iter().filter(|one| is_digest(one)).map(|one| one.subject.as_str()).collect();
        folded.notices.retain(|known| !(is_digest(known) && digest.contains(&known.subject.as_str())));
        for notice in alert.notices {
            if !folded.notices.contains(&notice) {
                folded.notices.push(notice);
            }
        }
    }
    folded.entries = grouped(drifts.into_values().filter_map(|story| as_one(&story)));
    Some(folded)
}

fn is_digest(notice: &Notice) -> bool {
    notice.kind == NoticeKind::Digest
}

/// One entry for several consecutive ones of one drift.
fn as_one(story: &[Entry]) -> Option<Entry> {
    let (first, last) = (story.first()?, story.last()?);
    let began_here = matches!(first.news, EntryStatus::Opened | EntryStatus::Reopened | EntryStatus::Passed);
    let has = |news| story.iter().any(|entry| entry.news == news);
    let news = match last.news {
        EntryStatus::Approved | EntryStatus::Flapping => last.news,
        EntryStatus::Reverted | EntryStatus::Passed if began_here => EntryStatus::Passed,
        EntryStatus::Reverted | EntryStatus::Passed => EntryStatus::Reverted,
        _ if began_here && first.news == EntryStatus::Opened => EntryStatus::Opened,
        _ if began_here || has(EntryStatus::Reopened) => EntryStatus::Reopened,
        _ if has(EntryStatus::Changed) => EntryStatus::Changed,
        _ => EntryStatus::StillOpen,
    };
    // An ended drift keeps its worst severity; an open one has the severity of its current value.
    let worst = story.iter().map(|entry| entry.meaning.severity).max().unwrap_or(last.meaning.severity);
    let severity = if news.is_over() { worst } else { last.meaning.severity };
    let unannounced = story.iter().find_map(|entry| entry.unannounced.clone());
    let meaning = ChangeMeaning { severity, ..last.meaning.clone() };
    Some(Entry { news, meaning, unannounced, ..last.clone() })
}

#[cfg(test)]
mod tests {
    use super::super::{SectionEntry, SectionStatus, samples};
    use super::*;
    use crate::model::{Direction, Severity, State};

    fn alert(news: &[(usize, EntryStatus)]) -> Alert {
        let model = samples::drift();
        let entries = news.iter().map(|(number, news)| {
            let mut entry = model.entries[0].clone();
            entry.meaning.title = format!("setting {number}");
            entry.news = *news;
            entry.changes.truncate(1);
            entry.changes[0].id = DriftId::from_text(format!("drf_{number}"));
            entry
        });
        Alert { entries: entries.collect(), sections: Vec::new(), ..model.clone() }
    }

    #[test]
    fn a_story_is_told_by_its_end() {
        use EntryStatus::{Approved, Changed, Flapping, Opened, Passed, Reopened, Reverted, StillOpen};
        let table: [(&[EntryStatus], EntryStatus); 17] = [
            (&[Opened], Opened),
            (&[Opened, Changed], Opened),
            (&[Opened, StillOpen], Opened),
            (&[Opened, Reverted], Passed),
            (&[Opened, Reverted, Reopened], Opened),
            (&[Opened, Reverted, Reopened, Reverted], Passed),
            (&[Opened, Approved], Approved),
            (&[Reopened, Changed], Reopened),
            (&[Changed, StillOpen], Changed),
            (&[StillOpen, StillOpen], StillOpen),
            (&[StillOpen, Reverted], Reverted),
            (&[Reverted, Reopened], Reopened),
            (&[Reverted, Reopened, Reverted], Reverted),
            (&[Changed, Approved], Approved),
            (&[Opened, Reverted, Flapping], Flapping),
            (&[Passed, Reopened], Reopened),
            (&[Passed, Passed], Passed),
        ];
        for (story, expected) in table {
            let folded = fold(story.iter().map(|news| alert(&[(1, *news)])).collect()).unwrap();
            let told: Vec<EntryStatus> = folded.entries.iter().map(|entry| entry.news).collect();
            assert_eq!(told, [expected], "{story:?}");
        }
        assert!(fold(Vec::new()).is_none());
    }

    #[test]
    fn drifts_stay_apart_and_the_last_alert_says_how_it_stands() {
        let mut last = alert(&[(2, EntryStatus::Reverted), (3, EntryStatus::Opened)]);
        last.open = 7;
        let alerts = vec![alert(&[(1, EntryStatus::Opened), (2, EntryStatus::Opened)]), last];
        let folded = fold(alerts).unwrap();
        let told: Vec<(&str, EntryStatus)> =
            folded.entries.iter().map(|entry| (entry.meaning.title.as_str(), entry.news)).collect();
        assert_eq!(
            told,
            [
                ("setting 1", EntryStatus::Opened),
                ("setting 3", EntryStatus::Opened),
                ("setting 2", EntryStatus::Passed)
            ]
        );
        assert_eq!(folded.open, 7);
    }

    #[test]
    fn a_setting_under_several_paths_is_named_by_the_first_of_them_at_the_end_as_at_the_beginning() {
        let one = |path: &str| {
            let mut entry = samples::drift().entries[0].clone();
            entry.changes.truncate(1);
            (entry.changes[0].change.path, entry.changes[0].id) =
                (path.parse().unwrap(), DriftId::from_text(path.to_owned()));
            entry
        };
        for order in [["/a/x", "/b/x"], ["/b/x", "/a/x"]] {
            let groups = grouped(order.map(one));
            let ids: Vec<&str> = groups[0].changes.iter().map(|change| change.id.as_str()).collect();
            assert_eq!(ids, ["/a/x", "/b/x"]);
        }
    }

    #[test]
    fn a_group_explains_the_worse_direction() {
        use Direction::{Neutral, Stronger, Unknown, Weaker};
        let one = |direction: Direction| {
            let mut entry = samples::drift().entries[0].clone();
            (entry.meaning.direction, entry.meaning.why) = (direction, direction.to_string());
            entry
        };
        for (directions, expected) in [
            ([Stronger, Weaker], Weaker),
            ([Weaker, Stronger], Weaker),
            ([Neutral, Unknown], Unknown),
            ([Stronger, Neutral], Neutral),
        ] {
            let groups = grouped(directions.map(one));
            assert_eq!((groups[0].meaning.direction, groups[0].meaning.why.clone()), (expected, expected.to_string()));
            let [part, whole] = directions.map(one);
            assert_eq!(grouped([part.as_part_of(&whole), whole])[0].meaning.why, expected.to_string());
        }
    }

    #[test]
    fn what_is_over_keeps_how_bad_it_was() {
        let mut first = alert(&[(1, EntryStatus::Opened)]);
        first.entries[0].meaning.severity = Severity::Critical;
        let mut end = alert(&[(1, EntryStatus::Reverted)]);
        end.entries[0].meaning.severity = Severity::Low;
        assert_eq!(fold(vec![first, end]).unwrap().entries[0].meaning.severity, Severity::Critical);
    }

    #[test]
    fn trust_sections_and_notices_are_said_once_and_as_they_are_now() {
        let news = |section: &str, news| SectionEntry {
            section: section.to_owned(),
            news,
            state: State::Unreachable,
            reason: String::new(),
            since: samples::drift().at,
            until: None,
            cause: None,
            still_unseen: 0,
        };
        let notice = |text: &str| Notice { kind: NoticeKind::Approved, subject: String::new(), text: text.to_owned() };
        let mut one = alert(&[]);
        one.untrusted = Some("why".to_owned());
        one.sections = vec![news("a", SectionStatus::Blind), news("b", SectionStatus::Blind)];
        one.notices = vec![notice("x"), notice("y")];
        let mut two = alert(&[]);
        two.trusted_again = true;
        two.sections = vec![news("a", SectionStatus::SeeingAgain)];
        two.notices = vec![notice("y"), notice("z")];
        let folded = fold(vec![one.clone(), two, alert(&[])]).unwrap();
        assert!(folded.trusted_again && folded.untrusted.is_none());
        let sections: Vec<_> = folded.sections.iter().map(|section| (section.section.as_str(), section.news)).collect();
        assert_eq!(sections, [("b", SectionStatus::Blind), ("a", SectionStatus::SeeingAgain)]);
        assert_eq!(folded.notices, [notice("x"), notice("y"), notice("z")]);
        assert_eq!(fold(vec![alert(&[]), one]).unwrap().untrusted.as_deref(), Some("why"));
    }

    #[test]
    fn of_several_digests_the_last_one_counts() {
        let digest = |subject: &str, text: &str| {
            let (subject, text) = (subject.to_owned(), text.to_owned());
            Notice { kind: NoticeKind::Digest, subject, text }
        };
        let mut one = alert(&[]);
        one.notices = vec![digest("digest 3", "first"), digest("clerk:prod", "drift")];
        let mut two = alert(&[]);
        two.notices = vec![digest("digest 4", "second"), digest("clerk:prod", "in sync")];
        let folded = fold(vec![one, two]).unwrap().notices;
        let told: Vec<(&str, &str)> = folded.iter().map(|one| (one.subject.as_str(), one.text.as_str())).collect();
        assert_eq!(told, [("digest 3", "first"), ("digest 4", "second"), ("clerk:prod", "in sync")]);
    }
}
