//! Large tenants are read whole, and nobody is asked too fast.

use std::collections::BTreeMap;

use crate::large::{self, Size};
use authdrift::canonical::Document;
use authdrift::model::Provider;
use authdrift::sections::Table;
use authdrift::simulator::auth0::Auth0;
use authdrift::simulator::clerk::Clerk;
use authdrift::store::{cycles, instances};
use serde_json::{Value, json};

use crate::common::Sandbox;

/// The sections that a test of pacing reads: few enough to be quick, with pages and with an object for each connection.
const FEW: [&str; 5] = ["tenants.settings", "guardian.factors", "clients", "connections", "connections.clients"];

/// Two pages of applications.
const SMALL: Size = Size { clients: 150, connections: 2, organizations: 1, actions: 1, apis: 1 };

/// A sandbox with one instance, an Auth0 tenant of that size.
async fn sandbox_of(size: Size) -> Sandbox {
    let auth0 = Auth0::empty().await.unwrap();
    auth0.load(large::tenant(size));
    let sandbox = Sandbox::with(Clerk::empty().await.unwrap(), auth0).await;
    sandbox.write("config.toml", &format!("{}{}", sandbox.head(), sandbox.auth0_table()));
    sandbox
}

/// How many requests each kind of address has got, ids and queries left out.
fn asked(sandbox: &Sandbox) -> BTreeMap<String, usize> {
    let mut asked = BTreeMap::new();
    for request in sandbox.auth0.requests() {
        let is_id = |part: &str| ["con_", "org_", "rol_"].iter().any(|kind| part.starts_with(kind));
        let parts = request.path.split('/').map(|part| if is_id(part) { "*" } else { part });
        let mut path = parts.collect::<Vec<_>>().join("/").replace("/api/v2/", "");
        if request.parameter("is_global").as_deref() == Some("true") {
            path.push_str("?is_global");
        }
        *asked.entry(path).or_default() += 1;
    }
    asked
}

/// How many requests of each kind a tenant of that size takes, as far as they depend on it.
fn expected(size: Size) -> BTreeMap<String, usize> {
    let pages = |items: usize| items.div_ceil(100).max(1);
    let with_keys = (0..size.connections).filter(|connection| large::has_keys(*connection)).count();
    let all = [
        ("clients", pages(size.clients)),
        ("connections", pages(size.connections)),
        ("connections/*/clients", size.connections),
        ("connections/*/keys", with_keys),
        ("resource-servers", pages(size.apis)),
        ("roles", pages(size.apis)),
        ("roles/*/permissions", size.apis),
        ("roles/*/groups", size.apis),
        ("organizations", pages(size.organizations)),
        ("organizations/*/connections", size.organizations),
        ("organizations/*/client-grants", size.organizations),
        ("organizations/*/discovery-domains", size.organizations),
        ("organizations/*/clients", size.organizations),
        ("organizations/*/groups", size.organizations),
        ("actions/actions", pages(size.actions)),
    ];
    all.into_iter().map(|(path, count)| (path.to_owned(), count)).collect()
}

/// What was read of a section in the last cycle.
fn read_last(sandbox: &Sandbox, section: &str) -> Value {
    let id = "auth0:acme".parse().unwrap();
    let snapshot = sandbox.store().read(|tx| {
        let row = instances::find(tx, &id)?.unwrap();
        cycles::latest_snapshot(tx, row, &id)
    });
    let (snapshot, _) = snapshot.unwrap().unwrap();
    snapshot.sections[section].document().map(Document::value).cloned().unwrap()
}

