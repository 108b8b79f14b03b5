//! Reads rules from TOML: the built-in ones, and later those of a user.

mod source_reader;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use toml::Spanned;
use toml::de::DeTable;

use super::judgement::UnknownReason;
use super::number::{Number, Profile};
use super::operators::{Condition, ConditionReader};
use super::reader::{Fields, Mistake, Mistakes, Node, items, number, value};
use super::rule::{Example, Examples, Remedy, Rule, RuleKind, RuleSet, VendorCheck};
use crate::model::{Category, Digest, Provider, Severity, Unit};
use crate::sections::Table;

use source_reader::SourceReader;

/// The files of the program, in the order in which people see them.
const FILES: &[(&str, &str)] = &[
    ("numbers.toml", include_str!("../../baselines/rules/numbers.toml")),
    ("sessions.toml", include_str!("../../baselines/rules/sessions.toml")),
    ("second-factors.toml", include_str!("../../baselines/rules/second-factors.toml")),
    ("passwords.toml", include_str!("../../baselines/rules/passwords.toml")),
    ("attack-protection.toml", include_str!("../../baselines/rules/attack-protection.toml")),
    ("sign-up.toml", include_str!("../../baselines/rules/sign-up.toml")),
    ("urls.toml", include_str!("../../baselines/rules/urls.toml")),
    ("applications.toml", include_str!("../../baselines/rules/applications.toml")),
    ("tokens.toml", include_str!("../../baselines/rules/tokens.toml")),
    ("templates.toml", include_str!("../../baselines/rules/templates.toml")),
    ("connections.toml", include_str!("../../baselines/rules/connections.toml")),
    ("organizations.toml", include_str!("../../baselines/rules/organizations.toml")),
    ("instance.toml", include_str!("../../baselines/rules/instance.toml")),
    ("people.toml", include_str!("../../baselines/rules/people.toml")),
];

impl RuleSet {
    /// The rules of the program.
    pub fn built_in() -> &'static Self {
        static BUILT_IN: LazyLock<RuleSet> = LazyLock::new(|| {
            let mut library = Library::default();
            for (name, text) in FILES {
                let mistakes = library.read(text);
                assert!(mistakes.is_empty(), "internal: {}", shown(name, text, &mistakes));
            }
            library.into_set()
        });
        &BUILT_IN
    }

    /// The rules of the program with those of a user before them. A rule of the same id takes the place of the built-in one,
    /// what a number leaves out stays as it is, and a change switches a rule off or gives it another severity.
    ///
    /// # Errors
    /// Everything that is wrong with the text.
    pub fn with_own(text: &str) -> Result<Self, Vec<Mistake>> {
        let mut library = Library::default();
        // The numbers first: the own ones are used by the built-in rules too.
        for (_, text) in FILES.iter().take(1) {
            library.read(text);
        }
        let mut mistakes = library.read(text);
        for (_, text) in FILES.iter().skip(1) {
            library.read(text);
        }
        let unknown = library.changes.iter().filter(|(id, _)| !library.rules.iter().any(|rule| rule.id == **id));
        mistakes.extend(
            unknown.map(|(id, change)| Mistake {
                span: change.span.clone(),
                message: format!("no rule is called '{id}'"),
            }),
        );
        if mistakes.is_empty() { Ok(library.into_set()) } else { Err(mistakes) }
    }
}

/// Mistakes with the line of each.
fn shown(name: &str, text: &str, mistakes: &[Mistake]) -> String {
    let line = |at: usize| text.get(..at).unwrap_or_default().matches('\n').count() + 1;
    let lines = mistakes.iter().map(|mistake| format!("{name}:{}: {}", line(mistake.span.start), mistake.message));
    lines.collect::<Vec<_>>().join("\n")
}

/// What was read so far.
#[derive(Default)]
struct Library {
    rules: Vec<Arc<Rule>>,
    numbers: BTreeMap<String, Arc<Number>>,
    lists: BTreeMap<String, Vec<String>>,
    changes: BTreeMap<String, RuleChange>,
    texts: Vec<u8>,
}

/// What a user's file says about a built-in rule.
struct RuleChange {
    span: Range<usize>,
    severity: Option<Severity>,
    /// Why it is off, if it is.
    off: Option<String>,
}

impl Library {
    fn into_set(self) -> RuleSet {
        let off = |rule: &Arc<Rule>| self.changes.get(&rule.id).is_some_and(|change| change.off.is_some());
        let (left_out, rules) = self.rules.iter().cloned().partition(off);
        let reasons = self.changes.into_iter().filter_map(|(id, change)| Some((id, change.off?)));
        let switched_off = reasons.collect();
        RuleSet { rules, left_out, switched_off, numbers: self.numbers, digest: Digest::of(&self.texts) }
    }

