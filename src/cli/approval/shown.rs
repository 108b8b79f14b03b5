//! What an approver sees before signing. All of it comes from what is signed and from the documents whose digests are
//! signed.

use std::io::Write;

use serde_json::Value;

use crate::approval::Proposal;
use crate::classify::{Catalogue, Finding};
use crate::cli::CliError;
use crate::cli::output::{Columns, DIM, change_words, severity_style};
use crate::diff::ChangeKind;
use crate::message::values;
use crate::model::{Pointer, Severity, State, counted, display_safe, display_safe_to, display_safe_whole};

/// The characters of a value that are shown without `--full`.
const LONGEST: usize = 2_000;
/// Characters of a value that still fit on the line of its change.
const SHORT: usize = 120;
/// Settings at their weakest value that are listed without `--full`, of severity high and critical.
const MOST_WEAKEST: usize = 20;

/// Everything that would be signed: the changes since the baseline before, or the whole of it.
pub(super) struct ShownProposal<'a> {
    pub(super) proposal: &'a Proposal,
    catalogue: &'a Catalogue,
    /// The changes since the baseline before.
    pub(super) drifts: Vec<Finding>,
    /// The settings at their weakest value.
    pub(super) weakest: Vec<Finding>,
    pub(super) is_full: bool,
}

impl<'a> ShownProposal<'a> {
    pub(super) fn new(proposal: &'a Proposal, catalogue: &'a Catalogue, is_full: bool) -> Self {
        let (drifts, weakest) = (proposal.drifts(catalogue), proposal.weakest(catalogue));
        Self { proposal, catalogue, drifts, weakest, is_full }
    }

    /// Prints each difference on a line, with long values below it.
    pub(super) fn changes(&self, out: &mut dyn Write) -> Result<(), CliError> {
        let mut columns = Columns::new(2);
        let mut left_out = 0;
        for drift in &self.drifts {
            let (lines, left) = self.details(drift);
            left_out += left;
            let text = [vec![change_words(drift)], lines].concat().join("\n");
            columns.row(
                severity_style(drift.meaning.severity),
                [drift.meaning.severity.as_str(), drift.meaning.direction.as_str(), &drift.meaning.title, &text],
            );
        }
        columns.write(out)?;
        if left_out > 0 {
            writeln!(
                out,
                "  {DIM}{} not shown, or not to the end: --full shows all{DIM:#}",
                counted(left_out, "value")
            )?;
        }
        Ok(())
    }

    /// Prints every section and every value of it.
    pub(super) fn everything(&self, out: &mut dyn Write) -> Result<(), CliError> {
        for (section, state, document) in self.proposal.sections() {
            let section = Pointer::of_section(section);
            writeln!(out, "  {}  {state}", display_safe_whole(&section.to_string()))?;
            for (path, value) in document.map(|value| leaves(&section, value)).unwrap_or_default() {
                let path = display_safe_whole(&path.to_string());
                writeln!(out, "    {path}  {}", display_safe_whole(&value.to_string()))?;
            }
        }
        Ok(())
    }

    /// Prints what no change says: the settings at their weakest value where nothing is compared, the sections and objects that
    /// are not watched, and what is approved for a time.
    pub(super) fn rest(&self, with_sections: bool, out: &mut dyn Write) -> Result<(), CliError> {
        if self.proposal.previous.is_none() && !self.weakest.is_empty() {
            self.list_weakest(out)?;
        }
        if with_sections {
            for (section, before, after) in self.proposal.section_changes() {
                let words = |state: Option<State>| state.map_or("not held", State::as_str);
                writeln!(out, "  section {}: {} -> {}", display_safe(section), words(before), words(after))?;
            }
            list_unwatched(self.proposal.unwatched(), out)?;
        }
        let unusable = self.proposal.unusable();
        if !unusable.is_empty() {
            let places = counted(unusable.len(), "place");
            writeln!(out, "{places} with objects that cannot be used. Approving accepts that they are not watched:")?;
        }
        for (place, reason) in unusable {
            writeln!(out, "  {} ({})", display_safe_whole(&place.to_string()), display_safe(&reason))?;
        }
        let path = |path: &Pointer| display_safe_whole(&path.to_string());
        for (place, end) in &self.proposal.subject.until {
            writeln!(out, "  for a time: {} until {end}", path(place))?;
        }
        for (place, end) in self.proposal.prolonged() {
            writeln!(out, "  for longer, or for good: {}, which was approved until {end}", path(place))?;
        }
        Ok(())
    }

