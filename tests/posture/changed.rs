//! The tenants with anything changed in them that the rules read: values, fields that go, sections that are refused. Both
//! evaluations still say the same. `ROUNDS=2000` looks longer.

use authdrift::model::{Pattern, Pointer, State};
use authdrift::posture::{Profile, RuleSet};
use authdrift::snapshot::Reading;
use serde_json::{Value, json};

use super::second::{SECOND, disagreements, first};
use super::support::fixtures;
use super::{snapshot, with_value};

/// Texts that mean something to some rule.
const WORDS: &[&str] = &[
    "none",
    "low",
    "good",
    "excellent",
    "spa",
    "native",
    "regular_web",
    "non_interactive",
    "resource_server",
    "auth0",
    "samlp",
    "persistent",
    "non-persistent",
    "other",
    "rotating",
    "non-rotating",
    "expiring",
    "non-expiring",
    "active",
    "paused",
    "management",
    "tenant",
    "arkose",
    "auth_challenge",
    "hcaptcha",
    "production",
    "development",
    "client_secret_post",
    "",
    "org:admin",
    "org:member",
    "https://t.example/api/v2/",
    "{{user.first_name}}",
    "{{user.public_metadata}}",
    "{{user.public_metadata.plan}}",
    "a {{ user.unsafe_metadata.x || 'y' }}",
];

/// Members that mean something to some rule.
const MEMBERS: &[&str] = &[
    "implicit",
    "refresh_token",
    "authorization_code",
    "client_credentials",
    "password",
    "all-applications",
    "confidence-score",
    "email_link",
    "email_code",
    "https://app.example/cb",
    "https://localhost.example/x",
    "http://localhost:3000",
    "https://*.app.example/cb",
    "myapp://cb",
    "http://127.0.0.1:8/cb",
    "https://localhost/",
    "read:clients",
    "update:users",
    "192.0.2.0/24",
];

/// Numbers at and beside the limits.
const NUMBERS: &[u32] = &[0, 1, 5, 8, 12, 14, 15, 24, 60, 600, 3_600, 86_400, 604_800, 2_592_000, 99_999_999];

/// Another value of the same type.
fn another(value: &Value, random: &mut fastrand::Rng) -> Value {
    match value {
        Value::Bool(yes) => json!(!yes),
        Value::Number(_) => json!(NUMBERS[random.usize(..NUMBERS.len())]),
        Value::String(_) => json!(WORDS[random.usize(..WORDS.len())]),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            let mut items = items.clone();
            if !items.is_empty() && random.bool() {
                items.remove(random.usize(..items.len()));
            } else {
                items.push(json!(MEMBERS[random.usize(..MEMBERS.len())]));
            }
            Value::Array(items)
        }
        other => other.clone(),
    }
}

/// Changes or takes away one leaf that one of the rules reads.
fn mutate(value: &mut Value, path: &mut Vec<String>, patterns: &[Pattern], random: &mut fastrand::Rng) {
    let Value::Object(fields) = value else {
        *value = another(value, random);
        return;
    };
    let near: Vec<String> = fields
        .keys()
        .filter(|key| {
            let path: Vec<&str> = path.iter().map(String::as_str).chain([key.as_str()]).collect();
            patterns
                .iter()
                .any(|pattern| pattern.may_be_below(&path) || (1..=path.len()).any(|end| pattern.matches(&path[..end])))
        })
        .cloned()
        .collect();
    if near.is_empty() {
        return;
    }
    let key = near[random.usize(..near.len())].clone();
    path.push(key.clone());
    if !fields[&key].is_object() && random.usize(..4) == 0 {
        fields.remove(&key);
    } else {
        mutate(fields.get_mut(&key).unwrap(), path, patterns, random);
    }
}

#[test]
fn two_evaluations_agree_whatever_is_changed() {
    let rounds: usize = std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(60);
    let mut random = fastrand::Rng::with_seed(14);
    let (mut judged, mut different) = (0, 0);
    for tenant in fixtures::tenants() {
        let whole = snapshot(&tenant);
        let patterns: Vec<Pattern> = SECOND
            .iter()
            .flat_map(|(id, ..)| RuleSet::built_in().rule(id).unwrap().reads(tenant.provider))
            .cloned()
            .collect();
        let mut sections: Vec<String> =
            patterns.iter().map(|one| one.to_string().parse::<Pointer>().unwrap().section().to_owned()).collect();
        sections.retain(|section| tenant.sections.contains_key(section));
        for round in 0..rounds {
            let (mut changed, mut told) = (whole.clone(), Vec::new());
            for _ in 0..=random.usize(..4) {
                let section = sections[random.usize(..sections.len())].clone();
                if random.usize(..12) == 0 {
                    changed.sections.insert(section.clone(), Reading::without(State::Unreachable, "not today"));
                    told.push(section);
                    continue;
                }
                let Some(document) = changed.sections[&section].document() else { continue };
                let (mut value, mut path) = (document.read(), vec![section.clone()]);
                mutate(&mut value, &mut path, &patterns, &mut random);
                let now = path[1..].iter().try_fold(&value, |place, token| place.get(token));
                told.push(format!("{} = {}", path.join("/"), now.map_or_else(|| "gone".to_owned(), Value::to_string)));
                changed = with_value(&changed, &section, &value);
            }
            let profile = Profile::ALL[round % 3];
            let found = disagreements(&changed, profile);
            assert!(found.is_empty(), "{} with {told:#?}: {found:#?}", tenant.name);
            judged += 1;
            different += usize::from(first(&changed, profile) != first(&whole, profile));
        }
    }
    println!("{different} of {judged} changed tenants are judged otherwise");
    assert!(different * 3 > judged, "{different} of {judged}: what is changed is not what the rules read");
}
