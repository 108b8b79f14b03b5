//! `authdrift import`.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;

use crate::approval::signed_log::PreparedRecord;
use crate::approval::{self, ApprovalError, Imported, Proposal};
use crate::cli::{AfterCommit, CliError, ConfiguredCommand, Context};
use crate::delivery::Delivery;
use crate::exit::Exit;
use crate::model::{counted, display_safe};
use crate::store::Store;
use crate::trust_files::TrustFiles;

/// Accept signed proposals as the new baseline
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift import prod.json            one file with every signature
  authdrift import alice.json bob.json  one proposal, signed in separate files")]
pub(crate) struct ImportOptions {
    /// Signed copies of one proposal
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

impl ConfiguredCommand for ImportOptions {
    async fn run_with(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, CliError> {
        let proposal = approval::import::read_files(&self.files)?;
        let store = context.existing_store()?;
        let delivery = Delivery::new(&store, &context.clock, &context.config.receivers)?;
        let imported = match accept(context, &store, &proposal) {
            Err(already @ ApprovalError::Already { .. }) => {
                writeln!(out, "Nothing to do: {already}.")?;
                return Ok(Exit::Ok);
            }
            imported => imported?,
        };
        finish(&store, &delivery, &imported, None, out).await
    }
}

pub(super) fn accept(context: &Context, store: &Store, proposal: &Proposal) -> Result<Imported, ApprovalError> {
    let trust = TrustFiles::read(&context.config.approval);
    store.write(|tx| {
        let pending = context.pending_to_approve(tx, &proposal.subject.instance, &trust)?;
        approval::import(tx, &context.config, &pending, proposal)
    })
}

/// Does what follows once a baseline is accepted: prints the result and notifies the receivers.
pub(super) async fn finish(
    store: &Store,
    delivery: &Delivery,
    imported: &Imported,
    signed: Option<PreparedRecord>,
    out: &mut dyn Write,
) -> Result<Exit, CliError> {
    let (sequence, instance) = (imported.baseline.sequence, &imported.instance);
    let mut after = AfterCommit::of(format!("baseline {sequence} of {instance} is accepted"));
    // An approval on top of an older copy of the database acknowledges that copy.
    after.then(store.accept_rollback(instance));
    after.then(signed.map_or(Ok(()), PreparedRecord::commit));
    after.then(print_accepted(imported, out));
    after.deliver(delivery, store).await;
    after.end(Exit::Ok)
}

fn print_accepted(imported: &Imported, out: &mut dyn Write) -> io::Result<()> {
    let baseline = &imported.baseline;
    let who: Vec<_> = baseline.approvers.iter().map(|who| display_safe(who)).collect();
    writeln!(out, "Baseline {} of {} is approved by {}.", baseline.sequence, imported.instance, who.join(", "))?;
    if imported.closed > 0 {
        writeln!(out, "{} ended.", counted(imported.closed, "drift"))?;
    }
    if imported.open > 0 {
        let verb = if imported.open == 1 { "stays" } else { "stay" };
        writeln!(out, "{} {verb} open.", counted(imported.open, "difference"))?;
    }
    out.flush()
}
