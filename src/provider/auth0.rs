//! Auth0: one API, one token, renewed at 80 % of its life or once when it is refused.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::Mutex;
use url::Url;

use super::http::Http;
use super::{ReadError, RequestRecord, SectionRefusal, VendorSession, quoted};
use crate::canonical;
use crate::config::{self, Auth0Credential};
use crate::model::{Resource, display_safe};
use crate::secrets;
use crate::sections::Api;

const NOT_NOW: &str = "the tenant does not give a token now";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

pub(super) struct Auth0Reader {
    source: config::Auth0Source,
    token: Arc<Mutex<Option<Token>>>,
}

struct Token {
    text: SecretString,
    renew_at: DateTime<Utc>,
    /// Its scopes, as the tenant said when it issued the token, or as the token itself says.
    granted: Option<BTreeSet<String>>,
}

/// The token of one cycle, or why there is none.
pub(super) struct Auth0Session {
    source: config::Auth0Source,
    token: Arc<Mutex<Option<Token>>>,
    is_renewed: AtomicBool,
}

impl Auth0Reader {
    pub(super) fn new(source: config::Auth0Source) -> Self {
        Self { source, token: Arc::new(Mutex::new(None)) }
    }

    pub(super) fn resource(&self) -> Resource {
        Resource::new(vec![self.source.domain.clone()])
    }

    /// Makes sure that there is a token. That the vendor refuses one is no error here: every section will say so.
    pub(super) async fn open(&self, http: &Http, now: DateTime<Utc>) -> Result<super::ReadSession, ReadError> {
        let mut token = self.token.lock().await;
        let mut refusal = None;
        if token.as_ref().is_none_or(|token| token.renew_at <= now) {
            match mint(&self.source, http, now).await? {
                Ok(fresh) => *token = Some(fresh),
                Err(refused) => {
                    *token = None;
                    refusal = Some(refused);
                }
            }
        }
        let session = Auth0Session {
            source: self.source.clone(),
            token: Arc::clone(&self.token),
            is_renewed: AtomicBool::new(false),
        };
        let session = super::ReadSession::new(VendorSession::Auth0(session));
        if let Some(refusal) = refusal {
            session.refuse(Api::Management, refusal);
        }
        Ok(session)
    }
}

impl Auth0Session {
    /// The part of addresses before `/api/v2`.
    pub(super) fn api_url(&self) -> &Url {
        &self.source.api_url
    }

    /// The scopes of the token.
    pub(super) async fn granted(&self) -> Option<BTreeSet<String>> {
        self.token.lock().await.as_ref().and_then(|token| token.granted.clone())
    }

    pub(super) async fn bearer(&self) -> Option<SecretString> {
        self.token.lock().await.as_ref().map(|token| token.text.clone())
    }

    /// Fetches another token in place of `refused`, unless another section did so meanwhile.
    ///
    /// Answers whether there is another token to try.
    pub(super) async fn renew(
        &self,
        http: &Http,
        refused: Option<&SecretString>,
        now: DateTime<Utc>,
    ) -> Result<bool, SectionRefusal> {
        let mut token = self.token.lock().await;
        let is_same = match (token.as_ref(), refused) {
            (Some(token), Some(refused)) => token.text.expose_secret() == refused.expose_secret(),
            _ => true,
        };
        if !is_same {
            return Ok(true);
        }
        // Once per cycle: a token that is refused as soon as it is made will be refused again, and each one is counted.
        let is_given = matches!(self.source.credential, Auth0Credential::Token(_));
        if is_given || self.is_renewed.swap(true, Ordering::Relaxed) {
            return Ok(false);
        }
        let minted =
            mint(&self.source, http, now).await.map_err(|error| SectionRefusal::credential(error.to_string()))?;
        *token = Some(minted?);
        Ok(true)
    }
}

#[derive(Serialize)]
struct Assertion<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: String,
    jti: String,
    iat: i64,
    exp: i64,
}

