//! Reads secrets where the configuration says they are, at the moment they are needed.
//!
//! One trailing line break is dropped, because editors and `echo` add one; everything else is kept. An error says what
//! was attempted and what to do, and never contains what was read.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;

use crate::config::{SecretRef, SecretUse};
use crate::model::display_safe;
use crate::telemetry::{FileTooOpen, Observable};

/// The largest secret: far more than any key, far less than harm.
const LARGEST: u64 = 64 * 1024;

/// The access that others than the owner have to a file.
const OTHERS: u32 = 0o077;

/// The directory in which systemd puts the credentials of a unit.
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// Why a secret could not be read. The text is the file, credential or variable, safe to show.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The program was not started with credentials.
    #[error(
        "cannot read credential '{0}': CREDENTIALS_DIRECTORY is not set; add 'LoadCredential={0}:PATH' to the \
         systemd unit, or write {{ file = \"PATH\" }} in the configuration"
    )]
    NoCredentials(String),
    /// The name would lead out of the credentials directory.
    #[error("cannot read credential '{0}': its name must not be empty, '.' or '..', or contain '/'")]
    BadName(String),
    /// The unit has no such credential.
    #[error(
        "cannot read credential '{0}': it is not in the credentials directory; add 'LoadCredential={0}:PATH' to \
         the systemd unit and restart it"
    )]
    NoSuchCredential(String),
    /// The file cannot be opened or read.
    #[error("cannot read the secret in '{path}'; check that the file exists and that this user may read it")]
    Unreadable {
        /// The file.
        path: String,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// The variable is not set.
    #[error("cannot read the secret in the environment variable '{0}': it is not set; set it for this program")]
    NotSet(String),
    /// It is a folder, a pipe or a device.
    #[error(
        "cannot read the secret in '{0}': it is not a regular file, and one that has to be waited for would stop everything; \
         write the secret into a file"
    )]
    NotAFile(String),
    /// There is nothing in it but a line break.
    #[error("the secret in '{0}' is empty; write the secret there")]
    Empty(String),
    /// It is not text.
    #[error("the secret in '{0}' is not UTF-8 text; write the secret there as the vendor shows it")]
    NotText(String),
    /// It would end a header, or a command.
    #[error("the secret in '{0}' has a line break in it; write it there on one line")]
    LineBreak(String),
    /// It was typed or copied with something that is not seen.
    #[error("the secret in '{0}' has a control character in it; write the secret there as the vendor shows it")]
    Control(String),
    /// An editor wrote it before the text.
    #[error("the secret in '{0}' has a byte order mark in it, which is not seen; save it as UTF-8 without one")]
    ByteOrderMark(String),
    /// It cannot be a secret.
    #[error("the secret in '{0}' is longer than 64 KiB; check that it is the right file")]
    TooLarge(String),
}

/// Reads the secret that `reference` leads to. Blocks while a file is read.
///
/// # Errors
/// [`SecretError`] when there is none, it is empty, over 64 KiB, not text, or not one line.
///
/// # Security
/// The result is not shown by `Debug` and is overwritten when dropped. A file that others may read is only warned
/// about: who may read it is the operator's decision.
pub fn read(reference: &SecretRef) -> Result<SecretString, SecretError> {
    read_with(reference, LineCount::One, |name| std::env::var_os(name))
}

/// The same, of a secret that may have several lines: a private key.
pub fn read_lines(reference: &SecretRef) -> Result<SecretString, SecretError> {
    read_with(reference, LineCount::Many, |name| std::env::var_os(name))
}

/// Reads a secret as what it is for needs it.
pub fn read_use(kept: &SecretUse<'_>) -> Result<SecretString, SecretError> {
    if kept.key == "private_key" { read_lines(kept.place) } else { read(kept.place) }
}

/// How many lines a secret may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineCount {
    One,
    Many,
}

/// What can be said of the place of a secret without reading what is there: why it is not there or no file, or that others
/// than its owner may read it.
#[derive(Debug)]
pub enum SecretFile {
    /// Nothing is wrong with it.
    Private,
    /// Others may read the file.
    Open {
        /// Its mode.
        mode: u32,
    },
}

