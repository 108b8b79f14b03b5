//! Finds an instance by the name on the command line: `clerk:prod`, or `prod` when only one vendor has it.

use super::toml_reader::closest;
use super::{Config, Instance};
use crate::model::{InstanceId, display_safe};

/// Why a name does not lead to one instance.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoInstance {
    /// No instance has the name.
    #[error("no instance is called '{name}'{}", did_you_mean(meant.as_ref()))]
    Unknown {
        /// The typed name, safe to show.
        name: String,
        /// The most similar one.
        meant: Option<InstanceId>,
    },
    /// Both vendors have an instance with the name.
    #[error("'{name}' can be 'clerk:{name}' or 'auth0:{name}'; write the one you mean")]
    Ambiguous {
        /// The typed name, safe to show.
        name: String,
    },
}

impl NoInstance {
    /// The stable name of the reason, with a heading in `docs/errors.md`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "unknown-instance",
            Self::Ambiguous { .. } => "ambiguous-name",
        }
    }
}

fn did_you_mean(meant: Option<&InstanceId>) -> String {
    meant.map(|id| format!("; did you mean '{id}'?")).unwrap_or_default()
}

impl Config {
    /// Finds the instance that is called `name`, with the prefix, or without it when that is unambiguous.
    pub fn instance(&self, name: &str) -> Result<&Instance, NoInstance> {
        let id = find(self.instances.iter().map(|instance| &instance.id), name)?;
        let instance = self.instances.iter().find(|instance| instance.id == *id);
        instance.ok_or_else(|| NoInstance::Unknown { name: display_safe(name), meant: None })
    }
}

/// Finds the id that is called `name`.
pub(super) fn find<'a>(
    ids: impl Iterator<Item = &'a InstanceId> + Clone,
    name: &str,
) -> Result<&'a InstanceId, NoInstance> {
    if let Some(id) = ids.clone().find(|id| id.to_string() == name) {
        return Ok(id);
    }
    let mut same_name = ids.clone().filter(|id| id.name == name);
    match (same_name.next(), same_name.next()) {
        (Some(id), None) => Ok(id),
        (Some(_), Some(_)) => Err(NoInstance::Ambiguous { name: display_safe(name) }),
        (None, _) => {
            let full: Vec<String> = ids.clone().map(InstanceId::to_string).collect();
            let by_full = closest(name, full.iter().map(String::as_str));
            let meant = match by_full {
                Some(text) => ids.clone().find(|id| id.to_string() == text),
                None => {
                    let bare = name.split_once(':').map_or(name, |(_, bare)| bare);
                    let text = closest(bare, ids.clone().map(|id| id.name.as_str()));
                    ids.clone().find(|id| Some(id.name.as_str()) == text)
                }
            };
            Err(NoInstance::Unknown { name: display_safe(name), meant: meant.cloned() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_with_and_without_the_vendor() {
        let ids: Vec<InstanceId> =
            ["clerk:prod", "auth0:prod", "auth0:acme"].iter().map(|id| id.parse().unwrap()).collect();
        let table = [
            ("clerk:prod", "clerk:prod"),
            ("auth0:prod", "auth0:prod"),
            ("acme", "auth0:acme"),
            ("prod", "'prod' can be 'clerk:prod' or 'auth0:prod'; write the one you mean"),
            ("acne", "no instance is called 'acne'; did you mean 'auth0:acme'?"),
            ("auth0:acne", "no instance is called 'auth0:acne'; did you mean 'auth0:acme'?"),
            ("clerk:acme", "no instance is called 'clerk:acme'; did you mean 'auth0:acme'?"),
            ("zzzzzzzz", "no instance is called 'zzzzzzzz'"),
            ("\u{1b}[0m", "no instance is called '\\u{1b}[0m'"),
        ];
        for (name, expected) in table {
            let found = match find(ids.iter(), name) {
                Ok(id) => id.to_string(),
                Err(error) => error.to_string(),
            };
            assert_eq!(found, expected, "{name}");
        }
    }
}
