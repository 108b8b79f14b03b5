//! One instance at its vendor: can everything be read that should be, with no more rights than it takes?

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use url::Url;

use super::{Check, CheckResult};
use crate::clock::Clock;
use crate::config::{Instance, NotRead, Source};
use crate::exit::Exit;
use crate::model::{Provider, State, counted};
use crate::provider::{Fetched, Limits, Progress, ReadError, Reader, Wanted};
use crate::sections::Section;

/// The difference of clocks that is no warning.
const CLOCK_WARNING: TimeDelta = TimeDelta::seconds(60);
/// The difference from which on tokens are refused and approvals get a wrong time.
const CLOCK_FAILURE: TimeDelta = TimeDelta::minutes(10);
const MOST_NAMES: usize = 6;

/// Reads everything of `instance`, and checks credentials, sections, permissions and the clock by the answers.
pub async fn diagnose(
    instance: &Instance,
    limits: Limits,
    clock: &dyn Clock,
    progress: impl Fn(Progress),
) -> Vec<CheckResult> {
    let start = clock.now();
    let fetched = match Reader::new(instance, limits) {
        Ok(reader) => reader.read(Wanted::default(), start, progress).await,
        Err(error) => Err(error),
    };
    let fetched = match fetched {
        Ok(fetched) => fetched,
        Err(error) => return vec![unreadable(&error)],
    };
    let mut results = credentials(instance, &fetched);
    results.extend(sections(instance, &fetched));
    results.extend(rights(instance, &fetched));
    results.push(self::clock(&fetched, start, clock.now()));
    results
}

/// The addresses where an instance is read, each host once.
pub fn hosts(source: &Source) -> Vec<&Url> {
    let mut urls: Vec<&Url> = match source {
        Source::Auth0(auth0) => vec![&auth0.api_url],
        Source::Clerk(clerk) => {
            let backend = clerk.secret_key.as_ref().map(|_| &clerk.backend_api_url);
            let platform = clerk.platform.as_ref().map(|_| &clerk.platform_api_url);
            [backend, platform, clerk.frontend_api_url.as_ref()].into_iter().flatten().collect()
        }
    };
    urls.sort_by_key(|url| (url.host_str(), url.port_or_known_default()));
    urls.dedup_by_key(|url| url.origin());
    urls
}

/// A reading that failed on this machine.
fn unreadable(error: &ReadError) -> CheckResult {
    let (help, exit) = match error {
        ReadError::Secret(_) | ReadError::BadSecret(_) => {
            ("write the credential there as the vendor shows it", Exit::Configuration)
        }
        ReadError::Proxy(_) => ("`proxy` in [network] or the variable HTTPS_PROXY names it", Exit::Configuration),
        ReadError::KeysOfTwoInstances { .. } => {
            ("take both keys from the same page of the dashboard", Exit::Configuration)
        }
        ReadError::Client(_) => ("install the CA certificates of this system (ca-certificates)", Exit::Internal),
    };
    Check::Credential.failure("sections", error, help, exit)
}

/// The sections that the configuration does not read, and the credential that would open them.
pub fn not_read(instance: &Instance) -> Vec<CheckResult> {
    let mut missing: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut chosen: Vec<&str> = Vec::new();
    for section in instance.table().sections() {
        match instance.reads(section) {
            Err(NotRead::NoCredential(key)) => missing.entry(key).or_default().push(&section.name),
            Err(NotRead::LeftOut) => chosen.push(&section.name),
            Ok(()) | Err(NotRead::TooDeep | NotRead::OtherVendor) => {}
        }
    }
    let mut findings: Vec<CheckResult> = missing
        .into_iter()
        .map(|(key, names)| {
            let why = format!("{} not read without it: {}", are(names.len()), some(&names));
            let help = format!(
                "`{key}` in the configuration would open them; `authdrift sections {}` lists them",
                instance.id
            );
            Check::Section.skipped(format!("no {key}"), why).with_help(help)
        })
        .collect();
    if !chosen.is_empty() {
        let why = format!("{} not read, because it names them: {}", are(chosen.len()), some(&chosen));
        findings.push(Check::Section.skipped("leave_out", why));
    }
    findings
}

/// The credentials that the vendor refuses.
fn credentials(instance: &Instance, fetched: &Fetched) -> Vec<CheckResult> {
    let mut findings = Vec::new();
    for (api, reason) in &fetched.refused {
        let help = match instance.id.provider {
            Provider::Clerk => "take a new one from the dashboard, API keys, and write it where the old one is",
            Provider::Auth0 => {
                "check client_id and secret, and that the application is authorised for the Management API (Applications > \
                 APIs > Auth0 Management API)"
            }
        };
        findings.push(Check::Credential.failure(api.credential(), reason, help, Exit::Credentials));
    }
    if let Some(mismatch) = &fetched.mismatch {
        let help = "take both keys from the same page of the dashboard";
        findings.push(Check::Credential.failure("keys", mismatch, help, Exit::Configuration));
    }
    findings
}

