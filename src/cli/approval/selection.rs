//! Which differences an approval takes.

use std::io::Write;

use clap::Args;

use crate::approval::{ApprovalError, ApprovalRequest, ApprovalScope, ChangeSelector, Pending, Proposal, propose};
use crate::cli::options::until;
use crate::cli::output::verdict_style;
use crate::cli::{CliError, current_user};
use crate::model::{Verdict, display_safe};
use crate::store::Store;

#[derive(Debug, Args)]
pub(crate) struct What {
    /// Approve every difference
    #[arg(long, conflicts_with = "only")]
    pub(crate) all: bool,
    /// Approve only these drifts (drf_…), or differences at or below these paths
    #[arg(long, value_name = "PATH|DRIFT", num_args = 1..)]
    pub(crate) only: Vec<String>,
    /// Approve until then, at most 400 days: a date, a time (2027-01-31T12:00:00Z) or a duration (30d)
    #[arg(long, value_name = "DATE")]
    pub(crate) until: Option<String>,
}

impl What {
    /// The scope that the options name, if they name one.
    pub(super) fn scope(&self) -> Result<Option<ApprovalScope>, CliError> {
        if self.all {
            return Ok(Some(ApprovalScope::All));
        }
        if self.only.is_empty() {
            return Ok(None);
        }
        let named: Result<Vec<ChangeSelector>, _> = self.only.iter().map(|text| text.parse()).collect();
        Ok(Some(ApprovalScope::Only(named?)))
    }

    /// Proposes `scope`, and prints the paths that it takes in because they are other paths of a selected setting.
    pub(super) fn propose(
        &self,
        store: &Store,
        pending: &Pending<'_>,
        scope: ApprovalScope,
        reason: Option<String>,
        out: &mut dyn Write,
    ) -> Result<Result<Proposal, ApprovalError>, CliError> {
        for path in pending.come_along(&scope)? {
            writeln!(out, "Another path of the same setting is included: {}", display_safe(&path.to_string()))?;
        }
        let until = until(self.until.as_deref(), pending.now)?;
        let request = ApprovalRequest { scope, proposer: current_user(), reason, until };
        Ok(store.read(|tx| propose(tx, pending, request)))
    }
}

/// Warns that an approval acknowledges an older copy of the database.
pub(super) fn warn_of_rollback(pending: &Pending<'_>, out: &mut dyn Write) -> Result<(), CliError> {
    if let Some(reason) = &pending.rolled_back {
        let style = verdict_style(Verdict::Untrusted);
        writeln!(out, "{style}The database was rolled back{style:#}: {reason}.")?;
        writeln!(out, "This approval acknowledges that. Find out first who put the copy there, and why.")?;
    }
    Ok(())
}
