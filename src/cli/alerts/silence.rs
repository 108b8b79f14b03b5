//! `authdrift silence` and `authdrift window`: one thing with two names.

use crate::cli::command::RunCommand;
use clap::{Args, Subcommand};
use std::io::Write;
use std::path::Path;

use serde_json::json;

use crate::alerting::begin_silence;
use crate::classify::{NEW_FIELD, SECTION_STATE, UNCLASSIFIED};
use crate::cli::CliError;
use crate::cli::after_commit::AfterCommit;
use crate::cli::context::Context;
use crate::cli::did_you_mean::did_you_mean;
use crate::cli::output::{BOLD, Columns, PLAIN, time};
use crate::cli::until;
use crate::cli::user::proposer;
use crate::clock::written;
use crate::delivery::Delivery;
use crate::exit::Exit;
use crate::incident::silence::LONGEST;
use crate::incident::{Matcher, Silence};
use crate::model::{InstanceId, Provider, SilenceId, display_safe};
use crate::sections::Table;
use crate::store::{Store, StoreError, silences};

/// Mute drifts for a time
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
pub(crate) enum SilenceCommand {
    /// Keep drifts quiet until a time, at most 7 days away
    Add(SilenceAddOptions),
    /// List what is kept quiet
    List(QuietListOptions),
    /// End a silence now
    Expire(QuietEndOptions),
}

