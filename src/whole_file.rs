//! Files that are written whole or not at all, and never through a link that lies in their place.
//!
//! The new content gets a random name beside the file, is synchronised, and then takes its place. Whatever root writes
//! beside a database stays usable for the user of the database: the rule is the one that SQLite has for `-wal`.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::process::geteuid;
use tempfile::NamedTempFile;

/// The access that others keep to a file that they could use before: to read it, and never to write it.
const WIDEST: u32 = 0o755;
/// The access of the owner to every file, and all access to a new one.
const PRIVATE: u32 = 0o600;

/// New content beside the file that it will be. It is removed unless it takes the place.
#[derive(Debug)]
pub struct WholeFile {
    content: NamedTempFile,
    path: PathBuf,
}

impl WholeFile {
    /// Writes `content` beside `path`, on the disk before this returns.
    ///
    /// Owner and mode are those of the file at `path`. If there is none, the owner is that of `like` or else of the folder,
    /// and nobody else may read it; without `like` it belongs to this user.
    ///
    /// # Errors
    /// The folder cannot be written, or the disk is full. The file at `path` is as it was.
    pub fn prepare(path: &Path, content: &[u8], like: Option<&Path>) -> io::Result<Self> {
        let mut prefix = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        prefix.push(".");
        let mut file = tempfile::Builder::new().prefix(&prefix).suffix(".part").tempfile_in(folder_of(path))?;
        file.write_all(content)?;
        let old = fs::symlink_metadata(path).ok().filter(Metadata::is_file);
        let mode = old.as_ref().map_or(PRIVATE, |old| old.mode() & WIDEST | PRIVATE);
        file.as_file().set_permissions(Permissions::from_mode(mode))?;
        if let Some(owner) = old.or_else(|| owner_like(path, like?)) {
            give(file.as_file(), &owner);
        }
        file.as_file().sync_all()?;
        Ok(Self { content: file, path: path.to_owned() })
    }

    /// Where the content is until it takes its place.
    pub fn place(&self) -> &Path {
        self.content.path()
    }

    /// Takes the place of what is there, on the disk before this returns.
    pub fn take_place(self) -> io::Result<()> {
        // Nothing is left for the drop of `content` to remove.
        fs::rename(self.content.path(), &self.path)?;
        sync_folder_of(&self.path)
    }

    /// Takes its place if nothing is there, on the disk before this returns.
    ///
    /// # Errors
    /// As [`Self::take_place`], or something is there.
    pub fn take_free_place(self) -> io::Result<()> {
        self.content.persist_noclobber(&self.path)?;
        sync_folder_of(&self.path)
    }
}

/// Writes the file at `path`, whole or not at all: see [`WholeFile::prepare`].
pub fn write(path: &Path, content: &[u8], like: Option<&Path>) -> io::Result<()> {
    WholeFile::prepare(path, content, like)?.take_place()
}

/// Opens a file to write in its place, and makes it if there is none, with the owner of `like` or else of the folder.
///
/// # Errors
/// It cannot be opened, or it is a link.
pub fn open_in_place(path: &Path, like: &Path) -> io::Result<File> {
    // Before the file is there: it may be the very one that is asked.
    let owner = owner_like(path, like);
    let mut options = OpenOptions::new();
    options.write(true).mode(PRIVATE).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    match options.clone().create_new(true).open(path) {
        Ok(file) => {
            if let Some(owner) = owner {
                give(&file, &owner);
            }
            Ok(file)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let file = options.open(path)?;
            let mode = file.metadata()?.mode() & 0o7777;
            if mode & !WIDEST != 0 {
                // Others could write it. Only its owner may change that.
                let _ = file.set_permissions(Permissions::from_mode(mode & WIDEST));
            }
            Ok(file)
        }
        Err(error) => Err(error),
    }
}

