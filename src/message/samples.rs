//! Alerts for the tests: what usually happens, what is rare, and what an attacker would send.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::*;
use crate::classify::ChangeMeaning;
use crate::diff::{Change, ChangeKind};
use crate::model::{Category, Digest, Direction, DriftId, Severity, State, Unit};

/// Text that tries to run, to colour, to break the line, to turn it around, to call everybody, to link and to compute.
pub(super) const EVIL: &str = "=cmd()<img src=x onerror=alert(1)>\u{1b}[31m\r\nBcc: a@b.example\u{202e}gnp <!channel> @everyone \
                               `[x](http://evil.example)`";

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn id(number: u32) -> DriftId {
    DriftId::from_text(format!("drf_019a9f3c5b7e7c1a8d2e4f60718293{number:02x}"))
}

fn one_change(number: u32, path: &str, kind: ChangeKind, before: Value, after: Value) -> EntryChange {
    EntryChange {
        id: id(number),
        change: Change { path: path.parse().unwrap(), kind, before, after, is_member: false },
    }
}

fn entry(title: &str, severity: Severity, changes: Vec<EntryChange>) -> Entry {
    Entry {
        news: EntryStatus::Opened,
        meaning: ChangeMeaning {
            setting: "sample".to_owned(),
            title: title.to_owned(),
            why: "Nobody has said yet why this matters.".to_owned(),
            category: Category::Mfa,
            severity,
            direction: Direction::Weaker,
            unit: None,
            dashboard: None,
            event: None,
        },
        topic: title.to_owned(),
        last_good: Some(at("2026-11-22T03:55:02Z")),
        first_seen: at("2026-11-22T04:00:02Z"),
        closed_at: None,
        still_open: 0,
        approved_until: None,
        also: Vec::new(),
        reopened: 0,
        approved_by: Vec::new(),
        unannounced: None,
        changes,
    }
}

fn bare(instance: &str, resource: &str) -> Alert {
    Alert {
        instance: Some(instance.parse().unwrap()),
        sample: false,
        resource: resource.to_owned(),
        at: at("2026-11-22T04:00:36Z"),
        baseline: None,
        window: None,
        items: Vec::new(),
        open: 0,
        approvers_needed: 1,
        event: HistoryMark { size: 412, head: Digest::of(b"event 412") },
        host: "auth-mon-1".to_owned(),
        version: "0.1.0".to_owned(),
    }
}

impl Alert {
    pub(super) fn entries_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.items.iter_mut().filter_map(|item| if let Item::Setting(entry) = item { Some(entry) } else { None })
    }

    pub(super) fn sections_mut(&mut self) -> impl Iterator<Item = &mut SectionEntry> {
        self.items.iter_mut().filter_map(|item| if let Item::Section(section) = item { Some(section) } else { None })
    }

    pub(super) fn entry(&mut self, index: usize) -> &mut Entry {
        self.entries_mut().nth(index).unwrap()
    }

    pub(super) fn section(&mut self, index: usize) -> &mut SectionEntry {
        self.sections_mut().nth(index).unwrap()
    }

    /// The same with these items alone.
    pub(super) fn of(self, items: impl IntoIterator<Item = Item>) -> Self {
        Self { items: items.into_iter().collect(), ..self }
    }

    /// The same without sections.
    pub(super) fn without_sections(mut self) -> Self {
        self.items.retain(|item| !matches!(item, Item::Section(_)));
        self
    }
}

/// A message about `alert`.
pub(super) fn message(alert: Alert) -> Message {
    Message {
        id: MessageId::from_text("msg_019a9f3c5b7e7c1a8d2e4f6071829301"),
        receiver: "security".to_owned(),
        subject: super::subject::subject(&alert),
        created_at: alert.at,
        alert,
        thread: None,
        body: None,
        attempts: 0,
    }
}

