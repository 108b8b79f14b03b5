//! Slack, Microsoft Teams and Discord: one POST to an address that is itself the secret.

use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use url::Url;

use super::Attempt;
use super::post::{Post, ReceiverResponse, SLOW_DOWN};
use crate::config::{Proxy, SecretUrl, secret_url};
use crate::message::Body;
use crate::secrets;

/// Which answers mean that the address is not used any more: it was removed, or the channel was.
const GONE: &[u16] = &[401, 403, 404, 410];

/// Sends to one channel.
pub(super) struct Channel {
    place: SecretUrl,
    post: Post,
}

impl Channel {
    pub(super) fn new(place: &SecretUrl, proxy: &Proxy) -> Result<Self, String> {
        Ok(Self { place: place.clone(), post: Post::new(place.may_be_private, proxy)? })
    }

    pub(super) async fn send(&self, body: &Body, now: DateTime<Utc>) -> Attempt {
        let url = match self.url() {
            Ok(url) => url,
            Err(reason) => return Attempt::Transient(reason, None),
        };
        let bytes = body.text.clone().into_bytes();
        match self.post.send(&url, body.format.content_type(), Vec::new(), bytes, now).await {
            Ok(answer) => attempt(answer, &url),
            Err(reason) => Attempt::Transient(reason, None),
        }
    }

    /// The address as it is now; an error never repeats it.
    fn url(&self) -> Result<Url, String> {
        let secret = secrets::read(&self.place.url).map_err(|error| error.to_string())?;
        secret_url(secret.expose_secret())
    }
}

fn attempt(answer: ReceiverResponse, url: &Url) -> Attempt {
    let said = answer.said(&secrets_of(url));
    match answer.status {
        status if GONE.contains(&status) => Attempt::Disabled(said),
        400..=499 if !matches!(answer.status, 408 | 425 | 429) => Attempt::Permanent(said),
        200..=399 => answer.attempt(),
        429 => Attempt::RateLimited(said, answer.wait.unwrap_or(SLOW_DOWN)),
        _ => Attempt::Transient(said, answer.wait),
    }
}

/// What of an address must not be shown when an answer repeats it.
fn secrets_of(url: &Url) -> Vec<String> {
    let segments = url.path().split('/').map(str::to_owned);
    segments.chain(url.query_pairs().map(|(_, value)| value.into_owned())).filter(|part| part.len() >= 6).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> ReceiverResponse {
        ReceiverResponse { status, words: status.to_string(), wait: None, body: body.to_owned() }
    }

    #[test]
    fn what_vendors_answer_is_understood() {
        let url: Url = "https://hooks.slack.com/services/T000/B000/CANARYCANARY?sig=CANARYTOO".parse().unwrap();
        let table = [
            (200, "ok", Attempt::Delivered("200".to_owned())),
            (202, "", Attempt::Delivered("202".to_owned())),
            (204, "", Attempt::Delivered("204".to_owned())),
            (400, "invalid_payload", Attempt::Permanent("400: invalid_payload".to_owned())),
            (403, "action_prohibited", Attempt::Disabled("403: action_prohibited".to_owned())),
            (404, "no_service", Attempt::Disabled("404: no_service".to_owned())),
            (410, "channel_is_archived", Attempt::Disabled("410: channel_is_archived".to_owned())),
            (413, "", Attempt::Permanent("413".to_owned())),
            (429, "slow\r\ndown", Attempt::RateLimited("429: slow\\u{d}\\u{a}down".to_owned(), SLOW_DOWN)),
            (500, "at /services/T000/B000/CANARYCANARY", Attempt::Transient("500".to_owned(), None)),
            (404, "no hook CANARYTOO", Attempt::Disabled("404".to_owned())),
            (404, "no hook C%41NARY%54OO", Attempt::Disabled("404".to_owned())),
            (404, "no hook ANARYCANARY…", Attempt::Disabled("404".to_owned())),
        ];
        for (status, body, expected) in table {
            assert_eq!(attempt(answer(status, body), &url), expected, "{status} {body}");
        }
        let redirected = attempt(answer(302, ""), &url);
        assert!(matches!(redirected, Attempt::Permanent(_)), "{redirected:?}");
    }
}
