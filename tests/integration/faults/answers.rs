//! Every way in which an answer can be none.

use authdrift::model::Provider;
use authdrift::sections::{Paging, Section, Shape};
use authdrift::simulator::fault::Fault;
use authdrift::simulator::{auth0, clerk};
use serde_json::{Map, Value, json};

use super::rules::{self, Missing, Outcome, none_there, outcome_of};
use super::scene::{Address, Scene};

/// One fault of one section, and what is known of the section then.
pub struct Trial {
    pub section: &'static Section,
    pub paths: Vec<String>,
    pub rule: &'static str,
    /// Which of the faults with that rule, and where.
    pub detail: String,
    pub fault: Fault,
    pub outcome: Outcome,
}

/// Every fault of `section`: of its address, or of one and of all of its addresses.
pub fn trials(scene: &Scene, section: &'static Section) -> Vec<Trial> {
    let addresses = &scene.addresses[section.name.as_str()];
    let most = |address: &&Address| match section.shape {
        Shape::Object => size(address),
        Shape::List | Shape::Set => items(section, &address.answer).len(),
    };
    let fullest = addresses.iter().max_by_key(most).unwrap();
    let everywhere: Vec<&Address> = addresses.iter().collect();
    if section.each.is_empty() {
        return of_addresses(scene, section, &everywhere, fullest, "");
    }
    let mut trials = of_addresses(scene, section, &[fullest], fullest, ", one object");
    // Nothing is known of that object then, and its siblings are as they are.
    if everywhere.len() > 1 {
        let of_all = [rules::UNAUTHORIZED, rules::BUSY];
        for trial in trials.iter_mut().filter(|trial| !of_all.contains(&trial.rule)) {
            if matches!(trial.outcome, Outcome::Unreachable | Outcome::NotPermitted | Outcome::NotOnPlan) {
                trial.outcome = Outcome::PartlyValue;
            }
        }
    }
    // How an answer is no JSON does not depend on how many there are.
    let of_many = [rules::NO_JSON, rules::TYPE, rules::TWICE, rules::DEEP, rules::IDENTITY];
    let all = of_addresses(scene, section, &everywhere, fullest, ", all objects");
    trials.extend(all.into_iter().filter(|trial| !of_many.contains(&trial.rule)));
    trials
}

fn size(address: &Address) -> usize {
    address.answer.as_object().map_or(0, Map::len)
}

/// The items of an answer, in its envelope or bare.
fn items(section: &Section, answer: &Value) -> Vec<Value> {
    let list = section.items.as_ref().and_then(|items| answer.get(items)).unwrap_or(answer);
    list.as_array().cloned().unwrap_or_default()
}

/// `answer` with other items and another total, if it has one.
fn with_items(section: &Section, answer: &Value, items: Vec<Value>, total: Option<usize>) -> Fault {
    let mut envelope = match (answer, &section.items) {
        (Value::Object(envelope), Some(_)) => envelope.clone(),
        (_, Some(_)) if total.is_some() => Map::new(),
        _ => return text(&Value::Array(items)),
    };
    for name in ["total", "total_count"] {
        if let (true, Some(total)) = (envelope.contains_key(name), total) {
            envelope.insert(name.to_owned(), json!(total));
        }
    }
    if let Some(total) = total {
        envelope.entry("total").or_insert(json!(total));
    }
    envelope.insert(section.items.clone().unwrap(), Value::Array(items));
    text(&Value::Object(envelope))
}

fn text(value: &Value) -> Fault {
    Fault::Body(value.to_string().into_bytes())
}

fn refusal(provider: Provider, status: u16, code: &str, message: &str) -> Fault {
    match provider {
        _ if status == 204 => Fault::status(204, Value::Null),
        Provider::Clerk => clerk::failure(status, code, message, &Value::Null),
        Provider::Auth0 => auth0::failure(status, code, message),
    }
}

