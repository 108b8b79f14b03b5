//! One row for each kind of item of an alert, with everything that all items of the kind have in common.

use super::words::{is_are, label_of};
use crate::model::{Severity, counted, display_safe};

/// Everything that all items of one kind have in common.
#[derive(Debug)]
pub(super) struct ItemRow {
    /// The event that a receiver can filter by.
    pub(super) event_type: &'static str,
    /// The meaning of the event.
    pub(super) meaning: &'static str,
    pub(super) severity: Severity,
    pub(super) phase: Phase,
    /// The part of PagerDuty's `dedup_key`. A notice that ends trouble has the topic of the one that began it. A notice without
    /// a topic is not sent.
    pub(super) pager_topic: Option<&'static str>,
    pub(super) title: &'static str,
    /// The items in the middle of a sentence, with the placeholders of [`filled`].
    pub(super) clause: &'static str,
    /// The items in the subject of a mail, where that is another text.
    pub(super) subject: Option<&'static str>,
    /// Its meaning, or the next step.
    pub(super) advice: &'static str,
}

/// Whether an item begins something or ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Ongoing,
    /// To be known, and no trouble.
    Noted,
    Resolved,
    /// It ended because it is not watched any more.
    Unwatched,
}

impl Phase {
    pub(super) fn is_end(self) -> bool {
        matches!(self, Self::Resolved | Self::Unwatched)
    }
}

/// An enum with one row for each variant.
macro_rules! item_kinds {
    ($(#[$about:meta])* $name:ident: $($kind:ident {
        event: $event_type:literal, $meaning:literal;
        $severity:ident, $phase:ident, pager: $topic:expr;
        title: $title:literal;
        clause: $clause:literal;
        $(subject: $subject:literal;)?
        advice: $advice:literal;
    })+) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name {
            $(#[doc = $meaning] $kind,)+
        }

        impl $name {
            /// Every one, the worst first.
            pub const ALL: [Self; [$(stringify!($kind)),+].len()] = [$(Self::$kind),+];

            pub(super) const fn row(self) -> &'static ItemRow {
                match self {
                    $(Self::$kind => &ItemRow {
                        event_type: $event_type,
                        meaning: $meaning,
                        severity: Severity::$severity,
                        phase: Phase::$phase,
                        pager_topic: $topic,
                        title: $title,
                        clause: $clause,
                        subject: [$(Some($subject),)? None][0],
                        advice: $advice,
                    },)+
                }
            }
        }
    };
}

pub(super) use item_kinds;

pub(super) const UNTRUSTED: ItemRow = ItemRow {
    event_type: "baseline.untrusted",
    meaning: "the approved state cannot be trusted, so nothing is compared",
    severity: Severity::Critical,
    phase: Phase::Ongoing,
    pager_topic: None,
    title: "The approved state cannot be trusted",
    clause: "the approved state cannot be trusted",
    subject: Some("baseline cannot be trusted, nothing is compared"),
    advice: "Nothing is compared until that is fixed.",
};

pub(super) const TRUSTED_AGAIN: ItemRow = ItemRow {
    event_type: "baseline.trusted",
    meaning: "the approved state can be trusted again",
    severity: Severity::Info,
    phase: Phase::Resolved,
    pager_topic: None,
    title: "The approved state can be trusted again",
    clause: "the approved state can be trusted again",
    subject: Some("baseline can be trusted again"),
    advice: "",
};

impl ItemRow {
    /// The label of one item of the kind.
    pub(super) fn label(&self) -> &'static str {
        if self.phase == Phase::Resolved { "RESOLVED" } else { label_of(self.severity) }
    }

    /// The items of this kind, named `names`, in the middle of a sentence.
    pub(super) fn clause(&self, names: &[&str]) -> String {
        let clause = filled(self.clause, names);
        // Sections are counted in the clause. The first notice of a digest names it, the others are its lines.
        match names.len() {
            0 | 1 => clause,
            _ if self.clause.contains("s}") || self.event_type == "digest" => clause,
            more => format!("{clause}, and {} more", more - 1),
        }
    }

    /// The same in the subject of a mail.
    pub(super) fn subject(&self, names: &[&str]) -> String {
        filled(self.subject.unwrap_or(self.clause), names)
    }
}

/// `text` with the items for its placeholders: `{subject}` is the first name, `{credentials}` all names, `{sections}` a count,
/// and `{are}` the verb after it.
fn filled(text: &str, names: &[&str]) -> String {
    let text = text.replace("{sections}", &counted(names.len(), "section")).replace("{are}", is_are(names.len()));
    // A name comes from outside: no placeholder in it is looked for.
    if text.contains("{credentials}") {
        let credentials: Vec<String> = names.iter().map(|name| format!("the {}", display_safe(name))).collect();
        return text.replace("{credentials}", &credentials.join(" and "));
    }
    text.replace("{subject}", &display_safe(names.first().copied().unwrap_or_default()))
}
