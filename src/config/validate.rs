//! Builds a [`Config`] from the top-level table.

use std::path::PathBuf;
use std::time::Duration;

use super::sources::Sources;
use super::times::ScheduleKeys;
use super::toml_reader::{Problem, TomlReader, span};
use super::{ApprovalConfig, Config, SecretUrl, instance, monitoring, network, receiver};
use crate::model::Severity;
use crate::trust::Rules;

/// Where the signers are listed unless the configuration says otherwise.
pub const ALLOWED_SIGNERS: &str = "/etc/authdrift/allowed_signers";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The default retention of documents that nothing needs.
const KEEP: Duration = DAY.saturating_mul(400);

/// The shortest and the longest time for that.
const SHORTEST_KEEP: Duration = DAY.saturating_mul(7);
const LONGEST_KEEP: Duration = DAY.saturating_mul(36_500);

/// Reads the whole file. Without a recorded problem the answer is there.
pub(super) fn config(mut file: TomlReader<'_>, sources: &Sources<'_>) -> Option<Config> {
    let (store, keep) = store(&mut file, sources);
    let approval = approval(&mut file);
    let catalogue = catalogue(&mut file);
    let defaults = ScheduleKeys::of_schedule(&mut file, sources.now);
    let proxy = network::proxy(&mut file);
    let (ids, instances) = instance::read(&mut file, &defaults, &proxy, sources);
    let receivers = receiver::read(&mut file, &ids, &defaults, &proxy, sources);
    let heartbeat = heartbeat(&mut file);
    let monitoring = monitoring::listen(&mut file);
    file.finish();
    Some(Config { store: store?, keep, approval, catalogue, instances, receivers, heartbeat, monitoring, proxy })
}

fn heartbeat(file: &mut TomlReader<'_>) -> Option<SecretUrl> {
    let mut section = file.table("heartbeat")?;
    let place = receiver::secret_url(&mut section);
    section.finish();
    place
}

/// The path of the database, and the retention of documents that nothing needs.
fn store(file: &mut TomlReader<'_>, sources: &Sources<'_>) -> (Option<PathBuf>, Duration) {
    let mut keep = KEEP;
    if let Some(mut section) = file.table("store") {
        let is_given = section.has("path");
        let given = section.path("path").map(|path| path.value);
        if let Some(chosen) = section.duration("keep", LONGEST_KEEP) {
            keep = chosen.value;
            if keep < SHORTEST_KEEP {
                let message = format!("'keep' is shorter than {}", span(SHORTEST_KEEP));
                let problem = Problem::at(chosen.span, message);
                section.report(problem.help("what people look for when something went wrong is often weeks old"));
            }
        }
        section.finish();
        if is_given {
            return (given, keep);
        }
    }
    (default_store(file, sources), keep)
}

fn default_store(file: &TomlReader<'_>, sources: &Sources<'_>) -> Option<PathBuf> {
    let default = match (&sources.state_directory, &sources.xdg_state) {
        (Some(state), _) => state.join("authdrift.db"),
        (None, Some(state)) => state.join("authdrift").join("authdrift.db"),
        (None, None) => {
            let problem =
                Problem::at(0..0, "there is no folder for the database: neither STATE_DIRECTORY nor HOME is set");
            file.report(problem.help("set 'path' in [store]").absence().without_source());
            return None;
        }
    };
    Some(default)
}

fn approval(file: &mut TomlReader<'_>) -> ApprovalConfig {
    let mut approval = ApprovalConfig {
        allowed_signers: PathBuf::from(ALLOWED_SIGNERS),
        revoked_keys: None,
        rules: Rules { threshold: 1, ..Rules::default() },
    };
    let Some(mut section) = file.table("approval") else {
        return approval;
    };
    if let Some(path) = section.path("allowed_signers") {
        approval.allowed_signers = path.value;
    }
    approval.revoked_keys = section.path("revoked_keys").map(|path| path.value);
    if let Some(threshold) = people(&mut section, "threshold") {
        approval.rules.threshold = threshold;
    }
    approval.rules.require_touch = section.boolean("require_touch").is_some_and(|touch| touch.value);
    if let Some(mut table) = section.table("severity") {
        for severity in Severity::ALL {
            if let Some(need) = people(&mut table, severity.as_str()) {
                approval.rules.by_severity.insert(severity, need);
            }
        }
        table.finish();
    }
    section.finish();
    approval
}

/// A number of approvers.
fn people(section: &mut TomlReader<'_>, key: &'static str) -> Option<usize> {
    section.integer(key, 1, 100).and_then(|number| usize::try_from(number.value).ok())
}

fn catalogue(file: &mut TomlReader<'_>) -> Option<PathBuf> {
    let mut section = file.table("catalogue")?;
    section.require("file");
    let path = section.path("file").map(|path| path.value);
    section.finish();
    path
}
