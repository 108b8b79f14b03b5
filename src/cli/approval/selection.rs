//! Which differences an approval takes.

use std::io::Write;

use clap::Args;

use crate::approval::Pending;
use crate::approval::{ApprovalScope, ChangeSelector};
use crate::classify::Catalogue;
use crate::cli::CliError;
use crate::cli::output::verdict_style;
use crate::model::{Verdict, display_safe};

/// The differences to approve.
#[derive(Debug, Args)]
pub(crate) struct What {
    /// Approve every difference
    #[arg(long, conflicts_with = "only")]
    pub(crate) all: bool,
    /// Approve only these drifts (drf_…), or what is at or under these paths; the rest stays open
    #[arg(long, value_name = "PATH|DRIFT", num_args = 1..)]
    pub(crate) only: Vec<String>,
    /// For a time only, at most 400 days: a date, a time (2027-01-31T12:00:00Z) or how long (30d). Then it is drift again
    #[arg(long, value_name = "DATE")]
    pub(crate) until: Option<String>,
}

pub(super) fn named_selection(what: &What) -> Result<Option<ApprovalScope>, CliError> {
    if what.all {
        return Ok(Some(ApprovalScope::All));
    }
    if what.only.is_empty() {
        return Ok(None);
    }
    let named: Result<Vec<ChangeSelector>, _> = what.only.iter().map(|text| text.parse()).collect();
    Ok(Some(ApprovalScope::Only(named?)))
}

/// Prints the paths that are approved because they are other paths of a selected setting.
pub(super) fn say_what_comes_along(
    pending: &Pending,
    selection: &ApprovalScope,
    catalogue: &Catalogue,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    for path in pending.come_along(selection, catalogue)? {
        writeln!(out, "With it goes another path of the same setting: {}", display_safe(&path.to_string()))?;
    }
    Ok(())
}

/// Warns that an approval acknowledges an older copy of the database.
pub(super) fn warn_of_rollback(pending: &Pending, out: &mut dyn Write) -> Result<(), CliError> {
    if let Some(reason) = &pending.rolled_back {
        let style = verdict_style(Verdict::Untrusted);
        writeln!(out, "{style}The database was rolled back{style:#}: {reason}.")?;
        writeln!(out, "This approval acknowledges that. Find out first who put the copy there, and why.")?;
    }
    Ok(())
}