/// The same faults at several addresses; `fullest` is the one with the most to lose.
fn of_addresses(
    scene: &Scene,
    section: &'static Section,
    addresses: &[&Address],
    fullest: &Address,
    place: &'static str,
) -> Vec<Trial> {
    let mut faults = refusals(scene.provider, section, addresses.len() < scene.addresses[section.name.as_str()].len());
    faults.extend(bodies(section, fullest));
    faults.extend(emptiness(section, addresses));
    faults.extend(lists(section, fullest, scene.sharing(&section.name).len() == 1));
    let paths: Vec<String> = addresses.iter().map(|address| address.path.clone()).collect();
    let trial = |(rule, detail, fault, outcome): Answer| Trial {
        section,
        paths: paths.clone(),
        rule,
        detail: format!("{detail}{place}"),
        fault,
        outcome,
    };
    faults.into_iter().map(trial).collect()
}

type Answer = (&'static str, &'static str, Fault, Outcome);

fn by_rule(rule: &'static str, detail: &'static str, fault: Fault) -> Answer {
    (rule, detail, fault, outcome_of(rule))
}

fn refusals(provider: Provider, section: &Section, is_part: bool) -> Vec<Answer> {
    let plain = |status| Fault::status(status, json!({ "message": "No" }));
    let (scope, plan) = match provider {
        Provider::Clerk => (clerk::missing_scope("applications:manage"), clerk::not_on_plan("x")),
        Provider::Auth0 => (auth0::missing_scope("read:anything"), auth0::not_on_plan("x")),
    };
    let plan = match plan {
        Fault::Status { body, headers, .. } => Fault::Status { status: 403, body, headers },
        other => other,
    };
    let mut faults = vec![
        by_rule(rules::UNAUTHORIZED, "", Fault::status(401, json!({ "errors": [] }))),
        by_rule(rules::PAYMENT, "", plain(402)),
        by_rule(rules::FORBIDDEN, "", plain(403)),
        by_rule(rules::SCOPE, "", scope),
        by_rule(rules::PLAN, "", plan),
        by_rule(rules::BUSY, "", plain(429).with_header("retry-after", "0")),
        by_rule(rules::SERVER, "", plain(500)),
        by_rule(rules::STATUS, "redirect", Fault::status(302, json!([])).with_header("location", "/elsewhere")),
    ];
    // One object of which that is said is not all of them.
    let off = |rule, detail, fault, missing| match is_part || missing == Missing::Object {
        true => by_rule(rules::NO_OBJECT, detail, fault),
        false => by_rule(rule, detail, fault),
    };
    let feature = refusal(provider, 403, "feature_not_enabled", "The feature is off");
    faults.push(off(rules::FEATURE, "feature", feature, Missing::All));
    let said: Vec<_> = none_there(&section.name).collect();
    for (status, code, missing) in &said {
        faults.push(off(rules::NONE, code, refusal(provider, *status, code, "There is none"), *missing));
    }
    for (status, rule) in [(404, rules::NOT_FOUND), (400, rules::STATUS), (204, rules::STATUS)] {
        if !said.iter().any(|(said, code, _)| *said == status && code.is_empty()) {
            faults.push(by_rule(rule, "without a code", refusal(provider, status, "", "Not Found")));
        }
    }
    faults
}

