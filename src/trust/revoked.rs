//! Keys that must not be believed at any time: a list of public keys, or a KRL as `ssh-keygen -k` writes it.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

use super::allowed_signers::{BadSigners, check_bytes, content_lines};
use super::sshsig::{BadKey, PublicKey, take_bytes};

/// Keys that must not be believed at any time, past approvals included.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RevokedKeys {
    /// Keys in their wire form, whatever their type.
    keys: BTreeSet<Vec<u8>>,
    /// What `ssh-keygen -k` writes for a public key. That others may have the same SHA-1 revokes too much at worst.
    sha1: BTreeSet<Vec<u8>>,
    sha256: BTreeSet<Vec<u8>>,
}

/// Why a file of revoked keys is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRevoked {
    /// A key revocation list that is cut, of another version, or holds what is not understood.
    #[error("this KRL is not understood: {0}; write it again with 'ssh-keygen -k', or list the public keys instead")]
    Krl(&'static str),
    /// Neither a KRL nor text.
    #[error("this is neither a KRL nor text; list the revoked public keys, one per line, or use 'ssh-keygen -k'")]
    NotText,
    /// A line is not a public key.
    #[error(transparent)]
    Line(#[from] BadSigners),
}

/// Key types that may not sign here, so that one list can serve `sshd` too.
const NEVER_SIGN: [&str; 3] = ["ssh-dss", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"];

impl RevokedKeys {
    /// Reads a KRL, or a list of public keys with comments, one per line.
    ///
    /// Keys that may not sign anyway (DSA, larger curves, short RSA) are passed over.
    ///
    /// # Errors
    /// The KRL holds what is not understood, or a line is not a public key: a key that was meant to be revoked could
    /// be in it.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadRevoked> {
        if let Some(rest) = bytes.strip_prefix(MAGIC) {
            return Self::parse_krl(rest).map_err(BadRevoked::Krl);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| BadRevoked::NotText)?;
        check_bytes(text)?;
        let mut revoked = Self::default();
        for (line, content) in content_lines(text) {
            match PublicKey::parse_openssh_line(content) {
                Ok(key) => {
                    revoked.keys.insert(key.wire());
                }
                Err(BadKey::WrongLength(_)) => {}
                Err(BadKey::UnsupportedType(name)) if NEVER_SIGN.contains(&name.as_str()) => {}
                Err(reason) => return Err(BadSigners { line, reason: reason.to_string() }.into()),
            }
        }
        Ok(revoked)
    }

    /// Whether `key` is revoked.
    pub fn contains(&self, key: &PublicKey) -> bool {
        let wire = key.wire();
        self.keys.contains(&wire)
            || self.sha256.contains(digest(&SHA256, &wire).as_ref())
            || self.sha1.contains(digest(&SHA1_FOR_LEGACY_USE_ONLY, &wire).as_ref())
    }

    /// Reads what follows the magic bytes of a KRL (`PROTOCOL.krl`).
    ///
    /// # Security
    /// Sections about certificates are passed over, because no certificate signs a baseline. What is not known refuses
    /// the file, unless it says of itself that it may be passed over. A signature of the KRL is not asked for and not
    /// checked: write access to the file is enough to revoke.
    fn parse_krl(bytes: &[u8]) -> Result<Self, &'static str> {
        const CUT: &str = "it is cut off";
        let mut rest = bytes;
        if rest.split_off(..4).ok_or(CUT)? != VERSION {
            return Err("it is of an unknown version");
        }
        // Its number, its date and its flags, which mean nothing yet.
        rest.split_off(..24).ok_or(CUT)?;
        for _reserved_and_comment in 0..2 {
            take_bytes(&mut rest).ok_or(CUT)?;
        }
        let mut revoked = Self::default();
        let mut is_signed = false;
        while let Some(section) = rest.split_off_first() {
            let mut data = take_bytes(&mut rest).ok_or(CUT)?;
            if is_signed && *section != SIGNATURE {
                return Err("something follows its signature");
            }
            match *section {
                CERTIFICATES => {}
                KEYS => fill(&mut revoked.keys, data, None)?,
                SHA1S => fill(&mut revoked.sha1, data, Some(SHA1_FOR_LEGACY_USE_ONLY.output_len))?,
                SHA256S => fill(&mut revoked.sha256, data, Some(SHA256.output_len))?,
                // The section is the key; the signature follows.
                SIGNATURE => {
                    take_bytes(&mut rest).ok_or(CUT)?;
                    is_signed = true;
                }
                EXTENSION => {
                    take_bytes(&mut data).ok_or(CUT)?;
                    if data.split_off_first() != Some(&0) {
                        return Err("it has a critical extension");
                    }
                }
                _ => return Err("it has an unknown section"),
            }
        }
        Ok(revoked)
    }
}

const MAGIC: &[u8] = b"SSHKRL\n\0";
const VERSION: [u8; 4] = 1u32.to_be_bytes();
const CERTIFICATES: u8 = 1;
const KEYS: u8 = 2;
const SHA1S: u8 = 3;
const SIGNATURE: u8 = 4;
const SHA256S: u8 = 5;
const EXTENSION: u8 = 255;

/// Takes the strings of one section, each of `length` bytes if that is known.
fn fill(set: &mut BTreeSet<Vec<u8>>, mut data: &[u8], length: Option<usize>) -> Result<(), &'static str> {
    while !data.is_empty() {
        let item = take_bytes(&mut data).ok_or("a section is cut off")?;
        if length.is_some_and(|length| item.len() != length) {
            return Err("a fingerprint is of the wrong length");
        }
        set.insert(item.to_vec());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