    /// Reads one file; what is wrong with it.
    fn read(&mut self, text: &str) -> Vec<Mistake> {
        self.texts.extend_from_slice(text.as_bytes());
        let mistakes = Mistakes::default();
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            mistakes.add(error.span().unwrap_or(text.len()..text.len()), error.message());
        }
        self.read_table(&table, &mistakes);
        mistakes.into_list()
    }

    fn read_table<'a>(&mut self, table: &'a Spanned<DeTable<'a>>, mistakes: &'a Mistakes) {
        let fields = Fields::of(table.get_ref(), 0..0, mistakes);
        for number in fields.tables("number") {
            if let Some(number) = read_number(number, &self.numbers) {
                self.numbers.insert(number.name.clone(), Arc::new(number));
            }
        }
        for list in fields.tables("list") {
            let (name, texts) = (list.required("name"), list.texts("texts"));
            list.finish();
            self.lists.extend(name.map(|name| (name, texts)));
        }
        for change in fields.tables("change") {
            let (span, id) = (change.place.clone(), change.required("rule"));
            let (severity, off) = (change.word("severity", Severity::from_word), change.text("off"));
            if severity.is_none() && off.is_none() {
                mistakes.add(span.clone(), "expected 'severity', or 'off' with the reason");
            }
            change.finish();
            self.changes.extend(id.map(|id| (id, RuleChange { span, severity, off })));
        }
        let own: BTreeSet<String> = self.rules.iter().map(|rule| rule.id.clone()).collect();
        let mut here = BTreeSet::new();
        for rule in fields.tables("rule") {
            let place = rule.place.clone();
            let Some(mut rule) = self.rule(rule) else { continue };
            if let Some(severity) = self.changes.get(&rule.id).and_then(|change| change.severity) {
                rule.severity = severity;
                rule.checks.values_mut().for_each(|check| check.severity = None);
            }
            if !here.insert(rule.id.clone()) {
                mistakes.add(place, format!("'{}' is there twice", rule.id));
            } else if !own.contains(&rule.id) {
                self.rules.push(Arc::new(rule));
            }
        }
        fields.finish();
    }

    fn rule(&self, fields: Fields<'_>) -> Option<Rule> {
        let id = fields.required("id");
        let mistakes = fields.mistakes;
        let is_kebab = |id: &String| id.split('-').all(|word| !word.is_empty() && word.bytes().all(is_kebab_byte));
        if id.as_ref().is_some_and(|id| !is_kebab(id)) {
            mistakes.add(fields.place.clone(), "the id is not in kebab case");
        }
        let remedy = fields.table("remedy").map(read_remedy).unwrap_or_default();
        let unanswered = fields.word("unanswered", UnknownReason::from_word);
        let mut checks = BTreeMap::new();
        for (key, provider) in [("clerk", Provider::Clerk), ("auth0", Provider::Auth0)] {
            let check = match (fields.table(key), unanswered) {
                (Some(table), _) => {
                    let place = table.place.clone();
                    let check = self.check(table, &remedy);
                    let paths = check.iter().flat_map(|check| check.uses().paths);
                    let sections: BTreeSet<String> = paths.filter_map(|path| path.into_iter().next()).collect();
                    for section in sections.iter().filter(|name| Table::of(provider).section(name).is_none()) {
                        mistakes.add(place.clone(), format!("no section of {provider} is called '{section}'"));
                    }
                    check
                }
                (None, Some(reason)) => Some(without_question(reason, remedy.clone())),
                (None, None) => None,
            };
            checks.extend(check.map(|check| (provider, check)));
        }
        let (title, why) = (fields.required("title"), fields.required("why"));
        let severity = fields.word("severity", Severity::from_word);
        let category = fields.word("category", Category::from_word);
        let kind = fields.word("kind", RuleKind::from_word).unwrap_or(RuleKind::Auto);
        let profiles = fields.words("profiles", Profile::from_word).unwrap_or_else(|| Profile::ALL.to_vec());
        let revision = fields.value("revision").and_then(|revision| u32::try_from(revision.as_u64()?).ok());
        let is_advice = fields.flag("advice");
        let within = fields.text("within");
        let within = within.and_then(|name| {
            let number = self.numbers.get(&name).cloned();
            if number.is_none() {
                mistakes.add(fields.place.clone(), format!("no number is called '{name}'"));
            }
            number
        });
        let (criteria, references) = (fields.texts("criteria"), fields.texts("references"));
        let (exception, peers) = (fields.text("exception").unwrap_or_default(), fields.texts("peers"));
        if severity.is_none() || category.is_none() || revision.is_none() || checks.is_empty() {
            let needed = "a rule has a revision, a severity, a category and a table 'clerk' or 'auth0'";
            mistakes.add(fields.place.clone(), needed);
        }
        fields.finish();
        Some(Rule {
            id: id?,
            revision: revision?,
            title: title?,
            why: why?,
            severity: severity?,
            category: category?,
            kind,
            profiles,
            is_advice,
            within,
            criteria,
            references,
            exception,
            peers,
            checks,
        })
    }

    fn check<'a>(&self, fields: Fields<'a>, remedy: &Remedy) -> Option<VendorCheck> {
        let mistakes = fields.mistakes;
        let reads = fields.table("read");
        let reads = reads.map(|reads| reads.entries().map(|(name, _, node)| (name, node)).collect());
        let sources = SourceReader { reads: reads.unwrap_or_default(), done: RefCell::default(), mistakes };
        for name in sources.reads.keys() {
            sources.named(name);
        }
        let source = |node: Node<'a>| sources.source(node);
        let reader = ConditionReader { mistakes, numbers: &self.numbers, lists: &self.lists, source: &source };
        let one = |key| fields.get(key).and_then(|node| reader.condition(node));
        let by_profile = |key| -> BTreeMap<Profile, Condition> {
            let Some(table) = fields.table(key) else { return BTreeMap::new() };
            let conditions = Profile::ALL
                .map(|profile| table.get(profile.as_str()).and_then(|node| Some((profile, reader.condition(node)?))));
            table.finish();
            conditions.into_iter().flatten().collect()
        };
        let per = fields.text("per").filter(|per| per != "instance");
        let per = per.map(|per| {
            let tokens: Vec<String> = per.parse::<crate::model::Pointer>().ok()?.tokens().to_vec();
            Some((per.parse().ok()?, tokens))
        });
        if per == Some(None) {
            mistakes.add(fields.place.clone(), "'per' is 'instance' or a pattern that begins with '/'");
        }
        let (per, per_tokens) = per.flatten().unzip();
        let (choose, when, pass, raise) = (one("where"), one("when"), one("pass"), one("raise"));
        let (when_in, pass_in) = (by_profile("when-in"), by_profile("pass-in"));
        let unanswered = fields.word("unanswered", UnknownReason::from_word);
        let is_about_readings = fields.flag("readings");
        let severity = fields.word("severity", Severity::from_word);
        let profiles = fields.words("profiles", Profile::from_word);
        if pass.is_none() && pass_in.is_empty() && unanswered.is_none() && !is_about_readings {
            mistakes.add(fields.place.clone(), "there is no 'pass'");
        }
        let remedy = fields.table("remedy").map_or_else(|| remedy.clone(), read_remedy);
        let note = fields.text("note").unwrap_or_default();
        let expected = fields.text("expected").unwrap_or_default();
        let examples = fields.table("example").map(read_examples).unwrap_or_default();
        fields.finish();
        let per_tokens = per_tokens.unwrap_or_default();
        let check = VendorCheck {
            per,
            severity,
            profiles,
            remedy,
            note,
            expected,
            unanswered,
            examples,
            reads: Vec::new(),
            per_tokens,
            choose,
            when,
            when_in,
            raise,
            pass,
            pass_in,
            is_about_readings,
        };
        Some(check.with_reads())
    }
}

