//! An object that cannot be used: its section is blind until an approval accepts that this object is not watched.

use authdrift::simulator::fault::Fault;
use serde_json::{Value, json};

use crate::approve::propose;
use crate::common::Sandbox;

const CLIENTS: &str = "/api/v2/clients";

/// The id of the client at `place` of the list.
fn id_of(sandbox: &Sandbox, place: usize) -> String {
    sandbox.auth0.get(CLIENTS).unwrap()[place]["client_id"].as_str().unwrap().to_owned()
}

/// Puts a second client with the id of the client at `place` into the list.
fn double(sandbox: &Sandbox, place: usize) {
    sandbox.auth0.edit(CLIENTS, |clients| {
        let mut twin = clients[place].clone();
        twin["name"] = json!("Twin");
        clients.as_array_mut().unwrap().push(twin);
    });
}

/// Takes the second client of every id out of the list.
fn mend(sandbox: &Sandbox) {
    sandbox.auth0.edit(CLIENTS, |clients| clients.as_array_mut().unwrap().retain(|client| client["name"] != "Twin"));
}

fn section<'a>(report: &'a Value, name: &str) -> &'a Value {
    report["sections"].as_array().unwrap().iter().find(|section| section["section"] == name).unwrap()
}

fn drifts(report: &Value) -> Vec<(&str, &str)> {
    let drifts = report["drifts"].as_array().unwrap().iter();
    drifts.map(|drift| (drift["path"].as_str().unwrap(), drift["kind"].as_str().unwrap())).collect()
}

