//! `authdrift run`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::CliError;
use super::context::{Context, find_config, read_config};
use crate::daemon::reload::{ConfigSource, Fresh, Loaded};
use crate::daemon::{Daemon, tell_failed_start};
use crate::exit::Exit;
use crate::model::{Digest, Provider};
use crate::monitoring::{MonitoringState, Server};

/// Watches until told to stop.
///
/// # Errors
/// The configuration is wrong, the daemon cannot begin, or the store fails while it runs.
pub async fn daemon(file: Option<&Path>) -> Result<Exit, CliError> {
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

/// Reads `file` anew, just as the start did.
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
