//! The OpenSSH file that says whose keys may approve, read strictly.
//!
//! Everything this reader takes means the same to `ssh-keygen -Y verify`; the reverse is not so. Patterns, names outside
//! ASCII, what cannot be seen, certificate authorities, local times, keys we do not verify and options we do not know refuse
//! the whole file: half a policy is not a policy. A line without `namespaces` counts for every namespace, as with OpenSSH.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, Utc};

use super::sshsig::{BadKey, PublicKey};
use super::statement::NAMESPACE;
use crate::clock::written;
use crate::model::display_safe_sentence;

/// Who may approve, with which keys, and when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedSigners {
    entries: Vec<SignerEntry>,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SignerEntry {
    principals: Vec<String>,
    options: Options,
    key: PublicKey,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Options {
    /// `None`: every namespace, as OpenSSH has it.
    namespaces: Option<Vec<String>>,
    valid_after: Option<DateTime<Utc>>,
    valid_before: Option<DateTime<Utc>>,
}

/// One key that may approve.
#[derive(Debug, Clone, Copy)]
pub struct Signer<'a> {
    /// In whose name, at least one.
    pub principals: &'a [String],
    /// The key.
    pub key: &'a PublicKey,
    /// From when on.
    pub valid_after: Option<DateTime<Utc>>,
    /// Until when.
    pub valid_before: Option<DateTime<Utc>>,
}

/// Why a key may not approve for a principal at a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WhyNot {
    /// No line has this principal with this key.
    #[error("no line of the allowed signers has this principal with this key")]
    Unknown,
    /// The lines that have them are for other namespaces.
    #[error("its line does not permit the namespace '{NAMESPACE}'")]
    OtherNamespace,
    /// Too early.
    #[error("the key is valid from {}", written(*.0))]
    NotYetValid(DateTime<Utc>),
    /// Too late.
    #[error("the key was valid until {}", written(*.0))]
    Expired(DateTime<Utc>),
}

impl AllowedSigners {
    /// Reads an allowed signers file.
    ///
    /// # Errors
    /// As [`AllowedSigners::parse`]; and a line is not UTF-8.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadSigners> {
        match str::from_utf8(bytes) {
            Ok(text) => Self::parse(text),
            Err(error) => {
                let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
                let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
                Err(BadSigners { line, reason: "it is not UTF-8; save the file as UTF-8".to_owned() })
            }
        }
    }

    /// Reads the text of an allowed signers file.
    ///
    /// # Errors
    /// The first line that is not understood completely, with its number and what to do.
    pub fn parse(text: &str) -> Result<Self, BadSigners> {
        check_bytes(text)?;
        let mut entries = Vec::new();
        for (line, content) in content_lines(text) {
            entries.push(parse_entry(content).map_err(|reason| BadSigners { line, reason })?);
        }
        Ok(Self { entries })
    }

    /// The principals that may approve baselines with `key`, each once, whatever the time. Validity is not asked.
    pub fn principals_of(&self, key: &PublicKey) -> Vec<&str> {
        let mut principals = BTreeSet::new();
        for entry in self.entries.iter().filter(|entry| entry.key == *key && entry.permits_baselines()) {
            principals.extend(entry.principals.iter().map(String::as_str));
        }
        principals.into_iter().collect()
    }

    /// Checks that `principal` might approve a baseline with `key` at `at`: one line that says so is enough.
    ///
    /// # Errors
    /// The nearest miss of all lines.
    pub fn check(&self, principal: &str, key: &PublicKey, at: DateTime<Utc>) -> Result<(), WhyNot> {
        let mut nearest = WhyNot::Unknown;
        for entry in self.entries.iter().filter(|entry| entry.key == *key && entry.has(principal)) {
            if !entry.permits_baselines() {
                if nearest == WhyNot::Unknown {
                    nearest = WhyNot::OtherNamespace;
                }
                continue;
            }
            let options = &entry.options;
            nearest = match (options.valid_after, options.valid_before) {
                (Some(start), _) if at < start => WhyNot::NotYetValid(start),
                // To the second as OpenSSH has it: the end itself is still in.
                (_, Some(end)) if at > end => WhyNot::Expired(end),
                _ => return Ok(()),
            };
        }
        Err(nearest)
    }

    /// Every key that may approve baselines, with its names and the time in which it may; lines for other purposes are left
    /// out.
    pub fn signers(&self) -> impl Iterator<Item = Signer<'_>> {
        self.entries.iter().filter(|entry| entry.permits_baselines()).map(|entry| Signer {
            principals: &entry.principals,
            key: &entry.key,
            valid_after: entry.options.valid_after,
            valid_before: entry.options.valid_before,
        })
    }

    /// The name under which `principal` counts towards a threshold: the first, in alphabetical order, of all
    /// principals that are connected with it by a shared key, or are the same but for capitals.
    ///
    /// # Security
    /// `alice@example.test,alice@corp.test KEY` is one person with two names, and so are `alice` and `Alice`. Counting
    /// names would let her alone be two approvers.
    pub fn person_of<'a>(&'a self, principal: &'a str) -> &'a str {
        let mut names = BTreeSet::from([principal]);
        loop {
            let is_of_these = |name: &String| names.iter().any(|known| known.eq_ignore_ascii_case(name));
            let of_these = |entry: &&SignerEntry| entry.principals.iter().any(is_of_these);
            let keys: BTreeSet<&PublicKey> = self.entries.iter().filter(of_these).map(|entry| &entry.key).collect();
            let mut wider = names.clone();
            for entry in self.entries.iter().filter(|entry| keys.contains(&entry.key)) {
                wider.extend(entry.principals.iter().map(String::as_str));
            }
            let all = self.entries.iter().flat_map(|entry| &entry.principals);
            wider.extend(all.filter(|name| is_of_these(name)).map(String::as_str));
            if wider.len() == names.len() {
                return names.first().copied().unwrap_or(principal);
            }
            names = wider;
        }
    }
}

