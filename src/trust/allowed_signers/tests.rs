use proptest::prelude::*;

use super::*;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";
const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB9dG4kjRhQTtWTVzd2t27+t0DEHBPW7iOD23TUiYLio";
const THIRD: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFdmLAHsWbJFZLnXPxOOJSjOMsOqZOKMKRbmQBpw7zGM";

fn key(line: &str) -> PublicKey {
    PublicKey::parse_openssh_line(line).unwrap()
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

#[test]
fn an_ordinary_file_is_read() {
    let text = format!(
        "# approvers\n\n  alice@example.test,alice2 namespaces=\"git,{NAMESPACE}\",Valid-After=\"20260101Z\" {KEY} laptop of alice\r\n\
         bob\tNAMESPACES=\"git\"\t{OTHER}\ncarol {THIRD}"
    );
    let signers = AllowedSigners::parse(&text).unwrap();
    assert_eq!(signers.principals_of(&key(KEY)), ["alice2", "alice@example.test"]);
    assert_eq!(signers.principals_of(&key(OTHER)), Vec::<&str>::new());
    let now = at("2026-05-04T10:00:00Z");
    let table = [
        ("named", "alice@example.test", KEY, now, Ok(())),
        ("without namespaces", "carol", THIRD, now, Ok(())),
        ("for another purpose", "bob", OTHER, now, Err(WhyNot::OtherNamespace)),
        ("another's key", "bob", KEY, now, Err(WhyNot::Unknown)),
        ("other spelling", "Carol", THIRD, now, Err(WhyNot::Unknown)),
        ("nobody", "mallory", KEY, now, Err(WhyNot::Unknown)),
        ("too early", "alice2", KEY, at("2025-12-31T23:59:59Z"), Err(WhyNot::NotYetValid(at("2026-01-01T00:00:00Z")))),
    ];
    for (name, principal, line, when, expected) in table {
        assert_eq!(signers.check(principal, &key(line), when), expected, "{name}");
    }
}

#[test]
fn validity_begins_with_its_first_second_and_ends_with_its_last() {
    let text = format!("alice valid-after=\"202601020304Z\",valid-before=\"20270102030405Z\" {KEY}");
    let signers = AllowedSigners::parse(&text).unwrap();
    let end = at("2027-01-02T03:04:05Z");
    let table = [
        ("2026-01-02T03:03:59Z", Err(WhyNot::NotYetValid(at("2026-01-02T03:04:00Z")))),
        ("2026-01-02T03:04:00Z", Ok(())),
        ("2027-01-02T03:04:05Z", Ok(())),
        ("2027-01-02T03:04:06Z", Err(WhyNot::Expired(end))),
    ];
    for (when, expected) in table {
        assert_eq!(signers.check("alice", &key(KEY), at(when)), expected, "{when}");
    }
}

#[test]
fn one_good_line_of_several_is_enough() {
    let text = format!("alice valid-before=\"20260101Z\" {KEY}\nalice valid-after=\"20260601Z\" {KEY}");
    let signers = AllowedSigners::parse(&text).unwrap();
    assert_eq!(signers.check("alice", &key(KEY), at("2025-06-01T00:00:00Z")), Ok(()));
    assert_eq!(signers.check("alice", &key(KEY), at("2026-07-01T00:00:00Z")), Ok(()));
    assert!(matches!(signers.check("alice", &key(KEY), at("2026-03-01T00:00:00Z")), Err(WhyNot::NotYetValid(_))));
    assert_eq!(signers.principals_of(&key(KEY)), ["alice"]);
}

#[test]
fn names_that_share_a_key_are_one_person() {
    let text = format!("zoe,alice {KEY}\nzoe {OTHER}\nann {OTHER}\nbob {THIRD}");
    let signers = AllowedSigners::parse(&text).unwrap();
    for (principal, person) in
        [("Zoe", "Zoe"), ("zoe", "alice"), ("alice", "alice"), ("ann", "alice"), ("bob", "bob"), ("x", "x")]
    {
        assert_eq!(signers.person_of(principal), person, "{principal}");
    }
}

#[test]
fn names_that_differ_in_capitals_are_one_person() {
    let signers = AllowedSigners::parse(&format!("alice@x {KEY}\nAlice@x {OTHER}\nbob {THIRD}")).unwrap();
    assert_eq!(signers.person_of("alice@x"), signers.person_of("Alice@x"));
    assert_ne!(signers.person_of("alice@x"), signers.person_of("bob"));
}

#[test]
fn a_byte_order_mark_is_named_with_its_line() {
    for text in [format!("\u{feff}alice {KEY}"), format!("\u{feff}# approvers\nalice {KEY}")] {
        let error = AllowedSigners::parse(&text).unwrap_err();
        assert_eq!(error.line, 1);
        assert!(error.to_string().contains("byte order mark (U+FEFF)"), "{error}");
    }
    let error = AllowedSigners::from_bytes(b"# one\n# tw\xf6\n").unwrap_err();
    assert_eq!((error.line, error.to_string().contains("not UTF-8")), (2, true));
}

#[test]
fn anything_unclear_refuses_the_file() {
    let table = [
        ("*@example.test KEY", "pattern"),
        ("alice,!bob KEY", "pattern"),
        ("alice? KEY", "pattern"),
        ("\"alice\" KEY", "quoted"),
        ("alice, KEY", "empty principal"),
        ("alice cert-authority KEY", "certificate authorities"),
        ("alice CERT-AUTHORITY,namespaces=\"a\" KEY", "certificate authorities"),
        ("alice namespaces=\"a\",cert-authority KEY", "certificate authorities"),
        ("alice verify-required=\"yes\" KEY", "'verify-required' is not known"),
        ("alice touch-required KEY", "key type 'touch-required' is not accepted"),
        ("alice namespaces=a KEY", "needs a value in double quotes"),
        ("alice namespaces KEY", "needs a value in double quotes"),
        ("alice namespaces=\"a KEY", "not closed"),
        ("alice namespaces=\"a\"b KEY", "expected a comma"),
        ("alice namespaces=\"a\", KEY", "is not known"),
        ("alice namespaces=\"*\" KEY", "pattern"),
        ("alice namespaces=\"\" KEY", "empty namespace"),
        ("alice namespaces=\"a\",namespaces=\"b\" KEY", "given twice"),
        ("alice valid-after=\"20260101\" KEY", "add a Z"),
        ("alice valid-before=\"202601010000\" KEY", "'202601010000Z'"),
        ("alice valid-before=\"2026-01-01Z\" KEY", "YYYYMMDD"),
        ("alice valid-before=\"20260230Z\" KEY", "YYYYMMDD"),
        ("alice valid-before=\"202601012460Z\" KEY", "YYYYMMDD"),
        ("alice valid-before=\"19700101Z\" KEY", "YYYYMMDD"),
        ("alice valid-before=\"+2260101Z\" KEY", "YYYYMMDD"),
        ("alice valid-after=\"20260601Z\",valid-before=\"20260101Z\" KEY", "not after"),
        ("alice ssh-rsa AAAAB3NzaC1yc2E=", "expected 'PRINCIPALS"),
        ("alice ssh-dss AAAA", "key type 'ssh-dss' is not accepted"),
        ("alice ssh-ed25519-cert-v01@openssh.com AAAA", "is not accepted"),
        ("alice ssh-ed25519 AAAA", "expected 'PRINCIPALS"),
        ("alice", "expected 'PRINCIPALS"),
        ("alice\u{1b}[2K KEY", "control characters"),
        ("alice\rmallory KEY", "control characters"),
        ("# a comment \0", "control characters (U+0000)"),
        ("\u{feff}alice KEY", "outside printable ASCII (U+FEFF)"),
        ("zo\u{eb} KEY", "outside printable ASCII (U+00EB)"),
        ("alice\u{a0} KEY", "outside printable ASCII (U+00A0)"),
        ("\u{430}lice KEY", "outside printable ASCII (U+0430)"),
        ("alice namespaces=\"git\u{200b}\" KEY", "outside printable ASCII (U+200B)"),
    ];
    for (line, expected) in table {
        let text = format!("# first\n{}\n", line.replace("KEY", KEY));
        let error = AllowedSigners::parse(&text).expect_err(line);
        assert_eq!(error.line, 2, "{line}");
        assert!(error.to_string().contains(expected), "{line}: {error}");
    }
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in ".*") {
        let _ = AllowedSigners::parse(&text);
    }

    #[test]
    fn arbitrary_options_never_panic(options in "(namespaces|valid-after|valid-before|[a-z,]*)[=\", a-zé0-9Z]*") {
        let _ = AllowedSigners::parse(&format!("alice {options} {KEY}"));
    }
}
