//! `authdrift explain`: what a path or a setting means.

mod words;

use std::io::Write;
use std::path::Path;

use clap::Args;
use serde_json::{Value, json};

use crate::classify::{Catalogue, ChangeMeaning, Setting, UNCLASSIFIED, classify};
use crate::cli::context::Catalogues;
use crate::cli::knowledge::settings::{catalogues, settings_of};
use crate::cli::output::{BOLD, Columns, PLAIN, severity_style, terminal_width, write_json};
use crate::cli::{CliError, RunCommand};
use crate::config::closest;
use crate::diff::{Change, ChangeKind};
use crate::exit::Exit;
use crate::model::{Pattern, Pointer, Provider, counted, display_safe, display_safe_sentence};
use crate::sections::{Section, Table};

/// Explain a path or a setting
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift explain /tenants.settings/session_lifetime  a path from an alert
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
struct Explanation {
    provider: Provider,
    path: Option<Pointer>,
    /// The setting; for a path without a catalogue entry, what an alert says of it.
    setting: Setting,
    /// The rule in words, if the catalogue has one.
    strength: Option<String>,
    /// Where the setting is read.
    sections: Vec<&'static Section>,
    /// How the value at the path is changed before it is compared.
    kept: Vec<String>,
    /// For a path without a catalogue entry: how many settings lie below it.
    below: usize,
    /// For a path without a catalogue entry: the most similar known path.
    did_you_mean: Option<Pattern>,
}

impl RunCommand for ExplainOptions {
    async fn run(&self, file: Option<&Path>, out: &mut dyn Write) -> Result<Exit, CliError> {
        let catalogues = catalogues(file)?;
        let found = match self.what.parse::<Pointer>() {
            Ok(path) if !path.tokens().is_empty() => of_path(&path, &catalogues)?,
            _ => of_id(&self.what, &catalogues)?,
        };
        if self.json {
            write_json(out, &json!({ "explanations": found.iter().map(Explanation::as_json).collect::<Vec<_>>() }))?;
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
            setting: setting.clone(),
            strength: Some(words::strength(setting)),
            sections: sections.filter(has_path).collect(),
            kept: Vec::new(),
            below: 0,
            did_you_mean: None,
        }
    }

    fn of_path(provider: Provider, section: &'static Section, catalogue: &Catalogue, path: &Pointer) -> Self {
        let kept = words::kept(Table::of(provider), section, path);
        // The words an alert would have.
        let ChangeMeaning { setting, title, why, category, severity, .. } =
            classify(catalogue, some_change(catalogue, path)).meaning;
        if let Some(known) = catalogue.setting_at(path) {
            let known = Setting { title, ..known.clone() };
            return Self { path: Some(path.clone()), kept, ..Self::of_setting(provider, &known) };
        }
        let setting = Setting {
            id: setting,
            title,
            why,
            category,
            severity,
            paths: Vec::new(),
            weaker: None,
            zero: None,
            unit: None,
            criteria: Vec::new(),
            dashboard: None,
            event: None,
        };
        let below = below(provider, catalogue, path);
        let did_you_mean = if below == 0 { closest_path(provider, catalogue, path) } else { None };
        let (path, sections) = (Some(path.clone()), vec![section]);
        Self { provider, path, setting, strength: None, sections, kept, below, did_you_mean }
    }

    fn as_json(&self) -> Value {
        let Self { provider, path, setting, strength, sections, kept, below, did_you_mean } = self;
        let source =
            |section: &&Section| json!({ "section": section.name, "endpoint": section.path, "needs": section.needs() });
        json!({
            "provider": provider, "path": path, "setting": setting.id, "title": setting.title, "why": setting.why,
            "category": setting.category, "severity": setting.severity, "weaker": setting.weaker, "strength": strength,
            "unit": setting.unit, "paths": setting.paths, "sections": sections.iter().map(source).collect::<Vec<_>>(),
            "kept": kept, "dashboard": setting.dashboard, "event": setting.event, "criteria": setting.criteria,
            "below": below, "did_you_mean": did_you_mean,
        })
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
    let setting = &explanation.setting;
    let style = severity_style(setting.severity);
    let title = display_safe(&setting.title);
    writeln!(out, "{BOLD}{title}{BOLD:#}")?;
    writeln!(out, "{style}{}{style:#}, {}, {}", setting.severity, setting.category, explanation.provider)?;
    writeln!(out)?;
    let mut why = Columns::new(2).within(terminal_width());
    why.row(PLAIN, [display_safe_sentence(&setting.why)]);
    why.write(out)?;
    writeln!(out)?;

    let mut columns = Columns::new(2).within(terminal_width());
    let mut row = |name: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            columns.row(PLAIN, [name.to_owned(), lines.join("\n")]);
        }
    };
    let one = |text: &Option<String>| text.iter().map(|text| display_safe(text)).collect::<Vec<_>>();
    let typed: Vec<String> = explanation.path.iter().map(|path| display_safe(&path.to_string())).collect();
    row("Path", typed.clone());
    row("Setting", vec![display_safe(&setting.id)]);
    row("Strength", explanation.strength.iter().cloned().collect());
    row("Unit", setting.unit.iter().map(|unit| unit.to_string()).collect());
    let names: Vec<String> = setting.paths.iter().map(|pattern| display_safe(&pattern.to_string())).collect();
    row("Names", if names == typed { Vec::new() } else { names });
    let source = |section: &&Section| format!("{}, {}", section.path, section.needs());
    row("Read at", explanation.sections.iter().map(source).collect());
    row("Kept", explanation.kept.clone());
    row("Where", one(&setting.dashboard));
    row("Log event", one(&setting.event));
    row("SOC 2", Some(setting.criteria.join(", ")).filter(|text| !text.is_empty()).into_iter().collect());
    columns.write(out)?;

    let Some(path) = &explanation.path else { return Ok(()) };
    if let Some(meant) = &explanation.did_you_mean {
        writeln!(out, "\nDid you mean {}?", display_safe(&meant.to_string()))?;
    }
    if explanation.below > 0 {
        let (settings, path) = (counted(explanation.below, "known setting"), display_safe(&path.to_string()));
        writeln!(out, "\n{settings} below it: `authdrift settings {path}/`.")?;
        writeln!(out, "When it comes or goes whole, what matters most in it decides how severe that is.")?;
    } else if setting.id == UNCLASSIFIED {
        writeln!(out, "\n{}", words::how_to_describe(path))?;
    }
    Ok(())
}
