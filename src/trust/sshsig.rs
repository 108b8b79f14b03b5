//! SSH signatures (`PROTOCOL.sshsig`), verified in this process. The only file that knows the `ssh_key` crate.
//!
//! A good signature says that the holder of a key signed these bytes for this namespace, and no more: who the key
//! belongs to and whether it may approve is for [`crate::trust::allowed_signers`].
//!
//! RSA is verified by `aws-lc-rs`, which the program has for TLS anyway. The `rsa` crate, which `ssh_key` would use, has
//! an open advisory (RUSTSEC-2023-0071).

use std::fmt;

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512, RsaPublicKeyComponents};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ssh_key::public::{KeyData, RsaPublicKey};
use ssh_key::{EcdsaCurve, HashAlg, SshSig};

use crate::model::display_safe;

/// The key types that may sign, as OpenSSH writes them. DSA is left out on purpose.
pub const KEY_TYPES: [&str; 5] =
    ["ssh-ed25519", "ecdsa-sha2-nistp256", "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com", RSA];

const RSA: &str = "ssh-rsa";

/// The lengths of RSA keys in bits: shorter ones are weak, and longer ones are not supported.
const RSA_BITS: std::ops::RangeInclusive<usize> = 3072..=8192;

/// The public half of an SSH key, of one of [`KEY_TYPES`]. Comments do not count.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(Box<KeyData>);

impl PublicKey {
    /// Reads `KEYTYPE BASE64 [COMMENT]`, the form of a `.pub` file.
    pub fn parse_openssh_line(line: &str) -> Result<Self, BadKey> {
        let mut words = line.split_ascii_whitespace();
        let (Some(key_type), Some(data)) = (words.next(), words.next()) else {
            return Err(BadKey::NotAKey);
        };
        if !KEY_TYPES.contains(&key_type) {
            return Err(BadKey::UnsupportedType(key_type.to_owned()));
        }
        let wire = STANDARD.decode(data).map_err(|_| BadKey::NotAKey)?;
        let key = Self::from_wire(&wire)?;
        if key.0.algorithm().as_str() == key_type { Ok(key) } else { Err(BadKey::NotAKey) }
    }

    /// `SHA256:…`, as `ssh-keygen -l` shows it.
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint(HashAlg::Sha256).to_string()
    }

    /// The key as it is in files and signatures, without its comment. There is one spelling of it.
    pub fn wire(&self) -> Vec<u8> {
        ssh_key::PublicKey::from(KeyData::clone(&self.0)).to_bytes().unwrap_or_default()
    }

    /// Whether signatures of the key say if it was touched: it is on a security key.
    pub fn proves_touch(&self) -> bool {
        matches!(*self.0, KeyData::SkEd25519(_) | KeyData::SkEcdsaSha2NistP256(_))
    }

    /// Reads the wire form, in the one spelling that OpenSSH knows: exact lengths, uncompressed points. A second
    /// spelling of one key would slip past the revoked keys.
    fn from_wire(wire: &[u8]) -> Result<Self, BadKey> {
        let key = ssh_key::PublicKey::from_bytes(wire).map_err(|_| BadKey::NotAKey)?;
        let is_plain = match key.key_data() {
            KeyData::Ed25519(_) | KeyData::SkEd25519(_) => true,
            KeyData::Ecdsa(key) => key.curve() == EcdsaCurve::NistP256 && key.as_sec1_bytes().len() == UNCOMPRESSED,
            KeyData::SkEcdsaSha2NistP256(key) => key.ec_point().as_bytes().len() == UNCOMPRESSED,
            KeyData::Rsa(key) => {
                let bits = bits(key);
                if !RSA_BITS.contains(&bits) {
                    return Err(BadKey::WrongLength(bits));
                }
                true
            }
            _ => false,
        };
        let is_exact = key.to_bytes().is_ok_and(|bytes| bytes == wire);
        if is_plain && is_exact { Ok(Self(Box::new(key.into()))) } else { Err(BadKey::NotAKey) }
    }
}

fn bits(key: &RsaPublicKey) -> usize {
    let bytes = key.n.as_positive_bytes().unwrap_or_default();
    bytes.first().map_or(0, |first| bytes.len() * 8 - first.leading_zeros() as usize)
}

