//! Another configuration for a daemon that runs: taken whole, between two looks at what is due, or not at all.
//!
//! What is under way goes on with the configuration it began with, and nothing of the same instance or receiver begins
//! before it is over.

use std::path::PathBuf;
use std::sync::Arc;

use super::lock::ReloadAnswer;
use super::pipeline::{Pipeline, unusable};
use super::tasks::Tasks;
use super::{Daemon, DaemonError, LiveConfig};
use crate::classify::Catalogue;
use crate::config::Config;
use crate::history::Event;
use crate::history::data::{RefusedConfig, ReloadedConfig};
use crate::model::{Digest, Provider, counted, display_safe};
use crate::telemetry::Recorded;

/// Where another configuration comes from.
pub struct ConfigSource {
    /// The digest of the file that the present one was read from.
    pub digest: Digest,
    /// Reads it anew.
    pub load: Box<dyn Fn() -> Loaded + Send + Sync>,
}

/// What the file says now.
pub struct Loaded {
    /// Its digest, if it can be read.
    pub digest: Option<Digest>,
    /// What it means, or everything that is wrong with it.
    pub outcome: Result<Fresh, String>,
}

/// A configuration that passed every check of the file itself.
pub struct Fresh {
    /// The configuration.
    pub config: Arc<Config>,
    /// What settings mean, by vendor.
    pub catalogue: Box<dyn Fn(Provider) -> Arc<Catalogue>>,
}

/// Why the daemon keeps the configuration it has.
#[derive(Debug, thiserror::Error)]
enum ReloadRefusal {
    #[error("{0}")]
    Bad(String),
    #[error("it is not known where the configuration came from; restart the daemon instead")]
    NoSource,
    #[error("store.path changed from '{is}' to '{wanted}': that takes a restart")]
    OtherStore { is: PathBuf, wanted: PathBuf },
    #[error("[monitoring] changed: that takes a restart")]
    OtherMonitoring,
    #[error("what the configuration names cannot be used:\n{}", .0.join("\n"))]
    Unusable(Vec<String>),
    #[error(transparent)]
    NotPrepared(#[from] DaemonError),
}

impl Daemon {
    /// Loads another configuration, or reports why not: in the log, in the history, to systemd and in the lock file.
    pub(super) async fn reload(&mut self, tasks: &mut Tasks) -> Result<(), DaemonError> {
        self.systemd.reloading();
        let (digest, outcome) = match &self.source {
            Some(source) => {
                let loaded = (source.load)();
                (loaded.digest, loaded.outcome.map_err(ReloadRefusal::Bad))
            }
            None => (None, Err(ReloadRefusal::NoSource)),
        };
        let outcome = outcome.and_then(|fresh| self.prepared(fresh));
        let answer = match outcome {
            Ok(mut pipeline) => {
                pipeline.inherit(&self.pipeline);
                self.pipeline = pipeline;
                if let (Some(source), Some(digest)) = (&mut self.source, &digest) {
                    source.digest = digest.clone();
                }
                tasks.retain_configured(&self.pipeline.config);
                self.watched.send_replace(LiveConfig::new(&self.pipeline));
                ReloadAnswer { is_accepted: true, text: size_in_words(&self.pipeline.config), digest: digest.clone() }
            }
            Err(refusal) => ReloadAnswer { is_accepted: false, text: refusal.to_string(), digest: digest.clone() },
        };
        let recorded = if answer.is_accepted {
            self.refused = None;
            let (instances, receivers) = (self.pipeline.config.instances.len(), self.pipeline.config.receivers.len());
            self.record(&Event::ConfigReloaded(ReloadedConfig { digest, instances, receivers }))
        } else {
            let reason = in_one_line(&answer.text);
            self.refused = Some(reason.clone());
            let event = Event::ConfigRefused(RefusedConfig { digest, reason });
            let recorded = self.record(&event);
            if recorded.is_err() {
                // The line of the log does not wait for a database that works again.
                Recorded { seq: 0, instance: None, event: &event }.observe();
            }
            recorded
        };
        if let Err(error) = recorded {
            self.on_store_error(error).await?;
        }
        let status = match self.status() {
            Ok(status) => status,
            Err(error) => {
                self.on_store_error(error).await?;
                answer.text.clone()
            }
        };
        // `authdrift reload` may ask systemd for the status next, so systemd is notified first.
        self.systemd.reloaded(&status);
        self.lock.answer(answer);
        Ok(())
    }

    fn prepared(&self, fresh: Fresh) -> Result<Pipeline, ReloadRefusal> {
        let Fresh { config, catalogue } = fresh;
        let is = &self.pipeline.config.store;
        if config.store != *is {
            return Err(ReloadRefusal::OtherStore { is: is.clone(), wanted: config.store.clone() });
        }
        if config.monitoring != self.pipeline.config.monitoring {
            return Err(ReloadRefusal::OtherMonitoring);
        }
        // At the start these are no reason to stop: what can be watched is watched. Here something better is at hand.
        let unusable = unusable(&config);
        if !unusable.is_empty() {
            return Err(ReloadRefusal::Unusable(unusable));
        }
        Ok(Pipeline::new(&self.resources, config, catalogue)?)
    }
}

fn size_in_words(config: &Config) -> String {
    format!("{}, {}", counted(config.instances.len(), "instance"), counted(config.receivers.len(), "receiver"))
}

/// The first problem, and how many there are.
fn in_one_line(text: &str) -> String {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    let first = first.strip_prefix("error: ").unwrap_or(first);
    display_safe(&match lines.next_back() {
        Some(last) => format!("{first} ({last})"),
        None => first.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_fits_into_one_line() {
        let table = [
            ("x", "x"),
            ("error: unknown key 'y'\n --> a:1:1\n  |\n\n1 problem in a", "unknown key 'y' (1 problem in a)"),
            ("cannot be used:\nauth0:acme: \u{1b}[2J", "cannot be used: (auth0:acme: \\u{1b}[2J)"),
        ];
        for (text, expected) in table {
            assert_eq!(in_one_line(text), expected);
        }
    }
}
