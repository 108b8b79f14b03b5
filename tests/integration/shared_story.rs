//! The whole story on real data: a recorded Auth0 tenant and the Clerk fixtures with their list of changes.

use std::collections::BTreeMap;
use std::path::Path;

use authdrift::canonical::{self, Redaction};
use authdrift::model::{Pointer, Provider};
use authdrift::sections::{Depth, Section, Table};
use authdrift::simulator::auth0::Auth0;
use authdrift::simulator::clerk::Clerk;
use authdrift::simulator::smtp::Mail;
use authdrift::simulator::webhook::Signature;
use serde_json::{Value, json};

use crate::common::Sandbox;
use crate::common::replay::TENANT;
use crate::support::fixtures::{self, Answer};

const DATABASE: &str = "Username-Password-Authentication";
const SPA: &str = "rKef1UT7WVa658hbPRUBSKKnJgRbhQMY";

/// `(path, kind, direction)` of a drift.
type Found = (String, String, String);

#[tokio::test(flavor = "multi_thread")]
async fn every_change_of_the_recorded_data_is_found_and_nothing_else() {
    let Some(folder) = fixtures::folder() else { return };
    let sandbox = Sandbox::recorded(&folder).await;
    let first = sandbox.check().await.expect(13).json();
    let recorded = |provider| fixtures::answers(&folder, provider);
    assert_read_as_recorded(&sandbox, &first, "clerk:prod", fixtures::PRODUCTION, &recorded(Provider::Clerk));
    assert_read_as_recorded(&sandbox, &first, "auth0:acme", "tenant", &recorded(Provider::Auth0));

    // The recording has no second factor and no policy, and a tenant that has nothing cannot lose it.
    sandbox.auth0.edit("/api/v2/guardian/policies", |policies| *policies = json!(["all-applications"]));
    sandbox.auth0.edit("/api/v2/guardian/factors", |factors| item(factors, "name", "otp")["enabled"] = json!(true));
    sandbox.check().await.expect(13);
    sandbox.approve("prod").await;
    sandbox.approve("acme").await;
    sandbox.check().await.expect(0);

    let before = [documents(&sandbox.clerk, Provider::Clerk), documents(&sandbox.auth0, Provider::Auth0)];
    let expected_clerk = change_clerk(&sandbox.clerk, &folder);
    let expected_auth0 = change_auth0(&sandbox.auth0);
    assert!(expected_clerk.len() > 20 && expected_auth0.len() >= 9, "the test has lost its changes");
    let report = sandbox.check().await.expect(10).json();
    assert_eq!(found(&report, "clerk:prod"), expected_clerk);
    assert_eq!(found(&report, "auth0:acme"), expected_auth0);
    let again = sandbox.check().await.expect(10).json();
    let opened = [("clerk:prod", expected_clerk), ("auth0:acme", expected_auth0)];
    for (instance, expected) in &opened {
        assert_eq!(Sandbox::drifts(&again, instance), Sandbox::drifts(&report, instance));
        assert_told(&sandbox, instance, expected);
    }

    sandbox.clerk.load(before[0].clone());
    sandbox.auth0.load(before[1].clone());
    sandbox.check().await.expect(0);
    for (instance, _) in &opened {
        assert_closed_in_the_same_thread(&sandbox, instance);
    }
}

