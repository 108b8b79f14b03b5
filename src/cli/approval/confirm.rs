//! Confirmations before a signature.

use std::path::PathBuf;

use clap::Args;

use crate::approval::SignedLog;
use crate::classify::{Finding, NOT_WATCHED};
use crate::cli::approval::shown::{ShownProposal, at_its_weakest, choice};
use crate::cli::{CliError, prompt};
use crate::exit::Exit;
use crate::model::{Direction, Severity, display_safe, display_safe_whole};
use crate::trust::Subject;

#[derive(Debug, Args)]
pub(crate) struct ConsentOptions {
    /// Approve changes that weaken sign-in with severity high or critical, without asking
    #[arg(long)]
    pub(crate) accept_weaker: bool,
    /// Sign although this machine signed something newer: after a restore or a dropped proposal
    #[arg(long)]
    pub(crate) replace_signed: bool,
    /// Show every value in full
    #[arg(long)]
    pub(crate) full: bool,
    /// The log of signatures, instead of the one in the state folder
    #[arg(long, value_name = "FILE", hide = true)]
    pub(crate) memory: Option<PathBuf>,
}

impl ConsentOptions {
    /// Opens the log of signatures, and refuses to sign what is older than its newest entry.
    pub(super) fn signed_log(&self, subject: &Subject) -> Result<SignedLog, CliError> {
        let memory = SignedLog::open(self.memory.as_deref())?;
        if !self.replace_signed {
            memory.check(subject)?;
        }
        Ok(memory)
    }
}

/// Whether what weakens sign-in a great deal is meant: by `accepted`, or by asking. A baseline that follows another one and
/// is not compared with it could weaken anything, so everything at its `weakest` value has to be meant.
///
/// # Errors
/// There is no terminal, or it is gone. Nothing may be signed then.
pub(super) fn to_weaker(shown: &ShownProposal<'_>, accepted: bool) -> Result<bool, CliError> {
    let ShownProposal { proposal, drifts, weakest, .. } = shown;
    let is_grave = |drift: &&Finding| {
        drift.meaning.setting != NOT_WATCHED
            && drift.meaning.direction == Direction::Weaker
            && drift.meaning.severity >= Severity::High
    };
    let mut weaker: Vec<String> = drifts.iter().filter(is_grave).map(|drift| format!("  {}", choice(drift))).collect();
    // Which way that goes cannot be told: the value that counted before is not in the proposal.
    let prolonged = proposal.prolonged().into_iter();
    weaker.extend(prolonged.map(|(path, _)| format!("  for longer, or for good: {}", display_safe(&path.to_string()))));
    // Many changes of a section are shown as one, so these are not taken from the changes.
    let given_up = proposal.given_up().into_iter();
    weaker.extend(given_up.map(|place| format!("  not watched any more: {}", display_safe(&place.to_string()))));
    let is_compared = proposal.previous.is_some() || proposal.subject.previous.is_none();
    let what = if is_compared {
        "this makes sign-in weaker"
    } else {
        weaker.extend(weakest.iter().map(|drift| format!("  {}", at_its_weakest(drift))));
        "this is compared with nothing, so any setting may be weaker than before. At their weakest value are"
    };
    if accepted || (is_compared && weaker.is_empty()) {
        return Ok(true);
    }
    let list = if weaker.is_empty() { "  none that has one".to_owned() } else { weaker.join("\n") };
    if !prompt::is_terminal() {
        let message = format!("nothing is signed: {what}\n{list}");
        return Err(CliError::new(Exit::Usage, message).with_help("to sign it all the same, use --accept-weaker"));
    }
    let what = format!("{}{}", what.get(..1).unwrap_or_default().to_uppercase(), what.get(1..).unwrap_or_default());
    prompt::confirm(&format!("{what}:\n{list}\nSign it all the same?"))
}

/// The reason that is signed: the one that was `given`, else the `suggested` one, which on a terminal is confirmed or typed
/// anew.
pub(super) fn to_reason(given: Option<&str>, suggested: Option<&str>) -> Result<String, CliError> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    let suggested = suggested.map(str::trim).filter(|reason| !reason.is_empty());
    if !prompt::is_terminal() {
        return Ok(suggested.unwrap_or("no reason given").to_owned());
    }
    let Some(suggested) = suggested else {
        return prompt::text("Why do you approve it? It is signed in your name", None, |reason| {
            if reason.is_empty() { Err("an approval needs a reason".to_owned()) } else { Ok(()) }
        });
    };
    let question = format!(
        "The proposer suggests the reason: {}\nEnter signs that reason in your name; or type your own",
        display_safe_whole(suggested)
    );
    let typed = prompt::text(&question, None, |_| Ok(()))?;
    Ok(if typed.is_empty() { suggested.to_owned() } else { typed })
}

/// Makes sure that the person knows which baseline this is: by the `given` number or, where there is a terminal and it is
/// `asked` for, by typing it.
///
/// # Errors
/// It is another number. Nothing may be signed then.
pub(super) fn to_sequence(subject: &Subject, given: Option<u64>, asked: bool) -> Result<(), CliError> {
    let typed = match given {
        Some(given) => given.to_string(),
        None if asked && prompt::is_terminal() => {
            let question = format!("Type the number of the baseline of {} to sign it", subject.instance);
            prompt::text(&question, None, |_| Ok(()))?
        }
        None => return Ok(()),
    };
    if typed.trim() == subject.sequence.to_string() {
        return Ok(());
    }
    Err(CliError::new(Exit::Usage, format!("nothing is signed: this is baseline {}", subject.sequence)))
}