/// Three settings weakened and one section lost, as in the documentation.
pub(super) fn drift() -> Alert {
    let mut mfa = entry(
        "MFA required at sign-up",
        Severity::Critical,
        vec![
            one_change(
                1,
                "/platform.config/auth_multi_factor/required_for_sign_up",
                ChangeKind::Changed,
                json!(true),
                json!(false),
            ),
            one_change(
                2,
                "/frontend.environment/user_settings/sign_up/mfa/required",
                ChangeKind::Changed,
                json!(true),
                json!(false),
            ),
        ],
    );
    mfa.meaning.why =
        "New users can finish signing up without a second factor, and existing ones are no longer sent to set one up."
            .to_owned();
    mfa.meaning.dashboard = Some("Clerk Dashboard > Configure > Multi-factor".to_owned());
    mfa.meaning.event = Some("instance.user_settings.updated".to_owned());

    let mut timeout = entry(
        "Session inactivity timeout",
        Severity::High,
        vec![one_change(
            3,
            "/platform.config/session_settings/inactivity_timeout/duration_seconds",
            ChangeKind::Changed,
            json!(1800),
            json!(86400),
        )],
    );
    timeout.meaning.why = "A stolen session stays usable for as long as nobody signs out.".to_owned();
    timeout.meaning.dashboard = Some("Clerk Dashboard > Configure > Sessions".to_owned());
    timeout.meaning.event = Some("instance.session_settings.updated".to_owned());
    timeout.meaning.unit = Some(Unit::Seconds);
    timeout.news = EntryStatus::Changed;
    timeout.first_seen = at("2026-11-20T09:15:02Z");

    let mut origins = entry(
        "Allowed origins",
        Severity::High,
        vec![
            one_change(4, "/instance/allowed_origins", ChangeKind::Added, Value::Null, json!("https://evil.example")),
            one_change(
                5,
                "/instance/allowed_origins",
                ChangeKind::Removed,
                json!("https://app.northwind.example"),
                Value::Null,
            ),
            one_change(
                6,
                "/instance/development_origin",
                ChangeKind::Changed,
                json!(""),
                json!("http://localhost:3000"),
            ),
        ],
    );
    origins.meaning.why = "A page at this origin can talk to the sessions of your users.".to_owned();
    origins.news = EntryStatus::Reopened;
    origins.reopened = 2;
    origins.meaning.event = Some("instance.updated".to_owned());

    let mut alert = bare("clerk:prod", "ins_2fKq0W9xYb7Lr5TnVd8sPzMh3Ja");
    alert.baseline = Some(ApprovedBaseline {
        sequence: 7,
        approved_at: at("2026-05-04T10:00:00Z"),
        approvers: vec!["alice@example.test".to_owned()],
        reason: "CHG-1042 MFA for admins".to_owned(),
    });
    alert.window =
        Some(Window { last_good: Some(at("2026-11-22T03:55:02Z")), first_different: at("2026-11-22T04:00:02Z") });
    alert.items = [mfa, timeout, origins].map(Item::Setting).to_vec();
    alert.items.push(Item::Section(SectionEntry {
        section: "enterprise_connections".to_owned(),
        news: SectionStatus::Blind,
        state: State::NotPermitted,
        reason: "403 authorization_invalid".to_owned(),
        since: at("2026-11-22T03:55:02Z"),
        until: None,
        cause: Some(State::NotPermitted),
        still_unseen: 0,
    }));
    alert.open = 6;
    alert
}

/// The end of [`drift`]: reverted, approved, readable again.
pub(super) fn all_clear() -> Alert {
    let mut alert = drift();
    alert.at = at("2026-11-22T05:10:31Z");
    alert.window = None;
    alert.open = 0;
    alert.event.size = 420;
    for entry in alert.entries_mut() {
        entry.news = EntryStatus::Reverted;
        entry.closed_at = Some(at("2026-11-22T05:10:02Z"));
        if entry.meaning.unit.is_some() {
            entry.news = EntryStatus::Approved;
            entry.approved_by = vec!["alice@example.test".to_owned()];
            entry.approved_until = Some(at("2026-11-29T12:00:00Z"));
        }
    }
    for section in alert.sections_mut() {
        section.news = SectionStatus::SeeingAgain;
        section.state = State::Value;
        section.reason = String::new();
        section.until = Some(at("2026-11-22T05:10:02Z"));
    }
    alert
}

