//! The report of a cycle: the one source of terminal output, JSON and exit code.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};

use super::{Input, ReadFailure};
use crate::baseline::{BaselineSummary, Evaluation};
use crate::classify::Finding;
use crate::clock::{serialize_written, written};
use crate::exit::Exit;
use crate::incident::{self, SectionKind, Status, section_kind};
use crate::model::{Digest, DriftId, InstanceId, Severity, State, Verdict};
use crate::snapshot::Reading;
use crate::store::{StoreError, UnitOfWork};

/// The report of one cycle of one instance.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The instance.
    pub instance: InstanceId,
    /// The vendor's own identity of it; empty when unknown.
    pub resource: String,
    /// When the cycle ended.
    #[serde(serialize_with = "serialize_written")]
    pub checked_at: DateTime<Utc>,
    /// How long it took.
    #[serde(rename = "duration_ms", serialize_with = "as_millis")]
    pub duration: Duration,
    /// The verdict.
    pub verdict: Verdict,
    /// Why, for `untrusted` and `error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The baseline.
    pub baseline: Option<BaselineSummary>,
    /// The snapshot.
    pub snapshot: SnapshotReport,
    /// Requests sent.
    pub requests: u64,
    /// Every section, by name.
    pub sections: Vec<SectionReport>,
    /// Every open drift, most severe first.
    pub drifts: Vec<DriftReport>,
    /// Why nothing could be read.
    #[serde(skip)]
    pub failure: Option<ReadFailure>,
    /// Why rows of the database cannot be used, so that something was not compared.
    #[serde(skip)]
    pub unusable: Option<String>,
}

/// The reason of a verdict.
#[derive(Debug, Clone, Serialize)]
pub struct Reason {
    /// Stable, for programs.
    pub code: String,
    /// For people.
    pub message: String,
}

/// The snapshot of a report.
#[derive(Debug, Clone, Serialize)]
pub struct SnapshotReport {
    /// Digest of everything that was read.
    pub digest: Digest,
}

/// A section of a report.
#[derive(Debug, Clone, Serialize)]
pub struct SectionReport {
    /// The section.
    pub section: String,
    /// Its state.
    pub state: State,
    /// Digest of its document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Why it has no value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The baseline holds it and it cannot be read.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub blind: bool,
    /// It can be read and the baseline does not hold it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unbaselined: bool,
    /// Since when one of the two.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_written_option")]
    pub since: Option<DateTime<Utc>>,
}

/// A drift of a report.
#[derive(Debug, Clone, Serialize)]
pub struct DriftReport {
    /// Its name; absent when it was not recorded.
    pub id: Option<DriftId>,
    /// The section.
    pub section: String,
    /// The classified change.
    #[serde(flatten)]
    pub drift: Finding,
    /// `open`
    pub status: &'static str,
    /// First seen.
    #[serde(serialize_with = "serialize_written")]
    pub first_seen: DateTime<Utc>,
    /// Its section cannot be read now: the values are the last that were seen.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unseen: bool,
}

impl Report {
    /// The highest severity that an approval of everything open takes in. A section that is new to the baseline may hold
    /// anything, and so may an object that is approved as not watched.
    pub fn at_stake(&self) -> Severity {
        let is_open = |section: &&SectionReport| section.unbaselined || section.blind && section.state == State::Value;
        let of_sections = self.sections.iter().filter(is_open).map(|_| Severity::Critical);
        self.drifts.iter().map(|drift| drift.drift.meaning.severity).chain(of_sections).max().unwrap_or(Severity::Info)
    }
}

/// The exit code of several instances, derived from what is printed.
pub fn exit_of(reports: &[Report]) -> Exit {
    let any = |verdict: Verdict| reports.iter().any(|report| report.verdict == verdict);
    let all_failed = !reports.is_empty() && reports.iter().all(|report| report.verdict == Verdict::Error);
    if any(Verdict::Untrusted) {
        Exit::Untrusted
    } else if all_failed {
        let exits = reports.iter().filter_map(|report| report.failure.as_ref()).map(|failure| failure.exit);
        let rank = |exit: &Exit| match exit {
            Exit::Configuration => 2,
            Exit::Credentials => 1,
            _ => 0,
        };
        exits.max_by_key(rank).unwrap_or(Exit::Unavailable)
    } else if any(Verdict::Drift) {
        Exit::Drift
    } else if any(Verdict::Blind) || any(Verdict::Error) {
        Exit::Blind
    } else if any(Verdict::NoBaseline) {
        Exit::NoBaseline
    } else {
        Exit::Ok
    }
}

