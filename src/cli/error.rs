//! Errors of commands, and the exit code of each kind.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use super::did_you_mean;
use super::output::whole_words;
use crate::approval::ApprovalError;
use crate::config::NoInstance;
use crate::daemon::DaemonError;
use crate::evidence::ExportError;
use crate::exit::Exit;
use crate::model::display_safe;
use crate::monitoring::CannotListen;
use crate::provider::ReadError;
use crate::receiver::BadReceiver;
use crate::store::StoreError;
use crate::trust_files::BadTrustFile;

/// An error of a command: the text for people and the exit code.
#[derive(Debug)]
pub struct CliError {
    /// The exit code.
    pub exit: Exit,
    /// The stable name of the reason, with a heading in `docs/errors.md`.
    pub code: &'static str,
    /// What went wrong; may have several lines.
    pub message: String,
    /// The next command to run or the key to change.
    pub help: Option<String>,
    /// The result is recorded, and something after that failed.
    pub is_warning: bool,
}

impl CliError {
    /// An error without a hint.
    pub fn new(exit: Exit, message: impl std::fmt::Display) -> Self {
        Self { exit, code: exit.code(), message: message.to_string(), help: None, is_warning: false }
    }

    /// The same with a name of its own.
    pub fn with_code(mut self, code: &'static str) -> Self {
        self.code = code;
        self
    }

    /// The same with a hint.
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Nothing has this name: `what` begins the sentence, and the most similar of `candidates` ends it.
    pub(super) fn unknown<'a>(what: &str, name: &str, candidates: impl Iterator<Item = &'a str>) -> Self {
        let meant = did_you_mean(name, candidates);
        Self::new(Exit::Usage, format!("{what} '{}'{meant}", display_safe(name)))
    }

    /// More than one thing has an id that begins with `id`.
    pub(super) fn ambiguous_id(id: &str) -> Self {
        let message = format!("'{}' is the beginning of several", display_safe(id));
        Self::new(Exit::Usage, message).with_code("ambiguous-name").with_help("type more of it")
    }

    /// The same with the name of the database.
    pub(super) fn about_database(mut self, path: &Path) -> Self {
        self.message = format!("{}; the file is '{}'", self.message, path.display());
        self
    }

    /// Writes it as people read it.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let (word, color) = match self.is_warning {
            true => ("warning", anstyle::AnsiColor::Yellow),
            false => ("error", anstyle::AnsiColor::Red),
        };
        let style = anstyle::Style::new().bold().fg_color(Some(color.into()));
        // The configuration's problems bring their own headings.
        let message = self.message.strip_prefix("error: ").unwrap_or(&self.message).trim_end();
        let (message, help) = (
            wrapped(message, &format!("{word}[{}]: ", self.code)),
            self.help.as_deref().map(|help| wrapped(help, "help: ")),
        );
        writeln!(out, "{style}{word}[{}]:{style:#} {message}", self.code)?;
        if let Some(help) = help {
            writeln!(out, "help: {help}")?;
        }
        Ok(())
    }
}

/// The text in lines of the terminal, after `start`. What has lines already, as the places in a configuration, and what a
/// program reads stays as it is.
fn wrapped(text: &str, start: &str) -> String {
    if text.contains('\n') || !io::stderr().is_terminal() {
        return text.to_owned();
    }
    let options =
        whole_words(textwrap::termwidth()).initial_indent(start).word_separator(textwrap::WordSeparator::AsciiSpace);
    let lines = textwrap::fill(text, options);
    lines.strip_prefix(start).unwrap_or(&lines).to_owned()
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        // A database of a newer program goes with the program: no restart mends it.
        let exit = if matches!(error, StoreError::Newer { .. }) { Exit::Configuration } else { Exit::Io };
        let (code, help) = (error.code(), help_with(&error).map(str::to_owned));
        let mut shown = Self::new(exit, &error).with_code(code);
        // A folder that this user may not enter looks as if nothing were in it.
        if let StoreError::Missing(path) = &error
            && let Err(denied) = path.try_exists()
        {
            shown = Self::new(exit, format!("cannot look for the database '{}': {denied}", path.display()));
        }
        Self { help, ..shown }
    }
}

/// The hint where another user has the permission.
pub(crate) const RUN_AS_HINT: &str =
    "run it as root or as the user that watches, for the service: sudo -u authdrift authdrift …";

/// The hint for a database with content that this program did not write.
const RESTORE: &str = "keep the file, and restore a backup: docs/operations.md";

