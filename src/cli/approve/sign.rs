//! `authdrift sign`: one approver, on a machine of their own.

use std::io::Write;
use std::path::Path;

use super::super::after_commit::AfterCommit;
use super::super::args::SignOptions;
use super::super::context::{Catalogues, Context, find_config};
use super::super::output::count;
use super::super::{CliError, consent};
use super::shown::Shown;
use crate::approval::{self, ApprovalError, Proposal, SignedLog, SigningKey};
use crate::classify::Finding;
use crate::clock::{Clock, SystemClock};
use crate::exit::Exit;
use crate::model::{Severity, display_safe, display_safe_whole};
use crate::trust::{self, SignedStatement};
use crate::trust_files::TrustFiles;

/// Signs a proposal. Works without a configuration, as on an approver's own machine.
///
/// # Errors
/// The file is no proposal, what it changes cannot be shown, or `ssh-keygen` does not sign.
///
/// # Security
/// Nothing of the file but the subject is signed, and whoever carried it could have edited the rest. So what is shown comes
/// from the subject and from what it names by digest; where that is not enough to show changes, all of it is shown.
pub(crate) fn sign(config: Option<&Path>, options: &SignOptions, out: &mut dyn Write) -> Result<Exit, CliError> {
    let mut proposal = Proposal::read(&options.file)?;
    let (trust, catalogues) = match find_config(config) {
        Ok(file) => {
            let context = Context::load(Some(&file))?;
            (Some(TrustFiles::read(&context.config.approval)), context.catalogues)
        }
        Err(_) if options.principal.is_some() => (None, Catalogues::load(None)?),
        Err(error) => return Err(error.with_help("without a configuration, say in whose name you sign with --as")),
    };
    let signers = trust.as_ref().map(TrustFiles::signers).transpose()?;
    let signer = SigningKey::of_key(&options.key, signers, options.principal.as_deref())?;

    let memory = SignedLog::open(options.consent.memory.as_deref())?;
    if !options.consent.replace_signed {
        memory.check(&proposal.subject)?;
    }
    let aside = options.without_previous.then(|| proposal.put_previous_aside());
    if aside.is_none() {
        proposal.check_previous()?;
    }

    let catalogue = catalogues.of(proposal.subject.instance.provider);
    let (drifts, weakest) = (proposal.drifts(catalogue), proposal.weakest(catalogue));
    let shown = Shown { proposal: &proposal, catalogue, is_full: options.consent.full };
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
    let sections = count(subject.sections.len(), "section");
    match (&proposal.previous, &subject.previous) {
        (Some(previous), _) => {
            let approvers = match &trust {
                Some(trust) => {
                    let policy = trust.policy().map_err(ApprovalError::Untrusted)?;
                    format!("approved by {}", safe(&proposal.base_approvers(&policy)?.join(", ")))
                }
                None => "whose approvals cannot be checked without a configuration".to_owned(),
            };
            shown.changes(&drifts, out)?;
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
    if proposal.previous.is_none() {
        shown.weakest(&weakest, out)?;
    }
    shown.sections(out)?;
    shown.unusable(out)?;
    shown.ends(out)?;
    out.flush()?;

    let reason = consent::to_reason(options.reason.as_deref(), proposal.reason.as_deref())?;
    writeln!(out, "Reason \"{}\", in the name of {}", safe(&reason), safe(&signer.principal))?;
    out.flush()?;
    consent::to_sequence(subject, options.sequence, true)?;
    if !consent::to_weaker(&drifts, &weakest, &proposal, options.consent.accept_weaker)? {
        writeln!(out, "Nothing was signed.")?;
        return Ok(Exit::Ok);
    }
    approval::sign(&mut proposal, &signer, &reason, SystemClock.now())?;
    if let Some((previous, statements)) = aside {
        (proposal.previous, proposal.previous_statements) = (previous, statements);
    }
    // A signature that is not remembered is not handed out.
    memory.record(&proposal.subject, options.consent.replace_signed)?;
    proposal.write(&options.file)?;
    let mut after = AfterCommit::of(format!("the signature is in '{}'", options.file.display()));
    after.then(writeln!(out, "Signed as {}: \"{}\".", safe(&signer.principal), safe(&reason)));
    after.then(writeln!(out, "Next: {}", next(&proposal, &drifts, trust.as_ref(), &options.file)));
    after.then(out.flush());
    after.end(Exit::Ok)
}

fn safe(text: &str) -> String {
    display_safe_whole(text)
}

/// What is to be done with a proposal that was signed: import it, or sign it once more where that is known not to do.
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
