//! All renderings over the same alerts: their limits, their golden files, and hostile text in every one.

use serde_json::Value;

use super::*;
use crate::model::State;

mod schema;

/// Reads `tests/golden/NAME`, or writes it with UPDATE_GOLDEN=1.
fn agrees(name: &str, value: &Value) {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = format!("{}\n", serde_json::to_string_pretty(value).unwrap());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(text == expected, "{path} differs; UPDATE_GOLDEN=1 rewrites it. Now it is:\n{text}");
}

fn rendered(alert: Alert, format: Format) -> Value {
    serde_json::from_str(&Body::of(&samples::message(alert), format).unwrap().text).unwrap()
}

fn sample() -> Alert {
    Alert { sample: true, ..samples::all_clear() }
}

fn everything() -> Vec<(&'static str, Alert)> {
    vec![
        ("drift", samples::drift()),
        ("all-clear", samples::all_clear()),
        ("untrusted", samples::untrusted()),
        ("reminder", samples::reminder()),
        ("watch", samples::watch()),
        ("sample", sample()),
        ("hostile", samples::hostile()),
        ("enormous", samples::enormous()),
        ("many", samples::many()),
        ("scattered", samples::scattered()),
    ]
}

#[test]
fn bodies_read_as_agreed() {
    for format in [Format::Slack, Format::Teams, Format::Discord, Format::PagerDuty, Format::CloudEvents] {
        for (name, alert) in [
            ("drift", samples::drift()),
            ("all-clear", samples::all_clear()),
            ("untrusted", samples::untrusted()),
            ("watch", samples::watch()),
            ("sample", sample()),
        ] {
            if format != Format::CloudEvents || name == "drift" {
                agrees(&format!("{}-{name}.json", format.as_str()), &rendered(alert, format));
            }
        }
    }
}

/// Every text of `value` whose key passes `wanted`.
fn texts<'a>(value: &'a Value, wanted: &dyn Fn(&str) -> bool, key: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) if wanted(key) => found.push(text),
        Value::Array(items) => items.iter().for_each(|item| texts(item, wanted, key, found)),
        Value::Object(fields) => fields.iter().for_each(|(key, value)| texts(value, wanted, key, found)),
        _ => {}
    }
}

fn all_texts(value: &Value) -> Vec<&str> {
    let mut found = Vec::new();
    texts(value, &|_| true, "", &mut found);
    found
}

fn length(text: &str) -> usize {
    text.encode_utf16().count()
}

#[test]
fn limits_of_every_vendor_hold_and_what_is_left_out_is_counted() {
    for (name, alert) in everything() {
        let slack = rendered(alert.clone(), Format::Slack);
        let blocks = slack["blocks"].as_array().unwrap();
        assert!(blocks.len() <= 50 && length(&slack.to_string()) < 13_000, "{name}: {}", slack.to_string().len());
        for block in blocks {
            let most = if block["type"] == "header" { 150 } else { 3_000 };
            assert!(all_texts(block).iter().all(|text| !text.is_empty() && length(text) <= most), "{name}: {block}");
        }
        let teams = rendered(alert.clone(), Format::Teams);
        assert!(teams.to_string().len() < 28 * 1024 - 1_000, "{name}: {}", teams.to_string().len());
        let discord = rendered(alert.clone(), Format::Discord);
        let embed = &discord["embeds"][0];
        let size = |key: &str| length(embed[key].as_str().unwrap());
        assert!(size("title") <= 256 && size("description") <= 4_096, "{name}");
        assert!(size("title") + size("description") + length(embed["footer"]["text"].as_str().unwrap()) <= 6_000);
        let pager = rendered(alert.clone(), Format::PagerDuty);
        let events = pager.as_array().unwrap();
        let triggers = events.iter().filter(|event| event["event_action"] == "trigger");
        for event in events {
            assert!(length(event["dedup_key"].as_str().unwrap()) <= 255 && event.to_string().len() < 100_000);
            assert!(event.get("routing_key").is_none());
        }
        for event in triggers {
            let summary = event["payload"]["summary"].as_str().unwrap();
            assert!(!summary.is_empty() && length(summary) <= 1_024, "{name}: {summary}");
            let severity = event["payload"]["severity"].as_str().unwrap();
            assert!(["critical", "error", "warning", "info"].contains(&severity));
        }
    }
    for format in [Format::Slack, Format::Teams, Format::Discord] {
        let text = rendered(samples::many(), format).to_string();
        let count = text.matches(" more: authdrift status").count();
        assert_eq!(count, 1, "{}: {text}", format.as_str());
    }
}

