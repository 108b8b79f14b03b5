//! An instance of which every section has a value, and enough of it to be missed.

use std::collections::{BTreeMap, BTreeSet};

use authdrift::cycle::{Report, RunMode};
use authdrift::model::Verdict;
use authdrift::model::{Digest, Provider, State};
use authdrift::sections::{Section, Shape, Table};
use authdrift::simulator::vendor::{Documents, Request, Vendor};
use authdrift::simulator::{auth0, clerk};
use serde_json::{Value, json};

use crate::common::Sandbox;

/// One address of a section, and what a healthy vendor answers there.
pub struct Address {
    pub path: String,
    pub answer: Value,
}

/// One approved instance, read whole.
pub struct Scene {
    pub sandbox: Sandbox,
    pub vendor: Vendor,
    pub provider: Provider,
    pub name: &'static str,
    /// Where each section is read.
    pub addresses: BTreeMap<&'static str, Vec<Address>>,
    /// What each section is when all is well.
    pub healthy: BTreeMap<String, Option<Digest>>,
}

impl Scene {
    pub async fn new(provider: Provider) -> Self {
        let sandbox = Sandbox::new().await;
        let (name, table, vendor) = match provider {
            Provider::Clerk => ("prod", "[[clerk]]\n", (*sandbox.clerk).clone()),
            Provider::Auth0 => ("acme", "[[auth0]]\n", (*sandbox.auth0).clone()),
        };
        sandbox.edit_configuration(table, &format!("{table}depth = \"everything\"\n"));
        sandbox.edit_configuration("confirm_after = \"100ms\"", "confirm_after = \"0s\"");
        fill(provider, &vendor);
        sandbox.check_one(name, 13).await;
        sandbox.approve(name).await;

        vendor.forget_requests();
        let report = sandbox.watch(name).cycle(RunMode::Commit).await.unwrap();
        let without: Vec<_> = report.sections.iter().filter(|read| read.state != State::Value).collect();
        assert!(without.is_empty() && report.verdict == Verdict::InSync, "{without:?} {:?}", report.drifts);
        let healthy = digests(&report);
        assert_eq!(healthy.len(), Table::of(provider).sections().len());
        let mut addresses = BTreeMap::new();
        let asked = vendor.requests();
        for section in Table::of(provider).sections() {
            addresses.insert(section.name.as_str(), addresses_of(section, &asked, &vendor).await);
        }
        Self { sandbox, vendor, provider, name, addresses, healthy }
    }

    /// Sections that are read where `section` is.
    pub fn sharing(&self, section: &str) -> BTreeSet<&'static str> {
        let path = &self.addresses[section][0].path;
        let is_same = |addresses: &Vec<Address>| addresses.iter().any(|address| address.path == *path);
        self.addresses.iter().filter(|(_, addresses)| is_same(addresses)).map(|(name, _)| *name).collect()
    }
}

/// What was read of each section.
pub fn digests(report: &Report) -> BTreeMap<String, Option<Digest>> {
    report.sections.iter().map(|read| (read.section.clone(), read.digest.clone())).collect()
}

/// Whether `path` is one of the row's.
fn is_of(template: &str, path: &str) -> bool {
    let (template, path): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
    let fits = |(wanted, found): (&&str, &&str)| wanted.starts_with('{') || wanted == found;
    template.len() == path.len() && template.iter().zip(&path).all(fits)
}

async fn addresses_of(section: &'static Section, asked: &[Request], vendor: &Vendor) -> Vec<Address> {
    let mut found: Vec<Address> = Vec::new();
    for request in asked.iter().filter(|request| is_of(&section.path, &request.path)) {
        let is_row = section.query.iter().all(|(name, value)| request.parameter(name).as_ref() == Some(value));
        if is_row && found.iter().all(|address| address.path != request.path) {
            found.push(Address { path: request.path.clone(), answer: ask_again(vendor, request).await });
        }
    }
    assert!(!found.is_empty(), "{} was not read", section.name);
    found
}

async fn ask_again(vendor: &Vendor, request: &Request) -> Value {
    let mut again = reqwest::Client::new().get(format!("{}{}?{}", vendor.url(), request.path, request.query));
    for name in ["authorization", "clerk-api-version"] {
        if let Some(value) = request.header(name) {
            again = again.header(name, value);
        }
    }
    again.send().await.unwrap().json().await.unwrap()
}

/// Switches on what sections depend on, and makes every list as long as it takes to miss it.
fn fill(provider: Provider, vendor: &Vendor) {
    let documents = match provider {
        Provider::Clerk => clerk::lantern_books(),
        Provider::Auth0 => auth0::lantern_books(),
    };
    if provider == Provider::Auth0 {
        vendor.edit("/api/v2/tenants/settings", |settings| settings["enabled_locales"] = json!(["en"]));
        vendor.set("/api/v2/prompts/signup/custom-text/en", json!({ "signup": { "title": "Join" } }));
        vendor.edit("/api/v2/guardian/factors", |factors| {
            factors.as_array_mut().unwrap().iter_mut().for_each(|factor| factor["enabled"] = json!(true));
        });
        vendor.edit("/api/v2/clients", |clients| {
            let clients = clients.as_array_mut().unwrap();
            let mut global = clients.iter().find(|client| client["global"] == true).unwrap().clone();
            global["client_id"] = json!("another-global-client");
            clients.push(global);
        });
    }
    for section in Table::of(provider).sections().iter().filter(|section| section.shape != Shape::Object) {
        for path in documents.keys().filter(|path| is_of(&section.path, path)) {
            let mut added = None;
            vendor.edit(path, |document| added = lengthen(section, document));
            if let Some((old, new)) = added {
                copy_parts(vendor, &documents, &old, &new);
            }
        }
    }
}

/// Adds a second item to a list of one; answers the ids of both.
fn lengthen(section: &Section, document: &mut Value) -> Option<(String, String)> {
    let items = match (document.is_array(), &section.items) {
        (false, Some(items)) => &mut document[items.as_str()],
        _ => document,
    };
    let items = items.as_array_mut()?;
    let [only] = items.as_slice() else { return None };
    let mut second = only.clone();
    if let Value::String(text) = &mut second {
        text.push_str("-2");
    } else {
        let root = vec!["*".to_owned(); section.each.len()];
        let keys = section.key_at(&root).into_iter().flatten();
        let fields: BTreeSet<String> = keys.map(|field| format!("/{field}")).chain(["/id".to_owned()]).collect();
        for field in fields {
            if let Some(Value::String(text)) = second.pointer_mut(&field) {
                text.push_str("-2");
            }
        }
    }
    let id = |item: &Value| ["id", "connection_id"].iter().find_map(|name| item[*name].as_str().map(str::to_owned));
    let ids = id(only).zip(id(&second));
    items.push(second);
    ids
}

/// Serves what lies under the object `old` under the object `new` too.
fn copy_parts(vendor: &Vendor, documents: &Documents, old: &str, new: &str) {
    for path in documents.keys().filter(|path| path.split('/').any(|segment| segment == old)) {
        let mut document = vendor.get(path).unwrap();
        if document["id"] == old {
            document["id"] = json!(new);
        }
        vendor.set(&path.replace(old, new), document);
    }
}
