//! The exit codes of the program.

use std::process::ExitCode;

/// Every exit code, derived from the same result that is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done; for `check`: in sync.
    Ok = 0,
    /// The command line does not make sense.
    Usage = 2,
    /// At least one instance differs from its baseline.
    Drift = 10,
    /// No drift was seen, but a section of a baseline could not be read.
    Blind = 11,
    /// A baseline or its signatures cannot be trusted.
    Untrusted = 12,
    /// At least one instance has no baseline yet.
    NoBaseline = 13,
    /// Nothing of any instance could be read.
    Unavailable = 69,
    /// A fault in the program.
    Internal = 70,
    /// A file or the database could not be read or written, or a receiver did not take a sample.
    Io = 74,
    /// Another daemon works on the same state.
    AlreadyRunning = 75,
    /// A vendor or a mail server refuses the credentials.
    Credentials = 77,
    /// The configuration is wrong, or the database is of a newer program.
    Configuration = 78,
    /// A question was answered with Ctrl-C.
    Interrupted = 130,
}

impl Exit {
    /// The stable name of it, with a heading in `docs/errors.md`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Usage => "usage",
            Self::Drift => "drift",
            Self::Blind => "blind",
            Self::Untrusted => "untrusted",
            Self::NoBaseline => "no-baseline",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
            Self::Io => "io",
            Self::AlreadyRunning => "already-running",
            Self::Credentials => "credentials",
            Self::Configuration => "configuration",
            Self::Interrupted => "interrupted",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
