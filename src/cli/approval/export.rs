//! `authdrift export`: everything that was approved of an instance, as a folder that anybody can check.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::output::count;
use crate::cli::{AfterCommit, CliError, ConfiguredCommand, Context};
use crate::exit::Exit;
use crate::model::Digest;
use crate::store::{StoreError, Transaction, baselines, documents, instances};
use crate::trust::SignedStatement;
use crate::trust::statement::Statement;
use crate::trust_files::read_whole;

/// Write all approvals to a folder that others can verify
#[derive(Debug, Args)]
#[command(after_help = "\
Example, checked on another machine with its own copy of the allowed signers:
  authdrift export clerk:prod evidence
  sh evidence/verify.sh -t 2 -k ~/allowed_signers")]
pub(crate) struct ExportOptions {
    /// The instance
    #[arg(value_name = "INSTANCE")]
    instance: String,
    /// The folder to make
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

const VERIFY: &str = include_str!("export/verify.sh");

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

impl ConfiguredCommand for ExportOptions {
    async fn run_with(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, CliError> {
        let instance = context.config.instance(&self.instance)?;
        let store = context.store_to_read()?;
        let (statements, documents) = store.read(|tx| -> Result<_, StoreError> {
            let statements = match instances::find(tx, &instance.id)? {
                Some(row) => baselines::statements(tx, row)?,
                None => Vec::new(),
            };
            let documents = named_documents(tx, &statements)?;
            Ok((statements, documents))
        })?;
        if statements.is_empty() {
            let message = format!("{} has no baseline yet, so there is nothing to export", instance.id);
            let help =
                format!("`{}` makes it of the newest snapshot", context.config.approval.command_for_all(&instance.id));
            return Err(CliError::new(Exit::NoBaseline, message).with_help(help));
        }

        let folder = &self.folder;
        let failed = |error: io::Error| {
            let message = format!("cannot write the export to '{}': {error}", folder.display());
            CliError::new(Exit::Io, message).with_help("name a folder that does not exist yet")
        };
        for folder in [folder.clone(), folder.join("statements"), folder.join("documents")] {
            fs::DirBuilder::new().mode(0o700).create(folder).map_err(failed)?;
        }
        let mut numbers: Vec<u64> = Vec::new();
        for signed in &statements {
            // An unreadable statement is exported under number 0, so that a check of the folder finds it.
            let sequence = Statement::parse(&signed.statement).map_or(0, |statement| statement.subject.sequence);
            let place = numbers.iter().filter(|known| **known == sequence).count() + 1;
            numbers.push(sequence);
            let file = folder.join("statements").join(format!("{sequence}-{place}.json"));
            write(&file, &signed.statement).map_err(failed)?;
            write(&PathBuf::from(format!("{}.sig", file.display())), signed.signature.as_bytes()).map_err(failed)?;
        }
        for (digest, bytes) in &documents {
            let name = digest.as_str().trim_start_matches("sha256:");
            write(&folder.join("documents").join(format!("{name}.json")), bytes).map_err(failed)?;
        }
        let approval = &context.config.approval;
        let trust_files =
            [("allowed_signers", Some(&approval.allowed_signers)), ("revoked_keys", approval.revoked_keys.as_ref())];
        for (name, path) in trust_files {
            let Some(path) = path else { continue };
            let bytes = read_whole(path).map_err(|error| {
                CliError::new(Exit::Configuration, format!("cannot read '{}': {error}", path.display()))
            })?;
            write(&folder.join(name), &bytes).map_err(failed)?;
        }
        write(&folder.join("README.txt"), README.as_bytes()).map_err(failed)?;
        write(&folder.join("verify.sh"), VERIFY.as_bytes()).map_err(failed)?;
        fs::set_permissions(folder.join("verify.sh"), fs::Permissions::from_mode(0o755)).map_err(failed)?;

        numbers.dedup();
        let (baselines, documents) = (count(numbers.len(), "baseline"), count(documents.len(), "document"));
        let (folder, threshold) = (folder.display(), approval.rules.threshold);
        let mut after = AfterCommit::of(format!("the export is in '{folder}'"));
        after.then(writeln!(out, "{baselines} of {} with {documents} in {folder}.", instance.id));
        after.then(writeln!(out, "`sh {folder}/verify.sh -t {threshold}` checks it."));
        after.then(out.flush());
        after.end(Exit::Ok)
    }
}

/// Every document that a statement names and that is still there, as it is stored.
fn named_documents(tx: &Transaction<'_>, statements: &[SignedStatement]) -> Result<Vec<(Digest, Vec<u8>)>, StoreError> {
    let subjects = statements.iter().filter_map(|signed| Statement::parse(&signed.statement).ok());
    let marks = subjects.flat_map(|statement| statement.subject.sections.into_values());
    let mut digests: Vec<Digest> = marks.filter_map(|mark| mark.digest).collect();
    digests.sort_unstable();
    digests.dedup();
    let mut found = Vec::new();
    for digest in digests {
        if let Some(bytes) = documents::bytes(tx, &digest)? {
            found.push((digest, bytes));
        }
    }
    Ok(found)
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
