//! Whether something watches, and when it last did.

use super::finding::{Check, Finding};
use crate::cli::context::Context;
use crate::cli::error::AS_ANOTHER;
use crate::cli::output::time;
use crate::config::Instance;
use crate::daemon::lock::is_running;
use crate::exit::Exit;
use crate::store::{Store, StoreError, cycles, instances};

/// Readings that did not happen after which something is wrong, as for the daemon itself.
const MISSED: usize = 3;

/// Looks at the daemon, and at the last cycle of each of `chosen`.
pub(super) fn look(context: &Context, chosen: &[Instance]) -> Vec<Finding> {
    let path = &context.config.store;
    let start = "start it: systemctl start authdrift, or `authdrift run`";
    let running = is_running(path);
    let daemon = match &running {
        Ok(true) => Finding::ok(Check::Daemon, "daemon", "is running"),
        Ok(false) => Finding::warning(Check::Daemon, "daemon", "is not running: nothing is read on schedule", start),
        Err(error) => {
            let why = format!("cannot be seen from here: {error}");
            Finding::skipped(Check::Daemon, "daemon", why).with_help(AS_ANOTHER)
        }
    };
    let mut findings = vec![daemon];
    let Ok((store, _)) = Store::open_to_look(path) else {
        let why = "it takes a database that can be opened";
        findings.extend(chosen.iter().map(|instance| Finding::skipped(Check::LastCycle, &instance.id, why)));
        return findings;
    };
    let is_running = matches!(running, Ok(true));
    findings.extend(chosen.iter().map(|instance| last_cycle(context, &store, instance, is_running)));
    findings
}

fn last_cycle(context: &Context, store: &Store, instance: &Instance, is_running: bool) -> Finding {
    let (id, now) = (&instance.id, context.clock.now());
    let found = store.read(|tx| -> Result<_, StoreError> {
        let Some(row) = instances::find(tx, id)? else { return Ok((None, None)) };
        Ok((cycles::latest(tx, row)?, cycles::last_reading(tx, row)?))
    });
    let (latest, read) = match found {
        Ok((Some(latest), read)) => (latest, read),
        Ok((None, _)) => {
            let why = "it was never read";
            return Finding::warning(Check::LastCycle, id, why, "start the daemon, or run `authdrift check`");
        }
        Err(error) => {
            return Finding::failure(Check::LastCycle, id, error, "see docs/operations.md", Exit::Io);
        }
    };
    let spoken = format!("last cycle {}, {}", time(latest.at, now), latest.verdict.replace('_', " "));
    let Some(read) = read else {
        let help = "what is said of its hosts and credentials below says why";
        return Finding::failure(Check::LastCycle, id, format!("{spoken}; never read"), help, Exit::Unavailable);
    };
    let missed = instance.schedule.cron.nth_after(read, MISSED);
    if missed.is_none_or(|missed| missed >= now) {
        if !["untrusted", "error"].contains(&latest.verdict.as_str()) {
            return Finding::ok(Check::LastCycle, id, spoken);
        }
        let why = format!("{spoken}; last read {}", time(read, now));
        let help = "what failed above or below says why; if nothing did, the next cycle is better";
        return Finding::warning(Check::LastCycle, id, why, help);
    }
    let why = format!(
        "{spoken}; not read since {}, and its schedule is {}",
        time(read, now),
        instance.schedule.cron.describe(now)
    );
    if is_running {
        let help = "the daemon is running and does not get through; what follows says why, and so does its log";
        return Finding::failure(Check::LastCycle, id, why, help, Exit::Unavailable);
    }
    Finding::warning(Check::LastCycle, id, why, "start the daemon")
}