/// Reads a tenant of that size twice, and once more after one application was changed.
async fn is_read_whole(size: Size) {
    let sandbox = sandbox_of(size).await;
    let first = sandbox.check_one("acme", 13).await;
    let asked = asked(&sandbox);
    for (path, count) in expected(size) {
        assert_eq!(asked.get(&path), Some(&count), "{path}: {asked:#?}");
    }
    let sent: usize = asked.values().sum();
    assert_eq!(first["requests"], json!(sent));
    assert!(first["sections"].as_array().unwrap().iter().all(|section| section["state"] != "unreachable"), "{first}");
    for (section, count) in [
        ("clients", size.clients),
        ("connections", size.connections),
        ("connections.clients", size.connections),
        ("organizations", size.organizations),
        ("organizations.connections", size.organizations),
        ("organizations.client-grants", size.organizations),
        ("organizations.discovery-domains", size.organizations),
        ("actions.actions", size.actions),
        ("roles.permissions", size.apis),
        ("resource-servers", size.apis),
    ] {
        assert_eq!(read_last(&sandbox, section).as_object().unwrap().len(), count, "{section}");
    }

    sandbox.approve("acme").await;
    let second = sandbox.check_one("acme", 0).await;
    assert_eq!((&second["verdict"], &second["snapshot"]), (&json!("in_sync"), &first["snapshot"]));

    let number = size.clients / 2;
    sandbox.auth0.edit("/api/v2/clients", |clients| {
        clients[number]["callbacks"].as_array_mut().unwrap().push(json!("https://evil.example/callback"));
    });
    let third = sandbox.run(&["check", "--json"]).await.expect(10).json();
    let path = format!("/clients/{}/callbacks", large::client_id(number));
    assert_eq!(Sandbox::drifts(&third, "auth0:acme"), [("added".to_owned(), path)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_with_many_objects_is_read_whole() {
    is_read_whole(Size::LARGE.divided_by(10)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a minute in a debug build; the one before is the same in small"]
async fn a_large_tenant_is_read_whole() {
    is_read_whole(Size::LARGE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_more_applications_are_ten_more_requests() {
    let mut sent = Vec::new();
    for size in [SMALL, Size { clients: SMALL.clients + 1_000, ..SMALL }] {
        let sandbox = sandbox_of(size).await;
        sandbox.check_one("acme", 13).await;
        sent.push(sandbox.auth0.requests().len());
    }
    assert_eq!(sent[1], sent[0] + 10);
}

/// A tenant of which only a few sections are read, at a free tenant's limit and with `rate` in its configuration.
async fn limited(rate: &str) -> Sandbox {
    let sandbox = sandbox_of(SMALL).await;
    let sections = Table::of(Provider::Auth0).sections().iter();
    let others: Vec<_> = sections.map(|section| section.name.as_str()).filter(|name| !FEW.contains(name)).collect();
    let table = format!("name = \"acme\"\n{rate}\nleave_out = {others:?}\n");
    sandbox.edit_configuration("name = \"acme\"\n", &table);
    sandbox.auth0.set_rate_limit(2, 2.0);
    sandbox
}

/// The status of every request to the Management API.
fn statuses(sandbox: &Sandbox) -> Vec<Option<u16>> {
    let requests = sandbox.auth0.requests().into_iter();
    requests.filter(|request| request.path.starts_with("/api/")).map(|request| request.status).collect()
}

fn assert_complete(report: &Value) {
    let sections = report["sections"].as_array().unwrap();
    assert_eq!(sections.len(), FEW.len(), "{report}");
    assert!(sections.iter().all(|section| section["state"] == "value"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_pace_of_a_free_tenant_no_request_is_refused() {
    let sandbox = limited("rate = \"free\"").await;
    for code in [13, 13] {
        assert_complete(&sandbox.check_one("acme", code).await);
    }
    let statuses = statuses(&sandbox);
    assert_eq!(statuses.len(), 2 * 7);
    assert!(statuses.iter().all(|status| *status == Some(200)), "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_do_for_a_pace_too() {
    let sandbox = limited("rate = { burst = 1, per_minute = 90 }").await;
    assert_complete(&sandbox.check_one("acme", 13).await);
    assert!(statuses(&sandbox).iter().all(|status| *status == Some(200)), "{:?}", statuses(&sandbox));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_pace_refusals_are_obeyed_and_the_reading_is_complete() {
    let sandbox = limited("").await;
    assert_complete(&sandbox.check_one("acme", 13).await);
    let statuses = statuses(&sandbox);
    assert!(statuses.contains(&Some(429)), "nothing was limited: {statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == Some(200)).count(), 7);
    // Whoever is refused waits as long as was asked. All who waited may come back at once, and then some wait again.
    let refused = statuses.iter().filter(|status| **status == Some(429)).count();
    assert!(refused <= 2 * auth0_concurrency(), "{statuses:?}");
}

fn auth0_concurrency() -> usize {
    Table::of(Provider::Auth0).concurrency
}
