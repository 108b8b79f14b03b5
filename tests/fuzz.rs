//! Readers of what comes from outside, fed with damaged inputs: statements, signatures, lists of signers and of revoked
//! keys. A short run; more with `PROPTEST_CASES=1000000 cargo test --release --test fuzz`.
//!
//! Nothing panics, nothing that was changed is taken for signed, and what is read is read in one way only.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

#[path = "trust/software.rs"]
mod software;

use std::sync::LazyLock;

use authdrift::model::{Digest, HistoryMark, InstanceId, State};
use authdrift::snapshot::{Manifest, SectionMark, digest_of};
use authdrift::trust::{
    AllowedSigners, Approval, NAMESPACE, PublicKey, RevokedKeys, Statement, Subject, sshsig::rewrap, sshsig::verify,
};
use proptest::prelude::*;
use software::{Software, TOUCHED, armoured};

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(4096);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// One way to damage bytes.
#[derive(Debug, Clone)]
enum Damage {
    Flip(usize, u8),
    Put(usize, u8),
    Insert(usize, Vec<u8>),
    Cut(usize, usize),
    Repeat(usize, usize),
    Swap(usize, usize),
}

fn damage() -> impl Strategy<Value = Vec<Damage>> {
    let at = any::<usize>;
    let one = prop_oneof![
        (at(), 0..8_u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        // What stands for lengths, ends and limits more often than chance has it.
        (at(), prop_oneof![any::<u8>(), Just(0), Just(0xff), Just(0x7f), Just(0x80), Just(b'"'), Just(b'\n')])
            .prop_map(|(at, byte)| Damage::Put(at, byte)),
        (at(), proptest::collection::vec(any::<u8>(), 1..6)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (at(), 1..40_usize).prop_map(|(at, length)| Damage::Cut(at, length)),
        (at(), 1..40_usize).prop_map(|(at, length)| Damage::Repeat(at, length)),
        (at(), at()).prop_map(|(one, other)| Damage::Swap(one, other)),
    ];
    proptest::collection::vec(one, 1..5)
}

fn damaged(bytes: &[u8], damage: &[Damage]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for one in damage {
        let length = bytes.len().max(1);
        match one {
            Damage::Flip(at, bit) => {
                if let Some(byte) = bytes.get_mut(at % length) {
                    *byte ^= 1 << bit;
                }
            }
            Damage::Put(at, with) => {
                if let Some(byte) = bytes.get_mut(at % length) {
                    *byte = *with;
                }
            }
            Damage::Insert(at, more) => {
                let at = (at % length).min(bytes.len());
                bytes.splice(at..at, more.iter().copied());
            }
            Damage::Cut(at, count) => {
                let at = (at % length).min(bytes.len());
                bytes.drain(at..(at + count).min(bytes.len()));
            }
            Damage::Repeat(at, count) => {
                let at = (at % length).min(bytes.len());
                let again = bytes[at..(at + count).min(bytes.len())].to_vec();
                bytes.splice(at..at, again);
            }
            Damage::Swap(one, other) if !bytes.is_empty() => bytes.swap(one % length, other % length),
            Damage::Swap(..) => {}
        }
    }
    bytes
}

static STATEMENT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let instance: InstanceId = "auth0:acme".parse().unwrap();
    let sections = Manifest::from([
        ("clients".to_owned(), SectionMark { digest: Some(Digest::of(b"{}")), state: State::Value }),
        ("organizations".to_owned(), SectionMark { digest: None, state: State::NotOnPlan }),
    ]);
    let subject = Subject {
        until: Default::default(),
        log: HistoryMark { size: 412, head: Digest::of(b"head") },
        previous: Some(Digest::of(b"previous")),
        proposer: "carol@example.test".to_owned(),
        resource: "acme.eu.auth0.com".to_owned(),
        snapshot: digest_of(&instance, "acme.eu.auth0.com", &sections),
        instance,
        sections,
        sequence: 7,
    };
    let at = "2026-05-04T10:00:00Z".parse().unwrap();
    let approval = Approval { approver: "alice".to_owned(), at, reason: "CHG-1042 Zürich".to_owned() };
    Statement::new(subject, approval).to_bytes().unwrap()
});

/// One key of each kind, and its signature over [`STATEMENT`].
static SIGNED: LazyLock<Vec<(Software, Vec<u8>)>> = LazyLock::new(|| {
    let kinds = ["ed25519-sk", "ecdsa-sk", "rsa-sha2-256", "rsa-sha2-512"];
    let signed = kinds.map(|kind| {
        let key = Software::new(kind);
        let blob = key.blob(NAMESPACE, &STATEMENT, TOUCHED);
        (key, blob)
    });
    signed.into()
});

/// From the documentation of the `ssh_key` crate: "testing" in the namespace "example".
const PLAIN: &str = "-----BEGIN SSH SIGNATURE-----
U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAgsz6u836i33yqAQ3v3qNOJB9l8b
UppPQ+0UMn9cVKq2IAAAAHZXhhbXBsZQAAAAAAAAAGc2hhNTEyAAAAUwAAAAtzc2gtZWQy
NTUxOQAAAEBPEav+tMGNnox4MuzM7rlHyVBajCn8B0kAyiOWwPKprNsG3i6X+voz/WCSik
/FowYwqhgCABUJSvRX3AERVBUP
-----END SSH SIGNATURE-----
";

