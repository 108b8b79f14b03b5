use proptest::prelude::*;

use super::*;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";
const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB9dG4kjRhQTtWTVzd2t27+t0DEHBPW7iOD23TUiYLio";

fn key(line: &str) -> PublicKey {
    PublicKey::parse_openssh_line(line).unwrap()
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

fn section(kind: u8, data: &[u8]) -> Vec<u8> {
    [vec![kind], string(data)].concat()
}

/// A KRL with these sections, as `PROTOCOL.krl` has it.
fn krl(sections: &[Vec<u8>]) -> Vec<u8> {
    [MAGIC, &VERSION, &[0; 24], &string(b""), &string(b"a comment"), &sections.concat()].concat()
}

#[test]
fn revoked_keys_are_a_list() {
    let list = format!("# lost\n{KEY} alice\n\nssh-dss AAAAB3NzaC1kc3M= old\n");
    let revoked = RevokedKeys::parse(list.as_bytes()).unwrap();
    assert!(revoked.contains(&key(KEY)));
    assert!(!revoked.contains(&key(OTHER)));
    assert!(!RevokedKeys::parse(b"").unwrap().contains(&key(KEY)));
}

#[test]
fn what_is_not_a_list_of_keys_is_refused() {
    assert_eq!(RevokedKeys::parse(b"\xff\xfe"), Err(BadRevoked::NotText));
    for text in ["sha256: abc", "serial: 7", "ssh-ed25519 AAAA", "ssh-mldsa AAAA", "ssh-rsa AAAAB3NzaC1yc2E="] {
        assert!(
            matches!(RevokedKeys::parse(text.as_bytes()), Err(BadRevoked::Line(BadSigners { line: 1, .. }))),
            "{text}"
        );
    }
}

#[test]
fn a_krl_names_keys_and_fingerprints() {
    let wire = key(KEY).wire();
    let sha1 = digest(&SHA1_FOR_LEGACY_USE_ONLY, &wire);
    let sha256 = digest(&SHA256, &wire);
    let table = [
        ("nothing", vec![], false),
        ("the key", vec![section(KEYS, &string(&wire))], true),
        ("its SHA-1", vec![section(SHA1S, &[string(&[7; 20]), string(sha1.as_ref())].concat())], true),
        ("its SHA-256", vec![section(SHA256S, &string(sha256.as_ref()))], true),
        ("after certificates", vec![section(CERTIFICATES, b"whatever"), section(KEYS, &string(&wire))], true),
        ("after an extension", vec![section(EXTENSION, &[string(b"x"), vec![0], string(b"y")].concat())], false),
        ("with a signature", vec![section(KEYS, &string(&wire)), section(SIGNATURE, b"key"), string(b"sig")], true),
    ];
    for (name, sections, expected) in table {
        let revoked = RevokedKeys::parse(&krl(&sections)).expect(name);
        assert_eq!(revoked.contains(&key(KEY)), expected, "{name}");
        assert!(!revoked.contains(&key(OTHER)), "{name}");
    }
}

#[test]
fn a_krl_that_is_not_understood_is_refused() {
    let mut of_version_2 = krl(&[]);
    of_version_2[11] = 2;
    let table = [
        ("only the magic", MAGIC.to_vec(), "cut off"),
        ("another version", of_version_2, "unknown version"),
        ("a section without data", krl(&[vec![KEYS]]), "cut off"),
        ("a key that is cut", krl(&[section(KEYS, &[0, 0, 0, 9, 1])]), "section is cut off"),
        ("a short fingerprint", krl(&[section(SHA1S, &string(&[7; 19]))]), "wrong length"),
        ("an unknown section", krl(&[section(9, b"")]), "unknown section"),
        (
            "a critical extension",
            krl(&[section(EXTENSION, &[string(b"x"), vec![1], string(b"y")].concat())]),
            "critical extension",
        ),
        ("an extension without a flag", krl(&[section(EXTENSION, &string(b"x"))]), "critical extension"),
        ("half a signature", krl(&[section(SIGNATURE, b"key")]), "cut off"),
        (
            "keys after the signature",
            krl(&[section(SIGNATURE, b"key"), string(b"sig"), section(KEYS, b"")]),
            "follows its signature",
        ),
    ];
    for (name, bytes, expected) in table {
        let error = RevokedKeys::parse(&bytes).expect_err(name);
        assert!(matches!(error, BadRevoked::Krl(_)) && error.to_string().contains(expected), "{name}: {error}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = RevokedKeys::parse(&bytes);
        let _ = RevokedKeys::parse(&krl(&[bytes]));
    }
}
