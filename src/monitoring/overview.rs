//! How everything that is configured stands, asked of the database.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::config::Instance;
use crate::daemon::LiveConfig;
use crate::history::outgoing::Waiting;
use crate::model::{InstanceId, Severity, State, Verdict};
use crate::status::{InstanceStatus, Statuses};
use crate::store::latest;
use crate::store::{Store, StoreError, Transaction, events, instances};
use crate::telemetry::metrics::{self, Gauges};
use crate::trust_files::TrustFiles;

/// Every state a section can be in.
const STATES: [State; 6] =
    [State::Value, State::Off, State::NotOnPlan, State::NotPermitted, State::Unreachable, State::Suspect];

/// Missed cycles are counted up to here: more of them say nothing more.
const MOST_MISSED: usize = 10;

/// How everything stands.
pub(super) struct MonitoringOverview {
    now: DateTime<Utc>,
    history: u64,
    instances: Vec<InstanceGauges>,
    outbox: BTreeMap<String, Waiting>,
}

/// One instance in numbers.
struct InstanceGauges {
    id: InstanceId,
    status: Arc<InstanceStatus>,
    success: Option<DateTime<Utc>>,
    missed: usize,
    next: Option<DateTime<Utc>>,
    /// When the newest baseline was accepted.
    accepted: Option<(u64, DateTime<Utc>)>,
    /// The history says that the baseline cannot be trusted.
    is_told_untrusted: bool,
}

impl MonitoringOverview {
    /// Loads the figures. Each instance is read in a transaction of its own, so that writers do not wait for all of them.
    pub(super) fn ask(
        store: &Store,
        watched: &LiveConfig,
        began: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Self, StoreError> {
        let (statuses, trust) = (&watched.statuses, watched.statuses.trust()?);
        let mut instances = Vec::with_capacity(statuses.instances().len());
        for instance in statuses.instances() {
            instances.push(store.read(|tx| InstanceGauges::ask(tx, statuses, instance, &trust, began, now))?);
        }
        let (history, mut outbox) = store.read(|tx| -> Result<_, StoreError> {
            Ok((events::mark(tx)?.map_or(0, |mark| mark.size), latest::outbox(tx)?))
        })?;
        // Only configured receivers: the database may hold any name.
        let mut known = BTreeMap::new();
        for receiver in &watched.receivers {
            known.insert(receiver.clone(), outbox.remove(receiver).unwrap_or_default());
        }
        Ok(Self { now, history, instances, outbox: known })
    }

    /// The instances whose baseline could not be trusted when it was last verified.
    pub(super) fn untrusted(&self) -> impl Iterator<Item = String> {
        self.instances.iter().filter(|instance| instance.is_untrusted()).map(|instance| {
            format!("{}: the baseline cannot be trusted, so nothing is compared; see `authdrift verify`", instance.id)
        })
    }

    /// Says it in numbers.
    pub(super) fn fill(&self, gauges: &mut Gauges) {
        gauges.set_count(&metrics::HISTORY_LENGTH, &[], self.history);
        for instance in &self.instances {
            instance.fill(gauges);
        }
        for (receiver, waiting) in &self.outbox {
            let age = waiting.oldest.map_or(0.0, |oldest| (self.now - oldest).as_seconds_f64().max(0.0));
            gauges.set_count(&metrics::OUTBOX_WAITING, &[receiver], waiting.count);
            gauges.set(&metrics::OUTBOX_AGE, &[receiver], age);
            gauges.set_count(&metrics::OUTBOX_GIVEN_UP, &[receiver], waiting.given_up);
        }
    }
}

impl InstanceGauges {
    fn ask(
        tx: &Transaction<'_>,
        statuses: &Statuses,
        instance: &Instance,
        trust: &TrustFiles,
        began: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Self, StoreError> {
        let mut gauges = Self {
            id: instance.id.clone(),
            status: statuses.of(tx, instance, trust, now)?,
            success: None,
            missed: 0,
            next: None,
            accepted: None,
            is_told_untrusted: tx.history().is_ok_and(|replay| replay.state.untrusted(&instance.id).is_some()),
        };
        if let Some(row) = instances::find(tx, &instance.id)? {
            gauges.success = latest::last_success(tx, row, now)?;
            gauges.next = instances::next_due(tx, row)?;
            gauges.accepted = latest::baseline(tx, row)?;
        }
        let due = |count: usize| instance.schedule.cron.nth_after(gauges.success.unwrap_or(began), count);
        gauges.missed = (1..=MOST_MISSED).take_while(|count| due(*count).is_some_and(|due| due <= now)).count();
        Ok(gauges)
    }

    fn is_untrusted(&self) -> bool {
        self.is_told_untrusted || self.status.verdict == Verdict::Untrusted
    }

    fn fill(&self, gauges: &mut Gauges) {
        let id = self.id.to_string();
        gauges.set_count(&metrics::MISSED, &[&id], u64::try_from(self.missed).unwrap_or_default());
        if let Some(last) = &self.status.cycle {
            gauges.set_time(&metrics::LAST_CYCLE, &[&id], last.at);
            gauges.set(&metrics::LAST_CYCLE_DURATION, &[&id], last.duration.as_secs_f64());
            for verdict in Verdict::ALL {
                let is_it = u64::from(self.status.verdict == verdict);
                gauges.set_count(&metrics::VERDICT, &[&id, verdict.as_str()], is_it);
            }
        }
        if let Some(success) = self.success {
            gauges.set_time(&metrics::LAST_SUCCESS, &[&id], success);
        }
        if let Some(next) = self.next {
            gauges.set_time(&metrics::NEXT_CYCLE, &[&id], next);
        }
        for state in STATES {
            let states = self.status.sections.iter().flat_map(|sections| sections.states.values());
            let count = u64::try_from(states.filter(|one| **one == state).count()).unwrap_or_default();
            gauges.set_count(&metrics::SECTIONS, &[&id, state.as_str()], count);
        }
        for severity in Severity::ALL {
            let count = self.status.open.iter().filter(|drift| drift.meaning.severity == severity).count();
            let count = u64::try_from(count).unwrap_or_default();
            gauges.set_count(&metrics::OPEN_DRIFTS, &[&id, severity.as_str()], count);
        }
        gauges.set_count(&metrics::BASELINE_SEQUENCE, &[&id], self.accepted.map_or(0, |(sequence, _)| sequence));
        if let Some((_, accepted)) = self.accepted {
            gauges.set_time(&metrics::BASELINE_ACCEPTED, &[&id], accepted);
        }
    }
}
