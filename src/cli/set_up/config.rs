//! `authdrift config check`.

use std::io::Write;
use std::iter;

use chrono::{DateTime, Utc};
use clap::Subcommand;

use crate::cli::output::{Columns, PLAIN};
use crate::cli::{CliError, ConfiguredCommand, Context};
use crate::clock::written;
use crate::config::{Auth0Credential, Config, HookUrl, Proxy, ProxyAddress, ReceiverKind, SecretUse, Source, Webhook};
use crate::connect;
use crate::exit::Exit;
use crate::model::counted;
use crate::secrets::{SecretError, SecretFile, inspect};
use crate::trust::Rules;

const HELP: &str = "\
Examples:
  authdrift config check                the file that every command reads
  authdrift --config FILE config check  another file";

/// Check the configuration
#[derive(Debug, Subcommand)]
#[command(after_help = HELP)]
pub(crate) enum ConfigCommand {
    /// Check the file and show what it means; nothing is contacted
    #[command(after_help = HELP)]
    Check,
}

impl ConfiguredCommand for ConfigCommand {
    async fn run_with(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, CliError> {
        let config = &context.config;
        let instances = counted(config.instances.len(), "instance");
        let receivers = counted(config.receivers.len(), "receiver");
        writeln!(out, "{} is good: {instances}, {receivers}.", context.file.display())?;
        let (database, signers) = (config.store.display(), config.approval.allowed_signers.display());
        writeln!(out, "Database {database}, approvals by {} of {signers}.", approvers(&config.approval.rules))?;
        match &config.heartbeat {
            Some(_) => writeln!(out, "A service elsewhere alerts when its heartbeat stops.")?,
            None => writeln!(out, "No [heartbeat] is configured: when this machine dies, no alert is sent.")?,
        }
        if let Some(proxy) = proxy(config) {
            writeln!(out, "Requests go through the proxy {proxy}; mail does not.")?;
        }
        if let Some(listen) = &config.monitoring {
            writeln!(out, "The daemon answers a monitoring system at {listen}.")?;
        }
        writeln!(out)?;
        let mut columns = Columns::new(0);
        let now = context.clock.now();
        for instance in &config.instances {
            let schedule = instance.schedule.cron.describe(now);
            columns.row(PLAIN, [instance.id.to_string(), credentials(&instance.source), schedule]);
        }
        columns.write(out)?;
        for instance in &config.instances {
            let next = |at: &DateTime<Utc>| instance.schedule.cron.next_after(*at);
            let times: Vec<String> = iter::successors(next(&now), next).take(3).map(written).collect();
            writeln!(out, "{} next: {}", instance.id, times.join(", "))?;
        }
        writeln!(out)?;
        let mut columns = Columns::new(0);
        for receiver in &config.receivers {
            let place = match &receiver.kind {
                ReceiverKind::Email(email) => format!("{}:{}", email.host, email.port),
                ReceiverKind::Webhook(Webhook { url: HookUrl::Written(url), .. }) => {
                    url.host_str().unwrap_or_default().to_owned()
                }
                ReceiverKind::PagerDuty(pager) => pager.url.host_str().unwrap_or_default().to_owned(),
                ReceiverKind::Webhook(_)
                | ReceiverKind::Slack(_)
                | ReceiverKind::Teams(_)
                | ReceiverKind::Discord(_) => "address in its secret".to_owned(),
            };
            let mut filter = format!("from {}", receiver.filter.min_severity);
            if receiver.is_default {
                filter.push_str(", and what nobody takes");
            }
            if let Some(digest) = &receiver.digest {
                filter.push_str(&format!(", digest {}", digest.describe(now)));
            }
            columns.row(PLAIN, [receiver.name.clone(), receiver.kind.as_str().to_owned(), place, filter]);
        }
        columns.write(out)?;
        for warning in config.unrouted() {
            writeln!(out, "warning: {warning}; mark a receiver with `default = true` to let it have them")?;
        }
        secrets(config, out)?;
        Ok(Exit::Ok)
    }
}

/// Says of which secrets nothing is at the place that the configuration names, and which of them others can read. They are
/// not read.
fn secrets(config: &Config, out: &mut dyn Write) -> Result<(), CliError> {
    for (of, SecretUse { key, place }) in config.secrets() {
        match inspect(place) {
            Ok(SecretFile::Private) => {}
            Ok(SecretFile::Open { mode }) => {
                writeln!(
                    out,
                    "warning: '{key}' of {of}: {place} has mode {mode:04o}, so others can use it; chmod 600 it"
                )?;
            }
            // Only the service has them.
            Err(SecretError::NoCredentials { .. }) => {}
            Err(error) => {
                let why = std::error::Error::source(&error).map(|source| format!(" ({source})")).unwrap_or_default();
                writeln!(out, "warning: '{key}' of {of}: {error}{why}")?;
            }
        }
    }
    Ok(())
}

/// The proxy in words: without what is secret, and without reading a secret.
fn proxy(config: &Config) -> Option<String> {
    match &config.proxy {
        Proxy::None => None,
        Proxy::Named { at: ProxyAddress::Secret(place), .. } => Some(format!("whose address is in {place}")),
        Proxy::Named { at: ProxyAddress::Written(_), .. } => {
            Some(connect::ActiveProxy::find(&config.proxy).ok()??.to_string())
        }
        Proxy::Environment => Some(format!("{} of the environment", connect::ActiveProxy::find(&config.proxy).ok()??)),
    }
}

/// The number of approvers: `1, from critical on 2, with touch`.
fn approvers(rules: &Rules) -> String {
    let mut words = rules.threshold.to_string();
    let mut most = rules.threshold;
    for (severity, need) in rules.by_severity.iter().map(|(severity, need)| (severity, *need)) {
        if need > most {
            words.push_str(&format!(", from {severity} on {need}"));
            most = need;
        }
    }
    if rules.require_touch { words + ", with touch," } else { words }
}

fn credentials(source: &Source) -> String {
    match source {
        Source::Clerk(clerk) => {
            let has = [
                clerk.publishable_key.as_ref().map(|_| "publishable key"),
                clerk.secret_key.as_ref().map(|_| "secret key"),
                clerk.platform.as_ref().map(|_| "platform token"),
            ];
            has.into_iter().flatten().collect::<Vec<_>>().join(", ")
        }
        Source::Auth0(auth0) => match &auth0.credential {
            Auth0Credential::ClientSecret { .. } => "client secret".to_owned(),
            Auth0Credential::PrivateKey { .. } => "private key".to_owned(),
            Auth0Credential::Token(_) => "token".to_owned(),
        },
    }
}
