//! PagerDuty's Events API v2: one alert for each setting and for each cause of blindness, which ends when all of it is over.
//!
//! The keys that say which alert an event belongs to are digests of what it is about, so the event that ends something
//! always finds what began it. The routing key is a secret and is added when an event is sent.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::card::cut;
use super::values::line;
use super::{Alert, Entry, EntryChange, Item, Notice, SectionEntry, SectionStatus, summary};
use crate::clock::written;
use crate::model::{Digest, Direction, Severity, display_safe, display_safe_sentence};

/// Characters of a summary.
const SUMMARY: usize = 1_024;
/// Characters of one detail.
const DETAIL: usize = 1_000;

/// The events without the routing key: resolves, then triggers, the worst first.
pub(super) fn events(alert: &Alert) -> Value {
    let (mut triggers, mut resolves) = (Vec::new(), Vec::new());
    let mut causes = BTreeSet::new();
    for item in &alert.items {
        match item {
            Item::Untrusted(reason) => {
                let summary = "the approved state cannot be trusted, nothing is compared";
                let details = json!({ "reason": detail(reason), "next": steps(alert) });
                let key = key(alert, &["baseline"]);
                triggers.push(trigger(alert, &key, summary, item.severity(), "baseline", details));
            }
            Item::TrustedAgain => resolves.push(key(alert, &["baseline"])),
            Item::Setting(entry) => {
                let key = key(alert, &["setting", topic_of(entry)]);
                match (entry.news.is_over(), entry.still_open) {
                    (true, 0) => resolves.push(key),
                    (true, _) => {}
                    (false, _) => triggers.push(drift(alert, entry, &key)),
                }
            }
            Item::Section(section) => {
                let key = cause_key(alert, section);
                if section.news.is_blindness() {
                    if causes.insert(key.clone()) {
                        triggers.push(blind(alert, &key));
                    }
                } else if section.news.is_end() && section.still_unseen == 0 {
                    resolves.push(key);
                }
            }
            Item::Notice(news) => {
                let Some(topic) = news.kind.row().pager_topic else { continue };
                let text = Digest::of(news.text.as_bytes());
                let about = match topic {
                    "storage" => "",
                    // Nothing ends these, so that each is one of its own.
                    "trust" | "approval" => text.as_str(),
                    _ => &news.subject,
                };
                let key = key(alert, &["notice", topic, about]);
                match item.phase().is_end() {
                    true => resolves.push(key),
                    false => triggers.push(notice(alert, news, topic, &key)),
                }
            }
        }
    }
    triggers.sort_by_key(rank);
    let key_of = |event: &Value| event.get("dedup_key").and_then(Value::as_str).map(str::to_owned);
    let going_on: BTreeSet<String> = triggers.iter().filter_map(key_of).collect();
    // An alert that another part of this message triggers is not resolved.
    let over = resolves.iter().filter(|key| !going_on.contains(*key)).map(|key| resolve(key));
    // Of several events with one key, the worst is sent.
    let mut seen = BTreeSet::new();
    let events = over.chain(triggers).filter(|event| seen.insert(key_of(event)));
    Value::from(events.collect::<Vec<_>>())
}

/// What tells one setting from another. Alerts that were kept by an older version know the title alone.
fn topic_of(entry: &Entry) -> &str {
    if entry.topic.is_empty() { &entry.meaning.title } else { &entry.topic }
}

/// One key for everything that is not seen for one cause; a credential is a cause of its own.
fn cause_key(alert: &Alert, section: &SectionEntry) -> String {
    match (section.news, section.cause) {
        (SectionStatus::Refused | SectionStatus::Accepted | SectionStatus::Removed, _) => {
            key(alert, &["credential", &section.section])
        }
        (_, Some(cause)) => key(alert, &["blind", cause.as_str()]),
        // Alerts of versions without causes have one key per section.
        (_, None) => key(alert, &["section", &section.section]),
    }
}

/// The place of an event among those of one message, the worst first.
fn rank(trigger: &Value) -> usize {
    let severity = trigger.pointer("/payload/severity").and_then(Value::as_str).unwrap_or_default();
    ["critical", "error", "warning", "info"].iter().position(|word| *word == severity).unwrap_or(usize::MAX)
}

