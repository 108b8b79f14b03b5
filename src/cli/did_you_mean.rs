//! "Did you mean", said in the same words wherever a name is mistyped.

use crate::config::closest;
use crate::model::display_safe;

/// The end of a sentence about the unknown name `word`: the most similar candidate, if there is one.
pub(super) fn did_you_mean<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> String {
    let meant = closest(word, candidates);
    meant.map(|meant| format!("; did you mean '{}'?", display_safe(meant))).unwrap_or_default()
}
