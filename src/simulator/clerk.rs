//! Clerk: Backend, Platform and Frontend API of one instance behind one listener.
//!
//! Documents are keyed by full path (`/v1/jwt_templates`); lists are stored as plain arrays, and paging and the
//! `{data, total_count}` envelope are made here. An object is served as it is, so that a recorded envelope can be
//! loaded too. The bare-array form of a list stops at the default limit of 10: undocumented, but what a careful
//! reader must expect.

use std::io;
use std::ops::Deref;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::fault::Fault;
use super::locked;
use super::vendor::{Answer, Documents, Request, Vendor};
use crate::clock::{Clock, SystemClock};

/// The secret key of [`Clerk::lantern_books`]. In two parts, as scanners take the whole for a live key.
pub const SECRET_KEY: &str = concat!("sk_", "live_", "CANARYlanternBooksBackendKey7Qm2");
/// The Platform API key of [`Clerk::lantern_books`].
pub const PLATFORM_TOKEN: &str = "ak_CANARYlanternBooksPlatformToken4Xw9";
/// The publishable key of [`Clerk::lantern_books`]: `clerk.lantern-books.example`, production.
pub const PUBLISHABLE_KEY: &str = concat!("pk_", "live_", "Y2xlcmsubGFudGVybi1ib29rcy5leGFtcGxlJA");
/// The application of [`Clerk::lantern_books`].
pub const APPLICATION_ID: &str = "app_2vLanternBooksApplication01";
/// The instance of [`Clerk::lantern_books`].
pub const INSTANCE_ID: &str = "ins_2vLanternBooksProduction001";

/// The API versions the simulated service knows.
const VERSIONS: &[&str] = &["2021-02-05", "2024-10-01", "2025-04-10", "2025-11-10", "2026-05-12"];
const TRACE: &str = "5ca1ab1e0000000000000000c0ffee01";
const PLATFORM: &str = "/v1/platform/";

/// Lists of the Backend API that always come in an envelope and take paging parameters.
const ENVELOPES: &[&str] = &[
    "/v1/organization_roles",
    "/v1/organization_permissions",
    "/v1/role_sets",
    "/v1/oauth_applications",
    "/v1/saml_connections",
    "/v1/enterprise_connections",
    "/v1/machines",
    "/v1/directories",
    "/v1/organization_domains",
    "/v1/billing/plans",
];
/// Lists of the Backend API that come whole, in an envelope; so do the group mappings of a directory.
const WHOLE_ENVELOPES: &[&str] = &["/v1/domains", "/v1/blocklist_identifiers"];

#[derive(Debug)]
struct Keys {
    secret_key: String,
    platform_token: String,
}

/// A running Clerk. Everything of [`Vendor`] can be called on it.
#[derive(Debug, Clone)]
pub struct Clerk {
    vendor: Vendor,
    keys: Arc<Mutex<Keys>>,
}

impl Clerk {
    /// Starts a Clerk without any document: every path is a 404.
    pub async fn empty() -> io::Result<Self> {
        Self::empty_at(Arc::new(SystemClock)).await
    }

    /// As [`Clerk::empty`], with its own clock.
    pub async fn empty_at(clock: Arc<dyn Clock>) -> io::Result<Self> {
        let keys = Keys { secret_key: SECRET_KEY.to_owned(), platform_token: PLATFORM_TOKEN.to_owned() };
        let keys = Arc::new(Mutex::new(keys));
        let known = Arc::clone(&keys);
        let vendor = Vendor::start(clock, move |request, documents| {
            let answer = answer(request, documents, &locked(&known));
            answer.with_header("x-clerk-trace-id", TRACE)
        })
        .await?;
        Ok(Self { vendor, keys })
    }

    /// Starts the healthy production instance of Lantern Books, a bookshop that does not exist.
    pub async fn lantern_books() -> io::Result<Self> {
        let clerk = Self::empty().await?;
        clerk.load(lantern_books());
        Ok(clerk)
    }

    /// The path of the Platform's configuration document of the Lantern Books instance.
    pub fn config_path() -> String {
        format!("/v1/platform/applications/{APPLICATION_ID}/instances/production/config")
    }

    /// Replaces the secret key: the old one is `clerk_key_invalid` from now on.
    pub fn rotate_secret_key(&self, secret_key: &str) {
        secret_key.clone_into(&mut locked(&self.keys).secret_key);
    }

    /// Replaces the Platform token.
    pub fn rotate_platform_token(&self, platform_token: &str) {
        platform_token.clone_into(&mut locked(&self.keys).platform_token);
    }
}

impl Deref for Clerk {
    type Target = Vendor;

