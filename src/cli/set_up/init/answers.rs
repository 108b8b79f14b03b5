//! The answers that a configuration is made from: flags, or questions on a terminal.

use std::path::PathBuf;

use chrono::{DateTime, Days, NaiveDate, Utc};

use super::InitOptions;
use super::folder::{Folder, TRIAL_KEY};
use super::public_key::{self, PublicLine};
use crate::cli::{CliError, prompt};
use crate::config::{PublishableKey, is_domain};
use crate::exit::Exit;
use crate::model::display_safe;
use crate::model::instance::is_valid_name;

/// How long a key may approve before its entry must be renewed.
const VALIDITY: Days = Days::new(365);

#[derive(Debug)]
pub(super) struct Answers {
    pub(super) clerk: Option<ClerkAnswers>,
    pub(super) auth0: Option<Auth0Answers>,
    pub(super) approver: Approver,
}

#[derive(Debug)]
pub(super) struct ClerkAnswers {
    pub(super) name: String,
    pub(super) publishable_key: String,
}

#[derive(Debug)]
pub(super) struct Auth0Answers {
    pub(super) name: String,
    pub(super) domain: String,
    pub(super) client_id: String,
}

#[derive(Debug)]
pub(super) struct Approver {
    pub(super) principal: String,
    /// None: a key for trying out is made.
    pub(super) key: Option<PublicLine>,
    /// Where the public key was read.
    pub(super) file: Option<PathBuf>,
}

/// The principal of a trial key. It names no person, so that no alert looks as if a person had approved.
pub(in crate::cli) const TRIAL: &str = "trial@localhost";

impl Answers {
    /// Takes the options and asks for the rest.
    pub(super) fn ask(options: &InitOptions, now: DateTime<Utc>) -> Result<Self, CliError> {
        let is_asked = options.clerk.is_none() && options.auth0.is_none();
        let watch_clerk = if !is_asked {
            options.clerk.is_some()
        } else if prompt::is_terminal() {
            prompt::choose("To watch", &["a Clerk instance".to_owned(), "an Auth0 tenant".to_owned()])? == 0
        } else {
            return Err(CliError::new(Exit::Usage, "there is nothing to watch, and no terminal to ask on")
                .with_help("say --clerk NAME --publishable-key KEY, or --auth0 NAME --domain DOMAIN --client-id ID"));
        };
        let clerk = watch_clerk.then(|| clerk(options)).transpose()?;
        let watch_auth0 = options.auth0.is_some() || !watch_clerk;
        let auth0 = watch_auth0.then(|| auth0(options)).transpose()?;
        let approver = approver(options, now)?;
        Ok(Self { clerk, auth0, approver })
    }
}

impl Approver {
    /// The key to sign with: the private half if it is a file, else the public one, whose other half the agent has.
    pub(super) fn signing_key(&self, folder: &Folder) -> PathBuf {
        let Some(file) = &self.file else { return folder.file(TRIAL_KEY) };
        let is_public = file.extension().is_some_and(|end| end == "pub");
        let private = Some(file.with_extension("")).filter(|private| is_public && private.exists());
        let key = private.unwrap_or_else(|| file.clone());
        std::path::absolute(&key).unwrap_or(key)
    }
}

fn clerk(options: &InitOptions) -> Result<ClerkAnswers, CliError> {
    let name = name(options.clerk.as_ref(), "--clerk")?;
    let question = "Clerk Dashboard > Configure > API keys; it is not a secret.\nPublishable key";
    let check = |key: &str| PublishableKey::decode(key).map(drop).map_err(|error| format!("it {error}"));
    let publishable_key = given_or_asked(options.publishable_key.as_ref(), "--publishable-key", question, None, check)?;
    Ok(ClerkAnswers { name, publishable_key })
}

fn auth0(options: &InitOptions) -> Result<Auth0Answers, CliError> {
    let name = name(options.auth0.as_ref(), "--auth0")?;
    let question = "The tenant's own domain, like acme.eu.auth0.com, not a custom one.\nDomain";
    let check = |domain: &str| {
        let is_good = is_domain(&domain.to_ascii_lowercase());
        is_good.then_some(()).ok_or_else(|| "it is not a host name like acme.eu.auth0.com".to_owned())
    };
    let domain = given_or_asked(options.domain.as_ref(), "--domain", question, None, check)?;
    let question = "Of the machine-to-machine application that authdrift signs in as.\nClient ID";
    let check = |id: &str| match id.len() {
        0 => Err("it is empty".to_owned()),
        // Client secrets have 64.
        1..=48 if id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) => Ok(()),
        _ => Err("it is not a client ID; a client secret is never written here".to_owned()),
    };
    let client_id = given_or_asked(options.client_id.as_ref(), "--client-id", question, None, check)?;
    Ok(Auth0Answers { name, domain, client_id })
}

/// The last day on which a key that is listed today may approve.
pub(super) fn valid_until(today: NaiveDate) -> NaiveDate {
    today.checked_add_days(VALIDITY).unwrap_or(today)
}

fn name(given: Option<&String>, flag: &str) -> Result<String, CliError> {
    let check = |name: &str| {
        let rule = "it may have 1 to 64 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit";
        is_valid_name(name).then_some(()).ok_or_else(|| rule.to_owned())
    };
    given_or_asked(given, flag, "Name for it", Some("prod".to_owned()), check)
}

