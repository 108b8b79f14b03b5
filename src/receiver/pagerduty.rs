//! PagerDuty's Events API v2: several events for one message, each sent on its own.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::Attempt;
use super::post::Post;
use crate::config::{PagerDuty, Proxy};
use crate::message::{Body, Message};
use crate::model::{MessageId, counted};
use crate::secrets;

/// What one try may take: less than a message belongs to this process. The next try goes on where it ended.
const LONGEST_TRY: Duration = Duration::from_secs(40);
/// How long to wait when there are too many events and PagerDuty does not say.
const SLOW_DOWN: Duration = Duration::from_secs(120);

/// Sends to one service.
pub(super) struct Pager {
    pager: PagerDuty,
    post: Post,
    /// How many events of which message PagerDuty has. Forgetting it costs repetitions, which PagerDuty recognises.
    sent: Mutex<Option<(MessageId, usize)>>,
}

impl Pager {
    pub(super) fn new(pager: &PagerDuty, proxy: &Proxy) -> Result<Self, String> {
        Ok(Self { pager: pager.clone(), post: Post::new(false, proxy)?, sent: Mutex::default() })
    }

    pub(super) async fn send(&self, message: &Message, body: &Body, now: DateTime<Utc>) -> Attempt {
        let key = match secrets::read(&self.pager.routing_key) {
            Ok(key) => key,
            Err(error) => return Attempt::Transient(error.to_string(), None),
        };
        let Ok(events) = serde_json::from_str::<Vec<Map<String, Value>>>(&body.text) else {
            return Attempt::Permanent("the events that were kept cannot be read".to_owned());
        };
        if events.is_empty() {
            return Attempt::Delivered("nothing to page for".to_owned());
        }
        let began = Instant::now();
        let (all, done) = (events.len(), self.done(&message.id));
        for (index, mut event) in events.into_iter().enumerate().skip(done) {
            if began.elapsed() >= LONGEST_TRY {
                return Attempt::Transient(format!("{index} of {all} events were taken in time"), None);
            }
            event.insert("routing_key".to_owned(), Value::from(key.expose_secret()));
            let bytes = Value::from(event).to_string().into_bytes();
            let sent = self.post.send(&self.pager.url, body.format.content_type(), Vec::new(), bytes, now).await;
            let answer = match sent {
                Ok(answer) => answer,
                Err(reason) => return Attempt::Transient(reason, None),
            };
            let said = answer.said(&[key.expose_secret().to_owned()]);
            match answer.status {
                400 => return Attempt::Permanent(said),
                429 => return Attempt::RateLimited(said, answer.wait.unwrap_or(SLOW_DOWN)),
                _ => match answer.attempt() {
                    Attempt::Delivered(_) => self.note(&message.id, index + 1),
                    other => return other,
                },
            }
        }
        Attempt::Delivered(format!("202 Accepted, {}", counted(all, "event")))
    }

    fn done(&self, id: &MessageId) -> usize {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.as_ref().filter(|(known, _)| known == id).map_or(0, |(_, count)| *count)
    }

    fn note(&self, id: &MessageId, count: usize) {
        *self.sent.lock().unwrap_or_else(PoisonError::into_inner) = Some((id.clone(), count));
    }
}
