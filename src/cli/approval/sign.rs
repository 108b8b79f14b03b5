//! `authdrift sign`: one approver, on a machine of their own.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::approval::{self, ApprovalError, Proposal, SigningKey};
use crate::classify::Finding;
use crate::cli::approval::confirm::{self, ConsentOptions};
use crate::cli::approval::shown::ShownProposal;
use crate::cli::context::{Catalogues, find_config};
use crate::cli::{AfterCommit, CliError, Context, RunCommand};
use crate::clock::{Clock, SystemClock};
use crate::exit::Exit;
use crate::model::{Severity, counted, display_safe, display_safe_whole};
use crate::trust::{self, SignedStatement};
use crate::trust_files::TrustFiles;

/// Sign a proposal with an SSH key
#[derive(Debug, Args)]
#[command(after_help = "\
The key is a private key file, or a public key whose private half is in the SSH agent or on a security key. Without a \
configuration on this machine, --as names the approver.

On a terminal it shows the changes and asks for the number of the baseline. Without one, --sequence gives the number, and \
changes that weaken sign-in need --accept-weaker.

The last signature is logged in $XDG_STATE_HOME/authdrift/signed.json [default: ~/.local/state], and an older proposal is \
refused. A proposal without the baseline that it follows is refused too. If that baseline cannot be compared with (too few \
approvers today, another instance), --without-previous shows every setting instead of changes.

Examples:
  authdrift sign prod.json --key ~/.ssh/id_ed25519.pub
  authdrift sign prod.json --key ~/.ssh/id_ed25519 --as a@example.com")]
pub(crate) struct SignOptions {
    /// The proposal; the signature is added to it
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The SSH key
    #[arg(long, value_name = "KEY")]
    key: PathBuf,
    /// The approver, if the key belongs to several or there is no configuration
    #[arg(long = "as", value_name = "PRINCIPAL")]
    principal: Option<String>,
    /// Why you approve [default: the proposer's reason; on a terminal it asks]
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Show every setting instead of changes: if the baseline before cannot be compared with
    #[arg(long)]
    without_previous: bool,
    /// The number of the baseline; it does not ask then
    #[arg(long, value_name = "NUMBER")]
    sequence: Option<u64>,
    /// What to say yes to
    #[command(flatten)]
    consent: ConsentOptions,
}

impl RunCommand for SignOptions {
    /// Works without a configuration, as on an approver's own machine.
    ///
    /// # Security
    /// Only the subject of the file is signed; the rest could have been edited on its way. So everything that is shown comes
    /// from the subject and from the documents that it names by digest. Where they are not enough to show the changes, every
    /// setting is shown.
    async fn run(&self, config: Option<&Path>, out: &mut dyn Write) -> Result<Exit, CliError> {
        let mut proposal = Proposal::read(&self.file)?;
        let (trust, catalogues) = match find_config(config) {
            Ok(file) => {
                let context = Context::load(Some(&file))?;
                (Some(TrustFiles::read(&context.config.approval)), context.catalogues)
            }
            Err(_) if self.principal.is_some() => (None, Catalogues::load(None)?),
            Err(error) => return Err(error.with_help("without a configuration, name the approver with --as")),
        };
        let signers = trust.as_ref().map(TrustFiles::signers).transpose()?;
        let signer = SigningKey::of_key(&self.key, signers, self.principal.as_deref())?;

        let memory = self.consent.signed_log(&proposal.subject)?;
        let aside = self.without_previous.then(|| proposal.put_previous_aside());
        if aside.is_none() {
            proposal.check_previous()?;
        }

        let catalogue = catalogues.of(proposal.subject.instance.provider);
        let shown = ShownProposal::new(&proposal, catalogue, self.consent.full);
        let subject = &proposal.subject;
        writeln!(
            out,
            "Baseline {} of {} ({}), proposed by {}",
            subject.sequence,
            subject.instance,
            display_safe(&subject.resource),
            display_safe(&subject.proposer)
        )?;
        writeln!(out, "Snapshot {}", subject.snapshot)?;
        let sections = counted(subject.sections.len(), "section");
        match (&proposal.previous, &subject.previous) {
            (Some(previous), _) => {
                let approvers = match &trust {
                    Some(trust) => {
                        let policy = trust.policy().map_err(ApprovalError::Untrusted)?;
                        format!("approved by {}", safe(&proposal.base_approvers(&policy)?.join(", ")))
                    }
                    None => "whose approvals cannot be checked without a configuration".to_owned(),
                };
                shown.changes(out)?;
                writeln!(out, "Compared with baseline {}, {approvers}.", previous.sequence)?;
            }
            (None, Some(_)) => {
                writeln!(out, "All of it is to be approved, with {sections}, compared with nothing:")?;
                shown.everything(out)?;
            }
            (None, None) if shown.is_full => {
                writeln!(out, "The first baseline, with {sections}:")?;
                shown.everything(out)?;
            }
            (None, None) => writeln!(out, "The first baseline, with {sections} (--full shows every value).")?,
        }
        shown.rest(true, out)?;
        out.flush()?;

        let reason = confirm::to_reason(self.reason.as_deref(), proposal.reason.as_deref())?;
        writeln!(out, "Reason \"{}\", in the name of {}", safe(&reason), safe(&signer.principal))?;
        out.flush()?;
        confirm::to_sequence(subject, self.sequence, true)?;
        if !confirm::to_weaker(&shown, self.consent.accept_weaker)? {
            writeln!(out, "Nothing was signed.")?;
            return Ok(Exit::Ok);
        }
        let drifts = shown.drifts;
        approval::sign(&mut proposal, &signer, &reason, SystemClock.now())?;
        if let Some((previous, statements)) = aside {
            (proposal.previous, proposal.previous_statements) = (previous, statements);
        }
        // A signature that is not remembered is not handed out.
        memory.record(&proposal.subject, self.consent.replace_signed)?;
        proposal.write(&self.file)?;
        let mut after = AfterCommit::of(format!("the signature is in '{}'", self.file.display()));
        after.print(out, format_args!("Signed as {}: \"{}\".", safe(&signer.principal), safe(&reason)));
        after.print(out, format_args!("Next: {}", next(&proposal, &drifts, trust.as_ref(), &self.file)));
        after.end(Exit::Ok)
    }
}

fn safe(text: &str) -> String {
    display_safe_whole(text)
}

/// The next step for a signed proposal: import it, or sign it again if more signatures are known to be needed.
fn next(proposal: &Proposal, drifts: &[Finding], trust: Option<&TrustFiles>, file: &Path) -> String {
    let file = file.display();
    let import = format!("authdrift import {file}");
    let Some(policy) = trust.and_then(|trust| trust.policy().ok()) else {
        return format!(
            "{import} on the machine that watches, or `authdrift sign {file} --key KEY` by another approver"
        );
    };
    let statements: Vec<SignedStatement> = proposal.statements.iter().cloned().map(Into::into).collect();
    let have = trust::approvals(&proposal.subject, &statements, &policy).map_or(0, |approved| approved.approvals.len());
    let worst = drifts.iter().map(|drift| drift.meaning.severity).max().unwrap_or(Severity::Info);
    let is_compared = proposal.previous.is_some();
    let need = if is_compared { policy.rules.need(worst) } else { policy.rules.most() };
    if have < need {
        return format!("{have} of {need} approvers signed. Another approver: authdrift sign {file} --key KEY");
    }
    import
}
