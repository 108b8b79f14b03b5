//! Users of this machine.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::host::hostname;

/// The user and the machine that the history records for a command, for example `alice@laptop`.
pub(crate) fn current_user() -> String {
    let named = ["SUDO_USER", "USER", "LOGNAME"].iter().filter_map(|name| std::env::var(name).ok());
    // A unit, a container or a job may have no `$USER`.
    let of_process = || fs::metadata("/proc/self").ok().map(|process| process.uid());
    let user = named.into_iter().find(|name| !name.is_empty()).or_else(|| {
        let uid = of_process()?;
        Some(user_name(uid).unwrap_or_else(|| format!("uid-{uid}")))
    });
    format!("{}@{}", user.unwrap_or_else(|| "unknown".to_owned()), hostname())
}

/// The name that `/etc/passwd` gives to a user.
pub(crate) fn user_name(uid: u32) -> Option<String> {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, id) = (fields.next()?, fields.next()?, fields.next()?);
        (id.parse() == Ok(uid)).then(|| name.to_owned())
    })
}
