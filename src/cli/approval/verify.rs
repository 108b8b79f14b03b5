//! `authdrift verify`: everything that was ever approved, and the history it stands in.

use std::io::Write;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::output::{DIM, write_json};
use crate::cli::{CliError, ConfiguredCommand, Context};
use crate::clock::written;
use crate::config::Instance;
use crate::evidence::{Examination, examine};
use crate::exit::Exit;
use crate::model::{counted, display_safe};
use crate::trust::{Approved, Untrusted};
use crate::trust_files::TrustFiles;

/// Verify the signatures, history and documents of all approvals
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift verify                    every instance, the history and all tables
  authdrift verify clerk:prod --json  one instance, for a program

Exit codes: 0 everything is as it was signed, 12 something is not")]
pub(crate) struct VerifyOptions {
    /// The instance [default: all]
    #[arg(value_name = "INSTANCE")]
    instance: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl ConfiguredCommand for VerifyOptions {
    async fn run_with(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, CliError> {
        let names: Vec<String> = self.instance.iter().cloned().collect();
        let chosen = context.instances(&names)?;
        let store = context.store_to_read()?;
        let trust = TrustFiles::read(&context.config.approval);

        let with_catalogue = |instance: &'_ Instance| context.catalogues.of(instance.id.provider).as_ref();
        let chosen: Vec<_> = chosen.into_iter().map(|instance| (instance, with_catalogue(instance))).collect();
        // In one transaction: what the daemon writes meanwhile would not fit the tables that were examined before.
        let found = store.read(|tx| examine(tx, &store, &chosen, &trust, context.clock.now()))?;
        let exit = if found.is_sound() { Exit::Ok } else { Exit::Untrusted };
        let Examination { results, history, wrong } = found;
        if self.json {
            let instances: Vec<Value> = results.iter().map(|(instance, result)| as_json(instance, result)).collect();
            let history = match &history {
                Ok(mark) => json!({ "verified": true, "mark": mark }),
                Err(error) => json!({ "verified": false, "reason": error.to_string() }),
            };
            write_json(out, &json!({ "instances": instances, "history": history, "wrong": wrong }))?;
        } else {
            for (instance, result) in &results {
                print(instance, result, out)?;
            }
            match &history {
                Ok(Some(mark)) => {
                    writeln!(out, "History: {} events in one unbroken chain, head {}", mark.size, mark.head)?
                }
                Ok(None) => writeln!(out, "History: empty")?,
                Err(error) => writeln!(out, "History: NOT SOUND: {error}")?,
            }
            for sentence in &wrong {
                writeln!(out, "Database: NOT SOUND: {sentence}")?;
            }
        }
        Ok(exit)
    }
}

fn print(instance: &Instance, result: &Result<Vec<Approved>, Untrusted>, out: &mut dyn Write) -> Result<(), CliError> {
    match result {
        Err(untrusted) => writeln!(out, "{}: NOT TRUSTED ({}): {untrusted}", instance.id, untrusted.code())?,
        Ok(chain) if chain.is_empty() => writeln!(out, "{}: no baseline yet", instance.id)?,
        Ok(chain) => {
            writeln!(out, "{}: {} verified", instance.id, counted(chain.len(), "baseline"))?;
            for approved in chain {
                // Rules can become stricter, and keys be revoked, after a baseline was approved.
                if let Some(insufficient) = &approved.insufficient {
                    writeln!(out, "  {}  would not be enough today: {insufficient}", approved.subject.sequence)?;
                }
                for approval in &approved.approvals {
                    writeln!(
                        out,
                        "  {}  {}  {}  \"{}\"  {DIM}{}{DIM:#}",
                        approved.subject.sequence,
                        written(approval.at),
                        display_safe(&approval.approver),
                        display_safe(&approval.reason),
                        approved.identity
                    )?;
                }
            }
        }
    }
    Ok(())
}

fn as_json(instance: &Instance, result: &Result<Vec<Approved>, Untrusted>) -> Value {
    match result {
        Err(untrusted) => json!({
            "instance": instance.id, "verified": false, "code": untrusted.code(), "reason": untrusted.to_string(),
        }),
        Ok(chain) => {
            let baselines: Vec<Value> = chain
                .iter()
                .map(|approved| {
                    json!({
                        "sequence": approved.subject.sequence, "identity": approved.identity,
                        "snapshot": approved.subject.snapshot, "approvals": approved.approvals,
                        "shortage": approved.insufficient.as_ref().map(Untrusted::code),
                    })
                })
                .collect();
            json!({ "instance": instance.id, "verified": true, "baselines": baselines })
        }
    }
}
