//! Whether something watches, and when it last did.

use super::{InstanceResult, Opened};
use crate::cli::Context;
use crate::cli::error::RUN_AS_HINT;
use crate::cli::output::time;
use crate::config::Instance;
use crate::daemon::lock::is_running;
use crate::diagnosis::{Check, CheckResult};
use crate::exit::Exit;
use crate::model::Verdict;
use crate::status::InstanceStatus;
use crate::store::StoreError;

/// Checks the daemon, and the last cycle of each of `chosen`.
pub(super) fn check(
    context: &Context,
    chosen: &[Instance],
    opened: &Opened,
    statuses: &[InstanceResult<'_>],
) -> Vec<CheckResult> {
    let path = &context.config.store;
    let start = "start it: systemctl start authdrift, or `authdrift run`";
    let running = is_running(path);
    let daemon = match &running {
        Ok(true) => Check::Daemon.ok("daemon", "is running"),
        Ok(false) => Check::Daemon.warning("daemon", "is not running: nothing is read on schedule", start),
        Err(error) => {
            let why = format!("cannot be seen from here: {error}");
            Check::Daemon.skipped("daemon", why).with_help(RUN_AS_HINT)
        }
    };
    let mut findings = vec![daemon];
    if opened.is_err() {
        let why = "it needs a database that can be opened";
        findings.extend(chosen.iter().map(|instance| Check::LastCycle.skipped(&instance.id, why)));
        return findings;
    }
    let is_running = matches!(running, Ok(true));
    let of = |instance: &Instance| statuses.iter().find(|(known, _)| known.id == instance.id);
    findings.extend(
        chosen.iter().filter_map(of).map(|(instance, status)| last_cycle(context, instance, status, is_running)),
    );
    findings
}

fn last_cycle(
    context: &Context,
    instance: &Instance,
    status: &Result<InstanceStatus, StoreError>,
    is_running: bool,
) -> CheckResult {
    let (id, now) = (&instance.id, context.clock.now());
    let status = match status {
        Ok(status) => status,
        Err(error) => return Check::LastCycle.failure(id, error, "see docs/operations.md", Exit::Io),
    };
    let Some(cycle) = &status.cycle else {
        let why = "it was never read";
        return Check::LastCycle.warning(id, why, "start the daemon, or run `authdrift check`");
    };
    let spoken = format!("last cycle {}, {}", time(cycle.at, now), status.verdict.words());
    let read = status.sections.as_ref().map(|sections| sections.read_at);
    let Some(read) = read else {
        let help = "see the results about its hosts and credentials below";
        return Check::LastCycle.failure(id, format!("{spoken}; never read"), help, Exit::Unavailable);
    };
    if !instance.schedule.is_late(read, now) {
        if !matches!(status.verdict, Verdict::Untrusted | Verdict::Error) {
            return Check::LastCycle.ok(id, spoken);
        }
        let why = format!("{spoken}; last read {}", time(read, now));
        let help = "see the failures above and below; without one, wait for the next cycle";
        return Check::LastCycle.warning(id, why, help);
    }
    let why = format!(
        "{spoken}; not read since {}, and its schedule is {}",
        time(read, now),
        instance.schedule.cron.describe(now)
    );
    if is_running {
        let help = "the daemon is running and cannot read it; see the results below and its log";
        return Check::LastCycle.failure(id, why, help, Exit::Unavailable);
    }
    Check::LastCycle.warning(id, why, "start the daemon")
}
