//! The recorded answers of both vendors, and what the program would make of them: which section an answer belongs to,
//! and the value of every section of a recorded tenant. Everything comes from the index files and the section tables.
//!
//! The recordings lie beside the repository; without them the tests say so loudly and use the built-in data alone.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::indexing_slicing,
    reason = "every test uses another part of it, and may panic"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use authdrift::model::{Provider, State};
use authdrift::sections::{Api, Each, Section, Shape, Table};
use authdrift::simulator::{auth0, clerk};
use serde_json::{Map, Value};

/// The folders of Auth0's recordings; of `tenant` alone everything belongs together, and of `tenant-before`.
pub const AUTH0: [&str; 3] = ["tenant", "tenant-before", "supplements"];
/// Clerk's production instance, in one piece.
pub const PRODUCTION: &str = "production";

/// One recorded answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub provider: Provider,
    /// What it belongs together with: a folder, or [`PRODUCTION`].
    pub set: &'static str,
    pub method: String,
    pub path: String,
    pub query: BTreeMap<String, String>,
    pub status: u16,
    pub file: String,
    pub body: Value,
}

/// The fixtures, or nothing and a loud word about it: the test harness only captures what is printed with macros.
pub fn folder() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let named = std::env::var_os("AUTHDRIFT_SHARED").map(PathBuf::from);
    let found = named.into_iter().chain([beside]).map(|shared| shared.join("fixtures")).find(|path| path.is_dir());
    if found.is_none() {
        let words = "SKIPPED: no ../shared and no $AUTHDRIFT_SHARED with fixtures, so nothing recorded was tested\n";
        std::io::stderr().write_all(words.as_bytes()).unwrap();
    }
    found
}

