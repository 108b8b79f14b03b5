//! Turns TOML text into a checked [`Config`], or into every problem at once.

use toml::de::DeTable;

use super::sources::Sources;
use super::toml_reader::{Problem, ProblemList, Problems, TomlReader};
use super::{Config, validate};

/// Reads and checks a configuration.
///
/// # Errors
/// [`Problems`] holds everything that is wrong: what the parser could not read, unknown keys, wrong types, bad values
/// and what does not go together. While some text cannot be read, keys that seem to be missing are left out.
///
/// # Security
/// The configuration holds references to secrets only. A secret written inline is refused, and neither it nor its
/// line is repeated.
pub fn parse(sources: &Sources<'_>) -> Result<Config, Problems> {
    parse_into(ProblemList::new(), sources)
}

/// As [`parse`], and beside the problems whatever could be read all the same: for `authdrift doctor`.
pub fn salvage(sources: &Sources<'_>) -> (Option<Config>, Option<Problems>) {
    let findings = ProblemList::new();
    let config = read_into(&findings, sources);
    let problems = (!findings.is_empty()).then(|| findings.into_problems(sources.file, sources.text));
    (config, problems)
}

pub(super) fn parse_into(findings: ProblemList, sources: &Sources<'_>) -> Result<Config, Problems> {
    match read_into(&findings, sources) {
        Some(config) if findings.is_empty() => Ok(config),
        _ => Err(findings.into_problems(sources.file, sources.text)),
    }
}

fn read_into(findings: &ProblemList, sources: &Sources<'_>) -> Option<Config> {
    let (table, errors) = DeTable::parse_recoverable(sources.text);
    for error in errors {
        let end = sources.text.len();
        let span = error.span().unwrap_or(end..end);
        findings.add(Problem::at(span, error.message()).unreadable());
    }
    let reader = TomlReader::of_file(table.get_ref(), sources.folder(), findings);
    validate::config(reader, sources)
}
