//! What a configuration means for the daemon. A reload swaps it whole.

use std::sync::Arc;

use super::DaemonError;
use super::database_failure::DatabaseAlert;
use super::self_check::SelfCheck;
use crate::classify::Catalogue;
use crate::clock::Clock;
use crate::config::Config;
use crate::cycle::Monitor;
use crate::delivery::Delivery;
use crate::model::Provider;
use crate::provider::Limits;
use crate::secrets;
use crate::status::Statuses;
use crate::store::Store;
use crate::telemetry::{ConfigurationDoubt, Observable};
use crate::trust_files::TrustFiles;

/// What stays for as long as the daemon lives.
pub(super) struct Resources {
    pub(super) store: Store,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) limits: Limits,
}

/// Readers, receivers and everything else that is made from a configuration.
pub(super) struct Pipeline {
    pub(super) config: Arc<Config>,
    pub(super) monitors: Vec<Arc<Monitor>>,
    pub(super) delivery: Delivery,
    pub(super) database_alert: DatabaseAlert,
    pub(super) self_check: SelfCheck,
    pub(super) statuses: Arc<Statuses>,
}

impl Pipeline {
    /// Prepares everything. Nothing is contacted.
    pub(super) fn new(
        resources: &Resources,
        config: Arc<Config>,
        catalogue: impl Fn(Provider) -> Arc<Catalogue>,
    ) -> Result<Self, DaemonError> {
        let Resources { store, clock, limits } = resources;
        let mut monitors = Vec::new();
        for instance in &config.instances {
            let catalogue = catalogue(instance.id.provider);
            let (config, clock) = (Arc::clone(&config), Arc::clone(clock));
            monitors.push(Arc::new(Monitor::new(config, instance, catalogue, store.clone(), clock, limits.clone())?));
        }
        let providers = config.instances.iter().map(|instance| instance.id.provider);
        let catalogues = providers.map(|provider| (provider, catalogue(provider))).collect();
        let statuses = Arc::new(Statuses::new(Arc::clone(&config), catalogues));
        let delivery = Delivery::new(store, clock, &config.receivers)?;
        let database_alert = DatabaseAlert::new(&config, clock)?;
        let self_check = SelfCheck::new(&config, &statuses, store, clock)?;
        for warning in config.unrouted() {
            let doubt = format!("{warning}; mark a receiver with `default = true` to let it have them");
            ConfigurationDoubt { doubt: &doubt }.observe();
        }
        Ok(Self { config, monitors, delivery, database_alert, self_check, statuses })
    }

    /// Remembers what the plan before it knew of what both are about.
    pub(super) fn inherit(&mut self, before: &Self) {
        self.database_alert.inherit(&before.database_alert);
        self.self_check.inherit(&before.self_check);
    }
}

/// What the configuration names and what cannot be used: the files that say who may approve, and secrets.
pub(super) fn unusable(config: &Config) -> Vec<String> {
    let trust = TrustFiles::read(&config.approval).signers().err().map(|error| error.to_string());
    let secrets = config.secrets().into_iter().filter_map(|(of, kept)| {
        let error = secrets::read_use(&kept).err()?;
        Some(format!("{of}: {error}"))
    });
    trust.into_iter().chain(secrets).collect()
}
