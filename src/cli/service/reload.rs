//! `authdrift reload`: makes the daemon read its configuration again, and prints its answer.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::cli::context::{find_config, read_config, usual_stores};
use crate::cli::{AfterCommit, CliError, Context, RunCommand};
use crate::daemon::lock::{DaemonState, LockHolder, holder, is_held_by, path_of};
use crate::exit::Exit;
use crate::model::Digest;

/// Make the daemon read its configuration again
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  systemctl reload authdrift      the service
  authdrift --config FILE reload  a daemon that was started with the same FILE

The daemon checks the file with all files and secrets that it names, and takes all of it or nothing. This command waits for \
its answer. A running cycle keeps its configuration. A new store.path and new credentials from systemd need a restart. The \
daemon is the process in $MAINPID, which systemd sets, or in the lock file beside the database.

Exit codes: 0 reloaded, 78 refused: the old configuration stays, 69 no daemon is running, 74 its answer cannot be read")]
pub(crate) struct ReloadOptions;

/// The limit for the answer. systemd ends the command after 90 seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the daemon may take from the answer to another `reload` to the answer to this one. Without a second answer, the
/// file was changed after it was read here, and the first answer is about that.
const OWN_ANSWER: Duration = Duration::from_secs(10);

/// How often the lock file is read for the answer.
const PAUSE: Duration = Duration::from_millis(50);

impl RunCommand for ReloadOptions {
    async fn run(&self, named: Option<&Path>, out: &mut dyn Write) -> Result<Exit, CliError> {
        let main = std::env::var("MAINPID").ok().map(|text| main_pid(&text)).transpose()?;
        let file = find_config(named);
        let text = file.as_ref().map(|file| (file, read_config(file)));
        let digest = text.as_ref().ok().and_then(|(_, text)| Some(Digest::of(text.as_ref().ok()?.as_bytes())));
        let loaded = text.map(|(file, text)| text.and_then(|text| Context::of_text(file.clone(), &text)));
        let stores = match &loaded {
            Ok(Ok(context)) => vec![context.config.store.clone()],
            // The daemon goes on with what it has, and says so where its database is.
            Ok(Err(_)) => file.iter().filter_map(|file| store_named_in(file)).chain(usual_stores()).collect(),
            Err(_) => usual_stores(),
        };
        let found = find_daemon(&stores, main)?;
        let Some(pid) = main.or(found.as_ref().map(|(_, says)| says.pid)) else {
            let places: Vec<String> = stores.iter().map(|store| store.display().to_string()).collect();
            let message = format!("no daemon works on {}", places.join(" or "));
            return Err(CliError::new(Exit::Unavailable, message).with_help(
                "start it with `systemctl start authdrift` or `authdrift run`; it reads its configuration then",
            ));
        };
        // What systemd says is not what a file says, and a unit may see nothing of locks.
        let lock = found.as_ref().filter(|_| main.is_none()).map(|(store, _)| store.as_path());
        ask(pid, lock)?;
        match found {
            Some((store, before)) => answer(&store, &before, digest.as_ref(), out).await,
            None => Err(own_answer(pid, loaded, &stores)),
        }
    }
}

/// The main process of the unit, as systemd gives it.
fn main_pid(text: &str) -> Result<u32, CliError> {
    // 0 and -1 would be everything that this user may send a signal to, and 1 is the whole machine.
    text.parse().ok().filter(|pid| (2..=i32::MAX.unsigned_abs()).contains(pid)).ok_or_else(|| {
        let message = format!("MAINPID is '{}', which is no process to send a signal to", text.escape_default());
        CliError::new(Exit::Usage, message).with_help("unset it, and the daemon is found by its lock file")
    })
}

/// The database of a configuration that cannot be used as it is.
fn store_named_in(file: &Path) -> Option<PathBuf> {
    let table: toml::Table = fs::read_to_string(file).ok()?.parse().ok()?;
    let path = table.get("store")?.get("path")?.as_str()?;
    Some(std::path::absolute(file).ok()?.parent()?.join(path))
}

/// The daemon of one of the databases, with the content of its lock file; with `main`, only that process.
fn find_daemon(stores: &[PathBuf], main: Option<u32>) -> Result<Option<(PathBuf, DaemonState)>, CliError> {
    for store in stores {
        let found = holder(store).map_err(|error| {
            CliError::new(Exit::Io, format!("cannot read the lock file '{}': {error}", path_of(store).display()))
                .with_help("run it as root or as the user of the daemon, or use `systemctl reload authdrift`")
        })?;
        if let LockHolder::Daemon(says) = found
            && says.pid >= 2
            && main.is_none_or(|main| main == says.pid)
        {
            return Ok(Some((store.clone(), says)));
        }
    }
    Ok(None)
}

