//! One POST with every limit set: no redirects, no address that is not meant, one deadline, and never more of an
//! answer than is needed.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::HeaderValue;
use reqwest::{Client, ClientBuilder, Response, StatusCode, redirect};
use url::{Url, form_urlencoded};

use super::Attempt;
use crate::backoff;
use crate::config::{self, allowed, refused};
use crate::connect::{ActiveProxy, innermost_cause};
use crate::model::display_safe;

/// Connect, send and answer within this time.
const TIMEOUT: Duration = Duration::from_secs(15);
/// All addresses of a name share this time, so that one that swallows packets leaves some to the next.
const CONNECT: Duration = Duration::from_secs(10);
/// The pause after a 429 without `Retry-After`.
pub(super) const SLOW_DOWN: Duration = Duration::from_secs(60);
/// Bytes of a response body that are read.
const MOST_READ: usize = 16 << 10;

/// A client of receivers.
pub(super) struct Post {
    may_be_private: bool,
    configured: config::Proxy,
    client: Mutex<PostClient>,
}

/// What messages go over.
#[derive(Clone)]
struct PostClient {
    client: Client,
    proxy: Option<ActiveProxy>,
}

/// The response of a receiver.
pub(super) struct ReceiverResponse {
    pub(super) status: u16,
    /// The status with its name: `503 Service Unavailable`.
    pub(super) words: String,
    /// How long the receiver asks us to wait.
    pub(super) wait: Option<Duration>,
    /// The beginning of the body, unless the message was taken. It may repeat what was sent, the address with it.
    pub(super) body: String,
}

impl Post {
    /// Prepares to post to receivers, of which only some `may_be_private`, through the proxy that is `configured`.
    pub(super) fn new(may_be_private: bool, configured: &config::Proxy) -> Result<Self, String> {
        let client = Mutex::new(PostClient::new(may_be_private, None)?);
        Ok(Self { may_be_private, configured: configured.clone(), client })
    }

    /// The client of this moment: a proxy whose address is a secret may have got another one.
    fn client(&self) -> Result<PostClient, String> {
        let proxy = ActiveProxy::find(&self.configured).map_err(|error| error.to_string())?;
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if client.proxy != proxy {
            *client = PostClient::new(self.may_be_private, proxy)?;
        }
        Ok(client.clone())
    }

    /// Posts `body` to `url` once.
    ///
    /// # Errors
    /// There was no answer. The reason never holds the address, which may be a secret.
    pub(super) async fn send(
        &self,
        url: &Url,
        content_type: &str,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
        now: DateTime<Utc>,
    ) -> Result<ReceiverResponse, String> {
        // An address that is written as one is not asked of the resolver.
        if let Some(reason) = refused(url, self.may_be_private) {
            return Err(format!("nothing was sent: {reason}"));
        }
        let PostClient { client, proxy } = self.client()?;
        let through = proxy.as_ref().filter(|proxy| proxy.is_for(url));
        // The resolver allows every address of the proxy, also as the host of a receiver.
        if through.is_none() && proxy.as_ref().is_some_and(|proxy| proxy.is_host(url.host_str().unwrap_or_default())) {
            return Err("nothing was sent: this is the host of the proxy, and 'no_proxy' has it".to_owned());
        }
        let mut request = client.post(url.clone()).header("content-type", content_type);
        for (name, value) in headers {
            let mut sent = HeaderValue::from_str(&value).map_err(|_| bad_header(&name))?;
            sent.set_sensitive(true);
            request = request.header(name, sent);
        }
        let sent = request.body(body).send().await;
        let mut response = sent.map_err(|error| match through {
            Some(proxy) if error.is_connect() => format!("through the proxy {proxy}: {}", reason(error)),
            _ => reason(error),
        })?;
        let (status, wait) = (response.status(), retry_after(&response, now));
        // The body of a 2xx response is not read: it is unused and may be endless.
        let body = if status.is_success() { String::new() } else { beginning(&mut response).await };
        Ok(ReceiverResponse { status: status.as_u16(), words: words(status), wait, body })
    }
}

impl PostClient {
    fn new(may_be_private: bool, proxy: Option<ActiveProxy>) -> Result<Self, String> {
        let builder = builder(Arc::new(AddressFilter { may_be_private, proxy: proxy.clone() }));
        let builder = match &proxy {
            Some(proxy) => builder.proxy(proxy.for_requests()),
            None => builder,
        };
        Ok(Self { client: builder.build().map_err(reason)?, proxy })
    }
}

fn builder(resolver: Arc<impl Resolve + 'static>) -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("authdrift/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT)
        .timeout(TIMEOUT)
        .no_proxy()
        .dns_resolver(resolver)
}

/// Finds the addresses of a name, and leaves out those that a receiver may not have. The proxy may have any.
///
/// # Security
/// Judged where the connection is made, so a name that answers differently the second time gains nothing (T8). A proxy
/// resolves the names of receivers itself: only what is written as an address can be judged then.
struct AddressFilter {
    may_be_private: bool,
    proxy: Option<ActiveProxy>,
}