/// The report of a cycle, with the names and times that the store knows.
pub(super) fn build(unit: &UnitOfWork, input: &Input<'_>, evaluation: &Evaluation<'_>) -> Result<Report, StoreError> {
    let Input { read, cycle, .. } = input;
    let snapshot = &read.snapshot;
    // Where rows cannot be read nothing was compared either.
    let (no_drifts, no_sections) = (BTreeMap::new(), BTreeMap::new());
    let (known, known_sections) = match evaluation {
        Evaluation::Untrusted(_) => (&no_drifts, &no_sections),
        _ => (unit.drifts()?, unit.sections()?),
    };

    let findings = evaluation.findings(input.catalogue);
    let mut reported: Vec<DriftReport> = Vec::new();
    for finding in findings.all() {
        let change = &finding.change;
        let open =
            known.get(&incident::fingerprint(&snapshot.instance, change)).filter(|drift| drift.status == Status::Open);
        reported.push(DriftReport {
            id: open.map(|drift| drift.id.clone()),
            section: change.section().to_owned(),
            first_seen: open.map_or(cycle.at, |drift| drift.first_seen),
            drift: finding.clone(),
            status: Status::Open.as_str(),
            unseen: false,
        });
    }
    // A drift in a place that cannot be read now is still open.
    if let Evaluation::Compared(compared) = evaluation {
        let fingerprint = |finding: &Finding| incident::fingerprint(&snapshot.instance, &finding.change);
        let seen: BTreeSet<Digest> = findings.all().iter().map(fingerprint).collect();
        let is_hidden = |drift: &&incident::Drift| {
            let section = drift.change.section();
            let is_expected = compared.expected.contains_key(section);
            drift.status == Status::Open
                && is_expected
                && !compared.sees(&drift.change.path)
                && !seen.contains(&incident::fingerprint(&snapshot.instance, &drift.change))
        };
        for drift in known.values().filter(is_hidden) {
            reported.push(DriftReport {
                id: Some(drift.id.clone()),
                section: drift.change.section().to_owned(),
                first_seen: drift.first_seen,
                drift: findings.of(&drift.change).into_owned(),
                status: Status::Open.as_str(),
                unseen: true,
            });
        }
    }
    reported.sort_by(|one, other| {
        let by_weight = other.drift.meaning.severity.cmp(&one.drift.meaning.severity);
        by_weight.then_with(|| one.drift.change.path.cmp(&other.drift.change.path))
    });

    let (approved, unknown) = match evaluation {
        Evaluation::Compared(compared) => (Some(&compared.expected), compared.unknown.as_slice()),
        _ => (None, [].as_slice()),
    };
    let mut names: Vec<String> = snapshot.sections.keys().cloned().collect();
    let comparable = approved.into_iter().flatten().filter(|(_, mark)| mark.state.is_comparable());
    names.extend(comparable.map(|(section, _)| section.clone()));
    names.sort_unstable();
    names.dedup();
    // A baseline that cannot be trusted says more than an instance that cannot be read.
    let failure = read.failure.clone().filter(|_| !matches!(evaluation, Evaluation::Untrusted(_)));
    let mut sections = Vec::with_capacity(names.len());
    for section in names {
        let reading = snapshot.sections.get(&section);
        let kind = approved.and_then(|approved| section_kind(approved, snapshot, unknown, &section));
        let reason = match reading {
            Some(reading) => reading.trouble(&section, unknown),
            None => failure.as_ref().map_or("no credential for it is configured", |failure| &failure.reason).to_owned(),
        };
        let since = known_sections.get(&section).filter(|incident| Some(incident.kind) == kind);
        sections.push(SectionReport {
            state: reading.map_or(State::Unreachable, Reading::state),
            digest: reading.and_then(Reading::document).map(|document| document.digest().clone()),
            reason: Some(reason).filter(|reason| !reason.is_empty()),
            blind: matches!(kind, Some(SectionKind::Blind | SectionKind::Suspect)),
            unbaselined: kind == Some(SectionKind::Unbaselined),
            since: since.map(|incident| incident.since).or(kind.map(|_| cycle.at)),
            section,
        });
    }

    let verdict = verdict(evaluation, failure.is_some(), &reported, &sections);
    let reason = match evaluation {
        Evaluation::Untrusted(untrusted) => {
            Some(Reason { code: untrusted.code().to_owned(), message: untrusted.to_string() })
        }
        _ => failure
            .as_ref()
            .map(|failure| Reason { code: "nothing-readable".to_owned(), message: failure.reason.clone() }),
    };
    Ok(Report {
        instance: snapshot.instance.clone(),
        resource: snapshot.resource.clone(),
        checked_at: cycle.at,
        duration: cycle.duration,
        verdict,
        reason,
        baseline: evaluation.baseline().map(|baseline| BaselineSummary::of(baseline)),
        snapshot: SnapshotReport { digest: snapshot.digest() },
        requests: read.requests,
        sections,
        drifts: reported,
        failure,
        unusable: read.unusable.clone(),
    })
}

