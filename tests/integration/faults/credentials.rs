//! A credential that died is one piece of news, however much is read with it.

use authdrift::model::Provider;
use authdrift::sections::{Api, Table};
use authdrift::simulator::fault::Fault;
use authdrift::simulator::vendor::Vendor;
use authdrift::simulator::{auth0, clerk};
use serde_json::{Value, json};

use super::rules::{CREDENTIAL, outcome_of};
use crate::common::Sandbox;

const OTHER_KEY: &str = concat!("sk_", "live_", "CANARYofAnotherInstance01");

/// One way in which a credential dies.
struct Death {
    instance: &'static str,
    api: Api,
    /// What the vendor says.
    says: &'static str,
    /// What is left to be read decides the exit code.
    exit: i32,
}

/// The kinds of the events that are about a credential or a section.
async fn told(sandbox: &Sandbox, instance: &str) -> Vec<(String, Value)> {
    let history = sandbox.run(&["history", instance, "--json"]).await.expect(0).json();
    let events = history["events"].as_array().unwrap().iter();
    let of_reading = events.filter(|event| {
        let kind = event["kind"].as_str().unwrap();
        kind.starts_with("credential.") || kind.starts_with("section.") || kind.starts_with("drift.")
    });
    of_reading.map(|event| (event["kind"].as_str().unwrap().to_owned(), event["data"].clone())).collect()
}

fn subjects(sandbox: &Sandbox) -> Vec<String> {
    sandbox.smtp.mails().iter().map(|mail| mail.header("Subject").unwrap()).collect()
}

