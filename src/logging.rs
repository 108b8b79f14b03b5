//! Log lines, on standard error: the journal keeps them for the service, a terminal shows them to a person.

use std::io::IsTerminal;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// Starts logging. Commands are quiet unless asked (`verbose` 1 for what happens, 2 for everything); the daemon says
/// what it does.
pub fn start(verbose: u8, is_daemon: bool) {
    let level = match (verbose, is_daemon) {
        (0, false) => LevelFilter::ERROR,
        (0, true) | (1, false) => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    // Only our own lines: those of libraries may hold addresses with tokens in them.
    let ours = Targets::new().with_target("authdrift", level);
    let is_terminal = std::io::stderr().is_terminal();
    let lines = fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(is_terminal);
    let lines = match is_daemon && !is_terminal {
        // The journal has its own clock.
        true => lines.without_time().boxed(),
        false => lines.boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(ours)).init();
}