impl Resolve for AddressFilter {
    fn resolve(&self, name: Name) -> Resolving {
        let may_be_private = self.may_be_private;
        let is_proxy = self.proxy.as_ref().is_some_and(|proxy| proxy.is_host(name.as_str()));
        Box::pin(async move {
            let name = name.as_str();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name, 0)).await?.collect();
            if is_proxy {
                return Ok(Box::new(found.into_iter()) as Addrs);
            }
            let taken = allowed(name, found, may_be_private);
            let taken = taken.map_err(|problem| io::Error::new(io::ErrorKind::PermissionDenied, problem))?;
            Ok(Box::new(taken.into_iter()) as Addrs)
        })
    }
}

impl ReceiverResponse {
    /// The status and the beginning of what was said with it, unless that repeats one of `secrets`.
    pub(super) fn said(&self, secrets: &[String]) -> String {
        let body = self.body.trim();
        if body.is_empty() || secrets.iter().any(|secret| repeats(body, secret)) {
            return self.words.clone();
        }
        format!("{}: {}", self.words, display_safe(body))
    }

    /// The meaning of the answer for receivers without rules of their own.
    pub(super) fn attempt(self) -> Attempt {
        let words = self.words;
        match self.status {
            200..=299 => Attempt::Delivered(words),
            // A receiver that is being moved or given new credentials answers 401, 403 or 404 for a while.
            401 | 403 | 404 | 408 | 425 | 500..=599 => Attempt::Transient(words, self.wait),
            429 => Attempt::RateLimited(words, self.wait.unwrap_or(SLOW_DOWN)),
            410 => Attempt::Disabled(words),
            300..=399 => {
                Attempt::Permanent(format!("{words}: redirects are not followed, configure the final address"))
            }
            _ => Attempt::Permanent(words),
        }
    }
}

/// How many characters of a secret in a row are too many.
const TELLING: usize = 8;

/// Whether `text` holds a part of `secret` that tells, as it is or escaped for an address.
fn repeats(text: &str, secret: &str) -> bool {
    let only_letters = |text: &str| text.chars().filter(|letter| letter.is_alphanumeric()).collect::<String>();
    let unescaped: String =
        form_urlencoded::parse(text.as_bytes()).map(|(name, value)| format!("{name}{value}")).collect();
    let texts = [only_letters(text), only_letters(&unescaped)];
    let secret: Vec<char> = only_letters(secret).chars().collect();
    secret.windows(TELLING.min(secret.len()).max(1)).any(|part| {
        let part: String = part.iter().collect();
        texts.iter().any(|text| text.contains(&part))
    })
}

/// The beginning of the body; what does not come in time is left.
async fn beginning(response: &mut Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < MOST_READ {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend(chunk.iter().take(MOST_READ - bytes.len())),
            Ok(None) | Err(_) => break,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn bad_header(name: &str) -> String {
    format!("nothing was sent: the secret for the header '{name}' has a line break or another control character in it")
}

fn words(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(name) => format!("{} {name}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

fn retry_after(response: &Response, now: DateTime<Utc>) -> Option<Duration> {
    backoff::retry_after(response.headers().get(reqwest::header::RETRY_AFTER)?.to_str().ok()?, Some(now))
}

/// The innermost cause: the outer ones repeat the address.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    if error.is_timeout() {
        return format!("no answer within {} s", TIMEOUT.as_secs());
    }
    display_safe(&innermost_cause(&error).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::BlackHole;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// A name that stands for these addresses.
    struct Always(Vec<SocketAddr>);

    impl Resolve for Always {
        fn resolve(&self, _: Name) -> Resolving {
            let found = self.0.clone();
            Box::pin(async move { Ok(Box::new(found.into_iter()) as Addrs) })
        }
    }

    #[tokio::test]
    async fn an_address_that_swallows_packets_leaves_time_to_the_next_one() {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (hole, live) = (BlackHole::open(), listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await.unwrap();
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        });
        let client = builder(Arc::new(Always(vec![hole.address, live]))).build().unwrap();
        let answer = client.post("http://receiver.example/").send().await.unwrap();
        assert_eq!(answer.status(), 204);
    }

    #[test]
    fn what_is_tried_again_and_what_is_not() {
        let attempt = |status: u16| {
            let status = StatusCode::from_u16(status).unwrap();
            ReceiverResponse { status: status.as_u16(), words: words(status), wait: None, body: String::new() }
                .attempt()
        };
        for status in [401, 403, 404, 408, 425, 500, 503] {
            assert!(matches!(attempt(status), Attempt::Transient(..)), "{status}");
        }
        assert!(matches!(attempt(429), Attempt::RateLimited(..)));
        for status in [302, 400, 413, 422] {
            assert!(matches!(attempt(status), Attempt::Permanent(_)), "{status}");
        }
        for status in [200, 202, 204] {
            assert!(matches!(attempt(status), Attempt::Delivered(_)), "{status}");
        }
        assert_eq!(attempt(410), Attempt::Disabled("410 Gone".to_owned()));
    }
}
