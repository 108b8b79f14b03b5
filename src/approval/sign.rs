//! Signing, through `ssh-keygen`: it already knows agents, passphrases, security keys and smart cards.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::proposal::SignedText;
use super::{ApprovalError, Proposal};
use crate::model::display_safe;
use crate::trust::statement::{Approval, NAMESPACE, Statement};
use crate::trust::{AllowedSigners, PublicKey};

/// A key and its principal.
#[derive(Debug, Clone)]
pub struct SigningKey {
    /// Private key, or public key whose private half is in the agent.
    pub key: PathBuf,
    /// The principal that it signs for.
    pub principal: String,
    /// The file that `key` names, if it was only made to name a key of the agent; removed on drop.
    lent: Option<Arc<tempfile::TempPath>>,
}

impl SigningKey {
    /// Finds the principal of a key. Without a list of signers `named` has to say it; with one, it has to be right.
    pub fn of_key(key: &Path, signers: Option<&AllowedSigners>, named: Option<&str>) -> Result<Self, ApprovalError> {
        let public = public_key(key)?;
        let principal = match (signers, named) {
            (None, Some(named)) => named.to_owned(),
            (None, None) => return Err(ApprovalError::NoPrincipal(public.fingerprint())),
            (Some(signers), named) => principal_of(&public, signers, named)?,
        };
        Ok(Self { key: key.to_owned(), principal, lent: None })
    }

    /// Finds the one key of this person that may sign: by its public half in `~/.ssh`, or in the SSH agent.
    pub fn find(signers: &AllowedSigners, named: Option<&str>) -> Result<Self, ApprovalError> {
        let mut looked_at = Vec::new();
        let mut found: Vec<(PublicKey, Self)> = Vec::new();
        let (folder, files) = public_key_files();
        for path in &files {
            let (Ok(public), Ok(signer)) = (public_key(path), Self::of_key(path, Some(signers), named)) else {
                continue;
            };
            if !found.iter().any(|(known, _)| *known == public) {
                // The private half beside it, if it is a file; else the agent has it.
                let private = path.with_extension("");
                found.push((public, if private.exists() { Self { key: private, ..signer } } else { signer }));
            }
        }
        looked_at.push(format!("{} public keys in {folder}", files.len()));
        match keys_of_agent() {
            Ok(keys) => {
                looked_at.push(format!("{} keys of the SSH agent", keys.len()));
                for line in keys {
                    let Ok(public) = PublicKey::parse_openssh_line(&line) else { continue };
                    let is_known = found.iter().any(|(known, _)| *known == public);
                    let Some(principal) = principal_of(&public, signers, named).ok().filter(|_| !is_known) else {
                        continue;
                    };
                    let signer = Self::in_agent(&line, principal)?;
                    found.push((public, signer));
                }
            }
            Err(reason) => looked_at.push(format!("no SSH agent: {reason}")),
        }
        if found.len() > 1 {
            let names: Vec<_> = found.iter().map(|(public, signer)| signer.name(public)).collect();
            return Err(ApprovalError::ManyKeys(names.join(", ")));
        }
        found.pop().map(|(_, signer)| signer).ok_or(ApprovalError::NoKey(looked_at))
    }

    /// A key that only the agent has: `ssh-keygen` wants its public half as a file.
    fn in_agent(line: &str, principal: String) -> Result<Self, ApprovalError> {
        let failed = |error: io::Error| ApprovalError::Sign(format!("cannot write the public key for it: {error}"));
        let mut file = tempfile::Builder::new().suffix(".pub").tempfile().map_err(failed)?;
        writeln!(file, "{line}").map_err(failed)?;
        let key = file.path().to_owned();
        Ok(Self { key, principal, lent: Some(Arc::new(file.into_temp_path())) })
    }

    fn name(&self, public: &PublicKey) -> String {
        match &self.lent {
            Some(_) => format!("{} of the SSH agent", public.fingerprint()),
            None => self.key.display().to_string(),
        }
    }
}

/// The name of `~/.ssh`, and the files of public keys in it.
pub fn public_key_files() -> (String, Vec<PathBuf>) {
    let Some(home) = std::env::var_os("HOME") else { return ("~/.ssh".to_owned(), Vec::new()) };
    let folder = PathBuf::from(home).join(".ssh");
    let entries = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let files = entries.filter(|path| path.extension().is_some_and(|end| end == "pub")).collect();
    (folder.display().to_string(), files)
}

