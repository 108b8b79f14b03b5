//! Secrets out, fingerprints in.

use std::sync::LazyLock;

use hmac::{Hmac, Mac};
use regex::Regex;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::Sha256;

use super::certificate::is_certificate;
use super::numbers::large_number;
use super::to_bytes;
use crate::model::{Digest, Pointer};

/// The local key of all fingerprints. It never leaves the machine; without it equal secrets cannot be recognised.
#[derive(Clone)]
pub struct FingerprintKey([u8; 32]);

impl FingerprintKey {
    /// Takes 32 random bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A name for the key that gives nothing of it away.
    pub fn id(&self) -> String {
        self.hex(b"authdrift fingerprint key")
    }

    /// What is kept instead of the secret at `path`: the same for the same secret at the same place, and nothing
    /// from which the secret could be found.
    pub fn fingerprint(&self, path: &Pointer, value: &Value) -> Value {
        let mut message = path.to_string().into_bytes();
        message.push(0);
        match value {
            Value::String(text) => message.extend_from_slice(text.as_bytes()),
            other => message.extend_from_slice(&to_bytes(other)),
        }
        json!({ "fingerprint": format!("hmac-sha256:{}", self.hex(&message)) })
    }

    /// A short name for the secret at `path`, where it identifies something.
    pub(super) fn name_of(&self, path: &Pointer, secret: &str) -> String {
        let print = self.hex(format!("{path}\0{secret}").as_bytes());
        format!("hidden-{}", print.get(..16).unwrap_or(&print))
    }

    /// A MAC over `parts`. Each purpose has a key of its own, so that what is made
    /// for one is of no use for another, and no fingerprint is one.
    pub fn authenticate(&self, purpose: &str, parts: &[&[u8]]) -> Vec<u8> {
        self.over(purpose, parts).finalize().into_bytes().to_vec()
    }

    /// Whether `code` is the one over `parts` for that purpose.
    pub fn is_authentic(&self, purpose: &str, parts: &[&[u8]], code: &[u8]) -> bool {
        self.over(purpose, parts).verify_slice(code).is_ok()
    }

    fn over(&self, purpose: &str, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut own = keyed(&self.0);
        own.update(b"authdrift key for ");
        own.update(purpose.as_bytes());
        let mut mac = keyed(&own.finalize().into_bytes());
        for part in parts {
            // Or what is moved from one part to the next would not be noticed.
            mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            mac.update(part);
        }
        mac
    }

    fn hex(&self, message: &[u8]) -> String {
        let mut mac = keyed(&self.0);
        mac.update(message);
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    <Hmac<Sha256> as Mac>::new_from_slice(key)
        .unwrap_or_else(|_| unreachable!("internal: HMAC takes a key of any length"))
}

impl std::fmt::Debug for FingerprintKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FingerprintKey(…)")
    }
}