#[test]
fn the_seeds_are_good() {
    assert!(Statement::parse(&STATEMENT).is_ok());
    assert!(verify(PLAIN, "example", b"testing").is_ok());
    for (key, blob) in SIGNED.iter() {
        let signed = verify(&armoured(blob), NAMESPACE, &STATEMENT).unwrap();
        assert_eq!(signed.key, PublicKey::parse_openssh_line(&key.public()).unwrap());
        assert_eq!(signed.is_touched, key.public().starts_with("sk-"));
        assert!(verify(&key.signature(NAMESPACE, &STATEMENT, 0), NAMESPACE, &STATEMENT).is_ok_and(|s| !s.is_touched));
    }
    assert!(AllowedSigners::parse(&signers()).is_ok());
}

fn signers() -> String {
    let options = "namespaces=\"git,baseline.v1@authdrift\",valid-after=\"20260101Z\",valid-before=\"20270101Z\"";
    let lines = SIGNED.iter().enumerate().map(|(number, (key, _))| format!("a{number},b {options} {}\n", key.public()));
    format!("# approvers\n{}", lines.collect::<String>())
}

/// A KRL of every kind of section, as `PROTOCOL.krl` has it.
fn krl() -> Vec<u8> {
    let string = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
    let section = |kind: u8, data: &[u8]| [vec![kind], string(data)].concat();
    let head = [b"SSHKRL\n\0".as_slice(), &1_u32.to_be_bytes(), &[0; 24], &string(b""), &string(b"lost")].concat();
    let extension = [string(b"name"), vec![0], string(b"content")].concat();
    [
        head,
        section(1, b"certificates"),
        section(2, &string(b"a key")),
        section(3, &string(&[1; 20])),
        section(5, &string(&[2; 32])),
        section(255, &extension),
        section(4, b"key"),
        string(b"signature"),
    ]
    .concat()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_damaged_statement_is_refused_or_is_another_one_in_its_only_spelling(damage in damage()) {
        let bytes = damaged(&STATEMENT, &damage);
        if let Ok(statement) = Statement::parse(&bytes) {
            prop_assert_eq!(statement.to_bytes().unwrap(), bytes);
        }
    }

    #[test]
    fn a_damaged_statement_is_not_signed(damage in damage(), which in 0..4_usize) {
        let bytes = damaged(&STATEMENT, &damage);
        let (_, blob) = &SIGNED[which];
        prop_assert_eq!(verify(&armoured(blob), NAMESPACE, &bytes).is_ok(), bytes == *STATEMENT);
    }

    #[test]
    fn a_damaged_signature_is_none(damage in damage(), which in 0..4_usize) {
        let (_, blob) = &SIGNED[which];
        let other = damaged(blob, &damage);
        prop_assert_eq!(verify(&armoured(&other), NAMESPACE, &STATEMENT).is_ok(), other == *blob);
    }

    #[test]
    fn a_damaged_armour_holds_the_same_signature_or_none(damage in damage()) {
        let text = String::from_utf8_lossy(&damaged(PLAIN.as_bytes(), &damage)).into_owned();
        if verify(&text, "example", b"testing").is_ok() {
            prop_assert_eq!(rewrap(&text).unwrap(), PLAIN);
        }
    }

    #[test]
    fn a_damaged_list_of_signers_gives_no_key_to_nobody(damage in damage()) {
        let text = String::from_utf8_lossy(&damaged(signers().as_bytes(), &damage)).into_owned();
        if let Ok(signers) = AllowedSigners::parse(&text) {
            for (key, _) in SIGNED.iter() {
                let key = PublicKey::parse_openssh_line(&key.public()).unwrap();
                for principal in signers.principals_of(&key) {
                    prop_assert!(text.contains(principal) && !principal.is_empty());
                    prop_assert!(!principal.contains(['*', '?', '!', ',', '"', ' ', '\t']), "{}", principal);
                }
            }
        }
    }

    #[test]
    fn damaged_lists_of_revoked_keys_do_not_panic(damage in damage()) {
        let _ = RevokedKeys::parse(&damaged(&krl(), &damage));
        let list: String = SIGNED.iter().map(|(key, _)| key.public() + "\n").collect();
        let _ = RevokedKeys::parse(&damaged(list.as_bytes(), &damage));
    }

    #[test]
    fn arbitrary_bytes_are_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Statement::parse(&bytes).is_err());
        prop_assert!(verify(&armoured(&bytes), NAMESPACE, &STATEMENT).is_err());
        let text = String::from_utf8_lossy(&bytes);
        prop_assert!(verify(&text, NAMESPACE, &STATEMENT).is_err());
        let _ = AllowedSigners::parse(&text);
        let _ = RevokedKeys::parse(&bytes);
        let _ = RevokedKeys::parse(&[b"SSHKRL\n\0\0\0\0\x01".as_slice(), &bytes].concat());
    }
}