    fn deref(&self) -> &Vendor {
        &self.vendor
    }
}

/// The documents of the Lantern Books instance, by path.
pub fn lantern_books() -> Documents {
    serde_json::from_str(include_str!("data/clerk.json")).expect("internal: data/clerk.json is a map of documents")
}

/// A failure in Clerk's error shape; `meta` may be null.
pub fn failure(status: u16, code: &str, message: &str, meta: &Value) -> Fault {
    Fault::status(status, error_body(code, message, meta))
}

/// The Platform token lacks a scope.
pub fn missing_scope(scope: &str) -> Fault {
    failure(403, "authorization_missing_scopes", "missing scopes", &json!({ "scopes": [scope] }))
}

/// The plan does not include a feature.
pub fn not_on_plan(feature: &str) -> Fault {
    let meta = json!({ "unsupported_features": [feature] });
    failure(402, "unsupported_subscription_plan_features", "Unsupported plan features", &meta)
}

fn error_body(code: &str, message: &str, meta: &Value) -> Value {
    let error = match meta {
        Value::Null => json!({ "message": message, "long_message": message, "code": code }),
        meta => json!({ "message": message, "long_message": message, "code": code, "meta": meta }),
    };
    json!({ "errors": [error], "clerk_trace_id": TRACE })
}

fn error(status: u16, code: &str, message: &str, meta: &Value) -> Answer {
    Answer::json(status, &error_body(code, message, meta))
}

fn answer(request: &Request, documents: &Documents, keys: &Keys) -> Answer {
    if is_frontend(&request.path) {
        return frontend(request, documents);
    }
    let platform = request.path.starts_with(PLATFORM);
    if let Some(refusal) = if platform { check_platform(request, keys) } else { check_backend(request, keys) } {
        return refusal;
    }
    let Some(document) = documents.get(&request.path) else {
        return error(404, "resource_not_found", "Resource not found", &Value::Null);
    };
    if request.method != "GET" {
        return error(405, "method_not_allowed", "Method not allowed", &Value::Null);
    }
    if platform {
        return platform_document(request, document);
    }
    let version = version(request).unwrap_or_default();
    backend_document(request, document).with_header("clerk-api-version", version)
}

fn is_frontend(path: &str) -> bool {
    matches!(path, "/v1/environment" | "/v1/account_portal" | "/v1/health") || !path.starts_with("/v1/")
}

fn frontend(request: &Request, documents: &Documents) -> Answer {
    match documents.get(&request.path) {
        Some(document) if request.method == "GET" => {
            Answer::json(200, document).with_header("x-clerk-instance-id", INSTANCE_ID)
        }
        _ => Answer::text(404, "404 page not found\n"),
    }
}

/// The key is checked before the path is looked at, as by the real service.
fn check_backend(request: &Request, keys: &Keys) -> Option<Answer> {
    let Some(token) = request.bearer() else {
        let message = "Invalid Authorization header format. Must be 'Bearer <YOUR_API_KEY>'";
        return Some(error(401, "authorization_header_format_invalid", message, &Value::Null));
    };
    if token != keys.secret_key {
        let message = "The provided Clerk Secret Key is invalid. Make sure that your Clerk Secret Key is correct.";
        return Some(error(401, "clerk_key_invalid", message, &Value::Null));
    }
    match version(request) {
        Some(version) if VERSIONS.contains(&version.as_str()) => None,
        Some(_) => Some(error(400, "bad_request", "Unknown API version", &Value::Null)),
        None => Some(error(400, "bad_request", "Exactly one of header and query must name the version", &Value::Null)),
    }
}

fn check_platform(request: &Request, keys: &Keys) -> Option<Answer> {
    if request.bearer() == Some(keys.platform_token.as_str()) {
        return None;
    }
    let message = "The credential format is not recognized for the Platform API.";
    Some(error(401, "platform_api_unrecognized_credential", message, &Value::Null))
}

/// The API version, when exactly one of header and query names it. The real service falls back to the instance's
/// own version; the simulator insists, since an unpinned reader would see drift that is none.
fn version(request: &Request) -> Option<String> {
    match (request.header("clerk-api-version"), request.parameter("__clerk_api_version")) {
        (Some(header), None) => Some(header.to_owned()),
        (None, Some(query)) => Some(query),
        _ => None,
    }
}

