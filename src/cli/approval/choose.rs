//! Asking on the terminal what to approve.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use crate::approval::{ApprovalScope, Pending};
use crate::classify::{Catalogue, Finding, with_their_other_paths};
use crate::cli::approval::shown::{choice_at, list_unwatched};
use crate::cli::output::terminal_width;
use crate::cli::{CliError, prompt};
use crate::exit::Exit;
use crate::model::{Severity, counted, display_safe};

/// Asks which settings to approve. None is ticked: enter alone approves nothing.
pub(super) fn ask(pending: &Pending<'_>, out: &mut dyn Write) -> Result<Option<ApprovalScope>, CliError> {
    let is_terminal = prompt::is_terminal();
    let drifts = pending.drifts();
    let unbaselined = pending.unbaselined();
    let unread = pending.unread();
    let is_whole = pending.baseline.is_none() || pending.insufficient().is_some();
    if is_whole || (drifts.is_empty() && unbaselined.is_empty() && unread.is_empty()) {
        // A first baseline has nothing to choose from: it is the snapshot or nothing.
        if !is_terminal {
            return Ok(Some(ApprovalScope::All));
        }
        let unread = unread.iter().map(|(section, reading)| (*section, reading.state(), reading.reason()));
        list_unwatched(unread.collect(), out)?;
        out.flush()?;
        let seen = pending.snapshot.seen();
        let question = format!("Approve all {} of the newest snapshot?", counted(seen, "section"));
        return Ok(prompt::confirm(&question)?.then_some(ApprovalScope::All));
    }
    let entries = entries(pending.catalogue, &drifts);
    if !is_terminal {
        let choices = entries.len() + unbaselined.len() + unread.len();
        let message = format!("{} to choose from, and no terminal to ask on", counted(choices, "difference"));
        return Err(CliError::new(Exit::Usage, message).with_help("use --all, or --only with paths or drifts"));
    }
    explain(&entries, &drifts, out)?;
    out.flush()?;
    let mut items: Vec<String> = entries.iter().filter_map(|entry| item(entry, &drifts)).collect();
    let mut sections: Vec<&str> = unbaselined;
    items.extend(sections.iter().map(|section| format!("new: hold section {} from now on", display_safe(section))));
    for (section, reading) in unread {
        sections.push(section);
        let (name, reason) = (display_safe(section), display_safe(reading.reason()));
        items.push(format!("unread: accept that section {name} is not watched ({}: {reason})", reading.state()));
    }
    let chosen = prompt::tick("Approve which? (space ticks, enter goes on; what is not ticked stays open)", &items)?;
    Ok(chosen.filter(|chosen| !chosen.is_empty()).map(|chosen| {
        let changes = chosen.iter().filter_map(|place| entries.get(*place)).flatten().copied().collect();
        let section = |place: &usize| sections.get(place.checked_sub(entries.len())?).map(|name| (*name).to_owned());
        ApprovalScope::Chosen(changes, chosen.iter().filter_map(section).collect())
    }))
}

/// The settings that differ, the most severe first: for each the indexes of its differences in `drifts`.
fn entries(catalogue: &Catalogue, drifts: &[Finding]) -> Vec<BTreeSet<usize>> {
    let mut entries: Vec<BTreeSet<usize>> = Vec::new();
    for place in 0..drifts.len() {
        if !entries.iter().any(|entry| entry.contains(&place)) {
            entries.push(with_their_other_paths(catalogue, drifts, &BTreeSet::from([place])));
        }
    }
    let mut worst: BTreeMap<&str, Severity> = BTreeMap::new();
    for drift in drifts {
        let worst = worst.entry(&drift.meaning.setting).or_insert(drift.meaning.severity);
        *worst = drift.meaning.severity.max(*worst);
    }
    entries.sort_by_cached_key(|entry| {
        let first = entry.first().and_then(|place| drifts.get(*place));
        let group = first.and_then(|drift| worst.get(drift.meaning.setting.as_str()).copied());
        (
            Reverse(group),
            first.map(|drift| drift.meaning.setting.clone()),
            Reverse(first.map(|drift| drift.meaning.severity)),
        )
    });
    entries
}

fn item(entry: &BTreeSet<usize>, drifts: &[Finding]) -> Option<String> {
    Some(choice_at(drifts.get(*entry.first()?)?, entry.len()))
}

/// Prints what each setting means, once.
fn explain(entries: &[BTreeSet<usize>], drifts: &[Finding], out: &mut dyn Write) -> Result<(), CliError> {
    let mut told = BTreeSet::new();
    for drift in entries.iter().filter_map(|entry| drifts.get(*entry.first()?)) {
        if told.insert((&drift.meaning.title, &drift.meaning.why)) {
            let words = format!("{}: {}", drift.meaning.title, drift.meaning.why);
            let lines = match terminal_width() {
                Some(width) => textwrap::fill(&words, textwrap::Options::new(width).subsequent_indent("  ")),
                None => words,
            };
            writeln!(out, "{lines}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::classify::classify;
    use crate::diff::{Change, ChangeKind};
    use crate::model::Provider;

    #[test]
    fn a_setting_is_one_entry_however_many_paths_it_has() {
        let catalogue = Catalogue::of(Provider::Clerk, None).unwrap();
        let change = |path: &str, before, after| Change {
            path: path.parse().unwrap(),
            kind: ChangeKind::Changed,
            before,
            after,
            is_member: false,
        };
        let (on, off) = (json!(true), json!(false));
        let drifts: Vec<Finding> = [
            change("/jwt_templates/a/lifetime", json!(60), json!(90)),
            change("/frontend.environment/user_settings/sign_up/mfa/required", on.clone(), off.clone()),
            change("/platform.config/auth_multi_factor/required_for_sign_up", on, off),
            change("/platform.jwt_templates/a/lifetime", json!(60), json!(90)),
        ]
        .into_iter()
        .map(|change| classify(&catalogue, change))
        .collect();
        let entries = entries(&catalogue, &drifts);
        assert_eq!(entries, [BTreeSet::from([1, 2]), BTreeSet::from([0, 3])], "the worst first");
        assert!(item(&entries[0], &drifts).unwrap().contains("(2 paths)  "));
    }
}
