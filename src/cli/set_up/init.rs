//! `authdrift init`: a first configuration and the list of approvers.
//!
//! Everything is asked and checked before anything is written, and what is there already is never touched.

mod answers;
mod draft;
mod folder;
pub mod public_key;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::output::{BOLD, DIM};
use crate::cli::{AfterCommit, CliError, Context, RunCommand};
use crate::clock::{Clock, SystemClock};
use crate::config::{self, Sources};
use crate::exit::Exit;
use crate::model::{InstanceId, Provider};
use crate::trust::AllowedSigners;
use crate::trust_files::TrustFiles;
pub(in crate::cli) use answers::TRIAL;
use answers::{Answers, Approver};
use draft::Draft;
pub(in crate::cli) use folder::quoted;
use folder::{Folder, FolderKind, Staged};

/// Write a first configuration and the list of approvers
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift init  ask for everything
  authdrift init --clerk prod --publishable-key pk_test_… --new-key
  authdrift init ~/watch --auth0 acme --domain acme.eu.auth0.com --client-id ID
  sudo authdrift init /etc/authdrift --clerk prod --key alice.pub

It writes config.toml and allowed_signers, and overwrites no file. It neither asks for secrets nor writes \
them: the configuration names the files or systemd credentials that hold them. --new-key also writes \
trial_key and trial_key.pub, without a passphrase, for a trial on this machine.")]
pub(crate) struct InitOptions {
    /// Where to write [default: $CONFIGURATION_DIRECTORY; else /etc/authdrift for root, ~/.config/authdrift for others]
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Watch a Clerk instance under this name
    #[arg(long, value_name = "NAME")]
    clerk: Option<String>,
    /// Its publishable key, pk_…: no secret, and enough to begin with
    #[arg(long, value_name = "KEY", requires = "clerk")]
    publishable_key: Option<String>,
    /// Watch an Auth0 tenant under this name
    #[arg(long, value_name = "NAME")]
    auth0: Option<String>,
    /// The tenant's own domain
    #[arg(long, value_name = "DOMAIN", requires = "auth0")]
    domain: Option<String>,
    /// The machine-to-machine application that authdrift signs in as
    #[arg(long, value_name = "ID", requires = "auth0")]
    client_id: Option<String>,
    /// The SSH public key of the approver
    #[arg(long, value_name = "FILE", conflicts_with = "new_key")]
    key: Option<PathBuf>,
    /// Make a key for a trial on this machine
    #[arg(long)]
    new_key: bool,
    /// The name of the approver in alerts [default: the key's comment, if it is a mail address]
    #[arg(long, value_name = "PRINCIPAL")]
    approver: Option<String>,
}

impl RunCommand for InitOptions {
    async fn run(&self, config: Option<&Path>, out: &mut dyn Write) -> Result<Exit, CliError> {
        if config.is_some() {
            return Err(CliError::new(Exit::Usage, "--config names a file to read, and init writes one")
                .with_help("name the folder: authdrift init DIR"));
        }
        let now = SystemClock.now();
        let folder = Folder::choose(self.folder.as_deref())?;
        folder.refuse_what_is_there()?;
        let answers = Answers::ask(self, now)?;

        let mut staged = Staged::new(&folder)?;
        let public = match &answers.approver.key {
            Some(public) => public.clone(),
            None => {
                let public = public_key::make(&staged.path(folder::TRIAL_KEY), public_key::TRIAL_COMMENT)?;
                public_key::PublicLine::read(&public).map_err(|reason| CliError::new(Exit::Internal, reason))?
            }
        };
        let draft = Draft { folder: &folder, answers: &answers, public: &public, today: now.date_naive() };
        let (config, signers) = (draft.config(), draft.allowed_signers());
        check(&folder, &config, &signers, &answers.approver, &public, now)?;

        staged.add(folder::SIGNERS, &signers, 0o644)?;
        if answers.approver.key.is_none() {
            staged.take(&[folder::TRIAL_KEY, folder::TRIAL_PUBLIC])?;
        }
        // Last: a folder without it has no configuration yet.
        staged.add(folder::CONFIG, &config, 0o640)?;
        let written = staged.publish()?;

        // Read the written files with the readers that every command uses.
        let context = Context::load(Some(&folder.file(folder::CONFIG)))?;
        TrustFiles::read(&context.config.approval).signers()?;
        let mut after = AfterCommit::of(format!("the configuration is in '{}'", folder.path.display()));
        after.then(written.iter().try_for_each(|file| writeln!(out, "Wrote {}", file.display())));
        let approver = &answers.approver.principal;
        after.then(writeln!(out, "{approver} may approve, with the key {}.", public.key.fingerprint()));
        after.then(out.flush());
        if answers.approver.key.is_none() {
            after.then(warn_of_trial_key(&folder));
        }
        after.then(next_steps(&folder, &answers, &context, out));
        after.then(out.flush());
        after.end(Exit::Ok)
    }
}

