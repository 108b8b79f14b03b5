//! `named`: rules that cannot be data. One file each in `named/`, and a line of [`FUNCTIONS`].

mod baseline_fresh;
mod error_page_escapes;
mod no_open_drift;
mod own_hosts;

use super::super::judgement::Judgement;
use super::super::number::{Number, Profile};
use super::super::reader::{Fields, Node};
use super::super::source::Scope;
use super::{Condition, ConditionReader, Limit, Operator, Uses};

/// A rule in code.
struct Function {
    name: &'static str,
    judge: for<'a> fn(&Scope<'a>, &[Limit]) -> Judgement<'a>,
    /// What has to be there.
    expected: &'static str,
    /// What it reads.
    paths: &'static [&'static str],
}

const FUNCTIONS: &[Function] =
    &[baseline_fresh::FUNCTION, error_page_escapes::FUNCTION, no_open_drift::FUNCTION, own_hosts::FUNCTION];

#[derive(Debug)]
struct Named {
    name: &'static str,
    numbers: Vec<Limit>,
}

/// `named = { is, numbers }`: the function of that name, with numbers of the profiles.
pub(super) fn named<'a>(reader: &ConditionReader<'_, 'a>, node: Node<'a>) -> Option<Condition> {
    let fields = Fields::of_node(node, reader.mistakes)?;
    let name = fields.required("is");
    let numbers = fields.texts("numbers");
    fields.finish();
    let numbers: Option<Vec<Limit>> = numbers
        .iter()
        .map(|name| match reader.numbers.get(name) {
            Some(number) => Some(Limit::Named(std::sync::Arc::<Number>::clone(number))),
            None => reader.wrong(node.span(), format!("no number is called '{name}'")),
        })
        .collect();
    let name = name?;
    let Some(function) = FUNCTIONS.iter().find(|function| function.name == name) else {
        return reader.wrong(node.span(), format!("no function is called '{name}'"));
    };
    Some(Box::new(Named { name: function.name, numbers: numbers? }))
}

impl Named {
    fn function(&self) -> Option<&'static Function> {
        FUNCTIONS.iter().find(|function| function.name == self.name)
    }
}

impl Operator for Named {
    fn judge<'a>(&'a self, scope: &Scope<'a>) -> Judgement<'a> {
        self.function().map_or_else(Judgement::empty, |function| (function.judge)(scope, &self.numbers))
    }

    fn expected(&self, profile: Profile) -> String {
        let numbers: Vec<String> = self.numbers.iter().map(|number| number.words(profile)).collect();
        let expected = self.function().map_or("", |function| function.expected);
        numbers.iter().fold(expected.to_owned(), |text, number| text.replacen("{}", number, 1))
    }

    fn uses(&self, _: &[String], uses: &mut Uses) {
        for path in self.function().map_or(&[][..], |function| function.paths) {
            uses.paths.push(path.trim_start_matches('/').split('/').map(str::to_owned).collect());
        }
        self.numbers.iter().for_each(|number| number.uses(uses));
    }
}
