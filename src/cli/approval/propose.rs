//! `authdrift propose`.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::selection::{What, named_selection, say_what_comes_along, warn_of_rollback};
use crate::approval::Pending;
use crate::approval::{self, ApprovalScope, Proposal};
use crate::cli::after_commit::AfterCommit;
use crate::cli::command::RunCommand;
use crate::cli::context::Context;
use crate::cli::output::count;
use crate::cli::user::current_user;
use crate::cli::{CliError, until};
use crate::exit::Exit;
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
    /// Why, as a suggestion for the approvers
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// What to propose [default: every difference]
    #[command(flatten)]
    what: What,
}

impl RunCommand for ProposeOptions {
    async fn run(&self, config: Option<&Path>, out: &mut dyn Write) -> Result<Exit, CliError> {
        let context = &Context::load(config)?;
        let instance = context.config.instance(&self.instance)?;
        let now = context.clock.now();
        let limit = until::limit(self.what.until.as_deref(), now)?;
        let store = context.existing_store()?;
        let trust = TrustFiles::read(&context.config.approval);
        let catalogue = context.catalogues.of(instance.id.provider);
        let selection = named_selection(&self.what)?.unwrap_or(ApprovalScope::All);
        let pending = store.read(|tx| Pending::load_to_approve(tx, &instance.id, &trust, catalogue, now))?;
        warn_of_rollback(&pending, out)?;
        say_what_comes_along(&pending, &selection, catalogue, out)?;
        let proposal = store.read(|tx| {
            let reason = self.reason.clone();
            approval::propose(tx, &pending, &selection, catalogue, &current_user(), reason, limit)
        })?;
        // The file may hold signatures already.
        if Proposal::read(&self.output).is_ok_and(|old| !old.statements.is_empty()) {
            let message = format!("'{}' is a proposal that is signed already", self.output.display());
            return Err(CliError::new(Exit::Usage, message).with_help("name another file, or remove that one"));
        }
        proposal.write(&self.output)?;
        let file = self.output.display();
        let (sequence, changes) = (proposal.subject.sequence, count(proposal.changes.len(), "change"));
        let mut after = AfterCommit::of(format!("the proposal is in '{file}'"));
        after.then(writeln!(out, "Baseline {sequence} of {} with {changes} is proposed in {file}.", instance.id));
        after.then(writeln!(out, "Next: authdrift sign {file} --key KEY"));
        after.then(out.flush());
        after.end(Exit::Ok)
    }
}
