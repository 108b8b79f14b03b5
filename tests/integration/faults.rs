//! A snapshot cannot lie: whatever a vendor answers, a section that was not read is blind and nothing of it is gone.
//!
//! Every section with every fault, against the rules of [`rules`]. Many sections fail in one cycle, each in its own way:
//! what fails must not touch what does not.

mod answers;
mod credentials;
mod guards;
pub mod rules;
mod scene;
mod slow;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use authdrift::cycle::report::{SectionReport, exit_of};
use authdrift::cycle::{Report, RunMode};
use authdrift::exit::Exit;
use authdrift::model::Verdict;
use authdrift::model::{Provider, State};
use authdrift::sections::{Section, Table};
use authdrift::simulator::fault::Fault;
use serde_json::json;

use answers::{Trial, trials};
use rules::{CREDENTIAL, Outcome, RULES, SILENT};
use scene::Scene;

/// Trials that go together in one cycle.
#[derive(Default)]
struct Round {
    trials: Vec<Trial>,
    /// Sections that fail, or that depend on one that does, or that are read at the same address.
    taken: BTreeSet<&'static str>,
}

/// What a fault of `section` reaches, itself included.
fn reach(scene: &Scene, section: &'static Section) -> BTreeSet<&'static str> {
    let mut reached = scene.sharing(&section.name);
    reached.insert(&section.name);
    let table = Table::of(scene.provider).sections();
    let of_reached = |other: &&Section| other.parents().any(|parent| reached.contains(parent));
    let children: Vec<&str> = table.iter().filter(of_reached).map(|other| other.name.as_str()).collect();
    reached.extend(children);
    reached
}

/// Every trial in as few rounds as will do: in each at most two thirds of the sections fail.
fn rounds(scene: &Scene, trials: Vec<Trial>) -> Vec<Round> {
    let most = scene.healthy.len() * 2 / 3;
    let mut rounds: Vec<Round> = Vec::new();
    for trial in trials {
        let reached = reach(scene, trial.section);
        let fits = |round: &&mut Round| round.trials.len() < most && round.taken.is_disjoint(&reached);
        let round = match rounds.iter_mut().find(fits) {
            Some(round) => round,
            None => {
                rounds.push(Round::default());
                rounds.last_mut().unwrap()
            }
        };
        round.taken.extend(reached);
        round.trials.push(trial);
    }
    rounds
}

/// Lets every section of a vendor fail in every way.
async fn assert_no_fault_is_a_change(provider: Provider) {
    let scene = Scene::new(provider).await;
    let sections = Table::of(provider).sections();
    let all: Vec<Trial> = sections.iter().flat_map(|section| trials(&scene, section)).collect();
    let seen: BTreeSet<&str> = all.iter().map(|trial| trial.rule).collect();
    let tried = all.len();
    assert!(tried > 20 * sections.len(), "{tried}");
    let (comparable, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|trial| trial.outcome.is_comparable());
    let (suspect, blind): (Vec<_>, Vec<_>) = others.into_iter().partition(|trial| trial.outcome == Outcome::Suspect);
    for (trials, keep) in [(comparable, RunMode::DryRun), (blind, RunMode::Commit), (suspect, RunMode::Commit)] {
        for round in rounds(&scene, trials) {
            for trial in &round.trials {
                trial.paths.iter().for_each(|path| scene.vendor.fail(path, trial.fault.clone()));
            }
            let report = scene.sandbox.watch(scene.name).cycle(keep).await.unwrap();
            scene.vendor.heal_all();
            assert_as_expected(&scene, &report, &round);
            // The same answer twice in a row would be believed: another test.
            if round.trials.iter().any(|trial| trial.outcome == Outcome::Suspect) {
                let healed = scene.sandbox.watch(scene.name).cycle(keep).await.unwrap();
                assert_eq!(healed.verdict, Verdict::InSync, "{:?}", healed.drifts);
            }
        }
    }
    assert_never_drifted(&scene).await;
    for (rule, _) in RULES.iter().filter(|(rule, _)| ![CREDENTIAL, SILENT].contains(rule)) {
        // Clerk has no lists with cursors, no fields that need a scope and no objects without fields.
        let of_auth0 = [rules::CIRCLE, rules::SCOPED, rules::EMPTIED];
        let is_there = provider == Provider::Auth0 || !of_auth0.contains(rule);
        assert_eq!(seen.contains(rule), is_there, "{rule}");
    }
}

async fn assert_never_drifted(scene: &Scene) {
    let healed = scene.sandbox.watch(scene.name).cycle(RunMode::Commit).await.unwrap();
    assert_eq!(healed.verdict, Verdict::InSync, "{:?}", healed.drifts);
    let history = scene.sandbox.run(&["history", scene.name, "--json"]).await.expect(0).json();
    let events = history["events"].as_array().unwrap();
    assert!(events.iter().all(|event| !event["kind"].as_str().unwrap().starts_with("drift.")), "{history}");
}

/// Exactly the failing sections are what the rules say, and nothing else differs from what it was.
fn assert_as_expected(scene: &Scene, report: &Report, round: &Round) {
    assert_ne!(report.verdict, Verdict::Untrusted, "{:?}", report.reason);
    let mut off = BTreeSet::new();
    for read in &report.sections {
        let trial = round.trials.iter().find(|trial| trial.section.name == read.section);
        let fate = match trial {
            Some(trial) => Fate::Is(trial.outcome),
            None => fate_of_other(scene, round, &read.section),
        };
        let reason = read.reason.as_deref().unwrap_or_default();
        let what = trial.map_or("not touched", |trial| trial.rule);
        let detail = trial.map_or("", |trial| trial.detail.as_str());
        let others = || round.trials.iter().map(|trial| (&trial.section.name, trial.rule, &trial.detail));
        assert!(
            fate.fits(read, scene),
            "{} with {what} ({detail}): {}, {reason}; the others: {:?}",
            read.section,
            read.state,
            others().collect::<Vec<_>>()
        );
        if matches!(read.state, State::Off | State::NotOnPlan) {
            off.insert(format!("/{}", read.section));
        }
    }
    let drifts: BTreeSet<String> = report.drifts.iter().map(|drift| drift.drift.change.path.to_string()).collect();
    assert!(drifts == off && report.drifts.len() == off.len(), "{drifts:?} instead of {off:?}");
    for drift in &report.drifts {
        assert_eq!(drift.drift.change.before, json!({ "state": "value" }));
    }
    let expected = if off.is_empty() { Exit::Blind } else { Exit::Drift };
    assert_eq!(exit_of(std::slice::from_ref(report)), expected);
    for trial in &round.trials {
        assert_eq!(trial.outcome.exit(), expected as i32, "{}", trial.rule);
    }
}

/// What may be known of a section in a round.
enum Fate {
    Is(Outcome),
    /// What it is read for is not known, or hard to believe: blind, held back, or as it was.
    Child,
    /// Somebody else's fault is served to it as well.
    Bystander,
    AsBefore,
}

impl Fate {
    fn fits(&self, read: &SectionReport, scene: &Scene) -> bool {
        let is_blind = read.blind && read.digest.is_none() && read.reason.is_some();
        let is_partly = read.blind && read.reason.is_some();
        let is_as_before = read.state == State::Value && !read.blind && scene.healthy[&read.section] == read.digest;
        match self {
            Self::Is(Outcome::Partly) => is_partly && matches!(read.state, State::Value | State::Unreachable),
            Self::Is(Outcome::PartlyValue) => is_partly && read.state == State::Value,
            Self::Is(outcome) => {
                let is_right = read.state.to_string() == outcome.state() && read.reason.is_some();
                is_right && is_blind != outcome.is_comparable()
            }
            Self::Child => is_as_before || is_partly,
            Self::Bystander => is_as_before || is_partly || matches!(read.state, State::Off | State::NotOnPlan),
            Self::AsBefore => is_as_before,
        }
    }
}

fn fate_of_other(scene: &Scene, round: &Round, section: &str) -> Fate {
    if round.trials.iter().any(|trial| scene.sharing(&trial.section.name).contains(section)) {
        return Fate::Bystander;
    }
    let row = Table::of(scene.provider).section(section).unwrap();
    let failing = |parent: &str| round.trials.iter().find(|trial| trial.section.name == parent);
    match row.parents().find_map(failing).map(|trial| trial.outcome) {
        // What does not exist has no parts.
        Some(outcome) if outcome.is_comparable() => Fate::Is(outcome),
        Some(Outcome::Suspect | Outcome::Partly | Outcome::PartlyValue) => Fate::Child,
        Some(_) => Fate::Is(Outcome::Unreachable),
        None => Fate::AsBefore,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t9_no_answer_of_clerk_makes_a_section_change_that_could_not_be_read() {
    assert_no_fault_is_a_change(Provider::Clerk).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t9_no_answer_of_auth0_makes_a_section_change_that_could_not_be_read() {
    assert_no_fault_is_a_change(Provider::Auth0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_of_every_clerk_section_is_no_change() {
    assert_silence_is_no_change(Provider::Clerk).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_of_every_auth0_section_is_no_change() {
    assert_silence_is_no_change(Provider::Auth0).await;
}

/// Hangs every section once. Apart from the other faults, because it is waiting and no work.
async fn assert_silence_is_no_change(provider: Provider) {
    let scene = Scene::new(provider).await;
    let trial = |section: &'static Section, paths: Vec<String>, detail: &str| Trial {
        section,
        paths,
        rule: SILENT,
        detail: detail.to_owned(),
        fault: Fault::Hang,
        outcome: rules::outcome_of(SILENT),
    };
    let mut all = Vec::new();
    for section in Table::of(provider).sections() {
        let paths: Vec<String> = scene.addresses[section.name.as_str()].iter().map(|one| one.path.clone()).collect();
        if !section.each.is_empty() {
            all.push(trial(section, paths[..1].to_vec(), "one object"));
        }
        all.push(trial(section, paths, "all"));
    }
    for round in rounds(&scene, all) {
        for trial in &round.trials {
            trial.paths.iter().for_each(|path| scene.vendor.fail(path, trial.fault.clone()));
        }
        let watch = scene.sandbox.watch_with(scene.name, |limits| limits.headers = Duration::from_millis(700));
        let report = watch.cycle(RunMode::Commit).await.unwrap();
        scene.vendor.heal_all();
        assert_as_expected(&scene, &report, &round);
    }
    assert_never_drifted(&scene).await;
}

/// The table of the documents is the table of this test.
#[test]
fn every_rule_has_one_row() {
    let rows: BTreeMap<&str, Outcome> = RULES.iter().copied().collect();
    assert_eq!(rows.len(), RULES.len());
}
