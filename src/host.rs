//! The name of this machine.

/// The name of this machine, for people.
pub fn hostname() -> String {
    hostname::get().map_or_else(|_| "unknown host".to_owned(), |name| name.to_string_lossy().into_owned())
}
