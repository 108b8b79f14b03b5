//! How everything that is configured stands, asked of the database.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::classify::assess;
use crate::cycle::Watch;
use crate::daemon::Watched;
use crate::model::{InstanceId, Severity, State};
use crate::store::overview::{self, LastCycle, Waiting};
use crate::store::{Store, StoreError, Transaction, drifts, events, instances};
use crate::telemetry::metrics::{self, Gauges};

/// Every verdict there is.
const VERDICTS: [&str; 6] = ["in_sync", "drift", "blind", "untrusted", "no_baseline", "error"];

/// Every state a section can be in.
const STATES: [State; 6] =
    [State::Value, State::Off, State::NotOnPlan, State::NotPermitted, State::Unreachable, State::Suspect];

/// Missed cycles are counted up to here: more of them say nothing more.
const MOST_MISSED: usize = 10;

/// How everything stands.
pub(super) struct Overview {
    now: DateTime<Utc>,
    history: u64,
    instances: Vec<Standing>,
    outbox: BTreeMap<String, Waiting>,
}

/// How one instance stands.
struct Standing {
    id: InstanceId,
    last: Option<LastCycle>,
    success: Option<DateTime<Utc>>,
    missed: usize,
    next: Option<DateTime<Utc>>,
    sections: BTreeMap<&'static str, u64>,
    open: Vec<Severity>,
    baseline: Option<(u64, DateTime<Utc>)>,
    /// By the last cycle, or by the history: the row of a cycle can be edited.
    is_untrusted: bool,
}

impl Overview {
    /// Asks. Each instance by itself, so that nobody who writes waits for all of them.
    pub(super) fn ask(
        store: &Store,
        watched: &Watched,
        began: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Self, StoreError> {
        let mut standings = Vec::with_capacity(watched.watches.len());
        for watch in &watched.watches {
            standings.push(store.read(|tx| Standing::ask(tx, watch, began, now))?);
        }
        let (history, mut outbox) = store.read(|tx| -> Result<_, StoreError> {
            Ok((events::mark(tx)?.map_or(0, |mark| mark.size), overview::outbox(tx)?))
        })?;
        // Only what is configured: a name in the database may be anybody's.
        let mut known = BTreeMap::new();
        for receiver in &watched.receivers {
            known.insert(receiver.clone(), outbox.remove(receiver).unwrap_or_default());
        }
        Ok(Self { now, history, instances: standings, outbox: known })
    }

    /// The instances whose baseline could not be trusted when it was last verified.
    pub(super) fn untrusted(&self) -> impl Iterator<Item = String> {
        self.instances.iter().filter(|standing| standing.is_untrusted).map(|standing| {
            format!("{}: the baseline cannot be trusted, so nothing is compared; see `authdrift verify`", standing.id)
        })
    }

    /// Says it in numbers.
    pub(super) fn fill(&self, gauges: &mut Gauges) {
        gauges.set_count(&metrics::HISTORY_LENGTH, &[], self.history);
        for standing in &self.instances {
            standing.fill(gauges);
        }
        for (receiver, waiting) in &self.outbox {
            let age = waiting.oldest.map_or(0.0, |oldest| (self.now - oldest).as_seconds_f64().max(0.0));
            gauges.set_count(&metrics::OUTBOX_WAITING, &[receiver], waiting.count);
            gauges.set(&metrics::OUTBOX_AGE, &[receiver], age);
            gauges.set_count(&metrics::OUTBOX_GIVEN_UP, &[receiver], waiting.given_up);
        }
    }
}

impl Standing {
    fn ask(tx: &Transaction<'_>, watch: &Watch, began: DateTime<Utc>, now: DateTime<Utc>) -> Result<Self, StoreError> {
        let (instance, catalogue) = (watch.instance(), watch.catalogue());
        let mut standing = Self {
            id: instance.id.clone(),
            last: None,
            success: None,
            missed: 0,
            next: None,
            sections: BTreeMap::new(),
            open: Vec::new(),
            baseline: None,
            is_untrusted: matches!(events::untrusted(tx, &instance.id), Ok(Some(_))),
        };
        if let Some(row) = instances::find(tx, &instance.id)? {
            standing.last = overview::last_cycle(tx, row, now)?;
            standing.is_untrusted |= standing.last.as_ref().is_some_and(|last| last.verdict == "untrusted");
            standing.success = overview::last_success(tx, row, now)?;
            standing.next = instances::next_due(tx, row)?;
            standing.baseline = overview::baseline(tx, row)?;
            let is_error = standing.last.as_ref().is_some_and(|last| last.verdict == "error");
            for mark in overview::sections(tx, row, now)?.unwrap_or_default().into_values() {
                // Nothing could be read, so no snapshot was kept: what is known is of before.
                let state = if is_error { State::Unreachable } else { mark.state };
                *standing.sections.entry(state.as_str()).or_default() += 1;
            }
            for drift in drifts::open(tx, row)? {
                standing.open.push(assess(&catalogue, drift.change).severity);
            }
        }
        let due = |count: usize| instance.schedule.cron.nth_after(standing.success.unwrap_or(began), count);
        standing.missed = (1..=MOST_MISSED).take_while(|count| due(*count).is_some_and(|due| due <= now)).count();
        Ok(standing)
    }

    fn fill(&self, gauges: &mut Gauges) {
        let id = self.id.to_string();
        gauges.set_count(&metrics::MISSED, &[&id], u64::try_from(self.missed).unwrap_or_default());
        if let Some(last) = &self.last {
            gauges.set_time(&metrics::LAST_CYCLE, &[&id], last.at);
            gauges.set(&metrics::LAST_CYCLE_DURATION, &[&id], last.duration.as_secs_f64());
            for verdict in VERDICTS {
                gauges.set_count(&metrics::VERDICT, &[&id, verdict], u64::from(last.verdict == verdict));
            }
        }
        if let Some(success) = self.success {
            gauges.set_time(&metrics::LAST_SUCCESS, &[&id], success);
        }
        if let Some(next) = self.next {
            gauges.set_time(&metrics::NEXT_CYCLE, &[&id], next);
        }
        for state in STATES {
            let count = self.sections.get(state.as_str()).copied().unwrap_or_default();
            gauges.set_count(&metrics::SECTIONS, &[&id, state.as_str()], count);
        }
        for severity in Severity::ALL {
            let count = self.open.iter().filter(|one| *one == severity).count();
            let count = u64::try_from(count).unwrap_or_default();
            gauges.set_count(&metrics::OPEN_DRIFTS, &[&id, severity.as_str()], count);
        }
        gauges.set_count(&metrics::BASELINE_SEQUENCE, &[&id], self.baseline.map_or(0, |(sequence, _)| sequence));
        if let Some((_, accepted)) = self.baseline {
            gauges.set_time(&metrics::BASELINE_ACCEPTED, &[&id], accepted);
        }
    }
}
