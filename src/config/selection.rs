//! Reads what of an instance is read, and how fast: `depth`, `leave_out`, `rate`.

use std::collections::BTreeSet;

use super::toml_reader::{Problem, TomlReader};
use super::{Rate, Selection};
use crate::model::Provider;
use crate::sections::{Depth, Table};

/// Reads `depth` and `leave_out`.
pub(super) fn selection(table: &mut TomlReader<'_>, provider: Provider) -> Selection {
    let depths = Depth::ALL.map(Depth::as_str);
    let depth = table.word("depth", &depths).and_then(|word| Depth::from_word(word.value)).unwrap_or_default();
    let names: Vec<&'static str> = Table::of(provider).sections().iter().map(|section| &*section.name).collect();
    let leave_out: BTreeSet<String> = match table.has("leave_out") {
        true => table.words("leave_out", &names).unwrap_or_default().into_iter().map(str::to_owned).collect(),
        false => {
            // The key is known also when it is not there.
            table.value("leave_out");
            BTreeSet::new()
        }
    };
    if names.len() == leave_out.len() {
        let problem =
            Problem::at(table.key_place("leave_out"), "'leave_out' names every section: nothing is left to read");
        table.report(problem.help("remove the instance, or some of the names").up_to_place());
    }
    Selection { depth, leave_out }
}

/// Reads `rate`: a plan, or numbers.
pub(super) fn rate(table: &mut TomlReader<'_>) -> Option<Rate> {
    let value = table.value("rate")?;
    if value.get_ref().is_table() {
        let mut numbers = table.value_table(value, "'rate'")?;
        numbers.require("burst");
        numbers.require("per_minute");
        let (burst, per_minute) = (numbers.integer("burst", 1, 1_000), numbers.integer("per_minute", 1, 60_000));
        numbers.finish();
        let burst = u32::try_from(burst?.value).ok()?;
        return Some(Rate { burst, per_second: per_minute?.value as f64 / 60.0 });
    }
    if value.get_ref().as_str().is_none() {
        table.wrong_type("a plan like \"paid\", or { burst, per_minute }", value);
        return None;
    }
    let plan = table.word("rate", &["free", "paid", "enterprise"])?;
    // Published for the Management API in August 2026: 2 a second on Free, 150 a minute on the self-service plans, 16 a
    // second (2 in non-production) on Enterprise. The bucket is shared with the customer's own production code, so most
    // of it stays theirs.
    Some(match plan.value {
        "free" => Rate { burst: 1, per_second: 1.0 },
        "paid" => Rate { burst: 4, per_second: 2.0 },
        _ => Rate { burst: 10, per_second: 4.0 },
    })
}