/// Which sections can be read, and why others cannot.
fn sections(instance: &Instance, fetched: &Fetched) -> Vec<CheckResult> {
    let table = instance.table();
    let mut details = Vec::new();
    let (mut read, mut without) = (0, 0);
    let mut forbidden: BTreeMap<&str, (Vec<&str>, &str)> = BTreeMap::new();
    let mut unreachable: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, outcome) in &fetched.sections {
        let Some(section) = table.section(name) else { continue };
        let refusal = match outcome {
            Ok(_) => {
                read += 1;
                details.push(Check::Section.ok(name, "can be read").in_detail());
                continue;
            }
            Err(refusal) => refusal,
        };
        let (reason, state) = (refusal.reason.as_str(), refusal.state);
        match state {
            State::Value | State::Off | State::NotOnPlan => {
                without += 1;
                let why = if reason.is_empty() { state.to_string() } else { format!("{state}: {reason}") };
                details.push(Check::Section.ok(name, why).in_detail());
            }
            State::NotPermitted => {
                forbidden.entry(&section.scope).or_insert_with(|| (Vec::new(), reason)).0.push(name);
                let help = format!("it takes {}", section.needs());
                let detail = Check::Section.failure(name, reason, help, Exit::Credentials);
                details.push(detail.in_detail());
            }
            State::Unreachable | State::Suspect => {
                let is_told = fetched.refused.contains_key(&section.api);
                if !is_told {
                    unreachable.entry(reason).or_default().push(name);
                }
                let exit = if is_told { Exit::Credentials } else { Exit::Unavailable };
                details.push(Check::Section.failure(name, reason, "", exit).in_detail());
            }
        }
    }
    let all = fetched.sections.len();
    let mut why = format!("{} of {} can be read", read + without, counted(all, "section"));
    if without > 0 {
        why.push_str(&format!(", {without} of them are off or not in the plan"));
    }
    let mut findings = Vec::new();
    if read + without == all && all > 0 {
        findings.push(Check::Credential.ok("sections", why));
    } else {
        let help = "sections that cannot be read are not watched; the results below say why";
        findings.push(Check::Credential.warning("sections", why, help));
    }
    for (scope, (names, reason)) in forbidden {
        let names: Vec<&str> = names.into_iter().collect();
        let why = format!("missing, so {} not be read: {} ({reason})", can(names.len()), some(&names));
        findings.push(Check::Permission.failure(scope, why, grant(instance, scope), Exit::Credentials));
    }
    for (reason, names) in unreachable {
        let why = format!("{} not be read: {reason}", can(names.len()));
        let help = "try again later; if it stays so, see docs/coverage.md, or name them in `leave_out`";
        findings.push(Check::Section.failure(some(&names), why, help, Exit::Unavailable));
    }
    findings.extend(details);
    findings
}

/// How to get a permission, or to live without it.
fn grant(instance: &Instance, scope: &str) -> String {
    let way = match instance.id.provider {
        Provider::Auth0 => format!("grant {scope} to the application (Applications > APIs > Auth0 Management API)"),
        Provider::Clerk => format!("give the key the scope {scope}, or take another one"),
    };
    format!("{way}, or name the sections in `leave_out`")
}

