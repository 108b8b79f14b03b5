//! What leaves the process, and what is refused before anything does.

use std::collections::BTreeSet;
use std::process::Command;

use authdrift::cycle::RunMode;
use authdrift::model::Provider;
use authdrift::model::Verdict;
use authdrift::sections::{Api, Section, Table};
use authdrift::simulator::fault::Fault;
use authdrift::simulator::vendor::Request;
use authdrift::simulator::{auth0, clerk};
use base64::Engine as _;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::common::Sandbox;

const OTHER_KEY: &str = concat!("sk_", "live_", "CANARYofAnotherInstance01");
const DEVELOPMENT_KEY: &str = concat!("sk_", "test_", "CANARYofAnotherInstance02");

/// What Clerk and Auth0 were asked.
type Asked = (Vec<Request>, Vec<Request>);

/// Every request from nothing over a drift to its end, with an outage of each kind. Told once for all tests.
async fn story() -> &'static Asked {
    static STORY: OnceCell<Asked> = OnceCell::const_new();
    STORY.get_or_init(tell_story).await
}

async fn tell_story() -> Asked {
    let sandbox = Sandbox::approved().await;
    sandbox.clerk.edit("/v1/instance", |instance| instance["allowed_origins"] = json!([]));
    sandbox.auth0.edit("/api/v2/guardian/policies", |policies| *policies = json!([]));
    sandbox.check().await.expect(10);
    sandbox.clerk.fail("/v1/domains", Fault::status(500, json!({})).times(1));
    sandbox.auth0.fail("/api/v2/clients", Fault::status(429, json!({})).with_header("retry-after", "0").times(1));
    sandbox.check().await.expect(10);
    sandbox.approve("prod").await;
    sandbox.approve("acme").await;
    sandbox.run(&["diff", "prod"]).await.expect(0);
    sandbox.run(&["status"]).await.expect(0);
    sandbox.run(&["verify"]).await.expect(0);
    sandbox.check().await.expect(0);
    (sandbox.clerk.requests(), sandbox.auth0.requests())
}

