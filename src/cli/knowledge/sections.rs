//! `authdrift sections`: what can be read, and what this configuration reads of it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::output::{BOLD, Columns, DIM, PLAIN, terminal_width, write_json};
use crate::cli::{CliError, Context, RunCommand};
use crate::config::{Instance, NoInstance, NotRead, closest};
use crate::exit::Exit;
use crate::model::{Provider, counted, display_safe};
use crate::sections::{Depth, Section, Table};

/// Show which sections each vendor has, and which are read
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift sections             both vendors
  authdrift sections auth0       one vendor
  authdrift sections clerk:prod  the vendor of one instance

It needs no configuration. With one it shows which sections each instance reads, and why it does not read the others.")]
pub(crate) struct SectionsOptions {
    /// A vendor, clerk or auth0, or an instance [default: all]
    #[arg(value_name = "PROVIDER|INSTANCE")]
    of: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl RunCommand for SectionsOptions {
    async fn run(&self, file: Option<&Path>, out: &mut dyn Write) -> Result<Exit, CliError> {
        let context = Context::load_if_any(file)?;
        let (providers, instances) = chosen(context.as_ref(), self.of.as_deref())?;
        if self.json {
            let rows: Vec<Value> = providers.iter().flat_map(|provider| as_json(*provider, &instances)).collect();
            write_json(out, &json!({ "sections": rows }))?;
            return Ok(Exit::Ok);
        }
        for provider in providers {
            print(provider, &instances, out)?;
            writeln!(out)?;
        }
        writeln!(out, "A section is read in every cycle, unless its row says something else.")?;
        if instances.is_empty() {
            writeln!(out, "With a configuration (--config FILE) this also says which of them it reads.")?;
        }
        Ok(Exit::Ok)
    }
}

/// The vendors and instances that `name` selects.
fn chosen<'a>(
    context: Option<&'a Context>,
    name: Option<&str>,
) -> Result<(Vec<Provider>, Vec<&'a Instance>), CliError> {
    let all: Vec<&Instance> = context.iter().flat_map(|context| &context.config.instances).collect();
    let Some(name) = name else { return Ok((Provider::ALL.to_vec(), all)) };
    if let Some(provider) = Provider::ALL.into_iter().find(|provider| provider.as_str() == name) {
        return Ok((vec![provider], all));
    }
    let instance = match context.map(|context| context.config.instance(name)) {
        Some(Ok(instance)) => return Ok((vec![instance.id.provider], vec![instance])),
        Some(Err(error @ NoInstance::Ambiguous { .. })) => return Err(error.into()),
        Some(Err(NoInstance::Unknown { meant, .. })) => meant,
        None => None,
    };
    let ids: Vec<String> = all.iter().map(|instance| instance.id.to_string()).collect();
    let names = Provider::ALL.iter().map(|provider| provider.as_str()).chain(ids.iter().map(String::as_str));
    let meant = closest(name, names).map(str::to_owned).or(instance.map(|id| id.to_string()));
    let meant = meant.map(|meant| format!("; did you mean '{meant}'?")).unwrap_or_default();
    let message = format!("'{}' is neither a vendor nor an instance{meant}", display_safe(name));
    Err(CliError::new(Exit::Usage, message)
        .with_code("unknown-instance")
        .with_help("the vendors are clerk and auth0; instances need a configuration"))
}

fn print(provider: Provider, instances: &[&Instance], out: &mut dyn Write) -> Result<(), CliError> {
    let table = Table::of(provider);
    let instances: Vec<&Instance> =
        instances.iter().copied().filter(|instance| instance.id.provider == provider).collect();
    writeln!(out, "{BOLD}{provider}: {}{BOLD:#}", counted(table.sections().len(), "section"))?;
    let mut columns = Columns::new(0).within(terminal_width());
    match instances.is_empty() {
        true => columns.row(BOLD, ["SECTION", "WHAT"]),
        false => columns.row(BOLD, ["SECTION", "READ", "WHAT"]),
    }
    for section in table.sections() {
        let mut what = vec![section.holds.clone(), source(section)];
        if instances.is_empty() {
            columns.row(PLAIN, [section.name.clone(), what.join("\n")]);
            continue;
        }
        let refusals = refusals(&instances, section);
        what.extend(refusals.iter().map(|(why, ids)| format!("not by {}: {why}", ids.join(", "))));
        let (style, read) = match instances.len() - refusals.values().map(Vec::len).sum::<usize>() {
            0 => (DIM, "no".to_owned()),
            all if all == instances.len() => (PLAIN, "yes".to_owned()),
            some => (PLAIN, format!("{some} of {}", instances.len())),
        };
        columns.row(style, [section.name.clone(), read, what.join("\n")]);
    }
    columns.write(out)?;
    Ok(())
}

/// The reasons why `section` is not read, each with its instances.
fn refusals(instances: &[&Instance], section: &Section) -> BTreeMap<String, Vec<String>> {
    let mut reasons: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for instance in instances {
        if let Err(why) = instance.reads(section) {
            reasons.entry(why.to_string()).or_default().push(instance.id.to_string());
        }
    }
    reasons
}

/// The endpoint of a section, its scope, and its interval if it has one.
fn source(section: &Section) -> String {
    let mut parts = vec![section.path.clone(), section.needs()];
    if section.depth > Depth::default() {
        parts.push(format!("only with depth = \"{}\"", section.depth.as_str()));
    }
    parts.extend(section.every.map(|every| format!("every {}", humantime::format_duration(every))));
    parts.join(", ")
}

fn as_json(provider: Provider, instances: &[&Instance]) -> Vec<Value> {
    let of_instance = |instance: &Instance, section: &Section| {
        let refusal = instance.reads(section).err();
        json!({
            "instance": instance.id,
            "reads": refusal.is_none(),
            "reason": refusal.as_ref().map(NotRead::to_string),
        })
    };
    let of_section = |section: &Section| {
        let instances = instances.iter().filter(|instance| instance.id.provider == provider);
        json!({
            "provider": provider,
            "section": section.name,
            "endpoint": section.path,
            "needs": section.needs(),
            "holds": section.holds,
            "depth": section.depth.as_str(),
            "every_seconds": section.every.map(|every| every.as_secs()),
            "instances": instances.map(|instance| of_instance(instance, section)).collect::<Vec<_>>(),
        })
    };
    Table::of(provider).sections().iter().map(of_section).collect()
}
