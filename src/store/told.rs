//! What the history says that the tables should hold.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::events::{self, Event};
use super::retention;
use crate::model::{InstanceId, display_safe};

/// Drifts, sections and messages as the events left them.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    /// Drifts by instance and id: the last event of each, and how often it was opened again.
    pub(super) drifts: BTreeMap<InstanceId, BTreeMap<String, (Event, u32)>>,
    /// Sections and credentials that were told of and are not over.
    pub(super) sections: BTreeMap<InstanceId, BTreeMap<String, Event>>,
    /// Messages by id.
    pub(super) messages: BTreeMap<String, ToldMessage>,
    /// The digests of snapshots whose documents are not kept any more.
    pub(super) pruned: BTreeSet<String>,
}

/// A message that was queued.
#[derive(Debug, Clone)]
pub(super) struct ToldMessage {
    /// About which instance.
    pub(super) instance: Option<InstanceId>,
    /// The digest of what it says.
    pub(super) content: String,
    /// The state of its row in the outbox.
    pub(super) state: &'static str,
    /// The event that queued it, in words.
    pub(super) since: String,
}

impl Told {
    /// Takes the next event into account.
    pub(super) fn take(&mut self, event: &Event) {
        let text = |name: &str| event.data.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let kind = event.kind.as_str();
        match kind {
            events::QUEUED => {
                let (instance, content) = (event.instance.clone(), text("content"));
                let message = ToldMessage { instance, content, state: "waiting", since: since(event) };
                self.messages.insert(text("message"), message);
            }
            "delivery.done" | "delivery.given_up" | "delivery.dropped" | "delivery.retried" | "delivery.folded" => {
                if let Some(message) = self.messages.get_mut(&text("message")) {
                    message.state = match kind {
                        "delivery.done" => "delivered",
                        "delivery.retried" => "waiting",
                        "delivery.folded" => "folded",
                        _ => "dead",
                    };
                }
            }
            "outbox.pruned" => {
                let pruned = event.data.get("messages").and_then(Value::as_array).into_iter().flatten();
                for message in pruned.filter_map(Value::as_str) {
                    self.messages.remove(message);
                }
            }
            retention::PRUNED => {
                let pruned = event.data.get("snapshots").and_then(Value::as_array).into_iter().flatten();
                self.pruned.extend(pruned.filter_map(Value::as_str).map(str::to_owned));
            }
            retention::KEPT_AGAIN => drop(self.pruned.remove(&text("snapshot"))),
            _ => {}
        }
        let Some(instance) = &event.instance else { return };
        match kind {
            "section.blind" | "section.suspect" | "section.unbaselined" => {
                self.sections.entry(instance.clone()).or_default().insert(text("section"), event.clone());
            }
            "credential.refused" => {
                self.sections.entry(instance.clone()).or_default().insert(text("credential"), event.clone());
            }
            "section.seeing_again" | "section.left_out" | "credential.accepted" | "credential.removed" => {
                let name = if kind.starts_with("credential.") { "credential" } else { "section" };
                self.sections.entry(instance.clone()).or_default().remove(&text(name));
            }
            "drift.opened" | "drift.reopened" | "drift.changed" | "drift.reverted" | "drift.approved" => {
                let drifts = self.drifts.entry(instance.clone()).or_default();
                let before = drifts.get(&text("drift")).map_or(0, |(_, reopened)| *reopened);
                let reopened = before + u32::from(kind == "drift.reopened");
                drifts.insert(text("drift"), (event.clone(), reopened));
            }
            _ => {}
        }
    }
}

/// Where in the history to look.
pub(super) fn since(event: &Event) -> String {
    format!("event {} of {}", event.seq, display_safe(&event.at))
}
