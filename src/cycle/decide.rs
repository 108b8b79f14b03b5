//! What a cycle records and whom it notifies: a function of what was read and of one state of the database.

use std::collections::{BTreeMap, BTreeSet};

use super::report::{self, Report};
use super::{Input, ReadResult, next_due};
use crate::alerting::{self, Notifications, Origin, announce, record_transitions, tell, worst_of};
use crate::baseline::{BaselineSummary, Comparison, Evaluation};
use crate::classify::elsewhere;
use crate::config::{Instance, NotRead};
use crate::history::Event;
use crate::history::data::{
    CredentialEnd, FirstReading, RefusedCredential, SectionBegin, SectionEnd, TrustedBaseline, UntrustedBaseline,
};
use crate::incident::{
    self, Drift, DriftStep, Ending, NotificationLog, SectionIncident, SectionKind, SectionStep, Silence, Status,
    Transition, advance, advance_sections, section_kinds,
};
use crate::message::{SectionEntry, SectionStatus};
use crate::model::{Digest, Pointer, State};
use crate::sections::Section;
use crate::snapshot::Reading;
use crate::store::cycles::Cycle;
use crate::store::{StoreError, UnitOfWork};
use crate::trust_files::TrustFiles;

/// Adds to `unit` what the cycle records, and returns what it found.
///
/// While the history does not verify, only the cycle is recorded: nothing is added to the history, and the outbox cannot be held
/// against it. Receivers are notified without the outbox, see [`StoreError::History`].
pub(super) fn decide(
    unit: &mut UnitOfWork,
    input: &Input<'_>,
    evaluation: &Evaluation<'_>,
    trust: &TrustFiles,
) -> Result<Report, StoreError> {
    let (id, at) = (&input.instance.id, input.cycle.at);
    if unit.history().is_err() {
        let report = report::build(unit, input, evaluation)?;
        record_cycle(unit, input, &report, false)?;
        return Ok(report);
    }
    alerting::of_clock(unit, input.config, at)?;
    let has_room = alerting::has_room(unit, input.config, at, input.free)?;
    if has_room && unit.last_reading().is_none() && input.read.snapshot.seen() > 0 {
        let snapshot = &input.read.snapshot;
        let first = FirstReading { resource: snapshot.resource.clone(), snapshot: snapshot.digest() };
        unit.append(at, Some(id), &Event::InstanceFirstRead(first))?;
    }
    if let Some(notice) = alerting::of_trust(unit, trust, at)? {
        tell(unit, input.config, None, &[notice], None, at)?;
    }
    if let Some(reason) = &input.read.unusable
        && let Some(notice) = alerting::of_damage(unit, id, reason, at)?
    {
        tell(unit, input.config, Some(id), &[notice], None, at)?;
    }
    let findings = evaluation.findings(input.catalogue);
    let origin = Origin {
        config: input.config,
        findings: &findings,
        instance: id,
        // Without an answer of the vendor the snapshot falls back to what the configuration calls it.
        resource: evaluation
            .baseline()
            .map_or(&input.read.snapshot.resource, |baseline| &baseline.approved.subject.resource),
        at,
        baseline: evaluation.baseline().map(|baseline| BaselineSummary::of(baseline)),
    };
    let mut told = Notifications::default();
    let was_untrusted = unit.history()?.state.untrusted(id).map(str::to_owned);
    if let Evaluation::Compared(compared) = evaluation {
        told.notices = alerting::of_approval_ends(unit, id, &compared.baseline.approved, at)?;
        let asked = unit.history()?.state.silences.of(id, at);
        let silences: Vec<Silence> = asked.iter().map(|told| told.silence.clone()).collect();
        told.transitions = decide_drifts(unit, input, compared, &silences)?;
        told.notices.extend(alerting::of_silence_ends(unit, &origin, &asked)?);
        told.sections = decide_sections(unit, input, compared)?;
    }
    match evaluation {
        Evaluation::Untrusted(untrusted) if was_untrusted.as_deref() != Some(untrusted.code()) => {
            let reason = untrusted.to_string();
            let event = UntrustedBaseline { code: untrusted.code().to_owned(), reason: reason.clone() };
            unit.append(at, Some(id), &Event::BaselineUntrusted(event))?;
            told.untrusted = Some(reason);
        }
        Evaluation::Compared(_) if was_untrusted.is_some() => {
            let trusted = TrustedBaseline { was: was_untrusted };
            unit.append(at, Some(id), &Event::BaselineTrusted(trusted))?;
            told.trusted_again = true;
        }
        Evaluation::Untrusted(untrusted) => {
            told.notices.extend(alerting::reminder(unit, id, Some(&untrusted.to_string()), at)?);
        }
        _ => told.notices.extend(alerting::reminder(unit, id, None, at)?),
    }
    let report = report::build(unit, input, evaluation)?;
    record_cycle(unit, input, &report, has_room)?;
    announce(unit, &origin, told)?;
    Ok(report)
}

fn record_cycle(unit: &mut UnitOfWork, input: &Input<'_>, report: &Report, has_room: bool) -> Result<(), StoreError> {
    let snapshot = (has_room && input.read.snapshot.seen() > 0).then_some(&input.read.snapshot);
    let cycle = Cycle { verdict: report.verdict.as_str().to_owned(), ..input.cycle.clone() };
    unit.put_cycle(snapshot, cycle)?;
    if let Some(next) = next_due(input.instance, input.cycle.at) {
        unit.set_next_due(next);
    }
    Ok(())
}

