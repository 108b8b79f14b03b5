//! `authdrift stale`: finds a dead daemon by the cycles that are missing in its database.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;

use crate::cli::{CliError, ConfiguredCommand, Context};
use crate::clock::written;
use crate::config::Instance;
use crate::daemon::lock::{LockHolder, holder};
use crate::delivery::direct::{DirectMessage, DirectNotifier, mark_or_none};
use crate::exit::Exit;
use crate::message::{Notice, NoticeKind};
use crate::model::{InstanceId, counted};
use crate::store::{Store, StoreError, cycles, events, instances};

/// Check that the daemon still works, and alert people if not
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift stale              show which instances are late
  authdrift stale --tell       also notify the receivers, as the timer does
  authdrift stale --after 20m  with a limit that is not from the schedule

An instance is late when its last cycle, successful or not, is too long ago. An instance without any cycle, while others \
have some, waits for `authdrift reload` and is not late. --tell notifies every receiver directly, without the outbox: at the \
beginning, once a day, and at the end. The time of the last notification is in a file beside the database that ends in \
.stale.

Exit codes: 0 every instance is in time, 69 one is late, 74 no receiver could be notified")]
pub(crate) struct StaleOptions {
    /// How long after the last cycle an instance is late [default: three cycles of its schedule]
    #[arg(long, value_name = "TIME")]
    after: Option<humantime::Duration>,
    /// Notify the receivers
    #[arg(long)]
    tell: bool,
    /// Check again after this time before notifying: a machine that just woke up is still late
    #[arg(long, value_name = "TIME", default_value = "1m")]
    again_after: humantime::Duration,
}

/// The interval of reminders.
const REMIND: TimeDelta = TimeDelta::hours(24);