fn verdict(
    evaluation: &Evaluation<'_>,
    is_unreadable: bool,
    drifts: &[DriftReport],
    sections: &[SectionReport],
) -> Verdict {
    match evaluation {
        Evaluation::Untrusted(_) => Verdict::Untrusted,
        _ if is_unreadable => Verdict::Error,
        Evaluation::NoBaseline => Verdict::NoBaseline,
        Evaluation::Compared(_) if !drifts.is_empty() => Verdict::Drift,
        Evaluation::Compared(_) if sections.iter().any(|section| section.blind) => Verdict::Blind,
        Evaluation::Compared(_) => Verdict::InSync,
    }
}

fn as_written_option<S: Serializer>(at: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => serializer.serialize_str(&written(*at)),
        None => serializer.serialize_none(),
    }
}

fn as_millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(verdict: Verdict, exit: Exit) -> Report {
        Report {
            instance: "clerk:a".parse().unwrap(),
            resource: String::new(),
            checked_at: DateTime::default(),
            duration: Duration::ZERO,
            verdict,
            reason: None,
            baseline: None,
            snapshot: SnapshotReport { digest: Digest::of(b"") },
            requests: 0,
            sections: Vec::new(),
            drifts: Vec::new(),
            failure: (verdict == Verdict::Error).then(|| ReadFailure { reason: String::new(), exit }),
            unusable: None,
        }
    }

    #[test]
    fn the_exit_code_is_the_worst_of_what_is_printed() {
        use Verdict::*;
        let table: &[(&[(Verdict, Exit)], Exit)] = &[
            (&[(InSync, Exit::Ok)], Exit::Ok),
            (&[(InSync, Exit::Ok), (NoBaseline, Exit::Ok)], Exit::NoBaseline),
            (&[(NoBaseline, Exit::Ok), (Blind, Exit::Ok)], Exit::Blind),
            (&[(Blind, Exit::Ok), (Drift, Exit::Ok)], Exit::Drift),
            (&[(Drift, Exit::Ok), (Untrusted, Exit::Ok)], Exit::Untrusted),
            (&[(Error, Exit::Unavailable)], Exit::Unavailable),
            (&[(Error, Exit::Credentials), (Error, Exit::Unavailable)], Exit::Credentials),
            (&[(Error, Exit::Configuration)], Exit::Configuration),
            (&[(Error, Exit::Credentials), (InSync, Exit::Ok)], Exit::Blind),
            (&[(Error, Exit::Credentials), (Drift, Exit::Ok)], Exit::Drift),
        ];
        for (verdicts, expected) in table {
            let reports: Vec<_> = verdicts.iter().map(|(verdict, exit)| report(*verdict, *exit)).collect();
            assert_eq!(exit_of(&reports), *expected, "{verdicts:?}");
        }
    }
}