impl SignerEntry {
    fn has(&self, principal: &str) -> bool {
        self.principals.iter().any(|name| name == principal)
    }

    fn permits_baselines(&self) -> bool {
        self.options.namespaces.as_ref().is_none_or(|names| names.iter().any(|name| name == NAMESPACE))
    }
}

/// A line of a key file that is refused, and with it the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {}", display_safe_sentence(.reason))]
pub struct BadSigners {
    /// Counted from 1.
    pub line: usize,
    /// The problem, and the text to write instead.
    pub reason: String,
}

/// Refuses a byte order mark, and control characters anywhere: OpenSSH reads a line to its first NUL, a mark becomes part of
/// the first name, and both cannot be seen.
pub(super) fn check_bytes(text: &str) -> Result<(), BadSigners> {
    if text.starts_with('\u{feff}') {
        let reason = "the file begins with a byte order mark (U+FEFF), which becomes part of the first line; save it as \
                      UTF-8 without one";
        return Err(BadSigners { line: 1, reason: reason.to_owned() });
    }
    for (index, line) in text.lines().enumerate() {
        if let Some(found) = line.chars().find(|character| character.is_control() && *character != '\t') {
            let reason = format!("the line has control characters (U+{:04X}); remove them", u32::from(found));
            return Err(BadSigners { line: index + 1, reason });
        }
    }
    Ok(())
}

/// The lines with content and their numbers, without the blanks around them.
pub(super) fn content_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let trimmed = |(index, line): (usize, _)| (index + 1, str::trim_matches(line, [' ', '\t']));
    text.lines().enumerate().map(trimmed).filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

fn parse_entry(line: &str) -> Result<SignerEntry, String> {
    let (principals, rest) = split_field(line)?;
    let principals = parse_names("principal", principals)?;
    let (second, after_second) = split_field(rest)?;
    let (options, key) =
        if is_options(second) { (parse_options(second)?, after_second) } else { (Options::default(), rest) };
    let key = PublicKey::parse_openssh_line(key).map_err(|error| match error {
        BadKey::NotAKey => "expected 'PRINCIPALS [OPTIONS] KEYTYPE BASE64'".to_owned(),
        refused @ (BadKey::UnsupportedType(_) | BadKey::WrongLength(_)) => refused.to_string(),
    })?;
    Ok(SignerEntry { principals, options, key })
}

/// Splits off the text before the first blank that is not in double quotes.
fn split_field(line: &str) -> Result<(&str, &str), String> {
    let mut is_quoted = false;
    for (at, character) in line.char_indices() {
        match character {
            '"' => is_quoted = !is_quoted,
            ' ' | '\t' if !is_quoted => {
                let (field, rest) = line.split_at(at);
                return Ok((field, rest.trim_start_matches([' ', '\t'])));
            }
            _ => {}
        }
    }
    if is_quoted { Err("a double quote is not closed".to_owned()) } else { Ok((line, "")) }
}

