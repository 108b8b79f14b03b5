//! The samples of the README are what the demo prints today, with other times, ids and digests.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs};

use authdrift::simulator::clerk::{self, Clerk};
use regex::{Captures, Regex};

use super::{check_generated, check_script, has_programs, read};

const DRIFT: &str = "01a2021c558c73c0b8a12cce321d0285";
const DIGEST: &str = "a5e0c0c9e650af7ce46d58d17d249f4a67b72c8c31fa44877a255a6a0b1ee053";

/// What differs between two runs is the same in every sample: times, ids, digests, and the name of this machine.
fn settled(text: &str) -> String {
    let mut text = text.to_owned();
    for (pattern, instead) in [
        (r"\b\d{1,2} (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\b", "22 Nov"),
        (r"\b22 Nov \d{4}\b", "22 Nov 2026"),
        (r"\b\d{4}-\d\d-\d\d\b", "2026-11-22"),
        (r"\b\d\d:\d\d:\d\d\b", "07:15:40"),
        (r"\b\d\d:\d\d\b", "07:15"),
        // Two readings of the demo can be in one second, or in two minutes.
        (
            r"(Changed\s+)(?:at|between) 22 Nov 2026\s+07:15(?::40)?(?:\s+and\s+07:15(?::40)?)? UTC",
            "${1}between 22 Nov 2026 07:15:36 and 07:15:40 UTC",
        ),
        (
            r"(above,\s+)(?:at|from) 22 Nov 2026\s+07:15(?::40)?(?:\s+to\s+07:15(?::40)?)? UTC",
            "${1}from 22 Nov 2026\n  07:15:36 to 07:15:40 UTC",
        ),
        (r"SHA256:[0-9A-Za-z+/]{43}", "SHA256:nFufU8oARhbBzI1CZqx/dPhaVCOj0WHXIRBsmjtOxfQ"),
        (r"(authdrift \S+) on [^\s.]+", "$1 on vm"),
    ] {
        text = Regex::new(pattern).unwrap().replace_all(&text, instead).into_owned();
    }
    let digest = Regex::new("sha256:[0-9a-f]{8,64}").unwrap();
    text = digest.replace_all(&text, |found: &Captures<'_>| format!("sha256:{}", &DIGEST[..found[0].len() - 7])).into();
    let mut known = BTreeMap::new();
    let drift = Regex::new("drf_[0-9a-f]{8,32}").unwrap();
    let renamed = drift.replace_all(&text, |found: &Captures<'_>| {
        let id = &found[0][4..];
        let next = known.len();
        let number = *known.entry(id.to_owned()).or_insert(next);
        let fixed = format!("{}{number:02x}", &DRIFT[..30]);
        format!("drf_{}", &fixed[fixed.len() - id.len()..])
    });
    renamed.into_owned()
}

/// Compares a sample with the one in the README, or writes it. Where lines break depends on the day of the month.
fn check_sample(name: &str, sample: &str) {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let expected = format!("```text\n{}\n```\n", settled(sample.trim_end()));
    let readme = read("README.md");
    let part =
        readme.split_once(&format!("<!-- generated: {name} -->\n")).and_then(|(_, rest)| rest.split_once("<!-- end"));
    if part.is_none_or(|(found, _)| words(found) != words(&expected)) {
        check_generated("README.md", name, &expected);
    }
}

fn authdrift(arguments: &[&str], folder: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_authdrift"));
    command.env_clear().env("HOME", folder).env("PATH", env::var_os("PATH").unwrap_or_default()).current_dir(folder);
    let output = command.args(["--color", "never"]).args(arguments).stdin(Stdio::null()).output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!out.is_empty(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    out
}

#[test]
fn the_samples_of_the_readme_are_of_the_demo() {
    let home = tempfile::tempdir().unwrap();
    let story = authdrift(&["demo", "demo"], home.path());
    let friday = story.split_once("Friday evening\n").expect("its chapter of the demo").1;

    let check = &friday[friday.find("$ authdrift check\n").unwrap()..];
    check_sample("demo-check", check.split_once("(exit code").unwrap().0);

    let lines = friday.lines().skip_while(|line| !line.starts_with("  │ ")).take_while(|line| line.starts_with("  │"));
    let mail: Vec<&str> = lines.map(|line| line.strip_prefix("  │ ").unwrap_or_default()).collect();
    let (head, text) = mail.split_at(mail.iter().position(|line| line.is_empty()).unwrap());
    let subject = head.iter().find(|line| line.starts_with("Subject: ")).expect("a subject");
    // From the third entry to what follows the entries it is dots.
    let is_entry = |line: &&str| ["CRITICAL ", "HIGH ", "MEDIUM "].iter().any(|word| line.starts_with(word));
    let entries: Vec<usize> = text.iter().enumerate().filter(|(_, line)| is_entry(line)).map(|(at, _)| at).collect();
    // The first is the heading.
    let (third, rest) = (entries[3], text.iter().position(|line| *line == "Who did it").expect("who did it"));
    let shown = [&[*subject], &text[..third], &["...", ""], &text[rest..]].concat();
    check_sample("demo-mail", &shown.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sample_of_the_readmes_check_is_of_the_demos_data() {
    if !has_programs() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let vendor = Clerk::lantern_books().await.unwrap();
    let made =
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", "key"]).current_dir(&home).status();
    assert!(made.unwrap().success());
    let public = fs::read_to_string(home.path().join("key.pub")).unwrap();
    let signers = format!("alice@lantern-books.example namespaces=\"baseline.v1@authdrift\" {public}");
    let url = vendor.url();
    for (name, text) in [
        ("allowed_signers", signers.as_str()),
        ("secret", clerk::SECRET_KEY),
        ("token", clerk::PLATFORM_TOKEN),
        (
            "config.toml",
            &format!(
                "[store]\npath = \"a.db\"\n[approval]\nallowed_signers = \"allowed_signers\"\n[[clerk]]\nname = \"shop\"\n\
                 publishable_key = \"{}\"\nsecret_key = {{ file = \"secret\" }}\nplatform_token = {{ file = \"token\" }}\n\
                 application_id = \"{}\"\nbackend_api_url = \"{url}\"\nplatform_api_url = \"{url}\"\n\
                 frontend_api_url = \"{url}\"\n",
                clerk::PUBLISHABLE_KEY,
                clerk::APPLICATION_ID
            ),
        ),
    ] {
        fs::write(home.path().join(name), text).unwrap();
    }
    let folder = home.path().to_owned();
    let printed = tokio::task::spawn_blocking(move || {
        authdrift(&["check"], &folder);
        authdrift(&["propose", "shop", "-o", "prod.json", "--reason", "First review, CHG-1"], &folder);
        authdrift(&["sign", "prod.json", "--key", "key"], &folder);
        check_script(&folder)
    });
    let printed = printed.await.unwrap();
    assert!(!printed.contains("NOT AS SIGNED"), "{printed}");
    let lines: Vec<&str> = printed.lines().collect();
    let first = lines.iter().position(|line| line.starts_with("as signed: ")).unwrap();
    let last = lines.iter().rposition(|line| line.starts_with("as signed: ")).unwrap();
    // Some of the sections are enough to see.
    let shown = [&lines[..first + 5], &["..."], &lines[last..]].concat();
    check_sample("demo-signature", &shown.join("\n"));
}
