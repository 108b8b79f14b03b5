use super::*;
use proptest::prelude::*;

// From the documentation of the ssh_key crate: "testing" in the namespace "example".
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti user@example.com";
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
        assert_eq!(verify(&text, "example", b"testing").unwrap(), Signed { key: key.clone(), is_touched: false });
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
fn sign_on_security_key(namespace: &str, message: &[u8], flags: u8) -> String {
    use sha2::{Digest as _, Sha256};
    fn sign(key: &impl ssh_key::SigningKey, data: &[u8]) -> Vec<u8> {
        key.try_sign(data).unwrap().as_bytes().to_vec()
    }
    let pair = ssh_key::private::Ed25519Keypair::from_seed(&[7; 32]);
    let public = KeyData::SkEd25519(ssh_key::public::SkEd25519::new(pair.public, "ssh:"));
    let trailer = [flags, 0, 0, 0, 9];
    let inner = SshSig::signed_data(namespace, HashAlg::Sha512, message).unwrap();
    let data = [Sha256::digest(b"ssh:").as_slice(), &trailer, &Sha256::digest(inner)].concat();
    let bytes = [sign(&ssh_key::PrivateKey::from(pair), &data), trailer.to_vec()].concat();
    let signature = ssh_key::Signature::new(ssh_key::Algorithm::SkEd25519, bytes).unwrap();
    let signature = SshSig::new(public, namespace, HashAlg::Sha512, signature).unwrap();
    signature.to_pem(ssh_key::LineEnding::LF).unwrap()
}

#[test]
fn a_security_key_may_sign_and_says_whether_it_was_touched() {
    for (flags, is_touched) in [(0x00, false), (0x01, true), (0x04, false), (0x05, true)] {
        let text = sign_on_security_key("example", b"testing", flags);
        let signed = verify(&text, "example", b"testing").unwrap();
        assert_eq!(signed.key.0.algorithm().as_str(), "sk-ssh-ed25519@openssh.com");
        assert_eq!((signed.is_touched, signed.key.proves_touch()), (is_touched, true), "{flags:#x}");
        assert_eq!(verify(&text, "example", b"tested"), Err(BadSignature::DoesNotMatch));
    }
}

#[test]
fn the_flags_of_a_security_key_are_signed() {
    let mut blob = unarmour(&sign_on_security_key("example", b"testing", 0)).unwrap();
    let flags = blob.len() - 5;
    blob[flags] |= TOUCHED;
    assert_eq!(verify(&armour(&blob), "example", b"testing"), Err(BadSignature::DoesNotMatch));
}

#[test]
fn a_second_spelling_of_a_key_is_refused() {
    let mut wire = STANDARD.decode(KEY.split(' ').nth(1).unwrap()).unwrap();
    assert!(PublicKey::from_wire(&wire).is_ok());
    wire[17] ^= 1; // The length of the key, which ssh_key does not hold against what follows.
    assert!(PublicKey::from_wire(&wire).is_err());
}

#[test]
fn only_named_key_types_are_keys() {
    let unsupported = |key_type: &str| Err(BadKey::UnsupportedType(key_type.to_owned()));
    assert_eq!(PublicKey::parse_openssh_line("ssh-dss AAAA me"), unsupported("ssh-dss"));
    for line in
        ["", "ssh-ed25519", "ssh-ed25519 AAAA", "ssh-rsa AAAA", &KEY.replace("ssh-ed25519", "ecdsa-sha2-nistp256")]
    {
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
