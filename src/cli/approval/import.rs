//! `authdrift import`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::approval::{self, ApprovalError, Imported, Proposal};
use crate::cli::CliError;
use crate::cli::after_commit::AfterCommit;
use crate::cli::command::RunCommand;
use crate::cli::context::Context;
use crate::cli::output::count;
use crate::delivery::Delivery;
use crate::exit::Exit;
use crate::model::display_safe;
use crate::store::Store;
use crate::trust_files::TrustFiles;

/// Accept signed proposals as the new baseline
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift import prod.json            signed by everybody, one after the other
  authdrift import alice.json bob.json  the same one, signed by each alone")]
pub(crate) struct ImportOptions {
    /// Signed proposals of the same thing
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

impl RunCommand for ImportOptions {
    async fn run(&self, config: Option<&Path>, out: &mut dyn Write) -> Result<Exit, CliError> {
        let context = &Context::load(config)?;
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
        let mut after = accepted(&store, &imported);
        finish(&store, &delivery, &imported, &mut after, out).await;
        after.end(Exit::Ok)
    }
}

pub(super) fn accept(context: &Context, store: &Store, proposal: &Proposal) -> Result<Imported, ApprovalError> {
    let trust = TrustFiles::read(&context.config.approval);
    let catalogue = context.catalogues.of(proposal.subject.instance.provider);
    let now = context.clock.now();
    store.write(|tx| approval::import(tx, proposal, &context.config, &trust, catalogue, now))
}

/// Begins the steps after a baseline was accepted.
pub(super) fn accepted(store: &Store, imported: &Imported) -> AfterCommit {
    let mut after =
        AfterCommit::of(format!("baseline {} of {} is accepted", imported.baseline.sequence, imported.instance));
    // An approval on top of an older copy of the database acknowledges that copy.
    after.then(store.acknowledge(&imported.instance));
    after
}

/// Prints the result and notifies the receivers.
pub(super) async fn finish(
    store: &Store,
    delivery: &Delivery,
    imported: &Imported,
    after: &mut AfterCommit,
    out: &mut dyn Write,
) {
    after.then(print_accepted(imported, out));
    after.then(delivery.deliver().await);
    after.then(store.finished());
}

fn print_accepted(imported: &Imported, out: &mut dyn Write) -> io::Result<()> {
    let baseline = &imported.baseline;
    let who: Vec<_> = baseline.approvers.iter().map(|who| display_safe(who)).collect();
    writeln!(out, "Baseline {} of {} is approved by {}.", baseline.sequence, imported.instance, who.join(", "))?;
    if imported.closed > 0 {
        writeln!(out, "{} ended.", count(imported.closed, "drift"))?;
    }
    if imported.open > 0 {
        let verb = if imported.open == 1 { "stays" } else { "stay" };
        writeln!(out, "{} {verb} open.", count(imported.open, "difference"))?;
    }
    out.flush()
}
