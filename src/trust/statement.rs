//! The statement that an approver signs: a subject, and who approves it, when and why.
//!
//! The signed bytes are the RFC 8785 form of a [`Statement`], without a final line break. They are stored as they
//! are; [`Statement::parse`] takes nothing but the one canonical spelling, so that what was checked, what is shown
//! and what `jq -cjS .` prints at an auditor's are the same bytes.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::canonical;
use crate::clock::written;
use crate::model::{Digest, HistoryMark, InstanceId, Pointer, State, display_safe, display_safe_sentence};
use crate::snapshot::{Manifest, digest_of};

/// The SSHSIG namespace of baselines: a signature made for anything else is worth nothing here.
pub const NAMESPACE: &str = "baseline.v1@authdrift";

/// The type of a statement.
pub const TYPE: &str = "authdrift/baseline/v1";

/// Above this, JSON numbers are not exact everywhere (RFC 8785, 3.2.2.3).
const LARGEST: u64 = (1 << 53) - 1;

/// The signed bytes, read: one principal approves one subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// Who, when and why.
    pub approval: Approval,
    /// What.
    pub subject: Subject,
    /// Always [`TYPE`].
    #[serde(rename = "type")]
    pub kind: String,
}

/// Who approves, when and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// The principal, as in the allowed signers.
    pub approver: String,
    /// When, by the approver's clock; whole seconds.
    #[serde(with = "whole_seconds")]
    pub at: DateTime<Utc>,
    /// Why, in the approver's words.
    pub reason: String,
}

/// A snapshot and its place: which instance, which baseline before it, how long the history was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// The instance.
    pub instance: InstanceId,
    /// The history when this was proposed: if it is not a part of ours any more, ours was cut or replaced.
    pub log: HistoryMark,
    /// Identity of the baseline before; `null` for the first.
    pub previous: Option<Digest>,
    /// Who asked.
    pub proposer: String,
    /// The vendor's own identity of the instance.
    pub resource: String,
    /// State and digest of every section.
    pub sections: Manifest,
    /// 1, 2, 3, …
    pub sequence: u64,
    /// The digest of the snapshot; see [`digest_of`].
    pub snapshot: Digest,
    /// Values that are approved for a time only, by path: from the end on, the value of the baseline before counts again.
    /// Left out if there is nothing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub until: BTreeMap<Pointer, Expiry>,
}

/// When an approval for a time ends; whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Expiry(#[serde(with = "whole_seconds")] pub DateTime<Utc>);

impl std::fmt::Display for Expiry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&written(self.0))
    }
}

impl Subject {
    /// The identity of the baseline: SHA-256 of the RFC 8785 form. Two approvers of one subject sign one identity.
    pub fn identity(&self) -> Digest {
        Digest::of(&canonical::to_bytes(&json!(self)))
    }

    /// What `base` approves for a time and this approves for longer, or for good: the value is the same in both, so
    /// nothing of it shows where the two are compared. `value` finds the value at a path.
    pub fn prolonged<'a>(
        &self,
        base: &'a Self,
        value: &dyn Fn(&Self, &Pointer) -> Option<Value>,
    ) -> Vec<(&'a Pointer, Expiry)> {
        let is_prolonged = |path: &Pointer, end: Expiry| {
            self.until.get(path).is_none_or(|now| *now > end) && value(base, path) == value(self, path)
        };
        let until = base.until.iter().map(|(path, end)| (path, *end));
        until.filter(|(path, end)| is_prolonged(path, *end)).collect()
    }

    /// Checks what the types leave open.
    fn check(&self) -> Result<(), BadStatement> {
        check_text("subject.proposer", &self.proposer)?;
        check_text("subject.resource", &self.resource)?;
        if !(1..=LARGEST).contains(&self.sequence) || self.log.size > LARGEST {
            return Err(BadStatement::malformed("subject.sequence and subject.log.size must be from 1 to 2^53 - 1"));
        }
        for (section, mark) in &self.sections {
            // Only for ASCII do RFC 8785 and jq agree on the order of keys.
            if section.is_empty() || !section.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(BadStatement::malformed(format!("section '{}' has no usable name", display_safe(section))));
            }
            if mark.digest.is_some() != (mark.state == State::Value) {
                return Err(BadStatement::malformed(format!("section '{section}' needs a digest if it has a value")));
            }
        }
        for path in self.until.keys() {
            let text = path.to_string();
            check_text("subject.until", &text)?;
            // From here on, RFC 8785 and jq put keys in different orders.
            if text.chars().any(|sign| sign >= '\u{e000}') {
                let reason =
                    format!("'{}' cannot be approved for a time: its name has rare signs", display_safe(&text));
                return Err(BadStatement::malformed(reason));
            }
            if self.sections.get(path.section()).is_none_or(|mark| mark.digest.is_none()) {
                let reason = format!("'{}' is approved for a time and has no value", display_safe(&text));
                return Err(BadStatement::malformed(reason));
            }
        }
        let computed = digest_of(&self.instance, &self.resource, &self.sections);
        if computed != self.snapshot {
            return Err(BadStatement::SnapshotMismatch { signed: self.snapshot.clone(), computed });
        }
        Ok(())
    }
}