/// What came over HTTP, page by page and object by object, is what was recorded; nothing else was read, and whatever
/// was recorded as refused is off or refused, never unknown.
fn assert_read_as_recorded(sandbox: &Sandbox, report: &Value, instance: &str, set: &str, answers: &[Answer]) {
    let tenant = fixtures::tenant(answers[0].provider, set, answers);
    let answers: Vec<_> = answers.iter().filter(|answer| answer.set == set).collect();
    let redaction = Redaction { key: sandbox.store().fingerprint_key().clone(), keep_code: false };
    let mut read = 0;
    for found in Sandbox::report(report, instance)["sections"].as_array().unwrap() {
        let section = Table::of(tenant.provider).section(found["section"].as_str().unwrap()).unwrap();
        match tenant.sections.get(&section.name) {
            Some(value) => {
                let document = canonical::document(section, value.clone(), &redaction).unwrap();
                assert_eq!(
                    (found["state"].as_str(), found["digest"].as_str()),
                    (Some("value"), Some(document.digest().as_str())),
                    "{found}"
                );
                read += 1;
            }
            None => {
                let is_recorded =
                    answers.iter().flat_map(|answer| answer.matches()).any(|one| one.section.name == section.name);
                assert!(!is_recorded || found["state"] != "value" && found["state"] != "unreachable", "{found}");
            }
        }
    }
    let expected = tenant
        .sections
        .keys()
        .filter(|name| Table::of(tenant.provider).section(name).unwrap().depth == Depth::Security);
    assert_eq!(read, expected.count(), "{instance}: sections that were not asked for");
}

/// Everything the vendor serves to us, to put it back later.
fn documents(vendor: &authdrift::simulator::vendor::Vendor, provider: Provider) -> BTreeMap<String, Value> {
    let paths = vendor.requests().into_iter().map(|request| request.path);
    let documents: BTreeMap<_, _> = paths.filter_map(|path| Some((path.clone(), vendor.get(&path)?))).collect();
    assert!(documents.len() >= 10, "{provider}: {:?}", documents.keys());
    documents
}

fn item<'a>(list: &'a mut Value, field: &str, name: &str) -> &'a mut Value {
    list.as_array_mut().unwrap().iter_mut().find(|item| item[field] == name).unwrap()
}

fn expect(list: &mut Vec<Found>, path: &str, kind: &str, direction: &str) {
    list.push((path.to_owned(), kind.to_owned(), direction.to_owned()));
}

/// Makes every change of `changes.json`, and answers what has to be found.
fn change_clerk(clerk: &Clerk, folder: &Path) -> Vec<Found> {
    let answers = fixtures::answers(folder, Provider::Clerk);
    let mut expected = Vec::new();
    let mut seen = 0;
    for drifted in fixtures::read(&folder.join("clerk/drifted/changes.json")).as_array().unwrap() {
        let file = |name: &str| answers.iter().find(|answer| answer.file == drifted[name].as_str().unwrap()).unwrap();
        let (before, after) = (file("baseline"), file("drifted"));
        let found = before.matches().into_iter().next().unwrap_or_else(|| panic!("{}: of no section", before.file));
        let changes = drifted["changes"].as_array().unwrap();
        seen += 1;
        if found.section.name == "platform.config" {
            // Two files change this one: both, one after the other.
            clerk.edit(&before.path, |document| changes.iter().for_each(|change| put(document, change)));
        } else {
            clerk.set(&before.path, after.body.clone());
        }
        for change in changes {
            expect_change(&mut expected, found.section, change, [before, after].map(|one| one.value(found.section)));
        }
    }
    assert!(seen >= 7, "only {seen} of the drifted files are of sections that are read");
    expected.sort();
    expected
}

fn put(document: &mut Value, change: &Value) {
    let pointer = format!("/{}", change["path"].as_str().unwrap().replace('.', "/"));
    let place = document.pointer_mut(&pointer).unwrap();
    assert!(*place == change["from"] || change["direction"] == "ignore", "{pointer}");
    *place = change["to"].clone();
}

