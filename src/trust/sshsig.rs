//! SSH signatures (`PROTOCOL.sshsig`), verified in this process. The only file that knows the `ssh_key` crate.
//!
//! A good signature says that the holder of a key signed these bytes for this namespace, and no more: who the key
//! belongs to and whether it may approve is for [`crate::trust::allowed_signers`].

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ssh_key::public::KeyData;
use ssh_key::{EcdsaCurve, HashAlg, SshSig};

use crate::model::display_safe;

/// The key types that may sign, as OpenSSH writes them. RSA and DSA are left out on purpose.
pub const KEY_TYPES: [&str; 4] =
    ["ssh-ed25519", "ecdsa-sha2-nistp256", "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"];

/// The public half of an SSH key, of one of [`KEY_TYPES`]. Comments do not count.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(Box<KeyData>);

impl PublicKey {
    /// Reads `KEYTYPE BASE64 [COMMENT]`, the form of a `.pub` file.
    ///
    /// # Errors
    /// The type is not one of [`KEY_TYPES`], or the data is not a key of that type.
    pub fn parse_openssh_line(line: &str) -> Result<Self, BadKey> {
        let mut words = line.split_ascii_whitespace();
        let (Some(key_type), Some(data)) = (words.next(), words.next()) else {
            return Err(BadKey::NotAKey);
        };
        if !KEY_TYPES.contains(&key_type) {
            return Err(BadKey::UnsupportedType(key_type.to_owned()));
        }
        let wire = STANDARD.decode(data).map_err(|_| BadKey::NotAKey)?;
        Self::from_wire(&wire).filter(|key| key.0.algorithm().as_str() == key_type).ok_or(BadKey::NotAKey)
    }

    /// `SHA256:…`, as `ssh-keygen -l` shows it.
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint(HashAlg::Sha256).to_string()
    }

    /// Reads the wire form, in the one spelling that OpenSSH knows: exact lengths, uncompressed points. A second
    /// spelling of one key would slip past the revoked keys.
    fn from_wire(wire: &[u8]) -> Option<Self> {
        let key = ssh_key::PublicKey::from_bytes(wire).ok()?;
        let is_plain = match key.key_data() {
            KeyData::Ed25519(_) | KeyData::SkEd25519(_) => true,
            KeyData::Ecdsa(key) => key.curve() == EcdsaCurve::NistP256 && key.as_sec1_bytes().len() == UNCOMPRESSED,
            KeyData::SkEcdsaSha2NistP256(key) => key.ec_point().as_bytes().len() == UNCOMPRESSED,
            _ => false,
        };
        let is_exact = key.to_bytes().is_ok_and(|bytes| bytes == wire);
        (is_plain && is_exact).then(|| Self(Box::new(key.into())))
    }
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

/// Verifies that `armoured` is a signature over `message` for `namespace`, and returns the key that made it.
///
/// Blank lines around the armour and Windows line ends are forgiven; the hash is SHA-256 or SHA-512. Touch of a security key is not
/// checked, as with `ssh-keygen -Y verify`.
///
/// # Errors
/// One [`BadSignature`] per reason. Arbitrary input never panics.
pub fn verify(armoured: &str, namespace: &str, message: &[u8]) -> Result<PublicKey, BadSignature> {
    let blob = unarmour(armoured).ok_or(BadSignature::NotASignature)?;
    let fields = Fields::read(&blob).ok_or(BadSignature::NotASignature)?;
    for (name, accepted) in [
        (fields.key_type, KEY_TYPES.as_slice()),
        (fields.hash, &["sha256", "sha512"]),
        (fields.signature_type, &[fields.key_type]),
    ] {
        if !accepted.contains(&name) {
            return Err(BadSignature::UnsupportedAlgorithm { found: name.to_owned() });
        }
    }
    if fields.namespace != namespace {
        return Err(BadSignature::WrongNamespace { found: fields.namespace.to_owned() });
    }
    let key = PublicKey::from_wire(fields.key).ok_or(BadSignature::NotASignature)?;
    let signature = SshSig::from_pem(armour(&blob)).map_err(|_| BadSignature::NotASignature)?;
    ssh_key::PublicKey::from(KeyData::clone(&key.0))
        .verify(namespace, message, &signature)
        .map_err(|_| BadSignature::DoesNotMatch)?;
    Ok(key)
}

