//! The Debian package on a booted Debian: installed, upgraded while the service runs, removed, purged.

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use super::boot::{Boot, NOBODY};
use super::{BINARY, is_there, repository, skip, text};

/// Builds the package with the program of the tests, and the same once more as its own upgrade.
pub(super) fn build(boot: &Boot) {
    // Manual and completions are made in one folder.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let target = boot.path("target");
    std::fs::create_dir_all(target.join("release")).unwrap();
    std::os::unix::fs::symlink(BINARY, target.join("release/authdrift")).unwrap();
    let run = |command: &mut Command| {
        let output = command.current_dir(boot.folder.path()).env("CARGO_TARGET_DIR", &target).output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", text(&output));
    };
    let built = boot.path("1.deb");
    run(Command::new(repository().join("deb/build")).args(["--no-build", "--fast", "--output"]).arg(&built));
    run(Command::new("dpkg-deb").arg("-R").arg(&built).arg("unpacked"));
    let control = boot.path("unpacked/DEBIAN/control");
    let text = std::fs::read_to_string(&control).unwrap();
    std::fs::write(&control, text.replace("-1\nArchitecture:", "-2\nArchitecture:")).unwrap();
    run(Command::new("dpkg-deb").args(["-Zgzip", "-z1", "-b", "unpacked", "2.deb"]));
}

/// Whether a package can be built and installed here; says why not.
pub(super) fn can_be_packed() -> bool {
    let has_cargo_deb = Command::new("cargo").args(["deb", "--version"]).output().is_ok_and(|out| out.status.success());
    if !has_cargo_deb {
        skip("there is no cargo-deb (`cargo install --locked cargo-deb`), so no package was built");
        return false;
    }
    let is_debian = is_there("dpkg") && Path::new("/var/lib/dpkg/status").exists();
    if !is_debian {
        skip("this is no Debian, so no package was installed");
    }
    is_debian
}

#[test]
fn the_package_installs_upgrades_and_leaves_nothing_behind() {
    if !can_be_packed() {
        return;
    }
    let mut boot = Boot::bare(NOBODY);
    build(&boot);
    for revision in ["1", "2"] {
        boot.file(&boot.path(&format!("{revision}.deb")), &format!("/opt/{revision}.deb:0644"));
    }
    boot.setup.push_str(include_str!("install.sh"));
    boot.run(include_str!("upgrade.sh"));
}