/// What one entry of `changes.json` has to look like in a report.
fn expect_change(expected: &mut Vec<Found>, section: &Section, change: &Value, [before, after]: [Value; 2]) {
    let direction = match change["direction"].as_str().unwrap() {
        "ignore" => return,
        "weaker" => "weaker",
        "changed" => "neutral",
        "unknown field appeared" => "unknown",
        // A new template is a new way to get a token; one less is one less.
        "added" => "weaker",
        "removed" => "stronger",
        other => panic!("a new word for a direction: {other}"),
    };
    let tokens = tokens(change["path"].as_str().unwrap());
    let place = tokens.iter().fold(Pointer::of_section(&section.name), |path, token| path.child(token));
    let path = place.to_string();
    let members = |name: &str| change[name].as_array().cloned().unwrap_or_default();
    let (from, to) = (members("from"), members("to"));
    let added = members("added").len() + to.iter().filter(|member| !from.contains(member)).count();
    let removed = members("removed").len() + from.iter().filter(|member| !to.contains(member)).count();
    if section.key_at(&tokens).is_some() {
        // Of objects that know who they are, each comes and goes at its own place.
        for member in members("added") {
            expect(expected, &place.child(member.as_str().unwrap()).to_string(), "added", direction);
        }
        return assert_eq!((added, removed), (members("added").len(), 0), "{path}");
    }
    if added + removed > 0 {
        (0..added).for_each(|_| expect(expected, &path, "added", direction));
        (0..removed).for_each(|_| expect(expected, &path, "removed", direction));
        return;
    }
    let kind = match (is_there(&before, &tokens), is_there(&after, &tokens)) {
        (false, true) => "added",
        (true, false) => "removed",
        _ => "changed",
    };
    expect(expected, &path, kind, direction);
}

/// `[name=supabase].claims.email` as `supabase`, `claims`, `email`.
fn tokens(path: &str) -> Vec<String> {
    let plain = |token: &str| token.rsplit_once('=').map_or(token, |(_, key)| key).trim_end_matches(']').to_owned();
    path.split('.').map(plain).collect()
}

fn is_there(document: &Value, tokens: &[String]) -> bool {
    let step = |value: &'_ Value, token: &String| match value {
        Value::Array(items) => items.iter().find(|item| item["name"] == **token || item["key"] == **token).cloned(),
        other => other.get(token).cloned(),
    };
    tokens.iter().try_fold(document.clone(), |value, token| step(&value, token)).is_some()
}

/// Changes the tenant, noise included, and answers what has to be found.
fn change_auth0(auth0: &Auth0) -> Vec<Found> {
    let mut expected = Vec::new();
    let mut changed = |path: &str, kind: &str| expect(&mut expected, path, kind, "weaker");
    auth0.edit("/api/v2/guardian/policies", |policies| *policies = json!([]));
    changed("/guardian.policies", "removed");
    auth0.edit("/api/v2/guardian/factors", |factors| {
        item(factors, "name", "otp")["enabled"] = json!(false);
        item(factors, "name", "sms")["trial_expired"] = json!(true);
        factors.as_array_mut().unwrap().reverse();
    });
    changed("/guardian.factors/otp/enabled", "changed");
    auth0.edit("/api/v2/tenants/settings", |settings| {
        settings["idle_session_lifetime"] = json!(72);
        settings["sandbox_versions_available"] = json!(["24", "22"]);
    });
    changed("/tenants.settings/idle_session_lifetime", "changed");
    auth0.edit("/api/v2/clients", |clients| {
        let spa = item(clients, "client_id", SPA);
        for field in ["callbacks", "web_origins"] {
            let mut urls = spa[field].as_array().cloned().unwrap_or_default();
            urls.insert(0, json!("https://login.acme-support.example"));
            spa[field] = json!(urls);
        }
        spa["grant_types"].as_array_mut().unwrap().reverse();
        clients.as_array_mut().unwrap().reverse();
    });
    changed(&format!("/clients/{SPA}/callbacks"), "added");
    changed(&format!("/clients/{SPA}/web_origins"), "added");
    auth0.edit("/api/v2/connections", |connections| {
        item(connections, "name", DATABASE)["options"]["passwordPolicy"] = json!("low");
        connections.as_array_mut().unwrap().reverse();
    });
    changed(&format!("/connections/{DATABASE}/options/passwordPolicy"), "changed");
    auth0.edit("/api/v2/resource-servers", |servers| {
        servers[0]["token_lifetime"] = json!(2_592_000);
        servers[0]["scopes"].as_array_mut().unwrap().reverse();
    });
    let api = Pointer::of_section("resource-servers").child(&format!("https://{TENANT}/api/v2/"));
    changed(&api.child("token_lifetime").to_string(), "changed");
    auth0.edit("/api/v2/attack-protection/brute-force-protection", |protection| {
        protection["enabled"] = json!(false);
        protection["shields"].as_array_mut().unwrap().reverse();
    });
    changed("/attack-protection.brute-force-protection/enabled", "changed");
    auth0.edit("/api/v2/attack-protection/suspicious-ip-throttling", |throttling| {
        throttling["allowlist"] = json!(["198.51.100.7"]);
        throttling["shields"].as_array_mut().unwrap().reverse();
    });
    changed("/attack-protection.suspicious-ip-throttling/allowlist", "added");
    expected.sort();
    expected
}

