//! The readers and the verifier against OpenSSH: on every case of a generated set both say the same.

use authdrift::model::Severity;
use authdrift::trust::sshsig::rewrap;
use authdrift::trust::{
    AllowedSigners, Impact, NAMESPACE, Policy, PublicKey, RevokedKeys, Rules, SignedStatement, Subject, chain,
};
use proptest::prelude::*;

use crate::keys::{Keys, skipped};
use crate::software::Software;
use crate::world::{WHEN, instance, statement, subject_after};

/// Nothing is at stake: only signatures are compared.
struct Nothing;

impl Impact for Nothing {
    fn severity(&self, _: Option<&Subject>, _: &Subject) -> Severity {
        Severity::Info
    }

    fn authors(&self, _: Option<&Subject>, _: &Subject) -> std::collections::BTreeSet<String> {
        Default::default()
    }
}

/// What this program says; `None` if it refuses a file as a whole.
fn native(signed: &SignedStatement, signers: &str, revoked: &[u8]) -> Option<bool> {
    let (signers, revoked) = (AllowedSigners::parse(signers).ok()?, RevokedKeys::parse(revoked).ok()?);
    let rules = Rules::default();
    let policy = Policy { signers: &signers, revoked: &revoked, rules: &rules };
    let links = chain(&instance(), std::slice::from_ref(signed), &policy, &Nothing);
    Some(links.is_ok_and(|links| links[0].insufficient.is_none()))
}

/// A key of alice's: made by `ssh-keygen`, or in software.
enum Signer {
    Openssh,
    Software(Software),
}

impl Signer {
    fn new(keys: &Keys, kind: &str) -> Self {
        match kind {
            "ed25519" | "ecdsa" | "rsa-3072" => {
                keys.generate("alice", kind);
                Self::Openssh
            }
            kind => {
                let key = Software::new(kind);
                keys.write("alice.pub", key.public());
                Self::Software(key)
            }
        }
    }

    fn sign(&self, keys: &Keys, namespace: &str, statement: &[u8]) -> SignedStatement {
        match self {
            Self::Openssh => keys.signed("alice", namespace, statement.to_vec()),
            Self::Software(key) => {
                SignedStatement { statement: statement.to_vec(), signature: key.signature(namespace, statement, 0) }
            }
        }
    }
}

/// Lines of options, and whether a key with them may approve at [`WHEN`].
const OPTIONS: [(&str, bool); 14] = [
    ("", true),
    ("namespaces=\"baseline.v1@authdrift\"", true),
    ("NameSpaces=\"git,baseline.v1@authdrift\"", true),
    ("namespaces=\"git\"", false),
    ("namespaces=\"baseline.v1@authdrift2\"", false),
    ("valid-before=\"20260504Z\"", false),
    ("valid-before=\"20260504100000Z\"", true),
    ("valid-before=\"20260504100001Z\"", true),
    ("valid-before=\"20260504095959Z\"", false),
    ("valid-after=\"20260504100000Z\"", true),
    ("valid-after=\"20260504100001Z\"", false),
    ("valid-after=\"20260505Z\",namespaces=\"baseline.v1@authdrift\"", false),
    ("valid-after=\"202605041000Z\",valid-before=\"202605041001Z\"", true),
    ("valid-after=\"20260101Z\",valid-before=\"20270101Z\",namespaces=\"baseline.v1@authdrift\"", true),
];