fn decide_drifts(
    unit: &mut UnitOfWork,
    input: &Input<'_>,
    compared: &Comparison<'_>,
    silences: &[Silence],
) -> Result<Vec<Transition>, StoreError> {
    let (id, at) = (&input.instance.id, input.cycle.at);
    let (known, findings) = (&compared.known, &compared.findings);
    let mut steps = advance(id, known, findings, &compared.sections, &Ending::Reverted, at);
    let notification_logs =
        if known.is_empty() { BTreeMap::new() } else { unit.history()?.state.notification_logs_of(id) };
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
    let (interval, none) = (input.instance.schedule.cron.interval(at), NotificationLog::default());
    for Transition { step, drift, finding, notification: told, muting, worst, .. } in &mut steps {
        if matches!(step, DriftStep::Opened | DriftStep::Reopened) {
            // This cycle is not recorded yet, so the newest reading is the last one without the difference.
            drift.last_good = unit.last_reading_of(drift.change.section());
        }
        let log = notification_logs.get(drift.id.as_str()).unwrap_or(&none);
        if !matches!(step, DriftStep::Opened | DriftStep::Reopened) {
            *worst = worst_of(findings, log, &drift.change);
        }
        let others = if silences.is_empty() { BTreeSet::new() } else { elsewhere(input.catalogue, &drift.change) };
        let paths: Vec<&Pointer> = [&drift.change.path].into_iter().chain(&others).collect();
        *muting = incident::silence::muting(silences, id, &paths, &finding.meaning.setting, *step, at);
        *told = incident::decide(log, step, drift, muting.severity(finding.meaning.severity).max(*worst), interval, at);
        *told = incident::silence::mute(*told, *step, log, muting);
    }
    record_transitions(unit, id, at, steps)
}

fn decide_sections(
    unit: &mut UnitOfWork,
    input: &Input<'_>,
    compared: &Comparison<'_>,
) -> Result<Vec<SectionEntry>, StoreError> {
    let (id, read, at) = (&input.instance.id, input.read, input.cycle.at);
    let known = unit.sections()?.clone();
    // A dead credential is one notification, not one for each section that is read with it.
    let table = input.instance.table();
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
            SectionStep::Remember(incident) => unit.put_section(&section, suspecting(incident, &section, read)),
            SectionStep::Tell(mut incident) => {
                incident.cause.get_or_insert(state);
                unit.put_section(&section, suspecting(incident.clone(), &section, read));
                let since = Some(incident.since.into());
                let begin = SectionBegin { section: section.clone(), reason: reason.clone(), since };
                let refused = RefusedCredential { credential: section.clone(), reason: reason.clone(), since };
                let (event, change) = match incident.kind {
                    SectionKind::Blind => (Event::SectionBlind(begin), SectionStatus::Blind),
                    SectionKind::Suspect => (Event::SectionSuspect(begin), SectionStatus::Suspect),
                    SectionKind::Unbaselined => (Event::SectionUnbaselined(begin), SectionStatus::Unbaselined),
                    SectionKind::Refused => (Event::CredentialRefused(refused), SectionStatus::Refused),
                };
                unit.append(at, Some(id), &event)?;
                told.push(news_of(change, &incident));
            }
            SectionStep::Over(incident) => {
                unit.remove_section(&section);
                let is_left_out = table.section(&section).is_some_and(|row| input.instance.selection.has(row).is_err());
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
                    SectionKind::Refused if is_configured(input.instance, &section) => {
                        (Event::CredentialAccepted(credential), SectionStatus::Accepted, reason.clone())
                    }
                    SectionKind::Refused => {
                        (Event::CredentialRemoved(credential), SectionStatus::Removed, String::new())
                    }
                    SectionKind::Unbaselined => continue,
                };
                if incident.is_told {
                    unit.append(at, Some(id), &event)?;
                    told.push(SectionEntry { reason, ..news_of(change, &incident) });
                }
            }
        }
    }
    let left = unit.sections()?;
    let is_unseen = |incident: &&SectionIncident| incident.is_told && incident.kind.is_section_unseen();
    let is_end_of_section = |news: SectionStatus| matches!(news, SectionStatus::SeeingAgain | SectionStatus::LeftOut);
    for news in told.iter_mut().filter(|news| is_end_of_section(news.news)) {
        news.still_unseen = left.values().filter(is_unseen).filter(|incident| incident.cause == news.cause).count();
    }
    Ok(told)
}

/// Whether the instance still has the credential that is called so.
fn is_configured(instance: &Instance, credential: &str) -> bool {
    let sections = instance.table().sections();
    let mut of_it = sections.iter().filter(|section| section.api.credential() == credential);
    of_it.any(|section| !matches!(instance.reads(section), Err(NotRead::NoCredential(_))))
}

/// `incident` with what was read of the section and not believed: the next cycle may read the same.
fn suspecting(incident: SectionIncident, section: &str, read: &ReadResult) -> SectionIncident {
    let suspected = read.suspected.get(section).filter(|_| incident.kind == SectionKind::Suspect).cloned();
    SectionIncident { suspected, ..incident }
}

#[cfg(test)]
mod tests;
