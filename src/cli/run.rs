//! `authdrift run` and `authdrift demo`.

use std::io::Write;
use std::sync::Arc;

use super::CliError;
use super::args::DemoOptions;
use super::context::Context;
use crate::daemon::{Daemon, tell_failed_start};
use crate::exit::Exit;
use crate::model::Provider;

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
    daemon.run().await?;
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
