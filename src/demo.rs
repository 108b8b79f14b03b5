//! `authdrift demo`: the whole story on built-in simulators, told by the real commands.
//!
//! Nothing here knows how anything works: the demo plays the vendors, the administrator, the attacker and the person at
//! the keyboard, and what is printed is what the commands print.

mod attacker;
mod sandbox;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Parser;
use serde_json::{Value, json};

use crate::cli::args::Arguments;
use crate::cli::output::{BOLD, DIM};
use crate::cli::set_up::demo::DemoOptions;
use crate::cli::{self, CliError, RunCommand};
use crate::exit::Exit;
use crate::simulator::webhook::Signature;
use crate::simulator::{clerk, smtp::Mail};
use sandbox::Sandbox;

impl RunCommand for DemoOptions {
    async fn run(&self, _config: Option<&Path>, out: &mut dyn Write) -> Result<Exit, CliError> {
        let folder = new_folder(self.folder.as_deref())?;
        let sandbox = Sandbox::set(&folder).await?;
        let mut script = Script { sandbox, out, chapter: 0, mails: 0, webhooks: 0 };
        script.play().await?;
        script.save_messages()?;
        script.say_goodbye()?;
        Ok(Exit::Ok)
    }
}

fn new_folder(named: Option<&Path>) -> Result<PathBuf, CliError> {
    let folder = match named {
        Some(named) => std::path::absolute(named).unwrap_or_else(|_| named.to_owned()),
        None => std::env::temp_dir().join(format!("authdrift-demo-{}", uuid::Uuid::now_v7().simple())),
    };
    let failed = |reason: String| {
        CliError::new(Exit::Io, format!("cannot use the folder '{}': {reason}", folder.display()))
            .with_help("name another one: authdrift demo DIR")
    };
    if folder.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(failed("it is not empty".to_owned()));
    }
    sandbox::make_private_folder(&folder).map_err(|error| failed(error.to_string()))?;
    Ok(folder)
}

struct Script<'a> {
    sandbox: Sandbox,
    out: &'a mut dyn Write,
    chapter: usize,
    mails: usize,
    webhooks: usize,
}

