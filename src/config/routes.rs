//! Alerts that no receiver takes.

use super::{Config, Filter};
use crate::model::{Category, InstanceId, Severity};

impl Config {
    /// Drifts that people should look at and that no receiver takes, one sentence per instance. Nothing when there is a
    /// default receiver, or none at all.
    pub fn unrouted(&self) -> Vec<String> {
        if self.receivers.is_empty() || self.receivers.iter().any(|receiver| receiver.is_default) {
            return Vec::new();
        }
        self.instances.iter().filter_map(|instance| self.unrouted_of(&instance.id)).collect()
    }

    fn unrouted_of(&self, instance: &InstanceId) -> Option<String> {
        let takes = |filter: &&Filter| filter.instances.as_ref().is_none_or(|instances| instances.contains(instance));
        let filters: Vec<&Filter> = self.receivers.iter().map(|receiver| &receiver.filter).filter(takes).collect();
        if filters.is_empty() {
            return Some(format!("no receiver takes anything of {instance}"));
        }
        let mut untaken = Vec::new();
        for category in Category::ALL {
            let takes = |filter: &&&Filter| filter.categories.as_ref().is_none_or(|some| some.contains(&category));
            // A severity below medium is optional.
            match filters.iter().filter(takes).map(|filter| filter.min_severity).min() {
                None => untaken.push(category.to_string()),
                Some(least) if least > Severity::Medium => untaken.push(format!("{category} below {least}")),
                Some(_) => {}
            }
        }
        (!untaken.is_empty()).then(|| format!("no receiver takes these drifts of {instance}: {}", untaken.join(", ")))
    }
}
