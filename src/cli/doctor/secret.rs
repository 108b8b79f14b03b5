//! Secrets are where the configuration says, and nobody else reads them. They are not read here.

use super::finding::{Check, Finding};
use crate::config::{Config, Kept, SecretRef};
use crate::exit::Exit;
use crate::secrets::{self, Place, SecretError};

/// What was found of some secrets.
pub(super) struct Secrets {
    pub(super) findings: Vec<Finding>,
    /// All of them are there.
    pub(super) are_there: bool,
}

/// Looks at the places of `kept`.
pub(super) fn look(kept: &[Kept<'_>], config: &Config) -> Secrets {
    let mut findings = Vec::new();
    let mut are_there = true;
    for Kept { key, place } in kept {
        let on = format!("{key} in {place}");
        findings.push(match secrets::look(place) {
            Ok(Place::Private) => Finding::ok(Check::Secret, on, "is there, and private"),
            Ok(Place::Open { mode }) => {
                let help = match place {
                    SecretRef::File(path) => format!("chmod 600 {}", super::files::quoted(path)),
                    SecretRef::Credential(_) | SecretRef::Env(_) => "make it private".to_owned(),
                };
                Finding::warning(Check::Secret, on, format!("mode {mode:04o} lets others than its owner use it"), help)
            }
            // A shell has no credentials: that says nothing about the service.
            Err(SecretError::NoCredentials { .. }) => {
                are_there = false;
                let why = "systemd gives credentials to the service only, and this is not the service";
                Finding::skipped(Check::Secret, on, why).with_help(as_the_service(config))
            }
            Err(error) => {
                are_there = false;
                let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
                let why = format!("{error}{}", source.unwrap_or_default());
                let help = format!("`{key}` in the configuration says where it is looked for");
                Finding::failure(Check::Secret, on, why, help, Exit::Configuration)
            }
        });
    }
    Secrets { findings, are_there }
}

/// How to look as the service does, with all credentials.
fn as_the_service(config: &Config) -> String {
    let mut names: Vec<&str> = config
        .secrets()
        .into_iter()
        .filter_map(|(_, kept)| match kept.place {
            SecretRef::Credential(name) => Some(name.as_str()),
            SecretRef::File(_) | SecretRef::Env(_) => None,
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    let load: Vec<String> =
        names.iter().map(|name| format!("-p LoadCredential={name}:/etc/authdrift/credentials/{name}")).collect();
    format!("sudo systemd-run --pipe --wait -q -p User=authdrift {} authdrift doctor", load.join(" "))
}
