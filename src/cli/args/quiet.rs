//! `silence` and `window`.

use clap::{Args, Subcommand};

/// Keep drifts quiet for a time. They are recorded as always, and told when the silence ends.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
A silence is about notification and nothing else: drifts are recorded, and `status` and `check` show \
them as always. What cannot be read, cannot be trusted or is about the watch itself is never kept \
quiet. Everybody is told that a silence begins, by whom and why, and at its end what it kept quiet; \
what is still open then is told.

Examples:
  authdrift silence add --match '/jwt_templates/*' --until 2h --reason CHG-7
  authdrift silence list
  authdrift silence expire sil_0198…")]
pub enum SilenceCommand {
    /// Keep drifts quiet until a time, at most 7 days away
    Add(SilenceAddOptions),
    /// List what is kept quiet
    List(QuietListOptions),
    /// End a silence now
    Expire(QuietEndOptions),
}

/// Announce changes of an instance: what was announced is quiet, anything else louder.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
While the window is open, a drift of the instance that fits a --match is expected: recorded, and told \
at the end. One that does not fit is told at once, says that it was not announced, and is at least \
high. At the end one message says what changed, what was not announced, and what is still different \
and should now be approved, with the command.

Examples:
  authdrift window open prod --match '/jwt_templates/**' --until 2h --reason CHG-7
  authdrift window list
  authdrift window close sil_0198…")]
pub enum WindowCommand {
    /// Announce changes until a time, at most 7 days away
    Open(WindowOpenOptions),
    /// List what is announced
    List(QuietListOptions),
    /// Close a window now
    Close(QuietEndOptions),
}

/// `silence add`
#[derive(Debug, Args)]
#[command(after_help = "\
Each --match is a path ('*' stands for one step, '**' for any number; what lies under it is meant \
too), the id of a setting, or an instance. Of each kind any has to fit, and of every kind that is \
given one.

Examples:
  authdrift silence add --match '/jwt_templates/*' --until 2h --reason CHG-7
  authdrift silence add --match clerk:test --until 3d --reason \"load test\"
  authdrift silence add --match prod --match session-lifetime --until 1d --reason x")]
pub struct SilenceAddOptions {
    /// What it is about
    #[command(flatten)]
    pub what: QuietOptions,
}

/// `window open`
#[derive(Debug, Args)]
#[command(after_help = "\
Each --match is a path ('*' stands for one step, '**' for any number; what lies under it is meant \
too) or the id of a setting. Of each kind any has to fit, and of every kind that is given one.

Example:
  authdrift window open prod --match '/jwt_templates/**' --until 2h --reason CHG-7")]
pub struct WindowOpenOptions {
    /// The instance
    #[arg(value_name = "INSTANCE")]
    pub instance: String,
    /// What was announced
    #[command(flatten)]
    pub what: QuietOptions,
}

/// What is kept quiet, until when and why.
#[derive(Debug, Args)]
pub struct QuietOptions {
    /// A path, a setting or an instance; may be given several times
    #[arg(long = "match", value_name = "PATH|SETTING|INSTANCE", required = true)]
    pub matchers: Vec<String>,
    /// A date, a time (2027-01-31T12:00:00Z) or how long (2h), at most 7 days
    #[arg(long, value_name = "DATE")]
    pub until: String,
    /// Why; everybody is told
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// In whose name [default: the user and the machine]
    #[arg(long = "as", value_name = "NAME")]
    pub name: Option<String>,
}

/// `silence list`, `window list`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift silence list       what is kept quiet
  authdrift window list --all  what was ever announced")]
pub struct QuietListOptions {
    /// Also those that are over
    #[arg(long)]
    pub all: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `silence expire`, `window close`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift silence expire sil_0198…
  authdrift window close sil_0198…")]
pub struct QuietEndOptions {
    /// Its id, sil_…, of which a unique beginning is enough
    #[arg(value_name = "ID")]
    pub id: String,
    /// In whose name [default: the user and the machine]
    #[arg(long = "as", value_name = "NAME")]
    pub name: Option<String>,
}
