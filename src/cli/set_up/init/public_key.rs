//! The public key of the approver: read, found in `~/.ssh`, or made for a trial.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::approval::sign::public_key_files;
use crate::cli::CliError;
use crate::exit::Exit;
use crate::model::display_safe;
use crate::trust::PublicKey;
use crate::trust::sshsig::{BadKey, KEY_TYPES};

/// The comment of a trial key, in every copy of its public half.
pub(super) const TRIAL_COMMENT: &str = "authdrift trial key, for this machine only";

/// More than the largest key that counts.
const LONGEST: u64 = 64 * 1024;

/// The line of a public key file.
#[derive(Debug, Clone)]
pub(super) struct PublicLine {
    pub(super) key: PublicKey,
    /// `KEYTYPE BASE64`, to be written on.
    pub(super) text: String,
    pub(super) comment: String,
}

impl PublicLine {
    /// Reads the text of a `.pub` file: one key.
    ///
    /// # Security
    /// Whatever file was named by mistake, no reason repeats any of it but the name of a key type.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        if text.contains("PRIVATE KEY-----") || text.starts_with("PuTTY-User-Key-File") {
            return Err("it is a private key".to_owned());
        }
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let (Some(line), None) = (lines.next(), lines.next()) else {
            return Err("it is not one public key".to_owned());
        };
        let key = PublicKey::parse_openssh_line(line).map_err(|error| match error {
            BadKey::UnsupportedType(name) if name.contains("-cert-v01@") => {
                format!("certificates are not accepted ({}); use the plain public key", display_safe(&name))
            }
            BadKey::UnsupportedType(name) if !is_key_type(&name) => BadKey::NotAKey.to_string(),
            other => other.to_string(),
        })?;
        let mut words = line.splitn(3, [' ', '\t']);
        let (kind, data) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let comment = words.next().unwrap_or_default().trim();
        let text = format!("{kind} {data}");
        // More than one blank between the two would put the key into the comment.
        if PublicKey::parse_openssh_line(&text).as_ref() != Ok(&key) {
            return Err(BadKey::NotAKey.to_string());
        }
        Ok(Self { key, text, comment: comment.to_owned() })
    }

    pub(super) fn read_file(path: &Path) -> Result<Self, CliError> {
        let shown = display_safe(&path.display().to_string());
        let bad = |reason: String| CliError::new(Exit::Usage, format!("cannot use the key '{shown}': {reason}"));
        let mut bytes = Vec::new();
        File::open(path).and_then(|file| file.take(LONGEST).read_to_end(&mut bytes)).map_err(|error| {
            bad(error.to_string()).with_help("name a public key, for example ~/.ssh/id_ed25519.pub")
        })?;
        let text = String::from_utf8_lossy(&bytes);
        Self::read(&text).map_err(|reason| {
            if reason != "it is a private key" {
                return bad(reason);
            }
            let public = format!("{shown}.pub");
            let help = if path.with_added_extension("pub").exists() {
                format!("the public one is '{public}'")
            } else {
                format!("`ssh-keygen -y -f '{shown}' > '{public}'` writes the public one")
            };
            bad("that is the private key, which nobody but its owner needs".to_owned()).with_help(help)
        })
    }
}

fn is_key_type(name: &str) -> bool {
    KEY_TYPES.contains(&name)
        || ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"].iter().any(|start| name.starts_with(start))
}

/// The public keys in `~/.ssh` that may approve, those on security keys first.
pub(super) fn of_this_user() -> Vec<(PathBuf, PublicLine)> {
    let (_, files) = public_key_files();
    let mut found: Vec<_> =
        files.into_iter().filter_map(|path| Some((path.clone(), PublicLine::read_file(&path).ok()?))).collect();
    found.sort_by_key(|(path, line)| (!line.key.proves_touch(), path.clone()));
    found
}

/// Makes a key without a passphrase and returns its public half.
pub fn make(path: &Path, comment: &str) -> Result<String, CliError> {
    let failed = |reason: String| {
        CliError::new(Exit::Unavailable, format!("cannot make a key: {}", display_safe(&reason)))
            .with_help("keys are made and used by OpenSSH; install openssh-client")
    };
    let output = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"])
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(format!("ssh-keygen cannot be run: {error}")))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    let public = fs::read_to_string(path.with_added_extension("pub")).map_err(|error| failed(error.to_string()))?;
    Ok(public.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEWcOr7Aei1lLuTjnVpEJtFE8ZLMNfnPqSVyJ7BCI1Sg";

    #[test]
    fn a_comment_is_no_part_of_the_key() {
        let line = PublicLine::read(&format!("{KEY} alice@example.com on a laptop\n")).unwrap();
        assert_eq!((line.text.as_str(), line.comment.as_str()), (KEY, "alice@example.com on a laptop"));
        assert_eq!(PublicLine::read(KEY).unwrap().comment, "");
    }

    #[test]
    fn what_is_no_public_key_is_not_repeated() {
        for secret in [
            "hunter2 hunter2",
            "sk_live_hunter2",
            "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n-----END OPENSSH PRIVATE KEY-----\n",
            "PuTTY-User-Key-File-3: hunter2",
            "",
            &format!("{KEY} hunter2\n{KEY}"),
            &format!("namespaces=\"hunter2\" {KEY}"),
            "ssh-ed25519 hunter2",
        ] {
            let reason = PublicLine::read(secret).unwrap_err();
            assert!(!reason.contains("hunter2"), "{reason}");
        }
        let certificate = PublicLine::read("ssh-ed25519-cert-v01@openssh.com AAAA alice").unwrap_err();
        assert!(certificate.contains("plain public key"), "{certificate}");
    }
}
