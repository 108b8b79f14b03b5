//! `authdrift diff`: the baseline against the newest snapshot.

use std::collections::BTreeSet;
use std::io::Write;

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::approval::Pending;
use crate::baseline::{approved_side, expected, unknown};
use crate::cli::output::{count, severity_style, write_json};
use crate::cli::{CliError, ConfiguredCommand, Context};
use crate::diff::patch;
use crate::exit::Exit;
use crate::incident::{SectionKind, section_kinds};
use crate::message::values;
use crate::model::{Pointer, display_safe};
use crate::trust_files::TrustFiles;

/// How a difference is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DiffFormat {
    /// For people.
    Text,
    /// RFC 6902, from the baseline to the snapshot.
    JsonPatch,
    /// RFC 6902, from the snapshot back to the baseline; secrets are left out, because only their fingerprints are known.
    Revert,
    /// RFC 6902, from the snapshot back to the baseline, exactly; a secret is its fingerprint.
    RevertPatch,
}

/// Show how the newest snapshot differs from the baseline
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift diff clerk:prod                  what differs, in words
  authdrift diff clerk:prod --format revert  the way back, without secrets
  authdrift diff clerk:prod --json           every difference with its meaning")]
pub(crate) struct DiffOptions {
    /// The instance
    #[arg(value_name = "INSTANCE")]
    instance: String,
    /// How to print it
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: DiffFormat,
    /// Print JSON
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

impl ConfiguredCommand for DiffOptions {
    async fn run_with(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, CliError> {
        let instance = context.config.instance(&self.instance)?;
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
        let drifts = pending.drifts();
        let manifest = expected(instance.table(), &instance.selection, &baseline.approved.subject.sections);
        let unknown = unknown(baseline, &pending.snapshot);
        let kinds = section_kinds(&manifest, &pending.snapshot, &unknown, &BTreeSet::new());
        let is_blind = |(_, kind): &(&String, &SectionKind)| matches!(kind, SectionKind::Blind | SectionKind::Suspect);
        let unread: Vec<&String> = kinds.iter().filter(is_blind).map(|(section, _)| section).collect();
        let exit = match (drifts.is_empty(), unread.is_empty()) {
            (false, _) => Exit::Drift,
            (true, false) => Exit::Blind,
            (true, true) => Exit::Ok,
        };

        if self.json {
            write_json(out, &json!({ "instance": instance.id, "drifts": drifts, "unread": unread }))?;
            return Ok(exit);
        }
        if self.format != DiffFormat::Text {
            let side = |section: &str| approved_side(baseline, section);
            let (approved, read) = patch::sides(&baseline.approved.subject.sections, side, &pending.snapshot);
            let patch = match self.format {
                DiffFormat::Revert => {
                    let (patch, secrets) = patch::without_secrets(patch::patch(&read, &approved));
                    note_secrets(&secrets)?;
                    patch
                }
                DiffFormat::RevertPatch => patch::patch(&read, &approved),
                _ => patch::patch(&approved, &read),
            };
            write_json(out, &patch)?;
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
            let style = severity_style(drift.meaning.severity);
            let change = &drift.change;
            writeln!(
                out,
                "{style}{} {}{style:#}  {}",
                drift.meaning.severity, drift.meaning.direction, drift.meaning.title
            )?;
            writeln!(out, "  {}", values::change(change.kind, &change.before, &change.after, drift.meaning.unit))?;
            writeln!(out, "  {}", display_safe(&change.path.to_string()))?;
        }
        writeln!(out)?;
        writeln!(
            out,
            "{} against baseline {}.",
            count(drifts.len(), "difference"),
            baseline.approved.subject.sequence
        )?;
        Ok(exit)
    }
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
