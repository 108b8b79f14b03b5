//! `authdrift check`: one cycle now.

use std::io::Write;

use clap::Args;
use indicatif::ProgressBar;
use serde_json::json;

use crate::cli::output::{
    Columns, DIM, PLAIN, change_words, day, severity_style, terminal_width, time, verdict_style, verdict_words,
    whole_words, write_json,
};
use crate::cli::progress::SideBySide;
use crate::cli::{AfterCommit, CliError, ConfiguredCommand, Context};
use crate::cycle::report::{DriftReport, exit_of};
use crate::cycle::{CycleStep, Report, RunMode};
use crate::delivery::Delivery;
use crate::exit::Exit;
use crate::model::{InstanceId, State, display_safe};
use crate::model::{Verdict, counted};
use crate::store::space::{self, Space};
use crate::store::{Store, StoreError};

/// Read now, compare with the baseline, and notify the receivers
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift check              every instance
  authdrift check prod --json  one instance, for a program
  authdrift check --no-store   compare only: nothing is recorded or sent

Exit codes: 0 in sync, 10 drift, 11 blind, 12 untrusted baseline, 13 no baseline, 69 nothing readable. The worst instance \
decides.")]
pub(crate) struct CheckOptions {
    /// Instances to read [default: all]; the prefix may be left out when the name is unique
    #[arg(value_name = "INSTANCE")]
    instances: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Record nothing and send nothing
    #[arg(long)]
    no_store: bool,
}

