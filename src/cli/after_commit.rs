//! What a command still does once its result is recorded.
//!
//! A failure after the commit does not undo the result. The remaining steps run, the result is printed, and the failures follow
//! as one warning with exit code 74: after an "error" a person would repeat the command.

use super::CliError;
use crate::exit::Exit;

/// The recorded result, and the failures after it.
pub(super) struct AfterCommit {
    recorded: String,
    failures: Vec<CliError>,
}

impl AfterCommit {
    /// Begins where `recorded`, a sentence without its end, is true.
    pub(super) fn of(recorded: impl Into<String>) -> Self {
        Self { recorded: recorded.into(), failures: Vec::new() }
    }

    /// Notes how one of the things went that come after.
    pub(super) fn then(&mut self, outcome: Result<(), impl Into<CliError>>) {
        self.failures.extend(outcome.map_err(Into::into).err());
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
