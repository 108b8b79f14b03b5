//! `authdrift silence`: muted drifts and change windows. `authdrift window` is the older name of the latter.

use std::io::Write;

use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::json;

use crate::alerting::{begin_silence, expire_silence};
use crate::classify::{NEW_FIELD, SECTION_STATE, UNCLASSIFIED};
use crate::cli::command::command_group;
use crate::cli::options::{Actor, reason, until};
use crate::cli::output::{BOLD, Columns, PLAIN, time, write_json};
use crate::cli::{AfterCommit, CliError, ConfiguredCommand, Context, did_you_mean};
use crate::clock::written;
use crate::delivery::Delivery;
use crate::exit::Exit;
use crate::incident::silence::LONGEST;
use crate::incident::{Matcher, Silence};
use crate::model::{Provider, SilenceId, display_safe};
use crate::sections::Table;
use crate::store::{Store, StoreError, silences};

command_group! {
    /// Mute drifts for a time, or announce a change window
    #[command(after_help = "\
A silence mutes notifications only: drifts are recorded, and `status` and `check` show them. Blind sections, untrusted \
baselines and alerts about authdrift itself are never muted. Receivers are notified when a silence begins, by whom and \
why. At its end they are notified which drifts it muted, and drifts that are still open are sent.

A change window (--window) is a silence of one instance. While it is open, a drift of the instance that fits no --match is \
at least high, and its alert says that it was not announced. At the end one message lists the announced and the other \
changes, and what is still different, with the command that approves it.

Examples:
  authdrift silence add --match '/jwt_templates/*' --until 2h --reason CHG-7
  authdrift silence add --window prod --match /roles --until 2h --reason CHG-8
  authdrift silence list
  authdrift silence expire sil_0198…")]
    SilenceCommand {
        /// Mute drifts until a time, at most 7 days away
        Add(SilenceAddOptions),
        /// List silences, or change windows
        List(SilenceListOptions),
        /// End a silence or a change window now
        Expire(SilenceExpireOptions),
    }
}

