//! One event as it is recorded: its place in the chain, when it happened, the instance it is about, and what happened.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Event, event_place};
use crate::canonical;
use crate::clock::Timestamp;
use crate::model::{Digest, InstanceId};

/// A recorded event.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// 1, 2, 3, … without gaps.
    pub seq: u64,
    /// Digest of the event before; none for the first.
    pub prev: Option<Digest>,
    /// When.
    pub at: Timestamp,
    /// About which instance, if about one.
    pub instance: Option<InstanceId>,
    /// What happened.
    pub event: Event,
}

/// The bytes of a record.
#[derive(Deserialize)]
struct RecordBody<'a> {
    seq: u64,
    prev: Option<Digest>,
    at: Timestamp,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    instance: Option<InstanceId>,
    #[serde(borrow)]
    data: &'a RawValue,
}

impl Record {
    /// The canonical bytes, which the next record names by their digest.
    ///
    /// # Errors
    /// A value cannot be JSON.
    pub fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        Ok(canonical::to_bytes(&self.to_json()?))
    }

    /// Its place in the history, for people.
    pub fn place(&self) -> String {
        event_place(self.seq, self.at)
    }

    fn to_json(&self) -> serde_json::Result<Value> {
        Ok(json!({
            "seq": self.seq, "prev": self.prev, "at": self.at, "kind": self.event.kind(), "instance": self.instance,
            "data": self.event.data()?,
        }))
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let RecordBody { seq, prev, at, kind, instance, data } = RecordBody::deserialize(deserializer)?;
        let event = Event::read(&kind, data).map_err(serde::de::Error::custom)?;
        Ok(Self { seq, prev, at, instance, event })
    }
}