fn is_kebab_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// A rule that nothing in a snapshot answers.
fn without_question(reason: UnknownReason, remedy: Remedy) -> VendorCheck {
    VendorCheck {
        per: None,
        severity: None,
        profiles: None,
        remedy,
        note: String::new(),
        expected: String::new(),
        unanswered: Some(reason),
        examples: Examples::default(),
        reads: Vec::new(),
        per_tokens: Vec::new(),
        choose: None,
        when: None,
        when_in: BTreeMap::new(),
        raise: None,
        pass: None,
        pass_in: BTreeMap::new(),
        is_about_readings: false,
    }
}

/// A number, with what is not written from the one that there is.
fn read_number(fields: Fields<'_>, known: &BTreeMap<String, Arc<Number>>) -> Option<Number> {
    let name = fields.required("name")?;
    let known = known.get(&name).map(Arc::as_ref);
    let title = match known {
        Some(known) => fields.text("title").or_else(|| Some(known.title.clone())),
        None => fields.required("title"),
    };
    let unit = fields.word("unit", Unit::from_word).or_else(|| known.and_then(|known| known.unit));
    let text = |key, before: fn(&Number) -> &String| {
        fields.text(key).or_else(|| known.map(|known| before(known).clone())).unwrap_or_default()
    };
    let (noun, standard, source) =
        (text("noun", |one| &one.noun), text("standard", |one| &one.standard), text("source", |one| &one.source));
    let mut values = known.map(|known| known.values.clone()).unwrap_or_default();
    for profile in Profile::ALL {
        let Some(node) = fields.get(profile.as_str()) else { continue };
        match number(node) {
            Some(number) => _ = values.insert(profile, number),
            None => fields.mistakes.add(node.span(), "expected a number"),
        }
    }
    fields.finish();
    Some(Number { name, title: title?, unit, noun, values, standard, source })
}