/// Announce a change window
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
pub(crate) enum WindowCommand {
    /// Announce changes until a time, at most 7 days away
    Open(WindowOpenOptions),
    /// List what is announced
    List(QuietListOptions),
    /// Close a window now
    Close(QuietEndOptions),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Each --match is a path ('*' stands for one step, '**' for any number; what lies under it is meant \
too), the id of a setting, or an instance. Of each kind any has to fit, and of every kind that is \
given one.

Examples:
  authdrift silence add --match '/jwt_templates/*' --until 2h --reason CHG-7
  authdrift silence add --match clerk:test --until 3d --reason \"load test\"
  authdrift silence add --match prod --match session-lifetime --until 1d --reason x")]
pub(crate) struct SilenceAddOptions {
    /// What it is about
    #[command(flatten)]
    what: QuietOptions,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Each --match is a path ('*' stands for one step, '**' for any number; what lies under it is meant \
too) or the id of a setting. Of each kind any has to fit, and of every kind that is given one.

Example:
  authdrift window open prod --match '/jwt_templates/**' --until 2h --reason CHG-7")]
pub(crate) struct WindowOpenOptions {
    /// The instance
    #[arg(value_name = "INSTANCE")]
    instance: String,
    /// What was announced
    #[command(flatten)]
    what: QuietOptions,
}

/// What is kept quiet, until when and why.
#[derive(Debug, Args)]
pub(crate) struct QuietOptions {
    /// A path, a setting or an instance; may be given several times
    #[arg(long = "match", value_name = "PATH|SETTING|INSTANCE", required = true)]
    pub(crate) matchers: Vec<String>,
    /// A date, a time (2027-01-31T12:00:00Z) or how long (2h), at most 7 days
    #[arg(long, value_name = "DATE")]
    pub(crate) until: String,
    /// Why; everybody is told
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    /// In whose name [default: the user and the machine]
    #[arg(long = "as", value_name = "NAME")]
    pub(crate) name: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift silence list       what is kept quiet
  authdrift window list --all  what was ever announced")]
pub(crate) struct QuietListOptions {
    /// Also those that are over
    #[arg(long)]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift silence expire sil_0198…
  authdrift window close sil_0198…")]
pub(crate) struct QuietEndOptions {
    /// Its id, sil_…, of which a unique beginning is enough
    #[arg(value_name = "ID")]
    id: String,
    /// In whose name [default: the user and the machine]
    #[arg(long = "as", value_name = "NAME")]
    name: Option<String>,
}

impl RunCommand for SilenceCommand {
    async fn run(&self, config: Option<&Path>, out: &mut dyn Write) -> Result<Exit, CliError> {
        let context = &Context::load(config)?;
        match self {
            SilenceCommand::Add(options) => begin(context, &options.what, None, out).await,
            SilenceCommand::List(options) => list(context, options, false, out),
            SilenceCommand::Expire(options) => end(context, options, false, out),
        }
    }
}

impl RunCommand for WindowCommand {
    async fn run(&self, config: Option<&Path>, out: &mut dyn Write) -> Result<Exit, CliError> {
        let context = &Context::load(config)?;
        match self {
            WindowCommand::Open(options) => {
                let instance = context.config.instance(&options.instance)?;
                begin(context, &options.what, Some(&instance.id), out).await
            }
            WindowCommand::List(options) => list(context, options, true, out),
            WindowCommand::Close(options) => end(context, options, true, out),
        }
    }
}

async fn begin(
    context: &Context,
    options: &QuietOptions,
    window: Option<&InstanceId>,
    out: &mut dyn Write,
) -> Result<Exit, CliError> {
    let now = context.clock.now();
    let until = until::limit(Some(&options.until), now)?.until.unwrap_or(now);
    if until > now + LONGEST {
        let message = format!("--until '{}' is more than 7 days away", display_safe(&options.until));
        return Err(CliError::new(Exit::Usage, message).with_help(
            "quiet for longer needs a signature: approve the change for a time with `authdrift approve --until`",
        ));
    }
    let reason = options.reason.trim();
    if reason.is_empty() {
        return Err(CliError::new(Exit::Usage, "it needs a reason: say why with --reason"));
    }
    let mut matchers: Vec<Matcher> = window.cloned().map(Matcher::Instance).into_iter().collect();
    for text in &options.matchers {
        let matcher = matcher(context, text)?;
        if window.is_some() && matches!(matcher, Matcher::Instance(_)) {
            let message = format!("'{}' is an instance, and a window is about one already", display_safe(text));
            return Err(CliError::new(Exit::Usage, message).with_help("name paths or settings with --match"));
        }
        matchers.push(matcher);
    }
    let silence = Silence {
        id: SilenceId::new(),
        matchers,
        from: now,
        until,
        by: options.name.clone().unwrap_or_else(proposer),
        reason: reason.to_owned(),
        is_window: window.is_some(),
        expired: None,
    };
    let store = context.existing_store()?;
    let delivery = Delivery::new(&store, &context.clock, &context.config.receivers)?;
    store.write(|tx| begin_silence(tx, &context.config, &silence))?;
    let what = if silence.is_window { "Announced" } else { "Quiet" };
    let mut after = AfterCommit::of(format!("{} is recorded", silence.id));
    after.then(writeln!(out, "{what}: {} until {} ({}).", silence.words(), written(until), silence.id));
    let command = end_command(silence.is_window);
    after.then(writeln!(out, "Everybody is told. To end it: authdrift {command} {}", silence.id));
    after.then(out.flush());
    after.then(delivery.deliver().await);
    after.then(store.finished());
    after.end(Exit::Ok)
}

fn end_command(is_window: bool) -> &'static str {
    if is_window { "window close" } else { "silence expire" }
}

/// What somebody means; a name that can mean nothing would keep nothing quiet, and nobody would notice.
fn matcher(context: &Context, text: &str) -> Result<Matcher, CliError> {
    let nothing = |what: &str, help: &str| {
        let message = format!("--match '{}' {what}", display_safe(text));
        CliError::new(Exit::Usage, message).with_code("unknown-match").with_help(help)
    };
    match text.parse::<Matcher>() {
        Ok(Matcher::Path(pattern)) => {
            let sections = || Provider::ALL.into_iter().flat_map(|provider| Table::of(provider).sections());
            if sections().any(|section| pattern.is_in(&section.name)) {
                return Ok(Matcher::Path(pattern));
            }
            let section = text.split('/').nth(1).unwrap_or_default();
            let meant = did_you_mean(section, sections().map(|section| section.name.as_str()));
            let what = format!("is in no section{meant}");
            Err(nothing(&what, "`authdrift sections` lists them; a path begins with one"))
        }
        Ok(Matcher::Instance(_)) => Ok(Matcher::Instance(context.config.instance(text)?.id.clone())),
        Ok(Matcher::Setting(setting)) => {
            let settings = || {
                let all = Provider::ALL.into_iter().flat_map(|provider| context.catalogues.of(provider).settings());
                all.map(|known| known.id.as_str()).chain([UNCLASSIFIED, NEW_FIELD, SECTION_STATE])
            };
            let is_known = settings().any(|known| known == setting);
            match context.config.instance(text) {
                _ if is_known => Ok(Matcher::Setting(setting)),
                Ok(instance) => Ok(Matcher::Instance(instance.id.clone())),
                Err(_) => {
                    let names = context.config.instances.iter().map(|instance| instance.id.name.as_str());
                    let what =
                        format!("is no path, setting or instance{}", did_you_mean(text, settings().chain(names)));
                    Err(nothing(
                        &what,
                        "a path begins with '/'; `authdrift settings` lists settings, `authdrift status` instances",
                    ))
                }
            }
        }
        Err(error) => Err(nothing("cannot be read", &error.to_string())),
    }
}

fn list(context: &Context, options: &QuietListOptions, is_window: bool, out: &mut dyn Write) -> Result<Exit, CliError> {
    let now = context.clock.now();
    let all = context.store_to_read()?.read(|tx| silences::all(tx))?;
    let wanted = |silence: &Silence| silence.is_window == is_window && (options.all || !silence.is_over(now));
    let listed: Vec<&Silence> = all.iter().filter(|silence| wanted(silence)).collect();
    if options.json {
        let listed: Vec<_> = listed
            .iter()
            .map(|silence| {
                let matchers: Vec<String> = silence.matchers.iter().map(ToString::to_string).collect();
                json!({
                    "id": silence.id, "match": matchers, "from": written(silence.from), "until": written(silence.until),
                    "by": silence.by, "reason": silence.reason, "active": silence.is_active(now),
                    "expired_by": silence.expired.as_ref().map(|(_, by)| by),
                })
            })
            .collect();
        let name = if is_window { "windows" } else { "silences" };
        crate::cli::output::json(&mut *out, &json!({ name: listed }))?;
        writeln!(out)?;
        return Ok(Exit::Ok);
    }
    if listed.is_empty() {
        writeln!(out, "{}", if is_window { "No changes are announced." } else { "Nothing is kept quiet." })?;
        return Ok(Exit::Ok);
    }
    let mut columns = Columns::new(0);
    columns.row(BOLD, ["ID", "UNTIL", "BY", "WHAT", "REASON"]);
    for silence in listed {
        let end = match &silence.expired {
            Some((at, by)) => format!("ended {} by {}", time(*at, now), display_safe(by)),
            None if silence.is_over(now) => format!("over since {}", time(silence.until, now)),
            None => time(silence.until, now),
        };
        let (by, reason) = (display_safe(&silence.by), display_safe(&silence.reason));
        columns.row(PLAIN, [silence.id.to_string(), end, by, silence.words(), reason]);
    }
    columns.write(out)?;
    Ok(Exit::Ok)
}

fn end(context: &Context, options: &QuietEndOptions, is_window: bool, out: &mut dyn Write) -> Result<Exit, CliError> {
    let now = context.clock.now();
    let store = context.existing_store()?;
    let silence = find(&store, &options.id, is_window)?;
    if silence.is_over(now) {
        writeln!(out, "Nothing to do: {} is over.", silence.id)?;
        return Ok(Exit::Ok);
    }
    let by = options.name.clone().unwrap_or_else(proposer);
    store.write(|tx| silences::expire(tx, &silence, &by, now))?;
    let what = if is_window { "changed in the window" } else { "was kept quiet" };
    let id = &silence.id;
    let mut after = AfterCommit::of(format!("{id} is ended"));
    after.then(writeln!(out, "{id} is ended. The next cycle says what {what}, and tells what is still open."));
    after.then(out.flush());
    after.then(store.finished());
    after.end(Exit::Ok)
}

fn find(store: &Store, id: &str, is_window: bool) -> Result<Silence, CliError> {
    let all = store.read(|tx| -> Result<_, StoreError> { silences::all(tx) })?;
    let all: Vec<Silence> = all.into_iter().filter(|silence| silence.is_window == is_window).collect();
    let mut fitting = all.iter().filter(|silence| silence.id.as_str().starts_with(id)).cloned();
    match (fitting.next(), fitting.next()) {
        (Some(silence), None) => Ok(silence),
        (None, _) => {
            let (what, list) = if is_window { ("window", "window list") } else { ("silence", "silence list") };
            let meant = did_you_mean(id, all.iter().map(|silence| silence.id.as_str()));
            let message = format!("there is no {what} '{}'{meant}", display_safe(id));
            let error = CliError::new(Exit::Usage, message).with_code("unknown-silence");
            Err(error.with_help(format!("`authdrift {list} --all` lists them")))
        }
        (Some(_), Some(_)) => {
            let message = format!("'{}' is the beginning of several", display_safe(id));
            Err(CliError::new(Exit::Usage, message).with_code("ambiguous-name").with_help("type more of it"))
        }
    }
}
