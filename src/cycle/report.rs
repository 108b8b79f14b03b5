//! What a cycle found, as it is printed: one list that terminal, JSON and exit code are made from.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};

use super::{Judged, Taken, Watch};
use crate::classify::{Drift, assess_among};
use crate::clock::written;
use crate::exit::Exit;
use crate::incident::{self, SectionKind, Status, section_kind};
use crate::model::{Digest, DriftId, InstanceId, Pointer, Severity, State};
use crate::provider::ReadError;
use crate::snapshot::{Reading, Snapshot};
use crate::store::cycles::Cycle;
use crate::store::{StoreError, Transaction, drifts, instances, news};
use crate::trust::{Baseline, End};

/// What came of a cycle of one instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything the baseline holds was read and is as approved.
    InSync,
    /// Something differs.
    Drift,
    /// Nothing differs as far as could be read, but not everything could.
    Blind,
    /// The baseline cannot be trusted, so nothing was compared.
    Untrusted,
    /// Nobody has approved a baseline yet.
    NoBaseline,
    /// Nothing could be read.
    Error,
}

impl Verdict {
    /// The word used in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InSync => "in_sync",
            Self::Drift => "drift",
            Self::Blind => "blind",
            Self::Untrusted => "untrusted",
            Self::NoBaseline => "no_baseline",
            Self::Error => "error",
        }
    }
}

/// Why nothing of an instance could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// In words.
    pub reason: String,
    /// What the program answers to the shell when this is all there is to say.
    pub exit: Exit,
}

impl Failure {
    pub(super) fn of_read_error(error: &ReadError) -> Self {
        let exit = match error {
            ReadError::Secret(_)
            | ReadError::BadSecret(_)
            | ReadError::Proxy(_)
            | ReadError::KeysOfTwoInstances { .. } => Exit::Configuration,
            ReadError::Client(_) => Exit::Internal,
        };
        Self { reason: error.to_string(), exit }
    }

    pub(super) fn of_snapshot(snapshot: &Snapshot, is_credential: bool) -> Self {
        let reason = snapshot.sections.values().map(Reading::reason).find(|reason| !reason.is_empty());
        let reason = reason.unwrap_or("no credential for any section").to_owned();
        Self { reason, exit: if is_credential { Exit::Credentials } else { Exit::Unavailable } }
    }
}

/// What a cycle of one instance found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The instance.
    pub instance: InstanceId,
    /// The vendor's own identity of it; empty when unknown.
    pub resource: String,
    /// When the cycle ended.
    #[serde(serialize_with = "as_written")]
    pub checked_at: DateTime<Utc>,
    /// How long it took.
    #[serde(rename = "duration_ms", serialize_with = "as_millis")]
    pub duration: Duration,
    /// The verdict.
    pub verdict: Verdict,
    /// Why, for `untrusted` and `error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// What it was compared with.
    pub baseline: Option<BaselineReport>,
    /// What was read.
    pub snapshot: SnapshotReport,
    /// Requests sent.
    pub requests: u64,
    /// Every section, by name.
    pub sections: Vec<SectionReport>,
    /// Every open drift, most severe first.
    pub drifts: Vec<DriftReport>,
    /// Why nothing could be read.
    #[serde(skip)]
    pub failure: Option<Failure>,
    /// What is in the database and cannot be used, so that something was not compared with it.
    #[serde(skip)]
    pub unusable: Option<String>,
}

/// Why a verdict is what it is.
#[derive(Debug, Clone, Serialize)]
pub struct Reason {
    /// Stable, for programs.
    pub code: String,
    /// For people.
    pub message: String,
}

/// The baseline of a report.
#[derive(Debug, Clone, Serialize)]
pub struct BaselineReport {
    /// 1, 2, 3, …
    pub sequence: u64,
    /// Digest of the signed subject.
    pub identity: Digest,
    /// Digest of the approved snapshot.
    pub snapshot: Digest,
    /// Who signed.
    pub approvers: Vec<String>,
    /// When the last of them did.
    #[serde(serialize_with = "as_written")]
    pub approved_at: DateTime<Utc>,
    /// What the last of them gave as the reason.
    pub approval_reason: String,
    /// What was approved for a time, with its end.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub until: BTreeMap<Pointer, End>,
}

impl BaselineReport {
    /// What is said about `baseline`.
    pub fn of(baseline: &Baseline) -> Self {
        let approved = &baseline.approved;
        let mut approvers: Vec<String> = approved.approvals.iter().map(|approval| approval.approver.clone()).collect();
        approvers.sort_unstable();
        approvers.dedup();
        let last = approved.approvals.iter().max_by_key(|approval| approval.at);
        Self {
            sequence: approved.subject.sequence,
            identity: approved.identity.clone(),
            snapshot: approved.subject.snapshot.clone(),
            approvers,
            approved_at: last.map(|approval| approval.at).unwrap_or_default(),
            approval_reason: last.map(|approval| approval.reason.clone()).unwrap_or_default(),
            until: approved.subject.until.clone(),
        }
    }

    /// When the approval of what is at `path` ends, if it was given for a time.
    pub fn end_of(&self, path: &Pointer) -> Option<DateTime<Utc>> {
        self.until.get(path).map(|end| end.0)
    }

