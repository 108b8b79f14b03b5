//! Permissions of the files that decide who approves, and of the database.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::cli::Context;
use crate::cli::set_up::init::quoted;
use crate::cli::user::user_name;
use crate::diagnosis::{Check, CheckResult};
use crate::exit::Exit;

const OTHERS_WRITE: u32 = 0o022;
const OTHERS: u32 = 0o077;
const MODE: u32 = 0o7777;

pub(super) fn check(context: &Context) -> Vec<CheckResult> {
    let approval = &context.config.approval;
    let mut paths = vec![context.file.clone(), approval.allowed_signers.clone()];
    paths.extend(approval.revoked_keys.clone());
    paths.extend(context.config.catalogue.clone());
    let mut seen = BTreeSet::new();
    let mut findings: Vec<CheckResult> = paths.iter().flat_map(|path| of_policy(path, &mut seen)).collect();
    findings.extend(of_service(&context.config.store, &paths));
    findings.extend(of_database(&context.config.store, &mut seen));
    findings
}

pub(super) fn of_configuration(path: &Path) -> Vec<CheckResult> {
    of_policy(path, &mut BTreeSet::new())
}

/// A file whose writers decide who approves, and its folder: who may write that can put another file in its place.
///
/// Several files can lie in one folder, which is `seen` once.
fn of_policy(path: &Path, seen: &mut BTreeSet<PathBuf>) -> Vec<CheckResult> {
    let found = match fs::metadata(path) {
        Ok(found) if found.is_file() => found,
        // The check that reads the file reports it.
        Ok(_) | Err(_) => return Vec::new(),
    };
    let mut findings = vec![writers(path, &found, "a user who can write it decides who approves")];
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Ok(found) = fs::metadata(folder)
        && is_written_by_others(&found)
        // The sticky bit, as in /tmp: others cannot replace the file.
        && found.mode() & 0o1000 == 0
        && seen.insert(absolute(folder))
    {
        findings.push(writers(folder, &found, "a user who can write the folder can replace the file"));
    }
    findings
}

fn writers(path: &Path, found: &Metadata, what: &str) -> CheckResult {
    let (name, mode) = (path.display(), found.mode() & MODE);
    if is_written_by_others(found) {
        let why = format!("mode {mode:04o} lets others than its owner write it: {what}");
        return Check::File.failure(name, why, format!("chmod go-w {}", quoted(path)), Exit::Io);
    }
    Check::File.ok(name, format!("mode {mode:04o}, only {} writes it", user(found.uid())))
}

fn is_written_by_others(found: &Metadata) -> bool {
    // The group root holds no other user.
    let group_is_root = found.gid() == 0 && found.uid() == 0;
    found.mode() & if group_is_root { 0o002 } else { OTHERS_WRITE } != 0
}

/// Whether the user that authdrift runs as could change who approves.
fn of_service(store: &Path, paths: &[PathBuf]) -> Option<CheckResult> {
    // The owner of the database is the user that the service runs as.
    let service = fs::metadata(store).or_else(|_| fs::metadata("/proc/self")).ok()?.uid();
    let owned: Vec<String> = paths
        .iter()
        .filter(|path| fs::metadata(path).is_ok_and(|found| found.uid() == service))
        .map(|path| path.display().to_string())
        .collect();
    // Root can do everything anyway.
    if service == 0 || owned.is_empty() {
        return None;
    }
    let why = format!("belongs to {}, the user that watches: it could change who approves", user(service));
    let help = "where that matters, as for a service: chown root, and let the service's group read";
    Some(Check::File.warning(owned.join(", "), why, help))
}

/// The database and its key must not be readable by other users.
fn of_database(store: &Path, seen: &mut BTreeSet<PathBuf>) -> Vec<CheckResult> {
    let mut findings = Vec::new();
    let mut owner = None;
    for path in [store.to_owned(), store.with_extension("key")] {
        let Ok(found) = fs::metadata(&path) else { continue };
        let (name, mode) = (path.display(), found.mode() & MODE);
        let is_same = *owner.get_or_insert(found.uid()) == found.uid();
        if mode & OTHERS != 0 {
            let why = format!("mode {mode:04o} lets others read or write it");
            findings.push(Check::File.failure(name, why, format!("chmod 600 {}", quoted(&path)), Exit::Io));
        } else if !is_same {
            let why = format!("belongs to {}, and the database to somebody else", user(found.uid()));
            let help = format!("chown --reference={} {}", quoted(store), quoted(&path));
            findings.push(Check::File.failure(name, why, help, Exit::Io));
        } else {
            findings.push(Check::File.ok(name, format!("mode {mode:04o}, of {}", user(found.uid()))));
        }
    }
    if let Some((folder, found)) = store.parent().and_then(|folder| Some((folder, fs::metadata(folder).ok()?)))
        && is_written_by_others(&found)
        && found.mode() & 0o1000 == 0
        && seen.insert(absolute(folder))
    {
        findings.push(writers(folder, &found, "a user who can write the folder can replace the database"));
    }
    findings
}

fn absolute(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn user(uid: u32) -> String {
    user_name(uid).unwrap_or_else(|| format!("user {uid}"))
}