/// The same signature in the armour that `ssh-keygen` writes, for storing and exporting.
///
/// [`verify`] forgives other line ends and blank lines, which editors and mail leave behind; `ssh-keygen -Y verify`
/// does not. An auditor must be able to check what we took.
///
/// # Errors
/// [`BadSignature::NotASignature`] if there is no armour.
pub fn rewrap(armoured: &str) -> Result<String, BadSignature> {
    unarmour(armoured).map(|blob| armour(&blob)).ok_or(BadSignature::NotASignature)
}

/// What a signature says of itself.
///
/// NOTE: `ssh_key` 0.6 does not hold the lengths inside a signature against their content and includes the reserved
/// field in what is signed. `ssh-keygen` refuses the one and leaves out the other, so both are settled here.
struct Fields<'a> {
    key: &'a [u8],
    key_type: &'a str,
    namespace: &'a str,
    hash: &'a str,
    signature_type: &'a str,
}

impl<'a> Fields<'a> {
    fn read(blob: &'a [u8]) -> Option<Self> {
        let mut rest = blob.strip_prefix(b"SSHSIG\0\0\0\x01")?;
        let key = take_bytes(&mut rest)?;
        let namespace = take_text(&mut rest)?;
        let reserved = take_bytes(&mut rest)?;
        let hash = take_text(&mut rest)?;
        let mut signature = take_bytes(&mut rest)?;
        let signature_type = take_text(&mut signature)?;
        take_bytes(&mut signature)?;
        // A security key adds its flags (1 byte) and its counter (4 bytes).
        let trailer = if signature_type.starts_with("sk-") { 5 } else { 0 };
        let is_exact = rest.is_empty() && reserved.is_empty() && signature.len() == trailer;
        is_exact.then_some(Self { key, key_type: take_text(&mut { key })?, namespace, hash, signature_type })
    }
}

/// Takes one SSH `string`: four bytes of length, and as many bytes.
fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    // From the documentation of the ssh_key crate: "testing" in the namespace "example".
    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti user@example.com";
    const SIGNATURE: &str = "-----BEGIN SSH SIGNATURE-----