/// How documents of one instance are redacted.
#[derive(Debug, Clone)]
pub struct Redaction {
    /// The local key.
    pub key: FingerprintKey,
    /// Keep customer code as it is.
    pub keep_code: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RedactionRules {
    names: String,
    harmless: String,
    switches: Vec<String>,
    values: String,
}

struct Compiled {
    names: Regex,
    harmless: Regex,
    switches: Vec<String>,
    values: Regex,
}

static RULES: LazyLock<Compiled> = LazyLock::new(|| {
    let rules: RedactionRules = toml::from_str(include_str!("../sections/secrets.toml"))
        .unwrap_or_else(|error| unreachable!("internal: secrets.toml is malformed: {error}"));
    let compile = |pattern: &str| {
        Regex::new(pattern).unwrap_or_else(|error| unreachable!("internal: secrets.toml has a bad pattern: {error}"))
    };
    Compiled {
        names: compile(&rules.names),
        harmless: compile(&rules.harmless),
        switches: rules.switches,
        values: compile(&rules.values),
    }
});

/// Whether `text` under the name `name` is a secret although no table names it.
pub(super) fn is_secret_text(name: &str, text: &str) -> bool {
    let sounds_secret = RULES.names.is_match(name)
        && !RULES.harmless.is_match(name)
        && !RULES.switches.iter().any(|switch| switch == text);
    sounds_secret || RULES.values.is_match(text)
}

/// `text` without anything that looks like a secret, for words that are not ours.
pub(crate) fn without_secrets(text: &str) -> String {
    RULES.values.replace_all(text, HIDDEN).into_owned()
}

/// Stands for a secret in words that are not ours.
pub(crate) const HIDDEN: &str = "(secret)";

/// Whether `value` stands for a secret.
pub(crate) fn is_fingerprint(value: &Value) -> bool {
    let fields = value.as_object().filter(|fields| fields.len() == 1);
    let print = fields.and_then(|fields| fields.get("fingerprint")?.as_str());
    print.is_some_and(|print| print.starts_with("hmac-sha256:"))
}

/// Whether `value` stands for something that is not kept as it came, a secret, a text or a certificate: one value, not an
/// object with parts.
pub(crate) fn is_placeholder(value: &Value) -> bool {
    let Some(fields) = value.as_object() else { return false };
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    match fields.len() {
        1 => is_fingerprint(value) || large_number(value).is_some(),
        2 => text("sha256").is_some() && fields.get("size").is_some_and(Value::is_u64),
        3 => is_certificate(value) || is_large_placeholder(value).is_some(),
        _ => false,
    }
}

/// The value in the place of one that is too large for events and messages.
pub(crate) fn large_placeholder(digest: &Digest, size: usize) -> Value {
    json!({ "sha256": digest.as_str().trim_start_matches("sha256:"), "size": size, "too_large": true })
}

/// Digits of the digest and size of a value that is too large to be kept, if `value` stands for one.
pub(crate) fn is_large_placeholder(value: &Value) -> Option<(&str, u64)> {
    let fields = value.as_object().filter(|fields| fields.len() == 3)?;
    let is_large = fields.get("too_large") == Some(&Value::Bool(true));
    Some((fields.get("sha256")?.as_str()?, fields.get("size")?.as_u64()?)).filter(|_| is_large)
}

/// Whether both are one value, of which one may be what stands for the other.
pub(crate) fn is_same(one: &Value, other: &Value) -> bool {
    let stands_for = |stand_in: &Value, value: &Value| {
        is_large_placeholder(stand_in).is_some_and(|(digits, _)| {
            is_large_placeholder(value).is_none()
                && Digest::of(&to_bytes(value)).as_str().trim_start_matches("sha256:") == digits
        })
    };
    one == other || stands_for(one, other) || stands_for(other, one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_recognised_by_name_and_by_form() {
        let table = [
            ("client_secret", "x", true),
            ("httpAuthorization", "Basic x", true),
            ("apiKey", "x", true),
            ("note", "sk_live_4f9A0q8Zx7Lm2Kp1", true),
            ("note", "-----BEGIN RSA PRIVATE KEY-----", true),
            ("url", "https://hook:CANARY@hooks.example/x", true),
            ("url", "https://hooks.example/x?api_key=CANARY12345", true),
            ("note", "AKIAIOSFODNN7EXAMPLE", true),
            ("url", "https://app.example/callback?state=1", false),
            ("url", "http://127.0.0.1:8791/callback", false),
            ("note", "eyJhbGciOiJIUzI1NiIsInR5.eyJzdWIiOiIxMjM0NTY3ODkw.x", true),
            ("password", "required", false),
            ("password", "CANARY", true),
            ("signing_key", "CANARY", true),
            ("accessKey", "CANARY", true),
            ("passphrase", "CANARY", true),
            ("passwordPolicy", "good", false),
            ("token_endpoint", "https://idp.example/token", false),
            ("device_authorization_endpoint", "https://idp.example/device", false),
            ("pushed_authorization_request_endpoint", "https://idp.example/par", false),
            ("backchannel_token_delivery_modes_supported", "poll", false),
            ("token_endpoint_auth_signing_alg_values_supported", "RS256", false),
            ("id_token_encrypted_response_alg", "RSA-OAEP", false),
            ("authorization_details_types", "payment", false),
            ("oidc_token_url", "https://clerk.example/oauth/token", false),
            ("accessTokenURL", "https://idp.example/token", false),
            ("token_format", "jwt", false),
            ("subject_token_type", "urn:acme:legacy", false),
            ("signatureAlgorithm", "rsa-sha256", false),
            ("challenge_passwordless_policy", "always", false),
            ("preferred_sign_in_strategy_when_password_required", "otp", false),
            ("token_id", "tok_1", false),
            // A harmless name hides no secret.
            ("token_endpoint", "https://hook:CANARY@idp.example/token", true),
            ("token_format", "sk_live_4f9A0q8Zx7Lm2Kp1", true),
            ("token", "CANARY", true),
            ("tokens", "CANARY", true),
            ("authorization", "CANARY", true),
            ("twilio_token", "CANARY", true),
            ("password_hash", "CANARY", true),
            ("sasl_password", "CANARY", true),
            ("api_key_url", "CANARY", true),
            ("client_secret_format", "CANARY", true),
            ("publishable_key", "pk_live_Y2xlcmsuZXhhbXBsZS5jb20k", false),
            ("name", "supabase", false),
        ];
        for (name, text, expected) in table {
            assert_eq!(is_secret_text(name, text), expected, "{name} {text}");
        }
    }

    #[test]
    fn stand_ins_are_values_and_other_objects_are_not() {
        let print = FingerprintKey::new([1; 32]).fingerprint(&Pointer::of_section("a"), &json!("CANARY"));
        assert!(is_placeholder(&print) && is_placeholder(&json!({ "sha256": "00", "size": 2 })));
        let large = json!({ "a": "x".repeat(9) });
        let stand_in = large_placeholder(&Digest::of(&to_bytes(&large)), 15);
        assert!(is_placeholder(&stand_in) && is_same(&stand_in, &large) && is_same(&large, &stand_in));
        assert!(!is_same(&stand_in, &json!({})) && is_same(&stand_in, &stand_in));
        for other in
            [json!({}), json!({ "fingerprint": "x" }), json!({ "size": 2 }), json!("hmac-sha256:"), json!(null)]
        {
            assert!(!is_placeholder(&other), "{other}");
        }
    }

    #[test]
    fn words_of_others_lose_what_looks_like_a_secret() {
        assert_eq!(without_secrets("key 'sk_live_4f9A0q8Zx7Lm2Kp1' is bad"), "key '(secret)' is bad");
        assert_eq!(without_secrets("Insufficient scope: read:clients"), "Insufficient scope: read:clients");
    }

    #[test]
    fn a_fingerprint_depends_on_key_place_and_value() {
        let (one, two) = (FingerprintKey::new([1; 32]), FingerprintKey::new([2; 32]));
        let (here, there) = (Pointer::of_section("a"), Pointer::of_section("b"));
        let print = one.fingerprint(&here, &json!("CANARY"));
        assert_eq!(print, one.fingerprint(&here, &json!("CANARY")));
        assert_ne!(print, one.fingerprint(&there, &json!("CANARY")));
        assert_ne!(print, one.fingerprint(&here, &json!("other")));
        assert_ne!(print, two.fingerprint(&here, &json!("CANARY")));
        assert!(!print.to_string().contains("CANARY") && !format!("{one:?}").contains('1'));
    }
}
