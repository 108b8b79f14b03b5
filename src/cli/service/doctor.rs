//! `authdrift doctor`: checks the whole set-up and says what to do.
//!
//! Every check runs, even after others failed. Nothing is recorded, and nothing is sent without `--send`.

mod database;
mod files;
mod finding;
mod new_key;
mod receivers;
mod secret;
mod signers;
mod vendor;
mod watch;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use indicatif::{MultiProgress, ProgressBar};
use tokio::task::JoinSet;

use crate::cli::context::usual_stores;
use crate::cli::{CliError, Context, RunCommand};
use crate::clock::{Clock, SystemClock};
use crate::config::{ALLOWED_SIGNERS, Instance};
use crate::exit::Exit;
pub use finding::Check;
use finding::{CheckResult, DoctorReport};

/// Check the whole set-up, or make a new fingerprint key
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift doctor         everything
  authdrift doctor prod    of the instances only this one
  authdrift doctor --send  also a sample to every receiver, and a heartbeat
  authdrift doctor --json  for a program; docs/doctor.md has the form

It reads the vendors as `check` does, and records nothing. It connects to webhooks and signs in to mail \
relays; without --send no message is sent.

Exit codes: 0 nothing failed, warnings or not. Else that of the worst failure, in this order: \
12 a baseline or the history cannot be trusted, 78 configuration, 77 credentials and permissions, \
74 file, database or receiver, 69 a vendor cannot be reached, 70 internal.

If the fingerprint key is lost, --new-fingerprint-key makes another one. The fingerprints in the \
baselines were made with the old key, so the next check reports every secret as replaced: review \
and approve that.")]
pub(crate) struct DoctorOptions {
    /// Instances to check [default: all]; the prefix may be left out when the name is unique
    #[arg(value_name = "INSTANCE")]
    instances: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Send a marked sample to every receiver, and a heartbeat
    #[arg(long)]
    send: bool,
    /// Make a new fingerprint key, because the old one is lost
    #[arg(long, conflicts_with_all = ["instances", "json", "send"])]
    new_fingerprint_key: bool,
}

impl RunCommand for DoctorOptions {
    async fn run(&self, file: Option<&Path>, out: &mut dyn Write) -> Result<Exit, CliError> {
        if self.new_fingerprint_key {
            return new_key::replace(&Context::load(file)?, out);
        }
        let (path, context, errors) = Context::salvage(file);
        let mut report = DoctorReport::new(SystemClock.now());
        configuration(path.as_deref(), context.as_ref(), &errors, &mut report);
        let Some(context) = context.map(Arc::new) else {
            if let Some(path) = &path {
                report.add("files", files::of_configuration(path));
            }
            let why = "it takes a configuration that can be read";
            for group in ["approvers", "database", "watch", "instances", "receivers"] {
                report.add(group, [CheckResult::skipped(Check::Configuration, group, why)]);
            }
            return report.write(self.json, out);
        };
        let chosen: Vec<Instance> = context.instances(&self.instances)?.into_iter().cloned().collect();

        let mut groups = vec![
            ("files".to_owned(), files::check(&context)),
            ("approvers".to_owned(), signers::check(&context)),
            ("database".to_owned(), database::check(&context)),
            ("watch".to_owned(), watch::check(&context, &chosen)),
        ];
        groups.extend(outside(&context, &chosen, self.send).await?);
        let is_whole = errors.is_empty();
        for (group, findings) in groups {
            let told =
                findings.into_iter().map(|finding| if is_whole { finding } else { or_in_doubt(finding, &context) });
            report.add(&group, told);
        }
        report.write(self.json, out)
    }
}

