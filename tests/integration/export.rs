//! An exported folder is checked with sh, jq, sha256sum and ssh-keygen, and every way of tampering has its name.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::common::Sandbox;
use crate::common::pages::{blocks, only_programs};
use crate::common::sandbox::{APPROVER, Ran};

const SECOND: &str = "bob@example.test";
const NAMESPACE: &str = "baseline.v1@authdrift";

/// Three baselines of two people each, exported; Alice has two keys, and Mallory has one that nobody knows.
async fn exported() -> Sandbox {
    let sandbox = Sandbox::new().await;
    for name in ["alice-laptop", "bob", "mallory"] {
        sandbox.make_key(name);
    }
    let line = |principal: &str, key: &str| {
        let public = fs::read_to_string(sandbox.path(&format!("{key}.pub"))).unwrap();
        format!("{principal} namespaces=\"{NAMESPACE}\" {public}")
    };
    sandbox.write(
        "allowed_signers",
        &[line(APPROVER, "alice"), line(APPROVER, "alice-laptop"), line(SECOND, "bob")].concat(),
    );
    sandbox.edit_configuration("[approval]\n", "[approval]\nthreshold = 2\n");
    for round in 1..=3 {
        sandbox.clerk.edit("/v1/instance", |instance| instance["allowed_origins"] = json!([format!("app{round}://x")]));
        sandbox.run(&["check", "prod", "--json"]).await;
        let file = sandbox.path(&format!("{round}.json")).display().to_string();
        sandbox.run(&["propose", "prod", "-o", &file, "--reason", &format!("CHG-{round}")]).await.expect(0);
        for key in ["alice", "bob"] {
            let key = sandbox.path(key).display().to_string();
            sandbox.run(&["sign", &file, "--accept-weaker", "--key", &key]).await.expect(0);
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
            "1-2.json: signature refused",
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
            "3-1.json: a baseline before it is missing",
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
        assert!(ran.out.contains(&format!("FAULT  {expected}")) || ran.out.contains(expected), "{name}: {}", ran.out);
        // One of each kind by hand, too: a signature, a count of people, the chain, the settings.
        if ["reason-edited", "one-person-two-keys", "newest-dropped", "document-edited"].contains(&name) {
            let steps = by_the_page(&sandbox, &folder, STEPS);
            assert!(steps.out.contains("WRONG: ") && !steps.out.contains("nothing wrong"), "{name}: {steps:?}");
        }
    }
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
