//! Approvers: there are enough, and their keys are valid today and for a while.

use std::collections::BTreeSet;

use chrono::TimeDelta;

use crate::cli::Context;
use crate::cli::output::day;
use crate::cli::set_up::init::TRIAL;
use crate::diagnosis::{Check, CheckResult};
use crate::exit::Exit;
use crate::model::{counted, display_safe};
use crate::trust::allowed_signers::Signer;
use crate::trust_files::TrustFiles;

/// The time before the end of a key from which on it is a warning.
const SOON: TimeDelta = TimeDelta::days(30);

pub(super) fn check(context: &Context) -> Vec<CheckResult> {
    let (now, approval) = (context.clock.now(), &context.config.approval);
    let name = approval.allowed_signers.display();
    let trust = TrustFiles::read(approval);
    let policy = match trust.policy() {
        Ok(policy) => policy,
        Err(error) => {
            let help = "nobody's signature counts until it can be read; docs/keys.md has the form";
            return vec![Check::Signers.failure(name, error, help, Exit::Configuration)];
        }
    };
    let mut findings = Vec::new();
    let mut people: BTreeSet<&str> = BTreeSet::new();
    let mut last: Vec<(&str, chrono::DateTime<chrono::Utc>)> = Vec::new();
    for Signer { principals, key, valid_after, valid_before } in policy.signers.signers() {
        let who = principals.join(", ");
        let on = format!("{} {}", display_safe(&who), key.fingerprint());
        let no = if policy.revoked.contains(key) {
            Some("is in revoked_keys".to_owned())
        } else if policy.rules.require_touch && !key.proves_touch() {
            Some("is no security key, and require_touch is set".to_owned())
        } else if let Some(start) = valid_after.filter(|start| *start > now) {
            Some(format!("counts from {} on", day(start, now)))
        } else {
            valid_before.filter(|end| *end < now).map(|end| format!("ended {}", day(end, now)))
        };
        if let Some(no) = no {
            findings.push(Check::Signers.ok(on, format!("may not approve now: it {no}")));
            continue;
        }
        let person = principals.first().map_or("", |first| policy.signers.person_of(first));
        people.insert(person);
        last.push((person, valid_before.unwrap_or(chrono::DateTime::<chrono::Utc>::MAX_UTC)));
        if principals.iter().any(|name| name == TRIAL) {
            let why = "may approve, and is a key for trying out, without a passphrase";
            let help = format!("put the line of your own key in its place in {name} before this counts; docs/keys.md");
            findings.push(Check::Signers.warning(on, why, help));
            continue;
        }
        let until = valid_before.map_or("without an end".to_owned(), |end| format!("until {}", day(end, now)));
        findings.push(Check::Signers.ok(on, format!("may approve, {until}")));
    }
    // A person with another key that goes on has nothing to do.
    for person in &people {
        let end = last.iter().filter(|(of, _)| of == person).map(|(_, end)| *end).max().unwrap_or(now);
        if end < now + SOON {
            let why = format!("can approve for {} more, until {}", days(end - now), day(end, now));
            let help = format!("add a line with a later valid-before to {name}; docs/keys.md, Rotation");
            findings.push(Check::SignerExpiry.warning(display_safe(person), why, help));
        }
    }
    findings.push(threshold(people.len(), policy.rules.least(), policy.rules.most(), &name.to_string()));
    findings
}

fn threshold(people: usize, least: usize, most: usize, name: &str) -> CheckResult {
    let can = match people {
        0 => "nobody can approve".to_owned(),
        1 => "1 person can approve".to_owned(),
        many => format!("{many} people can approve"),
    };
    if people < most {
        let needed = if people < least { "every approval takes" } else { "what is most severe takes" };
        let why = format!("{can}, and {needed} {most}");
        let help = format!("add more people to {name}, or ask for fewer in [approval]; docs/keys.md");
        return Check::Threshold.failure("approvers", why, help, Exit::Configuration);
    }
    let why =
        if least == most { format!("{can}, it takes {most}") } else { format!("{can}, it takes {least} to {most}") };
    if people == 1 {
        let help = "have a second key for each person, or a second person: a lost key then stops nothing";
        return Check::Threshold.warning("approvers", why, help);
    }
    Check::Threshold.ok("approvers", why)
}

fn days(left: TimeDelta) -> String {
    counted(usize::try_from(left.num_days()).unwrap_or_default(), "day")
}
