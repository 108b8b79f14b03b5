//! Decodes Clerk's publishable keys: `pk_live_` or `pk_test_` and the Frontend API host in base64.
//!
//! Stricter than the vendor's own SDK: the key decides where the program connects, so the host has to be a plain
//! domain name. A key is public; what is not a publishable key may be a secret and is never repeated.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::PublishableKey;
use super::address::is_domain;

/// Both forms are in use: new keys have no padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a text is not a publishable key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPublishableKey {
    /// Starts with `sk_`. The value must not be shown.
    #[error("is a secret key, not a publishable key")]
    SecretKey,
    /// Starts with neither prefix. The value must not be shown: it could be another secret.
    #[error("has to begin with 'pk_live_' or 'pk_test_'")]
    Prefix,
    /// Has another `_` after the prefix.
    #[error("has more than three parts between '_'")]
    Parts,
    /// The last part is not base64 of text.
    #[error("cannot be decoded: the part after the prefix is not base64 of a text")]
    Base64,
    /// The decoded text does not end with a `$`.
    #[error("is cut off: the decoded text does not end with '$'")]
    NoEnd,
    /// The decoded text has another `$`.
    #[error("is damaged: the decoded text has more than one '$'")]
    SeveralEnds,
    /// The decoded text is not a host name with a dot, in the characters host names have.
    #[error("does not name a host: '{0}' is not a domain name")]
    Host(String),
}

impl BadPublishableKey {
    /// Whether the text is not even the beginning of a publishable key, so that it could be a secret.
    pub fn may_be_secret(&self) -> bool {
        matches!(self, Self::SecretKey | Self::Prefix)
    }
}

impl PublishableKey {
    /// Decodes a key.
    ///
    /// # Errors
    /// [`BadPublishableKey`] says which rule the text breaks; its text continues `'publishable_key' …`.
    ///
    /// # Security
    /// The key is user input that decides where the program connects: IP addresses, ports, paths and names without
    /// a dot are refused.
    pub fn decode(text: &str) -> Result<Self, BadPublishableKey> {
        if text.starts_with("sk_") {
            return Err(BadPublishableKey::SecretKey);
        }
        let (is_production, encoded) = match (text.strip_prefix("pk_live_"), text.strip_prefix("pk_test_")) {
            (Some(encoded), _) => (true, encoded),
            (_, Some(encoded)) => (false, encoded),
            (None, None) => return Err(BadPublishableKey::Prefix),
        };
        if encoded.contains('_') {
            return Err(BadPublishableKey::Parts);
        }
        let bytes = BASE64.decode(encoded).map_err(|_| BadPublishableKey::Base64)?;
        let decoded = String::from_utf8(bytes).map_err(|_| BadPublishableKey::Base64)?;
        let host = decoded.strip_suffix('$').ok_or(BadPublishableKey::NoEnd)?;
        if host.contains('$') {
            return Err(BadPublishableKey::SeveralEnds);
        }
        let host = host.to_ascii_lowercase();
        if !is_domain(&host) || host.contains('_') {
            return Err(BadPublishableKey::Host(crate::model::display_safe(&host)));
        }
        Ok(Self { host, is_production })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(host: &str) -> String {
        format!("pk_live_{}", BASE64.encode(host))
    }

    #[test]
    fn good_keys_name_their_host() {
        let table = [
            ("pk_test_dGlkeS1oZXJvbi00Ny5jbGVyay5hY2NvdW50cy5kZXYk", "tidy-heron-47.clerk.accounts.dev", false),
            ("pk_live_Y2xlcmsubm9ydGh3aW5kLWxlZGdlci5leGFtcGxlJA", "clerk.northwind-ledger.example", true),
            ("pk_live_Y2xlcmsubm9ydGh3aW5kLWxlZGdlci5leGFtcGxlJA==", "clerk.northwind-ledger.example", true),
            (&encode("Clerk.Example.COM$"), "clerk.example.com", true),
        ];
        for (text, host, is_production) in table {
            let expected = PublishableKey { host: host.to_owned(), is_production };
            assert_eq!(PublishableKey::decode(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn bad_keys_are_refused_for_the_right_reason() {
        let host = |text: &str| BadPublishableKey::Host(text.to_owned());
        let table = [
            ("pk_live_Y2xlcmsuZXhhbXBsZS5jb20=".to_owned(), BadPublishableKey::NoEnd),
            ("pk_live_Y2xlcmsuZXhhbXBsZS5jb20kJA==".to_owned(), BadPublishableKey::SeveralEnds),
            ("pk_live_bG9jYWxob3N0JA==".to_owned(), host("localhost")),
            ("pk_live_Y2xlcmsuZXhhbXBsZS5jb20vZXZpbCQ=".to_owned(), host("clerk.example.com/evil")),
            ("sk_live_Y2xlcmsuZXhhbXBsZS5jb20k".to_owned(), BadPublishableKey::SecretKey),
            ("pk_foo_Y2xlcmsuZXhhbXBsZS5jb20k".to_owned(), BadPublishableKey::Prefix),
            ("pk_live_a_b".to_owned(), BadPublishableKey::Parts),
            ("pk_live_%%%".to_owned(), BadPublishableKey::Base64),
            ("pk_live_".to_owned(), BadPublishableKey::NoEnd),
            ("".to_owned(), BadPublishableKey::Prefix),
            (encode("127.0.0.1$"), host("127.0.0.1")),
            (encode("clerk.example.com:8443$"), host("clerk.example.com:8443")),
            (encode("me@clerk.example.com$"), host("me@clerk.example.com")),
            (encode("a.\u{1b}[31m$"), host("a.\\u{1b}[31m")),
            (encode(".$"), host(".")),
        ];
        for (text, expected) in table {
            assert_eq!(PublishableKey::decode(&text), Err(expected), "{text}");
        }
    }
}
