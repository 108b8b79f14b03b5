//! `authdrift propose`, `sign`, `import` and `approve`.

use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;

use super::after_commit::AfterCommit;
use super::args::{ApproveOptions, ImportOptions, ProposeOptions, What};
use super::context::Context;
use super::output::{count, verdict_style};
use super::{CliError, consent, prompt};
use crate::approval::Pending;
use crate::approval::{self, ApprovalError, ApprovalScope, ChangeSelector, Imported, Proposal, SignedLog, SigningKey};
use crate::classify::Catalogue;
use crate::delivery::Delivery;
use crate::exit::Exit;
use crate::host::hostname;
use crate::model::Verdict;
use crate::model::display_safe;
use crate::store::Store;
use crate::trust::Untrusted;
use crate::trust_files::TrustFiles;

mod choose;
pub(super) mod shown;
mod sign;

use choose::ask;
use shown::Shown;
pub(super) use sign::sign;

/// Writes a proposal.
///
/// # Errors
/// There is nothing to propose, or the file cannot be written.
pub fn propose(context: &Context, options: &ProposeOptions, out: &mut dyn Write) -> Result<Exit, CliError> {
    let instance = context.config.instance(&options.instance)?;
    let now = context.clock.now();
    let limit = consent::limit(options.what.until.as_deref(), now)?;
    let store = context.existing_store()?;
    let trust = TrustFiles::read(&context.config.approval);
    let catalogue = context.catalogues.of(instance.id.provider);
    let selection = named_selection(&options.what)?.unwrap_or(ApprovalScope::All);
    let pending = store.read(|tx| Pending::load_to_approve(tx, &instance.id, &trust, catalogue, now))?;
    warn_of_rollback(&pending, out)?;
    say_what_comes_along(&pending, &selection, catalogue, out)?;
    let proposal = store.read(|tx| {
        let reason = options.reason.clone();
        approval::propose(tx, &pending, &selection, catalogue, &proposer(), reason, limit)
    })?;
    // Somebody's signature may be in it already.
    if Proposal::read(&options.output).is_ok_and(|old| !old.statements.is_empty()) {
        let message = format!("'{}' is a proposal that is signed already", options.output.display());
        return Err(CliError::new(Exit::Usage, message).with_help("name another file, or remove that one"));
    }
    proposal.write(&options.output)?;
    let file = options.output.display();
    let (sequence, changes) = (proposal.subject.sequence, count(proposal.changes.len(), "change"));
    let mut after = AfterCommit::of(format!("the proposal is in '{file}'"));
    after.then(writeln!(out, "Baseline {sequence} of {} with {changes} is proposed in {file}.", instance.id));
    after.then(writeln!(out, "Next: authdrift sign {file} --key KEY"));
    after.then(out.flush());
    after.end(Exit::Ok)
}

/// Accepts signed proposals.
///
/// # Errors
/// They are not what they have to be; nothing is changed then.
pub async fn import(context: &Context, options: &ImportOptions, out: &mut dyn Write) -> Result<Exit, CliError> {
    let proposal = approval::import::read_files(&options.files)?;
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

/// Proposes, signs and imports.
///
/// # Errors
/// There is nothing to approve, nobody to ask, or something is not what it has to be; nothing is changed then.
pub async fn approve(context: &Context, options: &ApproveOptions, out: &mut dyn Write) -> Result<Exit, CliError> {
    let instance = context.config.instance(&options.instance)?;
    if options.reason.trim().is_empty() {
        return Err(CliError::new(Exit::Usage, "an approval needs a reason: say why with --reason"));
    }
    let now = context.clock.now();
    let limit = consent::limit(options.what.until.as_deref(), now)?;
    let store = context.existing_store()?;
    let trust = TrustFiles::read(&context.config.approval);
    let catalogue = context.catalogues.of(instance.id.provider);
    let signers = trust.signers()?;
    let pending = store.read(|tx| Pending::load_to_approve(tx, &instance.id, &trust, catalogue, now))?;
    warn_of_rollback(&pending, out)?;
    let named = named_selection(&options.what)?;
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
        let reason = Some(options.reason.clone());
        approval::propose(tx, &pending, &selection, catalogue, &proposer(), reason, limit)
    });
    let mut proposal = match proposed {
        Err(nothing @ ApprovalError::Nothing { .. }) => {
            writeln!(out, "{nothing}.")?;
            return Ok(Exit::Ok);
        }
        proposed => proposed?,
    };
    let signer = match &options.key {
        Some(key) => SigningKey::of_key(key, Some(signers), options.principal.as_deref())?,
        None => SigningKey::find(signers, options.principal.as_deref())?,
    };
    let memory = SignedLog::open(options.consent.memory.as_deref())?;
    if !options.consent.replace_signed {
        memory.check(&proposal.subject)?;
    }
    let (drifts, weakest) = (proposal.drifts(catalogue), proposal.weakest(catalogue));
    let shown = Shown { proposal: &proposal, catalogue, is_full: options.consent.full };
    shown.changes(&drifts, out)?;
    if proposal.previous.is_none() {
        if shown.is_full {
            shown.everything(out)?;
        }
        shown.weakest(&weakest, out)?;
    }
    // What a person was asked about on a terminal was listed before the question.
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
    if !consent::to_weaker(&drifts, &weakest, &proposal, options.consent.accept_weaker)? {
        return nothing(out);
    }
    consent::to_sequence(&proposal.subject, None, !is_named)?;
    let delivery = Delivery::new(&store, &context.clock, &context.config.receivers)?;
    approval::sign(&mut proposal, &signer, &options.reason, context.clock.now())?;
    // What was not accepted is signed nowhere, so it is only prepared that it is remembered.
    let remembered = memory.prepare(&proposal.subject, options.consent.replace_signed)?;
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

