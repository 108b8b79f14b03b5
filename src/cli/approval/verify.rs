//! `authdrift verify`: everything that was ever approved, and the history it stands in.

use std::io::Write;

use clap::Args;
use serde_json::{Value, json};

use crate::baseline::{DocumentImpact, verified_baseline};
use crate::classify::Catalogue;
use crate::cli::output::{DIM, count, write_json};
use crate::cli::{CliError, ConfiguredCommand, Context};
use crate::clock::{Clock, SystemClock, written};
use crate::config::Instance;
use crate::exit::Exit;
use crate::model::{HistoryMark, Resource, display_safe};
use crate::snapshot::Snapshot;
use crate::store::{Store, StoreError, Transaction, baselines, check_schema, cycles, documents, instances};
use crate::trust::{Approved, Untrusted, chain};
use crate::trust_files::TrustFiles;

/// Verify the signatures, history and documents of all approvals
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift verify  every instance, and every table against the history
  authdrift verify clerk:prod --json

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

        // One state, or what the daemon writes meanwhile would not fit what was looked at before.
        let Examination { results, history, wrong } = store.read(|tx| examine(tx, context, &store, &chosen, &trust))?;
        let is_sound = history.is_ok() && wrong.is_empty() && results.iter().all(|(_, result)| result.is_ok());
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
        Ok(if is_sound { Exit::Ok } else { Exit::Untrusted })
    }
}

/// What a look at everything found.
pub struct Examination<'a> {
    /// The chain of every instance, or why it is not trusted.
    pub results: Vec<(&'a Instance, Result<Vec<Approved>, Untrusted>)>,
    /// Where the history stands, or where it is broken; whether something was planted.
    pub history: Result<Option<HistoryMark>, StoreError>,
    /// What else does not fit, one sentence each.
    pub wrong: Vec<String>,
}

/// Walks everything.
pub fn examine<'a>(
    tx: &Transaction<'_>,
    context: &Context,
    store: &Store,
    instances: &[&'a Instance],
    trust: &TrustFiles,
) -> Result<Examination<'a>, StoreError> {
    let history = match tx.whole_history().and_then(|walk| check_schema(tx).map(|()| walk.mark.clone())) {
        // A disk that cannot be read says nothing of what is on it.
        Err(error) if !error.is_damage() => return Err(error),
        looked => looked,
    };
    // Without one of its tables whatever else is asked fails, and the schema says why.
    let is_damage = |error: &StoreError| error.is_damage() || matches!(history, Err(StoreError::Schema(_)));
    let mut results = Vec::new();
    for instance in instances {
        let catalogue = context.catalogues.of(instance.id.provider);
        let verified = match verify_instance(tx, instance, trust, catalogue) {
            Err(error) if is_damage(&error) => Err(Untrusted::StoreTampered { reason: error.to_string() }),
            looked => looked?,
        };
        results.push((*instance, verified));
    }
    let wrong = match store.audit(tx) {
        Err(error) if is_damage(&error) => vec![error.to_string()],
        looked => looked?,
    };
    Ok(Examination { results, history, wrong })
}

/// The whole chain of one instance, and its newest baseline with every document.
fn verify_instance(
    tx: &Transaction<'_>,
    instance: &Instance,
    trust: &TrustFiles,
    catalogue: &Catalogue,
) -> Result<Result<Vec<Approved>, Untrusted>, StoreError> {
    let Some(row) = instances::find(tx, &instance.id)? else { return Ok(Ok(Vec::new())) };
    let nothing = || Snapshot {
        instance: instance.id.clone(),
        resource: String::new(),
        identifiers: Resource::default(),
        sections: Default::default(),
    };
    let snapshot = match cycles::latest_snapshot(tx, row, &instance.id) {
        Ok(found) => found.map_or_else(nothing, |(snapshot, _)| snapshot),
        // A damaged snapshot says nothing about the baseline, which is verified from its own documents.
        Err(StoreError::Damaged(_)) => nothing(),
        Err(error) => return Err(error),
    };
    match verified_baseline(tx, &snapshot, trust, catalogue, SystemClock.now())? {
        Err(untrusted) => Ok(Err(untrusted)),
        Ok(None) => Ok(Ok(Vec::new())),
        Ok(Some(_)) => {
            let statements = baselines::statements(tx, row)?;
            let stakes = DocumentImpact { catalogue, document: &|digest| documents::load(tx, digest).ok() };
            let links = match trust.policy().and_then(|policy| chain(&instance.id, &statements, &policy, &stakes)) {
                Ok(links) => links,
                Err(untrusted) => return Ok(Err(untrusted)),
            };
            // A cycle needs the documents of the newest baseline only; here all of them have to be whole.
            for (section, mark) in links.iter().flat_map(|link| &link.subject.sections) {
                let Some(digest) = &mark.digest else { continue };
                if documents::load(tx, digest).is_err() {
                    return Ok(Err(Untrusted::DocumentDamaged { section: section.clone(), digest: digest.clone() }));
                }
            }
            Ok(Ok(links))
        }
    }
}

fn print(instance: &Instance, result: &Result<Vec<Approved>, Untrusted>, out: &mut dyn Write) -> Result<(), CliError> {
    match result {
        Err(untrusted) => writeln!(out, "{}: NOT TRUSTED ({}): {untrusted}", instance.id, untrusted.code())?,
        Ok(chain) if chain.is_empty() => writeln!(out, "{}: no baseline yet", instance.id)?,
        Ok(chain) => {
            writeln!(out, "{}: {} verified", instance.id, count(chain.len(), "baseline"))?;
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