impl Statement {
    /// A statement that `approval` approves `subject`.
    pub fn new(subject: Subject, approval: Approval) -> Self {
        Self { approval, subject, kind: TYPE.to_owned() }
    }

    /// The bytes to sign.
    ///
    /// # Errors
    /// The statement would be refused by [`Statement::parse`]: control characters, a wrong type, impossible
    /// sections, or a snapshot digest that is not the one of the sections.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BadStatement> {
        if self.kind != TYPE {
            return Err(BadStatement::WrongType { found: self.kind.clone() });
        }
        check_text("approval.approver", &self.approval.approver)?;
        check_text("approval.reason", &self.approval.reason)?;
        self.subject.check()?;
        Ok(canonical::to_bytes(&json!(self)))
    }

    /// Reads signed bytes.
    ///
    /// # Errors
    /// One [`BadStatement`] per reason. Arbitrary input never panics.
    ///
    /// # Security
    /// Writing the statement again must give the same bytes. That refuses in one stroke what readers of JSON are
    /// known to disagree about: keys given twice, spaces, escapes, number spellings, other orders.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadStatement> {
        // The type first: a statement of a later version gets a better answer than "unknown field".
        let value: Value = serde_json::from_slice(bytes).map_err(|error| BadStatement::malformed(error.to_string()))?;
        let found = value.get("type").and_then(Value::as_str).unwrap_or_default();
        if found != TYPE {
            return Err(BadStatement::WrongType { found: found.to_owned() });
        }
        let statement: Self =
            serde_json::from_slice(bytes).map_err(|error| BadStatement::malformed(error.to_string()))?;
        if statement.to_bytes()? != bytes {
            return Err(BadStatement::NotCanonical);
        }
        Ok(statement)
    }
}

/// Control characters forge lines on a terminal, and DEL is where jq and RFC 8785 differ.
fn check_text(field: &str, text: &str) -> Result<(), BadStatement> {
    if text.chars().any(char::is_control) {
        return Err(BadStatement::malformed(format!("{field} has control characters: '{}'", display_safe(text))));
    }
    Ok(())
}

/// Why bytes are not a statement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadStatement {
    /// Not the JSON of a statement.
    #[error("it is malformed: {}", display_safe_sentence(.reason))]
    Malformed {
        /// The rule that it breaks.
        reason: String,
    },
    /// A statement of another kind or version.
    #[error("its type is '{}' and not '{TYPE}'", display_safe(.found))]
    WrongType {
        /// The type it has.
        found: String,
    },
    /// The same content in another spelling.
    #[error("it is not in canonical form (RFC 8785): sign the file that 'authdrift propose' wrote, byte for byte")]
    NotCanonical,
    /// The sections are not those the snapshot digest names.
    #[error("its snapshot digest is {signed}, its sections have {computed}")]
    SnapshotMismatch {
        /// The digest that was signed.
        signed: Digest,
        /// The digest of the sections that were signed.
        computed: Digest,
    },
}

