//! The recipients that have a mail already, so that a retry for one recipient does not send it to the others again.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::model::MessageId;

/// Handovers that are remembered. Forgetting one costs a repetition, which a mail store recognises by the Message-ID.
const MOST: usize = 256;

/// What relays answered, by message and place in the list of recipients.
#[derive(Default)]
pub(super) struct AcceptedRecipients(Mutex<VecDeque<(MessageId, usize, String)>>);

impl AcceptedRecipients {
    /// The answer when `recipient` was sent the message, if that has it.
    pub(super) fn by(&self, id: &MessageId, recipient: usize) -> Option<String> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().find(|(message, place, _)| message == id && *place == recipient);
        found.map(|(_, _, answer)| answer.clone())
    }

    pub(super) fn note(&self, id: &MessageId, recipient: usize, answer: &str) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back((id.clone(), recipient, answer.to_owned()));
        while kept.len() > MOST {
            kept.pop_front();
        }
    }
}
