//! Log lines, on standard error: the journal keeps them for the service, a terminal shows them to a person.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// Starts logging. Commands are quiet unless asked (`verbose` 1 for what happens, 2 for everything); the daemon says
/// what it does.
pub fn start(verbose: u8, is_daemon: bool) {
    let level = match (verbose, is_daemon) {
        (0, false) => "error",
        (0, true) | (1, false) => "info",
        _ => "debug",
    };
    // Only our own lines: those of libraries may hold addresses with tokens in them.
    let filter = EnvFilter::new(format!("off,authdrift={level}"));
    let is_terminal = std::io::stderr().is_terminal();
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).with_ansi(is_terminal);
    // The journal has its own clock.
    if is_daemon && !is_terminal { builder.without_time().init() } else { builder.init() }
}