    /// How much was approved for a time, and when the next of it ends, in words; nothing if there is none.
    pub fn until_words(&self, now: DateTime<Utc>) -> Option<String> {
        let (over, still): (Vec<End>, Vec<End>) = self.until.values().partition(|end| end.0 <= now);
        let next = still.iter().min().map(|end| format!("{} for a time, until {end}", still.len()));
        let ended = (!over.is_empty()).then(|| format!("{} no longer approved", over.len()));
        let words: Vec<String> = next.into_iter().chain(ended).collect();
        (!words.is_empty()).then(|| words.join(", "))
    }
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
    /// The change and what it means.
    #[serde(flatten)]
    pub drift: Drift,
    /// `open`
    pub status: &'static str,
    /// First seen.
    #[serde(serialize_with = "as_written")]
    pub first_seen: DateTime<Utc>,
    /// Its section cannot be read now: the values are the last that were seen.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unseen: bool,
}

impl Report {
    /// The most severe of what an approval of everything approves. A section that is new to the baseline may hold anything, and
    /// so may an object that is approved as not watched.
    pub fn at_stake(&self) -> Severity {
        let is_open = |section: &&SectionReport| section.unbaselined || section.blind && section.state == State::Value;
        let of_sections = self.sections.iter().filter(is_open).map(|_| Severity::Critical);
        self.drifts.iter().map(|drift| drift.drift.severity).chain(of_sections).max().unwrap_or(Severity::Info)
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
pub(super) fn build(
    tx: &Transaction<'_>,
    watch: &Watch,
    taken: &Taken,
    judged: &Judged,
    cycle: &Cycle,
) -> Result<Report, StoreError> {
    let snapshot = &taken.snapshot;
    let row = instances::find(tx, &snapshot.instance)?;
    // Where rows cannot be read nothing was compared either.
    let row = row.filter(|_| !matches!(judged, Judged::Untrusted(_)));
    let known = row.map(|row| drifts::known(tx, row)).transpose()?.unwrap_or_default();
    let known_sections = row.map(|row| news::known(tx, row)).transpose()?.unwrap_or_default();

    let surroundings = judged.surroundings(snapshot, &[]);
    let mut reported: Vec<DriftReport> = Vec::new();
    for change in judged.changes() {
        let open =
            known.get(&incident::fingerprint(&snapshot.instance, change)).filter(|drift| drift.status == Status::Open);
        reported.push(DriftReport {
            id: open.map(|drift| drift.id.clone()),
            section: change.section().to_owned(),
            first_seen: open.map_or(cycle.at, |drift| drift.first_seen),
            drift: assess_among(&watch.catalogue, &surroundings, change.clone()),
            status: Status::Open.as_str(),
            unseen: false,
        });
    }
    // What was open and cannot be seen now is still open, as far as anybody knows.
    if let Judged::Compared(compared) = judged {
        let fingerprint = |change| incident::fingerprint(&snapshot.instance, change);
        let seen: BTreeSet<Digest> = judged.changes().iter().map(fingerprint).collect();
        let is_hidden = |drift: &&incident::Known| {
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
                drift: assess_among(&watch.catalogue, &surroundings, drift.change.clone()),
                status: Status::Open.as_str(),
                unseen: true,
            });
        }
    }
    reported.sort_by(|one, other| {
        let by_weight = other.drift.severity.cmp(&one.drift.severity);
        by_weight.then_with(|| one.drift.change.path.cmp(&other.drift.change.path))
    });

    let (approved, unknown) = match judged {
        Judged::Compared(compared) => (Some(&compared.expected), compared.unknown.as_slice()),
        _ => (None, [].as_slice()),
    };
    let mut names: Vec<String> = snapshot.sections.keys().cloned().collect();
    let comparable = approved.into_iter().flatten().filter(|(_, mark)| mark.state.is_comparable());
    names.extend(comparable.map(|(section, _)| section.clone()));
    names.sort_unstable();
    names.dedup();
    let failure = match judged {
        Judged::Failed(failure) => Some(failure.clone()),
        Judged::Compared(compared) => compared.failure.clone(),
        Judged::NoBaseline | Judged::Untrusted(_) => None,
    };
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

    let verdict = verdict(judged, &reported, &sections);
    let reason = match judged {
        Judged::Untrusted(untrusted) => {
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
        baseline: judged.baseline().map(|baseline| BaselineReport::of(baseline)),
        snapshot: SnapshotReport { digest: snapshot.digest() },
        requests: taken.requests,
        sections,
        drifts: reported,
        failure,
        unusable: taken.unusable.clone(),
    })
}

fn verdict(judged: &Judged, drifts: &[DriftReport], sections: &[SectionReport]) -> Verdict {
    match judged {
        Judged::Untrusted(_) => Verdict::Untrusted,
        Judged::Failed(_) => Verdict::Error,
        Judged::NoBaseline => Verdict::NoBaseline,
        Judged::Compared(compared) if compared.failure.is_some() => Verdict::Error,
        Judged::Compared(_) if !drifts.is_empty() => Verdict::Drift,
        Judged::Compared(_) if sections.iter().any(|section| section.blind) => Verdict::Blind,
        Judged::Compared(_) => Verdict::InSync,
    }
}

fn as_written<S: Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&written(*at))
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
            failure: (verdict == Verdict::Error).then(|| Failure { reason: String::new(), exit }),
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
