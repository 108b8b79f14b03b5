//! What looks like a fault in reading is read again at once, and held back if it stays.

use authdrift::simulator::auth0;
use authdrift::simulator::fault::Fault;
use serde_json::{Value, json};

use super::rules::{EMPTY, SCOPE, outcome_of};
use crate::common::Sandbox;

const ROLES: &str = "/api/v2/roles";

fn section<'a>(report: &'a Value, name: &str) -> &'a Value {
    report["sections"].as_array().unwrap().iter().find(|section| section["section"] == name).unwrap()
}

/// The kinds of the events of `acme` with what they are about, without those of an approval.
async fn events(sandbox: &Sandbox) -> Vec<String> {
    let history = sandbox.run(&["history", "acme", "--json"]).await.expect(0).json();
    let told = history["events"].as_array().unwrap().iter().filter_map(|event| {
        let kind = event["kind"].as_str().unwrap();
        let about = ["section", "credential", "path"].iter().find_map(|name| event["data"][*name].as_str())?;
        Some(format!("{kind} {about}"))
    });
    let mut told: Vec<String> = told.collect();
    told.sort();
    told
}

fn paths(report: &Value) -> Vec<&str> {
    report["drifts"].as_array().unwrap().iter().map(|drift| drift["path"].as_str().unwrap()).collect()
}

