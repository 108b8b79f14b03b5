//! What a command still does once its result is recorded.
//!
//! A failure after the commit does not undo the result. The remaining steps run, the result is printed, and the failures follow
//! as one warning with exit code 74: after an "error" a person would repeat the command.

use std::fmt::Display;
use std::io::Write;

use super::CliError;
use crate::delivery::Delivery;
use crate::exit::Exit;
use crate::store::Store;

/// The recorded result, and the failures after it.
pub(super) struct AfterCommit {
    recorded: String,
    failures: Vec<CliError>,
}

impl AfterCommit {
    /// Starts after the commit. `recorded` says what is committed, as a sentence without its end.
    pub(super) fn of(recorded: impl Into<String>) -> Self {
        Self { recorded: recorded.into(), failures: Vec::new() }
    }

    /// Records the outcome of one of the remaining steps.
    pub(super) fn then(&mut self, outcome: Result<(), impl Into<CliError>>) {
        self.failures.extend(outcome.map_err(Into::into).err());
    }

    /// Prints `text` as a line.
    pub(super) fn print(&mut self, out: &mut dyn Write, text: impl Display) {
        self.then(writeln!(out, "{text}").and_then(|()| out.flush()));
    }

    /// Sends what is due in the outbox, and waits for the store.
    pub(super) async fn deliver(&mut self, delivery: &Delivery, store: &Store) {
        self.then(delivery.deliver().await);
        self.then(store.finished());
    }

    /// How the command ends: with `exit` if nothing failed.
    ///
    /// # Errors
    /// Something failed after the result was recorded: a warning that says so first.
    pub(super) fn end(self, exit: Exit) -> Result<Exit, CliError> {
        let mut failures = self.failures.into_iter();
        let Some(first) = failures.next() else { return Ok(exit) };
        let mut message = format!("{}; after that something failed: {}", self.recorded, first.message);
        for failure in failures.filter(|failure| failure.message != first.message) {
            message.push_str("; ");
            message.push_str(&failure.message);
        }
        Err(CliError { exit: Exit::Io, code: first.code, message, help: first.help, is_warning: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_is_named_after_what_is_recorded() {
        let failure = |message: &str| Err::<(), _>(CliError::new(Exit::Io, message).with_code("file"));
        let mut after = AfterCommit::of("baseline 2 is accepted");
        after.then(Ok::<(), CliError>(()));
        assert_eq!(after.end(Exit::Drift).unwrap(), Exit::Drift);

        let mut after = AfterCommit::of("baseline 2 is accepted");
        after.then(failure("no room"));
        after.then(failure("no room"));
        after.then(failure("no pipe"));
        let warning = after.end(Exit::Ok).unwrap_err();
        assert_eq!((warning.exit, warning.code, warning.is_warning), (Exit::Io, "file", true));
        assert_eq!(warning.message, "baseline 2 is accepted; after that something failed: no room; no pipe");
        let mut shown = anstream::StripStream::new(Vec::new());
        warning.write(&mut shown).unwrap();
        assert!(String::from_utf8(shown.into_inner()).unwrap().starts_with("warning[file]: baseline 2"));
    }
}
