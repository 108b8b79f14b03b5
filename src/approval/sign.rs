//! Signing, through `ssh-keygen`: it already knows agents, passphrases, security keys and smart cards.

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use chrono::{DateTime, Utc};

use super::proposal::SignedText;
use super::{ApprovalError, Proposal};
use crate::model::display_safe;
use crate::trust::statement::{Approval, NAMESPACE, Statement};
use crate::trust::{AllowedSigners, PublicKey};

/// A key, and whose it is.
#[derive(Debug, Clone)]
pub struct Signer {
    /// Private key, or public key whose private half is in the agent.
    pub key: PathBuf,
    /// In whose name.
    pub principal: String,
}

impl Signer {
    /// Finds out in whose name a key signs. Without a list of signers `named` has to say it; with one, it has to be right.
    ///
    /// # Errors
    /// The key cannot be read, or is of nobody, of several, or of somebody else.
    pub fn of_key(key: &Path, signers: Option<&AllowedSigners>, named: Option<&str>) -> Result<Self, ApprovalError> {
        let public = public_key(key)?;
        let principal = match (signers, named) {
            (None, Some(named)) => named.to_owned(),
            (None, None) => return Err(ApprovalError::NoPrincipal(public.fingerprint())),
            (Some(signers), named) => principal_of(&public, signers, named)?,
        };
        Ok(Self { key: key.to_owned(), principal })
    }

    /// Finds the one key of this person that may sign: in `~/.ssh`, by its public half.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub fn find(signers: &AllowedSigners, named: Option<&str>) -> Result<Self, ApprovalError> {
        let folder = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".ssh"));
        let entries = folder.and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten().flatten();
        let mut found: Vec<Self> = Vec::new();
        for path in entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "pub")) {
            if let Ok(signer) = Self::of_key(&path, Some(signers), named) {
                found.push(signer);
            }
        }
        if found.len() > 1 {
            let names: Vec<_> = found.iter().map(|signer| signer.key.display().to_string()).collect();
            return Err(ApprovalError::ManyKeys(names.join(", ")));
        }
        let mut signer = found.pop().ok_or(ApprovalError::NoKey)?;
        // The private half beside it, if it is a file; else the agent has it.
        let private = signer.key.with_extension("");
        if private.exists() {
            signer.key = private;
        }
        Ok(signer)
    }
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
        return Err(bad(display_safe(String::from_utf8_lossy(&output.stderr).trim())));
    }
    PublicKey::parse_openssh_line(String::from_utf8_lossy(&output.stdout).trim())
        .map_err(|error| bad(error.to_string()))
}

/// Signs `proposal` in the signer's name and adds the statement to it.
///
/// # Errors
/// `ssh-keygen` is missing, refuses the key, or the person gives up at its prompt.
pub fn sign(proposal: &mut Proposal, signer: &Signer, reason: &str, now: DateTime<Utc>) -> Result<(), ApprovalError> {
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
    let failed = |error: std::io::Error| ApprovalError::Sign(error.to_string());
    // The bytes go through standard input, so nothing is left behind; prompts use the terminal.
    let mut child = Command::new("ssh-keygen")
        .args(["-Y", "sign", "-n", NAMESPACE, "-f"])
        .arg(key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // A security key asks there to be touched.
        .stderr(if std::io::stderr().is_terminal() { Stdio::inherit() } else { Stdio::piped() })
        .spawn()
        .map_err(failed)?;
    // If it ends before it has read everything, what it says counts, not that the pipe broke.
    let written = child.stdin.take().map(|mut input| input.write_all(statement));
    let output = child.wait_with_output().map_err(failed)?;
    if !output.status.success() {
        return Err(ApprovalError::Sign(display_safe(String::from_utf8_lossy(&output.stderr).trim())));
    }
    if let Some(Err(error)) = written {
        return Err(failed(error));
    }
    String::from_utf8(output.stdout).map_err(|error| ApprovalError::Sign(error.to_string()))
}