/// A baseline that fails its check, and two sections out of sight.
pub(super) fn untrusted() -> Alert {
    let mut alert = bare("auth0:acme", "acme.eu.auth0.com");
    let reason = "the signature of 'bob@example.test' on baseline 3 does not match its bytes".to_owned();
    alert.items = vec![Item::Untrusted(reason)];
    for (section, state, reason) in [
        ("guardian.policies", State::NotPermitted, "403 insufficient_scope, expected read:guardian_factors"),
        ("clients", State::Unreachable, "504 from acme.eu.auth0.com after 3 attempts"),
    ] {
        alert.items.push(Item::Section(SectionEntry {
            section: section.to_owned(),
            news: SectionStatus::Blind,
            state,
            reason: reason.to_owned(),
            since: at("2026-11-22T03:50:02Z"),
            until: None,
            cause: Some(state),
            still_unseen: 0,
        }));
    }
    alert
}

/// [`drift`] a day later: nothing new, but for a setting that goes back and forth.
pub(super) fn reminder() -> Alert {
    let mut alert = drift().without_sections();
    alert.entry(0).unannounced = Some("CHG-1051 new template".to_owned());
    alert.at = at("2026-11-23T04:00:36Z");
    alert.window = None;
    alert.event.size = 455;
    for entry in alert.entries_mut() {
        entry.news = if entry.reopened > 0 { EntryStatus::Flapping } else { EntryStatus::StillOpen };
    }
    alert
}

/// Sections that cannot be read any more.
pub(super) fn blind() -> Alert {
    let alert = drift();
    let mut blind = untrusted();
    blind.items.remove(0);
    Alert { baseline: alert.baseline, event: alert.event, ..blind }
}

/// The same, hours later.
pub(super) fn still_blind() -> Alert {
    let text = "not read since 2026-11-22T03:50:02Z: clients, guardian.policies".to_owned();
    let notice = Notice { kind: NoticeKind::StillUnseen, subject: String::new(), text };
    Alert { at: at("2026-11-22T07:50:36Z"), ..blind().of([Item::Notice(notice)]) }
}

/// A change window that begins, and a silence that ended.
pub(super) fn quiet() -> Alert {
    let notice =
        |kind, text: &str| Item::Notice(Notice { kind, subject: "sil_01990a5c".to_owned(), text: text.to_owned() });
    let mut alert = bare("clerk:prod", "ins_2abcDEF");
    alert.items = vec![
        notice(
            NoticeKind::WindowOpened,
            "by carol@example.test until 2026-11-22T06:00:00Z, for /jwt_templates: CHG-1051 new template",
        ),
        notice(
            NoticeKind::SilenceEnded,
            "1 setting was changed and is still different: /instance/allowed_origins. To approve what is still \
             different: authdrift approve clerk:prod --reason TEXT --only /instance/allowed_origins",
        ),
    ];
    alert
}

/// A day in one message.
pub(super) fn digest() -> Alert {
    let mut alert = Alert { instance: None, ..bare("clerk:prod", "") };
    alert.items = vec![Item::Notice(Notice {
        kind: NoticeKind::Digest,
        subject: "digest 41, 1 drift, 1 in sync".to_owned(),
        text:
            "clerk:prod drift, open: 1 high, 2 low, last read 2026-11-22T07:55:02Z; auth0:acme in sync, nothing open, \
               last read 2026-11-22T07:55:04Z"
                .to_owned(),
    })];
    alert
}

/// The disk, from nearly full to no use at all.
pub(super) fn storage() -> Alert {
    let mut alert = Alert { instance: None, ..bare("clerk:prod", "") };
    let path = "/var/lib/authdrift/authdrift.db";
    alert.items = vec![
        Item::Notice(Notice::of_storage(NoticeKind::StorageFailed, path, None, "disk I/O error")),
        Item::Notice(Notice::of_storage(NoticeKind::StorageFull, path, Some(12 << 20), "")),
    ];
    alert
}