/// Reads the drafts as every command will read the files.
fn check(
    folder: &Folder,
    config: &str,
    signers: &str,
    approver: &Approver,
    public: &public_key::PublicLine,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<(), CliError> {
    let file = folder.file(folder::CONFIG).display().to_string();
    let sources = Sources {
        file: &file,
        text: config,
        state_directory: None,
        // Where the database lies by default is asked when the file is loaded.
        xdg_state: Some(folder.path.clone()),
        now,
    };
    config::parse(&sources).map_err(|problems| {
        CliError::new(Exit::Usage, format!("this would not be a configuration, so nothing was written\n{problems}"))
    })?;
    let refused = |reason: String| {
        let message = format!("'{}' cannot be an approver, so nothing was written: {reason}", approver.principal);
        CliError::new(Exit::Usage, message)
    };
    let signers = AllowedSigners::parse(signers).map_err(|bad| refused(bad.to_string()))?;
    signers.check(&approver.principal, &public.key, now).map_err(|why| refused(why.to_string()))
}

/// On standard error, so that it is seen when the output goes elsewhere.
fn warn_of_trial_key(folder: &Folder) -> Result<(), CliError> {
    let red = anstyle::Style::new().bold().fg_color(Some(anstyle::AnsiColor::Red.into()));
    let mut err = anstream::stderr();
    writeln!(
        err,
        "\n{red}WARNING: {} IS A KEY FOR TRYING OUT, ON THIS MACHINE ONLY.{red:#}\n\
         It has no passphrase: whoever can read the file can approve anything.\n\
         Before this counts, run `authdrift init` with --key in another folder, or put\n\
         your own key's line in the place of this one in\n{}",
        folder.file(folder::TRIAL_KEY).display(),
        folder.file(folder::SIGNERS).display()
    )?;
    Ok(())
}

fn next_steps(folder: &Folder, answers: &Answers, context: &Context, out: &mut dyn Write) -> Result<(), CliError> {
    let program = if crate::cli::context::find_config(None).is_ok_and(|found| folder.is_config(&found)) {
        "authdrift".to_owned()
    } else {
        format!("authdrift --config {}", folder::quoted(&folder.file(folder::CONFIG)))
    };
    let first: Vec<&InstanceId> = context.config.instances.iter().map(|instance| &instance.id).collect();
    let mut steps: Vec<(String, String)> = Vec::new();
    let mut step = |what: &str, command: String| steps.push((what.to_owned(), command));
    if folder.kind == FolderKind::System {
        let (etc, config) = (folder::quoted(&folder.path), folder::quoted(&folder.file(folder::CONFIG)));
        step("the service may read it", format!("chgrp authdrift {config}"));
        // One that the configuration names already, or the first that may follow.
        let name = match (&answers.auth0, &answers.clerk) {
            (Some(auth0), _) => draft::secret_name(Provider::Auth0, &auth0.name),
            (None, clerk) => draft::secret_name(Provider::Clerk, clerk.as_ref().map_or("NAME", |clerk| &clerk.name)),
        };
        let line = format!("LoadCredential={name}:{etc}/credentials/{name}");
        step(
            &format!("[Service], then {line} and so on, one for each secret; docs/install.md has all of it"),
            "systemctl edit authdrift".to_owned(),
        );
        let (watch, drop_in) =
            ("/etc/systemd/system/authdrift-watch.service.d", "../authdrift.service.d/override.conf");
        step(
            "the same for the watch, which tells people when the service is dead",
            format!("mkdir -p {watch} && ln -s {drop_in} {watch}/"),
        );
        step("mistakes, all at once", format!("{program} doctor"));
        step("begin to read", "systemctl enable --now authdrift authdrift-watch.timer".to_owned());
        for id in first.iter().take(1) {
            let file = format!("/var/lib/authdrift/{}.json", id.name);
            let propose = format!("sudo -u authdrift {program} propose {id} -o {file} --reason 'First review'");
            step("for the approvers to sign; the README has the rest", propose);
        }
    } else {
        if let Some(auth0) = &answers.auth0 {
            let file = folder::quoted(&folder.file(&draft::secret_name(Provider::Auth0, &auth0.name)));
            step("paste the client secret, then Ctrl-D", format!("(umask 077; cat > {file})"));
        }
        step("is everything set up well?", format!("{program} doctor"));
        step("read everything now", format!("{program} check"));
        let key = folder::quoted(&answers.approver.signing_key(folder));
        for id in first {
            step("make it the baseline", format!("{program} approve {id} --reason 'First review' --key {key}"));
        }
        step("watch", format!("{program} run"));
    }
    writeln!(out, "\n{BOLD}Next{BOLD:#}")?;
    for (what, command) in steps {
        writeln!(out, "  {DIM}# {what}{DIM:#}\n  {command}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::answers::ClerkAnswers;
    use super::*;

    #[test]
    fn a_service_gets_its_secrets_and_somebody_who_notices_when_it_is_dead() {
        let folder = Folder { path: PathBuf::from("/etc/authdrift"), kind: FolderKind::System };
        let (name, publishable_key) = ("prod".to_owned(), "pk_test_Y2xlcmsuZXhhbXBsZS5jb20k".to_owned());
        let text =
            format!("[store]\npath = \"/db\"\n[[clerk]]\nname = \"{name}\"\npublishable_key = \"{publishable_key}\"\n");
        let context = Context::of_text(folder.file("config.toml"), &text).unwrap();
        let approver = Approver { principal: "a@example.com".to_owned(), key: None, file: None };
        let answers = Answers { clerk: Some(ClerkAnswers { name, publishable_key }), auth0: None, approver };
        let mut out = Vec::new();
        next_steps(&folder, &answers, &context, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        for said in [
            "LoadCredential=clerk-prod:/etc/authdrift/credentials/clerk-prod",
            "docs/install.md",
            "\n  systemctl edit authdrift\n",
            "ln -s ../authdrift.service.d/override.conf /etc/systemd/system/authdrift-watch.service.d/\n",
            "systemctl enable --now authdrift authdrift-watch.timer\n",
        ] {
            assert!(text.contains(said), "'{said}' is not in {text}");
        }
    }
}
