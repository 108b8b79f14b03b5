//! An exported folder is checked with sh, jq, sha256sum and ssh-keygen, and every way of tampering has its name.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use authdrift::canonical::Document;
use authdrift::model::{Digest, Severity};
use authdrift::snapshot::digest_of;
use authdrift::trust::{AllowedSigners, Impact, Policy, RevokedKeys, Rules, SignedStatement, Subject, chain};
use serde_json::{Value, json};

use crate::common::Sandbox;
use crate::common::pages::{blocks, only_programs};
use crate::common::sandbox::{APPROVER, Ran};

const SECOND: &str = "bob@example.test";
/// Another name of Alice's.
const ALIAS: &str = "alice@corp.test";
const NAMESPACE: &str = "baseline.v1@authdrift";

/// Three baselines of two people each, exported; Alice has two keys, and Mallory has one that nobody knows.
async fn exported() -> Sandbox {
    let sandbox = Sandbox::new().await;
    for name in ["alice-laptop", "alice-tablet", "capitals", "bob", "mallory"] {
        sandbox.make_key(name);
    }
    let line = |principal: &str, key: &str| {
        let public = fs::read_to_string(sandbox.path(&format!("{key}.pub"))).unwrap();
        format!("{principal} namespaces=\"{NAMESPACE}\" {public}")
    };
    sandbox.write(
        "allowed_signers",
        &[
            line(APPROVER, "alice"),
            line(APPROVER, "alice-laptop"),
            line(ALIAS, "alice"),
            line(ALIAS, "alice-tablet"),
            line(&APPROVER.to_uppercase(), "capitals"),
            line(SECOND, "bob"),
        ]
        .concat(),
    );
    sandbox.edit_configuration("[approval]\n", "[approval]\nthreshold = 2\n");
    for round in 1..=3 {
        sandbox.clerk.edit("/v1/instance", |instance| instance["allowed_origins"] = json!([format!("app{round}://x")]));
        sandbox.run(&["check", "prod", "--json"]).await;
        let file = sandbox.path(&format!("{round}.json")).display().to_string();
        sandbox.run(&["propose", "prod", "-o", &file, "--reason", &format!("CHG-{round}")]).await.expect(0);
        for key in ["alice", "bob"] {
            let key = sandbox.path(key).display().to_string();
            let name = if key.ends_with("bob") { SECOND } else { APPROVER };
            let sign = ["sign", &file, "--accept-weaker", "--as", name, "--key", &key];
            sandbox.run(&sign).await.expect(0);
        }
        sandbox.run(&["import", &file]).await.expect(0);
    }
    let folder = sandbox.path("evidence").display().to_string();
    sandbox.run(&["export", "prod", &folder]).await.expect(0);
    sandbox
}

/// Runs the script of `folder` as an auditor would, on a machine that has no authdrift.
fn verify(sandbox: &Sandbox, folder: &Path, arguments: &[&str]) -> Ran {
    let mut command = Command::new("sh");
    command.arg(folder.join("verify.sh")).args(["-t", "2", "-k"]).arg(sandbox.path("allowed_signers")).args(arguments);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).stdin(Stdio::null());
    command.output().unwrap().into()
}

const PAGE: &str = "docs/check-an-export.md";

/// The first piece of code on the page runs the script of the folder, the others do without it.
const SCRIPT: fn(usize) -> bool = |place| place == 0;
const STEPS: fn(usize) -> bool = |place| place > 0;

/// Types what the page tells to type, on a machine of its own: a copy of the folder, the auditor's own `allowed_signers`, and
/// no program but those that the page names.
fn by_the_page(sandbox: &Sandbox, folder: &Path, part: fn(usize) -> bool) -> Ran {
    let machine = tempfile::tempdir().unwrap();
    let work = machine.path().join("work");
    fs::create_dir(&work).unwrap();
    let copied = Command::new("cp").arg("-r").arg(folder).arg(work.join("evidence")).status().unwrap();
    assert!(copied.success());
    fs::copy(sandbox.path("allowed_signers"), work.join("allowed_signers")).unwrap();
    let usual = ["cat", "cut", "dirname", "mktemp", "rm", "sha256sum", "sort", "tail", "touch", "tr", "wc"];
    let path = only_programs(machine.path(), &[&usual[..], &["sh", "jq", "ssh-keygen"]].concat());
    let blocks = blocks(PAGE, "sh");
    assert!(blocks.iter().all(|block| block.needs.is_none()), "all of it can be run");
    let parts = blocks.iter().enumerate().filter(|(place, _)| part(*place));
    let script: String = parts.map(|(_, block)| block.text.as_str()).collect();
    let mut command = Command::new(path.join("sh"));
    command.args(["-c", &script]).current_dir(&work).env_clear().env("PATH", &path).stdin(Stdio::null());
    command.output().unwrap().into()
}