async fn approve_with(sandbox: &Sandbox, what: &[&str], code: i32) -> String {
    let key = sandbox.path("alice").display().to_string();
    let arguments = [&["approve", "acme", "--reason", "test", "--key", &key][..], what].concat();
    let ran = sandbox.run(&arguments).await.expect(code);
    ran.out + &ran.err
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_was_accepted_as_not_watched_is_no_blindness_and_its_siblings_are_watched() {
    let sandbox = Sandbox::approved().await;
    let (odd, other) = (id_of(&sandbox, 0), id_of(&sandbox, 1));
    let place = format!("/clients/{odd}");
    double(&sandbox, 0);
    let report = sandbox.check_one("acme", 11).await;
    assert_eq!(section(&report, "clients")["blind"], true);

    // It was watched until now, so somebody has to mean it.
    let refused = approve_with(&sandbox, &["--all"], 2).await;
    assert!(
        refused.contains("nothing is signed") && refused.contains(&format!("not watched any more: {place}")),
        "{refused}"
    );
    sandbox.check_one("acme", 11).await;
    let proposal = propose(&sandbox, "acme", "odd.json").await;
    let shown = proposal["changes"].as_array().unwrap();
    assert!(shown.len() == 1 && shown[0]["path"] == place.as_str() && shown[0]["severity"] == "critical", "{shown:?}");
    let told = approve_with(&sandbox, &["--only", &place, "--accept-weaker"], 0).await;
    assert!(told.contains("not watched") && told.contains("two items have the client_id"), "{told}");
    let status = sandbox.run(&["status", "--json"]).await.expect(0).json();
    let acme = status["instances"].as_array().unwrap().iter().find(|one| one["instance"] == "auth0:acme").unwrap();
    assert_eq!(acme["verdict"], "in_sync", "no cycle came since the approval");

    let report = sandbox.check_one("acme", 0).await;
    let clients = section(&report, "clients");
    assert_eq!(clients.get("blind"), None, "{clients}");
    assert!(clients["reason"].as_str().unwrap().contains(&place), "{clients}");
    sandbox.run(&["diff", "acme"]).await.expect(0);
    sandbox.run(&["verify"]).await.expect(0);

    // The reason is said in other words: it is the same object.
    sandbox.auth0.edit(CLIENTS, |clients| {
        clients.as_array_mut().unwrap().retain(|client| client["name"] != "Twin");
        clients[0].as_object_mut().unwrap().remove("name");
    });
    sandbox.check_one("acme", 0).await;
    sandbox.auth0.edit(CLIENTS, |clients| clients[0]["name"] = json!("Another name"));
    double(&sandbox, 0);

    // A sibling is watched, and another odd object is another blindness.
    sandbox.auth0.edit(CLIENTS, |clients| clients[1]["callbacks"] = json!(["https://evil.example/"]));
    let report = sandbox.check_one("acme", 10).await;
    let path = format!("/clients/{other}/callbacks");
    assert!(drifts(&report).iter().all(|(found, _)| *found == path), "{:?}", drifts(&report));
    sandbox.approve("acme").await;
    sandbox.check_one("acme", 0).await;
    double(&sandbox, 1);
    let report = sandbox.check_one("acme", 11).await;
    let reason = section(&report, "clients")["reason"].as_str().unwrap();
    assert!(reason.starts_with(&format!("not compared: /clients/{other} (")), "{reason}");

    // What can be read again has to be approved.
    mend(&sandbox);
    let report = sandbox.check_one("acme", 10).await;
    assert_eq!(drifts(&report), [(place.as_str(), "added")]);
    sandbox.approve("acme").await;
    sandbox.check_one("acme", 0).await;
    double(&sandbox, 0);
    sandbox.check_one("acme", 11).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_without_a_name_is_accepted_once_and_hides_no_other() {
    let sandbox = Sandbox::new().await;
    let nameless = json!({ "name": "Nameless", "is_first_party": true });
    sandbox.auth0.edit(CLIENTS, |clients| clients.as_array_mut().unwrap().push(nameless.clone()));
    sandbox.check().await.expect(13);
    // The first baseline names it.
    let key = sandbox.path("alice").display().to_string();
    let first = ["approve", "acme", "--reason", "x", "--all", "--accept-weaker", "--key", &key];
    let first = sandbox.run(&first).await.expect(0);
    assert!(first.out.contains("an item has no 'client_id'"), "{}", first.out);
    sandbox.check_one("acme", 0).await;

    // A client that is gone is gone, and one more without a name is another one.
    let gone = id_of(&sandbox, 0);
    let clients = sandbox.auth0.get(CLIENTS).unwrap();
    sandbox.auth0.edit(CLIENTS, |clients| _ = clients.as_array_mut().unwrap().remove(0));
    let report = sandbox.check_one("acme", 10).await;
    assert!(drifts(&report).contains(&(format!("/clients/{gone}").as_str(), "removed")), "{:?}", drifts(&report));
    sandbox.auth0.set(CLIENTS, clients);
    sandbox.check_one("acme", 0).await;
    sandbox.auth0.edit(CLIENTS, |clients| _ = clients[0].as_object_mut().unwrap().remove("client_id"));
    let report = sandbox.check_one("acme", 11).await;
    assert!(section(&report, "clients")["reason"].as_str().unwrap().contains("2 items have no 'client_id'"));

    // An approval of it says that the client may be gone.
    let told = approve_with(&sandbox, &["--all", "--accept-weaker"], 0).await;
    assert!(told.contains("2 items have no 'client_id'") && told.contains(&gone), "{told}");
    sandbox.check_one("acme", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_broken_answer_of_many_hides_one_object_and_no_other() {
    let sandbox = Sandbox::approved().await;
    let organizations = sandbox.auth0.get("/api/v2/organizations").unwrap();
    let of = |place: usize, field: &str| organizations[place][field].as_str().unwrap().to_owned();
    let path = |place: usize| format!("/api/v2/organizations/{}/connections", of(place, "id"));
    let place = format!("/organizations.connections/{}", of(0, "name"));
    for fault in [Fault::status(403, json!({})), Fault::status(500, json!({})), Fault::NotJson, Fault::Truncated] {
        sandbox.auth0.fail(&path(0), fault);
        let report = sandbox.check_one("acme", 11).await;
        let found = section(&report, "organizations.connections");
        assert!(found["state"] == "value" && found["blind"] == true, "{found}");
        assert!(found["reason"].as_str().unwrap().contains(&place), "{found}");
    }
    approve_with(&sandbox, &["--only", &place, "--accept-weaker"], 0).await;
    sandbox.check_one("acme", 0).await;

    let sibling = sandbox.auth0.get(&path(1)).unwrap();
    sandbox.auth0.set(&path(1), sandbox.auth0.get(&path(0)).unwrap());
    let report = sandbox.check_one("acme", 10).await;
    let of_sibling = format!("/organizations.connections/{}/", of(1, "name"));
    assert!(drifts(&report).len() == 1 && drifts(&report)[0].0.starts_with(&of_sibling), "{:?}", drifts(&report));
    sandbox.auth0.set(&path(1), sibling);
    sandbox.auth0.heal_all();
    let report = sandbox.check_one("acme", 10).await;
    assert_eq!(drifts(&report), [(place.as_str(), "added")]);

    // What is said of every object is said of the section.
    sandbox.auth0.fail("/api/v2/organizations/*", Fault::status(403, json!({})));
    let report = sandbox.run(&["check", "acme", "--json"]).await.json()["instances"][0].clone();
    assert_eq!(section(&report, "organizations.connections")["state"], "not_permitted");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_nested_too_deep_hides_no_other() {
    let sandbox = Sandbox::approved().await;
    let mut roles = sandbox.auth0.get("/api/v2/roles").unwrap();
    let path = |place: usize| format!("/roles/{}", roles[place]["name"].as_str().unwrap());
    let (place, of_sibling) = (path(0), path(1) + "/description");
    roles[0]["odd"] = json!("deep");
    roles[1]["description"] = json!("May do everything");
    let envelope = json!({ "roles": roles, "total": roles.as_array().unwrap().len(), "start": 0, "limit": 100 });
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    sandbox.auth0.fail("/api/v2/roles", Fault::Body(envelope.to_string().replace("\"deep\"", &deep).into_bytes()));
    let report = sandbox.check_one("acme", 10).await;
    assert_eq!(drifts(&report), [(of_sibling.as_str(), "changed")]);
    let found = section(&report, "roles");
    assert!(found["blind"] == true && found["reason"].as_str().unwrap().contains(&place), "{found}");
    sandbox.approve("acme").await;
    sandbox.check_one("acme", 0).await;
}
