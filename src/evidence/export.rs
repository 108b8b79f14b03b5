//! Everything that was approved of an instance, as a folder that others can verify without this program.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::config::ApprovalConfig;
use crate::model::{Digest, InstanceId};
use crate::store::{StoreError, Transaction, baselines, documents, instances};
use crate::trust::{SignedStatement, Statement};
use crate::trust_files::read_whole;

const VERIFY: &str = include_str!("verify.sh");

const README: &str = "\
Every baseline of one instance that people approved with authdrift, and what it holds.

  sh verify.sh -t THRESHOLD -k YOUR_OWN_COPY_OF_allowed_signers

checks it with sh, jq, sha256sum and ssh-keygen. Read verify.sh first: it is short.

  statements/N-K.json      what person K signed as baseline N: RFC 8785 JSON, no newline at the end
  statements/N-K.json.sig  the SSH signature, namespace baseline.v1@authdrift
  documents/DIGEST.json    the settings, one file for each document, named by its SHA-256
  allowed_signers          who may approve, as on the machine this folder comes from
  revoked_keys             keys that are refused, if there is such a file

The copy of allowed_signers in this folder proves nothing: whoever made the folder could have made it too.
";

/// The approvals of one instance, with the documents that they name.
pub struct Export {
    /// The statements by the sequence of their baseline. One that cannot be read has the number 0, so that a check of the folder
    /// finds it.
    pub baselines: BTreeMap<u64, Vec<SignedStatement>>,
    /// Every document that a statement names and that is still there, as it is stored.
    pub documents: BTreeMap<Digest, Vec<u8>>,
}

/// Why an export cannot be written.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant says what it means")]
pub enum ExportError {
    #[error("cannot write the export to '{folder}': {source}")]
    Write { folder: PathBuf, source: io::Error },
    #[error("cannot read '{path}': {source}")]
    TrustFile { path: PathBuf, source: io::Error },
}

impl Export {
    /// Reads the approvals of an instance.
    pub fn load(tx: &Transaction<'_>, instance: &InstanceId) -> Result<Self, StoreError> {
        let (mut by_sequence, mut found) = (BTreeMap::<u64, Vec<_>>::new(), BTreeMap::new());
        let statements = instances::find(tx, instance)?.map(|row| baselines::statements(tx, row)).transpose()?;
        for signed in statements.unwrap_or_default() {
            let subject = Statement::parse(&signed.statement).ok().map(|statement| statement.subject);
            by_sequence.entry(subject.as_ref().map_or(0, |subject| subject.sequence)).or_default().push(signed);
            for digest in
                subject.into_iter().flat_map(|subject| subject.sections.into_values()).filter_map(|mark| mark.digest)
            {
                if !found.contains_key(&digest)
                    && let Some(bytes) = documents::bytes(tx, &digest)?
                {
                    found.insert(digest, bytes);
                }
            }
        }
        Ok(Self { baselines: by_sequence, documents: found })
    }

    /// Writes the folder, which must not exist yet.
    pub fn write(&self, folder: &Path, approval: &ApprovalConfig) -> Result<(), ExportError> {
        let failed = |source: io::Error| ExportError::Write { folder: folder.to_owned(), source };
        let write = |name: &str, bytes: &[u8]| write(&folder.join(name), bytes).map_err(failed);
        for folder in [folder.to_owned(), folder.join("statements"), folder.join("documents")] {
            fs::DirBuilder::new().mode(0o700).create(folder).map_err(failed)?;
        }
        for (sequence, statements) in &self.baselines {
            for (signed, place) in statements.iter().zip(1..) {
                let name = format!("statements/{sequence}-{place}.json");
                write(&name, &signed.statement)?;
                write(&format!("{name}.sig"), signed.signature.as_bytes())?;
            }
        }
        for (digest, bytes) in &self.documents {
            write(&format!("documents/{}.json", digest.as_str().trim_start_matches("sha256:")), bytes)?;
        }
        let trust_files =
            [("allowed_signers", Some(&approval.allowed_signers)), ("revoked_keys", approval.revoked_keys.as_ref())];
        for (name, path) in trust_files {
            let Some(path) = path else { continue };
            let bytes = read_whole(path).map_err(|source| ExportError::TrustFile { path: path.clone(), source })?;
            write(name, &bytes)?;
        }
        write("README.txt", README.as_bytes())?;
        write("verify.sh", VERIFY.as_bytes())?;
        fs::set_permissions(folder.join("verify.sh"), fs::Permissions::from_mode(0o755)).map_err(failed)
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
