//! `authdrift settings`: what the catalogue knows, searched.

use std::io::Write;
use std::path::Path;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use crate::classify::{Catalogue, Setting};
use crate::cli::context::Catalogues;
use crate::cli::options::word;
use crate::cli::output::{BOLD, Columns, severity_style, terminal_width, write_json};
use crate::cli::{CliError, Context, RunCommand};
use crate::config::closest;
use crate::exit::Exit;
use crate::model::{Category, Provider, Severity, counted, display_safe};
use crate::sections::Table;

/// Search the catalogue of settings
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift settings mfa sign-up              settings with both words
  authdrift settings --severity critical      the most severe
  authdrift settings /tenants.settings/flags  settings below a path
  authdrift settings --provider clerk --category mfa

The words are searched in the id, the title, the explanation and the paths. If the configuration names a catalogue of \
your own, its entries are included.")]
pub(crate) struct SettingsOptions {
    /// Words that a setting must all have [default: all settings]
    #[arg(value_name = "WORD")]
    words: Vec<String>,
    /// Only of this vendor
    #[arg(long, value_name = "PROVIDER", value_parser = word(&Provider::ALL, Provider::as_str))]
    provider: Option<Provider>,
    /// Only of this category
    #[arg(long, value_name = "CATEGORY", value_parser = word(&Category::ALL, Category::as_str))]
    category: Option<Category>,
    /// Only of this severity
    #[arg(long, value_name = "SEVERITY", value_parser = word(&Severity::ALL, Severity::as_str))]
    severity: Option<Severity>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A setting of one vendor.
#[derive(Serialize)]
struct MatchingSetting<'a> {
    provider: Provider,
    #[serde(flatten)]
    setting: &'a Setting,
}

impl RunCommand for SettingsOptions {
    async fn run(&self, file: Option<&Path>, out: &mut dyn Write) -> Result<Exit, CliError> {
        let catalogues = catalogues(file)?;
        let words: Vec<String> = self.words.iter().map(|word| word.to_lowercase()).collect();
        let fits = |found: &MatchingSetting<'_>| {
            self.provider.is_none_or(|provider| provider == found.provider)
                && self.category.is_none_or(|category| category == found.setting.category)
                && self.severity.is_none_or(|severity| severity == found.setting.severity)
                && has_words(found.setting, &words)
        };
        let found: Vec<MatchingSetting<'_>> = all(&catalogues).filter(fits).collect();
        if self.json {
            write_json(out, &json!({ "settings": found }))?;
        } else if found.is_empty() {
            writeln!(out, "No setting fits.{}", did_you_mean(&words, &catalogues))?;
        } else {
            print(&found, &words, out)?;
        }
        Ok(Exit::Ok)
    }
}

/// The catalogues, with the user's own entries if there is a configuration that names some.
pub(in crate::cli) fn catalogues(file: Option<&Path>) -> Result<Catalogues, CliError> {
    match Context::load_if_any(file)? {
        Some(context) => Ok(context.catalogues),
        None => Catalogues::load(None),
    }
}

/// The settings of a vendor: the user's own file has those of both.
pub(in crate::cli) fn settings_of(catalogue: &Catalogue, provider: Provider) -> impl Iterator<Item = &Setting> {
    let sections = Table::of(provider).sections();
    catalogue.settings().iter().filter(move |setting| {
        setting.paths.iter().any(|pattern| sections.iter().any(|section| pattern.is_in(&section.name)))
    })
}

fn all(catalogues: &Catalogues) -> impl Iterator<Item = MatchingSetting<'_>> {
    Provider::ALL.into_iter().flat_map(|provider| {
        settings_of(catalogues.of(provider), provider).map(move |setting| MatchingSetting { provider, setting })
    })
}

fn has_words(setting: &Setting, words: &[String]) -> bool {
    let mut text = format!("{}\n{}\n{}", setting.id, setting.title, setting.why);
    for path in &setting.paths {
        text.push_str(&format!("\n{path}"));
    }
    let text = text.to_lowercase();
    words.iter().all(|word| text.contains(word))
}

fn print(found: &[MatchingSetting<'_>], words: &[String], out: &mut dyn Write) -> Result<(), CliError> {
    for provider in Provider::ALL {
        let settings: Vec<&Setting> =
            found.iter().filter(|found| found.provider == provider).map(|found| found.setting).collect();
        if settings.is_empty() {
            continue;
        }
        writeln!(out, "{BOLD}{provider}: {}{BOLD:#}", counted(settings.len(), "setting"))?;
        let mut columns = Columns::new(0).within(terminal_width());
        columns.row(BOLD, ["SEVERITY", "SETTING", "CATEGORY", "WHAT"]);
        for setting in settings {
            columns.row(
                severity_style(setting.severity),
                [
                    setting.severity.to_string(),
                    display_safe(&setting.id),
                    setting.category.to_string(),
                    format!("{}\n{}", display_safe(&setting.title), path_words(setting, words)),
                ],
            );
        }
        columns.write(out)?;
        writeln!(out)?;
    }
    writeln!(out, "`authdrift explain SETTING` shows one in full.")?;
    Ok(())
}

/// One path, if possible one that has a searched word, and the number of the others.
fn path_words(setting: &Setting, words: &[String]) -> String {
    let paths: Vec<String> = setting.paths.iter().map(|path| display_safe(&path.to_string())).collect();
    let is_wanted = |path: &&String| words.iter().any(|word| path.to_lowercase().contains(word));
    let shown = paths.iter().find(is_wanted).or(paths.first()).cloned().unwrap_or_default();
    match paths.len() {
        0 | 1 => shown,
        several => format!("{shown} (+{})", counted(several - 1, "path")),
    }
}

/// The most similar id, or word of an id, for a word that no setting has.
fn did_you_mean(words: &[String], catalogues: &Catalogues) -> String {
    let unknown = words.iter().find(|word| !all(catalogues).any(|found| has_words(found.setting, &[(*word).clone()])));
    let Some(unknown) = unknown else { return String::new() };
    let ids: Vec<&str> = all(catalogues).map(|found| found.setting.id.as_str()).collect();
    let parts = ids.iter().flat_map(|id| id.split('-'));
    let meant = closest(unknown, ids.iter().copied()).or_else(|| closest(unknown, parts));
    let meant = meant.map(|meant| format!(" Did you mean '{}'?", display_safe(meant))).unwrap_or_default();
    format!(" None has '{}'.{meant}", display_safe(unknown))
}