#[test]
fn every_kind_of_key_and_every_option() {
    for kind in ["ed25519", "ecdsa", "rsa-3072", "rsa-sha2-256", "rsa-sha2-512", "ed25519-sk", "ecdsa-sk"] {
        let Some(keys) = Keys::new() else { return skipped() };
        let alice = Signer::new(&keys, kind);
        keys.generate("bob", "ed25519");
        let bytes = statement(&subject_after(None), "alice", WHEN);
        let good = alice.sign(&keys, NAMESPACE, &bytes);
        let public = keys.public("alice");

        for (options, expected) in OPTIONS {
            let signers = format!("# approvers\nbob {}\nalice {options} {public}\n", keys.public("bob"));
            assert_eq!(keys.verify(&good, "alice", WHEN, &signers, b""), expected, "{kind}, '{options}': ssh-keygen");
            assert_eq!(native(&good, &signers, b""), Some(expected), "{kind}, '{options}'");
        }

        let edited = SignedStatement { statement: [bytes.as_slice(), b"\n"].concat(), ..good.clone() };
        let garbled = SignedStatement { signature: good.signature.replacen("U1NIU0lH", "U1NIU0lI", 1), ..good.clone() };
        let spaced = SignedStatement { signature: format!("{}\n\n", good.signature), ..good.clone() };
        let mailed = format!("\r\n{}", good.signature.replace('\n', "\r\n"));
        let rewrapped = SignedStatement { signature: rewrap(&mailed).unwrap(), ..good.clone() };
        let signatures = [
            ("good", &good, true),
            ("blank lines after it", &spaced, true),
            ("rewrapped", &rewrapped, true),
            ("edited", &edited, false),
            ("garbled", &garbled, false),
            ("signed for git", &alice.sign(&keys, "git", &bytes), false),
            ("signed by another key", &keys.signed("bob", NAMESPACE, bytes.clone()), false),
        ];
        for (name, signed, expected) in signatures {
            for options in ["", "namespaces=\"baseline.v1@authdrift\" "] {
                let signers = format!("alice {options}{public}\n");
                assert_eq!(keys.verify(signed, "alice", WHEN, &signers, b""), expected, "{kind}, {name}: ssh-keygen");
                assert_eq!(native(signed, &signers, b""), Some(expected), "{kind}, {name}");
            }
        }

        let bob = keys.public("bob");
        let revoked = [
            ("a list", format!("# lost\n{public}\n").into_bytes(), false),
            ("a list of others", format!("{bob}\n").into_bytes(), true),
            ("nothing", Vec::new(), true),
            ("a KRL", keys.krl(&public), false),
            ("a KRL of the key", keys.krl(&format!("key: {public}")), false),
            ("a KRL of its SHA-1", keys.krl(&format!("sha1: {public}")), false),
            ("a KRL of its SHA-256", keys.krl(&format!("sha256: {public}")), false),
            ("a KRL of others", keys.krl(&format!("{bob}\nsha256: {bob}\nsha1: {bob}")), true),
            ("a KRL of both", keys.krl(&format!("sha256: {bob}\nkey: {public}")), false),
            ("an empty KRL", keys.krl("# nothing"), true),
        ];
        for (name, revoked, expected) in revoked {
            let signers = format!("alice {public}\n");
            assert_eq!(keys.verify(&good, "alice", WHEN, &signers, &revoked), expected, "{kind}, {name}: ssh-keygen");
            assert_eq!(native(&good, &signers, &revoked), Some(expected), "{kind}, {name}");
        }
    }
}

#[test]
fn a_krl_with_certificates_is_read() {
    let Some(keys) = Keys::new() else { return skipped() };
    keys.generate("alice", "ed25519");
    keys.generate("ca", "ed25519");
    let specification = format!("serial: 7-9\nid: somebody\nkey: {}", keys.public("alice"));
    let revoked = RevokedKeys::parse(&keys.krl_of_ca("ca", &specification)).unwrap();
    let key = |name| PublicKey::parse_openssh_line(&keys.public(name)).unwrap();
    assert!(revoked.contains(&key("alice")));
    assert!(!revoked.contains(&key("ca")));
}

