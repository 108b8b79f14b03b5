//! What most commands begin with: configuration, catalogues, store.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::CliError;
use super::error::RUN_AS_HINT;
use crate::approval::{ApprovalError, Pending};
use crate::classify::Catalogue;
use crate::clock::{Clock, SystemClock};
use crate::config::{self, Config, Instance, Sources};
use crate::connect::ActiveProxy;
use crate::cycle::Monitor;
use crate::exit::Exit;
use crate::model::{InstanceId, Provider};
use crate::provider::Limits;
use crate::store::{Store, Transaction};
use crate::trust_files::{TrustFiles, read_whole};

/// The meaning of settings, for both vendors.
#[derive(Debug, Clone)]
pub struct Catalogues {
    clerk: Arc<Catalogue>,
    auth0: Arc<Catalogue>,
}

impl Catalogues {
    /// The built-in catalogues, with the user's own entries from `own` before them.
    pub fn load(own: Option<&Path>) -> Result<Self, CliError> {
        let text = own
            .map(|path| {
                let read = read_text(path);
                read.map_err(|error| {
                    let message = format!("cannot read catalogue '{}': {error}", path.display());
                    CliError::new(Exit::Configuration, message).with_help(match error.kind() {
                        ErrorKind::PermissionDenied => RUN_AS_HINT,
                        _ => "`file` in [catalogue] names it",
                    })
                })
            })
            .transpose()?;
        let name = own.map(|path| path.display().to_string()).unwrap_or_default();
        let of = |provider| {
            let own = text.as_deref().map(|text| (name.as_str(), text));
            Catalogue::of(provider, own).map(Arc::new).map_err(|error| CliError::new(Exit::Configuration, error))
        };
        Ok(Self { clerk: of(Provider::Clerk)?, auth0: of(Provider::Auth0)? })
    }

    /// The one of `provider`.
    pub fn of(&self, provider: Provider) -> &Arc<Catalogue> {
        match provider {
            Provider::Clerk => &self.clerk,
            Provider::Auth0 => &self.auth0,
        }
    }
}

/// The configuration and what else a command needs.
pub struct Context {
    /// The configuration.
    pub config: Arc<Config>,
    /// The file of the configuration.
    pub file: PathBuf,
    /// The catalogues of both vendors.
    pub catalogues: Catalogues,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Bounds of requests.
    pub limits: Limits,
}

impl Context {
    /// Reads the configuration from `file`, or from its usual places.
    pub fn load(file: Option<&Path>) -> Result<Self, CliError> {
        let found = find_config(file)?;
        let text = read_config(&found)?;
        let is_found_here = named_config(file).is_none() && Some(&found) == current_place().as_ref();
        Self::of_text(found, &text).map_err(|error| if is_found_here { error.with_help(FOUND_HERE) } else { error })
    }

