//! One instance: its secrets and hosts, and what its vendor answers.

use indicatif::ProgressBar;

use super::secret;
use crate::cli::Context;
use crate::config::Instance;
use crate::connect::AllowedPeers;
use crate::diagnosis::{Check, CheckResult, diagnose, host, hosts, not_read};
use crate::exit::Exit;
use crate::provider::{Limits, Progress};

/// Checks `instance`; `line` shows the progress.
pub(super) async fn check(context: &Context, instance: &Instance, line: &ProgressBar) -> Vec<CheckResult> {
    let id = &instance.id;
    line.set_message(format!("{id}: being reached"));
    line.tick();
    let secret::Secrets { mut findings, are_there } = secret::check(&instance.secrets(), context);
    let mut is_reached = false;
    for url in hosts(&instance.source) {
        if let Some(found) = host(url, AllowedPeers::Anybody, &instance.proxy, Exit::Unavailable).await {
            is_reached |= !found.is_failure();
            findings.push(found);
        }
    }
    findings.extend(not_read(instance));
    if !are_there {
        findings.push(Check::Credential.skipped("sections", "not read without its credentials"));
    } else if !is_reached {
        findings.push(Check::Credential.skipped("sections", "not read, because no host of it can be reached"));
    } else {
        // A person waits for the result.
        let limits = Limits { tries: 2, busy_tries: 3, ..context.limits.clone() };
        let progress = |Progress { done, sections, .. }: Progress| {
            line.set_message(format!("{id}: {done} of {sections} sections read"));
            line.tick();
        };
        findings.extend(diagnose(instance, limits, &*context.clock, progress).await);
    }
    line.finish_and_clear();
    findings
}
