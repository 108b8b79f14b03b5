//! What `docs/events.schema.json` says, against every body there can be.

use std::collections::BTreeSet;

use boon::{Compiler, Schemas};
use serde_json::{Value, json};

use super::super::event_types::EVENT_TYPES;
use super::super::sample::SampleKind;
use super::super::*;
use crate::diff::ChangeKind;
use crate::model::{Category, Direction, Severity, State};

/// Every field is required and no other is allowed, so that a new one cannot come without being documented. What is left
/// out of long bodies is optional.
fn object(about: &str, fields: Value, optional: Value) -> Value {
    let required: Vec<&String> = fields.as_object().unwrap().keys().collect();
    let mut properties = fields.clone();
    properties.as_object_mut().unwrap().extend(optional.as_object().unwrap().clone());
    json!({
        "description": about, "type": "object", "properties": properties, "required": required,
        "additionalProperties": false,
    })
}

fn text(about: &str) -> Value {
    json!({ "description": about, "type": "string" })
}

fn maybe(about: &str) -> Value {
    json!({ "description": about, "type": ["string", "null"] })
}

fn time(about: &str) -> Value {
    json!({ "description": about, "type": "string", "format": "date-time" })
}

fn count(about: &str) -> Value {
    json!({ "description": about, "type": "integer", "minimum": 0 })
}

fn flag(about: &str) -> Value {
    json!({ "description": about, "type": "boolean" })
}

fn list(about: &str, items: Value) -> Value {
    json!({ "description": about, "type": "array", "items": items })
}

fn one_of(about: &str, words: Vec<Value>) -> Value {
    json!({ "description": about, "enum": words })
}

fn words<T: serde::Serialize>(values: &[T]) -> Vec<Value> {
    values.iter().map(|value| serde_json::to_value(value).unwrap()).collect()
}

fn change() -> Value {
    let any = |about: &str| json!({ "description": about });
    object(
        "One path that differs.",
        json!({
            "id": text("The drift; the same for as long as the setting is watched."),
            "path": text("Where: a JSON Pointer, the section first."),
            "kind": one_of(
                "What kind of difference it is.",
                words(&[ChangeKind::Changed, ChangeKind::Added, ChangeKind::Removed, ChangeKind::Reordered]),
            ),
            "before": any("The approved value; null when there was none. Secrets are fingerprints."),
            "after": any("The value read; null when there is none."),
        }),
        json!({
            "before_omitted_bytes": count("The value was too long and is null instead."),
            "after_omitted_bytes": count("The value was too long and is null instead."),
        }),
    )
}

fn entry() -> Value {
    let mut unit = words(&crate::model::Unit::ALL);
    unit.push(Value::Null);
    object(
        "One setting: one click in a dashboard, however many paths it moved.",
        json!({
            "news": one_of("What happened to it.", words(&[
                EntryStatus::Opened, EntryStatus::Reopened, EntryStatus::Changed, EntryStatus::StillOpen, EntryStatus::Flapping, EntryStatus::Reverted,
                EntryStatus::Approved, EntryStatus::Passed,
            ])),
            "setting": text("Its id in the catalogue; 'unclassified' when that does not know the path."),
            "title": text("What a person calls it."),
            "why": text("Why it matters."),
            "dashboard": maybe("Where to click."),
            "event": maybe("Which event of the vendor's audit log to look for."),
            "category": one_of("What part of sign-in it belongs to.", words(&Category::ALL)),
            "also": list("Categories of what follows from it, where they are others.", json!({ "enum": words(&Category::ALL) })),
            "severity": one_of("How much it matters.", words(&Severity::ALL)),
            "direction": one_of("Which way it went.", words(&Direction::ALL)),
            "unit": one_of("How its numbers are read.", unit),
            "last_good": { "description": "Last reading without it.", "type": ["string", "null"], "format": "date-time" },
            "first_seen": time("First seen different."),
            "reopened": count("How often it had been closed and came back."),
            "approved_by": list("Who approved it.", json!({ "type": "string" })),
            "changes": list("Every path that moved.", json!({ "$ref": "#/$defs/change" })),
        }),
        json!({
            "unannounced": text("The reason of the announced changes that this is not one of."),
            "changes_omitted": count("Changes that were left out."),
            "topic": text("Which setting of which object: the same in every alert about it."),
            "closed_at": time("When it ended: the first reading without it, or the approval."),
            "still_open": count("Differences of the same setting that are open after this one ended."),
            "approved_until": time("When the approval ends and it is a drift again, if it was approved for a time."),
        }),
    )
}

