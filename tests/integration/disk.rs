//! The disk below the database: one that fails, one that loses what was not synchronised, one that is full.
//!
//! `disk/shim.c` is loaded into the real program and plays the first two.

mod broken;
mod fails;
mod full;
mod power_cut;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::common::{Ran, Sandbox};

/// Compiles the shim into the sandbox.
fn shim(sandbox: &Sandbox) -> PathBuf {
    let library = sandbox.path("shim.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/integration/disk/shim.c");
    let made = Command::new("cc")
        .args(["-O1", "-shared", "-fPIC", "-o"])
        .arg(&library)
        .args([source, "-ldl"])
        .status()
        .expect("these tests need cc, as building SQLite does");
    assert!(made.success());
    library
}

/// `command` on the disk of the shim, which is everything that belongs to the database and to the approver's memory.
fn on_the_disk(sandbox: &Sandbox, command: &mut Command) {
    let prefixes = format!("{}:{}", sandbox.path("authdrift.").display(), sandbox.path(".local").display());
    command
        .env("LD_PRELOAD", sandbox.path("shim.so"))
        .env("DISK_PREFIXES", prefixes)
        .env("DISK_FOLDER", sandbox.folder.path());
}

/// Runs a command to its end without holding up the simulators.
async fn run(mut command: Command) -> Ran {
    tokio::task::spawn_blocking(move || command.output().unwrap().into()).await.unwrap()
}

/// Everything that belongs to the database, and the approver's memory, as bytes.
struct Kept(Vec<(PathBuf, Vec<u8>)>);

impl Kept {
    /// Reads it; nobody may have it open.
    fn of(sandbox: &Sandbox) -> Self {
        let mut files = Vec::new();
        for folder in [sandbox.folder.path().to_owned(), sandbox.path(".local/state/authdrift")] {
            for entry in fs::read_dir(&folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                if path.is_file() && (name.starts_with("authdrift.") || folder != sandbox.folder.path()) {
                    files.push((path.clone(), fs::read(&path).unwrap()));
                }
            }
        }
        Self(files)
    }

    /// Puts it back, and nothing else.
    fn put_back(&self, sandbox: &Sandbox) {
        for (path, _) in Self::of(sandbox).0 {
            fs::remove_file(path).unwrap();
        }
        for (path, bytes) in &self.0 {
            fs::write(path, bytes).unwrap();
        }
    }
}