command_group! {
    /// The older names of the commands for change windows
    #[command(after_help = "\
Examples:
  authdrift window open prod --match /jwt_templates --until 2h --reason CHG-7
  authdrift window list
  authdrift window close sil_0198…")]
    WindowCommand {
        /// Announce changes, as `silence add --window`
        Open(WindowOpenOptions),
        /// List change windows, as `silence list --window`
        #[command(after_help = "Example:\n  authdrift window list --all")]
        List(WindowListOptions),
        /// End a change window now, as `silence expire`
        #[command(after_help = "Example:\n  authdrift window close sil_0198…")]
        Close(SilenceExpireOptions),
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Each --match is a path, the id of a setting, or an instance. In a path '*' is one step and '**' any number of steps; \
everything below the path is included. A drift is muted if it fits one --match of each kind that is given.

Examples:
  authdrift silence add --match '/jwt_templates/*' --until 2h --reason CHG-7
  authdrift silence add --match clerk:test --until 3d --reason \"load test\"
  authdrift silence add --match prod --match session-lifetime --until 1d \\
    --reason x
  authdrift silence add --window prod --match /roles --until 2h --reason CHG-8")]
pub(crate) struct SilenceAddOptions {
    /// Open a change window: other drifts of this instance are at least high
    #[arg(long, value_name = "INSTANCE")]
    window: Option<String>,
    #[command(flatten)]
    silence: SilenceOptions,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  authdrift window open prod --match /jwt_templates --until 2h --reason CHG-7")]
pub(crate) struct WindowOpenOptions {
    /// The instance
    #[arg(value_name = "INSTANCE")]
    instance: String,
    #[command(flatten)]
    silence: SilenceOptions,
}

/// Which drifts are muted, until when and why.
#[derive(Debug, Args)]
struct SilenceOptions {
    /// A path, a setting or an instance; can be repeated
    #[arg(long = "match", value_name = "PATH|SETTING|INSTANCE", required = true)]
    matchers: Vec<String>,
    /// The end, at most 7 days away: a date, a time (2027-01-31T12:00:00Z) or a duration (2h)
    #[arg(long, value_name = "DATE")]
    until: String,
    /// Why; it is in the message to the receivers
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    by: Actor,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift silence list                 silences in force
  authdrift silence list --window --all  every change window, also old ones")]
pub(crate) struct SilenceListOptions {
    /// List change windows instead
    #[arg(long)]
    window: bool,
    /// Include those that ended
    #[arg(long)]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct WindowListOptions {
    #[command(flatten)]
    silences: SilenceListOptions,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  authdrift silence expire sil_0198…")]
pub(crate) struct SilenceExpireOptions {
    /// The silence or change window: sil_…, or a unique beginning
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    by: Actor,
}

impl ConfiguredCommand for SilenceAddOptions {
    async fn run_with(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, CliError> {
        self.silence.begin(context, self.window.as_deref(), out).await
    }
}

impl ConfiguredCommand for WindowOpenOptions {
    async fn run_with(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, CliError> {
        self.silence.begin(context, Some(&self.instance), out).await
    }
}

impl SilenceOptions {
    async fn begin(&self, context: &Context, window: Option<&str>, out: &mut dyn Write) -> Result<Exit, CliError> {
        let now = context.clock.now();
        let until = until(Some(&self.until), now)?.unwrap_or(now);
        if until > now + LONGEST {
            let message = format!("--until '{}' is more than 7 days away", display_safe(&self.until));
            return Err(CliError::new(Exit::Usage, message).with_help(
                "quiet for longer needs a signature: approve the change for a time with `authdrift approve --until`",
            ));
        }
        let reason = reason(&self.reason, "it")?.to_owned();
        let window = window.map(|name| context.config.instance(name)).transpose()?;
        let mut matchers: Vec<Matcher> =
            window.map(|instance| Matcher::Instance(instance.id.clone())).into_iter().collect();
        for text in &self.matchers {
            let matcher = matcher(context, text)?;
            if window.is_some() && matches!(matcher, Matcher::Instance(_)) {
                let message = format!("'{}' is an instance, and a window is about one already", display_safe(text));
                return Err(CliError::new(Exit::Usage, message).with_help("name paths or settings with --match"));
            }
            matchers.push(matcher);
        }
        let (id, by, is_window) = (SilenceId::new(), self.by.name(), window.is_some());
        let silence = Silence { id, matchers, from: now, until, by, reason, is_window, expired: None };
        let store = context.existing_store()?;
        let delivery = Delivery::new(&store, &context.clock, &context.config.receivers)?;
        store.decide(|unit| begin_silence(unit, &context.config, &silence))?;
        let (id, what) = (&silence.id, if is_window { "Announced" } else { "Quiet" });
        let mut after = AfterCommit::of(format!("{id} is recorded"));
        after.print(
            out,
            format_args!(
                "{what}: {} until {} ({id}).\nEvery receiver is notified. To end it: authdrift silence expire {id}",
                silence.words(),
                written(until),
            ),
        );
        after.deliver(&delivery, &store).await;
        after.end(Exit::Ok)
    }
}

/// Parses one `--match`. An unknown name is refused: such a silence would mute nothing.
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

impl ConfiguredCommand for SilenceListOptions {
    async fn run_with(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, CliError> {
        self.list(context, self.window, out)
    }
}

impl ConfiguredCommand for WindowListOptions {
    async fn run_with(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, CliError> {
        self.silences.list(context, true, out)
    }
}

impl SilenceListOptions {
    fn list(&self, context: &Context, is_window: bool, out: &mut dyn Write) -> Result<Exit, CliError> {
        let now = context.clock.now();
        let all = context.store_to_read()?.read(silences::all)?;
        let wanted = |silence: &Silence| silence.is_window == is_window && (self.all || !silence.is_over(now));
        let listed: Vec<&Silence> = all.iter().filter(|silence| wanted(silence)).collect();
        if self.json {
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
            write_json(out, &json!({ name: listed }))?;
            return Ok(Exit::Ok);
        }
        if listed.is_empty() {
            writeln!(out, "{}", if is_window { "No change window is open." } else { "No silence is in force." })?;
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
}

impl ConfiguredCommand for SilenceExpireOptions {
    async fn run_with(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, CliError> {
        let now = context.clock.now();
        let store = context.existing_store()?;
        let silence = find(&store, &self.id, now)?;
        if silence.is_over(now) {
            writeln!(out, "Nothing to do: {} is over.", silence.id)?;
            return Ok(Exit::Ok);
        }
        store.decide(|unit| expire_silence(unit, &silence, &self.by.name(), now))?;
        let what = if silence.is_window { "changed in the window" } else { "was kept quiet" };
        let id = &silence.id;
        let mut after = AfterCommit::of(format!("{id} is ended"));
        after.print(out, format_args!("{id} is ended. The next cycle says what {what}, and tells what is still open."));
        after.then(store.finished());
        after.end(Exit::Ok)
    }
}

/// The silence or change window with this id, or with a beginning that is unique, at least among those in force.
fn find(store: &Store, id: &str, now: DateTime<Utc>) -> Result<Silence, CliError> {
    let all = store.read(|tx| -> Result<_, StoreError> { silences::all(tx) })?;
    let fitting: Vec<&Silence> = all.iter().filter(|silence| silence.id.as_str().starts_with(id)).collect();
    let in_force: Vec<&Silence> = fitting.iter().copied().filter(|silence| !silence.is_over(now)).collect();
    match (&fitting[..], &in_force[..]) {
        ([silence], _) | (_, [silence]) => Ok((*silence).clone()),
        ([], _) => {
            let ids = all.iter().map(|silence| silence.id.as_str());
            let error = CliError::unknown("there is no silence", id, ids).with_code("unknown-silence");
            Err(error.with_help("`authdrift silence list --all` lists silences; with --window, change windows"))
        }
        _ => Err(CliError::ambiguous_id(id)),
    }
}
