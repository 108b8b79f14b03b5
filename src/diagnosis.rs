//! Diagnosis of a set-up: what is checked, and what came of it.

mod host;
mod vendor;

pub use host::{endpoint, host};
pub use vendor::{diagnose, hosts, not_read};

use crate::exit::Exit;
use crate::model::word;

word!(
    /// What is checked. The words are for programs and never change.
    Check {
        /// The configuration file and the catalogue.
        Configuration = "configuration",
        /// Every alert has a receiver.
        Routes = "routes",
        /// Permissions of a file.
        File = "file",
        /// A secret is where the configuration says.
        Secret = "secret",
        /// Approvers and their keys.
        Signers = "signers",
        /// A key that may approve ends.
        SignerExpiry = "signer-expiry",
        /// How many people it takes.
        Threshold = "threshold",
        /// The room that is left.
        Disk = "disk",
        /// The database file.
        Database = "database",
        /// The fingerprint key.
        FingerprintKey = "fingerprint-key",
        /// The history.
        History = "history",
        /// The baseline of an instance.
        Baseline = "baseline",
        /// Whether something watches.
        Daemon = "daemon",
        /// When an instance was last read.
        LastCycle = "last-cycle",
        /// A host: its name, a connection, its certificate.
        Host = "host",
        /// The clock of this machine against the vendor's.
        Clock = "clock",
        /// Whether the vendor accepts a credential.
        Credential = "credential",
        /// Whether a section can be read.
        Section = "section",
        /// A permission that is missing.
        Permission = "permission",
        /// Permissions that are not needed.
        Rights = "rights",
        /// A mail relay, up to where a mail would be sent.
        Mail = "mail",
        /// Whether a receiver can be prepared.
        Receiver = "receiver",
        /// A sample that was sent.
        Sample = "sample",
        /// A sign of life.
        Heartbeat = "heartbeat",
    }
);

word!(
    /// How a check ended.
    CheckStatus {
        /// As it should be.
        Ok = "ok",
        /// It works, and could be better.
        Warning = "warning",
        /// It does not work.
        Failure = "failure",
        /// Not tried.
        Skipped = "skipped",
    }
);

/// The result of one check.
#[derive(Debug)]
pub struct CheckResult {
    /// What was checked.
    pub check: Check,
    /// The file, host, section or other thing that was checked.
    pub on: String,
    /// How it ended.
    pub status: CheckStatus,
    /// What was found.
    pub why: String,
    /// What to do.
    pub help: Option<String>,
    /// The exit code of a failure.
    pub exit: Option<Exit>,
    /// For programs only: another result says the same in short.
    pub is_detail: bool,
}

impl Check {
    fn result(self, status: CheckStatus, on: impl ToString, why: impl ToString) -> CheckResult {
        let (on, why) = (on.to_string(), why.to_string());
        CheckResult { check: self, on, status, why, help: None, exit: None, is_detail: false }
    }

    /// As it should be.
    pub fn ok(self, on: impl ToString, why: impl ToString) -> CheckResult {
        self.result(CheckStatus::Ok, on, why)
    }

    /// It works, and could be better.
    pub fn warning(self, on: impl ToString, why: impl ToString, help: impl Into<String>) -> CheckResult {
        self.result(CheckStatus::Warning, on, why).with_help(help)
    }

    /// It does not work.
    pub fn failure(self, on: impl ToString, why: impl ToString, help: impl Into<String>, exit: Exit) -> CheckResult {
        CheckResult { exit: Some(exit), ..self.result(CheckStatus::Failure, on, why).with_help(help) }
    }

    /// Not tried.
    pub fn skipped(self, on: impl ToString, why: impl ToString) -> CheckResult {
        self.result(CheckStatus::Skipped, on, why)
    }
}

impl CheckResult {
    /// The same with what to do.
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    fn in_detail(mut self) -> Self {
        self.is_detail = true;
        self
    }

    /// Whether it does not work.
    pub fn is_failure(&self) -> bool {
        self.status == CheckStatus::Failure
    }
}