/// A page of roles, as Auth0 gives it.
fn page(roles: &[Value], total: usize) -> Fault {
    Fault::Body(json!({ "start": 0, "limit": 2, "total": total, "roles": roles }).to_string().into_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_empty_is_told_at_once_and_believed_the_second_time() {
    let sandbox = Sandbox::approved().await;
    let roles = sandbox.auth0.get(ROLES).unwrap();
    sandbox.auth0.set(ROLES, json!([]));
    let report = sandbox.check_one("acme", 11).await;
    assert_eq!((&report["verdict"], &report["drifts"]), (&json!("blind"), &json!([])));
    let of_roles = ["roles", "roles.groups", "roles.permissions"];
    for name in of_roles {
        assert_eq!(section(&report, name)["state"], "suspect");
    }
    assert!(section(&report, "roles")["reason"].as_str().unwrap().contains("all 3 objects are gone at once"));
    assert_eq!(events(&sandbox).await, of_roles.map(|name| format!("section.suspect {name}")));
    assert_eq!((sandbox.smtp.mails().len(), sandbox.webhook.deliveries().len()), (1, 1));
    assert_eq!(sandbox.webhook.deliveries()[0].json()["type"], "section.suspect");
    assert!(outcome_of(EMPTY).told().contains("`section.suspect`, at once"));

    let report = sandbox.check_one("acme", 10).await;
    let drifts = report["drifts"].as_array().unwrap();
    assert!(drifts.iter().all(|drift| drift["kind"] == "removed"), "{report}");
    assert_eq!(paths(&report).iter().filter(|path| path.starts_with("/roles/")).count(), 3);

    sandbox.auth0.set(ROLES, roles);
    sandbox.check_one("acme", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_is_gone_from_every_object_is_not_believed_and_its_return_is_no_drift() {
    let sandbox = Sandbox::approved().await;
    let clients = sandbox.auth0.get("/api/v2/clients").unwrap();
    sandbox.auth0.edit("/api/v2/clients", |clients| {
        for client in clients.as_array_mut().unwrap() {
            client.as_object_mut().unwrap().remove("app_type");
        }
    });
    let report = sandbox.check_one("acme", 11).await;
    assert_eq!(report["drifts"], json!([]));
    let found = section(&report, "clients");
    assert_eq!((&found["state"], &found["blind"]), (&json!("suspect"), &json!(true)));
    assert!(found["reason"].as_str().unwrap().contains("the field '/app_type' is gone from all 5 objects"), "{found}");
    sandbox.auth0.set("/api/v2/clients", clients);
    sandbox.check_one("acme", 0).await;
    assert_eq!(events(&sandbox).await, ["section.seeing_again clients", "section.suspect clients"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_moves_while_it_is_read_is_read_again_at_once() {
    let sandbox = Sandbox::approved().await;
    let roles = sandbox.auth0.get(ROLES).unwrap();
    let roles = roles.as_array().unwrap();
    for (what, first, second) in [
        ("a page shrinks", page(&roles[..2], 3), page(&[], 2)),
        ("an object is on two pages", page(&roles[..2], 3), page(&roles[1..2], 3)),
    ] {
        sandbox.auth0.forget_requests();
        sandbox.auth0.fail(ROLES, Fault::Sequence(vec![first, second]));
        assert_eq!(sandbox.check_one("acme", 0).await["verdict"], "in_sync", "{what}");
        let asked = sandbox.auth0.requests().iter().filter(|request| request.path == ROLES).count();
        assert_eq!(asked, 3, "{what}");
    }
    assert_eq!(events(&sandbox).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_for_the_objects_of_a_list_is_read_again_with_it() {
    let sandbox = Sandbox::approved().await;
    sandbox.edit_configuration("confirm_after = \"100ms\"", "confirm_after = \"0s\"");
    // One connection has keys, so nothing of that section alone would look strange.
    for list in ["/api/v2/connections", "/api/v2/hooks", ROLES] {
        let name = list.trim_start_matches("/api/v2/");
        let empty = json!({ name: [], "total": 0 });
        sandbox.auth0.fail(list, Fault::Body(empty.to_string().into_bytes()).times(1));
    }
    let hooks = sandbox.auth0.get("/api/v2/hooks").unwrap();
    sandbox.auth0.heal("/api/v2/hooks");
    assert_eq!(sandbox.check_one("acme", 0).await["verdict"], "in_sync");
    assert_eq!(events(&sandbox).await, [""; 0]);
    assert_eq!(hooks.as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_listed_and_not_there_is_not_gone_and_one_that_is_not_listed_is() {
    let sandbox = Sandbox::approved().await;
    let templates = "/api/v2/email-templates/verify_email";
    sandbox.auth0.fail(templates, auth0::failure(404, "inexistent_email_template", "The template does not exist."));
    let report = sandbox.check_one("acme", 11).await;
    let found = section(&report, "email-templates");
    assert_eq!((&report["drifts"], &found["state"]), (&json!([]), &json!("suspect")));
    assert!(found["reason"].as_str().unwrap().contains("'verify_email' is refused as if it were not there"), "{found}");
    let report = sandbox.check_one("acme", 10).await;
    assert_eq!(paths(&report), ["/email-templates/verify_email"]);
    sandbox.auth0.heal_all();
    sandbox.check_one("acme", 0).await;

    // An organization that somebody deleted takes along what was read for it.
    let gone = sandbox.auth0.get("/api/v2/organizations").unwrap()[0].clone();
    sandbox.auth0.edit("/api/v2/organizations", |organizations| _ = organizations.as_array_mut().unwrap().remove(0));
    sandbox
        .auth0
        .fail(&format!("/api/v2/organizations/{}/*", gone["id"].as_str().unwrap()), Fault::status(404, json!({})));
    let report = sandbox.check_one("acme", 10).await;
    let name = gone["name"].as_str().unwrap();
    assert!(paths(&report).contains(&format!("/organizations/{name}").as_str()), "{report}");
    assert!(paths(&report).contains(&format!("/organizations.connections/{name}").as_str()), "{report}");
    assert!(report["sections"].as_array().unwrap().iter().all(|section| section["blind"].is_null()), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leaves_no_trace_believes_nothing() {
    let sandbox = Sandbox::approved().await;
    sandbox.auth0.set(ROLES, json!([]));
    for _ in 0..3 {
        let report = sandbox.run(&["check", "acme", "--json", "--no-store"]).await.expect(11).json();
        let report = &report["instances"][0];
        assert_eq!((&section(report, "roles")["state"], &report["drifts"]), (&json!("suspect"), &json!([])));
    }
    assert_eq!(events(&sandbox).await, [""; 0]);
    sandbox.check_one("acme", 11).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_without_their_options_are_a_missing_scope_and_not_a_removal() {
    let sandbox = Sandbox::approved().await;
    sandbox.auth0.edit("/api/v2/connections", |connections| {
        for connection in connections.as_array_mut().unwrap() {
            connection.as_object_mut().unwrap().remove("options");
        }
    });
    let report = sandbox.check_one("acme", 11).await;
    assert_eq!((&report["verdict"], &report["drifts"]), (&json!("blind"), &json!([])));
    let section = section(&report, "connections");
    assert_eq!((&section["state"], &section["blind"]), (&json!("not_permitted"), &json!(true)));
    assert!(section["reason"].as_str().unwrap().contains("read:connections_options"), "{section}");
}

#[tokio::test(flavor = "multi_thread")]
async fn blindness_is_told_once_after_two_cycles_and_its_end_too() {
    let sandbox = Sandbox::approved().await;
    sandbox.auth0.fail("/api/v2/clients", auth0::missing_scope("read:clients"));
    let mut mails = Vec::new();
    for _ in 0..4 {
        let report = sandbox.check_one("acme", 11).await;
        assert_eq!(section(&report, "clients")["state"], "not_permitted");
        mails.push(sandbox.smtp.mails().len());
    }
    assert_eq!(mails, [0, 1, 1, 1]);
    assert!(sandbox.smtp.mails()[0].text().unwrap().contains("read:clients"));
    sandbox.auth0.heal_all();
    sandbox.check_one("acme", 0).await;
    let types: Vec<_> = sandbox.webhook.deliveries().iter().map(|delivery| delivery.json()["type"].clone()).collect();
    assert_eq!(types, ["section.blind", "section.seeing_again"]);
    assert!(outcome_of(SCOPE).told().contains("`section.blind`, when the next cycle"));
    assert_eq!(sandbox.smtp.mails().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_reported_although_another_section_is_blind() {
    let sandbox = Sandbox::approved().await;
    sandbox.clerk.fail("/v1/jwt_templates", Fault::Truncated);
    sandbox.clerk.edit("/v1/instance", |instance| instance["allowed_origins"] = json!(["https://evil.example"]));
    let report = sandbox.check_one("prod", 10).await;
    let drifts = report["drifts"].as_array().unwrap();
    assert!(drifts.len() == 3 && drifts.iter().all(|drift| drift["path"] == "/instance/allowed_origins"), "{report}");
    assert_eq!(section(&report, "jwt_templates")["blind"], true);
    // What was open stays open while it cannot be seen.
    sandbox.clerk.fail("/v1/instance", Fault::status(500, json!({})));
    let report = sandbox.check_one("prod", 10).await;
    let drifts = report["drifts"].as_array().unwrap();
    assert!(drifts.len() == 3 && drifts.iter().all(|drift| drift["unseen"] == true), "{report}");
    let status = sandbox.run(&["status", "--json"]).await.expect(0).json();
    let open = status["instances"][0]["open"].as_object().unwrap();
    assert_eq!(open.values().filter_map(Value::as_u64).sum::<u64>(), 3, "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_click_took_away_is_one_entry() {
    let sandbox = Sandbox::approved().await;
    let gone = sandbox.auth0.get(ROLES).unwrap()[0]["name"].as_str().unwrap().to_owned();
    sandbox.auth0.edit(ROLES, |roles| _ = roles.as_array_mut().unwrap().remove(0));
    let report = sandbox.check_one("acme", 10).await;
    let paths = paths(&report);
    assert!(paths.len() > 1 && paths.iter().all(|path| path.ends_with(&gone)), "{paths:?}");
    let alert = &sandbox.webhook.deliveries()[0].json()["data"];
    let entries = alert["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 1, "{alert}");
    assert_eq!((&entries[0]["title"], &entries[0]["setting"]), (&json!(format!("Role ({gone})")), &json!("role")));
    assert_eq!(entries[0]["changes"].as_array().unwrap().len(), paths.len());
    let mail = sandbox.smtp.mails()[0].text().unwrap();
    assert!(mail.contains("1 setting drifted"), "{mail}");
}
