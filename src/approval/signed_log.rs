//! The log of what was signed on this machine, kept apart from everything that a proposal brings along.
//!
//! A proposal that is older than one that was signed, or another one in the same place, is consistent in itself. Only
//! the approver's own machine can tell: an attacker with the database can put back an older copy of it and ask again.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ApprovalError;
use crate::canonical;
use crate::model::{Digest, HistoryMark, InstanceId};
use crate::trust::Subject;
use crate::whole_file::{WholeFile, open_in_place};

const TYPE: &str = "authdrift/signed/v1";

/// The file of the log.
#[derive(Debug, Clone)]
pub struct SignedLog {
    path: PathBuf,
}

/// The newest signature for one instance and resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LastSigned {
    sequence: u64,
    identity: Digest,
    log: HistoryMark,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignedFile {
    #[serde(rename = "type")]
    kind: String,
    /// By instance and then by resource.
    signed: BTreeMap<InstanceId, BTreeMap<String, LastSigned>>,
}

/// How a proposal goes back behind what was signed on this machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Behind {
    /// An older baseline.
    #[error("this machine has signed baseline {signed}, and this is baseline {found}")]
    Older {
        /// The newest signed sequence.
        signed: u64,
        /// The sequence to sign.
        found: u64,
    },
    /// Another baseline in the same place.
    #[error("this machine has signed another baseline {0}")]
    Another(u64),
    /// A history that is shorter, or another one of the same length.
    #[error("what this machine has signed knew {signed} events of the history, and this knows {found} or others")]
    History {
        /// The length of the signed history.
        signed: u64,
        /// The length of the history now.
        found: u64,
    },
}

/// The new content of the log. It is removed unless it is committed.
#[derive(Debug)]
pub struct PreparedRecord {
    memory: SignedLog,
    file: WholeFile,
    _lock: File,
}

impl PreparedRecord {
    /// Replaces the log, on the disk before this returns.
    pub fn commit(self) -> Result<(), ApprovalError> {
        let Self { memory, file, _lock } = self;
        file.take_place().map_err(|error| memory.failed("write", error))
    }
}

impl SignedLog {
    /// The file that is `named`, or the one in the person's own state folder.
    pub fn open(named: Option<&Path>) -> Result<Self, ApprovalError> {
        if let Some(path) = named {
            return Ok(Self { path: path.to_owned() });
        }
        let folder = |name: &str| std::env::var_os(name);
        Self::below(folder("XDG_STATE_HOME"), folder("HOME")).ok_or(ApprovalError::NoMemory)
    }

    fn below(state: Option<OsString>, home: Option<OsString>) -> Option<Self> {
        // A relative path counts for nothing (XDG Base Directory Specification).
        let absolute = |folder: OsString| Some(PathBuf::from(folder)).filter(|folder| folder.is_absolute());
        let folder = state.and_then(absolute).or_else(|| Some(home.and_then(absolute)?.join(".local/state")))?;
        Some(Self { path: folder.join("authdrift").join("signed.json") })
    }

    /// Checks that signing `subject` does not go back.
    pub fn check(&self, subject: &Subject) -> Result<(), ApprovalError> {
        self.check_in(&self.read()?, subject)
    }

    /// Remembers that `subject` was signed; with `replace`, also if that goes back. It is on the disk before this returns.
    pub fn record(&self, subject: &Subject, replace: bool) -> Result<(), ApprovalError> {
        self.prepare(subject, replace)?.commit()
    }

    /// Writes beside the file what it has to say once `subject` is signed, and keeps others from writing it meanwhile: what
    /// can fail fails here, before anything is done that the file has to remember.
    ///
    /// # Errors
    /// It goes back and `replace` does not say that it is to, or the file cannot be written. It is as it was.
    pub fn prepare(&self, subject: &Subject, replace: bool) -> Result<PreparedRecord, ApprovalError> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let failed = |error: io::Error| self.failed("write", error);
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        // Two that sign at once must not forget each other.
        let lock = self.path.with_extension("lock");
        let lock = open_in_place(&lock, folder).map_err(failed)?;
        lock.lock().map_err(failed)?;
        let mut remembered = self.read()?;
        if !replace {
            self.check_in(&remembered, subject)?;
        }
        let last = LastSigned { sequence: subject.sequence, identity: subject.identity(), log: subject.log.clone() };
        let resources = remembered.signed.entry(subject.instance.clone()).or_default();
        resources.insert(subject.resource.clone(), last);
        let mut text = serde_json::to_vec_pretty(&remembered).map_err(|error| failed(error.into()))?;
        text.push(b'\n');
        let file = WholeFile::prepare(&self.path, &text, Some(folder)).map_err(failed)?;
        Ok(PreparedRecord { memory: self.clone(), file, _lock: lock })
    }

    fn check_in(&self, remembered: &SignedFile, subject: &Subject) -> Result<(), ApprovalError> {
        let last = remembered.signed.get(&subject.instance).and_then(|resources| resources.get(&subject.resource));
        match last.and_then(|last| behind(last, subject)) {
            Some(reason) => {
                Err(ApprovalError::Behind { instance: subject.instance.clone(), reason, memory: self.path.clone() })
            }
            None => Ok(()),
        }
    }

    fn read(&self) -> Result<SignedFile, ApprovalError> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(SignedFile { kind: TYPE.to_owned(), signed: BTreeMap::new() });
            }
            Err(error) => return Err(self.failed("read", error)),
        };
        let remembered = canonical::parse(&bytes)
            .ok()
            .and_then(|value| serde_json::from_value::<SignedFile>(value).ok())
            .filter(|remembered| remembered.kind == TYPE);
        remembered.ok_or_else(|| self.failed("read", io::Error::other("it is damaged, or of another version")))
    }

    fn failed(&self, verb: &str, error: io::Error) -> ApprovalError {
        let action = if verb == "read" { "read what was signed here" } else { "remember what was signed here" };
        ApprovalError::File { action, path: self.path.clone(), reason: error.to_string() }
    }
}