fn approver(options: &InitOptions, now: DateTime<Utc>) -> Result<Approver, CliError> {
    let (file, key) = match (&options.key, options.new_key) {
        (Some(file), _) => (Some(file.clone()), Some(PublicLine::read_file(file)?)),
        (None, true) => (None, None),
        (None, false) if prompt::is_terminal() => choose_key()?,
        (None, false) => {
            return Err(missing(
                "--key",
                "it is the SSH public key of whoever may approve; to try out, --new-key makes one",
            ));
        }
    };
    let until = valid_until(now.date_naive());
    let principal = match (&options.approver, &key) {
        (Some(given), _) => {
            check_principal(given).map_err(|reason| {
                CliError::new(Exit::Usage, format!("--approver '{}' cannot be used: {reason}", display_safe(given)))
            })?;
            given.clone()
        }
        (None, None) => TRIAL.to_owned(),
        (None, Some(line)) => {
            let comment = Some(line.comment.clone()).filter(|comment| is_address(comment));
            match comment {
                Some(comment) if !prompt::is_terminal() || options.key.is_some() => comment,
                comment => {
                    let question = format!("The key can approve until {until}. Alerts will name its owner.\nApprover");
                    given_or_asked(None, "--approver", &question, comment, check_principal)?
                }
            }
        }
    };
    Ok(Approver { principal, key, file })
}

fn choose_key() -> Result<(Option<PathBuf>, Option<PublicLine>), CliError> {
    let mut known = public_key::of_this_user();
    let mut items: Vec<String> = known
        .iter()
        .map(|(path, line)| {
            let touch = if line.key.proves_touch() { ", on a security key" } else { "" };
            let kind = line.text.split(' ').next().unwrap_or_default();
            format!("{} ({kind}{touch}) {}", display_safe(&path.display().to_string()), display_safe(&line.comment))
        })
        .collect();
    items.push("another file".to_owned());
    items.push("make a key for trying out, on this machine only".to_owned());
    let chosen = prompt::choose("SSH key that may approve", &items)?;
    if chosen < known.len() {
        let (path, line) = known.swap_remove(chosen);
        return Ok((Some(path), Some(line)));
    }
    if chosen > known.len() {
        return Ok((None, None));
    }
    let check = |path: &str| {
        let read = PublicLine::read_file(&expanded(path)).map(drop);
        read.map_err(|error| error.help.unwrap_or(error.message))
    };
    let path = expanded(&prompt::text("File of the public key", None, check)?);
    let line = PublicLine::read_file(&path)?;
    Ok((Some(path), Some(line)))
}

/// Expands `~/`, because no shell has seen the answer.
fn expanded(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => PathBuf::from(path),
    }
}

/// The value of an option, or the answer to a question.
fn given_or_asked(
    given: Option<&String>,
    flag: &str,
    question: &str,
    default: Option<String>,
    check: impl Fn(&str) -> Result<(), String>,
) -> Result<String, CliError> {
    match given {
        // What was given may be a secret by mistake, so it is not repeated.
        Some(given) => match check(given) {
            Ok(()) => Ok(given.clone()),
            Err(reason) => Err(CliError::new(Exit::Usage, format!("{flag} cannot be used: {reason}"))),
        },
        None if prompt::is_terminal() => prompt::text(question, default, check),
        None => Err(missing(flag, question.lines().next().unwrap_or_default())),
    }
}

fn missing(flag: &str, help: &str) -> CliError {
    CliError::new(Exit::Usage, format!("{flag} is missing, and there is no terminal to ask on")).with_help(help)
}

/// Checks that a name is one plain word that means itself in `allowed_signers`, here and to OpenSSH.
fn check_principal(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > 200 {
        return Err("it has to have 1 to 200 characters".to_owned());
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"@._+-/:".contains(&byte)) || name.starts_with('-') {
        return Err("it has to be one word of letters, digits and @ . _ + - / :, like a mail address".to_owned());
    }
    Ok(())
}

/// Whether a comment names a person. `root@laptop`, which `ssh-keygen` writes by itself, does not.
fn is_address(comment: &str) -> bool {
    let parts = comment.split_once('@');
    parts.is_some_and(|(who, at)| !who.is_empty() && !at.contains('@') && is_domain(&at.to_ascii_lowercase()))
        && check_principal(comment).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_is_taken_for_a_name_only_if_it_is_a_mail_address() {
        for (comment, expected) in [
            ("alice@example.com", true),
            ("alice+ssh@mail.example.com", true),
            ("root@laptop", false),
            ("alice", false),
            ("", false),
            ("@example.com", false),
            ("alice@a@example.com", false),
            ("alice@example.com work", false),
            ("*@example.com", false),
        ] {
            assert_eq!(is_address(comment), expected, "{comment}");
        }
    }

    #[test]
    fn a_principal_is_one_plain_word() {
        for good in ["alice@example.com", "alice", "team/ops:alice"] {
            assert_eq!(check_principal(good), Ok(()), "{good}");
        }
        for bad in
            ["", "a b", "a,b", "*", "a?", "!a", "a\"b", "a\nb", "a\tb", "#a", "a=b", "-a", "ä", "a\\b", "a\u{202e}b"]
        {
            assert!(check_principal(bad).is_err(), "{bad}");
        }
    }
}