/// Keys that OpenSSH takes and this program does not, whatever they sign.
#[test]
fn weak_and_unknown_keys_refuse_the_file() {
    let Some(keys) = Keys::new() else { return skipped() };
    for (kind, expected) in [
        ("rsa-2048", "an RSA key of 2048 bits is not accepted"),
        ("rsa-3064", "an RSA key of 3064 bits is not accepted"),
        ("ecdsa-384", "key type 'ecdsa-sha2-nistp384' is not accepted"),
    ] {
        keys.generate(kind, kind);
        let error = AllowedSigners::parse(&format!("alice {}", keys.public(kind))).unwrap_err();
        assert_eq!(error.line, 1);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn fingerprints_are_those_of_ssh_keygen() {
    for kind in ["ed25519", "ecdsa", "rsa-3072"] {
        let Some(keys) = Keys::new() else { return skipped() };
        keys.generate("alice", kind);
        let key = PublicKey::parse_openssh_line(&keys.public("alice")).unwrap();
        assert!(keys.listing("alice").contains(&key.fingerprint()), "{key}");
    }
}

/// How a reader takes a file that OpenSSH takes or not.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Here {
    /// Both say the same, and this is what.
    Same(bool),
    /// OpenSSH takes it, and it is refused here on purpose. The reasons are in `docs/keys.md`.
    Stricter,
}

use Here::{Same, Stricter};

/// Bytes that a list of signers may be made of. `P` stands for the principal, `K` for the key.
#[test]
fn odd_bytes_in_a_list_of_signers_mean_the_same_or_refuse_the_file() {
    let Some(keys) = Keys::new() else { return skipped() };
    keys.generate("alice", "ed25519");
    keys.generate("bob", "ed25519");
    let signed = keys.signed("alice", NAMESPACE, statement(&subject_after(None), "alice", WHEN));
    let (public, bob) = (keys.public("alice"), keys.public("bob"));
    let key = public.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let (kind, data) = key.split_once(' ').unwrap();
    let long = "x".repeat(100_000);
    let table: Vec<(&str, Vec<u8>, Here)> = vec![
        ("plain", format!("alice {key}\n").into(), Same(true)),
        ("no final line break", format!("alice {key}").into(), Same(true)),
        ("CRLF", format!("# x\r\nalice {key}\r\n").into(), Same(true)),
        ("CRLF and a comment", format!("alice {key} laptop\r\n").into(), Same(true)),
        ("CR alone between lines", format!("# x\ralice {key}\r").into(), Same(false)),
        ("CR in a line", format!("alice\r{key}\n").into(), Stricter),
        ("blank lines", format!("\n \n\t\nalice {key}\n\n").into(), Same(true)),
        ("blanks before", format!("  \talice {key}\n").into(), Same(true)),
        ("tabs between", format!("alice\t{kind}\t{data}\n").into(), Same(true)),
        ("several blanks between", format!("alice   {kind}  {data}  x\n").into(), Same(true)),
        ("form feed before", format!("\u{c}alice {key}\n").into(), Same(false)),
        ("a mark first", format!("\u{feff}alice {key}\n").into(), Same(false)),
        ("a mark and a comment first", format!("\u{feff}# x\nalice {key}\n").into(), Stricter),
        ("a mark in the second line", format!("# x\n\u{feff}alice {key}\n").into(), Same(false)),
        ("NUL first", format!("\0alice {key}\n").into(), Same(false)),
        ("NUL in a comment line", format!("# x\0y\nalice {key}\n").into(), Stricter),
        ("NUL after the key", format!("alice {key}\0\n").into(), Stricter),
        ("NUL after the principal", format!("alice\0 {key}\n").into(), Same(false)),
        ("ESC in a comment line", format!("# x\u{1b}[2K\nalice {key}\n").into(), Stricter),
        ("ESC after the key", format!("alice {key} x\u{1b}[2K\n").into(), Stricter),
        ("not UTF-8 in a comment line", [b"# \xff\n", format!("alice {key}\n").as_bytes()].concat(), Stricter),
        ("not UTF-8 in another principal", [b"b\xffb,", format!("alice {key}\n").as_bytes()].concat(), Stricter),
        ("letters in a comment line", format!("# Zoë\nalice {key}\n").into(), Same(true)),
        ("letters after the key", format!("alice {key} Zoë\n").into(), Same(true)),
        ("another principal in letters", format!("zoë,alice {key}\n").into(), Stricter),
        ("another principal with a hard blank", format!("alice\u{a0},alice {key}\n").into(), Stricter),
        ("another principal with nothing seen", format!("ali\u{200b}ce,alice {key}\n").into(), Stricter),
        ("the principal with a hard blank", format!("alice\u{a0}{key}\n").into(), Same(false)),
        ("the principal in capitals", format!("ALICE {key}\n").into(), Same(false)),
        ("quoted", format!("\"alice\" {key}\n").into(), Stricter),
        ("quoted in part", format!("al\"ice\" {key}\n").into(), Stricter),
        ("a quote that is not closed", format!("\"alice {key}\n").into(), Same(false)),
        ("a pattern", format!("al* {key}\n").into(), Stricter),
        ("a negated pattern", format!("!bob,alice {key}\n").into(), Stricter),
        ("a comma at the end", format!("alice, {key}\n").into(), Stricter),
        ("a comma first", format!(",alice {key}\n").into(), Stricter),
        ("a long comment line", format!("# {long}\nalice {key}\n").into(), Same(true)),
        ("a long comment", format!("alice {key} {long}\n").into(), Same(true)),
        ("a principal of 1,000 characters beside", format!("{},alice {key}\n", &long[..1_000]).into(), Same(true)),
        ("a principal of 1,022 characters beside", format!("{},alice {key}\n", &long[..1_022]).into(), Stricter),
        ("a principal of 1,023 characters beside", format!("{},alice {key}\n", &long[..1_023]).into(), Same(false)),
        ("a long principal beside", format!("{long},alice {key}\n").into(), Same(false)),
        ("options in capitals", format!("alice NAMESPACES=\"{NAMESPACE}\" {key}\n").into(), Same(true)),
        ("a namespace in capitals", format!("alice namespaces=\"BASELINE.V1@authdrift\" {key}\n").into(), Same(false)),
        (
            "a namespace with a hard blank",
            format!("alice namespaces=\"{NAMESPACE}\u{a0}\" {key}\n").into(),
            Same(false),
        ),
        ("a namespace pattern", format!("alice namespaces=\"baseline*\" {key}\n").into(), Stricter),
        ("a tab after the options", format!("alice namespaces=\"{NAMESPACE}\"\t{key}\n").into(), Same(true)),
        (
            "a blank in the options",
            format!("alice namespaces=\"{NAMESPACE}\", valid-after=\"20200101Z\" {key}\n").into(),
            Same(false),
        ),
        (
            "options the other way round",
            format!("alice valid-before=\"20300101Z\",namespaces=\"{NAMESPACE}\",valid-after=\"20200101Z\" {key}\n")
                .into(),
            Same(true),
        ),
        ("an option twice", format!("alice namespaces=\"git\",namespaces=\"{NAMESPACE}\" {key}\n").into(), Same(false)),
        ("an unknown option", format!("alice verify-required {key}\n").into(), Same(false)),
        ("another key before it", format!("alice {bob}\nalice {key}\n").into(), Same(true)),
        ("the key type in capitals", format!("alice {} {data}\n", kind.to_uppercase()).into(), Same(false)),
        ("the key without padding", format!("alice {kind} {}\n", data.trim_end_matches('=')).into(), Same(true)),
        ("a bad line after it", format!("alice {key}\nnonsense\n").into(), Stricter),
        ("a bad line before it", format!("nonsense\nalice {key}\n").into(), Stricter),
    ];
    let mut wrong = Vec::new();
    for (name, bytes, expected) in table {
        let openssh = keys.verify(&signed, "alice", WHEN, &bytes, b"");
        let here = AllowedSigners::from_bytes(&bytes).ok().map(|signers| {
            let rules = Rules::default();
            let policy = Policy { signers: &signers, revoked: &RevokedKeys::default(), rules: &rules };
            chain(&instance(), std::slice::from_ref(&signed), &policy, &Nothing).is_ok()
        });
        let found = match (here, openssh) {
            (None, true) => Some(Stricter),
            (None, false) => Some(Same(false)),
            (Some(one), other) if one == other => Some(Same(one)),
            (Some(_), _) => None,
        };
        if found != Some(expected) {
            wrong.push(format!("{name}: expected {expected:?}, here {here:?}, OpenSSH {openssh}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Bytes that a list of revoked keys may be made of: what OpenSSH takes for revoked is revoked or refused here.
#[test]
fn odd_bytes_in_a_list_of_revoked_keys_never_save_a_key() {
    let Some(keys) = Keys::new() else { return skipped() };
    keys.generate("alice", "ed25519");
    keys.generate("bob", "ed25519");
    let signed = keys.signed("alice", NAMESPACE, statement(&subject_after(None), "alice", WHEN));
    let (public, bob) = (keys.public("alice"), keys.public("bob"));
    let key = public.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let table: Vec<(&str, Vec<u8>)> = vec![
        ("plain", format!("{key}\n").into()),
        ("no final line break", key.clone().into()),
        ("CRLF", format!("{bob}\r\n{key}\r\n").into()),
        ("CR alone", format!("{bob}\r{key}\r").into()),
        ("a mark first", format!("\u{feff}{key}\n").into()),
        ("a mark and a comment", format!("\u{feff}# x\n{key}\n").into()),
        ("a mark in the second line", format!("{bob}\n\u{feff}{key}\n").into()),
        ("NUL first", format!("\0{key}\n").into()),
        ("NUL after it", format!("{key}\0\n").into()),
        ("NUL in a comment", format!("# \0\n{key}\n").into()),
        ("blanks before", format!(" \t {key}\n").into()),
        ("a tab inside", format!("{}\n", key.replace(' ', "\t")).into()),
        ("a form feed before", format!("\u{c}{key}\n").into()),
        ("form feeds inside", format!("{}\n", key.replace(' ', "\u{c}")).into()),
        ("with a comment", format!("{key} Zoë\n").into()),
        ("a comment that is not UTF-8", [key.as_bytes(), b" \xff\n"].concat()),
        ("an option first", format!("namespaces=\"x\" {key}\n").into()),
        ("a principal first", format!("alice {key}\n").into()),
        ("a bad line before", format!("nonsense\n{key}\n").into()),
        ("a long line before", format!("# {}\n{key}\n", "x".repeat(100_000)).into()),
        ("a fingerprint", keys.listing("alice").split(' ').nth(1).unwrap().to_owned().into()),
        ("a KRL that is cut", keys.krl(&public)[..60].to_vec()),
        ("nothing", Vec::new()),
    ];
    for (name, bytes) in table {
        let openssh_takes = keys.verify(&signed, "alice", WHEN, format!("alice {key}\n"), &bytes);
        let key = PublicKey::parse_openssh_line(&public).unwrap();
        if let Ok(revoked) = RevokedKeys::parse(&bytes) {
            assert_eq!(revoked.contains(&key), !openssh_takes, "{name}");
        }
    }
}

/// Where a file that was damaged by chance is still read, it means no more than it does to OpenSSH.
#[test]
fn a_damaged_list_of_signers_allows_no_more_than_with_openssh() {
    let Some(keys) = Keys::new() else { return skipped() };
    keys.generate("alice", "ed25519");
    let signed = keys.signed("alice", NAMESPACE, statement(&subject_after(None), "alice", WHEN));
    let options = "valid-after=\"20260101Z\",valid-before=\"20270101Z\",namespaces=\"baseline.v1@authdrift\"";
    let signers = format!("alice,alice2 {options} {}\n", keys.public("alice"));
    // The key itself is left alone, or nearly every case would be about it.
    let end = signers.find("ssh-ed25519").unwrap() + 14;
    let damage = proptest::collection::vec((0..end, "[ \\t,=\"!*?#Z0-9a-z\\\\-]?", 0..3_usize), 1..4);
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) };
    let run = proptest::test_runner::TestRunner::new(config).run(&damage, |damage| {
        let mut text = signers.clone();
        for (at, with, length) in damage {
            text.replace_range(at..(at + length).min(text.len()), &with);
        }
        if native(&signed, &text, b"") == Some(true) {
            prop_assert!(keys.verify(&signed, "alice", WHEN, &text, b""), "{}", text);
        }
        Ok(())
    });
    run.unwrap();
}
