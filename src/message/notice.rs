//! Notices about the service itself. Each kind is one row of the table below.

use serde::{Deserialize, Serialize};

use super::row::{ItemRow, Phase, item_kinds};
use crate::model::Severity;

/// A notice about the service itself, not about a setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// The kind.
    pub kind: NoticeKind,
    /// The receiver, file or path that it is about. Empty where the kind says enough.
    pub subject: String,
    /// How, in one sentence.
    pub text: String,
}

impl Notice {
    /// About the database at `path`, with the bytes that are free there, and an error if there was one.
    pub fn of_storage(kind: NoticeKind, path: &str, free: Option<u64>, reason: &str) -> Self {
        let mut text = path.to_owned();
        if let Some(free) = free {
            text.push_str(&format!(": {} MiB are free there", free >> 20));
        }
        if !reason.is_empty() {
            text.push_str(&format!("; {reason}"));
        }
        Self { kind, subject: String::new(), text }
    }
}

item_kinds! {
    /// The kinds of notices, the worst first.
    NoticeKind:
    TrustChanged {
        event: "trust.changed", "the files that say who may approve changed";
        High, Ongoing, pager: Some("trust");
        title: "Who may approve has changed";
        clause: "who may approve has changed";
        advice: "If none of you did that, treat the machine as compromised: this file decides whose signature counts.";
    }
    ClockSetBack {
        event: "clock.set_back", "the clock of the machine was set back";
        High, Ongoing, pager: Some("clock");
        title: "The clock was set back";
        clause: "the clock was set back";
        advice: "Approvals that had ended stay ended. If none of you set it, treat the machine as compromised; if the clock was \
                 wrong before, approve again what ended too early.";
    }
    StorageFailed {
        event: "storage.failed", "the database cannot be used: nothing is watched";
        Critical, Ongoing, pager: Some("storage");
        title: "Database not usable";
        clause: "the database cannot be used, nothing is watched";
        advice: "Nothing is watched. Look at it with `authdrift verify`, which changes nothing, and keep the file; if it is damaged, \
                 restore a backup.";
    }
    StorageFull {
        event: "storage.full", "the disk is full: snapshots are not kept";
        Critical, Ongoing, pager: Some("storage");
        title: "Disk full";
        clause: "the disk is full, snapshots are not kept";
        advice: "Snapshots are not kept, and soon nothing is. Make room there; the daemon goes on by itself.";
    }
    StorageLow {
        event: "storage.low", "the disk is nearly full";
        High, Ongoing, pager: Some("storage");
        title: "Disk nearly full";
        clause: "the disk is nearly full";
        advice: "Make room before readings cannot be kept any more.";
    }
    Unread {
        event: "instance.unread", "an instance was not read for three intervals";
        High, Ongoing, pager: Some("unread");
        title: "Not read for a long time";
        clause: "it was not read for a long time";
        advice: "A change made there now would not be noticed. Look at the log of the service.";
    }
    StillUnseen {
        // The alert it reminds of is still open.
        event: "instance.still_unseen", "a reminder: something of an instance is still not seen";
        High, Ongoing, pager: None;
        title: "Reminder: still not seen";
        clause: "reminder: something is still not seen";
        advice: "A change made there is not noticed. `authdrift status` says what to do.";
    }
    ReceiverFailed {
        event: "receiver.failed", "another receiver does not take messages";
        High, Ongoing, pager: Some("receiver");
        title: "Receiver does not take messages";
        clause: "receiver '{subject}' does not take messages";
        advice: "Its alerts reach nobody there. They are kept: `authdrift outbox list` shows them, `outbox retry` sends them again.";
    }
    Missed {
        event: "receiver.missed", "messages were given up for a receiver that takes others; it is told too";
        High, Ongoing, pager: Some("missed");
        title: "Messages that did not arrive";
        clause: "receiver '{subject}' never got some messages";
        advice: "Whoever reads there does not know what they said: `authdrift outbox list` shows them, `outbox retry` sends them \
                 again.";
    }
    ApprovalEnding {
        event: "approval.ending", "what was approved for a time is a drift again soon";
        Medium, Ongoing, pager: Some("approval");
        title: "Approved for a time that ends soon";
        clause: "what was approved for a time is a drift again soon";
        advice: "After it, this is a drift again. Change it back, or approve it again.";
    }
    Approved {
        event: "baseline.approved", "a new baseline was approved, and no drift that this receiver hears of ended with it";
        Info, Ongoing, pager: None;
        title: "New baseline";
        clause: "a new baseline was approved";
        advice: "Everything is compared with it from now on.";
    }
    Silenced {
        event: "silence.added", "somebody asked for quiet about something: who, why and until when";
        Info, Ongoing, pager: None;
        title: "Silence begins";
        clause: "somebody asked for quiet";
        advice: "It is recorded as always, and reported when the silence ends. If none of you asked for that, end it: `authdrift \
                 silence expire`.";
    }
    WindowOpened {
        event: "window.opened", "somebody announced changes: who, why and until when";
        Info, Ongoing, pager: None;
        title: "Changes announced";
        clause: "changes were announced";
        advice: "Announced changes are reported when the window ends; any other change of this instance alerts at once, as high \
                 or higher. If none of you announced it, end it: `authdrift silence expire`.";
    }
    SilenceEnded {
        event: "silence.ended", "a silence ended, and what it kept quiet";
        Info, Ongoing, pager: None;
        title: "Silence ended";
        clause: "a silence ended";
        advice: "From now on this alerts again.";
    }
    WindowEnded {
        event: "window.ended", "an announced change window ended, and what changed in it";
        Info, Ongoing, pager: None;
        title: "Change window ended";
        clause: "the time for announced changes is over";
        advice: "From now on everything alerts as usual.";
    }
    Digest {
        event: "digest", "how everything is, as a regular message";
        Info, Ongoing, pager: None;
        title: "How it stands";
        clause: "{subject}";
        advice: "";
    }
    StorageRecovered {
        event: "storage.recovered", "there is room on the disk again";
        Info, Resolved, pager: Some("storage");
        title: "Room on the disk again";
        clause: "there is room on the disk again";
        advice: "Everything is recorded as before.";
    }
    ReadAgain {
        event: "instance.read_again", "an instance is read again";
        Info, Resolved, pager: Some("unread");
        title: "Read again";
        clause: "it is read again";
        advice: "Everything is compared as before.";
    }
    ReceiverRecovered {
        event: "receiver.recovered", "another receiver takes messages again";
        Info, Resolved, pager: Some("receiver");
        title: "Receiver takes messages again";
        clause: "receiver '{subject}' takes messages again";
        advice: "";
    }
}

impl NoticeKind {
    /// The event that a receiver can filter by.
    pub const fn event_type(self) -> &'static str {
        self.row().event_type
    }
}
