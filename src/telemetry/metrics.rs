//! Every metric: its name, what labels it and what it means; and the OpenMetrics text of all of them.
//!
//! Counters and histograms are moved by what is observed. Gauges are set when somebody asks, from the database, by whoever
//! answers; here they only have their names.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::model::word;
use chrono::{DateTime, Utc};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric as Encodable, Registry, Unit};

/// What stands before every name.
const PREFIX: &str = "authdrift";

/// What the text is, for whoever gets it.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

word!(
    /// What a metric does.
    Kind {
        /// It only grows, and begins anew with the process.
        Counter = "counter",
        /// How often something took how long.
        Histogram = "histogram",
        /// How something is now.
        Gauge = "gauge",
        /// Only its labels say something.
        Info = "info",
    }
);

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    name: &'static str,
    /// What it does.
    pub kind: Kind,
    /// `seconds` or `bytes`; none for what is counted.
    pub unit: Option<&'static str>,
    /// What its series differ in.
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: &'static str,
}

impl Metric {
    /// The name of the whole family, as `# TYPE` has it.
    pub fn family(&self) -> String {
        let unit = self.unit.map(|unit| format!("_{unit}")).unwrap_or_default();
        format!("{PREFIX}_{}{unit}", self.name)
    }

    /// The name that queries use.
    pub fn sample(&self) -> String {
        let end = match self.kind {
            Kind::Counter => "_total",
            Kind::Histogram => "_bucket",
            Kind::Info => "_info",
            Kind::Gauge => "",
        };
        self.family() + end
    }

    fn labelled(&self, values: &[&str]) -> Labels {
        debug_assert_eq!(self.labels.len(), values.len(), "{}", self.name);
        self.labels.iter().zip(values).map(|(name, value)| (*name, (*value).to_owned())).collect()
    }

    fn register(&self, registry: &mut Registry, metric: impl Encodable) {
        match self.unit {
            Some("seconds") => registry.register_with_unit(self.name, self.help, Unit::Seconds, metric),
            Some("bytes") => registry.register_with_unit(self.name, self.help, Unit::Bytes, metric),
            _ => registry.register(self.name, self.help, metric),
        }
    }
}

type Labels = Vec<(&'static str, String)>;

/// Something that is counted.
pub struct Counted {
    metric: Metric,
    family: LazyLock<Family<Labels, Counter>>,
}

impl Counted {
    const fn new(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        let metric = Metric { name, kind: Kind::Counter, unit: None, labels, help };
        Self { metric, family: LazyLock::new(Family::default) }
    }

    /// Once more.
    pub(super) fn add(&self, values: &[&str]) {
        self.family.get_or_create(&self.metric.labelled(values)).inc();
    }
}

/// Something whose durations are counted.
pub struct Timed {
    metric: Metric,
    family: LazyLock<Family<Labels, Histogram>>,
}

impl Timed {
    const fn new(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
        make: fn() -> Family<Labels, Histogram>,
    ) -> Self {
        let metric = Metric { name, kind: Kind::Histogram, unit: Some("seconds"), labels, help };
        Self { metric, family: LazyLock::new(make) }
    }

    pub(super) fn observe(&self, values: &[&str], duration: Duration) {
        self.family.get_or_create(&self.metric.labelled(values)).observe(duration.as_secs_f64());
    }
}

// Counted as it happens.

pub(super) static CYCLES: Counted = Counted::new(
    "cycles",
    &["instance_id", "verdict"],
    "Cycles that ended, and as 'failed' those that could not be recorded",
);
pub(super) static CYCLE_DURATION: Timed = Timed::new(
    "cycle_duration",
    &["vendor"],
    "Time from the first request of a cycle to its end, second readings included",
    || Family::new_with_constructor(|| Histogram::new([0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0])),
);
pub(super) static REREADS: Counted = Counted::new(
    "rereads",
    &["instance_id", "cause"],
    "Second readings of sections: something was 'new', or 'doubtful'",
);
pub(super) static REQUESTS: Counted = Counted::new(
    "requests",
    &["vendor", "status"],
    "Requests to vendors by class of status; 429 by itself, 'none' without an answer",
);
pub(super) static REQUEST_DURATION: Timed = Timed::new(
    "request_duration",
    &["vendor"],
    "Time until the whole answer of a vendor was there, or until there was none",
    || Family::new_with_constructor(|| Histogram::new([0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0])),
);
pub(super) static DELIVERIES: Counted = Counted::new(
    "deliveries",
    &["receiver", "outcome"],
    "Tries to deliver a message: 'delivered', 'failed' (tried again), 'given_up', or past the database",
);
pub(super) static HEARTBEATS: Counted =
    Counted::new("heartbeats", &["outcome"], "Signs of life that the service elsewhere took, or tries that failed");
pub(super) static EVENTS: Counted =
    Counted::new("events", &["kind"], "Events that this process added to the history, by their kind");
pub(super) static FAILED_CHORES: Counted =
    Counted::new("failed_chores", &["chore"], "Chores of the daemon that failed because of its database");

const COUNTERS: [&Counted; 7] = [&CYCLES, &REREADS, &REQUESTS, &DELIVERIES, &HEARTBEATS, &EVENTS, &FAILED_CHORES];
const TIMERS: [&Timed; 2] = [&CYCLE_DURATION, &REQUEST_DURATION];

// Asked when somebody wants to see them.

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, unit: None, labels, help }
}