/// The hint for a read-only file system.
const READ_ONLY: &str = "mount it for writing, or name another `path` in [store]; `authdrift check --no-store`, `status` and \
                         `verify` write nothing";

/// The hint for an error of the database, where its message has none.
pub(crate) fn help_with(error: &StoreError) -> Option<&'static str> {
    match error {
        StoreError::File { source, .. } if source.kind() == io::ErrorKind::ReadOnlyFilesystem => Some(READ_ONLY),
        _ if error.is_denied() => Some(RUN_AS_HINT),
        StoreError::Foreign(_) => {
            Some("`path` in [store] names it; if it was authdrift's, restore a backup: docs/operations.md")
        }
        error
            if matches!(error, StoreError::Damaged(_) | StoreError::History(_))
                || matches!(error, StoreError::Sqlite(_)) && error.is_broken() =>
        {
            Some(RESTORE)
        }
        _ => None,
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        Self::new(Exit::Io, format!("cannot write the output: {error}"))
    }
}

impl From<serde_json::Error> for CliError {
    fn from(error: serde_json::Error) -> Self {
        Self::new(Exit::Internal, format!("cannot read or write JSON: {error}"))
    }
}

impl From<ReadError> for CliError {
    fn from(error: ReadError) -> Self {
        Self::new(Exit::Internal, error)
    }
}

impl From<NoInstance> for CliError {
    fn from(error: NoInstance) -> Self {
        let code = error.code();
        Self::new(Exit::Usage, error).with_code(code).with_help("`authdrift config check` lists the instances")
    }
}

impl From<BadTrustFile> for CliError {
    fn from(error: BadTrustFile) -> Self {
        Self::new(Exit::Configuration, error)
            .with_code("bad-trust-file")
            .with_help("the file is named by `allowed_signers` in [approval]")
    }
}

impl From<ExportError> for CliError {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Write { .. } => Self::new(Exit::Io, error).with_help("name a folder that does not exist yet"),
            ExportError::TrustFile { .. } => Self::new(Exit::Configuration, error),
        }
    }
}

impl From<BadReceiver> for CliError {
    fn from(error: BadReceiver) -> Self {
        Self::new(Exit::Configuration, error).with_code("bad-receiver")
    }
}

impl From<ApprovalError> for CliError {
    fn from(error: ApprovalError) -> Self {
        let exit = match &error {
            ApprovalError::File { .. } | ApprovalError::NotAProposal { .. } | ApprovalError::NoMemory => Exit::Io,
            ApprovalError::Untrusted(_)
            | ApprovalError::BadBase { .. }
            | ApprovalError::NoPrevious { .. }
            | ApprovalError::Loses(_)
            | ApprovalError::Behind { .. }
            | ApprovalError::Altered => Exit::Untrusted,
            ApprovalError::NoSnapshot(_) | ApprovalError::NoResource(_) => Exit::Unavailable,
            ApprovalError::NoKey(_)
            | ApprovalError::ManyKeys(_)
            | ApprovalError::Key { .. }
            | ApprovalError::NoPrincipal(_)
            | ApprovalError::ManyPrincipals(_)
            | ApprovalError::NotThatPrincipal { .. }
            | ApprovalError::Sign(_) => Exit::Credentials,
            _ => Exit::Usage,
        };
        let code = error.code();
        match error {
            ApprovalError::Store(error) => error.into(),
            ApprovalError::TrustFile(error) => error.into(),
            error @ ApprovalError::NoPrevious { .. } => Self::new(exit, error).with_code(code).with_help(
                "propose again. If the baseline before cannot be compared with today (too few approvers, another \
                 instance), --without-previous shows everything instead",
            ),
            error => Self::new(exit, error).with_code(code),
        }
    }
}

impl From<DaemonError> for CliError {
    fn from(error: DaemonError) -> Self {
        let exit = match &error {
            DaemonError::AlreadyRunning(_) => Exit::AlreadyRunning,
            DaemonError::Read(_) | DaemonError::Scheduler(_) => Exit::Internal,
            DaemonError::Receiver(_) | DaemonError::Store(_) | DaemonError::Io { .. } => Exit::Io,
        };
        match error {
            DaemonError::Store(error) => error.into(),
            DaemonError::Receiver(error) => error.into(),
            DaemonError::Io { ref source, .. } if source.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                Self::new(exit, error).with_help(READ_ONLY)
            }
            error => Self::new(exit, error),
        }
    }
}

impl From<CannotListen> for CliError {
    fn from(error: CannotListen) -> Self {
        Self::new(Exit::Io, error).with_help("`listen` in [monitoring] says where")
    }
}