fn found(report: &Value, instance: &str) -> Vec<Found> {
    let text = |drift: &Value, name: &str| drift[name].as_str().unwrap().to_owned();
    let drifts = Sandbox::report(report, instance)["drifts"].as_array().unwrap();
    let mut found: Vec<Found> =
        drifts.iter().map(|drift| (text(drift, "path"), text(drift, "kind"), text(drift, "direction"))).collect();
    found.sort();
    found
}

fn mails(sandbox: &Sandbox, instance: &str) -> Vec<Mail> {
    let is_of = |mail: &Mail| mail.header("X-Authdrift-Instance").as_deref() == Some(instance);
    sandbox.smtp.mails().into_iter().filter(is_of).collect()
}

fn bodies(sandbox: &Sandbox, instance: &str) -> Vec<Value> {
    let deliveries = sandbox.webhook.deliveries();
    assert!(deliveries.iter().all(|delivery| delivery.signature == Signature::Valid));
    deliveries.iter().map(|delivery| delivery.json()).filter(|body| body["data"]["instance"] == instance).collect()
}

fn assert_told(sandbox: &Sandbox, instance: &str, expected: &[Found]) {
    let mails = mails(sandbox, instance);
    assert_eq!(mails.len(), 1, "one cause, one mail");
    // A long path may be broken after a slash.
    let (text, html) = (mails[0].text().unwrap(), mails[0].html().unwrap().replace("<wbr>", ""));
    for (path, ..) in expected {
        assert!(text.contains(path.as_str()), "{path} is not in:\n{text}");
        assert!(html.contains(path.as_str()), "{path} is not in the HTML part");
    }
    let bodies = bodies(sandbox, instance);
    assert_eq!(bodies.len(), 1);
    assert_eq!(bodies[0]["type"], "drift.opened");
    assert_eq!(bodies[0]["data"]["open"], expected.len());
    let changes = bodies[0]["data"]["entries"].as_array().unwrap().iter();
    let changes = changes.flat_map(|entry| entry["changes"].as_array().unwrap());
    let mut paths: Vec<_> = changes.map(|change| change["path"].as_str().unwrap()).collect();
    paths.sort_unstable();
    let expected: Vec<_> = expected.iter().map(|(path, ..)| path.as_str()).collect();
    assert_eq!(paths, expected, "{}", bodies[0]);
}

fn assert_closed_in_the_same_thread(sandbox: &Sandbox, instance: &str) {
    let mails = mails(sandbox, instance);
    assert_eq!(mails.len(), 2);
    let first = mails[0].header("Message-ID").unwrap();
    assert_eq!(mails[0].header("In-Reply-To"), None);
    assert_eq!(mails[1].header("In-Reply-To").as_deref(), Some(first.as_str()));
    assert_eq!(mails[1].header("References").as_deref(), Some(first.as_str()));
    let subject = mails[0].header("Subject").unwrap();
    assert_eq!(mails[1].header("Subject"), Some(format!("Re: {subject}")));
    let bodies = bodies(sandbox, instance);
    assert_eq!((bodies.len(), &bodies[1]["type"], &bodies[1]["data"]["open"]), (2, &json!("drift.closed"), &json!(0)));
}
