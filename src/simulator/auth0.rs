//! Auth0: `/oauth/token` and the Management API of one tenant.
//!
//! Documents are keyed by full path (`/api/v2/clients`); lists are stored as plain arrays, and paging, wrapping and
//! field selection are made here. An object is served as it is, so that a recorded envelope can be loaded too. What
//! a request gets depends on the token, never on its scopes: a missing scope is scripted with [`missing_scope`].

mod pages;
mod token;

use std::io;
use std::ops::Deref;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::fault::Fault;
use super::locked;
use super::vendor::{Answer, Documents, Request, Vendor};
use crate::clock::{Clock, SystemClock};
use token::{TokenValidity, Tokens};

/// The canonical domain of [`Auth0::lantern_books`].
pub const DOMAIN: &str = "lantern-books.auth0.example";
/// The watcher's own application in [`Auth0::lantern_books`]; every Auth0 simulator accepts it.
pub const CLIENT_ID: &str = "LanternWatcher0000000000000000w1";
/// The secret of [`CLIENT_ID`].
pub const CLIENT_SECRET: &str = "CANARY-auth0-watcher-client-secret";

const API: &str = "/api/v2/";

/// A token bucket: `burst` requests at once, refilled at `per_second`.
#[derive(Debug)]
struct Bucket {
    burst: f64,
    per_second: f64,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    fn take(&mut self, now: Instant) -> bool {
        let gained = now.saturating_duration_since(self.filled).as_secs_f64() * self.per_second;
        self.tokens = (self.tokens + gained).min(self.burst);
        self.filled = now;
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }

    /// Whole seconds until there is a token again, at least one.
    fn wait(&self) -> i64 {
        let seconds = ((1.0 - self.tokens) / self.per_second).clamp(1.0, 3600.0);
        Duration::from_secs_f64(seconds.ceil()).as_secs().try_into().unwrap_or(3600)
    }
}

struct Tenant {
    tokens: Tokens,
    bucket: Option<Bucket>,
    max_page_size: usize,
}

/// A running Auth0 tenant. Everything of [`Vendor`] can be called on it.
#[derive(Clone)]
pub struct Auth0 {
    vendor: Vendor,
    tenant: Arc<Mutex<Tenant>>,
    clock: Arc<dyn Clock>,
}

impl Auth0 {
    /// Starts a tenant without any document: whatever is asked for was never set, or is a 404.
    pub async fn empty() -> io::Result<Self> {
        Self::empty_at(Arc::new(SystemClock)).await
    }

    /// As [`Auth0::empty`], with its own clock.
    pub async fn empty_at(clock: Arc<dyn Clock>) -> io::Result<Self> {
        let tenant = Tenant { tokens: Tokens::default(), bucket: None, max_page_size: usize::MAX };
        let tenant = Arc::new(Mutex::new(tenant));
        let known = Arc::clone(&tenant);
        let vendor = Vendor::start(Arc::clone(&clock), move |request, documents| {
            answer(request, documents, &mut locked(&known))
        })
        .await?;
        Ok(Self { vendor, tenant, clock })
    }

    /// Starts the healthy tenant of Lantern Books, a bookshop that does not exist.
    pub async fn lantern_books() -> io::Result<Self> {
        let auth0 = Self::empty().await?;
        auth0.load(lantern_books());
        Ok(auth0)
    }

    /// A valid token, as `/oauth/token` would give.
    pub fn issue_token(&self) -> String {
        locked(&self.tenant).tokens.issue(CLIENT_ID, self.clock.now().timestamp())
    }

    /// Makes every token given so far an expired one.
    pub fn expire_tokens(&self) {
        locked(&self.tenant).tokens.expire();
    }

    /// Sets the `expires_in` of tokens given from now on; they end when the simulator's clock says so.
    pub fn set_token_lifetime(&self, lifetime: Duration) {
        locked(&self.tenant).tokens.lifetime = lifetime.as_secs().try_into().unwrap_or(i64::MAX);
    }

    /// Says with every token from now on that it may this, as real tenants do. What it is answered does not depend on it.
    pub fn set_scopes(&self, scopes: &str) {
        locked(&self.tenant).tokens.scopes = Some(scopes.to_owned());
    }

