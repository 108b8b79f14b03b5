//! The items of an alert, and their JSON.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::row::{ItemRow, Phase, TRUSTED_AGAIN, UNTRUSTED};
use super::{Entry, EntryStatus, Notice, SectionEntry};
use crate::model::Severity;

/// One item of an alert.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "an alert holds few items, most of them settings")]
pub enum Item {
    /// The baseline cannot be trusted, for this reason.
    Untrusted(String),
    /// The baseline can be trusted again.
    TrustedAgain,
    /// A drift changed its status.
    Setting(Entry),
    /// A section or a credential.
    Section(SectionEntry),
    /// About the service itself.
    Notice(Notice),
}

impl Item {
    /// The row of its kind. Each setting has its own words.
    pub(super) fn row(&self) -> Option<&'static ItemRow> {
        match self {
            Self::Untrusted(_) => Some(&UNTRUSTED),
            Self::TrustedAgain => Some(&TRUSTED_AGAIN),
            Self::Setting(_) => None,
            Self::Section(section) => Some(section.news.row()),
            Self::Notice(notice) => Some(notice.kind.row()),
        }
    }

    /// The setting, section, receiver, file or path that it is about; may be empty.
    pub(super) fn subject(&self) -> &str {
        match self {
            Self::Untrusted(_) | Self::TrustedAgain => "",
            Self::Setting(entry) => &entry.meaning.title,
            Self::Section(section) => &section.section,
            Self::Notice(notice) => &notice.subject,
        }
    }

    pub(super) fn event_type(&self) -> &'static str {
        match self {
            Self::Setting(entry) => entry.news.event().0,
            _ => self.row().map_or("", |row| row.event_type),
        }
    }

    pub(super) fn severity(&self) -> Severity {
        match self {
            Self::Setting(entry) => entry.meaning.severity,
            _ => self.row().map_or(Severity::Info, |row| row.severity),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        match self {
            Self::Setting(entry) if entry.news.is_over() => Phase::Resolved,
            _ => self.row().map_or(Phase::Ongoing, |row| row.phase),
        }
    }

    pub(super) fn is_ongoing(&self) -> bool {
        self.phase() == Phase::Ongoing
    }

    /// Whether it reports something for the first time.
    pub(super) fn is_beginning(&self) -> bool {
        match self {
            Self::Untrusted(_) => true,
            Self::Setting(entry) => entry.news == EntryStatus::Opened,
            Self::Section(section) => section.news.is_blindness(),
            Self::TrustedAgain | Self::Notice(_) => false,
        }
    }
}

/// The JSON of the items has one list for each variant, which receivers and stored alerts know.
#[derive(Default, Serialize, Deserialize)]
struct ItemLists {
    untrusted: Option<String>,
    trusted_again: bool,
    entries: Vec<Entry>,
    sections: Vec<SectionEntry>,
    #[serde(default)]
    notices: Vec<Notice>,
}

pub(super) fn serialize<S: Serializer>(items: &[Item], serializer: S) -> Result<S::Ok, S::Error> {
    let mut lists = ItemLists::default();
    for item in items.iter().cloned() {
        match item {
            Item::Untrusted(reason) => lists.untrusted = Some(reason),
            Item::TrustedAgain => lists.trusted_again = true,
            Item::Setting(entry) => lists.entries.push(entry),
            Item::Section(section) => lists.sections.push(section),
            Item::Notice(notice) => lists.notices.push(notice),
        }
    }
    lists.serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Item>, D::Error> {
    let lists = ItemLists::deserialize(deserializer)?;
    let untrusted = lists.untrusted.into_iter().map(Item::Untrusted);
    let mut items: Vec<Item> = untrusted.chain(lists.trusted_again.then_some(Item::TrustedAgain)).collect();
    items.extend(lists.entries.into_iter().map(Item::Setting));
    items.extend(lists.sections.into_iter().map(Item::Section));
    items.extend(lists.notices.into_iter().map(Item::Notice));
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::super::{Alert, samples};
    use super::*;

    /// An alert as an outbox may hold it since before items were one list.
    #[test]
    fn a_stored_alert_is_read_as_it_was_written() {
        let stored = include_str!("../../tests/golden/stored-alert.json").trim();
        let alert: Alert = serde_json::from_str(stored).unwrap();
        let kinds: Vec<&str> = alert.items.iter().map(Item::event_type).collect();
        let expected = [
            "baseline.untrusted",
            "baseline.trusted",
            "drift.opened",
            "drift.opened",
            "drift.opened",
            "section.blind",
            "section.blind",
            "section.blind",
            "storage.low",
            "receiver.failed",
            "receiver.missed",
            "receiver.recovered",
        ];
        assert_eq!(kinds, expected);
        let value: serde_json::Value = serde_json::from_str(stored).unwrap();
        assert_eq!(serde_json::to_value(&alert).unwrap(), value);
    }

    /// Fields that came with later versions are absent from alerts of the first ones.
    #[test]
    fn an_alert_of_a_first_version_is_read() {
        let mut value = serde_json::to_value(samples::drift()).unwrap();
        let fields = value.as_object_mut().unwrap();
        for later in ["notices", "sample", "approvers_needed"] {
            fields.remove(later).unwrap();
        }
        for entry in fields["entries"].as_array_mut().unwrap() {
            for later in ["topic", "also", "last_good", "still_open"] {
                entry.as_object_mut().unwrap().remove(later).unwrap();
            }
        }
        for section in fields["sections"].as_array_mut().unwrap() {
            for later in ["cause", "still_unseen"] {
                section.as_object_mut().unwrap().remove(later).unwrap();
            }
        }
        let alert: Alert = serde_json::from_value(value).unwrap();
        assert_eq!((alert.items.len(), alert.approvers_needed, alert.sample), (4, 1, false));
    }
}
