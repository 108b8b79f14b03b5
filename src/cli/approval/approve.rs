//! `authdrift approve`: propose, sign and import in one step.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::choose::ask;
use super::confirm::{self, ConsentOptions};
use super::import::{accept, accepted, finish};
use super::selection::{What, named_selection, say_what_comes_along, warn_of_rollback};
use super::shown::Shown;
use crate::approval::Pending;
use crate::approval::{self, ApprovalError, SignedLog, SigningKey};
use crate::cli::command::RunCommand;
use crate::cli::context::Context;
use crate::cli::output::count;
use crate::cli::user::current_user;
use crate::cli::{CliError, prompt, until};
use crate::delivery::Delivery;
use crate::exit::Exit;
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

On a terminal it asks, change by change. It approves the newest snapshot, the one `authdrift diff` shows.")]
pub(crate) struct ApproveOptions {
    /// The instance
    #[arg(value_name = "INSTANCE")]
    instance: String,
    /// Why; it is signed and shown in every alert
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// The SSH key [default: the one in ~/.ssh that is allowed to sign]
    #[arg(long, value_name = "KEY")]
    key: Option<PathBuf>,
    /// In whose name, when the key alone does not say
    #[arg(long = "as", value_name = "PRINCIPAL")]
    principal: Option<String>,
    /// What to approve
    #[command(flatten)]
    what: What,
    /// What to say yes to
    #[command(flatten)]
    consent: ConsentOptions,
}

impl RunCommand for ApproveOptions {
    fn asks(&self) -> bool {
        true
    }

    async fn run(&self, config: Option<&Path>, out: &mut dyn Write) -> Result<Exit, CliError> {
        let context = &Context::load(config)?;
        let instance = context.config.instance(&self.instance)?;
        if self.reason.trim().is_empty() {
            return Err(CliError::new(Exit::Usage, "an approval needs a reason: say why with --reason"));
        }
        let now = context.clock.now();
        let limit = until::limit(self.what.until.as_deref(), now)?;
        let store = context.existing_store()?;
        let trust = TrustFiles::read(&context.config.approval);
        let catalogue = context.catalogues.of(instance.id.provider);
        let signers = trust.signers()?;
        let pending = store.read(|tx| Pending::load_to_approve(tx, &instance.id, &trust, catalogue, now))?;
        warn_of_rollback(&pending, out)?;
        let named = named_selection(&self.what)?;
        let is_named = named.is_some();
        let selection = match named {
            Some(selection) => selection,
            None => match ask(&pending, catalogue, out)? {
                Some(selection) => selection,
                None => return nothing(out),
            },
        };
        say_what_comes_along(&pending, &selection, catalogue, out)?;
        let proposed = store.read(|tx| {
            let reason = Some(self.reason.clone());
            approval::propose(tx, &pending, &selection, catalogue, &current_user(), reason, limit)
        });
        let mut proposal = match proposed {
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
        let memory = SignedLog::open(self.consent.memory.as_deref())?;
        if !self.consent.replace_signed {
            memory.check(&proposal.subject)?;
        }
        let (drifts, weakest) = (proposal.drifts(catalogue), proposal.weakest(catalogue));
        let shown = Shown { proposal: &proposal, catalogue, is_full: self.consent.full };
        shown.changes(&drifts, out)?;
        if proposal.previous.is_none() {
            if shown.is_full {
                shown.everything(out)?;
            }
            shown.weakest(&weakest, out)?;
        }
        // On a terminal the sections were listed before the question.
        if is_named || !prompt::is_terminal() {
            shown.sections(out)?;
        }
        shown.unusable(out)?;
        shown.ends(out)?;
        if !is_named && prompt::is_terminal() {
            // Its number is about to be asked for.
            let subject = &proposal.subject;
            let changes = count(drifts.len(), "change");
            writeln!(out, "This will be baseline {} of {}, with {changes}.", subject.sequence, subject.instance)?;
        }
        out.flush()?;
        if !confirm::to_weaker(&drifts, &weakest, &proposal, self.consent.accept_weaker)? {
            return nothing(out);
        }
        confirm::to_sequence(&proposal.subject, None, !is_named)?;
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
        let mut after = accepted(&store, &imported);
        after.then(remembered.commit());
        finish(&store, &delivery, &imported, &mut after, out).await;
        after.end(Exit::Ok)
    }
}

/// Ends the command after a "no": that is no error, and nothing was changed.
fn nothing(out: &mut dyn Write) -> Result<Exit, CliError> {
    writeln!(out, "Nothing was approved.")?;
    Ok(Exit::Ok)
}
