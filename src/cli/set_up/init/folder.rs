//! Where the files go: all of them or none, and never over what is there.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::cli::CliError;
use crate::cli::context::{SYSTEM_FOLDER, configuration_directory, own_folder};
use crate::exit::Exit;

pub(super) const CONFIG: &str = "config.toml";
pub(super) const SIGNERS: &str = "allowed_signers";
pub(super) const TRIAL_KEY: &str = "trial_key";
pub(super) const TRIAL_PUBLIC: &str = "trial_key.pub";

/// Whose configuration it is, which decides where database and secrets are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FolderKind {
    /// The service's: `/etc/authdrift`, with the database in `/var/lib` and secrets as systemd credentials.
    System,
    /// The user's own, with the database in their state folder.
    Own,
    /// Any other folder, with everything in it.
    Whole,
}

#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    pub(super) kind: FolderKind,
}

impl Folder {
    /// The named folder, or the usual one for this user.
    pub(super) fn choose(named: Option<&Path>) -> Result<Self, CliError> {
        // Root's files of /proc are its own.
        let is_root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
        let system = PathBuf::from(SYSTEM_FOLDER);
        let usual = || configuration_directory().or_else(|| if is_root { Some(system.clone()) } else { own_folder() });
        let path = named.map(Path::to_owned).or_else(usual).ok_or_else(|| {
            CliError::new(Exit::Usage, "no folder to write into: HOME is not set").with_help("authdrift init DIR")
        })?;
        let path = std::path::absolute(&path).unwrap_or(path);
        let kind = match &path {
            path if *path == system => FolderKind::System,
            path if Some(path) == own_folder().as_ref() => FolderKind::Own,
            _ => FolderKind::Whole,
        };
        Ok(Self { path, kind })
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Whether `file` is the configuration that is written here.
    pub(super) fn is_config(&self, file: &Path) -> bool {
        std::path::absolute(file).is_ok_and(|file| file == self.file(CONFIG))
    }

    /// Refuses a folder that has one of the files.
    pub(super) fn refuse_what_is_there(&self) -> Result<(), CliError> {
        let names = [CONFIG, SIGNERS, TRIAL_KEY, TRIAL_PUBLIC];
        // Also a link that leads nowhere is something.
        let there = names.iter().map(|name| self.file(name)).filter(|file| file.symlink_metadata().is_ok());
        let there: Vec<String> = there.map(|file| format!("'{}'", file.display())).collect();
        if there.is_empty() {
            return Ok(());
        }
        let verb = if there.len() == 1 { "is" } else { "are" };
        let message = format!("{} {verb} there already, and nothing was written", there.join(" and "));
        Err(CliError::new(Exit::Usage, message).with_help("name another folder: authdrift init DIR"))
    }
}

/// Files that are complete and not yet where they belong: in a folder beside them. What is not published is removed.
pub(super) struct Staged<'a> {
    folder: &'a Folder,
    place: PathBuf,
    names: Vec<&'static str>,
    made_folder: bool,
}

impl<'a> Staged<'a> {
    pub(super) fn new(folder: &'a Folder) -> Result<Self, CliError> {
        let made_folder = !folder.path.exists();
        // The service reads its folder as its own user. The folder of a person is private.
        let mode = if folder.kind == FolderKind::System { 0o755 } else { 0o700 };
        let make = |mode: u32, path: &Path| fs::DirBuilder::new().recursive(true).mode(mode).create(path);
        make(mode, &folder.path).map_err(|error| failed(&folder.path, &error))?;
        let place = folder.file(&format!(".init-{}", uuid::Uuid::now_v7().simple()));
        let staged = Self { folder, place, names: Vec::new(), made_folder };
        make(0o700, &staged.place).map_err(|error| failed(&folder.path, &error))?;
        Ok(staged)
    }

    /// Where a file is until it is published.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.place.join(name)
    }

    pub(super) fn add(&mut self, name: &'static str, content: &str, mode: u32) -> Result<(), CliError> {
        let path = self.path(name);
        let write = || {
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&path)?;
            file.write_all(content.as_bytes())?;
            // Whatever the umask took away.
            file.set_permissions(fs::Permissions::from_mode(mode))?;
            file.sync_all()
        };
        write().map_err(|error| failed(&self.folder.file(name), &error))?;
        self.names.push(name);
        Ok(())
    }

    /// Adds files that another program made there.
    pub(super) fn take(&mut self, names: &[&'static str]) -> Result<(), CliError> {
        self.names.extend(names);
        Ok(())
    }

    /// Puts every file in its place, or none.
    pub(super) fn publish(self) -> Result<Vec<PathBuf>, CliError> {
        let mut published = Vec::new();
        for name in &self.names {
            let file = self.folder.file(name);
            // A second name, unlike a new one, never takes the place of a file that came meanwhile.
            if let Err(error) = fs::hard_link(self.path(name), &file) {
                for file in &published {
                    let _ = fs::remove_file(file);
                }
                return Err(failed(&file, &error));
            }
            published.push(file);
        }
        let is_synced = fs::File::open(&self.folder.path).and_then(|folder| folder.sync_all());
        is_synced.map_err(|error| failed(&self.folder.path, &error))?;
        Ok(published)
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.place);
        if self.made_folder {
            // Only goes if it is empty.
            let _ = fs::remove_dir(&self.folder.path);
        }
    }
}

fn failed(path: &Path, error: &io::Error) -> CliError {
    let message = format!("cannot write '{}', and nothing was written: {error}", path.display());
    CliError::new(Exit::Io, message).with_help("name a folder that you may write to: authdrift init DIR")
}

/// Quotes a path for a shell.
pub(in crate::cli) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = text.chars().all(|sign| sign.is_alphanumeric() || "/._-+@:,".contains(sign));
    if is_plain { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_quoted_for_the_shell_when_it_has_to_be() {
        for (path, expected) in [("/etc/authdrift", "/etc/authdrift"), ("/a b", "'/a b'"), ("/it's", "'/it'\\''s'")] {
            assert_eq!(quoted(Path::new(path)), expected);
        }
    }

    #[test]
    fn a_file_that_came_meanwhile_stays_and_nothing_else_is_left() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder { path: parent.path().join("new"), kind: FolderKind::Whole };
        let mut staged = Staged::new(&folder).unwrap();
        staged.add(SIGNERS, "ours", 0o644).unwrap();
        staged.add(CONFIG, "ours", 0o640).unwrap();
        fs::write(folder.file(CONFIG), "theirs").unwrap();
        assert_eq!(staged.publish().unwrap_err().exit, Exit::Io);
        let left: Vec<_> = fs::read_dir(&folder.path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [CONFIG]);
        assert_eq!(fs::read_to_string(folder.file(CONFIG)).unwrap(), "theirs");

        fs::remove_file(folder.file(CONFIG)).unwrap();
        fs::remove_dir(&folder.path).unwrap();
        drop(Staged::new(&folder).unwrap());
        assert!(!folder.path.exists());
    }
}