/// Bytes of an uncompressed P-256 point.
const UNCOMPRESSED: usize = 65;

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.fingerprint())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.fingerprint())
    }
}

/// A text that is not a public key we accept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// The type may not sign.
    #[error("key type '{}' is not accepted; use one of {}", display_safe(.0), KEY_TYPES.join(", "))]
    UnsupportedType(String),
    /// An RSA key that is too short, or longer than what can be verified.
    #[error("an RSA key of {0} bits is not accepted; it needs {low} to {high}", low = RSA_BITS.start(), high = RSA_BITS.end())]
    WrongLength(usize),
    /// It is not a key at all, or damaged.
    #[error("this is not a public key of the form KEYTYPE BASE64")]
    NotAKey,
}

/// Why a signature is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// The text is not an SSH signature.
    #[error("it is not an SSH signature as 'ssh-keygen -Y sign' writes it")]
    NotASignature,
    /// It was made for another purpose.
    #[error("it was made for the namespace '{}'", display_safe(.found))]
    WrongNamespace {
        /// The namespace in the signature.
        found: String,
    },
    /// It was made with a key or hash that may not sign.
    #[error("it was made with '{}', which is not accepted; use one of {}", display_safe(.found), KEY_TYPES.join(", "))]
    UnsupportedAlgorithm {
        /// The algorithm in the signature.
        found: String,
    },
    /// The key did not sign these bytes.
    #[error("it does not match the bytes")]
    DoesNotMatch,
}

/// A good signature: its key, and whether the key was touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The key that signed.
    pub key: PublicKey,
    /// A security key says that it was touched for this signature. Never true of another key, which cannot know.
    pub is_touched: bool,
}

/// The bit of a security key's flags that says that it was touched (`PROTOCOL.u2f`).
const TOUCHED: u8 = 0x01;

/// Verifies that `armoured` is a signature over `message` for `namespace`, and says which key made it.
///
/// Blank lines around the armour and Windows line ends are forgiven; the hash is SHA-256 or SHA-512. As with
/// `ssh-keygen -Y verify`, a security key need not have been touched: whether it was is part of the answer.
///
/// # Errors
/// One [`BadSignature`] per reason. Arbitrary input never panics.
pub fn verify(armoured: &str, namespace: &str, message: &[u8]) -> Result<Signed, BadSignature> {
    let blob = unarmour(armoured).ok_or(BadSignature::NotASignature)?;
    let fields = SignatureBlob::read(&blob).ok_or(BadSignature::NotASignature)?;
    let own_type = [fields.key_type];
    // With SHA-1, which is what the plain name of the key type means for a signature, RSA signs nothing here.
    let signature_types = if fields.key_type == RSA { RSA_SIGNATURES.as_slice() } else { &own_type };
    for (name, accepted) in [
        (fields.key_type, KEY_TYPES.as_slice()),
        (fields.hash, &["sha256", "sha512"]),
        (fields.signature_type, signature_types),
    ] {
        if !accepted.contains(&name) {
            return Err(BadSignature::UnsupportedAlgorithm { found: name.to_owned() });
        }
    }
    if fields.namespace != namespace {
        return Err(BadSignature::WrongNamespace { found: fields.namespace.to_owned() });
    }
    let key = PublicKey::from_wire(fields.key).map_err(|error| match error {
        BadKey::WrongLength(bits) => BadSignature::UnsupportedAlgorithm { found: format!("{RSA} of {bits} bits") },
        _ => BadSignature::NotASignature,
    })?;
    let is_good = match &*key.0 {
        KeyData::Rsa(rsa) => fields.is_signed_by(rsa, message),
        data => {
            let signature = SshSig::from_pem(armour(&blob)).map_err(|_| BadSignature::NotASignature)?;
            ssh_key::PublicKey::from(KeyData::clone(data)).verify(namespace, message, &signature).is_ok()
        }
    };
    if !is_good {
        return Err(BadSignature::DoesNotMatch);
    }
    let is_touched = is_touched(&key, &fields);
    Ok(Signed { key, is_touched })
}

