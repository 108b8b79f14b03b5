//! `authdrift doctor`: checks the whole set-up and says what to do.
//!
//! Every check runs, even after others failed. Nothing is recorded, and nothing is sent without `--send`.

mod database;
mod files;
mod new_key;
mod receivers;
mod report;
mod secret;
mod signers;
mod vendor;
mod watch;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use clap::Args;

use crate::cli::context::usual_stores;
use crate::cli::progress::SideBySide;
use crate::cli::{CliError, Context, RunCommand};
use crate::clock::{Clock, SystemClock};
use crate::config::{ALLOWED_SIGNERS, Instance};
use crate::model::counted;

use crate::diagnosis::{Check, CheckResult, CheckStatus};
use crate::exit::Exit;
use crate::status::InstanceStatus;
use crate::store::{Store, StoreError};
use crate::trust_files::TrustFiles;
use report::DoctorReport;

/// Check the whole set-up, or make a new fingerprint key
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift doctor         check everything
  authdrift doctor prod    check one instance, and everything general
  authdrift doctor --send  also send a sample to every receiver, and a heartbeat
  authdrift doctor --json  for a program; docs/doctor.md has the form

It reads the vendors as `check` does, and records nothing. It connects to webhooks and signs in to mail \
relays; without --send it sends no message.

Exit codes: 0 nothing failed, else that of the worst failure, in this order: \
12 a baseline or the history cannot be trusted, 78 configuration, 77 credentials and permissions, \
74 file, database or receiver, 69 a vendor cannot be reached, 70 internal.

If the fingerprint key is lost, --new-fingerprint-key makes another one. The baselines hold fingerprints \
by the old key, so the next check reports every secret as replaced: review and approve that.")]
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
            let why = "it needs a configuration that can be read";
            for group in ["approvers", "database", "watch", "instances", "receivers"] {
                report.add(group, [Check::Configuration.skipped(group, why)]);
            }
            return report.write(self.json, out);
        };
        let chosen: Vec<Instance> = context.instances(&self.instances)?.into_iter().cloned().collect();

        let opened = Store::open_to_look(&context.config.store);
        let statuses = statuses(&context, &opened);
        let watch = watch::check(&context, &chosen, &opened, &statuses);
        let mut groups = vec![
            ("files".to_owned(), files::check(&context)),
            ("approvers".to_owned(), signers::check(&context)),
            ("database".to_owned(), database::check(&context, opened, &statuses)),
            ("watch".to_owned(), watch),
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

/// The database, and whether its fingerprint key fits.
type Opened = Result<(Store, Result<(), StoreError>), StoreError>;

type InstanceResult<'a> = (&'a Instance, Result<InstanceStatus, StoreError>);

fn statuses<'a>(context: &'a Context, opened: &Opened) -> Vec<InstanceResult<'a>> {
    let Ok((store, _)) = opened else { return Vec::new() };
    let (trust, now) = (TrustFiles::read(&context.config.approval), context.clock.now());
    let status = |instance: &'a Instance| {
        let catalogue = context.catalogues.of(instance.id.provider);
        (instance, store.read(|tx| InstanceStatus::load(tx, instance, catalogue, &trust, now)))
    };
    context.config.instances.iter().map(status).collect()
}

/// Checks vendors and receivers, all side by side. The results are in the order of the configuration.
async fn outside(
    context: &Arc<Context>,
    instances: &[Instance],
    send: bool,
) -> Result<Vec<(String, Vec<CheckResult>)>, CliError> {
    let mut checks = SideBySide::new();
    for instance in instances {
        let (context, instance) = (Arc::clone(context), instance.clone());
        checks.start(|line| async move { (instance.id.to_string(), vendor::check(&context, &instance, &line).await) });
    }
    for receiver in &context.config.receivers {
        let (context, receiver) = (Arc::clone(context), receiver.clone());
        checks.start(|line| async move {
            line.set_message(format!("{}: being reached", receiver.name));
            let found = receivers::check(&context, &receiver, send).await;
            line.finish_and_clear();
            (format!("receiver {}", receiver.name), found)
        });
    }
    let context = Arc::clone(context);
    checks.start(|_| async move { ("heartbeat".to_owned(), receivers::heartbeat(&context, send).await) });
    let (groups, died) = checks.finish().await;
    died.map_or(Ok(groups), Err)
}

fn configuration(path: Option<&Path>, context: Option<&Context>, errors: &[CliError], report: &mut DoctorReport) {
    let name = path.map_or("configuration".to_owned(), |path| path.display().to_string());
    let mut findings: Vec<CheckResult> = errors
        .iter()
        .map(|error| {
            let help =
                error.help.clone().unwrap_or_else(|| "fix it there; `authdrift config check` shows it".to_owned());
            Check::Configuration.failure(&name, error.message.trim_start_matches("error: "), help, error.exit)
        })
        .collect();
    if let Some(context) = context {
        let config = &context.config;
        if errors.is_empty() {
            let instances = counted(config.instances.len(), "instance");
            let why = format!("{instances}, {}", counted(config.receivers.len(), "receiver"));
            findings.push(Check::Configuration.ok(&name, why));
        }
        let mut routes: Vec<CheckResult> = Vec::new();
        for warning in config.unrouted() {
            let help = "mark a receiver with `default = true` to let it have them";
            routes.push(Check::Routes.warning("receivers", warning, help));
        }
        if config.receivers.is_empty() {
            let why = "no receiver is configured, so no alert is sent";
            let help = "add one; config.example.toml shows every kind";
            routes.push(Check::Routes.warning("receivers", why, help));
        }
        match errors.is_empty() {
            true => findings.extend(routes),
            false => findings.extend(routes.into_iter().take(1).map(|finding| or_in_doubt(finding, context))),
        }
    }
    report.add("configuration", findings);
}

/// Skips a result that may only follow from the part of the configuration that cannot be read.
fn or_in_doubt(finding: CheckResult, context: &Context) -> CheckResult {
    let config = &context.config;
    let is_signers_default = config.approval.allowed_signers == Path::new(ALLOWED_SIGNERS);
    let is_store_default = usual_stores().contains(&config.store) && !config.store.exists();
    let is_trouble = matches!(finding.status, CheckStatus::Warning | CheckStatus::Failure);
    let may_be_untrue = match finding.check {
        Check::Routes | Check::Threshold | Check::LastCycle => is_trouble,
        Check::Heartbeat => config.heartbeat.is_none(),
        Check::Signers | Check::Baseline => is_signers_default && is_trouble,
        Check::Database | Check::Daemon => is_store_default,
        _ => false,
    };
    if may_be_untrue {
        return finding.check.skipped(finding.on, "its part of the configuration cannot be read, see above");
    }
    finding
}
