//! `/oauth/token`, and which tokens are good.
//!
//! Tokens have the form of a JWT, since a reader may look at `exp`, but are known by their text: nothing is signed.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::super::vendor::{Answer, Request};
use super::{CLIENT_ID, CLIENT_SECRET, DOMAIN};

const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The credentials of the one application, and the tokens given to it with their ends.
#[derive(Debug)]
pub(super) struct Tokens {
    pub(super) client_secret: String,
    /// In seconds.
    pub(super) lifetime: i64,
    pub(super) scopes: Option<String>,
    given: BTreeMap<String, i64>,
}

impl Default for Tokens {
    fn default() -> Self {
        Self { client_secret: CLIENT_SECRET.to_owned(), lifetime: 86_400, scopes: None, given: BTreeMap::new() }
    }
}

/// Whether a token is valid.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TokenValidity {
    Valid,
    Expired,
    Unknown,
}

impl Tokens {
    pub(super) fn issue(&mut self, client_id: &str, now: i64) -> String {
        let number = self.given.len() + 1;
        let expires = now.saturating_add(self.lifetime);
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = part(json!({ "alg": "RS256", "typ": "JWT", "kid": "lantern-books" }));
        let claims = part(json!({
            "iss": format!("https://{DOMAIN}/"), "sub": format!("{client_id}@clients"), "azp": client_id,
            "aud": format!("https://{DOMAIN}/api/v2/"), "gty": "client-credentials", "iat": now, "exp": expires,
        }));
        let token = format!("{header}.{claims}.CANARY-auth0-access-token-{number}");
        self.given.insert(token.clone(), expires);
        token
    }

    pub(super) fn check(&self, token: &str, now: i64) -> TokenValidity {
        match self.given.get(token) {
            Some(expires) if now < *expires => TokenValidity::Valid,
            Some(_) => TokenValidity::Expired,
            None => TokenValidity::Unknown,
        }
    }

    pub(super) fn expire(&mut self) {
        self.given.values_mut().for_each(|expires| *expires = i64::MIN);
    }
}

/// Answers a request for a token, with OAuth's errors rather than the Management API's.
pub(super) fn endpoint(request: &Request, tokens: &mut Tokens) -> Answer {
    let refuse = |status, code: &str, description: &str| {
        Answer::json(status, &json!({ "error": code, "error_description": description }))
    };
    if request.method != "POST" {
        return Answer::text(404, "Not Found");
    }
    let Some(fields) = fields(request) else {
        return refuse(400, "invalid_request", "The body is neither a form nor JSON");
    };
    let field = |name: &str| fields.get(name).map_or("", String::as_str);
    match field("grant_type") {
        "client_credentials" => {}
        "" => return refuse(400, "invalid_request", "Missing required parameter: grant_type"),
        other => {
            let description = format!("Grant type '{other}' not allowed for the client.");
            return refuse(403, "unauthorized_client", &description);
        }
    }
    // Only the form of an assertion is looked at; its signature is the business of the reader's own tests.
    let asserted = field("client_assertion_type") == ASSERTION
        && field("client_assertion").split('.').filter(|part| !part.is_empty()).count() == 3;
    let known = field("client_id") == CLIENT_ID;
    if !known || !(asserted || field("client_secret") == tokens.client_secret) {
        return refuse(401, "access_denied", "Unauthorized");
    }
    let audience = field("audience");
    if !audience.starts_with("https://") || !audience.ends_with("/api/v2/") {
        return refuse(403, "access_denied", &format!("Service not found: {audience}"));
    }
    let token = tokens.issue(CLIENT_ID, request.unix);
    let mut granted = json!({ "access_token": token, "expires_in": tokens.lifetime, "token_type": "Bearer" });
    if let (Some(scopes), Some(fields)) = (&tokens.scopes, granted.as_object_mut()) {
        fields.insert("scope".to_owned(), scopes.as_str().into());
    }
    Answer::json(200, &granted).with_header("cache-control", "no-store")
}

fn fields(request: &Request) -> Option<BTreeMap<String, String>> {
    let content_type = request.header("content-type").unwrap_or_default();
    if content_type.starts_with("application/json") {
        let object: BTreeMap<String, Value> = serde_json::from_slice(&request.body).ok()?;
        return Some(object.into_iter().filter_map(|(name, value)| Some((name, value.as_str()?.to_owned()))).collect());
    }
    let form = content_type.starts_with("application/x-www-form-urlencoded");
    form.then(|| url::form_urlencoded::parse(&request.body).into_owned().collect())
}
