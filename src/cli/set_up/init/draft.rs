//! The text of the two files. What a key means is taken from config.example.toml, so that it is said in one place.

use std::fmt::Write;
use std::sync::LazyLock;

use chrono::NaiveDate;

use super::answers::{Answers, valid_until};
use super::folder::{Folder, FolderKind, SIGNERS, TRIAL_KEY};
use super::public_key::PublicLine;
use crate::model::Provider;
use crate::trust::statement::NAMESPACE;

const EXAMPLE: &str = include_str!("../../../../config.example.toml");

/// The credential, or the file, that holds the main secret of an instance.
pub(super) fn secret_name(provider: Provider, name: &str) -> String {
    format!("{provider}-{name}")
}

pub(super) struct Draft<'a> {
    pub(super) folder: &'a Folder,
    pub(super) answers: &'a Answers,
    pub(super) public: &'a PublicLine,
    pub(super) today: NaiveDate,
}

/// A key and its value. One that does not count is written as a comment.
type Key = (&'static str, String, bool);

impl Draft<'_> {
    pub(super) fn allowed_signers(&self) -> String {
        let mut text = String::from(
            "# Who may approve: a file of OpenSSH's allowed_signers format, one line for each key. Whoever can write it\n\
             # decides who approves, so it belongs to root where authdrift runs as a service.\n",
        );
        if self.answers.approver.key.is_none() {
            text.push_str(
                "#\n# A KEY FOR TRYING OUT, ON THIS MACHINE ONLY: it has no passphrase. Before this counts, put the line of your\n\
                 # own public key in its place, remove trial_key and trial_key.pub, and approve everything again.\n",
            );
        }
        let end = valid_until(self.today);
        let date = |day: NaiveDate| day.format("%Y%m%dZ").to_string();
        let _ = write!(
            text,
            "#\n# Can approve until {end}; what it signs before that stays good. Renew it in time.\n\
             {} namespaces=\"{NAMESPACE}\",valid-after=\"{}\",valid-before=\"{}\" {}\n",
            self.answers.approver.principal,
            date(self.today),
            date(end),
            self.public.text
        );
        text
    }

    pub(super) fn config(&self) -> String {
        let mut text = String::from(
            "# The configuration of authdrift, written by `authdrift init`. What begins with '#' and a key, like '#threshold',\n\
             # is off: remove the '#' to use it. config.example.toml has every key there is.\n#\n",
        );
        text.push_str(header());
        if self.answers.approver.key.is_none() {
            let _ = writeln!(
                text,
                "#\n# FOR TRYING OUT, ON THIS MACHINE ONLY: {TRIAL_KEY} has no passphrase. See {SIGNERS}."
            );
        }
        for (table, keys) in self.tables() {
            // A table counts if one of its keys does, or if its defaults are enough.
            let is_on = keys.iter().any(|(.., is_on)| *is_on) || table == "[store]";
            let _ = write!(text, "\n{}{}{table}\n", words(table, ""), sign(is_on));
            for (name, value, is_on) in keys {
                let _ = writeln!(text, "{}{}{name} = {value}", words(table, name), sign(is_on));
            }
        }
        text
    }

    fn tables(&self) -> Vec<(&'static str, Vec<Key>)> {
        let system = self.folder.kind == FolderKind::System;
        let database = if system { "/var/lib/authdrift/authdrift.db" } else { "authdrift.db" };
        let beside = |name: &str| if system { self.folder.file(name).display().to_string() } else { name.to_owned() };
        let mut tables = vec![
            ("[store]", vec![("path", string(database), self.folder.kind != FolderKind::Own)]),
            (
                "[approval]",
                vec![
                    ("allowed_signers", string(&beside(SIGNERS)), true),
                    ("revoked_keys", string(&beside("revoked_keys")), false),
                    ("threshold", "2".to_owned(), false),
                    ("require_touch", "true".to_owned(), false),
                ],
            ),
            ("[schedule]", vec![("cron", string("*/5 * * * *"), true)]),
        ];
        tables.extend(self.answers.clerk.as_ref().map(|clerk| {
            let name = secret_name(Provider::Clerk, &clerk.name);
            let keys = vec![
                ("name", string(&clerk.name), true),
                ("publishable_key", string(&clerk.publishable_key), true),
                ("secret_key", self.secret(&name), false),
                ("platform_token", self.secret(&format!("{name}-platform")), false),
                ("application_id", string("app_…"), false),
            ];
            ("[[clerk]]", keys)
        }));
        tables.extend(self.answers.auth0.as_ref().map(|auth0| {
            let keys = vec![
                ("name", string(&auth0.name), true),
                ("domain", string(&auth0.domain), true),
                ("client_id", string(&auth0.client_id), true),
                ("client_secret", self.secret(&secret_name(Provider::Auth0, &auth0.name)), true),
                ("rate", string("free"), false),
            ];
            ("[[auth0]]", keys)
        }));
        let email = vec![
            ("name", string("security"), false),
            ("host", string("smtp.example.com"), false),
            ("username", string("authdrift@example.com"), false),
            ("password", self.secret("smtp"), false),
            ("from", string("authdrift <authdrift@example.com>"), false),
            ("to", "[\"security@example.com\"]".to_owned(), false),
            ("min_severity", string("medium"), false),
        ];
        let webhook = vec![
            ("name", string("siem"), false),
            ("url", string("https://siem.example.com/hooks/authdrift"), false),
            ("secret", self.secret("siem"), false),
        ];
        tables.extend([("[[email]]", email), ("[[webhook]]", webhook)]);
        tables
    }

    fn secret(&self, name: &str) -> String {
        let place = if self.folder.kind == FolderKind::System { "credential" } else { "file" };
        format!("{{ {place} = {} }}", string(name))
    }
}

