//! The text of a configuration and its surroundings.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

/// The sources of a configuration. No file is opened and no environment is read here: the caller brings both.
pub struct Sources<'a> {
    /// The name of the file: for messages, and its directory is where relative paths begin.
    pub file: &'a str,
    /// The text of the file.
    pub text: &'a str,
    /// systemd's state directory (`$STATE_DIRECTORY`): the default place of the database.
    pub state_directory: Option<PathBuf>,
    /// The user's state folder (`$XDG_STATE_HOME`, else `~/.local/state`): the default place after that.
    pub xdg_state: Option<PathBuf>,
    /// The time, for patterns that never come.
    pub now: DateTime<Utc>,
}

impl Sources<'_> {
    /// The folder of the file, from which relative paths in it begin.
    pub(super) fn folder(&self) -> &Path {
        Path::new(self.file).parent().unwrap_or(Path::new(""))
    }
}
