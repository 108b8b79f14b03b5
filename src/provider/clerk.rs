//! Clerk: three APIs, three credentials, one instance.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use super::{ReadError, SectionRefusal};
use crate::config::{self, PublishableKey};
use crate::model::Resource;
use crate::secrets;
use crate::sections::{Api, Section};

/// The newest version of the Backend API this program was checked against. Without a pin, an operator's click on
/// "API version" in the dashboard would look like a hundred changes.
const API_VERSION: &str = "2026-05-12";

pub(super) struct ClerkReader {
    source: config::ClerkSource,
}

/// The credentials of one cycle.
pub(super) struct ClerkSession {
    source: config::ClerkSource,
    secret_key: Option<SecretString>,
    platform_token: Option<SecretString>,
}

impl ClerkReader {
    pub(super) fn new(source: config::ClerkSource) -> Self {
        Self { source }
    }

    /// Reads the secrets anew, so that a rotated key works without a restart.
    pub(super) fn open(&self) -> Result<ClerkSession, ReadError> {
        let secret_key = self.source.secret_key.as_ref().map(secrets::read).transpose()?;
        if let Some(key) = &secret_key {
            check_pair(self.source.publishable_key.as_ref(), key)?;
        }
        let platform_token =
            self.source.platform.as_ref().map(|platform| secrets::read(&platform.token)).transpose()?;
        Ok(ClerkSession { source: self.source.clone(), secret_key, platform_token })
    }

    /// Whether the publishable key names a host that the secret key's instance does not have.
    pub(super) fn mismatch(&self, sections: &BTreeMap<String, Result<Value, SectionRefusal>>) -> Option<ReadError> {
        let domains = sections.get("domains").and_then(|outcome| outcome.as_ref().ok())?;
        check_hosts(self.source.publishable_key.as_ref()?, domains).err()
    }

    /// The identities of the instance: its id, the host of its Frontend API, its application.
    pub(super) fn resource(&self, sections: &BTreeMap<String, Result<Value, SectionRefusal>>) -> Resource {
        let value = |section: &str| sections.get(section).and_then(|outcome| outcome.as_ref().ok());
        let mut known = Vec::new();
        if let Some(id) = value("instance").and_then(|instance| instance.get("id")).and_then(Value::as_str) {
            known.push(id.to_owned());
        }
        if let Some(publishable) = &self.source.publishable_key {
            known.push(publishable.host.clone());
        }
        if let Some(platform) = &self.source.platform {
            known.push(format!("{}/{}", platform.application_id, self.source.environment));
        }
        Resource::new(known)
    }
}

/// A secret key of the other environment is of another instance, whatever the hosts say.
fn check_pair(publishable: Option<&PublishableKey>, secret: &SecretString) -> Result<(), ReadError> {
    let secret = secret.expose_secret();
    let is_production = match (secret.starts_with("sk_live_"), secret.starts_with("sk_test_")) {
        (true, _) => true,
        (_, true) => false,
        _ => {
            let text = "the Clerk secret key does not begin with sk_live_ or sk_test_: check what the file holds";
            return Err(ReadError::BadSecret(text.to_owned()));
        }
    };
    match publishable {
        Some(publishable) if publishable.is_production != is_production => Err(ReadError::KeysOfTwoInstances {
            publishable: publishable.host.clone(),
            secret: if is_production { "a production instance" } else { "a development instance" }.to_owned(),
        }),
        _ => Ok(()),
    }
}

fn check_hosts(publishable: &PublishableKey, domains: &Value) -> Result<(), ReadError> {
    let mut hosts: Vec<String> = Vec::new();
    for domain in domains.as_array().into_iter().flatten() {
        for field in ["frontend_api_url", "proxy_url"] {
            let url = domain.get(field).and_then(Value::as_str).and_then(|text| text.parse::<Url>().ok());
            if let Some(host) = url.as_ref().and_then(Url::host_str) {
                hosts.push(host.to_ascii_lowercase());
            }
        }
    }
    if hosts.is_empty() || hosts.contains(&publishable.host) {
        return Ok(());
    }
    let secret = hosts.iter().map(|host| crate::model::display_safe(host)).collect::<Vec<_>>().join(", ");
    Err(ReadError::KeysOfTwoInstances { publishable: publishable.host.clone(), secret })
}

impl ClerkSession {
    pub(super) fn bearer(&self, section: &Section) -> Option<SecretString> {
        match section.api {
            Api::Backend => self.secret_key.clone(),
            Api::Platform => self.platform_token.clone(),
            Api::Frontend | Api::Management => None,
        }
    }

    /// Where the section's API is, and which application and environment are meant there.
    pub(super) fn place(&self, section: &Section) -> (&Url, Vec<(&str, &str)>) {
        let base = match (section.api, &self.source.frontend_api_url) {
            (Api::Platform, _) => &self.source.platform_api_url,
            (Api::Frontend, Some(url)) => url,
            _ => &self.source.backend_api_url,
        };
        let application = self.source.platform.as_ref().map_or("", |platform| platform.application_id.as_str());
        (base, vec![("application_id", application), ("environment", &self.source.environment)])
    }
}

/// Headers of every request for `section`.
pub(super) fn headers(section: &Section) -> &'static [(&'static str, &'static str)] {
    match section.api {
        Api::Backend => &[("clerk-api-version", API_VERSION)],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn publishable() -> PublishableKey {
        PublishableKey { host: "clerk.lantern.example".to_owned(), is_production: true }
    }

    #[test]
    fn keys_of_two_instances_are_refused_and_both_hosts_are_named() {
        let domains =
            |host: &str| json!([{ "name": "x", "frontend_api_url": format!("https://{host}"), "proxy_url": null }]);
        assert!(check_hosts(&publishable(), &domains("clerk.lantern.example")).is_ok());
        assert!(check_hosts(&publishable(), &json!([])).is_ok());
        let error = check_hosts(&publishable(), &domains("clerk.other.example")).unwrap_err().to_string();
        assert!(error.contains("clerk.lantern.example") && error.contains("clerk.other.example"), "{error}");
    }

    #[test]
    fn a_secret_key_of_the_other_environment_is_refused_and_not_shown() {
        for (key, fits) in [("sk_live_CANARY", true), ("sk_test_CANARY", false), ("pk_live_CANARY", false)] {
            let outcome = check_pair(Some(&publishable()), &SecretString::from(key));
            assert_eq!(outcome.is_ok(), fits, "{key}");
            assert!(!format!("{outcome:?}").contains("CANARY"));
        }
    }
}
