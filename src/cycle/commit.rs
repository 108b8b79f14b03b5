//! One transaction: snapshot, drifts, history, messages. Written whole or not at all.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::report::{self, Report};
use super::{Monitor, ReadResult, next_due};
use crate::alerting::{self, Notifications, Origin, announce, record_transitions, tell, worst_of};
use crate::baseline::{BaselineSummary, Comparison, Evaluation, evaluate};
use crate::classify::elsewhere;
use crate::config::NotRead;
use crate::history::Event;
use crate::history::data::{
    CredentialEnd, FirstReading, RefusedCredential, SectionBegin, SectionEnd, TrustedBaseline, UntrustedBaseline,
};
use crate::incident::{
    self, Drift, DriftStep, Ending, NotificationLog, SectionIncident, SectionKind, SectionStep, Silence, Status,
    Transition, advance, advance_sections, decide, section_kinds,
};
use crate::message::{SectionEntry, SectionStatus};
use crate::model::{Digest, Pointer, State};
use crate::sections::Section;
use crate::snapshot::Reading;
use crate::store::cycles::{self, Cycle};
use crate::store::instances::InstanceRow;
use crate::store::{StoreError, Transaction, events, instances, news};
use crate::trust::Untrusted;
use crate::trust_files::TrustFiles;

/// Records a cycle and says what it found.
///
/// The baseline is verified once more inside the transaction: one that was approved while the cycle was reading counts.
pub(super) fn commit(
    tx: &Transaction<'_>,
    monitor: &Monitor,
    read: &ReadResult,
    trust: &TrustFiles,
    cycle: Cycle,
    free: Option<u64>,
) -> Result<Report, StoreError> {
    let id = &monitor.instance.id;
    let row = instances::row(tx, id)?;
    if let Err(StoreError::History(_)) = tx.history() {
        return commit_without_history(tx, monitor, read, trust, cycle);
    }
    alerting::of_clock(tx, &monitor.config, cycle.at)?;
    let was_untrusted = tx.history()?.state.untrusted(id).map(str::to_owned);
    let has_room = alerting::has_room(tx, &monitor.config, cycle.at, free)?;
    let is_first = has_room && cycles::last_reading(tx, row)?.is_none();
    let evaluation = match &read.damage {
        Some(reason) => Evaluation::Untrusted(Untrusted::StoreTampered { reason: reason.clone() }),
        None => evaluate(tx, &monitor.instance.selection, &read.snapshot, trust, &monitor.catalogue, cycle.at)?,
    };
    if is_first && read.snapshot.seen() > 0 {
        let first = FirstReading { resource: read.snapshot.resource.clone(), snapshot: read.snapshot.digest() };
        events::append(tx, cycle.at, Some(id), &Event::InstanceFirstRead(first))?;
    }

    if let Some(notice) = alerting::of_trust(tx, trust, cycle.at)? {
        tell(tx, &monitor.config, None, &[notice], None, cycle.at)?;
    }
    if let Some(reason) = &read.unusable
        && let Some(notice) = alerting::of_damage(tx, id, reason, cycle.at)?
    {
        tell(tx, &monitor.config, Some(id), &[notice], None, cycle.at)?;
    }
    let mut told = Notifications::default();
    let findings = evaluation.findings(&monitor.catalogue);
    let origin = Origin {
        config: &monitor.config,
        findings: &findings,
        instance: id,
        // Without an answer of the vendor the snapshot falls back to what the configuration calls it.
        resource: evaluation.baseline().map_or(&read.snapshot.resource, |baseline| &baseline.approved.subject.resource),
        at: cycle.at,
        baseline: evaluation.baseline().map(|baseline| BaselineSummary::of(baseline)),
    };
    if let Evaluation::Compared(compared) = &evaluation {
        told.notices = alerting::of_approval_ends(tx, id, &compared.baseline.approved, cycle.at)?;
        let asked = tx.history()?.state.silences.of(id, cycle.at);
        let silences: Vec<Silence> = asked.iter().map(|told| told.silence.clone()).collect();
        told.transitions = record_drifts(tx, row, monitor, compared, &silences, cycle.at)?;
        told.notices.extend(alerting::of_silence_ends(tx, row, &origin, &asked)?);
        told.sections = record_sections(tx, row, monitor, read, compared, cycle.at)?;
    }
    match &evaluation {
        Evaluation::Untrusted(untrusted) if was_untrusted.as_deref() != Some(untrusted.code()) => {
            let reason = untrusted.to_string();
            let event = UntrustedBaseline { code: untrusted.code().to_owned(), reason: reason.clone() };
            events::append(tx, cycle.at, Some(id), &Event::BaselineUntrusted(event))?;
            told.untrusted = Some(reason);
        }
        Evaluation::Compared(_) if was_untrusted.is_some() => {
            let trusted = TrustedBaseline { was: was_untrusted };
            events::append(tx, cycle.at, Some(id), &Event::BaselineTrusted(trusted))?;
            told.trusted_again = true;
        }
        Evaluation::Untrusted(untrusted) => {
            told.notices.extend(alerting::reminder(tx, row, id, Some(&untrusted.to_string()), cycle.at)?);
        }
        _ => told.notices.extend(alerting::reminder(tx, row, id, None, cycle.at)?),
    }

    let report = report::build(tx, monitor, read, &evaluation, &cycle)?;
    let snapshot = (has_room && read.snapshot.seen() > 0).then_some(&read.snapshot);
    cycles::keep(tx, row, snapshot, &Cycle { verdict: report.verdict.as_str().to_owned(), ..cycle.clone() })?;
    if let Some(next) = next_due(&monitor.instance, cycle.at) {
        instances::set_next_due(tx, row, next)?;
    }
    announce(tx, row, &origin, told)?;
    Ok(report)
}

