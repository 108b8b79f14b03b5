//! Which vendor, and which configured installation of it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::word::{as_text, word};

word!(
    /// A vendor whose settings can be watched.
    Provider {
        Clerk = "clerk",
        Auth0 = "auth0",
    }
);

/// One watched Clerk instance or Auth0 tenant: `clerk:NAME` or `auth0:NAME`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InstanceId {
    /// The vendor.
    pub provider: Provider,
    /// The name the configuration gives it.
    pub name: String,
}

impl InstanceId {
    /// Joins a vendor and a name that was checked with [`is_valid_name`].
    pub fn new(provider: Provider, name: impl Into<String>) -> Self {
        Self { provider, name: name.into() }
    }

    /// The command with which people approve what it is now, if that takes so many of them: several begin with a proposal.
    pub fn approval_command(&self, approvers: usize) -> String {
        if approvers > 1 {
            format!("authdrift propose {self} -o FILE --reason TEXT")
        } else {
            format!("authdrift approve {self} --reason TEXT")
        }
    }
}

/// Whether `name` may name an instance or a receiver: 1 to 64 of `a-z 0-9 . _ -`, beginning with a letter or digit.
pub fn is_valid_name(name: &str) -> bool {
    let first_is_plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let rest_is_plain =
        name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-'));
    first_is_plain && rest_is_plain && name.len() <= 64
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}:{}", self.provider, self.name))
    }
}

/// A text that is not `clerk:NAME` or `auth0:NAME`.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not an instance of the form clerk:NAME or auth0:NAME")]
pub struct NotAnInstance(String);

impl FromStr for InstanceId {
    type Err = NotAnInstance;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Provider::ALL
            .into_iter()
            .find_map(|provider| {
                let name = text.strip_prefix(provider.as_str())?.strip_prefix(':')?;
                is_valid_name(name).then(|| Self::new(provider, name))
            })
            .ok_or_else(|| NotAnInstance(crate::model::display_safe(text)))
    }
}

as_text!(InstanceId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_itself() {
        for text in ["clerk:prod", "auth0:acme-eu.1"] {
            assert_eq!(text.parse::<InstanceId>().unwrap().to_string(), text);
        }
        for text in ["", "clerk", "clerk:", "okta:x", "clerk:A b", "auth0:-x"] {
            assert!(text.parse::<InstanceId>().is_err(), "{text}");
        }
    }
}
