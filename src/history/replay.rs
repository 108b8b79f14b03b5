//! The replay of the history: every event verified against the one before, and folded into one state.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{HistoryState, Record};
use crate::clock::Timestamp;
use crate::model::{Digest, HistoryMark};

/// The history as far as it was replayed. A checkpoint keeps it: see `store::checkpoint::FORMAT` before a field of it changes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Replay {
    /// Where it stands.
    pub mark: Option<HistoryMark>,
    /// The state that the events left.
    pub state: HistoryState,
    /// When the last event was recorded.
    last_at: Option<Timestamp>,
}

/// Where and how the chain of events is broken.
#[derive(Debug, thiserror::Error)]
#[error("the history is broken at event {seq}: {what}{sound_until}")]
pub struct BrokenChain {
    seq: i64,
    what: String,
    sound_until: String,
}

impl Replay {
    /// How many events were replayed.
    pub fn size(&self) -> u64 {
        self.mark.as_ref().map_or(0, |mark| mark.size)
    }

    /// When the last event was recorded.
    pub fn last_at(&self) -> Option<DateTime<Utc>> {
        self.last_at.map(|at| at.0)
    }

    /// Takes the next event, whose row has the number `seq` and the `digest`.
    ///
    /// # Errors
    /// It was edited, cannot be read, or does not follow the event before.
    pub fn push(&mut self, seq: i64, body: &[u8], digest: &str) -> Result<(), BrokenChain> {
        let expected = self.size() + 1;
        let record: Record = serde_json::from_slice(body).map_err(|_| self.unreadable(seq))?;
        let head = Digest::of(body);
        if u64::try_from(seq) != Ok(expected) || record.seq != expected {
            return Err(self.broken(seq, format!("event {expected} is missing")));
        }
        if head.as_str() != digest {
            return Err(self.broken(seq, "it was edited".to_owned()));
        }
        if record.prev.as_ref() != self.mark.as_ref().map(|mark| &mark.head) {
            return Err(self.broken(seq, "it does not follow the one before".to_owned()));
        }
        self.state.apply(&record);
        self.mark = Some(HistoryMark { size: expected, head });
        self.last_at = Some(record.at);
        Ok(())
    }

    /// The error about an event whose row cannot be read.
    pub fn unreadable(&self, seq: i64) -> BrokenChain {
        self.broken(seq, "it cannot be read".to_owned())
    }

    fn broken(&self, seq: i64, what: String) -> BrokenChain {
        let sound_until = self.last_at.map(|at| format!("; it is sound up to {at}")).unwrap_or_default();
        BrokenChain { seq, what, sound_until }
    }
}
