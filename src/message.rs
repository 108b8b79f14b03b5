//! One model of an alert, and its renderings.
//!
//! An [`Alert`] is made once per instance, cycle and receiver, and stored in the outbox as JSON with the body that is to be
//! sent; mail alone is rendered when it is sent. It holds everything a reader needs and no secret: values come from canonical documents, where secrets are
//! fingerprints. Text from outside is made safe when it is rendered, never before, so that the JSON stays exact.

mod card;
mod discord;
mod entry;
pub mod event_types;
pub mod fold;
mod format;
pub mod html;
mod item;
pub mod json;
mod notice;
mod pagerduty;
mod row;
pub mod sample;
#[cfg(test)]
mod samples;
mod section;
mod slack;
pub mod subject;
mod summary;
mod teams;
#[cfg(test)]
mod tests;
pub mod text;
pub mod values;
mod view;
mod words;

pub use entry::{Entry, EntryChange, EntryStatus};
pub use format::{Body, Format};
pub use item::Item;
pub use notice::{Notice, NoticeKind};
pub use section::{SectionEntry, SectionStatus};
pub use words::listed;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::{HistoryMark, InstanceId, MessageId, Severity, display_safe};

/// An alert about one cycle of one instance, for one receiver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// The instance; none if it is about the program itself.
    pub instance: Option<InstanceId>,
    /// The vendor's own identity of it (`ins_…`, tenant domain).
    pub resource: String,
    /// Whether it is a sample on request. Nothing in a sample happened.
    #[serde(default)]
    pub sample: bool,
    /// When the cycle ended.
    pub at: DateTime<Utc>,
    /// The approved state the entries differ from. Absent while it cannot be trusted.
    pub baseline: Option<ApprovedBaseline>,
    /// The last reading of the instance without the new differences, and the first with them.
    pub window: Option<Window>,
    /// In this order: trust in the baseline, settings with the most severe first, sections, notices.
    #[serde(flatten, with = "item")]
    pub items: Vec<Item>,
    /// Drifts open after this cycle.
    pub open: usize,
    /// How many people it takes to approve everything that is open.
    #[serde(default = "one")]
    pub approvers_needed: usize,
    /// The last event of the history: its number and the digest that names the whole history up to it.
    pub event: HistoryMark,
    /// The machine this was sent from.
    pub host: String,
    /// The program's version.
    pub version: String,
}

/// One message to one receiver.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its name, the same on every try.
    pub id: MessageId,
    /// The receiver's name in the configuration.
    pub receiver: String,
    /// The alert.
    pub alert: Alert,
    /// The message it follows up.
    pub thread: Option<MessageId>,
    /// Its subject.
    pub subject: String,
    /// The body, the same on every try. Mail has none: it is rendered when it is sent.
    pub body: Option<Body>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Tries so far.
    pub attempts: u32,
}

impl Message {
    /// One that follows up no other and has no body yet.
    pub fn new(receiver: &str, alert: Alert, at: DateTime<Utc>) -> Self {
        Self {
            id: MessageId::new(),
            receiver: receiver.to_owned(),
            subject: subject::subject(&alert),
            alert,
            thread: None,
            body: None,
            created_at: at,
            attempts: 0,
        }
    }
}

/// A baseline as a person refers to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApprovedBaseline {
    /// 1, 2, 3, …
    pub sequence: u64,
    /// When the last approver signed.
    pub approved_at: DateTime<Utc>,
    /// Distinct principals.
    pub approvers: Vec<String>,
    /// The reason of the last approver.
    pub reason: String,
}

/// The time in which a change happened.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Last reading that did not show it; absent when there was none.
    pub last_good: Option<DateTime<Utc>>,
    /// First reading that did; of several changes, the last of these.
    pub first_different: DateTime<Utc>,
}

fn one() -> usize {
    1
}

impl Alert {
    /// One about the program itself, at that point of the history.
    pub fn of_watch(items: Vec<Item>, at: DateTime<Utc>, event: HistoryMark, host: String) -> Self {
        Self {
            instance: None,
            resource: String::new(),
            sample: false,
            at,
            baseline: None,
            window: None,
            items,
            open: 0,
            approvers_needed: one(),
            event,
            host,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// The subject of the alert: the instance, or the program on this machine.
    pub fn about(&self) -> String {
        match &self.instance {
            Some(instance) => instance.to_string(),
            None => format!("authdrift on {}", display_safe(&self.host)),
        }
    }

    /// The settings in it.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.items.iter().filter_map(|item| if let Item::Setting(entry) = item { Some(entry) } else { None })
    }

    /// The sections and credentials in it that took the step `status`.
    fn sections_of(&self, status: SectionStatus) -> impl Iterator<Item = &SectionEntry> {
        let sections =
            self.items.iter().filter_map(|item| if let Item::Section(section) = item { Some(section) } else { None });
        sections.filter(move |section| section.news == status)
    }

    /// The notices in it.
    fn notices(&self) -> impl Iterator<Item = &Notice> {
        self.items.iter().filter_map(|item| if let Item::Notice(notice) = item { Some(notice) } else { None })
    }

    /// Why the baseline cannot be trusted, if an item says so.
    pub fn untrusted(&self) -> Option<&str> {
        self.items.iter().find_map(|item| if let Item::Untrusted(reason) = item { Some(reason.as_str()) } else { None })
    }

    /// The most severe thing in it: an untrusted baseline is critical, blindness high.
    pub fn severity(&self) -> Severity {
        self.items.iter().map(Item::severity).max().unwrap_or(Severity::Info)
    }

    /// Whether it reports something for the first time.
    pub fn is_beginning(&self) -> bool {
        self.items.iter().any(Item::is_beginning)
    }

    /// Whether it says nothing but notices of that kind.
    pub fn is_only(&self, kind: NoticeKind) -> bool {
        let is_one = |item: &Item| matches!(item, Item::Notice(notice) if notice.kind == kind);
        !self.items.is_empty() && self.items.iter().all(is_one)
    }

    /// Whether nothing in it goes on.
    pub fn is_all_clear(&self) -> bool {
        !self.items.iter().any(Item::is_ongoing)
    }
}
