//! Questions on the terminal. They go to standard error, so that the output stays what a program would get.

use std::io::{ErrorKind, IsTerminal};
use std::sync::atomic::{AtomicBool, Ordering};

use dialoguer::console::{Term, truncate_str};
use dialoguer::{Confirm, Input, MultiSelect, Select};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use super::CliError;
use crate::exit::Exit;

const ERROR: &str = "error: ";

/// Whether questions can be asked.
pub fn is_terminal() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Whether Ctrl-C was pressed. A question blocks the thread that would handle the signal, so it reads this flag.
static IS_STOPPED: AtomicBool = AtomicBool::new(false);
static STOPPED: Notify = Notify::const_new();

/// Returns when Ctrl-C was pressed at the first question or later.
pub async fn stopped() {
    STOPPED.notified().await;
}

/// Handles Ctrl-C from the first question on.
fn listen_for_ctrl_c() -> Result<(), CliError> {
    static IS_LISTENING: AtomicBool = AtomicBool::new(false);
    if IS_LISTENING.swap(true, Ordering::SeqCst) {
        return Ok(());
    }
    let listening = signal(SignalKind::interrupt());
    let mut listening =
        listening.map_err(|error| CliError::new(Exit::Internal, format!("cannot listen for Ctrl-C: {error}")))?;
    tokio::spawn(async move {
        listening.recv().await;
        IS_STOPPED.store(true, Ordering::SeqCst);
        STOPPED.notify_one();
    });
    Ok(())
}

/// Asks, unless Ctrl-C was pressed, and refuses the answer if it was pressed meanwhile.
fn ask<T>(question: impl FnOnce() -> dialoguer::Result<T>) -> Result<T, CliError> {
    listen_for_ctrl_c()?;
    let is_stopped = || IS_STOPPED.load(Ordering::SeqCst);
    if is_stopped() {
        return Err(given_up());
    }
    let answer = question().map_err(no_answer)?;
    if is_stopped() { Err(given_up()) } else { Ok(answer) }
}

/// Asks for yes or no; enter alone is no. All lines of the question but the last say what is asked.
pub fn confirm(question: &str) -> Result<bool, CliError> {
    let question = explained(&Term::stderr(), question)?;
    // Otherwise the enter after "y" would answer the next question.
    let prompt = Confirm::new().with_prompt(question).default(false).wait_for_newline(true);
    ask(|| prompt.interact())
}

/// Asks for a line of text until `check` takes it. All lines of the question but the last say what is asked for.
pub fn text(
    question: &str,
    default: Option<String>,
    check: impl Fn(&str) -> Result<(), String>,
) -> Result<String, CliError> {
    let term = Term::stderr();
    let question = explained(&term, question)?;
    let input = Input::<String>::new().with_prompt(question).allow_empty(true);
    let input = match default {
        Some(default) => input.default(default),
        None => input,
    };
    let checked = |text: &String| {
        check(text.trim()).map_err(|reason| {
            // In the lines that it is drawn in; what is longer would be cut off.
            textwrap::fill(&reason, usize::from(term.size().1).saturating_sub(ERROR.len()).max(30))
        })
    };
    let text = ask(|| input.validate_with(checked).interact_text())?;
    Ok(text.trim().to_owned())
}

/// Asks for one of several; the first is marked.
pub fn choose(question: &str, items: &[String]) -> Result<usize, CliError> {
    let items = shortened(items, 2);
    let prompt = Select::new().with_prompt(question).items(&items).default(0);
    let chosen = ask(|| prompt.interact_opt())?;
    chosen.ok_or_else(given_up)
}

/// Asks for any of several, none of which is ticked: enter alone chooses none. `None` if the person presses escape.
pub fn tick(question: &str, items: &[String]) -> Result<Option<Vec<usize>>, CliError> {
    let items = shortened(items, 6);
    // What was ticked is not repeated: it would be one long line.
    let prompt = MultiSelect::new().with_prompt(question).items(&items).report(false);
    ask(|| prompt.interact_opt())
}

/// Writes all lines of a question but the last, which it answers: a prompt of several could not be drawn again in its place.
fn explained<'a>(term: &Term, question: &'a str) -> Result<&'a str, CliError> {
    let Some((lines, question)) = question.rsplit_once('\n') else { return Ok(question) };
    let lines = textwrap::fill(lines, usize::from(term.size().1));
    term.write_line(&lines).map_err(|error| no_answer(error.into()))?;
    Ok(question)
}

/// The items, each short enough for a line with a mark of `mark` characters: what is longer than a line could not be drawn
/// again in its place.
fn shortened(items: &[String], mark: usize) -> Vec<String> {
    let width = usize::from(Term::stderr().size().1).saturating_sub(mark + 1).max(30);
    items.iter().map(|item| truncate_str(item, width, "…").into_owned()).collect()
}

fn given_up() -> CliError {
    CliError::new(Exit::Interrupted, "stopped; nothing was signed or written")
}

fn no_answer(error: dialoguer::Error) -> CliError {
    // A question that is given up leaves the cursor hidden.
    let _ = Term::stderr().show_cursor();
    let dialoguer::Error::IO(error) = error;
    if error.kind() == ErrorKind::Interrupted {
        let _ = Term::stderr().write_line("");
        return given_up();
    }
    CliError::new(Exit::Usage, format!("cannot ask on the terminal: {error}"))
}
