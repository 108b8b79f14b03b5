//! The commands of a page of the documents, to be run as they stand there.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Sandbox;

/// A piece of code on a page.
pub struct Block {
    /// What the comment before it says: what it needs that a test does not have.
    pub needs: Option<String>,
    pub text: String,
}

/// The blocks of a language, in their order.
pub fn blocks(page: &str, language: &str) -> Vec<Block> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
    let begin = format!("```{language}\n");
    let mut found = Vec::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once(&begin) {
        let (block, after) = after.split_once("```").unwrap();
        let comment = before.lines().last().and_then(|line| line.strip_prefix("<!-- ")?.strip_suffix(" -->"));
        found.push(Block { needs: comment.map(str::to_owned), text: block.to_owned() });
        rest = after;
    }
    assert!(!found.is_empty(), "{page} has no block of {language}");
    found
}

/// A folder for `PATH` that has these programs and no other.
pub fn only_programs(folder: &Path, names: &[&str]) -> PathBuf {
    let bin = folder.join("bin");
    fs::create_dir(&bin).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    for name in names {
        let program = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.exists());
        symlink(program.unwrap_or_else(|| panic!("this test needs {name}")), bin.join(name)).unwrap();
    }
    bin
}

/// A line of a page as the shell has to take it: one that ends as the page says, and otherwise well. What a person pastes is
/// in a file of the same name in the folder `pasted`.
pub fn as_told(line: &str) -> String {
    if let Some(name) = line.strip_prefix("cat > ") {
        let name = name.split_whitespace().next().unwrap();
        return format!("cat \"$HOME/pasted/{}\" > {name}", name.trim_end_matches(".new"));
    }
    match line.split_once("# exit code ") {
        Some((command, code)) => format!("code=0; {} || code=$?; [ $code -eq {code} ]", command.trim()),
        None => line.to_owned(),
    }
}

/// A shell that types `script` in the folder of the sandbox, where its configuration is, with `authdrift` at hand. As with
/// `env -i`, its environment is HOME and PATH alone.
pub fn shell(sandbox: &Sandbox, script: &str) -> Command {
    let bin = sandbox.path("bin");
    if !bin.exists() {
        fs::create_dir(&bin).unwrap();
        symlink(env!("CARGO_BIN_EXE_authdrift"), bin.join("authdrift")).unwrap();
    }
    let path = std::env::var_os("PATH").unwrap();
    let path = std::env::join_paths([bin].into_iter().chain(std::env::split_paths(&path))).unwrap();
    let mut command = Command::new("sh");
    command.args(["-xc", script]).current_dir(sandbox.folder.path()).stdin(Stdio::null()).env_clear();
    command.env("PATH", path).env("HOME", sandbox.folder.path());
    command
}
