//! PagerDuty's Events API v2: one alert for each drift and each section, which ends when the drift or the blindness does.
//!
//! The keys that say which alert an event belongs to are the drift's own number, and digests for everything else, so the
//! event that ends something always finds what began it. The routing key is a secret and is added when an event is sent.

use serde_json::{Value, json};

use super::card::{cut, more_words};
use super::values::line;
use super::{Alert, Entry, EntryChange, News, Notice, NoticeKind, SectionChange, SectionNews, words};
use crate::clock::written;
use crate::model::{Digest, Direction, Severity, display_safe};

/// Characters of a summary.
const SUMMARY: usize = 1_024;
/// Characters of one detail.
const DETAIL: usize = 1_000;
/// New alerts of one message; what is beyond is one more.
const MOST_TRIGGERS: usize = 25;

/// The events, without the routing key.
pub(super) fn events(alert: &Alert) -> Value {
    let (mut triggers, mut resolves) = (Vec::new(), Vec::new());
    if let Some(reason) = &alert.untrusted {
        let summary = "the approved state cannot be trusted, nothing is compared";
        let details = json!({ "reason": detail(reason), "next": steps(alert) });
        triggers.push(trigger(alert, &key(alert, &["baseline"]), summary, Severity::Critical, "baseline", details));
    }
    if alert.trusted_again {
        resolves.push(resolve(&key(alert, &["baseline"])));
    }
    for entry in &alert.entries {
        for change in &entry.changes {
            match entry.news {
                News::Reverted | News::Approved | News::Passed => resolves.push(resolve(&drift_key(alert, change))),
                News::Opened | News::Reopened | News::Changed | News::StillOpen | News::Flapping => {
                    triggers.push(drift(alert, entry, change));
                }
            }
        }
    }
    for section in &alert.sections {
        let key = key(alert, &["section", &section.section]);
        match section.news {
            SectionChange::Blind | SectionChange::Suspect | SectionChange::Refused => {
                triggers.push(blind(alert, section, &key));
            }
            SectionChange::SeeingAgain | SectionChange::Accepted => resolves.push(resolve(&key)),
            SectionChange::Unbaselined => {}
        }
    }
    for news in &alert.notices {
        let Some(topic) = topic(news) else { continue };
        let text = Digest::of(news.text.as_bytes());
        let about = match topic {
            "storage" => "",
            // Nothing ends these, so that each is one of its own.
            "trust" | "approval" => text.as_str(),
            _ => &news.subject,
        };
        let key = key(alert, &["notice", topic, about]);
        match news.kind.is_end() {
            true => resolves.push(resolve(&key)),
            false => triggers.push(notice(alert, news, topic, &key)),
        }
    }
    triggers.sort_by_key(rank);
    let rest = triggers.len().saturating_sub(MOST_TRIGGERS);
    triggers.truncate(MOST_TRIGGERS);
    if rest > 0 {
        let details = json!({ "next": steps(alert) });
        triggers.push(trigger(alert, &key(alert, &["more"]), &more_words(rest), alert.severity(), "drift", details));
    } else if alert.open == 0 && !resolves.is_empty() {
        resolves.push(resolve(&key(alert, &["more"])));
    }
    resolves.extend(triggers);
    Value::from(resolves)
}

/// The place of an event among those that compete for room, the worst first.
fn rank(trigger: &Value) -> usize {
    let severity = trigger.pointer("/payload/severity").and_then(Value::as_str).unwrap_or_default();
    ["critical", "error", "warning", "info"].iter().position(|word| *word == severity).unwrap_or(usize::MAX)
}

fn drift(alert: &Alert, entry: &Entry, change: &EntryChange) -> Value {
    let way = match entry.direction {
        Direction::Weaker => "weaker",
        Direction::Stronger => "stronger",
        Direction::Neutral | Direction::Unknown => "changed",
    };
    let summary = format!("{} {way}", display_safe(&entry.title));
    let details = json!({
        "change": detail(&line(change.kind, &change.before, &change.after, entry.unit).to_string()),
        "path": detail(&change.path.to_string()),
        "why": detail(&entry.why),
        "where": entry.dashboard.as_deref().map(detail),
        "audit_event": entry.event.as_deref().map(detail),
        "first_seen": written(entry.first_seen),
        "drift": change.id,
        "next": format!("authdrift show {}", display_safe(change.id.as_str())),
    });
    trigger(alert, &drift_key(alert, change), &summary, entry.severity, "drift", details)
}

fn blind(alert: &Alert, section: &SectionNews, key: &str) -> Value {
    let name = display_safe(&section.section);
    let story = words::section_story(section.news, section.state);
    let details = json!({
        "reason": detail(&section.reason), "since": written(section.since), "next": steps(alert),
    });
    trigger(alert, key, &format!("{name}: {story}"), section.news.severity(), "blind", details)
}

fn notice(alert: &Alert, news: &Notice, topic: &str, key: &str) -> Value {
    let summary = words::notice_clause(news);
    let (_, advice) = words::notice(news.kind);
    let details = json!({ "text": detail(&news.text), "subject": detail(&news.subject), "next": advice });
    trigger(alert, key, &summary, news.kind.severity(), topic, details)
}

/// What a notice is about, where somebody may have to get up for it; its end has the same.
fn topic(notice: &Notice) -> Option<&'static str> {
    match notice.kind {
        NoticeKind::TrustChanged => Some("trust"),
        NoticeKind::ClockSetBack => Some("clock"),
        NoticeKind::StorageFailed | NoticeKind::StorageFull | NoticeKind::StorageLow | NoticeKind::StorageRecovered => {
            Some("storage")
        }
        NoticeKind::Unread | NoticeKind::ReadAgain => Some("unread"),
        NoticeKind::ReceiverFailed | NoticeKind::ReceiverRecovered => Some("receiver"),
        NoticeKind::ApprovalEnding => Some("approval"),
        NoticeKind::Approved
        | NoticeKind::Silenced
        | NoticeKind::SilenceEnded
        | NoticeKind::WindowOpened
        | NoticeKind::WindowEnded
        | NoticeKind::Digest => None,
        // The alert it reminds of is still there.
        NoticeKind::StillUnseen => None,
        NoticeKind::Missed => Some("missed"),
    }
}

fn trigger(alert: &Alert, key: &str, what: &str, severity: Severity, class: &str, details: Value) -> Value {
    let (sample, severity) = match alert.sample {
        // Nobody is to be woken by a try.
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

/// The number of a drift is the same for as long as the setting is watched, also when it drifts again.
fn drift_key(alert: &Alert, change: &EntryChange) -> String {
    match alert.sample {
        true => key(alert, &["drift", change.id.as_str()]),
        false => format!("authdrift:{}", cut(&display_safe(change.id.as_str()), 100)),
    }
}

/// A key for what has no number. That of a sample is another one than that of the real thing.
fn key(alert: &Alert, parts: &[&str]) -> String {
    let about = alert.instance.as_ref().map_or_else(|| alert.host.clone(), ToString::to_string);
    let sample = if alert.sample { "sample" } else { "" };
    let all: Vec<&str> = [sample, about.as_str()].into_iter().chain(parts.iter().copied()).collect();
    format!("authdrift:{}", Digest::of(all.join("\0").as_bytes()))
}

fn steps(alert: &Alert) -> String {
    words::steps(alert).into_iter().map(|step| step.command).collect::<Vec<_>>().join("; ")
}

fn detail(text: &str) -> String {
    cut(&display_safe(text), DETAIL)
}