pub fn read(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every recorded answer to a request that the index files name, in their order.
pub fn answers(folder: &Path, provider: Provider) -> Vec<Answer> {
    match provider {
        Provider::Clerk => of_clerk(&folder.join("clerk")),
        Provider::Auth0 => AUTH0.iter().flat_map(|set| of_auth0(&folder.join("auth0").join(set), set)).collect(),
    }
}

fn text(entry: &Value, name: &str) -> String {
    entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn query(text: &str) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(text.as_bytes()).into_owned().collect()
}

fn of_auth0(folder: &Path, set: &'static str) -> Vec<Answer> {
    let answer = |entry: &Value| Answer {
        provider: Provider::Auth0,
        set,
        method: text(entry, "method"),
        path: text(entry, "path"),
        query: query(&text(entry, "query")),
        status: entry["status"].as_u64().unwrap().try_into().unwrap(),
        file: format!("{set}/{}", text(entry, "file")),
        body: read(&folder.join(text(entry, "file")))["body"].take(),
    };
    read(&folder.join("index.json")).as_array().unwrap().iter().map(answer).collect()
}

/// The index names paths with placeholders and without `/v1`, and not the recorded answer of 2024.
fn of_clerk(folder: &Path) -> Vec<Answer> {
    let known = read(&folder.join("identifiers.json"));
    let mut index = read(&folder.join("index.json"));
    index.as_array_mut().unwrap().push(serde_json::json!({
        "file": "recorded/environment-2024-02.json", "method": "GET", "path": "/v1/environment", "status": 200, "variant": "2024",
    }));
    let is_request =
        |entry: &&Value| text(entry, "path").starts_with('/') && !text(entry, "file").starts_with("errors/");
    let answer = |entry: &Value| {
        let body = read(&folder.join(text(entry, "file")));
        let fill = |token: &str| match token.trim_matches(['{', '}']) {
            plain if plain == token => token.to_owned(),
            "applicationID" => text(&known, "application_id"),
            "envOrInsID" => "production".to_owned(),
            name if known.get(name).is_some() => text(&known, name),
            // The items say which of the lists it is.
            name => text(&body[0], name),
        };
        let path: Vec<String> = text(entry, "path").split('/').map(fill).collect();
        let path = path.join("/");
        let is_whole = entry.get("variant").is_none();
        Answer {
            provider: Provider::Clerk,
            set: if is_whole { PRODUCTION } else { "other" },
            method: text(entry, "method"),
            path: if path.starts_with("/v1/") || path.starts_with("/.") { path } else { format!("/v1{path}") },
            query: query(&text(entry, "query")),
            status: entry["status"].as_u64().unwrap().try_into().unwrap(),
            file: text(entry, "file"),
            body,
        }
    };
    index.as_array().unwrap().iter().filter(is_request).map(answer).collect()
}

/// The built-in data of the simulators, as if it had been recorded.
pub fn built_in(provider: Provider) -> Vec<Answer> {
    let documents = match provider {
        Provider::Clerk => clerk::lantern_books(),
        Provider::Auth0 => auth0::lantern_books(),
    };
    documents.into_iter().map(|(path, body)| Answer::of(provider, path, body)).collect()
}

/// What of a query is about pages and fields, and not about which things are listed.
const LOOSE: [&str; 10] =
    ["page", "per_page", "include_totals", "take", "from", "limit", "offset", "paginated", "fields", "include_fields"];

/// An answer as the answer of a section.
pub struct Match {
    pub section: &'static Section,
    /// What stands in the path for the names in braces.
    pub names: BTreeMap<String, String>,
    /// How well the request is that of the section; the largest is best.
    pub fit: (usize, isize),
}

impl Answer {
    /// What a simulator serves at `path`, as if it had been recorded.
    pub fn of(provider: Provider, path: String, body: Value) -> Self {
        let method = "GET".to_owned();
        Self { provider, set: "built-in", method, file: path.clone(), path, query: BTreeMap::new(), status: 200, body }
    }

    /// The part of the query that says which things are listed.
    pub fn filters(&self) -> impl Iterator<Item = (&String, &String)> {
        self.query.iter().filter(|(name, _)| !LOOSE.contains(&name.as_str()) && !name.starts_with('_'))
    }

    /// The sections whose request this is, best first. Another filter is another request.
    pub fn matches(&self) -> Vec<Match> {
        let of = |section: &'static Section| {
            let names = names_in(section, &self.path)?;
            let mut fit = 0;
            for (name, value) in self.filters() {
                match section.query.get(name) {
                    Some(wanted) if wanted == value => fit += 1,
                    Some(_) => return None,
                    None => fit -= 1,
                }
            }
            let literal = section.path.split('/').filter(|token| !token.starts_with('{')).count();
            Some(Match { section, names, fit: (literal, fit) })
        };
        let mut found: Vec<Match> = Table::of(self.provider).sections().iter().filter_map(of).collect();
        found.sort_by_key(|one| std::cmp::Reverse(one.fit));
        found
    }

    /// The items in their envelope, or the whole answer, with the fields that the section asks for.
    pub fn value(&self, section: &Section) -> Value {
        let items = section.items.as_ref().and_then(|items| self.body.get(items));
        let mut value = items.unwrap_or(&self.body).clone();
        let fits = match section.shape {
            Shape::Object => value.is_object(),
            Shape::List | Shape::Set => value.is_array(),
        };
        assert!(fits, "{}: not what section {} expects: {value}", self.file, section.name);
        if let Some(fields) = section.query.get("fields") {
            let is_named = section.query.get("include_fields").is_none_or(|include| include != "false");
            let chosen = |name: &String| fields.split(',').any(|field| field == name) == is_named;
            let objects: Vec<&mut Value> = match &mut value {
                Value::Array(items) => items.iter_mut().collect(),
                object => vec![object],
            };
            for object in objects.into_iter().filter_map(Value::as_object_mut) {
                object.retain(|name, _| chosen(name));
            }
        }
        value
    }

    /// The answer as the whole value of its section: under a key, if it is one of many.
    pub fn alone(&self, found: &Match) -> Value {
        let mut value = self.value(found.section);
        for each in found.section.each.iter().rev() {
            value = Value::Object(Map::from_iter([(found.names[&each.name].clone(), value)]));
        }
        value
    }

    /// What the refusal means for `section`.
    fn state(&self, section: &Section) -> State {
        let field = |pointers: [&str; 2]| pointers.iter().find_map(|at| self.body.pointer(at)?.as_str());
        let code = field(["/errorCode", "/errors/0/code"]).unwrap_or_default();
        let message = field(["/message", "/errors/0/long_message"]).unwrap_or_default();
        Table::of(self.provider).meaning_of(section, self.status, code, message).state
    }
}

/// What stands for the names in braces, if `path` is a path of the section.
fn names_in(section: &Section, path: &str) -> Option<BTreeMap<String, String>> {
    let (wanted, found) = (section.path.split('/'), path.split('/'));
    if wanted.clone().count() != found.clone().count() {
        return None;
    }
    let mut names = BTreeMap::new();
    for (wanted, found) in wanted.zip(found) {
        match wanted.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some(name) => {
                let each = section.each.iter().find(|each| each.name == name);
                if each.is_some_and(|each| !each.names.is_empty() && !each.names.iter().any(|name| name == found)) {
                    return None;
                }
                names.insert(name.to_owned(), found.to_owned());
            }
            None if wanted == found => {}
            None => return None,
        }
    }
    Some(names)
}

/// A tenant as the program reads it: the value of every section, before it is made canonical.
pub struct Tenant {
    pub name: String,
    pub provider: Provider,
    pub sections: BTreeMap<String, Value>,
}

/// Every tenant there is: the built-in ones, and those recorded.
pub fn tenants() -> Vec<Tenant> {
    let mut tenants: Vec<Tenant> =
        Provider::ALL.into_iter().map(|provider| tenant(provider, "built-in", &built_in(provider))).collect();
    if let Some(folder) = folder() {
        let clerk = answers(&folder, Provider::Clerk);
        let auth0 = answers(&folder, Provider::Auth0);
        tenants.push(tenant(Provider::Clerk, PRODUCTION, &clerk));
        tenants.extend(["tenant", "tenant-before"].map(|set| tenant(Provider::Auth0, set, &auth0)));
    }
    tenants
}