fn behind(last: &LastSigned, subject: &Subject) -> Option<Behind> {
    let (signed, found) = (last.sequence, subject.sequence);
    if found < signed {
        return Some(Behind::Older { signed, found });
    }
    if found == signed {
        return (subject.identity() != last.identity).then_some(Behind::Another(signed));
    }
    let is_other = subject.log.size == last.log.size && subject.log.head != last.log.head;
    let history = Behind::History { signed: last.log.size, found: subject.log.size };
    (subject.log.size < last.log.size || is_other).then_some(history)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Manifest, digest_of};

    fn subject(sequence: u64, size: u64, history: &str) -> Subject {
        let instance: InstanceId = "auth0:acme".parse().unwrap();
        let sections = Manifest::new();
        Subject {
            until: BTreeMap::new(),
            log: HistoryMark { size, head: Digest::of(history.as_bytes()) },
            previous: None,
            proposer: "carol".to_owned(),
            resource: "acme".to_owned(),
            snapshot: digest_of(&instance, "acme", &sections),
            instance,
            sections,
            sequence,
        }
    }

    #[test]
    fn only_forward_and_the_same_again() {
        let signed = subject(3, 40, "a");
        let last = LastSigned { sequence: 3, identity: signed.identity(), log: signed.log.clone() };
        let table = [
            ("the same again", subject(3, 40, "a"), None),
            ("the next", subject(4, 41, "b"), None),
            ("the next, nothing happened", subject(4, 40, "a"), None),
            ("far ahead", subject(9, 400, "c"), None),
            ("older", subject(2, 50, "a"), Some(Behind::Older { signed: 3, found: 2 })),
            ("the same place, longer history", subject(3, 50, "b"), Some(Behind::Another(3))),
            ("a shorter history", subject(4, 39, "a"), Some(Behind::History { signed: 40, found: 39 })),
            ("another history", subject(4, 40, "b"), Some(Behind::History { signed: 40, found: 40 })),
        ];
        for (name, subject, expected) in table {
            assert_eq!(behind(&last, &subject), expected, "{name}");
        }
    }

    #[test]
    fn it_is_kept_by_instance_and_resource_for_nobody_else_to_read() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let memory = SignedLog::below(Some(folder.path().into()), None).unwrap();
        let first = subject(3, 40, "a");
        memory.check(&first).unwrap();
        memory.record(&first, false).unwrap();
        memory.record(&first, false).unwrap();
        assert_eq!(fs::metadata(&memory.path).unwrap().permissions().mode() & 0o777, 0o600);

        let older = subject(2, 50, "b");
        assert!(matches!(memory.check(&older), Err(ApprovalError::Behind { .. })));
        assert!(matches!(memory.record(&older, false), Err(ApprovalError::Behind { .. })));
        memory.check(&Subject { resource: "another".to_owned(), ..older.clone() }).unwrap();
        memory.check(&Subject { instance: "auth0:other".parse().unwrap(), ..older.clone() }).unwrap();
        // With `replace` it may go back.
        memory.record(&older, true).unwrap();
        memory.check(&older).unwrap();

        fs::write(&memory.path, "{}").unwrap();
        assert!(matches!(memory.check(&older), Err(ApprovalError::File { .. })), "what is damaged allows nothing");
    }

    #[test]
    fn where_it_lies() {
        let path = |state: Option<&str>, home: Option<&str>| {
            SignedLog::below(state.map(Into::into), home.map(Into::into))
                .map(|memory| memory.path.display().to_string())
        };
        let usual = Some("/home/me/.local/state/authdrift/signed.json".to_owned());
        assert_eq!(path(Some("/state"), Some("/home/me")), Some("/state/authdrift/signed.json".to_owned()));
        assert_eq!(path(None, Some("/home/me")), usual);
        assert_eq!(path(Some("relative"), Some("/home/me")), usual);
        assert_eq!(path(None, None), None);
    }
}