fn bodies(section: &Section, fullest: &Address) -> Vec<Answer> {
    let healthy = &fullest.answer;
    let mut faults = vec![
        by_rule(rules::TRUNCATED, "", Fault::Truncated),
        by_rule(rules::HTML, "", Fault::Html),
        by_rule(rules::NO_JSON, "half of one", Fault::NotJson),
        by_rule(rules::NO_JSON, "nothing", Fault::Body(Vec::new())),
        by_rule(rules::NO_JSON, "two", Fault::Body(format!("{healthy}{{}}").into_bytes())),
        by_rule(rules::CAP, "", Fault::Endless),
        by_rule(rules::TYPE, "null", text(&Value::Null)),
        by_rule(rules::TYPE, "a text", text(&json!("all-applications"))),
    ];
    // In a list whose objects have names it is one object that cannot be used.
    let is_one_of_many = healthy.is_array() && section.key_at(&vec!["*".to_owned(); section.each.len()]).is_some();
    for (rule, member) in [(rules::TWICE, r#""twice":1,"twice":2"#.to_owned()), (rules::DEEP, deep(200))] {
        let outcome = if is_one_of_many { Outcome::Partly } else { outcome_of(rule) };
        faults.push((rule, "", Fault::Body(with_first_member(healthy, &member)), outcome));
    }
    match section.shape {
        Shape::Object => faults.push(by_rule(rules::TYPE, "a list", text(&json!([healthy])))),
        Shape::List => {
            faults.push(by_rule(rules::TYPE, "an object", text(&json!({ "0": healthy }))));
            faults.push(by_rule(rules::TYPE, "texts", with_items(section, healthy, vec![json!("a")], None)));
        }
        Shape::Set => {
            faults.push(by_rule(rules::TYPE, "an object", text(&json!({ "0": healthy }))));
            faults.push(by_rule(rules::TYPE, "objects", with_items(section, healthy, vec![json!({})], None)));
        }
    }
    faults
}

/// Empty answers, where there is enough to miss.
fn emptiness(section: &Section, addresses: &[&Address]) -> Option<Answer> {
    if section.shape == Shape::Object {
        if !section.requires.is_empty() {
            return Some(by_rule(rules::EMPTY_OBJECT, "", text(&json!({}))));
        }
        let fields: usize = addresses.iter().map(|address| size(address)).sum();
        return (fields >= 2).then(|| by_rule(rules::EMPTIED, "", text(&json!({}))));
    }
    let all: usize = addresses.iter().map(|address| items(section, &address.answer).len()).sum();
    assert!(all >= 2, "{} has no list to miss: {}", section.name, addresses[0].answer);
    Some(by_rule(rules::EMPTY, "", with_items(section, &addresses[0].answer, Vec::new(), Some(0))))
}

fn lists(section: &Section, fullest: &Address, is_alone: bool) -> Vec<Answer> {
    let answer = &fullest.answer;
    let all = items(section, answer);
    let count = all.len();
    let mut faults = Vec::new();
    if section.shape != Shape::Object && section.items.is_some() {
        let half = || all[..count.div_ceil(2)].to_vec();
        faults.push(by_rule(rules::LOW, "", with_items(section, answer, all.clone(), Some(count - 1))));
        faults.push(by_rule(rules::HIGH, "", with_items(section, answer, all.clone(), Some(count + 1))));
        faults.push(by_rule(rules::HALF, "with the right total", with_items(section, answer, half(), Some(count))));
        let first = match section.paging {
            Paging::Checkpoint => {
                let page = json!({ section.items.as_deref().unwrap(): half(), "next": "same" });
                faults.push(by_rule(rules::CIRCLE, "", text(&page)));
                Some(text(&page))
            }
            Paging::Page | Paging::Offset => Some(with_items(section, answer, half(), Some(count))),
            Paging::None => None,
        };
        // Where two sections share an address, nobody knows which of them comes when.
        if let Some(first) = first.filter(|_| is_alone) {
            let script = Fault::Sequence(vec![first, Fault::status(500, json!({})).times(2)]);
            faults.push(by_rule(rules::HALF, "then an error", script));
        }
    }
    if section.shape == Shape::List {
        // The other items would be news of a section that shares the address.
        if is_alone {
            faults.extend(identities(section, answer, &all));
        }
        faults.extend(
            gone_field(section, &all)
                .map(|items| by_rule(rules::FIELD, "", with_items(section, answer, items, Some(count)))),
        );
    }
    if let (Some(scoped), true) = (&section.scoped_field, section.shape == Shape::List) {
        let mut items = all.clone();
        items.iter_mut().for_each(|item| _ = item.as_object_mut().unwrap().remove(&scoped.field));
        faults.push(by_rule(rules::SCOPED, "", with_items(section, answer, items, Some(count))));
    }
    faults
}

/// Lists whose items cannot be told apart, at the root and wherever else items have an identity.
fn identities(section: &Section, answer: &Value, all: &[Value]) -> Vec<Answer> {
    let edited = |edit: &dyn Fn(&mut Vec<Value>)| {
        let mut items = all.to_vec();
        edit(&mut items);
        let count = items.len();
        with_items(section, answer, items, section.items.as_ref().map(|_| count))
    };
    let mut faults = one_more(section, answer, all);
    let mut bad = |detail, fault| faults.push(by_rule(rules::IDENTITY, detail, fault));
    bad("two of one", edited(&|items| items.push(items[0].clone())));
    let root = vec!["*".to_owned(); section.each.len()];
    if let Some([field]) = section.key_at(&root) {
        bad("none", edited(&|items| _ = items[0].as_object_mut().unwrap().remove(field)));
        bad("empty", edited(&|items| items[0][field] = json!("")));
        bad("a number", edited(&|items| items[0][field] = json!(7)));
    }
    for (inner, key) in [("cname_targets", "host"), ("scopes", "value"), ("permissions", "key"), ("roles", "key")] {
        let is_keyed = section.key_at(&["x".to_owned(), inner.to_owned()]) == Some(&[key.to_owned()]);
        if is_keyed && all[0][inner][0].is_object() {
            bad("none within", edited(&|items| items[0][inner][0][key] = Value::Null));
            let twice = |items: &mut Vec<Value>| {
                let inner = items[0][inner].as_array_mut().unwrap();
                inner.push(inner[0].clone());
            };
            bad("two of one within", edited(&twice));
        }
    }
    faults
}

/// Lists with one more item, which cannot be used. The others can.
fn one_more(section: &Section, answer: &Value, all: &[Value]) -> Vec<Answer> {
    let root = vec!["*".to_owned(); section.each.len()];
    let Some([field]) = section.key_at(&root) else { return Vec::new() };
    let mut like = all[0].clone();
    like[field] = json!("one-more");
    let of = |item: &Value, member: &str| item.to_string().replacen('{', &format!("{{{member},"), 1);
    let mut numbered = like.clone();
    numbered["filler"] = json!(1);
    numbered.as_object_mut().unwrap().remove(field);
    let items = [
        ("null", "null".to_owned()),
        ("a text", "\"x\"".to_owned()),
        ("a list", "[]".to_owned()),
        ("an empty object", "{}".to_owned()),
        ("nested too deep", of(&like, &deep(200))),
        ("a key twice", of(&like, r#""twice":1,"twice":2"#)),
        ("an endless number", of(&like, r#""endless":-1e-99999,"endless":1"#)),
        ("its identity twice", of(&like, &format!("\"{field}\":\"x\""))),
        ("its identity a large number", of(&numbered, &format!("\"{field}\":738529527931269425"))),
        ("its identity null", of(&numbered, &format!("\"{field}\":null"))),
    ];
    let fault = |item: &str| {
        let items = [all, &[json!("one more")]].concat();
        let count = section.items.as_ref().map(|_| items.len());
        match with_items(section, answer, items, count) {
            Fault::Body(body) => {
                Fault::Body(String::from_utf8(body).unwrap().replace("\"one more\"", item).into_bytes())
            }
            other => other,
        }
    };
    items.iter().map(|(detail, item)| (rules::IDENTITY, *detail, fault(item), Outcome::PartlyValue)).collect()
}

/// The items without a field that all of them have and that means something.
fn gone_field(section: &Section, all: &[Value]) -> Option<Vec<Value>> {
    if !section.each.is_empty() || all.len() < 3 {
        return None;
    }
    let place = |field: &str| vec!["x".to_owned(), field.to_owned()];
    let means_something = |field: &str| {
        let is_scoped = section.scoped_field.as_ref().is_some_and(|scoped| scoped.field == field);
        let is_key = section.key_at(&[]).unwrap().iter().any(|key| key.starts_with(field));
        let is_there = |item: &Value| item.get(field).is_some_and(|value| !value.is_null());
        let is_required = section.requires.iter().any(|required| required == field);
        let is_nothing = section.is_volatile(&place(field)) || section.default_at(&place(field)).is_some();
        !(is_scoped || is_key || is_required || is_nothing) && all.iter().all(is_there)
    };
    let field = all[0].as_object()?.keys().find(|field| means_something(field))?;
    let mut items = all.to_vec();
    items.iter_mut().for_each(|item| _ = item.as_object_mut().unwrap().remove(field));
    Some(items)
}

/// `healthy` as text, with `member` put into the first object of it, or an object put into its list.
fn with_first_member(healthy: &Value, member: &str) -> Vec<u8> {
    let text = healthy.to_string();
    match text.split_once('{') {
        Some((start, rest)) if rest.starts_with('}') => format!("{start}{{{member}{rest}").into_bytes(),
        Some((start, rest)) => format!("{start}{{{member},{rest}").into_bytes(),
        None => format!("[{{{member}}}]").into_bytes(),
    }
}

fn deep(levels: usize) -> String {
    format!("\"deep\":{}{}", "[".repeat(levels), "]".repeat(levels))
}
