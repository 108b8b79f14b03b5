//! `authdrift explain`: what a path or a setting means.

mod words;

use std::io::Write;
use std::path::Path;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use crate::classify::{Catalogue, Setting, UNCLASSIFIED, Weaker, classify};
use crate::cli::context::Catalogues;
use crate::cli::knowledge::sections::needs;
use crate::cli::knowledge::settings::{catalogues, settings_of};
use crate::cli::output::{BOLD, Columns, PLAIN, count, severity_style, terminal_width, write_json};
use crate::cli::{CliError, RunCommand};
use crate::config::closest;
use crate::diff::{Change, ChangeKind};
use crate::exit::Exit;
use crate::model::{Category, Pattern, Pointer, Provider, Severity, Unit, display_safe, display_safe_sentence};
use crate::sections::{Section, Table};

/// Explain a path or a setting
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift explain /tenants.settings/session_lifetime  as alerts print it
  authdrift explain /jwt_templates/supabase/lifetime
  authdrift explain session-lifetime                    the id of a setting")]
pub(crate) struct ExplainOptions {
    /// A path, beginning with '/', or the id of a setting
    #[arg(value_name = "PATH|SETTING")]
    what: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The explanation of a path or a setting of one vendor.
#[derive(Debug, Serialize)]
struct Explanation {
    provider: Provider,
    path: Option<Pointer>,
    setting: String,
    title: String,
    why: String,
    category: Category,
    severity: Severity,
    weaker: Option<Weaker>,
    /// The rule in words.
    strength: Option<String>,
    unit: Option<Unit>,
    /// Every name of the setting.
    paths: Vec<Pattern>,
    sections: Vec<SettingSource>,
    /// How the value at the path is changed before it is compared.
    kept: Vec<String>,
    dashboard: Option<String>,
    event: Option<String>,
    criteria: Vec<String>,
    /// For a path without a catalogue entry: how many settings lie below it.
    below: usize,
    /// For a path without a catalogue entry: the most similar known path.
    did_you_mean: Option<Pattern>,
}

/// Where a setting comes from.
#[derive(Debug, Serialize)]
struct SettingSource {
    section: String,
    endpoint: String,
    needs: String,
}

impl RunCommand for ExplainOptions {
    async fn run(&self, file: Option<&Path>, out: &mut dyn Write) -> Result<Exit, CliError> {
        let catalogues = catalogues(file)?;
        let found = match self.what.parse::<Pointer>() {
            Ok(path) if !path.tokens().is_empty() => of_path(&path, &catalogues)?,
            _ => of_id(&self.what, &catalogues)?,
        };
        if self.json {
            write_json(out, &json!({ "explanations": found }))?;
            return Ok(Exit::Ok);
        }
        for (place, explanation) in found.iter().enumerate() {
            if place > 0 {
                writeln!(out)?;
            }
            print(explanation, out)?;
        }
        Ok(Exit::Ok)
    }
}

/// What a path means to each vendor that has its section.
fn of_path(path: &Pointer, catalogues: &Catalogues) -> Result<Vec<Explanation>, CliError> {
    let found: Vec<Explanation> = Provider::ALL
        .into_iter()
        .filter_map(|provider| {
            let section = Table::of(provider).section(path.section())?;
            Some(Explanation::of_path(provider, section, catalogues.of(provider), path))
        })
        .collect();
    if found.is_empty() {
        let meant = closest(path.section(), section_names()).map(|meant| {
            let rest = path.tokens().iter().skip(1);
            rest.fold(Pointer::of_section(meant), |path, token| path.child(token))
        });
        let meant = meant.map(|meant| format!("; did you mean '{}'?", display_safe(&meant.to_string())));
        let meant = meant.unwrap_or_default();
        let message = format!("no section is called '{}'{meant}", display_safe(path.section()));
        let error = CliError::new(Exit::Usage, message).with_code("unknown-section");
        return Err(error.with_help("`authdrift sections` lists them"));
    }
    Ok(found)
}

/// What a setting means to each vendor that has it. A user's own entry stands before the built-in one it overrides.
fn of_id(id: &str, catalogues: &Catalogues) -> Result<Vec<Explanation>, CliError> {
    let settings = || {
        Provider::ALL
            .into_iter()
            .flat_map(|provider| settings_of(catalogues.of(provider), provider).map(move |setting| (provider, setting)))
    };
    let found: Vec<Explanation> = settings()
        .filter(|(_, setting)| setting.id == id)
        .map(|(provider, setting)| Explanation::of_setting(provider, setting))
        .collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let section = id.split('/').next().unwrap_or_default();
    if section_names().any(|name| name == section) {
        let safe = display_safe(id);
        let message = format!("'{safe}' is not the id of a setting; did you mean the path '/{safe}'?");
        let error = CliError::new(Exit::Usage, message).with_code("unknown-setting");
        return Err(error.with_help("a path begins with '/'"));
    }
    let ids = settings().map(|(_, setting)| setting.id.as_str());
    Err(CliError::unknown("no setting is called", id, ids)
        .with_code("unknown-setting")
        .with_help("`authdrift settings WORD` searches them; a path begins with '/'"))
}

fn section_names() -> impl Iterator<Item = &'static str> {
    Provider::ALL.into_iter().flat_map(|provider| Table::of(provider).sections()).map(|section| section.name.as_str())
}