async fn mint(
    source: &config::Auth0Source,
    http: &Http,
    now: DateTime<Utc>,
) -> Result<Result<Token, SectionRefusal>, ReadError> {
    let audience = format!("https://{}/api/v2/", source.domain);
    let (client_id, secret, assertion);
    let sent: &SecretString;
    let mut form = vec![("grant_type", "client_credentials"), ("audience", audience.as_str())];
    match &source.credential {
        Auth0Credential::Token(reference) => return given(secrets::read(reference)?, now),
        Auth0Credential::ClientSecret { client_id: id, secret: reference } => {
            client_id = id;
            secret = secrets::read(reference)?;
            sent = &secret;
            form.extend([("client_id", client_id.as_str()), ("client_secret", secret.expose_secret())]);
        }
        Auth0Credential::PrivateKey { client_id: id, key, key_id } => {
            client_id = id;
            assertion = sign_assertion(source, id, &secrets::read_lines(key)?, key_id.as_deref(), now)?;
            sent = &assertion;
            form.extend([
                ("client_id", client_id.as_str()),
                ("client_assertion_type", ASSERTION_TYPE),
                ("client_assertion", assertion.expose_secret()),
            ]);
        }
    }
    let mut url = source.api_url.clone();
    url.set_path(&format!("{}/oauth/token", source.api_url.path().trim_end_matches('/')));
    let answer = match http.post_token(&url, &form).await {
        Ok(answer) => answer,
        Err(request_error) => return Ok(Err(SectionRefusal::unreachable(format!("{NOT_NOW}: {request_error}")))),
    };
    http.record(RequestRecord {
        method: "POST",
        path: url.path().to_owned(),
        page: 0,
        status: Some(answer.status),
        date: answer.date.clone(),
        items: None,
        digest: None,
        error: None,
    });
    Ok(read_token(answer.status, &answer.body, sent, now))
}

/// Reads the answer of `/oauth/token`. 401 and 403 are final; everything else may be different next time, also the
/// 500 with which a busy tenant has been seen to refuse.
fn read_token(status: u16, body: &[u8], sent: &SecretString, now: DateTime<Utc>) -> Result<Token, SectionRefusal> {
    let body = canonical::parse(body).unwrap_or_default();
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    if status != 200 {
        let error = quoted(text("error").unwrap_or("no reason given"), Some(sent));
        let description =
            text("error_description").map(|text| format!(", {}", quoted(text, Some(sent)))).unwrap_or_default();
        let refuses = if matches!(status, 401 | 403) { "the tenant refuses a token" } else { NOT_NOW };
        let reason = format!("{refuses}: {status}, {error}{description}");
        return Err(match status {
            400 | 401 | 403 => SectionRefusal::credential(reason),
            _ => SectionRefusal::unreachable(reason),
        });
    }
    let Some(token) = text("access_token") else {
        return Err(SectionRefusal::unreachable("the tenant's answer holds no token"));
    };
    let life = body.get("expires_in").and_then(Value::as_i64).unwrap_or(3_600).clamp(0, 30 * 86_400);
    let granted = text("scope").map(scopes).or_else(|| claimed(token));
    Ok(Token { text: SecretString::from(token), renew_at: now + TimeDelta::seconds(life * 4 / 5), granted })
}

/// A token that was made by hand: it cannot be renewed, so its expiry is checked before it is used.
fn given(text: SecretString, now: DateTime<Utc>) -> Result<Result<Token, SectionRefusal>, ReadError> {
    let expires = expiry(text.expose_secret());
    if expires.is_some_and(|expires| expires <= now) {
        let reason = "the Management API token has expired: make a new one, or use client credentials";
        return Ok(Err(SectionRefusal::credential(reason)));
    }
    // Read again next cycle, so that a replaced file is noticed.
    let granted = claimed(text.expose_secret());
    Ok(Ok(Token { text, renew_at: now, granted }))
}

/// The `exp` of a JWT.
fn expiry(token: &str) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(claims(token)?.get("exp")?.as_i64()?, 0)
}

/// The `scope` of a JWT.
fn claimed(token: &str) -> Option<BTreeSet<String>> {
    claims(token)?.get("scope")?.as_str().map(scopes)
}

