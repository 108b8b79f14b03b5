//! How an instance stands, in one word.

use super::word::word;

word!(
    /// The verdict of a cycle.
    Verdict {
        /// Everything the baseline holds was read and is as approved.
        InSync = "in_sync",
        /// Something differs.
        Drift = "drift",
        /// Nothing differs as far as could be read, but not everything could.
        Blind = "blind",
        /// The baseline cannot be trusted, so nothing was compared.
        Untrusted = "untrusted",
        /// No baseline was approved yet.
        NoBaseline = "no_baseline",
        /// Nothing could be read.
        Error = "error",
    }
);

impl Verdict {
    /// The same in words: `no baseline`.
    pub fn words(self) -> String {
        self.as_str().replace('_', " ")
    }
}
