//! From transitions to rows of the outbox: routing to receivers, reminders, digests and notices.

mod announce;
mod cause;
mod digest;
mod disk;
mod notices;
mod record;
mod reminders;
mod silences;

pub use announce::{Origin, announce, tell, tell_one};
pub use digest::{due_digests, send_digest};
pub use disk::{has_room, record_full_disk};
pub use notices::{of_approval_ends, of_clock, of_damage, of_trust, record_jump};
pub use record::{record_transitions, worst_of};
pub use reminders::reminder;
pub use silences::{begin as begin_silence, expire as expire_silence, of_ends as of_silence_ends};

use crate::incident::Transition;
use crate::message::{Notice, SectionEntry};

/// Everything to report about one instance after one cycle or approval.
#[derive(Debug, Default)]
pub struct Notifications {
    /// Drifts that took a step.
    pub transitions: Vec<Transition>,
    /// Sections that took a step.
    pub sections: Vec<SectionEntry>,
    /// The baseline cannot be trusted any more, for this reason.
    pub untrusted: Option<String>,
    /// The baseline can be trusted again.
    pub trusted_again: bool,
    /// News about the watch of this instance.
    pub notices: Vec<Notice>,
}
