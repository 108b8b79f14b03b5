//! The manual and the completions, as `man` and the shells take them.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::common::Ran;

fn run(program: &str, arguments: &[&str]) -> Ran {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).env_clear().env("HOME", "/nonexistent").env("MANWIDTH", "100");
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("LC_ALL", "C.UTF-8").env("TERM", "dumb");
    command.output().unwrap().into()
}

fn authdrift(arguments: &[&str]) -> String {
    run(env!("CARGO_BIN_EXE_authdrift"), arguments).expect(0).out
}

/// Whether a program is there; if not, that is said past the capture of the test harness.
fn has(program: &str, for_what: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        let _ = writeln!(std::io::stderr(), "SKIPPED: {for_what} needs the program '{program}'");
    }
    found
}

#[test]
fn every_page_of_the_manual_is_shown_without_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let said = authdrift(&["man", &folder.path().display().to_string()]);
    let pages: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(said.starts_with(&format!("Wrote {} pages", pages.len())) && pages.len() >= 39, "{said}");
    if !has("man", "reading the manual") {
        return;
    }
    for page in pages {
        let name = page.file_stem().unwrap().to_string_lossy().into_owned();
        let shown = run("man", &["--warnings", "-l", &page.display().to_string()]);
        assert_eq!((shown.code, shown.err.as_str()), (0, ""), "{name}");
        assert!(name == "authdrift" || shown.out.contains("SYNOPSIS"), "{name}: {}", shown.out);
    }
}

#[test]
fn bash_completes_commands_options_and_words() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("authdrift.bash");
    fs::write(&script, authdrift(&["completions", "bash"])).unwrap();
    if !has("bash", "completing in bash") {
        return;
    }
    for (line, expected) in [
        ("authdrift che", "check"),
        ("authdrift receivers te", "test"),
        ("authdrift check --no-", "--no-store"),
        ("authdrift diff --format rev", "revert revert-patch"),
        ("authdrift completions fi", "fish"),
        ("authdrift --color nev", "never"),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let (last, before) = (words[words.len() - 1], words[words.len() - 2]);
        let typed = format!(
            "source {}; COMP_WORDS=({line}); COMP_CWORD={}; COMP_LINE='{line}'; COMP_POINT={}; \
             _authdrift authdrift '{last}' '{before}'; echo \"${{COMPREPLY[@]}}\"",
            script.display(),
            words.len() - 1,
            line.len()
        );
        assert_eq!(run("bash", &["--norc", "-c", &typed]).expect(0).out.trim(), expected, "{line}");
    }
}

#[test]
fn zsh_and_fish_read_their_completions() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["zsh", "fish"] {
        let script = folder.path().join(shell);
        let text = authdrift(&["completions", shell]);
        assert!(text.contains("receivers") && text.contains("accept-weaker"), "{shell}");
        fs::write(&script, text).unwrap();
        if has(shell, "reading its completions") {
            run(shell, &["-n", &script.display().to_string()]).expect(0);
        }
    }
}
