//! The database: room, pages, schema, key, history, and what was approved.

use std::path::Path;

use super::{InstanceResult, Opened};
use crate::cli::Context;
use crate::cli::error::help_with;
use crate::cli::output::day;
use crate::config::Instance;
use crate::diagnosis::{Check, CheckResult};
use crate::exit::Exit;
use crate::model::counted;
use crate::status::InstanceStatus;
use crate::store::space::{self, Space};
use crate::store::{FullCheck, StoreError, check_schema};

/// The size in bytes up to which indexes are compared with their tables: a person waits for it.
const LOOKED_AT_WHOLE: u64 = 256 << 20;

pub(super) fn check(context: &Context, opened: Opened, statuses: &[InstanceResult<'_>]) -> Vec<CheckResult> {
    let path = &context.config.store;
    let name = path.display();
    let mut findings = vec![disk(path)];
    let (store, key) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            findings.push(unopened(&error, path));
            return findings;
        }
    };
    findings.push(match key {
        Ok(()) => Check::FingerprintKey.ok(path.with_extension("key").display(), "is the one that fits"),
        Err(error) => {
            let help =
                "put authdrift.key of your backup there; only if there is none: authdrift doctor --new-fingerprint-key";
            let on = path.with_extension("key");
            Check::FingerprintKey.failure(on.display(), error, help, Exit::Io)
        }
    });
    let is_small = store.size() <= LOOKED_AT_WHOLE;
    let pages = if is_small { store.full_check().and_then(FullCheck::run) } else { store.quick_check() };
    let pages = pages.and_then(|()| store.read(check_schema));
    let indexes = if is_small { "every index fits its table" } else { "`authdrift verify` looks at the indexes too" };
    findings.push(match pages {
        Ok(()) => {
            let why = format!("every page can be read, {indexes}, and the schema is this program's");
            Check::Database.ok(name, why)
        }
        Err(error) => {
            let help = "keep the file and look at it with `authdrift verify`; docs/operations.md says how to restore";
            let exit = if matches!(error, StoreError::Schema(_)) { Exit::Untrusted } else { Exit::Io };
            Check::Database.failure(path.display(), error, help, exit)
        }
    });
    findings.push(match store.read(|tx| tx.whole_history()) {
        Ok(replay) => {
            let size = usize::try_from(replay.size()).unwrap_or(usize::MAX);
            Check::History.ok("history", format!("{} in one unbroken chain", counted(size, "event")))
        }
        Err(error) => {
            let help = "`authdrift verify` says more; restore a backup (docs/operations.md)";
            Check::History.failure("history", error, help, Exit::Untrusted)
        }
    });
    findings.extend(statuses.iter().map(|(instance, status)| baseline(context, instance, status)));
    findings
}

fn unopened(error: &StoreError, path: &Path) -> CheckResult {
    let name = path.display();
    match error {
        StoreError::Missing(_) if let Err(denied) = path.try_exists() => {
            let why = format!("cannot be looked for: {denied}");
            let help = help_with(error).unwrap_or("`path` in [store] names it");
            Check::Database.failure(name, why, help, Exit::Io)
        }
        StoreError::Missing(_) if path.with_extension("high-water").exists() => {
            let why = "it is gone with everything that was approved; its high-water file is still there";
            let help = "restore a backup (docs/operations.md); move the high-water file away only to start over";
            Check::Database.failure(name, why, help, Exit::Untrusted)
        }
        StoreError::Missing(_) => {
            let why = "there is none yet: `authdrift check` or the daemon makes it";
            Check::Database.skipped(name, why)
        }
        StoreError::Older { .. } => Check::Database.warning(name, error, "start the daemon, or run `authdrift check`"),
        StoreError::Newer { .. } => {
            let help = "use the newer program, or restore a backup that is older than the upgrade";
            Check::Database.failure(name, error, help, Exit::Configuration)
        }
        error => {
            let help = help_with(error).unwrap_or("docs/operations.md says how to restore a backup");
            Check::Database.failure(name, error, help, Exit::Io)
        }
    }
}

/// The free space where the database is, or will be.
fn disk(path: &Path) -> CheckResult {
    let place = path.ancestors().find(|place| !place.as_os_str().is_empty() && place.exists());
    let place = place.unwrap_or(Path::new("."));
    let on = place.display();
    let free = match space::free_at(place) {
        Ok(free) => free,
        Err(error) => return Check::Disk.skipped(on, error),
    };
    let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
    match Space::of(free) {
        Space::Ample => Check::Disk.ok(on, format!("{} are free", mib(free))),
        Space::Low => {
            let why = format!("{} are free; below {} people are told", mib(free), mib(space::LOW));
            Check::Disk.warning(on, why, "free some space there")
        }
        Space::Full => {
            let why = format!("{} are free; below {} no snapshot is kept", mib(free), mib(space::FULL));
            Check::Disk.failure(on, why, "free some space there now", Exit::Io)
        }
    }
}

/// The baseline of `instance`, verified as before every comparison.
fn baseline(context: &Context, instance: &Instance, status: &Result<InstanceStatus, StoreError>) -> CheckResult {
    let (id, now) = (&instance.id, context.clock.now());
    let status = match status {
        Ok(status) => status,
        Err(error) => {
            let help = "keep the file, and see docs/operations.md for restoring a backup";
            return Check::Baseline.failure(id, error, help, Exit::Io);
        }
    };
    match &status.baseline {
        Ok(Some(baseline)) => {
            let who = baseline.approvers.join(", ");
            let why = format!("{} of {}, by {who}, verified", baseline.sequence, day(baseline.approved_at, now));
            Check::Baseline.ok(id, why)
        }
        Ok(None) if status.sections.is_none() => Check::Baseline.skipped(id, "it was never read"),
        Ok(None) => {
            let help = format!("review it and approve: {}", context.config.approval.command_for_all(id));
            Check::Baseline.warning(id, "none yet: nothing is compared, and no drift is reported", help)
        }
        Err(untrusted) => {
            let help = format!("nothing is compared until this is cleared up: authdrift verify {id}; docs/baseline.md");
            Check::Baseline.failure(id, untrusted, help, Exit::Untrusted)
        }
    }
}