    /// Parses `text`, the content of `file`.
    pub fn of_text(file: PathBuf, text: &str) -> Result<Self, CliError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let config = with_sources(&file, text, clock.now(), config::parse);
        let config = config.map_err(|problems| CliError::new(Exit::Configuration, problems))?;
        proxy_of_environment(&config)?;
        let catalogues = Catalogues::load(config.catalogue.as_deref())?;
        Ok(Self { config: Arc::new(config), file, catalogues, clock, limits: Limits::default() })
    }

    /// Reads as much of the configuration as can be read, so that `doctor` finds every error: the file, the context if there
    /// is one, and the errors.
    pub fn salvage(file: Option<&Path>) -> (Option<PathBuf>, Option<Self>, Vec<CliError>) {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let file = match find_config(file) {
            Ok(found) => found,
            Err(error) => return (None, None, vec![error]),
        };
        let text = match read_config(&file) {
            Ok(text) => text,
            Err(error) => return (Some(file), None, vec![error]),
        };
        let mut errors = Vec::new();
        let (config, problems) = with_sources(&file, &text, clock.now(), config::salvage);
        errors.extend(problems.map(|problems| CliError::new(Exit::Configuration, problems)));
        let Some(config) = config else { return (Some(file), None, errors) };
        let catalogues = Catalogues::load(config.catalogue.as_deref()).or_else(|error| {
            errors.push(error);
            Catalogues::load(None)
        });
        let context = catalogues.map(|catalogues| {
            let (config, file, limits) = (Arc::new(config), file.clone(), Limits::default());
            Self { config, file, catalogues, clock, limits }
        });
        (Some(file), context.map_err(|error| errors.push(error)).ok(), errors)
    }

    /// Reads the configuration, if one was named or lies in a usual place.
    pub fn load_if_any(file: Option<&Path>) -> Result<Option<Self>, CliError> {
        match named_config(file) {
            None if !usual_places().iter().any(|place| place.exists()) => Ok(None),
            _ => Self::load(file).map(Some),
        }
    }

    /// The store, made if there is none.
    pub fn store(&self) -> Result<Store, CliError> {
        Ok(Store::open(&self.config.store)?)
    }

    /// The store, if there is one, for commands that only read.
    pub fn store_to_read(&self) -> Result<Store, CliError> {
        Ok(Store::open_to_read(&self.config.store)?)
    }

    /// The store, if there is one.
    pub fn existing_store(&self) -> Result<Store, CliError> {
        Ok(Store::open_existing(&self.config.store)?)
    }

    /// The instances of those names, or all.
    pub fn instances(&self, names: &[String]) -> Result<Vec<&Instance>, CliError> {
        if names.is_empty() {
            return Ok(self.config.instances.iter().collect());
        }
        names.iter().map(|name| Ok(self.config.instance(name)?)).collect()
    }

    /// The error of a command that needs a baseline: there is nothing to `do_what`.
    pub(super) fn no_baseline(&self, id: &InstanceId, do_what: &str) -> CliError {
        let message = format!("{id} has no baseline yet, so there is nothing to {do_what}");
        let help = format!("`{}` makes it of the newest snapshot", self.config.approval.command_for_all(id));
        CliError::new(Exit::NoBaseline, message).with_help(help)
    }

    /// Loads what can be approved of an instance.
    pub fn pending_to_approve<'a>(
        &'a self,
        tx: &Transaction<'_>,
        id: &InstanceId,
        trust: &'a TrustFiles,
    ) -> Result<Pending<'a>, ApprovalError> {
        Pending::load_to_approve(tx, id, trust, self.catalogues.of(id.provider), self.clock.now())
    }

    /// The monitor of an instance.
    pub fn watch(&self, instance: &Instance, store: &Store) -> Result<Monitor, CliError> {
        let catalogue = Arc::clone(self.catalogues.of(instance.id.provider));
        let clock = Arc::clone(&self.clock);
        let config = Arc::clone(&self.config);
        Ok(Monitor::new(config, instance, catalogue, store.clone(), clock, self.limits.clone())?)
    }
}

/// Checks the proxy of the environment, if it counts. A secret is read when it is needed.
fn proxy_of_environment(config: &Config) -> Result<(), CliError> {
    if config.proxy != config::Proxy::Environment {
        return Ok(());
    }
    ActiveProxy::find(&config.proxy).map(|_| ()).map_err(|error| {
        let help = "correct the variable or unset it; `proxy` in [network] of the configuration counts before it";
        CliError::new(Exit::Configuration, error).with_help(help)
    })
}

/// Calls `read` with the sources of a configuration.
fn with_sources<T>(file: &Path, text: &str, now: DateTime<Utc>, read: impl Fn(&Sources<'_>) -> T) -> T {
    let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    read(&Sources {
        file: &absolute.display().to_string(),
        text,
        state_directory: first_of_list("STATE_DIRECTORY"),
        xdg_state: xdg("XDG_STATE_HOME", ".local/state"),
        now,
    })
}

/// The configuration file: the one that was named, or the first that exists.
///
/// # Errors
/// None was named and none exists, or the one in the current folder is another user's.
pub fn find_config(named: Option<&Path>) -> Result<PathBuf, CliError> {
    if let Some(named) = named_config(named) {
        return Ok(named);
    }
    let (places, here) = (usual_places(), current_place());
    let mut denied = None;
    for place in &places {
        match place.try_exists() {
            Ok(true) if Some(place) == here.as_ref() => return own_file(place).map(|()| place.clone()),
            Ok(true) => return Ok(place.clone()),
            Ok(false) => {}
            Err(error) => denied = denied.or(Some((place, error))),
        }
    }
    // One that may be there is not one that is to be written.
    if let Some((place, error)) = denied {
        return Err(unreadable(place, &error));
    }
    let names: Vec<_> = places.iter().map(|path| path.display().to_string()).collect();
    let message = format!("there is no configuration at {}", names.join(" or "));
    Err(CliError::new(Exit::Configuration, message).with_help(NEW_CONFIG))
}

/// The file that `--config` names, or the environment.
fn named_config(named: Option<&Path>) -> Option<PathBuf> {
    let variable = || std::env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
    named.map(Path::to_owned).or_else(variable)
}

/// Refuses a file that another user may have put into the current folder.
///
/// # Security
/// A configuration names secrets and the addresses they are sent to. In a folder where everyone may write, such as /tmp,
/// another user's file would make root send its secrets to that user.
fn own_file(path: &Path) -> Result<(), CliError> {
    let own = rustix::process::geteuid().as_raw();
    let link = fs::symlink_metadata(path).map_err(|error| unreadable(path, &error))?;
    let file = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    let reason = match [&link, &file].iter().find(|data| data.uid() != own && data.uid() != 0) {
        Some(data) => format!("it belongs to user {} and this is user {own}", data.uid()),
        None if file.mode() & 0o002 != 0 => "every user may write to it".to_owned(),
        None => return Ok(()),
    };
    let message = format!("the configuration '{}' of the current folder is not used: {reason}", path.display());
    Err(CliError::new(Exit::Configuration, message).with_help("if you trust it, name it: --config config.toml"))
}

const VARIABLE: &str = "AUTHDRIFT_CONFIG";

const NEW_CONFIG: &str = "`authdrift init` writes one, --config FILE or AUTHDRIFT_CONFIG names another place, and \
                          `authdrift demo` needs none";

/// The hint if the file of the current folder is wrong: it may be another program's.
const FOUND_HERE: &str = "this file was found in the current folder; --config FILE or AUTHDRIFT_CONFIG names another";

/// The text of the configuration file.
pub fn read_config(file: &Path) -> Result<String, CliError> {
    read_text(file).map_err(|error| unreadable(file, &error))
}

fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read_whole(path)?).map_err(|_| io::Error::new(ErrorKind::InvalidData, "it is not UTF-8 text"))
}