/// Looks at vendors and receivers, all side by side. Answers what was found in the order of the configuration.
async fn outside(
    context: &Arc<Context>,
    instances: &[Instance],
    send: bool,
) -> Result<Vec<(String, Vec<CheckResult>)>, CliError> {
    let mut looks = JoinSet::new();
    // Drawn on a terminal only, and gone when there is something to print.
    let progress = MultiProgress::new();
    for (place, instance) in instances.iter().enumerate() {
        let (context, instance) = (Arc::clone(context), instance.clone());
        let line = progress.add(ProgressBar::new_spinner());
        looks.spawn(async move { (place, instance.id.to_string(), vendor::check(&context, &instance, &line).await) });
    }
    let place = instances.len();
    for (index, receiver) in context.config.receivers.iter().enumerate() {
        let (context, receiver) = (Arc::clone(context), receiver.clone());
        let line = progress.add(ProgressBar::new_spinner());
        line.set_message(format!("{}: being reached", receiver.name));
        looks.spawn(async move {
            let found = receivers::check(&context, &receiver, send).await;
            line.finish_and_clear();
            (place + index, format!("receiver {}", receiver.name), found)
        });
    }
    let (context, place) = (Arc::clone(context), place + context.config.receivers.len());
    looks.spawn(async move { (place, "heartbeat".to_owned(), receivers::heartbeat(&context, send).await) });
    let mut found = Vec::new();
    while let Some(finished) = looks.join_next().await {
        found.push(finished.map_err(|error| CliError::new(Exit::Internal, format!("a check died: {error}")))?);
    }
    // The terminal may be gone; then there is nothing left on it.
    let _ = progress.clear();
    found.sort_by_key(|(place, ..)| *place);
    Ok(found.into_iter().map(|(_, group, findings)| (group, findings)).collect())
}

/// What came of reading the configuration.
fn configuration(path: Option<&Path>, context: Option<&Context>, errors: &[CliError], report: &mut DoctorReport) {
    let name = path.map_or("configuration".to_owned(), |path| path.display().to_string());
    let mut findings: Vec<CheckResult> = errors
        .iter()
        .map(|error| {
            let help =
                error.help.clone().unwrap_or_else(|| "fix it there; `authdrift config check` shows it".to_owned());
            CheckResult::failure(
                Check::Configuration,
                &name,
                error.message.trim_start_matches("error: "),
                help,
                error.exit,
            )
        })
        .collect();
    if let Some(context) = context {
        let config = &context.config;
        if errors.is_empty() {
            let (instances, receivers) = (config.instances.len(), config.receivers.len());
            let why = format!(
                "{}, {}",
                crate::cli::output::count(instances, "instance"),
                crate::cli::output::count(receivers, "receiver")
            );
            findings.push(CheckResult::ok(Check::Configuration, &name, why));
        }
        let mut routes: Vec<CheckResult> = Vec::new();
        for warning in config.unrouted() {
            let help = "mark a receiver with `default = true` to let it have them";
            routes.push(CheckResult::warning(Check::Routes, "receivers", warning, help));
        }
        if config.receivers.is_empty() {
            let why = "no receiver is configured: nobody is told of anything";
            let help = "add one; config.example.toml shows every kind";
            routes.push(CheckResult::warning(Check::Routes, "receivers", why, help));
        }
        match errors.is_empty() {
            true => findings.extend(routes),
            false => findings.extend(routes.into_iter().take(1).map(|finding| or_in_doubt(finding, context))),
        }
    }
    report.add("configuration", findings);
}

/// What may be said only because a part of the configuration that cannot be read is not there, or has its default.
fn or_in_doubt(finding: CheckResult, context: &Context) -> CheckResult {
    let config = &context.config;
    let is_signers_default = config.approval.allowed_signers == Path::new(ALLOWED_SIGNERS);
    let is_store_default = usual_stores().contains(&config.store) && !config.store.exists();
    let may_be_untrue = match finding.check() {
        Check::Routes | Check::Threshold | Check::LastCycle => finding.is_trouble(),
        Check::Heartbeat => config.heartbeat.is_none(),
        Check::Signers | Check::Baseline => is_signers_default && finding.is_trouble(),
        Check::Database | Check::Daemon => is_store_default,
        _ => false,
    };
    if may_be_untrue {
        return finding.into_skipped("what the configuration says of it cannot be read, see above");
    }
    finding
}
