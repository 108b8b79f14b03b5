//! `run`, `reload` and `stale`: what is there for the service.

use clap::{Args, ValueEnum};

use crate::logging::Format;

/// What lines of the log look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Fields for the systemd journal where standard error is the journal, else text.
    Auto,
    /// Text.
    Text,
    /// One JSON object on each line.
    Json,
}

impl From<LogFormat> for Format {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Auto => Self::Auto,
            LogFormat::Text => Self::Text,
            LogFormat::Json => Self::Json,
        }
    }
}

/// `run`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift run                    until SIGTERM or Ctrl-C
  authdrift run --log-format json  for a program that collects lines")]
pub struct RunOptions {
    /// What lines of the log look like
    #[arg(long, value_name = "FORMAT", default_value = "auto")]
    pub log_format: LogFormat,
}

/// `stale`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift stale              for a person
  authdrift stale --tell       what authdrift-watch.timer runs
  authdrift stale --after 20m  whatever the schedule

It looks at when each instance was last looked at, with or without success. One that was never looked at, while others \
are, waits for `authdrift reload`, and nobody is told. With --tell every receiver hears of it at once, \
directly and not through the outbox: when it begins, once a day while it lasts, and when it is over. When they were told is \
kept beside the database, in a file that ends in .stale.

Exit codes: 0 everything was looked at in time, 69 it was not, 74 nobody could be told")]
pub struct StaleOptions {
    /// So long after the last cycle [default: when three cycles of the schedule are missing]
    #[arg(long, value_name = "TIME")]
    pub after: Option<humantime::Duration>,
    /// Tell the receivers
    #[arg(long)]
    pub tell: bool,
    /// Before people are told, look again after this time: a machine that just woke up has its cycles before it
    #[arg(long, value_name = "TIME", default_value = "1m")]
    pub again_after: humantime::Duration,
}
