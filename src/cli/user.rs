//! The name that a command records for the person who typed it.

use std::os::unix::fs::MetadataExt;

use crate::host::hostname;

/// The user and the machine, for example `alice@laptop`.
pub(crate) fn current_user() -> String {
    let named = ["SUDO_USER", "USER", "LOGNAME"].iter().filter_map(|name| std::env::var(name).ok());
    let user = named.into_iter().find(|name| !name.is_empty()).or_else(user_of_process);
    format!("{}@{}", user.unwrap_or_else(|| "unknown".to_owned()), hostname())
}

/// The user of this process, for a unit, a container or a job without `$USER`.
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