/// Lets a credential die, stay dead for a cycle, and live again.
async fn assert_one_news(sandbox: &Sandbox, death: Death, kill: impl Fn(&Sandbox), revive: impl Fn(&Sandbox)) {
    let Death { instance, api, says, exit } = death;
    let (provider, vendor): (_, &Vendor) = match instance {
        "prod" => (Provider::Clerk, &sandbox.clerk),
        _ => (Provider::Auth0, &sandbox.auth0),
    };
    let credential = api.credential();
    kill(sandbox);
    for _ in 0..2 {
        vendor.forget_requests();
        let report = sandbox.check_one(instance, exit).await;
        assert_eq!(report["drifts"], json!([]));
        for read in report["sections"].as_array().unwrap() {
            let name = read["section"].as_str().unwrap();
            let is_of_it = Table::of(provider).section(name).unwrap().api == api;
            let expected = if is_of_it { outcome_of(CREDENTIAL).state() } else { "value" };
            assert_eq!(read["state"], expected, "{credential}: {read}");
        }
        // As many as may be under way at once, and one new token.
        let refused = vendor.requests().iter().filter(|request| matches!(request.status, Some(401 | 403))).count();
        assert!((0..=5).contains(&refused), "{credential}: {refused} requests with a dead credential");
        let told = told(sandbox, instance).await;
        let [(kind, data)] = told.as_slice() else { panic!("{credential}: {told:?}") };
        assert_eq!((kind.as_str(), data["credential"].as_str()), ("credential.refused", Some(credential)));
        assert!(data["reason"].as_str().unwrap().contains(says), "{data}");
        let [delivery] = &sandbox.webhook.deliveries()[..] else { panic!("{credential}: more than one message") };
        assert_eq!(delivery.json()["data"]["sections"].as_array().unwrap().len(), 1);
    }
    assert!(outcome_of(CREDENTIAL).told().contains("`credential.refused`, at once and once"));
    revive(sandbox);
    sandbox.check_one(instance, 0).await;
    let kinds: Vec<String> = told(sandbox, instance).await.into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["credential.refused", "credential.accepted"]);
    assert_eq!((sandbox.smtp.mails().len(), sandbox.webhook.deliveries().len()), (2, 2));
    let refused = format!("[authdrift] HIGH {}: the {credential} is refused", format_args!("{provider}:{instance}"));
    assert!(subjects(sandbox)[0].starts_with(&refused), "{:?}", subjects(sandbox));
    let mails: Vec<String> = sandbox.smtp.mails().iter().map(|mail| mail.text().unwrap()).collect();
    assert!(
        mails[0].contains(&format!("the {credential} is refused")) && mails[0].contains("Replaced?"),
        "{}",
        mails[0]
    );
    assert!(mails[1].contains(&format!("the {credential} is accepted again")), "{}", mails[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_secret_key_is_told_once() {
    let sandbox = Sandbox::approved().await;
    let death = Death { instance: "prod", api: Api::Backend, says: "clerk_key_invalid", exit: 11 };
    let kill = |sandbox: &Sandbox| sandbox.clerk.rotate_secret_key(OTHER_KEY);
    assert_one_news(&sandbox, death, kill, |sandbox| sandbox.clerk.rotate_secret_key(clerk::SECRET_KEY)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_platform_token_is_told_once() {
    let sandbox = Sandbox::approved().await;
    let says = "platform_api_unrecognized_credential";
    let death = Death { instance: "prod", api: Api::Platform, says, exit: 11 };
    let kill = |sandbox: &Sandbox| sandbox.clerk.rotate_platform_token("CANARY-other");
    assert_one_news(&sandbox, death, kill, |sandbox| sandbox.clerk.rotate_platform_token(clerk::PLATFORM_TOKEN)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_application_is_told_once() {
    for (status, says) in [(401, "access_denied"), (403, "access_denied"), (401, "invalid_client")] {
        let sandbox = Sandbox::approved().await;
        let death = Death { instance: "acme", api: Api::Management, says, exit: 77 };
        let refusal = json!({ "error": says, "error_description": "Unauthorized" });
        let kill = |sandbox: &Sandbox| sandbox.auth0.fail("/oauth/token", Fault::status(status, refusal.clone()));
        assert_one_news(&sandbox, death, kill, |sandbox| sandbox.auth0.heal_all()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_token_made_by_hand_is_told_once() {
    let sandbox = Sandbox::approved().await;
    let by_hand = format!(
        "[[auth0]]\nname = \"acme\"\ndomain = \"{}\"\ntoken = {{ file = \"auth0-token\" }}\napi_url = \"{}\"\n",
        auth0::DOMAIN,
        sandbox.auth0.url()
    );
    sandbox.edit_configuration(&sandbox.auth0_table(), &by_hand);
    sandbox.write("auth0-token", &sandbox.auth0.issue_token());
    sandbox.check_one("acme", 0).await;
    let death = Death { instance: "acme", api: Api::Management, says: "Invalid token", exit: 77 };
    let kill = |sandbox: &Sandbox| sandbox.write("auth0-token", "CANARY-of-another-tenant");
    let revive = |sandbox: &Sandbox| sandbox.write("auth0-token", &sandbox.auth0.issue_token());
    assert_one_news(&sandbox, death, kill, revive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_other_credentials_read_is_compared_meanwhile() {
    let sandbox = Sandbox::approved().await;
    sandbox.clerk.rotate_secret_key(OTHER_KEY);
    sandbox.clerk.edit("/v1/environment", |environment| {
        environment["user_settings"]["sign_up"]["mode"] = json!("public");
    });
    let report = sandbox.check_one("prod", 10).await;
    assert_eq!(report["drifts"][0]["path"], "/frontend.environment/user_settings/sign_up/mode");
    assert_eq!(report["drifts"].as_array().unwrap().len(), 1);
    let kinds: Vec<String> = told(&sandbox, "prod").await.into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds.len(), 2, "{kinds:?}");
    assert_eq!(subjects(&sandbox), ["[authdrift] HIGH clerk:prod: Sign-up mode weaker, secret key refused"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_credential_that_is_taken_away_was_not_accepted() {
    let sandbox = Sandbox::approved().await;
    sandbox.clerk.rotate_platform_token("CANARY-other");
    sandbox.check_one("prod", 11).await;
    let without = format!(
        "platform_token = {{ file = \"clerk-platform-token\" }}\napplication_id = \"{}\"\n",
        clerk::APPLICATION_ID
    );
    sandbox.edit_configuration(&without, "");
    sandbox.check_one("prod", 11).await;
    sandbox.check_one("prod", 11).await;
    let kinds: Vec<String> = told(&sandbox, "prod").await.into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds[..2], ["credential.refused", "credential.removed"]);
    assert!(kinds[2..].iter().all(|kind| kind == "section.blind") && kinds.len() > 3, "{kinds:?}");
    assert!(subjects(&sandbox).iter().all(|subject| !subject.contains("accepted")), "{:?}", subjects(&sandbox));
    let types: Vec<_> = sandbox.webhook.deliveries().iter().map(|sent| sent.json()["type"].clone()).collect();
    assert!(types.contains(&json!("credential.removed")), "what was opened for it is over: {types:?}");
    sandbox.run(&["verify"]).await.expect(0);
}