/// The claims of an unverified signature: for one that was verified before.
pub(super) fn claimed(armoured: &str) -> Option<Signed> {
    let blob = unarmour(armoured)?;
    let fields = SignatureBlob::read(&blob)?;
    let key = PublicKey::from_wire(fields.key).ok()?;
    let is_touched = is_touched(&key, &fields);
    Some(Signed { key, is_touched })
}

fn is_touched(key: &PublicKey, fields: &SignatureBlob<'_>) -> bool {
    key.proves_touch() && fields.trailer.first().is_some_and(|flags| flags & TOUCHED != 0)
}

const RSA_SIGNATURES: [&str; 2] = ["rsa-sha2-256", "rsa-sha2-512"];

/// The same signature in the armour that `ssh-keygen` writes, for storing and exporting.
///
/// [`verify`] forgives other line ends and blank lines, which editors and mail leave behind; `ssh-keygen -Y verify`
/// does not. An auditor must be able to check what we took.
pub fn rewrap(armoured: &str) -> Result<String, BadSignature> {
    unarmour(armoured).map(|blob| armour(&blob)).ok_or(BadSignature::NotASignature)
}

/// The claims of a signature.
///
/// NOTE: `ssh_key` 0.6 does not hold the lengths inside a signature against their content and includes the reserved
/// field in what is signed. `ssh-keygen` refuses the one and leaves out the other, so both are settled here.
struct SignatureBlob<'a> {
    key: &'a [u8],
    key_type: &'a str,
    namespace: &'a str,
    hash: &'a str,
    signature_type: &'a str,
    signature: &'a [u8],
    /// The data that a security key adds: its flags (1 byte) and its counter (4 bytes).
    trailer: &'a [u8],
}

impl<'a> SignatureBlob<'a> {
    fn read(blob: &'a [u8]) -> Option<Self> {
        let mut rest = blob.strip_prefix(b"SSHSIG\0\0\0\x01")?;
        let key = take_bytes(&mut rest)?;
        let namespace = take_text(&mut rest)?;
        let reserved = take_bytes(&mut rest)?;
        let hash = take_text(&mut rest)?;
        let mut trailer = take_bytes(&mut rest)?;
        let signature_type = take_text(&mut trailer)?;
        let signature = take_bytes(&mut trailer)?;
        let expected = if signature_type.starts_with("sk-") { 5 } else { 0 };
        let is_exact = rest.is_empty() && reserved.is_empty() && trailer.len() == expected;
        let key_type = take_text(&mut { key })?;
        is_exact.then_some(Self { key, key_type, namespace, hash, signature_type, signature, trailer })
    }

    /// Whether the RSA signature fits; the names of its hashes were checked before.
    fn is_signed_by(&self, key: &RsaPublicKey, message: &[u8]) -> bool {
        let hash = if self.hash == "sha256" { HashAlg::Sha256 } else { HashAlg::Sha512 };
        let rule = if self.signature_type == "rsa-sha2-256" {
            &RSA_PKCS1_2048_8192_SHA256
        } else {
            &RSA_PKCS1_2048_8192_SHA512
        };
        let (Some(n), Some(e)) = (key.n.as_positive_bytes(), key.e.as_positive_bytes()) else { return false };
        let Ok(data) = SshSig::signed_data(self.namespace, hash, message) else { return false };
        RsaPublicKeyComponents { n, e }.verify(rule, &data, self.signature).is_ok()
    }
}

/// Takes one SSH `string`: four bytes of length, and as many bytes.
pub(super) fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let (bytes, after) = after.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    *rest = after;
    Some(bytes)
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(take_bytes(rest)?).ok()
}

const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";

fn unarmour(text: &str) -> Option<Vec<u8>> {
    let body = text.trim().strip_prefix(BEGIN)?.strip_suffix(END)?;
    STANDARD.decode(body.split_ascii_whitespace().collect::<String>()).ok()
}

/// Writes the armour again, so that `ssh_key` reads exactly the bytes that were checked.
fn armour(blob: &[u8]) -> String {
    let mut text = format!("{BEGIN}\n");
    for (at, character) in STANDARD.encode(blob).chars().enumerate() {
        if at > 0 && at % 70 == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    format!("{text}\n{END}\n")
}

#[cfg(test)]
mod tests;