fn unreadable(file: &Path, error: &io::Error) -> CliError {
    let message = format!("cannot read the configuration '{}': {error}", file.display());
    CliError::new(Exit::Configuration, message).with_help(match error.kind() {
        ErrorKind::PermissionDenied => RUN_AS_HINT,
        ErrorKind::NotFound => NEW_CONFIG,
        _ => "name another file with --config, or try `authdrift demo`",
    })
}

/// The places where a configuration is searched, in this order.
fn usual_places() -> Vec<PathBuf> {
    let folders = [configuration_directory(), Some(PathBuf::from(SYSTEM_FOLDER)), own_folder()];
    let others = folders.into_iter().flatten().map(|folder| folder.join("config.toml"));
    let mut places: Vec<PathBuf> = Vec::new();
    for place in current_place().into_iter().chain(others) {
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

/// The first place: the current folder, if there still is one.
fn current_place() -> Option<PathBuf> {
    Some(std::env::current_dir().ok()?.join("config.toml"))
}

/// The default places of the database: that of a service before a user's own.
pub(super) fn usual_stores() -> Vec<PathBuf> {
    let service = first_of_list("STATE_DIRECTORY").map(|folder| folder.join("authdrift.db"));
    let own = xdg("XDG_STATE_HOME", ".local/state").map(|folder| folder.join("authdrift/authdrift.db"));
    service.into_iter().chain(own).collect()
}

pub(super) const SYSTEM_FOLDER: &str = "/etc/authdrift";

/// The folder that systemd gives to a unit for its configuration.
pub(super) fn configuration_directory() -> Option<PathBuf> {
    first_of_list("CONFIGURATION_DIRECTORY")
}

pub(super) fn own_folder() -> Option<PathBuf> {
    Some(xdg("XDG_CONFIG_HOME", ".config")?.join("authdrift"))
}

/// The first entry of a list from systemd: a unit can have several directories of a kind.
fn first_of_list(variable: &str) -> Option<PathBuf> {
    let list = std::env::var(variable).ok()?;
    list.split(':').next().filter(|first| !first.is_empty()).map(PathBuf::from)
}

fn xdg(variable: &str, below_home: &str) -> Option<PathBuf> {
    // The specification wants relative ones to be ignored.
    let set = std::env::var_os(variable).map(PathBuf::from).filter(|folder| folder.is_absolute());
    set.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(below_home)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreError;

    #[test]
    fn what_this_user_may_not_open_is_for_another_user_and_what_is_missing_is_to_be_made() {
        let path = Path::new("/etc/authdrift/config.toml");
        for (kind, said) in [
            (ErrorKind::PermissionDenied, "sudo -u authdrift"),
            (ErrorKind::NotFound, "authdrift init"),
            (ErrorKind::IsADirectory, "--config"),
        ] {
            let help = unreadable(path, &kind.into()).help.unwrap_or_default();
            assert!(help.contains(said), "{kind}: {help}");
            let error = StoreError::File { action: "open", path: path.to_owned(), source: kind.into() };
            let help = CliError::from(error).help;
            assert_eq!(help.is_some_and(|help| help == RUN_AS_HINT), kind == ErrorKind::PermissionDenied, "{kind}");
        }
    }
}