fn string(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn sign(is_on: bool) -> &'static str {
    if is_on { "" } else { "#" }
}

/// The general part of the example's head.
fn header() -> &'static str {
    let head = EXAMPLE.split("\n\n").next().unwrap_or_default();
    let start = head.find("# Relative paths").unwrap_or_default();
    let end = (head.len() + 1).min(EXAMPLE.len());
    EXAMPLE.get(start..end).unwrap_or_default()
}

/// A table (with an empty key) or a key of the example, and the comment before it.
type Words = ((String, String), String);

/// The comment of a key in the example; of a table, if `key` is empty. Of several, the first that says something.
fn words(table: &str, key: &str) -> &'static str {
    static KNOWN: LazyLock<Vec<Words>> = LazyLock::new(read_example);
    KNOWN.iter().find(|((of, name), _)| of == table && name == key).map_or("", |(_, comment)| comment)
}

fn read_example() -> Vec<Words> {
    let mut known = Vec::new();
    let (mut table, mut comment) = (String::new(), String::new());
    for line in EXAMPLE.lines() {
        if line.starts_with('#') {
            comment.push_str(line);
            comment.push('\n');
            continue;
        }
        let name = if line.starts_with('[') {
            table = line.to_owned();
            Some("")
        } else {
            line.split_once(" = ").map(|(name, _)| name)
        };
        // A later table of a kind explains what is different about it.
        if let Some(name) = name
            && (name.is_empty() || !comment.is_empty())
        {
            known.push(((table.clone(), name.to_owned()), comment.clone()));
        }
        comment.clear();
    }
    known
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::answers::{Approver, Auth0Answers};
    use super::*;
    use crate::config::{self, Auth0Credential, SecretRef, Source, Sources};

    #[test]
    fn every_key_that_needs_words_has_them_in_the_example() {
        for (table, keys) in [
            ("[store]", &["path"][..]),
            ("[approval]", &["allowed_signers", "revoked_keys", "threshold", "require_touch"]),
            ("[schedule]", &["cron"]),
            ("[[clerk]]", &["name", "publishable_key", "secret_key", "platform_token", "application_id"]),
            ("[[auth0]]", &["domain", "client_id", "rate"]),
            ("[[email]]", &["host", "username", "from", "min_severity"]),
            ("[[webhook]]", &["url", "secret"]),
        ] {
            for key in keys {
                let words = words(table, key);
                assert!(words.starts_with("# ") && words.ends_with('\n'), "{table} {key}: '{words}'");
                assert!(!words.contains("As above"), "{table} {key}: '{words}'");
            }
        }
        assert!(header().starts_with("# Relative paths") && header().contains("Secrets are never written"));
        assert!(header().ends_with('\n') && header().lines().all(|line| line.starts_with('#')), "{}", header());
    }

    #[test]
    fn each_kind_of_folder_has_its_place_for_database_and_secrets() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEWcOr7Aei1lLuTjnVpEJtFE8ZLMNfnPqSVyJ7BCI1Sg";
        let public = PublicLine::read(key).unwrap();
        let approver = Approver { principal: "alice@example.com".to_owned(), key: Some(public.clone()), file: None };
        let auth0 = Auth0Answers {
            name: "acme".to_owned(),
            domain: "acme.eu.auth0.com".to_owned(),
            client_id: "aBcDeFgHiJkLmNoP".to_owned(),
        };
        let answers = Answers { clerk: None, auth0: Some(auth0), approver };
        let credential = || SecretRef::Credential("auth0-acme".to_owned());
        let file = |path: &str| SecretRef::File(path.into());
        for (path, kind, database, secret) in [
            ("/etc/authdrift", FolderKind::System, "/var/lib/authdrift/authdrift.db", credential()),
            (
                "/h/.config/authdrift",
                FolderKind::Own,
                "/h/state/authdrift/authdrift.db",
                file("/h/.config/authdrift/auth0-acme"),
            ),
            ("/h/try", FolderKind::Whole, "/h/try/authdrift.db", file("/h/try/auth0-acme")),
        ] {
            let folder = Folder { path: path.into(), kind };
            let today = "2026-11-22".parse().unwrap();
            let draft = Draft { folder: &folder, answers: &answers, public: &public, today };
            let now = "2026-11-22T04:00:00Z".parse().unwrap();
            let (text, file) = (draft.config(), format!("{path}/config.toml"));
            let xdg_state = Some("/h/state".into());
            let sources = Sources { file: &file, text: &text, state_directory: None, xdg_state, now };
            let config = config::parse(&sources).unwrap_or_else(|problems| panic!("{problems}"));
            assert_eq!(config.store, Path::new(database));
            assert_eq!(config.approval.allowed_signers, folder.file(SIGNERS));
            let Source::Auth0(auth0) = &config.instances[0].source else { panic!() };
            let Auth0Credential::ClientSecret { secret: found, .. } = &auth0.credential else { panic!() };
            assert_eq!(*found, secret);
        }
    }
}
