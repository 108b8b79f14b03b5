//! Secrets: each exists where the configuration says, is private, and has the form of a secret.

use std::path::Path;

use crate::cli::Context;
use crate::cli::context::SYSTEM_FOLDER;
use crate::cli::set_up::init::quoted;
use crate::config::{Config, SecretRef, SecretUse};
use crate::diagnosis::{Check, CheckResult};
use crate::exit::Exit;
use crate::secrets::{self, SecretError, SecretFile};

pub(super) struct Secrets {
    pub(super) findings: Vec<CheckResult>,
    /// All of them are there.
    pub(super) are_there: bool,
}

pub(super) fn check(kept: &[SecretUse<'_>], context: &Context) -> Secrets {
    let mut findings = Vec::new();
    let mut are_there = true;
    for kept in kept {
        let SecretUse { key, place } = kept;
        let on = format!("{key} in {place}");
        let found = secrets::inspect(place).and_then(|found| secrets::read_use(kept).map(|_| found));
        findings.push(match found {
            Ok(SecretFile::Private) => Check::Secret.ok(on, "is there, and private"),
            Ok(SecretFile::Open { mode }) => {
                let help = match place {
                    SecretRef::File(path) => format!("chmod 600 {}", quoted(path)),
                    SecretRef::Credential(_) | SecretRef::Env(_) => "make it private".to_owned(),
                };
                Check::Secret.warning(on, format!("mode {mode:04o} lets others than its owner use it"), help)
            }
            // A shell has no credentials: that says nothing about the service.
            Err(SecretError::NoCredentials { .. }) => {
                are_there = false;
                let why = "systemd gives credentials to the service only, and this is not the service";
                Check::Secret.skipped(on, why).with_help(as_the_service(&context.file, &context.config))
            }
            Err(error) => {
                are_there = false;
                let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
                let why = format!("{error}{}", source.unwrap_or_default());
                let help = format!("`{key}` in the configuration says where it is looked for");
                Check::Secret.failure(on, why, help, Exit::Configuration)
            }
        });
    }
    Secrets { findings, are_there }
}

/// The command that runs `doctor` as the service, with all credentials.
fn as_the_service(file: &Path, config: &Config) -> String {
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
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let program = match file == Path::new(SYSTEM_FOLDER).join("config.toml") {
        true => "authdrift".to_owned(),
        false => format!("authdrift --config {}", quoted(&file)),
    };
    let load = load.join(" ");
    format!("sudo systemd-run --pipe --wait -q -p User=authdrift -p StateDirectory=authdrift {load} {program} doctor")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, parse};

    #[test]
    fn the_command_that_looks_as_the_service_names_a_file_that_is_not_the_usual_one() {
        let text = "[[auth0]]\nname = \"acme\"\ndomain = \"acme.eu.auth0.com\"\nclient_id = \"x\"\n\
                    client_secret = { credential = \"auth0-acme\" }";
        let state = Some("/state".into());
        let now = chrono::DateTime::default();
        let config = parse(&Sources { file: "/c.toml", text, state_directory: state, xdg_state: None, now }).unwrap();
        let as_service = "sudo systemd-run --pipe --wait -q -p User=authdrift -p StateDirectory=authdrift \
                          -p LoadCredential=auth0-acme:/etc/authdrift/credentials/auth0-acme authdrift";
        for (file, expected) in
            [("/etc/authdrift/config.toml", " doctor"), ("/srv/it's/c.toml", r" --config '/srv/it'\''s/c.toml' doctor")]
        {
            assert_eq!(as_the_service(Path::new(file), &config), format!("{as_service}{expected}"));
        }
    }
}
