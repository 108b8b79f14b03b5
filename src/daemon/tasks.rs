//! What is under way: at most one thing at a time for one instance, and for one receiver.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::cycle::{Monitor, Report, RunMode};
use crate::delivery::Worker;
use crate::model::{InstanceId, Verdict};
use crate::store::StoreError;
use crate::telemetry::{Chore, ChoreFailed, CycleEnded, CycleFailed, CycleHealth, Observable};

/// The pause after a cycle that could not be recorded: a full disk should not mean one every second.
const REST: TimeDelta = TimeDelta::seconds(30);

/// Everything that is under way, or was. It outlives the configuration that it was begun with.
#[derive(Default)]
pub(super) struct Tasks {
    cycles: BTreeMap<InstanceId, Slot>,
    deliveries: BTreeMap<String, Slot>,
}

impl Tasks {
    pub(super) fn cycle(&mut self, instance: &InstanceId) -> &mut Slot {
        self.cycles.entry(instance.clone()).or_default()
    }

    pub(super) fn delivery(&mut self, receiver: &str) -> &mut Slot {
        self.deliveries.entry(receiver.to_owned()).or_default()
    }

    /// Forgets what is not in `config` any more, unless it still goes on: it may come back before it is over.
    pub(super) fn retain_configured(&mut self, config: &Config) {
        let has_instance = |id: &InstanceId| config.instances.iter().any(|instance| instance.id == *id);
        let has_receiver = |name: &str| config.receivers.iter().any(|receiver| receiver.name == name);
        self.cycles.retain(|id, slot| slot.is_running() || has_instance(id));
        self.deliveries.retain(|name, slot| slot.is_running() || has_receiver(name));
    }
}

/// What is under way for one instance, or for one receiver.
#[derive(Default)]
pub(super) struct Slot {
    task: Option<JoinHandle<()>>,
    began: Option<DateTime<Utc>>,
    is_done: Arc<AtomicBool>,
}

impl Slot {
    /// Whether something new may begin: nothing is under way, and what began last was done or is long enough ago. A task
    /// that panicked is over, and was not done.
    pub(super) fn is_free(&self, now: DateTime<Utc>) -> bool {
        let is_rested = self.began.is_none_or(|began| began + REST <= now || began > now);
        !self.is_running() && (is_rested || self.is_done.load(Ordering::Relaxed))
    }

    fn is_running(&self) -> bool {
        self.task.as_ref().is_some_and(|task| !task.is_finished())
    }

    /// Begins `work`, which answers whether it was done.
    pub(super) fn begin(
        &mut self,
        now: DateTime<Utc>,
        tracker: &TaskTracker,
        work: impl Future<Output = bool> + Send + 'static,
    ) {
        let is_done = Arc::new(AtomicBool::new(false));
        self.is_done = Arc::clone(&is_done);
        self.began = Some(now);
        self.task = Some(tracker.spawn(async move { is_done.store(work.await, Ordering::Relaxed) }));
    }
}

/// One cycle, unless the daemon stops first. A cycle that is dropped then was reading or waiting: commits do not wait, so
/// they are never cut.
pub(super) async fn cycle(
    monitor: Arc<Monitor>,
    stop: CancellationToken,
    failures: mpsc::UnboundedSender<StoreError>,
) -> bool {
    let outcome = tokio::select! {
        () = stop.cancelled() => return true,
        outcome = monitor.cycle(RunMode::Commit) => outcome,
    };
    match outcome {
        Ok(report) => {
            observed(&report).observe();
            if let Some(reason) = report.unusable {
                let _ = failures.send(StoreError::Damaged(reason));
            }
            true
        }
        Err(error) => {
            CycleFailed { instance: &monitor.instance().id, error: &error }.observe();
            // At shutdown the channel is closed.
            let _ = failures.send(error);
            false
        }
    }
}

pub(super) async fn deliver(
    worker: Arc<Worker>,
    stop: CancellationToken,
    failures: mpsc::UnboundedSender<StoreError>,
) -> bool {
    match worker.deliver(&stop).await {
        Ok(()) => true,
        Err(error) => {
            ChoreFailed { chore: Chore::Delivery, error: &error }.observe();
            let _ = failures.send(error);
            false
        }
    }
}

fn observed(report: &Report) -> CycleEnded<'_> {
    CycleEnded {
        instance: &report.instance,
        verdict: report.verdict.as_str(),
        outcome: match report.verdict {
            Verdict::InSync | Verdict::NoBaseline => CycleHealth::Good,
            Verdict::Drift | Verdict::Blind => CycleHealth::Worrying,
            Verdict::Untrusted | Verdict::Error => CycleHealth::Bad,
        },
        drifts: report.drifts.len(),
        requests: report.requests,
        duration: report.duration,
        reason: report.reason.as_ref().map(|reason| reason.message.as_str()),
    }
}