/// The keys of the events of PagerDuty that `action`, each once.
fn keys(alert: Alert, action: &str) -> std::collections::BTreeSet<String> {
    let events = rendered(alert, Format::PagerDuty);
    let of_action: Vec<&Value> =
        events.as_array().unwrap().iter().filter(|event| event["event_action"] == action).collect();
    let keys: std::collections::BTreeSet<String> =
        of_action.iter().map(|event| event["dedup_key"].as_str().unwrap().to_owned()).collect();
    assert_eq!(keys.len(), of_action.len(), "{events}");
    keys
}

/// `count` sections to which `news` happened for `cause`.
fn sections(count: usize, news: SectionStatus, cause: State, still_unseen: usize) -> Vec<SectionEntry> {
    let model = samples::drift().section(0).clone();
    let one = |number| SectionEntry {
        section: format!("section.{number}"),
        news,
        state: cause,
        cause: Some(cause),
        still_unseen,
        ..model.clone()
    };
    (0..count).map(one).collect()
}

#[test]
fn an_outage_is_one_alert_of_pagerduty_for_each_cause() {
    use SectionStatus::{Blind, SeeingAgain};
    let alert = |sections: Vec<SectionEntry>| samples::drift().of(sections.into_iter().map(Item::Section));
    let outage = alert(sections(28, Blind, State::Unreachable, 0));
    let events = rendered(outage.clone(), Format::PagerDuty);
    assert_eq!(events.as_array().unwrap().len(), 1);
    let summary = events[0]["payload"]["summary"].as_str().unwrap();
    assert_eq!(summary, "clerk:prod: 28 sections: no usable answer, 403 authorization_invalid");
    let refused = alert(sections(2, Blind, State::NotPermitted, 0));
    let (outage, refused) = (keys(outage, "trigger"), keys(refused, "trigger"));
    assert!(outage.is_disjoint(&refused) && refused.len() == 1);
    // Some of them are back, then the rest.
    let back = |still| alert(sections(3, SeeingAgain, State::Unreachable, still));
    assert!(keys(back(25), "resolve").is_empty());
    assert_eq!(keys(back(0), "resolve"), outage);
    // What went blind again after that, in one message after an outage of the receiver.
    let both = [sections(1, SeeingAgain, State::Unreachable, 0), sections(1, Blind, State::Unreachable, 0)].concat();
    assert_eq!((keys(alert(both.clone()), "resolve").len(), keys(alert(both), "trigger")), (0, outage));
}

#[test]
fn a_setting_at_several_paths_is_one_alert_of_pagerduty_until_all_of_it_is_over() {
    let mfa = |news, still_open| {
        let entry = Entry { news, still_open, ..samples::drift().entry(0).clone() };
        samples::drift().of([Item::Setting(entry)])
    };
    let began = keys(mfa(EntryStatus::Opened, 0), "trigger");
    assert_eq!(began.len(), 1);
    assert!(keys(mfa(EntryStatus::Reverted, 1), "resolve").is_empty(), "one path is back and the other is not");
    assert_eq!(keys(mfa(EntryStatus::Reverted, 0), "resolve"), began);
    // The name of the thing may change meanwhile.
    let mut renamed = mfa(EntryStatus::Approved, 0);
    renamed.entry(0).meaning.title = "MFA (new name)".to_owned();
    assert_eq!(keys(renamed, "resolve"), began);
    let one = |number| Entry { topic: format!("setting {number}"), ..samples::drift().entry(0).clone() };
    let many = samples::drift().of((0..60).map(|number| Item::Setting(one(number))));
    assert_eq!(keys(many.clone(), "trigger").len(), 60);
    assert!(!rendered(many, Format::PagerDuty).to_string().contains(" more"));
}

