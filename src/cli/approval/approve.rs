//! `authdrift approve`: propose, sign and import in one step.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::choose::ask;
use super::confirm::{self, ConsentOptions};
use super::import::{accept, finish};
use super::selection::{What, warn_of_rollback};
use super::shown::ShownProposal;
use crate::approval::{self, ApprovalError, SigningKey};
use crate::cli::options::{reason, until};
use crate::cli::{CliError, ConfiguredCommand, Context, prompt};
use crate::delivery::Delivery;
use crate::exit::Exit;
use crate::model::counted;
use crate::trust::Untrusted;
use crate::trust_files::TrustFiles;

/// Propose, sign and import in one step
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift approve clerk:prod --reason \"CHG-1042 MFA for admins\"
  authdrift approve clerk:prod --reason CHG-7 --only /instance/allowed_origins
  authdrift approve clerk:prod --reason CHG-7 --all --key ~/.ssh/id_ed25519
  authdrift approve clerk:prod --reason CHG-8 --all --accept-weaker
  authdrift approve clerk:prod --reason CHG-9 --only drf_0198… --until 14d

It approves the newest snapshot, which `authdrift diff` shows. On a terminal it asks which changes. With several approvers, \
use `propose`, `sign` and `import`.")]
pub(crate) struct ApproveOptions {
    /// The instance
    #[arg(value_name = "INSTANCE")]
    instance: String,
    /// Why; it is signed, and every alert shows it
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// The SSH key [default: the only allowed one in ~/.ssh or the SSH agent]
    #[arg(long, value_name = "KEY")]
    key: Option<PathBuf>,
    /// The approver, if the key belongs to several
    #[arg(long = "as", value_name = "PRINCIPAL")]
    principal: Option<String>,
    /// What to approve
    #[command(flatten)]
    what: What,
    /// What to say yes to
    #[command(flatten)]
    consent: ConsentOptions,
}

impl ConfiguredCommand for ApproveOptions {
    async fn run_with(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, CliError> {
        let instance = context.config.instance(&self.instance)?;
        reason(&self.reason, "an approval")?;
        until(self.what.until.as_deref(), context.clock.now())?;
        let store = context.existing_store()?;
        let trust = TrustFiles::read(&context.config.approval);
        let signers = trust.signers()?;
        let pending = store.read(|tx| context.pending_to_approve(tx, &instance.id, &trust))?;
        warn_of_rollback(&pending, out)?;
        let named = self.what.scope()?;
        let is_asked = named.is_none();
        let scope = match named {
            Some(scope) => scope,
            None => match ask(&pending, out)? {
                Some(scope) => scope,
                None => return nothing(out),
            },
        };
        let mut proposal = match self.what.propose(&store, &pending, scope, Some(self.reason.clone()), out)? {
            Err(nothing @ ApprovalError::Nothing { .. }) => {
                writeln!(out, "{nothing}.")?;
                return Ok(Exit::Ok);
            }
            proposed => proposed?,
        };
        let signer = match &self.key {
            Some(key) => SigningKey::of_key(key, Some(signers), self.principal.as_deref())?,
            None => SigningKey::find(signers, self.principal.as_deref())?,
        };
        let memory = self.consent.signed_log(&proposal.subject)?;
        let shown = ShownProposal::new(&proposal, pending.catalogue, self.consent.full);
        shown.changes(out)?;
        if proposal.previous.is_none() && shown.is_full {
            shown.everything(out)?;
        }
        // On a terminal the sections were listed before the question.
        let is_listed = is_asked && prompt::is_terminal();
        shown.rest(!is_listed, out)?;
        if is_listed {
            // Its number is about to be asked for.
            let subject = &proposal.subject;
            let changes = counted(shown.drifts.len(), "change");
            writeln!(out, "This will be baseline {} of {}, with {changes}.", subject.sequence, subject.instance)?;
        }
        out.flush()?;
        if !confirm::to_weaker(&shown, self.consent.accept_weaker)? {
            return nothing(out);
        }
        confirm::to_sequence(&proposal.subject, None, is_asked)?;
        let delivery = Delivery::new(&store, &context.clock, &context.config.receivers)?;
        approval::sign(&mut proposal, &signer, &self.reason, context.clock.now())?;
        // A baseline that is not accepted must not be in the log of signatures, so the record is only prepared here.
        let remembered = memory.prepare(&proposal.subject, self.consent.replace_signed)?;
        let imported = accept(context, &store, &proposal).map_err(|error| {
            let takes_several = matches!(error, ApprovalError::Untrusted(Untrusted::TooFewApprovers { .. }));
            let help = "with several approvers: `authdrift propose`, `sign` by each of them, then `import`";
            let error = CliError::from(error);
            if takes_several { error.with_help(help) } else { error }
        })?;
        finish(&store, &delivery, &imported, Some(remembered), out).await
    }
}

/// Ends the command after a "no": that is no error, and nothing was changed.
fn nothing(out: &mut dyn Write) -> Result<Exit, CliError> {
    writeln!(out, "Nothing was approved.")?;
    Ok(Exit::Ok)
}
