//! The events that a receiver can filter by. These names never change; new ones may come.

use std::sync::LazyLock;

use super::{Alert, EntryStatus, NoticeKind, SectionStatus};

/// Every event and what it says, the most important first: an alert with several kinds of news carries the first of them.
/// Those of notices are in the table of their kinds.
pub static EVENT_TYPES: LazyLock<Vec<(&str, &str)>> = LazyLock::new(|| {
    let notices = |is_end| NoticeKind::ALL.map(NoticeKind::row).into_iter().filter(move |row| row.is_end == is_end);
    let events = |is_end| notices(is_end).map(|row| (row.event_type, row.meaning));
    BEGINNINGS.into_iter().chain(events(false)).chain(ENDS).chain(events(true)).collect()
});

const BEGINNINGS: [(&str, &str); 7] = [
    ("baseline.untrusted", "the approved state cannot be trusted, so nothing is compared"),
    ("drift.opened", "a setting drifted, drifted again, or moved on to yet another value"),
    ("credential.refused", "the vendor refuses a credential; nothing that is read with it is watched"),
    ("section.suspect", "what was read looks like a fault in reading and is not believed yet"),
    ("section.blind", "a section of the approved state cannot be read"),
    ("drift.flapping", "a setting goes back and forth; only new values and reminders are told until it stays as it is"),
    ("drift.still_open", "a reminder: a setting still differs"),
];

const ENDS: [(&str, &str); 7] = [
    ("baseline.trusted", "the approved state can be trusted again"),
    ("drift.closed", "drifts ended: reverted, approved, or over before they could be told"),
    ("credential.accepted", "the vendor accepts a credential again"),
    ("section.seeing_again", "a section can be read again"),
    ("section.left_out", "a section that could not be read is not watched any more"),
    ("credential.removed", "a credential that was refused is not configured any more"),
    ("section.unbaselined", "a section is not in the approved state yet"),
];

/// The event that `alert` is.
pub fn event_type(alert: &Alert) -> &'static str {
    let has_section = |kind| alert.sections.iter().any(|section| section.news == kind);
    let has_drifted = |news| matches!(news, EntryStatus::Opened | EntryStatus::Reopened | EntryStatus::Changed);
    let has_news = |news| alert.entries.iter().any(|entry| entry.news == news);
    // That drifts ended says more than that there is a baseline with which they did.
    let has_ended = alert.entries.iter().any(|entry| entry.news.is_over());
    let is_trouble = |kind: &NoticeKind| !kind.is_end() && (*kind != NoticeKind::Approved || !has_ended);
    let trouble = alert.notices.iter().map(|notice| notice.kind).filter(is_trouble).min();
    if alert.untrusted.is_some() {
        "baseline.untrusted"
    } else if alert.entries.iter().any(|entry| has_drifted(entry.news)) {
        "drift.opened"
    } else if has_section(SectionStatus::Refused) {
        "credential.refused"
    } else if has_section(SectionStatus::Suspect) {
        "section.suspect"
    } else if has_section(SectionStatus::Blind) {
        "section.blind"
    } else if has_news(EntryStatus::Flapping) {
        "drift.flapping"
    } else if has_news(EntryStatus::StillOpen) {
        "drift.still_open"
    } else if let Some(kind) = trouble {
        kind.event_type()
    } else if alert.trusted_again {
        "baseline.trusted"
    } else if !alert.entries.is_empty() {
        "drift.closed"
    } else if has_section(SectionStatus::Accepted) {
        "credential.accepted"
    } else if has_section(SectionStatus::SeeingAgain) {
        "section.seeing_again"
    } else if has_section(SectionStatus::LeftOut) {
        "section.left_out"
    } else if has_section(SectionStatus::Removed) {
        "credential.removed"
    } else if has_section(SectionStatus::Unbaselined) {
        "section.unbaselined"
    } else if let Some(notice) = alert.notices.first() {
        notice.kind.event_type()
    } else {
        "drift.closed"
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn the_most_important_news_names_the_event() {
        let mut alert = samples::untrusted();
        assert_eq!(event_type(&alert), "baseline.untrusted");
        alert.untrusted = None;
        assert_eq!(event_type(&alert), "section.blind");
        alert.sections[0].news = SectionStatus::SeeingAgain;
        alert.sections[1].news = SectionStatus::Unbaselined;
        assert_eq!(event_type(&alert), "section.seeing_again");
        alert.trusted_again = true;
        assert_eq!(event_type(&alert), "baseline.trusted");
        alert.trusted_again = false;
        alert.sections.remove(0);
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