const fn gauge_of(
    unit: &'static str,
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric { name, kind: Kind::Gauge, unit: Some(unit), labels, help }
}

const BUILD: Metric =
    Metric { name: "build", kind: Kind::Info, unit: None, labels: &["version"], help: "The program that answers" };
/// When the process began.
pub const START: Metric = gauge_of("seconds", "start_timestamp", &[], "When the daemon started");
/// When the daemon ticked last.
pub const LAST_TICK: Metric =
    gauge_of("seconds", "last_tick_timestamp", &[], "When the daemon last looked at what is due; it does every second");
/// Whether the database can be read.
pub const STORE_READABLE: Metric = gauge(
    "store_readable",
    &[],
    "1 if the database could be read for this answer; 0 leaves out all that is asked of it",
);
/// Bytes of the database.
pub const STORE_SIZE: Metric = gauge_of("bytes", "store_size", &[], "Size of the database with its log");
/// Bytes that are free.
pub const STORE_FREE: Metric = gauge_of("bytes", "store_free", &[], "Room that is left where the database lies");
/// Length of the history.
pub const HISTORY_LENGTH: Metric = gauge("history_length", &[], "Events in the history");
/// The verdict.
pub const VERDICT: Metric =
    gauge("instance_verdict", &["instance_id", "verdict"], "1 for the verdict now, 0 for the others");
/// The newest cycle.
pub const LAST_CYCLE: Metric = gauge_of(
    "seconds",
    "last_cycle_timestamp",
    &["instance_id"],
    "When the newest cycle ended; absent before the first",
);
/// How long it took.
pub const LAST_CYCLE_DURATION: Metric =
    gauge_of("seconds", "last_cycle_duration", &["instance_id"], "How long the newest cycle took");
/// The newest cycle that was good for something.
pub const LAST_SUCCESS: Metric = gauge_of(
    "seconds",
    "last_success_timestamp",
    &["instance_id"],
    "When the newest cycle ended that could read the instance and trust its baseline; absent before the first",
);
/// Cycles that should have been.
pub const MISSED: Metric = gauge(
    "cycles_missed",
    &["instance_id"],
    "How often a cycle was due since the last success, or since the start if there was none; at most 10",
);
/// The next cycle.
pub const NEXT_CYCLE: Metric =
    gauge_of("seconds", "next_cycle_timestamp", &["instance_id"], "When the next cycle is due");
/// Sections.
pub const SECTIONS: Metric =
    gauge("sections", &["instance_id", "state"], "Sections by the state of their newest reading");
/// Open drifts.
pub const OPEN_DRIFTS: Metric = gauge("open_drifts", &["instance_id", "severity"], "Drifts that are open, by severity");
/// The newest baseline.
pub const BASELINE_SEQUENCE: Metric = gauge(
    "baseline_sequence",
    &["instance_id"],
    "Number of the newest baseline; 0 without one. Whether it can be trusted is the verdict",
);
/// When it was imported.
pub const BASELINE_ACCEPTED: Metric = gauge_of(
    "seconds",
    "baseline_accepted_timestamp",
    &["instance_id"],
    "When the newest baseline was accepted; absent without one",
);
/// Messages that wait.
pub const OUTBOX_WAITING: Metric = gauge("outbox_waiting", &["receiver"], "Messages that are not delivered yet");
/// The oldest of them.
pub const OUTBOX_AGE: Metric =
    gauge_of("seconds", "outbox_oldest_age", &["receiver"], "Age of the oldest message that waits; 0 when none does");
/// Messages that were given up.
pub const OUTBOX_GIVEN_UP: Metric =
    gauge("outbox_given_up", &["receiver"], "Messages that were given up and are neither retried nor dropped");