impl ConfiguredCommand for StaleOptions {
    async fn run_with(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, CliError> {
        let mut found = inspect(context, self);
        let note = Note::of(context);
        let now = context.clock.now();
        let is_told = note.told()?.is_some_and(|told| told <= now && now < told + REMIND);
        if found.trouble.is_some() && self.tell && !is_told {
            // A machine that just woke up has not run its cycles yet.
            tokio::time::sleep(self.again_after.into()).await;
            found = inspect(context, self);
        }
        for id in &found.new {
            writeln!(out, "{id} is not watched yet: `authdrift reload`")?;
        }
        let Some(reason) = found.trouble else {
            let others = if found.new.is_empty() { "" } else { "other " };
            writeln!(out, "Every {others}instance was looked at in time.")?;
            if self.tell && note.told()?.is_some() {
                let text = "the service works again".to_owned();
                notify(context, Notice { kind: NoticeKind::ReadAgain, subject: String::new(), text }, out).await?;
                note.remove()?;
            }
            return Ok(Exit::Ok);
        };
        writeln!(out, "{reason}.")?;
        if self.tell && !is_told {
            notify(context, Notice { kind: NoticeKind::Unread, subject: String::new(), text: reason }, out).await?;
            note.write(now)?;
        }
        Ok(Exit::Unavailable)
    }
}

/// The instances that are late, and those that are new.
#[derive(Default)]
struct StaleInstances {
    /// The problem in words, if there is one.
    trouble: Option<String>,
    /// Never read while others are: they wait for a reload.
    new: Vec<InstanceId>,
}

fn inspect(context: &Context, options: &StaleOptions) -> StaleInstances {
    let config = &context.config;
    let now = context.clock.now();
    let last_cycles = || -> Result<Vec<Option<DateTime<Utc>>>, StoreError> {
        let store = Store::open_to_read(&config.store)?;
        store.read(|tx| {
            let mut all = Vec::new();
            for instance in &config.instances {
                let row = instances::find(tx, &instance.id)?;
                all.push(row.map_or(Ok(None), |row| cycles::latest(tx, row))?.map(|cycle| cycle.at));
            }
            Ok(all)
        })
    };
    let last_cycles = match last_cycles() {
        Ok(last_cycles) => last_cycles,
        Err(error) => {
            let error = CliError::from(error);
            let help = error.help.map(|help| format!("; {help}")).unwrap_or_default();
            let trouble = format!("Whether anything is watched is not known: {}{help}", error.message);
            return StaleInstances { trouble: Some(trouble), ..StaleInstances::default() };
        }
    };
    let (mut late, mut new) = (Vec::new(), Vec::new());
    for (instance, last) in config.instances.iter().zip(last_cycles) {
        match last {
            None => new.push(instance.id.clone()),
            Some(last) if is_late(instance, last, options, now) => {
                late.push(format!("{} was last looked at: {}", instance.id, written(last)));
            }
            Some(_) => {}
        }
    }
    let all = config.instances.len();
    if late.len() + new.len() == all {
        // No instance is read in time, so these do not merely wait for a reload.
        late.extend(new.drain(..).map(|id| format!("{id} was last looked at: never")));
    }
    if late.is_empty() {
        return StaleInstances { trouble: None, new };
    }
    let is_all = late.len() == all;
    let begin = match late.len() {
        number if number == all => "Nothing is watched".to_owned(),
        1 => format!("1 of {} is not looked at", counted(all, "instance")),
        number => format!("{number} of {} are not looked at", counted(all, "instance")),
    };
    let works = if is_all { " and does not work" } else { "" };
    let daemon = match holder(&config.store) {
        Ok(LockHolder::None) => "no daemon is running, and `systemctl status authdrift` says why".to_owned(),
        Ok(LockHolder::Daemon(says)) => format!("the daemon, process {}, is there{works}", says.pid),
        Ok(LockHolder::Unknown) => format!("a daemon is there{works}"),
        Err(error) => format!("whether a daemon is running is not known: {error}"),
    };
    let more = match late.len() {
        0..=3 => String::new(),
        all => format!(" and {} more", all - 3),
    };
    let first = late.get(..3).unwrap_or(&late).join(", ");
    StaleInstances { trouble: Some(format!("{begin}: {daemon}; {first}{more}")), new }
}

fn is_late(instance: &Instance, last: DateTime<Utc>, options: &StaleOptions, now: DateTime<Utc>) -> bool {
    match options.after {
        Some(after) => (now - last).to_std().is_ok_and(|age| age > *after),
        None => instance.schedule.is_late(last, now),
    }
}

/// Notifies every receiver, without the daemon and its outbox.
async fn notify(context: &Context, news: Notice, out: &mut dyn Write) -> Result<(), CliError> {
    let all = context.config.receivers.len();
    if all == 0 {
        return Err(CliError::new(Exit::Io, "nobody can be told: the configuration has no receiver"));
    }
    let notifier = Arc::new(DirectNotifier::new(&context.config.receivers)?);
    let mark = context.store_to_read().ok().and_then(|store| store.read(events::mark).ok().flatten());
    match notifier.notify(DirectMessage::Notice(news), mark_or_none(mark), context.clock.now()).await {
        0 => {
            Err(CliError::new(Exit::Io, format!("nobody could be told: none of {} took it", counted(all, "receiver")))
                .with_help("it is tried again at the next run; `authdrift receivers test NAME` shows what is wrong"))
        }
        told => Ok(writeln!(out, "Told {told} of {}.", counted(all, "receiver"))?),
    }
}

/// The time of the last notification, in a file beside the database, because the database may be broken.
struct Note(PathBuf);

impl Note {
    fn of(context: &Context) -> Self {
        Self(context.config.store.with_extension("stale"))
    }

    fn told(&self) -> Result<Option<DateTime<Utc>>, CliError> {
        match fs::read_to_string(&self.0) {
            // What makes no sense is no reason to keep quiet.
            Ok(text) => Ok(Some(text.trim().parse().unwrap_or_default())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed("read", &error)),
        }
    }

    fn write(&self, now: DateTime<Utc>) -> Result<(), CliError> {
        fs::write(&self.0, written(now)).map_err(|error| self.failed("write", &error))
    }

    fn remove(&self) -> Result<(), CliError> {
        fs::remove_file(&self.0).map_err(|error| self.failed("remove", &error))
    }

    fn failed(&self, action: &str, error: &std::io::Error) -> CliError {
        let path = self.0.display();
        CliError::new(Exit::Io, format!("cannot {action} '{path}', which says when people were told: {error}"))
            .with_help("without it they are told again at every run")
    }
}