impl Script<'_> {
    async fn play(&mut self) -> Result<(), CliError> {
        writeln!(self.out, "{BOLD}authdrift demo{BOLD:#}")?;
        self.say(
            "Lantern Books signs its readers in with Clerk and its staff with Auth0. Both vendors, a mail server and a \
             webhook receiver are simulated inside this process, on loopback. Everything else is real: the requests, \
             the database, the signatures, the messages.",
        )?;

        self.title("The first look")?;
        self.say("Every setting the keys may read is read. Nobody has said yet what is right, so that is the answer.")?;
        self.command(&["check"], Exit::NoBaseline).await?;

        self.title("Somebody says what is right")?;
        self.say(
            "Approving means signing with an SSH key. This one was made for the demo; yours can be in an agent or on a \
             security key. The database holds no key that could approve anything. On your terminal, without --all, this \
             is where you would be asked what to approve; the demo asks nothing.",
        )?;
        for instance in ["clerk:shop", "auth0:staff"] {
            let key = self.sandbox.key.display().to_string();
            let words = ["approve", instance, "--all", "--reason", "First review, CHG-1", "--key", &key];
            self.command(&words, Exit::Ok).await?;
        }

        self.title("All is well")?;
        self.command(&["check"], Exit::Ok).await?;

        self.title("Friday evening")?;
        self.say("An administrator clicks through the dashboard, and one key loses a permission:")?;
        for line in [
            "second factor at sign-up: required -> not required",
            "inactivity timeout: 30 minutes -> off",
            "allowed origins: + https://lantern-books.evil.example",
            "JWT template 'supabase': + claim with the reader's email, lifetime 60 s -> 1 day",
            "redirect URLs: the vendor answers 403",
        ] {
            writeln!(self.out, "    {line}")?;
        }
        writeln!(self.out)?;
        self.friday_evening();
        self.say("What is new is read twice before anybody is told. What could not be read is not called removed.")?;
        self.command(&["check"], Exit::Drift).await?;
        self.show_messages().await?;

        self.title("An attacker on the server")?;
        self.say(
            "Somebody with write access to the database edits the approved state, to make the drift look approved:",
        )?;
        let original = attacker::edit_baseline(&self.sandbox.database, "clerk:shop")?;
        self.command(&["check", "clerk:shop"], Exit::Untrusted).await?;
        self.say("The signature does not fit, so nothing is compared, and everybody is told. The edit is undone:")?;
        attacker::undo(&self.sandbox.database, &original)?;
        self.command(&["verify"], Exit::Ok).await?;

        self.title("The way back")?;
        self.say("The settings are put back, and the key may read everything again.")?;
        self.sandbox.clerk.load(clerk::lantern_books());
        self.sandbox.clerk.heal_all();
        self.command(&["check"], Exit::Ok).await?;
        self.show_closing_mail().await
    }

    fn friday_evening(&self) {
        let vendor = &self.sandbox.clerk;
        vendor.edit(&clerk::Clerk::config_path(), |config| {
            put(config, "/auth_multi_factor/required_for_sign_up", json!(false));
            put(config, "/session_settings/inactivity_timeout/enabled", json!(false));
            put(config, "/session_settings/inactivity_timeout/duration_seconds", json!(0));
        });
        vendor.edit("/v1/environment", |environment| {
            put(environment, "/user_settings/sign_up/mfa/required", json!(false));
        });
        vendor.edit("/v1/instance", |instance| {
            if let Some(origins) = instance.pointer_mut("/allowed_origins").and_then(|origins| origins.as_array_mut()) {
                origins.insert(0, json!("https://lantern-books.evil.example"));
            }
        });
        // One click shows in two APIs.
        let platform = clerk::Clerk::config_path().replace("/config", "/jwt_templates");
        for templates in ["/v1/jwt_templates", &platform] {
            vendor.edit(templates, |templates| {
                let named = |template: &&mut Value| template.get("name") == Some(&json!("supabase"));
                for template in templates.as_array_mut().into_iter().flatten().filter(named) {
                    put(template, "/lifetime", json!(86_400));
                    put(template, "/claims/email", json!("{{user.primary_email_address}}"));
                }
            });
        }
        let refused =
            clerk::failure(403, "authorization_invalid", "You are not authorized to perform this request", &json!({}));
        vendor.fail("/v1/redirect_urls", refused);
    }

    async fn show_messages(&mut self) -> Result<(), CliError> {
        let mails = self.new_mails(1).await?;
        if let Some(mail) = mails.first() {
            self.say("The mail, as the server received it:")?;
            self.show_mail(mail)?;
        }
        let deliveries = self.sandbox.webhook.wait_for(self.webhooks + 1, sandbox::PATIENCE).await;
        let Some(delivery) = deliveries.as_ref().and_then(|deliveries| deliveries.last()) else {
            return Err(failed("the webhook did not arrive"));
        };
        self.webhooks += 1;
        let is_valid = matches!(delivery.signature, Signature::Valid);
        if !is_valid {
            return Err(failed("the webhook's signature is not valid"));
        }
        let body = delivery.json();
        self.say("The webhook, which the receiver checked against its secret (Standard Webhooks):")?;
        let text = |pointer: &str| body.pointer(pointer).map(ToString::to_string).unwrap_or_default();
        writeln!(self.out, "    webhook-id  {}", delivery.id().unwrap_or_default())?;
        writeln!(self.out, "    signature   valid")?;
        writeln!(self.out, "    type        {}", text("/type"))?;
        writeln!(self.out, "    instance    {}, severity {}", text("/data/instance"), text("/data/severity"))?;
        writeln!(self.out)?;
        Ok(())
    }

    async fn show_closing_mail(&mut self) -> Result<(), CliError> {
        let mails = self.new_mails(1).await?;
        let Some(mail) = mails.last() else { return Err(failed("the closing mail did not arrive")) };
        self.say("The closing mail, in the same thread:")?;
        self.show_mail(mail)
    }

    /// The mails that came since the last call, at least `least`.
    async fn new_mails(&mut self, least: usize) -> Result<Vec<Mail>, CliError> {
        let mails = self.sandbox.smtp.wait_for(self.mails + least, sandbox::PATIENCE).await;
        let mails = mails.ok_or_else(|| failed("a mail did not arrive"))?;
        let new = mails.get(self.mails..).unwrap_or_default().to_vec();
        self.mails = mails.len();
        Ok(new)
    }

    fn show_mail(&mut self, mail: &Mail) -> Result<(), CliError> {
        for name in ["From", "To", "Subject", "Message-ID", "In-Reply-To"] {
            if let Some(value) = mail.header(name) {
                writeln!(self.out, "  {DIM}│{DIM:#} {name}: {value}")?;
            }
        }
        writeln!(self.out, "  {DIM}│{DIM:#}")?;
        for line in mail.text().unwrap_or_default().trim_end().lines() {
            writeln!(self.out, "  {DIM}│{DIM:#} {line}")?;
        }
        writeln!(self.out)?;
        Ok(())
    }

    fn title(&mut self, text: &str) -> Result<(), CliError> {
        self.chapter += 1;
        writeln!(self.out)?;
        writeln!(self.out, "{BOLD}{}. {text}{BOLD:#}", self.chapter)?;
        Ok(())
    }

    fn say(&mut self, text: &str) -> Result<(), CliError> {
        for line in textwrap::wrap(text, 78) {
            writeln!(self.out, "{line}")?;
        }
        writeln!(self.out)?;
        self.out.flush()?;
        Ok(())
    }

    /// Runs a command as a person would, and makes sure that it ends as the story says.
    async fn command(&mut self, words: &[&str], expected: Exit) -> Result<(), CliError> {
        let shown: Vec<String> = words.iter().map(|word| sandbox::quoted(word, &self.sandbox.folder)).collect();
        writeln!(self.out, "{DIM}${DIM:#} {BOLD}authdrift {}{BOLD:#}", shown.join(" "))?;
        self.out.flush()?;
        let config = self.sandbox.config.display().to_string();
        // The demo's signatures do not belong in the log of signatures that the user keeps.
        let memory = self.sandbox.folder.join("signed.json").display().to_string();
        let memory = if words.first() == Some(&"approve") { &["--memory", &memory][..] } else { &[] };
        let line =
            ["authdrift", "--config", &config].into_iter().chain(words.iter().copied()).chain(memory.iter().copied());
        let arguments = Arguments::try_parse_from(line).map_err(|error| CliError::new(Exit::Internal, error))?;
        let exit = Box::pin(cli::run(&arguments, self.out)).await?;
        writeln!(self.out, "{DIM}(exit code {}){DIM:#}", exit as u8)?;
        writeln!(self.out)?;
        self.out.flush()?;
        if exit != expected {
            return Err(failed(&format!(
                "`authdrift {}` ended with {} instead of {}",
                shown.join(" "),
                exit as u8,
                expected as u8
            )));
        }
        Ok(())
    }

    /// Leaves mails and webhooks as files.
    fn save_messages(&self) -> Result<(), CliError> {
        for (number, mail) in self.sandbox.smtp.mails().iter().enumerate() {
            self.sandbox.save("mails", &format!("{}.eml", number + 1), &mail.raw)?;
            self.sandbox.save("mails", &format!("{}.html", number + 1), mail.html().unwrap_or_default().as_bytes())?;
        }
        for (number, delivery) in self.sandbox.webhook.deliveries().iter().enumerate() {
            self.sandbox.save("webhooks", &format!("{}.json", number + 1), &delivery.request.body)?;
        }
        Ok(())
    }

    fn say_goodbye(&mut self) -> Result<(), CliError> {
        let folder = self.sandbox.folder.display().to_string();
        writeln!(self.out)?;
        writeln!(self.out, "{BOLD}Look around{BOLD:#}")?;
        writeln!(self.out, "Everything is in {folder}")?;
        writeln!(self.out)?;
        let program = std::env::args().next().unwrap_or_else(|| "authdrift".to_owned());
        for (what, command) in [
            ("what happened, event by event", "history clerk:shop"),
            ("how everything stands", "status"),
            ("every signature and the whole history, checked", "verify"),
        ] {
            writeln!(self.out, "  {DIM}# {what}{DIM:#}")?;
            writeln!(self.out, "  {program} --config {folder}/config.toml {command}")?;
        }
        writeln!(self.out, "  {DIM}# the mails as pages{DIM:#}")?;
        writeln!(self.out, "  {folder}/mails/*.html")?;
        writeln!(self.out)?;
        writeln!(
            self.out,
            "Then watch your own: `{program} init` writes a configuration; config.example.toml explains every key."
        )?;
        self.out.flush()?;
        Ok(())
    }
}

/// Sets a field, or adds it to the object that `pointer` leads into.
fn put(document: &mut Value, pointer: &str, value: Value) {
    let Some((object, field)) = pointer.rsplit_once('/') else { return };
    if let Some(fields) = document.pointer_mut(object).and_then(Value::as_object_mut) {
        fields.insert(field.to_owned(), value);
    }
}

fn failed(what: &str) -> CliError {
    CliError::new(Exit::Internal, format!("the demo did not go as it has to: {what}"))
}