#[test]
fn an_alert_of_pagerduty_ends_with_what_began_it() {
    let (began, ended) = (keys(samples::drift(), "trigger"), keys(samples::all_clear(), "resolve"));
    assert_eq!(began.len(), 4);
    assert!(began.is_subset(&ended), "{began:?}\n{ended:?}");
    // What is told again is the same alert.
    assert!(keys(samples::reminder(), "trigger").is_subset(&began));
    let mut mended = samples::untrusted();
    mended.items[0] = Item::TrustedAgain;
    mended.sections_mut().for_each(|section| section.news = SectionStatus::SeeingAgain);
    assert!(keys(samples::untrusted(), "trigger").is_subset(&keys(mended, "resolve")));
    // A sample never ends anything real.
    assert!(keys(sample(), "resolve").is_disjoint(&began));
}

/// What no text of ours holds and every text of [`samples::hostile`] does.
fn is_active(character: char) -> bool {
    (character.is_control() && character != '\n')
        || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[test]
fn t9_hostile_text_is_inert_in_every_rendering() {
    let alert = samples::hostile();
    let message = samples::message(alert.clone());

    let subject = subject::subject(&alert);
    assert!(!subject.chars().any(is_active), "{subject}");

    let text = text::render(&alert).unwrap();
    assert!(!text.chars().any(is_active));
    assert!(!text.lines().any(|line| line.trim_start().starts_with("Bcc:")));

    let html = html::render(&alert).unwrap();
    assert!(!html.chars().any(is_active));
    for active in ["<img", "<!channel", "onerror=alert(1)>", "href=\"http://evil"] {
        assert!(!html.contains(active), "{active}");
    }

    // For programs text is exact; JSON keeps every control character from the wire.
    for format in [Format::Standard, Format::CloudEvents] {
        let body = Body::of(&message, format).unwrap();
        assert!(!body.text.bytes().any(|byte| byte.is_ascii_control()));
    }

    for format in [Format::Slack, Format::Teams, Format::Discord, Format::PagerDuty] {
        for text in all_texts(&rendered(alert.clone(), format)) {
            assert!(!text.chars().any(is_active), "{}: {text}", format.as_str());
        }
    }

    let slack = rendered(alert.clone(), Format::Slack);
    for text in all_texts(&slack) {
        assert!(!text.contains(['<', '>']), "{text}");
        assert!(text.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "").find('&').is_none(), "{text}");
    }
    let markup = |value: &Value| value["type"] == "mrkdwn";
    for block in slack["blocks"].as_array().unwrap().iter().filter(|block| markup(&block["text"])) {
        assert_eq!(block["text"]["verbatim"], true);
        outside_of_code(block["text"]["text"].as_str().unwrap());
    }
    for object in slack["blocks"].as_array().unwrap() {
        let texts = object["elements"].as_array().cloned().unwrap_or_default();
        assert!(texts.iter().chain(object.get("text")).all(|text| markup(text) || text["type"] == "plain_text"));
    }

    let discord = rendered(alert.clone(), Format::Discord);
    assert_eq!(discord["allowed_mentions"], serde_json::json!({ "parse": [] }));
    assert_eq!(discord["content"], "");
    outside_of_code(discord["embeds"][0]["description"].as_str().unwrap());
    outside_of_code(discord["embeds"][0]["title"].as_str().unwrap());

    // Only what is a TextBlock is read as markup.
    fn blocks<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        if value["type"] == "TextBlock" {
            found.push(value["text"].as_str().unwrap());
        }
        match value {
            Value::Array(items) => items.iter().for_each(|item| blocks(item, found)),
            Value::Object(fields) => fields.values().for_each(|item| blocks(item, found)),
            _ => {}
        }
    }
    let teams = rendered(alert, Format::Teams);
    let mut found = Vec::new();
    blocks(&teams, &mut found);
    assert!(found.len() > 5);
    for text in found {
        assert!(text.chars().all(|c| c.is_ascii_uppercase() || " ,:".contains(c) || c.is_ascii_lowercase()), "{text}");
        assert!(!text.contains("img") && !text.contains("evil") && !text.contains("everyone"), "{text}");
    }
}

/// Asserts that nothing of the hostile text is outside of code.
fn outside_of_code(text: &str) {
    assert_eq!(text.matches('`').count() % 2, 0, "{text}");
    let mut outside = String::new();
    for (index, part) in text.split("```").enumerate() {
        if index % 2 == 0 {
            outside.extend(part.split('`').step_by(2));
        }
    }
    for active in ["img", "@everyone", "channel", "](http", "Bcc", "=cmd", "\\u{"] {
        assert!(!outside.contains(active), "{active} in {outside}");
    }
}
