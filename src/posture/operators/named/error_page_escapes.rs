//! The own error page of Auth0 escapes everything it shows.

use std::borrow::Cow;

use super::super::super::facts::Search;
use super::super::super::judgement::{Gap, Judgement, Seen, UnknownReason};
use super::super::super::source::Scope;
use super::super::Limit;
use super::Function;
use crate::canonical;
use crate::model::is_nothing;

pub(super) const FUNCTION: Function = Function {
    name: "error-page-escapes",
    judge,
    expected: "every {{ output }} with the filter escape, and nothing raw",
    paths: &["/tenants.settings/error_page/html"],
};

fn judge<'a>(scope: &Scope<'a>, _: &[Limit]) -> Judgement<'a> {
    let tokens = ["tenants.settings", "error_page", "html"].map(str::to_owned).into();
    let (page, place) = match scope.facts.search(&tokens) {
        Ok(Search::Value(page, place)) if !is_nothing(page) => (page, place),
        Ok(_) => return Judgement::empty(),
        Err(gap) => return Judgement::unknown(gap),
    };
    let Some(text) = page.as_str().filter(|_| !canonical::is_placeholder(page)) else {
        return Judgement::unknown(Gap { reason: UnknownReason::DecidedInCode, place, is_of_section: false });
    };
    let observed = vec![Seen::at(place.pointer(), Cow::Borrowed(page))];
    Judgement::of(is_escaped(text), observed)
}

/// Whether every output of the Liquid template is escaped.
fn is_escaped(page: &str) -> bool {
    let outputs = page.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap_or_default());
    let is_safe = |output: &str| {
        let filters: Vec<&str> =
            output.split('|').skip(1).map(|filter| filter.trim().trim_end_matches('-').trim()).collect();
        filters.iter().any(|filter| matches!(*filter, "escape" | "escape_once" | "url_encode"))
            && !filters.contains(&"raw")
    };
    !page.contains("{% raw") && !page.contains("{%- raw") && outputs.into_iter().all(is_safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_output_has_to_be_escaped() {
        let table = [
            ("<p>Sorry</p>", true),
            ("<p>{{ error | escape }}</p>", true),
            ("<p>{{error|escape}} {{ tracking | truncate: 5 | escape }}</p>", true),
            ("<p>{{ error }}</p>", false),
            ("<p>{{ a | escape }} {{ error_description }}</p>", false),
            ("<p>{{ a | escape | raw }}</p>", false),
            ("{% raw %}<p>{% endraw %}", false),
        ];
        for (page, expected) in table {
            assert_eq!(is_escaped(page), expected, "{page}");
        }
    }
}