fn drift(alert: &Alert, entry: &Entry, key: &str) -> Value {
    let way = match entry.meaning.direction {
        Direction::Weaker => "weaker",
        Direction::Stronger => "stronger",
        Direction::Neutral | Direction::Unknown => "changed",
    };
    let summary = format!("{} {way}", display_safe_sentence(&entry.meaning.title));
    let line = |change: &EntryChange| {
        line(change.change.kind, &change.change.before, &change.change.after, entry.meaning.unit).to_string()
    };
    let each = |of: &dyn Fn(&EntryChange) -> String| {
        let mut all: Vec<String> = Vec::new();
        for one in entry.changes.iter().map(of) {
            if !all.contains(&one) {
                all.push(one);
            }
        }
        detail(&all.join("; "))
    };
    let first = entry.changes.first().map(|change| &change.id);
    let details = json!({
        "change": each(&line),
        "path": each(&|change| display_safe(&change.change.path.to_string())),
        "why": detail(&entry.meaning.why),
        "where": entry.meaning.dashboard.as_deref().map(detail),
        "audit_event": entry.meaning.event.as_deref().map(detail),
        "first_seen": written(entry.first_seen),
        "drift": first,
        "next": first.map(|id| format!("authdrift show {}", display_safe(id.as_str()))),
    });
    trigger(alert, key, &summary, entry.meaning.severity, "drift", details)
}

/// The sections or the credential that are not seen for the cause of that key.
fn blind<'a>(alert: &'a Alert, key: &str) -> Value {
    let of_cause = |item: &'a Item| match item {
        Item::Section(section) if section.news.is_blindness() && cause_key(alert, section) == key => Some(section),
        _ => None,
    };
    let sections: Vec<&SectionEntry> = alert.items.iter().filter_map(of_cause).collect();
    let names: Vec<String> = sections.iter().map(|section| display_safe(&section.section)).collect();
    let mut reasons: Vec<String> = Vec::new();
    for section in &sections {
        let reason = display_safe_sentence(&section.reason);
        if !reason.is_empty() && !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    let (story, severity) = sections
        .first()
        .map_or(("no usable answer", Severity::High), |section| (section.trouble(), section.news.row().severity));
    let what = match names.as_slice() {
        [name] => format!("{name}: {story}"),
        names => format!("{} sections: {story}", names.len()),
    };
    let what = reasons.first().map_or(what.clone(), |reason| format!("{what}, {reason}"));
    let since = sections.iter().map(|section| section.since).min().map(written);
    let details = json!({
        "reason": detail(&reasons.join("; ")), "since": since, "sections": detail(&names.join(", ")), "next": steps(alert),
    });
    trigger(alert, key, &what, severity, "blind", details)
}

fn notice(alert: &Alert, news: &Notice, topic: &str, key: &str) -> Value {
    let details =
        json!({ "text": detail(&news.text), "subject": detail(&news.subject), "next": news.kind.row().advice });
    let row = news.kind.row();
    trigger(alert, key, &row.clause(&[&news.subject]), row.severity, topic, details)
}

fn trigger(alert: &Alert, key: &str, what: &str, severity: Severity, class: &str, details: Value) -> Value {
    let (sample, severity) = match alert.sample {
        // A sample is never urgent.
        true => ("SAMPLE ", Severity::Info),
        false => ("", severity),
    };
    let word = match severity {
        Severity::Critical => "critical",
        Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low | Severity::Info => "info",
    };
    json!({
        "event_action": "trigger",
        "dedup_key": key,
        "client": "authdrift",
        "payload": {
            "summary": cut(&format!("{sample}{}: {what}", alert.about()), SUMMARY),
            "source": alert.about(),
            "severity": word,
            "timestamp": written(alert.at),
            "component": display_safe(&alert.resource),
            "class": class,
            "custom_details": details,
        },
    })
}

fn resolve(key: &str) -> Value {
    json!({ "event_action": "resolve", "dedup_key": key })
}

/// The key of an alert of PagerDuty. That of a sample is another one than that of the real thing.
fn key(alert: &Alert, parts: &[&str]) -> String {
    let about = alert.instance.as_ref().map_or_else(|| alert.host.clone(), ToString::to_string);
    let sample = if alert.sample { "sample" } else { "" };
    let all: Vec<&str> = [sample, about.as_str()].into_iter().chain(parts.iter().copied()).collect();
    format!("authdrift:{}", Digest::of(all.join("\0").as_bytes()))
}

fn steps(alert: &Alert) -> String {
    summary::steps(alert).into_iter().map(|step| step.command).collect::<Vec<_>>().join("; ")
}

fn detail(text: &str) -> String {
    cut(&display_safe_sentence(text), DETAIL)
}
