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

/// Why a text is not a publishable key: which rule it breaks, to continue `'publishable_key' …`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct BadPublishableKey {
    reason: String,
    /// It is not even the beginning of a publishable key: it could be a secret and must not be shown.
    pub may_be_secret: bool,
}

impl PublishableKey {
    /// Decodes a key.
    ///
    /// # Security
    /// The key is user input that decides where the program connects: IP addresses, ports, paths and names without
    /// a dot are refused.
    pub fn decode(text: &str) -> Result<Self, BadPublishableKey> {
        let secret = |reason: &str| BadPublishableKey { reason: reason.to_owned(), may_be_secret: true };
        let bad = |reason: &str| BadPublishableKey { reason: reason.to_owned(), may_be_secret: false };
        if text.starts_with("sk_") {
            return Err(secret("is a secret key, not a publishable key"));
        }
        let (is_production, encoded) = match (text.strip_prefix("pk_live_"), text.strip_prefix("pk_test_")) {
            (Some(encoded), _) => (true, encoded),
            (_, Some(encoded)) => (false, encoded),
            (None, None) => return Err(secret("has to begin with 'pk_live_' or 'pk_test_'")),
        };
        if encoded.contains('_') {
            return Err(bad("has more than three parts between '_'"));
        }
        let decoded = BASE64.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let no_text = || bad("cannot be decoded: the part after the prefix is not base64 of a text");
        let host = decoded.ok_or_else(no_text)?.to_ascii_lowercase();
        let no_end = || bad("is cut off: the decoded text does not end with '$'");
        let host = host.strip_suffix('$').ok_or_else(no_end)?;
        if host.contains('$') {
            return Err(bad("is damaged: the decoded text has more than one '$'"));
        }
        if !is_domain(host) || host.contains('_') {
            let host = crate::model::display_safe(host);
            return Err(bad(&format!("does not name a host: '{host}' is not a domain name")));
        }
        Ok(Self { host: host.to_owned(), is_production })
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
        let table = [
            ("pk_live_Y2xlcmsuZXhhbXBsZS5jb20=".to_owned(), "is cut off"),
            ("pk_live_Y2xlcmsuZXhhbXBsZS5jb20kJA==".to_owned(), "is damaged"),
            ("pk_live_bG9jYWxob3N0JA==".to_owned(), "does not name a host: 'localhost' "),
            ("pk_live_Y2xlcmsuZXhhbXBsZS5jb20vZXZpbCQ=".to_owned(), "does not name a host: 'clerk.example.com/evil' "),
            ("sk_live_Y2xlcmsuZXhhbXBsZS5jb20k".to_owned(), "is a secret key"),
            ("pk_foo_Y2xlcmsuZXhhbXBsZS5jb20k".to_owned(), "has to begin with"),
            ("pk_live_a_b".to_owned(), "has more than three parts"),
            ("pk_live_%%%".to_owned(), "cannot be decoded"),
            ("pk_live_".to_owned(), "is cut off"),
            ("".to_owned(), "has to begin with"),
            (encode("127.0.0.1$"), "does not name a host: '127.0.0.1' "),
            (encode("clerk.example.com:8443$"), "does not name a host: 'clerk.example.com:8443' "),
            (encode("me@clerk.example.com$"), "does not name a host: 'me@clerk.example.com' "),
            (encode("a.\u{1b}[31m$"), "does not name a host: 'a.\\u{1b}[31m' "),
            (encode(".$"), "does not name a host: '.' "),
        ];
        for (text, expected) in table {
            let error = PublishableKey::decode(&text).unwrap_err();
            assert!(error.to_string().starts_with(expected), "{text}: {error}");
            assert_eq!(error.may_be_secret, !text.starts_with("pk_live_"), "{text}");
        }
    }
}
