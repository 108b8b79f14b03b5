//! The events that a receiver can filter by. These names never change; new ones may come.

use std::sync::LazyLock;

use super::row::{ItemRow, Phase, TRUSTED_AGAIN, UNTRUSTED};
use super::{Alert, EntryStatus, Item, NoticeKind, SectionStatus};

/// Every event and what it says, the most important first: an alert with several events carries the first of them.
pub static EVENT_TYPES: LazyLock<Vec<(&str, &str)>> = LazyLock::new(|| {
    let row = |row: &ItemRow| (row.event_type, row.meaning);
    let section = |status: SectionStatus| row(status.row());
    let notices =
        |phase| NoticeKind::ALL.map(NoticeKind::row).into_iter().filter(move |row| row.phase == phase).map(row);
    let beginnings = [
        row(&UNTRUSTED),
        EntryStatus::Opened.event(),
        section(SectionStatus::Refused),
        section(SectionStatus::Suspect),
        section(SectionStatus::Blind),
        EntryStatus::Flapping.event(),
        EntryStatus::StillOpen.event(),
    ];
    let ends = [
        row(&TRUSTED_AGAIN),
        EntryStatus::Reverted.event(),
        section(SectionStatus::Accepted),
        section(SectionStatus::SeeingAgain),
        section(SectionStatus::LeftOut),
        section(SectionStatus::Removed),
        section(SectionStatus::Unbaselined),
    ];
    beginnings.into_iter().chain(notices(Phase::Ongoing)).chain(ends).chain(notices(Phase::Resolved)).collect()
});

/// The event that `alert` is.
pub fn event_type(alert: &Alert) -> &'static str {
    // That drifts ended says more than that there is a baseline with which they did.
    let has_ended = alert.entries().any(|entry| entry.news.is_over());
    let is_left_out = |item: &Item| has_ended && item.event_type() == NoticeKind::Approved.event_type();
    let found: Vec<&str> = alert.items.iter().filter(|item| !is_left_out(item)).map(Item::event_type).collect();
    let mut events = EVENT_TYPES.iter().map(|(name, _)| *name);
    events.find(|name| found.contains(name)).unwrap_or(EntryStatus::Reverted.event().0)
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn the_most_important_news_names_the_event() {
        let mut alert = samples::untrusted();
        assert_eq!(event_type(&alert), "baseline.untrusted");
        alert.items.remove(0);
        assert_eq!(event_type(&alert), "section.blind");
        alert.section(0).news = SectionStatus::SeeingAgain;
        alert.section(1).news = SectionStatus::Unbaselined;
        assert_eq!(event_type(&alert), "section.seeing_again");
        alert.items.insert(0, Item::TrustedAgain);
        assert_eq!(event_type(&alert), "baseline.trusted");
        alert.items.drain(..2);
        assert_eq!(event_type(&alert), "section.unbaselined");
        assert_eq!(event_type(&samples::all_clear()), "drift.closed");
        assert_eq!(event_type(&samples::drift()), "drift.opened");
    }

    #[test]
    fn every_notice_has_an_event_that_is_listed_in_the_order_of_its_weight() {
        let place = |name: &str| EVENT_TYPES.iter().position(|(known, _)| *known == name).unwrap();
        let places: Vec<usize> = NoticeKind::ALL.iter().map(|kind| place(kind.event_type())).collect();
        assert!(places.is_sorted(), "{places:?}");
    }
}