/// Looks at the place that `reference` leads to. Nothing is read.
pub fn inspect(reference: &SecretRef) -> Result<SecretFile, SecretError> {
    let path = match reference {
        SecretRef::Credential(name) => {
            let path = credential_path(name, std::env::var_os(CREDENTIALS_DIRECTORY))?;
            if !path.exists() {
                return Err(SecretError::NoSuchCredential(display_safe(name)));
            }
            path
        }
        SecretRef::File(path) => path.clone(),
        SecretRef::Env(name) => {
            let is_set = std::env::var_os(name).is_some();
            return if is_set { Ok(SecretFile::Private) } else { Err(SecretError::NotSet(display_safe(name))) };
        }
    };
    let place = display_safe(&path.to_string_lossy());
    match std::fs::metadata(&path) {
        Err(source) => Err(SecretError::Unreadable { path: place, source }),
        Ok(found) if !found.is_file() => Err(SecretError::NotAFile(place)),
        Ok(found) if found.len() == 0 => Err(SecretError::Empty(place)),
        // systemd sets the mode of credentials; its files are readable by the group, too.
        Ok(found) if matches!(reference, SecretRef::File(_)) && found.mode() & OTHERS != 0 => {
            Ok(SecretFile::Open { mode: found.mode() & 0o777 })
        }
        Ok(_) => Ok(SecretFile::Private),
    }
}

fn read_with(
    reference: &SecretRef,
    lines: LineCount,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<SecretString, SecretError> {
    match reference {
        SecretRef::Credential(name) => {
            let path = credential_path(name, variable(CREDENTIALS_DIRECTORY))?;
            match read_file(&path, false, lines) {
                Err(SecretError::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    Err(SecretError::NoSuchCredential(display_safe(name)))
                }
                other => other,
            }
        }
        SecretRef::File(path) => read_file(path, true, lines),
        SecretRef::Env(name) => {
            let place = display_safe(name);
            let Some(value) = variable(name) else {
                return Err(SecretError::NotSet(place));
            };
            let Ok(text) = value.into_string().map(Zeroizing::new) else {
                return Err(SecretError::NotText(place));
            };
            accept(&text, place, lines)
        }
    }
}

fn credential_path(name: &str, directory: Option<OsString>) -> Result<PathBuf, SecretError> {
    if name.is_empty() || name.contains('/') || matches!(name, "." | "..") {
        return Err(SecretError::BadName(display_safe(name)));
    }
    match directory {
        Some(directory) if !directory.is_empty() => Ok(PathBuf::from(directory).join(name)),
        _ => Err(SecretError::NoCredentials(display_safe(name))),
    }
}

fn read_file(path: &Path, warns: bool, lines: LineCount) -> Result<SecretString, SecretError> {
    let place = display_safe(&path.to_string_lossy());
    let unreadable = |source| SecretError::Unreadable { path: place.clone(), source };
    // Checked before it is opened, because opening a pipe waits for a writer.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(SecretError::NotAFile(place));
    }
    let file = File::open(path).map_err(unreadable)?;
    if warns && file.metadata().map_err(unreadable)?.mode() & OTHERS != 0 {
        let advice = "other users may read the file of a secret; 'chmod 600' makes it private";
        FileTooOpen { file: &place, advice }.observe();
    }
    // All the room at once, so that no copy is left behind when the text grows.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LARGEST as usize + 1));
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > LARGEST {
        return Err(SecretError::TooLarge(place));
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => accept(text, place, lines),
        Err(_) => Err(SecretError::NotText(place)),
    }
}