/// Waits until names in the folder of `path` are on the disk: a file that was synchronised can still lose its name.
pub fn sync_folder_of(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

/// The folder of a path, which is this one for a bare name.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn owner_like(path: &Path, like: &Path) -> Option<Metadata> {
    fs::metadata(like).or_else(|_| fs::metadata(folder_of(path))).ok()
}

/// Gives the file to the owner of another, which only root can. Where not even root may, as in some containers, it stays.
fn give(file: &File, owner: &Metadata) {
    if geteuid().is_root() {
        let _ = fchown(file, Some(owner.uid()), Some(owner.gid()));
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    fn names(folder: &Path) -> Vec<OsString> {
        let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_planted_link_is_neither_followed_nor_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (file, victim) = (folder.path().join("file"), folder.path().join("victim"));
        fs::write(&victim, "mine").unwrap();
        for planted in ["file", "file.part", ".file.part"] {
            symlink(&victim, folder.path().join(planted)).unwrap();
        }
        write(&file, b"new", None).unwrap();
        assert_eq!((fs::read(&victim).unwrap(), fs::read(&file).unwrap()), (b"mine".to_vec(), b"new".to_vec()));
        assert!(fs::symlink_metadata(&file).unwrap().is_file());
        assert_eq!(mode(&file), 0o600);
        assert!(open_in_place(&folder.path().join("file.part"), &file).is_err());
        assert_eq!(fs::read(&victim).unwrap(), b"mine");
    }

    #[test]
    fn the_mode_is_that_of_the_old_file_and_never_lets_others_write() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        for (old, new) in [(0o600, 0o600), (0o640, 0o640), (0o644, 0o644), (0o666, 0o644), (0o400, 0o600)] {
            fs::write(&file, "old").unwrap();
            fs::set_permissions(&file, Permissions::from_mode(old)).unwrap();
            write(&file, b"new", None).unwrap();
            assert_eq!(mode(&file), new, "{old:o}");
            fs::remove_file(&file).unwrap();
        }
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
        open_in_place(&file, &file).unwrap();
        assert_eq!(mode(&file), 0o644);
    }

    #[test]
    fn what_is_not_put_leaves_nothing_and_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        write(&file, b"old", None).unwrap();
        drop(WholeFile::prepare(&file, b"new", None).unwrap());
        assert!(WholeFile::prepare(&file, b"new", None).unwrap().take_free_place().is_err());
        assert_eq!(fs::read(&file).unwrap(), b"old");
        assert!(write(&folder.path().join("no/file"), b"new", None).is_err());
        fs::create_dir(folder.path().join("taken")).unwrap();
        assert!(write(&folder.path().join("taken"), b"new", None).is_err());
        assert_eq!(names(folder.path()), ["file", "taken"]);
    }

    #[test]
    fn what_root_writes_belongs_to_who_had_it_or_has_the_database() {
        if !geteuid().is_root() {
            eprintln!("SKIPPED: only root can give files away");
            return;
        }
        const OTHER: u32 = 65534;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let owner = |name: &str| fs::metadata(at(name)).unwrap().uid();
        fs::write(at("database"), "").unwrap();
        chown(at("database"), Some(OTHER), Some(OTHER)).unwrap();
        let like = at("database");
        write(&at("new"), b"x", Some(&like)).unwrap();
        open_in_place(&at("lock"), &like).unwrap();
        assert_eq!((owner("new"), owner("lock")), (OTHER, OTHER));
        chown(at("new"), Some(7), Some(7)).unwrap();
        write(&at("new"), b"y", Some(&like)).unwrap();
        assert_eq!(owner("new"), 7);
        write(&at("own"), b"x", None).unwrap();
        assert_eq!(owner("own"), 0);
        chown(folder.path(), Some(OTHER), Some(OTHER)).unwrap();
        write(&at("first"), b"x", Some(&at("nothing"))).unwrap();
        open_in_place(&at("itself"), &at("itself")).unwrap();
        assert_eq!((owner("first"), owner("itself")), (OTHER, OTHER));
    }
}
