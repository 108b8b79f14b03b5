//! Every metric: its name, labels and meaning; and the OpenMetrics text of all of them.
//!
//! Counters and histograms are moved by the observables. Gauges are set from the database for each scrape.

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

/// The prefix of every name.
const PREFIX: &str = "authdrift";

/// The media type of [`text`].
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
    /// The names of its labels.
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

/// A metric with the series of this process.
pub(super) struct Series<M> {
    metric: Metric,
    family: LazyLock<Family<Labels, M>>,
}

impl Series<Counter> {
    pub(super) fn add(&self, labels: &[&str]) {
        self.family.get_or_create(&self.metric.labelled(labels)).inc();
    }
}

impl Series<Histogram> {
    pub(super) fn observe(&self, labels: &[&str], duration: Duration) {
        self.family.get_or_create(&self.metric.labelled(labels)).observe(duration.as_secs_f64());
    }
}

/// Declares all metrics, one row each. The last column of a histogram is the upper bounds of its buckets, in seconds.
macro_rules! metrics {
    (
        counters { $($counter:ident $counter_name:literal $counter_labels:tt $counter_help:literal,)+ }
        histograms { $($timer:ident $timer_name:literal $timer_labels:tt $timer_help:literal $buckets:tt,)+ }
        gauges { $($gauge:ident $gauge_name:literal $(in $unit:literal)? [$($gauge_label:literal),*] $gauge_help:literal,)+ }
    ) => {
        $(pub(super) static $counter: Series<Counter> = Series {
            metric: Metric {
                name: $counter_name,
                kind: Kind::Counter,
                unit: None,
                labels: &$counter_labels,
                help: $counter_help,
            },
            family: LazyLock::new(Family::default),
        };)+
        $(pub(super) static $timer: Series<Histogram> = Series {
            metric: Metric {
                name: $timer_name,
                kind: Kind::Histogram,
                unit: Some("seconds"),
                labels: &$timer_labels,
                help: $timer_help,
            },
            family: LazyLock::new(|| Family::new_with_constructor(|| Histogram::new($buckets))),
        };)+
        $(#[doc = $gauge_help]
        pub const $gauge: Metric = Metric {
            name: $gauge_name,
            kind: Kind::Gauge,
            unit: [$(Some($unit),)? None][0],
            labels: &[$($gauge_label),*],
            help: $gauge_help,
        };)+

        const GAUGES: &[Metric] = &[$($gauge,)+];

        /// Every metric, in the order in which they are printed.
        pub fn all() -> Vec<Metric> {
            [BUILD, $($counter.metric,)+ $($timer.metric,)+ $($gauge,)+].to_vec()
        }

        fn register_counted(registry: &mut Registry) {
            $($counter.metric.register(registry, Family::clone(&$counter.family));)+
            $($timer.metric.register(registry, Family::clone(&$timer.family));)+
        }
    };
}

const BUILD: Metric =
    Metric { name: "build", kind: Kind::Info, unit: None, labels: &["version"], help: "The program that answers" };

metrics! {
    counters {
        CYCLES "cycles" ["instance_id", "verdict"]
            "Cycles that ended, and as 'failed' those that could not be recorded",
        REREADS "rereads" ["instance_id", "cause"]
            "Second readings of sections: something was 'new', or 'doubtful'",
        REQUESTS "requests" ["vendor", "status"]
            "Requests to vendors by class of status; 429 by itself, 'none' without an answer",
        DELIVERIES "deliveries" ["receiver", "outcome"]
            "Tries to deliver a message: 'delivered', 'failed' (tried again), 'given_up', or past the database",
        HEARTBEATS "heartbeats" ["outcome"]
            "Signs of life that the service elsewhere took, or tries that failed",
        EVENTS "events" ["kind"]
            "Events that this process added to the history, by their kind",
        FAILED_CHORES "failed_chores" ["chore"]
            "Chores of the daemon that failed because of its database",
    }
    histograms {
        CYCLE_DURATION "cycle_duration" ["vendor"]
            "Time from the first request of a cycle to its end, second readings included"
            [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0],
        REQUEST_DURATION "request_duration" ["vendor"]
            "Time until the whole answer of a vendor was there, or until there was none"
            [0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0],
    }
    gauges {
        START "start_timestamp" in "seconds" [] "When the daemon started",
        LAST_TICK "last_tick_timestamp" in "seconds" []
            "When the daemon last looked at what is due; it does every second",
        STORE_READABLE "store_readable" []
            "1 if the database could be read for this answer; 0 leaves out all that is asked of it",
        STORE_SIZE "store_size" in "bytes" [] "Size of the database with its log",
        STORE_FREE "store_free" in "bytes" [] "Room that is left where the database lies",
        HISTORY_LENGTH "history_length" [] "Events in the history",
        VERDICT "instance_verdict" ["instance_id", "verdict"] "1 for the verdict now, 0 for the others",
        LAST_CYCLE "last_cycle_timestamp" in "seconds" ["instance_id"]
            "When the newest cycle ended; absent before the first",
        LAST_CYCLE_DURATION "last_cycle_duration" in "seconds" ["instance_id"] "How long the newest cycle took",
        LAST_SUCCESS "last_success_timestamp" in "seconds" ["instance_id"]
            "When the newest cycle ended that could read the instance and trust its baseline; absent before the first",
        MISSED "cycles_missed" ["instance_id"]
            "How often a cycle was due since the last success, or since the start if there was none; at most 10",
        NEXT_CYCLE "next_cycle_timestamp" in "seconds" ["instance_id"] "When the next cycle is due",
        SECTIONS "sections" ["instance_id", "state"] "Sections by the state of their newest reading",
        OPEN_DRIFTS "open_drifts" ["instance_id", "severity"] "Drifts that are open, by severity",
        BASELINE_SEQUENCE "baseline_sequence" ["instance_id"]
            "Number of the newest baseline; 0 without one. Whether it can be trusted is the verdict",
        BASELINE_ACCEPTED "baseline_accepted_timestamp" in "seconds" ["instance_id"]
            "When the newest baseline was accepted; absent without one",
        OUTBOX_WAITING "outbox_waiting" ["receiver"] "Messages that are not delivered yet",
        OUTBOX_AGE "outbox_oldest_age" in "seconds" ["receiver"]
            "Age of the oldest message that waits; 0 when none does",
        OUTBOX_GIVEN_UP "outbox_given_up" ["receiver"]
            "Messages that were given up and are neither retried nor dropped",
    }
}

/// The gauges of one scrape.
#[derive(Debug, Default)]
pub struct Gauges {
    families: BTreeMap<&'static str, Family<Labels, Gauge<f64, AtomicU64>>>,
}

impl Gauges {
    /// Sets the series of `metric` that has these `labels`.
    pub fn set(&mut self, metric: &Metric, labels: &[&str], value: f64) {
        self.families.entry(metric.name).or_default().get_or_create(&metric.labelled(labels)).set(value);
    }

    /// Sets it to an instant.
    pub fn set_time(&mut self, metric: &Metric, labels: &[&str], at: DateTime<Utc>) {
        self.set(metric, labels, seconds(at.timestamp_millis()));
    }

    /// Sets it to a number of things.
    #[allow(clippy::cast_precision_loss, reason = "a count is far below 2^53")]
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
    register_counted(&mut registry);
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