/// Characters of one name. OpenSSH gives up on a list with one of 1,023 or more, without a word.
const LONGEST_NAME: usize = 1_000;

/// Names separated by commas. OpenSSH would take patterns; who may approve must be readable without running them.
fn parse_names(what: &str, list: &str) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    for name in list.split(',') {
        if name.is_empty() {
            return Err(format!("there is an empty {what}"));
        }
        if name.chars().count() > LONGEST_NAME {
            return Err(format!("a {what} is longer than {LONGEST_NAME} characters"));
        }
        if let Some(odd) = name.chars().find(|character| !character.is_ascii_graphic()) {
            let code = u32::from(odd);
            return Err(format!(
                "{what} '{name}' has a character outside printable ASCII (U+{code:04X}); two names that look the same would be two people"
            ));
        }
        if name.contains(['*', '?', '!', '"', '\\']) {
            return Err(format!("{what} '{name}' is a pattern or quoted; write every {what} out"));
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

fn is_options(field: &str) -> bool {
    let first = field.split(['=', ',']).next().unwrap_or_default().to_ascii_lowercase();
    field.contains('=') || matches!(first.as_str(), "cert-authority" | "namespaces" | "valid-after" | "valid-before")
}

fn parse_options(field: &str) -> Result<Options, String> {
    let mut options = Options::default();
    let mut rest = field;
    loop {
        let (name, after_name) = rest.split_once("=\"").unwrap_or((rest, ""));
        let known = name.to_ascii_lowercase();
        if !matches!(known.as_str(), "namespaces" | "valid-after" | "valid-before") {
            let first = name.split([',', '=']).next().unwrap_or_default();
            return Err(match first.to_ascii_lowercase().as_str() {
                "cert-authority" => {
                    "certificate authorities are not supported; list the approvers' own keys".to_owned()
                }
                "namespaces" | "valid-after" | "valid-before" => {
                    format!("option '{first}' needs a value in double quotes")
                }
                _ => format!("option '{first}' is not known; known are namespaces, valid-after and valid-before"),
            });
        }
        let (value, after_value) =
            after_name.split_once('"').ok_or_else(|| format!("option '{name}' needs a value in double quotes"))?;
        let is_repeated = match known.as_str() {
            "namespaces" => options.namespaces.replace(parse_names("namespace", value)?).is_some(),
            "valid-after" => options.valid_after.replace(parse_time(value)?).is_some(),
            _ => options.valid_before.replace(parse_time(value)?).is_some(),
        };
        if is_repeated {
            return Err(format!("option '{name}' is given twice"));
        }
        if after_value.is_empty() {
            break;
        }
        rest = after_value.strip_prefix(',').ok_or_else(|| format!("expected a comma after option '{name}'"))?;
    }
    if let (Some(start), Some(end)) = (options.valid_after, options.valid_before)
        && end <= start
    {
        return Err("valid-before is not after valid-after".to_owned());
    }
    Ok(options)
}

/// `YYYYMMDD[HHMM[SS]]Z`.
fn parse_time(text: &str) -> Result<DateTime<Utc>, String> {
    let malformed = || format!("'{text}' is not a time of the form YYYYMMDD[HHMM[SS]]Z");
    let digits = text.strip_suffix('Z').unwrap_or(text);
    if !matches!(digits.len(), 8 | 12 | 14) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(malformed());
    }
    if digits == text {
        // OpenSSH would take the time zone of the machine, and two machines would disagree about an approval.
        return Err(format!("time '{text}' is local time; add a Z to make it UTC: '{text}Z'"));
    }
    let number = |from: usize, to: usize| digits.get(from..to).and_then(|part| part.parse::<u32>().ok());
    let year = digits.get(..4).and_then(|part| part.parse::<i32>().ok());
    let date = NaiveDate::from_ymd_opt(
        year.unwrap_or_default(),
        number(4, 6).unwrap_or_default(),
        number(6, 8).unwrap_or_default(),
    );
    let (hour, minute) = (number(8, 10).unwrap_or_default(), number(10, 12).unwrap_or_default());
    let at = date.and_then(|date| date.and_hms_opt(hour, minute, number(12, 14).unwrap_or_default()));
    // OpenSSH keeps 0 for "not set", so it would not see the limit.
    at.map(|at| at.and_utc()).filter(|at| at.timestamp() > 0).ok_or_else(malformed)
}

#[cfg(test)]
mod tests;
