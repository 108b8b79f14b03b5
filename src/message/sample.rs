//! The sample alert for trying out a receiver. Every rendering marks it as a sample.

use chrono::TimeDelta;
use serde_json::json;

use super::{Alert, Entry, EntryChange, EntryStatus, Item, SectionEntry, SectionStatus, Window};
use crate::classify::ChangeMeaning;
use crate::diff::{Change, ChangeKind};
use crate::model::{Category, Direction, DriftId, Pointer, Severity, State, Unit, word};

word!(
    /// The kind of sample.
    SampleKind {
        /// Two settings drifted.
        Drift = "drift",
        /// They are back.
        Reverted = "reverted",
        /// A section cannot be read.
        Blind = "blind",
    }
);

/// Fills `frame`, which says about what, when and from where, with a sample.
pub fn sample(frame: Alert, kind: SampleKind) -> Alert {
    let last_good = frame.at - TimeDelta::minutes(5);
    let mut alert = Alert { sample: true, ..frame };
    if kind == SampleKind::Blind {
        alert.items = vec![Item::Section(SectionEntry {
            section: "sample.section".to_owned(),
            news: SectionStatus::Blind,
            state: State::NotPermitted,
            reason: "403 a sample of a refusal".to_owned(),
            since: alert.at,
            until: None,
            cause: Some(State::NotPermitted),
            still_unseen: 0,
        })];
        return alert;
    }
    let news = if kind == SampleKind::Reverted { EntryStatus::Reverted } else { EntryStatus::Opened };
    let entry = |number: u32, setting: &str, title: &str, category, severity, unit, before, after| Entry {
        news,
        meaning: ChangeMeaning {
            setting: setting.to_owned(),
            title: title.to_owned(),
            why: "This is a sample of the reason why a setting matters.".to_owned(),
            category,
            severity,
            direction: Direction::Weaker,
            unit,
            dashboard: Some("Dashboard > Sample".to_owned()),
            event: Some("sample.updated".to_owned()),
        },
        topic: setting.to_owned(),
        last_good: Some(last_good),
        first_seen: alert.at,
        closed_at: news.is_over().then_some(alert.at),
        still_open: 0,
        approved_until: None,
        also: Vec::new(),
        reopened: 0,
        unannounced: None,
        approved_by: Vec::new(),
        changes: vec![EntryChange {
            id: DriftId::from_text(format!("drf_{number:032}")),
            change: Change {
                path: Pointer::of_section("sample").child(setting),
                kind: ChangeKind::Changed,
                before,
                after,
                is_member: false,
            },
        }],
    };
    let entries = [
        entry(
            1,
            "sample-mfa",
            "Second factor required",
            Category::Mfa,
            Severity::Critical,
            None,
            json!(true),
            json!(false),
        ),
        entry(
            2,
            "sample-timeout",
            "Session inactivity timeout",
            Category::Timeouts,
            Severity::High,
            Some(Unit::Seconds),
            json!(1_800),
            json!(86_400),
        ),
    ];
    alert.items = entries.map(Item::Setting).to_vec();
    if kind == SampleKind::Drift {
        alert.open = 2;
        alert.window = Some(Window { last_good: Some(last_good), first_different: alert.at });
    }
    alert
}
