//! What a cycle does about the room that is left for the database.

use chrono::{DateTime, Utc};

use super::Watch;
use super::announce::hostname;
use crate::message::subject::subject;
use crate::message::{Alert, Message, StorageChange, StorageNews};
use crate::model::{Digest, HistoryMark, MessageId};
use crate::store::space::{self, Space};
use crate::store::{StoreError, Transaction, events, outbox};

/// Notes how much room is left, tells everybody once when it is little and when it is enough again, and answers whether
/// a snapshot may be kept.
///
/// That it is full is not told from here: the outbox may be the next thing that finds no room.
pub(super) fn has_room(
    tx: &Transaction<'_>,
    watch: &Watch,
    at: DateTime<Utc>,
    free: Option<u64>,
) -> Result<bool, StoreError> {
    let Some(free) = free else { return Ok(true) };
    if let Some(news @ (StorageChange::Low | StorageChange::Recovered)) = space::note(tx, at, free)? {
        let path = watch.store.path().display().to_string();
        tracing::warn!(path, free, "{}", news.event_type());
        let storage = StorageNews { news, path, free: Some(free), reason: String::new() };
        tell(tx, watch, at, &storage)?;
    }
    Ok(Space::of(free) != Space::Full)
}

fn tell(tx: &Transaction<'_>, watch: &Watch, at: DateTime<Utc>, storage: &StorageNews) -> Result<(), StoreError> {
    for receiver in &watch.config.receivers {
        let Some(instance) = watch.config.instance_for(receiver) else { continue };
        let event = events::mark(tx)?.unwrap_or_else(|| HistoryMark { size: 0, head: Digest::of(b"") });
        let alert = Alert::of_storage(storage.clone(), instance.clone(), at, event, hostname());
        let message = Message {
            id: MessageId::new(),
            receiver: receiver.name.clone(),
            subject: subject(&alert),
            alert,
            thread: None,
            created_at: at,
            attempts: 0,
        };
        outbox::keep(tx, &message)?;
    }
    Ok(())
}
