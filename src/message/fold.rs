//! Coalesces alerts about one instance that waited for a receiver, so that an outage does not end in ten similar mails.

use std::collections::BTreeMap;

use super::{Alert, Entry, EntryStatus, Item, Notice, NoticeKind, SectionEntry, Window};
use crate::classify::ChangeMeaning;
use crate::model::DriftId;

/// One entry per setting and status, most severe first. Each of `entries` may be about a part of a setting.
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
    let last = alerts.last()?.clone();
    let (mut trust, mut window) = (None, None);
    let mut drifts: BTreeMap<DriftId, Vec<Entry>> = BTreeMap::new();
    let (mut sections, mut notices): (Vec<SectionEntry>, Vec<Notice>) = (Vec::new(), Vec::new());
    for alert in alerts {
        window = match (window, alert.window) {
            (Some(one), Some(other)) => Some(joined(one, other)),
            (one, other) => one.or(other),
        };
        for item in alert.items {
            match item {
                Item::Untrusted(_) | Item::TrustedAgain => trust = Some(item),
                Item::Setting(entry) => {
                    for change in &entry.changes {
                        let one = Entry { changes: vec![change.clone()], ..entry.clone() };
                        drifts.entry(change.id.clone()).or_default().push(one);
                    }
                }
                Item::Section(section) => {
                    sections.retain(|known| known.section != section.section);
                    sections.push(section);
                }
                Item::Notice(notice) => {
                    // Of several digests the last one counts; the number of each is said.
                    let is_older = |known: &Notice| known.kind == notice.kind && known.subject == notice.subject;
                    if notice.kind == NoticeKind::Digest {
                        notices.retain(|known| !is_older(known));
                    }
                    if !notices.contains(&notice) {
                        notices.push(notice);
                    }
                }
            }
        }
    }
    let entries = grouped(drifts.into_values().filter_map(|story| as_one(&story)));
    let items = trust.into_iter().chain(entries.into_iter().map(Item::Setting));
    let items = items.chain(sections.into_iter().map(Item::Section)).chain(notices.into_iter().map(Item::Notice));
    Some(Alert { window, items: items.collect(), ..last })
}

/// The time in which all happened that happened in two.
fn joined(one: Window, other: Window) -> Window {
    Window {
        last_good: one.last_good.zip(other.last_good).map(|(one, other)| one.min(other)),
        first_different: one.first_different.max(other.first_different),
    }
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
        let mut model = samples::drift();
        let entries = news.iter().map(|(number, news)| {
            let mut entry = model.entry(0).clone();
            entry.meaning.title = format!("setting {number}");
            entry.news = *news;
            entry.changes.truncate(1);
            entry.changes[0].id = DriftId::from_text(format!("drf_{number}"));
            entry
        });
        let items: Vec<Item> = entries.map(Item::Setting).collect();
        model.of(items)
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
            let told: Vec<EntryStatus> = folded.entries().map(|entry| entry.news).collect();
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
            folded.entries().map(|entry| (entry.meaning.title.as_str(), entry.news)).collect();
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
            let mut entry = samples::drift().entry(0).clone();
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
            let mut entry = samples::drift().entry(0).clone();
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
        first.entry(0).meaning.severity = Severity::Critical;
        let mut end = alert(&[(1, EntryStatus::Reverted)]);
        end.entry(0).meaning.severity = Severity::Low;
        assert_eq!(fold(vec![first, end]).unwrap().entry(0).meaning.severity, Severity::Critical);
    }

    #[test]
    fn trust_sections_and_notices_are_said_once_and_as_they_are_now() {
        let news = |section: &str, news| {
            Item::Section(SectionEntry {
                section: section.to_owned(),
                news,
                state: State::Unreachable,
                reason: String::new(),
                since: samples::drift().at,
                until: None,
                cause: None,
                still_unseen: 0,
            })
        };
        let notice = |text: &str| {
            Item::Notice(Notice { kind: NoticeKind::Approved, subject: String::new(), text: text.to_owned() })
        };
        let one = alert(&[]).of([
            Item::Untrusted("why".to_owned()),
            news("a", SectionStatus::Blind),
            news("b", SectionStatus::Blind),
            notice("x"),
            notice("y"),
        ]);
        let two = alert(&[]).of([Item::TrustedAgain, news("a", SectionStatus::SeeingAgain), notice("y"), notice("z")]);
        let folded = fold(vec![one.clone(), two, alert(&[])]).unwrap();
        let expected = [
            Item::TrustedAgain,
            news("b", SectionStatus::Blind),
            news("a", SectionStatus::SeeingAgain),
            notice("x"),
            notice("y"),
            notice("z"),
        ];
        assert_eq!(folded.items, expected);
        assert_eq!(fold(vec![alert(&[]), one]).unwrap().untrusted(), Some("why"));
    }

    #[test]
    fn of_several_digests_the_last_one_counts() {
        let digest = |subject: &str, text: &str| {
            let (subject, text) = (subject.to_owned(), text.to_owned());
            Item::Notice(Notice { kind: NoticeKind::Digest, subject, text })
        };
        let one = alert(&[]).of([digest("digest 3", "first"), digest("clerk:prod", "drift")]);
        let two = alert(&[]).of([digest("digest 4", "second"), digest("clerk:prod", "in sync")]);
        let folded = fold(vec![one, two]).unwrap();
        let told: Vec<(&str, &str)> =
            folded.notices().map(|notice| (notice.subject.as_str(), notice.text.as_str())).collect();
        assert_eq!(told, [("digest 3", "first"), ("digest 4", "second"), ("clerk:prod", "in sync")]);
    }
}