fn backend_document(request: &Request, document: &Value) -> Answer {
    let Some(items) = document.as_array() else { return Answer::json(200, document) };
    if WHOLE_ENVELOPES.contains(&request.path.as_str()) || request.path.ends_with("/group_role_mappings") {
        return Answer::json(200, &json!({ "data": items, "total_count": items.len() }));
    }
    let (limit, offset) = match (number(request, "limit", 10, 1..=500), number(request, "offset", 0, 0..=usize::MAX)) {
        (Ok(limit), Ok(offset)) => (limit, offset),
        (Err(refusal), _) | (_, Err(refusal)) => return *refusal,
    };
    let page: Vec<&Value> = items.iter().skip(offset).take(limit).collect();
    let enveloped = ENVELOPES.contains(&request.path.as_str());
    if enveloped || request.parameter("paginated").as_deref() == Some("true") {
        Answer::json(200, &json!({ "data": page, "total_count": items.len() }))
    } else {
        Answer::json(200, &json!(page))
    }
}

fn number(
    request: &Request,
    name: &str,
    default: usize,
    range: std::ops::RangeInclusive<usize>,
) -> Result<usize, Box<Answer>> {
    let Some(text) = request.parameter(name) else { return Ok(default) };
    text.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
        let message = format!("{name} must be between {} and {}", range.start(), range.end());
        Box::new(error(422, "form_param_value_invalid", &message, &json!({ "param_name": name })))
    })
}

