//! One instance at its vendor: can everything be read that should be, with no more rights than it takes?

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use indicatif::ProgressBar;
use url::Url;

use super::finding::{Check, CheckResult};
use super::secret;
use crate::cli::Context;
use crate::cli::output::count;
use crate::config::{self, Instance, NotRead, Source, refused};
use crate::connect::{ActiveProxy, AllowedPeers, Endpoint};
use crate::exit::Exit;
use crate::model::{Provider, State};
use crate::provider::{Fetched, Limits, ReadError, Reader, Wanted};
use crate::sections::Section;

/// Clocks may differ by that without a word.
const CLOCK_WARNING: TimeDelta = TimeDelta::seconds(60);
/// Beyond that, tokens are refused and approvals are of another time.
const CLOCK_FAILURE: TimeDelta = TimeDelta::minutes(10);
/// Names in one sentence.
const MOST_NAMES: usize = 6;

/// Looks at `instance`; `line` says how far it is.
pub(super) async fn check(context: &Context, instance: &Instance, line: &ProgressBar) -> Vec<CheckResult> {
    let id = &instance.id;
    line.set_message(format!("{id}: being reached"));
    line.tick();
    let secret::Secrets { mut findings, are_there } = secret::check(&instance.secrets(), context);
    let mut is_reached = false;
    for url in hosts(&instance.source) {
        let Some(finding) = host(url, AllowedPeers::Anybody, &instance.proxy, Exit::Unavailable).await else {
            continue;
        };
        is_reached |= !finding.is_failure();
        findings.push(finding);
    }
    findings.extend(not_read(instance));
    let skipped = |why| CheckResult::skipped(Check::Credential, "sections", why);
    if !are_there {
        findings.push(skipped("not read without its credentials"));
    } else if !is_reached {
        findings.push(skipped("not read, because no host of it can be reached"));
    } else {
        let start = context.clock.now();
        // A person waits for the result.
        let limits = Limits { tries: 2, busy_tries: 3, ..context.limits.clone() };
        let read = match Reader::new(instance, limits) {
            Ok(reader) => {
                let tell = |progress: crate::provider::Progress| {
                    line.set_message(format!("{id}: {} of {} sections read", progress.done, progress.sections));
                    line.tick();
                };
                reader.read(Wanted::default(), start, tell).await
            }
            Err(error) => Err(error),
        };
        match read {
            Ok(fetched) => {
                findings.extend(credentials(instance, &fetched));
                findings.extend(sections(instance, &fetched));
                findings.extend(rights(instance, &fetched));
                findings.push(clock(&fetched, start, context.clock.now()));
            }
            Err(error) => findings.push(unreadable(&error)),
        }
    }
    line.finish_and_clear();
    findings
}

/// Where an instance is read, each host once.
fn hosts(source: &Source) -> Vec<&Url> {
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

/// Name, connection and certificate of the host of `url`, or of the proxy that stands before it.
pub(super) async fn host(url: &Url, who: AllowedPeers, proxy: &config::Proxy, exit: Exit) -> Option<CheckResult> {
    let host = Endpoint::of(url, who)?;
    let on = format!("{}:{}", host.host, host.port);
    let proxy = match ActiveProxy::find(proxy) {
        Ok(proxy) => proxy.filter(|proxy| proxy.is_for(url)),
        Err(error) => return Some(CheckResult::failure(Check::Host, on, error, PROXY, Exit::Configuration)),
    };
    let Some(proxy) = proxy else { return Some(endpoint(&host, exit).await) };
    if let Some(reason) = refused(url, who != AllowedPeers::Public).filter(|_| who != AllowedPeers::Anybody) {
        return Some(CheckResult::failure(Check::Host, on, reason, ALLOW, exit));
    }
    let reached = Endpoint::of(&proxy.address(), AllowedPeers::Anybody)?.reach().await;
    Some(match reached {
        Ok(addresses) => {
            CheckResult::ok(Check::Host, on, format!("asked through the proxy {proxy} ({addresses}), connected"))
        }
        Err(error) => {
            CheckResult::failure(Check::Host, on, format!("asked through the proxy {proxy}: {error}"), PROXY, exit)
        }
    })
}

/// Where a proxy is named.
const PROXY: &str =
    "`proxy` in [network] names it, or the variable HTTPS_PROXY; check that this machine may connect to it";

/// What lets a receiver stand in a private network.
const ALLOW: &str = "set `allow_private = true` there, if it is yours";

/// Name, connection and certificate of what is asked directly.
pub(super) async fn endpoint(endpoint: &Endpoint, exit: Exit) -> CheckResult {
    use crate::connect::ConnectError;
    let on = format!("{}:{}", endpoint.host, endpoint.port);
    match endpoint.reach().await {
        Ok(addresses) if endpoint.is_tls => {
            CheckResult::ok(Check::Host, on, format!("{addresses}, connected, its certificate is trusted"))
        }
        Ok(addresses) => CheckResult::ok(Check::Host, on, format!("{addresses}, connected")),
        Err(error) => {
            let help = match &error {
                ConnectError::Name(_) => "check the name in the configuration, and /etc/resolv.conf",
                ConnectError::Forbidden(_) => ALLOW,
                ConnectError::Connection { .. } => {
                    "check host and port, the firewall, and IPAddressAllow= of the unit; `proxy` in [network] or HTTPS_PROXY \
                     names a proxy"
                }
                ConnectError::Certificate { .. } => {
                    "check who answers; a private authority belongs into the trust store of this machine, or into a file \
                     that SSL_CERT_FILE names"
                }
                ConnectError::Tls { .. } => "check host and port: is it this service that listens there?",
            };
            CheckResult::failure(Check::Host, on, error, help, exit)
        }
    }
}

/// Nothing was read because of something on this machine.
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
    CheckResult::failure(Check::Credential, "sections", error, help, exit)
}