fn token_requests(sandbox: &Sandbox) -> usize {
    sandbox.auth0.requests().iter().filter(|request| request.path == "/oauth/token").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_get_leaves_the_process_and_the_one_post_for_a_token() {
    let (clerk, auth0) = story().await;
    assert!(clerk.len() >= 28 && auth0.len() >= 48);
    assert!(clerk.iter().all(|request| request.method == "GET"));
    let is_right = |request: &&Request| match request.path.as_str() {
        "/oauth/token" => request.method == "POST",
        _ => request.method == "GET",
    };
    assert!(auth0.iter().all(|request| is_right(&request)));
    assert!(clerk.iter().all(|request| request.body.is_empty()));
    // No secret travels in an address, and none is asked for.
    for request in clerk.iter().chain(auth0) {
        let address = format!("{}?{}", request.path, request.query);
        assert!(!address.contains("CANARY") && !address.contains("include_secret_keys"), "{address}");
        let agent = request.header("user-agent").unwrap();
        assert!(agent.starts_with("authdrift/") && agent.contains("read-only"), "{agent}");
        assert_eq!(request.header("cookie"), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_has_the_credential_and_the_version_of_its_api_and_no_other() {
    let (clerk, auth0) = story().await;
    for request in clerk {
        let version = request.header("clerk-api-version");
        let token = request.bearer();
        let expected = match api_of(&request.path) {
            Api::Frontend => (None, None),
            Api::Platform => (None, Some(clerk::PLATFORM_TOKEN)),
            _ => (Some("2026-05-12"), Some(clerk::SECRET_KEY)),
        };
        assert_eq!((version, token), expected, "{}", request.path);
    }
    let environment = clerk.iter().find(|request| request.path == "/v1/environment").unwrap();
    assert_eq!(environment.parameter("__clerk_api_version").as_deref(), Some("2026-05-12"));
    for request in auth0.iter().filter(|request| request.path == "/api/v2/clients") {
        let left_out = request.parameter("fields").unwrap();
        for field in ["client_secret", "signing_keys", "encryption_key"] {
            assert!(left_out.split(',').any(|name| name == field), "{}", request.query);
        }
        assert_eq!(request.parameter("include_fields").as_deref(), Some("false"));
        assert!(request.parameter("is_global").is_some());
    }
}

/// The API of the Clerk section that is read at `path`.
fn api_of(path: &str) -> Api {
    let is_there = |section: &&Section| {
        let (row, path): (Vec<&str>, Vec<&str>) = (section.path.split('/').collect(), path.split('/').collect());
        row.len() == path.len() && row.iter().zip(path).all(|(row, found)| row.starts_with('{') || *row == found)
    };
    Table::of(Provider::Clerk).sections().iter().find(is_there).unwrap_or_else(|| panic!("{path}")).api
}

#[tokio::test(flavor = "multi_thread")]
async fn t9_no_redirect_is_followed_and_a_token_goes_nowhere_else() {
    let sandbox = Sandbox::approved().await;
    sandbox.webhook.forget_requests();
    let elsewhere = sandbox.webhook.url();
    for status in [301, 302, 303, 307, 308] {
        let redirect = || Fault::status(status, json!([])).with_header("location", &format!("{elsewhere}/stolen"));
        sandbox.clerk.fail("/v1/jwt_templates", redirect());
        sandbox.auth0.fail("/api/v2/connections", redirect());
        sandbox.run(&["check", "--json", "--no-store"]).await.expect(11);
    }
    sandbox.auth0.fail("/oauth/token", Fault::status(307, json!({})).with_header("location", &elsewhere));
    sandbox.check_one("acme", 69).await;
    assert_eq!(sandbox.webhook.requests().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_a_token_is_tried_again_like_any_other() {
    let sandbox = Sandbox::approved().await;
    let busy = || Fault::status(429, json!({ "error": "too_many_requests" })).with_header("retry-after", "0");
    for fault in [busy(), Fault::status(500, json!({ "error": "access_denied" })), Fault::Truncated] {
        let before = token_requests(&sandbox);
        sandbox.auth0.fail("/oauth/token", fault.clone().times(1));
        sandbox.check_one("acme", 0).await;
        assert_eq!(token_requests(&sandbox) - before, 2, "{fault:?}");
    }
    let before = token_requests(&sandbox);
    sandbox.auth0.fail("/oauth/token", busy());
    let report = sandbox.check_one("acme", 69).await.to_string();
    assert!(report.contains("does not give a token now") && !report.contains("refuses"), "{report}");
    assert_eq!(token_requests(&sandbox) - before, 5);
    // A clear refusal is one.
    let before = token_requests(&sandbox);
    sandbox.auth0.fail("/oauth/token", Fault::status(401, json!({ "error": "access_denied" })));
    let report = sandbox.check_one("acme", 77).await.to_string();
    assert!(report.contains("the tenant refuses a token"), "{report}");
    assert_eq!(token_requests(&sandbox) - before, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_is_renewed_exactly_once_and_the_cycle_succeeds() {
    let sandbox = Sandbox::approved().await;
    // By the vendor's whim, in a fresh process.
    let before = token_requests(&sandbox);
    sandbox.auth0.fail("/api/v2/guardian/factors", auth0::failure(401, "", "Invalid token").times(1));
    sandbox.check_one("acme", 0).await;
    assert_eq!(token_requests(&sandbox) - before, 2, "one to begin with, one in its place");

    // Because it has expired, in a process that keeps it: every section is refused, one token is fetched.
    let watch = sandbox.watch("acme");
    assert_eq!(watch.cycle(RunMode::DryRun).await.unwrap().verdict, Verdict::InSync);
    let before = token_requests(&sandbox);
    assert_eq!(watch.cycle(RunMode::DryRun).await.unwrap().verdict, Verdict::InSync);
    assert_eq!(token_requests(&sandbox) - before, 0, "a good token is kept");
    sandbox.auth0.expire_tokens();
    assert_eq!(watch.cycle(RunMode::DryRun).await.unwrap().verdict, Verdict::InSync);
    assert_eq!(token_requests(&sandbox) - before, 1);

    // A section that is refused with any token is blind, after one more token for it.
    let before = token_requests(&sandbox);
    sandbox.auth0.fail("/api/v2/clients", auth0::failure(401, "", "Invalid token"));
    let report = watch.cycle(RunMode::DryRun).await.unwrap();
    assert_eq!((report.verdict, token_requests(&sandbox) - before), (Verdict::Blind, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_token_costs_few_requests_and_one_address_that_refuses_it_is_alone() {
    let sandbox = Sandbox::approved().await;
    sandbox.auth0.fail("/api/v2/*", auth0::failure(401, "", "Invalid token"));
    let requests = sandbox.check_one("acme", 77).await["requests"].as_u64().unwrap();
    assert!(requests <= 16, "{requests} requests with a token that is dead");
    sandbox.auth0.heal_all();
    sandbox.auth0.fail("/api/v2/guardian/policies", auth0::failure(401, "", "Invalid token"));
    let report = sandbox.check_one("acme", 11).await;
    let blind: Vec<_> = all_sections(&report).iter().filter(|section| section["state"] == "unreachable").collect();
    assert_eq!(blind.len(), 1, "{blind:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn t9_a_page_of_a_proxy_says_nothing_about_the_plan_and_no_wish_of_one_address_ends_the_others() {
    let sandbox = Sandbox::approved().await;
    for status in [402, 404, 501] {
        let page = Fault::status(status, json!("<html>")).with_header("content-type", "text/html");
        sandbox.auth0.fail("/api/v2/organizations", page);
        assert_eq!(sandbox.check_one("acme", 11).await["drifts"], json!([]), "{status}");
    }
    sandbox.auth0.heal_all();
    let reset =
        [("x-ratelimit-limit", "10"), ("x-ratelimit-remaining", "9"), ("x-ratelimit-reset", "18446744073709551615")];
    let prompts = sandbox.auth0.get("/api/v2/prompts").unwrap();
    let fault = reset.iter().fold(Fault::status(200, prompts), |fault, (name, value)| fault.with_header(name, value));
    sandbox.auth0.fail("/api/v2/prompts", fault);
    sandbox.check_one("acme", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_list_that_is_not_counted_is_not_the_whole_list() {
    let sandbox = Sandbox::approved().await;
    let half = sandbox.auth0.get("/api/v2/clients").unwrap().as_array().unwrap()[1..].to_vec();
    sandbox.auth0.fail("/api/v2/clients", Fault::status(200, json!({ "clients": half, "start": 0, "limit": 100 })));
    let report = sandbox.check_one("acme", 11).await;
    assert_eq!(report["drifts"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_held_back_for_ever() {
    let without_most = |sandbox: &Sandbox, note: &str| {
        let note = note.to_owned();
        sandbox.auth0.edit("/api/v2/clients", move |clients| {
            let clients = clients.as_array_mut().unwrap();
            let mut kept = 0;
            clients.retain(|client| client["global"] == true || std::mem::replace(&mut kept, 1) == 0);
            let own = clients.iter_mut().filter(|client| client["global"] != true);
            own.for_each(|client| client["description"] = json!(note));
        });
    };
    let is_suspect = |report: &Value| all_sections(report).iter().any(|section| section["state"] == "suspect");
    // Somebody who changes something in every cycle.
    let sandbox = Sandbox::approved().await;
    for note in ["a", "b", "c"] {
        without_most(&sandbox, note);
        assert!(is_suspect(&sandbox.check_one("acme", 11).await), "{note}");
    }
    without_most(&sandbox, "d");
    assert!(!is_suspect(&sandbox.check_one("acme", 10).await));
    // Nobody has approved anything: there is nothing that could be taken for removed.
    let sandbox = Sandbox::new().await;
    sandbox.check_one("acme", 13).await;
    without_most(&sandbox, "a");
    assert!(!is_suspect(&sandbox.check_one("acme", 13).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_out_is_not_readable_again() {
    let sandbox = Sandbox::approved().await;
    sandbox.auth0.fail("/api/v2/guardian/policies", Fault::status(503, json!({})));
    sandbox.check_one("acme", 11).await;
    sandbox.check_one("acme", 11).await;
    sandbox.edit_configuration("name = \"acme\"", "name = \"acme\"\nleave_out = [\"guardian.policies\"]");
    sandbox.check_one("acme", 0).await;
    let history = sandbox.run(&["history", "acme"]).await.expect(0).out;
    assert!(history.contains("section.blind") && !history.contains("section.seeing_again"), "{history}");
    let told = sandbox.webhook.deliveries().pop().unwrap().json();
    assert_eq!((&told["type"], &told["data"]["sections"][0]["news"]), (&json!("section.left_out"), &json!("left_out")));
    assert_eq!(told["data"]["sections"][0]["still_unseen"], 0, "what was opened for it is over: {told}");
    sandbox.run(&["verify"]).await.expect(0);

    // A baseline that takes it as unreadable ends it, too.
    let sandbox = Sandbox::new().await;
    let left_out = "name = \"acme\"\nleave_out = [\"log-streams\"]";
    sandbox.edit_configuration("name = \"acme\"", left_out);
    sandbox.check_one("acme", 13).await;
    sandbox.approve("acme").await;
    sandbox.edit_configuration(left_out, "name = \"acme\"");
    sandbox.auth0.fail("/api/v2/log-streams", Fault::status(503, json!({})));
    for _ in 0..2 {
        sandbox.check_one("acme", 11).await;
    }
    sandbox.approve("acme").await;
    sandbox.check_one("acme", 0).await;
    let told = sandbox.webhook.deliveries().pop().unwrap().json();
    let section = &told["data"]["sections"][0];
    assert_eq!((&told["type"], &section["section"]), (&json!("section.left_out"), &json!("log-streams")), "{told}");
    sandbox.run(&["verify"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_credential_is_an_error_of_its_own_and_never_a_drift() {
    let sandbox = Sandbox::approved().await;
    sandbox.auth0.rotate_client_secret("CANARY-new-secret");
    for _ in 0..2 {
        let report = sandbox.check_one("acme", 77).await;
        assert_eq!((&report["verdict"], &report["drifts"]), (&json!("error"), &json!([])));
        assert!(report["reason"]["message"].as_str().unwrap().contains("access_denied"), "{report}");
        assert!(all_sections(&report).iter().all(|section| section["state"] == "unreachable"), "{report}");
    }
    // One instance of two: the other was read, so it is blindness, and the code of the readable one stands.
    let both = sandbox.check().await.expect(11).json();
    assert_eq!(Sandbox::report(&both, "clerk:prod")["verdict"], "in_sync");

    sandbox.clerk.rotate_secret_key(OTHER_KEY);
    let report = sandbox.check_one("prod", 11).await;
    assert_eq!((&report["verdict"], &report["drifts"]), (&json!("blind"), &json!([])));
    for section in all_sections(&report) {
        let row = Table::of(Provider::Clerk).section(section["section"].as_str().unwrap()).unwrap();
        assert_eq!(section["state"], if row.api == Api::Backend { "unreachable" } else { "value" }, "{section}");
    }

    // The new secrets work without anything else being done.
    sandbox.write("auth0-client-secret", "CANARY-new-secret\n");
    sandbox.write("clerk-secret-key", OTHER_KEY);
    sandbox.check().await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_key_alone_that_dies_is_a_credential_error() {
    let sandbox = Sandbox::new().await;
    let table = format!(
        "[[clerk]]\nname = \"prod\"\nsecret_key = {{ file = \"clerk-secret-key\" }}\nbackend_api_url = \"{}\"\n",
        sandbox.clerk.url()
    );
    sandbox.write("config.toml", &format!("{}{table}", sandbox.head()));
    sandbox.check_one("prod", 13).await;
    sandbox.approve("prod").await;
    sandbox.check_one("prod", 0).await;
    sandbox.clerk.rotate_secret_key(OTHER_KEY);
    let report = sandbox.check_one("prod", 77).await;
    assert_eq!((&report["verdict"], &report["drifts"]), (&json!("error"), &json!([])));
    sandbox.clerk.rotate_secret_key(clerk::SECRET_KEY);
    sandbox.clerk.fail_all(Fault::status(503, json!({})));
    let report = sandbox.check_one("prod", 69).await;
    assert_eq!((&report["verdict"], &report["drifts"]), (&json!("error"), &json!([])));
}

fn all_sections(report: &Value) -> &Vec<Value> {
    report["sections"].as_array().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_is_for_loopback_only_and_is_refused_before_anything_is_sent() {
    let sandbox = Sandbox::new().await;
    for (url, kind) in [(sandbox.clerk.url(), "backend_api_url"), (sandbox.auth0.url(), "api_url")] {
        sandbox.write("config.toml", &sandbox.configuration());
        sandbox.edit_configuration(&format!("{kind} = \"{url}\""), &format!("{kind} = \"http://192.0.2.1:8080\""));
        for arguments in [&["check"][..], &["config", "check"]] {
            let ran = sandbox.run(arguments).await.expect(78);
            assert!(ran.err.contains("https://") && ran.err.contains(kind), "{}", ran.err);
        }
    }
    assert!(sandbox.clerk.requests().is_empty() && sandbox.auth0.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_approved_instance_may_get_another_domain_and_that_is_a_drift() {
    let sandbox = Sandbox::approved().await;
    move_to_another_shop(&sandbox);
    let report = sandbox.check_one("prod", 10).await;
    let paths: Vec<&str> =
        report["drifts"].as_array().unwrap().iter().map(|drift| drift["path"].as_str().unwrap()).collect();
    assert!(!paths.is_empty() && paths.iter().all(|path| path.starts_with("/domains/")), "{paths:?}");
    // Another instance at another domain is what it looks like: the wrong keys.
    sandbox.clerk.edit("/v1/instance", |instance| instance["id"] = json!("ins_another"));
    assert_eq!(sandbox.check_one("prod", 78).await["verdict"], "error");
}

fn move_to_another_shop(sandbox: &Sandbox) {
    sandbox.clerk.edit("/v1/domains", |domains| {
        for domain in domains.as_array_mut().unwrap() {
            domain["frontend_api_url"] = json!("https://clerk.another-shop.example");
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_two_instances_are_refused_and_both_are_named() {
    let sandbox = Sandbox::new().await;
    let healthy = sandbox.clerk.get("/v1/domains").unwrap();
    move_to_another_shop(&sandbox);
    let report = sandbox.check_one("prod", 78).await;
    assert_eq!((&report["verdict"], &report["drifts"]), (&json!("error"), &json!([])));
    let message = report["reason"]["message"].as_str().unwrap();
    for host in ["clerk.lantern-books.example", "clerk.another-shop.example"] {
        assert!(message.contains(host), "{message}");
    }
    sandbox.clerk.set("/v1/domains", healthy);
    sandbox.clerk.forget_requests();
    sandbox.write("clerk-secret-key", DEVELOPMENT_KEY);
    let report = sandbox.check_one("prod", 78).await;
    let message = report["reason"]["message"].as_str().unwrap();
    assert!(message.contains("clerk.lantern-books.example") && message.contains("development"), "{message}");
    assert!(sandbox.clerk.requests().is_empty(), "the key of the wrong environment is not even sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_publishable_key_alone_reads_what_every_browser_reads() {
    let sandbox = Sandbox::new().await;
    let table = format!(
        "[[clerk]]\nname = \"prod\"\npublishable_key = \"{}\"\nfrontend_api_url = \"{}\"\n",
        clerk::PUBLISHABLE_KEY,
        sandbox.clerk.url()
    );
    sandbox.write("config.toml", &format!("{}{table}{}", sandbox.head(), sandbox.receiver_tables()));
    let report = sandbox.check_one("prod", 13).await;
    assert_eq!(report["resource"], "clerk.lantern-books.example");
    let rows = Table::of(Provider::Clerk).sections().iter().filter(|section| section.api == Api::Frontend);
    let public: BTreeSet<&str> = rows.map(|section| section.path.as_str()).collect();
    assert_eq!(all_sections(&report).len(), public.len());
    sandbox.approve("prod").await;
    sandbox.check_one("prod", 0).await;
    sandbox.clerk.edit("/v1/environment", |environment| {
        environment["user_settings"]["sign_up"]["mode"] = json!("public");
    });
    let report = sandbox.check_one("prod", 10).await;
    assert_eq!(report["drifts"][0]["path"], "/frontend.environment/user_settings/sign_up/mode");
    assert_eq!(report["drifts"].as_array().unwrap().len(), 1);
    assert_eq!((sandbox.smtp.mails().len(), sandbox.webhook.deliveries().len()), (1, 1));
    let requests = sandbox.clerk.requests();
    assert_eq!(requests.iter().map(|request| request.path.as_str()).collect::<BTreeSet<_>>(), public);
    assert!(sandbox.clerk.requests().iter().all(|request| request.authorization.is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_key_signs_in_without_a_shared_secret() {
    let sandbox = Sandbox::new().await;
    // PKCS#1 PEM, one of the two forms a private key comes in.
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-f"])
        .arg(sandbox.path("auth0-key.pem"))
        .status()
        .unwrap();
    assert!(made.success());
    sandbox.edit_configuration(
        "client_secret = { file = \"auth0-client-secret\" }",
        "private_key = { file = \"auth0-key.pem\" }\nkey_id = \"key-1\"",
    );
    sandbox.run(&["check", "acme"]).await.expect(13);
    let requests = sandbox.auth0.requests();
    let token = requests.iter().find(|request| request.path == "/oauth/token").unwrap();
    let form: Vec<(String, String)> = url::form_urlencoded::parse(&token.body).into_owned().collect();
    let field = |name: &str| form.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    assert_eq!(field("client_secret"), None);
    let parts: Vec<&str> = field("client_assertion").unwrap().split('.').collect();
    let decode = |part: &str| -> Value {
        serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    let (header, claims) = (decode(parts[0]), decode(parts[1]));
    assert_eq!((&header["alg"], &header["kid"]), (&json!("RS256"), &json!("key-1")));
    assert_eq!(claims["aud"], format!("https://{}/", auth0::DOMAIN), "one text with a slash at its end");
    assert_eq!((&claims["iss"], &claims["sub"]), (&json!(auth0::CLIENT_ID), &json!(auth0::CLIENT_ID)));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_refused_for_ever_is_renewed_once_per_cycle() {
    let sandbox = Sandbox::approved().await;
    let before = token_requests(&sandbox);
    sandbox.auth0.fail("/api/v2/*", auth0::failure(401, "", "Invalid token"));
    sandbox.run(&["check", "acme"]).await.expect(77);
    assert!(token_requests(&sandbox) - before <= 2, "one at the beginning, one renewal");
}
