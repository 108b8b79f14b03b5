//! `authdrift run` and `authdrift demo`.

use std::io::Write;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::CliError;
use super::args::DemoOptions;
use super::context::Context;
use crate::daemon::{Daemon, tell_failed_start};
use crate::exit::Exit;
use crate::model::Provider;
use crate::monitoring::{Server, Site};

/// Watches until told to stop.
///
/// # Errors
/// It cannot begin, or the store fails while it runs.
pub async fn daemon(context: Context) -> Result<Exit, CliError> {
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
            let site = Site::new(daemon.watched(), daemon.store().clone(), Arc::clone(&context.clock));
            Some(tokio::spawn(server.serve(Arc::new(site), stop.clone())))
        }
    };
    let outcome = daemon.run().await;
    stop.cancel();
    if let Some(answering) = answering {
        // A socket is taken away before the program ends.
        let _ = answering.await;
    }
    outcome?;
    Ok(Exit::Ok)
}

/// Tells the story.
///
/// # Errors
/// The folder cannot be written, or a step does not go as it has to.
pub async fn demo(options: &DemoOptions, out: &mut dyn Write) -> Result<Exit, CliError> {
    crate::demo::run(options.folder.as_deref(), out).await?;
    Ok(Exit::Ok)
}