U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAgsz6u836i33yqAQ3v3qNOJB9l8b
UppPQ+0UMn9cVKq2IAAAAHZXhhbXBsZQAAAAAAAAAGc2hhNTEyAAAAUwAAAAtzc2gtZWQy
NTUxOQAAAEBPEav+tMGNnox4MuzM7rlHyVBajCn8B0kAyiOWwPKprNsG3i6X+voz/WCSik
/FowYwqhgCABUJSvRX3AERVBUP
-----END SSH SIGNATURE-----
";

    fn blob() -> Vec<u8> {
        unarmour(SIGNATURE).unwrap()
    }

    #[test]
    fn a_good_signature_names_its_key() {
        let key = PublicKey::parse_openssh_line(KEY).unwrap();
        for text in [SIGNATURE.to_owned(), format!("\n\n{SIGNATURE}\n\n"), SIGNATURE.replace('\n', "\r\n")] {
            assert_eq!(verify(&text, "example", b"testing").unwrap(), key);
            assert_eq!(rewrap(&text).unwrap(), SIGNATURE);
        }
        assert!(key.to_string().starts_with("SHA256:"));
        assert_eq!(key, PublicKey::parse_openssh_line(&KEY.replace("user@", "other@")).unwrap());
    }

    #[test]
    fn every_refusal_has_its_reason() {
        let wrong_namespace = BadSignature::WrongNamespace { found: "example".to_owned() };
        let unsupported = |found: &str| BadSignature::UnsupportedAlgorithm { found: found.to_owned() };
        let replaced = |from: &[u8], to: &[u8]| {
            let blob = blob();
            let at = blob.windows(from.len()).position(|window| window == from).unwrap();
            armour(&[&blob[..at], to, &blob[at + from.len()..]].concat())
        };
        let table = [
            ("other bytes", SIGNATURE.to_owned(), "example", "testing\n", BadSignature::DoesNotMatch),
            ("other namespace", SIGNATURE.to_owned(), "baseline", "testing", wrong_namespace),
            ("empty", String::new(), "example", "testing", BadSignature::NotASignature),
            ("prose", "trust me".to_owned(), "example", "testing", BadSignature::NotASignature),
            (
                "cut",
                SIGNATURE.replace("/FowYwqhgCABUJSvRX3AERVBUP\n", ""),
                "example",
                "testing",
                BadSignature::NotASignature,
            ),
            ("two in one text", SIGNATURE.repeat(2), "example", "testing", BadSignature::NotASignature),
            ("other hash", replaced(b"sha512", b"sha384"), "example", "testing", unsupported("sha384")),
            ("namespace edited", replaced(b"example", b"exempla"), "exempla", "testing", BadSignature::DoesNotMatch),
            (
                "reserved field filled",
                replaced(b"\0\0\0\0\0\0\0\x06sha", b"\0\0\0\x01x\0\0\0\x06sha"),
                "example",
                "testing",
                BadSignature::NotASignature,
            ),
        ];
        for (name, text, namespace, message, expected) in table {
            assert_eq!(verify(&text, namespace, message.as_bytes()), Err(expected), "{name}");
        }
    }

    /// A security key in software: what it signs, and what it adds, is in `PROTOCOL.u2f`.
    fn touch(namespace: &str, message: &[u8]) -> String {
        use sha2::{Digest as _, Sha256};
        fn sign(key: &impl ssh_key::SigningKey, data: &[u8]) -> Vec<u8> {
            key.try_sign(data).unwrap().as_bytes().to_vec()
        }
        let pair = ssh_key::private::Ed25519Keypair::from_seed(&[7; 32]);
        let public = KeyData::SkEd25519(ssh_key::public::SkEd25519::new(pair.public, "ssh:"));
        let trailer = [1, 0, 0, 0, 9];
        let inner = SshSig::signed_data(namespace, HashAlg::Sha512, message).unwrap();
        let data = [Sha256::digest(b"ssh:").as_slice(), &trailer, &Sha256::digest(inner)].concat();
        let bytes = [sign(&ssh_key::PrivateKey::from(pair), &data), trailer.to_vec()].concat();
        let signature = ssh_key::Signature::new(ssh_key::Algorithm::SkEd25519, bytes).unwrap();
        let signature = SshSig::new(public, namespace, HashAlg::Sha512, signature).unwrap();
        signature.to_pem(ssh_key::LineEnding::LF).unwrap()
    }

    #[test]
    fn a_security_key_may_sign() {
        let text = touch("example", b"testing");
        let key = verify(&text, "example", b"testing").unwrap();
        assert_eq!(key.0.algorithm().as_str(), "sk-ssh-ed25519@openssh.com");
        assert_eq!(verify(&text, "example", b"tested"), Err(BadSignature::DoesNotMatch));
    }

    #[test]
    fn a_second_spelling_of_a_key_is_refused() {
        let mut wire = STANDARD.decode(KEY.split(' ').nth(1).unwrap()).unwrap();
        assert!(PublicKey::from_wire(&wire).is_some());
        wire[17] ^= 1; // The length of the key, which ssh_key does not hold against what follows.
        assert!(PublicKey::from_wire(&wire).is_none());
    }

    #[test]
    fn only_named_key_types_are_keys() {
        let unsupported = |key_type: &str| Err(BadKey::UnsupportedType(key_type.to_owned()));
        assert_eq!(PublicKey::parse_openssh_line("ssh-rsa AAAA"), unsupported("ssh-rsa"));
        assert_eq!(PublicKey::parse_openssh_line("ssh-dss AAAA me"), unsupported("ssh-dss"));
        for line in ["", "ssh-ed25519", "ssh-ed25519 AAAA", &KEY.replace("ssh-ed25519", "ecdsa-sha2-nistp256")] {
            assert_eq!(PublicKey::parse_openssh_line(line), Err(BadKey::NotAKey), "{line}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in ".*", line in "(ssh-ed25519|ecdsa-sha2-nistp256|.*) [A-Za-z0-9+/]*=?") {
            let _ = verify(&text, "example", b"testing");
            let _ = PublicKey::parse_openssh_line(&line);
        }

        #[test]
        fn arbitrary_blobs_never_verify(tail in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(verify(&armour(&tail), "example", b"testing").is_err());
            prop_assert!(verify(&armour(&[b"SSHSIG\0\0\0\x01", tail.as_slice()].concat()), "example", b"x").is_err());
        }

        #[test]
        fn no_changed_bit_survives(byte in 0..blob().len(), bit in 0..8u8) {
            let mut blob = blob();
            blob[byte] ^= 1u8 << bit;
            prop_assert!(verify(&armour(&blob), "example", b"testing").is_err());
        }
    }
}