    /// Replaces the client secret: the old one is `access_denied` from now on.
    pub fn rotate_client_secret(&self, client_secret: &str) {
        client_secret.clone_into(&mut locked(&self.tenant).tokens.client_secret);
    }

    /// Serves no page longer than this, whatever was asked for.
    pub fn set_max_page_size(&self, size: usize) {
        locked(&self.tenant).max_page_size = size.max(1);
    }

    /// Answers 429 when more than `burst` requests come at once or more than `per_second` in the long run.
    pub fn set_rate_limit(&self, burst: u32, per_second: f64) {
        let burst = f64::from(burst);
        locked(&self.tenant).bucket = Some(Bucket { burst, per_second, tokens: burst, filled: Instant::now() });
    }
}

impl Deref for Auth0 {
    type Target = Vendor;

    fn deref(&self) -> &Vendor {
        &self.vendor
    }
}

impl std::fmt::Debug for Auth0 {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Auth0").field("vendor", &self.vendor).finish_non_exhaustive()
    }
}

/// The documents of the Lantern Books tenant, by path.
pub fn lantern_books() -> Documents {
    serde_json::from_str(include_str!("data/auth0.json")).expect("internal: data/auth0.json is a map of documents")
}

/// A failure in the Management API's error shape; an empty `code` is left out, as on many real answers.
pub fn failure(status: u16, code: &str, message: &str) -> Fault {
    Fault::status(status, error_body(status, code, message))
}

/// The client grant lacks a scope.
pub fn missing_scope(scope: &str) -> Fault {
    failure(403, "insufficient_scope", &format!("Insufficient scope, expected any of: {scope}"))
}

/// The plan does not include a feature.
pub fn not_on_plan(feature: &str) -> Fault {
    failure(403, "insufficient_entitlement", &format!("Please upgrade your subscription to use {feature}"))
}

/// The key of the envelope in which the list at `path` is served, if pages are made of it.
pub fn envelope_of(path: &str) -> Option<&'static str> {
    pages::list(path).map(|(name, _)| name)
}

fn error_body(status: u16, code: &str, message: &str) -> Value {
    let reason = axum::http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let error = reason.unwrap_or_default();
    if code.is_empty() {
        return json!({ "statusCode": status, "error": error, "message": message });
    }
    json!({ "statusCode": status, "error": error, "message": message, "errorCode": code })
}

fn error(status: u16, code: &str, message: &str) -> Answer {
    Answer::json(status, &error_body(status, code, message))
}

fn answer(request: &Request, documents: &Documents, tenant: &mut Tenant) -> Answer {
    if request.path == "/oauth/token" {
        return token::endpoint(request, &mut tenant.tokens);
    }
    if !request.path.starts_with(API) {
        return Answer::text(404, "Not Found");
    }
    let (within, headers) = limits(request.unix, tenant.bucket.as_mut());
    let answer = if within {
        api(request, documents, tenant)
    } else {
        error(429, "too_many_requests", "Global limit has been reached")
    };
    headers.into_iter().fold(answer, |answer, (name, value)| answer.with_header(name, value))
}