/// Records that the instance was read, and nothing else: the history does not verify, so nothing is added to it, and the outbox
/// cannot be held against it. Receivers are told without the outbox, see [`crate::store::StoreError::History`].
fn commit_without_history(
    tx: &Transaction<'_>,
    monitor: &Monitor,
    read: &ReadResult,
    trust: &TrustFiles,
    cycle: Cycle,
) -> Result<Report, StoreError> {
    let row = instances::row(tx, &monitor.instance.id)?;
    let (selection, catalogue) = (&monitor.instance.selection, &monitor.catalogue);
    let evaluation = evaluate(tx, selection, &read.snapshot, trust, catalogue, cycle.at)?;
    let report = report::build(tx, monitor, read, &evaluation, &cycle)?;
    cycles::keep(tx, row, None, &Cycle { verdict: report.verdict.as_str().to_owned(), ..cycle.clone() })?;
    if let Some(next) = next_due(&monitor.instance, cycle.at) {
        instances::set_next_due(tx, row, next)?;
    }
    Ok(report)
}

fn record_drifts(
    tx: &Transaction<'_>,
    row: InstanceRow,
    monitor: &Monitor,
    compared: &Comparison<'_>,
    silences: &[Silence],
    at: DateTime<Utc>,
) -> Result<Vec<Transition>, StoreError> {
    let id = &monitor.instance.id;
    let (known, findings) = (&compared.known, &compared.findings);
    let mut steps = advance(id, known, findings, &compared.sections, &Ending::Reverted, at);
    let notification_logs =
        if known.is_empty() { BTreeMap::new() } else { tx.history()?.state.notification_logs_of(id) };
    // Report the end of a flapping drift only after it has been closed for a while.
    let is_quiet = |drift: &Drift| notification_logs.get(drift.id.as_str()).is_some_and(NotificationLog::is_flapping);
    let moved: BTreeSet<Digest> = steps.iter().map(|step| step.fingerprint.clone()).collect();
    let over = known.iter().filter(|(named, drift)| drift.status != Status::Open && !moved.contains(*named));
    // A drift in a place that cannot be read may not have stayed as it was.
    let is_read = |drift: &Drift| compared.sees(&drift.change.path);
    steps.extend(
        over.filter(|(_, drift)| is_read(drift) && is_quiet(drift))
            .map(|(named, drift)| Transition::new(DriftStep::Unchanged, named.clone(), drift.clone(), findings)),
    );
    let (interval, none) = (monitor.instance.schedule.cron.interval(at), NotificationLog::default());
    for Transition { step, drift, finding, notification: told, muting, worst, .. } in &mut steps {
        if matches!(step, DriftStep::Opened | DriftStep::Reopened) {
            // This cycle is not recorded yet, so the newest reading is the last one without the difference.
            drift.last_good = cycles::last_reading_of(tx, row, drift.change.section())?;
        }
        let log = notification_logs.get(drift.id.as_str()).unwrap_or(&none);
        if !matches!(step, DriftStep::Opened | DriftStep::Reopened) {
            *worst = worst_of(findings, log, &drift.change);
        }
        let others = if silences.is_empty() { BTreeSet::new() } else { elsewhere(&monitor.catalogue, &drift.change) };
        let paths: Vec<&Pointer> = [&drift.change.path].into_iter().chain(&others).collect();
        *muting = incident::silence::muting(silences, id, &paths, &finding.meaning.setting, *step, at);
        *told = decide(log, step, drift, muting.severity(finding.meaning.severity).max(*worst), interval, at);
        *told = incident::silence::mute(*told, *step, log, muting);
    }
    record_transitions(tx, row, id, at, steps)
}

