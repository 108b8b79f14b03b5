//! `authdrift propose`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::selection::{What, warn_of_rollback};
use crate::approval::{ApprovalScope, Proposal};
use crate::cli::options::until;
use crate::cli::{AfterCommit, CliError, ConfiguredCommand, Context};
use crate::exit::Exit;
use crate::model::counted;
use crate::trust_files::TrustFiles;

/// Write a proposal for a new baseline, to be signed elsewhere
#[derive(Debug, Args)]
#[command(after_help = "\
Example, with two approvers on their own machines:
  authdrift propose clerk:prod -o prod.json --reason \"CHG-1042 MFA for admins\"
  authdrift sign prod.json --key ~/.ssh/id_ed25519 --as alice@example.com
  authdrift sign prod.json --key ~/.ssh/id_ed25519 --as bob@example.com
  authdrift import prod.json")]
pub(crate) struct ProposeOptions {
    /// The instance
    #[arg(value_name = "INSTANCE")]
    instance: String,
    /// Where to write the proposal
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// The reason that is suggested to the approvers
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// What to propose [default: every difference]
    #[command(flatten)]
    what: What,
}

impl ConfiguredCommand for ProposeOptions {
    async fn run_with(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, CliError> {
        let instance = context.config.instance(&self.instance)?;
        // A wrong option is reported before a missing database.
        until(self.what.until.as_deref(), context.clock.now())?;
        let store = context.existing_store()?;
        let scope = self.what.scope()?.unwrap_or(ApprovalScope::All);
        let trust = TrustFiles::read(&context.config.approval);
        let pending = store.read(|tx| context.pending_to_approve(tx, &instance.id, &trust))?;
        warn_of_rollback(&pending, out)?;
        let proposal = self.what.propose(&store, &pending, scope, self.reason.clone(), out)??;
        // The file may hold signatures already.
        if Proposal::read(&self.output).is_ok_and(|old| !old.statements.is_empty()) {
            let message = format!("'{}' is a proposal that is signed already", self.output.display());
            return Err(CliError::new(Exit::Usage, message).with_help("name another file, or remove that one"));
        }
        proposal.write(&self.output)?;
        let file = self.output.display();
        let (sequence, changes) = (proposal.subject.sequence, counted(proposal.changes.len(), "change"));
        let mut after = AfterCommit::of(format!("the proposal is in '{file}'"));
        after.print(out, format_args!("Baseline {sequence} of {} with {changes} is proposed in {file}.", instance.id));
        after.print(out, format_args!("Next: authdrift sign {file} --key KEY"));
        after.end(Exit::Ok)
    }
}