    fn list_weakest(&self, out: &mut dyn Write) -> Result<(), CliError> {
        let weakest = &self.weakest;
        writeln!(out, "{} at the weakest value:", counted(weakest.len(), "setting"))?;
        let grave = weakest.iter().filter(|drift| drift.meaning.severity >= Severity::High).count();
        let shown = if self.is_full { weakest.len() } else { grave.min(MOST_WEAKEST) };
        for drift in weakest.iter().take(shown) {
            let style = severity_style(drift.meaning.severity);
            writeln!(out, "  {style}{}{style:#}", at_its_weakest(drift))?;
        }
        if weakest.len() > shown {
            writeln!(out, "  {DIM}and {} more: --full lists them{DIM:#}", weakest.len() - shown)?;
        }
        Ok(())
    }

    /// The lines below a change, and how many values they leave out or cut.
    fn details(&self, drift: &Finding) -> (Vec<String>, usize) {
        let change = &drift.change;
        let mut cut = 0;
        let mut exact = |value: &Value| {
            let text = value.to_string();
            if self.is_full || text.chars().count() <= LONGEST {
                return display_safe_whole(&text);
            }
            cut += 1;
            display_safe_to(&text, LONGEST)
        };
        let object = match change.kind {
            ChangeKind::Added => Some(&change.after),
            ChangeKind::Removed => Some(&change.before),
            ChangeKind::Changed | ChangeKind::Reordered => None,
        };
        if let Some(object @ Value::Object(_)) = object {
            let all = leaves(&change.path, object);
            let number = all.len();
            let matters = |path: &Pointer, value: &Value| {
                let severity = self.catalogue.setting_at(path).map_or(Severity::Medium, |setting| setting.severity);
                self.is_full || (severity >= Severity::Medium && !value.is_null())
            };
            let shown: Vec<String> = all
                .into_iter()
                .filter(|(path, value)| matters(path, value))
                .map(|(path, value)| format!("{}  {}", below(&change.path, &path), exact(value)))
                .collect();
            let left = number - shown.len();
            return (shown, left + cut);
        }
        let is_long = |value: &Value| value.to_string().chars().count() > SHORT;
        if self.is_full || is_long(&change.before) || is_long(&change.after) {
            let mut lines = vec![display_safe_whole(&change.path.to_string())];
            lines.push(format!("was  {}", exact(&change.before)));
            lines.push(format!("is   {}", exact(&change.after)));
            return (lines, cut);
        }
        (Vec::new(), 0)
    }
}

/// Prints which sections are not watched, because they cannot be read: name, state and reason.
pub(super) fn list_unwatched(sections: Vec<(&str, State, &str)>, out: &mut dyn Write) -> Result<(), CliError> {
    if !sections.is_empty() {
        let number = counted(sections.len(), "section");
        writeln!(out, "{number} cannot be read. Approving says in the statement that they are not watched:")?;
    }
    for (section, state, reason) in sections {
        let reason = if reason.is_empty() { String::new() } else { format!(": {}", display_safe(reason)) };
        writeln!(out, "  {} ({state}{reason})", display_safe(section))?;
    }
    Ok(())
}

fn below(object: &Pointer, path: &Pointer) -> String {
    let tokens = path.tokens().get(object.tokens().len()..).unwrap_or_default();
    let rest = tokens.iter().fold(Pointer::default(), |place, token| place.child(token));
    display_safe_whole(&rest.to_string())
}

/// Every value below `path` that has none below itself. A list is one value.
fn leaves<'a>(path: &Pointer, value: &'a Value) -> Vec<(Pointer, &'a Value)> {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            fields.iter().flat_map(|(key, field)| leaves(&path.child(key), field)).collect()
        }
        _ => vec![(path.clone(), value)],
    }
}

/// One drift in one line.
pub(super) fn choice(drift: &Finding) -> String {
    choice_at(drift, 1)
}

/// One drift in one line, with the number of its paths before the values: the end of a long line is cut off.
pub(super) fn choice_at(drift: &Finding, paths: usize) -> String {
    let paths = if paths > 1 { format!(" ({paths} paths)") } else { String::new() };
    format!(
        "{} {}: {}{paths}  {}",
        drift.meaning.severity,
        drift.meaning.direction,
        drift.meaning.title,
        change_words(drift)
    )
}

/// One setting at its weakest value, in one line.
pub(super) fn at_its_weakest(drift: &Finding) -> String {
    format!(
        "{}: {}  {}",
        drift.meaning.severity,
        drift.meaning.title,
        values::show(&drift.change.after, drift.meaning.unit)
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_is_one_value_and_an_object_is_its_values() {
        let value = json!({ "callbacks": ["https://a.example", "*"], "jwt": { "alg": "none" }, "empty": {} });
        let found = leaves(&"/clients/abc".parse().unwrap(), &value);
        let found: Vec<_> = found.iter().map(|(path, value)| format!("{path} {value}")).collect();
        let expected = [
            "/clients/abc/callbacks [\"https://a.example\",\"*\"]",
            "/clients/abc/empty {}",
            "/clients/abc/jwt/alg \"none\"",
        ];
        assert_eq!(found, expected);
    }
}
