//! One model of an alert, and its renderings.
//!
//! An [`Alert`] is made once per instance, cycle and receiver, and stored in the outbox as JSON with the body that is to be
//! sent; mail alone is rendered when it is sent. It holds everything a reader needs and no secret: values come from canonical documents, where secrets are
//! fingerprints. Text from outside is made safe when it is rendered, never before, so that the JSON stays exact.

mod card;
mod discord;
pub mod event_types;
pub mod fold;
mod format;
pub mod html;
pub mod json;
mod notice;
mod pagerduty;
pub mod sample;
#[cfg(test)]
mod samples;
mod slack;
pub mod subject;
mod teams;
#[cfg(test)]
mod tests;
pub mod text;
pub mod values;
mod view;
mod words;

pub use format::{Body, Format};
pub use notice::{Notice, NoticeKind};
pub use words::{counted, listed};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::classify::ChangeMeaning;
use crate::diff::Change;
use crate::model::{Category, DriftId, HistoryMark, InstanceId, MessageId, Severity, State, display_safe};

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
    /// Why the baseline cannot be trusted, when that is the news.
    pub untrusted: Option<String>,
    /// True when the baseline can be trusted again, when that is the news.
    pub trusted_again: bool,
    /// The last reading of the instance without the new differences, and the first with them.
    pub window: Option<Window>,
    /// Drifts that changed status in this cycle, most severe first; one entry per setting and status.
    pub entries: Vec<Entry>,
    /// Sections that cannot be read, or can be read again.
    pub sections: Vec<SectionEntry>,
    /// News about the watch itself.
    #[serde(default)]
    pub notices: Vec<Notice>,
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

/// The status of a drift in an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryStatus {
    /// It drifted.
    Opened,
    /// It had been closed before and drifted again.
    Reopened,
    /// It was open and moved to yet another value.
    Changed,
    /// A reminder of a drift that is open since an earlier alert.
    StillOpen,
    /// It opens and ends again and again. Only new values are reported until it is stable.
    Flapping,
    /// It opened and ended while messages to this receiver waited.
    Passed,
    /// It is back at the approved value.
    Reverted,
    /// A new baseline contains it.
    Approved,
}

impl EntryStatus {
    /// Whether it says that the drift ended.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Reverted | Self::Approved | Self::Passed)
    }
}

/// One setting in an alert: one click in a dashboard, however many paths it moved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The status.
    pub news: EntryStatus,
    /// What it means.
    #[serde(flatten)]
    pub meaning: ChangeMeaning,
    /// Which setting of which object: the same in every alert about it.
    #[serde(default)]
    pub topic: String,
    /// Other categories, of differences that follow from it.
    #[serde(default)]
    pub also: Vec<Category>,
    /// The last reading without it; absent when there was none.
    #[serde(default)]
    pub last_good: Option<DateTime<Utc>>,
    /// First seen different.
    pub first_seen: DateTime<Utc>,
    /// When it ended: the first reading without it, or the approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<DateTime<Utc>>,
    /// Differences of the same setting that are open after this, for one that ended.
    #[serde(default)]
    pub still_open: usize,
    /// How often it had been closed and came back.
    pub reopened: u32,
    /// Who approved it, for [`EntryStatus::Approved`].
    pub approved_by: Vec<String>,
    /// When the approval ends and it is a drift again, if it was approved for a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_until: Option<DateTime<Utc>>,
    /// The announcement of the change window that was open and does not fit this drift, which raises the severity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unannounced: Option<String>,
    /// Every path that moved.
    pub changes: Vec<EntryChange>,
}

impl Entry {
    /// Whether a receiver of these categories gets it.
    pub fn is_of(&self, categories: &[Category]) -> bool {
        categories.contains(&self.meaning.category) || self.also.iter().any(|also| categories.contains(also))
    }

    /// The same under the title of `whole`, from which it follows.
    pub fn as_part_of(self, whole: &Self) -> Self {
        let also =
            if self.meaning.category == whole.meaning.category { Vec::new() } else { vec![self.meaning.category] };
        let ChangeMeaning { why: own, severity, direction, .. } = self.meaning;
        let why = if direction.is_worse_than(whole.meaning.direction) { own } else { whole.meaning.why.clone() };
        let meaning = ChangeMeaning { why, severity, direction, ..whole.meaning.clone() };
        Self { meaning, topic: whole.topic.clone(), also, ..self }
    }
}

/// One path of an entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EntryChange {
    /// The drift.
    pub id: DriftId,
    /// What differs.
    #[serde(flatten)]
    pub change: Change,
}

