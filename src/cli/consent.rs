//! What a person has to say yes to before something is signed.

use std::io::IsTerminal;

use dialoguer::{Confirm, Input};

use super::CliError;
use super::approve::choice;
use crate::classify::Drift;
use crate::exit::Exit;
use crate::model::{Direction, Severity};
use crate::trust::Subject;

/// Whether there is somebody to ask.
pub fn is_terminal() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Makes sure that what weakens sign-in a great deal is meant: by `accepted`, or by asking.
///
/// # Errors
/// The person says no, or there is nobody to ask. Nothing may be signed then.
pub fn to_weaker(drifts: &[Drift], accepted: bool) -> Result<(), CliError> {
    let is_grave = |drift: &&Drift| drift.direction == Direction::Weaker && drift.severity >= Severity::High;
    let weaker: Vec<String> = drifts.iter().filter(is_grave).map(|drift| format!("  {}", choice(drift))).collect();
    if weaker.is_empty() || accepted {
        return Ok(());
    }
    let list = weaker.join("\n");
    if !is_terminal() {
        let message = format!("nothing is signed: this makes sign-in weaker\n{list}");
        return Err(CliError::new(Exit::Usage, message).with_help("if it is meant, say --accept-weaker"));
    }
    let question = format!("This makes sign-in weaker:\n{list}\nSign it all the same?");
    let yes = Confirm::new().with_prompt(question).default(false).interact().map_err(nobody)?;
    if yes { Ok(()) } else { Err(CliError::new(Exit::Usage, "nothing is signed")) }
}

/// Makes sure that the person knows which baseline this is: by the `given` number or, where there is a terminal and it is
/// `asked` for, by typing it.
///
/// # Errors
/// It is another number. Nothing may be signed then.
pub fn to_sequence(subject: &Subject, given: Option<u64>, asked: bool) -> Result<(), CliError> {
    let typed = match given {
        Some(given) => given.to_string(),
        None if asked && is_terminal() => {
            let question = format!("Type the number of the baseline of {} to sign it", subject.instance);
            Input::<String>::new().with_prompt(question).allow_empty(true).interact_text().map_err(nobody)?
        }
        None => return Ok(()),
    };
    if typed.trim() == subject.sequence.to_string() {
        return Ok(());
    }
    Err(CliError::new(Exit::Usage, format!("nothing is signed: this is baseline {}", subject.sequence)))
}

fn nobody(error: dialoguer::Error) -> CliError {
    CliError::new(Exit::Usage, format!("nothing is signed: cannot ask on the terminal: {error}"))
}
