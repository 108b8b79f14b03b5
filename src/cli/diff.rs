//! `authdrift diff`: the baseline against the newest snapshot.

use std::collections::BTreeSet;
use std::io::Write;

use serde_json::json;

use super::CliError;
use super::args::{DiffFormat, DiffOptions};
use super::context::Context;
use super::output::{count, severity_style};
use crate::approval::Pending;
use crate::baseline::{approved_side, expected, unknown};
use crate::diff::patch;
use crate::exit::Exit;
use crate::incident::{SectionKind, section_kinds};
use crate::message::values;
use crate::model::{Pointer, display_safe};
use crate::trust_files::TrustFiles;

/// Prints the differences.
///
/// # Errors
/// There is no snapshot or baseline, or it cannot be trusted.
pub fn diff(context: &Context, options: &DiffOptions, out: &mut dyn Write) -> Result<Exit, CliError> {
    let instance = context.config.instance(&options.instance)?;
    let trust = TrustFiles::read(&context.config.approval);
    let store = context.store_to_read()?;
    let catalogue = context.catalogues.of(instance.id.provider);
    let pending = store.read(|tx| Pending::load(tx, &instance.id, &trust, catalogue, context.clock.now()))?;
    let Some(baseline) = &pending.baseline else {
        let message = format!("{} has no baseline yet, so there is nothing to compare with", instance.id);
        let help =
            format!("`{}` makes it of the newest snapshot", context.config.approval.command_for_all(&instance.id));
        return Err(CliError::new(Exit::NoBaseline, message).with_help(help));
    };
    let drifts = pending.drifts(catalogue);
    let manifest = expected(instance.id.provider, &instance.selection, &baseline.approved.subject.sections);
    let unknown = unknown(baseline, &pending.snapshot);
    let kinds = section_kinds(&manifest, &pending.snapshot, &unknown, &BTreeSet::new());
    let is_blind = |(_, kind): &(&String, &SectionKind)| matches!(kind, SectionKind::Blind | SectionKind::Suspect);
    let unread: Vec<&String> = kinds.iter().filter(is_blind).map(|(section, _)| section).collect();
    let exit = match (drifts.is_empty(), unread.is_empty()) {
        (false, _) => Exit::Drift,
        (true, false) => Exit::Blind,
        (true, true) => Exit::Ok,
    };

    if options.json {
        crate::cli::output::json(&mut *out, &json!({ "instance": instance.id, "drifts": drifts, "unread": unread }))?;
        writeln!(out)?;
        return Ok(exit);
    }
    if options.format != DiffFormat::Text {
        let side = |section: &str| approved_side(baseline, section);
        let (approved, read) = patch::sides(&baseline.approved.subject.sections, side, &pending.snapshot);
        let patch = match options.format {
            DiffFormat::Revert => {
                let (patch, secrets) = patch::without_secrets(patch::patch(&read, &approved));
                note_secrets(&secrets)?;
                patch
            }
            DiffFormat::RevertPatch => patch::patch(&read, &approved),
            _ => patch::patch(&approved, &read),
        };
        crate::cli::output::json(&mut *out, &patch)?;
        writeln!(out)?;
        return Ok(exit);
    }
    for section in &unread {
        writeln!(out, "Not readable, so nothing is known about it: {section}")?;
    }
    if drifts.is_empty() {
        let what = if unread.is_empty() { instance.id.to_string() } else { format!("The rest of {}", instance.id) };
        writeln!(out, "{what} is as baseline {} says.", baseline.approved.subject.sequence)?;
        return Ok(exit);
    }
    for drift in &drifts {
        let style = severity_style(drift.severity);
        let change = &drift.change;
        writeln!(out, "{style}{} {}{style:#}  {}", drift.severity, drift.direction, drift.title)?;
        writeln!(out, "  {}", values::change(change.kind, &change.before, &change.after, drift.unit))?;
        writeln!(out, "  {}", display_safe(&change.path.to_string()))?;
    }
    writeln!(out)?;
    writeln!(out, "{} against baseline {}.", count(drifts.len(), "difference"), baseline.approved.subject.sequence)?;
    Ok(exit)
}

/// Says on standard error which secrets the way back lacks.
fn note_secrets(secrets: &[Pointer]) -> Result<(), CliError> {
    let mut err = anstream::stderr();
    for path in secrets {
        let path = display_safe(&path.to_string());
        writeln!(err, "note: {path} is left out: only the fingerprint of the approved secret is known")?;
    }
    Ok(())
}
