//! Whether something watches, and when it last did.

use super::finding::{Check, CheckResult};
use crate::cli::Context;
use crate::cli::error::RUN_AS_HINT;
use crate::cli::output::time;
use crate::config::Instance;
use crate::daemon::lock::is_running;
use crate::exit::Exit;
use crate::model::Verdict;
use crate::status::InstanceStatus;
use crate::store::Store;
use crate::trust_files::TrustFiles;

/// Looks at the daemon, and at the last cycle of each of `chosen`.
pub(super) fn check(context: &Context, chosen: &[Instance]) -> Vec<CheckResult> {
    let path = &context.config.store;
    let start = "start it: systemctl start authdrift, or `authdrift run`";
    let running = is_running(path);
    let daemon = match &running {
        Ok(true) => CheckResult::ok(Check::Daemon, "daemon", "is running"),
        Ok(false) => {
            CheckResult::warning(Check::Daemon, "daemon", "is not running: nothing is read on schedule", start)
        }
        Err(error) => {
            let why = format!("cannot be seen from here: {error}");
            CheckResult::skipped(Check::Daemon, "daemon", why).with_help(RUN_AS_HINT)
        }
    };
    let mut findings = vec![daemon];
    let Ok((store, _)) = Store::open_to_look(path) else {
        let why = "it takes a database that can be opened";
        findings.extend(chosen.iter().map(|instance| CheckResult::skipped(Check::LastCycle, &instance.id, why)));
        return findings;
    };
    let is_running = matches!(running, Ok(true));
    findings.extend(chosen.iter().map(|instance| last_cycle(context, &store, instance, is_running)));
    findings
}

fn last_cycle(context: &Context, store: &Store, instance: &Instance, is_running: bool) -> CheckResult {
    let (id, now) = (&instance.id, context.clock.now());
    let (catalogue, trust) = (context.catalogues.of(id.provider), TrustFiles::read(&context.config.approval));
    let status = match store.read(|tx| InstanceStatus::load(tx, instance, catalogue, &trust, now)) {
        Ok(status) => status,
        Err(error) => return CheckResult::failure(Check::LastCycle, id, error, "see docs/operations.md", Exit::Io),
    };
    let Some(cycle) = &status.cycle else {
        let why = "it was never read";
        return CheckResult::warning(Check::LastCycle, id, why, "start the daemon, or run `authdrift check`");
    };
    let spoken = format!("last cycle {}, {}", time(cycle.at, now), status.verdict.words());
    let read = status.sections.as_ref().map(|sections| sections.read_at);
    let Some(read) = read else {
        let help = "what is said of its hosts and credentials below says why";
        return CheckResult::failure(Check::LastCycle, id, format!("{spoken}; never read"), help, Exit::Unavailable);
    };
    if !instance.schedule.is_late(read, now) {
        if !matches!(status.verdict, Verdict::Untrusted | Verdict::Error) {
            return CheckResult::ok(Check::LastCycle, id, spoken);
        }
        let why = format!("{spoken}; last read {}", time(read, now));
        let help = "what failed above or below says why; if nothing did, the next cycle is better";
        return CheckResult::warning(Check::LastCycle, id, why, help);
    }
    let why = format!(
        "{spoken}; not read since {}, and its schedule is {}",
        time(read, now),
        instance.schedule.cron.describe(now)
    );
    if is_running {
        let help = "the daemon is running and does not get through; what follows says why, and so does its log";
        return CheckResult::failure(Check::LastCycle, id, why, help, Exit::Unavailable);
    }
    CheckResult::warning(Check::LastCycle, id, why, "start the daemon")
}