impl BadStatement {
    fn malformed(reason: impl Into<String>) -> Self {
        Self::Malformed { reason: reason.into() }
    }
}

mod whole_seconds {
    use super::{DateTime, Utc, written};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&written(*at))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let at = DateTime::parse_from_rfc3339(&text).map_err(D::Error::custom)?.to_utc();
        if written(at) == text { Ok(at) } else { Err(D::Error::custom("a time must be UTC in whole seconds, with Z")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::SectionMark;
    use proptest::prelude::*;

    fn statement() -> Statement {
        let instance: InstanceId = "auth0:acme".parse().unwrap();
        let digest = Some(Digest::of(b"document"));
        let sections = Manifest::from([
            ("guardian.policies".to_owned(), SectionMark { digest, state: State::Value }),
            ("organizations".to_owned(), SectionMark { digest: None, state: State::NotOnPlan }),
        ]);
        let resource = "acme.eu.auth0.com".to_owned();
        Statement::new(
            Subject {
                snapshot: digest_of(&instance, &resource, &sections),
                until: BTreeMap::new(),
                log: HistoryMark { size: 412, head: Digest::of(b"event") },
                previous: None,
                proposer: "carol@example.test".to_owned(),
                sequence: 1,
                instance,
                resource,
                sections,
            },
            Approval {
                approver: "alice@example.test".to_owned(),
                at: "2026-05-04T10:00:00.5Z".parse().unwrap(),
                reason: "CHG-1042 MFA für admins".to_owned(),
            },
        )
    }

    fn text() -> String {
        String::from_utf8(statement().to_bytes().unwrap()).unwrap()
    }

    #[test]
    fn the_bytes_are_the_documented_ones() {
        let text = text();
        assert!(text.starts_with(
            "{\"approval\":{\"approver\":\"alice@example.test\",\"at\":\"2026-05-04T10:00:00Z\",\
             \"reason\":\"CHG-1042 MFA für admins\"},\"subject\":{\"instance\":\"auth0:acme\",\"log\":{\"head\":\"sha256:"
        ));
        assert!(text.contains("\"previous\":null,\"proposer\":\"carol@example.test\""));
        assert!(text.ends_with("\"},\"type\":\"authdrift/baseline/v1\"}"));
    }

    #[test]
    fn it_reads_back_in_whole_seconds() {
        let read = Statement::parse(text().as_bytes()).unwrap();
        assert_eq!(read.subject, statement().subject);
        assert_eq!(read.subject.identity(), statement().subject.identity());
        assert_eq!(written(read.approval.at), "2026-05-04T10:00:00Z");
    }

    #[test]
    fn an_end_is_part_of_what_is_signed_only_where_there_is_one() {
        assert!(!text().contains("until"));
        let mut limited = statement();
        let end = Expiry("2026-06-01T00:00:00Z".parse().unwrap());
        limited.subject.until.insert("/guardian.policies".parse().unwrap(), end);
        let bytes = limited.to_bytes().unwrap();
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert!(text.contains("\"until\":{\"/guardian.policies\":\"2026-06-01T00:00:00Z\"}}"), "{text}");
        assert_eq!(Statement::parse(&bytes).unwrap().subject, limited.subject);
        assert_ne!(limited.subject.identity(), statement().subject.identity());
        for path in ["/organizations", "/nowhere/a", "/guardian.policies/\u{1f600}", "/guardian.policies/\u{7f}"] {
            let mut wrong = statement();
            wrong.subject.until.insert(path.parse().unwrap(), end);
            assert!(wrong.to_bytes().is_err(), "{path}");
        }
        let empty = self::text().replace("\"snapshot\":", "\"until\":{},\"snapshot\":");
        assert!(Statement::parse(empty.as_bytes()).is_err());
    }

    #[test]
    fn the_identity_leaves_the_approval_out() {
        let mut other = statement();
        other.approval.approver = "bob@example.test".to_owned();
        assert_eq!(other.subject.identity(), statement().subject.identity());
        other.subject.sequence = 2;
        assert_ne!(other.subject.identity(), statement().subject.identity());
    }

    #[test]
    fn every_other_spelling_is_refused() {
        let text = text();
        let key_twice = text.replacen("\"subject\":{", "\"subject\":{\"sequence\":9,", 1);
        let section_twice = text.replacen("\"sections\":{", "\"sections\":{\"organizations\":{\"state\":\"off\"},", 1);
        let table = [
            ("line break at the end", format!("{text}\n"), "not canonical"),
            ("space", text.replacen(':', ": ", 1), "not canonical"),
            ("escape", text.replacen('@', "\\u0040", 1), "not canonical"),
            ("section given twice", section_twice, "not canonical"),
            ("digest null", text.replacen("{\"state\"", "{\"digest\":null,\"state\"", 1), "not canonical"),
            ("key given twice", key_twice, "malformed"),
            ("type given twice", text.replacen('{', "{\"type\":\"x\",", 1), "malformed"),
            ("previous left out", text.replacen("\"previous\":null,", "", 1), "not canonical"),
            ("unknown field", text.replacen("\"log\":{", "\"extra\":1,\"log\":{", 1), "malformed"),
            ("unknown field of the log", text.replacen("\"log\":{", "\"log\":{\"extra\":1,", 1), "not canonical"),
            ("negative number", text.replacen("\"sequence\":1", "\"sequence\":-1", 1), "malformed"),
            ("fraction", text.replacen("\"sequence\":1", "\"sequence\":1.0", 1), "malformed"),
            ("sequence 0", text.replacen("\"sequence\":1", "\"sequence\":0", 1), "malformed"),
            ("too large a number", text.replacen("\"sequence\":1", "\"sequence\":9007199254740992", 1), "malformed"),
            ("time zone", text.replacen("10:00:00Z", "10:00:00+00:00", 1), "malformed"),
            ("fraction of a second", text.replacen("10:00:00Z", "10:00:00.0Z", 1), "malformed"),
            ("control character", text.replacen("CHG", "\\u001b", 1), "malformed"),
            ("DEL", text.replacen("CHG", "\u{7f}", 1), "malformed"),
            ("value without digest", text.replacen("not_on_plan", "value", 1), "malformed"),
            ("other type", text.replacen("baseline/v1\"", "baseline/v2\"", 1), "wrong type"),
            ("other state", text.replacen("not_on_plan", "off", 1), "snapshot mismatch"),
            ("other resource", text.replacen("acme.eu", "acme.us", 1), "snapshot mismatch"),
            ("not JSON", "approved!".to_owned(), "malformed"),
            ("nothing", String::new(), "malformed"),
        ];
        for (name, bytes, expected) in table {
            assert_ne!(bytes, text, "{name}");
            let found = match Statement::parse(bytes.as_bytes()) {
                Ok(_) => "taken",
                Err(BadStatement::Malformed { .. }) => "malformed",
                Err(BadStatement::WrongType { .. }) => "wrong type",
                Err(BadStatement::NotCanonical) => "not canonical",
                Err(BadStatement::SnapshotMismatch { .. }) => "snapshot mismatch",
            };
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn what_would_be_refused_is_not_written() {
        let mut hostile = statement();
        hostile.approval.reason = "fine\u{1b}[2K".to_owned();
        assert!(matches!(hostile.to_bytes(), Err(BadStatement::Malformed { .. })));
        let mut wrong = statement();
        wrong.subject.sections.clear();
        assert!(matches!(wrong.to_bytes(), Err(BadStatement::SnapshotMismatch { .. })));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Statement::parse(&bytes).is_err());
        }

        #[test]
        fn a_changed_byte_is_refused_or_is_another_statement(at in 0..text().len(), byte in any::<u8>()) {
            let mut bytes = text().into_bytes();
            bytes[at] = byte;
            if let Ok(read) = Statement::parse(&bytes) {
                prop_assert_eq!(read.to_bytes().unwrap(), bytes);
            }
        }
    }
}
