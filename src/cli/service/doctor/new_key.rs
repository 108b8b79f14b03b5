//! `authdrift doctor --new-fingerprint-key`: on after the key is lost, with everybody knowing.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::cli::{AfterCommit, CliError, Context, current_user};
use crate::daemon::DaemonError;
use crate::daemon::lock::Lock;
use crate::exit::Exit;
use crate::store::{Store, StoreError};

/// Replaces a lost key, and prints the next steps.
pub(super) fn replace(context: &Context, out: &mut dyn Write) -> Result<Exit, CliError> {
    let path = &context.config.store;
    if !path.exists() {
        return Err(StoreError::Missing(path.clone()).into());
    }
    // A daemon that is running has the old key in its memory and would go on with it.
    let _lock = Lock::take(path).map_err(|error| match error {
        error @ DaemonError::AlreadyRunning(_) => CliError::from(error).with_help(
            "it may still have the key: `authdrift backup FILE` copies it only from the file; stop the daemon first",
        ),
        error => error.into(),
    })?;
    let (kept, finished) = Store::replace_key(path, &current_user()).map_err(|error| match error {
        error @ StoreError::KeyFits(_) => CliError::new(Exit::Usage, error),
        error => error.into(),
    })?;
    let mut after = AfterCommit::of("the new fingerprint key is in its place");
    after.then(print(context, path, kept, out));
    after.then(finished);
    after.end(Exit::Ok)
}

fn print(context: &Context, path: &Path, kept: Option<PathBuf>, out: &mut dyn Write) -> io::Result<()> {
    let key = path.with_extension("key");
    writeln!(out, "Made a new fingerprint key, {}.", key.display())?;
    if let Some(kept) = kept {
        writeln!(out, "What was there and did not fit is {} now.", kept.display())?;
    }
    writeln!(
        out,
        "\nEvery fingerprint in the baselines was made with the old key, so each secret and each entry of a list of people\n\
         looks replaced now, whether it was or not. What else is approved stays comparable.\n\n\
         Next\n  # reads everything again; each fingerprint is a drift, and lists of people need it twice\n  authdrift check"
    )?;
    for instance in &context.config.instances {
        writeln!(
            out,
            "  # look that nothing but fingerprints differs\n  authdrift diff {id}\n  \
             {approve} --all",
            id = instance.id,
            approve = context.config.approval.command_for_all(&instance.id)
        )?;
    }
    writeln!(out, "  # the new key belongs into the backup\n  authdrift backup FILE")?;
    out.flush()
}