/// The public halves of the keys in the SSH agent, or why there is none to ask.
fn keys_of_agent() -> Result<Vec<String>, String> {
    if std::env::var_os("SSH_AUTH_SOCK").is_none() {
        return Err("SSH_AUTH_SOCK is not set".to_owned());
    }
    let output = Command::new("ssh-add").arg("-L").stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("ssh-add cannot be run: {error}"))?;
    match output.status.code() {
        Some(0) => Ok(String::from_utf8_lossy(&output.stdout).lines().map(|line| line.trim().to_owned()).collect()),
        // It has no keys.
        Some(1) => Ok(Vec::new()),
        _ => Err(sentence(&output.stderr)),
    }
}

/// What `ssh-keygen` and `ssh-add` say, on one line and without the frames they draw around a warning.
fn sentence(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('@'));
    display_safe(&lines.collect::<Vec<_>>().join(" "))
}

fn principal_of(public: &PublicKey, signers: &AllowedSigners, named: Option<&str>) -> Result<String, ApprovalError> {
    let owners = signers.principals_of(public);
    match (named, owners.as_slice()) {
        (_, []) => Err(ApprovalError::NoPrincipal(public.fingerprint())),
        (Some(named), owners) if owners.contains(&named) => Ok(named.to_owned()),
        (Some(named), owners) => {
            Err(ApprovalError::NotThatPrincipal { named: named.to_owned(), owners: owners.join(", ") })
        }
        (None, [owner]) => Ok((*owner).to_owned()),
        (None, owners) => Err(ApprovalError::ManyPrincipals(owners.join(", "))),
    }
}

/// The public half of `key`: the file itself, the `.pub` beside it, or what `ssh-keygen` finds in it.
fn public_key(key: &Path) -> Result<PublicKey, ApprovalError> {
    let bad = |reason: String| ApprovalError::Key { path: key.to_owned(), reason };
    let beside = key.with_added_extension("pub");
    for path in [key, beside.as_path()] {
        if let Ok(text) = fs::read_to_string(path)
            && let Ok(public) = PublicKey::parse_openssh_line(text.trim())
        {
            return Ok(public);
        }
    }
    let output = Command::new("ssh-keygen")
        .arg("-y")
        .arg("-f")
        .arg(key)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| bad(format!("ssh-keygen cannot be run: {error}")))?;
    if !output.status.success() {
        return Err(bad(sentence(&output.stderr)));
    }
    PublicKey::parse_openssh_line(String::from_utf8_lossy(&output.stdout).trim())
        .map_err(|error| bad(error.to_string()))
}

/// Signs `proposal` in the signer's name and adds the statement to it.
pub fn sign(
    proposal: &mut Proposal,
    signer: &SigningKey,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<(), ApprovalError> {
    let approval = Approval { approver: signer.principal.clone(), at: now, reason: reason.to_owned() };
    let statement = Statement::new(proposal.subject.clone(), approval)
        .to_bytes()
        .map_err(|error| ApprovalError::Statement(error.to_string()))?;
    let signature = ssh_keygen(&signer.key, &statement)?;
    let statement = String::from_utf8(statement).map_err(|error| ApprovalError::Statement(error.to_string()))?;
    proposal.statements.push(SignedText { statement, signature });
    Ok(())
}

fn ssh_keygen(key: &Path, statement: &[u8]) -> Result<String, ApprovalError> {
    let failed = |error: io::Error| ApprovalError::Sign(error.to_string());
    // A passphrase and a PIN are asked for on the terminal itself. That a security key waits for a touch is said in one place
    // with everything else that `ssh-keygen` says, which is kept for the error.
    if io::stderr().is_terminal() && public_key(key).is_ok_and(|public| public.proves_touch()) {
        writeln!(io::stderr(), "Touch the security key when it blinks.").map_err(failed)?;
    }
    // The bytes go through standard input, so nothing is left behind.
    let mut child = Command::new("ssh-keygen")
        .args(["-q", "-Y", "sign", "-n", NAMESPACE, "-f"])
        .arg(key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    // If it ends before it has read everything, what it says counts, not that the pipe broke.
    let written = child.stdin.take().map(|mut input| input.write_all(statement));
    let output = child.wait_with_output().map_err(failed)?;
    if !output.status.success() {
        return Err(ApprovalError::Sign(sentence(&output.stderr)));
    }
    if let Some(Err(error)) = written {
        return Err(failed(error));
    }
    String::from_utf8(output.stdout).map_err(|error| ApprovalError::Sign(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_that_matters_is_kept_and_the_frame_is_not() {
        let said = "@@@@@@@@@@@@@\r\n@  WARNING: UNPROTECTED PRIVATE KEY FILE!  @\r\n@@@@@@@@@@@@@\r\n\
                    Permissions 0644 for 'key' are too open.\r\nThis private key will be ignored.\r\n";
        assert_eq!(
            sentence(said.as_bytes()),
            "Permissions 0644 for 'key' are too open. This private key will be ignored."
        );
        assert_eq!(sentence(b"\n"), "");
    }
}