/// A section that became unreadable, readable again, or known for the first time; or a credential that died or lives again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SectionEntry {
    /// The name of the section or of the credential.
    pub section: String,
    /// The status.
    pub news: SectionStatus,
    /// Its state now.
    pub state: State,
    /// Why, in the vendor's or the program's words; may be empty.
    pub reason: String,
    /// Since when; for an end, when that began which ended.
    pub since: DateTime<Utc>,
    /// When it ended: the first reading that saw it again, or that was not asked for it any more. Absent while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
    /// The state of the section in the first alert about it: an outage and a missing permission are two causes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<State>,
    /// Sections that are still not seen for the same cause after this, for an end.
    #[serde(default)]
    pub still_unseen: usize,
}

/// The status of a section or credential in an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SectionStatus {
    /// The vendor does not accept the credential, so nothing that is read with it is known.
    Refused,
    /// The reading is implausible. An identical next reading is accepted.
    Suspect,
    /// It cannot be read, and the baseline holds it or does not name it at all.
    Blind,
    /// It can be read again.
    SeeingAgain,
    /// The vendor accepts the credential again.
    Accepted,
    /// It was not readable and is not watched any more: the configuration leaves it out, or a baseline without it was approved.
    LeftOut,
    /// The credential was refused and is not configured any more.
    Removed,
    /// The baseline does not hold it, so it is compared with nothing until it is approved.
    Unbaselined,
}

impl SectionStatus {
    /// Every one, the worst first.
    pub const ALL: [Self; 8] = [
        Self::Refused,
        Self::Suspect,
        Self::Blind,
        Self::SeeingAgain,
        Self::Accepted,
        Self::LeftOut,
        Self::Removed,
        Self::Unbaselined,
    ];

    /// The severity. A section that cannot be read may hide any change.
    pub fn severity(self) -> Severity {
        match self {
            Self::Refused | Self::Suspect | Self::Blind => Severity::High,
            Self::SeeingAgain | Self::Accepted | Self::LeftOut | Self::Removed | Self::Unbaselined => Severity::Info,
        }
    }

    /// Whether something that could be seen is not seen any more.
    pub fn is_blindness(self) -> bool {
        matches!(self, Self::Refused | Self::Suspect | Self::Blind)
    }

    /// Whether it ends such a time.
    pub fn is_end(self) -> bool {
        matches!(self, Self::SeeingAgain | Self::Accepted | Self::LeftOut | Self::Removed)
    }
}

fn one() -> usize {
    1
}

impl Alert {
    /// One about the program itself, at that point of the history.
    pub fn of_watch(notices: Vec<Notice>, at: DateTime<Utc>, event: HistoryMark, host: String) -> Self {
        Self {
            instance: None,
            resource: String::new(),
            sample: false,
            at,
            baseline: None,
            untrusted: None,
            trusted_again: false,
            window: None,
            entries: Vec::new(),
            sections: Vec::new(),
            notices,
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

    /// The most severe thing in it: an untrusted baseline is critical, blindness high.
    pub fn severity(&self) -> Severity {
        let of_sections = self.sections.iter().map(|section| section.news.severity());
        let of_trust = self.untrusted.iter().map(|_| Severity::Critical);
        self.entries
            .iter()
            .map(|entry| entry.meaning.severity)
            .chain(of_sections)
            .chain(of_trust)
            .chain(self.notices.iter().map(|notice| notice.kind.severity()))
            .max()
            .unwrap_or(Severity::Info)
    }

    /// Whether it has no content.
    pub fn is_empty(&self) -> bool {
        self.is_only_notices() && self.notices.is_empty()
    }

    fn is_only_notices(&self) -> bool {
        let is_trust_unchanged = self.untrusted.is_none() && !self.trusted_again;
        is_trust_unchanged && self.entries.is_empty() && self.sections.is_empty()
    }

    /// Whether it reports something for the first time.
    pub fn is_beginning(&self) -> bool {
        let is_blind = |section: &SectionEntry| section.news.is_blindness();
        self.untrusted.is_some()
            || self.entries.iter().any(|entry| entry.news == EntryStatus::Opened)
            || self.sections.iter().any(is_blind)
    }

    /// Whether it says nothing but news of that kind.
    pub fn is_only(&self, kind: NoticeKind) -> bool {
        let is_said = self.is_only_notices() && !self.notices.is_empty();
        is_said && self.notices.iter().all(|notice| notice.kind == kind)
    }

    /// Whether it says only that something is over.
    pub fn is_all_clear(&self) -> bool {
        self.untrusted.is_none()
            && self.entries.iter().all(|entry| entry.news.is_over())
            && self.notices.iter().all(|notice| notice.kind.is_end())
            && self.sections.iter().all(|section| !section.news.is_blindness())
    }
}
