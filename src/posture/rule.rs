//! A rule as it was read from its file, and all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::judgement::UnknownReason;
use super::number::{Number, Profile};
use super::operators::{Condition, Uses};
use crate::model::{Category, Digest, Pattern, Pointer, Provider, Severity, word};

word!(
    /// What can answer a rule.
    RuleKind {
        /// The fields of a snapshot.
        Auto = "auto",
        /// The own records: baselines and drifts.
        Own = "own",
        /// A person.
        Attest = "attest",
        /// A request to the customer's own site.
        Probe = "probe",
        /// Events of the vendor's log.
        Logs = "logs",
        /// The text of programs.
        Code = "code",
    }
);

/// One statement about a setting that is right or wrong by itself, whoever approved it.
#[derive(Debug)]
pub struct Rule {
    /// Kebab case; kept for good.
    pub id: String,
    /// Another meaning is another revision; another number is not.
    pub revision: u32,
    /// What holds if it passes.
    pub title: String,
    /// What goes wrong otherwise.
    pub why: String,
    /// How much it matters.
    pub severity: Severity,
    /// What part of sign-in it belongs to.
    pub category: Category,
    /// What can answer it.
    pub kind: RuleKind,
    /// The profiles that have it.
    pub profiles: Vec<Profile>,
    /// It is advice: nothing depends on it.
    pub is_advice: bool,
    /// How long the answer of a person holds at most.
    pub within: Option<Arc<Number>>,
    /// SOC 2 criteria.
    pub criteria: Vec<String>,
    /// What the standards say.
    pub references: Vec<String>,
    /// When it is right to accept that it fails.
    pub exception: String,
    /// What others call it.
    pub peers: Vec<String>,
    pub(super) checks: BTreeMap<Provider, VendorCheck>,
}

/// How a rule is answered for one vendor.
#[derive(Debug)]
pub struct VendorCheck {
    /// What one result is about: nothing for the instance, else the objects at the pattern.
    pub per: Option<Pattern>,
    /// How much it matters there, if that differs.
    pub severity: Option<Severity>,
    /// The profiles that have it there, if they differ.
    pub profiles: Option<Vec<Profile>>,
    /// Where to click and what to send.
    pub remedy: Remedy,
    /// What one should know about how this vendor does it.
    pub note: String,
    /// What has to be there, where the conditions would say it badly.
    pub(super) expected: String,
    /// Why it is unknown, if nothing in a snapshot can answer.
    pub unanswered: Option<UnknownReason>,
    /// Fragments of snapshots, and what it says of them.
    pub examples: Examples,
    /// The patterns of everything that it reads.
    pub(super) reads: Vec<Pattern>,
    pub(super) per_tokens: Vec<String>,
    pub(super) choose: Option<Condition>,
    pub(super) when: Option<Condition>,
    pub(super) when_in: BTreeMap<Profile, Condition>,
    /// What makes an object matter more: a failing one is one step worse.
    pub(super) raise: Option<Condition>,
    pub(super) pass: Option<Condition>,
    pub(super) pass_in: BTreeMap<Profile, Condition>,
    pub(super) is_about_readings: bool,
}

/// How to mend what fails.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remedy {
    /// Where to click.
    pub dashboard: String,
    /// Which request does the same.
    pub request: String,
}

/// A fragment of a snapshot: values and states of sections by pointer.
pub type Example = BTreeMap<String, Value>;

/// Fragments of snapshots by the state that the rule has on them.
#[derive(Debug, Clone, Default)]
pub struct Examples {
    /// It passes.
    pub pass: Vec<Example>,
    /// It fails.
    pub fail: Vec<Example>,
    /// Nobody can tell.
    pub unknown: Vec<Example>,
    /// There is nothing to judge.
    pub not_applicable: Vec<Example>,
}

impl Rule {
    /// How it is answered for that vendor, if it is a question there.
    pub fn check(&self, provider: Provider) -> Option<&VendorCheck> {
        self.checks.get(&provider)
    }

    /// The same, if the profile has the rule there.
    pub fn check_in(&self, provider: Provider, profile: Profile) -> Option<&VendorCheck> {
        let check = self.check(provider)?;
        check.profiles.as_ref().unwrap_or(&self.profiles).contains(&profile).then_some(check)
    }

    /// The patterns of everything it reads from that vendor.
    pub fn reads(&self, provider: Provider) -> &[Pattern] {
        self.check(provider).map(|check| check.reads.as_slice()).unwrap_or_default()
    }
}