fn accept(text: &str, place: String, lines: LineCount) -> Result<SecretString, SecretError> {
    let secret = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
    if secret.trim().is_empty() {
        return Err(SecretError::Empty(place));
    }
    if secret.contains('\u{feff}') {
        return Err(SecretError::ByteOrderMark(place));
    }
    let is_break = |c: char| matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}');
    if lines == LineCount::One && secret.contains(is_break) {
        return Err(SecretError::LineBreak(place));
    }
    if secret.contains(|c: char| c.is_control() && !(lines == LineCount::Many && matches!(c, '\n' | '\r' | '\t'))) {
        return Err(SecretError::Control(place));
    }
    if secret.len() as u64 > LARGEST {
        return Err(SecretError::TooLarge(place));
    }
    Ok(SecretString::from(secret))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;

    fn outcome(reference: &SecretRef, directory: Option<&Path>) -> String {
        let found = read_with(reference, LineCount::One, |name| match name {
            CREDENTIALS_DIRECTORY => directory.map(|path| path.as_os_str().to_owned()),
            "SET" => Some("CANARY\n".into()),
            "BLANK" => Some("\n".into()),
            "MARKED" => Some("\u{feff}CANARY".into()),
            _ => None,
        });
        match found {
            Ok(secret) => format!("ok {:?}", secret.expose_secret()),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn one_trailing_line_break_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let table = [("CANARY", "CANARY"), ("CANARY\n", "CANARY"), ("CANARY\r\n", "CANARY"), (" CANARY ", " CANARY ")];
        for (content, expected) in table {
            std::fs::write(&path, content).unwrap();
            let expected = format!("ok {expected:?}");
            assert_eq!(outcome(&SecretRef::File(path.clone()), None), expected);
            assert_eq!(outcome(&SecretRef::Credential("secret".to_owned()), Some(folder.path())), expected);
        }
        assert_eq!(outcome(&SecretRef::Env("SET".to_owned()), None), "ok \"CANARY\"");
    }

    #[test]
    fn what_cannot_be_read_is_explained_and_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("blank"), "\n").unwrap();
        std::fs::write(folder.path().join("binary"), b"CANARY\xff").unwrap();
        std::fs::write(folder.path().join("large"), "CANARY".repeat(20_000)).unwrap();
        for (name, text) in [
            ("twice", "CANARY\n\n"),
            ("first", "\nCANARY"),
            ("within", "CANARY\nCANARY\n"),
            ("returns", "CANARY\rCANARY"),
            ("tab", "CANARY\t"),
            ("bell", "CAN\u{7}ARY"),
            ("next", "CANARY\u{85}CANARY"),
            ("rubout", "CANARY\u{7f}"),
            ("nul", "CANARY\0"),
            ("marked", "\u{feff}CANARY\n"),
            ("mark", "\u{feff}\r\n"),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let credential = |name: &str| SecretRef::Credential(name.to_owned());
        let table = [
            (credential("x"), false, "CREDENTIALS_DIRECTORY is not set; add 'LoadCredential=x:PATH'"),
            (credential("x"), true, "it is not in the credentials directory"),
            (credential("../x"), true, "must not be empty, '.' or '..', or contain '/'"),
            (credential(".."), true, "must not be empty"),
            (credential("blank"), true, "is empty; write the secret there"),
            (credential("binary"), true, "is not UTF-8 text"),
            (credential("twice"), true, "has a line break in it"),
            (credential("first"), true, "has a line break in it"),
            (credential("within"), true, "has a line break in it"),
            (credential("returns"), true, "has a line break in it"),
            (credential("next"), true, "has a line break in it"),
            (credential("tab"), true, "has a control character in it"),
            (credential("bell"), true, "has a control character in it"),
            (credential("rubout"), true, "has a control character in it"),
            (credential("nul"), true, "has a control character in it"),
            (credential("marked"), true, "has a byte order mark in it"),
            (credential("mark"), true, "has a byte order mark in it"),
            (SecretRef::Env("MARKED".to_owned()), false, "in 'MARKED' has a byte order mark in it"),
            (credential("large"), true, "is longer than 64 KiB"),
            (SecretRef::File(folder.path().join("none")), false, "check that the file exists"),
            (SecretRef::File(folder.path().to_owned()), false, "it is not a regular file"),
            (SecretRef::File("/dev/stdin".into()), false, "it is not a regular file"),
            (SecretRef::File(pipe), false, "it is not a regular file"),
            (SecretRef::Env("UNSET".to_owned()), false, "variable 'UNSET': it is not set"),
            (SecretRef::Env("BLANK".to_owned()), false, "the secret in 'BLANK' is empty"),
        ];
        for (reference, has_credentials, expected) in table {
            let found = outcome(&reference, has_credentials.then(|| folder.path()));
            assert!(found.contains(expected), "{reference:?}: {found}");
            assert!(!found.contains("CANARY"), "{found}");
        }
    }

    #[test]
    fn only_a_private_key_has_lines() {
        let folder = tempfile::tempdir().unwrap();
        let place = SecretRef::File(folder.path().join("key"));
        for (key, text, expected) in [
            ("private_key", "-----BEGIN PRIVATE KEY-----\r\nCANARY\n-----END PRIVATE KEY-----\n", true),
            ("private_key", "CANARY\0\n", false),
            ("token", "CANARY\nCANARY\n", false),
        ] {
            std::fs::write(folder.path().join("key"), text).unwrap();
            assert_eq!(read_use(&SecretUse { key, place: &place }).is_ok(), expected, "{key} {text:?}");
        }
    }

    #[test]
    fn a_secret_is_not_shown_by_debug() {
        let secret = read_with(&SecretRef::Env("X".to_owned()), LineCount::One, |_| Some("CANARY".into())).unwrap();
        assert!(!format!("{secret:?}").contains("CANARY"));
    }
}
