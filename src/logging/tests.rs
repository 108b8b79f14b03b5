//! Hostile texts in every kind of line; the journal's protocol as a socket hears it.

use std::collections::BTreeMap;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::history::{EVENT_KINDS, Event};
use crate::telemetry::{CycleEnded, CycleHealth, Delivered, OBSERVABLES, Observable, Recorded, message_id};

/// What a template's name, a vendor's answer or a receiver's can hold.
const HOSTILE: &str = "x\" verdict=in_sync\nPRIORITY=0\r\n\u{1b}[2J\u{202e}<0>\u{0}";

#[derive(Clone, Default)]
struct KeptLines(Arc<Mutex<Vec<u8>>>);

impl Write for KeptLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is written while `work` runs.
fn written(style: Style, work: impl FnOnce()) -> String {
    let kept = KeptLines::default();
    let lines = tracing_subscriber::registry().with(Lines::new(style, kept.clone()));
    tracing::subscriber::with_default(lines, work);
    let bytes = kept.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

fn hostile() {
    Delivered { receiver: "siem", delivery: &crate::model::MessageId::from_text("msg_1".to_owned()), answer: HOSTILE }
        .observe();
}

fn opened() {
    let instance = "clerk:prod".parse().unwrap();
    let data = json!({ "drift": "drf_1", "path": "/jwt_templates/a\nb", "before": "CANARY", "after": "CANARY" });
    let event = Event::Unknown { kind: "drift.opened".to_owned(), data };
    Recorded { seq: 412, instance: Some(&instance), event: &event }.observe();
}

#[test]
fn one_event_is_one_line_whatever_is_in_it() {
    for style in [Style::Text { has_colour: false }, Style::Prefixed, Style::Json] {
        let text = written(style, || {
            hostile();
            opened();
        });
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.ends_with('\n') && !text.trim_end_matches('\n').replace('\n', "").chars().any(char::is_control));
        assert!(!text.contains("CANARY") && !text.contains('\u{202e}'), "{text}");
    }
}

#[test]
fn a_value_cannot_look_like_another_field() {
    let text = written(Style::Prefixed, hostile);
    let expected = "<6>delivered receiver=siem delivery=msg_1 \
                    answer=\"x\\\" verdict=in_sync\\\\u{a}PRIORITY=0\\\\u{d}\\\\u{a}\\\\u{1b}[2J\\\\u{202e}<0>\\\\u{0}\"\n";
    assert_eq!(text, expected);
}

#[test]
fn text_has_a_time_and_a_level_and_colour_only_where_it_is_wanted() {
    let text = written(Style::Text { has_colour: false }, opened);
    let (at, rest) = text.split_once(' ').unwrap();
    assert!(at.parse::<chrono::DateTime<chrono::Utc>>().is_ok(), "{text}");
    assert_eq!(
        rest,
        " WARN a setting drifted seq=412 instance=clerk:prod drift=drf_1 path=\"/jwt_templates/a\\\\u{a}b\"\n"
    );
    assert!(written(Style::Text { has_colour: true }, opened).contains("\u{1b}[33m WARN\u{1b}[0m "));
}

#[test]
fn json_lines_are_objects_with_numbers_and_names() {
    let instance = "auth0:acme".parse().unwrap();
    let text = written(Style::Json, || {
        hostile();
        CycleEnded {
            instance: &instance,
            verdict: "drift",
            outcome: CycleHealth::Worrying,
            drifts: 2,
            requests: 31,
            duration: Duration::from_millis(840),
            reason: None,
        }
        .observe();
    });
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["event"], "delivery.done");
    let at = lines[1]["at"].clone();
    let expected = json!({ "at": at, "level": "warn", "event": "cycle.ended", "message": "cycle", "instance": "auth0:acme",
                           "verdict": "drift", "drifts": 2, "requests": 31, "duration_ms": 840 });
    assert_eq!(lines[1], expected);
}

