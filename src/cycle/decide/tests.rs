use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::canonical::{Document, to_bytes};
use crate::classify::Catalogue;
use crate::config::{Config, Sources, parse};
use crate::model::{HistoryMark, Provider, Resource};
use crate::provider::LeftOut;
use crate::sections::Api;
use crate::snapshot::Snapshot;
use crate::store::{Store, contradiction};
use crate::trust::{Approved, Baseline, Subject, Untrusted, Verified};

const CONFIG: &str = r#"
[[clerk]]
name = "prod"
publishable_key = "pk_live_Y2xlcmsubm9ydGh3aW5kLWxlZGdlci5leGFtcGxlJA"

[[email]]
name = "people"
from = "a@example.com"
to = ["b@example.com"]
host = "smtp.example.com"

[[webhook]]
name = "siem"
url = "https://a.example/"
secret = { credential = "siem" }
"#;
const SECTIONS: [&str; 2] = ["instance", "domains"];

struct World {
    config: Config,
    catalogue: Catalogue,
    trust: TrustFiles,
    store: Store,
}

impl World {
    fn new() -> Self {
        let sources = Sources {
            file: "/etc/authdrift/config.toml",
            text: CONFIG,
            state_directory: Some(PathBuf::from("/var/lib/authdrift")),
            xdg_state: None,
            now: DateTime::UNIX_EPOCH,
        };
        let config = parse(&sources).unwrap();
        let trust = TrustFiles::read(&config.approval);
        Self {
            config,
            catalogue: Catalogue::of(Provider::Clerk, None).unwrap(),
            trust,
            store: Store::temporary().unwrap(),
        }
    }

    fn instance(&self) -> &Instance {
        &self.config.instances[0]
    }

