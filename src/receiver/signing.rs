//! Signatures as Standard Webhooks 1.0 has them: `v1` with a shared secret, `v1a` with a key pair.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// The standard asks for 24 to 64 bytes.
const KEY_SIZES: std::ops::RangeInclusive<usize> = 24..=64;

/// A webhook secret that cannot be used. Its text is not shown.
#[derive(Debug, thiserror::Error)]
#[error(
    "the webhook secret is neither 'whsec_' and 24 to 64 bytes in base64, nor 'whsk_' and the 32 bytes of an ed25519 \
     seed in base64"
)]
pub struct BadWebhookSecret;

/// The kind of signature that a secret makes.
enum Key {
    Shared(Vec<u8>),
    Pair(Ed25519KeyPair),
}

fn key(secret: &SecretString) -> Result<Key, BadWebhookSecret> {
    let text = secret.expose_secret();
    let decoded = |encoded: &str| STANDARD.decode(encoded).map_err(|_| BadWebhookSecret);
    if let Some(encoded) = text.strip_prefix("whsec_") {
        let key = decoded(encoded)?;
        return if KEY_SIZES.contains(&key.len()) { Ok(Key::Shared(key)) } else { Err(BadWebhookSecret) };
    }
    let seed = decoded(text.strip_prefix("whsk_").ok_or(BadWebhookSecret)?)?;
    Ed25519KeyPair::from_seed_unchecked(&seed).map(Key::Pair).map_err(|_| BadWebhookSecret)
}

/// One signature over `id.timestamp.body`: `v1,` and an HMAC-SHA256, or `v1a,` and an ed25519 signature.
pub fn signature(secret: &SecretString, id: &str, timestamp: i64, body: &[u8]) -> Result<String, BadWebhookSecret> {
    let start = format!("{id}.{timestamp}.");
    Ok(match key(secret)? {
        Key::Shared(key) => {
            let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&key).map_err(|_| BadWebhookSecret)?;
            mac.update(start.as_bytes());
            mac.update(body);
            format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
        }
        Key::Pair(pair) => {
            let signed = [start.as_bytes(), body].concat();
            format!("v1a,{}", STANDARD.encode(pair.sign(&signed).as_ref()))
        }
    })
}

/// The key with which a receiver verifies `v1a` signatures, `whpk_…`; none when the secret is a shared one.
pub fn public_key(secret: &SecretString) -> Result<Option<String>, BadWebhookSecret> {
    Ok(match key(secret)? {
        Key::Shared(_) => None,
        Key::Pair(pair) => Some(format!("whpk_{}", STANDARD.encode(pair.public_key().as_ref()))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARED: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const PAIR: &str = "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const ID: &str = "msg_01JDRIFT0000000000000000";
    const SENT: i64 = 1_767_225_600;
    const BODY: &[u8] = br#"{"type":"drift.opened","timestamp":"2026-01-01T00:00:00Z","data":{"instance":"auth0:acme","incident":"inc_1","severity":"high"}}"#;

    #[test]
    fn the_published_vector_of_the_standard_comes_out() {
        let signature = signature(
            &SecretString::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signature.unwrap(), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn vectors_checked_with_two_other_implementations_come_out() {
        let shared = signature(&SecretString::from(SHARED), ID, SENT, BODY).unwrap();
        assert_eq!(shared, "v1,wjrvZ8rCMxY2rJNSFMr/BiDzvgDkTd6MhKq8swJdJbM=");
        let pair = signature(&SecretString::from(PAIR), ID, SENT, BODY).unwrap();
        assert_eq!(
            pair,
            "v1a,AgGroVEjE8TdIbGyLaipVvG/DYT2jC7M4yFW8wIhpoEeA8QdHhfEK11p9QzmAfE445t3Iz2Qz8mHqeDa6wW+BA=="
        );
        let public = public_key(&SecretString::from(PAIR)).unwrap();
        assert_eq!(public.unwrap(), "whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=");
        assert_eq!(public_key(&SecretString::from(SHARED)).unwrap(), None);
    }

    #[test]
    fn malformed_secrets_are_refused_and_not_shown() {
        for secret in ["", "CANARY", "whsec_CANARY!", "whsec_AAEC", "whsk_AAEC", "whsk_CANARY!", "whpk_AAEC"] {
            let error = signature(&SecretString::from(secret), "id", 0, b"").unwrap_err().to_string();
            assert!(!error.contains("CANARY"));
        }
    }

    /// A library of the standard's own project, with its own HMAC, as the other side.
    #[test]
    fn the_standards_own_library_accepts_what_is_signed() {
        use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, Webhook};
        let now = crate::clock::Clock::now(&crate::clock::SystemClock).timestamp();
        let new = "whsec_ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";
        // As during a rotation, with a signature of the other kind between them.
        let all = [new, PAIR, SHARED].map(|secret| signature(&SecretString::from(secret), ID, now, BODY).unwrap());
        let headers = |signatures: &str, body_id: &str| {
            let mut headers = reqwest::header::HeaderMap::new();
            headers.insert(HEADER_WEBHOOK_ID, body_id.parse().unwrap());
            headers.insert(HEADER_WEBHOOK_TIMESTAMP, now.to_string().parse().unwrap());
            headers.insert(HEADER_WEBHOOK_SIGNATURE, signatures.parse().unwrap());
            headers
        };
        for secret in [new, SHARED] {
            let other = Webhook::new(secret).unwrap();
            other.verify(BODY, &headers(&all.join(" "), ID)).unwrap();
            assert!(other.verify(b"{}", &headers(&all.join(" "), ID)).is_err());
            assert!(other.verify(BODY, &headers(&all.join(" "), "msg_other")).is_err());
            assert!(other.verify(BODY, &headers(&all[1], ID)).is_err());
            let theirs = other.sign(ID, now, BODY).unwrap();
            assert_eq!(theirs, signature(&SecretString::from(secret), ID, now, BODY).unwrap());
        }
    }
}