/// What is said when a person says no: it is no error, and nothing was changed.
fn nothing(out: &mut dyn Write) -> Result<Exit, CliError> {
    writeln!(out, "Nothing was approved.")?;
    Ok(Exit::Ok)
}

/// Names the paths that are approved without being named, because they are other paths of a setting that is.
fn say_what_comes_along(
    pending: &Pending,
    selection: &ApprovalScope,
    catalogue: &Catalogue,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    for path in pending.come_along(selection, catalogue)? {
        writeln!(out, "With it goes another path of the same setting: {}", display_safe(&path.to_string()))?;
    }
    Ok(())
}

fn accept(context: &Context, store: &Store, proposal: &Proposal) -> Result<Imported, ApprovalError> {
    let trust = TrustFiles::read(&context.config.approval);
    let catalogue = context.catalogues.of(proposal.subject.instance.provider);
    let now = context.clock.now();
    store.write(|tx| approval::import(tx, proposal, &context.config, &trust, catalogue, now))
}

/// What comes after a baseline was accepted, whatever becomes of it.
fn accepted(store: &Store, imported: &Imported) -> AfterCommit {
    let mut after =
        AfterCommit::of(format!("baseline {} of {} is accepted", imported.baseline.sequence, imported.instance));
    // Whoever signed on top of an older copy of the database has said that it is to be so.
    after.then(store.acknowledge(&imported.instance));
    after
}

/// Nobody should acknowledge an older copy of the database without knowing it.
fn warn_of_rollback(pending: &Pending, out: &mut dyn Write) -> Result<(), CliError> {
    if let Some(reason) = &pending.rolled_back {
        let style = verdict_style(Verdict::Untrusted);
        writeln!(out, "{style}The database was rolled back{style:#}: {reason}.")?;
        writeln!(out, "This approval acknowledges that. Find out first who put the copy there, and why.")?;
    }
    Ok(())
}

/// Prints what was accepted and tells the receivers.
async fn finish(store: &Store, delivery: &Delivery, imported: &Imported, after: &mut AfterCommit, out: &mut dyn Write) {
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

fn named_selection(what: &What) -> Result<Option<ApprovalScope>, CliError> {
    if what.all {
        return Ok(Some(ApprovalScope::All));
    }
    if what.only.is_empty() {
        return Ok(None);
    }
    let named: Result<Vec<ChangeSelector>, _> = what.only.iter().map(|text| text.parse()).collect();
    Ok(Some(ApprovalScope::Only(named?)))
}

/// Who proposes: the user and the machine, which is all that is known about them.
pub(super) fn proposer() -> String {
    let named = ["SUDO_USER", "USER", "LOGNAME"].iter().filter_map(|name| std::env::var(name).ok());
    let user = named.into_iter().find(|name| !name.is_empty()).or_else(user_of_process);
    format!("{}@{}", user.unwrap_or_else(|| "unknown".to_owned()), hostname())
}

/// The user that this process belongs to, where nothing in its environment says so: a unit, a container, a job.
fn user_of_process() -> Option<String> {
    let own = std::fs::metadata("/proc/self").ok()?.uid().to_string();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name_of = |line: &str| {
        let mut fields = line.split(':');
        let (name, _, id) = (fields.next()?, fields.next()?, fields.next()?);
        (id == own).then(|| name.to_owned())
    };
    Some(users.lines().find_map(name_of).unwrap_or_else(|| format!("uid-{own}")))
}