fn section() -> Value {
    object(
        "A section that cannot be read, or can be again; or a credential.",
        json!({
            "section": text("The section, or what the credential is called."),
            "news": one_of("What happened.", words(&SectionStatus::ALL)),
            "state": one_of("Its state now.", words(&[
                State::Value, State::Off, State::NotOnPlan, State::NotPermitted, State::Unreachable, State::Suspect,
            ])),
            "reason": text("Why; may be empty."),
            "since": time("Since when; for an end, when that began which ended."),
        }),
        json!({
            "until": time("When it ended: the first reading that saw it again."),
            "cause": one_of("What the section was when its blindness was told first.", words(&State::ALL)),
            "still_unseen": count("Sections that are not seen for the same cause after this one is seen again."),
        }),
    )
}

fn notice() -> Value {
    object(
        "News about the watch itself.",
        json!({
            "kind": one_of("What happened.", words(&NoticeKind::ALL)),
            "subject": text("To what; may be empty."),
            "text": text("How, in one sentence."),
        }),
        json!({}),
    )
}

fn data() -> Value {
    let nullable = |value: Value| json!({ "anyOf": [value, { "type": "null" }] });
    let baseline = object(
        "The approved state that the entries differ from.",
        json!({
            "sequence": count("Its number."),
            "approved_at": time("When the last approver signed."),
            "approvers": list("Who signed.", json!({ "type": "string" })),
            "reason": text("What the last approver gave as the reason."),
        }),
        json!({}),
    );
    let window = object(
        "The time in which it happened.",
        json!({
            "last_good": { "description": "Last reading without it.", "type": ["string", "null"], "format": "date-time" },
            "first_different": time("First reading with it."),
        }),
        json!({}),
    );
    object(
        "The alert.",
        json!({
            "instance": maybe("clerk:NAME or auth0:NAME; null when it is about the program itself."),
            "resource": text("The vendor's own identity of the instance."),
            "sample": flag("True for a sample that somebody asked for: nothing of it happened."),
            "at": time("When the cycle ended."),
            "severity": one_of("That of the most severe thing in it.", words(&Severity::ALL)),
            "baseline": nullable(baseline),
            "untrusted": maybe("Why the approved state cannot be trusted, when that is the news."),
            "trusted_again": flag("Whether it can be trusted again, when that is the news."),
            "window": nullable(window),
            "entries": list("Settings, the most severe first.", json!({ "$ref": "#/$defs/entry" })),
            "sections": list("Sections and credentials.", json!({ "$ref": "#/$defs/section" })),
            "notices": list("News about the watch itself.", json!({ "$ref": "#/$defs/notice" })),
            "open": count("Drifts of the instance that are open now."),
            "approvers_needed": count("How many people it takes to approve everything that is open."),
            "event": object(
                "The last event of the history when this was made.",
                json!({ "size": count("Its number."), "head": text("The digest that covers the history up to it.") }),
                json!({}),
            ),
            "host": text("The machine this was sent from."),
            "version": text("The program's version."),
        }),
        json!({
            "omitted": count("Entries that were left out, because a body stays under 20 KB."),
            "sections_omitted": count("Sections that were left out."),
            "notices_omitted": count("Notices that were left out."),
        }),
    )
}