impl ConfiguredCommand for CheckOptions {
    async fn run_with(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, CliError> {
        let instances = context.instances(&self.instances)?;
        let (store, keep) = match self.no_store {
            false => (context.store()?, RunMode::Commit),
            true => match Store::open_to_read(&context.config.store) {
                Err(StoreError::Missing(_)) => (Store::temporary()?, RunMode::DryRun),
                store => (store?, RunMode::DryRun),
            },
        };
        let delivery = Delivery::new(&store, &context.clock, &context.config.receivers)?;
        let mut cycles = SideBySide::new();
        for instance in instances {
            let monitor = context.watch(instance, &store)?;
            cycles.start(|line| {
                let monitor = monitor.on_step(move |instance, step| show(&line, instance, step));
                async move { monitor.cycle(keep).await }
            });
        }
        let (finished, mut failed) = cycles.finish().await;
        let mut reports: Vec<Report> = Vec::new();
        for cycle in finished {
            match cycle {
                Ok(report) => reports.push(report),
                // The others still have something to say.
                Err(error) => failed = Some(CliError::from(error)),
            }
        }

        let mut after = AfterCommit::of("what was read is recorded");
        let printed = match self.json {
            true => print_json(&reports, out),
            false => print(&reports, context, out),
        };
        if keep == RunMode::DryRun {
            printed?;
            return failed.map_or_else(|| Ok(exit_of(&reports)), Err);
        }
        // Receivers are notified even if the output cannot be written.
        after.then(printed);
        after.deliver(&delivery, &store).await;
        match failed {
            Some(error) => Err(error),
            None => room(&store).and_then(|()| after.end(exit_of(&reports))),
        }
    }
}

fn print_json(reports: &[Report], out: &mut dyn Write) -> Result<(), CliError> {
    write_json(out, &json!({ "instances": reports }))?;
    Ok(out.flush()?)
}

/// Fails if the disk was too full to store the snapshot.
fn room(store: &Store) -> Result<(), CliError> {
    let Some(free) = store.free_space()?.filter(|free| Space::of(*free) == Space::Full) else { return Ok(()) };
    let (path, free, needed) = (store.path().display(), free >> 20, space::FULL >> 20);
    let message = format!("no snapshot was kept: {free} MiB are free where '{path}' lies, and {needed} have to be");
    Err(CliError::new(Exit::Io, message).with_help("free some space there and run it again"))
}

/// Shows the progress of a reading, which can take half a minute.
fn show(line: &ProgressBar, instance: &InstanceId, step: CycleStep) {
    line.set_message(match step {
        CycleStep::Reading(progress) => {
            let requests = usize::try_from(progress.requests).unwrap_or(usize::MAX);
            let sections = counted(progress.sections, "section");
            format!("{instance}: {} of {sections} read, {}", progress.done, counted(requests, "request"))
        }
        CycleStep::Waiting { sections, wait } => {
            let wait = humantime::format_duration(wait);
            format!("{instance}: new differences in {}, reading again in {wait}", counted(sections, "section"))
        }
    });
    line.tick();
}

fn print(reports: &[Report], context: &Context, out: &mut dyn Write) -> Result<(), CliError> {
    let width = reports.iter().map(|report| report.instance.to_string().len()).max().unwrap_or_default();
    for report in reports {
        print_report(report, width, context, out)?;
    }
    let drifted: Vec<_> = reports.iter().filter(|report| !report.drifts.is_empty()).collect();
    if let Some(first) = drifted.first() {
        let drifts: usize = drifted.iter().map(|report| report.drifts.len()).sum();
        writeln!(out)?;
        writeln!(out, "{} in {} of {}.", counted(drifts, "drift"), drifted.len(), counted(reports.len(), "instance"))?;
        if let Some(id) = first.drifts.iter().find_map(|drift| drift.id.as_ref()) {
            writeln!(out, "`authdrift show {id}` explains the first,")?;
        }
        let worst = first.at_stake();
        let approval = &context.config.approval;
        let command = approval.command(&first.instance, worst);
        let is_alone = approval.rules.need(worst) == 1;
        let what = if is_alone { "accepts what you choose" } else { "proposes it to the approvers" };
        writeln!(out, "`{command}` {what}.")?;
    } else if let Some(first) = reports.iter().find(|report| report.verdict == Verdict::NoBaseline) {
        writeln!(out)?;
        let approval = &context.config.approval;
        let command = approval.command_for_all(&first.instance);
        let is_alone = approval.rules.most() == 1;
        let what = if is_alone { "makes what was read the baseline" } else { "proposes what was read" };
        writeln!(out, "Nobody has approved {} yet: `{command}` {what}.", first.instance)?;
    }
    let mut columns = Columns::new(2);
    for report in reports {
        let id = &report.instance;
        match report.verdict {
            Verdict::Untrusted => columns.row(PLAIN, [id.to_string(), format!("authdrift verify {id}")]),
            Verdict::Error | Verdict::Blind => columns.row(PLAIN, [id.to_string(), format!("authdrift doctor {id}")]),
            Verdict::InSync | Verdict::Drift | Verdict::NoBaseline => continue,
        }
    }
    if !columns.is_empty() {
        writeln!(out, "\nWhat now")?;
        columns.write(out)?;
    }
    Ok(out.flush()?)
}

/// Prints one instance: a summary, then its drifts and sections.
pub(in crate::cli) fn print_report(
    report: &Report,
    width: usize,
    context: &Context,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let style = verdict_style(report.verdict);
    writeln!(
        out,
        "{:width$}  {style}{:11}{style:#}  {}",
        report.instance.to_string(),
        verdict_words(report.verdict),
        summary(report, context)
    )?;
    if let Some(reason) = &report.reason {
        let width = terminal_width().map_or(usize::MAX, |width| width.saturating_sub(2));
        for line in textwrap::wrap(&reason.message, whole_words(width)) {
            writeln!(out, "  {style}{line}{style:#}")?;
        }
    }
    let mut columns = Columns::new(2).within(terminal_width());
    let mut last_title = "";
    for (drift, more) in grouped(&report.drifts) {
        let meaning = &drift.drift.meaning;
        let mut words = change_words(&drift.drift);
        if drift.unseen {
            words.push_str("  (last seen; unreadable now)");
        }
        if more > 0 {
            words.push_str(&format!("  (+{})", counted(more, "path")));
        }
        let title = if meaning.title == last_title { "" } else { meaning.title.as_str() };
        last_title = &meaning.title;
        let style = severity_style(meaning.severity);
        columns.row(style, [meaning.severity.as_str(), meaning.direction.as_str(), title, &words]);
    }
    for ((word, story), names) in unseen(report) {
        let style = match word {
            "new" => DIM,
            "unread" => PLAIN,
            _ => verdict_style(Verdict::Blind),
        };
        columns.row(style, [word, "", &listed(&names), &story]);
    }
    columns.write(out)?;
    Ok(())
}

/// The sections that were not compared, grouped by the reason: an outage is one line.
fn unseen(report: &Report) -> Vec<((&'static str, String), Vec<&str>)> {
    let mut lines: Vec<((&'static str, String), Vec<&str>)> = Vec::new();
    for section in &report.sections {
        let reason = section.reason.as_deref().unwrap_or_default();
        let since = section.since.map(|at| format!("since {}", time(at, report.checked_at))).unwrap_or_default();
        let line = if section.blind && report.reason.is_none() {
            let word = if section.state == State::Suspect { "suspect" } else { "blind" };
            (word, join(reason, &since))
        } else if section.unbaselined {
            ("new", "not in the baseline yet, so not compared".to_owned())
        } else if !section.state.is_comparable() && report.reason.is_none() {
            ("unread", reason.to_owned())
        } else {
            continue;
        };
        match lines.iter_mut().find(|(known, _)| *known == line) {
            Some((_, names)) => names.push(&section.section),
            None => lines.push((line, vec![&section.section])),
        }
    }
    lines
}

fn listed(names: &[&str]) -> String {
    match names {
        [first, second, rest @ ..] if rest.len() > 1 => format!("{first}, {second} and {} more", rest.len()),
        names => names.join(", "),
    }
}

/// Groups drifts of one setting that have the same values under several paths.
fn grouped(drifts: &[DriftReport]) -> Vec<(&DriftReport, usize)> {
    let mut lines: Vec<(&DriftReport, usize)> = Vec::new();
    for drift in drifts {
        let is_same = |(line, _): &&mut (&DriftReport, usize)| {
            let (other, one) = (&line.drift, &drift.drift);
            (&other.meaning.setting, &other.meaning.title, other.meaning.direction)
                == (&one.meaning.setting, &one.meaning.title, one.meaning.direction)
                && (other.change.kind, &other.change.before, &other.change.after)
                    == (one.change.kind, &one.change.before, &one.change.after)
        };
        match lines.iter_mut().find(is_same) {
            Some((_, more)) => *more += 1,
            None => lines.push((drift, 0)),
        }
    }
    lines
}

fn summary(report: &Report, context: &Context) -> String {
    let seen = report.sections.iter().filter(|section| section.state.is_comparable()).count();
    let mut parts = Vec::new();
    if !report.drifts.is_empty() {
        parts.push(counted(report.drifts.len(), "drift"));
    }
    parts.push(format!("{seen} of {} read", counted(report.sections.len(), "section")));
    if let Some(baseline) = &report.baseline {
        let who: Vec<_> = baseline.approvers.iter().map(|approver| display_safe(approver)).collect();
        let when = day(baseline.approved_at, context.clock.now());
        parts.push(format!("baseline {} ({when}, {})", baseline.sequence, who.join(", ")));
        parts.extend(baseline.until_words(context.clock.now()));
    }
    parts.join(", ")
}

fn join(reason: &str, since: &str) -> String {
    [reason, since].iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(", ")
}
