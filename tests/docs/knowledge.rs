//! The pages that are written from the tables of sections and the catalogues.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use authdrift::classify::{Catalogue, Weaker};
use authdrift::model::{Category, Provider};
use authdrift::sections::{Api, Depth, Section, Table};
use serde_json::Value;

use super::check_generated;

/// What one permission opens, in the order of the table; what is only read on request is marked.
fn by_scope(api: impl Fn(&Section) -> bool, provider: Provider) -> Vec<(String, Vec<String>)> {
    let mut order: Vec<String> = Vec::new();
    let mut opened: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for section in Table::of(provider).sections().iter().filter(|section| api(section)) {
        let mark = if section.depth == Depth::Everything { "\\*" } else { "" };
        let scopes: Vec<&str> = match provider {
            Provider::Auth0 => section.scope.split(' ').collect(),
            Provider::Clerk => vec![&section.scope],
        };
        for scope in scopes {
            if !order.iter().any(|known| known == scope) {
                order.push(scope.to_owned());
            }
            opened.entry(scope.to_owned()).or_default().push(format!("`{}`{mark}", section.name));
        }
    }
    order.into_iter().map(|scope| (scope.clone(), opened.remove(&scope).unwrap_or_default())).collect()
}

#[test]
fn the_pages_for_setting_up_say_what_each_permission_is_for() {
    let mut table = "| Permission | Sections |\n|---|---|\n".to_owned();
    for (scope, sections) in by_scope(|_| true, Provider::Auth0) {
        writeln!(table, "| `{scope}` | {} |", sections.join(" ")).unwrap();
    }
    check_generated("docs/setup-auth0.md", "auth0-permissions", &table);

    let mut table = "| Credential | Sections |\n|---|---|\n".to_owned();
    for (name, api) in
        [("Publishable key", Api::Frontend), ("Secret key", Api::Backend), ("Platform API key", Api::Platform)]
    {
        for (scope, sections) in by_scope(|section| section.api == api, Provider::Clerk) {
            let scope = if api == Api::Platform { format!(", `{scope}`") } else { String::new() };
            writeln!(table, "| {name}{scope} | {} |", sections.join(" ")).unwrap();
        }
    }
    check_generated("docs/setup-clerk.md", "clerk-credentials", &table);
}

#[test]
fn the_catalogue_is_listed() {
    for provider in Provider::ALL {
        let catalogue = Catalogue::of(provider, None).unwrap();
        let mut text = String::new();
        for category in Category::ALL {
            let settings = catalogue.settings().iter().filter(|setting| setting.category == category);
            let mut rows = String::new();
            for setting in settings {
                let weaker = match &setting.weaker {
                    None => String::new(),
                    Some(Weaker::Order(values)) => values.iter().map(word).collect::<Vec<_>>().join(" > "),
                    Some(rule) => word(&serde_json::to_value(rule).unwrap()),
                };
                let title = setting.title.replace('|', "\\|");
                writeln!(rows, "| `{}` | {title} | {} | {weaker} |", setting.id, setting.severity).unwrap();
            }
            if !rows.is_empty() {
                writeln!(text, "### {category}\n\n| Setting | Title | Severity | Weaker |\n|---|---|---|---|\n{rows}")
                    .unwrap();
            }
        }
        check_generated("docs/catalogue.md", &format!("{provider}-settings"), &text);
    }
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.replace('|', "\\|"),
        other => other.to_string(),
    }
}