fn schema() -> Value {
    let types: Vec<&str> = EVENT_TYPES.iter().map(|(name, _)| *name).collect();
    let cloud_types: Vec<String> = types.iter().map(|name| format!("authdrift.{name}")).collect();
    let data = json!({ "$ref": "#/$defs/data" });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What authdrift sends to webhooks",
        "description": "Written by `UPDATE_DOCS=1 cargo test --lib schema`. Fields and events may be added; none changes its \
                        meaning.",
        "oneOf": [{ "$ref": "#/$defs/standard" }, { "$ref": "#/$defs/cloudevent" }],
        "$defs": {
            "standard": object(
                "The body of Standard Webhooks (format = \"standard\").",
                json!({ "type": { "enum": types }, "timestamp": time("When the cycle ended."), "data": data }),
                json!({}),
            ),
            "cloudevent": object(
                "A CloudEvent in structured mode (format = \"cloudevents\").",
                json!({
                    "specversion": { "const": "1.0" },
                    "id": text("The same on every try, and equal to the header webhook-id."),
                    "source": { "const": "/authdrift" },
                    "type": { "enum": cloud_types },
                    "time": time("When the cycle ended."),
                    "datacontenttype": { "const": "application/json" },
                    "data": data,
                }),
                json!({ "subject": text("The instance.") }),
            ),
            "data": self::data(),
            "entry": entry(),
            "change": change(),
            "section": section(),
            "notice": notice(),
        },
    })
}

/// Fields may be added in a later version, which must not fail whoever validates by an older schema.
fn let_fields_come(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.remove("additionalProperties");
            fields.values_mut().for_each(let_fields_come);
        }
        Value::Array(items) => items.iter_mut().for_each(let_fields_come),
        _ => {}
    }
}

/// Alerts of every kind of news, one at a time.
fn of_every_kind() -> Vec<Alert> {
    let mut alerts: Vec<Alert> = super::everything().into_iter().map(|(_, alert)| alert).collect();
    for kind in [SampleKind::Drift, SampleKind::Reverted, SampleKind::Blind] {
        alerts.push(sample::sample(samples::watch().of([]), kind));
    }
    for news in [EntryStatus::Flapping, EntryStatus::StillOpen, EntryStatus::Passed, EntryStatus::Approved] {
        let mut alert = samples::reminder();
        alert.entries_mut().for_each(|entry| entry.news = news);
        alerts.push(alert);
    }
    let bare = samples::untrusted().of([]);
    alerts.push(bare.clone().of([Item::TrustedAgain]));
    for news in SectionStatus::ALL {
        let section = SectionEntry { news, ..samples::drift().section(0).clone() };
        alerts.push(bare.clone().of([Item::Section(section)]));
    }
    for kind in NoticeKind::ALL {
        let notice = Notice { kind, subject: String::new(), text: "x".repeat(3_000) };
        alerts.push(bare.clone().of(vec![Item::Notice(notice); 40]));
    }
    alerts
}

#[test]
fn the_schema_is_the_documented_one_and_every_body_keeps_to_it() {
    let schema = schema();
    let path = format!("{}/docs/events.schema.json", env!("CARGO_MANIFEST_DIR"));
    let mut open = schema.clone();
    let_fields_come(&mut open);
    let written = format!("{}\n", serde_json::to_string_pretty(&open).unwrap());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &written).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == written, "{path} is out of date: UPDATE_DOCS=1 cargo test --lib schema");

    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.enable_format_assertions();
    compiler.add_resource("http://localhost/events.schema.json", schema).unwrap();
    let index = compiler.compile("http://localhost/events.schema.json", &mut schemas).unwrap();
    let mut seen = BTreeSet::new();
    for alert in of_every_kind() {
        for format in [Format::Standard, Format::CloudEvents] {
            let body = super::rendered(alert.clone(), format);
            assert!(body.to_string().len() < 20_000);
            if let Err(error) = schemas.validate(&body, index) {
                panic!("{error}\n{body:#}");
            }
            if format == Format::Standard {
                seen.insert(body["type"].as_str().unwrap().to_owned());
            }
        }
    }
    let listed: BTreeSet<String> = EVENT_TYPES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(seen, listed);

    // The schema bites.
    let good = super::rendered(samples::drift(), Format::Standard);
    for (pointer, value) in [
        ("/type", json!("drift.invented")),
        ("/timestamp", json!("yesterday")),
        ("/data/severity", json!("bad")),
        ("/data/entries/0/news", json!(7)),
        ("/data/entries/0/changes/0", json!({ "path": "/x" })),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        assert!(schemas.validate(&bad, index).is_err(), "{pointer}");
    }
}
