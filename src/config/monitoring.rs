//! Reads `[monitoring]`: where the daemon says how it is doing. Only this machine can ask.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::Listen;
use super::toml_reader::{Problem, TomlReader};
use crate::model::display_safe;

/// The prefix of the path of a socket.
const UNIX: &str = "unix:";

/// The longest path a Unix socket can have on Linux: 108 bytes with the zero at the end.
const LONGEST_PATH: usize = 107;

/// Why nothing can listen there; the text continues the name of the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum BadListen {
    #[error("is neither an IP address with a port, such as '127.0.0.1:9464', nor 'unix:' and a path")]
    NotAnAddress,
    #[error("has to be an address of this machine: '{0}' can be reached by others, and no password is asked for")]
    NotLoopback(String),
    #[error("needs a port from 1 to 65535")]
    NoPort,
    #[error("needs an absolute path after 'unix:'")]
    NotAbsolute,
    #[error("has a path of {0} bytes after 'unix:'; a socket can have {LONGEST_PATH}")]
    TooLong(usize),
}

/// Reads the table. Without it nothing listens.
pub(super) fn listen(file: &mut TomlReader<'_>) -> Option<Listen> {
    let mut section = file.table("monitoring")?;
    section.require("listen");
    let text = section.string("listen");
    section.finish();
    let text = text?;
    file.accept(parse(&text.value).map_err(|bad| {
        let problem = Problem::at(text.span, format!("'listen' {bad}"));
        problem.help("use 127.0.0.1:PORT, [::1]:PORT or unix:/run/authdrift/monitoring.sock")
    }))
}

fn parse(text: &str) -> Result<Listen, BadListen> {
    if let Some(path) = text.strip_prefix(UNIX) {
        return match PathBuf::from(path) {
            path if !path.is_absolute() => Err(BadListen::NotAbsolute),
            path if path.as_os_str().len() > LONGEST_PATH => Err(BadListen::TooLong(path.as_os_str().len())),
            path => Ok(Listen::Unix(path)),
        };
    }
    // A name could mean another machine tomorrow, so only addresses will do.
    let address: SocketAddr = text.parse().map_err(|_| BadListen::NotAnAddress)?;
    match address {
        address if !address.ip().is_loopback() => Err(BadListen::NotLoopback(display_safe(&address.ip().to_string()))),
        address if address.port() == 0 => Err(BadListen::NoPort),
        address => Ok(Listen::Tcp(address)),
    }
}