/// A copy of the folder that somebody worked on.
fn tampered(sandbox: &Sandbox, name: &str, work: impl FnOnce(&Path)) -> std::path::PathBuf {
    let copy = sandbox.path(name);
    let copied = Command::new("cp").arg("-r").arg(sandbox.path("evidence")).arg(&copy).status().unwrap();
    assert!(copied.success());
    work(&copy);
    copy
}

fn edit(file: &Path, change: impl FnOnce(&mut Value)) {
    let mut value: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    change(&mut value);
    fs::write(file, authdrift::canonical::to_bytes(&value)).unwrap();
}

/// Signs `file` anew with `key`, whatever it says.
fn sign(sandbox: &Sandbox, file: &Path, key: &str) {
    let signature = file.with_extension("json.sig");
    let _ = fs::remove_file(&signature);
    let mut command = Command::new("ssh-keygen");
    command.args(["-Y", "sign", "-q", "-n", NAMESPACE, "-f"]).arg(sandbox.path(key)).arg(file);
    assert!(command.stderr(Stdio::null()).status().unwrap().success());
    assert!(signature.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_can_check_an_export_and_every_tampering_has_its_name() {
    let sandbox = exported().await;
    let good = verify(&sandbox, &sandbox.path("evidence"), &["-s", "3", "-i", "clerk:prod"]).expect(0);
    for expected in ["baseline 3, approved by alice@example.test bob@example.test", "everything holds"] {
        assert!(good.out.contains(expected), "{}", good.out);
    }
    let script = by_the_page(&sandbox, &sandbox.path("evidence"), SCRIPT).expect(0);
    let steps = by_the_page(&sandbox, &sandbox.path("evidence"), STEPS).expect(0);
    // After the digest of the script. How many documents there are changes with what can be read.
    let shown = script.out.split_once('\n').unwrap().1.replace(" \n", "\n");
    let words = |text: &str| text.replace(|sign: char| sign.is_ascii_digit(), "");
    assert_eq!(words(&shown), words(&blocks(PAGE, "text")[0].text), "{PAGE} shows something else");
    assert_eq!((script.err.as_str(), steps.err.as_str()), ("", ""));
    assert!(steps.out.ends_with("all steps done, nothing wrong\n") && steps.out.contains("CHG-2"), "{}", steps.out);

    let statement = |folder: &Path, name: &str| folder.join("statements").join(name);
    type Work<'a> = Box<dyn FnOnce(&Path) + 'a>;
    let table: Vec<(&str, Work<'_>, &[&str], &str)> = vec![
        (
            "reason-edited",
            Box::new(|folder| {
                edit(&statement(folder, "2-1.json"), |value| value["approval"]["reason"] = json!("all fine"));
            }),
            &[],
            "2-1.json: signature refused",
        ),
        (
            "newest-dropped",
            Box::new(|folder| {
                for name in ["3-1.json", "3-2.json"] {
                    fs::remove_file(statement(folder, name)).unwrap();
                }
            }),
            &["-s", "3"],
            "ROLLBACK: the newest baseline is 2, and 3 was seen before",
        ),
        (
            "one-person-two-keys",
            Box::new(|folder| {
                let second = statement(folder, "3-2.json");
                fs::copy(statement(folder, "3-1.json"), &second).unwrap();
                sign(&sandbox, &second, "alice-laptop");
            }),
            &[],
            "baseline 3: 1 of 2 approvers",
        ),
        (
            "another-snapshot",
            Box::new(|folder| {
                let second = statement(folder, "3-2.json");
                edit(&second, |value| value["subject"]["proposer"] = json!("mallory"));
                sign(&sandbox, &second, "bob");
            }),
            &[],
            "3-2.json: it approves something else than the others at sequence 3",
        ),
        (
            "key-revoked",
            Box::new(|folder| {
                fs::copy(sandbox.path("bob.pub"), folder.join("revoked_keys")).unwrap();
            }),
            &[],
            "baseline 3: 1 of 2 approvers",
        ),
        (
            "unknown-signer",
            Box::new(|folder| sign(&sandbox, &statement(folder, "3-2.json"), "mallory")),
            &[],
            "3-2.json: signature refused",
        ),
        (
            "reserialised",
            Box::new(|folder| {
                let file = statement(folder, "1-1.json");
                let value: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
                fs::write(&file, serde_json::to_string_pretty(&value).unwrap()).unwrap();
            }),
            &[],
            "1-1.json: not canonical",
        ),
        (
            "middle-dropped",
            Box::new(|folder| {
                for name in ["2-1.json", "2-2.json"] {
                    fs::remove_file(statement(folder, name)).unwrap();
                }
            }),
            &[],
            "3-1.json: a baseline or a statement before it is missing",
        ),
        (
            "document-edited",
            Box::new(|folder| {
                let signed: Value = serde_json::from_slice(&fs::read(statement(folder, "3-1.json")).unwrap()).unwrap();
                let digest = signed["subject"]["sections"]["instance"]["digest"].as_str().unwrap().to_owned();
                let file = folder.join("documents").join(format!("{}.json", digest.trim_start_matches("sha256:")));
                edit(&file, |value| value["allowed_origins"] = json!(["https://evil.example"]));
            }),
            &[],
            "section instance: its document was changed",
        ),
        ("another-instance", Box::new(|_| {}), &["-i", "clerk:other"], "it is about another instance"),
    ];
    for (name, work, arguments, expected) in table {
        let folder = tampered(&sandbox, name, work);
        let ran = verify(&sandbox, &folder, arguments).expect(1);
        let is_named = |line: &str| line.starts_with("FAULT  ") && line.contains(expected);
        assert!(ran.out.lines().any(is_named), "{name}: {}", ran.out);
        // One of each kind by hand, too: a signature, a count of people, the chain, the settings.
        if ["reason-edited", "one-person-two-keys", "newest-dropped", "document-edited"].contains(&name) {
            let steps = by_the_page(&sandbox, &folder, STEPS);
            assert!(steps.out.contains("WRONG: ") && !steps.out.contains("nothing wrong"), "{name}: {steps:?}");
        }
    }
}

/// Nothing is at stake: how many people it takes does not depend on what changes.
struct Nothing;

impl Impact for Nothing {
    fn severity(&self, _: Option<&Subject>, _: &Subject) -> Severity {
        Severity::Info
    }

    fn authors(&self, _: Option<&Subject>, _: &Subject) -> BTreeSet<String> {
        BTreeSet::new()
    }
}

/// What the program says of the same statements and documents, by the rules of `authdrift verify`.
fn program_holds(sandbox: &Sandbox, folder: &Path) -> bool {
    let Ok(signers) = AllowedSigners::from_bytes(&fs::read(sandbox.path("allowed_signers")).unwrap()) else {
        return false;
    };
    let revoked = fs::read(folder.join("revoked_keys")).unwrap_or_default();
    let Ok(revoked) = RevokedKeys::parse(&revoked) else { return false };
    let rules = Rules { threshold: 2, ..Rules::default() };
    let policy = Policy { signers: &signers, revoked: &revoked, rules: &rules };
    let files = fs::read_dir(folder.join("statements")).unwrap().map(|entry| entry.unwrap().path());
    let statements =
        files.filter(|file| file.extension().is_some_and(|end| end == "json")).map(|file| SignedStatement {
            statement: fs::read(&file).unwrap(),
            signature: fs::read_to_string(file.with_extension("json.sig")).unwrap_or_default(),
        });
    let statements: Vec<_> = statements.collect();
    let Ok(links) = chain(&"clerk:prod".parse().unwrap(), &statements, &policy, &Nothing) else { return false };
    let marks = links.iter().flat_map(|link| link.subject.sections.values());
    let is_there = |digest: &Digest| {
        let name = digest.as_str().trim_start_matches("sha256:");
        let bytes = fs::read(folder.join("documents").join(format!("{name}.json")));
        bytes.is_ok_and(|bytes| Document::from_canonical(bytes, digest).is_ok())
    };
    links.last().is_some_and(|newest| newest.insufficient.is_none())
        && marks.filter_map(|mark| mark.digest.as_ref()).all(is_there)
}

/// Every way of tampering that the statements, documents and keys of a folder allow: the script and the program agree.
#[tokio::test(flavor = "multi_thread")]
async fn the_script_says_what_the_program_says() {
    let sandbox = exported().await;
    let statement = |folder: &Path, name: &str| folder.join("statements").join(name);
    let revoke = |folder: &Path, keys: &[&str]| {
        let lines = keys.iter().map(|key| fs::read_to_string(sandbox.path(&format!("{key}.pub"))).unwrap());
        fs::write(folder.join("revoked_keys"), lines.collect::<String>()).unwrap();
    };
    let signed_again = |folder: &Path, name: &str, key: &str, change: &dyn Fn(&mut Value)| {
        edit(&statement(folder, name), change);
        sign(&sandbox, &statement(folder, name), key);
    };
    let document_of = |folder: &Path, number: u32, section: &str| {
        let signed = fs::read(statement(folder, &format!("{number}-1.json"))).unwrap();
        let signed: Value = serde_json::from_slice(&signed).unwrap();
        let digest = signed["subject"]["sections"][section]["digest"].as_str().unwrap().to_owned();
        folder.join("documents").join(format!("{}.json", digest.trim_start_matches("sha256:")))
    };
    type Work<'a> = Box<dyn Fn(&Path) + 'a>;
    let table: Vec<(&str, Work<'_>, bool)> = vec![
        ("nothing", Box::new(|_| {}), true),
        ("a key of the newest is revoked", Box::new(|folder| revoke(folder, &["bob"])), false),
        ("a key that signed nothing is revoked", Box::new(|folder| revoke(folder, &["mallory"])), true),
        (
            "a key of older ones is revoked",
            Box::new(|folder| {
                signed_again(folder, "3-1.json", "alice-laptop", &|_| {});
                revoke(folder, &["alice"]);
            }),
            true,
        ),
        (
            "an old document altered",
            Box::new(|folder| fs::write(document_of(folder, 1, "instance"), "{}").unwrap()),
            false,
        ),
        (
            "an old document missing",
            Box::new(|folder| fs::remove_file(document_of(folder, 1, "instance")).unwrap()),
            false,
        ),
        (
            "a new document altered",
            Box::new(|folder| fs::write(document_of(folder, 3, "instance"), "{}").unwrap()),
            false,
        ),
        ("a signature missing", Box::new(|folder| fs::remove_file(statement(folder, "1-2.json.sig")).unwrap()), false),
        (
            "signatures swapped",
            Box::new(|folder| {
                fs::copy(statement(folder, "1-1.json.sig"), statement(folder, "1-2.json.sig")).unwrap();
            }),
            false,
        ),
        (
            "the reason signed with a line break",
            Box::new(|folder| {
                signed_again(folder, "3-2.json", "bob", &|value| value["approval"]["reason"] = json!("x\u{85}y"));
            }),
            false,
        ),
        (
            "a field more, signed",
            Box::new(|folder| {
                signed_again(folder, "3-2.json", "bob", &|value| value["approval"]["more"] = json!(1));
            }),
            false,
        ),
        (
            "a state nobody knows, signed",
            Box::new(|folder| {
                for (name, key) in [("3-1.json", "alice"), ("3-2.json", "bob")] {
                    signed_again(folder, name, key, &|value| {
                        value["subject"]["sections"]["x"] = json!({"state": "fine"})
                    });
                }
            }),
            false,
        ),
        (
            "a time that is none, signed",
            Box::new(|folder| {
                signed_again(folder, "3-2.json", "bob", &|value| {
                    value["approval"]["at"] = json!("2026-01-01T00:00:00+00:00")
                });
            }),
            false,
        ),
        (
            "another sequence, signed",
            Box::new(|folder| {
                signed_again(folder, "3-2.json", "bob", &|value| value["subject"]["sequence"] = json!(4));
            }),
            false,
        ),
        (
            "another predecessor, signed",
            Box::new(|folder| {
                for (name, key) in [("3-1.json", "alice"), ("3-2.json", "bob")] {
                    signed_again(folder, name, key, &|value| value["subject"]["previous"] = Value::Null);
                }
            }),
            false,
        ),
        (
            "a section left unwatched, signed",
            Box::new(|folder| {
                for (name, key) in [("3-1.json", "alice"), ("3-2.json", "bob")] {
                    signed_again(folder, name, key, &|value| {
                        value["subject"]["sections"]["saml_connections"] = json!({"state": "not_permitted"});
                        let subject = &value["subject"];
                        let (instance, sections) = ("clerk:prod".parse().unwrap(), &subject["sections"]);
                        let sections = serde_json::from_value(sections.clone()).unwrap();
                        let digest = digest_of(&instance, subject["resource"].as_str().unwrap(), &sections);
                        value["subject"]["snapshot"] = json!(digest);
                    });
                }
            }),
            true,
        ),
        (
            "one person by another key",
            Box::new(|folder| {
                fs::copy(statement(folder, "3-1.json"), statement(folder, "3-2.json")).unwrap();
                sign(&sandbox, &statement(folder, "3-2.json"), "alice-laptop");
            }),
            false,
        ),
        (
            "one person by another name",
            Box::new(|folder| {
                fs::copy(statement(folder, "3-1.json"), statement(folder, "3-2.json")).unwrap();
                signed_again(folder, "3-2.json", "alice", &|value| value["approval"]["approver"] = json!(ALIAS));
            }),
            false,
        ),
        (
            "one person by another name and key",
            Box::new(|folder| {
                fs::copy(statement(folder, "3-1.json"), statement(folder, "3-2.json")).unwrap();
                signed_again(folder, "3-2.json", "alice-tablet", &|value| value["approval"]["approver"] = json!(ALIAS));
            }),
            false,
        ),
        (
            "one person in capitals",
            Box::new(|folder| {
                fs::copy(statement(folder, "3-1.json"), statement(folder, "3-2.json")).unwrap();
                signed_again(folder, "3-2.json", "capitals", &|value| {
                    value["approval"]["approver"] = json!(APPROVER.to_uppercase());
                });
            }),
            false,
        ),
    ];
    let mut wrong = Vec::new();
    for (place, (name, work, expected)) in table.iter().enumerate() {
        let folder = tampered(&sandbox, &format!("tampered-{place}"), work);
        let ran = verify(&sandbox, &folder, &[]);
        let (script, program) = (ran.code == 0, program_holds(&sandbox, &folder));
        if (script, program) != (*expected, *expected) {
            wrong.push(format!("{name}: script {script}, program {program}, expected {expected}: {}", ran.out));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_of_an_export_is_named_by_something() {
    let sandbox = exported().await;
    let out = verify(&sandbox, &sandbox.path("evidence"), &[]).expect(0).out;
    let said = fs::read_dir(sandbox.path("evidence/documents")).unwrap().count();
    assert!(out.contains(&format!("{said} documents of 3 baselines")), "{out}");
    let link = |to: &'static str| move |file: &Path| std::os::unix::fs::symlink(to, file).unwrap();
    let write = |file: &Path| fs::write(file, "{}").unwrap();
    type Make<'a> = Box<dyn Fn(&Path) + 'a>;
    let table: Vec<(&str, Make<'_>)> = vec![
        ("statements/01-mallory.json", Box::new(write)),
        ("statements/1-3.json", Box::new(write)),
        ("statements/4-2.json", Box::new(write)),
        ("statements/0-1.json", Box::new(write)),
        ("statements/1-01.json", Box::new(write)),
        ("statements/1-9.json.sig", Box::new(write)),
        ("statements/notes.txt", Box::new(write)),
        ("statements/.hidden", Box::new(write)),
        ("documents/extra.json", Box::new(write)),
        ("documents/44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a.json", Box::new(write)),
        ("documents/more", Box::new(|file| fs::create_dir(file).unwrap())),
        ("documents/loop.json", Box::new(link("extra.json"))),
        ("notes.txt", Box::new(write)),
        ("..odd", Box::new(write)),
        ("revoked_keys", Box::new(link("allowed_signers"))),
    ];
    for (place, (name, make)) in table.iter().enumerate() {
        let folder = tampered(&sandbox, &format!("more-{place}"), |folder| make(&folder.join(name)));
        let ran = verify(&sandbox, &folder, &[]);
        let file = name.rsplit('/').next().unwrap();
        assert_eq!(ran.code, 1, "{name}: {}", ran.out);
        assert!(ran.out.lines().any(|line| line.starts_with("FAULT") && line.contains(file)), "{name}: {}", ran.out);
    }
    let one = tampered(&sandbox, "one-more", |folder| write(&folder.join("x")));
    assert!(verify(&sandbox, &one, &[]).expect(1).out.ends_with("\n1 fault\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_overwrites_nothing_and_needs_a_baseline() {
    let sandbox = Sandbox::new().await;
    let folder = sandbox.path("evidence").display().to_string();
    sandbox.check().await.expect(13);
    let none = sandbox.run(&["export", "prod", &folder]).await.expect(13);
    assert!(none.err.contains("no baseline yet") && !sandbox.path("evidence").exists(), "{none:?}");
    sandbox.approve("prod").await;
    sandbox.run(&["export", "prod", &folder]).await.expect(0);
    let again = sandbox.run(&["export", "prod", &folder]).await.expect(74);
    assert!(again.err.contains("does not exist yet"), "{again:?}");
    sandbox.run(&["export", "nobody", &folder]).await.expect(2);
}