const GAUGES: [Metric; 19] = [
    START,
    LAST_TICK,
    STORE_READABLE,
    STORE_SIZE,
    STORE_FREE,
    HISTORY_LENGTH,
    VERDICT,
    LAST_CYCLE,
    LAST_CYCLE_DURATION,
    LAST_SUCCESS,
    MISSED,
    NEXT_CYCLE,
    SECTIONS,
    OPEN_DRIFTS,
    BASELINE_SEQUENCE,
    BASELINE_ACCEPTED,
    OUTBOX_WAITING,
    OUTBOX_AGE,
    OUTBOX_GIVEN_UP,
];

/// Every metric, in the order in which they are printed.
pub fn all() -> Vec<Metric> {
    let counted = COUNTERS.iter().map(|counted| counted.metric).chain(TIMERS.iter().map(|timed| timed.metric));
    [BUILD].into_iter().chain(counted).chain(GAUGES).collect()
}

/// What was asked for one answer.
#[derive(Debug, Default)]
pub struct Gauges {
    families: BTreeMap<&'static str, Family<Labels, Gauge<f64, AtomicU64>>>,
}

impl Gauges {
    /// Sets the series of `metric` that `labels` say.
    pub fn set(&mut self, metric: &Metric, labels: &[&str], value: f64) {
        self.families.entry(metric.name).or_default().get_or_create(&metric.labelled(labels)).set(value);
    }

    /// Sets it to an instant.
    pub fn set_time(&mut self, metric: &Metric, labels: &[&str], at: DateTime<Utc>) {
        self.set(metric, labels, seconds(at.timestamp_millis()));
    }

    /// Sets it to a number of things.
    #[allow(clippy::cast_precision_loss, reason = "nobody has so many that it matters")]
    pub fn set_count(&mut self, metric: &Metric, labels: &[&str], count: u64) {
        self.set(metric, labels, count as f64);
    }
}

/// Unix milliseconds of the last tick; 0 before it.
static TICKED_AT: AtomicI64 = AtomicI64::new(0);

pub(super) fn set_last_tick(at: DateTime<Utc>) {
    TICKED_AT.store(at.timestamp_millis(), Ordering::Relaxed);
}

#[allow(clippy::cast_precision_loss, reason = "milliseconds of today are far below 2^53")]
fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}

/// The OpenMetrics text of everything that was counted, and of `gauges`.
pub fn text(mut gauges: Gauges) -> String {
    let ticked_at = TICKED_AT.load(Ordering::Relaxed);
    if ticked_at > 0 {
        gauges.set(&LAST_TICK, &[], seconds(ticked_at));
    }
    let mut registry = Registry::with_prefix(PREFIX);
    BUILD.register(&mut registry, Info::new(BUILD.labelled(&[env!("CARGO_PKG_VERSION")])));
    for counted in COUNTERS {
        counted.metric.register(&mut registry, Family::clone(&counted.family));
    }
    for timed in TIMERS {
        timed.metric.register(&mut registry, Family::clone(&timed.family));
    }
    for metric in GAUGES {
        match gauges.families.remove(metric.name) {
            // A family would print empty braces.
            Some(family) if metric.labels.is_empty() => {
                metric.register(&mut registry, family.get_or_create_owned(&Labels::new()));
            }
            Some(family) => metric.register(&mut registry, family),
            None => {}
        }
    }
    let mut text = String::new();
    encode(&mut text, &registry).unwrap_or_else(|error| unreachable!("internal: a text takes everything: {error}"));
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_follow_the_rules_and_are_unique() {
        let all = all();
        let names: BTreeSet<String> = all.iter().map(Metric::family).collect();
        assert_eq!(names.len(), all.len());
        for metric in &all {
            assert!(metric.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{}", metric.name);
            assert!(!metric.name.ends_with("_total") && !metric.help.ends_with('.'), "{}", metric.name);
        }
    }

    #[test]
    fn a_text_ends_and_has_what_was_set() {
        let mut gauges = Gauges::default();
        gauges.set_count(&OPEN_DRIFTS, &["clerk:prod", "high"], 2);
        gauges.set_time(&START, &[], DateTime::UNIX_EPOCH);
        let text = text(gauges);
        assert!(text.contains("authdrift_open_drifts{instance_id=\"clerk:prod\",severity=\"high\"} 2.0\n"), "{text}");
        assert!(text.contains("# UNIT authdrift_start_timestamp_seconds seconds\n"), "{text}");
        assert!(text.contains("authdrift_build_info{version=\""), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }
}
