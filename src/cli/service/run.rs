//! `authdrift run`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::cli::context::{find_config, read_config};
use crate::cli::options::word;
use crate::cli::{CliError, Context, RunCommand};
use crate::daemon::reload::{ConfigSource, Fresh, Loaded};
use crate::daemon::{Daemon, tell_failed_start};
use crate::exit::Exit;
use crate::logging::Format;
use crate::model::{Digest, Provider};
use crate::monitoring::{MonitoringState, Server};

/// Watch on schedule until stopped
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift run                    until SIGTERM or Ctrl-C
  authdrift run --log-format json  for a log collector")]
pub(crate) struct RunOptions {
    /// The form of the log; auto is the fields of the systemd journal where there is one, else text
    #[arg(long, value_name = "FORMAT", default_value = "auto", value_parser = word(&Format::ALL, Format::as_str))]
    pub(crate) log_format: Format,
}

impl RunCommand for RunOptions {
    async fn run(&self, file: Option<&Path>, _out: &mut dyn Write) -> Result<Exit, CliError> {
        let file = find_config(file)?;
        // A reload reads the same file, whatever the folder is then.
        let file = std::path::absolute(&file).unwrap_or(file);
        let text = read_config(&file)?;
        let source = ConfigSource { digest: Digest::of(text.as_bytes()), load: Box::new(loader(file.clone())) };
        let context = Context::of_text(file, &text)?;
        let catalogue = |provider: Provider| Arc::clone(context.catalogues.of(provider));
        let (config, clock) = (Arc::clone(&context.config), Arc::clone(&context.clock));
        let daemon = match Daemon::start(config, catalogue, clock, context.limits) {
            Ok(daemon) => daemon,
            Err(error) => {
                tell_failed_start(&context.config, &context.clock, &error).await;
                return Err(error.into());
            }
        };
        let stop = CancellationToken::new();
        let answering = match &context.config.monitoring {
            None => None,
            Some(listen) => {
                let server = Server::bind(listen)?;
                let site = MonitoringState::new(daemon.watched(), daemon.store().clone(), Arc::clone(&context.clock));
                Some(tokio::spawn(server.serve(Arc::new(site), stop.clone())))
            }
        };
        let outcome = daemon.reloading_from(source).run().await;
        stop.cancel();
        if let Some(answering) = answering {
            // A socket is taken away before the program ends.
            let _ = answering.await;
        }
        outcome?;
        Ok(Exit::Ok)
    }
}

/// Reads `file` again, as the start did.
fn loader(file: PathBuf) -> impl Fn() -> Loaded + Send + Sync {
    move || {
        let text = match read_config(&file) {
            Ok(text) => text,
            Err(error) => return Loaded { digest: None, outcome: Err(error.message) },
        };
        let outcome = Context::of_text(file.clone(), &text).map_err(|error| error.message).map(|context| {
            let catalogues = context.catalogues;
            let catalogue = move |provider| Arc::clone(catalogues.of(provider));
            Fresh { config: context.config, catalogue: Box::new(catalogue) }
        });
        Loaded { digest: Some(Digest::of(text.as_bytes())), outcome }
    }
}