/// Sends the signal, to the process that holds the lock of `store` and to no other. Without a lock it is the process that
/// systemd named.
fn ask(pid: u32, store: Option<&Path>) -> Result<(), CliError> {
    let gone = || CliError::new(Exit::Unavailable, format!("there is no process {pid} any more"));
    let failed = |error: &dyn std::fmt::Display| {
        CliError::new(Exit::Io, format!("cannot send a signal to the daemon, process {pid}: {error}"))
            .with_help("run it as root or as the user of the daemon, or use `systemctl reload authdrift`")
    };
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(gone)?;
    // What was looked at is what gets the signal, even if the number is another process's by then.
    let process = pidfd_open(process, PidfdFlags::empty()).map_err(|error| match error {
        Errno::SRCH => gone(),
        error => failed(&error),
    })?;
    if let Some(store) = store
        && !is_held_by(pid, store).map_err(|error| failed(&error))?
    {
        let lock = path_of(store);
        let message =
            format!("process {pid}, which '{}' names, does not hold that lock: no signal was sent", lock.display());
        return Err(CliError::new(Exit::Io, message)
            .with_help("another program wrote to that file: check who may write there, then restart the daemon"));
    }
    pidfd_send_signal(process, Signal::HUP).map_err(|error| match error {
        Errno::SRCH => gone(),
        error => failed(&error),
    })
}

/// Waits for the daemon's answer about the file with that digest.
async fn answer(
    store: &Path,
    before: &DaemonState,
    digest: Option<&Digest>,
    out: &mut dyn Write,
) -> Result<Exit, CliError> {
    let begin = Instant::now();
    let mut other_since = None;
    while begin.elapsed() < PATIENCE {
        tokio::time::sleep(PAUSE).await;
        // Half an answer is none yet.
        let says = match holder(store) {
            Ok(LockHolder::Daemon(says)) if says.pid == before.pid => says,
            Ok(LockHolder::Unknown) | Err(_) => continue,
            Ok(LockHolder::None | LockHolder::Daemon(_)) => {
                let message = format!("the daemon, process {}, ended before it could answer", before.pid);
                return Err(CliError::new(Exit::Unavailable, message).with_help("its log says why"));
            }
        };
        if says.reloads == before.reloads {
            continue;
        }
        // The answer may be to another `reload`, about an older content of the file. The daemon handles the own signal after
        // that one, so wait instead of sending a second signal.
        let is_ours = says.answer.as_ref().is_some_and(|answer| answer.digest.as_ref() == digest);
        let is_first = says.reloads == before.reloads + 1;
        if !is_ours && is_first && other_since.get_or_insert_with(Instant::now).elapsed() < OWN_ANSWER {
            continue;
        }
        return match says.answer {
            Some(answer) if answer.is_accepted => {
                let mut after = AfterCommit::of("the daemon has the new configuration");
                after.print(out, format_args!("Reloaded: {}.", answer.text));
                after.end(Exit::Ok)
            }
            answer => Err(refused(before.pid, answer.map(|answer| answer.text).unwrap_or_default())),
        };
    }
    let message = format!("the daemon, process {}, did not answer within {} seconds", before.pid, PATIENCE.as_secs());
    Err(CliError::new(Exit::Io, message).with_help("its log says what it does"))
}

/// What the daemon will find, where its answer is out of sight: either the file is wrong, or it names another database
/// than the one the daemon works on.
fn own_answer(pid: u32, loaded: Result<Result<Context, CliError>, &CliError>, stores: &[PathBuf]) -> CliError {
    let reason = match loaded {
        Ok(Ok(_)) => {
            let store = stores.first().map(|store| store.display().to_string()).unwrap_or_default();
            format!("the daemon works on another database than '{store}', and to change store.path takes a restart")
        }
        Ok(Err(error)) => error.message,
        Err(error) => error.message.clone(),
    };
    refused(pid, reason)
}

fn refused(pid: u32, reason: String) -> CliError {
    CliError::new(Exit::Configuration, reason).with_help(format!(
        "the daemon, process {pid}, goes on with the configuration it has; correct this and reload again"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_signal_goes_to_everybody_or_to_the_first_process() {
        for text in ["0", "1", "-1", "-5", "", "x", "4294967295", "2147483648", " 7"] {
            assert_eq!(main_pid(text).unwrap_err().exit, Exit::Usage, "{text}");
        }
        assert_eq!((main_pid("2").ok(), main_pid("2147483647").ok()), (Some(2), Some(i32::MAX.unsigned_abs())));
    }

    #[test]
    fn a_database_is_found_in_a_file_that_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        for (text, expected) in [
            ("nonsense = 1\n[store]\npath = \"here.db\"", Some(folder.path().join("here.db"))),
            ("[store]\npath = \"/there.db\"", Some(PathBuf::from("/there.db"))),
            ("[store]\npath = 7", None),
            ("[store", None),
        ] {
            fs::write(&file, text).unwrap();
            assert_eq!(store_named_in(&file), expected, "{text}");
        }
    }
}