/// The tenant that the answers of `set` make. A section is left out when an answer for it is missing or refused.
pub fn tenant(provider: Provider, set: &str, answers: &[Answer]) -> Tenant {
    let answers: Vec<&Answer> =
        answers.iter().filter(|answer| answer.set == set && answer.provider == provider).collect();
    let table = Table::of(provider);
    let mut sections = BTreeMap::new();
    // Those that others are read for have no parents themselves.
    for has_parents in [false, true] {
        for section in table.sections().iter().filter(|section| section.parents().next().is_some() == has_parents) {
            let is_there = |name: &str| sections.contains_key(name);
            if section.parents().all(is_there)
                && let Some(value) = value_of(section, &answers, &sections)
            {
                sections.insert(section.name.clone(), value);
            }
        }
    }
    assert!(sections.len() >= 5, "{set}: only {:?}", sections.keys());
    Tenant { name: format!("{provider} {set}"), provider, sections }
}

fn value_of(section: &Section, answers: &[&Answer], sections: &BTreeMap<String, Value>) -> Option<Value> {
    if let Some(when) = &section.when
        && !objects(&sections[&when.of]).iter().any(|object| has(object, &when.fields))
    {
        return None;
    }
    gathered(section, &section.each, &mut BTreeMap::new(), answers, sections).ok()?
}

/// The answers for every combination of names that are still open. Nothing: it is off; an error: it is not known.
fn gathered(
    section: &Section,
    open: &[Each],
    names: &mut BTreeMap<String, String>,
    answers: &[&Answer],
    sections: &BTreeMap<String, Value>,
) -> Result<Option<Value>, ()> {
    let Some((each, rest)) = open.split_first() else {
        return one(section, names, answers);
    };
    let mut map = Map::new();
    for (name, key) in names_and_keys(each, sections) {
        names.insert(each.name.clone(), name);
        if let Some(value) = gathered(section, rest, names, answers, sections)? {
            assert!(map.insert(key.clone(), value).is_none(), "{}: two of '{key}'", section.name);
        }
    }
    Ok(Some(Value::Object(map)))
}

/// The answer to the request with these names, all its pages in one list.
fn one(section: &Section, names: &BTreeMap<String, String>, answers: &[&Answer]) -> Result<Option<Value>, ()> {
    let fits = |found: &Match| names.iter().all(|(name, value)| found.names.get(name) == Some(value));
    let fit = |answer: &Answer| {
        answer.matches().into_iter().find(|found| found.section.name == section.name && fits(found)).map(|one| one.fit)
    };
    let Some(best) = answers.iter().filter_map(|answer| fit(answer)).max() else {
        // What nobody recorded is not there, as with the simulators, and in the words for others of its kind.
        let is_alike = |answer: &&&Answer| {
            answer.status == 404 && answer.matches().iter().any(|found| found.section.name == section.name)
        };
        if let Some(alike) = answers.iter().find(is_alike) {
            return if alike.state(section) == State::Off { Ok(None) } else { Err(()) };
        }
        let (code, message) = ("resource_not_found", "Not Found");
        let provider = if section.api == Api::Management { Provider::Auth0 } else { Provider::Clerk };
        let state = Table::of(provider).meaning_of(section, 404, code, message).state;
        return if state == State::Off { Ok(None) } else { Err(()) };
    };
    let mut pages: Vec<&&Answer> = answers.iter().filter(|answer| fit(answer) == Some(best)).collect();
    let is_first = |answer: &&&Answer| {
        !answer.query.contains_key("from") && answer.query.get("page").is_none_or(|page| page == "0")
    };
    // Of several recordings of the same request the last one counts.
    let first = **pages.iter().rfind(|answer| is_first(answer)).ok_or(())?;
    if first.status != 200 {
        return if first.state(section) == State::Off { Ok(None) } else { Err(()) };
    }
    pages.retain(|answer| !is_first(answer));
    let mut value = first.value(section);
    for page in pages {
        let Value::Array(items) = page.value(section) else { return Err(()) };
        value.as_array_mut().ok_or(())?.extend(items);
    }
    Ok(Some(value))
}

/// The names that are put into the path, and the keys of their answers.
fn names_and_keys(each: &Each, sections: &BTreeMap<String, Value>) -> BTreeSet<(String, String)> {
    let Some((parent, id)) = each.of.as_ref().zip(each.id.as_ref()) else {
        return each.names.iter().map(|name| (name.clone(), name.clone())).collect();
    };
    let mut found = BTreeSet::new();
    for object in objects(&sections[parent]).iter().filter(|object| has(object, &each.fields)) {
        for id in id.find(object).into_iter().filter_map(Value::as_str) {
            let key = each.key.as_ref().map_or_else(|| id.to_owned(), |field| text(object, field));
            found.insert((id.to_owned(), key));
        }
    }
    found
}

fn objects(value: &Value) -> Vec<&Value> {
    value.as_array().map_or_else(|| vec![value], |items| items.iter().collect())
}

fn has(object: &Value, fields: &BTreeMap<String, Value>) -> bool {
    fields.iter().all(|(name, value)| object.get(name) == Some(value))
}
