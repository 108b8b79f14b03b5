//! The statuses of all instances, each loaded again when its basis changed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use super::InstanceStatus;
use crate::classify::Catalogue;
use crate::config::{Config, Instance};
use crate::model::{Digest, InstanceId, Provider};
use crate::store::{StoreError, Transaction, instances, latest};
use crate::trust_files::TrustFiles;

/// Statuses that were loaded, with the basis of each. A configuration has its own.
pub struct Statuses {
    config: Arc<Config>,
    catalogues: BTreeMap<Provider, Arc<Catalogue>>,
    loaded: Mutex<BTreeMap<InstanceId, (Basis, Arc<InstanceStatus>)>>,
}

/// While this stays the same, so does the status: a cycle verifies the rest of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Basis {
    /// The row of the newest cycle.
    cycle: Option<i64>,
    /// The newest baseline that the history knows; none while the history does not verify.
    approved: Option<u64>,
    allowed_signers: Option<Digest>,
    revoked_keys: Option<Digest>,
}

impl Statuses {
    /// Statuses of the instances in `config`; nothing is loaded yet.
    pub fn new(config: Arc<Config>, catalogues: BTreeMap<Provider, Arc<Catalogue>>) -> Self {
        Self { config, catalogues, loaded: Mutex::default() }
    }

    /// The instances.
    pub fn instances(&self) -> &[Instance] {
        &self.config.instances
    }

    /// Who may approve now.
    ///
    /// # Errors
    /// [`StoreError::OutOfFiles`].
    pub fn trust(&self) -> Result<TrustFiles, StoreError> {
        TrustFiles::read_now(&self.config.approval)
    }

    /// The status of `instance`.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn of(
        &self,
        tx: &Transaction<'_>,
        instance: &Instance,
        trust: &TrustFiles,
        now: DateTime<Utc>,
    ) -> Result<Arc<InstanceStatus>, StoreError> {
        self.within(tx, instance, trust, now, &mut 1)
    }

    /// The same for frequent callers: once `loads` is used up, the status that was loaded last is returned.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn within(
        &self,
        tx: &Transaction<'_>,
        instance: &Instance,
        trust: &TrustFiles,
        now: DateTime<Utc>,
        loads: &mut usize,
    ) -> Result<Arc<InstanceStatus>, StoreError> {
        let basis = Basis::of(tx, &instance.id, trust, now)?;
        let loaded = self.lock().get(&instance.id).cloned();
        match loaded {
            Some((known, status)) if known == basis || *loads == 0 => return Ok(status),
            None if *loads == 0 => return InstanceStatus::recorded(tx, &instance.id, now).map(Arc::new),
            _ => *loads -= 1,
        }
        let Some(catalogue) = self.catalogues.get(&instance.id.provider) else {
            return InstanceStatus::recorded(tx, &instance.id, now).map(Arc::new);
        };
        let status = Arc::new(InstanceStatus::load(tx, instance, catalogue, trust, now)?);
        self.lock().insert(instance.id.clone(), (basis, Arc::clone(&status)));
        Ok(status)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<InstanceId, (Basis, Arc<InstanceStatus>)>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Basis {
    fn of(tx: &Transaction<'_>, id: &InstanceId, trust: &TrustFiles, now: DateTime<Utc>) -> Result<Self, StoreError> {
        let cycle = match instances::find(tx, id)? {
            Some(row) => latest::last_cycle(tx, row, now)?.map(|cycle| cycle.id),
            None => None,
        };
        let approved = match tx.history() {
            Ok(replay) => Some(replay.state.approved.get(id).copied().unwrap_or_default()),
            Err(StoreError::History(_)) => None,
            Err(error) => return Err(error),
        };
        let (allowed_signers, revoked_keys) = (trust.allowed_signers.clone(), trust.revoked_keys.clone());
        Ok(Self { cycle, approved, allowed_signers, revoked_keys })
    }
}