/// The fields of one datagram, read as the protocol says.
fn fields(datagram: &[u8]) -> BTreeMap<String, String> {
    let text = std::str::from_utf8(datagram).unwrap();
    assert!(text.ends_with('\n'));
    let fields = text.lines().map(|line| {
        let (name, value) = line.split_once('=').expect("the short form of a field");
        let is_name = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        assert!(name.bytes().all(is_name) && !name.starts_with('_') && name.len() <= 64, "{name}");
        (name.to_owned(), value.to_owned())
    });
    let found: BTreeMap<_, _> = fields.clone().collect();
    assert_eq!(found.len(), fields.count(), "a field twice");
    found
}

#[test]
fn the_journal_gets_fields_that_can_be_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    assert!(Journal::open(&path).is_err(), "nobody listens");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let journal = Journal::open(&path).unwrap();
    let beside = written(Style::Journal(journal), || {
        opened();
        hostile();
    });
    assert_eq!(beside, "");
    let mut buffer = [0; 65_536];
    let mut next = || {
        let size = socket.recv(&mut buffer).unwrap();
        buffer[..size].to_vec()
    };
    assert!(next().is_empty(), "the question whether anybody listens");
    let found = fields(&next());
    let expected = [
        ("MESSAGE", "a setting drifted seq=412 instance=clerk:prod drift=drf_1 path=\"/jwt_templates/a\\\\u{a}b\""),
        ("PRIORITY", "4"),
        ("SYSLOG_IDENTIFIER", "authdrift"),
        ("MESSAGE_ID", &message_id("drift.opened")),
        ("AUTHDRIFT_EVENT", "drift.opened"),
        ("AUTHDRIFT_INSTANCE", "clerk:prod"),
        ("AUTHDRIFT_DRIFT", "drf_1"),
        ("AUTHDRIFT_PATH", "/jwt_templates/a\\u{a}b"),
        ("AUTHDRIFT_SEQ", "412"),
    ];
    assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    let found = fields(&next());
    assert_eq!(found["PRIORITY"], "6", "no field can be planted");
    assert!(found["AUTHDRIFT_ANSWER"].starts_with("x\" verdict=in_sync\\u{a}PRIORITY=0"));
}

#[test]
fn a_journal_that_is_gone_leaves_the_line_on_standard_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let socket = UnixDatagram::bind(&path).unwrap();
    let journal = Journal::open(&path).unwrap();
    drop(socket);
    assert!(written(Style::Journal(journal), opened).starts_with("<4>a setting drifted seq=412"));
}

#[test]
fn only_the_stream_that_systemd_named_is_the_journal() {
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;
    let here = std::fs::File::from(io::stderr().as_fd().try_clone_to_owned().unwrap()).metadata().unwrap();
    assert!(journal::is_stderr(Some(&format!("{}:{}", here.dev(), here.ino()))));
    for stream in [None, Some(""), Some("8:1"), Some("x:y"), Some(&*format!("{}:{}", here.dev(), here.ino() + 1))] {
        assert!(!journal::is_stderr(stream), "{stream:?}");
    }
}

#[test]
fn every_kind_of_the_history_has_a_line_of_its_name() {
    for kind in EVENT_KINDS {
        let event = Event::Unknown { kind: kind.name.to_owned(), data: json!({}) };
        let text = written(Style::Json, || Recorded { seq: 1, instance: None, event: &event }.observe());
        match kind.level {
            None => assert!(text.is_empty() && OBSERVABLES.iter().any(|(name, _)| *name == kind.name), "{}", kind.name),
            Some(level) => {
                let line: Value = serde_json::from_str(&text).unwrap();
                assert_eq!((&line["event"], &line["message"]), (&json!(kind.name), &json!(kind.meaning)));
                assert_eq!(line["level"], level.as_str().to_ascii_lowercase());
            }
        }
    }
}