/// What the mails of people look like, by name.
pub(super) fn ordinary() -> [(&'static str, Alert); 10] {
    [
        ("drift", drift()),
        ("all-clear", all_clear()),
        ("untrusted", untrusted()),
        ("blind", blind()),
        ("still-blind", still_blind()),
        ("reminder", reminder()),
        ("watch", watch()),
        ("storage", storage()),
        ("quiet", quiet()),
        ("digest", digest()),
    ]
}

/// What the watch has to say of itself.
pub(super) fn watch() -> Alert {
    let mut alert = Alert { instance: None, ..bare("clerk:prod", "") };
    let notice = |kind, subject: &str, text: &str| {
        Item::Notice(Notice { kind, subject: subject.to_owned(), text: text.to_owned() })
    };
    alert.items = vec![
        notice(NoticeKind::StorageLow, "", "/var/lib/authdrift has 201 MiB left"),
        notice(NoticeKind::ReceiverFailed, "siem", "2 messages were given up, the last because of: 410 Gone"),
        notice(NoticeKind::Missed, "chat", "a message was given up, the last because of: 400 Bad Request"),
        notice(NoticeKind::ReceiverRecovered, "pager", "it took a message at 04:00"),
    ];
    alert
}

/// [`drift`], with hostile text wherever text can come from outside.
pub(super) fn hostile() -> Alert {
    let mut alert = drift();
    alert.resource = EVIL.to_owned();
    alert.host = EVIL.to_owned();
    for entry in alert.entries_mut() {
        entry.meaning.title = format!("JWT template {EVIL}");
        entry.meaning.why = EVIL.to_owned();
        entry.meaning.dashboard = Some(EVIL.to_owned());
        entry.meaning.event = Some(EVIL.to_owned());
        for change in &mut entry.changes {
            change.change.path = change.change.path.child(EVIL);
            change.change.kind = ChangeKind::Changed;
            change.change.before = json!(EVIL);
            change.change.after = json!({ EVIL: [EVIL] });
        }
    }
    if let Some(baseline) = &mut alert.baseline {
        baseline.approvers = vec![EVIL.to_owned()];
        baseline.reason = EVIL.to_owned();
    }
    for section in alert.sections_mut() {
        section.section = EVIL.to_owned();
        section.reason = EVIL.to_owned();
    }
    let notice = |kind| Item::Notice(Notice { kind, subject: EVIL.to_owned(), text: EVIL.to_owned() });
    alert.items.extend(NoticeKind::ALL.map(notice));
    alert
}

/// Far more, and far longer, than anybody can read.
pub(super) fn enormous() -> Alert {
    let mut alert = drift();
    let long = "&<\u{1b}".repeat(2_000);
    let template = alert.entry(2).clone();
    let mut entries = vec![alert.entry(1).clone()];
    for number in 0..60 {
        let mut entry = template.clone();
        entry.meaning.title = format!("Client {number} {}", if number % 3 == 0 { &long } else { "" });
        for change in &mut entry.changes {
            change.change.path = change.change.path.child(&long);
            change.change.after = json!(long);
        }
        entry.changes = entry.changes.iter().cycle().take(30).cloned().collect();
        entries.push(entry);
    }
    let section = alert.section(0).clone();
    alert.of(entries.into_iter().map(Item::Setting).chain([Item::Section(section)]))
}

/// Two hundred ordinary entries.
pub(super) fn many() -> Alert {
    let mut alert = drift();
    alert.open = 400;
    let section = alert.section(0).clone();
    let entries = (0..200).map(|index| Item::Setting(drift().entry(index % 3).clone()));
    alert.of(entries.chain([Item::Section(section)]))
}

/// Entries that consist of almost nothing but markup: many small changes at many places, and many sections.
pub(super) fn scattered() -> Alert {
    let mut alert = many();
    for entry in alert.entries_mut() {
        entry.changes = (0..20)
            .map(|index| one_change(index, &format!("/a/{index}"), ChangeKind::Changed, json!(index), json!(true)))
            .collect();
    }
    let section = alert.section(0).clone();
    alert.items.extend(vec![Item::Section(section); 39]);
    alert
}