/// Permissions that are not needed, and missing ones that no request needed yet.
fn rights(instance: &Instance, fetched: &Fetched) -> Vec<CheckResult> {
    let table = instance.table();
    if instance.id.provider == Provider::Clerk {
        let Source::Clerk(clerk) = &instance.source else { return Vec::new() };
        if clerk.secret_key.is_none() && clerk.platform.is_none() {
            return vec![Check::Rights.ok("publishable key", "it is public, and opens nothing else")];
        }
        let why = "the key can change the instance: Clerk has no read-only keys, and this program only reads";
        return vec![Check::Rights.ok("Clerk's keys", why)];
    }
    let Some(granted) = &fetched.granted else {
        if fetched.refused.is_empty() {
            let why = "the token does not say what it may";
            return vec![Check::Rights.skipped("token", why)];
        }
        return Vec::new();
    };
    let scopes_of = |section: &Section| section.scope.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let known: BTreeSet<String> = table.sections().iter().flat_map(scopes_of).collect();
    let needed: BTreeSet<String> =
        table.sections().iter().filter(|section| instance.reads(section).is_ok()).flat_map(scopes_of).collect();
    let is_refused = |scope: &&String| {
        fetched.sections.iter().any(|(name, outcome)| {
            outcome.as_ref().is_err_and(|refusal| refusal.state == State::NotPermitted)
                && table.section(name).is_some_and(|section| scopes_of(section).contains(scope))
        })
    };
    let mut findings = Vec::new();
    let missing: Vec<&str> =
        needed.difference(granted).filter(|scope| !is_refused(scope)).map(String::as_str).collect();
    if !missing.is_empty() {
        let why = "not granted; nothing asked for it today, and sections go blind when something does";
        let help = "grant it to the application (Applications > APIs > Auth0 Management API)";
        findings.push(Check::Permission.warning(missing.join(", "), why, help));
    }
    let more: Vec<&str> = granted.difference(&known).map(String::as_str).collect();
    let (writing, reading): (Vec<&str>, Vec<&str>) = more.into_iter().partition(|scope| !scope.starts_with("read:"));
    let (secret, other): (Vec<&str>, Vec<&str>) =
        reading.into_iter().partition(|scope| matches!(*scope, "read:client_keys" | "read:client_credentials"));
    for (scopes, why) in [
        (writing, "lets the owner of the token change the tenant; this program only reads"),
        (secret, "lets the owner of the token read the secrets of every application; nothing here needs it"),
        (other, "granted, and nothing here needs it"),
    ] {
        if !scopes.is_empty() {
            let help = "take it from the application (Applications > APIs > Auth0 Management API)";
            findings.push(Check::Rights.warning(scopes.join(", "), why, help));
        }
    }
    if findings.is_empty() {
        findings.push(Check::Rights.ok("token", "it may read what it has to, and nothing else"));
    }
    findings
}

/// The time of this machine against the vendor's newest answer, which came between `start` and `end`.
fn clock(fetched: &Fetched, start: DateTime<Utc>, end: DateTime<Utc>) -> CheckResult {
    let dates = fetched.collection.iter().filter_map(|note| note.date.as_deref());
    // The newest: a cache may repeat an old one.
    let Some(newest) = dates.filter_map(|date| DateTime::parse_from_rfc2822(date).ok()).max() else {
        return Check::Clock.skipped("clock", "no answer of the vendor says what time it is");
    };
    compare_clocks(newest.to_utc(), start, end)
}

/// The smallest possible difference: the answers took a while.
fn compare_clocks(theirs: DateTime<Utc>, start: DateTime<Utc>, end: DateTime<Utc>) -> CheckResult {
    let (ahead, behind) = (start - theirs, theirs - end);
    let (difference, which) = if ahead > behind { (ahead, "ahead of") } else { (behind, "behind") };
    if difference <= CLOCK_WARNING {
        return Check::Clock.ok("clock", "as the vendor's, to the minute");
    }
    let spoken = humantime::format_duration(difference.to_std().unwrap_or_default());
    let why = format!("this machine is at least {spoken} {which} the vendor's time");
    let help = "start time synchronisation (timedatectl set-ntp true): approvals and tokens are held against the clock";
    if difference > CLOCK_FAILURE {
        return Check::Clock.failure("clock", why, help, Exit::Configuration);
    }
    Check::Clock.warning("clock", why, help)
}

fn some(names: &[&str]) -> String {
    let first: Vec<&str> = names.iter().take(MOST_NAMES).copied().collect();
    match names.len().saturating_sub(MOST_NAMES) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

fn are(sections: usize) -> String {
    format!("{} {}", counted(sections, "section"), if sections == 1 { "is" } else { "are" })
}

fn can(sections: usize) -> String {
    format!("{} can", counted(sections, "section"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_held_against_the_newest_answer() {
        let at = |seconds: i64| DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap();
        for (theirs, start, end, expected) in [
            (0, 0, 1, "as the vendor's"),
            // The reading took five minutes, and the answer came somewhere in between.
            (100, 0, 300, "as the vendor's"),
            (0, 60, 90, "as the vendor's"),
            (0, 61, 90, "1m 1s ahead of"),
            (120, 0, 5, "1m 55s behind"),
        ] {
            let found = format!("{:?}", compare_clocks(at(theirs), at(start), at(end)));
            assert!(found.contains(expected), "{expected}: {found}");
        }
        assert!(!compare_clocks(at(0), at(600), at(601)).is_failure());
        assert!(compare_clocks(at(0), at(601), at(700)).is_failure());
        assert!(compare_clocks(at(700), at(0), at(99)).is_failure());
    }

    #[test]
    fn a_few_names_are_enough() {
        assert_eq!(some(&["a"]), "a");
        assert_eq!(some(&["a", "b", "c", "d", "e", "f", "g", "h"]), "a, b, c, d, e, f and 2 more");
    }
}