    fn snapshot(&self, sections: impl IntoIterator<Item = (&'static str, Reading)>) -> Snapshot {
        let sections = sections.into_iter().map(|(name, reading)| (name.to_owned(), reading)).collect();
        let (resource, identifiers) = ("ins_1".to_owned(), Resource::new(["ins_1"]));
        Snapshot { instance: self.instance().id.clone(), resource, identifiers, sections }
    }

    /// In every section the field "a" is 0.
    fn baseline(&self) -> Verified<Baseline> {
        let approved = self.snapshot(SECTIONS.map(|name| (name, reading(Some(&json!({ "a": 0 }))))));
        let documents =
            approved.sections.iter().filter_map(|(name, read)| Some((name.clone(), read.document()?.clone())));
        let subject = Subject {
            instance: approved.instance.clone(),
            log: HistoryMark { size: 1, head: Digest::of(b"") },
            previous: None,
            proposer: String::new(),
            resource: approved.resource.clone(),
            sections: approved.sections.iter().map(|(name, read)| (name.clone(), read.mark())).collect(),
            sequence: 1,
            snapshot: approved.digest(),
            until: BTreeMap::new(),
        };
        Verified::assumed(Baseline {
            documents: documents.collect(),
            approved: Approved { identity: Digest::of(b""), subject, approvals: Vec::new(), insufficient: None },
            expired: BTreeMap::new(),
        })
    }

    /// One cycle: what it would record, not recorded yet, and what it answers.
    fn decide(&self, step: &Step, at: DateTime<Utc>) -> (UnitOfWork, Report) {
        let read = step.read(self);
        let cycle =
            Cycle { at, duration: Duration::ZERO, requests: 1, verdict: String::new(), collection: "[]".to_owned() };
        let (config, instance, catalogue) = (&self.config, self.instance(), &self.catalogue);
        let input = Input { config, instance, catalogue, read: &read, cycle: &cycle, free: Some(step.free) };
        let (id, digest) = (&instance.id, read.snapshot.digest());
        let sections = SECTIONS.map(str::to_owned);
        let view = |tx: &crate::store::Transaction<'_>| UnitOfWork::of_instance(tx, id, Some(&digest), &sections);
        let mut unit = self.store.read(view).unwrap();
        let evaluation = match step.trusted {
            true => {
                let known = unit.drifts().unwrap().clone();
                let selection = &instance.selection;
                Evaluation::Compared(Comparison::new(self.baseline(), selection, &read.snapshot, known, catalogue))
            }
            false => Evaluation::Untrusted(Untrusted::StoreTampered { reason: "x".to_owned() }),
        };
        let report = decide(&mut unit, &input, &evaluation, &self.trust).unwrap();
        (unit, report)
    }

    fn assert_history_agrees(&self) {
        let wrong = self.store.read(|tx| contradiction(tx, &self.instance().id, &tx.history()?.state)).unwrap();
        assert_eq!(wrong, None);
    }
}

fn reading(value: Option<&Value>) -> Reading {
    let Some(value) = value else { return Reading::without(State::Unreachable, "no answer") };
    let bytes = to_bytes(value);
    let digest = Digest::of(&bytes);
    Reading::Value(Document::from_canonical(bytes, &digest).unwrap())
}

/// What the vendor and the machine answer in one cycle.
#[derive(Debug, Clone)]
struct Step {
    /// The field "a" of each section, if it can be read.
    values: [Option<u8>; 2],
    trusted: bool,
    is_refused: bool,
    free: u64,
    minutes: i64,
}

impl Step {
    fn read(&self, world: &World) -> ReadResult {
        let values = SECTIONS.into_iter().zip(self.values);
        let sections = values.map(|(name, value)| (name, reading(value.map(|value| json!({ "a": value })).as_ref())));
        let refused = self.is_refused.then(|| (Api::Backend, "401 Unauthorized".to_owned()));
        ReadResult {
            snapshot: world.snapshot(sections),
            failure: None,
            mismatch: None,
            refused: refused.into_iter().collect(),
            suspected: BTreeMap::new(),
            left_out: LeftOut::new(),
            requests: 1,
            collection: Vec::new(),
            unusable: None,
            damage: None,
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let value = || proptest::option::weighted(0.8, 0..3u8);
    let free = prop_oneof![8 => Just(1 << 30), 1 => Just(100 << 20), 1 => Just(1 << 20)];
    let step = ([value(), value()], proptest::bool::weighted(0.9), proptest::bool::weighted(0.1), free, 1..600i64);
    let step = step.prop_map(|(values, trusted, is_refused, free, minutes)| Step {
        values,
        trusted,
        is_refused,
        free,
        minutes,
    });
    proptest::collection::vec(step, 1..10)
}

/// Whether the line of an outline may be there in every cycle: how often a section was not read is counted.
fn is_routine(line: &str) -> bool {
    ["cycle ", "due ", "section "].iter().any(|start| line.starts_with(start))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_decision_depends_on_its_input_alone_and_once_recorded_leaves_nothing_new(steps in steps()) {
        let world = World::new();
        let mut at: DateTime<Utc> = "2026-11-22T04:00:00Z".parse().unwrap();
        for step in steps {
            at += TimeDelta::minutes(step.minutes);
            let (one, report) = world.decide(&step, at);
            let (other, again) = world.decide(&step, at);
            prop_assert_eq!(one.outline(), other.outline(), "the same input gives the same output");
            prop_assert_eq!(report.verdict, again.verdict);
            let events = |kind: &str| one.outline().iter().filter(|line| line.ends_with(kind)).count();
            let messages = one.outline().iter().filter(|line| line.starts_with("message ")).count();
            prop_assert_eq!(messages, events(" alert.queued"), "every message is in the history");
            let is_recorded = world.store.apply(one).unwrap();
            prop_assert!(is_recorded);
            prop_assert!(!world.store.apply(other).unwrap(), "a decision over the state before is not recorded");
            world.assert_history_agrees();
            let mut repeated = world.decide(&step, at);
            let is_of_drift = |line: &String| line.starts_with("drift ") || line.contains(" drift.");
            let moved = repeated.0.outline().into_iter().find(is_of_drift);
            prop_assert_eq!(moved, None, "an unchanged snapshot changes nothing");
            // A section that cannot be read is reported in the second cycle, and a reminder waits for other news.
            for _ in 0..3 {
                prop_assert!(world.store.apply(repeated.0).unwrap());
                repeated = world.decide(&step, at);
            }
            let (next, repeated) = repeated;
            let new: Vec<String> = next.outline().into_iter().filter(|line| !is_routine(line)).collect();
            prop_assert!(new.is_empty(), "nothing is left to say: {new:?}");
            prop_assert_eq!(report.verdict, repeated.verdict);
        }
    }
}
