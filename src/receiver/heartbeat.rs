//! A sign of life for a service outside of this machine that misses it, by the rules of healthchecks: the address alone
//! means well, `/fail` behind it means not well, and the body says more.
//!
//! It is the only word that still comes when the machine itself is gone: by not coming.

use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use url::Url;

use super::BadReceiver;
use super::post::Post;
use crate::config::{Proxy, SecretUrl, secret_url};
use crate::secrets;

/// Sends signs of life.
pub struct Heartbeat {
    place: SecretUrl,
    post: Post,
}

/// How the watch is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeartbeatSignal {
    /// It does its work.
    Success,
    /// It does not, because of these.
    Failure(Vec<String>),
}

impl Heartbeat {
    /// Prepares to send to `place` through `proxy`. Nothing is sent and no secret is read yet.
    pub fn new(place: &SecretUrl, proxy: &Proxy) -> Result<Self, BadReceiver> {
        let post = Post::new(place.may_be_private, proxy)
            .map_err(|reason| BadReceiver { name: "heartbeat".to_owned(), reason })?;
        Ok(Self { place: place.clone(), post })
    }

    /// Sends one heartbeat; `status` is its body, for people.
    ///
    /// # Errors
    /// Why it did not arrive. The address is a secret, so it is not in it.
    pub async fn send(&self, beat: &HeartbeatSignal, status: &str) -> Result<(), String> {
        let url = self.address(beat)?;
        let body = match beat {
            HeartbeatSignal::Success => status.to_owned(),
            HeartbeatSignal::Failure(reasons) => format!("{}\n{status}", reasons.join("\n")),
        };
        // The time matters only for how long the other side asks to wait, and the next sign of life comes when it comes.
        let now = DateTime::<Utc>::UNIX_EPOCH;
        let answer = self.post.send(&url, "text/plain; charset=utf-8", Vec::new(), body.into_bytes(), now).await?;
        match answer.status {
            200..=299 => Ok(()),
            _ => Err(format!("it answered {}", answer.words)),
        }
    }

    fn address(&self, beat: &HeartbeatSignal) -> Result<Url, String> {
        let text = secrets::read(&self.place.url).map_err(|error| error.to_string())?;
        let mut url = secret_url(text.expose_secret().trim())?;
        if *beat != HeartbeatSignal::Success {
            let path = format!("{}/fail", url.path().trim_end_matches('/'));
            url.set_path(&path);
        }
        Ok(url)
    }
}
