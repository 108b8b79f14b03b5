//! A sign of life for a service outside of this machine that misses it, by the rules of healthchecks: the address alone
//! means well, `/fail` behind it means not well, and the body says more.
//!
//! It is the only word that still comes when the machine itself is gone: by not coming.

use std::time::Duration;

use reqwest::{Client, Url, redirect};
use secrecy::ExposeSecret;

use super::BadReceiver;
use crate::config::{SecretRef, is_loopback};
use crate::secrets;

/// Connect, send and answer within this time.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Sends signs of life.
pub struct Heartbeat {
    url: SecretRef,
    client: Client,
}

/// How the watch is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Beat {
    /// It does its work.
    Well,
    /// It does not, because of these.
    Unwell(Vec<String>),
}

impl Heartbeat {
    /// Prepares to send to the address that is kept at `url`. Nothing is sent and no secret is read yet.
    ///
    /// # Errors
    /// The TLS trust store is missing.
    pub fn new(url: &SecretRef) -> Result<Self, BadReceiver> {
        let client = Client::builder()
            .user_agent(concat!("authdrift/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .timeout(TIMEOUT)
            .no_proxy()
            .build()
            .map_err(|error| BadReceiver { name: "heartbeat".to_owned(), reason: error.without_url().to_string() })?;
        Ok(Self { url: url.clone(), client })
    }

    /// Sends one sign of life; `status` is for whoever looks at it there.
    ///
    /// # Errors
    /// Why it did not arrive. The address is a secret, so it is not in it.
    pub async fn send(&self, beat: &Beat, status: &str) -> Result<(), String> {
        let url = self.address(beat)?;
        let body = match beat {
            Beat::Well => status.to_owned(),
            Beat::Unwell(reasons) => format!("{}\n{status}", reasons.join("\n")),
        };
        let sent = self.client.post(url).body(body).send().await;
        let answer = sent.map_err(|error| super::webhook::reason(&error.without_url()))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(format!("it answered {status}")),
        }
    }

    fn address(&self, beat: &Beat) -> Result<Url, String> {
        let text = secrets::read(&self.url).map_err(|error| error.to_string())?;
        let mut url: Url = text.expose_secret().trim().parse().map_err(|_| "its address is not a URL".to_owned())?;
        if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback(&url)) {
            return Err("its address is not https".to_owned());
        }
        if *beat != Beat::Well {
            let path = format!("{}/fail", url.path().trim_end_matches('/'));
            url.set_path(&path);
        }
        Ok(url)
    }
}
