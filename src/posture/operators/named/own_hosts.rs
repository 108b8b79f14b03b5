//! Where Clerk sends people lies on a domain of the instance.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value;
use url::Url;

use super::super::super::facts::Search;
use super::super::super::judgement::{Gap, Judgement, Seen, UnknownReason};
use super::super::super::source::Scope;
use super::super::Limit;
use super::Function;
use crate::model::Pointer;

pub(super) const FUNCTION: Function = Function {
    name: "own-hosts",
    judge,
    expected: "addresses on the own domains only",
    paths: &["/frontend.environment/display_config/*_url", "/platform.config/paths/*", "/domains", "/platform.domains"],
};

/// Addresses that people only read or see: they are sent to none of these.
const SHOWN_ONLY: [&str; 7] =
    ["privacy_policy_url", "terms_url", "help_url", "logo_url", "favicon_url", "logo_image_url", "favicon_image_url"];

fn judge<'a>(scope: &Scope<'a>, _: &[Limit]) -> Judgement<'a> {
    match hosts(scope) {
        Ok(judgement) => judgement,
        Err(gap) => Judgement::unknown(gap),
    }
}

fn hosts<'a>(scope: &Scope<'a>) -> Result<Judgement<'a>, Gap> {
    let domains = match list(scope, &["domains"]) {
        Err(gap) => list(scope, &["platform.domains"]).map_err(|_| gap)?,
        domains => domains?,
    };
    let domains: Vec<String> = domains.into_iter().map(|(path, _)| path.last().to_ascii_lowercase()).collect();
    let mut targets = list(scope, &["frontend.environment", "display_config"])?;
    targets.retain(|(path, _)| path.last().ends_with("_url") && !SHOWN_ONLY.contains(&path.last()));
    // Without a Platform token these are not seen, but the same addresses are above.
    targets.extend(list(scope, &["platform.config", "paths"]).unwrap_or_default());
    let mut foreign = Vec::new();
    for (path, value) in &targets {
        let Some(text) = value.as_str().filter(|text| !text.is_empty() && !text.starts_with('/')) else { continue };
        let host = Url::parse(text).ok().and_then(|url| url.host_str().map(str::to_ascii_lowercase));
        let is_own = host
            .is_some_and(|host| domains.iter().any(|domain| host == *domain || host.ends_with(&format!(".{domain}"))));
        if !is_own {
            foreign.push(Seen::at(path.clone(), Cow::Borrowed(*value)));
        }
    }
    Ok(Judgement::of(foreign.is_empty(), foreign))
}

/// The members of the object at these tokens.
fn list<'a>(scope: &Scope<'a>, tokens: &[&str]) -> Result<Vec<(Pointer, &'a Value)>, Gap> {
    let tokens: Arc<[String]> = tokens.iter().map(|token| (*token).to_owned()).collect();
    let absent = |place| Gap { reason: UnknownReason::FieldAbsent, place, is_of_section: false };
    match scope.facts.search(&tokens)? {
        Search::Value(value, place) => match value.as_object() {
            Some(fields) => {
                let path = place.pointer();
                Ok(fields.iter().map(|(name, field)| (path.child(name), field)).collect())
            }
            None => Err(absent(place)),
        },
        Search::Absent(place) | Search::Off(place) => Err(absent(place)),
    }
}