fn record_sections(
    tx: &Transaction<'_>,
    row: InstanceRow,
    monitor: &Monitor,
    read: &ReadResult,
    compared: &Comparison<'_>,
    at: DateTime<Utc>,
) -> Result<Vec<SectionEntry>, StoreError> {
    let id = &monitor.instance.id;
    let known = news::known(tx, row)?;
    // A dead credential is one notification, not one for each section that is read with it.
    let table = monitor.instance.table();
    let is_excused = |section: &&Section| read.refused.contains_key(&section.api);
    let excused: BTreeSet<String> =
        table.sections().iter().filter(is_excused).map(|section| section.name.clone()).collect();
    let mut kinds = section_kinds(&compared.expected, &read.snapshot, &compared.unknown, &excused);
    let refused: BTreeMap<&str, &str> =
        read.refused.iter().map(|(api, reason)| (api.credential(), reason.as_str())).collect();
    kinds.extend(refused.keys().map(|credential| ((*credential).to_owned(), SectionKind::Refused)));
    let steps = advance_sections(&known, &kinds, &excused, at);
    let mut told = Vec::new();
    for (section, step) in steps {
        let reading = read.snapshot.sections.get(&section);
        let reason = match (refused.get(section.as_str()), reading, &read.failure) {
            (Some(reason), ..) => (*reason).to_owned(),
            (None, Some(reading), _) => reading.trouble(&section, &compared.unknown),
            (None, None, Some(failure)) => failure.reason.clone(),
            (None, None, None) if known.get(&section).is_some_and(|known| known.kind == SectionKind::Refused) => {
                String::new()
            }
            (None, None, None) => "no credential for it is configured".to_owned(),
        };
        let state = reading.map_or(State::Unreachable, Reading::state);
        let news_of = |news: SectionStatus, incident: &SectionIncident| SectionEntry {
            section: section.clone(),
            news,
            state,
            reason: reason.clone(),
            since: incident.since,
            until: news.is_end().then_some(at),
            cause: incident.cause,
            still_unseen: 0,
        };
        match step {
            SectionStep::Remember(incident) => news::keep(tx, row, &section, &suspecting(incident, &section, read))?,
            SectionStep::Tell(mut incident) => {
                incident.cause.get_or_insert(state);
                news::keep(tx, row, &section, &suspecting(incident.clone(), &section, read))?;
                let since = Some(incident.since.into());
                let begin = SectionBegin { section: section.clone(), reason: reason.clone(), since };
                let refused = RefusedCredential { credential: section.clone(), reason: reason.clone(), since };
                let (event, change) = match incident.kind {
                    SectionKind::Blind => (Event::SectionBlind(begin), SectionStatus::Blind),
                    SectionKind::Suspect => (Event::SectionSuspect(begin), SectionStatus::Suspect),
                    SectionKind::Unbaselined => (Event::SectionUnbaselined(begin), SectionStatus::Unbaselined),
                    SectionKind::Refused => (Event::CredentialRefused(refused), SectionStatus::Refused),
                };
                events::append(tx, at, Some(id), &event)?;
                told.push(news_of(change, &incident));
            }
            SectionStep::Over(incident) => {
                news::forget(tx, row, &section)?;
                let is_left_out =
                    table.section(&section).is_some_and(|row| monitor.instance.selection.has(row).is_err());
                // The section can be read again, or the configuration or a baseline leaves it out.
                let is_seen = !is_left_out && reading.is_some_and(|reading| reading.state().is_comparable());
                let end = SectionEnd { section: section.clone() };
                let credential = CredentialEnd { credential: section.clone() };
                let (event, change, reason) = match incident.kind {
                    SectionKind::Blind | SectionKind::Suspect if is_seen => {
                        (Event::SectionSeeingAgain(end), SectionStatus::SeeingAgain, reason.clone())
                    }
                    SectionKind::Blind | SectionKind::Suspect => {
                        let who =
                            if is_left_out { "the configuration leaves it out" } else { "a baseline leaves it out" };
                        (Event::SectionLeftOut(end), SectionStatus::LeftOut, who.to_owned())
                    }
                    SectionKind::Refused if is_configured(monitor, &section) => {
                        (Event::CredentialAccepted(credential), SectionStatus::Accepted, reason.clone())
                    }
                    SectionKind::Refused => {
                        (Event::CredentialRemoved(credential), SectionStatus::Removed, String::new())
                    }
                    SectionKind::Unbaselined => continue,
                };
                if incident.is_told {
                    events::append(tx, at, Some(id), &event)?;
                    told.push(SectionEntry { reason, ..news_of(change, &incident) });
                }
            }
        }
    }
    let left = news::known(tx, row)?;
    let is_unseen = |incident: &&SectionIncident| incident.is_told && incident.kind.is_section_unseen();
    let is_end_of_section = |news: SectionStatus| matches!(news, SectionStatus::SeeingAgain | SectionStatus::LeftOut);
    for news in told.iter_mut().filter(|news| is_end_of_section(news.news)) {
        news.still_unseen = left.values().filter(is_unseen).filter(|incident| incident.cause == news.cause).count();
    }
    Ok(told)
}

/// Whether the instance still has the credential that is called so.
fn is_configured(monitor: &Monitor, credential: &str) -> bool {
    let sections = monitor.instance.table().sections();
    let mut of_it = sections.iter().filter(|section| section.api.credential() == credential);
    of_it.any(|section| !matches!(monitor.instance.reads(section), Err(NotRead::NoCredential(_))))
}

/// `incident` with what was read of the section and not believed: the next cycle may read the same.
fn suspecting(incident: SectionIncident, section: &str, read: &ReadResult) -> SectionIncident {
    let suspected = read.suspected.get(section).filter(|_| incident.kind == SectionKind::Suspect).cloned();
    SectionIncident { suspected, ..incident }
}