/// What the configuration does not read, and with which credential it could.
fn not_read(instance: &Instance) -> Vec<CheckResult> {
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
            CheckResult::skipped(Check::Section, format!("no {key}"), why).with_help(help)
        })
        .collect();
    if !chosen.is_empty() {
        let why = format!("{} not read, because it names them: {}", are(chosen.len()), some(&chosen));
        findings.push(CheckResult::skipped(Check::Section, "leave_out", why));
    }
    findings
}

/// What the vendor makes of the credentials.
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
        findings.push(CheckResult::failure(Check::Credential, api.credential(), reason, help, Exit::Credentials));
    }
    if let Some(mismatch) = &fetched.mismatch {
        let help = "take both keys from the same page of the dashboard";
        findings.push(CheckResult::failure(Check::Credential, "keys", mismatch, help, Exit::Configuration));
    }
    findings
}

/// What can be read, and what not, and why.
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
                details.push(CheckResult::ok(Check::Section, name, "can be read").in_detail());
                continue;
            }
            Err(refusal) => refusal,
        };
        let (reason, state) = (refusal.reason.as_str(), refusal.state);
        match state {
            State::Value | State::Off | State::NotOnPlan => {
                without += 1;
                let why = if reason.is_empty() { state.to_string() } else { format!("{state}: {reason}") };
                details.push(CheckResult::ok(Check::Section, name, why).in_detail());
            }
            State::NotPermitted => {
                forbidden.entry(&section.scope).or_insert_with(|| (Vec::new(), reason)).0.push(name);
                let help = format!("it takes {}", crate::cli::knowledge::sections::needs(section));
                let detail = CheckResult::failure(Check::Section, name, reason, help, Exit::Credentials);
                details.push(detail.in_detail());
            }
            State::Unreachable | State::Suspect => {
                let is_told = fetched.refused.contains_key(&section.api);
                if !is_told {
                    unreachable.entry(reason).or_default().push(name);
                }
                let exit = if is_told { Exit::Credentials } else { Exit::Unavailable };
                details.push(CheckResult::failure(Check::Section, name, reason, "", exit).in_detail());
            }
        }
    }
    let all = fetched.sections.len();
    let mut why = format!("{} of {} can be read", read + without, count(all, "section"));
    if without > 0 {
        why.push_str(&format!(", {without} of them are off or not in the plan"));
    }
    let mut findings = Vec::new();
    if read + without == all && all > 0 {
        findings.push(CheckResult::ok(Check::Credential, "sections", why));
    } else {
        let help = "what cannot be read is not watched; what follows says why";
        findings.push(CheckResult::warning(Check::Credential, "sections", why, help));
    }
    for (scope, (names, reason)) in forbidden {
        let names: Vec<&str> = names.into_iter().collect();
        let why = format!("missing, so {} not be read: {} ({reason})", can(names.len()), some(&names));
        findings.push(CheckResult::failure(Check::Permission, scope, why, grant(instance, scope), Exit::Credentials));
    }
    for (reason, names) in unreachable {
        let why = format!("{} not be read: {reason}", can(names.len()));
        let help = "try again later; if it stays so, see docs/coverage.md, or name them in `leave_out`";
        findings.push(CheckResult::failure(Check::Section, some(&names), why, help, Exit::Unavailable));
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

/// What the credential may beyond what it takes, and what it may not although nothing asked for it yet.
fn rights(instance: &Instance, fetched: &Fetched) -> Vec<CheckResult> {
    let table = instance.table();
    if instance.id.provider == Provider::Clerk {
        let Source::Clerk(clerk) = &instance.source else { return Vec::new() };
        if clerk.secret_key.is_none() && clerk.platform.is_none() {
            return vec![CheckResult::ok(Check::Rights, "publishable key", "it is public, and opens nothing else")];
        }
        let why =
            "whoever has it can change the instance: Clerk has no keys that only read, and this program only reads";
        return vec![CheckResult::ok(Check::Rights, "Clerk's keys", why)];
    }
    let Some(granted) = &fetched.granted else {
        if fetched.refused.is_empty() {
            let why = "the token does not say what it may";
            return vec![CheckResult::skipped(Check::Rights, "token", why)];
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
        findings.push(CheckResult::warning(Check::Permission, missing.join(", "), why, help));
    }
    let more: Vec<&str> = granted.difference(&known).map(String::as_str).collect();
    let (writing, reading): (Vec<&str>, Vec<&str>) = more.into_iter().partition(|scope| !scope.starts_with("read:"));
    let (secret, other): (Vec<&str>, Vec<&str>) =
        reading.into_iter().partition(|scope| matches!(*scope, "read:client_keys" | "read:client_credentials"));
    for (scopes, why) in [
        (writing, "lets whoever has the token change the tenant; this program only reads"),
        (secret, "lets whoever has the token read the secrets of every application; nothing here needs it"),
        (other, "granted, and nothing here needs it"),
    ] {
        if !scopes.is_empty() {
            let help = "take it from the application (Applications > APIs > Auth0 Management API)";
            findings.push(CheckResult::warning(Check::Rights, scopes.join(", "), why, help));
        }
    }
    if findings.is_empty() {
        findings.push(CheckResult::ok(Check::Rights, "token", "it may read what it has to, and nothing else"));
    }
    findings
}

/// The time of this machine against the vendor's newest answer, which came between `start` and `end`.
fn clock(fetched: &Fetched, start: DateTime<Utc>, end: DateTime<Utc>) -> CheckResult {
    let dates = fetched.collection.iter().filter_map(|note| note.date.as_deref());
    // The newest: a cache may repeat an old one.
    let Some(newest) = dates.filter_map(|date| DateTime::parse_from_rfc2822(date).ok()).max() else {
        return CheckResult::skipped(Check::Clock, "clock", "no answer of the vendor says what time it is");
    };
    compare_clocks(newest.to_utc(), start, end)
}

/// The difference that is certain, however long the answers took.
fn compare_clocks(theirs: DateTime<Utc>, start: DateTime<Utc>, end: DateTime<Utc>) -> CheckResult {
    let (ahead, behind) = (start - theirs, theirs - end);
    let (difference, which) = if ahead > behind { (ahead, "ahead of") } else { (behind, "behind") };
    if difference <= CLOCK_WARNING {
        return CheckResult::ok(Check::Clock, "clock", "as the vendor's, to the minute");
    }
    let spoken = humantime::format_duration(difference.to_std().unwrap_or_default());
    let why = format!("this machine is at least {spoken} {which} the vendor's time");
    let help = "start time synchronisation (timedatectl set-ntp true): approvals and tokens are held against the clock";
    if difference > CLOCK_FAILURE {
        return CheckResult::failure(Check::Clock, "clock", why, help, Exit::Configuration);
    }
    CheckResult::warning(Check::Clock, "clock", why, help)
}

/// The first few names.
fn some(names: &[&str]) -> String {
    let first: Vec<&str> = names.iter().take(MOST_NAMES).copied().collect();
    match names.len().saturating_sub(MOST_NAMES) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

fn are(sections: usize) -> String {
    format!("{} {}", count(sections, "section"), if sections == 1 { "is" } else { "are" })
}

fn can(sections: usize) -> String {
    format!("{} can", count(sections, "section"))
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