fn read_remedy(fields: Fields<'_>) -> Remedy {
    let dashboard = fields.text("dashboard").unwrap_or_default();
    let request = fields.text("request").unwrap_or_default();
    fields.finish();
    Remedy { dashboard, request }
}

fn read_examples(fields: Fields<'_>) -> Examples {
    let of = |key| -> Vec<Example> {
        let Some(node) = fields.get(key) else { return Vec::new() };
        let nodes = items(node, fields.mistakes).unwrap_or_default();
        let examples = nodes.into_iter().filter_map(|node| Fields::of_node(node, fields.mistakes));
        examples.map(|example| example.entries().map(|(path, _, node)| (path, value(node))).collect()).collect()
    };
    let examples =
        Examples { pass: of("pass"), fail: of("fail"), unknown: of("unknown"), not_applicable: of("not-applicable") };
    fields.finish();
    examples
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = r#"
[[number]]
name = "password-length"
saas = 20

[[change]]
rule = "passkeys-available"
off = "no passkeys this year"

[[change]]
rule = "bot-protection"
severity = "low"

[[rule]]
id = "our-audience"
revision = 1
title = "Our templates are for our services"
why = "Another service takes the token."
severity = "high"
category = "jwt-templates"
[rule.clerk]
per = "/jwt_templates/*"
pass = { matches = ["claims/aud", '^https://'] }
"#;

    #[test]
    fn a_file_of_a_user_adds_rules_and_changes_numbers_severities_and_what_is_asked() {
        let (own, built_in) = (RuleSet::with_own(OWN).unwrap(), RuleSet::built_in());
        assert_eq!(own.rules()[0].id, "our-audience");
        assert_eq!(own.rules().len(), built_in.rules().len());
        let length = own.numbers().find(|number| number.name == "password-length").unwrap();
        assert_eq!((length.values[&Profile::Saas], length.values[&Profile::Banking]), (20.0, 14.0));
        assert_eq!(own.rule("bot-protection").unwrap().severity, Severity::Low);
        assert!(!own.rules().iter().any(|rule| rule.id == "passkeys-available"));
        assert_eq!(own.switched_off()["passkeys-available"], "no passkeys this year");
        assert_ne!(own.digest(), built_in.digest());
    }

    #[test]
    fn every_mistake_of_a_file_is_found_at_once_with_its_place() {
        let text = "[[change]]\nrule = 'no-such-rule'\noff = 'x'\n\n[[rule]]\nid = 'Ours'\nrevision = 1\ntitle = 'T'\n\
                    why = 'W.'\nseverity = 'awful'\ncategory = 'mfa'\nsurprise = 1\n[rule.clerk]\n\
                    pass = { all-of = [{ eqq = ['/instance/x', 1] }, { max = ['/instance/x', 'no-number'] }] }\n\
                    [rule.auth0]\npass = { eq = ['/no-section/x', 1] }\n";
        let mistakes = RuleSet::with_own(text).unwrap_err();
        let found: Vec<(&str, &str)> =
            mistakes.iter().map(|mistake| (&text[mistake.span.clone()], mistake.message.as_str())).collect();
        for (place, message) in [
            ("eqq", "'eqq' is no operator"),
            ("'no-number'", "no number is called 'no-number'"),
            ("'awful'", "'awful' is no severity"),
            ("surprise", "unknown key 'surprise'"),
            ("[[rule]]", "the id is not in kebab case"),
            ("[rule.auth0]", "no section of auth0 is called 'no-section'"),
            ("[[change]]", "no rule is called 'no-such-rule'"),
        ] {
            let is_there = |(at, said): &&(&str, &str)| *at == place && said.starts_with(message);
            assert!(found.iter().any(|one| is_there(&one)), "{place}: {message}: {found:#?}");
        }
    }
}
