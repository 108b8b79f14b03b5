//! Verifies the database as a whole: every approval with its documents, the history, and every table against it.

use chrono::{DateTime, Utc};

use crate::baseline::{DocumentImpact, verified_baseline};
use crate::classify::Catalogue;
use crate::config::Instance;
use crate::model::{HistoryMark, Resource};
use crate::snapshot::Snapshot;
use crate::store::{Store, StoreError, Transaction, baselines, check_schema, cycles, documents, instances};
use crate::trust::{Approved, Untrusted, chain};
use crate::trust_files::TrustFiles;

/// The result of an examination.
pub struct Examination<'a> {
    /// The chain of every instance, or why it is not trusted.
    pub results: Vec<(&'a Instance, Result<Vec<Approved>, Untrusted>)>,
    /// The end of the history, or where it is broken.
    pub history: Result<Option<HistoryMark>, StoreError>,
    /// Other contradictions, one sentence each.
    pub wrong: Vec<String>,
}

impl Examination<'_> {
    /// Whether everything is as it was signed and recorded.
    pub fn is_sound(&self) -> bool {
        self.history.is_ok() && self.wrong.is_empty() && self.results.iter().all(|(_, result)| result.is_ok())
    }
}

/// Verifies everything about `instances`, each with its catalogue.
pub fn examine<'a>(
    tx: &Transaction<'_>,
    store: &Store,
    instances: &[(&'a Instance, &Catalogue)],
    trust: &TrustFiles,
    now: DateTime<Utc>,
) -> Result<Examination<'a>, StoreError> {
    let history = match tx.whole_history().and_then(|replay| check_schema(tx).map(|()| replay.mark.clone())) {
        // A disk that cannot be read says nothing of what is on it.
        Err(error) if !error.is_damage() => return Err(error),
        found => found,
    };
    // Without one of its tables every other query fails, and the schema says why.
    let is_damage = |error: &StoreError| error.is_damage() || matches!(history, Err(StoreError::Schema(_)));
    let mut results = Vec::new();
    for (instance, catalogue) in instances {
        let verified = match verify_chain(tx, instance, trust, catalogue, now) {
            Err(error) if is_damage(&error) => Err(Untrusted::StoreTampered { reason: error.to_string() }),
            verified => verified?,
        };
        results.push((*instance, verified));
    }
    let wrong = match store.audit(tx) {
        Err(error) if is_damage(&error) => vec![error.to_string()],
        audited => audited?,
    };
    Ok(Examination { results, history, wrong })
}

/// The whole chain of one instance, and its newest baseline with every document.
fn verify_chain(
    tx: &Transaction<'_>,
    instance: &Instance,
    trust: &TrustFiles,
    catalogue: &Catalogue,
    now: DateTime<Utc>,
) -> Result<Result<Vec<Approved>, Untrusted>, StoreError> {
    let Some(row) = instances::find(tx, &instance.id)? else { return Ok(Ok(Vec::new())) };
    let nothing = || Snapshot {
        instance: instance.id.clone(),
        resource: String::new(),
        identifiers: Resource::default(),
        sections: Default::default(),
    };
    let snapshot = match cycles::latest_snapshot(tx, row, &instance.id) {
        Ok(found) => found.map_or_else(nothing, |(snapshot, _)| snapshot),
        // A damaged snapshot says nothing about the baseline, which is verified from its own documents.
        Err(StoreError::Damaged(_)) => nothing(),
        Err(error) => return Err(error),
    };
    match verified_baseline(tx, &snapshot, trust, catalogue, now)? {
        Err(untrusted) => return Ok(Err(untrusted)),
        Ok(None) => return Ok(Ok(Vec::new())),
        Ok(Some(_)) => {}
    }
    let statements = baselines::statements(tx, row)?;
    let impact = DocumentImpact { catalogue, document: &|digest| documents::load(tx, digest).ok() };
    let links = match trust.policy().and_then(|policy| chain(&instance.id, &statements, &policy, &impact)) {
        Ok(links) => links,
        Err(untrusted) => return Ok(Err(untrusted)),
    };
    // A cycle needs the documents of the newest baseline only; here all of them have to be whole.
    for (section, mark) in links.iter().flat_map(|link| &link.subject.sections) {
        let Some(digest) = &mark.digest else { continue };
        if documents::load(tx, digest).is_err() {
            return Ok(Err(Untrusted::DocumentDamaged { section: section.clone(), digest: digest.clone() }));
        }
    }
    Ok(Ok(links))
}
