//! `authdrift diff`: the baseline against the newest snapshot.

use std::collections::BTreeSet;
use std::io::Write;

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::approval::Pending;
use crate::baseline::{approved_side, expected, unknown};
use crate::cli::output::{change_words, severity_style, write_json};
use crate::cli::{CliError, ConfiguredCommand, Context};
use crate::diff::patch;
use crate::exit::Exit;
use crate::incident::{SectionKind, section_kinds};
use crate::model::{Pointer, counted, display_safe};
use crate::trust_files::TrustFiles;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DiffFormat {
    /// For people
    Text,
    /// JSON Patch (RFC 6902) from the baseline to the snapshot
    JsonPatch,
    /// JSON Patch back to the baseline, without secrets: only their fingerprints are known
    Revert,
    /// JSON Patch back to the baseline, with a fingerprint for each secret
    RevertPatch,
}

/// Show how the newest snapshot differs from the baseline
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift diff clerk:prod                  the differences in words
  authdrift diff clerk:prod --format revert  a patch back to the baseline
  authdrift diff clerk:prod --json           each difference with its meaning

Exit codes: 0 no difference, 10 differences, 11 a section cannot be read, 13 no baseline")]
pub(crate) struct DiffOptions {
    /// The instance
    #[arg(value_name = "INSTANCE")]
    instance: String,
    /// The output format
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
            return Err(context.no_baseline(&instance.id, "compare with"));
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
            let meaning = &drift.meaning;
            let style = severity_style(meaning.severity);
            writeln!(out, "{style}{} {}{style:#}  {}", meaning.severity, meaning.direction, meaning.title)?;
            writeln!(out, "  {}", change_words(drift))?;
            writeln!(out, "  {}", display_safe(&drift.change.path.to_string()))?;
        }
        writeln!(out)?;
        let sequence = baseline.approved.subject.sequence;
        writeln!(out, "{} against baseline {sequence}.", counted(drifts.len(), "difference"))?;
        Ok(exit)
    }
}

/// Lists on standard error the secrets that the patch leaves out.
fn note_secrets(secrets: &[Pointer]) -> Result<(), CliError> {
    let mut err = anstream::stderr();
    for path in secrets {
        let path = display_safe(&path.to_string());
        writeln!(err, "note: {path} is left out: only the fingerprint of the approved secret is known")?;
    }
    Ok(())
}
