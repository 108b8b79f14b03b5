//! `authdrift export`: everything that was approved of an instance, as a folder that anybody can check.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use crate::cli::{AfterCommit, CliError, ConfiguredCommand, Context};
use crate::evidence::Export;
use crate::exit::Exit;
use crate::model::counted;

/// Write all approvals to a folder that others can verify
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  authdrift export clerk:prod evidence
  sh evidence/verify.sh -t 2 -k ~/allowed_signers

The script verifies the folder on any machine, with a copy of allowed_signers that you trust.")]
pub(crate) struct ExportOptions {
    /// The instance
    #[arg(value_name = "INSTANCE")]
    instance: String,
    /// The new folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

impl ConfiguredCommand for ExportOptions {
    async fn run_with(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, CliError> {
        let instance = context.config.instance(&self.instance)?;
        let store = context.store_to_read()?;
        let export = store.read(|tx| Export::load(tx, &instance.id))?;
        if export.baselines.is_empty() {
            return Err(context.no_baseline(&instance.id, "export"));
        }
        let approval = &context.config.approval;
        export.write(&self.folder, approval)?;
        let (baselines, documents) =
            (counted(export.baselines.len(), "baseline"), counted(export.documents.len(), "document"));
        let (folder, threshold) = (self.folder.display(), approval.rules.threshold);
        let mut after = AfterCommit::of(format!("the export is in '{folder}'"));
        after.print(out, format_args!("{baselines} of {} with {documents} in {folder}.", instance.id));
        after.print(out, format_args!("`sh {folder}/verify.sh -t {threshold}` checks it."));
        after.end(Exit::Ok)
    }
}
