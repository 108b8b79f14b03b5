//! The database: room, pages, schema, key, history, and what was approved.

use std::path::Path;

use super::finding::{Check, CheckResult};
use crate::cli::Context;
use crate::cli::error::help_with;
use crate::cli::output::{count, day};
use crate::config::Instance;
use crate::exit::Exit;
use crate::status::InstanceStatus;
use crate::store::space::{self, Space};
use crate::store::{FullCheck, Store, StoreError, check_schema};
use crate::trust_files::TrustFiles;

/// Bytes up to which indexes are held against their tables: more takes longer than a person waits.
const LOOKED_AT_WHOLE: u64 = 256 << 20;

/// Looks, and writes nothing.
pub(super) fn check(context: &Context) -> Vec<CheckResult> {
    let path = &context.config.store;
    let name = path.display();
    let mut findings = vec![disk(path)];
    let (store, key) = match Store::open_to_look(path) {
        Ok(opened) => opened,
        Err(error) => {
            findings.push(unopened(&error, path));
            return findings;
        }
    };
    findings.push(match key {
        Ok(()) => CheckResult::ok(Check::FingerprintKey, path.with_extension("key").display(), "is the one that fits"),
        Err(error) => {
            let help =
                "put authdrift.key of your backup there; only if there is none: authdrift doctor --new-fingerprint-key";
            let on = path.with_extension("key");
            CheckResult::failure(Check::FingerprintKey, on.display(), error, help, Exit::Io)
        }
    });
    let is_small = store.size() <= LOOKED_AT_WHOLE;
    let pages = if is_small { store.full_check().and_then(FullCheck::run) } else { store.quick_check() };
    let pages = pages.and_then(|()| store.read(check_schema));
    let indexes = if is_small { "every index fits its table" } else { "`authdrift verify` looks at the indexes too" };
    findings.push(match pages {
        Ok(()) => {
            let why = format!("every page can be read, {indexes}, and the schema is this program's");
            CheckResult::ok(Check::Database, name, why)
        }
        Err(error) => {
            let help = "keep the file and look at it with `authdrift verify`; docs/operations.md says how to restore";
            let exit = if matches!(error, StoreError::Schema(_)) { Exit::Untrusted } else { Exit::Io };
            CheckResult::failure(Check::Database, path.display(), error, help, exit)
        }
    });
    findings.push(match store.read(|tx| tx.whole_history()) {
        Ok(walk) => {
            let size = usize::try_from(walk.size()).unwrap_or(usize::MAX);
            CheckResult::ok(Check::History, "history", format!("{} in one unbroken chain", count(size, "event")))
        }
        Err(error) => {
            let help = "`authdrift verify` says more; restore a backup (docs/operations.md)";
            CheckResult::failure(Check::History, "history", error, help, Exit::Untrusted)
        }
    });
    let trust = TrustFiles::read(&context.config.approval);
    findings.extend(context.config.instances.iter().map(|instance| baseline(context, &store, instance, &trust)));
    findings
}

fn unopened(error: &StoreError, path: &Path) -> CheckResult {
    let name = path.display();
    match error {
        StoreError::Missing(_) if let Err(denied) = path.try_exists() => {
            let why = format!("cannot be looked for: {denied}");
            let help = help_with(error).unwrap_or("`path` in [store] names it");
            CheckResult::failure(Check::Database, name, why, help, Exit::Io)
        }
        StoreError::Missing(_) if path.with_extension("high-water").exists() => {
            let why = "it is gone, and its high-water file is still there: what was approved went with it";
            let help = "restore a backup (docs/operations.md); move the high-water file away only to start over";
            CheckResult::failure(Check::Database, name, why, help, Exit::Untrusted)
        }
        StoreError::Missing(_) => {
            let why = "there is none yet: `authdrift check` or the daemon makes it";
            CheckResult::skipped(Check::Database, name, why)
        }
        StoreError::Older { .. } => {
            CheckResult::warning(Check::Database, name, error, "start the daemon, or run `authdrift check`")
        }
        StoreError::Newer { .. } => {
            let help = "use the newer program, or restore a backup that is older than the upgrade";
            CheckResult::failure(Check::Database, name, error, help, Exit::Configuration)
        }
        error => {
            let help = help_with(error).unwrap_or("docs/operations.md says how to restore a backup");
            CheckResult::failure(Check::Database, name, error, help, Exit::Io)
        }
    }
}

/// The room where the database is, or will be.
fn disk(path: &Path) -> CheckResult {
    let place = path.ancestors().find(|place| !place.as_os_str().is_empty() && place.exists());
    let place = place.unwrap_or(Path::new("."));
    let on = place.display();
    let free = match space::free_at(place) {
        Ok(free) => free,
        Err(error) => return CheckResult::skipped(Check::Disk, on, error),
    };
    let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
    match Space::of(free) {
        Space::Ample => CheckResult::ok(Check::Disk, on, format!("{} are free", mib(free))),
        Space::Low => {
            let why = format!("{} are free; below {} people are told", mib(free), mib(space::LOW));
            CheckResult::warning(Check::Disk, on, why, "free some space there")
        }
        Space::Full => {
            let why = format!("{} are free; below {} no snapshot is kept", mib(free), mib(space::FULL));
            CheckResult::failure(Check::Disk, on, why, "free some space there now", Exit::Io)
        }
    }
}

/// What was approved of `instance`, verified as before every comparison.
fn baseline(context: &Context, store: &Store, instance: &Instance, trust: &TrustFiles) -> CheckResult {
    let (id, now) = (&instance.id, context.clock.now());
    let catalogue = context.catalogues.of(id.provider);
    let status = match store.read(|tx| InstanceStatus::load(tx, instance, catalogue, trust, now)) {
        Ok(status) => status,
        Err(error) => {
            let help = "keep the file, and see docs/operations.md for restoring a backup";
            return CheckResult::failure(Check::Baseline, id, error, help, Exit::Io);
        }
    };
    match status.baseline {
        Ok(Some(baseline)) => {
            let who = baseline.approvers.join(", ");
            let why = format!("{} of {}, by {who}, verified", baseline.sequence, day(baseline.approved_at, now));
            CheckResult::ok(Check::Baseline, id, why)
        }
        Ok(None) if status.sections.is_none() => CheckResult::skipped(Check::Baseline, id, "it was never read"),
        Ok(None) => {
            let help = format!("look at it and approve: {}", context.config.approval.command_for_all(id));
            CheckResult::warning(Check::Baseline, id, "none yet: nothing is compared, and no drift is reported", help)
        }
        Err(untrusted) => {
            let help = format!("nothing is compared until this is cleared up: authdrift verify {id}; docs/baseline.md");
            CheckResult::failure(Check::Baseline, id, untrusted, help, Exit::Untrusted)
        }
    }
}