/// `keys=` filters the configuration document; the Platform's lists of domains and redirect URLs are enveloped.
fn platform_document(request: &Request, document: &Value) -> Answer {
    if let Some(items) = document.as_array() {
        let enveloped = request.path.ends_with("/domains") || request.path.ends_with("/redirect_urls");
        let envelope = || json!({ "data": items, "total_count": items.len() });
        return Answer::json(200, &if enveloped { envelope() } else { document.clone() });
    }
    let wanted: Vec<String> =
        request.parameters().filter(|(name, _)| name == "keys" || name == "keys[]").map(|(_, key)| key).collect();
    if wanted.is_empty() || !request.path.ends_with("/config") {
        return Answer::json(200, document);
    }
    let mut selected = serde_json::Map::new();
    for key in wanted.iter().map(String::as_str).chain(["config_version"]) {
        match document.get(key) {
            Some(value) => _ = selected.insert(key.to_owned(), value.clone()),
            None if key == "config_version" => {}
            None => {
                let meta = json!({ "param_name": "keys", "suggestions": [] });
                return error(400, "unknown_config_key", &format!("unknown key {key}"), &meta);
            }
        }
    }
    Answer::json(200, &Value::Object(selected))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(clerk: &Clerk, path: &str, token: Option<&str>) -> (u16, Value) {
        let mut request = reqwest::Client::new().get(format!("{}{path}", clerk.url()));
        if let Some(token) = token {
            request = request.bearer_auth(token).header("Clerk-API-Version", "2026-05-12");
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap_or(Value::Null))
    }

    fn code(answer: &(u16, Value)) -> (u16, &str) {
        (answer.0, answer.1["errors"][0]["code"].as_str().unwrap_or_default())
    }

    #[test]
    fn publishable_key_names_the_host_of_the_instance() {
        use base64::Engine as _;
        let host = PUBLISHABLE_KEY.rsplit('_').next().unwrap();
        let host = base64::engine::general_purpose::STANDARD_NO_PAD.decode(host).unwrap();
        let documents = lantern_books();
        let frontend = &documents["/v1/domains"][0]["frontend_api_url"];
        assert_eq!(format!("https://{}", String::from_utf8(host).unwrap()), format!("{}$", frontend.as_str().unwrap()));
        assert_eq!(documents["/v1/instance"]["id"], INSTANCE_ID);
    }

    #[tokio::test]
    async fn every_section_of_lantern_books_answers() {
        let clerk = Clerk::lantern_books().await.unwrap();
        let documents = lantern_books();
        for path in documents.keys() {
            let token = match path {
                path if is_frontend(path) => None,
                path if path.starts_with(PLATFORM) => Some(PLATFORM_TOKEN),
                _ => Some(SECRET_KEY),
            };
            assert_eq!(get(&clerk, path, token).await.0, 200, "{path}");
        }
        let config = get(&clerk, &Clerk::config_path(), Some(PLATFORM_TOKEN)).await;
        assert_eq!(config.1["session_settings"]["inactivity_timeout"]["duration_seconds"], 1800);
        let environment = get(&clerk, "/v1/environment?__clerk_api_version=2026-05-12", None).await;
        assert_eq!(environment.1["user_settings"]["sign_up"]["mode"], "restricted");
        let filtered = format!("{}?keys=session&keys=auth_phone", Clerk::config_path());
        let selected = get(&clerk, &filtered, Some(PLATFORM_TOKEN)).await;
        assert_eq!(selected.1.as_object().unwrap().len(), 3);
        assert_eq!(clerk.requests().len(), documents.len() + 3);
        assert!(clerk.requests().iter().all(|request| request.status == Some(200) && request.method == "GET"));
    }

    #[tokio::test]
    async fn credentials_are_checked_before_the_path() {
        let clerk = Clerk::lantern_books().await.unwrap();
        let bad = |code| (401, code);
        assert_eq!(code(&get(&clerk, "/v1/nothing", Some("sk_wrong")).await), bad("clerk_key_invalid"));
        assert_eq!(code(&get(&clerk, "/v1/instance", None).await), bad("authorization_header_format_invalid"));
        let platform = get(&clerk, &Clerk::config_path(), Some(SECRET_KEY)).await;
        assert_eq!(code(&platform), bad("platform_api_unrecognized_credential"));
        clerk.rotate_secret_key("sk_new");
        assert_eq!(code(&get(&clerk, "/v1/instance", Some(SECRET_KEY)).await), bad("clerk_key_invalid"));
        assert_eq!(get(&clerk, "/v1/instance", Some("sk_new")).await.0, 200);
    }

    #[tokio::test]
    async fn version_is_required_once() {
        let clerk = Clerk::lantern_books().await.unwrap();
        let client = reqwest::Client::new();
        let url = format!("{}/v1/instance", clerk.url());
        let unpinned = client.get(&url).bearer_auth(SECRET_KEY).send().await.unwrap();
        assert_eq!(unpinned.status(), 400);
        let pinned = client.get(&url).bearer_auth(SECRET_KEY).header("clerk-api-version", "2025-11-10");
        assert_eq!(pinned.send().await.unwrap().headers()["clerk-api-version"], "2025-11-10");
        assert_eq!(get(&clerk, "/v1/instance?__clerk_api_version=2026-05-12", Some(SECRET_KEY)).await.0, 400, "both");
    }

    #[tokio::test]
    async fn lists_come_in_pages() {
        let clerk = Clerk::lantern_books().await.unwrap();
        let many: Vec<Value> = (0..23).map(|number| json!({ "name": format!("t{number}") })).collect();
        clerk.set("/v1/jwt_templates", json!(many));
        clerk.set("/v1/organization_roles", json!(many));
        let page = async |path: &str| get(&clerk, path, Some(SECRET_KEY)).await;
        assert_eq!(page("/v1/jwt_templates").await.1.as_array().unwrap().len(), 10, "default limit");
        assert_eq!(page("/v1/jwt_templates?limit=500").await.1.as_array().unwrap().len(), 23);
        let last = page("/v1/jwt_templates?paginated=true&limit=10&offset=20").await.1;
        assert_eq!((last["data"].as_array().unwrap().len(), &last["total_count"]), (3, &json!(23)));
        assert_eq!(last["data"][0]["name"], "t20");
        assert_eq!(page("/v1/organization_roles").await.1["total_count"], 23, "always enveloped");
        assert_eq!(page("/v1/domains?limit=1").await.1["data"].as_array().unwrap().len(), 2, "takes no paging");
        let groups = page("/v1/directories/directory_2vLanternBooksDir0001/group_role_mappings").await.1;
        assert_eq!((groups["data"].as_array().unwrap().len(), &groups["total_count"]), (2, &json!(2)));
        assert_eq!(code(&page("/v1/jwt_templates?limit=501").await), (422, "form_param_value_invalid"));
    }

    #[tokio::test]
    async fn unknown_things_are_refused_in_the_words_of_each_api() {
        let clerk = Clerk::lantern_books().await.unwrap();
        assert_eq!(code(&get(&clerk, "/v1/nothing", Some(SECRET_KEY)).await), (404, "resource_not_found"));
        let other = "/v1/platform/applications/app_other/instances/production/config";
        assert_eq!(code(&get(&clerk, other, Some(PLATFORM_TOKEN)).await), (404, "resource_not_found"));
        let unknown = get(&clerk, &format!("{}?keys=nope", Clerk::config_path()), Some(PLATFORM_TOKEN)).await;
        assert_eq!(code(&unknown), (400, "unknown_config_key"));
        let text = reqwest::get(format!("{}/v2/thing", clerk.url())).await.unwrap();
        assert_eq!(text.headers()["content-type"], "text/plain; charset=utf-8");
        assert_eq!(text.text().await.unwrap().trim(), "404 page not found");
        clerk.fail("/v1/instance", not_on_plan("sso"));
        assert_eq!(code(&get(&clerk, "/v1/instance", None).await), (402, "unsupported_subscription_plan_features"));
    }
}