/// The claims of a JWT, not verified: only the tenant can do that.
fn claims(token: &str) -> Option<Value> {
    use base64::Engine as _;
    let claims = token.split('.').nth(1)?;
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).ok()?;
    serde_json::from_slice(&claims).ok()
}

fn scopes(text: &str) -> BTreeSet<String> {
    text.split_whitespace().map(display_safe).collect()
}

fn sign_assertion(
    source: &config::Auth0Source,
    client_id: &str,
    key: &SecretString,
    key_id: Option<&str>,
    now: DateTime<Utc>,
) -> Result<SecretString, ReadError> {
    let refused = |error: jsonwebtoken::errors::Error| {
        ReadError::BadSecret(format!("the private key cannot sign (an RSA key in PEM is needed): {error}"))
    };
    let key = EncodingKey::from_rsa_pem(key.expose_secret().as_bytes()).map_err(refused)?;
    let mut header = Header::new(Algorithm::RS256);
    header.kid = key_id.map(str::to_owned);
    // The audience is the issuer as one text with a slash; lists and endpoint addresses are no longer accepted.
    let claims = Assertion {
        iss: client_id,
        sub: client_id,
        aud: format!("https://{}/", source.domain),
        jti: uuid::Uuid::now_v7().to_string(),
        iat: now.timestamp(),
        exp: now.timestamp() + 60,
    };
    jsonwebtoken::encode(&header, &claims, &key).map(SecretString::from).map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000, 0).unwrap()
    }

    fn sent() -> SecretString {
        SecretString::from("CANARY-client-secret")
    }

    #[test]
    fn a_refusal_that_repeats_the_secret_is_not_quoted_there() {
        let padding = "x".repeat(190);
        let body = format!(r#"{{"error":"CANARY-client-secret","error_description":"{padding}CANARY-client-secret"}}"#);
        let refusal = read_token(401, body.as_bytes(), &sent(), now()).err().unwrap();
        assert!(refusal.reason.contains("(secret)") && !refusal.reason.contains("CANARY"), "{}", refusal.reason);
    }

    #[test]
    fn a_token_is_renewed_at_four_fifths_of_its_life() {
        let token = read_token(200, br#"{"access_token":"CANARY","expires_in":1000}"#, &sent(), now()).unwrap();
        assert_eq!(token.renew_at, now() + TimeDelta::seconds(800));
        assert_eq!(token.granted, None);
    }

    #[test]
    fn what_a_token_may_is_read_where_it_is_said() {
        let both = ["create:users".to_owned(), "read:clients".to_owned()].into();
        let answer = br#"{"access_token":"CANARY","scope":"read:clients create:users"}"#;
        assert_eq!(read_token(200, answer, &sent(), now()).unwrap().granted.as_ref(), Some(&both));
        // {"scope":"read:clients create:users"}
        let token = "e30.eyJzY29wZSI6InJlYWQ6Y2xpZW50cyBjcmVhdGU6dXNlcnMifQ.x";
        assert_eq!(given(SecretString::from(token), now()).unwrap().unwrap().granted, Some(both));
        assert_eq!(given(SecretString::from("opaque"), now()).unwrap().unwrap().granted, None);
    }

    #[test]
    fn only_a_clear_refusal_blames_the_credential() {
        let table = [
            (401, r#"{"error":"access_denied","error_description":"Unauthorized"}"#, true),
            (403, r#"{"error":"unauthorized_client"}"#, true),
            (500, r#"{"error":"access_denied","error_description":"Global limit has been reached"}"#, false),
            (429, r#"{"error":"too_many_requests"}"#, false),
            (200, "<html>", false),
        ];
        for (status, body, is_credential) in table {
            let refusal = read_token(status, body.as_bytes(), &sent(), now()).err().unwrap();
            assert_eq!(refusal.is_credential, is_credential, "{status} {body}");
        }
    }

    #[test]
    fn an_expired_given_token_is_refused_before_it_is_sent() {
        // {"exp":1600000000}
        let expired = given(SecretString::from("e30.eyJleHAiOjE2MDAwMDAwMDB9.x"), now()).unwrap();
        assert!(expired.err().unwrap().is_credential);
        assert!(given(SecretString::from("opaque"), now()).unwrap().is_ok());
    }
}