/// The tokens as the text of a pattern.
fn pattern_text(tokens: &[String]) -> String {
    tokens.iter().map(|token| format!("/{}", token.replace('~', "~0").replace('/', "~1"))).collect()
}

impl VendorCheck {
    pub(super) fn pass_in(&self, profile: Profile) -> Option<&Condition> {
        self.pass_in.get(&profile).or(self.pass.as_ref())
    }

    pub(super) fn when_in(&self, profile: Profile) -> Option<&Condition> {
        self.when_in.get(&profile).or(self.when.as_ref())
    }

    /// Everything that its conditions use.
    pub(super) fn uses(&self) -> Uses {
        let mut uses = Uses::default();
        self.add_uses(&mut uses);
        uses
    }

    /// The same with the patterns of what its conditions read.
    pub(super) fn with_reads(mut self) -> Self {
        let texts: BTreeSet<String> = self.uses().paths.iter().map(|tokens| pattern_text(tokens)).collect();
        self.reads = texts.iter().filter_map(|text| text.parse().ok()).collect();
        self
    }

    fn add_uses(&self, uses: &mut Uses) {
        let conditions = self.choose.iter().chain(&self.when).chain(self.when_in.values()).chain(&self.raise);
        let conditions = conditions.chain(&self.pass).chain(self.pass_in.values());
        conditions.for_each(|condition| condition.uses(&self.per_tokens, uses));
        if !self.per_tokens.is_empty() {
            uses.paths.push(self.per_tokens.clone());
        }
    }

    /// What has to be there in that profile, in words.
    pub fn expected(&self, profile: Profile) -> String {
        match self.expected.is_empty() {
            true => self.pass_in(profile).map(|pass| pass.expected(profile)).unwrap_or_default(),
            false => self.expected.clone(),
        }
    }
}

/// All rules and their numbers.
#[derive(Debug)]
pub struct RuleSet {
    pub(super) rules: Vec<Arc<Rule>>,
    /// Rules that give no results and that the others may refer to.
    pub(super) left_out: Vec<Arc<Rule>>,
    pub(super) switched_off: BTreeMap<String, String>,
    pub(super) numbers: BTreeMap<String, Arc<Number>>,
    pub(super) digest: Digest,
}

impl RuleSet {
    /// Every rule, in the order of the files.
    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    /// The rule of that id.
    pub fn rule(&self, id: &str) -> Option<&Arc<Rule>> {
        self.rules.iter().chain(&self.left_out).find(|rule| rule.id == id)
    }

    /// Those rules alone. They say what they say among all others.
    #[must_use]
    pub fn only(&self, is_wanted: impl Fn(&Rule) -> bool) -> Self {
        let (rules, others) = self.rules.iter().cloned().partition(|rule| is_wanted(rule));
        let left_out = self.left_out.iter().cloned().chain::<Vec<_>>(others).collect();
        let (numbers, digest) = (self.numbers.clone(), self.digest.clone());
        Self { rules, left_out, switched_off: self.switched_off.clone(), numbers, digest }
    }

    /// The rules that a user's file switches off, with the reason.
    pub fn switched_off(&self) -> &BTreeMap<String, String> {
        &self.switched_off
    }

    /// Every number of the profiles.
    pub fn numbers(&self) -> impl Iterator<Item = &Number> {
        self.numbers.values().map(Arc::as_ref)
    }

    /// The digest of the files that the rules were read from: another one says that the rules changed, not the instance.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The rules about what is at `path`, so that a drift finds them.
    pub fn rules_about(&self, provider: Provider, path: &Pointer) -> Vec<&Arc<Rule>> {
        let is_about = |rule: &&Arc<Rule>| {
            rule.reads(provider).iter().any(|pattern| {
                pattern.matches(path.tokens())
                    || pattern.may_be_below(path.tokens())
                    || (1..path.tokens().len()).any(|end| pattern.matches(path.tokens().get(..end).unwrap_or_default()))
            })
        };
        self.rules.iter().filter(is_about).collect()
    }

    /// The sections that the rules of a profile read from that vendor.
    pub fn sections(&self, provider: Provider, profile: Profile) -> BTreeSet<String> {
        let mut uses = Uses::default();
        for check in self.rules.iter().filter_map(|rule| rule.check_in(provider, profile)) {
            check.add_uses(&mut uses);
        }
        for id in std::mem::take(&mut uses.rules) {
            if let Some(check) = self.rule(&id).and_then(|rule| rule.check(provider)) {
                check.add_uses(&mut uses);
            }
        }
        uses.paths.into_iter().filter_map(|tokens| tokens.into_iter().next()).collect()
    }
}