impl Explanation {
    fn of_setting(provider: Provider, setting: &Setting) -> Self {
        let sections = Table::of(provider).sections().iter();
        let has_path = |section: &&Section| setting.paths.iter().any(|pattern| pattern.is_in(&section.name));
        Self {
            provider,
            path: None,
            setting: setting.id.clone(),
            title: setting.title.clone(),
            why: setting.why.clone(),
            category: setting.category,
            severity: setting.severity,
            weaker: setting.weaker.clone(),
            strength: Some(words::strength(setting)),
            unit: setting.unit,
            paths: setting.paths.clone(),
            sections: sections.filter(has_path).map(SettingSource::of).collect(),
            kept: Vec::new(),
            dashboard: setting.dashboard.clone(),
            event: setting.event.clone(),
            criteria: setting.criteria.clone(),
            below: 0,
            did_you_mean: None,
        }
    }

    fn of_path(provider: Provider, section: &Section, catalogue: &Catalogue, path: &Pointer) -> Self {
        let kept = words::kept(Table::of(provider), section, path);
        // The words an alert would have.
        let drift = classify(catalogue, some_change(catalogue, path));
        if let Some(setting) = catalogue.setting_at(path) {
            let path = Some(path.clone());
            return Self { path, kept, title: drift.meaning.title, ..Self::of_setting(provider, setting) };
        }
        let below = below(provider, catalogue, path);
        let did_you_mean = if below == 0 { closest_path(provider, catalogue, path) } else { None };
        Self {
            provider,
            path: Some(path.clone()),
            setting: drift.meaning.setting,
            title: drift.meaning.title,
            why: drift.meaning.why,
            category: drift.meaning.category,
            severity: drift.meaning.severity,
            weaker: None,
            strength: None,
            unit: None,
            paths: Vec::new(),
            sections: vec![SettingSource::of(section)],
            kept,
            dashboard: None,
            event: None,
            criteria: Vec::new(),
            below,
            did_you_mean,
        }
    }
}

impl SettingSource {
    fn of(section: &Section) -> Self {
        Self { section: section.name.clone(), endpoint: section.path.clone(), needs: needs(section) }
    }
}

/// A change at `path` as it is reported; for a whole section without a catalogue entry, a change of its state.
fn some_change(catalogue: &Catalogue, path: &Pointer) -> Change {
    let is_state = path.tokens().len() == 1 && catalogue.setting_at(path).is_none();
    // Any values will do, as long as they are some.
    let state = |word: &str| if is_state { json!({ "state": word }) } else { json!(word) };
    Change {
        path: path.clone(),
        kind: ChangeKind::Changed,
        before: state("not_on_plan"),
        after: state("off"),
        is_member: false,
    }
}

/// How many settings lie below `path`.
fn below(provider: Provider, catalogue: &Catalogue, path: &Pointer) -> usize {
    let beginning = format!("{path}/");
    let is_below = |setting: &&Setting| setting.paths.iter().any(|known| known.to_string().starts_with(&beginning));
    settings_of(catalogue, provider).filter(is_below).count()
}

fn closest_path(provider: Provider, catalogue: &Catalogue, path: &Pointer) -> Option<Pattern> {
    let known: Vec<(String, &Pattern)> = settings_of(catalogue, provider)
        .flat_map(|setting| &setting.paths)
        .filter(|pattern| pattern.is_in(path.section()))
        .map(|pattern| (pattern.to_string(), pattern))
        .filter(|(text, _)| !text.contains('*'))
        .collect();
    let meant = closest(&path.to_string(), known.iter().map(|(text, _)| text.as_str()))?;
    known.iter().find(|(text, _)| text == meant).map(|(_, pattern)| (*pattern).clone())
}

fn print(explanation: &Explanation, out: &mut dyn Write) -> Result<(), CliError> {
    let style = severity_style(explanation.severity);
    let title = display_safe(&explanation.title);
    writeln!(out, "{BOLD}{title}{BOLD:#}")?;
    writeln!(out, "{style}{}{style:#}, {}, {}", explanation.severity, explanation.category, explanation.provider)?;
    writeln!(out)?;
    let mut why = Columns::new(2).within(terminal_width());
    why.row(PLAIN, [display_safe_sentence(&explanation.why)]);
    why.write(out)?;
    writeln!(out)?;

    let mut columns = Columns::new(2).within(terminal_width());
    let mut row = |name: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            columns.row(PLAIN, [name.to_owned(), lines.join("\n")]);
        }
    };
    let typed: Vec<String> = explanation.path.iter().map(|path| display_safe(&path.to_string())).collect();
    row("Path", typed.clone());
    row("Setting", vec![display_safe(&explanation.setting)]);
    row("Strength", explanation.strength.iter().cloned().collect());
    row("Unit", explanation.unit.iter().map(|unit| unit.to_string()).collect());
    let names: Vec<String> = explanation.paths.iter().map(|pattern| display_safe(&pattern.to_string())).collect();
    row("Names", if names == typed { Vec::new() } else { names });
    row(
        "Read at",
        explanation.sections.iter().map(|source| format!("{}, {}", source.endpoint, source.needs)).collect(),
    );
    row("Kept", explanation.kept.clone());
    row("Where", explanation.dashboard.iter().map(|place| display_safe(place)).collect());
    row("Log event", explanation.event.iter().map(|event| display_safe(event)).collect());
    row("SOC 2", Some(explanation.criteria.join(", ")).filter(|text| !text.is_empty()).into_iter().collect());
    columns.write(out)?;

    let Some(path) = &explanation.path else { return Ok(()) };
    if let Some(meant) = &explanation.did_you_mean {
        writeln!(out, "\nDid you mean {}?", display_safe(&meant.to_string()))?;
    }
    if explanation.below > 0 {
        let (settings, path) = (count(explanation.below, "known setting"), display_safe(&path.to_string()));
        writeln!(out, "\n{settings} below it: `authdrift settings {path}/`.")?;
        writeln!(out, "When it comes or goes whole, what matters most in it decides how severe that is.")?;
    } else if explanation.setting == UNCLASSIFIED {
        writeln!(out, "\n{}", words::how_to_describe(path))?;
    }
    Ok(())
}