/// Takes a token from the bucket. Says whether there was one, and what the headers tell the client.
fn limits(now: i64, bucket: Option<&mut Bucket>) -> (bool, Vec<(&'static str, i64)>) {
    let triple = |limit: i64, remaining: i64, reset: i64| {
        vec![("x-ratelimit-limit", limit), ("x-ratelimit-remaining", remaining), ("x-ratelimit-reset", reset)]
    };
    let Some(bucket) = bucket else { return (true, triple(50, 49, now + 1)) };
    let within = bucket.take(Instant::now());
    let whole = |number: f64| Duration::from_secs_f64(number.max(0.0)).as_secs().try_into().unwrap_or(i64::MAX);
    let mut headers = triple(whole(bucket.burst), whole(bucket.tokens), now + bucket.wait());
    if !within {
        headers.push(("retry-after", bucket.wait()));
    }
    (within, headers)
}

fn api(request: &Request, documents: &Documents, tenant: &mut Tenant) -> Answer {
    match request.bearer().map(|token| tenant.tokens.check(token, request.unix)) {
        Some(TokenValidity::Valid) => {}
        Some(TokenValidity::Unknown) => return error(401, "", "Invalid token"),
        Some(TokenValidity::Expired) => {
            return error(401, "", "Expired token received for JSON Web Token validation");
        }
        None => return error(401, "", "Missing authentication"),
    }
    match documents.get(&request.path) {
        Some(document) if request.method == "GET" => pages::serve(request, document, tenant.max_page_size)
            .unwrap_or_else(|message| {
                error(400, "invalid_query_string", &format!("Query validation error: {message}"))
            }),
        Some(_) => error(405, "", "Method not allowed"),
        None => never_set(&request.path),
    }
}

/// The answer of the vendor where nothing was ever configured: an empty object, or a 404 that names the missing object.
fn never_set(path: &str) -> Answer {
    let place: Vec<&str> = path.trim_start_matches(API).split('/').collect();
    let (code, message) = match place.as_slice() {
        ["prompts", _, "partials"] | [_, _, "custom-text", ..] => return Answer::json(200, &json!({})),
        ["email-templates", _] => ("inexistent_email_template", "The template does not exist."),
        ["emails", "provider"] => ("inexistent_email_provider", "There is not a configured email provider"),
        ["branding", "templates", "universal-login"] => {
            ("inexistent_templates_universal_login", "Template does not exist.")
        }
        ["branding", "themes", "default"] => ("theme_not_found", "There was an error retrieving branding settings"),
        _ => ("", "Not Found"),
    };
    error(404, code, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{TimeDelta, Utc};

    async fn get(auth0: &Auth0, path: &str) -> reqwest::Response {
        let request = reqwest::Client::new().get(format!("{}/api/v2/{path}", auth0.url()));
        request.bearer_auth(auth0.issue_token()).send().await.unwrap()
    }

    async fn body(auth0: &Auth0, path: &str) -> Value {
        get(auth0, path).await.json().await.unwrap()
    }

    async fn ask_token(auth0: &Auth0, form: &[(&str, &str)]) -> (u16, Value) {
        let url = format!("{}/oauth/token", auth0.url());
        let response = reqwest::Client::new().post(url).form(form).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    #[tokio::test]
    async fn every_section_of_lantern_books_answers() {
        let auth0 = Auth0::lantern_books().await.unwrap();
        for path in lantern_books().keys() {
            let response = get(&auth0, path.strip_prefix(API).unwrap()).await;
            assert_eq!(response.status(), 200, "{path}");
            assert!(response.headers().contains_key("x-ratelimit-reset"));
        }
        assert_eq!(body(&auth0, "guardian/policies").await, json!(["all-applications"]));
        assert_eq!(get(&auth0, "nothing").await.status(), 404);
    }

    #[tokio::test]
    async fn token_endpoint_checks_what_it_is_given() {
        let auth0 = Auth0::lantern_books().await.unwrap();
        let good = [
            ("grant_type", "client_credentials"),
            ("client_id", CLIENT_ID),
            ("client_secret", CLIENT_SECRET),
            ("audience", "https://lantern-books.auth0.example/api/v2/"),
        ];
        let with = |name: &'static str, value: &'static str| {
            good.map(|(known, old)| if known == name { (name, value) } else { (known, old) })
        };
        let (status, answer) = ask_token(&auth0, &good).await;
        assert_eq!((status, &answer["expires_in"], &answer["token_type"]), (200, &json!(86400), &json!("Bearer")));
        assert!(answer["access_token"].as_str().unwrap().contains("CANARY"));
        for (form, status, code) in [
            (with("client_secret", "wrong"), 401, "access_denied"),
            (with("client_id", "wrong"), 401, "access_denied"),
            (with("audience", "https://lantern-books.auth0.example/api/v2"), 403, "access_denied"),
            (with("audience", ""), 403, "access_denied"),
            (with("grant_type", "password"), 403, "unauthorized_client"),
        ] {
            let (got, answer) = ask_token(&auth0, &form).await;
            assert_eq!((got, answer["error"].as_str()), (status, Some(code)), "{form:?}");
        }
        auth0.rotate_client_secret("new");
        assert_eq!(ask_token(&auth0, &good).await.0, 401);
    }

    #[tokio::test]
    async fn token_endpoint_takes_json_and_assertions() {
        let auth0 = Auth0::lantern_books().await.unwrap();
        let url = format!("{}/oauth/token", auth0.url());
        let ask = json!({
            "grant_type": "client_credentials", "client_id": CLIENT_ID, "audience": "https://x.example/api/v2/",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "client_assertion": "a.b.c",
        });
        let client = reqwest::Client::new();
        assert_eq!(client.post(&url).json(&ask).send().await.unwrap().status(), 200);
        let mut bad = ask.clone();
        bad["client_assertion_type"] = json!("jwt");
        assert_eq!(client.post(&url).json(&bad).send().await.unwrap().status(), 401);
        bad.as_object_mut().unwrap().remove("client_assertion");
        assert_eq!(client.post(&url).json(&bad).send().await.unwrap().status(), 401);
    }

    #[tokio::test]
    async fn tokens_end() {
        let clock = Arc::new(crate::clock::FakeClock::at(chrono::DateTime::<Utc>::UNIX_EPOCH));
        let auth0 = Auth0::empty_at(Arc::clone(&clock) as Arc<dyn Clock>).await.unwrap();
        auth0.load(lantern_books());
        let url = format!("{}/api/v2/tenants/settings", auth0.url());
        let ask = async |token: &str| {
            let response = reqwest::Client::new().get(&url).bearer_auth(token).send().await.unwrap();
            let status = response.status().as_u16();
            let body: Value = response.json().await.unwrap();
            (status, body["message"].as_str().unwrap_or_default().to_owned())
        };
        assert_eq!(ask("made up").await, (401, "Invalid token".to_owned()));
        let first = auth0.issue_token();
        assert_eq!(ask(&first).await.0, 200);
        auth0.expire_tokens();
        assert_eq!(ask(&first).await.0, 401);
        let second = auth0.issue_token();
        assert_eq!(ask(&second).await.0, 200);
        clock.advance(TimeDelta::days(1));
        assert_eq!(ask(&second).await.1, "Expired token received for JSON Web Token validation");
        assert_eq!(reqwest::get(&url).await.unwrap().status(), 401);
    }

    #[tokio::test]
    async fn offset_pages() {
        let auth0 = Auth0::lantern_books().await.unwrap();
        let all = body(&auth0, "clients").await;
        assert_eq!(all.as_array().unwrap().len(), 6, "bare, with the global client");
        let page = body(&auth0, "clients?is_global=false&include_totals=true&per_page=2&page=2").await;
        assert_eq!((&page["start"], &page["limit"], &page["total"]), (&json!(4), &json!(2), &json!(5)));
        assert_eq!(page["clients"].as_array().unwrap().len(), 1);
        assert_eq!(body(&auth0, "clients?is_global=true").await[0]["name"], "All Applications");
        assert_eq!(get(&auth0, "clients?per_page=101").await.status(), 400);
        assert_eq!(get(&auth0, "clients?take=50").await.status(), 400, "has no checkpoint pages");
        assert_eq!(get(&auth0, "connections?page=10&per_page=100").await.status(), 400, "beyond 1000");
        auth0.set_max_page_size(1);
        let page = body(&auth0, "resource-servers?include_totals=true&per_page=100&page=1").await;
        assert_eq!(page["resource_servers"].as_array().unwrap().len(), 1);
        assert_eq!(page["total"], 2);
    }

    #[tokio::test]
    async fn checkpoint_pages() {
        let auth0 = Auth0::lantern_books().await.unwrap();
        let mut names = Vec::new();
        let mut path = "connections?take=2".to_owned();
        loop {
            let page = body(&auth0, &path).await;
            names.extend(page["connections"].as_array().unwrap().iter().map(|one| one["name"].clone()));
            assert!(page.get("total").is_none());
            let Some(next) = page.get("next") else { break };
            path = format!("connections?take=2&from={}", next.as_str().unwrap());
        }
        assert_eq!(names, ["lantern-readers", "google-oauth2", "publisher-partners"]);
        assert_eq!(get(&auth0, "connections?take=2&from=nonsense").await.status(), 400);
    }

    #[tokio::test]
    async fn pages_of_actions_leave_out_zeros() {
        let auth0 = Auth0::lantern_books().await.unwrap();
        let first = body(&auth0, "actions/actions?per_page=2&include_totals=true").await;
        assert_eq!((&first["total"], first.get("page"), &first["per_page"]), (&json!(3), None, &json!(2)));
        let second = body(&auth0, "actions/actions?per_page=2&page=1").await;
        assert_eq!((&second["page"], second["actions"].as_array().unwrap().len()), (&json!(1), 1));
        assert_eq!(
            body(&auth0, "actions/triggers/post-login/bindings").await["bindings"][1]["display_name"],
            "Add reader card"
        );
        auth0.load([("/api/v2/actions/modules".to_owned(), json!([]))].into());
        assert_eq!(body(&auth0, "actions/modules").await, json!({ "modules": [], "per_page": 20 }));
    }

    #[tokio::test]
    async fn domains_are_bare_unless_they_are_asked_for_in_pages() {
        let auth0 = Auth0::lantern_books().await.unwrap();
        assert_eq!(body(&auth0, "custom-domains").await.as_array().unwrap().len(), 2);
        let page = body(&auth0, "custom-domains?take=1").await;
        assert_eq!(page["custom_domains"].as_array().unwrap().len(), 1);
        assert!(page["next"].is_string());
        assert_eq!(get(&auth0, "connection-profiles?take=11").await.status(), 400, "ten at most");
    }

    #[tokio::test]
    async fn what_was_never_set_is_said_like_the_vendor_does() {
        let auth0 = Auth0::lantern_books().await.unwrap();
        assert_eq!(body(&auth0, "prompts/signup/partials").await, json!({}));
        assert_eq!(body(&auth0, "prompts/consent/custom-text/fr").await, json!({}));
        let missing = get(&auth0, "email-templates/stolen_credentials").await;
        assert_eq!(missing.status(), 404);
        assert_eq!(missing.json::<Value>().await.unwrap()["errorCode"], "inexistent_email_template");
    }

    #[tokio::test]
    async fn fields_are_selected() {
        let auth0 = Auth0::lantern_books().await.unwrap();
        let without = body(&auth0, "clients?fields=client_secret,signing_keys&include_fields=false").await;
        assert!(!without.to_string().contains("CANARY"), "no secret left");
        assert_eq!(without[0]["name"], "Lantern Shop");
        let only = body(&auth0, "clients?fields=name,client_id&include_totals=true").await;
        assert_eq!(only["clients"][0].as_object().unwrap().len(), 2);
    }

    #[tokio::test]
    async fn bucket_refuses_what_is_too_much() {
        let auth0 = Auth0::lantern_books().await.unwrap();
        auth0.set_rate_limit(2, 0.001);
        let mut left = Vec::new();
        for _ in 0..3 {
            let response = get(&auth0, "guardian/policies").await;
            left.push((
                response.status().as_u16(),
                response.headers()["x-ratelimit-remaining"].to_str().unwrap().to_owned(),
            ));
        }
        assert_eq!(left, [(200, "1".to_owned()), (200, "0".to_owned()), (429, "0".to_owned())]);
        let refused = get(&auth0, "guardian/policies").await;
        assert!(refused.headers().contains_key("retry-after"));
        assert_eq!(refused.json::<Value>().await.unwrap()["errorCode"], "too_many_requests");
    }

    #[tokio::test]
    async fn gates_speak_like_the_vendor() {
        let auth0 = Auth0::lantern_books().await.unwrap();
        auth0.fail("/api/v2/clients", missing_scope("read:clients"));
        let refused = body(&auth0, "clients").await;
        assert_eq!(refused["message"], "Insufficient scope, expected any of: read:clients");
        assert_eq!((&refused["error"], &refused["statusCode"]), (&json!("Forbidden"), &json!(403)));
    }
}
