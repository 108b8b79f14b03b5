//! Sections and credentials in an alert. Each status is one row of the table below.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::row::{ItemRow, Phase, item_kinds};
use super::words::{moment, span};
use crate::model::{Severity, State, display_safe_sentence};

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

item_kinds! {
    /// The status of a section or credential in an alert, the worst first. A section that cannot be read may hide any change.
    SectionStatus:
    Refused {
        event: "credential.refused", "the vendor refuses a credential; nothing that is read with it is watched";
        High, Ongoing, pager: None;
        title: "Credential refused";
        clause: "{credentials} {are} refused";
        subject: "the {subject} is refused";
        advice: "Nothing that is read with it is watched until it is replaced.";
    }
    Suspect {
        event: "section.suspect", "what was read looks like a fault in reading and is not believed yet";
        High, Ongoing, pager: None;
        title: "Not believed yet";
        clause: "{sections} cannot be believed";
        subject: "cannot believe {sections}";
        advice: "It may be a fault in reading. If the next reading says the same, it is reported as drift.";
    }
    Blind {
        event: "section.blind", "a section of the approved state cannot be read";
        High, Ongoing, pager: None;
        title: "Not readable";
        clause: "{sections} cannot be read";
        subject: "cannot read {sections}";
        advice: "Nothing is concluded from it: a change made there now would not be noticed.";
    }
    SeeingAgain {
        event: "section.seeing_again", "a section can be read again";
        Info, Resolved, pager: None;
        title: "Readable again";
        clause: "{sections} can be read again";
        subject: "{sections} readable again";
        advice: "Compared with the approved state as before.";
    }
    Accepted {
        event: "credential.accepted", "the vendor accepts a credential again";
        Info, Resolved, pager: None;
        title: "Credential accepted again";
        clause: "{credentials} {are} accepted again";
        subject: "the {subject} is accepted again";
        advice: "What it reads is compared as before.";
    }
    LeftOut {
        event: "section.left_out", "a section that could not be read is not watched any more";
        Info, Unwatched, pager: None;
        title: "Not watched any more";
        clause: "{sections} {are} not watched any more";
        subject: "{sections} not watched any more";
        advice: "A change made there is not noticed from now on.";
    }
    Removed {
        event: "credential.removed", "a credential that was refused is not configured any more";
        Info, Unwatched, pager: None;
        title: "Credential not configured any more";
        clause: "{credentials} {are} not configured any more";
        subject: "the {subject} is not configured any more";
        advice: "What it alone can read is not watched.";
    }
    Unbaselined {
        event: "section.unbaselined", "a section is not in the approved state yet";
        Info, Noted, pager: None;
        title: "Not in the approved state";
        clause: "{sections} {are} not in the approved state yet";
        subject: "{sections} not in the approved state yet";
        advice: "There is nothing to compare with until somebody approves it.";
    }
}

impl SectionEntry {
    /// Since when it is not seen and why, or from when to when it was not; `at` is when the alert was made.
    pub(super) fn story(&self, at: DateTime<Utc>) -> String {
        let lasted = || span("from", self.since, "to", self.until.unwrap_or(at));
        let now = match self.state {
            State::Off => ", now known to be switched off",
            State::NotOnPlan => ", now known not to be on the plan",
            State::Value | State::NotPermitted | State::Unreachable | State::Suspect => "",
        };
        let reason = display_safe_sentence(&self.reason);
        let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        let since = moment(self.since);
        match self.news {
            SectionStatus::Accepted | SectionStatus::Removed => format!("refused {}", lasted()),
            SectionStatus::LeftOut => format!("not readable {}{why}", lasted()),
            SectionStatus::SeeingAgain if self.cause == Some(State::Suspect) => {
                format!("not believed {}{now}", lasted())
            }
            SectionStatus::SeeingAgain => format!("not readable {}{now}", lasted()),
            SectionStatus::Unbaselined => format!("first read {since}{now}"),
            SectionStatus::Refused | SectionStatus::Suspect | SectionStatus::Blind => {
                format!("{} since {since}{why}", self.trouble())
            }
        }
    }

    /// The trouble, while it cannot be read.
    pub(super) fn trouble(&self) -> &'static str {
        match (self.news, self.state) {
            (SectionStatus::Suspect, _) => "not believed",
            (SectionStatus::Refused, _) | (_, State::NotPermitted) => "refused",
            _ => "no usable answer",
        }
    }
}

impl SectionStatus {
    /// Whether something that could be seen is not seen any more.
    pub fn is_blindness(self) -> bool {
        self.row().phase == Phase::Ongoing
    }

    /// Whether it ends such a time.
    pub fn is_end(self) -> bool {
        self.row().phase.is_end()
    }
}
