//! The changes of one comparison, each classified once.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::finding::classify_in;
use super::{Catalogue, ChangeContext, Finding};
use crate::diff::Change;
use crate::model::Pointer;

/// Every change of a comparison with what it means, in the order of the changes.
#[derive(Debug, Clone)]
pub struct FindingSet<'a> {
    catalogue: &'a Catalogue,
    context: ChangeContext,
    findings: Vec<Finding>,
    at_path: BTreeMap<Pointer, Vec<usize>>,
}

impl<'a> FindingSet<'a> {
    /// Classifies `changes` in their `context`.
    pub fn new(catalogue: &'a Catalogue, context: ChangeContext, changes: Vec<Change>) -> Self {
        let mut at_path: BTreeMap<Pointer, Vec<usize>> = BTreeMap::new();
        for (place, change) in changes.iter().enumerate() {
            at_path.entry(change.path.clone()).or_default().push(place);
        }
        let findings = changes.into_iter().map(|change| classify_in(catalogue, &context, change)).collect();
        Self { catalogue, context, findings, at_path }
    }

    /// The findings of no comparison.
    pub fn none(catalogue: &'a Catalogue) -> Self {
        Self::new(catalogue, ChangeContext::default(), Vec::new())
    }

    /// The finding of every change.
    pub fn all(&self) -> &[Finding] {
        &self.findings
    }

    /// The finding of every change, alone.
    pub fn into_vec(self) -> Vec<Finding> {
        self.findings
    }

    /// The finding of `change`. A change that the comparison does not contain, such as a drift that is over or an earlier value
    /// of a drift, is classified in the same context.
    pub fn of(&self, change: &Change) -> Cow<'_, Finding> {
        let mut known =
            self.at_path.get(&change.path).into_iter().flatten().filter_map(|place| self.findings.get(*place));
        match known.find(|finding| finding.change == *change) {
            Some(finding) => Cow::Borrowed(finding),
            None => Cow::Owned(classify_in(self.catalogue, &self.context, change.clone())),
        }
    }

    /// The catalogue that says what changes mean.
    pub fn catalogue(&self) -> &'a Catalogue {
        self.catalogue
    }
}
