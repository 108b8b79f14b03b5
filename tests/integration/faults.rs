//! A snapshot cannot lie: whatever a vendor answers, a section that was not read is blind and nothing of it is gone.

use std::collections::BTreeMap;

use authdrift::cycle::report::exit_of;
use authdrift::cycle::{Keep, Report, Verdict};
use authdrift::exit::Exit;
use authdrift::model::{Provider, State};
use authdrift::sections::{Paging, Section, Shape, Table};
use authdrift::simulator::fault::Fault;
use authdrift::simulator::vendor::Vendor;
use authdrift::simulator::{auth0, clerk};
use serde_json::{Value, json};

use crate::common::Sandbox;

const PHONE_PROTECTION: &str = "/api/v2/attack-protection/phone-provider-protection";

fn path_of(section: &Section) -> String {
    section.path.replace("{application_id}", clerk::APPLICATION_ID).replace("{environment}", "production")
}

fn text(value: &Value) -> Fault {
    Fault::Body(value.to_string().into_bytes())
}

/// Every way in which an answer of `section` can be none, and what is known then.
fn faults(section: &Section, healthy: &Value) -> Vec<(&'static str, Fault, State)> {
    let bad = |name, fault| (name, fault, State::Unreachable);
    let mut faults = vec![
        ("403", Fault::status(403, json!({})), State::NotPermitted),
        ("403 of Clerk", clerk::missing_scope("applications:manage"), State::NotPermitted),
        ("403 of Auth0", auth0::missing_scope("read:anything"), State::NotPermitted),
        bad("400", Fault::status(400, json!([]))),
        bad("401", Fault::status(401, json!({ "errors": [] }))),
        bad("404", Fault::status(404, json!({ "message": "Not Found" }))),
        bad("429 for ever", Fault::status(429, json!({})).with_header("retry-after", "0")),
        bad("500", Fault::status(500, json!({ "errors": "none" }))),
        bad("204", Fault::status(204, Value::Null)),
        bad("redirect", Fault::status(302, json!([])).with_header("location", "/elsewhere")),
        bad("truncated", Fault::Truncated),
        bad("page of HTML", Fault::Html),
        bad("not JSON", Fault::NotJson),
        bad("nothing", Fault::Body(Vec::new())),
        bad("endless", Fault::Endless),
        bad("empty object", text(&json!({}))),
        bad("null", text(&Value::Null)),
        bad("a text", text(&json!("all-applications"))),
        bad("duplicate keys", Fault::Body(with_first_member(healthy, r#""twice":1,"twice":2"#))),
        bad("nested too deep", Fault::Body(with_first_member(healthy, &deep(200)))),
        bad("a number too large", Fault::Body(with_first_member(healthy, r#""large":9007199254740993"#))),
        bad("another text after it", Fault::Body(format!("{healthy}{{}}").into_bytes())),
    ];
    match section.shape {
        Shape::Object => faults.push(bad("list for an object", text(&json!([healthy])))),
        Shape::List | Shape::Set => faults.push(bad("object for a list", text(&json!({ "0": healthy })))),
    }
    if section.shape == Shape::Set {
        faults.push(bad("objects in a set", text(&json!([{}]))));
    }
    if section.shape == Shape::List {
        faults.extend(bad_lists(section, healthy).into_iter().map(|(name, list)| bad(name, text(&list))));
    }
    if let Some(items) = &section.items {
        for total in ["total", "total_count"] {
            let envelope = json!({ items.as_str(): healthy, total: healthy.as_array().unwrap().len() + 1 });
            faults.push(bad("list shorter than its total", text(&envelope)));
        }
        if section.paging == Paging::Checkpoint {
            let envelope = json!({ items.as_str(): healthy, "next": "same" });
            faults.push(bad("cursor that leads in a circle", text(&envelope)));
        }
    }
    faults
}

/// Lists whose items cannot be told apart, at the root and wherever else items have an identity.
fn bad_lists(section: &Section, healthy: &Value) -> Vec<(&'static str, Value)> {
    let field = section.key_at(&[]).unwrap().first().unwrap().as_str();
    let edited = |edit: &dyn Fn(&mut Vec<Value>)| {
        let mut list = healthy.clone();
        edit(list.as_array_mut().unwrap());
        list
    };
    let mut lists = vec![
        ("item without identity", edited(&|items| _ = items[0].as_object_mut().unwrap().remove(field))),
        ("item with an empty identity", edited(&|items| items[0][field] = json!(""))),
        ("item with a number for an identity", edited(&|items| items[0][field] = json!(7))),
        ("two items with the same identity", edited(&|items| items.push(items[0].clone()))),
        ("list of scalars", json!(["a"])),
    ];
    for (inner, key) in [("cname_targets", "host"), ("scopes", "value")] {
        let is_keyed = section.key_at(&["x".to_owned(), inner.to_owned()]) == Some(&[key.to_owned()]);
        if is_keyed && healthy[0][inner][0].is_object() {
            lists.push(("inner item without identity", edited(&|items| items[0][inner][0][key] = Value::Null)));
            lists.push((
                "two inner items with the same identity",
                edited(&|items| {
                    let inner = items[0][inner].as_array_mut().unwrap();
                    inner.push(inner[0].clone());
                }),
            ));
        }
    }
    lists
}

/// `healthy` as text, with `member` put into the first object of it, or an object put into its list.
fn with_first_member(healthy: &Value, member: &str) -> Vec<u8> {
    let text = healthy.to_string();
    match text.split_once('{') {
        Some((start, rest)) => format!("{start}{{{member},{rest}").into_bytes(),
        None => format!("[{{{member}}}]").into_bytes(),
    }
}

fn deep(levels: usize) -> String {
    format!("\"deep\":{}{}", "[".repeat(levels), "]".repeat(levels))
}

/// One fault of one section, and what is known of the section then.
struct Trial {
    section: &'static str,
    path: String,
    name: &'static str,
    fault: Fault,
    expected: State,
}

/// Every fault of every section, in rounds in which at most every other section fails: what fails must not touch what
/// does not, and nobody wants to wait for one cycle each.
fn rounds(vendor: &Vendor, provider: Provider) -> Vec<Vec<Trial>> {
    let mut rounds: BTreeMap<(usize, usize), Vec<Trial>> = BTreeMap::new();
    for (place, section) in Table::of(provider).sections().iter().enumerate() {
        let path = path_of(section);
        let faults = faults(section, &vendor.get(&path).unwrap());
        // A tenant without that feature answers so: another test.
        let faults = faults.into_iter().filter(|(name, ..)| path != PHONE_PROTECTION || *name != "404");
        for (round, (name, fault, expected)) in faults.enumerate() {
            let trial = Trial { section: &section.name, path: path.clone(), name, fault, expected };
            rounds.entry((round, place % 2)).or_default().push(trial);
        }
    }
    rounds.into_values().collect()
}

/// Lets every section of a vendor fail in every way.
async fn assert_no_fault_is_a_change(sandbox: &Sandbox, vendor: &Vendor, name: &str, provider: Provider) {
    let watch = sandbox.watch(name);
    let rounds = rounds(vendor, provider);
    let tried: usize = rounds.iter().map(Vec::len).sum();
    assert!(tried > 20 * Table::of(provider).sections().len(), "{tried}");
    for trials in rounds {
        for trial in &trials {
            vendor.fail(&trial.path, trial.fault.clone());
        }
        let report = watch.cycle(Keep::Everything).await.unwrap();
        vendor.heal_all();
        assert_blind(&report, &trials);
    }
    let healed = watch.cycle(Keep::Everything).await.unwrap();
    assert_eq!(healed.verdict, Verdict::InSync);
    let history = sandbox.run(&["history", name, "--json"]).await.expect(0).json();
    let events = history["events"].as_array().unwrap();
    assert!(events.iter().all(|event| !event["kind"].as_str().unwrap().starts_with("drift.")), "{history}");
}

/// Exactly the failing sections are blind, and nothing differs.
fn assert_blind(report: &Report, trials: &[Trial]) {
    let faults: Vec<_> = trials.iter().map(|trial| (trial.section, trial.name)).collect();
    assert!(report.drifts.is_empty(), "{faults:?}: {:?}", report.drifts);
    for read in &report.sections {
        let reason = read.reason.as_deref().unwrap_or_default();
        let found = (read.state, read.blind, reason.is_empty(), read.digest.is_none());
        match trials.iter().find(|trial| trial.section == read.section) {
            Some(trial) => {
                let expected = (trial.expected, true, false, true);
                assert_eq!(found, expected, "{} with {}: {reason}", trial.section, trial.name);
            }
            None => assert_eq!(found, (State::Value, false, true, false), "{}: {reason}", read.section),
        }
    }
    assert_eq!(report.verdict, Verdict::Blind, "{faults:?}");
    assert_eq!(exit_of(std::slice::from_ref(report)), Exit::Blind, "{faults:?}");
}

/// As [`Sandbox::approved`], with a value for the one section the Auth0 simulator does not have.
async fn everything_approved() -> Sandbox {
    let sandbox = Sandbox::new().await;
    sandbox.auth0.set(PHONE_PROTECTION, json!({ "type": "default" }));
    sandbox.check().await.expect(13);
    sandbox.approve("prod").await;
    sandbox.approve("acme").await;
    sandbox
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_of_clerk_makes_a_section_change_that_could_not_be_read() {
    let sandbox = everything_approved().await;
    assert_no_fault_is_a_change(&sandbox, &sandbox.clerk, "prod", Provider::Clerk).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_of_auth0_makes_a_section_change_that_could_not_be_read() {
    let sandbox = everything_approved().await;
    assert_no_fault_is_a_change(&sandbox, &sandbox.auth0, "acme", Provider::Auth0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_section_that_leaves_the_plan_or_is_switched_off_is_one_change_of_its_state() {
    let sandbox = everything_approved().await;
    let (clerk, auth0) = (&*sandbox.clerk, &*sandbox.auth0);
    let labelled = "Please upgrade your subscription to be able to use this";
    let table: [(&str, &Vendor, &str, &str, Fault, State); 7] = [
        ("prod", clerk, "/v1/jwt_templates", "jwt_templates", clerk::not_on_plan("x"), State::NotOnPlan),
        (
            "prod",
            clerk,
            "/v1/instance/organization_settings",
            "instance.organization_settings",
            clerk::failure(403, "organization_not_enabled_in_instance", "off", &Value::Null),
            State::Off,
        ),
        (
            "prod",
            clerk,
            "/v1/redirect_urls",
            "redirect_urls",
            clerk::failure(403, "feature_not_enabled", "off", &Value::Null),
            State::Off,
        ),
        (
            "acme",
            auth0,
            "/api/v2/attack-protection/captcha",
            "attack-protection.captcha",
            auth0::not_on_plan("captcha"),
            State::NotOnPlan,
        ),
        (
            "acme",
            auth0,
            "/api/v2/attack-protection/bot-detection",
            "attack-protection.bot-detection",
            auth0::failure(403, "insufficient_scope", labelled),
            State::NotOnPlan,
        ),
        (
            "acme",
            auth0,
            "/api/v2/guardian/policies",
            "guardian.policies",
            auth0::failure(403, "feature_not_enabled", "off"),
            State::Off,
        ),
        (
            "acme",
            auth0,
            PHONE_PROTECTION,
            "attack-protection.phone-provider-protection",
            auth0::failure(404, "", "Not Found"),
            State::Off,
        ),
    ];
    for (name, vendor, path, section, fault, expected) in table {
        let watch = sandbox.watch(name);
        vendor.fail(path, fault);
        let report = watch.cycle(Keep::Nothing).await.unwrap();
        vendor.heal(path);
        let [drift] = report.drifts.as_slice() else { panic!("{section}: {:?}", report.drifts) };
        assert_eq!(drift.drift.change.path.to_string(), format!("/{section}"));
        let (before, after) = (&drift.drift.change.before, &drift.drift.change.after);
        assert_eq!((before, after), (&json!({ "state": "value" }), &json!({ "state": expected })), "{section}");
        assert!(report.sections.iter().all(|read| !read.blind), "{section}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_without_their_options_are_a_missing_scope_and_not_a_removal() {
    let sandbox = everything_approved().await;
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

fn section<'a>(report: &'a Value, name: &str) -> &'a Value {
    report["sections"].as_array().unwrap().iter().find(|section| section["section"] == name).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_that_says_nothing_is_not_waited_for_for_ever() {
    let sandbox = everything_approved().await;
    sandbox.clerk.fail("/v1/jwt_templates", Fault::Hang);
    sandbox.auth0.fail("/api/v2/connections", Fault::Hang);
    let report = sandbox.check().await.expect(11).json();
    for (instance, name) in [("clerk:prod", "jwt_templates"), ("auth0:acme", "connections")] {
        let report = Sandbox::report(&report, instance);
        assert_eq!((&report["verdict"], &report["drifts"]), (&json!("blind"), &json!([])));
        let section = section(report, name);
        assert_eq!((&section["state"], &section["blind"]), (&json!("unreachable"), &json!(true)));
        assert!(section["reason"].as_str().unwrap().contains("no answer within"), "{section}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blindness_is_told_once_after_two_cycles_and_its_end_too() {
    let sandbox = everything_approved().await;
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
    let mails = sandbox.smtp.mails();
    assert_eq!(mails.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_reported_although_another_section_is_blind() {
    let sandbox = everything_approved().await;
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
