//! Why nothing of an instance could be read.

use crate::exit::Exit;
use crate::provider::ReadError;
use crate::snapshot::{Reading, Snapshot};

/// Why nothing of an instance could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadFailure {
    /// In words.
    pub reason: String,
    /// What the program answers to the shell when this is all there is to say.
    pub exit: Exit,
}

impl ReadFailure {
    pub(super) fn of_read_error(error: &ReadError) -> Self {
        let exit = match error {
            ReadError::Secret(_)
            | ReadError::BadSecret(_)
            | ReadError::Proxy(_)
            | ReadError::KeysOfTwoInstances { .. } => Exit::Configuration,
            ReadError::Client(_) => Exit::Internal,
        };
        Self { reason: error.to_string(), exit }
    }

    pub(super) fn of_snapshot(snapshot: &Snapshot, is_credential: bool) -> Self {
        let reason = snapshot.sections.values().map(Reading::reason).find(|reason| !reason.is_empty());
        let reason = reason.unwrap_or("no credential for any section").to_owned();
        Self { reason, exit: if is_credential { Exit::Credentials } else { Exit::Unavailable } }
    }
}
